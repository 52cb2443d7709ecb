// y = epilogue(x w^T) for many rows: x [M][k] in quads [k / 4][ldx], w [columns][k]; f32 sums over k in ascending order.
// Every product of the network (qkv, o, gate/up, down, lm_head) when a forward has more than 8 rows.
// Lanes are rows: an invocation makes ROWS rows, RF_COLUMNS columns at a time; all lanes of a workgroup read the same
// weights, neighbours read neighbouring activations. No shared memory, no barrier. A row's result depends neither on its
// index nor on the other rows.
// Grid: (columns / RF_COLUMNS, or / RF_LOGIT_TILE with REDUCE; rows / (LOCAL * ROWS)), both rounded up.
// -D: ACT_F16 (activations), WEIGHT_BF16 | WEIGHT_F16 | WEIGHT_F32
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

void main()
{
    uint count = row_count();
    uint first = gl_WorkGroupID.y * gl_WorkGroupSize.x * ROWS + gl_LocalInvocationID.x;
    if (first >= count) {
        return;
    }
    // Rows past the last read the last row again and are not written.
    uint m[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        m[r] = min(first + r * gl_WorkGroupSize.x, count - 1);
    }
    uint tile = EPILOGUE == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
    uint tile_first = gl_WorkGroupID.x * tile;
    uint tile_end = min(tile_first + tile, push.columns);

    draw draws[ROWS];
    rf_partial partials[ROWS];
    if (EPILOGUE == RF_EPILOGUE_REDUCE) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            draws[r] = row_draw(m[r]);
            partials[r] = empty_partial(push.column_first + tile_first);
        }
    }
    for (uint n = tile_first; n < tile_end; n += RF_COLUMNS) {
        sums acc[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            acc[r] = sums(vec4(0.0), vec4(0.0));
        }
        for (uint o = 0; o < push.k / 8; o++) {
            add_octet(acc, m, n, o);
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            bool present = first + r * gl_WorkGroupSize.x < count;
            if (EPILOGUE == RF_EPILOGUE_REDUCE) {
                take_logits(partials[r], draws[r], acc[r], n);
            } else if (present && EPILOGUE == RF_EPILOGUE_SWIGLU) {
                write_swiglu(acc[r], m[r], n);
            } else if (present) {
                write_columns(acc[r], m[r], n);
            }
        }
    }
    if (EPILOGUE == RF_EPILOGUE_REDUCE && tile_first < push.columns) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            if (first + r * gl_WorkGroupSize.x < count) {
                write_partial(partials[r], m[r], tile_first);
            }
        }
    }
}
