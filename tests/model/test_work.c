/* What a profile says that dispatches move and compute, against a second count from shapes alone: every op,
 * weight format and precision, rows and contexts of all regimes, splits over k, mixed matrices. Figures
 * must be equal to the byte. First over plans, which need no kernel; then over records of real steps, whose
 * rows the test lays out itself from the rules of decoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/matmul.h"
#include "tests/decode/engine.h"

enum { MOST_KEYS = 8192, MOST_SEQS = 4, SLOT = 4, BLOCK = 16 };

/* Blocks of GGML's formats: elements, bytes. */
static const struct {
    uint32_t elements, bytes;
} blocks[RF_WEIGHT_FORMATS] = {
    [RF_WEIGHT_F32] = {1, 4},      [RF_WEIGHT_BF16] = {1, 2},   [RF_WEIGHT_F16] = {1, 2},
    [RF_WEIGHT_Q8_0] = {32, 34},   [RF_WEIGHT_Q4_0] = {32, 18}, [RF_WEIGHT_Q4_K] = {256, 144},
    [RF_WEIGHT_Q6_K] = {256, 210},
};

static const char *const names[RF_WEIGHT_FORMATS] = {
    [RF_WEIGHT_F32] = "f32",   [RF_WEIGHT_BF16] = "bf16", [RF_WEIGHT_F16] = "f16",
    [RF_WEIGHT_Q8_0] = "q8_0", [RF_WEIGHT_Q4_0] = "q4_0", [RF_WEIGHT_Q4_K] = "q4_k",
    [RF_WEIGHT_Q6_K] = "q6_k",
};

/* Every length of k is a multiple of 256, so that each format is what was asked for; hidden differs from
 * heads * head_dim, and the vocabulary is no multiple of anything. */
static const char shape[] = "qwen3-0.6b,layers=2,hidden=512,heads=4,kv_heads=1,head_dim=64,ffn=768,vocab=333,"
                            "context=2048";
enum { LAYERS = 2, HIDDEN = 512, HEADS = 4, HEAD_DIM = 64, Q = 256, KV = 64, FFN = 768, VOCAB = 333 };

/* ---- The second count ------------------------------------------------------------------------------- */

struct figures {
    uint64_t rows, read, written, operations;
};

/* Rows as they are laid, and what follows from them, the slow way. */
struct lot {
    struct rf_row rows[RF_MAX_ROWS];
    uint32_t count;
    uint64_t outputs, pairs, keys, long_rows, parts;
    unsigned char seen[MOST_SEQS][MOST_KEYS];
};

static void see(struct lot *lot, uint32_t seq, uint32_t first, uint32_t end)
{
    for (uint32_t key = first; key < end; key++) {
        assert_true(key < MOST_KEYS);
        lot->keys += !lot->seen[seq][key];
        lot->seen[seq][key] = 1;
    }
}

static void lay(struct lot *lot, struct rf_row row)
{
    uint64_t keys = (uint64_t)row.ctx_rows + (row.kv_row - row.seg_first + 1);
    assert_true(lot->count < RF_MAX_ROWS && row.seq < MOST_SEQS);
    lot->rows[lot->count++] = row;
    lot->outputs += row.result != RF_NONE;
    lot->pairs += keys;
    if (keys > 512) {
        lot->long_rows++;
        lot->parts += (keys + 511) / 512;
    }
    see(lot, row.seq, 0, row.ctx_rows);
    see(lot, row.seq, row.seg_first, row.kv_row + 1);
}

/* `count` rows behind `context` committed ones, in one segment that begins at KV row `first`; the last
 * `outputs` of them want a result. */
static void lay_segment(struct lot *lot, uint32_t seq, uint32_t context, uint32_t first, uint32_t count,
                        uint32_t outputs)
{
    for (uint32_t i = 0; i < count; i++)
        lay(lot, (struct rf_row){.token = (7 * (lot->count + i)) % VOCAB,
                                 .kv_row = first + i,
                                 .ctx_rows = context,
                                 .seg_first = first,
                                 .result = i + outputs < count ? RF_NONE : i,
                                 .seq = seq});
}

static uint64_t weight_bytes(enum rf_weight_format format, uint64_t columns, uint32_t k)
{
    assert_int_equal(k % blocks[format].elements, 0);
    return columns * (k / blocks[format].elements) * blocks[format].bytes;
}

static bool quantized(enum rf_weight_format format)
{
    return blocks[format].elements > 1;
}

/* Of k numbers: int8 in blocks of 32 with two f32 beside them. */
static uint64_t input_bytes(const struct rf_forward *f, uint32_t k, bool int8)
{
    return int8 ? (k + 31) / 32 * 40ull : f->fp16 ? 2ull * k : 4ull * k;
}

