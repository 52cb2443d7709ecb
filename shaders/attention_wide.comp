// What attention.comp makes, for devices that are CPUs: y = softmax(q K^T scale) V for one row, one kv head
// and the GROUP q heads that share it; the same inputs, outputs and partials. f32 throughout, keys in
// ascending order.
//
// One subgroup of 8 or 16 lanes, no barrier. Scores: lanes are keys, whose K quads lie side by side; values:
// lanes are dimensions of the head, whose V lie side by side; what is the same for all lanes is one
// broadcast. So every load becomes a vector load on lavapipe: 128 rows of Qwen3-0.6B took 41 ms of CPU time
// a layer in attention.comp. Weights of the split's keys wait in shared memory, which is plain memory there.
// Keys come in runs of neighbouring virtual rows: those of one page, on one side of the step from the
// context to the segment. Grid: (kv_heads * ceil(heads / kv_heads / GROUP), rows, splits of RF_SPLIT_KEYS
// keys).  -D: ACT_F16
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

layout(constant_id = 0) const uint GROUP = 1;     // 1..8
layout(constant_id = 1) const uint HEAD_DIM = 64; // a multiple of 8 up to 256
layout(local_size_x_id = 2) in;                   // lanes: one subgroup of 8 or 16

layout(push_constant, scalar) uniform Push { rf_push_attention push; };

const uint QUADS = HEAD_DIM / 4;
const uint MOST_SUMS = 16; // registers for sums of values
const uint MAX_GROUP = 8;

shared float weights[GROUP * RF_SPLIT_KEYS]; // [head][key of the split]: score, then exp(score - max)

uint lane_id()
{
    return gl_SubgroupInvocationID;
}

// Blocks of dimensions or of keys, one a lane, that are summed at a time; an expression of specialization
// constants would not be folded everywhere.
uint block_count()
{
    return (HEAD_DIM + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
}

uint blocks_at_once()
{
    return GROUP == 1 ? 8 : MOST_SUMS / GROUP;
}

// A run of keys: `count` of them from key t on, in virtual rows from `page_row` of `kv` on.
struct run {
    RfKv kv;
    uint page_row, count;
};

// lavapipe runs what is behind a condition or a loop's end once more with all lanes off, and reads what is
// the same for all lanes all the same: no index may ever leave its array, so a key past the last one is the
// last one.
run find_run(rf_row row, uint t, uint end)
{
    t = min(t, row_keys(row) - 1);
    uint first = key_row(row, t), page_row = first % RF_PAGE_ROWS;
    uint last = t < row.ctx_rows ? min(end, row.ctx_rows) : end;
    return run(push.seqs.x[row.seq].pages.x[first / RF_PAGE_ROWS].kv, page_row,
               min(last - t, RF_PAGE_ROWS - page_row));
}

// Quad `at + lane` of 8 or 16 neighbouring ones. The compiler knows each lane's number: see matmul_wide.comp.
vec4 quad_by_lane(RfKv kv, uint at)
{
    vec4 value = vec4(kv.x[at]);
    [[unroll]] for (uint j = 1; j < 16; j++) {
        if (j < gl_WorkGroupSize.x) {
            vec4 other = vec4(kv.x[at + j]);
            value = lane_id() == j ? other : value;
        }
    }
    return value;
}

// Element `lane` of the 8 or 16 that begin with quad `quad` of a head's row at `at`. Where 16 lanes reach
// past the head, the last quad is read again.
float element_by_lane(RfKv kv, uint at, uint quad)
{
    float value = 0.0;
    [[unroll]] for (uint j = 0; j < 4; j++) {
        if (4 * j < gl_WorkGroupSize.x) {
            vec4 four = vec4(kv.x[at + (j < 2 ? quad + j : min(quad + j, QUADS - 1))]);
            value = lane_id() == 4 * j ? four.x : value;
            value = lane_id() == 4 * j + 1 ? four.y : value;
            value = lane_id() == 4 * j + 2 ? four.z : value;
            value = lane_id() == 4 * j + 3 ? four.w : value;
        }
    }
    return value;
}

// Scores of `blocks` blocks of keys, one a lane, from key i of the run on, to weights[..][at..]. K is read
// in the order in which it stands, quad by quad: keys first, 8 at a time, made every read of a long cache
// wait for memory.
void score_blocks(run r, uint i, const uint blocks, uint at, uint k_first, uint q_first, uint heads,
                  inout float top[MAX_GROUP])
{
    float score[MOST_SUMS];
    [[unroll]] for (uint s = 0; s < MOST_SUMS; s++) {
        score[s] = 0.0;
    }
    // Lanes past the run read rows behind it, or the quads behind the page's last row, and are left out.
    uint from = k_first + min(r.page_row + i, RF_PAGE_ROWS - 1);
    for (uint d = 0; d < QUADS; d++) {
        [[unroll]] for (uint b = 0; b < blocks; b++) {
            vec4 k = quad_by_lane(r.kv, from + d * RF_PAGE_ROWS + b * gl_WorkGroupSize.x);
            [[unroll]] for (uint g = 0; g < GROUP; g++) {
                vec4 q = push.qkv.x[q_first + min(g, heads - 1) * QUADS + d];
                score[b * GROUP + g] += q.x * k.x;
                score[b * GROUP + g] += q.y * k.y;
                score[b * GROUP + g] += q.z * k.z;
                score[b * GROUP + g] += q.w * k.w;
            }
        }
    }
    [[unroll]] for (uint b = 0; b < blocks; b++) {
        uint key = i + b * gl_WorkGroupSize.x + lane_id();
        if (key < r.count) {
            [[unroll]] for (uint g = 0; g < GROUP; g++) {
                float scaled = score[b * GROUP + g] * push.scale;
                weights[g * RF_SPLIT_KEYS + at + key] = scaled;
                top[g] = max(top[g], scaled);
            }
        }
    }
}

// Scores of the keys [first, end) to shared memory; top[g]: the lane's largest.
void make_scores(rf_row row, uint first, uint end, uint k_first, uint q_first, uint heads,
                 inout float top[MAX_GROUP])
{
    uint many = blocks_at_once() * gl_WorkGroupSize.x;
    for (uint t = first; t < end;) {
        run r = find_run(row, t, end);
        uint i = 0;
        for (; i + many <= r.count; i += many) {
            score_blocks(r, i, blocks_at_once(), t - first, k_first, q_first, heads, top);
        }
        for (; i < r.count; i += gl_WorkGroupSize.x) {
            score_blocks(r, i, 1, t - first, k_first, q_first, heads, top);
        }
        t += r.count;
    }
}

// Scores become exp(score - top); returns the sum in sum[g].
void make_weights(uint keys, float top[MAX_GROUP], out float sum[MAX_GROUP])
{
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        sum[g] = 0.0;
        for (uint t = lane_id(); t < keys; t += gl_WorkGroupSize.x) {
            float weight = exp(weights[g * RF_SPLIT_KEYS + t] - top[g]);
            weights[g * RF_SPLIT_KEYS + t] = weight;
            sum[g] += weight;
        }
        sum[g] = subgroupAdd(sum[g]);
    }
}

