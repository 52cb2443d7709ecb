/* attention and attention_reduce: causal in buffer order, over committed rows and the row's own segment. */
#include "engine/model/coopmat.h"
#include "engine/model/matmul.h"
#include "engine/selftest/fixtures.h"
#include "engine/selftest/int8_rows.h"

/* How the rows of a forward lie, as decoding makes them. */
enum layout {
    LAYOUT_VERIFY,   /* one segment right behind the committed rows */
    LAYOUT_PLAN,     /* one segment in scratch */
    LAYOUT_COMPLETE, /* segments of 4 rows in scratch, each for itself */
    LAYOUT_LATER,    /* one segment in scratch, whose first 3 rows are an earlier forward's */
    LAYOUT_MIXED     /* rows of three sequences with different caches in turn; one sequence has none */
};

enum kernel_kind { KIND_PLAIN, KIND_WIDE, KIND_SPREAD, KIND_INT8, KIND_COOPMAT, KIND_COOPMAT2 };

struct attention_shape {
    enum rf_number act;
    enum layout layout;
    uint32_t rows, cache, heads, kv_heads, head_dim;
    enum kernel_kind kind;
};

struct attention_case {
    struct rf_case c;
    struct attention_shape s;
    struct rf_kv kv;
    struct rf_row rows[RF_MAX_ROWS];
    size_t qkv, y, partials;
    uint32_t ld;
    struct rf_int8_rows blocks; /* int8's y */
};

static uint32_t key_count(const struct rf_row *row)
{
    return row->ctx_rows + row->kv_row - row->seg_first + 1;
}

/* Virtual KV row of key i of a row. */
static uint32_t key_row(const struct rf_row *row, uint32_t i)
{
    return i < row->ctx_rows ? i : row->seg_first + i - row->ctx_rows;
}

static const char *layout_name(enum layout layout)
{
    static const char *const names[] = {"verify", "plan", "complete", "later", "mixed"};
    return names[layout];
}

/* Fills rows; returns the number of virtual rows that each sequence needs. */
static void lay_rows(struct attention_case *a, uint32_t *last)
{
    const struct attention_shape *s = &a->s;
    const uint32_t caches[3] = {s->cache, s->cache / 3, 0};
    uint32_t placed[3] = {0, 0, 0};
    for (uint32_t m = 0; m < s->rows; m++) {
        uint32_t seq = s->layout == LAYOUT_MIXED ? m % 3 : 0, i = placed[seq]++, cache = caches[seq];
        uint32_t scratch = s->layout == LAYOUT_VERIFY || s->layout == LAYOUT_MIXED ? cache : cache + 70;
        a->rows[m] = (struct rf_row){
            .seq = seq,
            .ctx_rows = cache,
            .seg_first = s->layout == LAYOUT_COMPLETE ? scratch + i / 4 * 4 : scratch,
            .kv_row = scratch + i + (s->layout == LAYOUT_LATER ? 3 : 0),
        };
        if (last[seq] < a->rows[m].kv_row + 1)
            last[seq] = a->rows[m].kv_row + 1;
    }
}

/* Random K and V for every row that some row sees; declares these and nothing else. */
static void fill_kv(struct attention_case *a)
{
    struct rf_case *c = &a->c;
    for (uint32_t m = 0; m < a->s.rows; m++) {
        const struct rf_row *row = &a->rows[m];
        for (uint32_t i = 0; i < key_count(row); i++) {
            uint32_t v = key_row(row, i);
            if (c->h->mask[rf_kv_at(&a->kv, row->seq, a->kv.layer, 0, v, 0, false)] & RF_MARK_READ)
                continue;
            for (uint32_t e = 0; e < a->s.kv_heads * a->s.head_dim * 2; e++) {
                uint32_t head = e / (a->s.head_dim * 2), d = e / 2 % a->s.head_dim;
                rf_case_put_number(c, rf_kv_at(&a->kv, row->seq, a->kv.layer, head, v, d, e % 2), a->s.act,
                                   rf_random_signed(&c->random) * 2.0);
            }
        }
    }
}

/* Keys [first, last) of one head in f64: largest score, sum of exp(score - max), sum of exp(score - max) V.
 */