/* Whether the inputs of a product with this format are int8. */
static bool takes_int8(const struct rf_forward *f, enum rf_weight_format format)
{
    return f->int8 && quantized(format);
}

static uint64_t kv_bytes(const struct rf_forward *f)
{
    return 2ull * KV * (f->fp16 ? 2 : 4); /* K and V of one layer */
}

/* `partials` to be added first; what the norm writes goes to a matrix that may want it in two forms. */
static struct figures of_norm(const struct rf_forward *f, const struct rf_matrix *to, uint64_t rows,
                              uint32_t partials)
{
    bool plain = false, int8 = false;
    for (uint32_t c = 0; c < to->chunk_count; c++) {
        int8 = int8 || takes_int8(f, to->chunks[c].format);
        plain = plain || !takes_int8(f, to->chunks[c].format);
    }
    uint64_t out = (int8 ? input_bytes(f, HIDDEN, true) : 0) + (plain ? input_bytes(f, HIDDEN, false) : 0);
    /* x^2 added up: 2; times scale and weight: 2 */
    struct figures figures = {rows, rows * HIDDEN * 4, rows * out, rows * HIDDEN * (2 + 2)};
    if (partials) {
        figures.read += rows * HIDDEN * 4 * partials;
        figures.written += rows * HIDDEN * 4;
        figures.operations += rows * HIDDEN * partials;
    }
    figures.read += rows ? HIDDEN * 4 : 0;
    return figures;
}

static struct figures of_product(const struct rf_forward *f, const struct rf_matrix *matrix, uint32_t chunk,
                                 uint64_t rows, uint32_t splits)
{
    enum rf_weight_format format = matrix->chunks[chunk].format;
    uint64_t columns = matrix->chunks[chunk].columns;
    struct figures figures = {rows, rows * input_bytes(f, matrix->k, takes_int8(f, format)), 0,
                              rows * 2 * columns * matrix->k};
    figures.read += rows ? weight_bytes(format, columns, matrix->k) : 0;
    figures.written = splits > 1 ? rows * 4 * columns * splits : 0;
    return figures;
}

/* What op is, of which forward, with which splits of it or of what it adds up. */
struct place {
    const char *op;
    int layer;
    uint32_t chunk, splits;
    bool logits; /* the host wants logits, not results */
};

static bool is(const struct place *place, const char *op)
{
    return strcmp(place->op, op) == 0;
}

static struct figures of_attention(const struct rf_forward *f, const struct place *place,
                                   const struct lot *lot)
{
    const struct rf_layer_weights *w = &f->weights->layers[place->layer];
    uint64_t y = input_bytes(f, Q, takes_int8(f, w->o.chunks[0].format)), part = HEADS * (HEAD_DIM + 2) * 4;
    if (is(place, "attention"))
        return (struct figures){lot->count, lot->count * 4ull * Q + lot->keys * kv_bytes(f),
                                (lot->count - lot->long_rows) * y + lot->parts * part,
                                lot->pairs * (2 * 2 * Q)};
    return (struct figures){lot->long_rows, lot->parts * part, lot->long_rows * y, lot->parts * 2 * Q};
}

/* Norms and rotations of q and k, partial sums of all. A rotation makes two numbers of two with four products
 * and two sums. */
static struct figures of_head_rope(const struct rf_forward *f, const struct lot *lot, uint32_t splits)
{
    uint64_t rows = lot->count, all = Q + 2 * KV;
    struct figures figures = {rows, 2 * HEAD_DIM * 4 + rows * (all * 4 * splits + HEAD_DIM * 4),
                              rows * (Q * 4 + kv_bytes(f)), rows * (Q + KV) * (4 + 3)};
    figures.operations += rows * all * (splits - 1);
    return figures;
}

static struct figures of_layer(const struct rf_forward *f, const struct place *place, const struct lot *lot)
{
    const struct rf_layer_weights *w = &f->weights->layers[place->layer];
    uint32_t splits = place->splits, partials = splits > 1 ? splits : 0;
    uint64_t rows = lot->count;
    struct figures figures = {0};
    if (is(place, "input norm"))
        return of_norm(f, &w->qkv, rows, partials);
    if (is(place, "post-attention norm"))
        return of_norm(f, &w->gate_up, rows, partials);
    if (is(place, "head norm, RoPE, KV write"))
        return of_head_rope(f, lot, splits);
    if (is(place, "attention") || is(place, "attention reduce"))
        return of_attention(f, place, lot);
    if (is(place, "qkv")) {
        figures = of_product(f, &w->qkv, place->chunk, rows, splits);
        figures.written += partials ? 0 : rows * 4 * w->qkv.chunks[place->chunk].columns;
    } else if (is(place, "o") || is(place, "down")) {
        figures = of_product(f, is(place, "o") ? &w->o : &w->down, place->chunk, rows, splits);
        figures.read += partials ? 0 : rows * 4 * HIDDEN; /* added to what is there */
        figures.written += partials ? 0 : rows * 4 * HIDDEN;
    } else if (is(place, "gate/up")) {
        figures = of_product(f, &w->gate_up, place->chunk, rows, 1);
        figures.written += rows * input_bytes(f, FFN, takes_int8(f, w->down.chunks[0].format));
    } else {
        fail_msg("op \"%s\" of layer %d is unknown", place->op, place->layer);
    }
    return figures;
}

