// y = epilogue(x w^T) for devices that are CPUs: x [M][k] in quads [k / 4][ldx], w [columns][k] in blocks of
// 8 columns (weights.glsl); f32 sums over k in ascending order, four of them where an invocation has one
// row, two where it has two. Every product of the network, for any number of rows.
//
// Lanes are columns: the words that the lanes of a subgroup read lie side by side, and an activation is the
// same for all of them. On lavapipe that makes vector loads of the weights and multiplications by a
// broadcast memory operand, with no gather, no shared memory and no barrier: 58 GFLOP/s a core at 16 rows,
// where lanes that are rows make 24 at 32 (SPEED.md). All rows of a forward go through one invocation, ROWS at
// a time: weights come from memory once and after that from the core's own cache. A row's result depends on
// ROWS only.
//
// Workgroup: one subgroup of 8 or 16 lanes (LOCAL). Grid: (columns / LOCAL rounded up, 1), tiles of
// RF_LOGIT_TILE columns with REDUCE.  -D: ACT_F16 (activations), WEIGHT_...
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#define WEIGHTS_BY_LANE
#include "refs.glsl"
#include "matmul.glsl"

// Words of the lane's column and the next block of 8 columns (16 lanes span two).
uint next_block;

uint lane_id()
{
    return gl_SubgroupInvocationID;
}

// The compiler knows each lane's number: what looks like a chain of selections is one vector load.
uint pick4(uvec4 u, uint lane, uint first, uint v)
{
    v = lane == first ? u.x : v;
    v = lane == first + 1 ? u.y : v;
    v = lane == first + 2 ? u.z : v;
    return lane == first + 3 ? u.w : v;
}

uint load_words(RfWeights w, uint at, uint half_)
{
    uint lane = lane_id(), v = pick4(w.x[at + 1], lane, 4, pick4(w.x[at], lane, 0, 0));
    if (gl_WorkGroupSize.x > 8) {
        at += next_block;
        v = pick4(w.x[at + 1], lane, 12, pick4(w.x[at], lane, 8, v));
    }
    return v;
}

// Eight f16 in one uvec4, one a column.
float load_halves(RfWeights w, uint at, uint half_)
{
    uint lane = lane_id(), v = pick4(w.x[at], lane / 2, 0, 0);
    if (gl_WorkGroupSize.x > 8) {
        v = pick4(w.x[at + next_block], lane / 2, 4, v);
    }
    return unpackHalf2x16(lane % 2 == 0 ? v : v >> 16).x;
}

const uint MAX_ROWS = 16;
// Octets of k at a time, so that the loop's own work does not count, and a scale is loaded once for all that have it. Weights
// without scales are as fast with one octet and many rows, and a second start is 20 ms shorter on Mesa 26.1.6: the driver
// goes through what it unrolls each time.
const uint STEP = SCALE_OCTETS == 1 && ROWS > 4 ? 1 : 4;

// Sums that a row has: a chain of additions waits for each of them.
uint chains()
{
    return ROWS == 1 ? 4 : ROWS == 2 ? 2 : 1;
}

// acc += octet o of the lane's column times octet o of the rows first.. .
void add_octet(inout float acc[MAX_ROWS], uint base, uint o, scale s, uint x_at)
{
    float w[8];
    load_octet(push.w, base, push.k, o, 0, s, w);
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        vec4 low = vec4(push.x.x[x_at + r]), high = vec4(push.x.x[x_at + push.ldx + r]);
        uint a = r, b = r + (ROWS <= 2 ? ROWS : 0), c = r + (ROWS == 1 ? 2 : 0), d = b + (ROWS == 1 ? 2 : 0);
        acc[a] += low.x * w[0];
        acc[b] += low.y * w[1];
        acc[c] += low.z * w[2];
        acc[d] += low.w * w[3];
        acc[a] += high.x * w[4];
        acc[b] += high.y * w[5];
        acc[c] += high.z * w[6];
        acc[d] += high.w * w[7];
    }
}