struct softmax {
    double max, sum, o[256];
};

static void attend(struct attention_case *a, uint32_t m, uint32_t head, uint32_t first, uint32_t last,
                   double *scores, struct softmax *out)
{
    struct rf_case *c = &a->c;
    const struct rf_row *row = &a->rows[m];
    uint32_t dim = a->s.head_dim, kv_head = head / (a->s.heads / a->s.kv_heads);
    size_t q = a->qkv + ((size_t)m * (a->s.heads + 2 * a->s.kv_heads) + head) * dim * 4;
    double query[256];
    for (uint32_t d = 0; d < dim; d++)
        query[d] = rf_case_get_number(c, q + d * 4, RF_NUMBER_F32) * (double)(float)(1.0 / sqrt(dim));
    *out = (struct softmax){.max = (double)-INFINITY};
    for (uint32_t i = first; i < last; i++) {
        double score = 0.0;
        for (uint32_t d = 0; d < dim; d++)
            score +=
                query[d] *
                rf_case_get_number(
                    c, rf_kv_at(&a->kv, row->seq, a->kv.layer, kv_head, key_row(row, i), d, false), a->s.act);
        scores[i] = score;
        out->max = fmax(out->max, score);
    }
    for (uint32_t i = first; i < last; i++) {
        double weight = exp(scores[i] - out->max);
        out->sum += weight;
        for (uint32_t d = 0; d < dim; d++)
            out->o[d] +=
                weight *
                rf_case_get_number(
                    c, rf_kv_at(&a->kv, row->seq, a->kv.layer, kv_head, key_row(row, i), d, true), a->s.act);
    }
}

static size_t partial_at(const struct attention_case *a, uint32_t split, uint32_t m, uint32_t head)
{
    return a->partials + (((size_t)split * a->ld + m) * a->s.heads + head) * (a->s.head_dim + 2) * 4;
}

static void expect_y(struct attention_case *a, uint32_t m, uint32_t i, double value)
{
    if (a->s.kind == KIND_INT8)
        rf_int8_expect(&a->c, &a->blocks, m, i, value);
    else
        rf_case_expect(&a->c, rf_quad_at(a->y, a->s.act, a->ld, m, i), a->s.act, value);
}

/* The y that the case has, of rows of `columns` numbers. */
static void place_y(struct attention_case *a, uint32_t columns)
{
    if (a->s.kind == KIND_INT8 && rf_int8_begin(&a->c, &a->blocks, a->s.rows, a->ld, columns))
        a->y = a->blocks.at;
    else if (a->s.kind != KIND_INT8)
        a->y = rf_case_alloc(&a->c, "y", (size_t)a->ld * columns * rf_number_bytes(a->s.act));
}

/* Numbers that are f32 or f16, and int8 blocks, each by its own tolerance. */
static bool run_case(struct attention_case *a, double int8_tolerance)
{
    double tolerance = a->c.tolerance;
    if (a->s.kind != KIND_INT8)
        return rf_case_run(&a->c);
    a->c.tolerance = int8_tolerance;
    bool passed = rf_int8_run(&a->c, &a->blocks);
    a->c.tolerance = tolerance;
    return rf_case_run(&a->c) && passed;
}

/* Part 0: y of rows with at most RF_SPLIT_KEYS keys. Parts 1..3: max, sum and o of the splits of the others.
 */
static void expect_attention(struct attention_case *a, double *scores)
{
    struct rf_case *c = &a->c;
    struct softmax softmax;
    for (uint32_t m = 0; m < a->s.rows; m++)
        for (uint32_t head = 0; head < a->s.heads; head++) {
            uint32_t keys = key_count(&a->rows[m]);
            for (uint32_t first = 0; first < keys; first += RF_SPLIT_KEYS) {
                uint32_t last = keys - first < RF_SPLIT_KEYS ? keys : first + RF_SPLIT_KEYS;
                size_t at = partial_at(a, first / RF_SPLIT_KEYS, m, head);
                attend(a, m, head, first, last, scores, &softmax);
                for (uint32_t d = 0; d < a->s.head_dim; d++) {
                    c->part = keys > RF_SPLIT_KEYS ? 3 : 0;
                    if (keys > RF_SPLIT_KEYS)
                        rf_case_expect(c, at + (2 + d) * 4, RF_NUMBER_F32, softmax.o[d]);
                    else
                        expect_y(a, m, head * a->s.head_dim + d, softmax.o[d] / softmax.sum);
                }
                if (keys <= RF_SPLIT_KEYS)
                    continue;
                c->part = 1;
                rf_case_expect(c, at, RF_NUMBER_F32, softmax.max);
                c->part = 2;
                rf_case_expect(c, at + 4, RF_NUMBER_F32, softmax.sum);
            }
        }
}