static struct figures of_embed(const struct rf_forward *f, const struct place *place, const struct lot *lot)
{
    const struct rf_chunk *chunk = &f->weights->embed.chunks[place->chunk];
    struct figures figures = {0};
    for (uint32_t i = 0; i < lot->count; i++) {
        uint32_t token = lot->rows[i].token;
        figures.rows += token >= chunk->first && token < chunk->first + chunk->columns;
    }
    figures.read = figures.rows * weight_bytes(chunk->format, 1, HIDDEN);
    figures.written = figures.rows * HIDDEN * 4;
    return figures;
}

static struct figures expected(const struct rf_forward *f, const struct place *place, const struct lot *lot)
{
    const uint64_t tiles = (VOCAB + 63) / 64, partial = 24, result = 20;
    if (place->layer >= 0)
        return of_layer(f, place, lot);
    if (is(place, "embed"))
        return of_embed(f, place, lot);
    if (is(place, "final norm"))
        return of_norm(f, &f->weights->lm_head, lot->outputs, place->splits > 1 ? place->splits : 0);
    if (is(place, "lm_head")) {
        struct figures figures = of_product(f, &f->weights->lm_head, place->chunk, lot->outputs, 1);
        uint64_t columns = f->weights->lm_head.chunks[place->chunk].columns;
        figures.written = lot->outputs * (place->logits ? 4 * columns : (columns + 63) / 64 * partial);
        return figures;
    }
    if (is(place, "logits reduce"))
        return (struct figures){lot->outputs, lot->outputs * tiles * partial, lot->outputs * result, 0};
    if (strncmp(place->op, "slot_", 5) == 0)
        return (struct figures){lot->outputs, lot->outputs * result, 0, 0};
    fail_msg("op \"%s\" is unknown", place->op);
    return (struct figures){0};
}

static void check(const struct place *place, struct figures found, struct figures wanted, const char *where)
{
    if (memcmp(&found, &wanted, sizeof found) != 0)
        fail_msg(
            "%s: %s (layer %d, chunk %u, splits %u): rows %llu, read %llu, written %llu, operations %llu; "
            "wanted %llu, %llu, %llu, %llu",
            where, place->op, place->layer, place->chunk, place->splits, (unsigned long long)found.rows,
            (unsigned long long)found.read, (unsigned long long)found.written,
            (unsigned long long)found.operations, (unsigned long long)wanted.rows,
            (unsigned long long)wanted.read, (unsigned long long)wanted.written,
            (unsigned long long)wanted.operations);
}

/* ---- Plans ------------------------------------------------------------------------------------------ */

/* The rows of a forward: `count` of them over `cache` committed ones. */
struct regime {
    const char *name;
    uint32_t count, cache;
    void (*lay)(struct lot *lot, uint32_t count, uint32_t cache);
};

/* A prompt's rows; the last one wants a result. */
static void lay_prompt(struct lot *lot, uint32_t count, uint32_t cache)
{
    lay_segment(lot, 0, cache, cache, count, 1);
}

static void lay_no_outputs(struct lot *lot, uint32_t count, uint32_t cache)
{
    lay_segment(lot, 0, cache, cache, count, 0);
}

/* The first PLAN: half of the rows are the prompt's, the others masks in scratch. */
static void lay_plan(struct lot *lot, uint32_t count, uint32_t cache)
{
    lay_segment(lot, 0, cache, cache, count / 2, 0);
    lay_segment(lot, 0, cache + count / 2, 4096, count - count / 2, count - count / 2);
}

/* Slots that do not see each other, behind rows that each of them kept. */
static void lay_complete(struct lot *lot, uint32_t count, uint32_t cache)
{
    for (uint32_t slot = 0; slot < count / 4; slot++)
        for (uint32_t j = 0; j < 4; j++)
            lay(lot, (struct rf_row){.token = slot,
                                     .kv_row = 4096 + 8 * slot + 4 + j,
                                     .ctx_rows = cache,
                                     .seg_first = 4096 + 8 * slot,
                                     .result = j < 3 ? j : RF_NONE,
                                     .seq = 0});
}

