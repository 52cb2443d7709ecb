// y = epilogue(x w^T) for at most 8 rows of int8 activations: x int8 blocks [k / 32] of M rows (shared.h), w
// [columns][k] quantized, in blocks of 8 columns (weights.glsl); exact integer sums over 16 or 32 of k, f32
// sums of these by lane over k and then over the lanes. What matmul_few.comp is to f16 activations: each
// weight is read once, a subgroup makes RF_COLUMNS columns of ROWS rows, its lanes stride over k in blocks
// of 32, four columns a lane (even lanes the first), columns are strided over all subgroups of the grid, in
// tiles of RF_LOGIT_TILE with REDUCE. With SWIGLU_INT8 the subgroups of a workgroup share such a tile, whose
// products meet in shared memory, because all 32 of them have one scale. Grid: (any, any, 1 or splits with
// PARTIAL): rows are strided over y in blocks of ROWS.  -D: WEIGHT_Q..., ACT_F16, ACT_INT8
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_spirv_intrinsics : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "refs.glsl"
#include "matmul.glsl"
#include "matmul_sums.glsl"
#include "matmul_int8.glsl"

const uint TILE_GROUPS = RF_LOGIT_TILE / RF_COLUMNS;
shared vec4 products[ROWS * TILE_GROUPS]; // [row][quad]

uint lane_id()
{
    return gl_SubgroupInvocationID;
}

// The lane's part of the sums of the columns n..n + 7 of the rows m: four of the columns.
void multiply(out vec4 acc[MAX_ROWS], uint m[MAX_ROWS], uint n, uint lanes)
{
#define CLEAR_ROW(R) acc[R] = vec4(0.0);
    FOR_ROWS(CLEAR_ROW)
    uint base = n / RF_COLUMNS * block_size(push.k), half_ = lane_id() % 2;
    for (uint b = octet_first() / 4 + lane_id() / 2; b < octet_end() / 4; b += lanes / 2) {
        int8_block w;
        [[unroll]] for (uint o = 0; o < 4; o++) {
            WORDS u[OCTET_WORDS];
            load_octet_words(push.w, base, push.k, 4 * b + o, half_, u);
            octet_int8(u, w.q[2 * o], w.q[2 * o + 1]);
        }
        load_factors(base, b, half_, w.factors, w.minimum);
        uint at = b * RF_INT8_BLOCK(push.ldx);
#define ADD_ROW(R) \
        acc[R] += block_product(w, push.x.x[at + m[R]], push.x.x[at + push.ldx + m[R]], \
                                int8_numbers(push.x.x[at + 2 * push.ldx + m[R] / 2], m[R]));
        FOR_ROWS(ADD_ROW)
    }
}

// Of the whole subgroup, in every lane.
sums total(vec4 acc)
{
    bool second = lane_id() % 2 == 1;
    return sums(subgroupAdd(second ? vec4(0.0) : acc), subgroupAdd(second ? acc : vec4(0.0)));
}

// Columns [tile_first, tile_end) of the rows first..first+ROWS-1; rows past the last read the last row again
// and are not written.
void make_tile(uint tile_first, uint tile_end, uint first, uint count, uint lanes)
{
    uint m[MAX_ROWS];
#define BEGIN_ROW(R) m[R] = min(first + R, count - 1);
    FOR_ROWS(BEGIN_ROW)
    uint own = min(first + lane_id() % rows(), count - 1); // as in matmul_few.comp
    draw d;
    rf_partial partial;
    if (epilogue() == RF_EPILOGUE_REDUCE) {
        d = row_draw(own);
        partial = empty_partial(push.column_first + tile_first);
    }

    for (uint n = tile_first; n < tile_end; n += RF_COLUMNS) {
        vec4 acc[MAX_ROWS];
        multiply(acc, m, n, lanes);
        sums s, own_sums;
#define FINISH_ROW(R) \
        s = total(acc[R]); \
        if (epilogue() != RF_EPILOGUE_REDUCE && lane_id() == 0 && first + R < count) { \
            write_sums(s, m[R], n); \
        } \
        keep_own(own_sums, s, R, lane_id());
        FOR_ROWS(FINISH_ROW)
        if (epilogue() == RF_EPILOGUE_REDUCE) {
            take_logits(partial, d, own_sums, n);
        }
    }

    if (epilogue() == RF_EPILOGUE_REDUCE && lane_id() < rows() && first + lane_id() < count) {
        write_partial(partial, own, tile_first);
    }
}

// SWIGLU_INT8: the tile of 64 columns from tile_first on, by the whole workgroup.
void make_int8_tile(uint tile_first, uint first, uint count, uint lanes)
{
    uint m[MAX_ROWS];
#define CHOOSE_ROW(R) m[R] = min(first + R, count - 1);
    FOR_ROWS(CHOOSE_ROW)
    for (uint g = gl_SubgroupID; g < TILE_GROUPS; g += gl_NumSubgroups) {
        vec4 acc[MAX_ROWS], product;
        multiply(acc, m, tile_first + g * RF_COLUMNS, lanes);
#define KEEP_ROW(R) \
        product = swiglu(total(acc[R])); \
        if (lane_id() == 0) { \
            products[R * TILE_GROUPS + g] = product; \
        }
        FOR_ROWS(KEEP_ROW)
    }
    barrier();
    uint r = gl_LocalInvocationID.x; // ROWS are fewer than invocations
    if (r < rows() && first + r < count) {
        vec4 v[8];
        [[unroll]] for (uint i = 0; i < 8; i++) {
            v[i] = products[r * TILE_GROUPS + i];
        }
        write_swiglu_int8(v, first + r, tile_first);
    }
    barrier();
}

void main()
{
    uint count = row_count();
    uint lanes = subgroupAdd(1u); // those that exist: a subgroup may be larger than the workgroup
    bool shares = epilogue() == RF_EPILOGUE_SWIGLU_INT8;
    uint tile = shares || epilogue() == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
    uint makers = shares ? 1 : gl_NumSubgroups; // tiles that a workgroup makes at a time
    uint start = (gl_WorkGroupID.x * makers + (shares ? 0 : gl_SubgroupID)) * tile;
    for (uint n = start; n < push.columns; n += gl_NumWorkGroups.x * makers * tile) {
        for (uint first = gl_WorkGroupID.y * rows(); first < count; first += gl_NumWorkGroups.y * rows()) {
            if (shares) {
                make_int8_tile(n, first, count, lanes);
            } else {
                make_tile(n, min(n + tile, push.columns), first, count, lanes);
            }
        }
    }
}