static size_t place_attention_rows(struct attention_case *a)
{
    struct rf_case *c = &a->c;
    size_t rows = rf_place_rows(c, a->rows, a->s.rows);
    rf_declare_field(c, rows, a->s.rows, rf_row, kv_row);
    rf_declare_field(c, rows, a->s.rows, rf_row, ctx_rows);
    rf_declare_field(c, rows, a->s.rows, rf_row, seg_first);
    return rows;
}

static uint32_t split_count(const struct attention_case *a)
{
    uint32_t most = 0;
    for (uint32_t m = 0; m < a->s.rows; m++)
        most = key_count(&a->rows[m]) > most ? key_count(&a->rows[m]) : most;
    return (most + RF_SPLIT_KEYS - 1) / RF_SPLIT_KEYS;
}

static void place_attention(struct attention_case *a)
{
    struct rf_case *c = &a->c;
    uint32_t last[RF_KV_SEQS] = {0}, stride = (a->s.heads + 2 * a->s.kv_heads) * a->s.head_dim;
    lay_rows(a, last);
    a->kv = (struct rf_kv){.layers = 2,
                           .layer = a->s.rows % 2,
                           .kv_heads = a->s.kv_heads,
                           .head_dim = a->s.head_dim,
                           .number = a->s.act,
                           .seq_count = a->s.layout == LAYOUT_MIXED ? 3 : 1};
    rf_kv_place(c, &a->kv, last);
    a->qkv = rf_case_alloc(c, "qkv", (size_t)a->s.rows * stride * 4);
    for (uint32_t m = 0; m < a->s.rows; m++)
        for (uint32_t i = 0; i < a->s.heads * a->s.head_dim; i++)
            rf_case_put_number(c, a->qkv + ((size_t)m * stride + i) * 4, RF_NUMBER_F32,
                               rf_random_signed(&c->random) * 3.0);
    a->ld = a->s.rows + a->s.rows % 3;
    place_y(a, a->s.heads * a->s.head_dim);
    a->partials =
        rf_case_alloc(c, "partials", (size_t)split_count(a) * a->ld * a->s.heads * (a->s.head_dim + 2) * 4);
    fill_kv(a);
}

static void run_alone(struct attention_case *a, size_t counts, size_t rows)
{
    struct rf_case *c = &a->c;
    uint32_t last = a->s.rows - 1, keys = key_count(&a->rows[last]), splits = (keys - 1) / RF_SPLIT_KEYS + 1;
    size_t stride = (a->s.heads + 2 * (size_t)a->s.kv_heads) * a->s.head_dim * 4;
    rf_alone_begin(c);
    rf_patch_counts(c, counts, false);
    rf_alone_move(c, rows + last * sizeof a->rows[0], rows, sizeof a->rows[0]);
    rf_alone_move(c, a->qkv + last * stride, a->qkv, (size_t)a->s.heads * a->s.head_dim * 4);
    if (a->s.kind == KIND_INT8 && splits == 1)
        rf_int8_expect_alone(c, &a->blocks, last, 0);
    for (uint32_t i = 0; a->s.kind != KIND_INT8 && splits == 1 && i < a->s.heads * a->s.head_dim; i += 4)
        rf_alone_expect(c, rf_quad_at(a->y, a->s.act, a->ld, last, i),
                        rf_quad_at(a->y, a->s.act, a->ld, 0, i), 4 * rf_number_bytes(a->s.act));
    for (uint32_t s = 0; splits > 1 && s < splits; s++)
        rf_alone_expect(c, partial_at(a, s, last, 0), partial_at(a, s, 0, 0),
                        (size_t)a->s.heads * (a->s.head_dim + 2) * 4);
    rf_case_set_groups(c, c->groups[0], 1, splits);
    rf_alone_run(c);
}

