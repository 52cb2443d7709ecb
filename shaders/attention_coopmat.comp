// y = softmax(q K^T scale) V as attention.comp, with cooperative matrices, for forwards of many rows: one kv
// head, the GROUP q heads that share it, and BLOCK neighbouring rows of the forward; each row of a matrix is
// one head of one row. K and V, f16, are read from memory once for all of them. q is made f16 for the product,
// the scores are f32, their exponentials f16 for the second product, whose sums are f32.
//
// A subgroup has FRAGMENT_M rows of the matrix, whose scores and sums stay with it; a lane has the maximum and
// the sum of one of these rows. K and V come through shared memory in tiles of 32 keys, while those of the next
// tile are on their way into registers. A new maximum multiplies the sums by a matrix whose rows are the
// decays, because who holds which element of a matrix is not told.
//
// COOPMAT2 (VK_NV_cooperative_matrix2: conversions, reductions, functions of elements) keeps scores and weights in
// registers: maxima and sums are matrices whose columns are all the same. FRAGMENT_N and FRAGMENT_K are equal then.
//
// Neighbouring rows of one sequence with as many committed rows are a run, whose keys are gone through once:
// the committed ones of this split, then from the first to the last that a segment of the run has, each row's
// own under its mask. Splits are those of attention.comp, 512 of a row's own keys, so attention_reduce serves
// both. Keys that no row sees are read from one that is seen. What a row sums up is in ascending order of its
// keys, but where tiles begin depends on the rows beside it: no bit-identical rows, see RF_FORWARD_DETERMINISTIC.
// Grid: (kv_heads, rows / BLOCK, splits), rounded up. -D: ACT_F16, COOPMAT2
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
#ifdef COOPMAT2
#extension GL_NV_cooperative_matrix2 : require
#endif
#include "refs.glsl"
#include "attention.glsl"

layout(constant_id = 0) const uint GROUP = 1;
layout(constant_id = 1) const uint HEAD_DIM = 64; // a multiple of 16 up to 128
layout(constant_id = 2) const uint LOCAL = 128;   // a multiple of 32: SUBGROUPS times the subgroup's size
layout(constant_id = 3) const uint SUBGROUPS = 4;
layout(constant_id = 4) const uint FRAGMENT_M = 16; // at most 16, and lanes of a subgroup
layout(constant_id = 5) const uint FRAGMENT_N = 16; // at most 16
layout(constant_id = 6) const uint FRAGMENT_K = 16; // at most 32
layout(constant_id = 7) const uint BLOCK = 16;      // SUBGROUPS * FRAGMENT_M / GROUP, rounded down
layout(local_size_x_id = 2) in;

layout(push_constant, scalar) uniform Push { rf_push_attention push; };

const uint TILE = 32;                        // keys
const uint MOST_ROWS = 2 * TILE;             // of the matrix
const uint OCTETS = HEAD_DIM / 8;            // of a head
const uint STRIDE = OCTETS + 1;              // uvec4 of a key, or of a row of q; one more for the banks
const uint SCORE_STRIDE = TILE / 4 + 1;      // vec4 of a row
const uint DECAYS = TILE / 8;                // in a row of scores, behind its weights in f16
const uint PARTS = (TILE * OCTETS + LOCAL - 1) / LOCAL; // octets of K, and of V, that an invocation brings
const uint KEY_TILES = TILE / FRAGMENT_N, KEY_STEPS = TILE / FRAGMENT_K;
const uint DIM_TILES = HEAD_DIM / FRAGMENT_N, DIM_STEPS = HEAD_DIM / FRAGMENT_K;

shared uvec4 tiles[MOST_ROWS * STRIDE];      // q; then 32 keys of K, and of V
shared uvec4 scores[MOST_ROWS * SCORE_STRIDE];
shared rf_row rows[MOST_ROWS];
shared vec2 states[MOST_ROWS];               // maximum and sum, when all is done

// Keys of a run that are gone through: TILE each, first those of `ctx`, then those of the segments.
struct key_range {
    uint ctx_first, ctx_tiles, seg_first, tiles;
};

struct kv_part {
    ACT4 k[2], v[2];
};
kv_part parts[PARTS];

