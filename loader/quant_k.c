/* Q4_K and Q6_K: a block of 256 is cut into parts of 32 or 16, each gets the scale (and minimum) that make
 * its weighted square error least, and these scales are themselves rounded to a few bits of a block's.
 *
 * No closed form gives the best scale, because rounding depends on it. So a handful of steps around the
 * obvious one is tried: round with it, solve least squares for the numbers that came out, keep the best
 * result. The candidates and weights are those of GGML's reference, so that files are as good as its are. */
#include <math.h>

#include "loader/quant_internal.h"

/* Sums are kept in lanes: that fixes their order, and compilers can make vectors of them. */
enum { LANES = 8 };

/* To the nearest whole number, ties to even, for |value| below 2^22: there the ulp of the sum is 1. */
static float round_even(float value)
{
    return (value + 0x1.8p23f) - 0x1.8p23f;
}

/* `low` for a NaN. */
static float clamp(float value, float low, float high)
{
    value = value > low ? value : low;
    return value < high ? value : high;
}

/* In pairs: short chains of additions, and the same order everywhere. */
static double total(const float lanes[LANES])
{
    float four[4], two[2];
    for (int j = 0; j < 4; j++)
        four[j] = lanes[j] + lanes[j + 4];
    for (int j = 0; j < 2; j++)
        two[j] = four[j] + four[j + 2];
    return (double)two[0] + (double)two[1];
}

static int to_int(float value, int low, int high)
{
    return (int)clamp(round_even(value), (float)low, (float)high);
}

/* ---- Q4_K: x = scale q - min, q in 0..15, min >= 0 ----------------------------------------------------- */

enum { PART = 32, Q4_MOST = 15, Q4_STEPS = 20 };

struct affine {
    float scale, min;
};

/* What least squares of scale q - min need, for the q that `step` (the inverse of a scale) and `low` give. */
struct affine_sums {
    double weight, x, x_x; /* sums of w, of w x, of w x x: do not depend on q */
    double q, q_q, q_x;    /* of w q, of w q q, of w q x */
};

static void sum_affine(const float *x, const float *weights, float step, float low, struct affine_sums *sums)
{
    float q_sum[LANES] = {0}, q_q[LANES] = {0}, q_x[LANES] = {0};
    for (int i = 0; i < PART; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float q = clamp(round_even(step * (x[i + j] - low)), 0.0f, Q4_MOST);
            float weighted = weights[i + j] * q;
            q_sum[j] += weighted;
            q_q[j] += weighted * q;
            q_x[j] += weighted * x[i + j];
        }
    sums->q = total(q_sum);
    sums->q_q = total(q_q);
    sums->q_x = total(q_x);
}

/* Sum of w (scale q - min - x)^2 without going over the numbers again. Its terms cancel, to some thousandths
 * of each: in double that leaves enough. */
static double affine_error(const struct affine_sums *sums, struct affine fit)
{
    double s = (double)fit.scale, m = (double)fit.min;
    return s * (s * sums->q_q - 2 * m * sums->q - 2 * sums->q_x) + m * (m * sums->weight + 2 * sums->x) +
           sums->x_x;
}

/* The fit must not put its minimum above zero: then a minimum of zero, and the scale alone is solved for. */
static bool solve_affine(const struct affine_sums *sums, struct affine *fit)
{
    double determinant = sums->weight * sums->q_q - sums->q * sums->q;
    if (!(determinant > 0.0))
        return false;
    fit->scale = (float)((sums->weight * sums->q_x - sums->x * sums->q) / determinant);
    fit->min = (float)((sums->q * sums->q_x - sums->q_q * sums->x) / determinant);
    if (fit->min < 0.0f) {
        fit->min = 0.0f;
        fit->scale = (float)(sums->q_x / sums->q_q);
    }
    return true;
}