/* The kernel and its grid: workgroups a kv head, rows of a workgroup. False: this device has no such kernel. */
static bool choose_kernel(const struct rf_suite *suite, const struct attention_shape *s,
                          struct rf_kernel_id *id, uint32_t *groups, uint32_t *rows)
{
    static const char *const names[][2] = {[KIND_PLAIN] = {"attention", "attention_act16"},
                                           [KIND_WIDE] = {"attention_wide", "attention_wide_act16"},
                                           [KIND_SPREAD] = {"attention_spread", "attention_spread_act16"},
                                           [KIND_INT8] = {NULL, "attention_int8"}};
    struct rf_gpu_caps caps = *rf_gpu_get_caps(suite->h->gpu);
    struct rf_coopmat_attention division;
    uint32_t ratio = s->heads / s->kv_heads, group = ratio;
    *groups = *rows = 1;
    if (s->kind >= KIND_COOPMAT) {
        if (!rf_coopmat_built() || !caps.coopmat || (s->kind == KIND_COOPMAT2 && !caps.coopmat2))
            return false;
        caps.coopmat2 = s->kind == KIND_COOPMAT2;
        if (!rf_coopmat_attend(&caps, ratio, s->head_dim, s->rows, &division))
            return false;
        *id = (struct rf_kernel_id){.shader = division.shader, .spec_count = RF_COOPMAT_ATTENTION_SPECS};
        rf_coopmat_attention_specs(&division, ratio, s->head_dim, id->specs);
        *rows = division.block;
        return true;
    }
    while (group > 8) /* as the engine deals the heads of a group out to workgroups */
        group = (group + 1) / 2;
    *groups = (ratio + group - 1) / group;
    *id = (struct rf_kernel_id){
        .shader = names[s->kind][s->act == RF_NUMBER_F16],
        .spec_count = s->kind == KIND_WIDE || s->kind == KIND_SPREAD ? 4 : 2,
        .specs = {group, s->head_dim, caps.subgroup_size, rf_attention_lines_rows(group, s->rows)}};
    return (s->kind != KIND_WIDE || caps.wide_attention) && (s->kind != KIND_SPREAD || caps.spread);
}

static void run_attention(struct rf_suite *suite, struct attention_shape s)
{
    struct rf_kernel_id id;
    uint32_t ratio = s.heads / s.kv_heads, groups, rows_each;
    if (!choose_kernel(suite, &s, &id, &groups, &rows_each))
        return;
    struct attention_case a = {.s = s};
    struct rf_case *c = &a.c;
    double scores[2048];
    if (!rf_case_begin(suite->h, c, &id, "rows=%u cache=%u %s head_dim=%u heads=%u gqa=%u", s.rows, s.cache,
                       layout_name(s.layout), s.head_dim, s.heads, ratio))
        return;
    place_attention(&a);
    size_t rows = place_attention_rows(&a);
    rf_declare_field(c, rows, s.rows, rf_row, seq);
    size_t counts = rf_put_counts(c, s.rows, UINT32_MAX);
    struct rf_push_attention push = {
        .counts = rf_case_address(c, counts),
        .rows = rf_case_address(c, rows),
        .seqs = rf_case_address(c, a.kv.seqs),
        .qkv = rf_case_address(c, a.qkv),
        .y = rf_case_address(c, a.y),
        .partials = rf_case_address(c, a.partials),
        .heads = s.heads,
        .kv_heads = s.kv_heads,
        .layer = a.kv.layer,
        .ld = a.ld,
        .scale = (float)(1.0 / sqrt(s.head_dim)),
    };
    if (suite->h->status == RF_OK)
        expect_attention(&a, scores);
    rf_case_set_push(c, &push, sizeof push);
    rf_case_set_groups(c, s.kv_heads * groups, (s.rows + rows_each - 1) / rows_each, split_count(&a));
    /* Scores are sums over head_dim (about 2^-24 sqrt(head_dim) of their size, which is below 16 here), exp
     * adds 3 + 2|x| ulp where Vulkan asks for no better, and V is averaged with positive weights: 2^-17 in
     * all. f16: q may be rounded to f16 before it meets K (2^-11 of scores of about 2), and y is stored with
     * 2^-11. */
    c->tolerance = s.act == RF_NUMBER_F16 ? 3.0 * ldexp(1.0, -11) : ldexp(1.0, -17);
    if (run_case(&a, ldexp(1.0, -15)) && s.rows > 1 && s.kind < KIND_COOPMAT)
        run_alone(&a, counts, rows);
    rf_int8_end(&a.blocks);
}

