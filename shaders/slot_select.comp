// SELECT of a round (after PLAN): which remaining slots are verified.
//   score(s) = p of the slot's first mask row; chosen = slots with score > slot_threshold in position order,
//   or the single best one (lowest index on a tie). Drafts of the chosen slots become the rows of VERIFY, one
//   segment behind the committed rows; row j wants the probability of token j + 1 inside its slot.
// Reads results [slot_count * slot_size]; writes round state, chosen, tokens, rows and the status. One
// workgroup a sequence.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"
#include "slots.glsl"

shared uint flags[64];
shared float best_p[64];
shared uint best_slot[64];

// Compacts the slots over the threshold, in order; returns how many.
uint choose(uint seq)
{
    uint lane = gl_LocalInvocationIndex, chosen = 0;
    uint count = p.seqs.x[seq].slot_count, k = p.seqs.x[seq].slot_size;
    float top = -1.0;
    uint top_slot = RF_NONE;
    for (uint tile = 0; tile < count; tile += 64) {
        uint slot = tile + lane;
        float score = slot < count ? p.seqs.x[seq].results.x[slot * k].p : -1.0;
        if (score > top) {
            top = score;
            top_slot = slot;
        }
        bool over = slot < count && score > p.seqs.x[seq].slot_threshold;
        flags[lane] = over ? 1 : 0;
        barrier();
        uint before = 0, total = 0;
        for (uint i = 0; i < 64; i++) {
            before += i < lane ? flags[i] : 0;
            total += flags[i];
        }
        if (over) p.seqs.x[seq].chosen.x[chosen + before] = slot;
        chosen += total;
        barrier();
    }
    best_p[lane] = top;
    best_slot[lane] = top_slot;
    barrier();
    if (chosen == 0) {
        for (uint i = 0; i < 64; i++) {
            if (best_p[i] > top || (best_p[i] == top && best_slot[i] < top_slot)) {
                top = best_p[i];
                top_slot = best_slot[i];
            }
        }
        // A score is a probability and so at least 0; RF_NONE is left only when every score is NaN (a broken
        // forward).
        if (lane == 0) p.seqs.x[seq].chosen.x[0] = top_slot == RF_NONE ? 0 : top_slot;
        chosen = 1;
    }
    return chosen;
}

void main()
{
    uint seq = p.sequences.x.seqs[gl_WorkGroupID.x];
    if ((p.seqs.x[seq].actions & RF_ACT_SELECT) == 0) return;
    uint k = p.seqs.x[seq].slot_size;
    uint chosen = choose(seq);
    memoryBarrierBuffer();
    barrier();
    uint committed = p.seqs.x[seq].committed;
    for (uint i = gl_LocalInvocationIndex; i < chosen * k; i += 64) {
        uint slot = p.seqs.x[seq].chosen.x[i / k], j = i % k;
        uint token = p.seqs.x[seq].results.x[slot * k + j].token;
        rf_row row;
        row.token = token;
        row.position = p.seqs.x[seq].slots.x[slot] + j;
        row.kv_row = committed + i;
        row.ctx_rows = committed;
        row.seg_first = committed;
        row.want = j + 1 < k ? p.seqs.x[seq].results.x[slot * k + j + 1].token : RF_NONE;
        row.result = j + 1 < k ? i : RF_NONE;
        row.seq = seq;
        row.flags = 0;
        p.seqs.x[seq].rows.x[i] = row;
        p.seqs.x[seq].tokens.x[i] = token;
        p.seqs.x[seq].status.words[p.seqs.x[seq].status_tokens + i] = token;
    }
    for (uint i = gl_LocalInvocationIndex; i < chosen; i += 64)
        p.seqs.x[seq].status.words[i] = p.seqs.x[seq].chosen.x[i];
    if (gl_LocalInvocationIndex == 0) {
        p.seqs.x[seq].state.x.chosen_count = chosen;
        p.seqs.x[seq].state.x.accepted = 0;
        p.seqs.x[seq].status.x.chosen_count = chosen;
        p.seqs.x[seq].status.x.committed_tokens = 0;
        p.seqs.x[seq].status.x.committed_slots = 0;
        p.seqs.x[seq].status.x.eos_slot = RF_NONE;
        p.seqs.x[seq].status.x.accepted = 0;
        p.seqs.x[seq].status.x.turn_needed = 0;
    }
}
