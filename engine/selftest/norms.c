/* embed, rmsnorm, head_rope: one row at a time, no sums over more than a row. */

#include "engine/allocate.h"
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
    double *row = rf_malloc(hidden * sizeof *row);
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
    rf_free(row);
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
    uint32_t splits, local; /* local 0: one subgroup, on CPUs */
};

/* `count` numbers of a product that was split over k: random partials, split_bytes apart. Their sums are
 * added to `sums`. */
static void put_partials(struct rf_case *c, size_t at, size_t split_bytes, uint32_t splits, uint32_t count,
                         double amplitude, double *sums)
{
    for (uint32_t z = 0; z < splits; z++)
        for (uint32_t i = 0; i < count; i++) {
            size_t number = at + z * split_bytes + i * 4;
            rf_case_put_number(c, number, RF_NUMBER_F32, rf_random_signed(&c->random) * amplitude);
            sums[i] += rf_case_get_number(c, number, RF_NUMBER_F32);
        }
}

enum { MOST_HIDDEN = 4096 };

/* Where things are in the pool; partials [split][partial_rows][hidden]. */
struct rmsnorm_places {
    size_t h, weight, x, partials;
    uint32_t ld, partial_rows;
};

/* Row `row` of h goes to row m of x. Part 0: x; part 1: h, where partials are added to it. */
static void place_rmsnorm_row(struct rf_case *c, const struct rmsnorm_shape *s,
                              const struct rmsnorm_places *at, uint32_t row, uint32_t m, double eps)
{
    size_t row_bytes = (size_t)s->hidden * 4, h = at->h + row * row_bytes;
    double value[MOST_HIDDEN], squares = 0.0;
    for (uint32_t i = 0; i < s->hidden; i++) {
        rf_case_put_number(c, h + i * 4, RF_NUMBER_F32,
                           m % 9 == 4 ? i == m % s->hidden : rf_random_signed(&c->random) * s->amplitude);
        value[i] = rf_case_get_number(c, h + i * 4, RF_NUMBER_F32);
    }
    if (s->splits > 1)
        put_partials(c, at->partials + row * row_bytes, at->partial_rows * row_bytes, s->splits, s->hidden,
                     s->amplitude, value);
    for (uint32_t i = 0; i < s->hidden; i++)
        squares += value[i] * value[i];
    double factor = 1.0 / sqrt(squares / s->hidden + eps);
    for (uint32_t i = 0; i < s->hidden; i++) {
        c->part = 0;
        rf_case_expect(c, rf_quad_at(at->x, s->act, at->ld, m, i), s->act,
                       value[i] * factor * rf_case_get_number(c, at->weight + i * 4, RF_NUMBER_F32));
        c->part = 1;
        if (s->splits > 1)
            rf_case_expect(c, h + i * 4, RF_NUMBER_F32, value[i]);
    }
}

/* `row`: of h, that the last row of x came from. */
static void run_rmsnorm_alone(struct rf_case *c, const struct rmsnorm_shape *s,
                              const struct rmsnorm_places *at, size_t counts, size_t list, uint32_t row)
{
    uint32_t last = s->rows - 1, to = s->gather ? row : 0;
    size_t row_bytes = (size_t)s->hidden * 4;
    rf_alone_begin(c);
    rf_patch_counts(c, counts, s->gather);
    if (s->gather)
        rf_alone_move(c, list + last * sizeof last, list, sizeof last);
    else
        rf_alone_move(c, at->h + row * row_bytes, at->h, row_bytes);
    for (uint32_t z = 0; !s->gather && s->splits > 1 && z < s->splits; z++) {
        size_t split = at->partials + z * at->partial_rows * row_bytes;
        rf_alone_move(c, split + row * row_bytes, split, row_bytes);
    }
    if (s->splits > 1)
        rf_alone_expect(c, at->h + row * row_bytes, at->h + to * row_bytes, row_bytes);
    for (uint32_t i = 0; i < s->hidden; i += 4)
        rf_alone_expect(c, rf_quad_at(at->x, s->act, at->ld, last, i),
                        rf_quad_at(at->x, s->act, at->ld, 0, i), 4 * rf_number_bytes(s->act));
    rf_case_set_groups(c, 1, 1, 1);
    rf_alone_run(c);
}

