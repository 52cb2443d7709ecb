// y = epilogue(x w^T) for any number of rows of int8 activations: x int8 blocks [k / 32] of M rows
// (shared.h), w [columns][k] quantized, in blocks of 8 columns (weights.glsl); exact integer sums over 16 or
// 32 of k, f32 sums of these in ascending order of k.
//
// A workgroup makes ROWS rows (16, 32, 64) of LOCAL / 2 columns, so up to ROWS rows every byte of weights is
// read from memory once, as 128-bit words, and once made int8. Both factors go through shared memory, 64 of
// k a step; while a step is multiplied the words of the next are on their way into registers, and two
// buffers leave one barrier a step. An invocation has four columns of every eighth row: words of w stand in
// shared memory as in memory, one of four columns a uvec4, and what is loaded for a block of 32 serves ROWS
// / 8 rows. Sums go through shared memory to the epilogues.
//
// Rows past the last repeat it and are not written; columns past the chunk's are made from its last block or
// its padding and are not written; k past the last repeats the last octets of w, times zero. A row's result
// depends neither on its index nor on the other rows. Grid: (columns / (LOCAL / 2), rows / ROWS), both
// rounded up, (1 or splits with PARTIAL); REDUCE and SWIGLU_INT8 need 64 columns. Splits are whole steps.
// -D: WEIGHT_Q..., ACT_F16, ACT_INT8
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_spirv_intrinsics : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#include "refs.glsl"
#include "matmul.glsl"
#include "matmul_sums.glsl"
#include "matmul_int8.glsl"

const uint LOCAL = gl_WorkGroupSize.x;
const uint ROW_GROUPS = 8;
const uint ROW_TILES = ROWS / ROW_GROUPS;
const uint QUADS = LOCAL / ROW_GROUPS; // of columns
const uint COLUMNS = 4 * QUADS;
const uint BLOCKS = 2; // of 32 of k a step
const uint OCTETS = 4 * BLOCKS;

// A buffer in shared memory, in uvec4: words of w [2 OCTETS][W_STRIDE], its factors [BLOCKS][2][QUADS], x
// [2 BLOCKS][ROWS], its {scale, scale * sum} [BLOCKS][ROWS / 2]. W_STRIDE spreads what neighbours write,
// which is neighbouring octets, over the banks.
const uint W_STRIDE = QUADS + 2;
const uint FACTORS_FIRST = 2 * OCTETS * W_STRIDE;
const uint X_FIRST = FACTORS_FIRST + BLOCKS * 2 * QUADS;
const uint NUMBERS_FIRST = X_FIRST + 2 * BLOCKS * ROWS;
const uint BUFFER = NUMBERS_FIRST + BLOCKS * ROWS / 2;
const uint SUMS = ROWS * QUADS;
shared uvec4 tiles[2 * BUFFER > SUMS ? 2 * BUFFER : SUMS];

// What an invocation brings in a step: one octet of four columns, X_PARTS uvec4 of x; the first ones also
// factors of a block, and numbers of two rows.
const uint X_PARTS = (2 * BLOCKS * ROWS + LOCAL - 1) / LOCAL;
WORDS w_part[OCTET_WORDS];
vec4 factors_part[FACTORS];
vec4 minimum_part;
uvec4 x_parts[X_PARTS], numbers_part;

vec4 acc[ROW_TILES];

uint invocation()
{
    return gl_LocalInvocationID.x;
}

uint quad_base(uint column_first, uint quad)
{
    return min(column_first / RF_COLUMNS + quad / 2, (push.columns - 1) / RF_COLUMNS) * block_size(push.k);
}

// Blocks past the last read the last again; put_parts makes their scales zero.
void load_parts(uint first_block, uint row_first, uint column_first, uint count)
{
    uint i = invocation(), block_last = push.k / 32 - 1;
    uint quad = i / (2 * OCTETS) * 2 + i % 2;
    load_octet_words(push.w, quad_base(column_first, quad), push.k,
                     min(4 * first_block + i / 2 % OCTETS, 4 * block_last + 3), i % 2, w_part);
    if (i < BLOCKS * QUADS) {
        load_factors(quad_base(column_first, i / BLOCKS), min(first_block + i % BLOCKS, block_last),
                     i / BLOCKS % 2, factors_part, minimum_part);
    }
    [[unroll]] for (uint p = 0; p < X_PARTS; p++) {
        uint j = p * LOCAL + i;
        if (2 * BLOCKS * ROWS % LOCAL == 0 || j < 2 * BLOCKS * ROWS) {
            uint h = j / ROWS, b = min(first_block + h / 2, block_last);
            x_parts[p] = push.x.x[b * RF_INT8_BLOCK(push.ldx) + h % 2 * push.ldx +
                                  min(row_first + j % ROWS, count - 1)];
        }
    }
    if (i < BLOCKS * ROWS / 2) {
        uint b = min(first_block + i / (ROWS / 2), block_last);
        numbers_part = push.x.x[b * RF_INT8_BLOCK(push.ldx) + 2 * push.ldx +
                                min(row_first / 2 + i % (ROWS / 2), (count - 1) / 2)];
    }
}

