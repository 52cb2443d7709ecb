/* Sessions in each other's company, on the tiny model: the original program's tokens come out whoever else is
 * in the forward, wherever the pages lie, and after forks and further turns.
 *
 * usage: test_sessions [pattern of test names]. RF_PRECISION=f32|f16 picks the path, RF_TEST_STRIDE=n takes
 * every n-th golden run (slow drivers), RF_TEST_SEED=n repeats a shuffle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/decode/engine.h"
#include "tests/decode/golden.h"

enum { COMPANY = 6, PROBES = 4, MAX_ROUNDS = 64, RESULT_ROWS = 128 };

static uint64_t seed;

static uint32_t random_below(uint32_t bound)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % bound;
}

static size_t stride(void)
{
    const char *text = getenv("RF_TEST_STRIDE");
    return text ? (size_t)strtoul(text, NULL, 10) : 1;
}

static rf_session *begin_golden(const struct golden_case *c, bool reference, bool deterministic)
{
    struct rf_session_desc desc = {.settings = c->settings, .deterministic = deterministic};
    desc.settings.reference = reference;
    rf_session *session = NULL;
    require_ok(rf_session_create(&session, engine.model, &desc, err));
    require_ok(rf_session_begin(session, c->prompt.ids, c->prompt.count, err));
    return session;
}

/* On the fp16 path one token of one run hangs on less than the path's error: the original's margin there is
 * 0.0048, the logits' error 0.0052 to 0.0057 (tests/cli/test_rounding.c proves it from the f64 network).
 * Exactly that change is excused, and printed. */
static bool is_rounding(const struct golden_case *c, const uint32_t *tokens, size_t count,
                        const struct golden_tokens *want)
{
    size_t first = 0;
    while (first < count && first < want->count && tokens[first] == want->ids[first])
        first++;
    bool known = engine.model->fp16 && strcmp(c->file, "decode_wild.jsonl") == 0 && c->line == 4 &&
                 first == 13 && first < count && tokens[first] == 451 && want->ids[first] == 345;
    if (known)
        printf("%s:%u: rounding at position 13, excused\n", c->file, c->line);
    return known;
}

static void compare_golden(const rf_session *session, const struct golden_case *c, bool reference)
{
    const struct golden_tokens *want = reference ? &c->output : &c->shown;
    size_t count;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    uint64_t forwards = reference ? c->forwards : c->default_forwards;
    if (is_rounding(c, tokens, count, want))
        return;
    if (count != want->count || memcmp(tokens, want->ids, count * sizeof *tokens) != 0)
        fail_msg("%s:%u %s: tokens differ from the original's (%zu, wanted %zu)", c->file, c->line,
                 reference ? "reference" : "default", count, want->count);
    if ((forwards && stats.forwards != forwards) || (reference && stats.rows != c->rows))
        fail_msg("%s:%u %s: %llu forwards of %llu rows, wanted %llu of %llu", c->file, c->line,
                 reference ? "reference" : "default", (unsigned long long)stats.forwards,
                 (unsigned long long)stats.rows, (unsigned long long)forwards, (unsigned long long)c->rows);
}

/* Keeps COMPANY sessions going, one step for all, replacing those that finish; their phases drift apart. */
static void run_goldens(bool reference)
{
    const struct golden_case *cases;
    size_t count = golden_cases(&cases), next = 0, compared = 0;
    rf_session *running[COMPANY] = {0};
    const struct golden_case *of[COMPANY] = {0};
    for (bool any = true; any;) {
        rf_session *sessions[COMPANY];
        size_t n = 0;
        for (int i = 0; i < COMPANY; i++) {
            if (!running[i] && next < count) {
                of[i] = &cases[next];
                running[i] = begin_golden(of[i], reference, false);
                next += stride();
            }
            if (running[i])
                sessions[n++] = running[i];
        }
        any = n > 0;
        if (any)
            require_ok(rf_sessions_step(sessions, n, err));
        for (int i = 0; i < COMPANY; i++) {
            if (!running[i] || !rf_session_finished(running[i]))
                continue;
            compare_golden(running[i], of[i], reference);
            rf_session_destroy(running[i]);
            running[i] = NULL;
            compared++;
        }
    }
    printf("%zu of %zu golden runs compared\n", compared, count);
    assert_true(compared > 0);
}

