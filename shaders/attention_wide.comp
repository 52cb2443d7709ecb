// What attention.comp makes, for devices that are CPUs: y = softmax(q K^T scale) V for up to ROWS rows of a
// segment that are neighbours, one kv head and the GROUP q heads that share it; the same inputs, outputs and
// partials. f32 throughout. A line is one head of one row; its numbers are made in the same order whichever
// rows share its tile: four sums over every fourth dimension, then keys in ascending order.
//
// One subgroup of 8 or 16 lanes. Scores: each group of four lanes has a key, and its lanes have every fourth
// dimension of it, so that the quads of neighbouring keys are one vector load and a quad of q is one
// broadcast to all keys; what the four lanes of a key have is added up once, behind the last quad. Values:
// lanes are dimensions of the head, whose V lie side by side; a weight is a broadcast. So on lavapipe each
// load serves several lines and nothing is gathered in a loop over dimensions (SPEED.md). Weights of the
// split's keys wait in shared memory, which is plain memory there.
//
// What keeps it fast, all of it seen in lavapipe's machine code:
// - No execution barrier: one makes the shader a coroutine, whose variables are in memory and whose lanes
//   have numbers that the compiler does not know; a selection by lane is then made instead of folded into a
//   load. Lanes of a vector register need none: they are never apart.
// - What does not change is taken before the first loop, else the first loop that asks for it owns it, and
//   behind that loop it is a variable. For the same reason no loop follows another with the same addresses.
// - Addresses are 64 bit numbers. An index has 32, may wrap, and is extended anew for each load.
//
// Keys come in runs of neighbouring virtual rows: those of one page, on one side of the step from the context
// to the segment. Grid: (kv_heads * ceil(heads / kv_heads / GROUP), rows, splits of RF_SPLIT_KEYS keys); the
// first row of a tile makes it, the others have nothing to do.  -D: ACT_F16
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_clustered : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "refs.glsl"
#include "attention.glsl"
#include "attention_lines.glsl"

// K and V from any quad on.
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer KvQuads { ACT4 x[]; };

const uint MOST_SUMS = 16; // registers for sums

bool is_lane[16], is_component[4]; // lane == j; lane % 4 == j
uint64_t qkv_address;

void find_constants()
{
    lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint j = 0; j < 16; j++) {
        is_lane[j] = lane == j;
    }
    [[unroll]] for (uint j = 0; j < 4; j++) {
        is_component[j] = lane % 4 == j;
    }
    qkv_address = uint64_t(push.qkv);
}

// Quads of a vector: keys where scores are made, quads of a key where values are.
uint vector_quads()
{
    return lanes() / 4;
}

// Lines whose scores are made at a time.
const uint SCORE_LINES = LINES <= 4 ? LINES : (LINES + 1) / 2;

// Vectors of keys at a time; four of them are as many keys as there are lanes.
const uint SCORE_VECTORS = SCORE_LINES <= 1 ? 16 : SCORE_LINES <= 2 ? 8 : 4;

// Quads of K a step, so that the loop's own work does not count.
uint score_step()
{
    return HEAD_DIM % 32 == 0 ? 8 : 2;
}

// Keys of V a step.
const uint VALUE_STEP = 8;

// Two lines share a load of V, which a core has twice as many of as of multiplications; more lines would make
// more broadcasts.
const uint VALUE_LINES = LINES < 2 ? 1 : 2;

uint value_vectors()
{
    return min(MOST_SUMS / VALUE_LINES, (HEAD_DIM + lanes() - 1) / lanes());
}

// Takes the lane's component of a vector's quad j.
ACT by_lane(ACT value, ACT4 quad, uint j)
{
    value = is_lane[4 * j] ? quad.x : value;
    value = is_lane[4 * j + 1] ? quad.y : value;
    value = is_lane[4 * j + 2] ? quad.z : value;
    return is_lane[4 * j + 3] ? quad.w : value;
}

// Component `lane` of the quads from `at + offset` on.
float load_keys(uint64_t at, const uint offset)
{
    ACT value = ACT(0.0);
    [[unroll]] for (uint j = 0; j < vector_quads(); j++) {
        value = by_lane(value, KvQuads(at).x[offset + j], j);
    }
    return float(value);
}

