/* The profile as one JSON object, version PROFILE_JSON_VERSION: what --json prints, --compare reads and --html
 * draws. docs/profiling.md lists its parts. */
#include "apps/refusion/profile/profile_json.h"
#include "apps/refusion/bench_report.h"
#include "apps/refusion/respond.h"

#include "engine/decode/settings.h"

#include <math.h>
#include <stdlib.h>

enum { COSTLIEST = 10, TRACE_DISPATCHES = 8000 };

/* Nanoseconds are more than any clock here tells, and shorter to write. */
static void add_seconds(cJSON *object, const char *name, double seconds)
{
    cJSON_AddNumberToObject(object, name, round(seconds * 1e9) * 1e-9);
}

/* Six digits. */
static void add_rate(cJSON *object, const char *name, double rate)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", rate);
    cJSON_AddNumberToObject(object, name, strtod(text, NULL));
}

static void add_count(cJSON *object, const char *name, uint64_t count)
{
    cJSON_AddNumberToObject(object, name, (double)count);
}

static cJSON *device_json(const struct profile_report *r)
{
    cJSON *json = cJSON_CreateObject();
    bool timed = r->free.span > 0.0 || r->serial.span > 0.0;
    cJSON_AddStringToObject(json, "name", r->device.name);
    cJSON_AddStringToObject(json, "driver", r->device.driver);
    cJSON_AddStringToObject(json, "type", r->device.type);
    cJSON_AddStringToObject(json, "tiers", r->device.tiers);
    cJSON_AddBoolToObject(json, "timestamps", timed);
    cJSON *clock = cJSON_AddObjectToObject(json, "clock");
    cJSON_AddStringToObject(clock, "kind",
                            !timed                   ? "none"
                            : r->profile->calibrated ? "calibrated"
                                                     : "bounded");
    add_rate(clock, "error_us", timed ? r->profile->clock_error * 1e6 : 0.0);
    return json;
}

static cJSON *model_json(const struct profile_report *r)
{
    const struct rf_model_info *m = &r->model;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", r->model_name);
    cJSON_AddStringToObject(json, "precision", m->precision);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"layers", m->layers},     {"hidden", m->hidden},         {"heads", m->heads},
        {"kv_heads", m->kv_heads}, {"head_dim", m->head_dim},     {"ffn", m->ffn},
        {"vocab", m->vocab},       {"parameters", m->parameters}, {"weight_bytes", m->weight_bytes}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        add_count(json, numbers[i].name, numbers[i].value);
    return json;
}

static cJSON *settings_json(const struct profile_report *r)
{
    const struct settings *s = r->settings;
    struct rf_session_desc desc = session_desc(s);
    struct rf_settings n;
    cJSON *json = cJSON_CreateObject();
    if (!desc.settings.preset)
        desc.settings.preset = r->model.preset;
    if (rf_settings_resolve(&n, &desc.settings, NULL))
        return json;
    cJSON_AddStringToObject(json, "decode", n.decode == RF_DECODE_AR ? "ar" : "refusion");
    cJSON_AddStringToObject(json, "preset", desc.settings.preset);
    add_count(json, "slot_size", n.slot_size);
    add_count(json, "block", n.block);
    add_rate(json, "slot_threshold", (double)n.slot_threshold);
    add_rate(json, "token_threshold", (double)n.token_threshold);
    add_rate(json, "temperature", (double)n.temperature);
    add_count(json, "seed", n.seed);
    add_count(json, "prompt_tokens", r->prompt_tokens);
    add_count(json, "max_tokens", n.max_tokens);
    return json;
}

