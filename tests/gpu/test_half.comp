#version 450
// Doubles halves: needs the fp16 tier. Used by the tests of engine/gpu alone.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

layout(local_size_x = 8, local_size_y = 2) in;

layout(buffer_reference, scalar, buffer_reference_align = 2) buffer Halves { float16_t x[]; };
layout(push_constant, scalar) uniform Push {
    Halves values;
    uint count; // C pads the struct to 16 bytes
} push;

void main()
{
    uint i = gl_WorkGroupID.x * 16 + gl_LocalInvocationIndex;
    if (i < push.count) push.values.x[i] = push.values.x[i] + push.values.x[i];
}
