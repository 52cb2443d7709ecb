/* The profiler's core. Off means off: what is recorded is compared call by call with what a model records
 * that was never profiled. And records: times in their order, dispatches and groups, phases and rounds,
 * several sessions in one submission, cut forwards, devices without timestamps or a clock that can be read
 * beside the host's. On thin layers with random weights and bars that some slots and tokens miss, so that
 * rounds have all their passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gpu/internal.h"
#include "engine/model/forward_internal.h"
#include "tests/decode/engine.h"
#include "tests/decode/recorded.h"

enum { TOKENS = 24, SLOT = 4, BLOCK = 12, PROMPT = 12, LAYERS = 3, VOCAB = 256 };

static const char shape[] = "qwen3-0.6b,layers=3,hidden=64,heads=2,kv_heads=1,head_dim=32,ffn=64,vocab=256,"
                            "context=512";
/* What calibrated clocks may be off beyond the deviation that the driver states, which says nothing of when
 * in a call its own clock is read. */
static const double CLOCK_SLACK = 5e-6;

static struct engine thin;

/* ---- Engine ----------------------------------------------------------------------------------------- */

/* Rows that a forward takes, as if the device had no room for more; 0: what it has. */
static uint32_t most_rows;
uint32_t __real_rf_forward_max_rows(const struct rf_forward *f, uint32_t max_keys);
uint32_t __wrap_rf_forward_max_rows(const struct rf_forward *f, uint32_t max_keys);
uint32_t __wrap_rf_forward_max_rows(const struct rf_forward *f, uint32_t max_keys)
{
    return most_rows ? most_rows : __real_rf_forward_max_rows(f, max_keys);
}

static void log_line(void *user, enum rf_log_level level, const char *line)
{
    (void)user;
    if (level >= RF_LOG_WARNING)
        fprintf(stderr, "%s\n", line);
}

static void open_thin(struct engine *e, const char *disable)
{
    const struct rf_context_desc context = {.disable = disable, .debug_checks = true, .log = log_line};
    const struct rf_model_desc model = {.precision = RF_PRECISION_F32, .no_tune = true};
    require_ok(rf_context_create(&e->context, &context, err));
    if (e == &thin)
        recorded_interpose(&rf_context_gpu(e->context)->vk);
    require_ok(rf_model_synthesize(&e->model, e->context, shape, &model, err));
    assert_int_equal(e->model->config.layers, LAYERS);
}

static int open_engine(void **state)
{
    (void)state;
    open_thin(&thin, NULL);
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    engine_close(&thin);
    struct listing rest = recorded_take();
    recorded_free(&rest);
    assert_int_equal(pools_alive, 0);
    return 0;
}

static rf_session *open_session(const struct engine *e, enum rf_decode decode, uint32_t tokens)
{
    const struct rf_session_desc desc = {.settings = {.decode = decode,
                                                      .max_tokens = tokens,
                                                      .slot_size = SLOT,
                                                      .block = BLOCK,
                                                      .slot_threshold = 0.1f,
                                                      .token_threshold = 0.1f,
                                                      .has_slot_threshold = true,
                                                      .has_token_threshold = true},
                                         .deterministic = true};
    rf_session *session;
    require_ok(rf_session_create(&session, e->model, &desc, err));
    session->eos_count = 0; /* what random weights take for an end is none */
    return session;
}

/* To a prompt of which nothing is cached, whatever the session did before. */
static void begin(rf_session *session, uint32_t seed)
{
    uint32_t prompt[PROMPT], other = (11 * seed + 2) % VOCAB;
    for (uint32_t i = 0; i < PROMPT; i++)
        prompt[i] = (11 * (i + seed) + 1) % VOCAB;
    require_ok(rf_session_begin(session, &other, 1, err));
    require_ok(rf_session_begin(session, prompt, PROMPT, err));
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    assert_int_equal(stats.cached_tokens, 0);
}

static void respond(rf_session *session, uint32_t seed)
{
    begin(session, seed);
    require_ok(rf_session_generate(session, NULL, NULL, err));
}

/* ---- Records, kept ---------------------------------------------------------------------------------- */

struct kept {
    struct rf_profile_record record; /* with dispatches and sessions of its own */
    uint64_t memory;
};

struct book {
    struct kept *items;
    uint32_t count, room;
};

static void *copy_of(const void *items, size_t bytes)
{
    void *copied = malloc(bytes + 1);
    assert_non_null(copied);
    memcpy(copied, items, bytes);
    return copied;
}

static void keep(void *user, const struct rf_profile_record *record)
{
    struct book *book = user;
    if (book->count == book->room) {
        book->room = book->room ? 2 * book->room : 64;
        book->items = realloc(book->items, book->room * sizeof *book->items);
        assert_non_null(book->items);
    }
    struct kept *kept = &book->items[book->count++];
    kept->record = *record;
    if (record->dispatch_count)
        kept->record.dispatches =
            copy_of(record->dispatches, record->dispatch_count * sizeof *record->dispatches);
    kept->record.sessions = copy_of(record->sessions, record->session_count * sizeof *record->sessions);
}

