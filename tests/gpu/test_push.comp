#version 450
// target[first + i] = source[i] * scale + offset for i < count: the smallest kernel with pointers, scalars and
// a workgroup size from a specialization constant. Used by the tests of engine/gpu alone.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require

layout(constant_id = 0) const uint offset = 0;
layout(local_size_x_id = 1) in;

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Words { uint x[]; };
layout(push_constant, scalar) uniform Push {
    Words source;
    Words target;
    uint count;
    uint scale;
    uint first; // of the target: beyond the span it overruns on purpose
} push;

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i >= push.count) return;
    push.target.x[push.first + i] = push.source.x[i] * push.scale + offset;
}
