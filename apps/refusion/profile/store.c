#include "apps/refusion/profile/store.h"

#include "apps/refusion/engine_open.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One more item in an array whose room doubles whenever the count is a power of two. NULL without memory. */
static void *grow(void *array, size_t count, size_t more, size_t size)
{
    size_t room = 1;
    while (room < count)
        room *= 2;
    if (count && count + more <= room)
        return array;
    while (room < count + more)
        room *= 2;
    return realloc(array, room * size);
}

#define RESERVE(array, count, more)                                                                          \
    do {                                                                                                     \
        void *grown = grow(array, count, more, sizeof *(array));                                             \
        if (!grown)                                                                                          \
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %zu records",             \
                           (size_t)(count) + (more));                                                        \
        (array) = grown;                                                                                     \
    } while (0)

void profile_init(struct profile *profile)
{
    *profile = (struct profile){.origin = now_seconds(), .calibrated = true};
}

void profile_free(struct profile *profile)
{
    for (uint32_t i = 0; i < profile->run_count; i++)
        free(profile->runs[i].events);
    free(profile->runs);
    free(profile->submissions);
    free(profile->dispatches);
    free(profile->values);
    free(profile->kernels);
    *profile = (struct profile){0};
}

static struct profile_run *current(const struct profile *profile)
{
    return &profile->runs[profile->run_count - 1];
}

static enum rf_status add_run(struct profile *profile, enum rf_profile_mode mode, struct rf_error *err)
{
    RESERVE(profile->runs, profile->run_count, 1);
    profile->runs[profile->run_count++] = (struct profile_run){
        .mode = mode, .begin = now_seconds() - profile->origin, .first = profile->submission_count};
    return RF_OK;
}

struct profile_run *profile_begin_run(struct profile *profile, enum rf_profile_mode mode)
{
    return add_run(profile, mode, &profile->failure) ? NULL : current(profile);
}

void profile_end_run(struct profile *profile, rf_session *session)
{
    struct profile_run *run = current(profile);
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    run->seconds = now_seconds() - profile->origin - run->begin;
    run->count = profile->submission_count - run->first;
    run->tokens = stats.shown_tokens;
    run->rounds = stats.rounds;
    run->forwards = stats.forwards;
    run->tokens_per_forward = stats.tokens_per_forward;
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        const struct profile_submission *s = &profile->submissions[i];
        run->span += s->gpu_end - s->gpu_begin;
        run->groups += s->groups;
        run->record += s->submit_begin - s->record_begin;
        run->submit += s->wait_begin - s->submit_begin;
        run->wait += s->read_begin - s->wait_begin;
        run->read += s->end - s->read_begin;
        profile->calibrated = profile->calibrated && (s->calibrated || s->gpu_end <= s->gpu_begin);
        profile->clock_error = fmax(profile->clock_error, s->clock_error);
    }
}

void profile_drop_run(struct profile *profile)
{
    struct profile_run *run = current(profile);
    if (run->first < profile->submission_count) {
        profile->dispatch_count = profile->submissions[run->first].first;
        profile->value_count = profile->submissions[run->first].first_value;
    }
    profile->submission_count = run->first;
    free(run->events);
    profile->run_count--;
}

void profile_pause(struct profile *profile)
{
    profile->paused = now_seconds();
}

void profile_resume(struct profile *profile)
{
    profile->origin += now_seconds() - profile->paused;
}

enum rf_status profile_take_run(struct profile *profile, struct profile *from, struct rf_error *err)
{
    struct profile_run *run = &from->runs[0];
    const double begin = now_seconds() - profile->origin, later = begin - run->begin;
    RESERVE(profile->submissions, profile->submission_count, run->count);
    enum rf_status status = add_run(profile, run->mode, err);
    if (status)
        return status;
    for (uint32_t i = 0; i < run->count; i++) {
        struct profile_submission *s = &profile->submissions[profile->submission_count++];
        *s = from->submissions[run->first + i];
        s->run = profile->run_count - 1;
        s->first = profile->dispatch_count;
        s->first_value = profile->value_count;
        s->record_begin += later;
        s->submit_begin += later;
        s->wait_begin += later;
        s->read_begin += later;
        s->end += later;
    }
    run->first = current(profile)->first;
    run->begin = begin;
    *current(profile) = *run;
    run->events = NULL; /* are the new run's */
    profile->origin -= run->seconds;
    profile_free(from);
    return RF_OK;
}

