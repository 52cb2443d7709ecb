// Per head: q and k become rope(x * weight / sqrt(mean(x^2) + eps)), with the halves of the head rotated by
// the row's position; k and v go to the row's KV page, q back to qkv [row][(heads + 2 kv_heads) * head_dim].
// f32 sums; K and V are stored as activations are. Once per layer, between the qkv product and attention. One
// subgroup works on a head, whatever its size; further subgroups of the workgroup have nothing to do. Grid:
// (heads + 2 kv_heads, rows). Where the qkv product was split over k (SPLITS) a number is the sum of its
// partials, in the order of the splits.  -D: ACT_F16
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
#include "activation.glsl"

layout(constant_id = 0) const uint SPLITS = 1;
layout(local_size_x = 32) in;

layout(push_constant, scalar) uniform Push { rf_push_head_rope push; };

uint splits()
{
    return SPLITS;
}

// A quad of qkv; `split_quads`: those of one split.
vec4 load_qkv(uint at, uint split_quads)
{
    if (splits() == 1) {
        return push.qkv.x[at];
    }
    vec4 sum = push.partials.x[at];
    [[unroll]] for (uint s = 1; s < SPLITS; s++) {
        sum += push.partials.x[s * split_quads + at];
    }
    return sum;
}

vec4 weight(bool is_query, uint quad)
{
    return is_query ? push.q_weight.x[quad] : push.k_weight.x[quad];
}

void main()
{
    uint m = gl_WorkGroupID.y;
    if (m >= push.counts.x.rows || gl_SubgroupID != 0) {
        return;
    }
    uint lane = gl_SubgroupInvocationID;
    uint lanes = subgroupAdd(1u); // those that exist: a subgroup may be larger than the workgroup
    uint head = gl_WorkGroupID.x;
    uint quads = push.head_dim / 4, half_quads = quads / 2;
    uint heads = push.heads + 2 * push.kv_heads, at = (m * heads + head) * quads;
    uint split_quads = push.ld * heads * quads;

    bool is_query = head < push.heads, is_value = head >= push.heads + push.kv_heads;
    uint kv_head = is_query ? 0 : (head - push.heads) % push.kv_heads;
    uint kv_row = push.rows.x[m].kv_row;
    uint page = kv_row / RF_PAGE_ROWS, page_row = kv_row % RF_PAGE_ROWS;
    uint seq = push.rows.x[m].seq;
    uint k_first = (push.layer * push.kv_heads + kv_head) * 2 * RF_PAGE_ROWS * quads;
    if (is_value) {
        uint v_first = k_first + (RF_PAGE_ROWS + page_row) * quads;
        for (uint q = lane; q < quads; q += lanes) {
            push.seqs.x[seq].pages.x[page].kv.x[v_first + q] = to_act(load_qkv(at + q, split_quads));
        }
        return;
    }

    float squares = 0.0;
    for (uint q = lane; q < quads; q += lanes) {
        vec4 value = load_qkv(at + q, split_quads);
        squares += dot(value, value);
    }
    float scale = inversesqrt(subgroupAdd(squares) / float(push.head_dim) + push.eps);
    uint angles = push.rows.x[m].position * quads;
    for (uint q = lane; q < half_quads; q += lanes) {
        uint r = q + half_quads;
        vec4 even = push.rope.x[angles + 2 * q], odd = push.rope.x[angles + 2 * q + 1];
        vec4 cosine = vec4(even.xz, odd.xz), sine = vec4(even.yw, odd.yw);
        vec4 a = load_qkv(at + q, split_quads) * scale * weight(is_query, q);
        vec4 b = load_qkv(at + r, split_quads) * scale * weight(is_query, r);
        vec4 low = a * cosine - b * sine, high = b * cosine + a * sine;
        if (is_query) {
            push.qkv.x[at + q] = low;
            push.qkv.x[at + r] = high;
        } else {
            push.seqs.x[seq].pages.x[page].kv.x[k_first + q * RF_PAGE_ROWS + page_row] = to_act(low);
            push.seqs.x[seq].pages.x[page].kv.x[k_first + r * RF_PAGE_ROWS + page_row] = to_act(high);
        }
    }
}
