// What attention.comp makes, for CPUs whose driver loads lane by lane whatever the address (stock lavapipe, see
// matmul_spread.comp): y = softmax(q K^T scale) V for up to ROWS rows of a segment that are neighbours, one kv head and
// the GROUP q heads that share it; the same inputs, outputs and partials. f32 throughout. A line is one head of one
// row; its numbers are made in the same order whichever rows share its tile: dimensions, then keys, in ascending order.
//
// One subgroup of 8 or 16 lanes, and no two lanes load the same number. Scores: lanes are keys; of an octet of
// dimensions lane l reads line l's part of q and spreads it to all by broadcasts. Values: lanes are quads of the head's
// dimensions; lane k reads what key k weighs, and spreads that. 64 bits are loaded at a time.
//
// Grid and keys: see attention_wide.comp.  -D: ACT_F16
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "refs.glsl"
#include "attention.glsl"
#include "attention_lines.glsl"

// Two numbers of f32, four of f16.
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer RfLongs { uint64_t x[]; };

// Keys of a lane at a time: as many as make 32 sums.
const uint KEYS = LINES <= 2 ? 8 : 4;
const uint SCORES = LINES * KEYS;
// Keys of V a step; a lane holds what one of them weighs.
const uint VALUE_STEP = 8;
// Quads of a lane at a time: with all lines at most 64 sums.
const uint VALUE_QUADS = 2;
const uint VALUES = LINES * VALUE_QUADS;

vec4 load_vec4(uint64_t at)
{
    return uintBitsToFloat(uvec4(unpackUint2x32(RfLongs(at).x[0]), unpackUint2x32(RfLongs(at).x[1])));
}

vec4 load_kv(uint64_t at)
{
#ifdef ACT_F16
    uvec2 u = unpackUint2x32(RfLongs(at).x[0]);
    return vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y));
#else
    return load_vec4(at);
#endif
}

// score[l * KEYS + j] += over an octet of dimensions, of line l and key j, from what lies at q_at and k_at.
void multiply_octet(uint64_t q_at, uint64_t k_at[KEYS], inout float score[SCORES])
{
    vec4 own[2] = {load_vec4(q_at), load_vec4(q_at + 16)};
    float q[LINES * 8];
    [[unroll]] for (uint l = 0; l < LINES; l++) {
        [[unroll]] for (uint c = 0; c < 8; c++) {
            q[l * 8 + c] = subgroupBroadcast(own[c / 4][c % 4], l);
        }
    }
    [[unroll]] for (uint j = 0; j < KEYS; j++) {
        vec4 k[2] = {load_kv(k_at[j]), load_kv(k_at[j] + RF_PAGE_ROWS * QUAD_BYTES)};
        [[unroll]] for (uint l = 0; l < LINES; l++) {
            [[unroll]] for (uint c = 0; c < 8; c++) {
                score[l * KEYS + j] += q[l * 8 + c] * k[c / 4][c % 4];
            }
        }
    }
}

