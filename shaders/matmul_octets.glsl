// What matmul.comp and matmul_few.comp share: the product of 4 or 8 columns with ROWS rows over one octet of k.
// Included after matmul_sums.glsl.

layout(constant_id = RF_SPEC_BY_COLUMN) const uint BY_COLUMN = 0;

uint by_column()
{
    return BY_COLUMN;
}

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
void add_rows(inout vec4 low[MAX_ROWS], inout vec4 high[MAX_ROWS], uint m[MAX_ROWS], vec4 w[8], vec4 v[8], uint o)
{
#define ADD_BLOCK(R) { LOAD_X(m[R]) ADD(low[R], w) ADD(high[R], v) }
    FOR_ROWS(ADD_BLOCK)
}

// Column by column: 8 weights stay in registers for all rows.
void add_columns(inout vec4 low[MAX_ROWS], inout vec4 high[MAX_ROWS], uint m[MAX_ROWS], vec4 w[8], vec4 v[8],
                 uint o)
{
    vec4 xs[MAX_ROWS], ys[MAX_ROWS];
#define LOAD_ALL(R) { LOAD_X(m[R]) xs[R] = x; ys[R] = y; }
    FOR_ROWS(LOAD_ALL)
#define ADD_COLUMN(ACC, W, C) \
    ADD_TO_COLUMN(0, ACC, W, C) \
    if (rows() > 1) { ADD_TO_COLUMN(1, ACC, W, C) } \
    if (rows() > 2) { ADD_TO_COLUMN(2, ACC, W, C) ADD_TO_COLUMN(3, ACC, W, C) } \
    if (rows() > 4) { ADD_TO_COLUMN(4, ACC, W, C) ADD_TO_COLUMN(5, ACC, W, C) } \
    if (rows() > 4) { ADD_TO_COLUMN(6, ACC, W, C) ADD_TO_COLUMN(7, ACC, W, C) }
#define ADD_TO_COLUMN(R, ACC, W, C) \
    ACC[R].C += W[0].C * xs[R].x; \
    ACC[R].C += W[1].C * xs[R].y; \
    ACC[R].C += W[2].C * xs[R].z; \
    ACC[R].C += W[3].C * xs[R].w; \
    ACC[R].C += W[4].C * ys[R].x; \
    ACC[R].C += W[5].C * ys[R].y; \
    ACC[R].C += W[6].C * ys[R].z; \
    ACC[R].C += W[7].C * ys[R].w;
    ADD_COLUMN(low, w, x)
    ADD_COLUMN(low, w, y)
    ADD_COLUMN(low, w, z)
    ADD_COLUMN(low, w, w)
    ADD_COLUMN(high, v, x)
    ADD_COLUMN(high, v, y)
    ADD_COLUMN(high, v, z)
    ADD_COLUMN(high, v, w)
}

void add_block(inout vec4 low[MAX_ROWS], inout vec4 high[MAX_ROWS], uint m[MAX_ROWS], uint base, uint o)
{
    vec4 w[8], v[8];
    load_octet(push.w, base, push.k, o, 0, load_scale(push.w, base, push.k, o, 0), w);
    load_octet(push.w, base, push.k, o, 1, load_scale(push.w, base, push.k, o, 1), v);
    if (by_column() != 0) {
        add_columns(low, high, m, w, v, o);
    } else {
        add_rows(low, high, m, w, v, o);
    }
}
