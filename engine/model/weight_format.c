#include "engine/model/weight_format.h"

#include <string.h>

static const struct {
    const char *name;
    enum rf_dtype dtype;
} formats[RF_WEIGHT_FORMATS] = {
    [RF_WEIGHT_BF16] = {"bf16", RF_DTYPE_BF16}, [RF_WEIGHT_F16] = {"f16", RF_DTYPE_F16},
    [RF_WEIGHT_F32] = {"f32", RF_DTYPE_F32},    [RF_WEIGHT_Q8_0] = {"q8_0", RF_DTYPE_Q8_0},
    [RF_WEIGHT_Q4_0] = {"q4_0", RF_DTYPE_Q4_0}, [RF_WEIGHT_Q4_K] = {"q4_k", RF_DTYPE_Q4_K},
    [RF_WEIGHT_Q6_K] = {"q6_k", RF_DTYPE_Q6_K},
};

const char *rf_weight_format_name(enum rf_weight_format format)
{
    return formats[format].name;
}

enum rf_dtype rf_weight_format_dtype(enum rf_weight_format format)
{
    return formats[format].dtype;
}

bool rf_weight_format_of(enum rf_dtype dtype, enum rf_weight_format *format)
{
    for (int f = 0; f < RF_WEIGHT_FORMATS; f++) {
        if (formats[f].dtype == dtype) {
            *format = (enum rf_weight_format)f;
            return true;
        }
    }
    return false;
}

enum rf_status rf_weight_format_parse(enum rf_weight_format *format, const char *name, struct rf_error *err)
{
    for (int f = 0; f < RF_WEIGHT_FORMATS; f++) {
        if (strcmp(formats[f].name, name) == 0) {
            *format = (enum rf_weight_format)f;
            return RF_OK;
        }
    }
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "weight type '%s': wanted bf16, f16, f32, q8_0, q4_0, q4_k or q6_k", name);
}

uint64_t rf_weight_block_bytes(enum rf_weight_format format, uint32_t k)
{
    return 8 * rf_dtype_bytes(formats[format].dtype, k);
}

static uint32_t word_at(const unsigned char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static uint16_t half_at(const unsigned char *bytes)
{
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return half;
}

/* What one column is packed into: word i of the column is words[8 i], half i is halves[8 i]. */
struct plane {
    uint32_t *words;
    uint16_t *halves;
};

static struct plane plane_at(void *block, uint64_t offset, uint32_t column)
{
    unsigned char *at = (unsigned char *)block + offset;
    return (struct plane){(uint32_t *)(void *)at + column, (uint16_t *)(void *)at + column};
}

/* Plain formats: the column's words, one after the other. */
static void pack_words(const unsigned char *from, uint64_t count, struct plane to)
{
    for (uint64_t i = 0; i < count; i++)
        to.words[8 * i] = word_at(from + 4 * i);
}

static void pack_q8_0(const unsigned char *from, uint32_t k, struct plane q, struct plane d)
{
    for (uint32_t b = 0; b < k / 32; b++, from += 34) {
        d.halves[8 * b] = half_at(from);
        for (uint32_t i = 0; i < 8; i++)
            q.words[8 * (8 * b + i)] = word_at(from + 2 + 4 * i);
    }
}

/* Eight numbers of 4 bits, nibble `high` of bytes at[0..7]: four in the low nibbles of a word, four in the
 * high ones. */
static uint32_t nibbles(const unsigned char *at, bool high)
{
    uint32_t word = 0;
    for (uint32_t j = 0; j < 8; j++)
        word |= (uint32_t)(high ? at[j] >> 4 : at[j] & 15) << (j % 4 * 8 + j / 4 * 4);
    return word;
}

static void pack_q4_0(const unsigned char *from, uint32_t k, struct plane q, struct plane d)
{
    for (uint32_t b = 0; b < k / 32; b++, from += 18) {
        d.halves[8 * b] = half_at(from);
        for (uint32_t i = 0; i < 4; i++)
            q.words[8 * (4 * b + i)] = nibbles(from + 2 + i % 2 * 8, i >= 2);
    }
}

/* In a file, 6-bit scale j < 4 is the low bits of byte j and its minimum those of byte 4 + j; for j >= 4 the
 * low 4 bits are the nibbles of byte 4 + j, the high 2 bits those on top of bytes j - 4 and j. */
static void pack_q4_k_scales(const unsigned char *from, struct plane to)
{
    uint32_t scales = 0, minima = 0, high = 0;
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t s = j < 4 ? from[j] & 63u : (from[j + 4] & 15u) | (uint32_t)(from[j - 4] >> 6) << 4;
        uint32_t m = j < 4 ? from[j + 4] & 63u : (uint32_t)(from[j + 4] >> 4) | (uint32_t)(from[j] >> 6) << 4;
        scales |= (s & 15u) << (4 * j);
        minima |= (m & 15u) << (4 * j);
        high |= (s >> 4) << (2 * j) | (m >> 4) << (16 + 2 * j);
    }
    to.words[0] = scales;
    to.words[8] = minima;
    to.words[16] = high;
}

