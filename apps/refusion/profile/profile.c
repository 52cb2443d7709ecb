/* refusion profile: what every shader of every round costs. */
#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/profile/html.h"
#include "apps/refusion/profile/live.h"
#include "apps/refusion/profile/profile_json.h"
#include "apps/refusion/profile/report.h"
#include "apps/refusion/profile/turns.h"
#include "apps/refusion/program.h"
#include "apps/refusion/prompt.h"

#include "apps/refusion/json_out.h"
#include "engine/allocate.h"
#include "engine/bench/bench.h"
#include "engine/context.h"
#include "engine/gpu/command.h"
#include "engine/gpu/kernel.h"
#include "engine/model/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_RUNS = 4, MOST_RUNS = 40, TRIES = 3, PROMPT_TOKENS = 128 };
static const double ENOUGH_SECONDS = 20.0; /* of measuring, when nobody says how many runs are wanted */

struct profiling {
    const struct settings *settings;
    struct engine engine;
    struct prompt prompt;
    struct profile profile, builtin; /* builtin: with --shader-dir, the same without */
    rf_bench *bench;                 /* NULL: no ceilings */
    struct rf_bench_ceilings ceilings;
    uint32_t prompt_tokens;
    bool takes_builtin; /* kernels, whatever --shader-dir has */
};

/* kept: NULL: nothing is. *recorded: steps recorded commands, which later runs replay. */
static enum rf_status respond_once(struct profiling *p, struct profile *kept, bool *recorded,
                                   struct rf_error *err)
{
    rf_session *session;
    struct rf_session_desc desc = session_desc(p->settings);
    enum rf_status status = rf_session_create(&session, p->engine.model, &desc, err);
    if (status)
        return status;
    status = prompt_begin(session, &p->engine, &p->prompt, p->settings, err);
    uint64_t before = rf_gpu_recorded_count(rf_context_gpu(p->engine.context));
    interrupt_watch(session);
    while (!status && !rf_session_finished(session)) {
        status = interrupted() ? rf_fail(err, RF_ERROR_CANCELLED, "interrupted")
                               : rf_session_step(session, NULL, NULL, err);
        if (!status && kept)
            status = profile_keep_events(kept, session, err);
    }
    interrupt_watch(NULL);
    *recorded = rf_gpu_recorded_count(rf_context_gpu(p->engine.context)) != before;
    if (!status && kept)
        profile_end_run(kept, session);
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    p->prompt_tokens = stats.prompt_tokens;
    rf_session_destroy(session);
    if (!status && kept && kept->failure.status) {
        *err = kept->failure;
        status = err->status;
    }
    return status;
}

static enum rf_status check_tries(int tries, struct rf_error *err)
{
    if (tries < TRIES)
        return RF_OK;
    return rf_fail(err, RF_ERROR_INTERNAL,
                   "profile: commands were recorded anew in each of %d runs, wanted one that replays", TRIES);
}

/* A run in which nothing was recorded, as every later one is. */
static enum rf_status warm_run(struct profiling *p, struct profile *kept, enum rf_profile_mode mode,
                               struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (int i = 0; !status; i++) {
        bool recorded;
        if (!profile_begin_run(kept, mode)) {
            *err = kept->failure;
            return err->status;
        }
        status = respond_once(p, kept, &recorded, err);
        if (status || !recorded)
            break;
        profile_drop_run(kept);
        status = check_tries(i + 1, err);
    }
    return status;
}

/* To the built-in kernels, or to those that --shader-dir replaces: for whatever is recorded from now on, and that
 * is everything. */
static void choose_kernels(struct profiling *p, bool builtin)
{
    rf_model *model = p->engine.model;
    if (p->takes_builtin == builtin)
        return;
    p->takes_builtin = builtin;
    rf_kernels_builtin_only(model->gpu, builtin);
    pthread_mutex_lock(&model->mutex);
    rf_forward_drop_recordings(model->forward);
    pthread_mutex_unlock(&model->mutex);
}

static bool counts(const struct settings *s)
{
    return s->counters && s->counters[0];
}

static enum rf_status run_mode(struct profiling *p, struct profile *kept, enum rf_profile_mode mode,
                               struct rf_error *err)
{
    /* Of runs without profile the host's clock is kept, so that single submissions can be set side by side. */
    const enum rf_profile_mode asked = mode == RF_PROFILE_OFF ? RF_PROFILE_HOST : mode;
    choose_kernels(p, kept == &p->builtin);
    enum rf_status status = rf_model_profile(p->engine.model, asked, profile_on_record, kept, err);
    return status ? status : warm_run(p, kept, mode, err);
}

