/* rows_gather and kv_commit. The other kernels around them, slot_select, slot_fill and slot_accept, hold the
 * decoding rules; tests/decode feeds them scripted rounds and compares them with a second implementation of
 * the rules. */
#include "engine/arithmetic.h"
#include "engine/selftest/fixtures.h"

/* ---- rows_gather ------------------------------------------------------------------------------------ */

enum { GATHER_SEQS = 5, PENDING = 300 };

struct gather_shape {
    uint32_t pieces, rows_per_piece; /* at most; the first piece has all of them */
    uint32_t result_every;           /* one row in so many wants a result; 0: none */
    uint32_t cache;
};

struct gather_case {
    struct rf_case c;
    struct gather_shape s;
    struct rf_row rows[RF_MAX_ROWS]; /* reference */
    uint32_t outputs[RF_MAX_ROWS];
    struct rf_counts counts;
    struct rf_work work;
    size_t pending[GATHER_SEQS];
};

/* One pending row at random, placed and declared, all but `seq`, which the kernel fills in. */
static void gather_one(struct gather_case *g, uint32_t seq, uint32_t index)
{
    struct rf_case *c = &g->c;
    size_t at = g->pending[seq] + index * sizeof(struct rf_row);
    uint32_t ctx = rf_random_below(&c->random, g->s.cache + 1), keys,
             first = ctx + rf_random_below(&c->random, 40);
    struct rf_row row = {
        .token = rf_random_below(&c->random, 151671),
        .position = rf_random_below(&c->random, 4096),
        .kv_row = first + rf_random_below(&c->random, 50),
        .ctx_rows = ctx,
        .seg_first = first,
        .want = rf_random_below(&c->random, 2) ? RF_NONE : rf_random_below(&c->random, 151671),
        .result = g->s.result_every && g->counts.rows % g->s.result_every == 0 ? index : RF_NONE,
        .flags = rf_random_below(&c->random, 2),
    };
    rf_case_put(c, at, &row, sizeof row);
    memset(c->h->mask + at + offsetof(struct rf_row, seq), 0, sizeof row.seq);
    row.seq = seq;
    keys = ctx + row.kv_row - first + 1;
    if (keys > g->counts.max_keys)
        g->counts.max_keys = keys;
    if (row.result != RF_NONE)
        g->outputs[g->counts.outputs++] = g->counts.rows;
    g->rows[g->counts.rows++] = row;
}

/* Pieces of several sequences, none overlapping another: the pending rows of a sequence are used from 3 on.
 */
static void gather_pieces(struct gather_case *g)
{
    uint32_t used[GATHER_SEQS] = {3, 3, 3, 3, 3};
    struct rf_case *c = &g->c;
    g->work.piece_count = g->s.pieces;
    for (uint32_t p = 0; p < g->s.pieces; p++) {
        uint32_t seq = p * 3 % GATHER_SEQS;
        uint32_t count = p == 0 ? g->s.rows_per_piece : 1 + rf_random_below(&c->random, g->s.rows_per_piece);
        g->work.pieces[p] = (struct rf_piece){seq, used[seq], count};
        for (uint32_t i = 0; i < count; i++)
            gather_one(g, seq, used[seq]++);
    }
}

/* Every source with and without the flags, and several heights. Returns the number of grids. */
static uint32_t expect_grids(struct gather_case *g, size_t grids, size_t indirect)
{
    struct rf_case *c = &g->c;
    uint32_t count = 0;
    for (uint32_t i = 0; i < RF_MAX_GRIDS; i++, count++) {
        static const uint32_t heights[] = {1, 8, 64, 128};
        struct rf_grid grid = {.x = 3 + i, .y_per = heights[i % 4], .source = (i / 2) % 3, .z = 1 + i % 7};
        if (i % 5 == 1)
            grid.source |= RF_GRID_SPLITS;
        if (i % 5 == 3)
            grid.source |= RF_GRID_REDUCE;
        uint32_t of = (grid.source & 3) == RF_GRID_ROWS ? g->counts.rows : g->counts.outputs;
        uint32_t y = (grid.source & 3) == RF_GRID_FIXED ? grid.y_per : rf_divide_up(of, grid.y_per);
        if ((grid.source & RF_GRID_REDUCE) && g->counts.max_keys <= RF_SPLIT_KEYS)
            y = 0;
        rf_case_put(c, grids + i * sizeof grid, &grid, sizeof grid);
        rf_case_expect_word(c, indirect + i * 12, y ? grid.x : 0);
        rf_case_expect_word(c, indirect + i * 12 + 4, y);
        rf_case_expect_word(c, indirect + i * 12 + 8,
                            grid.source & RF_GRID_SPLITS ? rf_divide_up(g->counts.max_keys, RF_SPLIT_KEYS)
                                                         : grid.z);
    }
    return count;
}

