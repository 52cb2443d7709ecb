#include "engine/selftest/weights.h"

#include "shaders/shared.h"

/* One column: where its block begins, and which of the 8 it is. */
struct column {
    struct rf_case *c;
    size_t block;
    uint32_t k, n;
    double *values;
};

uint32_t rf_weights_unit(enum rf_weight_format format)
{
    static const uint32_t units[RF_WEIGHT_FORMATS] = {8, 8, 8, 32, 32, 256, 256};
    return units[format];
}

/* Bytes of 8 columns: the formats' bits a weight, times 8 columns / 8 bits. */
static size_t block_bytes(enum rf_weight_format format, uint32_t k)
{
    static const double bits[RF_WEIGHT_FORMATS] = {16, 16, 32, 8.5, 4.5, 4.5, 6.5625};
    return (size_t)(bits[format] * k);
}

size_t rf_weights_alloc(struct rf_case *c, enum rf_weight_format format, uint32_t columns, uint32_t k)
{
    uint32_t blocks = (columns + RF_COLUMN_PAD - 1) / RF_COLUMN_PAD * (RF_COLUMN_PAD / 8);
    return rf_case_alloc(c, "w", blocks * block_bytes(format, k));
}

/* Word i of the column, in the plane that begins `offset` bytes into the block. */
static void put_word(const struct column *w, size_t offset, uint32_t i, uint32_t word)
{
    rf_case_put(w->c, w->block + offset + (size_t)i * 32 + w->n % 8 * 4, &word, 4);
}

/* One of the 8 f16 that stand in 16 bytes; returns its value. */
static double put_half(const struct column *w, size_t offset, double value)
{
    size_t at = w->block + offset + w->n % 8 * 2;
    rf_case_put_number(w->c, at, RF_NUMBER_F16, value);
    return rf_case_get_number(w->c, at, RF_NUMBER_F16);
}

static void put_plain(const struct column *w, enum rf_number number)
{
    size_t bytes = rf_number_bytes(number);
    for (uint32_t i = 0; i < w->k; i++) {
        uint32_t per_word = (uint32_t)(4 / bytes);
        size_t at = w->block + (size_t)(i / per_word) * 32 + w->n % 8 * 4 + i % per_word * bytes;
        rf_case_put_number(w->c, at, number, w->values[i]);
        w->values[i] = rf_case_get_number(w->c, at, number);
    }
}

static uint32_t round_to(double value, uint32_t most)
{
    return (uint32_t)fmax(0.0, fmin((double)most, nearbyint(value)));
}

/* A step that makes numbers of -2..2 use most of `levels` to either side, and differs from group to group. */
static double random_step(const struct column *w, double levels)
{
    return (1.0 + rf_random_signed(&w->c->random) * 0.25) * 1.5 / levels;
}

static void put_q8_0(const struct column *w)
{
    for (uint32_t g = 0; g < w->k / 32; g++) {
        double d = put_half(w, (size_t)w->k * 8 + g * 16, random_step(w, 127.0));
        for (uint32_t i = 32 * g; i < 32 * g + 32; i += 4) {
            uint32_t word = 0;
            for (uint32_t j = 0; j < 4; j++) {
                int q = (int)round_to(w->values[i + j] / d + 128.0, 255) - 128;
                word |= (uint32_t)(q & 255) << (8 * j);
                w->values[i + j] = d * q;
            }
            put_word(w, 0, i / 4, word);
        }
    }
}

static void put_q4_0(const struct column *w)
{
    for (uint32_t g = 0; g < w->k / 32; g++) {
        double d = put_half(w, (size_t)w->k * 4 + g * 16, random_step(w, 8.0));
        for (uint32_t i = 32 * g; i < 32 * g + 32; i += 8) {
            uint32_t word = 0;
            for (uint32_t j = 0; j < 8; j++) {
                uint32_t q = round_to(w->values[i + j] / d + 8.0, 15);
                word |= q << (j % 4 * 8 + j / 4 * 4);
                w->values[i + j] = d * ((int)q - 8);
            }
            put_word(w, 0, i / 8, word);
        }
    }
}

