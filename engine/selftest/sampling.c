/* Gumbel draws of the lm_head kernels on a vocabulary of 17 tokens: chi-square tests of the drawn tokens
 * against softmax(logits / T), and of pairs of draws (neighbouring rows, successive forwards, other seeds)
 * against independence.
 *
 * Seeds and logits are fixed and logits are exact in every format, so the draws are always the same and
 * cannot fail by chance; every kernel must draw the same tokens, because a row's noise hangs on (seed,
 * position, draw, token) alone. */
#include "engine/allocate.h"
#include "engine/selftest/product.h"


enum { VOCABULARY = 17, ROWS = 500, FEW_ROWS = 8, DRAWS = 16, SEEDS = 3, FIRST = RF_LOGIT_TILE };

struct draws {
    uint32_t count; /* forwards with each seed of which the tokens are known, for all rows */
    uint8_t token[SEEDS][DRAWS][ROWS];
};

struct sampling_case {
    struct rf_case c;
    struct rf_product p;
    double inverse_temperature;
    uint32_t draws; /* forwards with each seed */
    size_t seq, partials;
    struct draws *reference;
    struct draws have;
};

/* Upper 3e-5 point of the chi-square distribution (Wilson and Hilferty). */
static double chi_square_limit(double freedom)
{
    double base = 1.0 - 2.0 / (9.0 * freedom) + 4.0 * sqrt(2.0 / (9.0 * freedom));
    return freedom * base * base * base;
}

/* Chi-square over its limit. Cells in which fewer than 5 are expected are put together. */
static double chi_square(const uint32_t *seen, const double *expected, uint32_t cells)
{
    double sum = 0.0, rare_seen = 0.0, rare_expected = 0.0, freedom = -1.0;
    for (uint32_t i = 0; i < cells; i++) {
        if (expected[i] < 5.0) {
            rare_seen += seen[i];
            rare_expected += expected[i];
            continue;
        }
        sum += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i];
        freedom += 1.0;
    }
    if (rare_expected > 0.0) {
        sum += (rare_seen - rare_expected) * (rare_seen - rare_expected) / fmax(rare_expected, 1.0);
        freedom += 1.0;
    }
    return sum / chi_square_limit(fmax(freedom, 1.0));
}

static void probabilities(const struct sampling_case *s, double *p)
{
    double sum = 0.0;
    for (uint32_t n = 0; n < VOCABULARY; n++)
        sum += p[n] = exp((s->p.y[n]) * s->inverse_temperature);
    for (uint32_t n = 0; n < VOCABULARY; n++)
        p[n] /= sum;
}

/* Pairs (a, b) of draws that must be independent: b lies `step_*` further. */
static double pair_test(const struct sampling_case *s, const double *p, uint32_t step_seed,
                        uint32_t step_draw, uint32_t step_row)
{
    uint32_t seen[VOCABULARY * VOCABULARY] = {0};
    double expected[VOCABULARY * VOCABULARY], count = 0.0;
    for (uint32_t seed = 0; seed + step_seed < SEEDS; seed += 1 + step_seed)
        for (uint32_t d = 0; d + step_draw < s->draws; d += 1 + step_draw)
            for (uint32_t m = 0; m + step_row < s->p.rows; m += 1 + step_row) {
                uint32_t a = s->have.token[seed][d][m];
                uint32_t b = s->have.token[seed + step_seed][d + step_draw][m + step_row];
                seen[a * VOCABULARY + b]++;
                count += 1.0;
            }
    for (uint32_t i = 0; i < VOCABULARY * VOCABULARY; i++)
        expected[i] = count * p[i / VOCABULARY] * p[i % VOCABULARY];
    return chi_square(seen, expected, VOCABULARY * VOCABULARY);
}

static double single_test(const struct sampling_case *s, const double *p)
{
    uint32_t seen[VOCABULARY] = {0};
    double expected[VOCABULARY], count = (double)SEEDS * s->draws * s->p.rows;
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        for (uint32_t d = 0; d < s->draws; d++)
            for (uint32_t m = 0; m < s->p.rows; m++)
                seen[s->have.token[seed][d][m]]++;
    for (uint32_t i = 0; i < VOCABULARY; i++)
        expected[i] = count * p[i];
    return chi_square(seen, expected, VOCABULARY);
}