/* ---- attention_reduce ------------------------------------------------------------------------------- */

/* y = (sum over splits of exp(max - top) o) / (sum over splits of exp(max - top) sum), for rows with several
 * splits. */
static void expect_reduced(struct attention_case *a, uint32_t m, uint32_t head)
{
    struct rf_case *c = &a->c;
    uint32_t splits = (key_count(&a->rows[m]) + RF_SPLIT_KEYS - 1) / RF_SPLIT_KEYS;
    double top = (double)-INFINITY, sum = 0.0, o[256] = {0.0};
    for (uint32_t s = 0; s < splits; s++) {
        size_t at = partial_at(a, s, m, head);
        /* Now and then one split outweighs the others by e^100 and more. */
        rf_case_put_number(c, at, RF_NUMBER_F32,
                           rf_random_signed(&c->random) * (rf_random_below(&c->random, 4) ? 5.0 : 300.0));
        rf_case_put_number(c, at + 4, RF_NUMBER_F32, 1.0 + rf_random_below(&c->random, 5000) / 10.0);
        for (uint32_t d = 0; d < a->s.head_dim; d++)
            rf_case_put_number(c, at + (2 + d) * 4, RF_NUMBER_F32, rf_random_signed(&c->random) * 50.0);
        top = fmax(top, rf_case_get_number(c, at, RF_NUMBER_F32));
    }
    for (uint32_t s = 0; s < splits; s++) {
        size_t at = partial_at(a, s, m, head);
        double weight = exp(rf_case_get_number(c, at, RF_NUMBER_F32) - top);
        sum += weight * rf_case_get_number(c, at + 4, RF_NUMBER_F32);
        for (uint32_t d = 0; d < a->s.head_dim; d++)
            o[d] += weight * rf_case_get_number(c, at + (2 + d) * 4, RF_NUMBER_F32);
    }
    for (uint32_t d = 0; d < a->s.head_dim; d++)
        expect_y(a, m, head * a->s.head_dim + d, o[d] / sum);
}