// Scores of KEYS keys a lane, from key i of the run on, to weights[..][at + i..]; top[line]: the lane's largest of the
// keys that the line's row sees. A lane past the run's end has its last key again.
void score_block(tile t, run r, uint i, uint at, inout float top[LINES])
{
    float score[SCORES];
    uint64_t k_at[KEYS];
    uint line = min(lane, t.lines - 1);
    uint q_row = (t.m + line_row(t, line)) * (push.heads + 2 * push.kv_heads) + line_head(t, line);
    uint64_t q_at = uint64_t(push.qkv) + uint64_t(q_row * QUADS) * 16;
    [[unroll]] for (uint j = 0; j < KEYS; j++) {
        uint key = min(i + j * lanes() + lane, r.count - 1);
        k_at[j] = r.kv + uint64_t(t.k_first + r.page_row + key) * QUAD_BYTES;
    }
    [[unroll]] for (uint s = 0; s < SCORES; s++) {
        score[s] = 0.0;
    }
    for (uint d = 0; d < QUADS; d += 2) {
        multiply_octet(q_at, k_at, score);
        q_at += 32;
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            k_at[j] += 2 * RF_PAGE_ROWS * QUAD_BYTES;
        }
    }
    uint first_keys = row_keys(t.row) - t.first;
    [[unroll]] for (uint j = 0; j < KEYS; j++) {
        uint key = i + j * lanes() + lane;
        if (key < r.count) {
            [[unroll]] for (uint l = 0; l < LINES; l++) {
                float sum = score[l * KEYS + j] * push.scale;
                weights[l * STRIDE + at + key] = sum;
                bool seen = int(at + key) < int(first_keys) + int(line_row(t, l));
                top[l] = max(top[l], seen ? sum : LOWEST);
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
        for (uint i = 0; i < r.count; i += KEYS * lanes()) {
            score_block(t, r, i, key - t.first, top);
        }
        key += r.count;
    }
    [[unroll]] for (uint line = 0; line < LINES; line++) {
        weights[line * STRIDE + TOP] = subgroupMax(top[line]);
    }
}

// acc[l * VALUE_QUADS + v] += weight times value of VALUE_STEP keys from key i of the run on, of line l and the quad at
// v_at[v] of each key.
void add_values(tile t, run r, uint i, uint at, uint64_t v_at[VALUE_QUADS], inout vec4 acc[VALUES])
{
    float own[LINES];
    uint own_key = i + lane % VALUE_STEP;
    [[unroll]] for (uint l = 0; l < LINES; l++) {
        float weight = weights[min(l, t.lines - 1) * STRIDE + at + min(own_key, r.count - 1)];
        own[l] = own_key < r.count ? weight : 0.0;
    }
    [[unroll]] for (uint j = 0; j < VALUE_STEP; j++) {
        uint64_t row_at = uint64_t(min(i + j, r.count - 1)) * (QUADS * QUAD_BYTES);
        [[unroll]] for (uint v = 0; v < VALUE_QUADS; v++) {
            vec4 value = load_kv(v_at[v] + row_at);
            [[unroll]] for (uint l = 0; l < LINES; l++) {
                acc[l * VALUE_QUADS + v] += subgroupBroadcast(own[l], j) * value;
            }
        }
    }
}

void write_quad(tile t, uint line, uint quad, vec4 value)
{
    uint row = line / GROUP, keys = row_keys(t.row) + row, m = t.m + row, head = t.head_first + line % GROUP;
    if (quad >= QUADS || row >= t.rows || line % GROUP >= t.heads || keys <= t.first) {
        return;
    }
    float top = weights[line * STRIDE + TOP], sum = weights[line * STRIDE + SUM];
    if (keys <= RF_SPLIT_KEYS) {
        push.y.x[(head * QUADS + quad) * push.ld + m] = to_act(value / sum);
        return;
    }
    uint at = partial_at(gl_WorkGroupID.z, push.ld, m, push.heads, head, HEAD_DIM);
    [[unroll]] for (uint c = 0; c < 4; c++) {
        push.partials.x[at + 2 + 4 * quad + c] = value[c];
    }
    if (quad == 0) {
        push.partials.x[at] = top;
        push.partials.x[at + 1] = sum;
    }
}

// Of all lines, from quad `quad` of their heads on. A lane past the head has its last quad again.
void make_values(tile t, uint quad)
{
    vec4 acc[VALUES];
    uint64_t in_page[VALUE_QUADS], v_at[VALUE_QUADS];
    [[unroll]] for (uint s = 0; s < VALUES; s++) {
        acc[s] = vec4(0.0);
    }
    [[unroll]] for (uint v = 0; v < VALUE_QUADS; v++) {
        uint own = min(quad + v * lanes() + lane, QUADS - 1);
        in_page[v] = uint64_t(t.k_first + RF_PAGE_ROWS * QUADS + own) * QUAD_BYTES;
    }
    for (uint key = t.first; key < t.end;) {
        run r = find_run(t, key);
        [[unroll]] for (uint v = 0; v < VALUE_QUADS; v++) {
            v_at[v] = r.kv + in_page[v] + uint64_t(r.page_row) * (QUADS * QUAD_BYTES);
        }
        for (uint i = 0; i < r.count; i += VALUE_STEP) {
            add_values(t, r, i, key - t.first, v_at, acc);
        }
        key += r.count;
    }
    [[unroll]] for (uint l = 0; l < LINES; l++) {
        [[unroll]] for (uint v = 0; v < VALUE_QUADS; v++) {
            write_quad(t, l, quad + v * lanes() + lane, acc[l * VALUE_QUADS + v]);
        }
    }
}

void main()
{
    lane = gl_SubgroupInvocationID;
    uvec2 place = take_place();
    uint count = push.counts.x.rows;
    if (place.x >= count) {
        return;
    }
    tile t = take_tile(place, count);
    if (is_empty(t)) {
        return;
    }
    make_scores(t);
    subgroupMemoryBarrierShared();
    make_weights(t);
    subgroupMemoryBarrierShared();
    for (uint quad = 0; quad < QUADS; quad += VALUE_QUADS * lanes()) {
        make_values(t, quad);
    }
}