/* A run without profile and a free-running one, whose submissions take turns. */
static enum rf_status run_pair(struct profiling *p, struct profile *kept, struct rf_error *err)
{
    const struct turns turns = {.engine = &p->engine, .prompt = &p->prompt, .settings = p->settings};
    enum rf_status status = RF_OK;
    choose_kernels(p, kept == &p->builtin);
    for (int i = 0; !status; i++) {
        bool recorded;
        status = turns_run(&turns, kept, &recorded, err);
        if (status || !recorded)
            break;
        status = check_tries(i + 1, err);
    }
    return status;
}

/* Labels make frames of whole rounds, which a tool captures: there runs take turns, not submissions. */
static bool takes_whole_runs(const struct settings *s)
{
    return s->labels || s->capture_round.given;
}

/* Runs without profile, free-running and serialised ones, built-in and replaced ones take strict turns, so that a
 * machine that slows down slows all of them. The first two modes are set side by side: their submissions take turns
 * where that can be, else they swap places each turn, so that what drifts pushes as often one way as the other. */
static enum rf_status take_turn(struct profiling *p, uint32_t turn, const enum rf_profile_mode *modes,
                                uint32_t mode_count, struct rf_error *err)
{
    const bool pairs = modes[1] == RF_PROFILE_FREE && !takes_whole_runs(p->settings);
    const bool both = p->settings->shader_dir;
    enum rf_status status = RF_OK;
    if (pairs && both)
        status = run_pair(p, &p->builtin, err);
    if (pairs && !status)
        status = run_pair(p, &p->profile, err);
    for (uint32_t m = pairs ? 2 : 0; !status && m < mode_count; m++) {
        enum rf_profile_mode mode = modes[m < 2 && turn % 2 ? 1 - m : m];
        if (both && mode != RF_PROFILE_COUNTERS)
            status = run_mode(p, &p->builtin, mode, err);
        if (!status)
            status = run_mode(p, &p->profile, mode, err);
    }
    return status;
}

/* As many turns as are asked for; else, because medians of many runs tell more, as many as a short while has room for. */
static bool wants_turn(const struct settings *s, uint32_t turn, double begin)
{
    if (s->runs.given)
        return turn < s->runs.value;
    return turn < LEAST_RUNS || (turn < MOST_RUNS && now_seconds() - begin < ENOUGH_SECONDS);
}

static enum rf_status measure(struct profiling *p, const enum rf_profile_mode *modes, uint32_t mode_count,
                              struct rf_error *err)
{
    enum rf_status status = respond_once(p, NULL, &(bool){false}, err); /* tunes, compiles, fills caches */
    const double begin = now_seconds();
    for (uint32_t turn = 0; !status && wants_turn(p->settings, turn, begin); turn++)
        status = take_turn(p, turn, modes, mode_count, err);
    rf_model_profile(p->engine.model, RF_PROFILE_OFF, NULL, NULL, NULL);
    return status;
}

static enum rf_status measure_modes(struct profiling *p, struct rf_error *err)
{
    if (p->settings->labels || p->settings->capture_round.given)
        complain("warning: with labels each dispatch leaves a word in memory first, and that is in its time");
    static const enum rf_profile_mode all[] = {RF_PROFILE_OFF, RF_PROFILE_FREE, RF_PROFILE_SERIAL,
                                               RF_PROFILE_COUNTERS},
                                      host[] = {RF_PROFILE_OFF, RF_PROFILE_HOST};
    struct rf_error reason;
    if (rf_model_profile(p->engine.model, RF_PROFILE_FREE, profile_on_record, &p->profile, &reason) ==
        RF_ERROR_UNSUPPORTED) {
        if (counts(p->settings))
            return rf_fail(err, RF_ERROR_UNSUPPORTED, "--counters: %s", reason.message);
        complain("warning: %s", reason.message);
        if (p->settings->shader_dir)
            complain("warning: --shader-dir: replaced and built-in shaders cannot be told apart without "
                     "timestamps");
        return measure(p, host, 2, err);
    }
    rf_model_profile(p->engine.model, RF_PROFILE_OFF, NULL, NULL, NULL);
    return measure(p, all, counts(p->settings) ? 4 : 3, err);
}

static enum rf_status measure_ceilings(struct profiling *p, struct rf_error *err)
{
    const struct rf_bench_desc desc = {0};
    if (p->settings->no_ceilings)
        return RF_OK;
    enum rf_status status = rf_bench_create(&p->bench, p->engine.model, &desc, err);
    if (!status)
        status = rf_bench_run_ceilings(p->bench, &p->ceilings, err);
    return status;
}

