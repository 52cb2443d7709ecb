#include "loader/bpe.h"
#include "engine/allocate.h"

#define NONE UINT32_MAX

bool rf_merges_create(struct rf_merges *merges, size_t count)
{
    size_t capacity = 16;
    while (capacity - capacity / 4 < count)
        capacity *= 2;
    if (capacity > UINT32_MAX)
        return false;
    merges->slots = rf_malloc(capacity * sizeof *merges->slots);
    if (!merges->slots)
        return false;
    merges->mask = (uint32_t)(capacity - 1);
    for (size_t i = 0; i < capacity; i++)
        merges->slots[i].rank = NONE;
    return true;
}

void rf_merges_free(struct rf_merges *merges)
{
    rf_free(merges->slots);
    *merges = (struct rf_merges){0};
}

/* The slot that holds the pair, or the free one where it belongs. */
static struct rf_merge *slot_of(const struct rf_merges *merges, uint32_t left, uint32_t right)
{
    uint64_t hash = ((uint64_t)left << 32 | right) * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t at = (uint32_t)(hash >> 32) & merges->mask;
    for (;; at = (at + 1) & merges->mask) {
        struct rf_merge *slot = &merges->slots[at];
        if (slot->rank == NONE || (slot->left == left && slot->right == right))
            return slot;
    }
}

const struct rf_merge *rf_merges_find(const struct rf_merges *merges, uint32_t left, uint32_t right)
{
    const struct rf_merge *slot = slot_of(merges, left, right);
    return slot->rank == NONE ? NULL : slot;
}

void rf_merges_add(struct rf_merges *merges, struct rf_merge merge)
{
    *slot_of(merges, merge.left, merge.right) = merge;
}

void rf_bpe_scratch_free(struct rf_bpe_scratch *scratch)
{
    rf_free(scratch->symbols);
    rf_free(scratch->heap);
    *scratch = (struct rf_bpe_scratch){0};
}

static bool reserve(struct rf_bpe_scratch *scratch, size_t length)
{
    if (scratch->capacity >= length)
        return true;
    size_t capacity = scratch->capacity * 2 > length ? scratch->capacity * 2 : length + 32;
    rf_bpe_scratch_free(scratch);
    scratch->symbols = rf_malloc(capacity * sizeof *scratch->symbols);
    /* n symbols give n - 1 candidates at the start, and each of at most n - 1 merges adds two. */
    scratch->heap = rf_malloc(3 * capacity * sizeof *scratch->heap);
    if (!scratch->symbols || !scratch->heap) {
        rf_bpe_scratch_free(scratch);
        return false;
    }
    scratch->capacity = capacity;
    return true;
}

/* ---- Heap of candidates, lowest rank first, then leftmost ---------------------------------------------- */

static bool before(struct rf_bpe_candidate a, struct rf_bpe_candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(struct rf_bpe_candidate *heap, size_t *count, struct rf_bpe_candidate candidate)
{
    size_t at = (*count)++;
    while (at > 0 && before(candidate, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = candidate;
}

static struct rf_bpe_candidate pop(struct rf_bpe_candidate *heap, size_t *count)
{
    struct rf_bpe_candidate top = heap[0];
    struct rf_bpe_candidate last = heap[--*count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= *count)
            break;
        if (child + 1 < *count && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* ---- One word ------------------------------------------------------------------------------------------ */

/* Looks up the pair that starts at `at` and makes it a candidate if it merges. */
static void consider(const struct rf_merges *merges, struct rf_bpe_scratch *scratch, uint32_t at,
                     size_t *candidates)
{
    struct rf_bpe_symbol *symbol = &scratch->symbols[at];
    symbol->rank = NONE;
    if (symbol->next == NONE)
        return;
    const struct rf_merge *merge =
        rf_merges_find(merges, symbol->token, scratch->symbols[symbol->next].token);
    if (!merge)
        return;
    symbol->rank = merge->rank;
    push(scratch->heap, candidates, (struct rf_bpe_candidate){merge->rank, at});
}

/* Joins the symbol with its next one. */
static void join(const struct rf_merges *merges, struct rf_bpe_scratch *scratch, uint32_t at,
                 size_t *candidates)
{
    struct rf_bpe_symbol *symbols = scratch->symbols;
    struct rf_bpe_symbol *left = &symbols[at], *right = &symbols[left->next];
    left->token = rf_merges_find(merges, left->token, right->token)->merged;
    right->rank = NONE; /* its candidates in the heap are void */
    left->next = right->next;
    if (left->next != NONE)
        symbols[left->next].prev = at;
    consider(merges, scratch, at, candidates);
    if (left->prev != NONE)
        consider(merges, scratch, left->prev, candidates);
}

bool rf_bpe_word(const struct rf_merges *merges, const uint32_t *byte_tokens, const char *word, size_t length,
                 struct rf_bpe_scratch *scratch, struct rf_ids *ids)
{
    if (!reserve(scratch, length))
        return false;
    struct rf_bpe_symbol *symbols = scratch->symbols;
    uint32_t last = (uint32_t)length - 1;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t token = byte_tokens[(unsigned char)word[i]];
        symbols[i] = (struct rf_bpe_symbol){token, i ? i - 1 : NONE, i < last ? i + 1 : NONE, NONE};
    }
    size_t candidates = 0;
    for (uint32_t i = 0; i < length; i++)
        consider(merges, scratch, i, &candidates);
    while (candidates > 0) {
        struct rf_bpe_candidate best = pop(scratch->heap, &candidates);
        /* A pair changed since it was pushed has another rank: ranks belong to one pair each. */
        if (symbols[best.at].rank == best.rank)
            join(merges, scratch, best.at, &candidates);
    }
    for (uint32_t i = length ? 0 : NONE; i != NONE; i = symbols[i].next)
        if (!rf_ids_append(ids, symbols[i].token))
            return false;
    return true;
}