static void run_rmsnorm(struct rf_suite *suite, struct rmsnorm_shape s)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(suite->h->gpu);
    const bool one = !s.local && caps->cpu; /* as the engine has it */
    if (!s.local)
        s.local = caps->cpu ? caps->subgroup_size : 64;
    struct rf_kernel_id id = {.shader = s.act == RF_NUMBER_F16 ? "rmsnorm_act16" : "rmsnorm",
                              .spec_count = 4,
                              .specs = {s.gather, s.splits, s.local, one}};
    struct rf_case c;
    struct rmsnorm_places at = {.ld = s.rows + s.rows % 4};
    uint32_t outputs[RF_MAX_ROWS], next = 0;
    if (!rf_case_begin(suite->h, &c, &id, "rows=%u hidden=%u%s amplitude=%g splits=%u local=%u", s.rows,
                       s.hidden, s.gather ? " gather" : "", s.amplitude, s.splits, s.local))
        return;
    at.weight = rf_case_alloc(&c, "weight", s.hidden * 4);
    for (uint32_t i = 0; i < s.hidden; i++)
        rf_case_put_number(&c, at.weight + i * 4, RF_NUMBER_F32, rf_random_signed(&c.random) * 2.0);
    for (uint32_t m = 0; m < s.rows; m++) { /* with GATHER some rows of h lie between those that are wanted */
        next += s.gather ? rf_random_below(&c.random, 3) : 0;
        outputs[m] = next++;
    }
    if (next > at.ld)
        at.ld = next; /* a forward's rows, of which some are wanted */
    at.partial_rows = at.ld;
    at.h = rf_case_alloc(&c, "h", (size_t)next * s.hidden * 4);
    at.x = rf_case_alloc(&c, "x", (size_t)at.ld * s.hidden * rf_number_bytes(s.act));
    if (s.splits > 1)
        at.partials = rf_case_alloc(&c, "partials", (size_t)s.splits * at.partial_rows * s.hidden * 4);
    size_t list = rf_case_alloc(&c, "outputs", sizeof outputs);
    struct rf_push_rmsnorm push = {.hidden = s.hidden, .ld = at.ld, .eps = 1e-6f};
    for (uint32_t m = 0; m < s.rows; m++)
        place_rmsnorm_row(&c, &s, &at, outputs[m], m, (double)push.eps);
    if (s.gather)
        rf_case_put(&c, list, outputs, s.rows * sizeof outputs[0]);
    size_t counts = s.gather ? rf_put_counts(&c, UINT32_MAX, s.rows) : rf_put_counts(&c, s.rows, UINT32_MAX);
    push.counts = rf_case_address(&c, counts);
    push.outputs = rf_case_address(&c, list);
    push.h = rf_case_address(&c, at.h);
    push.partials = rf_case_address(&c, at.partials);
    push.weight = rf_case_address(&c, at.weight);
    push.x = rf_case_address(&c, at.x);
    rf_case_set_push(&c, &push, sizeof push);
    rf_case_set_groups(&c, 1, s.rows, 1);
    /* The sum of squares has positive terms only: a few 2^-24, as have inversesqrt (2 ulp) and the two
     * products; a sum of partials rounds up to eight times. Stored as f16: 2^-11 at most, half of that in the
     * norm. */
    c.tolerance = s.act == RF_NUMBER_F16 ? ldexp(1.0, -11) : (s.splits > 1 ? 10.0 : 8.0) * ldexp(1.0, -24);
    if (rf_case_run(&c) && s.rows > 1)
        run_rmsnorm_alone(&c, &s, &at, counts, list, outputs[s.rows - 1]);
}