enum rf_status profile_keep_events(struct profile *profile, rf_session *session, struct rf_error *err)
{
    struct profile_run *run = current(profile);
    size_t count;
    const struct rf_event *events = rf_session_events(session, &count);
    if (count)
        RESERVE(run->events, run->event_count, count);
    for (size_t i = 0; i < count; i++)
        run->events[run->event_count++] = (struct profile_event){
            events[i].kind, events[i].round, events[i].position, events[i].count, events[i].token};
    return RF_OK;
}

/* There are a few dozen; names live as long as the context. */
static enum rf_status find_kernel(struct profile *profile, const char *op, const char *shader, uint32_t *out,
                                  struct rf_error *err)
{
    for (uint32_t i = 0; i < profile->kernel_count; i++) {
        *out = i;
        if (profile->kernels[i].op == op && profile->kernels[i].shader == shader)
            return RF_OK;
    }
    for (uint32_t i = 0; i < profile->kernel_count; i++) {
        *out = i;
        if (strcmp(profile->kernels[i].op, op) == 0 && strcmp(profile->kernels[i].shader, shader) == 0)
            return RF_OK;
    }
    RESERVE(profile->kernels, profile->kernel_count, 1);
    *out = profile->kernel_count;
    profile->kernels[profile->kernel_count++] = (struct profile_kernel){op, shader};
    return RF_OK;
}

static enum rf_status keep_dispatches(struct profile *profile, const struct rf_profile_record *record,
                                      struct profile_submission *submission, struct rf_error *err)
{
    uint32_t group = UINT32_MAX;
    submission->first = profile->dispatch_count;
    submission->count = record->dispatch_count;
    if (record->dispatch_count)
        RESERVE(profile->dispatches, profile->dispatch_count, record->dispatch_count);
    for (uint32_t i = 0; i < record->dispatch_count; i++) {
        const struct rf_profile_dispatch *d = &record->dispatches[i];
        struct profile_dispatch *out = &profile->dispatches[profile->dispatch_count++];
        *out = (struct profile_dispatch){.layer = d->layer,
                                         .submission = profile->submission_count,
                                         .pass = d->pass,
                                         .group = d->group,
                                         .rows = d->rows,
                                         .read = d->bytes_read,
                                         .written = d->bytes_written,
                                         .operations = d->operations,
                                         .begin = d->begin,
                                         .end = d->end};
        enum rf_status status = find_kernel(profile, d->op, d->shader, &out->kernel, err);
        if (status)
            return status;
        if (d->group != group)
            submission->groups += d->end - d->begin;
        group = d->group;
    }
    return RF_OK;
}

static enum rf_status keep_values(struct profile *profile, const struct rf_profile_record *record,
                                  struct profile_submission *submission, struct rf_error *err)
{
    const size_t count = (size_t)record->dispatch_count * record->counter_count;
    submission->first_value = profile->value_count;
    if (!count)
        return RF_OK;
    RESERVE(profile->values, profile->value_count, count);
    memcpy(profile->values + profile->value_count, record->counters, count * sizeof *record->counters);
    profile->value_count += count;
    profile->counter_count = record->counter_count;
    return RF_OK;
}

static enum rf_status keep(struct profile *profile, const struct rf_profile_record *record,
                           struct rf_error *err)
{
    const struct rf_profile_session *session = &record->sessions[0]; /* the program steps one */
    const double origin = profile->origin;
    struct profile_submission submission = {.run = profile->run_count - 1,
                                            .phase = session->phase,
                                            .round = session->round,
                                            .rows = {record->rows[0], record->rows[1]},
                                            .outputs = {record->outputs[0], record->outputs[1]},
                                            .remaining_slots = session->remaining_slots,
                                            .chosen_slots = session->chosen_slots,
                                            .committed_tokens = session->committed_tokens,
                                            .kv_pages = session->kv_pages,
                                            .device_memory = record->device_memory,
                                            .record_begin = record->record_begin - origin,
                                            .submit_begin = record->submit_begin - origin,
                                            .wait_begin = record->wait_begin - origin,
                                            .read_begin = record->read_begin - origin,
                                            .end = record->end - origin,
                                            .clock_error = record->clock_error,
                                            .calibrated = record->calibrated};
    if (record->gpu_end > record->gpu_begin) {
        submission.gpu_begin = record->gpu_begin - origin;
        submission.gpu_end = record->gpu_end - origin;
    }
    RESERVE(profile->submissions, profile->submission_count, 1);
    enum rf_status status = keep_dispatches(profile, record, &submission, err);
    if (!status)
        status = keep_values(profile, record, &submission, err);
    if (!status)
        profile->submissions[profile->submission_count++] = submission;
    return status;
}

void profile_on_record(void *user, const struct rf_profile_record *record)
{
    struct profile *profile = user;
    if (!profile->failure.status)
        keep(profile, record, &profile->failure);
}