/* Key counts of neighbouring rows lie on both sides of RF_SPLIT_KEYS and of its multiples. */
static void run_reduce(struct rf_suite *suite, enum rf_number act, bool int8, uint32_t rows, uint32_t heads,
                       uint32_t head_dim)
{
    static const uint32_t keys[] = {513, 512, 1024, 1, 1025, 3000};
    struct rf_kernel_id id = {.shader = int8                   ? "attention_reduce_int8"
                                        : act == RF_NUMBER_F16 ? "attention_reduce_act16"
                                                               : "attention_reduce"};
    struct attention_case a = {.s = {.act = act,
                                     .rows = rows,
                                     .heads = heads,
                                     .kv_heads = heads,
                                     .head_dim = head_dim,
                                     .kind = int8 ? KIND_INT8 : KIND_PLAIN}};
    struct rf_case *c = &a.c;
    if (!rf_case_begin(suite->h, c, &id, "rows=%u heads=%u head_dim=%u", rows, heads, head_dim))
        return;
    for (uint32_t m = 0; m < rows; m++) {
        uint32_t ctx = rf_random_below(&c->random, keys[m % 6]);
        a.rows[m] = (struct rf_row){.ctx_rows = ctx, .seg_first = ctx + 9, .kv_row = keys[m % 6] + 8};
    }
    a.ld = rows + 1;
    place_y(&a, heads * head_dim);
    a.partials = rf_case_alloc(c, "partials", (size_t)split_count(&a) * a.ld * heads * (head_dim + 2) * 4);
    for (uint32_t m = 0; m < rows; m++)
        for (uint32_t head = 0; head < heads && key_count(&a.rows[m]) > RF_SPLIT_KEYS; head++)
            expect_reduced(&a, m, head);
    struct rf_push_attention_reduce push = {
        .counts = rf_case_address(c, rf_put_counts(c, rows, UINT32_MAX)),
        .rows = rf_case_address(c, place_attention_rows(&a)),
        .partials = rf_case_address(c, a.partials),
        .y = rf_case_address(c, a.y),
        .heads = heads,
        .head_dim = head_dim,
        .ld = a.ld,
    };
    rf_case_set_push(c, &push, sizeof push);
    rf_case_set_groups(c, heads, rows, 1);
    /* exp of differences of up to 10 that count: 23 ulp; the f16 output rounds by 2^-11. */
    c->tolerance = act == RF_NUMBER_F16 ? ldexp(1.0, -11) : ldexp(1.0, -18);
    if (int8) {
        c->tolerance = ldexp(1.0, -16); /* of the largest number of a block, which is one of 32 */
        rf_int8_run(c, &a.blocks);
    } else
        rf_case_run(c);
    rf_int8_end(&a.blocks);
}

/* ---- Shapes ----------------------------------------------------------------------------------------- */

static const uint32_t all_rows[] = {1, 2, 7, 8, 9, 31, 33, 64, 65, 127};
static const uint32_t all_caches[] = {0, 1, 63, 64, 65, 300, 1000};
static const struct attention_shape all_heads[] = {
    {.heads = 4, .kv_heads = 2, .head_dim = 64},  {.heads = 4, .kv_heads = 1, .head_dim = 128},
    {.heads = 2, .kv_heads = 2, .head_dim = 128}, {.heads = 8, .kv_heads = 1, .head_dim = 64},
    {.heads = 2, .kv_heads = 1, .head_dim = 40},  {.heads = 16, .kv_heads = 1, .head_dim = 64},
    {.heads = 1, .kv_heads = 1, .head_dim = 256}, {.heads = 8, .kv_heads = 1, .head_dim = 128},
};
enum { ROW_COUNT = 10, CACHE_COUNT = 7, HEADS_COUNT = 8, QUICK_HEADS_COUNT = 2 };

static void run_act(struct rf_suite *suite, enum rf_number act, enum kernel_kind kind)
{
    uint32_t turn = 0;
    for (uint32_t r = 0; r < ROW_COUNT; r += suite->thorough ? 1 : 4)
        for (uint32_t k = 0; k < CACHE_COUNT; k += suite->thorough ? 1 : 3, turn++) {
            if (all_rows[r] > 33 &&
                k % 3 != r % 3) /* long and wide takes the reference a while: a third of those */
                continue;
            uint32_t kinds = suite->thorough ? HEADS_COUNT : QUICK_HEADS_COUNT;
            struct attention_shape s = all_heads[(turn + turn / kinds) % kinds];
            s.act = act;
            s.kind = kind;
            s.layout = (enum layout)(turn % (LAYOUT_MIXED + 1));
            s.rows = all_rows[r];
            s.cache = all_caches[k];
            run_attention(suite, s);
        }
    /* One split and several in one forward: the first row has exactly RF_SPLIT_KEYS keys, the next ones more.
     */
    static const struct attention_shape split[] = {
        {.layout = LAYOUT_VERIFY,
         .rows = 9,
         .cache = RF_SPLIT_KEYS - 1,
         .heads = 4,
         .kv_heads = 2,
         .head_dim = 64},
        {.layout = LAYOUT_PLAN, .rows = 3, .cache = 1100, .heads = 4, .kv_heads = 1, .head_dim = 128},
        {.layout = LAYOUT_COMPLETE,
         .rows = 8,
         .cache = 2 * RF_SPLIT_KEYS - 2,
         .heads = 2,
         .kv_heads = 1,
         .head_dim = 64},
        {.layout = LAYOUT_MIXED, .rows = 9, .cache = 1500, .heads = 2, .kv_heads = 2, .head_dim = 64},
        {.layout = LAYOUT_VERIFY, .rows = 5, .cache = 100, .heads = 9, .kv_heads = 1, .head_dim = 64},
    };
    for (uint32_t i = 0; i < (suite->thorough ? 5u : 1u); i++) {
        struct attention_shape s = split[i];
        s.act = act;
        s.kind = kind;
        run_attention(suite, s);
    }
}

