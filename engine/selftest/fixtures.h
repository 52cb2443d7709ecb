/* Pieces of input that several kernels share: counts, rows, outputs, sequences, activation quads and KV pages
 * in the layouts of shaders/shared.h, each declaring exactly the fields that a kernel may read. */
#ifndef RF_SELFTEST_FIXTURES_H
#define RF_SELFTEST_FIXTURES_H

#include <stddef.h>

#include "engine/selftest/harness.h"
#include "shaders/shared.h"

/* What suites run. `thorough` is the whole matrix of shapes. Besides, each suite runs the last row of its
 * cases alone where the kernel promises that a row's result does not depend on its company. */
struct rf_suite {
    struct rf_harness *h;
    bool thorough;
    bool fp16; /* the device runs the fp16 path */
};

void rf_selftest_rows(struct rf_suite *suite);      /* rows_gather, kv_commit */
void rf_selftest_norms(struct rf_suite *suite);     /* embed, rmsnorm, head_rope */
void rf_selftest_matmul(struct rf_suite *suite);    /* matmul, matmul_few: STORE, RESIDUAL, SWIGLU, LOGITS */
void rf_selftest_logits(struct rf_suite *suite);    /* the same: REDUCE; logits_reduce */
void rf_selftest_sampling(struct rf_suite *suite);  /* the same: Gumbel draws */
void rf_selftest_attention(struct rf_suite *suite); /* attention, attention_reduce */

/* Only `rows` or `outputs` is declared where the other is UINT32_MAX. Returns the offset. */
size_t rf_put_counts(struct rf_case *c, uint32_t rows, uint32_t outputs);

/* For a row alone: the one row or output that there is. */
void rf_patch_counts(struct rf_case *c, size_t counts, bool outputs);

/* Rows of a forward: all fields are placed, only those declared with rf_declare_field count as read. */
size_t rf_place_rows(struct rf_case *c, const struct rf_row *rows, uint32_t count);
#define rf_declare_field(c, base, count, type, field)                                                        \
    rf_declare_strided(c, (base) + offsetof(struct type, field), sizeof(((struct type *)0)->field), count,   \
                       sizeof(struct type))
void rf_declare_strided(struct rf_case *c, size_t offset, size_t size, size_t count, size_t stride);

/* Activation quads [columns / 4][ld]: element (row, column). */
static inline size_t rf_quad_at(size_t base, enum rf_number number, uint32_t ld, uint32_t row,
                                uint32_t column)
{
    return base + (((size_t)(column / 4) * ld + row) * 4 + column % 4) * rf_number_bytes(number);
}

/* ---- KV pages of several sequences ------------------------------------------------------------------ */

enum { RF_KV_SEQS = 4, RF_KV_PAGES = 40 };

struct rf_kv {
    uint32_t layers, kv_heads, head_dim, layer; /* layer: the one that the case works on */
    enum rf_number number;
    uint32_t seq_count;
    uint32_t page_count[RF_KV_SEQS];
    size_t page[RF_KV_SEQS][RF_KV_PAGES]; /* offsets in the pool: shuffled over all sequences */
    size_t seqs;                          /* offset of struct rf_seq [seq_count] */
};

/* Lays out pages for `rows[s]` virtual rows of each sequence, page tables and sequences. Declares the
 * addresses, which are all valid, two entries behind each table's end included: a kernel that looks at the
 * wrong row finds poison there, and the device survives. No page is declared. */
void rf_kv_place(struct rf_case *c, struct rf_kv *kv, const uint32_t *rows);
/* Byte offset of element d of a row's K or V. */
size_t rf_kv_at(const struct rf_kv *kv, uint32_t seq, uint32_t layer, uint32_t kv_head, uint32_t row,
                uint32_t d, bool is_v);

#endif
