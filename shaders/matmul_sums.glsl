// What the matmul shaders share that make sums of 8 columns of a row: unrolled rows and columns, and the epilogues.
// Included after matmul.glsl.

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
