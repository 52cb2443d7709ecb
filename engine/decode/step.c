/* Steps of one session or of several: the rows of whatever each session is about to do, laid end to end in
 * one forward. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/allocate.h"
#include "engine/decode/profile.h"
#include "engine/decode/session.h"
#include "engine/decode/submission.h"
#include "engine/gpu/labels.h"
#include "engine/gpu/rest.h"

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t pass_rows(const struct rf_session *s)
{
    return s->pass == RF_PASS_AR ? rf_sequential_rows(s) : rf_round_rows(s);
}

static uint32_t pass_keys(const struct rf_session *s)
{
    return s->pass == RF_PASS_AR ? s->committed + rf_sequential_rows(s) : rf_round_keys(s);
}

static bool wants_step(const struct rf_session *s)
{
    return !s->finished && !s->round_over && !s->failure.status;
}

/* What the slot shaders do with this session if its pass ends with this submission. */
static uint32_t actions_of(const struct rf_session *s, bool both_halves)
{
    switch (s->pass) {
    case RF_PASS_PLAN:
        return RF_ACT_SELECT;
    case RF_PASS_VERIFY:
        return RF_ACT_VERIFY;
    case RF_PASS_PREDICT:
        return both_halves ? RF_ACT_FILL | RF_ACT_TURN : RF_ACT_FILL;
    case RF_PASS_REVERIFY:
        return RF_ACT_TURN;
    case RF_PASS_AR:
        return rf_sequential_wants_logits(s) ? 0 : RF_ACT_COPY;
    default:
        return 0;
    }
}

static void add_piece(struct submission *sub, uint32_t pass, const struct rf_session *s, uint32_t first,
                      uint32_t count)
{
    struct rf_work *work = rf_forward_work(sub->model->forward, pass);
    work->pieces[sub->piece_count[pass]++] = (struct rf_piece){s->seq, first, count};
    sub->rows[pass] += count;
}

/* Puts up to `room` rows of a session's pass into the submission. What the device reads lies in memory that
 * is slow to read back, so it is only written here. */
static void add_session(struct submission *sub, struct rf_session *s, uint32_t room)
{
    uint32_t left = pass_rows(s) - s->pass_row, count = left < room ? left : room, first;
    enum rf_status status = s->pass == RF_PASS_AR ? rf_sequential_prepare(s, count, &first, &s->failure)
                                                  : rf_round_prepare(s, count, &first, &s->failure);
    if (status)
        return;
    struct rf_seq *seq = &rf_forward_seqs(sub->model->forward)[s->seq];
    bool last = count == left, whole = last && s->pass_row == 0;
    seq->slot_count = s->remaining_count;
    seq->committed = s->pass == RF_PASS_PLAN && !s->prefilled ? s->prompt_count : s->committed;
    seq->draw = s->draw;
    seq->actions = s->actions = last ? actions_of(s, whole) : 0;
    add_piece(sub, 0, s, first, count);
    if (s->pass == RF_PASS_PREDICT && whole)
        add_piece(sub, 1, s, 0, count);
    if (s->actions)
        rf_forward_active(sub->model->forward)->seqs[sub->active_count++] = s->seq;
    sub->actions |= s->actions;
    if (s->deterministic)
        sub->flags |= RF_FORWARD_DETERMINISTIC;
    if (rf_sequential_wants_logits(s))
        sub->flags |= RF_FORWARD_LOGITS;
    sub->sessions[sub->session_count] = s;
    sub->counts[sub->session_count++] = count;
}