/* Larger numbers weigh more: they meet large activations as often as small ones do. */
static void weigh(const float *x, float weights[PART], struct affine_sums *sums)
{
    float squares[LANES] = {0}, weight[LANES] = {0}, w_x[LANES] = {0}, w_x_x[LANES] = {0};
    for (int i = 0; i < PART; i += LANES)
        for (int j = 0; j < LANES; j++)
            squares[j] += x[i + j] * x[i + j];
    float typical = sqrtf((float)total(squares) / PART);
    for (int i = 0; i < PART; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float w = typical + fabsf(x[i + j]);
            weights[i + j] = w;
            weight[j] += w;
            w_x[j] += w * x[i + j];
            w_x_x[j] += w * x[i + j] * x[i + j];
        }
    *sums = (struct affine_sums){.weight = total(weight), .x = total(w_x), .x_x = total(w_x_x)};
}

static struct affine fit_affine(const float *x)
{
    float weights[PART], low = x[0], high = x[0];
    struct affine_sums sums;
    weigh(x, weights, &sums);
    for (int i = 0; i < PART; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    low = low > 0.0f ? 0.0f : low;
    if (!(Q4_MOST / (high - low) < INFINITY)) /* all alike, or denormal */
        return (struct affine){0.0f, -low};
    struct affine best = {(high - low) / Q4_MOST, -low};
    sum_affine(x, weights, Q4_MOST / (high - low), low, &sums);
    double least = affine_error(&sums, best);
    for (int i = 0; i <= Q4_STEPS; i++) {
        /* From the minimum found so far: that reaches fits which steps from the lowest number do not, and is
         * worth half a percent of error. */
        low = -best.min;
        float step = (Q4_MOST - 1.0f + 0.1f * (float)i) / (high - low);
        struct affine fit;
        sum_affine(x, weights, step, low, &sums);
        if (!solve_affine(&sums, &fit))
            continue;
        double error = affine_error(&sums, fit);
        if (error < least) {
            least = error;
            best = fit;
        }
    }
    return best;
}

static void pack_q4_k_scale(unsigned char *packed, int i, uint8_t scale, uint8_t min)
{
    if (i < 4) {
        packed[i] = (unsigned char)(packed[i] | scale);
        packed[i + 4] = (unsigned char)(packed[i + 4] | min);
    } else {
        packed[i + 4] = (unsigned char)((scale & 15) | (min & 15) << 4);
        packed[i - 4] = (unsigned char)(packed[i - 4] | (scale >> 4) << 6);
        packed[i] = (unsigned char)(packed[i] | (min >> 4) << 6);
    }
}

void rf_q4_k_encode(const float *x, unsigned char *block)
{
    struct affine fits[RF_K_BLOCK / PART];
    float most_scale = 0.0f, most_min = 0.0f;
    for (int part = 0; part < RF_K_BLOCK / PART; part++) {
        fits[part] = fit_affine(x + PART * part);
        most_scale = fits[part].scale > most_scale ? fits[part].scale : most_scale;
        most_min = fits[part].min > most_min ? fits[part].min : most_min;
    }
    memset(block, 0, RF_Q4_K_NIBBLES);
    rf_put_half(block + RF_Q4_K_D, most_scale / 63.0f);
    rf_put_half(block + RF_Q4_K_DMIN, most_min / 63.0f);
    float d = rf_get_half(block + RF_Q4_K_D), dmin = rf_get_half(block + RF_Q4_K_DMIN);
    float per_scale = most_scale > 0.0f ? 63.0f / most_scale : 0.0f;
    float per_min = most_min > 0.0f ? 63.0f / most_min : 0.0f;
    for (int part = 0; part < RF_K_BLOCK / PART; part++) {
        uint8_t scale = (uint8_t)to_int(per_scale * fits[part].scale, 0, 63);
        uint8_t min = (uint8_t)to_int(per_min * fits[part].min, 0, 63);
        pack_q4_k_scale(block + RF_Q4_K_SCALES, part, scale, min);
        /* Rounded anew, with the scale and minimum as a reader will see them. */
        float step = d * (float)scale, offset = dmin * (float)min;
        unsigned char *nibbles = block + RF_Q4_K_NIBBLES + part / 2 * 32;
        for (int i = 0; i < PART; i++) {
            int q = step > 0.0f ? to_int((x[PART * part + i] + offset) / step, 0, Q4_MOST) : 0;
            nibbles[i] = (unsigned char)(part % 2 ? nibbles[i] | q << 4 : q);
        }
    }
}

/* ---- Q6_K: x = scale (q - 32), q in 0..63 -------------------------------------------------------------- */

enum { SMALL_PART = 16, Q6_HALF = 32, Q6_STEPS = 9 };

/* The scale of greatest fit for 16 numbers: least squares, each weighted by its own square. */
static float fit_scale(const float *x)
{
    float most = 0.0f, extreme = 0.0f;
    for (int i = 0; i < SMALL_PART; i++)
        if (fabsf(x[i]) > most) {
            most = fabsf(x[i]);
            extreme = x[i];
        }
    if (most < 1e-15f) /* zero in any block whose scale an f16 can hold */
        return 0.0f;
    double best_scale = 0.0, best = 0.0;
    for (int n = 0; n <= 2 * Q6_STEPS; n++) {
        /* The obvious step first, which maps the extreme to -32 exactly, then smaller and larger ones. */
        int i = n == 0 ? 0 : n <= Q6_STEPS ? n - Q6_STEPS - 1 : n - Q6_STEPS;
        float step = -((float)Q6_HALF + 0.1f * (float)i) / extreme;
        float q_x[LANES] = {0}, q_q[LANES] = {0};
        for (int k = 0; k < SMALL_PART; k += LANES)
            for (int j = 0; j < LANES; j++) {
                float value = x[k + j], q = clamp(round_even(step * value), -Q6_HALF, Q6_HALF - 1);
                float weighted = value * value * q;
                q_x[j] += weighted * value;
                q_q[j] += weighted * q;
            }
        double sum_x = total(q_x), sum_q = total(q_q);
        /* What the fit explains of the sum of squares: more is better. */
        if (sum_q > 0.0 && sum_x * sum_x > best * sum_q) {
            best_scale = sum_x / sum_q;
            best = best_scale * sum_x;
        }
    }
    return (float)best_scale;
}

static void pack_q6_k(unsigned char *block, const uint8_t *q)
{
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 32; i++) {
            const uint8_t *at = q + 128 * half + i;
            unsigned char *low = block + RF_Q6_K_LOW + 64 * half + i;
            low[0] = (unsigned char)((at[0] & 15) | (at[64] & 15) << 4);
            low[32] = (unsigned char)((at[32] & 15) | (at[96] & 15) << 4);
            block[RF_Q6_K_HIGH + 32 * half + i] =
                (unsigned char)(at[0] >> 4 | at[32] >> 4 << 2 | at[64] >> 4 << 4 | at[96] >> 4 << 6);
        }
}