#define SUMS coopmat<float, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_N, gl_MatrixUseAccumulator>
coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_K, gl_MatrixUseA> q[DIM_STEPS];
SUMS acc[DIM_TILES];

uvec4 pack(ACT4 low, ACT4 high)
{
    return uvec4(packFloat2x16(low.xy), packFloat2x16(low.zw), packFloat2x16(high.xy), packFloat2x16(high.zw));
}

uint split_first()
{
    return gl_WorkGroupID.z * RF_SPLIT_KEYS;
}

// Index into qkv and y of matrix row i's head, in quads of a row.
uint head_of(uint i)
{
    return (gl_WorkGroupID.x * GROUP + i % GROUP) * (HEAD_DIM / 4);
}

// Rows past the last repeat it, matrix rows past GROUP * BLOCK the last of these.
void load_queries(uint row_first, uint count)
{
    for (uint i = gl_LocalInvocationID.x; i < SUBGROUPS * FRAGMENT_M * OCTETS; i += LOCAL) {
        uint at = min(i / OCTETS, GROUP * BLOCK - 1), m = min(row_first + at / GROUP, count - 1);
        uint from = m * (push.heads + 2 * push.kv_heads) * (HEAD_DIM / 4) + head_of(at) + i % OCTETS * 2;
        tiles[i / OCTETS * STRIDE + i % OCTETS] =
            pack(to_act(push.qkv.x[from] * push.scale), to_act(push.qkv.x[from + 1] * push.scale));
    }
    for (uint r = gl_LocalInvocationID.x; r < BLOCK; r += LOCAL) {
        rows[r] = push.rows.x[min(row_first + r, count - 1)];
    }
    barrier();
    [[unroll]] for (uint d = 0; d < DIM_STEPS; d++) {
        coopMatLoad(q[d], tiles, gl_SubgroupID * FRAGMENT_M * STRIDE + d * FRAGMENT_K / 8, STRIDE,
                    gl_CooperativeMatrixLayoutRowMajor);
    }
}

// The keys that the rows [first, end) of the block have in this split.
key_range run_keys(uint first, uint end)
{
    uint ctx = rows[first].ctx_rows, begin = split_first(), seg_first = RF_NONE, seg_end = 0;
    uint skipped = begin > ctx ? begin - ctx : 0; // of each segment, before this split
    for (uint r = first; r < end; r++) {
        uint left = begin + RF_SPLIT_KEYS > ctx ? begin + RF_SPLIT_KEYS - ctx : 0;
        uint row_first = rows[r].seg_first + skipped, row_end = min(rows[r].kv_row + 1, rows[r].seg_first + left);
        if (row_first < row_end) {
            seg_first = min(seg_first, row_first);
            seg_end = max(seg_end, row_end);
        }
    }
    key_range range = key_range(begin, 0, seg_first, 0);
    if (begin < ctx) {
        range.ctx_tiles = (min(begin + RF_SPLIT_KEYS, ctx) - begin + TILE - 1) / TILE;
    }
    range.tiles = range.ctx_tiles + (seg_end > seg_first ? (seg_end - seg_first + TILE - 1) / TILE : 0);
    return range;
}

// Virtual row of the first key of a tile.
uint tile_first(key_range range, uint tile)
{
    return tile < range.ctx_tiles ? range.ctx_first + tile * TILE : range.seg_first + (tile - range.ctx_tiles) * TILE;
}

// The keys that a row sees in a tile, first and end, counted from the tile's first.
uvec2 seen_keys(rf_row row, key_range range, uint tile)
{
    uint first = tile_first(range, tile), begin = split_first(), end = begin + RF_SPLIT_KEYS;
    if (tile < range.ctx_tiles) {
        return uvec2(0, min(min(end, row.ctx_rows) - first, TILE));
    }
    uint from = row.seg_first + (begin > row.ctx_rows ? begin - row.ctx_rows : 0);
    uint to = min(row.kv_row + 1, row.seg_first + (end > row.ctx_rows ? end - row.ctx_rows : 0));
    return uvec2(max(from, first) - first, min(max(to, first) - first, TILE));
}

// Whether a row of the run sees key `key` of a tile. All rows see the same committed ones.
bool is_seen(uint first, uint end, key_range range, uint tile, uint key)
{
    bool seen = false;
    for (uint r = first; r < (tile < range.ctx_tiles ? first + 1 : end); r++) {
        uvec2 keys = seen_keys(rows[r], range, tile);
        seen = seen || (keys.x <= key && key < keys.y);
    }
    return seen;
}