static void run_reduces(struct rf_suite *suite, enum rf_number act)
{
    run_reduce(suite, act, false, 7, 4, 64);
    if (!suite->thorough)
        return;
    run_reduce(suite, act, false, 1, 1, 128);
    run_reduce(suite, act, false, 65, 16, 40);
    run_reduce(suite, act, false, 9, 2, 256);
}

/* A CPU driver, which emulates matrix units, takes seconds for each pipeline: three and one. */
static void run_coopmat(struct rf_suite *suite, enum kernel_kind kind)
{
    static const struct attention_shape shapes[] = {
        {.layout = LAYOUT_MIXED, .rows = 33, .cache = 300, .heads = 4, .kv_heads = 2, .head_dim = 32},
        {.layout = LAYOUT_COMPLETE, .rows = 127, .cache = 1000, .heads = 4, .kv_heads = 2, .head_dim = 32},
        {.layout = LAYOUT_VERIFY, .rows = 65, .cache = 511, .heads = 4, .kv_heads = 2, .head_dim = 32},
        {.layout = LAYOUT_PLAN, .rows = 64, .cache = 0, .heads = 4, .kv_heads = 2, .head_dim = 32},
        {.layout = LAYOUT_MIXED, .rows = 9, .cache = 1500, .heads = 4, .kv_heads = 2, .head_dim = 32},
        {.layout = LAYOUT_PLAN, .rows = 31, .cache = 65, .heads = 3, .kv_heads = 1, .head_dim = 64},
    };
    if (!rf_gpu_get_caps(suite->h->gpu)->cpu) {
        run_act(suite, RF_NUMBER_F16, kind);
        return;
    }
    /* What coopmat2 does otherwise, the first three have. */
    uint32_t count = !suite->thorough ? 1 : kind == KIND_COOPMAT2 ? 3 : 6;
    for (uint32_t i = 0; i < count; i++) {
        struct attention_shape s = shapes[i];
        s.act = RF_NUMBER_F16;
        s.kind = kind;
        run_attention(suite, s);
    }
}

void rf_selftest_attention(struct rf_suite *suite)
{
    static const struct attention_shape int8_shapes[] = {
        {RF_NUMBER_F16, LAYOUT_MIXED, 9, 300, 4, 2, 64, KIND_INT8},
        {RF_NUMBER_F16, LAYOUT_VERIFY, 3, RF_SPLIT_KEYS - 1, 4, 1, 128, KIND_INT8},
        {RF_NUMBER_F16, LAYOUT_COMPLETE, 33, 65, 16, 1, 64, KIND_INT8},
        {RF_NUMBER_F16, LAYOUT_PLAN, 8, 64, 9, 1, 96, KIND_INT8},
    };
    for (uint32_t i = 0; rf_int8_runs(suite) && i < (suite->thorough ? 4u : 1u); i++) {
        run_attention(suite, int8_shapes[i]);
        run_reduce(suite, RF_NUMBER_F16, true, 7 + i, 4 + i, int8_shapes[i].head_dim);
    }
    for (int act = RF_NUMBER_F32; act <= (suite->fp16 ? RF_NUMBER_F16 : RF_NUMBER_F32); act++) {
        run_act(suite, (enum rf_number)act, KIND_PLAIN);
        run_act(suite, (enum rf_number)act, KIND_WIDE);
        run_act(suite, (enum rf_number)act, KIND_SPREAD);
        run_reduces(suite, (enum rf_number)act);
    }
    for (int kind = KIND_COOPMAT; suite->fp16 && kind <= KIND_COOPMAT2; kind++)
        run_coopmat(suite, (enum kernel_kind)kind);
}