static void goldens_in_company_default(void **state)
{
    (void)state;
    run_goldens(false);
}

static void goldens_in_company_reference(void **state)
{
    (void)state;
    run_goldens(true);
}

/* What a session computed, bit for bit: the row results that each round left. */
struct trace {
    struct rf_result results[MAX_ROUNDS][RESULT_ROWS];
    uint32_t rounds;
};

static void step_and_record(rf_session *session, struct trace *trace, rf_session *const *all, size_t count)
{
    require_ok(rf_sessions_step(all, count, err));
    if (trace->rounds == MAX_ROUNDS)
        return;
    require_ok(rf_gpu_read(engine.model->gpu, session->memory.results, trace->results[trace->rounds++],
                           sizeof trace->results[0], err));
}

static void deterministic_rows_do_not_know_their_company(void **state)
{
    (void)state;
    const struct golden_case *cases;
    size_t count = golden_cases(&cases);
    static struct trace alone, together;
    for (size_t probe = 0; probe < PROBES; probe++) {
        struct golden_case drawn = cases[(probe * 23 + 3) % count], *c = &drawn;
        drawn.settings.temperature = probe % 2 ? 1.5f : 0.0f;
        memset(&alone, 0, sizeof alone);
        memset(&together, 0, sizeof together);
        rf_session *session = begin_golden(c, false, true);
        while (!rf_session_finished(session))
            step_and_record(session, &alone, &session, 1);
        rf_session_destroy(session);
        rf_session *company[4];
        for (size_t i = 0; i < 4; i++)
            company[i] = begin_golden(&cases[(probe * 7 + i * 5) % count], false, i == 3);
        session = company[2];
        rf_session_destroy(session);
        company[2] = session = begin_golden(c, false, true);
        while (!rf_session_finished(session)) {
            step_and_record(session, &together, company, 4);
            for (size_t i = 0; i < 4; i++) { /* whoever is done begins something else */
                if (i == 2 || !rf_session_finished(company[i]))
                    continue;
                const struct golden_case *other = &cases[random_below((uint32_t)count)];
                rf_session_destroy(company[i]);
                company[i] = begin_golden(other, false, false);
            }
        }
        if (probe % 2 == 0)
            compare_golden(session, c, false);
        for (size_t i = 0; i < 4; i++)
            rf_session_destroy(company[i]);
        assert_int_equal(alone.rounds, together.rounds);
        assert_memory_equal(&alone, &together, sizeof alone);
    }
}

/* Runs to its end while others come and go. */
static void finish(rf_session *session)
{
    while (!rf_session_finished(session))
        require_ok(rf_session_step(session, NULL, NULL, err));
}

static void pages_are_pages(void **state)
{
    (void)state;
    const struct golden_case *cases;
    size_t count = golden_cases(&cases);
    require_ok(rf_kv_shuffle(engine.model->pool, 100, seed, err));
    rf_session *live[COMPANY] = {0};
    const struct golden_case *of[COMPANY];
    for (uint32_t act = 0; act < 150 / stride(); act++) {
        uint32_t i = random_below(COMPANY);
        if (!live[i]) {
            of[i] = &cases[random_below((uint32_t)count)];
            live[i] = begin_golden(of[i], false, false);
        } else if (random_below(8) == 0) { /* ended in the middle of a response */
            rf_session_destroy(live[i]);
            live[i] = NULL;
        } else {
            require_ok(rf_session_step(live[i], NULL, NULL, err));
            if (!rf_session_finished(live[i]))
                continue;
            compare_golden(live[i], of[i], false);
            rf_session *fork = NULL; /* shares the prompt's pages; parent and fork both write behind them */
            const struct rf_session_desc desc = {.settings = of[i]->settings};
            require_ok(rf_session_fork(&fork, live[i], &desc, err));
            require_ok(rf_session_begin(fork, of[i]->prompt.ids, of[i]->prompt.count, err));
            require_ok(rf_session_begin(live[i], of[i]->prompt.ids, of[i]->prompt.count, err));
            rf_session *pair[] = {fork, live[i]};
            while (!rf_session_finished(fork) || !rf_session_finished(live[i]))
                require_ok(rf_sessions_step(pair, 2, err));
            assert_int_equal(fork->stats.cached_tokens, of[i]->prompt.count);
            struct golden_case tokens_only = *of[i]; /* a cached prompt makes no rows */
            compare_golden(fork, &tokens_only, false);
            compare_golden(live[i], &tokens_only, false);
            rf_session_destroy(live[i]);
            live[i] = fork;
            rf_session_destroy(live[i]);
            live[i] = NULL;
        }
    }
    for (int i = 0; i < COMPANY; i++)
        rf_session_destroy(live[i]);
}

