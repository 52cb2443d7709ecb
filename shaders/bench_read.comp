// The read ceiling: streams vectors of 16 bytes, each once, and keeps their exclusive or. A workgroup reads
// `per_group` vectors one behind the other: lanes are neighbours, or with UNIFORM all lanes read the same
// one, which is how CPU drivers read best. Grid: vectors / per_group.
// -D: UNIFORM
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"

layout(local_size_x_id = RF_SPEC_LOCAL) in;

layout(push_constant, scalar) uniform Push { rf_push_bench_read p; };

void main()
{
#ifdef UNIFORM
    uint lanes = 1, first = gl_WorkGroupID.x * p.per_group;
#else
    uint lanes = gl_WorkGroupSize.x, first = gl_WorkGroupID.x * p.per_group + gl_LocalInvocationID.x;
#endif
    uvec4 a = uvec4(0), b = uvec4(0);
    for (uint i = 0; i < p.per_group; i += 8 * lanes) {
        uvec4 v0 = p.source.x[first + i], v1 = p.source.x[first + i + lanes];
        uvec4 v2 = p.source.x[first + i + 2 * lanes], v3 = p.source.x[first + i + 3 * lanes];
        uvec4 v4 = p.source.x[first + i + 4 * lanes], v5 = p.source.x[first + i + 5 * lanes];
        uvec4 v6 = p.source.x[first + i + 6 * lanes], v7 = p.source.x[first + i + 7 * lanes];
        a ^= v0 ^ v1 ^ v2 ^ v3;
        b ^= v4 ^ v5 ^ v6 ^ v7;
    }
    a ^= b;
    // Random data never give these two words, but no compiler knows it.
    if ((a.x ^ a.y ^ a.z ^ a.w) == 0x9e3779b9u && a.x == 0x7f4a7c15u) p.sink.x[0] = 1;
}
