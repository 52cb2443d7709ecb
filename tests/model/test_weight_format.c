/* Packing: what rf_weight_pack makes of 8 encoded columns, taken apart by the layout that
 * shaders/weights.glsl tells, is what the loader decodes from the same columns. Every value is exact in f32,
 * so the numbers are equal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/model/weight_format.h"
#include "loader/quant.h"

static uint32_t word_of(const unsigned char *plane, uint32_t i, uint32_t column)
{
    uint32_t word;
    memcpy(&word, plane + (size_t)i * 32 + column * 4, 4);
    return word;
}

static float half_of(const unsigned char *plane, uint32_t i, uint32_t column)
{
    uint16_t half;
    memcpy(&half, plane + (size_t)i * 16 + column * 2, 2);
    return rf_half_to_float(half);
}

/* Weight i of a column of a packed block of k. */
static float weight_of(enum rf_weight_format format, const unsigned char *block, uint32_t k, uint32_t column,
                       uint32_t i)
{
    const unsigned char *behind = block + (size_t)4 * k; /* 4 bits a weight */
    uint32_t q = word_of(block, i / 8, column) >> (i % 4 * 8 + i % 8 / 4 * 4) & 15, b = i / 256;
    switch (format) {
    case RF_WEIGHT_F32:
        return rf_float_from_bits(word_of(block, i, column));
    case RF_WEIGHT_F16:
        return rf_half_to_float((uint16_t)(word_of(block, i / 2, column) >> (16 * (i % 2))));
    case RF_WEIGHT_BF16:
        return rf_bf16_to_float((uint16_t)(word_of(block, i / 2, column) >> (16 * (i % 2))));
    case RF_WEIGHT_Q8_0:
        return (float)(int8_t)(word_of(block, i / 4, column) >> (8 * (i % 4))) *
               half_of(block + (size_t)8 * k, i / 32, column);
    case RF_WEIGHT_Q4_0:
        return ((float)q - 8.0f) * half_of(behind, i / 32, column);
    case RF_WEIGHT_Q4_K: {
        const unsigned char *header = behind + (size_t)b * 128;
        uint32_t g = i / 32 % 8, d = word_of(header, 0, column), high = word_of(header, 3, column);
        uint32_t s = (word_of(header, 1, column) >> (4 * g) & 15) | (high >> (2 * g) & 3) << 4;
        uint32_t m = (word_of(header, 2, column) >> (4 * g) & 15) | (high >> (16 + 2 * g) & 3) << 4;
        return rf_half_to_float((uint16_t)d) * (float)s * (float)q -
               rf_half_to_float((uint16_t)(d >> 16)) * (float)m;
    }
    default: {
        const unsigned char *header = block + (size_t)6 * k + (size_t)b * 144;
        uint32_t high = word_of(behind, i / 16, column) >> (i % 4 * 8 + i % 16 / 4 * 2) & 3, g = i / 16 % 16;
        int8_t scale = (int8_t)(word_of(header, g / 4, column) >> (8 * (g % 4)));
        return half_of(header + 128, 0, column) * (float)scale * (float)((int)(q | high << 4) - 32);
    }
    }
}

static void check_format(enum rf_weight_format format, uint32_t k)
{
    enum rf_dtype dtype = rf_weight_format_dtype(format);
    size_t row_bytes = rf_dtype_bytes(dtype, k);
    float *x = malloc(k * sizeof *x), *decoded = malloc(k * sizeof *decoded);
    unsigned char *rows = malloc(8 * row_bytes + 1), *block = malloc(rf_weight_block_bytes(format, k));
    const void *columns[8];
    for (uint32_t c = 0; c < 8; c++) {
        for (uint32_t i = 0; i < k; i++)
            x[i] = (float)(rand() % 2001 - 1000) / 999.0f * (1.0f + (float)(i / 32 % 3));
        columns[c] = c == 5 ? NULL : rows + 1 + c * row_bytes; /* any alignment; one column of padding */
        rf_quant_encode(dtype, x, k, rows + 1 + c * row_bytes);
    }
    memset(block, 0xcd, rf_weight_block_bytes(format, k));
    rf_weight_pack(format, k, columns, block);
    for (uint32_t c = 0; c < 8; c++) {
        rf_quant_decode(dtype, rows + 1 + c * row_bytes, k, decoded);
        for (uint32_t i = 0; i < k; i++) {
            float want = c == 5 ? 0.0f : decoded[i], have = weight_of(format, block, k, c, i);
            /* d s q - dmin m may be rounded in another order there. */
            if (fabsf(have - want) > 1e-6f * (1.0f + fabsf(want)))
                fail_msg("%s k=%u column %u weight %u: %.9g, wanted %.9g", rf_weight_format_name(format), k,
                         c, i, (double)have, (double)want);
        }
    }
    free(x);
    free(decoded);
    free(rows);
    free(block);
}

static void test_pack(void **state)
{
    (void)state;
    static const uint32_t ks[] = {8, 24, 32, 96, 256, 768};
    for (int f = 0; f < RF_WEIGHT_FORMATS; f++)
        for (uint32_t i = 0; i < sizeof ks / sizeof *ks; i++)
            if (ks[i] % rf_dtype_block_elements(rf_weight_format_dtype((enum rf_weight_format)f)) == 0)
                check_format((enum rf_weight_format)f, ks[i]);
}

static void test_names(void **state)
{
    (void)state;
    struct rf_error err;
    enum rf_weight_format format;
    assert_int_equal(rf_weight_format_parse(&format, "q4_k", &err), RF_OK);
    assert_int_equal(format, RF_WEIGHT_Q4_K);
    assert_int_equal(rf_weight_format_parse(&format, "q5_1", &err), RF_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "'q5_1'"));
    assert_non_null(strstr(err.message, "q8_0"));
    assert_true(rf_weight_format_of(RF_DTYPE_Q6_K, &format));
    assert_int_equal(format, RF_WEIGHT_Q6_K);
    assert_false(rf_weight_format_of(RF_DTYPE_F64, &format));
}

int main(void)
{
    unsigned seed = (unsigned)time(NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pack), cmocka_unit_test(test_names)};
    printf("seed %u\n", seed);
    srand(seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