static void a_further_turn_reuses_the_common_prefix(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    const struct golden_case *first = &cases[0], *other = &cases[5];
    rf_session *session = begin_golden(first, false, false);
    finish(session);
    size_t shown, length = 0;
    const uint32_t *answer = rf_session_tokens(session, &shown);
    uint32_t conversation[1024];
    memcpy(conversation, first->prompt.ids, first->prompt.count * sizeof *conversation);
    length = first->prompt.count;
    memcpy(conversation + length, answer, shown * sizeof *conversation);
    length += shown;
    memcpy(conversation + length, other->prompt.ids, other->prompt.count * sizeof *conversation);
    length += other->prompt.count;
    require_ok(rf_session_begin(session, conversation, length, err));
    finish(session);
    assert_int_equal(session->stats.cached_tokens,
                     first->prompt.count); /* the answer's rows lie in commit order */
    rf_session *fresh = NULL;
    require_ok(
        rf_session_create(&fresh, engine.model, &(struct rf_session_desc){.settings = first->settings}, err));
    require_ok(rf_session_begin(fresh, conversation, length, err));
    finish(fresh);
    size_t fresh_shown;
    const uint32_t *want = rf_session_tokens(fresh, &fresh_shown);
    answer = rf_session_tokens(session, &shown);
    assert_int_equal(shown, fresh_shown);
    assert_memory_equal(answer, want, shown * sizeof *want);
    require_ok(
        rf_session_begin(session, conversation, length, err)); /* the same again: nothing left to prefill */
    assert_int_equal(session->stats.cached_tokens, length);
    finish(session);
    answer = rf_session_tokens(session, &shown);
    assert_int_equal(shown, fresh_shown);
    assert_memory_equal(answer, want, shown * sizeof *want);
    rf_session_destroy(fresh);
    rf_session_destroy(session);
}

/* More sessions than a forward has pieces: the step takes several submissions, and everyone gets what they
 * would get alone. */
static void more_sessions_than_a_forward_holds(void **state)
{
    (void)state;
    enum { MANY = RF_MAX_PIECES + 3 };
    const struct rf_session_desc desc = {.settings = {.max_tokens = 8, .slot_size = 4, .block = 8},
                                         .deterministic = true};
    rf_session *sessions[MANY + 1];
    uint32_t prompt[] = {667, 84, 82, 265, 198, 0};
    for (uint32_t i = 0; i <= MANY; i++) {
        prompt[5] = i % MANY; /* the one more repeats session 0, and runs alone */
        require_ok(rf_session_create(&sessions[i], engine.model, &desc, err));
        require_ok(rf_session_begin(sessions[i], prompt, 6, err));
    }
    bool going = true;
    while (going) {
        require_ok(rf_sessions_step(sessions, MANY, err));
        going = false;
        for (int i = 0; i < MANY; i++)
            going = going || !rf_session_finished(sessions[i]);
    }
    finish(sessions[MANY]);
    size_t together, alone;
    const uint32_t *tokens = rf_session_tokens(sessions[0], &together),
                   *want = rf_session_tokens(sessions[MANY], &alone);
    assert_int_equal(together, alone);
    assert_memory_equal(tokens, want, alone * sizeof *want);
    for (int i = 0; i <= MANY; i++)
        rf_session_destroy(sessions[i]);
}

