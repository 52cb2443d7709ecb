// y = epilogue(x w^T) for at most 8 rows: x [M][k] in quads [k / 4][ldx], w [columns][k] in blocks of 8
// columns (weights.glsl); f32 sums, by lane over k and then over the lanes. Every product of the network
// when a forward has few rows: each weight is read once. A subgroup makes RF_COLUMNS columns of ROWS rows,
// its lanes striding over k. A lane has four of the columns (even lanes the first), so that neighbours read
// neighbouring 16 bytes and the sums take few registers, or all 8, so that an activation is loaded once for
// them: for CPUs, where a load costs a lane. Columns are strided over all subgroups of the grid, in groups
// of RF_COLUMNS, or in tiles of RF_LOGIT_TILE with REDUCE. No shared memory, no barrier. Grid: (any, any, 1
// or splits with PARTIAL): rows are strided over y in blocks of ROWS; 1 is enough when ROWS covers them. REDUCE
// wants as many lanes as ROWS. -D: ACT_F16 (activations), WEIGHT_...
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
#include "matmul_sums.glsl"
#include "matmul_octets.glsl"

layout(constant_id = RF_SPEC_LANE_COLUMNS) const uint LANE_COLUMNS = 4;

uint lane_columns()
{
    return LANE_COLUMNS;
}

// Columns [tile_first, tile_end) of the rows first..first+ROWS-1; rows past the last read the last row again
// and are not written.
void make_tile(uint tile_first, uint tile_end, uint first, uint count, uint lane, uint lanes)
{
    uint m[MAX_ROWS];
#define BEGIN_ROW(R) m[R] = min(first + R, count - 1);
    FOR_ROWS(BEGIN_ROW)
    uint own = min(first + lane % rows(), count - 1); // REDUCE: a row a lane, so that it costs registers once
    draw d;
    rf_partial partial;
    if (epilogue() == RF_EPILOGUE_REDUCE) {
        d = row_draw(own);
        partial = empty_partial(push.column_first + tile_first);
    }

    for (uint n = tile_first; n < tile_end; n += RF_COLUMNS) {
        vec4 low[MAX_ROWS], high[MAX_ROWS]; // low alone, of either half, where a lane has four columns
#define CLEAR_ROW(R) \
        low[R] = vec4(0.0); \
        high[R] = vec4(0.0);
        FOR_ROWS(CLEAR_ROW)
        uint base = n / RF_COLUMNS * block_size(push.k), end = octet_end(), half_ = lane % 2;
        if (lane_columns() == RF_COLUMNS) {
            for (uint o = octet_first() + lane; o < end; o += lanes) {
                add_block(low, high, m, base, o);
            }
        } else {
            for (uint o = octet_first() + lane / 2; o < end; o += lanes / 2) {
                add_half(low, m, base, o, half_);
            }
        }
        sums total, own_total;
#define FINISH_ROW(R) \
        if (lane_columns() != RF_COLUMNS) { \
            high[R] = half_ == 1 ? low[R] : vec4(0.0); \
            low[R] = half_ == 0 ? low[R] : vec4(0.0); \
        } \
        total.low = subgroupAdd(low[R]); \
        total.high = subgroupAdd(high[R]); \
        if (epilogue() != RF_EPILOGUE_REDUCE && lane == 0 && first + R < count) { \
            write_sums(total, m[R], n); \
        } \
        keep_own(own_total, total, R, lane);
        FOR_ROWS(FINISH_ROW)
        if (epilogue() == RF_EPILOGUE_REDUCE) {
            take_logits(partial, d, own_total, n);
        }
    }

    if (epilogue() == RF_EPILOGUE_REDUCE && lane < rows() && first + lane < count) {
        write_partial(partial, own, tile_first);
    }
}

void main()
{
    uint count = row_count();
    uint lanes = subgroupAdd(1u); // those that exist: a subgroup may be larger than the workgroup
    uint tile = epilogue() == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
    uint step = gl_NumWorkGroups.x * gl_NumSubgroups * tile;
    uint start = (gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID) * tile;
    for (uint n = start; n < push.columns; n += step) {
        for (uint first = gl_WorkGroupID.y * rows(); first < count; first += gl_NumWorkGroups.y * rows()) {
            make_tile(n, min(n + tile, push.columns), first, count, gl_SubgroupInvocationID, lanes);
        }
    }
}