// An invocation has the same key of a tile in all of its parts.
void load_parts(uint first, uint end, key_range range, uint tile)
{
    uint key = gl_LocalInvocationID.x % TILE, virtual_row = tile_first(range, tile) + key;
    // What nobody has written may be no number, which times zero is none either.
    virtual_row = is_seen(first, end, range, tile, key) ? virtual_row : rows[first].kv_row;
    RfKv kv = push.seqs.x[rows[first].seq].pages.x[virtual_row / RF_PAGE_ROWS].kv;
    uint page_row = virtual_row % RF_PAGE_ROWS, quads = HEAD_DIM / 4;
    uint k_first = (push.layer * push.kv_heads + gl_WorkGroupID.x) * 2 * RF_PAGE_ROWS * quads;
    uint v_first = k_first + RF_PAGE_ROWS * quads + page_row * quads;
    [[unroll]] for (uint p = 0; p < PARTS; p++) {
        uint o = (p * LOCAL + gl_LocalInvocationID.x) / TILE;
        if (o < OCTETS) {
            parts[p].k[0] = kv.x[k_first + 2 * o * RF_PAGE_ROWS + page_row];
            parts[p].k[1] = kv.x[k_first + (2 * o + 1) * RF_PAGE_ROWS + page_row];
            parts[p].v[0] = kv.x[v_first + 2 * o];
            parts[p].v[1] = kv.x[v_first + 2 * o + 1];
        }
    }
}

void put_parts()
{
    uint key = gl_LocalInvocationID.x % TILE;
    [[unroll]] for (uint p = 0; p < PARTS; p++) {
        uint o = (p * LOCAL + gl_LocalInvocationID.x) / TILE;
        if (o < OCTETS) {
            tiles[key * STRIDE + o] = pack(parts[p].k[0], parts[p].k[1]);
            tiles[(TILE + key) * STRIDE + o] = pack(parts[p].v[0], parts[p].v[1]);
        }
    }
}

// Of the FRAGMENT_N keys from n * FRAGMENT_N on.
SUMS make_scores(uint n)
{
    SUMS score = SUMS(0.0);
    [[unroll]] for (uint d = 0; d < DIM_STEPS; d++) {
        coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_K, FRAGMENT_N, gl_MatrixUseB> k;
        coopMatLoad(k, tiles, n * FRAGMENT_N * STRIDE + d * FRAGMENT_K / 8, STRIDE,
                    gl_CooperativeMatrixLayoutColumnMajor);
        score = coopMatMulAdd(q[d], k, score);
    }
    return score;
}

// acc = acc * decay + weights V, with the weights of FRAGMENT_K keys each.
void add_values(coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_K, gl_MatrixUseA> weights[KEY_STEPS], SUMS decay)
{
    [[unroll]] for (uint n = 0; n < DIM_TILES; n++) {
        acc[n] = acc[n] * decay;
        [[unroll]] for (uint s = 0; s < KEY_STEPS; s++) {
            coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_K, FRAGMENT_N, gl_MatrixUseB> v;
            coopMatLoad(v, tiles, (TILE + s * FRAGMENT_K) * STRIDE + n * FRAGMENT_N / 8, STRIDE,
                        gl_CooperativeMatrixLayoutRowMajor);
            acc[n] = coopMatMulAdd(weights[s], v, acc[n]);
        }
    }
}

#ifdef COOPMAT2

shared uvec2 seen[MOST_ROWS]; // keys of the tile that a row of the matrix sees
SUMS tops, sums;

float masked(const in uint row, const in uint column, const in float score, const in uint key_first)
{
    uvec2 keys = seen[gl_SubgroupID * FRAGMENT_M + row];
    return keys.x <= key_first + column && key_first + column < keys.y ? score : LOWEST;
}

float larger(const in uint row, const in uint column, const in float a, const in float b)
{
    return max(a, b);
}

float larger_of(const in float a, const in float b)
{
    return max(a, b);
}

float sum_of(const in float a, const in float b)
{
    return a + b;
}