/* A case of rmsnorm_int8. */
struct int8_norm {
    struct rf_case c;
    struct rf_int8_rows out;
    size_t weight, h, partials, quads;
    uint32_t ld, hidden, splits;
    bool both; /* f16 quads too */
};

/* Row m of the output, from row `from` of h. */
static void expect_int8_norm(struct int8_norm *n, uint32_t m, uint32_t from, double eps)
{
    struct rf_case *c = &n->c;
    size_t row = (size_t)from * n->hidden * 4;
    double value[MOST_HIDDEN], squares = 0.0;
    for (uint32_t i = 0; i < n->hidden; i++) {
        value[i] = m == 1 ? 0.0 : rf_random_signed(&c->random) * (i / 32 % 3 ? 1.0 : 1e-3);
        rf_case_put_number(c, n->h + row + i * 4, RF_NUMBER_F32,
                           m == 2 && i == 5 ? (double)INFINITY : value[i]);
        value[i] = rf_case_get_number(c, n->h + row + i * 4, RF_NUMBER_F32);
    }
    if (n->splits > 1)
        put_partials(c, n->partials + row, (size_t)n->ld * n->hidden * 4, n->splits, n->hidden,
                     m == 1 ? 0.0 : 1.0, value);
    for (uint32_t i = 0; i < n->hidden; i++)
        squares += value[i] * value[i];
    for (uint32_t i = 0; i < n->hidden; i++) {
        double x = value[i] / sqrt(squares / n->hidden + eps) *
                   rf_case_get_number(c, n->weight + i * 4, RF_NUMBER_F32);
        size_t quad = rf_quad_at(n->quads, RF_NUMBER_F16, n->ld, m, i);
        rf_int8_expect(c, &n->out, m, i, x);
        c->part = 0;
        if (n->both && m != 2)
            rf_case_expect(c, quad, RF_NUMBER_F16, x);
        else if (n->both)
            rf_case_mark(c, quad, 2, RF_MARK_ANY);
        c->part = 1;
        if (n->splits > 1 && m != 2)
            rf_case_expect(c, n->h + row + i * 4, RF_NUMBER_F32, value[i]);
        else if (n->splits > 1)
            rf_case_mark(c, n->h + row + i * 4, 4, RF_MARK_ANY);
    }
}

/* Into int8 blocks, and with `both` into f16 quads too. Row 1 is zeros; in row 2 one number is infinite,
 * which makes it a NaN and the others zeros: its block says so, no other does. */
static void run_int8_rmsnorm(struct rf_suite *suite, bool gather, bool both, uint32_t splits, uint32_t rows,
                             uint32_t hidden)
{
    struct rf_kernel_id id = {.shader = "rmsnorm_int8", .spec_count = 4, .specs = {gather, splits, 64, both}};
    struct int8_norm n = {.ld = rows + 1 + rows % 4, .hidden = hidden, .splits = splits, .both = both};
    struct rf_case *c = &n.c;
    uint32_t outputs[RF_MAX_ROWS];
    if (!rf_case_begin(suite->h, c, &id, "rows=%u hidden=%u splits=%u%s%s", rows, hidden, splits,
                       gather ? " gather" : "", both ? " both" : ""))
        return;
    n.weight = rf_case_alloc(c, "weight", hidden * 4);
    for (uint32_t i = 0; i < hidden; i++)
        rf_case_put_number(c, n.weight + i * 4, RF_NUMBER_F32, rf_random_signed(&c->random) * 2.0);
    n.h = rf_case_alloc(c, "h", (size_t)(rows + 1) * hidden * 4);
    n.partials = rf_case_alloc(c, "partials", (size_t)splits * n.ld * hidden * 4);
    n.quads = both ? rf_case_alloc(c, "quads", (size_t)n.ld * hidden * 2) : 0;
    size_t list = rf_case_alloc(c, "outputs", sizeof outputs);
    bool ready = rf_int8_begin(c, &n.out, rows, n.ld, hidden);
    struct rf_push_rmsnorm push = {.hidden = hidden, .ld = n.ld, .eps = 1e-6f};
    for (uint32_t m = 0; ready && m < rows; m++) {
        outputs[m] = m + gather;
        expect_int8_norm(&n, m, outputs[m], (double)push.eps);
    }
    if (ready && gather)
        rf_case_put(c, list, outputs, rows * sizeof outputs[0]);
    push.counts =
        rf_case_address(c, gather ? rf_put_counts(c, UINT32_MAX, rows) : rf_put_counts(c, rows, UINT32_MAX));
    push.outputs = rf_case_address(c, list);
    push.h = rf_case_address(c, n.h);
    push.partials = rf_case_address(c, n.partials);
    push.weight = rf_case_address(c, n.weight);
    push.x = rf_case_address(c, n.out.at);
    push.quads = rf_case_address(c, n.quads);
    rf_case_set_push(c, &push, sizeof push);
    rf_case_set_groups(c, 1, rows, 1);
    /* As rmsnorm; 127 / max and what is multiplied by it are off by 4 ulp more. The f16 copy is judged
     * apart. */
    c->tolerance = 32.0 * ldexp(1.0, -24);
    if (ready && rf_int8_run(c, &n.out) && both) {
        c->tolerance = ldexp(1.0, -11);
        rf_case_run(c);
    }
    rf_int8_end(&n.out);
}