void put_parts(uint first_block, uint buffer_first)
{
    uint i = invocation(), blocks = push.k / 32;
    uint at = buffer_first + i / 2 % OCTETS * 2 * W_STRIDE + i / (2 * OCTETS) * 2 + i % 2;
    octet_int8(w_part, tiles[at], tiles[at + W_STRIDE]);
    if (i < BLOCKS * QUADS) {
        at = buffer_first + FACTORS_FIRST + i % BLOCKS * 2 * QUADS + i / BLOCKS;
        tiles[at] = floatBitsToUint(factors_part[0]);
#if defined(WEIGHT_Q6_K)
        tiles[at + QUADS] = floatBitsToUint(factors_part[1]);
#elif defined(WEIGHT_Q4_K)
        tiles[at + QUADS] = floatBitsToUint(minimum_part);
#endif
    }
    [[unroll]] for (uint p = 0; p < X_PARTS; p++) {
        uint j = p * LOCAL + i;
        if (2 * BLOCKS * ROWS % LOCAL == 0 || j < 2 * BLOCKS * ROWS) {
            tiles[buffer_first + X_FIRST + j] = x_parts[p];
        }
    }
    if (i < BLOCKS * ROWS / 2) {
        tiles[buffer_first + NUMBERS_FIRST + i] =
            first_block + i / (ROWS / 2) < blocks ? numbers_part : uvec4(0);
    }
}

void multiply(uint buffer_first, uint row_group, uint quad)
{
    [[dont_unroll]] for (uint b = 0; b < BLOCKS; b++) { // unrolled, it takes a third more registers
        int8_block w;
        [[unroll]] for (uint i = 0; i < 8; i++) {
            w.q[i] = tiles[buffer_first + (8 * b + i) * W_STRIDE + quad];
        }
        uint at = buffer_first + FACTORS_FIRST + b * 2 * QUADS + quad;
        w.factors[0] = uintBitsToFloat(tiles[at]);
#if defined(WEIGHT_Q6_K)
        w.factors[1] = uintBitsToFloat(tiles[at + QUADS]);
#elif defined(WEIGHT_Q4_K)
        w.minimum = uintBitsToFloat(tiles[at + QUADS]);
#endif
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
            uint row = row_group + t * ROW_GROUPS, x = buffer_first + X_FIRST + 2 * b * ROWS + row;
            uvec4 two = tiles[buffer_first + NUMBERS_FIRST + (b * ROWS + row) / 2];
            acc[t] += block_product(w, tiles[x], tiles[x + ROWS], int8_numbers(two, row_group));
        }
    }
}

// Where the sums of a row's column quad stand: rows that are read side by side in different banks.
uint sums_at(uint row, uint quad)
{
    return row * QUADS + (quad ^ row % 8);
}

// Columns 8 g..8 g + 7 of a row in shared memory.
sums staged_sums(uint row, uint g)
{
    return sums(uintBitsToFloat(tiles[sums_at(row, 2 * g)]), uintBitsToFloat(tiles[sums_at(row, 2 * g + 1)]));
}

// A tile of RF_LOGIT_TILE columns of a row, the first of them n.
void finish_tile(uint row, uint m, uint tile, uint n)
{
    const uint groups = RF_LOGIT_TILE / RF_COLUMNS;
    if (epilogue() == RF_EPILOGUE_SWIGLU_INT8) {
        vec4 v[8];
        [[unroll]] for (uint g = 0; g < groups; g++) {
            v[g] = swiglu(staged_sums(row, tile * groups + g));
        }
        write_swiglu_int8(v, m, n);
        return;
    }
    draw d = row_draw(m);
    rf_partial p = empty_partial(push.column_first + n);
    for (uint g = 0; g < groups && n + g * RF_COLUMNS < push.columns; g++) {
        take_logits(p, d, staged_sums(row, tile * groups + g), n + g * RF_COLUMNS);
    }
    write_partial(p, m, n);
}

// Neighbouring invocations write neighbouring rows of quads, blocks and partials, neighbouring columns of
// numbers.
void finish(uint row_first, uint column_first, uint count)
{
    bool whole = epilogue() == RF_EPILOGUE_REDUCE || epilogue() == RF_EPILOGUE_SWIGLU_INT8;
    bool by_row = whole || epilogue() == RF_EPILOGUE_SWIGLU;
    uint width = whole ? RF_LOGIT_TILE : RF_COLUMNS, units = COLUMNS / width;
    for (uint i = invocation(); i < ROWS * units; i += LOCAL) {
        uint row = by_row ? i % ROWS : i / units, g = by_row ? i / ROWS : i % units;
        uint m = row_first + row, n = column_first + g * width;
        if (m < count && n < push.columns) {
            if (whole) {
                finish_tile(row, m, g, n);
            } else {
                write_sums(staged_sums(row, g), m, n);
            }
        }
    }
}

void main()
{
    uint count = row_count(), row_first = gl_WorkGroupID.y * ROWS, column_first = gl_WorkGroupID.x * COLUMNS;
    if (row_first >= count || column_first >= push.columns) {
        return;
    }
    uint row_group = invocation() / QUADS, quad = invocation() % QUADS;
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        acc[t] = vec4(0.0);
    }

    uint first = octet_first() / 4, end = octet_end() / 4, buffer_first = 0; // blocks of k
    load_parts(first, row_first, column_first, count);
    put_parts(first, buffer_first);
    barrier();
    for (uint b = first; b < end; b += BLOCKS) {
        bool more = b + BLOCKS < end;
        if (more) {
            load_parts(b + BLOCKS, row_first, column_first, count);
        }
        multiply(buffer_first, row_group, quad);
        buffer_first = BUFFER - buffer_first;
        if (more) {
            put_parts(b + BLOCKS, buffer_first);
        }
        barrier();
    }

    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        tiles[sums_at(row_group + t * ROW_GROUPS, quad)] = floatBitsToUint(acc[t]);
    }
    barrier();
    finish(row_first, column_first, count);
}