static void free_book(struct book *book)
{
    for (uint32_t i = 0; i < book->count; i++) {
        if (book->items[i].record.dispatch_count)
            free((void *)book->items[i].record.dispatches);
        free((void *)book->items[i].record.sessions);
    }
    free(book->items);
    *book = (struct book){0};
}

static void profile(const struct engine *e, enum rf_profile_mode mode, struct book *book)
{
    require_ok(rf_model_profile(e->model, mode, book ? keep : NULL, book, err));
}

/* What each record must hold, whatever it is of. */
static void check_groups(const struct rf_profile_record *r)
{
    double span = r->gpu_end - r->gpu_begin, sum = 0.0, before = 0.0;
    assert_true(r->dispatch_count > 0);
    for (uint32_t i = 0; i < r->dispatch_count; i++) {
        const struct rf_profile_dispatch *d = &r->dispatches[i], *last = i ? d - 1 : NULL;
        assert_true(d->op && d->shader && d->begin <= d->end);
        assert_true(d->layer >= -1 && d->layer < LAYERS);
        assert_true(last ? d->pass >= last->pass && d->pass <= 1 : d->pass == 0);
        uint32_t step = last ? d->group - last->group : d->group;
        if (r->mode == RF_PROFILE_SERIAL)
            assert_int_equal(step, last ? 1 : 0);
        else
            assert_true(step <= (last ? 1u : 0u));
        if (last && step == 0) {
            assert_true(d->begin == last->begin && d->end == last->end);
            continue;
        }
        assert_true(d->begin >= before - 1e-12);
        before = d->end;
        sum += d->end - d->begin;
    }
    assert_true(r->dispatches[0].begin == 0.0);
    assert_true(sum <= span + 1e-9);
    assert_true(before <= span + 1e-9 && before >= span - 1e-9);
}

static void check_record(const struct rf_profile_record *r, enum rf_profile_mode mode)
{
    uint32_t rows = 0;
    assert_int_equal(r->mode, mode);
    assert_true(r->record_begin <= r->submit_begin && r->submit_begin <= r->wait_begin &&
                r->wait_begin <= r->read_begin && r->read_begin <= r->end);
    assert_true(r->session_count > 0 && r->rows[0] > 0 && r->outputs[0] <= r->rows[0]);
    for (uint32_t i = 0; i < r->session_count; i++)
        rows += r->sessions[i].rows;
    assert_int_equal(rows, r->rows[0]);
    assert_true(r->clock_error >= 0.0);
    if (mode == RF_PROFILE_HOST) {
        assert_int_equal(r->dispatch_count, 0);
        assert_true(r->gpu_begin == r->gpu_end);
        return;
    }
    assert_true(r->gpu_end > r->gpu_begin);
    double slack = r->clock_error + (r->calibrated ? CLOCK_SLACK : 0.0);
    if (r->submit_begin > r->gpu_begin + slack || r->gpu_end > r->read_begin + slack)
        fail_msg("the device began %.2f us after the hand-over and ended %.2f us before the end of the wait, "
                 "clocks off by %.2f us",
                 1e6 * (r->gpu_begin - r->submit_begin), 1e6 * (r->read_begin - r->gpu_end),
                 1e6 * r->clock_error);
    check_groups(r);
}

static void check_book(const struct book *book, enum rf_profile_mode mode)
{
    assert_true(book->count > 0);
    for (uint32_t i = 0; i < book->count; i++) {
        check_record(&book->items[i].record, mode);
        assert_true(i == 0 || book->items[i - 1].record.end <= book->items[i].record.record_begin);
    }
}

/* The same dispatches, whenever they ran. */
static void check_same_dispatches(const struct book *a, const struct book *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct rf_profile_record *x = &a->items[i].record, *y = &b->items[i].record;
        assert_int_equal(x->dispatch_count, y->dispatch_count);
        assert_memory_equal(x->rows, y->rows, sizeof x->rows);
        assert_memory_equal(x->outputs, y->outputs, sizeof x->outputs);
        for (uint32_t n = 0; n < x->dispatch_count; n++) {
            const struct rf_profile_dispatch *d = &x->dispatches[n], *e = &y->dispatches[n];
            assert_string_equal(d->op, e->op);
            assert_string_equal(d->shader, e->shader);
            assert_int_equal(d->layer, e->layer);
            assert_int_equal(d->pass, e->pass);
            assert_int_equal(d->rows, e->rows);
            assert_int_equal(d->bytes_read, e->bytes_read);
            assert_int_equal(d->bytes_written, e->bytes_written);
            assert_int_equal(d->operations, e->operations);
        }
    }
}

