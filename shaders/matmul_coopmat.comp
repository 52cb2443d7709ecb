// y = epilogue(x w^T) with cooperative matrices, for more than 8 rows: x [M][k] in f16 quads [k / 4][ldx], w
// [columns][k] in blocks of 8 columns (weights.glsl); f16 factors, f32 sums over k in ascending order.
//
// A workgroup makes ROWS rows of COLUMNS columns, so up to ROWS rows every byte of weights is read from
// memory once, as 128-bit words, and once made f16 (bf16 and f32 beyond its range saturate). Both factors go
// through shared memory in steps of K_STEP, each row of either one uvec4 longer than its numbers, so that
// the rows of a fragment begin in different banks. While a step is multiplied the words of the next are on
// their way into registers; two buffers leave one barrier a step. Subgroups are a grid of ROW_GROUPS x
// COLUMN_GROUPS, each with ROW_TILES x COLUMN_TILES fragments of sums; these go through shared memory to the
// epilogues, ROUND_TILES row tiles of each subgroup at a time.
//
// Rows past the last repeat it and are not written; columns past the chunk's are made from its last block or
// its padding and are not written; k past the last repeats the last octet of w, times zero. A row's result
// depends neither on its index nor on the other rows. Grid: (columns / COLUMNS, rows / ROWS), both rounded
// up, (1 or splits with PARTIAL). Splits are whole steps. -D: ACT_F16, WEIGHT_...
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#include "refs.glsl"
#include "matmul.glsl"
#include "matmul_sums.glsl"
#include "matmul_staged.glsl"

layout(constant_id = RF_SPEC_FRAGMENT_M) const uint FRAGMENT_M = 16;
layout(constant_id = RF_SPEC_FRAGMENT_N) const uint FRAGMENT_N = 16;
layout(constant_id = RF_SPEC_FRAGMENT_K) const uint FRAGMENT_K = 16;
layout(constant_id = RF_SPEC_ROW_GROUPS) const uint ROW_GROUPS = 1;
layout(constant_id = RF_SPEC_COLUMN_GROUPS) const uint COLUMN_GROUPS = 4;
layout(constant_id = RF_SPEC_COLUMN_TILES) const uint COLUMN_TILES = 1;
layout(constant_id = RF_SPEC_K_STEP) const uint K_STEP = 32;
layout(constant_id = RF_SPEC_SHARED) const uint SHARED = 1024;
layout(constant_id = RF_SPEC_ROUND_TILES) const uint ROUND_TILES = 1;

const uint ROW_TILES = ROWS / (FRAGMENT_M * ROW_GROUPS);
const uint COLUMNS = COLUMN_GROUPS * COLUMN_TILES * FRAGMENT_N;
const uint LOCAL = gl_WorkGroupSize.x;

// Factors in shared memory: 8 numbers a uvec4, ROWS rows of x, then COLUMNS columns of w. Sums: 4 a uvec4.
const uint OCTETS = K_STEP / 8;
const uint STRIDE = OCTETS + 1;
const uint BUFFER = (ROWS + COLUMNS) * STRIDE;
const uint SUMS_STRIDE = COLUMNS / 4 + 1;
const uint GROUP_ROWS = ROUND_TILES * FRAGMENT_M; // rows of a subgroup that are in shared memory at a time
const uint ROUND_ROWS = GROUP_ROWS * ROW_GROUPS;
shared uvec4 tiles[SHARED];

// What an invocation brings in a step: octets of rows, and octets of four columns.
const uint X_OCTETS = ROWS * OCTETS, X_PARTS = (X_OCTETS + LOCAL - 1) / LOCAL;
const uint W_OCTETS = COLUMNS / 4 * OCTETS, W_PARTS = (W_OCTETS + LOCAL - 1) / LOCAL;
struct x_part {
    ACT4 low, high;
};
struct w_part {
    WORDS u[OCTET_WORDS];
    scale s;
};
x_part x_parts[X_PARTS];
w_part w_parts[W_PARTS];

