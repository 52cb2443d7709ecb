/* The shipped slot shaders, kv_commit and session code against the second implementation of the rules, on
 * scripted networks: rf_gpu_submit is intercepted (linker option --wrap), and wherever a forward's command
 * buffer would run, its rows are compared with those that the second implementation forwarded and the
 * scripted results are written in its place.
 *
 * Several cases run side by side in one step, as sessions do. KV rows are played too: a "forward" signs the
 * row that each token writes, so that at the end the committed rows must carry the committed tokens, in
 * commit order.
 *
 * usage: test_slots [cases] [first seed]; RF_PRECISION=f16 for the other KV element size. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/forward_internal.h"
#include "tests/decode/engine.h"
#include "tests/decode/scripted.h"

enum { COMPANY = 8, MAX_RESULTS = 512, MAX_COMMITS = 512 };

/* One case and the session that plays it. */
struct player {
    struct ref_case script;
    struct ref_outcome expected;
    rf_session *session;
    size_t commit_count;
    struct rf_result results[MAX_RESULTS];
};

static struct player players[COMPANY];
static uint64_t branches[REF_BRANCH_COUNT];
static unsigned long case_count = 10000, first_seed;
static uint64_t compared_forwards, compared_rows, played_cases;

enum rf_status __real_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *err);
enum rf_status __wrap_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *err);

static void fail_case(const struct player *p, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
static void fail_case(const struct player *p, const char *format, ...)
{
    char text[512], what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    fail_msg("%s: %s", ref_case_describe(&p->script, text, sizeof text), what);
    abort();
}

/* ---- Played forwards -------------------------------------------------------------------------------- */

static struct player *player_of(uint32_t seq)
{
    for (int i = 0; i < COMPANY; i++)
        if (players[i].session && players[i].session->seq == seq)
            return &players[i];
    fail_msg("a forward holds rows of sequence %u, which nobody plays", seq);
    return NULL;
}

/* Writes a mark at the first and last quad of K and V of a virtual row, in the first and last layer and every
 * head. */
static void each_mark(const struct player *p, uint32_t virtual_row, uint32_t *mark, bool write)
{
    const struct rf_model_config *c = &engine.model->config;
    struct rf_span page = rf_kv_span(p->session->pages[virtual_row / RF_PAGE_ROWS]);
    uint32_t row = virtual_row % RF_PAGE_ROWS, quads = c->head_dim / 4,
             quad_bytes = engine.model->fp16 ? 8 : 16;
    for (uint32_t layer = 0; layer < c->layers; layer += c->layers - 1) {
        for (uint32_t head = 0; head < c->kv_heads; head++) {
            uint64_t k = (uint64_t)(layer * c->kv_heads + head) * 2 * quads * RF_PAGE_ROWS,
                     v = k + quads * RF_PAGE_ROWS;
            const uint64_t places[] = {k + row, k + (quads - 1) * RF_PAGE_ROWS + row, v + row * quads,
                                       v + row * quads + quads - 1};
            for (int i = 0; i < 4; i++) {
                struct rf_span part = rf_span_part(page, places[i] * quad_bytes, 4);
                uint32_t found;
                if (write)
                    require_ok(rf_gpu_write(engine.model->gpu, part, mark, 4, err));
                else
                    require_ok(rf_gpu_read(engine.model->gpu, part, &found, 4, err));
                if (!write && found != *mark)
                    fail_case(p, "KV row %u, layer %u, head %u, place %d: mark %x, wanted %x", virtual_row,
                              layer, head, i, found, *mark);
            }
        }
    }
}

static uint32_t mark_of(uint32_t token, uint32_t position)
{
    return token << 16 | position;
}

static void compare_row(const struct player *p, const struct rf_row *row, size_t forward, size_t index)
{
    const struct ref_outcome *e = &p->expected;
    if (forward >= e->forward_count)
        fail_case(p, "forward %zu, but only %zu are due", forward, e->forward_count);
    if (index >= e->forwards[forward].row_count)
        fail_case(p, "forward %zu has row %zu, but only %zu are due", forward, index,
                  e->forwards[forward].row_count);
    const struct ref_row *want = &e->rows_forwarded[e->forwards[forward].first_row + index];
    bool result = row->result != RF_NONE, plan = e->forwards[forward].kind == REF_FORWARD_PLAN;
    /* The rules count the prompt into the first PLAN's segment; here its rows count as committed. It is the
     * same to see. */
    uint32_t place = row->kv_row - row->seg_first;
    bool sees = plan ? row->ctx_rows + place == want->committed + want->index
                     : row->ctx_rows == want->committed && place == want->index;
    /* A token behind an agreed one agrees by force, so the engine does not ask for it. Results that it did
     * not ask for are NaN here, and so change what comes out if it reads them. */
    bool spared = e->forwards[forward].kind == REF_FORWARD_COMPLETE_VERIFY && !result;
    bool asks = spared || (result == want->wants_result &&
                           (!result || !want->has_want || row->want == want->want_token));
    if (row->token != want->token || row->position != want->position || !sees || !asks)
        fail_case(p,
                  "forward %zu row %zu: token %u position %u sees %u place %u result %d want %u; wanted %u "
                  "%u %u %u %d %u",
                  forward, index, row->token, row->position, row->ctx_rows, place, result, row->want,
                  want->token, want->position, want->committed, want->index, want->wants_result,
                  want->want_token);
    compared_rows++;
}

static void play_row(struct player *p, const struct rf_row *row, size_t forward, size_t index)
{
    compare_row(p, row, forward, index);
    uint32_t mark = mark_of(row->token, row->position);
    each_mark(p, row->kv_row, &mark, true);
    if (row->result == RF_NONE)
        return;
    if (row->result >= MAX_RESULTS)
        fail_case(p, "result index %u", row->result);
    struct ref_result r = ref_case_result(&p->script, forward, index);
    p->results[row->result] = (struct rf_result){
        .token = r.argmax,
        .p = ref_probability(r.max_logit, r.max_logit, r.sum_exp),
        .want_p = row->want == RF_NONE ? 0.0f : ref_probability(r.want_logit, r.max_logit, r.sum_exp),
        .max = r.max_logit,
        .sum = r.sum_exp};
}

static void forget_results(struct player *p)
{
    for (int i = 0; i < MAX_RESULTS; i++)
        p->results[i] = (struct rf_result){RF_NONE, NAN, NAN, NAN, NAN};
}

/* Stands in for pass `pass` of a submission: the rows are already gathered. */
static void play_forward(uint32_t pass)
{
    const struct forward_spans *s = &engine.model->forward->spans;
    struct rf_counts counts;
    static struct rf_row rows[RF_MAX_ROWS];
    size_t places[COMPANY] = {0};
    require_ok(rf_gpu_read(engine.model->gpu, s->counts, &counts, sizeof counts, err));
    assert_in_range(counts.rows, 1, RF_MAX_ROWS);
    require_ok(rf_gpu_read(engine.model->gpu, s->rows, rows, counts.rows * sizeof *rows, err));
    for (uint32_t i = 0; i < counts.rows; i++) {
        struct player *p = player_of(rows[i].seq);
        size_t before = pass == 0 ? p->session->pass_row : 0; /* a long pass comes in several forwards */
        if (before + places[p - players] == 0)
            forget_results(p);
        play_row(p, &rows[i], p->session->stats.forwards + pass, before + places[p - players]++);
    }
    for (int i = 0; i < COMPANY; i++)
        if (places[i])
            require_ok(rf_gpu_write(engine.model->gpu, players[i].session->memory.results, players[i].results,
                                    sizeof players[i].results, err));
    compared_forwards++;
}

/* These tests' devices have no limit on a submission's time: a forward is one part. */
static bool is_forward(const struct rf_cmd *cmd)
{
    for (int b = 0; b < FORWARD_BUCKETS; b++)
        for (int v = 0; v < RF_FORWARD_VARIANTS; v++)
            if (engine.model->forward->recordings[RF_MARK_NOTHING].variants[b][v].parts &&
                engine.model->forward->recordings[RF_MARK_NOTHING].variants[b][v].parts[0] == cmd)
                return true;
    return false;
}

enum rf_status __wrap_rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                    uint64_t *ticket, struct rf_error *err)
{
    size_t first = 0;
    uint32_t pass = 0;
    enum rf_status status = RF_OK;
    for (size_t i = 0; !status && i < count; i++) {
        if (!is_forward(cmds[i]))
            continue;
        status = __real_rf_gpu_submit(gpu, cmds + first, i - first, ticket, err);
        if (!status)
            status = rf_gpu_wait(gpu, *ticket, err);
        play_forward(pass++);
        first = i + 1;
    }
    return status || first == count ? status
                                    : __real_rf_gpu_submit(gpu, cmds + first, count - first, ticket, err);
}