// The same of a head's quads `quad + offset`, at address `at + offset`. Past the head the last quad is read
// again.
float load_values(uint64_t at, uint quad, const uint offset, bool past)
{
    ACT value = ACT(0.0);
    [[unroll]] for (uint j = 0; j < vector_quads(); j++) {
        uint own = past ? min(quad + offset + j, QUADS - 1) - quad : offset + j;
        value = by_lane(value, KvQuads(at).x[own], j);
    }
    return float(value);
}

// Component `lane % 4` of a quad of q.
float load_query(uint64_t at, const uint offset)
{
    vec4 quad = RfVec4s(at).x[offset];
    float value = is_component[1] ? quad.y : quad.x;
    value = is_component[2] ? quad.z : value;
    return is_component[3] ? quad.w : value;
}

// Lane 4 i + c: the sum of vector c's lanes 4 i .. 4 i + 3.
float add_fours(float a, float b, float c, float d)
{
    // Added in all lanes, then chosen: `?:` would run only one side.
    a = subgroupClusteredAdd(a, 4);
    b = subgroupClusteredAdd(b, 4);
    c = subgroupClusteredAdd(c, 4);
    d = subgroupClusteredAdd(d, 4);
    a = is_component[1] ? b : a;
    a = is_component[2] ? c : a;
    return is_component[3] ? d : a;
}

// score[l][v]: over the lane's dimensions, of line `first_line + l` and key `v * vector_quads() + lane / 4`
// from key i of the run on. Lanes past the run read the rows behind it, or what is behind the page's K.
void multiply_keys(tile t, run r, uint i, uint first_line, out float score[MOST_SUMS])
{
    uint64_t q_at[SCORE_LINES];
    [[unroll]] for (uint s = 0; s < MOST_SUMS; s++) {
        score[s] = 0.0;
    }
    [[unroll]] for (uint l = 0; l < SCORE_LINES; l++) {
        uint line = min(first_line + l, t.lines - 1);
        uint q_row = (t.m + line_row(t, line)) * (push.heads + 2 * push.kv_heads);
        q_at[l] = qkv_address + uint64_t((q_row + line_head(t, line)) * QUADS) * 16;
    }
    uint64_t k_at = r.kv + uint64_t(t.k_first + r.page_row + min(i, r.count - 1)) * QUAD_BYTES;
    for (uint d = 0; d < QUADS; d += score_step()) {
        uint64_t k_from = k_at + uint64_t(d) * (RF_PAGE_ROWS * QUAD_BYTES), q_from = uint64_t(d) * 16;
        [[unroll]] for (uint u = 0; u < score_step(); u++) {
            float q[SCORE_LINES];
            [[unroll]] for (uint l = 0; l < SCORE_LINES; l++) {
                q[l] = load_query(q_at[l] + q_from, u);
            }
            [[unroll]] for (uint v = 0; v < SCORE_VECTORS; v++) {
                float k = load_keys(k_from, u * RF_PAGE_ROWS + v * vector_quads());
                [[unroll]] for (uint l = 0; l < SCORE_LINES; l++) {
                    score[l * SCORE_VECTORS + v] += q[l] * k;
                }
            }
        }
    }
}

// Scores of a block of keys from key i of the run on to weights[..][at + i..]; top[line]: the lane's largest
// of the keys that the line's row sees.
void score_block(tile t, run r, uint i, uint at, uint first_line, inout float top[LINES])
{
    float score[MOST_SUMS];
    multiply_keys(t, r, i, first_line, score);
    uint first_keys = row_keys(t.row) - t.first;
    [[unroll]] for (uint l = 0; l < SCORE_LINES; l++) {
        uint line = min(first_line + l, t.lines - 1);
        [[unroll]] for (uint v = 0; v < SCORE_VECTORS; v += 4) {
            uint s = l * SCORE_VECTORS + v, key = i + (v + lane % 4) * vector_quads() + lane / 4;
            float sum = add_fours(score[s], score[s + 1], score[s + 2], score[s + 3]) * push.scale;
            if (key < r.count) {
                weights[line * STRIDE + at + key] = sum;
                bool seen = int(at + key) < int(first_keys) + int(line_row(t, line));
                [[unroll]] for (uint first = 0; first < LINES; first += SCORE_LINES) {
                    if (first + l < LINES) {
                        float own = seen && first == first_line ? sum : LOWEST;
                        top[first + l] = max(top[first + l], own);
                    }
                }
            }
        }
    }
}