/* ---- head_rope -------------------------------------------------------------------------------------- */

struct rope_shape {
    enum rf_number act;
    uint32_t rows, heads, kv_heads, head_dim, splits;
};

struct rope_case {
    struct rf_case c;
    struct rope_shape s;
    struct rf_kv kv;
    struct rf_row rows[RF_MAX_ROWS];
    size_t qkv, partials, split_bytes, weights[2], table;
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

/* One q or k head of a row, normalised and rotated, in f64. `normal`: as it comes, and afterwards
 * normalised. */
static void rope_reference(struct rope_case *r, uint32_t m, bool is_k, double eps, double *normal,
                           double *out)
{
    struct rf_case *c = &r->c;
    uint32_t dim = r->s.head_dim, half = dim / 2;
    double squares = 0.0;
    for (uint32_t d = 0; d < dim; d++)
        squares += normal[d] * normal[d];
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

/* One head of a row as the qkv product leaves it: in one piece, or as partials. */
static void put_head(struct rope_case *r, size_t head_bytes, double *value)
{
    struct rf_case *c = &r->c;
    for (uint32_t d = 0; d < r->s.head_dim; d++) {
        size_t at = r->qkv + head_bytes + d * 4;
        value[d] = 0.0;
        if (r->s.splits > 1)
            continue;
        rf_case_put_number(c, at, RF_NUMBER_F32, rf_random_signed(&c->random) * 3.0);
        value[d] = rf_case_get_number(c, at, RF_NUMBER_F32);
    }
    if (r->s.splits > 1)
        put_partials(c, r->partials + head_bytes, r->split_bytes, r->s.splits, r->s.head_dim, 3.0, value);
}

/* Part 0: q in its place; part 1: K in its page; part 2: V in its page, converted only. */
static void expect_rope(struct rope_case *r, double eps)
{
    struct rf_case *c = &r->c;
    uint32_t dim = r->s.head_dim, heads = r->s.heads + 2 * r->s.kv_heads;
    double value[512], out[512];
    for (uint32_t m = 0; m < r->s.rows; m++)
        for (uint32_t head = 0; head < heads; head++) {
            const struct rf_row *row = &r->rows[m];
            size_t head_bytes = ((size_t)m * heads + head) * dim * 4;
            bool is_q = head < r->s.heads, is_v = head >= r->s.heads + r->s.kv_heads;
            uint32_t kv_head = (head - r->s.heads) % r->s.kv_heads;
            put_head(r, head_bytes, value);
            c->part = is_q ? 0 : is_v ? 2 : 1;
            if (!is_v)
                rope_reference(r, m, !is_q, eps, value, out);
            for (uint32_t d = 0; d < dim; d++) {
                if (is_q)
                    rf_case_expect(c, r->qkv + head_bytes + d * 4, RF_NUMBER_F32, out[d]);
                else
                    rf_case_expect(c, rf_kv_at(&r->kv, row->seq, r->kv.layer, kv_head, row->kv_row, d, is_v),
                                   r->s.act, is_v ? value[d] : out[d]);
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
    if (r->s.splits == 1)
        rf_alone_move(c, at, r->qkv, row_bytes);
    for (uint32_t z = 0; r->s.splits > 1 && z < r->s.splits; z++)
        rf_alone_move(c, r->partials + z * r->split_bytes + last * row_bytes,
                      r->partials + z * r->split_bytes, row_bytes);
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
    struct rf_kernel_id id = {.shader = s.act == RF_NUMBER_F16 ? "head_rope_act16" : "head_rope",
                              .spec_count = 1,
                              .specs = {s.splits}};
    struct rope_case r = {.s = s};
    struct rf_case *c = &r.c;
    uint32_t last[2] = {70 + s.rows, 10 + s.rows}, heads = s.heads + 2 * s.kv_heads;
    if (!rf_case_begin(suite->h, c, &id, "rows=%u heads=%u kv_heads=%u head_dim=%u splits=%u", s.rows,
                       s.heads, s.kv_heads, s.head_dim, s.splits))
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
    uint32_t ld = s.rows + s.rows % 4;
    r.split_bytes = (size_t)ld * heads * s.head_dim * 4;
    r.qkv = rf_case_alloc(c, "qkv", (size_t)s.rows * heads * s.head_dim * 4);
    if (s.splits > 1)
        r.partials = rf_case_alloc(c, "partials", s.splits * r.split_bytes);
    size_t counts = rf_put_counts(c, s.rows, UINT32_MAX);
    struct rf_push_head_rope push = {
        .counts = rf_case_address(c, counts),
        .rows = rf_case_address(c, rows),
        .seqs = rf_case_address(c, r.kv.seqs),
        .qkv = rf_case_address(c, r.qkv),
        .partials = rf_case_address(c, r.partials),
        .q_weight = rf_case_address(c, r.weights[0]),
        .k_weight = rf_case_address(c, r.weights[1]),
        .rope = rf_case_address(c, r.table),
        .heads = s.heads,
        .kv_heads = s.kv_heads,
        .head_dim = s.head_dim,
        .layer = r.kv.layer,
        .ld = ld,
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
        {0, 0, 8, 2, 64, 1}, {0, 0, 4, 4, 128, 3}, {0, 0, 8, 1, 128, 1},
        {0, 0, 2, 1, 40, 4}, {0, 0, 2, 2, 256, 8}, {0, 0, 16, 1, 64, 2},
    };
    static const uint32_t splits[] = {1, 3, 1, 8, 2}, locals[] = {64, 256, 0, 128, 0};
    uint32_t step = suite->thorough ? 1 : 3;
    for (uint32_t i = 0; i < ROW_COUNT; i += step) {
        for (uint32_t j = i % 2; j < 5; j += suite->thorough ? 2 : 3)
            run_rmsnorm(suite, (struct rmsnorm_shape){act, (i + j) % 3 == 1, all_rows[i], hiddens[j],
                                                      j == 2   ? 1e4
                                                      : j == 4 ? 1e-3
                                                               : 1.0,
                                                      hiddens[j] * all_rows[i] > 65536 ? splits[(i + j) % 3]
                                                                                       : splits[(i + j) % 5],
                                                      locals[(i + 2 * j) % 5]});
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
    run_int8_rmsnorm(suite, false, false, 1, 9, 256);
    run_int8_rmsnorm(suite, true, true, 2, 4, 96);
    if (!suite->thorough)
        return;
    run_int8_rmsnorm(suite, false, true, 1, 65, 768);
    run_int8_rmsnorm(suite, true, false, 8, 3, 4096);
}