/* ---- Cases ------------------------------------------------------------------------------------------ */

/* The engine takes mask and eos ids from the model's files; here the case brings them. */
static enum rf_status create_session(struct player *p, struct rf_error *err)
{
    const struct ref_settings *set = &p->script.settings;
    rf_model *model = engine.model;
    model->mask_token = set->mask_id;
    model->eos_count = (uint32_t)set->eos_count;
    memcpy(model->eos_tokens, set->eos, set->eos_count * sizeof *set->eos);
    const struct rf_session_desc desc = {.settings = {.max_tokens = set->max_tokens,
                                                      .slot_size = set->slot_size,
                                                      .block = set->block,
                                                      .slot_threshold = set->slot_threshold,
                                                      .has_slot_threshold = true,
                                                      .token_threshold = set->token_threshold,
                                                      .has_token_threshold = true,
                                                      .reference = set->mode == REF_MODE_REFERENCE}};
    enum rf_status status = rf_session_create(&p->session, model, &desc, err);
    if (!status)
        status = rf_session_begin(p->session, set->prompt, set->prompt_length, err);
    return status;
}

/* False when the case is one that must be refused (and was). */
static bool start(struct player *p, uint64_t seed)
{
    char message[256];
    struct rf_error err = {0};
    memset(p, 0, sizeof *p);
    ref_case_generate(&p->script, seed);
    bool runs = ref_case_run(&p->script, &p->expected, message);
    for (int b = 0; b < REF_BRANCH_COUNT; b++)
        branches[b] += p->expected.branches[b];
    enum rf_status status = create_session(p, &err);
    if (runs && status)
        fail_case(p, "refused: %s", err.message);
    if (!runs && !status)
        fail_case(p, "accepted, but the rules refuse it: %s", message);
    if (runs)
        return true;
    rf_session_destroy(p->session);
    p->session = NULL;
    return false;
}

