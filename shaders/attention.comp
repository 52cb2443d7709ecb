// y = softmax(q K^T scale) V for one row, one kv head and the GROUP q heads that share it: q f32 from qkv, K
// and V from the pages of the row's sequence, keys [0, ctx_rows) and [seg_first, kv_row] of the virtual rows.
// f32 scores, online softmax, sums in f32. Once per layer, between head_rope and the o product (or
// attention_reduce). Keys are taken in tiles of 64. Scores: one key per invocation. Values: an invocation
// holds one quad of the head's dimensions for one of the groups into which the tile's keys are dealt. Grid:
// (kv_heads * ceil(heads / kv_heads / GROUP), rows, splits of RF_SPLIT_KEYS keys). With ACT_INT8 y is int8
// blocks, and HEAD_DIM a multiple of 32.  -D: ACT_F16, ACT_INT8
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
#include "attention.glsl"
#ifdef ACT_INT8
#include "int8.glsl"
#endif

layout(constant_id = 0) const uint GROUP = 1;     // 1..8
layout(constant_id = 1) const uint HEAD_DIM = 64; // a multiple of 8 up to 256
layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_attention push; };

const uint TILE = 64;                       // keys per tile, one per invocation
const uint QUADS = HEAD_DIM / 4;            // of one head; at most 64
const uint DEALS = TILE / QUADS;            // groups that a tile's keys are dealt into for the values

shared vec4 queries[GROUP * QUADS];         // times scale
shared float weights[GROUP * TILE];         // exp(score - max) of the tile's keys
shared uint value_page[TILE];               // of the tile's keys: page
shared uint value_at[TILE];                 // and index of the first V quad in it
shared float subgroup_words[GROUP * TILE / 4];
shared vec4 outputs[TILE * GROUP];          // [deal][head][quad]

// Largest (or sum) of value[g] over the workgroup; every invocation gets it. A subgroup has at least 4
// invocations.
void reduce_heads(inout float value[GROUP], bool largest)
{
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        value[g] = largest ? subgroupMax(value[g]) : subgroupAdd(value[g]);
        if (subgroupElect()) {
            subgroup_words[gl_SubgroupID * GROUP + g] = value[g];
        }
    }
    barrier();
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        value[g] = subgroup_words[g];
    }
    for (uint s = 1; s < gl_NumSubgroups; s++) {
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            float other = subgroup_words[s * GROUP + g];
            value[g] = largest ? max(value[g], other) : value[g] + other;
        }
    }
    barrier();
}

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint m = gl_WorkGroupID.y;
    if (m >= push.counts.x.rows) {
        return;
    }
    rf_row row = push.rows.x[m];
    uint keys = row_keys(row);
    uint split_first = gl_WorkGroupID.z * RF_SPLIT_KEYS;
    if (split_first >= keys) {
        return;
    }
    uint split_end = min(split_first + RF_SPLIT_KEYS, keys);

    uint group = push.heads / push.kv_heads, blocks = (group + GROUP - 1) / GROUP;
    uint kv_head = gl_WorkGroupID.x / blocks;
    uint group_first = gl_WorkGroupID.x % blocks * GROUP; // head within the kv head's group
    uint head_first = kv_head * group + group_first;
    // A last block may hold fewer heads; the others repeat its last one.
    uint heads = min(GROUP, group - group_first);
    uint k_first = (push.layer * push.kv_heads + kv_head) * 2 * RF_PAGE_ROWS * QUADS;
    uint v_first = k_first + RF_PAGE_ROWS * QUADS;

    uint q_first = (m * (push.heads + 2 * push.kv_heads) + head_first) * QUADS;
    for (uint i = lane; i < GROUP * QUADS; i += TILE) {
        queries[i] = push.qkv.x[q_first + min(i / QUADS, heads - 1) * QUADS + i % QUADS] * push.scale;
    }
    uint deal = lane / QUADS, quad = lane % QUADS;
    float top[GROUP], sum[GROUP];
    vec4 acc[GROUP];
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        top[g] = LOWEST;
        sum[g] = 0.0;
        acc[g] = vec4(0.0);
    }
    barrier();

    for (uint tile = split_first; tile < split_end; tile += TILE) {
        // Invocations past the last key read it again; its weight is then 0.
        bool present = tile + lane < split_end;
        uint virtual_row = key_row(row, min(tile + lane, split_end - 1));
        uint page = virtual_row / RF_PAGE_ROWS, page_row = virtual_row % RF_PAGE_ROWS;
        RfKv kv = push.seqs.x[row.seq].pages.x[page].kv;
        float score[GROUP], tile_top[GROUP];
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            score[g] = 0.0;
        }
        for (uint d = 0; d < QUADS; d++) {
            vec4 k = vec4(kv.x[k_first + d * RF_PAGE_ROWS + page_row]);
            [[unroll]] for (uint g = 0; g < GROUP; g++) {
                score[g] += dot(queries[g * QUADS + d], k);
            }
        }
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            tile_top[g] = present ? score[g] : LOWEST;
        }
        reduce_heads(tile_top, true); // its barriers also separate the last tile's reads from these writes
        value_page[lane] = page;
        value_at[lane] = v_first + page_row * QUADS;
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            float new_top = max(top[g], tile_top[g]);
            float weight = present ? exp(score[g] - new_top) : 0.0;
            float decay = exp(top[g] - new_top);
            weights[g * TILE + lane] = weight;
            sum[g] = sum[g] * decay + weight;
            acc[g] *= decay;
            top[g] = new_top;
        }
        barrier();
        uint tile_keys = min(TILE, split_end - tile);
        if (deal < DEALS) {
            for (uint t = deal; t < tile_keys; t += DEALS) {
                vec4 v = vec4(push.seqs.x[row.seq].pages.x[value_page[t]].kv.x[value_at[t] + quad]);
                [[unroll]] for (uint g = 0; g < GROUP; g++) {
                    acc[g] += weights[g * TILE + t] * v;
                }
            }
        }
    }

    reduce_heads(sum, false);
    if (deal < DEALS) {
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            outputs[(deal * GROUP + g) * QUADS + quad] = acc[g];
        }
    }
    barrier();
    bool whole = keys <= RF_SPLIT_KEYS;
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        if (g < heads && lane < QUADS) {
            vec4 total = outputs[g * QUADS + lane];
            for (uint s = 1; s < DEALS; s++) {
                total += outputs[(s * GROUP + g) * QUADS + lane];
            }
#ifdef ACT_INT8
            outputs[g * QUADS + lane] = total / sum[g]; // read by this invocation alone so far
#endif
            if (whole) {
#ifndef ACT_INT8
                push.y.x[((head_first + g) * QUADS + lane) * push.ld + m] = to_act(total / sum[g]);
#endif
            } else {
                uint at = partial_at(gl_WorkGroupID.z, push.ld, m, push.heads, head_first + g, HEAD_DIM);
                if (lane == 0) {
                    push.partials.x[at] = top[g];
                    push.partials.x[at + 1] = sum[g];
                }
                [[unroll]] for (uint c = 0; c < 4; c++) {
                    push.partials.x[at + 2 + 4 * lane + c] = total[c];
                }
            }
        }
    }
#ifdef ACT_INT8
    barrier();
    for (uint b = lane; whole && b < heads * (QUADS / 8); b += TILE) { // blocks of the heads, one behind the other
        store_int8_quads(push.y, outputs, 8 * b, head_first * (QUADS / 8) + b, m, push.ld)
    }
#endif
}