/* ---- Responses, followed ---------------------------------------------------------------------------- */

/* What a response is known by. */
struct outcome {
    uint32_t tokens[TOKENS], count;
    struct rf_session_stats stats;
};

static struct outcome outcome_of(const rf_session *session)
{
    struct outcome outcome = {.count = 0};
    size_t count;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    assert_true(count > 0 && count <= TOKENS);
    outcome.count = (uint32_t)count;
    memcpy(outcome.tokens, tokens, count * sizeof *tokens);
    rf_session_get_stats(session, &outcome.stats);
    return outcome;
}

static void check_same_outcome(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->tokens, b->tokens, sizeof a->tokens);
    assert_int_equal(a->stats.rounds, b->stats.rounds);
    assert_int_equal(a->stats.turns, b->stats.turns);
}

static uint32_t count_events(const rf_session *session, enum rf_event_kind kind)
{
    size_t count;
    const struct rf_event *events = rf_session_events(session, &count);
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += events[i].kind == kind;
    return found;
}

/* The records of one round of plan-and-infill, against what the session says that it did. */
static void check_round(const struct book *book, uint32_t first, rf_session *session, uint32_t round,
                        uint32_t remaining)
{
    uint32_t committed = 0, turns = 0, planned = count_events(session, RF_EVENT_PLANNED);
    for (uint32_t i = first; i < book->count; i++) {
        const struct rf_profile_record *r = &book->items[i].record;
        const struct rf_profile_session *s = &r->sessions[0];
        enum rf_profile_phase phase = i == first + 1 ? RF_PHASE_VERIFY : RF_PHASE_COMPLETE;
        if (i == first)
            phase = round == 0 ? RF_PHASE_PREFILL : RF_PHASE_PLAN;
        assert_int_equal(r->session_count, 1);
        assert_ptr_equal(s->session, session);
        assert_int_equal(s->phase, phase);
        assert_int_equal(s->round, round);
        assert_int_equal(s->remaining_slots, remaining);
        assert_int_equal(s->chosen_slots * SLOT, planned);
        assert_true(s->committed_tokens == 0 || i + 1 == book->count);
        assert_int_equal(r->rows[1], phase == RF_PHASE_COMPLETE ? r->rows[0] : 0);
        if (phase == RF_PHASE_VERIFY)
            assert_int_equal(r->rows[0], planned);
        else if (phase != RF_PHASE_COMPLETE)
            assert_int_equal(r->rows[0], remaining * SLOT + (round == 0 ? PROMPT : 0));
        turns += phase == RF_PHASE_COMPLETE;
        committed += s->committed_tokens;
    }
    const struct rf_profile_record *last = &book->items[book->count - 1].record;
    assert_int_equal(committed, count_events(session, RF_EVENT_COMMITTED));
    assert_int_equal(last->sessions[0].kv_pages, rf_kv_pages_used(session->model->pool));
    assert_int_equal(last->device_memory, rf_gpu_memory_used(session->model->gpu));
    assert_true(book->count - first == 2 + turns);
}

/* One response by plan-and-infill, round by round. */
static struct outcome follow_response(const struct engine *e, struct book *book, uint32_t seed)
{
    rf_session *session = open_session(e, RF_DECODE_REFUSION, TOKENS);
    uint32_t round = 0, committed = 0, turns = 0, forwards = 0, first = book->count, from = first;
    begin(session, seed);
    while (!rf_session_finished(session)) {
        uint32_t remaining = session->remaining_count;
        from = book->count;
        require_ok(rf_session_step(session, NULL, NULL, err));
        check_round(book, from, session, round++, remaining);
    }
    for (uint32_t i = first; i < book->count; i++) {
        committed += book->items[i].record.sessions[0].committed_tokens;
        forwards += book->items[i].record.rows[1] ? 2 : 1;
        turns += book->items[i].record.sessions[0].phase == RF_PHASE_COMPLETE;
    }
    struct outcome outcome = outcome_of(session);
    assert_int_equal(committed, TOKENS);
    assert_int_equal(round, outcome.stats.rounds);
    assert_int_equal(turns, outcome.stats.turns);
    assert_int_equal(forwards, outcome.stats.forwards);
    rf_session_destroy(session);
    return outcome;
}

static struct outcome plain_response(const struct engine *e, enum rf_decode decode, uint32_t seed)
{
    rf_session *session = open_session(e, decode, TOKENS);
    profile(e, RF_PROFILE_OFF, NULL);
    respond(session, seed);
    struct outcome outcome = outcome_of(session);
    rf_session_destroy(session);
    return outcome;
}

/* ---- Off means off ---------------------------------------------------------------------------------- */

/* Also: a session that was made before profiling began has its kv_commit recorded anew, and again without
 * marks when it is over. */