/* Sequences side by side: the same KV rows of another sequence are other keys. */
static void lay_company(struct lot *lot, uint32_t count, uint32_t cache)
{
    uint32_t third = count / 3;
    lay_segment(lot, 2, cache, cache, third, third);
    lay_segment(lot, 0, cache / 2, 4096, third, 1);
    lay_segment(lot, 3, cache, 4096, count - 2 * third, 2);
}

static const struct regime regimes[] = {
    {"1 row", 1, 0, lay_prompt},
    {"1 row over 511", 1, 511, lay_prompt},
    {"1 row over 512", 1, 512, lay_prompt},
    {"8 rows", 8, 0, lay_prompt},
    {"8 rows over 1500", 8, 1500, lay_prompt},
    {"8 rows, no result", 8, 40, lay_no_outputs},
    {"33 rows", 33, 0, lay_prompt},
    {"33 rows of a plan over 490", 33, 490, lay_plan},
    {"33 rows of three", 33, 600, lay_company},
    {"200 rows", 200, 0, lay_prompt},
    {"200 rows of a plan over 400", 200, 400, lay_plan},
    {"200 rows of slots over 300", 200, 300, lay_complete},
    {"200 rows of slots over 700", 200, 700, lay_complete},
    {"200 rows of three over 1000", 200, 1000, lay_company},
    {"512 rows, no result", 512, 200, lay_no_outputs},
};

/* The sequence of ops that a forward has, one after the other. */
struct walk {
    const struct rf_forward *f;
    const struct forward_plan *plan;
    const struct lot *lot;
    const struct rf_load *load;
    const char *where;
    uint32_t next;
    bool logits;
};

static const struct forward_op *step(struct walk *walk, struct place place)
{
    assert_true(walk->next < walk->plan->op_count);
    const struct forward_op *op = &walk->plan->ops[walk->next++];
    if (strcmp(op->note.op, place.op) != 0 || op->note.layer != place.layer)
        fail_msg("%s: op %u is %s of layer %d, wanted %s of %d", walk->where, walk->next - 1, op->note.op,
                 op->note.layer, place.op, place.layer);
    place.logits = walk->logits;
    struct rf_work_done done = rf_work_of(&op->note.work, walk->load, walk->lot->rows);
    check(&place, (struct figures){done.rows, done.read, done.written, done.operations},
          expected(walk->f, &place, walk->lot), walk->where);
    return op;
}

/* One op a chunk. Returns the splits, as the dispatch has them: its third dimension. */
static uint32_t step_product(struct walk *walk, const char *op, int layer, const struct rf_matrix *matrix)
{
    uint32_t splits = walk->plan->grids[walk->plan->ops[walk->next].grid].z;
    for (uint32_t c = 0; c < matrix->chunk_count; c++) {
        const struct forward_op *done =
            step(walk, (struct place){.op = op, .layer = layer, .chunk = c, .splits = splits});
        assert_int_equal(walk->plan->grids[done->grid].z, splits);
    }
    return splits;
}

/* Returns the largest number of splits that it met. */
static uint32_t check_plan(struct walk *walk)
{
    const struct rf_weights *w = walk->f->weights;
    uint32_t splits = 1, most = 1;
    for (uint32_t c = 0; c < w->embed.chunk_count; c++)
        step(walk, (struct place){.op = "embed", .layer = -1, .chunk = c});
    for (int l = 0; l < LAYERS; l++) {
        const struct rf_layer_weights *layer = &w->layers[l];
        step(walk, (struct place){.op = "input norm", .layer = l, .splits = splits});
        uint32_t qkv = step_product(walk, "qkv", l, &layer->qkv);
        step(walk, (struct place){.op = "head norm, RoPE, KV write", .layer = l, .splits = qkv});
        step(walk, (struct place){.op = "attention", .layer = l});
        step(walk, (struct place){.op = "attention reduce", .layer = l});
        uint32_t o = step_product(walk, "o", l, &layer->o);
        step(walk, (struct place){.op = "post-attention norm", .layer = l, .splits = o});
        assert_int_equal(step_product(walk, "gate/up", l, &layer->gate_up), 1);
        splits = step_product(walk, "down", l, &layer->down);
        most = qkv > most ? qkv : most;
        most = o > most ? o : most;
        most = splits > most ? splits : most;
    }
    step(walk, (struct place){.op = "final norm", .layer = -1, .splits = splits});
    step_product(walk, "lm_head", -1, &w->lm_head);
    if (!walk->logits)
        step(walk, (struct place){.op = "logits reduce", .layer = -1});
    assert_int_equal(walk->next, walk->plan->op_count);
    return most;
}

