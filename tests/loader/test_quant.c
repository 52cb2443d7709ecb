/* loader/quant: conversions bit by bit, layouts against decoders written from the layouts' description, and
 * rounding against the formulas written plainly. */
#include "loader/quant.h"
#include "model_writer.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { COUNT = 1 << 14 };

static uint64_t random_state = 12345;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* About normal, of standard deviation 1. */
static float random_normal(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (float)random_bits() * 0x1p-32f;
    return sum - 6.0f;
}

/* ---- f16 and bf16 -------------------------------------------------------------------------------------- */

/* The value of a half by its definition. */
static double half_value(unsigned half)
{
    unsigned exponent = half >> 10 & 31, fraction = half & 1023;
    double size = exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -size : size;
}

static void halves_decode(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 0x10000; half++) {
        uint16_t from = (uint16_t)half;
        float one = rf_half_to_float(from), array;
        rf_quant_decode(RF_DTYPE_F16, &from, 1, &array);
        if ((half & 0x7c00) == 0x7c00) {
            assert_true((half & 1023) ? isnan(one) && isnan(array) : isinf(one) && isinf(array));
            assert_int_equal(signbit(one) != 0, half >> 15);
            continue;
        }
        float wanted = (float)half_value(half);
        assert_int_equal(rf_float_bits(one), rf_float_bits(wanted));
        assert_int_equal(rf_float_bits(array), rf_float_bits(wanted));
        assert_int_equal(rf_float_to_half(one), half);
    }
}

/* Between each pair of neighbours: the middle goes to the even one, a step to either side to that side. */
static void halves_round(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 0x7c00; half++) {
        float low = (float)half_value(half), high = half == 0x7bff ? 65536.0f : (float)half_value(half + 1);
        float middle = (low + high) / 2;
        unsigned even = half & 1 ? half + 1 : half;
        assert_int_equal(rf_float_to_half(middle), even);
        assert_int_equal(rf_float_to_half(-middle), even | 0x8000);
        assert_int_equal(rf_float_to_half(nextafterf(middle, low)), half);
        assert_int_equal(rf_float_to_half(nextafterf(middle, high)), half + 1);
    }
    assert_int_equal(rf_float_to_half(FLT_MAX), 0x7c00);
    assert_int_equal(rf_float_to_half(-INFINITY), 0xfc00);
    assert_true(isnan(rf_half_to_float(rf_float_to_half(NAN))));
}

static void bf16_rounds(void **state)
{
    (void)state;
    for (unsigned high = 0; high < 0x7f80; high++) {
        uint32_t middle = high << 16 | 0x8000u;
        assert_int_equal(rf_float_to_bf16(rf_float_from_bits(middle)), high + (high & 1));
        assert_int_equal(rf_float_to_bf16(rf_float_from_bits(middle - 1)), high);
        assert_int_equal(rf_float_to_bf16(rf_float_from_bits(middle + 1)), high + 1);
        float back;
        uint16_t from = (uint16_t)high;
        rf_quant_decode(RF_DTYPE_BF16, &from, 1, &back);
        assert_int_equal(rf_float_bits(back), high << 16);
    }
    assert_true(isnan(rf_bf16_to_float(rf_float_to_bf16(rf_float_from_bits(0x7f800001u)))));
}

static void losses_are_counted(void **state)
{
    (void)state;
    static const float x[] = {0.0f,     -0.0f,    65504.0f,   65519.996f, 65520.0f,  -1e30f,
                              INFINITY, 0x1p-24f, 0x1.8p-25f, 0x1p-25f,   -0x1p-26f, FLT_TRUE_MIN};
    struct rf_half_loss loss = {.overflow = 1, .underflow = 1}, wanted = loss;
    enum { N = sizeof x / sizeof x[0] };
    rf_half_count_loss(x, N, &loss);
    for (int i = 0; i < N; i++) {
        float back = rf_half_to_float(rf_float_to_half(x[i]));
        wanted.overflow += isfinite(x[i]) && !isfinite(back);
        wanted.underflow += fabsf(x[i]) > 0 && !(fabsf(back) > 0);
    }
    assert_int_equal(loss.overflow, wanted.overflow);
    assert_int_equal(loss.overflow, 3);
    assert_int_equal(loss.underflow, wanted.underflow);
    assert_int_equal(loss.underflow, 4);
}

static void not_finite_is_found(void **state)
{
    (void)state;
    static float x[5000];
    assert_int_equal(rf_find_not_finite(x, 5000), 5000);
    x[4999] = -INFINITY;
    assert_int_equal(rf_find_not_finite(x, 5000), 4999);
    assert_int_equal(rf_find_not_finite(x, 4999), 4999);
    x[1024] = NAN;
    assert_int_equal(rf_find_not_finite(x, 5000), 1024);
}

/* ---- Blocks of 32 -------------------------------------------------------------------------------------- */

