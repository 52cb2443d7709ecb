// x = h * weight / sqrt(mean(h^2) + eps), one row of h f32 [row][hidden] per workgroup, into activation quads
// [hidden / 4][ld]; f32 sums. Before attention, before the feed-forward part, and (GATHER) before lm_head on
// the rows that need logits. Where the product before it was split over k (SPLITS) its partials are added to
// h on the way, in the order of the splits. With ACT_INT8 into int8 blocks, one an invocation, and with BOTH
// into f16 quads as well, where a fused matrix has plain weights beside quantized ones. Grid: (1, rows), or
// (1, outputs) with GATHER.  -D: ACT_F16, ACT_INT8
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
#define RF_GROUP_MOST 256
#include "workgroup.glsl"
#ifdef ACT_INT8
#include "int8.glsl"
layout(constant_id = 3) const uint BOTH = 0;
const uint UNIT = 8; // quads that an invocation has in a row: a block
#else
layout(constant_id = 3) const uint ONE_SUBGROUP = 0; // the workgroup is one: it needs no barrier
const uint UNIT = 1;
#endif

layout(constant_id = 0) const uint GATHER = 0;
layout(constant_id = 1) const uint SPLITS = 1;
layout(local_size_x_id = 2) in;

layout(push_constant, scalar) uniform Push { rf_push_rmsnorm push; };

uint splits()
{
    return SPLITS;
}

void main()
{
    uint m = gl_WorkGroupID.y, step = gl_WorkGroupSize.x;
    if (m >= (GATHER != 0 ? push.counts.x.outputs : push.counts.x.rows)) {
        return;
    }
    uint quads = push.hidden / 4;
    uint first = (GATHER != 0 ? push.outputs.x[m] : m) * quads;
    float squares = 0.0;
    for (uint u = gl_LocalInvocationID.x; u < quads / UNIT; u += step) {
        [[unroll]] for (uint i = 0; i < UNIT; i++) {
            uint q = UNIT * u + i;
            vec4 h = push.h.x[first + q];
            if (splits() > 1) {
                vec4 sum = push.partials.x[first + q];
                [[unroll]] for (uint s = 1; s < SPLITS; s++) {
                    sum += push.partials.x[s * push.ld * quads + first + q];
                }
                h += sum;
                push.h.x[first + q] = h; // this invocation reads it again
            }
            squares += dot(h, h);
        }
    }
#ifdef ACT_INT8
    squares = workgroup_sum(squares);
#else
    if (ONE_SUBGROUP != 0) {
        squares = subgroupAdd(squares);
    } else {
        squares = workgroup_sum(squares);
    }
#endif
    float scale = inversesqrt(squares / float(push.hidden) + push.eps);
#ifdef ACT_INT8
    for (uint b = gl_LocalInvocationID.x; b < quads / UNIT; b += step) {
        vec4 v[8];
        [[unroll]] for (uint i = 0; i < UNIT; i++) {
            uint q = UNIT * b + i;
            v[i] = push.h.x[first + q] * scale * push.weight.x[q];
            if (BOTH != 0) {
                vec4 half_ = clamp(v[i], vec4(-65504.0), vec4(65504.0));
                push.quads.x[2 * (q * push.ld + m)] = packHalf2x16(half_.xy);
                push.quads.x[2 * (q * push.ld + m) + 1] = packHalf2x16(half_.zw);
            }
        }
        store_int8(push.x, v, b, m, push.ld);
    }
#else
    for (uint q = gl_LocalInvocationID.x; q < quads; q += step) {
        push.x.x[q * push.ld + m] = to_act(push.h.x[first + q] * scale * push.weight.x[q]);
    }
#endif
}
