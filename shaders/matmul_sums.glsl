// What matmul.comp and matmul_few.comp share: the product of 4 or 8 columns with ROWS rows over one octet of
// k, and the epilogues over 8 columns of a row. Included after matmul.glsl. WEIGHTS_BY_LANE: the epilogues
// only.

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

#ifndef WEIGHTS_BY_LANE
// Octet o (8 of k) of row M as x and y, times W [8].
#define LOAD_X(M) \
    vec4 x = vec4(push.x.x[2 * o * push.ldx + M]), y = vec4(push.x.x[2 * o * push.ldx + push.ldx + M]);
#define ADD(ACC, W) \
    ACC += W[0] * x.x; \
    ACC += W[1] * x.y; \
    ACC += W[2] * x.z; \
    ACC += W[3] * x.w; \
    ACC += W[4] * y.x; \
    ACC += W[5] * y.y; \
    ACC += W[6] * y.z; \
    ACC += W[7] * y.w;

// acc[r] += octet o of four columns of the block at `base` times octet o of the rows m[r].
void add_half(inout vec4 acc[MAX_ROWS], uint m[MAX_ROWS], uint base, uint o, uint half_)
{
    vec4 w[8];
    load_octet(push.w, base, push.k, o, half_, load_scale(push.w, base, push.k, o, half_), w);
#define ADD_HALF(R) { LOAD_X(m[R]) ADD(acc[R], w) }
    FOR_ROWS(ADD_HALF)
}

// The same for all 8 columns: an activation is loaded once for them, which SwiftShader has 30% of speed from.
void add_block(inout vec4 low[MAX_ROWS], inout vec4 high[MAX_ROWS], uint m[MAX_ROWS], uint base, uint o)
{
    vec4 w[8], v[8];
    load_octet(push.w, base, push.k, o, 0, load_scale(push.w, base, push.k, o, 0), w);
    load_octet(push.w, base, push.k, o, 1, load_scale(push.w, base, push.k, o, 1), v);
#define ADD_BLOCK(R) { LOAD_X(m[R]) ADD(low[R], w) ADD(high[R], v) }
    FOR_ROWS(ADD_BLOCK)
}
#endif

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

// silu(gates) * ups * scale. The exponent is bounded, so that exp stays finite for gates of any size.
vec4 swiglu(sums s)
{
    return s.low / (1.0 + exp(-max(s.low, vec4(-80.0)))) * s.high * push.scale;
}

// SWIGLU: one activation quad.
void write_swiglu(sums s, uint m, uint n)
{
    vec4 product = swiglu(s);
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

// PARTIAL: columns are whole blocks of 8.
void write_split(sums s, uint m, uint n)
{
    uint at = ((gl_WorkGroupID.z * push.ldx + m) * push.ldy + push.column_first + n) / 4;
    push.partials.x[at] = push.scale * s.low;
    push.partials.x[at + 1] = push.scale * s.high;
}

void write_sums(sums s, uint m, uint n)
{
    if (epilogue() == RF_EPILOGUE_SWIGLU) {
        write_swiglu(s, m, n);
    } else if (makes_partials()) {
        write_split(s, m, n);
    } else {
        write_columns(s, m, n);
    }
}

// REDUCE where a lane keeps one row: lane r the sums of row r.
void keep_own(inout sums own, sums total, uint r, uint lane)
{
    if (r == 0 || lane % rows() == r) {
        own = total;
    }
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
