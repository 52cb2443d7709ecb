/* Chrome's trace event format, which Perfetto opens: complete events ("X") with times in microseconds, tracks by
 * pid and tid, counters ("C"). Written as it goes, because a long run has a million dispatches.
 *
 * Host and device are on one clock. A device slice never begins before its submission was handed over nor ends
 * after the wait for it: where the clocks' error would have it so, the submission is moved by as much. */
#include "apps/refusion/profile/report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST = 1, DEVICE = 2, SLOTS = 3 };

struct writer {
    FILE *file;
    bool any;
    double last; /* end of the last submission on the device: slices of two never overlap */
};

static void next(struct writer *w)
{
    fputs(w->any ? ",\n" : "\n", w->file);
    w->any = true;
}

static void name_track(struct writer *w, int pid, const char *process, int tid, const char *thread)
{
    next(w);
    fprintf(w->file,
            "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"%s\"}}", pid,
            tid, process);
    next(w);
    fprintf(w->file,
            "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}", pid,
            tid, thread);
}

/* A JSON string's inside. */
static void put_escaped(FILE *file, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(file, "\\%c", c);
        else if (c < 0x20)
            fprintf(file, "\\u%04x", c);
        else
            fputc(c, file);
    }
}

/* Leaves the object open for args. */
static void begin_slice(struct writer *w, int pid, const char *name, double begin, double end)
{
    /* Both ends in whole nanoseconds: rounded apart from its begin, a length could reach into the next slice. */
    const long long from = llround(begin * 1e9), to = llround(end * 1e9), length = to > from ? to - from : 0;
    next(w);
    fprintf(w->file, "{\"ph\":\"X\",\"pid\":%d,\"tid\":1,\"ts\":%lld.%03lld,\"dur\":%lld.%03lld,\"name\":\"",
            pid, from / 1000, from % 1000, length / 1000, length % 1000);
    put_escaped(w->file, name);
    fputs("\",\"args\":{", w->file);
}

static void end_slice(struct writer *w)
{
    fputs("}}", w->file);
}

static void slice(struct writer *w, int pid, const char *name, double begin, double end)
{
    begin_slice(w, pid, name, begin, end);
    end_slice(w);
}

static void counter(struct writer *w, const char *name, double at, double value)
{
    next(w);
    fprintf(w->file,
            "{\"ph\":\"C\",\"pid\":%d,\"tid\":1,\"ts\":%.3f,\"name\":\"%s\",\"args\":{\"value\":%.0f}}",
            DEVICE, at * 1e6, name, value);
}

static void dispatch_slice(struct writer *w, const struct profile_report *r, const struct profile_dispatch *d,
                           double begin, double end, uint32_t members)
{
    const struct profile_kernel *kernel = &r->profile->kernels[d->kernel];
    char name[160];
    double seconds = end - begin;
    if (d->layer >= 0)
        snprintf(name, sizeof name, "L%d/%s/%s", d->layer, kernel->op, kernel->shader);
    else
        snprintf(name, sizeof name, "%s/%s", kernel->op, kernel->shader);
    begin_slice(w, DEVICE, name, begin, end);
    fprintf(w->file,
            "\"rows\":%u,\"bytes_read\":%" PRIu64 ",\"bytes_written\":%" PRIu64 ",\"operations\":%" PRIu64
            ",\"pass\":%u,\"group\":%u",
            d->rows, d->read, d->written, d->operations, d->pass, d->group);
    if (seconds > 0.0)
        fprintf(w->file, ",\"gb_per_second\":%.3f,\"tflops\":%.5f",
                (double)(d->read + d->written) * 1e-9 / seconds, (double)d->operations * 1e-12 / seconds);
    if (members > 1)
        fprintf(w->file, ",\"shares_time_with\":%u", members - 1);
    end_slice(w);
}

/* Dispatches of a group may have run side by side, and slices of a track may not overlap: each gets an equal
 * part of the group's time, and says so. */
static void dispatch_slices(struct writer *w, const struct profile_report *r,
                            const struct profile_submission *s, double gpu_begin)
{
    const struct profile_dispatch *all = r->profile->dispatches;
    for (size_t first = s->first, end = s->first + s->count, after; first < end; first = after) {
        after = first + 1;
        while (after < end && all[after].group == all[first].group)
            after++;
        uint32_t members = (uint32_t)(after - first);
        double begin = gpu_begin + all[first].begin, part = (all[first].end - all[first].begin) / members;
        for (size_t n = first; n < after; n++)
            dispatch_slice(w, r, &all[n], begin + part * (double)(n - first),
                           begin + part * (double)(n - first + 1), members);
    }
}

static void submission_slices(struct writer *w, const struct profile_report *r,
                              const struct profile_submission *s)
{
    slice(w, HOST, profile_phase((int)s->phase), s->record_begin, s->end);
    slice(w, HOST, "record", s->record_begin, s->submit_begin);
    slice(w, HOST, "submit", s->submit_begin, s->wait_begin);
    slice(w, HOST, "wait", s->wait_begin, s->read_begin);
    slice(w, HOST, "read", s->read_begin, s->end);
    if (s->gpu_end <= s->gpu_begin)
        return;
    double begin = s->gpu_begin, span = s->gpu_end - s->gpu_begin;
    if (begin + span > s->read_begin)
        begin = s->read_begin - span;
    if (begin < s->submit_begin)
        begin = s->submit_begin;
    if (begin < w->last)
        begin = w->last;
    w->last = begin + span;
    begin_slice(w, DEVICE, profile_phase((int)s->phase), begin, begin + span);
    fprintf(w->file, "\"round\":%u,\"rows\":%u,\"outputs\":%u,\"slots\":%u,\"chosen\":%u,\"committed\":%u",
            s->round, s->rows[0] + s->rows[1], s->outputs[0] + s->outputs[1], s->remaining_slots,
            s->chosen_slots, s->committed_tokens);
    end_slice(w);
    dispatch_slices(w, r, s, begin);
    counter(w, "rows", begin, s->rows[0] + s->rows[1]);
    counter(w, "rows", begin + span, 0);
    counter(w, "KV pages", begin, s->kv_pages);
    counter(w, "device memory, bytes", begin, (double)s->device_memory);
}

