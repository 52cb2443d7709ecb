// Scripted judgement for `refusion bench --accept-rate`: with probability `rate` a row's probabilities
// become 1, else 0, so that a slot is chosen, and a drafted token accepted, at that rate whatever the
// weights are. Tokens and forwards stay what they are. A draw depends on seed, sequence, pass and result
// index. Runs between a forward and the slot shaders. One workgroup.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_bench_script p; };

uint scramble(uint x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

void main()
{
    for (uint i = gl_LocalInvocationID.x; i < p.counts.x.outputs; i += 64) {
        uint row = p.outputs.x[i];
        uint seq = p.rows.x[row].seq, result = p.rows.x[row].result;
        uint bits = scramble(result ^ scramble(p.seqs.x[seq].draw ^ scramble(seq ^ scramble(p.seed))));
        float judged = float(bits >> 8) * (1.0 / 16777216.0) < p.rate ? 1.0 : 0.0;
        p.seqs.x[seq].results.x[result].p = judged;
        p.seqs.x[seq].results.x[result].want_p = judged;
    }
}
