// Between the two forwards of a COMPLETE turn: rows without an agreed token take the argmax of their own
// (unshifted) logits, and the turn's second forward gets its rows (see lay_complete_rows). One workgroup a
// sequence.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"
#include "slots.glsl"

void main()
{
    uint seq = p.sequences.x.seqs[gl_WorkGroupID.x];
    if ((p.seqs.x[seq].actions & RF_ACT_FILL) == 0) return;
    uint k = p.seqs.x[seq].slot_size;
    uint chosen = p.seqs.x[seq].state.x.chosen_count;
    uint accepted = p.seqs.x[seq].state.x.accepted;
    for (uint i = gl_LocalInvocationIndex; i < chosen * k; i += 64)
        if (i % k >= p.seqs.x[seq].tagged.x[i / k])
            p.seqs.x[seq].tokens.x[i] = p.seqs.x[seq].results.x[i].token;
    memoryBarrierBuffer();
    barrier();
    lay_complete_rows(seq, chosen, accepted, false);
}
