// y = sum_s exp(max_s - max) o_s / sum_s exp(max_s - max) sum_s over the splits s of one row and head:
// combines what attention left of rows with more than RF_SPLIT_KEYS keys, in split order; f32. Once per layer
// when there is such a row. With ACT_INT8 into int8 blocks. Grid: (heads, rows).  -D: ACT_F16, ACT_INT8
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "refs.glsl"
#include "attention.glsl"
#ifdef ACT_INT8
#include "int8.glsl"
shared vec4 outputs[64]; // quads of the head
#endif

layout(local_size_x = 32) in;

layout(push_constant, scalar) uniform Push { rf_push_attention_reduce push; };

void main()
{
    uint m = gl_WorkGroupID.y;
    if (m >= push.counts.x.rows) {
        return;
    }
    uint keys = row_keys(push.rows.x[m]);
    if (keys <= RF_SPLIT_KEYS) {
        return;
    }
    uint splits = (keys + RF_SPLIT_KEYS - 1) / RF_SPLIT_KEYS;
    uint head = gl_WorkGroupID.x, quads = push.head_dim / 4;
    for (uint q = gl_LocalInvocationID.x; q < quads; q += gl_WorkGroupSize.x) {
        float top = LOWEST, sum = 0.0;
        vec4 acc = vec4(0.0);
        for (uint s = 0; s < splits; s++) {
            // Bounded, because lavapipe reads a step past the end, see attention_wide.comp.
            uint at = partial_at(min(s, splits - 1), push.ld, m, push.heads, head, push.head_dim);
            float split_top = push.partials.x[at], new_top = max(top, split_top);
            float decay = exp(top - new_top), scale = exp(split_top - new_top);
            uint o = at + 2 + 4 * q;
            sum = sum * decay + push.partials.x[at + 1] * scale;
            vec4 values = vec4(push.partials.x[o], push.partials.x[o + 1], push.partials.x[o + 2],
                               push.partials.x[o + 3]);
            acc = acc * decay + scale * values;
            top = new_top;
        }
#ifdef ACT_INT8
        outputs[q] = acc / sum;
#else
        push.y.x[(head * quads + q) * push.ld + m] = to_act(acc / sum);
#endif
    }
#ifdef ACT_INT8
    barrier();
    for (uint b = gl_LocalInvocationID.x; b < quads / 8; b += gl_WorkGroupSize.x) {
        store_int8_quads(push.y, outputs, 8 * b, head * (quads / 8) + b, m, push.ld)
    }
#endif
}