/* Sessions join while the forward has room for their rows; one that wants logits goes alone. */
static void join(struct submission *sub, rf_session *const *sessions, size_t count)
{
    uint32_t keys = 0;
    for (size_t i = 0; i < count && sub->session_count < RF_MAX_PIECES; i++) {
        struct rf_session *s = sessions[i];
        if (!wants_step(s))
            continue;
        if (atomic_load(&s->cancelled)) {
            rf_fail(&s->failure, RF_ERROR_CANCELLED, "the response was cancelled");
            continue;
        }
        if (s->broken) {
            rf_fail(&s->failure, RF_ERROR_ARGUMENT,
                    "the response broke off when a submission failed: begin it anew");
            continue;
        }
        bool alone = rf_sequential_wants_logits(s);
        if (alone && sub->session_count)
            continue;
        uint32_t more = pass_keys(s) > keys ? pass_keys(s) : keys;
        uint32_t most = rf_forward_max_rows(sub->model->forward, more);
        if (most <= sub->rows[0])
            continue;
        uint32_t before = sub->session_count;
        add_session(sub, s, most - sub->rows[0]);
        if (sub->session_count == before)
            continue;
        keys = more;
        if (alone)
            return;
    }
}

static void fill(struct submission *sub, rf_session *const *sessions, size_t count)
{
    struct rf_forward *forward = sub->model->forward;
    join(sub, sessions, count);
    for (uint32_t pass = 0; pass < 2; pass++)
        rf_forward_work(forward, pass)->piece_count = sub->piece_count[pass];
    struct rf_active *active = rf_forward_active(forward);
    active->grid_x = sub->active_count;
    active->grid_y = active->grid_z = 1;
}

static enum rf_status add_slots(struct submission *sub, enum rf_slot_shader which,
                                struct rf_forward_cmds *cmds, struct rf_error *err)
{
    struct rf_cmd *cmd;
    enum rf_status status = rf_forward_slots(sub->model->forward, which, &cmd, err);
    if (!status)
        rf_forward_cmds_add(cmds, cmd);
    return status;
}

static enum rf_status add_forward(struct submission *sub, uint32_t pass, struct rf_forward_cmds *cmds,
                                  struct rf_error *err)
{
    enum rf_status status = rf_forward_get(sub->model->forward, sub->rows[pass], sub->flags, pass, cmds, err);
    /* A scripted session goes with others of the same script only: one is for all. */
    if (!status && sub->sessions[0]->script)
        rf_forward_cmds_add(cmds, sub->sessions[0]->script);
    return status;
}

/* What is submitted: up to two forwards, each followed by the slot shaders that want its results. */
static enum rf_status list_commands(struct submission *sub, struct rf_forward_cmds *cmds,
                                    struct rf_error *err)
{
    rf_forward_cmds_init(cmds);
    enum rf_status status = add_forward(sub, 0, cmds, err);
    if (!status && (sub->actions & RF_ACT_SELECT))
        status = add_slots(sub, RF_SLOT_SELECT, cmds, err);
    if (!status && (sub->actions & RF_ACT_FILL))
        status = add_slots(sub, RF_SLOT_FILL, cmds, err);
    if (!status && sub->rows[1])
        status = add_forward(sub, 1, cmds, err);
    if (!status && (sub->actions & (RF_ACT_VERIFY | RF_ACT_TURN | RF_ACT_COPY)))
        status = add_slots(sub, RF_SLOT_ACCEPT, cmds, err);
    for (uint32_t i = 0; !status && i < sub->session_count; i++) {
        struct rf_cmd *commit;
        if (!(sub->sessions[i]->actions & RF_ACT_TURN))
            continue;
        status = rf_session_commit(sub->sessions[i], &commit, err);
        if (!status)
            rf_forward_cmds_add(cmds, commit);
    }
    return status;
}

static enum rf_status run(struct submission *sub, struct rf_error *err)
{
    struct rf_forward_cmds *cmds = &sub->cmds;
    _Static_assert(9 + RF_MAX_PIECES <= RF_SUBMIT_BUFFERS,
                   "two forwards and scripts, three slot shaders and a commit for each session");
    sub->times.record = seconds_now();
    enum rf_status status = list_commands(sub, cmds, err);
    uint64_t ticket = 0;
    sub->times.submit = seconds_now();
    sub->submitted = !status;
    if (!status)
        status = rf_gpu_submit(sub->model->gpu, cmds->items, cmds->count, &ticket, err);
    sub->ran = sub->submitted && ticket != 0;
    sub->times.wait = seconds_now();
    if (!status)
        status = rf_gpu_wait(sub->model->gpu, ticket, err);
    sub->times.read = seconds_now();
    if (!status) {
        rf_forward_ran(cmds, sub->times.read - sub->times.submit);
        rf_gpu_worked(sub->model->gpu, sub->times.read - sub->times.submit);
    }
    return status;
}