/* Numbers of a block: normal ones, halves (whose rounding ties), zeros, one outlier, and very small ones. */
static void fill_block(float *x, unsigned count, unsigned kind)
{
    for (unsigned i = 0; i < count; i++)
        x[i] = random_normal();
    for (unsigned i = 0; i < count && kind == 1; i++)
        x[i] = (float)((int)(random_bits() % 255) - 127) / 2;
    for (unsigned i = 0; i < count && kind == 2; i++)
        x[i] = 0.0f;
    if (kind == 3)
        x[random_bits() % count] = 1000.0f;
    for (unsigned i = 0; i < count && kind == 4; i++)
        x[i] *= 1e-41f;
    for (unsigned i = 0; i < count && kind == 5; i++)
        x[i] = fabsf(x[i]) + 1;
    for (unsigned i = 0; i < count && kind == 6; i++)
        x[i] = -fabsf(x[i]) - 1;
}
enum { KINDS = 7 };

static void q8_0_rounds_to_nearest(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 700; n++) {
        float x[32], back[32], most = 0;
        unsigned char block[34];
        fill_block(x, 32, n % KINDS);
        rf_quant_encode(RF_DTYPE_Q8_0, x, 32, block);
        rf_quant_decode(RF_DTYPE_Q8_0, block, 32, back);
        for (int i = 0; i < 32; i++)
            most = fmaxf(most, fabsf(x[i]));
        float d = most / 127, inverse = isfinite(1 / d) ? 1 / d : 0;
        uint16_t half;
        memcpy(&half, block, 2);
        assert_int_equal(half, rf_float_to_half(d));
        for (int i = 0; i < 32; i++) {
            assert_int_equal((int8_t)block[2 + i], (int)roundf(x[i] * inverse));
            assert_float_equal(back[i], rf_half_to_float(half) * (float)(int8_t)block[2 + i], 0);
        }
    }
}

static void q4_0_rounds_to_nearest(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 700; n++) {
        float x[32], back[32], extreme = 0;
        unsigned char block[18];
        fill_block(x, 32, n % KINDS);
        rf_quant_encode(RF_DTYPE_Q4_0, x, 32, block);
        rf_quant_decode(RF_DTYPE_Q4_0, block, 32, back);
        for (int i = 0; i < 32; i++)
            extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
        float d = extreme / -8, inverse = isfinite(1 / d) ? 1 / d : 0;
        uint16_t half;
        memcpy(&half, block, 2);
        assert_int_equal(half, rf_float_to_half(d));
        for (int i = 0; i < 32; i++) {
            int q = i < 16 ? block[2 + i] & 15 : block[2 + i - 16] >> 4;
            assert_int_equal(q, (int)fminf(15, floorf(x[i] * inverse + 8.5f)));
            assert_float_equal(back[i], rf_half_to_float(half) * (float)(q - 8), 0);
        }
    }
}

/* ---- Blocks of 256 ------------------------------------------------------------------------------------- */

/* Element i of a block of any bytes, by the layout as quant.h tells it. */
static float q4_k_element(const unsigned char *b, unsigned i)
{
    uint16_t d, dmin;
    memcpy(&d, b, 2);
    memcpy(&dmin, b + 2, 2);
    unsigned part = i / 32, scale, min;
    const unsigned char *p = b + 4;
    if (part < 4) {
        scale = p[part] & 63u;
        min = p[part + 4] & 63u;
    } else {
        scale = (p[part + 4] & 15u) + (p[part - 4] & 192u) / 4;
        min = p[part + 4] / 16u + (p[part] & 192u) / 4;
    }
    unsigned byte = b[16 + i / 64 * 32 + i % 32], q = i % 64 < 32 ? byte % 16 : byte / 16;
    return rf_half_to_float(d) * (float)scale * (float)q - rf_half_to_float(dmin) * (float)min;
}

static float q6_k_element(const unsigned char *b, unsigned i)
{
    uint16_t d;
    memcpy(&d, b + 208, 2);
    unsigned half = i / 128, j = i % 128;
    unsigned low = b[64 * half + j % 64], high = b[128 + 32 * half + j % 32];
    unsigned q = (j < 64 ? low % 16 : low / 16) + (high >> (2 * (j / 32)) & 3) * 16;
    int scale = (int8_t)b[192 + i / 16];
    return rf_half_to_float(d) * (float)scale * ((float)q - 32);
}

/* Any bytes are a block; their scales are kept finite. */
static void k_blocks_decode(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 500; n++) {
        unsigned char block[210];
        float out[256];
        for (unsigned i = 0; i < sizeof block; i++)
            block[i] = (unsigned char)random_bits();
        block[1] = block[3] = block[209] = (unsigned char)(random_bits() % 0x7c);
        rf_quant_decode(RF_DTYPE_Q4_K, block, 256, out);
        for (unsigned i = 0; i < 256; i++)
            assert_float_equal(out[i], q4_k_element(block, i), 0);
        rf_quant_decode(RF_DTYPE_Q6_K, block, 256, out);
        for (unsigned i = 0; i < 256; i++)
            assert_float_equal(out[i], q6_k_element(block, i), 0);
    }
}

