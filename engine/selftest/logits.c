/* lm_head reduced to partials (the matmul shaders with REDUCE) and logits_reduce, without sampling. */
#include "engine/allocate.h"
#include "engine/selftest/product.h"


/* ---- REDUCE ----------------------------------------------------------------------------------------- */

struct reduce_case {
    struct rf_case c;
    struct rf_product p;
    struct rf_row rows[RF_MAX_ROWS];
    uint32_t outputs[RF_MAX_ROWS];
    size_t counts, rows_at, outputs_at, partials;
};

static size_t tile_at(const struct reduce_case *r, uint32_t tile, uint32_t m)
{
    return r->partials + ((size_t)tile * r->p.ldy + m) * sizeof(struct rf_partial);
}

/* Greedy: best is the first of the largest logits. */
static void expect_tile(struct reduce_case *r, uint32_t tile, uint32_t m)
{
    struct rf_case *c = &r->c;
    const struct rf_row *row = &r->rows[r->outputs[m]];
    uint32_t first = tile * RF_LOGIT_TILE, best = first, last = first + RF_LOGIT_TILE;
    const double *logits = r->p.y + (size_t)m * r->p.columns;
    size_t at = tile_at(r, tile + r->p.column_first / RF_LOGIT_TILE, m);
    double sum = 0.0;
    if (last > r->p.columns)
        last = r->p.columns;
    for (uint32_t n = first; n < last; n++)
        if (logits[n] > logits[best])
            best = n;
    for (uint32_t n = first; n < last; n++)
        sum += exp(logits[n] - logits[best]);
    c->part = 0;
    rf_case_expect(c, at + offsetof(struct rf_partial, max), RF_NUMBER_F32, logits[best]);
    rf_case_expect(c, at + offsetof(struct rf_partial, best_key), RF_NUMBER_F32, logits[best]);
    rf_case_expect(c, at + offsetof(struct rf_partial, best_logit), RF_NUMBER_F32, logits[best]);
    rf_case_expect_word(c, at + offsetof(struct rf_partial, best), r->p.column_first + best);
    c->part = 1;
    rf_case_expect(c, at + offsetof(struct rf_partial, sum), RF_NUMBER_F32, sum);
    uint32_t want = row->want - r->p.column_first;
    c->part = 2;
    if (row->want != RF_NONE && want >= first && want < last)
        rf_case_expect(c, at + offsetof(struct rf_partial, want_logit), RF_NUMBER_F32, logits[want]);
    else
        rf_case_mark(c, at + offsetof(struct rf_partial, want_logit), 4, RF_MARK_ANY);
}

/* Outputs are every second or third row. Of these, some want a token of this chunk, of another chunk or none;
 * some are flagged for sampling, with a temperature of 0. */
static void place_outputs(struct reduce_case *r)
{
    struct rf_case *c = &r->c;
    uint32_t count = 0;
    for (uint32_t m = 0; m < r->p.rows; m++) {
        count += 1 + rf_random_below(&c->random, 2);
        struct rf_row *row = &r->rows[count];
        row->seq = m % 2;
        row->flags = m % 3 == 1 ? RF_ROW_SAMPLE : 0;
        row->want = m % 4 == 3 ? RF_NONE : rf_random_below(&c->random, r->p.column_first + r->p.columns);
        r->outputs[m] = count;
    }
    r->rows_at = rf_place_rows(c, r->rows, count + 1);
    for (uint32_t m = 0; m < r->p.rows; m++) {
        size_t at = r->rows_at + r->outputs[m] * sizeof(struct rf_row);
        rf_declare_field(c, at, 1, rf_row, want);
        rf_declare_field(c, at, 1, rf_row, flags);
        if (r->rows[r->outputs[m]].flags) {
            rf_declare_field(c, at, 1, rf_row, seq);
            rf_declare_field(c, at, 1, rf_row, position);
        }
    }
    r->outputs_at = rf_case_alloc(c, "outputs", sizeof r->outputs);
    rf_case_put(c, r->outputs_at, r->outputs, r->p.rows * sizeof r->outputs[0]);
}

static uint64_t place_greedy_seqs(struct reduce_case *r)
{
    struct rf_case *c = &r->c;
    struct rf_seq seqs[2] = {{.seed_low = 1, .draw = 2}, {.seed_high = 3, .draw = 4}};
    size_t at = rf_case_alloc(c, "seqs", sizeof seqs);
    for (uint32_t s = 0; s < 2; s++) {
        size_t seq = at + s * sizeof seqs[0];
        memcpy(rf_case_at(c, seq), &seqs[s], sizeof seqs[s]);
        rf_declare_field(c, seq, 1, rf_seq, inverse_temperature);
        rf_declare_field(c, seq, 1, rf_seq, seed_low);
        rf_declare_field(c, seq, 1, rf_seq, seed_high);
        rf_declare_field(c, seq, 1, rf_seq, draw);
    }
    return rf_case_address(c, at);
}