/* One forward: fresh noise by seed and draw. False when its partials contradict themselves or the reference's
 * draws. */
static bool draw_once(struct sampling_case *s, uint32_t seed, uint32_t draw, const char **reason)
{
    struct rf_case *c = &s->c;
    const uint32_t seeds[SEEDS][2] = {{42, 0}, {43, 0}, {42, 1}};
    double max = (double)-INFINITY, sum = 0.0;
    for (uint32_t n = 0; n < VOCABULARY; n++)
        max = fmax(max, s->p.y[n]);
    for (uint32_t n = 0; n < VOCABULARY; n++)
        sum += exp(s->p.y[n] - max);
    rf_case_put(c, s->seq + offsetof(struct rf_seq, seed_low), &seeds[seed][0], 4);
    rf_case_put(c, s->seq + offsetof(struct rf_seq, seed_high), &seeds[seed][1], 4);
    rf_case_put(c, s->seq + offsetof(struct rf_seq, draw), &draw, 4);
    if (!rf_case_execute(c))
        return false;
    for (uint32_t m = 0; m < s->p.rows; m++) {
        struct rf_partial partial;
        size_t at = s->partials + ((size_t)(FIRST / RF_LOGIT_TILE) * s->p.ldy + m) * sizeof partial;
        memcpy(&partial, c->h->got[0] + at, sizeof partial);
        uint32_t token = partial.best - FIRST;
        *reason = "a drawn token is outside the vocabulary";
        if (token >= VOCABULARY)
            return false;
        *reason = "max, sum or logit of a drawn token are not those of the un-tempered logits";
        if ((double)partial.max != max || fabs((double)partial.sum - sum) > 1e-5 * sum ||
            (double)partial.best_logit != s->p.y[token])
            return false;
        s->have.token[seed][draw][m] = (uint8_t)token;
        *reason = "another kernel draws another token with the same seed";
        if (draw < s->reference->count && s->reference->token[seed][draw][m] != token)
            return false;
    }
    *reason = NULL;
    return true;
}

static void judge(struct sampling_case *s)
{
    const char *reason = NULL;
    double p[VOCABULARY], error;
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        for (uint32_t draw = 0; draw < s->draws; draw++)
            if (!draw_once(s, seed, draw, &reason)) {
                if (reason)
                    rf_case_report(&s->c, (double)INFINITY, reason);
                return;
            }
    probabilities(s, p);
    error = single_test(s, p);
    reason = "the drawn tokens do not follow softmax(logits / T)";
    const uint32_t steps[4][3] = {{0, 0, 1}, {0, 1, 0}, {1, 0, 0}, {2, 0, 0}};
    for (uint32_t i = 0; i < 4; i++) {
        double pairs = pair_test(s, p, steps[i][0], steps[i][1], steps[i][2]);
        if (pairs > error) {
            error = pairs;
            reason = "neighbouring draws are not independent";
        }
    }
    if (s->reference->count == 0 && s->p.rows == ROWS && error <= s->c.tolerance) {
        *s->reference = s->have;
        s->reference->count = s->draws;
    }
    rf_case_report(&s->c, error, reason);
}