// Before a row has seen a key its maximum is LOWEST.
float weight(const in uint row, const in uint column, const in float score, const in float top)
{
    return score == LOWEST ? 0.0 : exp(score - top);
}

float exponential(const in uint row, const in uint column, const in float x)
{
    return exp(x);
}

void take_tile(uint own, uvec2 keys)
{
    if (gl_SubgroupInvocationID < FRAGMENT_M) {
        seen[own] = keys;
    }
    subgroupBarrier();
    SUMS score[KEY_TILES], top, added = SUMS(0.0), decay;
    [[unroll]] for (uint n = 0; n < KEY_TILES; n++) {
        score[n] = make_scores(n);
        coopMatPerElementNV(score[n], score[n], masked, n * FRAGMENT_N);
        if (n == 0) {
            top = score[0];
        } else {
            coopMatPerElementNV(top, top, larger, score[n]);
        }
    }
    coopMatReduceNV(top, top, gl_CooperativeMatrixReduceRowNV, larger_of);
    coopMatPerElementNV(top, top, larger, tops);
    coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_K, gl_MatrixUseA> weights[KEY_STEPS];
    [[unroll]] for (uint n = 0; n < KEY_TILES; n++) {
        coopMatPerElementNV(score[n], score[n], weight, top);
        added = added + score[n];
        weights[n] = coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_K, gl_MatrixUseA>(score[n]);
    }
    coopMatReduceNV(added, added, gl_CooperativeMatrixReduceRowNV, sum_of);
    decay = tops - top;
    coopMatPerElementNV(decay, decay, exponential);
    sums = sums * decay + added;
    tops = top;
    add_values(weights, decay);
    subgroupBarrier(); // `seen` has been read
}

void begin_rows()
{
    tops = SUMS(LOWEST);
    sums = SUMS(0.0);
}