static void run_reduce_alone(struct reduce_case *r, uint32_t tiles)
{
    struct rf_case *c = &r->c;
    uint32_t last = r->p.rows - 1, tile_first = r->p.column_first / RF_LOGIT_TILE;
    rf_alone_begin(c);
    rf_product_move_last(c, &r->p);
    rf_patch_counts(c, r->counts, true);
    rf_alone_move(c, r->outputs_at + last * sizeof r->outputs[0], r->outputs_at, sizeof r->outputs[0]);
    for (uint32_t tile = tile_first; tile < tile_first + tiles; tile++)
        rf_alone_expect(c, tile_at(r, tile, last), tile_at(r, tile, 0), sizeof(struct rf_partial));
    rf_alone_run(c);
}

static void run_reduce(struct rf_suite *suite, struct rf_product p)
{
    struct reduce_case r = {.p = p};
    struct rf_case *c = &r.c;
    r.p.epilogue = RF_EPILOGUE_REDUCE;
    r.p.ldx = p.rows + 1;
    r.p.ldy = p.rows + 1;
    struct rf_kernel_id id = rf_product_kernel(suite, &r.p);
    char shape[RF_SHAPE_LENGTH];
    if (!rf_case_begin(suite->h, c, &id, "%s", rf_product_shape(&r.p, shape, sizeof shape)))
        return;
    if (rf_product_place(c, &r.p)) {
        uint32_t tiles = (p.columns + RF_LOGIT_TILE - 1) / RF_LOGIT_TILE;
        r.counts = rf_put_counts(c, UINT32_MAX, p.rows);
        place_outputs(&r);
        struct rf_push_matmul push = rf_product_push(c, &r.p, r.counts);
        r.partials = rf_case_alloc(c, "partials",
                                   (size_t)(tiles + p.column_first / RF_LOGIT_TILE) * r.p.ldy *
                                       sizeof(struct rf_partial));
        push.y = rf_case_address(c, r.partials);
        push.rows = rf_case_address(c, r.rows_at);
        push.outputs = rf_case_address(c, r.outputs_at);
        push.seqs = place_greedy_seqs(&r);
        rf_case_set_push(c, &push, sizeof push);
        rf_product_set_groups(c, &r.p);
        for (uint32_t tile = 0; tile < tiles; tile++)
            for (uint32_t m = 0; m < p.rows; m++)
                expect_tile(&r, tile, m);
        /* Logits are exact in f32, so the token is, too. Each term of the sum has the error of an exp with an
         * argument below 8 (3 + 2|x| ulp) and is rescaled whenever a larger logit comes. */
        c->tolerance = ldexp(1.0, -18);
        if (rf_case_run(c) && !rf_product_is_few(&p) && p.rows > 1)
            run_reduce_alone(&r, tiles);
    }
    rf_product_free(&r.p);
}

/* At most as many as a subgroup has lanes. */
static uint32_t few_rows_at_once(const struct rf_suite *suite, uint32_t wanted)
{
    uint32_t most = rf_gpu_get_caps(suite->h->gpu)->subgroup_size;
    return wanted < most ? wanted : most;
}

static void run_reduces(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    static const uint32_t rows[] = {1, 2, 7, 8, 9, 31, 33, 64, 65, 127};
    static const uint32_t columns[] = {1, 7, 8, 63, 65, 513};
    static const uint32_t k[] = {8, 24, 64};
    if (!rf_product_runs(suite, p.kind, p.act) || (!suite->thorough && p.weights != RF_WEIGHT_BF16))
        return;
    rf_product_set_kind(suite, &p, p.kind);
    bool few = p.kind == RF_PRODUCT_FEW;
    for (uint32_t i = turn % 3; i < (few ? 4u : 10u); i += suite->thorough ? 1 : 5) {
        p.rows = few ? rows[3 - i] : rows[i];
        if (few)
            p.rows_at_once = few_rows_at_once(suite, 8u >> i);
        p.columns = columns[(turn + i) % 6];
        p.k = k[(turn + i) % 3];
        p.column_first = (turn + i) % 4 == 2 ? 3 * RF_LOGIT_TILE : 0;
        p.data = (turn + i) % 3 == 1 ? RF_DATA_OFFSET : RF_DATA_EXACT;
        run_reduce(suite, p);
    }
}