static enum rf_status print(const struct profiling *p, const struct profile_report *report,
                            struct rf_error *err)
{
    const struct settings *s = report->settings;
    bool both = s->shader_dir && report->serial.span > 0.0;
    if (s->csv)
        return profile_print_csv(report, err);
    if (!s->json) {
        enum rf_status status = profile_print_tables(report, err);
        return status || !both ? status : live_print(&p->builtin, &p->profile, err);
    }
    cJSON *json;
    enum rf_status status = profile_to_json(&json, report, false, err);
    if (!status && both)
        status = live_json(json, &p->builtin, &p->profile, err);
    return status ? status : json_print(json, true, err);
}

static enum rf_status write_page(const struct profiling *p, const struct profile_report *report,
                                 struct rf_error *err)
{
    const char *path = report->settings->html;
    cJSON *json;
    enum rf_status status = profile_to_json(&json, report, true, err);
    if (!status && p->settings->shader_dir && report->serial.span > 0.0)
        status = live_json(json, &p->builtin, &p->profile, err);
    if (status)
        return status;
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    FILE *file = text ? fopen(path, "wb") : NULL;
    if (!text)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "--html: no host memory for the profile");
    else if (!file)
        status = rf_fail(err, RF_ERROR_IO, "--html: %s: cannot be written", path);
    if (!status && profile_html_write(file, text, strlen(text), err))
        status = rf_fail_within(err, RF_ERROR_IO, "--html: %s", path);
    if (file && fclose(file) != 0 && !status)
        status = rf_fail(err, RF_ERROR_IO, "--html: %s: cannot be written", path);
    free(text);
    return status;
}

static enum rf_status report(struct profiling *p, struct rf_error *err)
{
    const struct settings *s = p->settings;
    struct profile_report report = {.profile = &p->profile,
                                    .settings = s,
                                    .model_name = s->synthetic     ? s->synthetic
                                                  : named_model(s) ? named_model(s)
                                                                   : "tiny",
                                    .tokenizer = p->engine.tokenizer,
                                    .bench = p->bench,
                                    .ceilings = p->ceilings,
                                    .prompt_tokens = p->prompt_tokens,
                                    .free = profile_step(&p->profile, RF_PROFILE_FREE),
                                    .serial = profile_step(&p->profile, RF_PROFILE_SERIAL),
                                    .off = profile_step(&p->profile, RF_PROFILE_OFF)};
    report.has_cost = !takes_whole_runs(s) && profile_cost(&report.cost, &p->profile);
    report.counters = rf_gpu_counters(rf_context_gpu(p->engine.context), &(uint32_t){0});
    rf_context_device(p->engine.context, &report.device);
    rf_model_get_info(p->engine.model, &report.model);
    /* A profile that took minutes is not lost for want of this. */
    cJSON *pipelines = NULL;
    struct rf_error reason;
    if ((s->json || s->html) && profile_pipelines(&pipelines, s, &p->engine, &reason))
        complain("warning: what the driver made of the pipelines is left out: %s", reason.message);
    report.pipelines = pipelines;
    enum rf_status status = print(p, &report, err);
    fflush(stdout);
    if (!status && s->timeline)
        status = profile_write_timeline(&report, s->timeline, err);
    if (!status && s->html)
        status = write_page(p, &report, err);
    cJSON_Delete(pipelines);
    return status;
}

/* A synthetic model has no tokenizer: its prompt is ids. */
static enum rf_status make_prompt(struct profiling *p, struct rf_error *err)
{
    const struct settings *s = p->settings;
    uint32_t count = s->prompt_tokens.given ? (uint32_t)s->prompt_tokens.value : PROMPT_TOKENS;
    struct rf_model_info info;
    rf_model_get_info(p->engine.model, &info);
    if (!s->synthetic || s->tokens)
        return RF_OK;
    p->prompt.ids.items = rf_malloc(count * sizeof *p->prompt.ids.items);
    if (!p->prompt.ids.items)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "--prompt-tokens: no host memory for %u tokens", count);
    p->prompt.ids.count = count;
    for (uint32_t i = 0; i < count; i++)
        p->prompt.ids.items[i] = (uint32_t)(i * UINT64_C(2654435761) % info.vocab);
    return RF_OK;
}