static void absorb(const struct submission *sub, uint32_t i, double seconds)
{
    struct rf_session *s = sub->sessions[i];
    if (s->prefilled)
        s->stats.decode_seconds += seconds;
    else
        s->stats.prefill_seconds += seconds;
    s->pass_row += sub->counts[i];
    if (s->pass_row < pass_rows(s))
        return;
    /* Noise is counted by pass, and a COMPLETE turn is one: how many submissions it took was up to the
     * company. */
    bool predicted_only = s->pass == RF_PASS_PREDICT && !(s->actions & RF_ACT_TURN);
    if (!predicted_only)
        s->draw++;
    if (s->pass == RF_PASS_AR) {
        rf_sequential_absorb(s, &s->failure);
        return;
    }
    rf_round_absorb(s);
    if ((s->actions & RF_ACT_FILL) && (s->actions & RF_ACT_TURN))
        rf_round_absorb(s); /* both halves of a turn */
}

/* One submission for whichever sessions want one. *any: whether there was something to do. */
static enum rf_status submit_once(struct rf_model *model, rf_session *const *sessions, size_t count,
                                  bool *any, struct rf_error *err)
{
    struct submission sub = {.model = model};
    fill(&sub, sessions, count);
    *any = sub.session_count > 0;
    if (!*any)
        return RF_OK;
    struct rf_error failure;
    struct rf_profiling *profiling = NULL;
    enum rf_status status = rf_profiling_begin(&profiling, &sub, &failure);
    if (!status)
        status = run(&sub, &failure);
    if (status && sub.session_count == 1 && !sub.submitted && status != RF_ERROR_DEVICE_LOST) {
        sub.sessions[0]->failure = failure; /* no room for what it alone wants: the others go on */
        rf_profiling_free(profiling);
        return RF_OK;
    }
    for (uint32_t i = 0; status && status != RF_ERROR_DEVICE_LOST && sub.ran && i < sub.session_count; i++)
        sub.sessions[i]->broken = true;
    for (uint32_t i = 0; !status && i < sub.session_count; i++)
        absorb(&sub, i, sub.times.read - sub.times.record);
    sub.times.end = seconds_now();
    if (!status)
        status = rf_profiling_report(profiling, &sub, &failure);
    rf_profiling_free(profiling);
    if (status && err)
        *err = failure;
    return status;
}

static enum rf_status check_sessions(rf_session *const *sessions, size_t count, struct rf_error *err)
{
    if (!sessions && count)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_sessions_step: sessions are needed");
    for (size_t i = 0; i < count; i++) {
        if (!sessions[i] || sessions[i]->model != sessions[0]->model)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "rf_sessions_step: session %zu is NULL or of another model", i);
        for (size_t j = 0; j < i; j++)
            if (sessions[j] == sessions[i])
                return rf_fail(err, RF_ERROR_ARGUMENT,
                               "rf_sessions_step: sessions %zu and %zu are the same one", j, i);
    }
    return RF_OK;
}

/* Whether there is work, and the device is to be left alone. What was cancelled has no work any more. */
static bool must_rest(struct rf_gpu *gpu, rf_session *const *sessions, size_t count)
{
    bool any = false;
    if (rf_gpu_rest_left(gpu) <= 0.0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (wants_step(sessions[i]) && atomic_load(&sessions[i]->cancelled))
            rf_fail(&sessions[i]->failure, RF_ERROR_CANCELLED, "the response was cancelled");
        any = any || wants_step(sessions[i]);
    }
    return any;
}

/* Holds neither the turn nor a lock. rf_session_cancel, which a signal handler may call, wakes nobody: the sleeper
 * looks up every two milliseconds. */
