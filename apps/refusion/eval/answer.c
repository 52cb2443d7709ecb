#include "apps/refusion/eval/answer.h"

#include "apps/refusion/interrupt.h"
#include "engine/decode/settings.h"
#include "engine/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct item {
    uint64_t sample;
    uint32_t variant;
};

/* A session at work. */
struct lane {
    rf_session *session; /* NULL: idle */
    struct item item;
    double seconds, latency;
    size_t recorded; /* command buffers when it began */
    bool again;      /* it is answered a second time */
};

struct run {
    const struct answering *job;
    struct item *items;
    size_t count, next, answered, right;
    struct lane *lanes;
    size_t lane_count;
    bool visible; /* progress on stderr */
    double begin, drawn;
};

struct rf_session_desc answer_desc(const struct settings *settings, const struct variant *variant,
                                   const char *preset)
{
    struct rf_session_desc desc = session_desc(settings);
    if (!desc.settings.preset)
        desc.settings.preset = preset;
    variant_apply(variant, &desc.settings);
    return desc;
}

static struct rf_session_desc desc_of(const struct answering *job, struct item item)
{
    return answer_desc(job->settings, &job->variants->items[item.variant],
                       job->samples->items[item.sample].preset);
}

/* Of all numbers that a sample is decoded with. */
static enum rf_status settings_hash(uint64_t *out, const struct rf_session_desc *desc, struct rf_error *err)
{
    struct rf_settings s;
    char text[512];
    enum rf_status status = rf_settings_resolve(&s, &desc->settings, err);
    if (status)
        return status;
    snprintf(text, sizeof text, "%d %u %u %u %.6g %.6g %.6g %llu %u %.6g %d", (int)s.decode, s.max_tokens,
             s.slot_size, s.block, (double)s.slot_threshold, (double)s.token_threshold, (double)s.temperature,
             (unsigned long long)s.seed, s.top_k, (double)s.top_p, desc->deterministic);
    *out = hash_text(HASH_START, text);
    for (uint32_t i = 0; i < desc->stop_count; i++)
        *out = hash_text(*out, desc->stops[i]);
    return RF_OK;
}

static void count_one(void *user, const struct rf_cmd *cmd, const char *label)
{
    (void)cmd, (void)label;
    ++*(size_t *)user;
}

static size_t count_recorded(const struct answering *job)
{
    size_t count = 0;
    rf_forward_visit(job->engine->model->forward, count_one, &count);
    return count;
}

/* ---- One answer ----------------------------------------------------------------------------------------- */

static enum rf_status begin(const struct answering *job, struct lane *lane, struct item item,
                            struct rf_error *err)
{
    double start = now_seconds();
    struct rf_session_desc desc = desc_of(job, item);
    *lane = (struct lane){.item = item, .recorded = count_recorded(job)};
    enum rf_status status = rf_session_create(&lane->session, job->engine->model, &desc, err);
    if (status)
        return status;
    struct rf_message messages[2];
    size_t count = 0;
    if (job->settings->system)
        messages[count++] = (struct rf_message){"system", job->settings->system};
    messages[count++] = (struct rf_message){"user", job->samples->items[item.sample].query};
    status = rf_session_begin_chat(lane->session, messages, count, !job->settings->no_thinking, err);
    lane->seconds = lane->latency = now_seconds() - start;
    return status;
}

static void end(struct lane *lane)
{
    rf_session_destroy(lane->session);
    *lane = (struct lane){0};
}

/* The texts of a record: of its sample, and what came out. False: no memory. */
static bool set_texts(struct record *record, const struct sample *sample, const char *reason,
                      const char *answer, const char *finish)
{
    record->task = strdup(sample->task);
    record->id = strdup(sample->id);
    record->reason = strdup(reason);
    record->answer = strdup(answer);
    record->finish = strdup(finish);
    return record->task && record->id && record->reason && record->answer && record->finish;
}

/* `unfit`: why it could not be answered at all; NULL: the lane's session is finished. */
static enum rf_status keep(struct run *run, struct lane *lane, const char *unfit, struct rf_error *err)
{
    const struct answering *job = run->job;
    const struct sample *sample = &job->samples->items[lane->item.sample];
    struct rf_session_stats stats = {0};
    struct verdict verdict = {0};
    struct rf_session_desc desc = desc_of(job, lane->item);
    const char *answer = unfit ? "" : rf_session_text(lane->session, NULL);
    const char *finish = unfit ? "none" : rf_session_finish_reason(lane->session);
    struct record record = {
        .sample = lane->item.sample, .variant = lane->item.variant, .query = sample->hash};
    enum rf_status status = settings_hash(&record.settings, &desc, err);
    if (!status && !unfit)
        status = check_answer(&verdict, sample, answer, &job->limits, err);
    if (status)
        return status;
    if (unfit)
        snprintf(verdict.reason, sizeof verdict.reason, "%s", unfit);
    else
        rf_session_get_stats(lane->session, &stats);
    record.right = verdict.right;
    record.prompt_tokens = stats.prompt_tokens;
    record.tokens = stats.shown_tokens;
    record.forwards = stats.forwards;
    record.counted = (uint64_t)(stats.tokens_per_forward * (double)stats.forwards + 0.5);
    record.seconds = lane->seconds;
    record.latency = lane->latency;
    if (!set_texts(&record, sample, verdict.reason, answer, finish)) {
        record_clear(&record);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for a result");
    }
    run->answered++;
    run->right += record.right;
    return results_add(job->results, &record, err);
}