static void nothing_is_left_of_it(void **state)
{
    (void)state;
    struct book book = {0};
    assert_int_equal(pools_made, 0);
    struct listing setup = recorded_take();
    rf_session *session = open_session(&thin, RF_DECODE_REFUSION, TOKENS);
    respond(session, 0);
    struct outcome never = outcome_of(session);
    struct listing plain = recorded_take();
    assert_true(never.stats.turns > 0 && never.stats.rounds > 2);
    assert_int_equal(pools_made, 0);
    assert_int_equal(recorded_count(&plain, TIMESTAMP) + recorded_count(&plain, RESET), 0);

    profile(&thin, RF_PROFILE_FREE, &book);
    respond(session, 0);
    struct outcome while_free = outcome_of(session);
    struct listing marked = recorded_take();
    assert_true(pools_made > 0 && pools_alive == pools_made);
    assert_true(recorded_count(&marked, TIMESTAMP) > 0);
    assert_int_equal(recorded_count(&marked, RESET), pools_made);

    /* Modes take turns without a command being recorded anew. */
    profile(&thin, RF_PROFILE_HOST, &book);
    respond(session, 0);
    profile(&thin, RF_PROFILE_FREE, &book);
    respond(session, 0);
    struct listing turns = recorded_take();
    assert_int_equal(turns.count, 0);
    recorded_free(&turns);

    profile(&thin, RF_PROFILE_OFF, NULL);
    assert_int_equal(pools_alive, 0);
    uint32_t records = book.count;
    respond(session, 0);
    turns = recorded_take();
    assert_int_equal(turns.count, 0); /* the commands of before are those that run */
    recorded_free(&turns);
    rf_forward_drop_recordings(thin.model->forward);
    respond(session, 0);
    struct outcome after = outcome_of(session);
    struct listing again = recorded_take();
    assert_int_equal(book.count, records);
    assert_int_equal(pools_alive, 0);

    uint32_t pools = pools_made;
    profile(&thin, RF_PROFILE_HOST, &book);
    respond(session, 0);
    struct listing host = recorded_take();
    profile(&thin, RF_PROFILE_OFF, NULL);
    assert_true(book.count > records);
    assert_int_equal(host.count, 0); /* the commands of a run without profile are those that run */
    assert_int_equal(pools_made, pools);
    check_same_outcome(&never, &while_free);
    check_same_outcome(&never, &after);

    bool *crossed = calloc(marked.count + again.count + 1, sizeof *crossed);
    assert_non_null(crossed);
    assert_int_equal(again.count, plain.count);
    assert_int_equal(recorded_cross_out(&plain, &again, crossed), 0);

    /* Free-running: not one barrier more, beside those of the profiler's own copies. */
    const struct rf_span *to = thin.model->forward->gathered;
    uint32_t copies = recorded_strip(&marked, (const VkBuffer[]){to[0].block->buffer, to[1].block->buffer}),
             extra = marked.count - plain.count, second = 0;
    recorded_forget_places(&plain); /* dispatch sizes of marked forwards lie elsewhere */
    recorded_forget_places(&marked);
    memset(crossed, 0, marked.count * sizeof *crossed);
    assert_int_equal(recorded_cross_out(&plain, &marked, crossed), 0);
    for (uint32_t i = 0; i < marked.count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < plain.count && !crossed[i]; j++)
            found = found || recorded_same(&marked.items[i], &plain.items[j]);
        second += found;
    }
    printf("%u command buffers, %u calls; marked %u more, of second forwards; %u copies of rows\n",
           plain.count, recorded_count(&plain, BARRIER) + recorded_count(&plain, PUSH), extra, copies);
    assert_int_equal(second, extra);
    assert_true(extra > 0 && copies > 0);
    free(crossed);
    recorded_free(&setup);
    recorded_free(&plain);
    recorded_free(&marked);
    recorded_free(&again);
    recorded_free(&host);
    free_book(&book);
    rf_session_destroy(session);
}

/* ---- Marks alone ------------------------------------------------------------------------------------ */