/* Rounds enclose their submissions, on the host's track; on the device's, submissions tell their round. */
static void run_slices(struct writer *w, const struct profile_report *r, const struct profile_run *run)
{
    static const char *const names[] = {"without profile", "free-running", "serialised", "host only",
                                        "counters"};
    const struct profile_submission *all = r->profile->submissions;
    slice(w, HOST, names[run->mode], run->begin, run->begin + run->seconds);
    if (run->mode == RF_PROFILE_OFF) /* of whose submissions the host's half alone is known */
        return;
    for (uint32_t first = run->first, end = run->first + run->count, after; first < end; first = after) {
        char name[32];
        after = first + 1;
        while (after < end && all[after].round == all[first].round)
            after++;
        snprintf(name, sizeof name, "round %u", all[first].round);
        slice(w, HOST, name, all[first].record_begin, all[after - 1].end);
        double device = w->last; /* where the first of its slices cannot begin before */
        if (all[first].gpu_end > all[first].gpu_begin) {
            double begin = all[first].submit_begin > device ? all[first].submit_begin : device;
            slice(w, DEVICE, name, begin, all[after - 1].read_begin);
        }
        for (uint32_t i = first; i < after; i++)
            submission_slices(w, r, &all[i]);
        w->last = w->last > all[after - 1].read_begin ? w->last : all[after - 1].read_begin;
    }
}

static double round_time(const struct profile_report *r, const struct profile_run *run, uint32_t round,
                         bool end)
{
    const struct profile_submission *all = r->profile->submissions;
    double at = run->begin;
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        if (all[i].round != round)
            continue;
        if (!end)
            return all[i].record_begin;
        at = all[i].end;
    }
    return at;
}

/* What became of each position: planned in rounds, committed or dropped in one. Each position is
 * a track of its own. */
static void slot_slices(struct writer *w, const struct profile_report *r, const struct profile_run *run)
{
    for (size_t i = 0; i < run->event_count; i++) {
        const struct profile_event *event = &run->events[i];
        const char *what = event->kind == RF_EVENT_PLANNED     ? "planned"
                           : event->kind == RF_EVENT_COMMITTED ? "committed"
                           : event->kind == RF_EVENT_DROPPED   ? "dropped"
                                                               : NULL;
        if (!what)
            continue;
        double at = round_time(r, run, event->round, event->kind != RF_EVENT_PLANNED);
        for (uint32_t p = 0; p < event->count; p++) {
            next(w);
            fprintf(w->file,
                    "{\"ph\":\"i\",\"s\":\"t\",\"pid\":%d,\"tid\":%u,\"ts\":%.3f,\"name\":\"%s\",\"args\":{"
                    "\"position\":%u,\"round\":%u,\"token\":%u}}",
                    SLOTS, event->position + p + 1, at * 1e6, what, event->position + p, event->round,
                    event->token);
        }
    }
    next(w);
    fprintf(w->file,
            "{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"positions of the "
            "response\"}}",
            SLOTS);
}

static void write_events(struct writer *w, const struct profile_report *r)
{
    const struct profile *p = r->profile;
    name_track(w, HOST, "host", 1, "the thread that steps");
    name_track(w, DEVICE, "device", 1, "queue");
    for (uint32_t i = 0; i < p->run_count; i++)
        run_slices(w, r, &p->runs[i]);
    const struct profile_run *run = profile_first_run(p, RF_PROFILE_FREE);
    if (!run)
        run = profile_first_run(p, RF_PROFILE_HOST);
    if (run)
        slot_slices(w, r, run);
}

enum rf_status profile_write_timeline(const struct profile_report *r, const char *path, struct rf_error *err)
{
    struct writer w = {.file = fopen(path, "w")};
    if (!w.file)
        return rf_fail(err, RF_ERROR_IO, "--timeline: %s: %s", path, strerror(errno));
    fprintf(w.file, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"device\":\"");
    put_escaped(w.file, r->device.name);
    fputs("\",\"driver\":\"", w.file);
    put_escaped(w.file, r->device.driver);
    fprintf(w.file, "\",\"refusion\":\"%s\",\"clock\":\"%s\",\"clock_error_us\":\"%.3f\"},\"traceEvents\":[",
            rf_version(),
            r->profile->calibrated ? "VK_EXT_calibrated_timestamps" : "bounded by submit and wait",
            r->profile->clock_error * 1e6);
    write_events(&w, r);
    fputs("\n]}\n", w.file);
    bool failed = ferror(w.file) != 0;
    if (fclose(w.file) != 0 || failed)
        return rf_fail(err, RF_ERROR_IO, "--timeline: %s: %s", path, strerror(errno));
    return RF_OK;
}