static cJSON *runs_json(const struct profile_report *r)
{
    static const char *const names[] = {"off", "free", "serial", "host", "counters"};
    cJSON *array = cJSON_CreateArray();
    for (uint32_t i = 0; i < r->profile->run_count; i++) {
        const struct profile_run *run = &r->profile->runs[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(array, json);
        cJSON_AddStringToObject(json, "mode", names[run->mode]);
        add_seconds(json, "seconds", run->seconds);
        add_seconds(json, "gpu_seconds", run->span);
        add_seconds(json, "record", run->record);
        add_seconds(json, "submit", run->submit);
        add_seconds(json, "wait", run->wait);
        add_seconds(json, "read", run->read);
        add_count(json, "tokens", run->tokens);
        add_count(json, "rounds", run->rounds);
        add_count(json, "forwards", run->forwards);
        add_rate(json, "tokens_per_forward", run->tokens_per_forward);
        add_rate(json, "tokens_per_second", run->seconds > 0.0 ? run->tokens / run->seconds : 0.0);
    }
    return array;
}

static void add_figures(cJSON *json, const struct profile_sums *sums, const struct profile_sum *s)
{
    add_count(json, "calls", s->calls);
    add_rate(json, "rows_mean", s->calls ? (double)s->rows / (double)s->calls : 0.0);
    add_seconds(json, "total", s->total);
    add_seconds(json, "mean", s->calls ? s->total / (double)s->calls : 0.0);
    add_seconds(json, "least", s->least);
    add_seconds(json, "most", s->most);
    add_seconds(json, "free_total", s->free_total);
    add_rate(json, "share", sums->total > 0.0 ? s->total / sums->total : 0.0);
    add_count(json, "bytes_read", s->read);
    add_count(json, "bytes_written", s->written);
    add_count(json, "operations", s->operations);
    add_rate(json, "gb_per_second", profile_gb_per_second(s));
    add_rate(json, "tflops", profile_tflops(s));
    if (s->floor_seconds > 0.0)
        add_rate(json, "percent_of_floor", profile_percent_of_floor(s));
    if (s->has_settled) {
        add_seconds(json, "settled", s->settled);
        add_rate(json, "settled_error", s->settled_error);
    }
    cJSON *runs = cJSON_AddArrayToObject(json, "run_totals");
    for (uint32_t i = 0; i < sums->serial_runs; i++)
        cJSON_AddItemToArray(runs, cJSON_CreateNumber(round(s->run_totals[i] * 1e9) * 1e-9));
}

static enum rf_status add_sums(cJSON *object, const char *name, const struct profile_report *r, unsigned keys,
                               struct rf_error *err)
{
    struct profile_sums sums;
    enum rf_status status = profile_sum_up(&sums, r->profile, keys, r->bench, err);
    if (status)
        return status;
    cJSON *array = cJSON_AddArrayToObject(object, name);
    for (uint32_t i = 0; i < sums.count; i++) {
        const struct profile_sum *s = &sums.items[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(array, json);
        if (keys & BY_LAYER)
            cJSON_AddNumberToObject(json, "layer", s->layer);
        if (s->kernel != NO_KERNEL)
            cJSON_AddStringToObject(json, "op", r->profile->kernels[s->kernel].op);
        if (keys & BY_KERNEL)
            cJSON_AddStringToObject(json, "shader", r->profile->kernels[s->kernel].shader);
        if (keys & BY_PHASE)
            cJSON_AddStringToObject(json, "phase", profile_phase(s->phase));
        add_figures(json, &sums, s);
    }
    profile_sums_free(&sums);
    return RF_OK;
}

static enum rf_status add_rounds(cJSON *object, const struct profile_report *r, struct rf_error *err)
{
    struct profile_round *rounds;
    uint32_t count;
    enum rf_status status = profile_rounds(&rounds, &count, r->profile, err);
    if (status)
        return status;
    cJSON *array = cJSON_AddArrayToObject(object, "rounds");
    for (uint32_t i = 0; i < count; i++) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(array, json);
        add_count(json, "round", rounds[i].round);
        add_count(json, "submissions", rounds[i].submissions);
        add_count(json, "rows", rounds[i].rows);
        add_count(json, "forwards", rounds[i].forwards);
        add_seconds(json, "record", rounds[i].record);
        add_seconds(json, "submit", rounds[i].submit);
        add_seconds(json, "wait", rounds[i].wait);
        add_seconds(json, "read", rounds[i].read);
        add_seconds(json, "gpu", rounds[i].gpu);
        add_count(json, "slots_remaining", rounds[i].remaining_slots);
        add_count(json, "slots_chosen", rounds[i].chosen_slots);
        add_count(json, "tokens_committed", rounds[i].committed_tokens);
    }
    free(rounds);
    return RF_OK;
}

static cJSON *costliest_json(const struct profile_report *r)
{
    const struct profile *p = r->profile;
    size_t found[COSTLIEST + 1];
    uint32_t count = profile_costliest(p, found, COSTLIEST);
    cJSON *array = cJSON_CreateArray();
    for (uint32_t i = 0; i < count; i++) {
        const struct profile_dispatch *d = &p->dispatches[found[i]];
        double seconds = d->end - d->begin;
        double floor = r->bench ? rf_bench_floor(r->bench, d->read + d->written, d->operations) : 0.0;
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(array, json);
        cJSON_AddStringToObject(json, "op", p->kernels[d->kernel].op);
        cJSON_AddStringToObject(json, "shader", p->kernels[d->kernel].shader);
        cJSON_AddNumberToObject(json, "layer", d->layer);
        cJSON_AddStringToObject(json, "phase", profile_phase((int)p->submissions[d->submission].phase));
        add_count(json, "round", p->submissions[d->submission].round);
        add_count(json, "rows", d->rows);
        add_seconds(json, "seconds", seconds);
        add_rate(json, "gb_per_second",
                 seconds > 0.0 ? (double)(d->read + d->written) * 1e-9 / seconds : 0.0);
        add_rate(json, "tflops", seconds > 0.0 ? (double)d->operations * 1e-12 / seconds : 0.0);
        if (floor > 0.0)
            add_rate(json, "percent_of_floor", 100.0 * floor / seconds);
    }
    return array;
}

static enum rf_status add_events(cJSON *object, const struct profile_report *r, const struct profile_run *run,
                                 struct rf_error *err)
{
    cJSON *array = cJSON_AddArrayToObject(object, "events");
    for (size_t i = 0; run && i < run->event_count; i++) {
        const struct profile_event *event = &run->events[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(array, json);
        cJSON_AddStringToObject(json, "kind", event_name(event->kind));
        add_count(json, "round", event->round);
        add_count(json, "position", event->position);
        add_count(json, "count", event->count);
        if (event->kind != RF_EVENT_PLANNED && event->kind != RF_EVENT_COMMITTED)
            continue;
        add_count(json, "token", event->token);
        char *piece;
        size_t length;
        if (!r->tokenizer)
            continue;
        enum rf_status status =
            rf_tokenizer_decode(r->tokenizer, &event->token, 1, false, &piece, &length, err);
        if (status)
            return status;
        cJSON_AddStringToObject(json, "text", piece);
        rf_free(piece);
    }
    return RF_OK;
}

static cJSON *submission_json(const struct profile_submission *s, uint32_t index, double origin)
{
    cJSON *json = cJSON_CreateObject();
    add_count(json, "index", index);
    add_count(json, "run", s->run);
    cJSON_AddStringToObject(json, "phase", profile_phase((int)s->phase));
    add_count(json, "round", s->round);
    cJSON_AddItemToObject(json, "rows",
                          cJSON_CreateIntArray((const int[]){(int)s->rows[0], (int)s->rows[1]}, 2));
    add_count(json, "outputs", s->outputs[0] + s->outputs[1]);
    cJSON *host = cJSON_AddObjectToObject(json, "host");
    add_seconds(host, "begin", s->record_begin - origin);
    add_seconds(host, "record", s->submit_begin - s->record_begin);
    add_seconds(host, "submit", s->wait_begin - s->submit_begin);
    add_seconds(host, "wait", s->read_begin - s->wait_begin);
    add_seconds(host, "read", s->end - s->read_begin);
    if (s->gpu_end > s->gpu_begin) {
        cJSON *gpu = cJSON_AddObjectToObject(json, "gpu");
        add_seconds(gpu, "begin", s->gpu_begin - origin);
        add_seconds(gpu, "end", s->gpu_end - origin);
    } else {
        cJSON_AddNullToObject(json, "gpu");
    }
    add_count(json, "kv_pages", s->kv_pages);
    add_count(json, "memory_bytes", s->device_memory);
    return json;
}

/* Dispatches of as many submissions, evenly spaced, as a page can bear. */
static cJSON *trace_json(const struct profile_report *r, const struct profile_run *run)
{
    const struct profile *p = r->profile;
    cJSON *json = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(json, "ops");
    for (uint32_t i = 0; i < p->kernel_count; i++)
        cJSON_AddItemToArray(
            names, cJSON_CreateStringArray((const char *const[]){p->kernels[i].op, p->kernels[i].shader}, 2));
    cJSON *list = cJSON_AddArrayToObject(json, "dispatches");
    uint64_t all = 0;
    for (uint32_t i = 0; run && i < run->count; i++)
        all += p->submissions[run->first + i].count;
    uint32_t step = (uint32_t)(all / TRACE_DISPATCHES) + 1, kept = 0;
    for (uint32_t i = 0; run && i < run->count; i += step, kept++) {
        const struct profile_submission *s = &p->submissions[run->first + i];
        double base = s->gpu_begin - run->begin;
        for (size_t n = s->first; n < s->first + s->count; n++) {
            const struct profile_dispatch *d = &p->dispatches[n];
            const double values[] = {i,
                                     d->kernel,
                                     d->layer,
                                     d->pass,
                                     d->group,
                                     d->rows,
                                     (double)d->read,
                                     (double)d->written,
                                     (double)d->operations,
                                     round((base + d->begin) * 1e9) * 1e-9,
                                     round((base + d->end) * 1e9) * 1e-9};
            cJSON_AddItemToArray(list, cJSON_CreateDoubleArray(values, sizeof values / sizeof *values));
        }
    }
    add_count(json, "submissions", kept);
    add_count(json, "of", run ? run->count : 0);
    return json;
}

void profile_add_identity(cJSON *object, const struct profile_report *r)
{
    char date[32];
    bench_date(date);
    cJSON_AddStringToObject(object, "format", PROFILE_JSON_FORMAT);
    cJSON_AddNumberToObject(object, "version", PROFILE_JSON_VERSION);
    cJSON_AddStringToObject(object, "refusion", rf_version());
    cJSON_AddStringToObject(object, "date", date);
    cJSON_AddItemToObject(object, "device", device_json(r));
    cJSON_AddItemToObject(object, "model", model_json(r));
}

static void add_cost(cJSON *totals, const struct profile_cost *cost)
{
    add_rate(totals, "free_cost", cost->share);
    add_rate(totals, "free_cost_low", cost->low);
    add_rate(totals, "free_cost_high", cost->high);
    add_rate(totals, "free_cost_confidence", cost->confidence);
    cJSON_AddNumberToObject(totals, "free_cost_turns", cost->turns);
    cJSON_AddNumberToObject(totals, "free_cost_pairs", cost->pairs);
    cJSON_AddBoolToObject(totals, "free_cost_told", cost->told);
}

static void add_head(cJSON *object, const struct profile_report *r)
{
    char text[1800];
    profile_explain(r, text, sizeof text);
    profile_add_identity(object, r);
    cJSON_AddItemToObject(object, "settings", settings_json(r));
    if (r->bench)
        cJSON_AddItemToObject(object, "ceilings", bench_ceilings_json(&r->ceilings));
    else
        cJSON_AddNullToObject(object, "ceilings");
    cJSON_AddStringToObject(object, "explanation", text);
    cJSON_AddItemToObject(object, "runs", runs_json(r));
    cJSON *totals = cJSON_AddObjectToObject(object, "totals");
    add_seconds(totals, "off_seconds", r->off.seconds);
    add_seconds(totals, "free_seconds", r->free.seconds);
    add_seconds(totals, "free_span", r->free.span);
    add_seconds(totals, "free_groups", r->free.groups);
    add_rate(totals, "free_spread", r->free.spread);
    if (r->has_cost)
        add_cost(totals, &r->cost);
    add_seconds(totals, "serial_sum", r->serial.groups);
    add_rate(totals, "serial_spread", r->serial.spread);
    const struct profile_serialising more = profile_serialising(r->profile);
    if (more.turns) {
        add_rate(totals, "serial_beside_free", more.share);
        add_rate(totals, "serial_beside_free_low", more.low);
        add_rate(totals, "serial_beside_free_high", more.high);
    }
}

enum rf_status profile_to_json(cJSON **out, const struct profile_report *r, bool trace, struct rf_error *err)
{
    const struct profile *p = r->profile;
    const struct profile_run *run = profile_first_run(p, RF_PROFILE_FREE);
    if (!run)
        run = profile_first_run(p, RF_PROFILE_HOST);
    cJSON *object = *out = cJSON_CreateObject();
    add_head(object, r);
    enum rf_status status = add_sums(object, "shaders", r, BY_KERNEL | BY_PHASE, err);
    if (!status)
        status = add_sums(object, "layers", r, BY_LAYER | BY_OP, err);
    if (!status)
        status = add_sums(object, "phases", r, BY_PHASE, err);
    if (!status)
        status = add_rounds(object, r, err);
    if (!status)
        status = add_events(object, r, run, err);
    if (!status)
        status = profile_counters_json(object, r, err);
    if (status) {
        cJSON_Delete(object);
        *out = NULL;
        return status;
    }
    cJSON_AddItemToObject(object, "costliest", costliest_json(r));
    cJSON_AddItemToObject(object, "pipelines",
                          r->pipelines ? cJSON_Duplicate(r->pipelines, true) : cJSON_CreateArray());
    cJSON *submissions = cJSON_AddArrayToObject(object, "submissions");
    for (uint32_t i = 0; run && i < run->count; i++)
        cJSON_AddItemToArray(submissions, submission_json(&p->submissions[run->first + i], i, run->begin));
    if (trace)
        cJSON_AddItemToObject(object, "trace", trace_json(r, run));
    return RF_OK;
}