/* `count` dispatches that nothing orders. Returns the groups that they were recorded in. */
static uint32_t record_independent(struct rf_span span, enum rf_marking marking, uint32_t count)
{
    struct rf_gpu *gpu = thin.model->gpu;
    struct rf_kernel *kernel;
    struct rf_cmd *cmd;
    uint64_t ticket;
    uint32_t marked_count;
    require_ok(rf_kernels_get(gpu, &(struct rf_kernel_id){.shader = "synthetic"}, 1, &kernel, err));
    require_ok(rf_cmd_begin(&cmd, gpu, "independent", err));
    require_ok(rf_cmd_mark(cmd, marking, count, err));
    for (uint32_t i = 0; i < count; i++) {
        struct rf_span part = rf_span_part(span, 64ull * i, 64);
        const struct rf_push_synthetic fill_push = {
            .words = part.address, .end = 16, .part = 16, .stride = 16, .run = 16, .step = 16, .seed = i};
        const struct rf_dispatch one = {.kernel = kernel,
                                        .label = "fill",
                                        .push = &fill_push,
                                        .push_size = sizeof fill_push,
                                        .groups = {1, 1, 1},
                                        .note = i,
                                        .access_count = 1,
                                        .accesses = {{part, RF_WRITE}}};
        require_ok(rf_cmd_dispatch(cmd, &one, err));
    }
    require_ok(rf_cmd_end(cmd, err));
    assert_int_equal(rf_cmd_barrier_count(cmd), marking == RF_MARK_DISPATCHES ? count - 1 : 0);
    uint32_t groups = rf_cmd_group_count(cmd);
    for (int repeat = 0; repeat < 2; repeat++) { /* it resets its own queries */
        uint64_t *ticks = calloc(groups + 2, sizeof *ticks);
        require_ok(rf_gpu_submit(gpu, &cmd, 1, &ticket, err));
        require_ok(rf_gpu_wait(gpu, ticket, err));
        if (groups)
            require_ok(rf_cmd_read_marks(cmd, ticks, err));
        for (uint32_t g = 0; g < groups; g++)
            assert_true(rf_gpu_ticks_between(gpu, ticks[g], ticks[g + 1]) >= 0.0);
        assert_true(!groups || rf_gpu_ticks_between(gpu, ticks[0], ticks[groups]) > 0.0);
        free(ticks);
    }
    const struct rf_marked *marked = rf_cmd_marked(cmd, &marked_count);
    assert_int_equal(marked_count, groups ? count : 0);
    for (uint32_t i = 0; i < marked_count; i++) {
        assert_int_equal(marked[i].group, marking == RF_MARK_DISPATCHES ? i : 0);
        assert_int_equal(marked[i].note, i);
        assert_ptr_equal(marked[i].kernel, kernel);
    }
    rf_cmd_destroy(cmd);
    return groups;
}

/* `count` dispatches that each wait for the one before, of 20 ms by expectation. Returns their groups. */
static uint32_t record_chain(struct rf_span span, enum rf_marking marking, uint32_t count)
{
    struct rf_gpu *gpu = thin.model->gpu;
    struct rf_cmd *cmd;
    uint64_t ticket, ticks[16];
    const struct rf_push_synthetic push = {
        .words = span.address, .end = 16, .part = 16, .stride = 16, .run = 16, .step = 16, .seed = 1};
    struct rf_dispatch dispatch = {.label = "fill",
                                   .push = &push,
                                   .push_size = sizeof push,
                                   .seconds = 0.02,
                                   .groups = {1, 1, 1},
                                   .access_count = 1,
                                   .accesses = {{span, RF_WRITE}}};
    require_ok(rf_kernels_get(gpu, &(struct rf_kernel_id){.shader = "synthetic"}, 1, &dispatch.kernel, err));
    require_ok(rf_cmd_begin(&cmd, gpu, "chain", err));
    require_ok(rf_cmd_mark(cmd, marking, count, err));
    for (uint32_t i = 0; i < count; i++)
        require_ok(rf_cmd_dispatch(cmd, &dispatch, err));
    require_ok(rf_cmd_end(cmd, err));
    assert_int_equal(rf_cmd_barrier_count(cmd), count - 1);
    uint32_t groups = rf_cmd_group_count(cmd);
    assert_in_range(groups, 1, 15);
    require_ok(rf_gpu_submit(gpu, &cmd, 1, &ticket, err));
    require_ok(rf_gpu_wait(gpu, ticket, err));
    require_ok(rf_cmd_read_marks(cmd, ticks, err));
    for (uint32_t g = 0; g < groups; g++)
        assert_true(rf_gpu_ticks_between(gpu, ticks[g], ticks[g + 1]) >= 0.0);
    rf_cmd_destroy(cmd);
    return groups;
}

static void short_groups_are_taken_together_where_timestamps_take_long(void **state)
{
    (void)state;
    struct rf_gpu *gpu = thin.model->gpu;
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "test");
    struct rf_span span;
    const double cost = gpu->probe.caps.timestamp_cost;
    assert_non_null(arena);
    require_ok(rf_arena_alloc(arena, &span, 64, "fill", err));
    gpu->probe.caps.timestamp_cost = 0.0;
    assert_int_equal(record_chain(span, RF_MARK_GROUPS, 8), 8);
    gpu->probe.caps.timestamp_cost = 1e-3; /* 30 of them: two dispatches */
    assert_int_equal(record_chain(span, RF_MARK_GROUPS, 8), 4);
    assert_int_equal(record_chain(span, RF_MARK_DISPATCHES, 8), 8);
    gpu->probe.caps.timestamp_cost = 1.0;
    assert_int_equal(record_chain(span, RF_MARK_GROUPS, 8), 1);
    gpu->probe.caps.timestamp_cost = cost;
    rf_arena_destroy(arena);
}