coopmat<float, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_N, gl_MatrixUseAccumulator> acc[ROW_TILES * COLUMN_TILES];

uint invocation()
{
    return gl_LocalInvocationID.x;
}

// Octets past the last read the last again; put_parts makes those of x zero.
void load_parts(uint first_octet, uint row_first, uint column_first, uint count)
{
    uint octet_last = push.k / 8 - 1, block_last = (push.columns - 1) / RF_COLUMNS;
    [[unroll]] for (uint p = 0; p < W_PARTS; p++) {
        uint i = p * LOCAL + invocation();
        if (W_OCTETS % LOCAL == 0 || i < W_OCTETS) {
            uint o = min(first_octet + i / 2 % OCTETS, octet_last), half_ = i % 2;
            uint base = min(column_first / RF_COLUMNS + i / (2 * OCTETS), block_last) * block_size(push.k);
            load_octet_words(push.w, base, push.k, o, half_, w_parts[p].u);
            w_parts[p].s = load_scale(push.w, base, push.k, o, half_);
        }
    }
    [[unroll]] for (uint p = 0; p < X_PARTS; p++) {
        uint i = p * LOCAL + invocation();
        if (X_OCTETS % LOCAL == 0 || i < X_OCTETS) {
            uint at = min(first_octet + i / ROWS, octet_last) * 2 * push.ldx + min(row_first + i % ROWS, count - 1);
            x_parts[p] = x_part(push.x.x[at], push.x.x[at + push.ldx]);
        }
    }
}

uint pack(float a, float b)
{
#if defined(WEIGHT_BF16) || defined(WEIGHT_F32)
    return packFloat2x16(f16vec2(clamp(vec2(a, b), vec2(-65504.0), vec2(65504.0))));
#else
    return packFloat2x16(f16vec2(vec2(a, b)));
#endif
}

// The octet of column C of four.
uvec4 halves(w_part w, uint c)
{
#ifdef WEIGHT_F16
    return uvec4(w.u[0][c], w.u[1][c], w.u[2][c], w.u[3][c]);
#else
    vec4 v[8];
    unpack_octet(w.u, w.s, v);
    return uvec4(pack(v[0][c], v[1][c]), pack(v[2][c], v[3][c]), pack(v[4][c], v[5][c]), pack(v[6][c], v[7][c]));
#endif
}

void put_parts(uint first_octet, uint buffer_first)
{
    [[unroll]] for (uint p = 0; p < W_PARTS; p++) {
        uint i = p * LOCAL + invocation();
        if (W_OCTETS % LOCAL == 0 || i < W_OCTETS) {
            uint o = i / 2 % OCTETS, column = i / (2 * OCTETS) * 8 + i % 2 * 4;
            uint at = buffer_first + (ROWS + column) * STRIDE + o;
            tiles[at] = halves(w_parts[p], 0);
            tiles[at + STRIDE] = halves(w_parts[p], 1);
            tiles[at + 2 * STRIDE] = halves(w_parts[p], 2);
            tiles[at + 3 * STRIDE] = halves(w_parts[p], 3);
        }
    }
    [[unroll]] for (uint p = 0; p < X_PARTS; p++) {
        uint i = p * LOCAL + invocation();
        if (X_OCTETS % LOCAL == 0 || i < X_OCTETS) {
            uint o = i / ROWS;
            x_part x = x_parts[p];
            tiles[buffer_first + i % ROWS * STRIDE + o] =
                first_octet + o < push.k / 8 ? uvec4(packFloat2x16(x.low.xy), packFloat2x16(x.low.zw),
                                                     packFloat2x16(x.high.xy), packFloat2x16(x.high.zw))
                                             : uvec4(0);
        }
    }
}

