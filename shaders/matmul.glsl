// What matmul.comp and matmul_few.comp share: specialization, push constants, the product of 8 columns with
// ROWS rows over one octet of k, and the epilogues. Included after refs.glsl.

#include "weights.glsl"
#include "noise.glsl"

layout(constant_id = RF_SPEC_EPILOGUE) const uint EPILOGUE = RF_EPILOGUE_STORE;
layout(constant_id = RF_SPEC_ROWS) const uint ROWS = 1;
layout(local_size_x_id = RF_SPEC_LOCAL) in;

layout(push_constant, scalar) uniform Push { rf_push_matmul push; };

// Rows and columns are unrolled by macros with constant indices: SwiftShader does not unroll loops, and an
// array that is indexed by a variable costs it ten times what registers do. Conditions go through functions,
// because glslang would make OpSpecConstantOp of an expression of specialization constants, which SwiftShader
// does not fold.
const uint MAX_ROWS = 8;
#define FOR_ROWS(DO) \
    DO(0) \
    if (rows() > 1) { DO(1) } \
    if (rows() > 2) { DO(2) DO(3) } \
    if (rows() > 4) { DO(4) DO(5) DO(6) DO(7) }
#define FOR_COLUMNS(DO) \
    DO(0, low.x) DO(1, low.y) DO(2, low.z) DO(3, low.w) \
    DO(4, high.x) DO(5, high.y) DO(6, high.z) DO(7, high.w)

// Sums of one row over RF_COLUMNS columns: low has columns 0..3, high 4..7.
struct sums {
    vec4 low, high;
};

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

uint row_count()
{
    return makes_logits() ? push.counts.x.outputs : push.counts.x.rows;
}

// acc[r] += octet o of the columns n..n+7 times octet o of the rows m[r].
void add_octet(inout sums acc[MAX_ROWS], uint m[MAX_ROWS], uint n, uint o)
{
    uint octets = push.k / 8, first = n * octets + o;
    uint x_first = 2 * o * push.ldx;
    vec4 x_low[MAX_ROWS], x_high[MAX_ROWS];
#define LOAD_ROW(R) \
    x_low[R] = vec4(push.x.x[x_first + m[R]]); \
    x_high[R] = vec4(push.x.x[x_first + push.ldx + m[R]]);
    FOR_ROWS(LOAD_ROW)
#define ADD_ROW(R, SUM) \
    acc[R].SUM += w_low.x * x_low[R].x; \
    acc[R].SUM += w_low.y * x_low[R].y; \
    acc[R].SUM += w_low.z * x_low[R].z; \
    acc[R].SUM += w_low.w * x_low[R].w; \
    acc[R].SUM += w_high.x * x_high[R].x; \
    acc[R].SUM += w_high.y * x_high[R].y; \
    acc[R].SUM += w_high.z * x_high[R].z; \
    acc[R].SUM += w_high.w * x_high[R].w;
#define ADD_COLUMN(C, SUM) \
    load_octet(push.w, first + C * octets, w_low, w_high); \
    ADD_ROW(0, SUM) \
    if (rows() > 1) { ADD_ROW(1, SUM) } \
    if (rows() > 2) { ADD_ROW(2, SUM) ADD_ROW(3, SUM) } \
    if (rows() > 4) { ADD_ROW(4, SUM) ADD_ROW(5, SUM) ADD_ROW(6, SUM) ADD_ROW(7, SUM) }
    vec4 w_low, w_high;
    FOR_COLUMNS(ADD_COLUMN)
}

// STORE, RESIDUAL, LOGITS: columns n..n+7 of row m, those past the last column left out.
void write_columns(sums s, uint m, uint n)
{
    uint at = m * push.ldy + push.column_first + n;
    bool add = epilogue() == RF_EPILOGUE_RESIDUAL;
#define WRITE_COLUMN(C, SUM) \
    if (n + C < push.columns) { \
        float before = add ? uintBitsToFloat(push.y.x[at + C]) : 0.0; \
        push.y.x[at + C] = floatBitsToUint(add ? before + push.scale * s.SUM : s.SUM); \
    }
    FOR_COLUMNS(WRITE_COLUMN)
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
    push.y.x[4 * quad] = floatBitsToUint(product.x);
    push.y.x[4 * quad + 1] = floatBitsToUint(product.y);
    push.y.x[4 * quad + 2] = floatBitsToUint(product.z);
    push.y.x[4 * quad + 3] = floatBitsToUint(product.w);
#endif
}

void write_sums(sums s, uint m, uint n)
{
    if (epilogue() == RF_EPILOGUE_SWIGLU) {
        write_swiglu(s, m, n);
    } else {
        write_columns(s, m, n);
    }
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
void take_logits(inout rf_partial p, draw d, sums s, uint n)
{
    float logits[RF_COLUMNS] =
        float[RF_COLUMNS](s.low.x, s.low.y, s.low.z, s.low.w, s.high.x, s.high.y, s.high.z, s.high.w);
    uint present = min(push.columns - n, RF_COLUMNS);
    float top = p.max;
    for (uint c = 0; c < RF_COLUMNS; c++) {
        top = c < present ? max(top, logits[c]) : top;
    }
    p.sum *= exp(p.max - top);
    p.max = top;
    for (uint c = 0; c < RF_COLUMNS; c++) {
        if (c < present) {
            uint token = push.column_first + n + c;
            float key = logits[c];
            if (d.inverse_temperature > 0.0) {
                key = key * d.inverse_temperature + rf_gumbel(d.noise, token);
            }
            p.sum += exp(logits[c] - top);
            if (key > p.best_key) {
                p.best = token;
                p.best_key = key;
                p.best_logit = logits[c];
            }
            p.want_logit = token == d.want ? logits[c] : p.want_logit;
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