static void only_serialised_marks_add_barriers(void **state)
{
    (void)state;
    enum { COUNT = 600 }; /* more than two pools of queries */
    struct rf_arena *arena = rf_arena_create(thin.model->gpu, RF_MEMORY_DEVICE, "test");
    struct rf_span span;
    assert_non_null(arena);
    require_ok(rf_arena_alloc(arena, &span, COUNT * 64, "fills", err));
    assert_int_equal(record_independent(span, RF_MARK_NOTHING, COUNT), 0);
    assert_int_equal(record_independent(span, RF_MARK_GROUPS, COUNT), 1);
    assert_int_equal(record_independent(span, RF_MARK_DISPATCHES, COUNT), COUNT);
    rf_arena_destroy(arena);
}

/* Counters of fewer than 64 bits turn over, and two that were read out of order lie before one another. */
static void ticks_turn_over(void **state)
{
    (void)state;
    struct rf_gpu gpu = {.probe.caps = {.timestamp_period = 2.0f, .timestamp_bits = 36}};
    const uint64_t turn = UINT64_C(1) << 36;
    assert_true(rf_gpu_ticks_between(&gpu, 10, 25) == 15 * 2.0 * 1e-9);
    assert_true(rf_gpu_ticks_between(&gpu, turn - 5, 10) == 15 * 2.0 * 1e-9);
    assert_true(rf_gpu_ticks_between(&gpu, 25, 10) == -15 * 2.0 * 1e-9);
    assert_true(rf_gpu_ticks_between(&gpu, 10, turn - 5) == -15 * 2.0 * 1e-9);
    gpu.probe.caps.timestamp_bits = 64;
    assert_true(rf_gpu_ticks_between(&gpu, UINT64_MAX - 4, 10) == 15 * 2.0 * 1e-9);
}

/* ---- Records ---------------------------------------------------------------------------------------- */

static void records_tell_what_ran(void **state)
{
    (void)state;
    struct book books[3] = {{0}};
    const enum rf_profile_mode modes[] = {RF_PROFILE_FREE, RF_PROFILE_SERIAL, RF_PROFILE_HOST};
    struct outcome plain = plain_response(&thin, RF_DECODE_REFUSION, 1);
    for (int m = 0; m < 3; m++) {
        profile(&thin, modes[m], &books[m]);
        struct outcome outcome = follow_response(&thin, &books[m], 1);
        check_same_outcome(&plain, &outcome);
        check_book(&books[m], modes[m]);
    }
    profile(&thin, RF_PROFILE_OFF, NULL);
    check_same_dispatches(&books[0], &books[1]);
    uint32_t begins = 0;
    for (uint32_t i = 0; i < books[0].count; i++) {
        const struct rf_profile_record *r = &books[0].items[i].record;
        assert_string_equal(r->dispatches[0].op, "rows gather");
        for (uint32_t n = 0; n < r->dispatch_count; n++)
            begins += strcmp(r->dispatches[n].op, "rows gather") == 0;
        begins -= r->rows[1] ? 2 : 1; /* one for each forward */
    }
    assert_int_equal(begins, 0);
    assert_true(books[0].items[0].record.recorded);
    for (int m = 0; m < 3; m++)
        free_book(&books[m]);
}

/* The second time, nothing is recorded and each record says so. */
static void records_tell_what_was_warm(void **state)
{
    (void)state;
    struct book book = {0};
    rf_session *session = open_session(&thin, RF_DECODE_REFUSION, TOKENS);
    profile(&thin, RF_PROFILE_SERIAL, &book);
    respond(session, 2);
    uint32_t first = book.count;
    assert_true(book.items[0].record.recorded);
    respond(session, 2);
    assert_int_equal(book.count, 2 * first);
    for (uint32_t i = first; i < book.count; i++)
        assert_false(book.items[i].record.recorded);
    /* To the same prompt there is nothing to prefill. */
    uint32_t prompt[PROMPT], next = book.count;
    memcpy(prompt, session->prompt, sizeof prompt);
    require_ok(rf_session_begin(session, prompt, PROMPT, err));
    require_ok(rf_session_step(session, NULL, NULL, err));
    assert_int_equal(book.items[next].record.sessions[0].phase, RF_PHASE_PLAN);
    profile(&thin, RF_PROFILE_OFF, NULL);
    free_book(&book);
    rf_session_destroy(session);
}