static double relative_error(enum rf_dtype dtype, const float *x, uint64_t count)
{
    unsigned char *blocks = malloc(rf_dtype_bytes(dtype, count));
    float *back = malloc(count * sizeof *back);
    assert_non_null(blocks);
    assert_non_null(back);
    rf_quant_encode(dtype, x, count, blocks);
    rf_quant_decode(dtype, blocks, count, back);
    double error = 0, square = 0;
    for (uint64_t i = 0; i < count; i++) {
        error += ((double)x[i] - (double)back[i]) * ((double)x[i] - (double)back[i]);
        square += (double)x[i] * (double)x[i];
    }
    free(blocks);
    free(back);
    return square > 0 ? sqrt(error / square) : sqrt(error);
}

/* The relative error of normal numbers is a property of type and quantizer: measured here 0.00528, 0.0854,
 * 0.0706 and 0.0174. Without the search for better steps Q4_K has 0.0778 and Q6_K 0.0182. */
static void errors_are_small(void **state)
{
    (void)state;
    static float x[COUNT];
    for (int i = 0; i < COUNT; i++)
        x[i] = 0.02f * random_normal();
    static const struct {
        enum rf_dtype dtype;
        double low, high;
    } wanted[] = {
        {RF_DTYPE_F32, 0, 0},           {RF_DTYPE_F16, 1e-4, 3e-4},
        {RF_DTYPE_BF16, 1e-3, 3e-3},    {RF_DTYPE_Q8_0, 0.0052, 0.00535},
        {RF_DTYPE_Q4_0, 0.084, 0.0865}, {RF_DTYPE_Q4_K, 0.065, 0.0709},
        {RF_DTYPE_Q6_K, 0.016, 0.0175},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        double error = relative_error(wanted[i].dtype, x, COUNT);
        print_message("%s: relative error %.5f\n", rf_dtype_name(wanted[i].dtype), error);
        assert_true(error >= wanted[i].low && error <= wanted[i].high);
    }
}

/* Each kind of block stays within one and a half steps of its greatest number, and zeros stay zeros. Scales
 * below f16's smallest number, 6e-8, are lost: that is the absolute part. */
static void awkward_blocks(void **state)
{
    (void)state;
    static const enum rf_dtype dtypes[] = {RF_DTYPE_Q8_0, RF_DTYPE_Q4_0, RF_DTYPE_Q4_K, RF_DTYPE_Q6_K};
    static const double steps[] = {254, 15, 15, 62};
    for (unsigned n = 0; n < 10 * KINDS; n++)
        for (int t = 0; t < 4; t++) {
            float x[256], back[256], most = 0;
            unsigned char blocks[8 * 34];
            fill_block(x, 256, n % KINDS);
            rf_quant_encode(dtypes[t], x, 256, blocks);
            rf_quant_decode(dtypes[t], blocks, 256, back);
            for (int i = 0; i < 256; i++)
                most = fmaxf(most, fabsf(x[i]));
            for (int i = 0; i < 256; i++)
                assert_true(fabsf(x[i] - back[i]) <=
                            2 * (double)most / steps[t] * 1.5 + 127 * 6e-8 * (most > 0));
        }
}

/* Beyond what f16 scales hold the result is not finite; where even squares overflow it is anything, but
 * nothing worse happens. */
static void huge_numbers(void **state)
{
    (void)state;
    static const enum rf_dtype dtypes[] = {RF_DTYPE_Q8_0, RF_DTYPE_Q4_0, RF_DTYPE_Q4_K, RF_DTYPE_Q6_K};
    for (int t = 0; t < 8; t++) {
        float x[256], back[256], size = t < 4 ? 1e9f : FLT_MAX;
        unsigned char blocks[8 * 34];
        for (int i = 0; i < 256; i++)
            x[i] = (i % 2 ? -size : size) / (float)(1 + i % 7);
        rf_quant_encode(dtypes[t % 4], x, 256, blocks);
        rf_quant_decode(dtypes[t % 4], blocks, 256, back);
        if (t < 4)
            assert_true(rf_find_not_finite(back, 256) < 256);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_decode),
        cmocka_unit_test(halves_round),
        cmocka_unit_test(bf16_rounds),
        cmocka_unit_test(losses_are_counted),
        cmocka_unit_test(not_finite_is_found),
        cmocka_unit_test(q8_0_rounds_to_nearest),
        cmocka_unit_test(q4_0_rounds_to_nearest),
        cmocka_unit_test(k_blocks_decode),
        cmocka_unit_test(errors_are_small),
        cmocka_unit_test(awkward_blocks),
        cmocka_unit_test(huge_numbers),
    };
    return cmocka_run_group_tests_name("loader/quant", tests, NULL, NULL);
}
