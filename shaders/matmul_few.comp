// y = epilogue(x w^T) for at most 8 rows: x [M][k] in quads [k / 4][ldx], w [columns][k]; f32 sums, by lane over k and
// then over the lanes. Every product of the network when a forward has few rows: each weight is read once.
// A subgroup makes RF_COLUMNS columns of ROWS rows, its lanes stride over k. Columns are strided over all subgroups of the
// grid, in groups of RF_COLUMNS, or in tiles of RF_LOGIT_TILE with REDUCE. No shared memory, no barrier.
// Grid: (any, 1).  -D: ACT_F16 (activations), WEIGHT_BF16 | WEIGHT_F16 | WEIGHT_F32
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "refs.glsl"
#include "matmul.glsl"

// Columns [tile_first, tile_end) of the rows first..first+ROWS-1; rows past the last read the last row again and are not
// written.
void make_tile(uint tile_first, uint tile_end, uint first, uint count, uint lane, uint lanes)
{
    uint m[ROWS];
    draw draws[ROWS];
    rf_partial partials[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        m[r] = min(first + r, count - 1);
        if (EPILOGUE == RF_EPILOGUE_REDUCE) {
            draws[r] = row_draw(m[r]);
            partials[r] = empty_partial(push.column_first + tile_first);
        }
    }
    for (uint n = tile_first; n < tile_end; n += RF_COLUMNS) {
        sums acc[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            acc[r] = sums(vec4(0.0), vec4(0.0));
        }
        for (uint o = lane; o < push.k / 8; o += lanes) {
            add_octet(acc, m, n, o);
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            sums s = sums(subgroupAdd(acc[r].low), subgroupAdd(acc[r].high));
            if (EPILOGUE == RF_EPILOGUE_REDUCE) {
                take_logits(partials[r], draws[r], s, n);
            } else if (lane == 0 && first + r < count) {
                if (EPILOGUE == RF_EPILOGUE_SWIGLU) {
                    write_swiglu(s, m[r], n);
                } else {
                    write_columns(s, m[r], n);
                }
            }
        }
    }
    if (EPILOGUE == RF_EPILOGUE_REDUCE && lane == 0) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            if (first + r < count) {
                write_partial(partials[r], m[r], tile_first);
            }
        }
    }
}

void main()
{
    uint count = row_count();
    uint lanes = subgroupAdd(1u); // those that exist: a subgroup may be larger than the workgroup
    uint tile = EPILOGUE == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
    uint step = gl_NumWorkGroups.x * gl_NumSubgroups * tile;
    uint start = (gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID) * tile;
    for (uint n = start; n < push.columns; n += step) {
        for (uint first = 0; first < count; first += ROWS) {
            make_tile(n, min(n + tile, push.columns), first, count, gl_SubgroupInvocationID, lanes);
        }
    }
}
