// y = epilogue(x w^T) with cooperative matrices of a workgroup (VK_NV_cooperative_matrix2), for more than 8
// rows: x [M][k] in f16 quads [k / 4][ldx], w [columns][k] in blocks of 8 columns (weights.glsl); f16
// factors, f32 sums over steps of k in ascending order, in what order within a step is the device's affair.
//
// A workgroup makes ROWS rows of TILE_COLUMNS columns as one matrix of sums, so up to ROWS rows every byte
// of weights is read from memory once. The driver brings both factors, TILE_K of k at a time, as tensors:
//   x  three dimensions, k / 4, rows, 4, seen as rows by k through a view that puts rows first
//   w  two dimensions, columns, k, seen as k by columns. Its blocks are octets of 8 columns; a block's
//      numbers, scales and minima stand in different places, so the decode function finds them by the
//      block's coordinates and makes no use of its pointer. It is asked for single numbers: whether a word
//      is loaded once for all that are in it is the driver's affair, or the cache's. bf16 and f32 beyond
//      f16's range saturate
// What lies beyond the rows of the forward, beyond k or beyond the last block of columns is zero by the
// tensors' clamp mode and is not read. Sums go through shared memory to the epilogues, STAGED_ROWS rows at
// a time. A row's result depends neither on its index nor on the other rows. Grid: (columns / TILE_COLUMNS,
// rows / ROWS), both rounded up, (1 or splits with PARTIAL). Splits are whole steps. -D: ACT_F16,
// WEIGHT_..., EMULATE
//
// EMULATE is for tests: coopmat2_emulation.glsl has loops over elements instead of what the driver does, so
// that everything else here runs on devices without the extension.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifndef EMULATE
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_NV_cooperative_matrix2 : require
#endif
#define WEIGHTS_BY_LANE
#include "refs.glsl"
#include "matmul.glsl"
#include "matmul_sums.glsl"
#include "matmul_staged.glsl"

layout(constant_id = RF_SPEC_TILE_COLUMNS) const uint TILE_COLUMNS = 64;
layout(constant_id = RF_SPEC_TILE_K) const uint TILE_K = 32;
layout(constant_id = RF_SPEC_STAGED_ROWS) const uint STAGED_ROWS = 1;

const uint LOCAL = gl_WorkGroupSize.x;
const uint STRIDE = TILE_COLUMNS + 1; // of a row of sums; one more for the banks
shared float staged[STAGED_ROWS * STRIDE];