/* The gather and what goes with a forward, whose figures hang on nothing that is planned. */
static void check_beside(const struct rf_forward *f, const struct forward_plan *plan, const struct lot *lot,
                         const struct rf_load *load, const char *where)
{
    const struct place gather = {.op = "rows gather", .layer = -1}, commit = {.op = "kv_commit", .layer = -1};
    struct rf_work_terms terms = rf_work_gather(plan->grid_count);
    struct rf_work_done done = rf_work_of(&terms, load, lot->rows);
    const uint64_t row = 9 * 4, grid = 4 * 4, size = 3 * 4, counts = 3 * 4;
    check(&gather, (struct figures){done.rows, done.read, done.written, done.operations},
          (struct figures){lot->count, lot->count * row + plan->grid_count * grid,
                           lot->count * row + lot->outputs * 4 + plan->grid_count * size + counts, 0},
          where);
    terms = rf_work_kv_commit(f);
    done = rf_work_of(&terms, &(struct rf_load){.rows = 12}, NULL);
    check(&commit, (struct figures){done.rows, done.read, done.written, done.operations},
          (struct figures){12, 12 * LAYERS * kv_bytes(f), 12 * LAYERS * kv_bytes(f), 0}, where);
}

static uint32_t bucket_for(uint32_t rows)
{
    uint32_t bucket = 1;
    while (bucket < rows)
        bucket *= 2;
    return bucket;
}

/* One regime with one recording's flags; returns the largest number of splits. */
static uint32_t check_regime(const struct rf_forward *f, const struct regime *regime, uint32_t flags,
                             const char *model)
{
    static struct lot lot;
    static struct rf_key_run runs[2 * RF_MAX_ROWS];
    struct rf_load load;
    char where[128];
    memset(&lot, 0, sizeof lot);
    snprintf(where, sizeof where, "%s, %s, flags %u", model, regime->name, flags);
    regime->lay(&lot, regime->count, regime->cache);
    assert_int_equal(lot.count, regime->count);
    rf_load_count(&load, lot.rows, lot.count, runs);
    struct forward_plan plan = {.bucket = bucket_for(regime->count), .flags = flags};
    rf_plan_forward(f, &plan);
    assert_false(plan.failed);
    struct walk walk = {f, &plan, &lot, &load, where, 0, (flags & RF_FORWARD_LOGITS) != 0};
    uint32_t most = check_plan(&walk);
    check_beside(f, &plan, &lot, &load, where);
    rf_free(plan.ops);
    return most;
}

static uint32_t check_regimes(const struct rf_forward *f, const char *model)
{
    uint32_t most = 1;
    for (size_t i = 0; i < sizeof regimes / sizeof *regimes; i++) {
        uint32_t splits = check_regime(f, &regimes[i], 0, model);
        most = splits > most ? splits : most;
        assert_int_equal(check_regime(f, &regimes[i], RF_FORWARD_DETERMINISTIC, model), 1);
        if (regimes[i].count <= RF_LOGIT_ROWS)
            check_regime(f, &regimes[i], RF_FORWARD_LOGITS, model);
    }
    return most;
}

/* ---- Models ----------------------------------------------------------------------------------------- */

static void open_context(rf_context **context, const char *disable)
{
    require_ok(rf_context_create(context, &(struct rf_context_desc){.disable = disable}, err));
}

static rf_model *open_model(rf_context *context, const char *type, enum rf_precision precision, bool tied)
{
    char text[256];
    rf_model *model;
    snprintf(text, sizeof text, "%s,tied=%d,type=%s", shape, tied, type);
    const struct rf_model_desc desc = {.precision = precision, .no_tune = true};
    require_ok(rf_model_synthesize(&model, context, text, &desc, err));
    return model;
}

/* Layers' matrices have the format that was asked for: nothing fell back on another one. */
static void check_formats(const rf_model *model, enum rf_weight_format format)
{
    assert_int_equal(model->weights.layer_count, LAYERS);
    for (uint32_t l = 0; l < LAYERS; l++) {
        const struct rf_layer_weights *w = &model->weights.layers[l];
        const struct rf_matrix *const matrices[] = {&w->qkv, &w->o, &w->gate_up, &w->down};
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(matrices[i]->chunk_count, 1);
            assert_int_equal(matrices[i]->chunks[0].format, format);
        }
    }
}

struct variety {
    uint32_t models, most_splits;
};

