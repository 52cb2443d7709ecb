// y = epilogue(x w^T) for many rows: x [M][k] in quads [k / 4][ldx], w [columns][k] in blocks of 8 columns
// (weights.glsl); f32 sums over k in ascending order. Every product of the network (qkv, o, gate/up, down,
// lm_head) when a forward has more than 8 rows. Lanes are rows: an invocation makes ROWS rows, RF_COLUMNS
// columns at a time; all lanes of a workgroup read the same weights, neighbours read neighbouring
// activations. No shared memory, no barrier. A row's result depends neither on its index nor on the other
// rows. Grid: (columns / RF_COLUMNS, or / RF_LOGIT_TILE with REDUCE; rows / (LOCAL * ROWS)), both rounded
// up; splits with PARTIAL. -D: ACT_F16 (activations), WEIGHT_...
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "refs.glsl"
#include "matmul.glsl"
#include "matmul_sums.glsl"
#include "matmul_octets.glsl"

void main()
{
    uint count = row_count();
    uint first = gl_WorkGroupID.y * gl_WorkGroupSize.x * rows() + gl_LocalInvocationID.x;
    if (first >= count) {
        return;
    }
    uint tile = epilogue() == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
    uint tile_first = gl_WorkGroupID.x * tile;
    uint tile_end = min(tile_first + tile, push.columns);
    if (tile_first >= tile_end) {
        return;
    }

    // Rows past the last read the last row again and are not written.
    uint m[MAX_ROWS];
    draw draws[MAX_ROWS];
    rf_partial partials[MAX_ROWS];
#define BEGIN_ROW(R) \
    m[R] = min(first + R * gl_WorkGroupSize.x, count - 1); \
    if (epilogue() == RF_EPILOGUE_REDUCE) { \
        draws[R] = row_draw(m[R]); \
        partials[R] = empty_partial(push.column_first + tile_first); \
    }
    FOR_ROWS(BEGIN_ROW)

    for (uint n = tile_first; n < tile_end; n += RF_COLUMNS) {
        vec4 low[MAX_ROWS], high[MAX_ROWS];
#define CLEAR_ROW(R) \
        low[R] = vec4(0.0); \
        high[R] = vec4(0.0);
        FOR_ROWS(CLEAR_ROW)
        uint base = n / RF_COLUMNS * block_size(push.k);
        for (uint o = octet_first(); o < octet_end(); o++) {
            add_block(low, high, m, base, o);
        }
#define FINISH_ROW(R) \
        if (epilogue() == RF_EPILOGUE_REDUCE) { \
            take_logits(partials[R], draws[R], sums(low[R], high[R]), n); \
        } else if (first + R * gl_WorkGroupSize.x < count) { \
            write_sums(sums(low[R], high[R]), m[R], n); \
        }
        FOR_ROWS(FINISH_ROW)
    }

    if (epilogue() == RF_EPILOGUE_REDUCE) {
#define END_ROW(R) \
        if (first + R * gl_WorkGroupSize.x < count) { \
            write_partial(partials[R], m[R], tile_first); \
        }
        FOR_ROWS(END_ROW)
    }
}