// acc[b][g] = sum of weight times value over the keys, for dimension `lane` of the blocks from `block` on.
void sum_values(rf_row row, uint first, uint end, uint v_first, uint block, out float acc[MOST_SUMS])
{
    [[unroll]] for (uint i = 0; i < MOST_SUMS; i++) {
        acc[i] = 0.0;
    }
    for (uint t = first; t < end;) {
        run r = find_run(row, t, end);
        for (uint i = 0; i < r.count; i++) {
            uint at = v_first + min(r.page_row + i, RF_PAGE_ROWS - 1) * QUADS;
            uint key = min(t - first + i, RF_SPLIT_KEYS - 1);
            [[unroll]] for (uint b = 0; b < blocks_at_once(); b++) {
                // A block past the last one reads the last one again.
                uint quad = min(block + b, block_count() - 1) * (gl_WorkGroupSize.x / 4);
                float v = element_by_lane(r.kv, at, quad);
                [[unroll]] for (uint g = 0; g < GROUP; g++) {
                    acc[b * GROUP + g] += weights[g * RF_SPLIT_KEYS + key] * v;
                }
            }
        }
        t += r.count;
    }
}

void main()
{
    uint m = gl_WorkGroupID.y;
    if (m >= push.counts.x.rows) {
        return;
    }
    rf_row row = push.rows.x[m];
    uint keys = row_keys(row), first = gl_WorkGroupID.z * RF_SPLIT_KEYS;
    if (first >= keys) {
        return;
    }
    uint end = min(first + RF_SPLIT_KEYS, keys);
    uint group = push.heads / push.kv_heads, blocks = (group + GROUP - 1) / GROUP;
    uint kv_head = gl_WorkGroupID.x / blocks;
    uint group_first = gl_WorkGroupID.x % blocks * GROUP; // head within the kv head's group
    uint head_first = kv_head * group + group_first;
    // A last block may hold fewer heads; the others repeat its last one.
    uint heads = min(GROUP, group - group_first);
    uint k_first = (push.layer * push.kv_heads + kv_head) * 2 * RF_PAGE_ROWS * QUADS;
    uint v_first = k_first + RF_PAGE_ROWS * QUADS;
    uint q_first = (m * (push.heads + 2 * push.kv_heads) + head_first) * QUADS;

    float top[MAX_GROUP], sum[MAX_GROUP];
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        top[g] = LOWEST;
    }
    make_scores(row, first, end, k_first, q_first, heads, top);
    subgroupBarrier();
    [[unroll]] for (uint g = 0; g < GROUP; g++) {
        top[g] = subgroupMax(top[g]);
    }
    make_weights(end - first, top, sum);
    subgroupBarrier();

    bool whole = keys <= RF_SPLIT_KEYS;
    for (uint block = 0; block < block_count(); block += blocks_at_once()) {
        float acc[MOST_SUMS];
        sum_values(row, first, end, v_first, block, acc);
        [[unroll]] for (uint b = 0; b < blocks_at_once(); b++) {
            uint d = (block + b) * gl_WorkGroupSize.x + lane_id();
            [[unroll]] for (uint g = 0; g < GROUP; g++) {
                if (d < HEAD_DIM && g < heads) {
                    float value = acc[b * GROUP + g];
                    if (whole) {
                        push.y.x[((head_first + g) * QUADS + d / 4) * push.ld + m][d % 4] =
                            to_act(vec4(value / sum[g])).x;
                    } else {
                        uint at =
                            partial_at(gl_WorkGroupID.z, push.ld, m, push.heads, head_first + g, HEAD_DIM);
                        push.partials.x[at + 2 + d] = value;
                        if (d == 0) {
                            push.partials.x[at] = top[g];
                            push.partials.x[at + 1] = sum[g];
                        }
                    }
                }
            }
        }
    }
}
