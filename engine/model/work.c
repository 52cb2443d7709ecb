#include "engine/model/work.h"

#include <stdlib.h>

#include "engine/arithmetic.h"
#include "engine/model/forward_internal.h"
#include "engine/model/int8.h"

/* ---- What a forward's rows come to ------------------------------------------------------------------ */

static int by_first(const void *a, const void *b)
{
    const struct rf_key_run *x = a, *y = b;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* KV rows in the union of runs, which are sorted. */
static uint64_t union_of(const struct rf_key_run *runs, uint32_t count)
{
    uint64_t keys = 0;
    uint32_t seq = RF_NONE, end = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (runs[i].seq != seq) {
            seq = runs[i].seq;
            end = 0;
        }
        uint32_t first = runs[i].first > end ? runs[i].first : end;
        if (runs[i].end > first) {
            keys += runs[i].end - first;
            end = runs[i].end;
        }
    }
    return keys;
}

void rf_load_count(struct rf_load *load, const struct rf_row *rows, uint32_t count,
                   struct rf_key_run *scratch)
{
    uint32_t runs = 0;
    *load = (struct rf_load){.rows = count};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t keys = (uint64_t)rows[i].ctx_rows + rows[i].kv_row - rows[i].seg_first + 1;
        load->outputs += rows[i].result != RF_NONE;
        load->pairs += keys;
        if (keys <= RF_SPLIT_KEYS)
            load->short_rows++;
        else
            load->parts += (keys + RF_SPLIT_KEYS - 1) / RF_SPLIT_KEYS;
        scratch[runs++] = (struct rf_key_run){rows[i].seq, rows[i].seg_first, rows[i].kv_row + 1};
        /* Neighbours of one sequence see the same committed rows: one run for all of them. */
        bool same = i > 0 && rows[i - 1].seq == rows[i].seq && rows[i - 1].ctx_rows == rows[i].ctx_rows;
        if (!same)
            scratch[runs++] = (struct rf_key_run){rows[i].seq, 0, rows[i].ctx_rows};
    }
    qsort(scratch, runs, sizeof *scratch, by_first);
    load->keys = union_of(scratch, runs);
}

static uint64_t value(const struct rf_terms *t, const struct rf_load *load)
{
    return t->fixed + t->row * load->rows + t->output * load->outputs + t->key * load->keys +
           t->pair * load->pairs + t->short_row * load->short_rows + t->part * load->parts +
           t->long_row * (load->rows - load->short_rows);
}

struct rf_work_done rf_work_of(const struct rf_work_terms *terms, const struct rf_load *load,
                               const struct rf_row *all)
{
    struct rf_load part = *load;
    if (terms->token_end > terms->token_first) {
        part.rows = 0;
        for (uint64_t i = 0; i < load->rows; i++)
            part.rows += all[i].token >= terms->token_first && all[i].token < terms->token_end;
        load = &part;
    }
    uint64_t rows = terms->by_outputs  ? load->outputs
                    : terms->long_only ? load->rows - load->short_rows
                                       : load->rows;
    if (rows == 0) /* its size is zero workgroups, so that not even weights are read */
        return (struct rf_work_done){0};
    return (struct rf_work_done){rows, value(&terms->read, load), value(&terms->written, load),
                                 value(&terms->operations, load)};
}

/* ---- Terms ------------------------------------------------------------------------------------------ */

/* Bytes of an activation of `k` numbers: int8 blocks of 32 have two f32 beside them. */
static uint64_t activation_bytes(const struct rf_forward *f, uint32_t k, bool int8)
{
    if (int8)
        return (uint64_t)rf_divide_up(k, 32) * (32 + 8);
    return (uint64_t)k * (f->fp16 ? 2 : 4);
}

static uint64_t kv_row_bytes(const struct rf_forward *f)
{
    return 2 * (uint64_t)f->config.kv_heads * f->config.head_dim * (f->fp16 ? 2 : 4);
}

struct rf_work_terms rf_work_gather(uint32_t grid_count)
{
    return (struct rf_work_terms){
        .read = {.fixed = grid_count * sizeof(struct rf_grid), .row = sizeof(struct rf_row)},
        .written = {.fixed = sizeof(struct rf_counts) + 12ull * grid_count,
                    .row = sizeof(struct rf_row),
                    .output = 4}};
}

struct rf_work_terms rf_work_embed(const struct rf_forward *f, const struct rf_chunk *chunk)
{
    return (struct rf_work_terms){.read = {.row = rf_chunk_bytes(chunk) / chunk->columns},
                                  .written = {.row = 4ull * f->config.hidden},
                                  .token_first = chunk->first,
                                  .token_end = chunk->first + chunk->columns};
}

/* x^2 summed, then two products an element; partials are added up. */
struct rf_work_terms rf_work_norm(const struct rf_forward *f, const struct rf_norm_call *call)
{
    const uint64_t hidden = call->hidden, partials = call->splits > 1 ? call->splits : 0;
    const struct rf_int8_inputs inputs =
        call->to ? rf_int8_inputs(f, call->to) : (struct rf_int8_inputs){false, true};
    uint64_t out = (inputs.blocks ? activation_bytes(f, call->hidden, true) : 0) +
                   (inputs.quads ? activation_bytes(f, call->hidden, false) : 0);
    uint64_t read = 4 * hidden * (1 + partials), written = out + (partials ? 4 * hidden : 0),
             operations = hidden * (4 + partials);
    struct rf_work_terms terms = {.read = {.fixed = 4 * hidden}, .by_outputs = call->gather};
    if (call->gather) {
        terms.read.output = read;
        terms.written.output = written;
        terms.operations.output = operations;
    } else {
        terms.read.row = read;
        terms.written.row = written;
        terms.operations.row = operations;
    }
    return terms;
}