static enum rf_status check_pairs(const struct settings *s, struct rf_error *err)
{
    const struct option_pair pairs[] = {
        {s->synthetic && s->model, "synthetic", "model"},
        {s->synthetic && s->prompt, "synthetic", "prompt"},
        {s->synthetic && s->system, "synthetic", "system"},
        {s->synthetic && s->raw, "synthetic", "raw"},
        {s->synthetic && s->no_thinking, "synthetic", "no-thinking"},
        {s->csv && s->shader_dir, "csv", "shader-dir"},
        {s->tokens && s->prompt_tokens.given, "tokens", "prompt-tokens"},
        {s->json && s->csv, "json", "csv"},
    };
    enum rf_status status = prompt_check(s, err);
    if (!status)
        status = refuse_pairs(pairs, sizeof pairs / sizeof *pairs, err);
    if (status)
        return status;
    if (s->prompt_tokens.given && !s->synthetic)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--prompt-tokens: found it without --synthetic, wanted both");
    return RF_OK;
}

/* Of --compare, which measures nothing, and without it. */
static enum rf_status check_comparison(const struct settings *s, struct rf_error *err)
{
    const struct option_pair pairs[] = {
        {s->json, "compare", "json"},         {s->csv, "compare", "csv"},
        {s->timeline, "compare", "timeline"}, {s->html, "compare", "html"},
        {s->runs.given, "compare", "runs"},   {s->shader_dir, "compare", "shader-dir"},
        {s->labels, "compare", "labels"},     {s->capture_round.given, "compare", "capture-round"},
        {s->prompt, "compare", "prompt"},     {s->tokens, "compare", "tokens"},
        {s->model, "compare", "model"},       {s->synthetic, "compare", "synthetic"},
        {s->device, "compare", "device"},     {s->no_ceilings, "compare", "no-ceilings"},
        {s->counters, "compare", "counters"},
    };
    const char *alone = s->limit.given ? "limit" : s->absolute ? "absolute" : NULL;
    if (s->compare)
        return refuse_pairs(pairs, sizeof pairs / sizeof *pairs, err);
    if (alone)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--%s: found it without --compare, wanted both", alone);
    return RF_OK;
}

/* What could not be written would be found out after minutes of measuring. */
static enum rf_status check_output(const char *option, const char *path, struct rf_error *err)
{
    bool was_there = path && access(path, F_OK) == 0;
    FILE *file = path ? fopen(path, "a") : NULL;
    if (path && !file)
        return rf_fail(err, RF_ERROR_IO, "--%s: %s: cannot be written", option, path);
    if (file)
        fclose(file);
    if (file && !was_there)
        unlink(path); /* nothing is left of a run that fails */
    return RF_OK;
}

static enum rf_status run(struct profiling *p, struct rf_error *err)
{
    const struct settings *s = p->settings;
    enum rf_status status = check_pairs(s, err);
    if (!status)
        status = check_settings(s, err);
    if (!status)
        status = check_output("timeline", s->timeline, err);
    if (!status)
        status = check_output("html", s->html, err);
    if (!status && !s->synthetic)
        status = prompt_read(&p->prompt, s, err);
    if (!status && s->synthetic && s->tokens)
        status = read_ids(&p->prompt.ids, "--tokens", s->tokens, err);
    if (!status)
        status = engine_open(&p->engine, s, err);
    if (!status)
        status = make_prompt(p, err);
    if (!status && s->shader_dir)
        status = live_check(p->engine.context, s->quiet, err);
    if (!status)
        status = measure_ceilings(p, err);
    profile_init(&p->profile);
    profile_init(&p->builtin);
    if (!status)
        status = measure_modes(p, err);
    if (!status)
        status = report(p, err);
    return status;
}

int command_profile(const struct settings *settings)
{
    struct rf_error err = {0};
    struct profiling p = {.settings = settings};
    bool lists = settings->counters && !settings->counters[0] && !settings->text;
    if (lists)
        return profile_list_counters(settings);
    if (settings->static_only || settings->disassemble || settings->amd)
        return profile_static(settings);
    if (check_comparison(settings, &err))
        return complain_error(&err);
    if (settings->compare)
        return profile_compare(settings);
    if (settings->text) {
        complain("profile: found the argument \"%s\", wanted none without --compare", settings->text);
        return STATUS_USAGE;
    }
    interrupt_install();
    enum rf_status status = run(&p, &err);
    int exit = status ? complain_error(&err) : STATUS_OK;
    if (p.engine.context && settings->validate && engine_complaints(&p.engine) && exit == STATUS_OK)
        exit = STATUS_FAILURE;
    rf_bench_destroy(p.bench);
    if (p.engine.context)
        engine_close(&p.engine);
    profile_free(&p.profile);
    profile_free(&p.builtin);
    prompt_free(&p.prompt);
    return exit;
}