// What a tensor's elements are counted in.
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfHalves { float16_t x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfBlock { uvec4 x; };

#ifdef EMULATE
#include "coopmat2_emulation.glsl"
#else
#define CLAMP gl_CooperativeMatrixClampModeConstantNV
#define LAYOUT(DIMENSIONS) tensorLayoutNV<DIMENSIONS, CLAMP>
#define VIEW_2(A, B) tensorViewNV<2, false, A, B>
#define VIEW_3(A, B, C) tensorViewNV<3, false, A, B, C>
#define DECLARE_MATRICES \
    coopmat<float16_t, gl_ScopeWorkgroup, ROWS, TILE_K, gl_MatrixUseA> x_tile; \
    coopmat<float16_t, gl_ScopeWorkgroup, TILE_K, TILE_COLUMNS, gl_MatrixUseB> w_tile; \
    coopmat<float, gl_ScopeWorkgroup, ROWS, TILE_COLUMNS, gl_MatrixUseAccumulator> acc;
#define CLEAR_SUMS() acc = coopmat<float, gl_ScopeWorkgroup, ROWS, TILE_COLUMNS, gl_MatrixUseAccumulator>(0.0)
#define LOAD_X(ARRAY, TENSOR, VIEW) coopMatLoadTensorNV(x_tile, ARRAY, 0, TENSOR, VIEW)
#define LOAD_W(ARRAY, TENSOR, VIEW, DECODE) coopMatLoadTensorNV(w_tile, ARRAY, 0, TENSOR, VIEW, DECODE)
#define MULTIPLY() acc = coopMatMulAdd(x_tile, w_tile, acc)
#define FOR_SUMS(FUNCTION, ARGUMENT) coopMatPerElementNV(acc, acc, FUNCTION, ARGUMENT)
#endif

// Of a lane's column, see weights.glsl.
uint load_words(RfWeights w, uint at, uint column)
{
    return w.x[at + column / 4][column % 4];
}

float load_halves(RfWeights w, uint at, uint column)
{
    uint u = w.x[at][column / 2];
    return column % 2 == 0 ? low_half(u) : high_half(u);
}

float16_t decode(const in RfBlock block, const in uint coordinates[2], const in uint inside[2])
{
    uint base = coordinates[0] * block_size(push.k);
    float value = load_number(push.w, base, push.k, coordinates[1], inside[1], inside[0]);
#if defined(WEIGHT_BF16) || defined(WEIGHT_F32)
    value = clamp(value, -65504.0, 65504.0);
#endif
    return float16_t(value);
}

// A sum to its place in shared memory, if it is of the rows first..first + STAGED_ROWS - 1.
float stage(const in uint row, const in uint column, const in float sum, const in uint first)
{
    if (row >= first && row < first + STAGED_ROWS) {
        staged[(row - first) * STRIDE + column] = sum;
    }
    return sum;
}

sums staged_sums(uint row, uint g)
{
    uint at = row * STRIDE + g * RF_COLUMNS;
    return sums(vec4(staged[at], staged[at + 1], staged[at + 2], staged[at + 3]),
                vec4(staged[at + 4], staged[at + 5], staged[at + 6], staged[at + 7]));
}

void main()
{
    uint count = row_count(), blocks = (push.columns + RF_COLUMNS - 1) / RF_COLUMNS;
    uint row_first = gl_WorkGroupID.y * ROWS, column_first = gl_WorkGroupID.x * TILE_COLUMNS;
    if (row_first >= count || column_first >= push.columns) {
        return;
    }
    LAYOUT(3) x_layout = createTensorLayoutNV(3, CLAMP);
    x_layout = setTensorLayoutDimensionNV(x_layout, push.k / 4, count, 4);
    x_layout = setTensorLayoutStrideNV(x_layout, 4 * push.ldx, 4, 1);
    VIEW_3(1, 0, 2) rows_first = createTensorViewNV(3, false, 1, 0, 2);
    LAYOUT(2) w_layout = createTensorLayoutNV(2, CLAMP);
    w_layout = setTensorLayoutBlockSizeNV(w_layout, RF_COLUMNS, 8);
    w_layout = setTensorLayoutDimensionNV(w_layout, blocks * RF_COLUMNS, push.k);
    VIEW_2(1, 0) k_first = createTensorViewNV(2, false, 1, 0);

    DECLARE_MATRICES
    RfHalves x = RfHalves(push.x);
    CLEAR_SUMS();
    uint end = octet_end();
    for (uint o = octet_first(); o < end; o += TILE_K / 8) {
        LOAD_X(x.x, sliceTensorLayoutNV(x_layout, 2 * o, TILE_K / 4, row_first, ROWS, 0, 4), rows_first);
        LOAD_W(push.w.x, sliceTensorLayoutNV(w_layout, column_first, TILE_COLUMNS, 8 * o, TILE_K), k_first,
               decode);
        MULTIPLY();
    }

    for (uint first = 0; first < ROWS; first += STAGED_ROWS) {
        FOR_SUMS(stage, first);
        barrier();
        for (uint i = gl_LocalInvocationID.x; i < STAGED_ROWS * staged_groups(TILE_COLUMNS); i += LOCAL) {
            uint row = staged_row(i, STAGED_ROWS, TILE_COLUMNS);
            uint group = staged_group(i, STAGED_ROWS, TILE_COLUMNS);
            finish_staged(row, row_first + first + row, group, column_first, count);
        }
        barrier();
    }
}
