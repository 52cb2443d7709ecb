// One row's result from its lm_head partials [tile][ld]: token = the best key's (lowest id on a tie), max =
// largest logit, sum = sum of exp(logit - max), p = min(1, exp(logit of token - max) / sum), want_p the same
// of the wanted token. f32. After lm_head; writes into the results of the row's sequence. Grid: (1, outputs).
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "refs.glsl"
#include "workgroup.glsl"

layout(local_size_x = RF_GROUP) in;

layout(push_constant, scalar) uniform Push { rf_push_logits_reduce push; };

const float LOWEST = -3.4028234e38;

void main()
{
    uint m = gl_WorkGroupID.y;
    if (m >= push.counts.x.outputs) {
        return;
    }
    rf_row row = push.rows.x[push.outputs.x[m]];
    float top = LOWEST, sum = 0.0, best_key = LOWEST;
    uint best = RF_NONE, best_tile = 0;
    for (uint t = gl_LocalInvocationID.x; t < push.tiles; t += RF_GROUP) {
        rf_partial p = push.partials.x[t * push.ld + m];
        float new_top = max(top, p.max);
        sum = sum * exp(top - new_top) + p.sum * exp(p.max - new_top);
        top = new_top;
        // Tiles ascend, so the first of equal keys has the lowest token.
        if (p.best_key > best_key || best == RF_NONE) {
            best_key = p.best_key;
            best = p.best;
            best_tile = t;
        }
    }
    float row_max = workgroup_max(top);
    float row_sum = workgroup_sum(sum * exp(top - row_max));
    float row_key = workgroup_max(best_key);
    uint token = workgroup_min(best_key == row_key ? best : RF_NONE);

    if (token == best && row.result != RF_NONE) {
        float best_logit = push.partials.x[best_tile * push.ld + m].best_logit;
        float want_p = 0.0;
        if (row.want != RF_NONE) {
            float want_logit = push.partials.x[row.want / RF_LOGIT_TILE * push.ld + m].want_logit;
            want_p = min(1.0, exp(want_logit - row_max) / row_sum);
        }
        float p = min(1.0, exp(best_logit - row_max) / row_sum);
        push.seqs.x[row.seq].results.x[row.result] = rf_result(token, p, want_p, row_max, row_sum);
    }
}