void end_rows(uint own)
{
    uint at = gl_SubgroupID * FRAGMENT_M * SCORE_STRIDE;
    coopMatStore(tops, scores, at, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    coopMatStore(sums, scores, at + DECAYS, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    subgroupBarrier();
    if (gl_SubgroupInvocationID < FRAGMENT_M) {
        states[own] = uintBitsToFloat(uvec2(scores[own * SCORE_STRIDE].x, scores[own * SCORE_STRIDE + DECAYS].x));
    }
}

#else

float top = LOWEST, sum = 0.0; // of the lane's row

// The lane's row of scores becomes weights, exp(score - maximum), and the decay of what was summed before.
void weigh(uint row_at, uvec2 keys)
{
    vec4 score[TILE / 4];
    float new_top = top;
    [[unroll]] for (uint i = 0; i < TILE / 4; i++) {
        score[i] = uintBitsToFloat(scores[row_at + i]);
        [[unroll]] for (uint c = 0; c < 4; c++) {
            bool seen = keys.x <= 4 * i + c && 4 * i + c < keys.y;
            score[i][c] = seen ? score[i][c] : LOWEST;
            new_top = max(new_top, score[i][c]);
        }
    }
    float decay = exp(top - new_top), added = 0.0;
    [[unroll]] for (uint i = 0; i < TILE / 4; i++) {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            bool seen = keys.x <= 4 * i + c && 4 * i + c < keys.y;
            score[i][c] = seen ? exp(score[i][c] - new_top) : 0.0;
            added += score[i][c];
        }
    }
    [[unroll]] for (uint i = 0; i < TILE / 8; i++) {
        scores[row_at + i] = pack(ACT4(score[2 * i]), ACT4(score[2 * i + 1]));
    }
    [[unroll]] for (uint i = 0; i < FRAGMENT_N / 4; i++) {
        scores[row_at + DECAYS + i] = floatBitsToUint(vec4(decay));
    }
    sum = sum * decay + added;
    top = new_top;
}

void take_tile(uint own, uvec2 keys)
{
    uint row_at = gl_SubgroupID * FRAGMENT_M * SCORE_STRIDE;
    [[unroll]] for (uint n = 0; n < KEY_TILES; n++) {
        coopMatStore(make_scores(n), scores, row_at + n * FRAGMENT_N / 4, SCORE_STRIDE,
                     gl_CooperativeMatrixLayoutRowMajor);
    }
    subgroupBarrier();
    if (gl_SubgroupInvocationID < FRAGMENT_M) {
        weigh(own * SCORE_STRIDE, keys);
    }
    subgroupBarrier();
    SUMS decay;
    coopmat<float16_t, gl_ScopeSubgroup, FRAGMENT_M, FRAGMENT_K, gl_MatrixUseA> weights[KEY_STEPS];
    coopMatLoad(decay, scores, row_at + DECAYS, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint s = 0; s < KEY_STEPS; s++) {
        coopMatLoad(weights[s], scores, row_at + s * FRAGMENT_K / 8, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    }
    add_values(weights, decay);
}

void begin_rows()
{
}

void end_rows(uint own)
{
    if (gl_SubgroupInvocationID < FRAGMENT_M) {
        states[own] = vec2(top, sum);
    }
}

#endif

// Quad `quad` of matrix row i, from the row's sums in `total`.
void write_quad(uint i, uint quad, vec4 total, uint row_first)
{
    uint r = i / GROUP, m = row_first + r, keys = row_keys(rows[r]);
    if (keys <= RF_SPLIT_KEYS) {
        push.y.x[(head_of(i) + quad) * push.ld + m] = to_act(total / states[i].y);
    } else {
        uint head = gl_WorkGroupID.x * GROUP + i % GROUP;
        uint at = partial_at(gl_WorkGroupID.z, push.ld, m, push.heads, head, HEAD_DIM);
        if (quad == 0) {
            push.partials.x[at] = states[i].x;
            push.partials.x[at + 1] = states[i].y;
        }
        [[unroll]] for (uint c = 0; c < 4; c++) {
            push.partials.x[at + 2 + 4 * quad + c] = total[c];
        }
    }
}

// The sums go through the subgroup's rows of scores, FRAGMENT_N of the head's dimensions at a time.
void write_rows(uint row_first, uint count)
{
    uint base = gl_SubgroupID * FRAGMENT_M;
    [[unroll]] for (uint n = 0; n < DIM_TILES; n++) {
        subgroupBarrier();
        coopMatStore(acc[n], scores, base * SCORE_STRIDE, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        for (uint e = gl_SubgroupInvocationID; e < FRAGMENT_M * FRAGMENT_N / 4; e += gl_SubgroupSize) {
            uint i = base + e % FRAGMENT_M, quad = e / FRAGMENT_M;
            if (i < GROUP * BLOCK && row_first + i / GROUP < count && split_first() < row_keys(rows[i / GROUP])) {
                write_quad(i, n * FRAGMENT_N / 4 + quad, uintBitsToFloat(scores[i * SCORE_STRIDE + quad]), row_first);
            }
        }
    }
}

void main()
{
    uint count = push.counts.x.rows, row_first = gl_WorkGroupID.y * BLOCK;
    if (row_first >= count) {
        return;
    }
    load_queries(row_first, count);
    [[unroll]] for (uint n = 0; n < DIM_TILES; n++) {
        acc[n] = SUMS(0.0);
    }
    begin_rows();
    uint own = gl_SubgroupID * FRAGMENT_M + gl_SubgroupInvocationID % FRAGMENT_M; // row of the matrix
    uint own_row = min(own / GROUP, BLOCK - 1), block_rows = min(BLOCK, count - row_first);

    for (uint first = 0, end = 0; first < block_rows; first = end) {
        end = first + 1;
        // The index is bounded, because lavapipe reads with all lanes off, see attention_wide.comp.
        while (end < block_rows && rows[min(end, BLOCK - 1)].seq == rows[first].seq &&
               rows[min(end, BLOCK - 1)].ctx_rows == rows[first].ctx_rows) {
            end++;
        }
        key_range range = run_keys(first, end);
        if (range.tiles > 0) {
            load_parts(first, end, range, 0);
        }
        for (uint tile = 0; tile < range.tiles; tile++) {
            barrier(); // q, K and V of before have been read
            put_parts();
            barrier();
            if (tile + 1 < range.tiles) {
                load_parts(first, end, range, tile + 1);
            }
            bool in_run = first <= own_row && own_row < end;
            take_tile(own, in_run ? seen_keys(rows[own_row], range, tile) : uvec2(0));
        }
    }
    end_rows(own);
    write_rows(row_first, count);
}