/* Norms and rotations of q and k, 4 + 3 operations an element; v is copied. Split products are summed, and of
 * whole ones only q goes back. */
struct rf_work_terms rf_work_head_rope(const struct rf_forward *f, uint32_t splits)
{
    const struct rf_model_config *c = &f->config;
    uint64_t q = (uint64_t)c->heads * c->head_dim, kv = (uint64_t)c->kv_heads * c->head_dim;
    uint64_t sums = splits > 1 ? splits : 1;
    return (struct rf_work_terms){
        .read = {.fixed = 2 * 4ull * c->head_dim, .row = 4 * (q + 2 * kv) * sums + 4ull * c->head_dim},
        .written = {.row = 4 * q + kv_row_bytes(f)},
        .operations = {.row = 7 * (q + kv) + (q + 2 * kv) * (sums - 1)}};
}

/* Two products of head_dim numbers for each head and key. Rows of one split leave their output, others
 * partials. */
struct rf_work_terms rf_work_attention(const struct rf_forward *f, bool int8)
{
    const struct rf_model_config *c = &f->config;
    uint64_t q = (uint64_t)c->heads * c->head_dim;
    return (struct rf_work_terms){.read = {.row = 4 * q, .key = kv_row_bytes(f)},
                                  .written = {.short_row = activation_bytes(f, (uint32_t)q, int8),
                                              .part = 4ull * c->heads * (c->head_dim + 2)},
                                  .operations = {.pair = 4 * q}};
}

struct rf_work_terms rf_work_attention_reduce(const struct rf_forward *f, bool int8)
{
    const struct rf_model_config *c = &f->config;
    uint64_t q = (uint64_t)c->heads * c->head_dim;
    return (struct rf_work_terms){.read = {.part = 4ull * c->heads * (c->head_dim + 2)},
                                  .written = {.long_row = activation_bytes(f, (uint32_t)q, int8)},
                                  .operations = {.part = 2 * q},
                                  .long_only = true};
}

/* What the epilogue writes of a row's `columns` sums, and reads of what was there. */
static void add_epilogue(const struct rf_forward *f, uint32_t epilogue, uint32_t columns,
                         struct rf_terms *read, struct rf_terms *written)
{
    switch (epilogue) {
    case RF_EPILOGUE_RESIDUAL:
        read->row += 4ull * columns;
        written->row += 4ull * columns;
        break;
    case RF_EPILOGUE_SWIGLU:
    case RF_EPILOGUE_SWIGLU_INT8:
        written->row += activation_bytes(f, columns / 2, epilogue == RF_EPILOGUE_SWIGLU_INT8);
        break;
    case RF_EPILOGUE_REDUCE:
        written->output += (uint64_t)rf_divide_up(columns, RF_LOGIT_TILE) * sizeof(struct rf_partial);
        break;
    case RF_EPILOGUE_LOGITS:
        written->output += 4ull * columns;
        break;
    default:
        written->row += 4ull * columns;
    }
}

struct rf_work_terms rf_work_matmul(const struct rf_forward *f, const struct rf_matmul_call *call,
                                    const struct rf_chunk *chunk, uint32_t splits)
{
    bool head = call->epilogue == RF_EPILOGUE_REDUCE || call->epilogue == RF_EPILOGUE_LOGITS;
    bool int8 = rf_int8_takes(f, chunk->format);
    uint64_t x = activation_bytes(f, call->matrix->k, int8),
             products = 2ull * chunk->columns * call->matrix->k;
    struct rf_work_terms terms = {.read = {.fixed = rf_chunk_bytes(chunk)}, .by_outputs = head};
    if (head) {
        terms.read.output = x;
        terms.operations.output = products;
    } else {
        terms.read.row = x;
        terms.operations.row = products;
    }
    if (splits > 1)
        terms.written.row = 4ull * chunk->columns * splits;
    else
        add_epilogue(f, call->epilogue, chunk->columns, &terms.read, &terms.written);
    return terms;
}

struct rf_work_terms rf_work_logits_reduce(const struct rf_forward *f)
{
    return (struct rf_work_terms){.read = {.output = (uint64_t)f->logit_tiles * sizeof(struct rf_partial)},
                                  .written = {.output = sizeof(struct rf_result)},
                                  .by_outputs = true};
}

struct rf_work_terms rf_work_slots(void)
{
    return (struct rf_work_terms){.read = {.output = sizeof(struct rf_result)}, .by_outputs = true};
}

struct rf_work_terms rf_work_kv_commit(const struct rf_forward *f)
{
    uint64_t bytes = kv_row_bytes(f) * f->config.layers;
    return (struct rf_work_terms){.read = {.row = bytes}, .written = {.row = bytes}};
}