static void rest(struct rf_gpu *gpu, rf_session *const *sessions, size_t count)
{
    const double glance = 2e-3;
    while (must_rest(gpu, sessions, count)) {
        const double left = rf_gpu_rest_left(gpu), pause = left < glance ? left : glance;
        const struct timespec time = {.tv_nsec = (long)(pause * 1e9)};
        nanosleep(&time, NULL);
    }
}

/* For tools: a step is what they capture at a time. */
static uint64_t begin_frame(struct rf_model *model, rf_session *const *sessions, size_t count)
{
    char label[64];
    if (!rf_gpu_labelled(model->gpu))
        return 0;
    if (count == 1)
        snprintf(label, sizeof label, "round %u", sessions[0]->stats.rounds);
    else
        snprintf(label, sizeof label, "step of %zu sessions", count);
    return rf_gpu_begin_frame(model->gpu, label);
}

static void begin_round(struct rf_session *s)
{
    s->round_over = false;
    s->event_count = 0;
    s->failure.status = RF_OK;
}

/* One submission, when it is this thread's turn. *any: false: there was nothing to do. */
static enum rf_status submit_in_turn(struct rf_model *model, rf_session *const *sessions, size_t count,
                                     bool *any, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    rest(model->gpu, sessions, count);
    rf_turns_take(&model->turns); /* other threads' sessions have theirs between submissions */
    pthread_mutex_lock(&model->mutex);
    if (!must_rest(model->gpu, sessions, count)) /* after what another thread submitted since */
        status = submit_once(model, sessions, count, any, err);
    pthread_mutex_unlock(&model->mutex);
    rf_turns_end(&model->turns);
    return status;
}

/* What became of a session of its own. */
static enum rf_status take_failure(struct rf_session *s, struct rf_error *err)
{
    if (s->failure.status == RF_ERROR_CANCELLED)
        atomic_store(&s->cancelled, false);
    if (s->failure.status && err)
        *err = s->failure;
    return s->failure.status;
}

enum rf_status rf_sessions_step(rf_session *const *sessions, size_t count, struct rf_error *err)
{
    enum rf_status status = check_sessions(sessions, count, err);
    if (status || count == 0)
        return status;
    struct rf_model *model = sessions[0]->model;
    RF_ALLOCATE_FROM(rf_gpu_allocator(model->gpu));
    for (size_t i = 0; i < count; i++)
        begin_round(sessions[i]);
    const uint64_t frame = begin_frame(model, sessions, count);
    bool any = true;
    while (!status && any)
        status = submit_in_turn(model, sessions, count, &any, err);
    if (status != RF_ERROR_DEVICE_LOST) {
        enum rf_status ended = rf_gpu_end_frame(model->gpu, frame, status ? NULL : err);
        status = status ? status : ended;
    }
    for (size_t i = 0; !status && i < count; i++)
        status = take_failure(sessions[i], err);
    return status;
}

enum rf_status rf_session_submit(struct rf_session *s, struct rf_error *err)
{
    RF_ALLOCATE_FROM(rf_gpu_allocator(s->model->gpu));
    bool any = true;
    if (s->round_over)
        begin_round(s);
    enum rf_status status = submit_in_turn(s->model, &s, 1, &any, err);
    return status ? status : take_failure(s, err);
}

enum rf_status rf_session_step(rf_session *session, const struct rf_event **events, size_t *count,
                               struct rf_error *err)
{
    if (!session)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_step: a session is needed");
    enum rf_status status = rf_sessions_step(&session, 1, err);
    if (events)
        *events = session->events;
    if (count)
        *count = session->event_count;
    return status;
}

enum rf_status rf_session_generate(rf_session *session, rf_event_fn on_event, void *user,
                                   struct rf_error *err)
{
    while (!rf_session_finished(session)) {
        enum rf_status status = rf_session_step(session, NULL, NULL, err);
        if (status)
            return status;
        for (size_t i = 0; on_event && i < session->event_count; i++)
            if (!on_event(user, session, &session->events[i]))
                return rf_fail(err, RF_ERROR_CANCELLED, "the response was cancelled by its event callback");
    }
    return RF_OK;
}