static void a_cancelled_response_can_go_on(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    rf_session *session = begin_golden(&cases[20], false, false);
    struct rf_error err;
    int steps = 0;
    while (!rf_session_finished(session)) {
        rf_session_cancel(session);
        assert_int_equal(rf_session_step(session, NULL, NULL, &err), RF_ERROR_CANCELLED);
        assert_int_equal(rf_session_step(session, NULL, NULL, &err), RF_OK);
        steps++;
    }
    assert_true(steps > 0);
    compare_golden(session, &cases[20], false);
    rf_session_destroy(session);
}

/* Gumbel-max at a temperature: the same seed gives the same text, another one does not, and both differ from
 * greedy. */
static void a_seed_names_a_text(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    uint32_t tokens[4][512];
    size_t counts[4];
    const struct {
        float temperature;
        uint64_t seed;
    } runs[] = {{20.0f, 7}, {20.0f, 7}, {20.0f, 8}, {0.0f, 7}};
    for (int i = 0; i < 4; i++) {
        rf_session *session = NULL;
        struct rf_session_desc desc = {.settings = cases[1].settings, .deterministic = true};
        desc.settings.temperature = runs[i].temperature;
        desc.settings.seed = runs[i].seed;
        require_ok(rf_session_create(&session, engine.model, &desc, err));
        require_ok(rf_session_begin(session, cases[1].prompt.ids, cases[1].prompt.count, err));
        finish(session);
        const uint32_t *shown = rf_session_tokens(session, &counts[i]);
        memcpy(tokens[i], shown, counts[i] * sizeof *shown);
        rf_session_destroy(session);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(tokens[0], tokens[1], counts[0] * sizeof **tokens);
    assert_false(counts[0] == counts[2] && memcmp(tokens[0], tokens[2], counts[0] * sizeof **tokens) == 0);
    assert_false(counts[0] == counts[3] && memcmp(tokens[0], tokens[3], counts[0] * sizeof **tokens) == 0);
}

/* Sequential decoding of at most 24 tokens; returns how many were shown. */
static size_t draw_sequentially(uint32_t top_k, float top_p, float temperature, uint64_t draw_seed,
                                uint32_t *tokens)
{
    const struct golden_case *cases;
    golden_cases(&cases);
    rf_session *session = NULL;
    const struct rf_session_desc desc = {.settings = {.decode = RF_DECODE_AR,
                                                      .max_tokens = 24,
                                                      .top_k = top_k,
                                                      .top_p = top_p,
                                                      .temperature = temperature,
                                                      .seed = draw_seed}};
    require_ok(rf_session_create(&session, engine.model, &desc, err));
    require_ok(rf_session_begin(session, cases[0].prompt.ids, cases[0].prompt.count, err));
    finish(session);
    size_t count;
    const uint32_t *shown = rf_session_tokens(session, &count);
    memcpy(tokens, shown, count * sizeof *tokens);
    rf_session_destroy(session);
    return count;
}

/* Cut to one candidate, any temperature is greedy; with many, the seed names the text. */
static void top_k_and_top_p_cut_the_distribution(void **state)
{
    (void)state;
    uint32_t greedy[24], tokens[24], again[24];
    size_t count = draw_sequentially(0, 0.0f, 0.0f, 0, greedy);
    assert_int_equal(draw_sequentially(1, 0.0f, 20.0f, 7, tokens), count);
    assert_memory_equal(tokens, greedy, count * sizeof *greedy);
    assert_int_equal(draw_sequentially(0, 1e-6f, 20.0f, 7, tokens), count);
    assert_memory_equal(tokens, greedy, count * sizeof *greedy);
    size_t drawn = draw_sequentially(50, 0.9f, 20.0f, 7, tokens);
    assert_false(drawn == count && memcmp(tokens, greedy, count * sizeof *greedy) == 0);
    assert_int_equal(draw_sequentially(50, 0.9f, 20.0f, 7, again), drawn);
    assert_memory_equal(again, tokens, drawn * sizeof *tokens);
    size_t other = draw_sequentially(50, 0.9f, 20.0f, 8, again);
    assert_false(other == drawn && memcmp(again, tokens, drawn * sizeof *tokens) == 0);
}

/* ---- Planted faults (linker option --wrap) ---------------------------------------------------------- */

static struct {
    uint32_t most_rows; /* of one forward; 0: what fits */
    bool no_logits;     /* no room for a forward with logits */
    bool no_read;       /* the next read from the device fails */
} planted;

enum rf_status __real_rf_forward_get(struct rf_forward *forward, uint32_t rows, uint32_t flags, uint32_t pass,
                                     struct rf_forward_cmds *cmds, struct rf_error *err);
enum rf_status __wrap_rf_forward_get(struct rf_forward *forward, uint32_t rows, uint32_t flags, uint32_t pass,
                                     struct rf_forward_cmds *cmds, struct rf_error *err);
enum rf_status __wrap_rf_forward_get(struct rf_forward *forward, uint32_t rows, uint32_t flags, uint32_t pass,
                                     struct rf_forward_cmds *cmds, struct rf_error *err)
{
    if (planted.no_logits && (flags & RF_FORWARD_LOGITS))
        return rf_fail(err, RF_ERROR_DEVICE_MEMORY, "planted: no room for logits");
    return __real_rf_forward_get(forward, rows, flags, pass, cmds, err);
}

uint32_t __real_rf_forward_max_rows(const struct rf_forward *forward, uint32_t max_keys);
uint32_t __wrap_rf_forward_max_rows(const struct rf_forward *forward, uint32_t max_keys);
uint32_t __wrap_rf_forward_max_rows(const struct rf_forward *forward, uint32_t max_keys)
{
    return planted.most_rows ? planted.most_rows : __real_rf_forward_max_rows(forward, max_keys);
}

enum rf_status __real_rf_gpu_read(struct rf_gpu *gpu, struct rf_span src, void *data, uint64_t size,
                                  struct rf_error *err);
enum rf_status __wrap_rf_gpu_read(struct rf_gpu *gpu, struct rf_span src, void *data, uint64_t size,
                                  struct rf_error *err);
enum rf_status __wrap_rf_gpu_read(struct rf_gpu *gpu, struct rf_span src, void *data, uint64_t size,
                                  struct rf_error *err)
{
    if (planted.no_read) {
        planted.no_read = false;
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "planted: no read");
    }
    return __real_rf_gpu_read(gpu, src, data, size, err);
}

