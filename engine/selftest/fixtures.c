#include "engine/selftest/fixtures.h"

size_t rf_put_counts(struct rf_case *c, uint32_t rows, uint32_t outputs)
{
    size_t at = rf_case_alloc(c, "counts", sizeof(struct rf_counts));
    if (rows != UINT32_MAX)
        rf_case_put(c, at + offsetof(struct rf_counts, rows), &rows, sizeof rows);
    if (outputs != UINT32_MAX)
        rf_case_put(c, at + offsetof(struct rf_counts, outputs), &outputs, sizeof outputs);
    return at;
}

void rf_patch_counts(struct rf_case *c, size_t counts, bool outputs)
{
    const uint32_t one = 1;
    rf_case_put(c,
                counts + (outputs ? offsetof(struct rf_counts, outputs) : offsetof(struct rf_counts, rows)),
                &one, sizeof one);
}

size_t rf_place_rows(struct rf_case *c, const struct rf_row *rows, uint32_t count)
{
    size_t size = count * sizeof *rows, at = rf_case_alloc(c, "rows", size);
    if (at)
        memcpy(rf_case_at(c, at), rows, size);
    return at;
}

void rf_declare_strided(struct rf_case *c, size_t offset, size_t size, size_t count, size_t stride)
{
    for (size_t i = 0; i < count; i++)
        rf_case_mark(c, offset + i * stride, size, RF_MARK_READ);
}

/* ---- KV pages --------------------------------------------------------------------------------------- */

static size_t page_bytes(const struct rf_kv *kv)
{
    return (size_t)kv->layers * kv->kv_heads * 2 * RF_PAGE_ROWS * kv->head_dim * rf_number_bytes(kv->number);
}

/* Deals pages 0..total-1 of one region to the sequences in random order. */
static void deal_pages(struct rf_case *c, struct rf_kv *kv, size_t base, uint32_t total)
{
    uint32_t order[RF_KV_SEQS * RF_KV_PAGES], next = 0;
    for (uint32_t i = 0; i < total; i++)
        order[i] = i;
    for (uint32_t i = total; i > 1; i--) {
        uint32_t j = rf_random_below(&c->random, i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    for (uint32_t s = 0; s < kv->seq_count; s++)
        for (uint32_t p = 0; p < kv->page_count[s]; p++)
            kv->page[s][p] = base + order[next++] * page_bytes(kv);
}

void rf_kv_place(struct rf_case *c, struct rf_kv *kv, const uint32_t *rows)
{
    uint32_t total = 0;
    struct rf_seq seqs[RF_KV_SEQS] = {0};
    for (uint32_t s = 0; s < kv->seq_count; s++) {
        kv->page_count[s] = (rows[s] + RF_PAGE_ROWS - 1) / RF_PAGE_ROWS;
        total += kv->page_count[s];
    }
    deal_pages(c, kv, rf_case_alloc(c, "pages", total * page_bytes(kv)), total);
    uint64_t beyond = rf_case_address(c, rf_case_alloc(c, "page of nobody", page_bytes(kv)));
    for (uint32_t s = 0; s < kv->seq_count; s++) {
        uint64_t table[RF_KV_PAGES + 2];
        uint32_t entries = kv->page_count[s] + 2;
        for (uint32_t p = 0; p < entries; p++)
            table[p] = p < kv->page_count[s] ? rf_case_address(c, kv->page[s][p]) : beyond;
        size_t at = rf_case_alloc(c, "page table", entries * sizeof table[0]);
        rf_case_put(c, at, table, entries * sizeof table[0]);
        seqs[s].pages = rf_case_address(c, at);
    }
    kv->seqs = rf_case_alloc(c, "seqs", kv->seq_count * sizeof seqs[0]);
    if (kv->seqs)
        memcpy(rf_case_at(c, kv->seqs), seqs, kv->seq_count * sizeof seqs[0]);
    for (uint32_t s = 0; s < kv->seq_count; s++)
        if (rows[s])
            rf_declare_field(c, kv->seqs + s * sizeof seqs[0], 1, rf_seq, pages);
}

size_t rf_kv_at(const struct rf_kv *kv, uint32_t seq, uint32_t layer, uint32_t kv_head, uint32_t row,
                uint32_t d, bool is_v)
{
    size_t half = (size_t)RF_PAGE_ROWS * kv->head_dim, in_page = row % RF_PAGE_ROWS;
    size_t element = ((size_t)layer * kv->kv_heads + kv_head) * 2 * half;
    if (is_v)
        element += half + in_page * kv->head_dim + d;
    else
        element += ((size_t)(d / 4) * RF_PAGE_ROWS + in_page) * 4 + d % 4;
    return kv->page[seq][row / RF_PAGE_ROWS] + element * rf_number_bytes(kv->number);
}