static void sequential_decoding_has_records(void **state)
{
    (void)state;
    struct book book = {0};
    struct outcome plain = plain_response(&thin, RF_DECODE_AR, 3);
    rf_session *session = open_session(&thin, RF_DECODE_AR, TOKENS);
    profile(&thin, RF_PROFILE_FREE, &book);
    respond(session, 3);
    struct outcome outcome = outcome_of(session);
    check_same_outcome(&plain, &outcome);
    check_book(&book, RF_PROFILE_FREE);
    assert_int_equal(book.count, TOKENS);
    for (uint32_t i = 0; i < book.count; i++) {
        const struct rf_profile_session *s = &book.items[i].record.sessions[0];
        assert_int_equal(s->phase, i == 0 ? RF_PHASE_PREFILL : RF_PHASE_AR);
        assert_int_equal(s->round, i);
        assert_int_equal(s->committed_tokens, 1);
        assert_int_equal(s->remaining_slots + s->chosen_slots, 0);
        assert_int_equal(s->rows, (i == 0 ? PROMPT : 1) + (i % SLOT == 0));
        assert_int_equal(book.items[i].record.outputs[0], 1);
    }
    profile(&thin, RF_PROFILE_OFF, NULL);
    free_book(&book);
    rf_session_destroy(session);
}

/* Commits stand behind the forwards in the order of the sessions that end a COMPLETE turn, and each has as
 * many rows as its session committed; those of turns that others follow have none. */
static uint32_t check_commits(const struct rf_profile_record *r)
{
    uint32_t commits = 0, at = 0, wanted[RF_MAX_PIECES];
    for (uint32_t i = 0; i < r->session_count; i++)
        if (r->sessions[i].phase == RF_PHASE_COMPLETE && r->sessions[i].committed_tokens)
            wanted[commits++] = r->sessions[i].committed_tokens;
    for (uint32_t n = 0; n < r->dispatch_count; n++) {
        if (strcmp(r->dispatches[n].op, "kv_commit") != 0 || r->dispatches[n].rows == 0)
            continue;
        assert_true(at < commits);
        assert_int_equal(r->dispatches[n].rows, wanted[at++]);
    }
    assert_int_equal(at, commits);
    return commits;
}

static void sessions_share_records(void **state)
{
    (void)state;
    enum { SESSIONS = 4 };
    struct book book = {0};
    rf_session *sessions[SESSIONS];
    struct outcome alone[SESSIONS], together[SESSIONS];
    uint32_t committed[SESSIONS] = {0}, commits = 0, crowded = 0, mixed = 0;
    for (uint32_t i = 0; i < SESSIONS; i++) {
        enum rf_decode decode = i == 2 ? RF_DECODE_AR : RF_DECODE_REFUSION;
        alone[i] = plain_response(&thin, decode, 4 + i);
        sessions[i] = open_session(&thin, decode, TOKENS);
        begin(sessions[i], 4 + i);
    }
    most_rows = 40; /* so that not all sessions are in the same pass, and halves of a turn go alone */
    profile(&thin, RF_PROFILE_FREE, &book);
    for (bool any = true; any;) {
        require_ok(rf_sessions_step(sessions, SESSIONS, err));
        any = false;
        for (uint32_t i = 0; i < SESSIONS; i++)
            any = any || !rf_session_finished(sessions[i]);
    }
    most_rows = 0;
    profile(&thin, RF_PROFILE_OFF, NULL);
    check_book(&book, RF_PROFILE_FREE);
    for (uint32_t n = 0; n < book.count; n++) {
        const struct rf_profile_record *r = &book.items[n].record;
        uint32_t completing = 0;
        for (uint32_t i = 0; i < r->session_count; i++)
            for (uint32_t s = 0; s < SESSIONS; s++)
                if (r->sessions[i].session == sessions[s])
                    committed[s] += r->sessions[i].committed_tokens;
        for (uint32_t i = 0; i < r->session_count; i++)
            completing += r->sessions[i].phase == RF_PHASE_COMPLETE;
        commits += check_commits(r);
        crowded += completing > 1;
        mixed += completing > 0 && completing < r->session_count;
        assert_true(r->rows[1] == 0 || completing > 0);
    }
    for (uint32_t i = 0; i < SESSIONS; i++) {
        together[i] = outcome_of(sessions[i]);
        check_same_outcome(&alone[i], &together[i]);
        assert_int_equal(committed[i], TOKENS);
        rf_session_destroy(sessions[i]);
    }
    printf("%u submissions of %d sessions; %u times several COMPLETE, %u times beside others\n", book.count,
           (int)SESSIONS, crowded, mixed);
    assert_true(commits > 0 && crowded > 0 && mixed > 0);
    free_book(&book);
}

/* Forwards that are cut into several submissions have the dispatches of whole ones. */
static void cut_forwards_have_the_same_dispatches(void **state)
{
    (void)state;
    struct book whole = {0}, cut = {0};
    struct rf_gpu *gpu = thin.model->gpu;
    double limit = gpu->submission_limit;
    profile(&thin, RF_PROFILE_FREE, &whole);
    struct outcome outcome = follow_response(&thin, &whole, 1);
    profile(&thin, RF_PROFILE_OFF, NULL);
    gpu->submission_limit = 50e-6; /* of estimated time: forwards take a multiple of it on any CPU */
    profile(&thin, RF_PROFILE_FREE, &cut);
    uint64_t before = rf_gpu_submission_count(gpu);
    struct outcome other = follow_response(&thin, &cut, 1);
    uint64_t submissions = rf_gpu_submission_count(gpu) - before;
    gpu->submission_limit = limit;
    profile(&thin, RF_PROFILE_OFF, NULL);
    printf("%u records, %llu submissions\n", cut.count, (unsigned long long)submissions);
    assert_true(submissions >= 3 * (uint64_t)cut.count);
    check_same_outcome(&outcome, &other);
    check_book(&cut, RF_PROFILE_FREE);
    check_same_dispatches(&whole, &cut);
    free_book(&whole);
    free_book(&cut);
}