void multiply(uint buffer_first, uint row_group, uint column_group)
{
    uint x_first = buffer_first + row_group * ROW_TILES * FRAGMENT_M * STRIDE;
    uint w_first = buffer_first + (ROWS + column_group * COLUMN_TILES * FRAGMENT_N) * STRIDE;
    [[unroll]] for (uint k = 0; k < K_STEP / FRAGMENT_K; k++) {
        coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_K, FRAGMENT_N, gl_MatrixUseB> w[COLUMN_TILES];
        [[unroll]] for (uint c = 0; c < COLUMN_TILES; c++) {
            coopMatLoad(w[c], tiles, w_first + c * FRAGMENT_N * STRIDE + k * FRAGMENT_K / 8, STRIDE,
                        gl_CooperativeMatrixLayoutColumnMajor);
        }
        [[unroll]] for (uint r = 0; r < ROW_TILES; r++) {
            coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_K, gl_MatrixUseA> x;
            coopMatLoad(x, tiles, x_first + r * FRAGMENT_M * STRIDE + k * FRAGMENT_K / 8, STRIDE,
                        gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint c = 0; c < COLUMN_TILES; c++) {
                acc[r * COLUMN_TILES + c] = coopMatMulAdd(x, w[c], acc[r * COLUMN_TILES + c]);
            }
        }
    }
}

// Columns 8 g..8 g + 7 of a row in shared memory.
sums staged_sums(uint row, uint g)
{
    uint at = row * SUMS_STRIDE + 2 * g;
    return sums(uintBitsToFloat(tiles[at]), uintBitsToFloat(tiles[at + 1]));
}

// The epilogue of the rows in shared memory: row tiles r0..r0 + ROUND_TILES - 1 of each subgroup.
void finish_round(uint r0, uint row_first, uint column_first, uint count)
{
    for (uint i = invocation(); i < ROUND_ROWS * staged_groups(COLUMNS); i += LOCAL) {
        uint row = staged_row(i, ROUND_ROWS, COLUMNS), g = staged_group(i, ROUND_ROWS, COLUMNS);
        uint m = row_first + row / GROUP_ROWS * (ROW_TILES * FRAGMENT_M) + r0 * FRAGMENT_M + row % GROUP_ROWS;
        finish_staged(row, m, g, column_first, count);
    }
}

void main()
{
    uint count = row_count(), row_first = gl_WorkGroupID.y * ROWS, column_first = gl_WorkGroupID.x * COLUMNS;
    if (row_first >= count || column_first >= push.columns) {
        return;
    }
    uint row_group = gl_SubgroupID / COLUMN_GROUPS, column_group = gl_SubgroupID % COLUMN_GROUPS;
    [[unroll]] for (uint a = 0; a < ROW_TILES * COLUMN_TILES; a++) {
        acc[a] = coopmat<float, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_N, gl_MatrixUseAccumulator>(0.0);
    }

    uint first = octet_first(), end = octet_end(), buffer_first = 0;
    load_parts(first, row_first, column_first, count);
    put_parts(first, buffer_first);
    barrier();
    for (; first < end; first += OCTETS) {
        uint next = first + OCTETS;
        if (next < end) {
            load_parts(next, row_first, column_first, count);
        }
        multiply(buffer_first, row_group, column_group);
        buffer_first = BUFFER - buffer_first;
        if (next < end) {
            put_parts(next, buffer_first);
        }
        barrier();
    }

    [[unroll]] for (uint r0 = 0; r0 < ROW_TILES; r0 += ROUND_TILES) {
        [[unroll]] for (uint r = 0; r < ROUND_TILES; r++) {
            [[unroll]] for (uint c = 0; c < COLUMN_TILES; c++) {
                uint row = row_group * GROUP_ROWS + r * FRAGMENT_M;
                uint column = (column_group * COLUMN_TILES + c) * FRAGMENT_N;
                coopMatStore(acc[(r0 + r) * COLUMN_TILES + c], tiles, row * SUMS_STRIDE + column / 4, SUMS_STRIDE,
                             gl_CooperativeMatrixLayoutRowMajor);
            }
        }
        barrier();
        finish_round(r0, row_first, column_first, count);
        barrier();
    }
}
