#version 450
// Takes the push constants of slot_fill and keeps more in private memory than registers hold, at places that only
// running tells. For `profile --static`: nobody runs it.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require

layout(local_size_x = 64) in;
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Words { uint x[]; };
layout(push_constant, scalar) uniform Push {
    Words seqs;
    Words sequences;
} push;

void main()
{
    uint kept[1024];
    for (uint i = 0; i < 1024; i++) kept[i] = push.seqs.x[i];
    for (uint i = 0; i < 1024; i++) kept[push.sequences.x[i] & 1023] += kept[(i * 7 + gl_LocalInvocationID.x) & 1023];
    for (uint i = 0; i < 1024; i++) push.sequences.x[i] = kept[i];
}
