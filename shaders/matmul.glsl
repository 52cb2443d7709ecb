// What matmul.comp and matmul_few.comp share: specialization, push constants, the product of 8 columns with ROWS rows
// over one octet of k, and the epilogues. Included after refs.glsl.

#include "weights.glsl"
#include "noise.glsl"

layout(constant_id = RF_SPEC_EPILOGUE) const uint EPILOGUE = RF_EPILOGUE_STORE;
layout(constant_id = RF_SPEC_ROWS) const uint ROWS = 1;
layout(local_size_x_id = RF_SPEC_LOCAL) in;

layout(push_constant, scalar) uniform Push { rf_push_matmul push; };

// Sums of one row over RF_COLUMNS columns: low has columns 0..3, high 4..7.
struct sums {
    vec4 low, high;
};

const float LOWEST = -3.4028234e38;

bool makes_logits()
{
    return EPILOGUE == RF_EPILOGUE_REDUCE || EPILOGUE == RF_EPILOGUE_LOGITS;
}

uint row_count()
{
    return makes_logits() ? push.counts.x.outputs : push.counts.x.rows;
}

#define COLUMN(C, SUM) \
    { \
        vec4 low, high; \
        load_octet(push.w, first + C * octets, low, high); \
        [[unroll]] for (uint r = 0; r < ROWS; r++) { \
            SUM += low.x * x_low[r].x; \
            SUM += low.y * x_low[r].y; \
            SUM += low.z * x_low[r].z; \
            SUM += low.w * x_low[r].w; \
            SUM += high.x * x_high[r].x; \
            SUM += high.y * x_high[r].y; \
            SUM += high.z * x_high[r].z; \
            SUM += high.w * x_high[r].w; \
        } \
    }

// acc[r] += octet o of the columns n..n+7 times octet o of the rows m[r].
void add_octet(inout sums acc[ROWS], uint m[ROWS], uint n, uint o)
{
    vec4 x_low[ROWS], x_high[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        x_low[r] = vec4(push.x.x[2 * o * push.ldx + m[r]]);
        x_high[r] = vec4(push.x.x[(2 * o + 1) * push.ldx + m[r]]);
    }
    uint octets = push.k / 8;
    uint first = n * octets + o;
    COLUMN(0, acc[r].low.x)
    COLUMN(1, acc[r].low.y)
    COLUMN(2, acc[r].low.z)
    COLUMN(3, acc[r].low.w)
    COLUMN(4, acc[r].high.x)
    COLUMN(5, acc[r].high.y)
    COLUMN(6, acc[r].high.z)
    COLUMN(7, acc[r].high.w)
}

float column(sums s, uint c)
{
    return c < 4 ? s.low[c] : s.high[c - 4];
}

// STORE, RESIDUAL, LOGITS: columns n..n+7 of row m, those past the last column left out.
void write_columns(sums s, uint m, uint n)
{
    uint at = m * push.ldy + push.column_first + n;
    [[unroll]] for (uint c = 0; c < RF_COLUMNS; c++) {
        if (n + c < push.columns) {
            float value = column(s, c);
            if (EPILOGUE == RF_EPILOGUE_RESIDUAL) {
                value = uintBitsToFloat(push.y.x[at + c]) + push.scale * value;
            }
            push.y.x[at + c] = floatBitsToUint(value);
        }
    }
}

// SWIGLU: one activation quad. The exponent is bounded, so that exp stays finite for gates of any size.
void write_swiglu(sums s, uint m, uint n)
{
    vec4 product = s.low / (1.0 + exp(-max(s.low, vec4(-80.0)))) * s.high * push.scale;
    uint quad = (push.column_first + n) / RF_COLUMNS * push.ldy + m;
#ifdef ACT_F16
    product = clamp(product, vec4(-65504.0), vec4(65504.0));
    push.y.x[2 * quad] = packHalf2x16(product.xy);
    push.y.x[2 * quad + 1] = packHalf2x16(product.zw);
#else
    [[unroll]] for (uint c = 0; c < 4; c++) {
        push.y.x[4 * quad + c] = floatBitsToUint(product[c]);
    }
#endif
}

// REDUCE: what a row needs to know beside its logits.
struct draw {
    uint want;
    float inverse_temperature; // 0: the key is the logit
    uvec2 noise;
};

draw row_draw(uint m)
{
    rf_row row = push.rows.x[push.outputs.x[m]];
    draw d = draw(row.want, 0.0, uvec2(0));
    if ((row.flags & RF_ROW_SAMPLE) != 0) {
        d.inverse_temperature = push.seqs.x[row.seq].inverse_temperature;
        d.noise = rf_noise_row(push.seqs.x[row.seq].seed_low, push.seqs.x[row.seq].seed_high, row.position,
                               push.seqs.x[row.seq].draw);
    }
    return d;
}

// The partial of no column yet; `first` is the lowest token of the tile.
rf_partial empty_partial(uint first)
{
    return rf_partial(LOWEST, 0.0, first, LOWEST, LOWEST, 0.0);
}

// Takes the logits of the columns n..n+7 into a partial, in ascending order: the first of equal keys stays.
void take_logits(inout rf_partial p, draw d, sums logits, uint n)
{
    float top = p.max;
    [[unroll]] for (uint c = 0; c < RF_COLUMNS; c++) {
        top = n + c < push.columns ? max(top, column(logits, c)) : top;
    }
    p.sum *= exp(p.max - top);
    p.max = top;
    [[unroll]] for (uint c = 0; c < RF_COLUMNS; c++) {
        if (n + c < push.columns) {
            uint token = push.column_first + n + c;
            float logit = column(logits, c);
            float key = logit;
            if (d.inverse_temperature > 0.0) {
                key = logit * d.inverse_temperature + rf_gumbel(d.noise, token);
            }
            p.sum += exp(logit - top);
            if (key > p.best_key) {
                p.best = token;
                p.best_key = key;
                p.best_logit = logit;
            }
            p.want_logit = token == d.want ? logit : p.want_logit;
        }
    }
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