static void place_sampling(struct sampling_case *s, struct rf_push_matmul *push)
{
    struct rf_case *c = &s->c;
    struct rf_row rows[ROWS];
    uint32_t outputs[ROWS];
    struct rf_seq seq = {.inverse_temperature = (float)s->inverse_temperature};
    for (uint32_t m = 0; m < s->p.rows; m++) {
        rows[m] = (struct rf_row){.position = 100 + m, .want = RF_NONE, .flags = RF_ROW_SAMPLE};
        outputs[m] = m;
    }
    size_t rows_at = rf_place_rows(c, rows, s->p.rows);
    rf_declare_field(c, rows_at, s->p.rows, rf_row, position);
    rf_declare_field(c, rows_at, s->p.rows, rf_row, want);
    rf_declare_field(c, rows_at, s->p.rows, rf_row, flags);
    rf_declare_field(c, rows_at, s->p.rows, rf_row, seq);
    size_t outputs_at = rf_case_alloc(c, "outputs", sizeof outputs);
    rf_case_put(c, outputs_at, outputs, s->p.rows * sizeof outputs[0]);
    s->seq = rf_case_alloc(c, "seqs", sizeof seq);
    memcpy(rf_case_at(c, s->seq), &seq, sizeof seq);
    rf_declare_field(c, s->seq, 1, rf_seq, inverse_temperature);
    s->partials = rf_case_alloc(c, "partials",
                                (FIRST / RF_LOGIT_TILE + 1) * (size_t)s->p.ldy * sizeof(struct rf_partial));
    for (uint32_t m = 0; m < s->p.rows; m++) {
        size_t at = s->partials + (FIRST / RF_LOGIT_TILE * (size_t)s->p.ldy + m) * sizeof(struct rf_partial);
        rf_case_mark(c, at, offsetof(struct rf_partial, want_logit), RF_MARK_WRITE);
        rf_case_mark(c, at + offsetof(struct rf_partial, want_logit), 4, RF_MARK_ANY);
    }
    *push = rf_product_push(c, &s->p, rf_put_counts(c, UINT32_MAX, s->p.rows));
    push->y = rf_case_address(c, s->partials);
    push->rows = rf_case_address(c, rows_at);
    push->outputs = rf_case_address(c, outputs_at);
    push->seqs = rf_case_address(c, s->seq);
}

static void run_sampling(struct rf_suite *suite, struct rf_product p, double inverse_temperature,
                         struct draws *reference)
{
    struct sampling_case *s = rf_calloc(1, sizeof *s);
    if (!s) {
        suite->h->status =
            rf_fail(suite->h->err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for sampling");
        return;
    }
    p.epilogue = RF_EPILOGUE_REDUCE;
    bool few = p.kind == RF_PRODUCT_FEW;
    rf_product_set_kind(suite, &p, p.kind);
    p.rows = p.ldx = p.ldy = few ? FEW_ROWS : ROWS;
    p.columns = VOCABULARY;
    p.column_first = FIRST;
    p.k = 8;
    p.data = RF_DATA_SAME;
    s->p = p;
    s->inverse_temperature = inverse_temperature;
    s->reference = reference;
    s->draws = suite->thorough || few ? DRAWS : 4;
    struct rf_kernel_id id = rf_product_kernel(suite, &p);
    struct rf_push_matmul push;
    if (rf_case_begin(suite->h, &s->c, &id, "draws=%u vocabulary=%u 1/T=%g (chi-square / limit)",
                      SEEDS * s->draws * p.rows, VOCABULARY, inverse_temperature)) {
        s->c.random.state = 5; /* the same logits for every kernel and every run */
        if (rf_product_place(&s->c, &s->p)) {
            place_sampling(s, &push);
            rf_case_set_push(&s->c, &push, sizeof push);
            rf_product_set_groups(&s->c, &s->p);
            s->c.tolerance = 1.0;
            judge(s);
        }
    }
    rf_product_free(&s->p);
    rf_free(s);
}

static void run_sampling_kinds(struct rf_suite *suite, struct rf_product p, double inverse_temperature,
                               struct draws *reference)
{
    for (int kind = 0; kind < RF_PRODUCT_KINDS; kind++) {
        p.kind = (enum rf_product_kind)kind;
        if (rf_product_runs(suite, p.kind, p.act))
            run_sampling(suite, p, inverse_temperature, reference);
    }
}

void rf_selftest_sampling(struct rf_suite *suite)
{
    static const double inverse[] = {1.0, 0.5, 2.0};
    for (uint32_t t = 0; t < (suite->thorough ? 3u : 1u); t++) {
        struct draws *reference = rf_calloc(1, sizeof *reference);
        for (int act = RF_NUMBER_F32; reference && act <= (suite->fp16 ? RF_NUMBER_F16 : RF_NUMBER_F32);
             act++)
            for (int weights = RF_WEIGHT_BF16; weights <= (suite->thorough ? RF_WEIGHT_F32 : RF_WEIGHT_BF16);
                 weights++)
                run_sampling_kinds(suite,
                                   (struct rf_product){.act = (enum rf_number)act,
                                                       .weights = (enum rf_weight_format)weights},
                                   inverse[t], reference);
        rf_free(reference);
    }
}