/* Where a pass is cut into submissions is up to the company, a COMPLETE turn between its halves included:
 * what is drawn does not depend on it. */
static void a_cut_pass_draws_the_same(void **state)
{
    (void)state;
    /* Thresholds: every slot is chosen, and its draft needs COMPLETE. Several blocks: what one draws shows in
     * the next. Temperature: at 1.5 the tiny model draws what is likeliest anyway. */
    const struct rf_session_desc desc = {.settings = {.max_tokens = 24,
                                                      .slot_size = 4,
                                                      .block = 8,
                                                      .token_threshold = 1.0f,
                                                      .has_slot_threshold = true,
                                                      .has_token_threshold = true,
                                                      .temperature = 20.0f,
                                                      .seed = 5},
                                         .deterministic = true};
    const uint32_t prompt[] = {667, 84, 82, 265, 198, 0};
    static struct trace whole, cut;
    for (int run = 0; run < 2; run++) {
        struct trace *trace = run ? &cut : &whole;
        rf_session *session = NULL;
        planted.most_rows = run ? 5 : 0;
        memset(trace, 0, sizeof *trace);
        require_ok(rf_session_create(&session, engine.model, &desc, err));
        require_ok(rf_session_begin(session, prompt, 6, err));
        while (!rf_session_finished(session))
            step_and_record(session, trace, &session, 1);
        assert_true(session->stats.turns > 1);
        rf_session_destroy(session);
    }
    planted.most_rows = 0;
    assert_true(whole.rounds > 1);
    assert_int_equal(whole.rounds, cut.rounds);
    assert_memory_equal(&whole, &cut, sizeof whole);
}

