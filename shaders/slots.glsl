// What slot_select, slot_fill and slot_accept share: their bindings, and how they lay the rows of the next
// forward.

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_slots p; };

bool is_eos(uint seq, uint token)
{
    bool hit = false;
    for (uint i = 0; i < p.seqs.x[seq].eos_count; i++) hit = hit || p.seqs.x[seq].eos[i] == token;
    return hit;
}

// The rows acc..k-1 of every chosen slot for a COMPLETE forward, each slot a segment of its own in scratch.
// Predict: masks where nothing is agreed yet, and only these want a result. Verify: the tokens, each wanting
// the next one's probability where its predecessor had not been agreed before.
void lay_complete_rows(uint seq, uint chosen, uint accepted, bool predict)
{
    uint k = p.seqs.x[seq].slot_size;
    uint width = k - accepted;
    for (uint i = gl_LocalInvocationIndex; i < chosen * width; i += gl_WorkGroupSize.x) {
        uint slot = i / width, j = accepted + i % width;
        uint at = slot * k + j;
        uint tagged = p.seqs.x[seq].tagged.x[slot];
        rf_row row;
        row.token = predict && j >= tagged ? p.seqs.x[seq].mask_token : p.seqs.x[seq].tokens.x[at];
        row.position = p.seqs.x[seq].slots.x[p.seqs.x[seq].chosen.x[slot]] + j;
        row.kv_row = p.seqs.x[seq].scratch_first + at;
        row.ctx_rows = p.seqs.x[seq].committed;
        row.seg_first = p.seqs.x[seq].scratch_first + slot * k;
        bool judged = !predict && j + 1 < k && j >= tagged;
        row.want = judged ? p.seqs.x[seq].tokens.x[at + 1] : RF_NONE;
        row.result = judged || (predict && j >= tagged) ? at : RF_NONE;
        row.seq = seq;
        row.flags = 0;
        p.seqs.x[seq].rows.x[i] = row;
    }
}