void make_scores(tile t)
{
    float top[LINES];
    [[unroll]] for (uint line = 0; line < LINES; line++) {
        top[line] = LOWEST;
    }
    for (uint key = t.first; key < t.end;) {
        run r = find_run(t, key);
        for (uint i = 0; i < r.count; i += SCORE_VECTORS * vector_quads()) {
            for (uint first_line = 0; first_line < t.lines; first_line += SCORE_LINES) {
                score_block(t, r, i, key - t.first, first_line, top);
            }
        }
        key += r.count;
    }
    [[unroll]] for (uint line = 0; line < LINES; line++) {
        weights[line * STRIDE + TOP] = subgroupMax(top[line]);
    }
}

// acc[l][v] += weight times value of VALUE_STEP keys from key i of the run on.
void add_values(tile t, run r, uint i, uint at, uint first_line, uint quad, inout float acc[MOST_SUMS])
{
    const bool past = HEAD_DIM % (value_vectors() * lanes()) != 0;
    uint64_t v_at = r.kv + uint64_t(t.k_first + (RF_PAGE_ROWS + r.page_row) * QUADS + quad) * QUAD_BYTES;
    [[unroll]] for (uint j = 0; j < VALUE_STEP; j++) {
        uint key = min(i + j, r.count - 1);
        uint64_t row_at = v_at + uint64_t(key) * (QUADS * QUAD_BYTES);
        float one[VALUE_LINES];
        [[unroll]] for (uint l = 0; l < VALUE_LINES; l++) {
            float weight = weights[min(first_line + l, t.lines - 1) * STRIDE + at + key];
            one[l] = i + j < r.count ? weight : 0.0;
        }
        [[unroll]] for (uint v = 0; v < value_vectors(); v++) {
            float value = load_values(row_at, quad, v * vector_quads(), past);
            [[unroll]] for (uint l = 0; l < VALUE_LINES; l++) {
                acc[l * value_vectors() + v] += one[l] * value;
            }
        }
    }
}

// Number d of a line.
void write_number(tile t, uint line, uint d, float value)
{
    uint row = line / GROUP, keys = row_keys(t.row) + row, m = t.m + row, head = t.head_first + line % GROUP;
    if (d >= HEAD_DIM || row >= t.rows || line % GROUP >= t.heads || keys <= t.first) {
        return;
    }
    float top = weights[line * STRIDE + TOP], sum = weights[line * STRIDE + SUM];
    if (keys <= RF_SPLIT_KEYS) {
        push.y.x[(head * QUADS + d / 4) * push.ld + m][d % 4] = to_act(vec4(value / sum)).x;
        return;
    }
    uint at = partial_at(gl_WorkGroupID.z, push.ld, m, push.heads, head, HEAD_DIM);
    push.partials.x[at + 2 + d] = value;
    if (d == 0) {
        push.partials.x[at] = top;
        push.partials.x[at + 1] = sum;
    }
}

// The lines from `first_line` on, from quad `quad` of their heads on.
void make_values(tile t, uint first_line, uint quad)
{
    float acc[MOST_SUMS];
    [[unroll]] for (uint s = 0; s < MOST_SUMS; s++) {
        acc[s] = 0.0;
    }
    for (uint key = t.first; key < t.end;) {
        run r = find_run(t, key);
        for (uint i = 0; i < r.count; i += VALUE_STEP) {
            add_values(t, r, i, key - t.first, first_line, quad, acc);
        }
        key += r.count;
    }
    [[unroll]] for (uint l = 0; l < VALUE_LINES; l++) {
        [[unroll]] for (uint v = 0; v < value_vectors(); v++) {
            uint d = 4 * quad + v * lanes() + lane;
            write_number(t, min(first_line + l, t.lines - 1), d, acc[l * value_vectors() + v]);
        }
    }
}

void attend(tile t)
{
    make_scores(t);
    subgroupMemoryBarrierShared();
    make_weights(t);
    subgroupMemoryBarrierShared();
    for (uint quad = 0; quad < QUADS; quad += value_vectors() * vector_quads()) {
        for (uint first_line = 0; first_line < t.lines; first_line += VALUE_LINES) {
            make_values(t, first_line, quad);
        }
    }
}

void main()
{
    find_constants();
    uvec2 place = take_place();
    uint count = push.counts.x.rows;
    if (place.x >= count) {
        return;
    }
    tile t = take_tile(place, count);
    if (!is_empty(t)) {
        attend(t);
    }
}
