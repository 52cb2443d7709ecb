/* embed, rmsnorm, head_rope: one row at a time, no sums over more than a row. */
#include <stdlib.h>

#include "engine/selftest/fixtures.h"
#include "engine/selftest/int8_rows.h"
#include "engine/selftest/weights.h"

static const uint32_t all_rows[] = {1, 2, 7, 8, 9, 31, 33, 64, 65, 127};
enum { ROW_COUNT = 10 };

/* ---- embed ------------------------------------------------------------------------------------------ */

/* h[m] = table[token - first] for tokens inside [first, first + count); the other rows are left alone. */
static void run_embed(struct rf_suite *suite, enum rf_weight_format weights, uint32_t count, uint32_t hidden,
                      uint32_t first)
{
    static const char *const names[RF_WEIGHT_FORMATS] = {
        "embed_bf16", "embed_f16", "embed_f32", "embed_q8_0", "embed_q4_0", "embed_q4_k", "embed_q6_k"};
    enum { VOCABULARY = 40 };
    struct rf_kernel_id id = {.shader = names[weights]};
    struct rf_case c;
    struct rf_row rows[RF_MAX_ROWS] = {0};
    uint32_t unit = rf_weights_unit(weights);
    hidden = (hidden + unit - 1) / unit * unit;
    if (!rf_case_begin(suite->h, &c, &id, "rows=%u hidden=%u first=%u", count, hidden, first))
        return;
    uint32_t table_rows = first ? VOCABULARY / 2 : VOCABULARY;
    struct rf_push_embed push = {.hidden = hidden, .first = first, .count = table_rows};
    for (uint32_t m = 0; m < count; m++)
        rows[m].token = rf_random_below(&c.random, first ? 2 * first + table_rows : VOCABULARY);
    size_t rows_at = rf_place_rows(&c, rows, count);
    rf_declare_field(&c, rows_at, count, rf_row, token);
    size_t table = rf_weights_alloc(&c, weights, table_rows, hidden);
    size_t h = rf_case_alloc(&c, "h", (size_t)count * hidden * 4);
    double *row = malloc(hidden * sizeof *row);
    if (!row)
        c.h->status = rf_fail(c.h->err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for %s", id.shader);
    for (uint32_t token = first; row && token < first + table_rows; token++) {
        for (uint32_t i = 0; i < hidden; i++)
            row[i] = rf_random_below(&c.random, 9) ? rf_random_signed(&c.random) : -0.0;
        rf_weights_put(&c, table, weights, hidden, token - first, row);
        for (uint32_t m = 0; m < count; m++)
            for (uint32_t i = 0; rows[m].token == token && i < hidden; i++)
                rf_case_expect(&c, h + ((size_t)m * hidden + i) * 4, RF_NUMBER_F32, row[i]);
    }
    free(row);
    push.counts = rf_case_address(&c, rf_put_counts(&c, count, UINT32_MAX));
    push.rows = rf_case_address(&c, rows_at);
    push.table = rf_case_address(&c, table);
    push.h = rf_case_address(&c, h);
    rf_case_set_push(&c, &push, sizeof push);
    rf_case_set_groups(&c, 1, count, 1);
    /* Plain formats convert to f32 exactly; the others round three times, and a minimum taken off can leave a
     * number eight times smaller. */
    c.tolerance = rf_weights_exact(weights) ? 0.0 : ldexp(1.0, -21);
    rf_case_run(&c);
}

/* ---- rmsnorm ---------------------------------------------------------------------------------------- */

struct rmsnorm_shape {
    enum rf_number act;
    bool gather;
    uint32_t rows, hidden;
    double amplitude;
};

static void expect_rmsnorm(struct rf_case *c, const struct rmsnorm_shape *s, size_t h_row, size_t weight,
                           size_t x, uint32_t ld, uint32_t m, double eps)
{
    double squares = 0.0;
    for (uint32_t i = 0; i < s->hidden; i++) {
        double value = rf_case_get_number(c, h_row + i * 4, RF_NUMBER_F32);
        squares += value * value;
    }
    double factor = 1.0 / sqrt(squares / s->hidden + eps);
    for (uint32_t i = 0; i < s->hidden; i++)
        rf_case_expect(c, rf_quad_at(x, s->act, ld, m, i), s->act,
                       rf_case_get_number(c, h_row + i * 4, RF_NUMBER_F32) * factor *
                           rf_case_get_number(c, weight + i * 4, RF_NUMBER_F32));
}

static void run_rmsnorm(struct rf_suite *suite, struct rmsnorm_shape s)
{
    struct rf_kernel_id id = {
        .shader = s.act == RF_NUMBER_F16 ? "rmsnorm_act16" : "rmsnorm", .spec_count = 1, .specs = {s.gather}};
    struct rf_case c;
    uint32_t ld = s.rows + s.rows % 4, outputs[RF_MAX_ROWS], next = 0;
    if (!rf_case_begin(suite->h, &c, &id, "rows=%u hidden=%u%s amplitude=%g", s.rows, s.hidden,
                       s.gather ? " gather" : "", s.amplitude))
        return;
    size_t weight = rf_case_alloc(&c, "weight", s.hidden * 4);
    for (uint32_t i = 0; i < s.hidden; i++)
        rf_case_put_number(&c, weight + i * 4, RF_NUMBER_F32, rf_random_signed(&c.random) * 2.0);
    for (uint32_t m = 0; m < s.rows; m++) { /* with GATHER some rows of h lie between those that are wanted */
        next += s.gather ? rf_random_below(&c.random, 3) : 0;
        outputs[m] = next++;
    }
    size_t h = rf_case_alloc(&c, "h", (size_t)next * s.hidden * 4);
    size_t x = rf_case_alloc(&c, "x", (size_t)ld * s.hidden * rf_number_bytes(s.act));
    size_t list = rf_case_alloc(&c, "outputs", sizeof outputs);
    struct rf_push_rmsnorm push = {.hidden = s.hidden, .ld = ld, .eps = 1e-6f};
    for (uint32_t m = 0; m < s.rows; m++) {
        size_t row = h + (size_t)outputs[m] * s.hidden * 4;
        for (uint32_t i = 0; i < s.hidden; i++)
            rf_case_put_number(&c, row + i * 4, RF_NUMBER_F32,
                               m % 9 == 4 ? i == m % s.hidden : rf_random_signed(&c.random) * s.amplitude);
        expect_rmsnorm(&c, &s, row, weight, x, ld, m, (double)push.eps);
    }
    if (s.gather)
        rf_case_put(&c, list, outputs, s.rows * sizeof outputs[0]);
    size_t counts = s.gather ? rf_put_counts(&c, UINT32_MAX, s.rows) : rf_put_counts(&c, s.rows, UINT32_MAX);
    push.counts = rf_case_address(&c, counts);
    push.outputs = rf_case_address(&c, list);
    push.h = rf_case_address(&c, h);
    push.weight = rf_case_address(&c, weight);
    push.x = rf_case_address(&c, x);
    rf_case_set_push(&c, &push, sizeof push);
    rf_case_set_groups(&c, 1, s.rows, 1);
    /* The sum of squares has positive terms only: a few 2^-24, as have inversesqrt (2 ulp) and the two
     * products. Stored as f16: 2^-11 at most, half of that in the norm. */
    c.tolerance = s.act == RF_NUMBER_F16 ? ldexp(1.0, -11) : 8.0 * ldexp(1.0, -24);
    if (!rf_case_run(&c) || s.rows == 1)
        return;
    rf_alone_begin(&c);
    rf_patch_counts(&c, counts, s.gather);
    if (s.gather)
        rf_alone_move(&c, list + (s.rows - 1) * sizeof outputs[0], list, sizeof outputs[0]);
    else
        rf_alone_move(&c, h + (size_t)(s.rows - 1) * s.hidden * 4, h, s.hidden * 4);
    for (uint32_t i = 0; i < s.hidden; i += 4)
        rf_alone_expect(&c, rf_quad_at(x, s.act, ld, s.rows - 1, i), rf_quad_at(x, s.act, ld, 0, i),
                        4 * rf_number_bytes(s.act));
    rf_case_set_groups(&c, 1, 1, 1);
    rf_alone_run(&c);
}

/* Into int8 blocks, and with `both` into f16 quads too. Row 1 is zeros; in row 2 one number is infinite, which makes
 * it a NaN and the others zeros: its block says so, no other does. */
static void run_int8_rmsnorm(struct rf_suite *suite, bool gather, bool both, uint32_t rows, uint32_t hidden)
{
    struct rf_kernel_id id = {.shader = "rmsnorm_int8", .spec_count = 2, .specs = {gather, both}};
    struct rmsnorm_shape s = {RF_NUMBER_F16, gather, rows, hidden, 1.0};
    struct rf_case c;
    struct rf_int8_rows out;
    uint32_t ld = rows + rows % 4, outputs[RF_MAX_ROWS];
    if (!rf_case_begin(suite->h, &c, &id, "rows=%u hidden=%u%s%s", rows, hidden, gather ? " gather" : "",
                       both ? " both" : ""))
        return;
    size_t weight = rf_case_alloc(&c, "weight", hidden * 4);
    for (uint32_t i = 0; i < hidden; i++)
        rf_case_put_number(&c, weight + i * 4, RF_NUMBER_F32, rf_random_signed(&c.random) * 2.0);
    size_t h = rf_case_alloc(&c, "h", (size_t)(rows + 1) * hidden * 4);
    size_t quads = both ? rf_case_alloc(&c, "quads", (size_t)ld * hidden * 2) : 0;
    size_t list = rf_case_alloc(&c, "outputs", sizeof outputs);
    bool ready = rf_int8_begin(&c, &out, rows, ld, hidden);
    struct rf_push_rmsnorm push = {.hidden = hidden, .ld = ld, .eps = 1e-6f};
    for (uint32_t m = 0; ready && m < rows; m++) {
        outputs[m] = m + gather;
        size_t row = h + (size_t)outputs[m] * hidden * 4;
        double squares = 0.0;
        for (uint32_t i = 0; i < hidden; i++) {
            double value = m == 1 ? 0.0 : rf_random_signed(&c.random) * (i / 32 % 3 ? 1.0 : 1e-3);
            rf_case_put_number(&c, row + i * 4, RF_NUMBER_F32, m == 2 && i == 5 ? (double)INFINITY : value);
            value = rf_case_get_number(&c, row + i * 4, RF_NUMBER_F32);
            squares += value * value;
        }
        for (uint32_t i = 0; i < hidden; i++)
            rf_int8_expect(&c, &out, m, i,
                           rf_case_get_number(&c, row + i * 4, RF_NUMBER_F32) /
                               sqrt(squares / hidden + (double)push.eps) *
                               rf_case_get_number(&c, weight + i * 4, RF_NUMBER_F32));
        if (both && m != 2)
            expect_rmsnorm(&c, &s, row, weight, quads, ld, m, (double)push.eps);
        for (uint32_t i = 0; both && m == 2 && i < hidden; i++)
            rf_case_mark(&c, rf_quad_at(quads, RF_NUMBER_F16, ld, m, i), 2, RF_MARK_ANY);
    }
    if (ready && gather)
        rf_case_put(&c, list, outputs, rows * sizeof outputs[0]);
    push.counts = rf_case_address(&c, gather ? rf_put_counts(&c, UINT32_MAX, rows)
                                             : rf_put_counts(&c, rows, UINT32_MAX));
    push.outputs = rf_case_address(&c, list);
    push.h = rf_case_address(&c, h);
    push.weight = rf_case_address(&c, weight);
    push.x = rf_case_address(&c, out.at);
    push.quads = rf_case_address(&c, quads);
    rf_case_set_push(&c, &push, sizeof push);
    rf_case_set_groups(&c, 1, rows, 1);
    /* As rmsnorm; 127 / max and what is multiplied by it are off by 4 ulp more. The f16 copy is judged apart. */
    c.tolerance = 16.0 * ldexp(1.0, -24);
    if (ready && rf_int8_run(&c, &out) && both) {
        c.tolerance = ldexp(1.0, -11);
        rf_case_run(&c);
    }
    rf_int8_end(&out);
}

/* ---- head_rope -------------------------------------------------------------------------------------- */

struct rope_shape {
    enum rf_number act;
    uint32_t rows, heads, kv_heads, head_dim;
};

struct rope_case {
    struct rf_case c;
    struct rope_shape s;
    struct rf_kv kv;
    struct rf_row rows[RF_MAX_ROWS];
    size_t qkv, weights[2], table;
};

static void place_rope(struct rope_case *r)
{
    struct rf_case *c = &r->c;
    enum { POSITIONS = 300 };
    uint32_t half = r->s.head_dim / 2;
    for (int w = 0; w < 2; w++) {
        r->weights[w] = rf_case_alloc(c, w ? "k weight" : "q weight", r->s.head_dim * 4);
        for (uint32_t d = 0; d < r->s.head_dim; d++)
            rf_case_put_number(c, r->weights[w] + d * 4, RF_NUMBER_F32, 1.0 + rf_random_signed(&c->random));
    }
    r->table = rf_case_alloc(c, "rope", (size_t)POSITIONS * half * 8);
    for (uint32_t m = 0; m < r->s.rows; m++) {
        r->rows[m].position = rf_random_below(&c->random, POSITIONS);
        for (uint32_t i = 0; i < half; i++) {
            double angle = r->rows[m].position * pow(1e6, -2.0 * i / r->s.head_dim);
            size_t at = r->table + ((size_t)r->rows[m].position * half + i) * 8;
            rf_case_put_number(c, at, RF_NUMBER_F32, cos(angle));
            rf_case_put_number(c, at + 4, RF_NUMBER_F32, sin(angle));
        }
    }
}

/* One q or k head of a row, normalised and rotated, in f64. */
static void rope_reference(struct rope_case *r, uint32_t m, size_t head_at, bool is_k, double eps,
                           double *out)
{
    struct rf_case *c = &r->c;
    uint32_t dim = r->s.head_dim, half = dim / 2;
    double normal[512], squares = 0.0;
    for (uint32_t d = 0; d < dim; d++) {
        normal[d] = rf_case_get_number(c, head_at + d * 4, RF_NUMBER_F32);
        squares += normal[d] * normal[d];
    }
    for (uint32_t d = 0; d < dim; d++)
        normal[d] *=
            rf_case_get_number(c, r->weights[is_k] + d * 4, RF_NUMBER_F32) / sqrt(squares / dim + eps);
    for (uint32_t i = 0; i < half; i++) {
        size_t at = r->table + ((size_t)r->rows[m].position * half + i) * 8;
        double cosine = rf_case_get_number(c, at, RF_NUMBER_F32),
               sine = rf_case_get_number(c, at + 4, RF_NUMBER_F32);
        out[i] = normal[i] * cosine - normal[i + half] * sine;
        out[i + half] = normal[i + half] * cosine + normal[i] * sine;
    }
}

/* Part 0: q in place; part 1: K in its page; part 2: V in its page, converted only. */
static void expect_rope(struct rope_case *r, double eps)
{
    struct rf_case *c = &r->c;
    uint32_t dim = r->s.head_dim, heads = r->s.heads + 2 * r->s.kv_heads;
    double out[512];
    for (uint32_t m = 0; m < r->s.rows; m++)
        for (uint32_t head = 0; head < heads; head++) {
            const struct rf_row *row = &r->rows[m];
            size_t at = r->qkv + ((size_t)m * heads + head) * dim * 4;
            bool is_q = head < r->s.heads, is_v = head >= r->s.heads + r->s.kv_heads;
            uint32_t kv_head = (head - r->s.heads) % r->s.kv_heads;
            for (uint32_t d = 0; d < dim; d++)
                rf_case_put_number(c, at + d * 4, RF_NUMBER_F32, rf_random_signed(&c->random) * 3.0);
            c->part = is_q ? 0 : is_v ? 2 : 1;
            if (!is_v)
                rope_reference(r, m, at, !is_q, eps, out);
            for (uint32_t d = 0; d < dim; d++) {
                double value = is_v ? rf_case_get_number(c, at + d * 4, RF_NUMBER_F32) : out[d];
                if (is_q)
                    rf_case_expect(c, at + d * 4, RF_NUMBER_F32, value);
                else
                    rf_case_expect(c, rf_kv_at(&r->kv, row->seq, r->kv.layer, kv_head, row->kv_row, d, is_v),
                                   r->s.act, value);
            }
        }
}

static void run_rope_alone(struct rope_case *r, size_t counts, size_t rows)
{
    struct rf_case *c = &r->c;
    uint32_t last = r->s.rows - 1, heads = r->s.heads + 2 * r->s.kv_heads;
    const struct rf_row *row = &r->rows[last];
    size_t row_bytes = (size_t)heads * r->s.head_dim * 4, at = r->qkv + last * row_bytes;
    rf_alone_begin(c);
    rf_patch_counts(c, counts, false);
    rf_alone_move(c, rows + last * sizeof *row, rows, sizeof *row);
    rf_alone_move(c, at, r->qkv, row_bytes);
    rf_alone_expect(c, at, r->qkv, (size_t)r->s.heads * r->s.head_dim * 4);
    for (uint32_t e = 0; e < r->s.kv_heads * r->s.head_dim * 2; e++) {
        size_t kv = rf_kv_at(&r->kv, row->seq, r->kv.layer, e / (r->s.head_dim * 2), row->kv_row,
                             e / 2 % r->s.head_dim, e % 2);
        rf_alone_expect(c, kv, kv, rf_number_bytes(r->s.act));
    }
    rf_case_set_groups(c, heads, 1, 1);
    rf_alone_run(c);
}

/* Rows of two sequences in turn, each sequence's KV rows in descending order over shuffled pages. */
static void run_rope(struct rf_suite *suite, struct rope_shape s)
{
    struct rf_kernel_id id = {.shader = s.act == RF_NUMBER_F16 ? "head_rope_act16" : "head_rope"};
    struct rope_case r = {.s = s};
    struct rf_case *c = &r.c;
    uint32_t last[2] = {70 + s.rows, 10 + s.rows}, heads = s.heads + 2 * s.kv_heads;
    if (!rf_case_begin(suite->h, c, &id, "rows=%u heads=%u kv_heads=%u head_dim=%u", s.rows, s.heads,
                       s.kv_heads, s.head_dim))
        return;
    r.kv = (struct rf_kv){.layers = 2,
                          .layer = s.rows % 2,
                          .kv_heads = s.kv_heads,
                          .head_dim = s.head_dim,
                          .number = s.act,
                          .seq_count = 2};
    rf_kv_place(c, &r.kv, last);
    place_rope(&r);
    for (uint32_t m = 0; m < s.rows; m++) {
        r.rows[m].seq = m % 2;
        r.rows[m].kv_row = last[m % 2] - 1 - m / 2;
    }
    size_t rows = rf_place_rows(c, r.rows, s.rows);
    rf_declare_field(c, rows, s.rows, rf_row, position);
    rf_declare_field(c, rows, s.rows, rf_row, kv_row);
    rf_declare_field(c, rows, s.rows, rf_row, seq);
    r.qkv = rf_case_alloc(c, "qkv", (size_t)s.rows * heads * s.head_dim * 4);
    size_t counts = rf_put_counts(c, s.rows, UINT32_MAX);
    struct rf_push_head_rope push = {
        .counts = rf_case_address(c, counts),
        .rows = rf_case_address(c, rows),
        .seqs = rf_case_address(c, r.kv.seqs),
        .qkv = rf_case_address(c, r.qkv),
        .q_weight = rf_case_address(c, r.weights[0]),
        .k_weight = rf_case_address(c, r.weights[1]),
        .rope = rf_case_address(c, r.table),
        .heads = s.heads,
        .kv_heads = s.kv_heads,
        .head_dim = s.head_dim,
        .layer = r.kv.layer,
        .eps = 1e-6f,
    };
    expect_rope(&r, (double)push.eps);
    rf_case_set_push(c, &push, sizeof push);
    rf_case_set_groups(c, heads, s.rows, 1);
    /* As rmsnorm, plus three roundings of the rotation; K and V are stored as f16 on that path. */
    c->tolerance = s.act == RF_NUMBER_F16 ? ldexp(1.0, -11) : 10.0 * ldexp(1.0, -24);
    if (rf_case_run(c) && s.rows > 1)
        run_rope_alone(&r, counts, rows);
}

/* ---- Shapes ----------------------------------------------------------------------------------------- */

static void run_act(struct rf_suite *suite, enum rf_number act)
{
    static const uint32_t hiddens[] = {8, 24, 256, 768, 4096};
    static const struct rope_shape ropes[] = {
        {0, 0, 8, 2, 64}, {0, 0, 4, 4, 128}, {0, 0, 8, 1, 128},
        {0, 0, 2, 1, 40}, {0, 0, 2, 2, 256}, {0, 0, 16, 1, 64},
    };
    uint32_t step = suite->thorough ? 1 : 3;
    for (uint32_t i = 0; i < ROW_COUNT; i += step) {
        for (uint32_t j = i % 2; j < 5; j += suite->thorough ? 2 : 3)
            run_rmsnorm(suite, (struct rmsnorm_shape){act, (i + j) % 3 == 1, all_rows[i], hiddens[j],
                                                      j == 2   ? 1e4
                                                      : j == 4 ? 1e-3
                                                               : 1.0});
        struct rope_shape rope = ropes[i % 6];
        rope.act = act;
        rope.rows = all_rows[i];
        run_rope(suite, rope);
    }
    for (uint32_t i = 0; suite->thorough && i < 6; i++) {
        struct rope_shape rope = ropes[i];
        rope.act = act;
        rope.rows = all_rows[9 - i];
        run_rope(suite, rope);
    }
}

void rf_selftest_norms(struct rf_suite *suite)
{
    static const uint32_t hiddens[] = {8, 24, 768, 4096};
    for (int weights = 0; weights < RF_WEIGHT_FORMATS; weights++)
        for (uint32_t i = (uint32_t)weights; i < ROW_COUNT; i += suite->thorough ? 1 : 4)
            run_embed(suite, (enum rf_weight_format)weights, all_rows[i], hiddens[i % 4],
                      (i + i / 4) % 2 ? 17 : 0);
    run_act(suite, RF_NUMBER_F32);
    if (suite->fp16)
        run_act(suite, RF_NUMBER_F16);
    if (!rf_int8_runs(suite))
        return;
    run_int8_rmsnorm(suite, false, false, 9, 256);
    run_int8_rmsnorm(suite, true, true, 4, 96);
    if (!suite->thorough)
        return;
    run_int8_rmsnorm(suite, false, true, 65, 768);
    run_int8_rmsnorm(suite, true, false, 3, 4096);
}
