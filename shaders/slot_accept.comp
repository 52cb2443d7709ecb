// After VERIFY and after each COMPLETE turn: which tokens agree, what is committed, what comes next.
//   A token j >= 1 of a slot agrees when want_p of row j - 1 > token_threshold; the first one always does.
//   VERIFY: commits the whole slots of the leading agreed run, or up to the first eos inside it; with
//   nothing to commit it lays the rows of the first COMPLETE turn. COMPLETE: extends each slot's agreed run,
//   looks for eos, and either lays the next turn's rows or commits all chosen slots up to the first eos
//   (kv_commit then moves their KV rows).
//   Sequential decoding: copies the tokens of results 0 and 1 to the status.
// Writes round state, tagged, rows and the status. One workgroup a sequence; integers and comparisons only.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"
#include "slots.glsl"

shared uint first_wrong;   // first token of the concatenation that does not agree
shared uint first_eos;     // first eos among the tokens that count, in the concatenation
shared uint fewest;        // smallest agreed run of a slot
shared uint eos_slot;      // first slot that holds an agreed eos

// Length of the agreed run of slot i, when the first `known` tokens are agreed without being asked.
uint agreed_run(uint seq, uint i, uint k, uint known)
{
    uint run = known;
    while (run < k && p.seqs.x[seq].results.x[i * k + run - 1].want_p > p.seqs.x[seq].token_threshold) run++;
    return run;
}

void write_commit(uint seq, uint tokens, uint slots, uint eos, bool copy)
{
    p.seqs.x[seq].status.x.committed_tokens = tokens;
    p.seqs.x[seq].status.x.committed_slots = slots;
    p.seqs.x[seq].status.x.eos_slot = eos;
    p.seqs.x[seq].state.x.commit_rows = copy ? tokens : 0;
    p.seqs.x[seq].state.x.commit_x = copy ? tokens : 0;
}

void after_verify(uint seq, uint chosen, uint k)
{
    for (uint i = gl_LocalInvocationIndex; i < chosen; i += 64) {
        uint run = agreed_run(seq, i, k, 1);
        p.seqs.x[seq].tagged.x[i] = run;
        if (run < k) atomicMin(first_wrong, i * k + run);
        for (uint j = 0; j < k; j++)
            if (is_eos(seq, p.seqs.x[seq].tokens.x[i * k + j])) atomicMin(first_eos, i * k + j);
    }
    memoryBarrierBuffer();
    barrier();
    bool ends = first_eos < first_wrong;
    uint tokens = ends ? first_eos + 1 : min(first_wrong, chosen * k) / k * k;
    bool turn = tokens == 0;
    if (turn) lay_complete_rows(seq, chosen, 0, true);
    if (gl_LocalInvocationIndex == 0) {
        write_commit(seq, tokens, (tokens + k - 1) / k, ends ? first_eos / k : RF_NONE, false);
        p.seqs.x[seq].state.x.accepted = 0;
        p.seqs.x[seq].status.x.accepted = 0;
        p.seqs.x[seq].status.x.turn_needed = turn ? 1 : 0;
    }
}

void after_turn(uint seq, uint chosen, uint k)
{
    uint accepted = p.seqs.x[seq].state.x.accepted;
    for (uint i = gl_LocalInvocationIndex; i < chosen; i += 64) {
        // What was agreed before the turn stays, and the token behind it was predicted from it: one more
        // without asking.
        uint run = agreed_run(seq, i, k, min(p.seqs.x[seq].tagged.x[i] + 1, k));
        p.seqs.x[seq].tagged.x[i] = run;
        for (uint j = accepted; j < run; j++)
            if (is_eos(seq, p.seqs.x[seq].tokens.x[i * k + j])) atomicMin(eos_slot, i);
    }
    memoryBarrierBuffer();
    barrier();
    uint kept = eos_slot != RF_NONE ? eos_slot + 1 : chosen;
    if (eos_slot != RF_NONE && gl_LocalInvocationIndex == 0) p.seqs.x[seq].tagged.x[eos_slot] = k;
    memoryBarrierBuffer();
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < kept; i += 64) {
        atomicMin(fewest, p.seqs.x[seq].tagged.x[i]);
        for (uint j = 0; j < k; j++)
            if (is_eos(seq, p.seqs.x[seq].tokens.x[i * k + j])) atomicMin(first_eos, i * k + j);
    }
    barrier();
    bool turn = fewest < k;
    // The last agreed row is computed again while a turn follows, because its logits judge the token behind
    // it.
    accepted = turn ? fewest - 1 : fewest;
    if (turn) lay_complete_rows(seq, kept, accepted, true);
    for (uint i = gl_LocalInvocationIndex; i < kept * k; i += 64)
        p.seqs.x[seq].status.words[p.seqs.x[seq].status_tokens + i] = p.seqs.x[seq].tokens.x[i];
    if (gl_LocalInvocationIndex == 0) {
        // An eos that was found in an earlier turn is no longer among the rows asked above, but still in the
        // tokens.
        bool cut = !turn && first_eos != RF_NONE;
        uint tokens = turn ? 0 : cut ? first_eos + 1 : kept * k;
        write_commit(seq, tokens, turn ? 0 : kept, cut ? first_eos / k : RF_NONE, true);
        p.seqs.x[seq].state.x.chosen_count = kept;
        p.seqs.x[seq].state.x.accepted = accepted;
        p.seqs.x[seq].status.x.chosen_count = kept;
        p.seqs.x[seq].status.x.accepted = accepted;
        p.seqs.x[seq].status.x.turn_needed = turn ? 1 : 0;
    }
}

void main()
{
    uint seq = p.sequences.x.seqs[gl_WorkGroupID.x];
    uint actions = p.seqs.x[seq].actions;
    if (gl_LocalInvocationIndex == 0) {
        first_wrong = RF_NONE;
        first_eos = RF_NONE;
        fewest = RF_NONE;
        eos_slot = RF_NONE;
    }
    barrier();
    uint chosen = p.seqs.x[seq].state.x.chosen_count, k = p.seqs.x[seq].slot_size;
    if ((actions & RF_ACT_VERIFY) != 0) after_verify(seq, chosen, k);
    if ((actions & RF_ACT_TURN) != 0) after_turn(seq, chosen, k);
    if ((actions & RF_ACT_COPY) != 0 && gl_LocalInvocationIndex < 2)
        p.seqs.x[seq].status.words[p.seqs.x[seq].status_tokens + gl_LocalInvocationIndex] =
            p.seqs.x[seq].results.x[gl_LocalInvocationIndex].token;
}