static void compare_events(struct player *p)
{
    size_t count;
    const struct rf_event *events = rf_session_events(p->session, &count);
    for (size_t i = 0; i < count; i++) {
        if (events[i].kind != RF_EVENT_COMMITTED)
            continue;
        if (p->commit_count >= p->expected.commit_count)
            fail_case(p, "more than %zu commits", p->expected.commit_count);
        const struct ref_commit *want = &p->expected.commits[p->commit_count++];
        if (events[i].position != want->position || events[i].token != want->token ||
            events[i].round != want->round)
            fail_case(p, "commit %zu: position %u token %u round %u, wanted %u %u %u", p->commit_count - 1,
                      events[i].position, events[i].token, events[i].round, want->position, want->token,
                      want->round);
    }
}

static void compare_end(const struct player *p)
{
    const struct ref_outcome *e = &p->expected;
    const rf_session *s = p->session;
    struct rf_session_stats stats;
    rf_session_get_stats(s, &stats);
    if (p->commit_count != e->commit_count)
        fail_case(p, "%zu commits, wanted %zu", p->commit_count, e->commit_count);
    if (stats.forwards != e->forward_count || stats.rows != e->row_count || stats.rounds != e->rounds ||
        stats.turns != e->turns)
        fail_case(p, "forwards %llu rows %llu rounds %u turns %u, wanted %zu %zu %u %u",
                  (unsigned long long)stats.forwards, (unsigned long long)stats.rows, stats.rounds,
                  stats.turns, e->forward_count, e->row_count, e->rounds, e->turns);
    bool reference = p->script.settings.mode == REF_MODE_REFERENCE;
    const uint32_t *want = reference ? e->response : e->shown;
    size_t want_count = reference ? e->response_count : e->shown_count, count;
    const uint32_t *tokens = rf_session_tokens(s, &count);
    if (count != want_count || memcmp(tokens, want, count * sizeof *want) != 0)
        fail_case(p, "%zu tokens come out, wanted %zu, or they differ", count, want_count);
    if (!reference && stats.tokens_per_forward != e->tokens_per_forward)
        fail_case(p, "%.17g tokens per forward, wanted %.17g", stats.tokens_per_forward,
                  e->tokens_per_forward);
    if (reference && stats.reference_tokens_per_forward != e->reference_tokens_per_forward)
        fail_case(p, "the original's figure %.17g, wanted %.17g", stats.reference_tokens_per_forward,
                  e->reference_tokens_per_forward);
    uint32_t prompt = s->prompt_count;
    for (uint32_t i = 0; i < prompt; i++) {
        uint32_t mark = mark_of(s->prompt[i], i);
        each_mark(p, i, &mark, false);
    }
    for (uint32_t i = 0; i < e->commit_count; i++) {
        uint32_t mark = mark_of(e->commits[i].token, prompt + e->commits[i].position);
        each_mark(p, prompt + i, &mark, false);
    }
}

static void stop(struct player *p)
{
    rf_session_destroy(p->session);
    ref_outcome_free(&p->expected);
    p->session = NULL;
    played_cases++;
}

static void scripted_cases_equal_the_second_implementation(void **state)
{
    (void)state;
    uint64_t seed = first_seed, end = first_seed + case_count;
    for (bool any = true; any;) {
        rf_session *sessions[COMPANY];
        size_t count = 0;
        for (int i = 0; i < COMPANY; i++) {
            while (!players[i].session && seed < end)
                start(&players[i], seed++);
            if (players[i].session)
                sessions[count++] = players[i].session;
        }
        any = count > 0;
        if (any)
            require_ok(rf_sessions_step(sessions, count, err));
        for (int i = 0; i < COMPANY; i++) {
            if (!players[i].session)
                continue;
            compare_events(&players[i]);
            if (!rf_session_finished(players[i].session))
                continue;
            compare_end(&players[i]);
            stop(&players[i]);
        }
    }
    printf("%llu cases from seed %lu played, %llu forwards, %llu rows compared\n",
           (unsigned long long)played_cases, first_seed, (unsigned long long)compared_forwards,
           (unsigned long long)compared_rows);
}

/* The rules have corners; a run that never came near them proves little. */
static void every_branch_was_reached(void **state)
{
    (void)state;
    for (int b = 0; b < REF_BRANCH_COUNT; b++)
        if (branches[b] == 0)
            fail_msg("branch %s was never taken in %lu cases", ref_branch_name((enum ref_branch)b),
                     case_count);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        case_count = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        first_seed = strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripted_cases_equal_the_second_implementation),
        cmocka_unit_test(every_branch_was_reached),
    };
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}