/* Sequential decoding by top-p, begun. */
static rf_session *begin_sampler(const struct golden_case *c)
{
    rf_session *session = NULL;
    const struct rf_session_desc desc = {
        .settings = {
            .decode = RF_DECODE_AR, .max_tokens = 6, .top_p = 0.9f, .temperature = 20.0f, .seed = 7}};
    require_ok(rf_session_create(&session, engine.model, &desc, err));
    require_ok(rf_session_begin(session, c->prompt.ids, c->prompt.count, err));
    return session;
}

static void assert_same_tokens(const rf_session *a, const rf_session *b)
{
    size_t count, wanted;
    const uint32_t *tokens = rf_session_tokens(a, &count), *want = rf_session_tokens(b, &wanted);
    assert_int_equal(count, wanted);
    assert_memory_equal(tokens, want, wanted * sizeof *want);
}

/* What one session alone wants and does not get is its own failure. */
static void a_session_without_room_holds_up_nobody(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    struct rf_error failure;
    rf_session *sampler = begin_sampler(&cases[0]), *want = begin_sampler(&cases[0]);
    rf_session *all[] = {sampler, begin_golden(&cases[20], false, false),
                         begin_golden(&cases[1], false, false)};
    planted.no_logits = true;
    for (int steps = 0; !rf_session_finished(all[1]) || !rf_session_finished(all[2]); steps++) {
        assert_true(steps < MAX_ROUNDS);
        assert_int_equal(rf_sessions_step(all, 3, &failure), RF_ERROR_DEVICE_MEMORY);
        assert_string_equal(failure.message, "planted: no room for logits");
        assert_int_equal(rf_sessions_step(all, 1, NULL), RF_ERROR_DEVICE_MEMORY);
    }
    planted.no_logits = false;
    compare_golden(all[1], &cases[20], false);
    compare_golden(all[2], &cases[1], false);
    finish(sampler);
    finish(want);
    assert_same_tokens(sampler, want);
    rf_session_destroy(want);
    for (int i = 0; i < 3; i++)
        rf_session_destroy(all[i]);
}

/* The logits lie in one place for all: after a failed read the next session's are there. */
static void logits_that_were_not_read_are_computed_again(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    struct rf_error failure;
    rf_session *pair[] = {begin_sampler(&cases[0]), begin_sampler(&cases[20])},
               *want[] = {begin_sampler(&cases[0]), begin_sampler(&cases[20])};
    bool going = true;
    while (going) {
        planted.no_read = true;
        assert_int_equal(rf_sessions_step(pair, 2, &failure), RF_ERROR_HOST_MEMORY);
        assert_string_equal(failure.message, "planted: no read");
        require_ok(rf_sessions_step(pair, 1, err));
        going = !rf_session_finished(pair[0]);
    }
    for (int i = 0; i < 2; i++) {
        finish(pair[i]);
        finish(want[i]);
        assert_same_tokens(pair[i], want[i]);
        rf_session_destroy(pair[i]);
        rf_session_destroy(want[i]);
    }
}

/* ---- Refusals --------------------------------------------------------------------------------------- */

static void assert_shows_nothing(const rf_session *session)
{
    size_t count = 1, length = 1;
    rf_session_tokens(session, &count);
    assert_int_equal(count, 0);
    assert_string_equal(rf_session_text(session, &length), "");
    assert_int_equal(length, 0);
    rf_session_events(session, &count);
    assert_int_equal(count, 0);
    assert_true(rf_session_finished(session));
    assert_string_equal(rf_session_finish_reason(session), "");
}

