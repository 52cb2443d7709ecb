// Nothing: what a dispatch and a barrier cost by themselves. The condition is never true, but no compiler
// knows it.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_bench_math p; };

void main()
{
    if (p.loops != 0) p.sink.x[gl_GlobalInvocationID.x] = p.loops;
}