// Sums of the lane's column of the block at `base` over all k, for the rows first.. .
void multiply(out float acc[MAX_ROWS], uint base, uint first)
{
    [[unroll]] for (uint r = 0; r < ROWS * chains(); r++) {
        acc[r] = 0.0;
    }
    uint octets = push.k / 8, o = 0, x_at = first, step = 2 * push.ldx;
    for (; o + STEP <= octets; o += STEP) {
        scale s;
        [[unroll]] for (uint u = 0; u < STEP; u++) {
            if (u % SCALE_OCTETS == 0) {
                s = load_scale(push.w, base, push.k, o + u, 0);
            }
            add_octet(acc, base, o + u, s, x_at + u * step);
        }
        x_at += STEP * step;
    }
    for (; o < octets; o++) { // none with quantized weights
        add_octet(acc, base, o, load_scale(push.w, base, push.k, o, 0), x_at);
        x_at += step;
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        if (ROWS == 1) {
            acc[r] = acc[r] + acc[r + 1] + (acc[r + 2] + acc[r + 3]);
        } else if (ROWS == 2) {
            acc[r] = acc[r] + acc[r + 2];
        }
    }
}

void write_column(float value, uint m, uint n)
{
    if (EPILOGUE == RF_EPILOGUE_SWIGLU) {
        // The up of a gate is four lanes on. The exponent is bounded, so that exp stays finite.
        float up = subgroupShuffleXor(value, 4);
        float product = value / (1.0 + exp(-max(value, -80.0))) * up * push.scale;
        uint quad = (push.column_first + n) / RF_COLUMNS * push.ldy + m;
#ifdef ACT_F16
        float other = subgroupShuffleXor(product, 1);
        vec2 pair = clamp(vec2(product, other), vec2(-65504.0), vec2(65504.0));
        if (n % 2 == 0 && n % 8 < 4 && n < push.columns) {
            push.y.x[2 * quad + n % 8 / 2] = packHalf2x16(pair);
        }
#else
        if (n % 8 < 4 && n < push.columns) {
            push.y.x[4 * quad + n % 8] = floatBitsToUint(product);
        }
#endif
    } else if (n < push.columns) {
        uint at = m * push.ldy + push.column_first + n;
        if (EPILOGUE == RF_EPILOGUE_RESIDUAL) {
            value = uintBitsToFloat(push.y.x[at]) + push.scale * value;
        }
        push.y.x[at] = floatBitsToUint(value);
    }
}

// What the lanes of a subgroup made of their columns of one tile, as one partial: the lowest token of the
// largest key.
rf_partial join(rf_partial p)
{
    float top = subgroupMax(p.max);
    float sum = subgroupAdd(p.sum * exp(p.max - top));
    float key = subgroupMax(p.best_key);
    uint best = subgroupMin(p.best_key == key ? p.best : RF_NONE);
    float logit = subgroupMax(p.best_key == key && p.best == best ? p.best_logit : LOWEST);
    return rf_partial(top, sum, best, key, logit, subgroupAdd(p.want_logit));
}

void take_logit(inout rf_partial p, draw d, float logit, uint token)
{
    float top = max(p.max, logit), key = logit;
    p.sum = p.sum * exp(p.max - top) + exp(logit - top);
    p.max = top;
    if (d.inverse_temperature > 0.0) {
        key = key * d.inverse_temperature + rf_gumbel(d.noise, token);
    }
    if (key > p.best_key) {
        p.best = token;
        p.best_key = key;
        p.best_logit = logit;
    }
    p.want_logit = token == d.want ? logit : p.want_logit;
}

// One tile of lm_head's columns for ROWS rows.
void reduce_tile(uint tile, uint first, uint count)
{
    rf_partial partials[MAX_ROWS];
    draw draws[MAX_ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        draws[r] = row_draw(min(first + r, max(count, 1) - 1));
        partials[r] = empty_partial(push.column_first + tile);
    }
    uint end = min(tile + RF_LOGIT_TILE, push.columns);
    for (uint n = tile; n < end; n += gl_WorkGroupSize.x) {
        float acc[MAX_ROWS];
        multiply(acc, n / RF_COLUMNS * block_size(push.k), first);
        if (n + lane_id() < push.columns) {
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                take_logit(partials[r], draws[r], acc[r], push.column_first + n + lane_id());
            }
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        rf_partial p = join(partials[r]);
        if (lane_id() == 0 && first + r < count) {
            write_partial(p, first + r, tile);
        }
    }
}

void main()
{
    uint count = row_count();
    next_block = block_size(push.k);
    for (uint first = 0; first < count; first += ROWS) {
        if (EPILOGUE == RF_EPILOGUE_REDUCE) {
            reduce_tile(gl_WorkGroupID.x * RF_LOGIT_TILE, first, count);
            continue;
        }
        uint n = gl_WorkGroupID.x * gl_WorkGroupSize.x;
        float acc[MAX_ROWS];
        multiply(acc, n / RF_COLUMNS * block_size(push.k), first);
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            if (first + r < count) {
                write_column(acc[r], first + r, n + lane_id());
            }
        }
    }
}