/* Int8 inputs of -1, 0 and 1, and weights whose scales are f16 of one binade: sums over up to 64 of k are
 * exact. Quick: a case of each kernel. */
static void run_int8_reduces(struct rf_suite *suite, struct rf_product p)
{
    static const uint32_t rows[2][3] = {{33, 9, 65}, {7, 1, 8}}, columns[] = {65, 8, 513};
    bool few = p.kind == RF_PRODUCT_INT8_FEW;
    for (uint32_t i = 0; i < (suite->thorough ? 3u : 1u); i++) {
        rf_product_set_kind(suite, &p, p.kind);
        p.rows_at_once = few ? few_rows_at_once(suite, 8u >> i) : 16u << i;
        p.local = !few && i == 1 ? 256 : p.local;
        p.rows = rows[few][i];
        p.columns = columns[i];
        p.k = i == 1 ? 32 : 64;
        p.column_first = i == 2 ? 3 * RF_LOGIT_TILE : 0;
        run_reduce(suite, p);
    }
}

/* The published vocabulary, a multiple of nothing. */
static void run_big_vocabulary(struct rf_suite *suite, struct rf_product p)
{
    p.columns = 151671;
    p.k = 8;
    p.data = RF_DATA_EXACT;
    rf_product_set_kind(suite, &p, RF_PRODUCT_FEW);
    p.rows = 2;
    run_reduce(suite, p);
    if (!suite->thorough)
        return;
    rf_product_set_kind(suite, &p, RF_PRODUCT_MANY);
    p.rows = 9;
    p.k = 24;
    run_reduce(suite, p);
}

/* ---- logits_reduce ---------------------------------------------------------------------------------- */

struct results_case {
    struct rf_case c;
    struct rf_row rows[RF_MAX_ROWS];
    uint32_t outputs[RF_MAX_ROWS];
    uint32_t count, tiles, ld;
    size_t partials, results[2];
};

/* Random partials of one output; expects its result. Keys come from a few values, so that tiles tie. */
static void expect_result(struct results_case *r, uint32_t m)
{
    struct rf_case *c = &r->c;
    const struct rf_row *row = &r->rows[r->outputs[m]];
    size_t result = r->results[row->seq] + row->result * sizeof(struct rf_result);
    struct rf_partial best = {.best_key = -INFINITY}, *partials = rf_malloc(r->tiles * sizeof *partials);
    double max = (double)-INFINITY, sum = 0.0, want = (double)-INFINITY;
    double spread = m % 5 == 2 ? 1000.0 : 8.0;
    for (uint32_t t = 0; partials && t < r->tiles; t++) {
        struct rf_partial *p = &partials[t];
        p->max = (float)(rf_random_signed(&c->random) * spread);
        p->sum = 1.0f + (float)rf_random_below(&c->random, 60);
        p->best = t * RF_LOGIT_TILE + rf_random_below(&c->random, RF_LOGIT_TILE);
        p->best_key = (float)rf_random_below(&c->random, 6);
        p->best_logit = p->max - (float)rf_random_below(&c->random, 3);
        p->want_logit = p->max - 1.0f;
        if (m % 7 == 0 &&
            t == r->tiles / 2) { /* rounding may leave a sum below 1: p must not come out above 1 */
            p->max = p->best_logit = p->want_logit = 2000.0f;
            p->best_key = 10.0f;
            p->sum = 0.99f;
        }
        size_t at = r->partials + ((size_t)t * r->ld + m) * sizeof *p;
        bool wanted = row->want != RF_NONE && row->want / RF_LOGIT_TILE == t;
        rf_case_put(c, at, p, wanted ? sizeof *p : offsetof(struct rf_partial, want_logit));
        if (p->best_key > best.best_key)
            best = *p;
        max = fmax(max, (double)p->max);
        want = wanted ? (double)p->want_logit : want;
    }
    for (uint32_t t = 0; partials && t < r->tiles; t++)
        sum += (double)partials[t].sum * exp((double)partials[t].max - max);
    rf_free(partials);
    rf_case_expect_word(c, result + offsetof(struct rf_result, token), best.best);
    c->part = 0;
    rf_case_expect(c, result + offsetof(struct rf_result, p), RF_NUMBER_F32,
                   fmin(1.0, exp((double)best.best_logit - max) / sum));
    c->part = 1;
    rf_case_expect(c, result + offsetof(struct rf_result, want_p), RF_NUMBER_F32,
                   fmin(1.0, exp(want - max) / sum));
    c->part = 2;
    rf_case_expect(c, result + offsetof(struct rf_result, max), RF_NUMBER_F32, max);
    c->part = 3;
    rf_case_expect(c, result + offsetof(struct rf_result, sum), RF_NUMBER_F32, sum);
}