void rf_q6_k_encode(const float *x, unsigned char *block)
{
    float scales[RF_K_BLOCK / SMALL_PART], most = 0.0f, extreme = 0.0f;
    for (int part = 0; part < RF_K_BLOCK / SMALL_PART; part++) {
        scales[part] = fit_scale(x + SMALL_PART * part);
        if (fabsf(scales[part]) > most) {
            most = fabsf(scales[part]);
            extreme = scales[part];
        }
    }
    memset(block, 0, rf_dtype_block_bytes(RF_DTYPE_Q6_K));
    if (most < 1e-15f)
        return;
    float per_scale = -128.0f / extreme;
    rf_put_half(block + RF_Q6_K_D, 1.0f / per_scale);
    float d = rf_get_half(block + RF_Q6_K_D);
    uint8_t q[RF_K_BLOCK];
    for (int part = 0; part < RF_K_BLOCK / SMALL_PART; part++) {
        int scale = to_int(per_scale * scales[part], -128, 127);
        block[RF_Q6_K_SCALES + part] = (unsigned char)(int8_t)scale;
        float step = d * (float)scale;
        for (int i = 0; i < SMALL_PART; i++) {
            int at = SMALL_PART * part + i;
            int rounded = fabsf(step) > 0.0f ? to_int(x[at] / step, -Q6_HALF, Q6_HALF - 1) : 0;
            q[at] = (uint8_t)(rounded + Q6_HALF);
        }
    }
    pack_q6_k(block, q);
}