static void put_q4_k(const struct column *w)
{
    for (uint32_t b = 0; b < w->k / 256; b++) {
        uint16_t half[2] = {rf_encode_f16(random_step(w, 400.0)), rf_encode_f16(random_step(w, 80.0))};
        double d = rf_decode_f16(half[0]), dmin = rf_decode_f16(half[1]);
        uint32_t words[4] = {half[0] | (uint32_t)half[1] << 16};
        for (uint32_t g = 0; g < 8; g++) {
            uint32_t s = 8 + rf_random_below(&w->c->random, 56), m = rf_random_below(&w->c->random, 64);
            words[1] |= (s & 15) << (4 * g);
            words[2] |= (m & 15) << (4 * g);
            words[3] |= (s >> 4) << (2 * g) | (m >> 4) << (16 + 2 * g);
            for (uint32_t o = 0; o < 4; o++) {
                uint32_t word = 0, i = 256 * b + 32 * g + 8 * o;
                for (uint32_t j = 0; j < 8; j++) {
                    uint32_t q = round_to((w->values[i + j] + dmin * m) / (d * s), 15);
                    word |= q << (j % 4 * 8 + j / 4 * 4);
                    w->values[i + j] = d * s * q - dmin * m;
                }
                put_word(w, 0, i / 8, word);
            }
        }
        for (uint32_t i = 0; i < 4; i++)
            put_word(w, (size_t)w->k * 4 + b * 128, i, words[i]);
    }
}

static void put_q6_k(const struct column *w)
{
    for (uint32_t b = 0; b < w->k / 256; b++) {
        size_t header = (size_t)w->k * 6 + b * 144;
        double d = put_half(w, header + 128, random_step(w, 32.0 * 90.0));
        uint32_t low[32] = {0}, high[16] = {0}, scales[4] = {0};
        for (uint32_t g = 0; g < 16; g++) {
            int s =
                (int)(60 + rf_random_below(&w->c->random, 68)) * (rf_random_below(&w->c->random, 2) ? 1 : -1);
            scales[g / 4] |= (uint32_t)(s & 255) << (8 * (g % 4));
            for (uint32_t j = 0; j < 16; j++) {
                double *value = &w->values[256 * b + 16 * g + j];
                uint32_t q = round_to(*value / (d * s) + 32.0, 63);
                low[2 * g + j / 8] |= (q & 15) << (j % 4 * 8 + j % 8 / 4 * 4);
                high[g] |= (q >> 4) << (j % 4 * 8 + j / 4 * 2);
                *value = d * s * ((int)q - 32);
            }
        }
        for (uint32_t i = 0; i < 32; i++)
            put_word(w, 0, 32 * b + i, low[i]);
        for (uint32_t i = 0; i < 16; i++)
            put_word(w, (size_t)w->k * 4, 16 * b + i, high[i]);
        for (uint32_t i = 0; i < 4; i++)
            put_word(w, header, i, scales[i]);
    }
}

void rf_weights_put(struct rf_case *c, size_t at, enum rf_weight_format format, uint32_t k, uint32_t n,
                    double *values)
{
    struct column w = {c, at + n / 8 * block_bytes(format, k), k, n, values};
    switch (format) {
    case RF_WEIGHT_BF16:
        put_plain(&w, RF_NUMBER_BF16);
        break;
    case RF_WEIGHT_F16:
        put_plain(&w, RF_NUMBER_F16);
        break;
    case RF_WEIGHT_F32:
        put_plain(&w, RF_NUMBER_F32);
        break;
    case RF_WEIGHT_Q8_0:
        put_q8_0(&w);
        break;
    case RF_WEIGHT_Q4_0:
        put_q4_0(&w);
        break;
    case RF_WEIGHT_Q4_K:
        put_q4_k(&w);
        break;
    case RF_WEIGHT_Q6_K:
        put_q6_k(&w);
        break;
    case RF_WEIGHT_FORMATS:
        break;
    }
}
