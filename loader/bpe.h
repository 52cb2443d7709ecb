/* Byte-pair encoding: which pairs of tokens merge, in which order, and the merging of one word. */
#ifndef RF_LOADER_BPE_H
#define RF_LOADER_BPE_H

#include "loader/growable.h"

struct rf_merge {
    uint32_t left, right; /* token ids */
    uint32_t rank;        /* lower merges first; UINT32_MAX marks a free slot */
    uint32_t merged;      /* what the pair becomes */
};

/* Hash map from a pair to its merge: open addressing, linear probing, at most three quarters full. */
struct rf_merges {
    struct rf_merge *slots; /* [mask + 1] */
    uint32_t mask;
};

bool rf_merges_create(struct rf_merges *merges, size_t count); /* room for `count`; false: no memory */
void rf_merges_free(struct rf_merges *merges);
/* NULL when the pair does not merge. */
const struct rf_merge *rf_merges_find(const struct rf_merges *merges, uint32_t left, uint32_t right);
/* The pair must not be there yet, and there must be room. */
void rf_merges_add(struct rf_merges *merges, struct rf_merge merge);

struct rf_bpe_symbol {
    uint32_t token;
    uint32_t prev, next; /* indices into the word's symbols; UINT32_MAX at the ends */
    uint32_t rank;       /* of merging this symbol with the next; UINT32_MAX: they do not merge */
};

struct rf_bpe_candidate {
    uint32_t rank, at; /* `at`: index of the left symbol */
};

/* Work memory of one encoding thread, reused from word to word. Zero-initialised is empty. */
struct rf_bpe_scratch {
    struct rf_bpe_symbol *symbols;
    struct rf_bpe_candidate *heap;
    size_t capacity; /* symbols; the heap holds three times as many */
};
void rf_bpe_scratch_free(struct rf_bpe_scratch *scratch);

/* Appends the ids of one word (length < UINT32_MAX / 4 bytes): repeatedly the pair of lowest rank is merged,
 * the leftmost of equals, in O(n log n). byte_tokens[256] are the tokens of single bytes. False: no
 * memory. */
bool rf_bpe_word(const struct rf_merges *merges, const uint32_t *byte_tokens, const char *word, size_t length,
                 struct rf_bpe_scratch *scratch, struct rf_ids *ids);

#endif