/* ---- All of them ---------------------------------------------------------------------------------------- */

static void draw_progress(struct run *run)
{
    double now = now_seconds();
    if (!run->visible || now - run->drawn < 0.2 || !run->answered)
        return;
    run->drawn = now;
    const struct sample *sample = &run->job->samples->items[run->items[run->answered - 1].sample];
    fprintf(stderr, "\r\033[K%zu of %zu answers, %.1f %% right, at %.40s, %.0f s left", run->answered,
            run->count, 100.0 * (double)run->right / (double)run->answered, sample->task,
            (now - run->begin) / (double)run->answered * (double)(run->count - run->answered));
}

/* Begins the next sample in an idle lane. One that does not fit the context is a wrong answer, not the run's end. */
static enum rf_status begin_next(struct run *run, struct lane *lane, struct rf_error *err)
{
    enum rf_status status = begin(run->job, lane, run->items[run->next], err);
    if (!status) {
        run->next++;
        return RF_OK;
    }
    if (status == RF_ERROR_CONTEXT_FULL) {
        struct rf_error full = *err;
        run->next++;
        status = keep(run, lane, full.message, err);
    } else {
        const struct sample *sample = &run->job->samples->items[run->items[run->next].sample];
        status = rf_fail_within(err, status, "%s %s", sample->task, sample->id);
    }
    end(lane);
    return status;
}

/* Fills idle lanes. Variants are not mixed, so that none slows another down. */
static enum rf_status fill(struct run *run, struct rf_error *err)
{
    size_t busy = 0;
    uint32_t variant = 0;
    for (size_t i = 0; i < run->lane_count; i++) {
        if (run->lanes[i].session) {
            busy++;
            variant = run->lanes[i].item.variant;
        }
    }
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < run->lane_count && !status; i++) {
        while (!status && !run->lanes[i].session && run->next < run->count &&
               (!busy || run->items[run->next].variant == variant)) {
            variant = run->items[run->next].variant;
            status = begin_next(run, &run->lanes[i], err);
            busy += run->lanes[i].session != NULL;
        }
    }
    return status;
}

/* What a device does for the first time (pipelines, trials of kernels) is no answer's time: where something was
 * recorded meanwhile the sample is answered once more. */
static enum rf_status finish(struct run *run, struct lane *lane, struct rf_error *err)
{
    struct item item = lane->item;
    bool repeat = !lane->again && count_recorded(run->job) != lane->recorded;
    enum rf_status status = repeat ? RF_OK : keep(run, lane, NULL, err);
    end(lane);
    if (!repeat)
        return status;
    status = begin(run->job, lane, item, err);
    lane->again = true;
    return status;
}

/* One step of all busy lanes. */
static enum rf_status step(struct run *run, struct rf_error *err)
{
    rf_session *sessions[64];
    size_t busy = 0;
    for (size_t i = 0; i < run->lane_count; i++)
        if (run->lanes[i].session)
            sessions[busy++] = run->lanes[i].session;
    if (!busy)
        return RF_OK;
    double start = now_seconds();
    interrupt_watch(sessions[0]);
    enum rf_status status = interrupted() ? rf_fail(err, RF_ERROR_CANCELLED, "interrupted")
                            : busy == 1   ? rf_session_step(sessions[0], NULL, NULL, err)
                                          : rf_sessions_step(sessions, busy, err);
    interrupt_watch(NULL);
    double took = now_seconds() - start;
    for (size_t i = 0; i < run->lane_count && !status; i++) {
        struct lane *lane = &run->lanes[i];
        if (!lane->session)
            continue;
        lane->latency += took;
        lane->seconds += took / (double)busy;
        if (rf_session_finished(lane->session))
            status = finish(run, lane, err);
    }
    return status;
}

/* What is missing: sample by sample; with several at once variant by variant. */
static enum rf_status list_items(struct run *run, struct rf_error *err)
{
    const struct results *r = run->job->results;
    run->items = malloc((results_wanted(r) + 1) * sizeof *run->items);
    if (!run->items)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %llu answers",
                       (unsigned long long)results_wanted(r));
    uint64_t outer = run->lane_count > 1 ? r->variants : r->samples;
    uint64_t inner = run->lane_count > 1 ? r->samples : r->variants;
    for (uint64_t i = 0; i < outer; i++) {
        for (uint64_t k = 0; k < inner; k++) {
            uint64_t sample = run->lane_count > 1 ? k : i;
            uint32_t variant = (uint32_t)(run->lane_count > 1 ? i : k);
            if (results_mine(r, sample) && !results_has(r, sample, variant))
                run->items[run->count++] = (struct item){sample, variant};
        }
    }
    return RF_OK;
}

enum rf_status answer_all(struct answering *job, struct rf_error *err)
{
    struct lane lanes[64] = {{0}};
    struct run run = {.job = job,
                      .lanes = lanes,
                      .lane_count = job->settings->batch.given ? job->settings->batch.value : 1,
                      .visible = !job->settings->quiet && isatty(STDERR_FILENO)};
    enum rf_status status = list_items(&run, err);
    run.begin = now_seconds();
    while (!status && run.answered < run.count) {
        status = fill(&run, err);
        if (!status)
            status = step(&run, err);
        draw_progress(&run);
    }
    if (run.visible)
        fprintf(stderr, "\r\033[K");
    for (size_t i = 0; i < run.lane_count; i++)
        end(&lanes[i]);
    free(run.items);
    return status;
}