static void check_models(struct variety *v, const char *disable)
{
    static const char *const precisions[] = {
        [RF_PRECISION_F32] = "f32", [RF_PRECISION_F16] = "f16", [RF_PRECISION_INT8] = "int8"};
    rf_context *context;
    struct rf_device_info info;
    open_context(&context, disable);
    rf_context_device(context, &info);
    for (int p = RF_PRECISION_F32; p <= RF_PRECISION_INT8; p++) {
        if (p != RF_PRECISION_F32 && !info.has_fp16)
            continue;
        for (int format = 0; format < RF_WEIGHT_FORMATS; format++) {
            if (p == RF_PRECISION_INT8 && !quantized((enum rf_weight_format)format))
                continue;
            for (int tied = 0; tied < 2; tied++) {
                char name[64];
                snprintf(name, sizeof name, "%s %s tied=%d", names[format], precisions[p], tied);
                rf_model *model = open_model(context, names[format], (enum rf_precision)p, tied);
                check_formats(model, (enum rf_weight_format)format);
                assert_int_equal(model->weights.tied, tied);
                uint32_t splits = check_regimes(model->forward, name);
                v->most_splits = splits > v->most_splits ? splits : v->most_splits;
                v->models++;
                rf_model_destroy(model);
            }
        }
    }
    rf_context_destroy(context);
}

static void test_plans(void **state)
{
    (void)state;
    struct variety v = {0};
    check_models(&v, "");
    printf("%u models\n", v.models);
    assert_true(v.models >= 14);
    assert_int_equal(v.most_splits, 1); /* CPU drivers never split */
}

/* Every product that can be split over k is, in uneven parts. */
static void test_splits(void **state)
{
    (void)state;
    struct variety v = {0};
    check_models(&v, "wide,wholeK");
    assert_int_equal(v.most_splits, 3);
}

/* Matrices of several formats, and tables in several parts, as no synthetic model has them. The plan touches
 * addresses only, so the chunks need no memory. */
static struct rf_matrix in_chunks(const struct rf_matrix *whole, struct rf_chunk *chunks, uint32_t count)
{
    uint32_t first = 0;
    for (uint32_t c = 0; c < count; c++) {
        uint64_t padded = (chunks[c].columns + 63) / 64 * 64;
        chunks[c].first = first;
        chunks[c].span = whole->chunks[0].span;
        chunks[c].span.size = weight_bytes(chunks[c].format, padded, whole->k);
        first += chunks[c].columns;
    }
    assert_int_equal(first, whole->columns);
    return (struct rf_matrix){whole->columns, whole->k, count, chunks};
}

static void check_mixed(rf_context *context, enum rf_precision precision, const char *name)
{
    rf_model *model = open_model(context, "q8_0", precision, false);
    struct rf_weights weights = model->weights;
    struct rf_layer_weights layers[LAYERS] = {weights.layers[0], weights.layers[1]};
    struct rf_chunk qkv[] = {{.columns = Q, .format = RF_WEIGHT_Q4_K},
                             {.columns = KV, .format = RF_WEIGHT_Q6_K},
                             {.columns = KV, .format = RF_WEIGHT_F16}},
                    table[] = {{.columns = 128, .format = RF_WEIGHT_Q8_0},
                               {.columns = 64, .format = RF_WEIGHT_Q8_0},
                               {.columns = VOCAB - 192, .format = RF_WEIGHT_BF16}},
                    head[] = {{.columns = 256, .format = RF_WEIGHT_Q6_K},
                              {.columns = VOCAB - 256, .format = RF_WEIGHT_F32}};
    layers[0].qkv = in_chunks(&weights.layers[0].qkv, qkv, 3);
    weights.embed = in_chunks(&weights.embed, table, 3);
    weights.lm_head = in_chunks(&weights.lm_head, head, 2);
    weights.layers = layers;
    model->forward->weights = &weights;
    check_regimes(model->forward, name);
    model->forward->weights = &model->weights;
    rf_model_destroy(model);
}

static void test_mixed(void **state)
{
    (void)state;
    rf_context *context;
    struct rf_device_info info;
    open_context(&context, "");
    rf_context_device(context, &info);
    check_mixed(context, RF_PRECISION_F32, "mixed f32");
    if (info.has_fp16)
        check_mixed(context, RF_PRECISION_F16, "mixed f16");
    if (info.has_fp16)
        check_mixed(context, RF_PRECISION_INT8, "mixed int8");
    rf_context_destroy(context);
}

/* ---- Records of real steps -------------------------------------------------------------------------- */