static void run_results(struct rf_suite *suite, uint32_t count, uint32_t tiles)
{
    struct rf_kernel_id id = {.shader = "logits_reduce"};
    struct results_case r = {.count = count, .tiles = tiles, .ld = count + 3};
    struct rf_case *c = &r.c;
    if (!rf_case_begin(suite->h, c, &id, "outputs=%u tiles=%u", count, tiles))
        return;
    size_t seqs = rf_case_alloc(c, "seqs", 2 * sizeof(struct rf_seq));
    for (uint32_t s = 0; s < 2; s++) {
        r.results[s] = rf_case_alloc(c, "results", RF_MAX_ROWS * sizeof(struct rf_result));
        uint64_t address = rf_case_address(c, r.results[s]);
        rf_case_put(c, seqs + s * sizeof(struct rf_seq) + offsetof(struct rf_seq, results), &address,
                    sizeof address);
    }
    r.partials = rf_case_alloc(c, "partials", (size_t)tiles * r.ld * sizeof(struct rf_partial));
    for (uint32_t m = 0; m < count; m++) {
        r.outputs[m] = 2 * m + 1; /* results are indexed downwards, to tell them from rows */
        r.rows[2 * m + 1] = (struct rf_row){.seq = m % 2, .result = count - m};
        r.rows[2 * m + 1].want = m % 4 == 1 ? RF_NONE : rf_random_below(&c->random, tiles * RF_LOGIT_TILE);
        expect_result(&r, m);
    }
    size_t rows = rf_place_rows(c, r.rows, 2 * count);
    for (uint32_t m = 0; m < count; m++) {
        size_t at = rows + r.outputs[m] * sizeof r.rows[0];
        rf_declare_field(c, at, 1, rf_row, want);
        rf_declare_field(c, at, 1, rf_row, result);
        rf_declare_field(c, at, 1, rf_row, seq);
    }
    size_t outputs = rf_case_alloc(c, "outputs", sizeof r.outputs);
    rf_case_put(c, outputs, r.outputs, count * sizeof r.outputs[0]);
    struct rf_push_logits_reduce push = {
        .counts = rf_case_address(c, rf_put_counts(c, UINT32_MAX, count)),
        .rows = rf_case_address(c, rows),
        .outputs = rf_case_address(c, outputs),
        .seqs = rf_case_address(c, seqs),
        .partials = rf_case_address(c, r.partials),
        .tiles = tiles,
        .ld = r.ld,
    };
    rf_case_set_push(c, &push, sizeof push);
    rf_case_set_groups(c, 1, count, 1);
    c->tolerance =
        ldexp(1.0, -18); /* as the partials: exp with arguments that count below 8, sums of positive terms */
    rf_case_run(c);
}

/* ---- Shapes ----------------------------------------------------------------------------------------- */

void rf_selftest_logits(struct rf_suite *suite)
{
    static const uint32_t tiles[] = {1, 2, 9, 31, 64, 65, 2370};
    static const uint32_t counts[] = {1, 2, 7, 33, 65, 127, 9};
    uint32_t turn = 0;
    for (int act = RF_NUMBER_F32; act <= (suite->fp16 ? RF_NUMBER_F16 : RF_NUMBER_F32); act++)
        for (int weights = 0; weights <= RF_WEIGHT_F32; weights++, turn++) {
            struct rf_product p = {.act = (enum rf_number)act, .weights = (enum rf_weight_format)weights};
            if (weights == RF_WEIGHT_BF16 && (suite->thorough || act == RF_NUMBER_F32))
                run_big_vocabulary(suite, p);
            for (int kind = 0; kind < RF_PRODUCT_KINDS; kind++) {
                p.kind = (enum rf_product_kind)kind;
                run_reduces(suite, p, turn);
            }
        }
    for (int kind = RF_PRODUCT_INT8; kind <= RF_PRODUCT_INT8_FEW; kind++) {
        struct rf_product p = {.kind = (enum rf_product_kind)kind,
                               .act = RF_NUMBER_F16,
                               .weights = RF_WEIGHT_Q8_0,
                               .data = RF_DATA_EXACT};
        if (rf_product_runs(suite, p.kind, p.act))
            run_int8_reduces(suite, p);
    }
    for (uint32_t i = 0; i < 7; i += suite->thorough ? 1 : 3)
        run_results(suite, counts[i], tiles[i]);
}