static void expect_words(struct rf_case *c, size_t at, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word;
        memcpy(&word, (const char *)data + i, sizeof word);
        rf_case_expect_word(c, at + i, word);
    }
}

static void run_gather(struct rf_suite *suite, struct gather_shape s)
{
    struct rf_kernel_id id = {.shader = "rows_gather"};
    struct gather_case g = {.s = s};
    struct rf_case *c = &g.c;
    if (!rf_case_begin(suite->h, c, &id, "pieces=%u rows<=%u results=1/%u cache<=%u", s.pieces,
                       s.pieces * s.rows_per_piece, s.result_every, s.cache))
        return;
    size_t seqs = rf_case_alloc(c, "seqs", GATHER_SEQS * sizeof(struct rf_seq));
    for (uint32_t q = 0; q < GATHER_SEQS; q++) {
        g.pending[q] = rf_case_alloc(c, "pending rows", PENDING * sizeof(struct rf_row));
        uint64_t address = rf_case_address(c, g.pending[q]);
        rf_case_put(c, seqs + q * sizeof(struct rf_seq) + offsetof(struct rf_seq, rows), &address,
                    sizeof address);
    }
    gather_pieces(&g);
    size_t work = rf_case_alloc(c, "work", sizeof g.work);
    rf_case_put(c, work, &g.work, offsetof(struct rf_work, pieces) + s.pieces * sizeof g.work.pieces[0]);
    size_t rows = rf_case_alloc(c, "rows", sizeof g.rows),
           outputs = rf_case_alloc(c, "outputs", sizeof g.outputs);
    size_t counts = rf_case_alloc(c, "counts", sizeof g.counts);
    size_t grids = rf_case_alloc(c, "grids", RF_MAX_GRIDS * sizeof(struct rf_grid));
    size_t indirect = rf_case_alloc(c, "indirect", RF_MAX_GRIDS * 12);
    struct rf_push_rows_gather push = {
        .seqs = rf_case_address(c, seqs),
        .work = rf_case_address(c, work),
        .rows = rf_case_address(c, rows),
        .outputs = rf_case_address(c, outputs),
        .counts = rf_case_address(c, counts),
        .grids = rf_case_address(c, grids),
        .indirect = rf_case_address(c, indirect),
        .grid_count = expect_grids(&g, grids, indirect),
    };
    expect_words(c, rows, g.rows, g.counts.rows * sizeof g.rows[0]);
    expect_words(c, outputs, g.outputs, g.counts.outputs * 4);
    expect_words(c, counts, &g.counts, sizeof g.counts);
    rf_case_set_push(c, &push, sizeof push);
    c->tolerance = 0.0; /* integers */
    rf_case_run(c);
}

/* ---- kv_commit -------------------------------------------------------------------------------------- */

static void commit_row(struct rf_case *c, const struct rf_kv *kv, uint32_t from, uint32_t to)
{
    for (uint32_t layer = 0; layer < kv->layers; layer++)
        for (uint32_t e = 0; e < kv->kv_heads * kv->head_dim * 2; e++) {
            uint32_t head = e / (kv->head_dim * 2), d = e / 2 % kv->head_dim;
            size_t source = rf_kv_at(kv, 1, layer, head, from, d, e % 2);
            rf_case_put_number(c, source, kv->number, rf_random_signed(&c->random));
            rf_case_expect(c, rf_kv_at(kv, 1, layer, head, to, d, e % 2), kv->number,
                           rf_case_get_number(c, source, kv->number));
        }
}