/* What the test knows of a session: enough to lay out the rows of what it does next. */
struct watched {
    const rf_model *model;
    uint32_t prompt, committed, produced, chosen, accepted;
    uint32_t scratch; /* where it begins: any row that nothing else has */
    bool prefilled, commits;
    uint32_t records, dispatches, phases[RF_PHASES], without_result, long_rows;
};

static uint32_t prompt_left(const struct watched *w)
{
    return w->committed < w->prompt ? w->prompt - w->committed : 0;
}

/* A prompt's rows, and behind the last of them what asks for the next tokens. */
static void lay_first(const struct watched *w, struct lot *lot, uint32_t rows, uint32_t masks)
{
    uint32_t left = prompt_left(w), tokens = rows < left ? rows : left;
    lay_segment(lot, 0, w->committed, w->committed, tokens, 0);
    lay_segment(lot, 0, w->committed + tokens, w->scratch, rows - tokens, rows - tokens);
    assert_true(rows <= left || rows - tokens == masks);
}

/* Rows acc..k-1 of each chosen slot; the first `outputs` rows stand for those that want a result, because
 * which ones do is the device's decision. */
static void lay_turn(const struct watched *w, struct lot *lot, uint32_t outputs)
{
    for (uint32_t slot = 0; slot < w->chosen; slot++)
        for (uint32_t j = w->accepted; j < SLOT; j++)
            lay(lot, (struct rf_row){.kv_row = w->scratch + slot * SLOT + j,
                                     .ctx_rows = w->committed,
                                     .seg_first = w->scratch + slot * SLOT,
                                     .result = lot->count < outputs ? 0 : RF_NONE});
}

static void lay_record(struct watched *w, const struct rf_profile_record *record, struct lot lots[2])
{
    const struct rf_profile_session *s = &record->sessions[0];
    uint32_t rows = record->rows[0];
    switch (s->phase) {
    case RF_PHASE_PREFILL:
    case RF_PHASE_PLAN:
        lay_first(w, &lots[0], rows, s->remaining_slots ? s->remaining_slots * SLOT : 1);
        break;
    case RF_PHASE_VERIFY:
        assert_int_equal(rows, w->chosen * SLOT);
        for (uint32_t i = 0; i < rows; i++) /* every token is judged by the row before it, but slots' first */
            lay(&lots[0], (struct rf_row){.kv_row = w->committed + i,
                                          .ctx_rows = w->committed,
                                          .seg_first = w->committed,
                                          .result = i % SLOT == SLOT - 1 ? RF_NONE : i});
        break;
    case RF_PHASE_COMPLETE:
        w->accepted = SLOT - rows / w->chosen;
        assert_int_equal(w->chosen * (SLOT - w->accepted), rows);
        assert_int_equal(record->rows[1], rows);
        for (int pass = 0; pass < 2; pass++)
            lay_turn(w, &lots[pass], record->outputs[pass]);
        break;
    default: /* one new token, and where a slot opens a mask that is asked instead of it */
        lay_segment(&lots[0], 0, w->committed, w->committed, 1, w->produced % SLOT != 0);
        if (w->produced % SLOT == 0)
            lay_segment(&lots[0], 0, w->committed + 1, w->scratch, 1, 1);
    }
}

/* What the submission left behind. */
static void follow(struct watched *w, const struct rf_profile_record *record)
{
    const struct rf_profile_session *s = &record->sessions[0];
    uint32_t left = prompt_left(w);
    w->chosen = s->chosen_slots;
    w->phases[s->phase]++;
    w->without_result += record->outputs[0] == 0;
    w->records++;
    if (s->remaining_slots == 0) { /* sequential: rows of the prompt and of each token behind it stay */
        uint32_t before = w->committed;
        w->committed += s->phase == RF_PHASE_PREFILL ? (record->rows[0] < left ? record->rows[0] : left) : 1;
        w->produced += s->committed_tokens;
        assert_true(w->committed > before);
    } else if (s->phase == RF_PHASE_PREFILL) {
        w->committed += record->rows[0] < left ? record->rows[0] : left;
    } else {
        w->committed += s->committed_tokens;
    }
}

/* Ops of a record that stand in front of and behind a forward. */
static bool check_special(const struct watched *w, const struct rf_profile_dispatch *d, const struct lot *lot,
                          uint32_t committed, const char *where)
{
    const struct rf_forward *f = w->model->forward;
    const struct place place = {.op = d->op, .layer = d->layer};
    struct figures found = {d->rows, d->bytes_read, d->bytes_written, d->operations};
    if (is(&place, "profiler: rows")) {
        check(&place, found, (struct figures){0}, where);
    } else if (is(&place, "kv_commit")) {
        uint64_t bytes = (uint64_t)committed * LAYERS * kv_bytes(f);
        check(&place, found, (struct figures){committed, bytes, bytes, 0}, where);
    } else if (is(&place, "rows gather")) {
        /* 16 bytes read and 12 written for each dispatch size, whose number the plan checks. */
        uint64_t grids = (found.read - lot->count * 36ull) / 16;
        assert_true(grids > 0 && grids <= RF_MAX_GRIDS);
        check(&place, found,
              (struct figures){lot->count, lot->count * 36ull + grids * 16,
                               lot->count * 36ull + lot->outputs * 4 + grids * 12 + 12, 0},
              where);
    } else {
        return false;
    }
    return true;
}