static void pack_q4_k(const unsigned char *from, uint32_t k, struct plane q, struct plane header)
{
    for (uint32_t b = 0; b < k / 256; b++, from += 144) {
        header.words[32 * b] = word_at(from);
        pack_q4_k_scales(from + 4, (struct plane){header.words + 32 * b + 8, NULL});
        /* 64 elements are 32 bytes: the low nibbles, then the high ones. */
        for (uint32_t i = 0; i < 32; i++)
            q.words[8 * (32 * b + i)] = nibbles(from + 16 + i / 8 * 32 + i % 4 * 8, i % 8 >= 4);
    }
}

/* In a file, 128 elements are 64 bytes of low nibbles (32 elements in the low ones of bytes 0..31, 32 in
 * those of bytes 32..63, then the high ones) and 32 bytes of four times 2 high bits. */
static void pack_q6_k(const unsigned char *from, uint32_t k, struct plane low, struct plane high,
                      unsigned char *header, uint32_t column)
{
    for (uint32_t b = 0; b < k / 256; b++, from += 210) {
        for (uint32_t i = 0; i < 32; i++) {
            uint32_t part = i / 16, quarter = i % 16 / 4;
            low.words[8 * (32 * b + i)] =
                nibbles(from + part * 64 + quarter % 2 * 32 + i % 4 * 8, quarter >= 2);
        }
        for (uint32_t i = 0; i < 16; i++) {
            const unsigned char *at = from + 128 + i / 8 * 32 + i % 2 * 16;
            uint32_t word = 0;
            for (uint32_t j = 0; j < 16; j++)
                word |= (uint32_t)(at[j] >> (i % 8 / 2 * 2) & 3) << (j % 4 * 8 + j / 4 * 2);
            high.words[8 * (16 * b + i)] = word;
        }
        struct plane scales = plane_at(header, 144 * (uint64_t)b, column);
        for (uint32_t i = 0; i < 4; i++)
            scales.words[8 * i] = word_at(from + 192 + 4 * i);
        plane_at(header, 144 * (uint64_t)b + 128, column).halves[0] = half_at(from + 208);
    }
}

static void pack_column(enum rf_weight_format format, uint32_t k, const void *from, void *block, uint32_t c)
{
    uint64_t quads = 4 * (uint64_t)k; /* bytes of 4 bits a weight, 8 columns */
    struct plane first = plane_at(block, 0, c);
    switch (format) {
    case RF_WEIGHT_F32:
        pack_words(from, k, first);
        break;
    case RF_WEIGHT_BF16:
    case RF_WEIGHT_F16:
        pack_words(from, k / 2, first);
        break;
    case RF_WEIGHT_Q8_0:
        pack_q8_0(from, k, first, plane_at(block, 2 * quads, c));
        break;
    case RF_WEIGHT_Q4_0:
        pack_q4_0(from, k, first, plane_at(block, quads, c));
        break;
    case RF_WEIGHT_Q4_K:
        pack_q4_k(from, k, first, plane_at(block, quads, c));
        break;
    case RF_WEIGHT_Q6_K:
        pack_q6_k(from, k, first, plane_at(block, quads, c), (unsigned char *)block + quads + quads / 2, c);
        break;
    case RF_WEIGHT_FORMATS:
        break;
    }
}

void rf_weight_pack(enum rf_weight_format format, uint32_t k, const void *const columns[8], void *block)
{
    memset(block, 0, rf_weight_block_bytes(format, k));
    for (uint32_t c = 0; c < 8; c++)
        if (columns[c])
            pack_column(format, k, columns[c], block, c);
}