/* The second of two sequences commits `count` rows of its scratch, which begins `gap` rows behind them. */
static void run_commit(struct rf_suite *suite, struct rf_kv kv, uint32_t count, uint32_t committed,
                       uint32_t gap)
{
    struct rf_kernel_id id = {.shader = kv.number == RF_NUMBER_F16 ? "kv_commit_act16" : "kv_commit"};
    struct rf_case c;
    uint32_t scratch = committed + count + gap;
    const uint32_t last[RF_KV_SEQS] = {100, scratch + count};
    if (!rf_case_begin(suite->h, &c, &id, "rows=%u committed=%u scratch=%u layers=%u kv_heads=%u head_dim=%u",
                       count, committed, scratch, kv.layers, kv.kv_heads, kv.head_dim))
        return;
    kv.seq_count = 2;
    rf_kv_place(&c, &kv, last);
    size_t state = rf_case_alloc(&c, "state", sizeof(struct rf_round_state));
    size_t seq = kv.seqs + sizeof(struct rf_seq);
    uint64_t address = rf_case_address(&c, state);
    rf_case_put(&c, seq + offsetof(struct rf_seq, state), &address, sizeof address);
    rf_case_put(&c, seq + offsetof(struct rf_seq, scratch_first), &scratch, sizeof scratch);
    rf_case_put(&c, seq + offsetof(struct rf_seq, committed), &committed, sizeof committed);
    rf_case_put(&c, state + offsetof(struct rf_round_state, commit_rows), &count, sizeof count);
    for (uint32_t i = 0; i < count; i++)
        commit_row(&c, &kv, scratch + i, committed + i);
    struct rf_push_kv_commit push = {
        .seqs = rf_case_address(&c, kv.seqs), .seq = 1, .kv_heads = kv.kv_heads, .head_dim = kv.head_dim};
    rf_case_set_push(&c, &push, sizeof push);
    rf_case_set_groups(&c, count, kv.layers, 1);
    c.tolerance = 0.0; /* a copy */
    rf_case_run(&c);
}

static void run_commits(struct rf_suite *suite, enum rf_number act)
{
    struct rf_kv kv = {.layers = 2, .kv_heads = 2, .head_dim = 64, .number = act};
    run_commit(suite, kv, 7, 61, 0);
    kv = (struct rf_kv){.layers = 3, .kv_heads = 1, .head_dim = 40, .number = act};
    run_commit(suite, kv, 65, 1, 5);
    if (!suite->thorough)
        return;
    kv = (struct rf_kv){.layers = 1, .kv_heads = 8, .head_dim = 128, .number = act};
    run_commit(suite, kv, 1, 0, 63);
    run_commit(suite, kv, 127, 64, 1);
    kv.head_dim = 256;
    run_commit(suite, kv, 32, 65, 128);
    kv = (struct rf_kv){.layers = 4, .kv_heads = 4, .head_dim = 8, .number = act};
    run_commit(suite, kv, 64, 1000, 0);
}

void rf_selftest_rows(struct rf_suite *suite)
{
    run_gather(suite, (struct gather_shape){1, 1, 1, 0});
    run_gather(suite, (struct gather_shape){5, 33, 3, 200});
    run_gather(suite, (struct gather_shape){7, 65, 1, 1500});
    if (suite->thorough) {
        run_gather(suite, (struct gather_shape){RF_MAX_PIECES, 8, 2, 600});
        run_gather(suite, (struct gather_shape){1, 2, 0, 1});
        run_gather(suite, (struct gather_shape){1, 64, 64, 64});
        run_gather(suite, (struct gather_shape){2, 127, 0, 1000});
        run_gather(suite, (struct gather_shape){3, 9, 7, 65});
        run_gather(suite, (struct gather_shape){2, 256, 5, 1000});
    }
    run_commits(suite, RF_NUMBER_F32);
    if (suite->fp16)
        run_commits(suite, RF_NUMBER_F16);
}