static void on_record(void *user, const struct rf_profile_record *record)
{
    static struct lot lots[2];
    struct watched *w = user;
    memset(lots, 0, sizeof lots);
    lay_record(w, record, lots);
    char where[96];
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(lots[pass].count, record->rows[pass]);
        assert_int_equal(lots[pass].outputs, record->outputs[pass]);
    }
    w->long_rows += (uint32_t)lots[0].long_rows;
    const struct rf_profile_session *s = &record->sessions[0];
    snprintf(where, sizeof where, "record %u, %s, %u rows over %u", w->records,
             rf_profile_phase_name(s->phase), record->rows[0], w->committed);
    for (uint32_t i = 0; i < record->dispatch_count; i++) {
        const struct rf_profile_dispatch *d = &record->dispatches[i];
        const struct lot *lot = &lots[d->pass];
        const struct place place = {.op = d->op, .layer = d->layer, .splits = 1};
        w->dispatches++;
        w->commits = w->commits || (strcmp(d->op, "kv_commit") == 0 && s->committed_tokens);
        if (check_special(w, d, lot, s->committed_tokens, where))
            continue;
        /* Which token a row has is not the test's to know, and the table has one part: every row counts. */
        struct figures wanted = expected(w->model->forward, &place, lot);
        check(&place, (struct figures){d->rows, d->bytes_read, d->bytes_written, d->operations}, wanted,
              where);
    }
    follow(w, record);
}

static void respond(struct watched *w, enum rf_decode decode, uint32_t prompt, uint32_t tokens)
{
    static uint32_t ids[2048];
    const struct rf_session_desc desc = {.settings = {.decode = decode,
                                                      .max_tokens = tokens,
                                                      .slot_size = SLOT,
                                                      .block = BLOCK,
                                                      .slot_threshold = 0.01f,
                                                      .token_threshold = 1.0f, /* few agree: COMPLETE runs */
                                                      .has_slot_threshold = true,
                                                      .has_token_threshold = true}};
    rf_session *session;
    for (uint32_t i = 0; i < prompt; i++)
        ids[i] = 31 * i % (VOCAB - 1);
    require_ok(rf_session_create(&session, (rf_model *)w->model, &desc, err));
    session->eos_count = 0; /* what random weights take for an end is none */
    w->prompt = prompt;
    w->committed = w->produced = 0;
    require_ok(rf_session_begin(session, ids, prompt, err));
    require_ok(rf_session_generate(session, NULL, NULL, err));
    rf_session_destroy(session);
}

static void check_records(rf_context *context, const char *type, enum rf_precision precision)
{
    struct watched w = {.model = open_model(context, type, precision, false), .scratch = 4096};
    require_ok(rf_model_profile((rf_model *)w.model, RF_PROFILE_FREE, on_record, &w, err));
    respond(&w, RF_DECODE_REFUSION, 25, 32);
    respond(&w, RF_DECODE_REFUSION, 700, SLOT); /* more than one forward has room for, and over 512 keys */
    respond(&w, RF_DECODE_AR, 25, 9);
    printf("%s: %u records, %u dispatches; prefill %u, plan %u, verify %u, complete %u, ar %u\n", type,
           w.records, w.dispatches, w.phases[RF_PHASE_PREFILL], w.phases[RF_PHASE_PLAN],
           w.phases[RF_PHASE_VERIFY], w.phases[RF_PHASE_COMPLETE], w.phases[RF_PHASE_AR]);
    for (int phase = 0; phase < RF_PHASES; phase++)
        assert_true(w.phases[phase] > 0);
    assert_true(w.commits);
    assert_int_equal(w.without_result, 1);
    assert_true(w.long_rows > 0);
    rf_model_destroy((rf_model *)w.model);
}

static void test_records(void **state)
{
    (void)state;
    rf_context *context;
    struct rf_device_info info;
    open_context(&context, "");
    rf_context_device(context, &info);
    check_records(context, "bf16", RF_PRECISION_F32);
    if (info.has_fp16)
        check_records(context, "q8_0", RF_PRECISION_INT8);
    rf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