/* A begin that fails leaves no response: not a half-begun one, and not the one before. */
static void a_failed_begin_shows_nothing(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    const struct golden_case *c = &cases[0];
    const uint32_t beyond = engine.model->config.vocab;
    struct rf_error failure;
    for (int reference = 0; reference < 2; reference++) {
        rf_session *session = NULL;
        struct rf_session_desc desc = {.settings = c->settings};
        desc.settings.reference = reference;
        desc.settings.max_tokens = engine.model->context_length + desc.settings.block;
        require_ok(rf_session_create(&session, engine.model, &desc, err));
        assert_int_equal(rf_session_begin(session, c->prompt.ids, c->prompt.count, &failure),
                         RF_ERROR_CONTEXT_FULL);
        assert_shows_nothing(session);
        rf_session_destroy(session);
        session = begin_golden(c, reference, false);
        finish(session);
        assert_int_equal(rf_session_begin(session, &beyond, 1, &failure), RF_ERROR_ARGUMENT);
        assert_shows_nothing(session);
        require_ok(rf_session_begin(session, c->prompt.ids, c->prompt.count, err));
        finish(session);
        struct golden_case tokens_only = *c; /* a cached prompt makes no rows */
        tokens_only.forwards = 0;
        tokens_only.rows = session->stats.rows;
        compare_golden(session, &tokens_only, reference);
        rf_session_destroy(session);
    }
}

static void assert_refused(enum rf_status status, const struct rf_error *err, const char *part)
{
    assert_int_equal(status, RF_ERROR_ARGUMENT);
    if (!strstr(err->message, part))
        fail_msg("message \"%s\" does not contain \"%s\"", err->message, part);
}

static void missing_arguments_are_refused(void **state)
{
    (void)state;
    const struct golden_case *cases;
    golden_cases(&cases);
    struct rf_error err;
    rf_session *session = begin_golden(&cases[0], false, false), *out = session;
    rf_session *twice[] = {session, session};
    assert_refused(rf_sessions_step(twice, 2, &err), &err, "sessions 0 and 1 are the same one");
    assert_refused(rf_sessions_step(NULL, 1, &err), &err, "sessions are needed");
    assert_refused(rf_session_step(NULL, NULL, NULL, &err), &err, "a session is needed");
    assert_refused(rf_session_fork(&out, NULL, NULL, &err), &err, "rf_session_fork: out and session");
    assert_refused(rf_session_fork(NULL, session, NULL, &err), &err, "rf_session_fork: out and session");
    assert_refused(rf_session_fork(&out, session, NULL, &err), &err, "in the middle of a response");
    assert_null(out);
    const struct rf_message message = {"user", "hello"};
    assert_refused(rf_session_begin_chat(NULL, &message, 1, true, &err), &err, "rf_session_begin_chat");
    assert_refused(rf_session_begin_chat(session, NULL, 1, true, &err), &err, "rf_session_begin_chat");
    const struct rf_session_desc no_stops = {.stop_count = 2};
    assert_refused(rf_session_create(&out, engine.model, &no_stops, &err), &err, "stops is NULL");
    assert_null(out);
    assert_refused(rf_context_create(NULL, NULL, &err), &err, "rf_context_create: out is needed");
    finish(session);
    assert_non_null(rf_session_events(session, NULL));
    compare_golden(session, &cases[0], false); /* none of it has disturbed the response */
    rf_session_destroy(session);
}

static int set_up(void **state)
{
    const char *text = getenv("RF_TEST_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("RF_TEST_SEED=%llu\n", (unsigned long long)seed);
    return engine_set_up(state);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens_in_company_default),
        cmocka_unit_test(goldens_in_company_reference),
        cmocka_unit_test(deterministic_rows_do_not_know_their_company),
        cmocka_unit_test(pages_are_pages),
        cmocka_unit_test(a_further_turn_reuses_the_common_prefix),
        cmocka_unit_test(more_sessions_than_a_forward_holds),
        cmocka_unit_test(a_cancelled_response_can_go_on),
        cmocka_unit_test(a_seed_names_a_text),
        cmocka_unit_test(top_k_and_top_p_cut_the_distribution),
        cmocka_unit_test(a_cut_pass_draws_the_same),
        cmocka_unit_test(a_session_without_room_holds_up_nobody),
        cmocka_unit_test(logits_that_were_not_read_are_computed_again),
        cmocka_unit_test(a_failed_begin_shows_nothing),
        cmocka_unit_test(missing_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, engine_tear_down);
}