/* ---- Lesser devices --------------------------------------------------------------------------------- */

static void clocks_are_bounded_without_calibration(void **state)
{
    (void)state;
    struct engine e;
    struct book book = {0};
    open_thin(&e, "calibratedTimestamps");
    profile(&e, RF_PROFILE_FREE, &book);
    follow_response(&e, &book, 1);
    check_book(&book, RF_PROFILE_FREE);
    for (uint32_t i = 0; i < book.count; i++) {
        const struct rf_profile_record *r = &book.items[i].record;
        assert_false(r->calibrated);
        /* The latest moment that it can have been, and by how much it may have been earlier. */
        assert_true(r->gpu_end <= r->read_begin + 1e-9 && r->gpu_end >= r->read_begin - 1e-9);
        assert_true(r->gpu_begin - r->clock_error <= r->submit_begin + 1e-9);
    }
    free_book(&book);
    engine_close(&e);
}

static void devices_without_timestamps_have_the_hosts_times(void **state)
{
    (void)state;
    struct engine e;
    struct book book = {0};
    struct rf_error err = {0};
    struct rf_device_info info;
    open_thin(&e, "timestamps");
    rf_context_device(e.context, &info);
    struct outcome plain = plain_response(&e, RF_DECODE_REFUSION, 1);
    const enum rf_profile_mode marked[] = {RF_PROFILE_FREE, RF_PROFILE_SERIAL};
    for (int i = 0; i < 2; i++) {
        memset(&err, 0, sizeof err);
        assert_int_equal(rf_model_profile(e.model, marked[i], keep, &book, &err), RF_ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.message, info.name));
        assert_non_null(strstr(err.message, "timestamps"));
        struct outcome refused = plain_response(&e, RF_DECODE_REFUSION, 1);
        check_same_outcome(&plain, &refused);
        assert_int_equal(book.count, 0);
    }
    profile(&e, RF_PROFILE_HOST, &book);
    struct outcome outcome = follow_response(&e, &book, 1);
    check_same_outcome(&plain, &outcome);
    check_book(&book, RF_PROFILE_HOST);
    free_book(&book);
    engine_close(&e);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    struct book book = {0};
    const struct {
        rf_model *model;
        int mode;
        rf_profile_fn fn;
    } wrong[] = {{NULL, RF_PROFILE_FREE, keep},
                 {NULL, RF_PROFILE_OFF, NULL},
                 {thin.model, RF_PROFILE_FREE, NULL},
                 {thin.model, RF_PROFILE_SERIAL, NULL},
                 {thin.model, RF_PROFILE_HOST, NULL},
                 {thin.model, RF_PROFILE_COUNTERS, keep}, /* none were chosen */
                 {thin.model, RF_PROFILE_COUNTERS + 1, keep},
                 {thin.model, -1, keep}};
    profile(&thin, RF_PROFILE_HOST, &book);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct rf_error err = {0};
        assert_int_equal(
            rf_model_profile(wrong[i].model, (enum rf_profile_mode)wrong[i].mode, wrong[i].fn, &book, &err),
            RF_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "rf_model_profile"));
    }
    follow_response(&thin, &book, 1); /* a refused call changes nothing */
    profile(&thin, RF_PROFILE_OFF, NULL);
    assert_string_equal(rf_profile_phase_name(RF_PHASE_PREFILL), "prefill");
    assert_string_equal(rf_profile_phase_name(RF_PHASE_AR), "ar");
    assert_string_equal(rf_profile_phase_name(RF_PHASES), "unknown");
    free_book(&book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_it), /* first: the model was never profiled */
        cmocka_unit_test(only_serialised_marks_add_barriers),
        cmocka_unit_test(short_groups_are_taken_together_where_timestamps_take_long),
        cmocka_unit_test(ticks_turn_over),
        cmocka_unit_test(records_tell_what_ran),
        cmocka_unit_test(records_tell_what_was_warm),
        cmocka_unit_test(sequential_decoding_has_records),
        cmocka_unit_test(sessions_share_records),
        cmocka_unit_test(cut_forwards_have_the_same_dispatches),
        cmocka_unit_test(clocks_are_bounded_without_calibration),
        cmocka_unit_test(devices_without_timestamps_have_the_hosts_times),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
