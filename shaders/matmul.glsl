// What all matmul shaders share: specialization, push constants, and what lm_head leaves of a row's logits.
// Included after refs.glsl.

#include "noise.glsl"
#include "weights.glsl"

layout(constant_id = RF_SPEC_EPILOGUE) const uint EPILOGUE = RF_EPILOGUE_STORE;
layout(constant_id = RF_SPEC_ROWS) const uint ROWS = 1;
layout(local_size_x_id = RF_SPEC_LOCAL) in;

layout(push_constant, scalar) uniform Push { rf_push_matmul push; };

const float LOWEST = -3.4028234e38;

uint rows()
{
    return ROWS;
}

uint epilogue()
{
    return EPILOGUE;
}

bool makes_logits()
{
    return epilogue() == RF_EPILOGUE_REDUCE || epilogue() == RF_EPILOGUE_LOGITS;
}

bool makes_partials()
{
    return epilogue() == RF_EPILOGUE_PARTIAL;
}

// Octets of k that this workgroup sums: its split's.
uint octet_first()
{
    return makes_partials() ? gl_WorkGroupID.z * push.split_octets : 0;
}

uint octet_end()
{
    uint octets = push.k / 8;
    return makes_partials() ? min((gl_WorkGroupID.z + 1) * push.split_octets, octets) : octets;
}

uint row_count()
{
    return makes_logits() ? push.counts.x.outputs : push.counts.x.rows;
}

// REDUCE: what a row needs to know beside its logits.
struct draw {
    uint want;
    float inverse_temperature; // 0: the key is the logit
    uvec2 noise;
};

draw row_draw(uint m)
{
    // Bounded, because lavapipe reads this even where there is no output at all, see attention_wide.comp.
    rf_row row = push.rows.x[min(push.outputs.x[m], RF_MAX_ROWS - 1)];
    draw d = draw(row.want, 0.0, uvec2(0));
    if ((row.flags & RF_ROW_SAMPLE) != 0) {
        uint seq = min(row.seq, RF_MAX_SEQS - 1);
        d.inverse_temperature = push.seqs.x[seq].inverse_temperature;
        d.noise = rf_noise_row(push.seqs.x[seq].seed_low, push.seqs.x[seq].seed_high, row.position,
                               push.seqs.x[seq].draw);
    }
    return d;
}

// The partial of no column yet; `first` is the lowest token of the tile.
rf_partial empty_partial(uint first)
{
    return rf_partial(LOWEST, 0.0, first, LOWEST, LOWEST, 0.0);
}

// In the order of rf_partial's members.
void write_partial(rf_partial p, uint m, uint n)
{
    uint at = 6 * ((push.column_first + n) / RF_LOGIT_TILE * push.ldy + m);
    push.y.x[at] = floatBitsToUint(p.max);
    push.y.x[at + 1] = floatBitsToUint(p.sum);
    push.y.x[at + 2] = p.best;
    push.y.x[at + 3] = floatBitsToUint(p.best_key);
    push.y.x[at + 4] = floatBitsToUint(p.best_logit);
    push.y.x[at + 5] = floatBitsToUint(p.want_logit);
}
