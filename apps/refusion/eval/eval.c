/* refusion eval: how often answers are right, and how fast they come. */
#include "apps/refusion/data_dir.h"
#include "apps/refusion/eval/answer.h"
#include "apps/refusion/eval/read.h"
#include "apps/refusion/eval/report.h"
#include "apps/refusion/eval/shard.h"
#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/json_out.h"
#include "apps/refusion/program.h"
#include "engine/decode/settings.h"
#include "engine/model/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUILT_IN_TOKENS = 128 }; /* the longest right answer of the built-in tasks has 70 */

struct eval {
    struct settings settings; /* with what built-in tasks and the environment add */
    struct shard shard;
    struct samples samples;
    struct variants variants;
    struct sandbox *sandbox;
    struct engine engine;
    struct results results;
    struct timespec start; /* of a shard */
};

/* ---- Tasks ---------------------------------------------------------------------------------------------- */

static void tell(const char *message)
{
    complain("%s", message);
}

static void tell_nothing(const char *message)
{
    (void)message; /* another shard tells it */
}

static enum rf_status read_built_in(struct eval *eval, const struct read_rules *rules, struct rf_error *err)
{
    char root[PATH_MAX], path[PATH_MAX + 32];
    static const char file[] = "models/tiny/heldout.jsonl";
    if (!data_dir(root, sizeof root, file))
        return rf_fail(
            err, RF_ERROR_IO,
            "eval: no FILE given, and the tiny model's tasks are neither near the program nor in %s/%s; "
            "wanted a file",
            root, file);
    snprintf(path, sizeof path, "%s/%s", root, file);
    if (!eval->settings.max_tokens.given)
        eval->settings.max_tokens = (struct opt_uint){true, BUILT_IN_TOKENS};
    return samples_read(&eval->samples, path, rules, err);
}

/* Leaves out what is not asked for. */
static void filter(struct eval *eval)
{
    struct samples *s = &eval->samples;
    const struct opt_texts *names = &eval->settings.tasks;
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        bool named = names->count == 0;
        for (uint32_t k = 0; k < names->count; k++)
            named |= strcmp(names->items[k], s->items[i].task) == 0;
        if (named && !(eval->settings.no_python && s->items[i].check == CHECK_PYTHON))
            s->items[kept++] = s->items[i];
        else
            sample_clear(&s->items[i]);
    }
    s->count = kept;
}

static enum rf_status check_task_names(const struct eval *eval, struct rf_error *err)
{
    const struct opt_texts *names = &eval->settings.tasks;
    for (uint32_t k = 0; k < names->count; k++) {
        bool found = false;
        for (size_t i = 0; i < eval->samples.count && !found; i++)
            found = strcmp(names->items[k], eval->samples.items[i].task) == 0;
        if (!found)
            return rf_fail(err, RF_ERROR_ARGUMENT, "--task: found \"%s\", wanted a task of the files",
                           names->items[k]);
    }
    return RF_OK;
}

static enum rf_status open_sandbox(struct eval *eval, struct rf_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < eval->samples.count; i++)
        count += eval->samples.items[i].check == CHECK_PYTHON;
    if (!count)
        return RF_OK;
    struct rf_error why = {0};
    enum rf_status status = sandbox_open(&eval->sandbox, &why);
    return status ? rf_fail(err, status, "%s; --no-python leaves the %zu samples of python-tests out",
                            why.message, count)
                  : RF_OK;
}

static enum rf_status read_tasks(struct eval *eval, struct rf_error *err)
{
    const struct settings *settings = &eval->settings;
    struct read_rules rules = {.format = format_find(settings->format, err),
                               .strict = settings->strict,
                               .limit = settings->first.value,
                               .tell = eval->shard.index ? tell_nothing : tell};
    if (!rules.format)
        return RF_ERROR_ARGUMENT;
    if (settings->format && !settings->files.count)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--format: found it without a FILE, wanted one");
    enum rf_status status = settings->files.count ? RF_OK : read_built_in(eval, &rules, err);
    for (uint32_t i = 0; i < settings->files.count && !status; i++)
        status = samples_read(&eval->samples, settings->files.items[i], &rules, err);
    if (!status)
        status = check_task_names(eval, err);
    if (status)
        return status;
    filter(eval);
    if (!eval->samples.count)
        return rf_fail(err, RF_ERROR_ARGUMENT, "eval: no sample is left, wanted at least one");
    return open_sandbox(eval, err);
}

/* ---- The first line of results -------------------------------------------------------------------------- */

/* As it was written: 0.4, not the float nearest to it. */
static double plain(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    return strtod(text, NULL);
}

static void add_uint(cJSON *object, const char *name, struct opt_uint value)
{
    if (value.given)
        cJSON_AddNumberToObject(object, name, (double)value.value);
}

static void add_real(cJSON *object, const char *name, struct opt_real value)
{
    if (value.given)
        cJSON_AddNumberToObject(object, name, plain(value.value));
}

/* What was asked for; what was not is the default, or the preset's. */
static cJSON *settings_json(const struct settings *s)
{
    cJSON *object = cJSON_CreateObject();
    if (s->preset)
        cJSON_AddStringToObject(object, "preset", s->preset);
    if (s->system)
        cJSON_AddStringToObject(object, "system", s->system);
    if (s->no_thinking)
        cJSON_AddTrueToObject(object, "no_thinking");
    add_uint(object, "max_tokens", s->max_tokens);
    add_uint(object, "slot_size", s->slot_size);
    add_uint(object, "block", s->block);
    add_real(object, "slot_threshold", s->slot_threshold);
    add_real(object, "token_threshold", s->token_threshold);
    add_real(object, "temperature", s->temperature);
    add_uint(object, "seed", s->seed);
    add_uint(object, "top_k", s->top_k);
    add_real(object, "top_p", s->top_p);
    add_uint(object, "context", s->context);
    add_uint(object, "batch", s->batch);
    add_real(object, "test_seconds", s->test_seconds);
    add_uint(object, "test_memory", s->test_memory);
    if (s->deterministic)
        cJSON_AddTrueToObject(object, "deterministic");
    for (uint32_t i = 0; i < s->stops.count; i++) {
        cJSON *stops = i ? cJSON_GetObjectItem(object, "stop") : cJSON_AddArrayToObject(object, "stop");
        cJSON_AddItemToArray(stops, cJSON_CreateString(s->stops.items[i]));
    }
    return object;
}

static void add_variants(cJSON *header, const struct eval *eval)
{
    cJSON *list = cJSON_AddArrayToObject(header, "variants");
    const char *preset = eval->samples.items[0].preset; /* a file's format has one */
    for (size_t i = 0; i < eval->variants.count; i++) {
        const struct variant *variant = &eval->variants.items[i];
        struct rf_session_desc desc = answer_desc(&eval->settings, variant, preset);
        struct rf_settings numbers;
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "name", variant->name);
        if (!variant->ar && !rf_settings_resolve(&numbers, &desc.settings, NULL)) {
            cJSON_AddNumberToObject(object, "slot_size", numbers.slot_size);
            cJSON_AddNumberToObject(object, "block", numbers.block);
            cJSON_AddNumberToObject(object, "slot_threshold", plain((double)numbers.slot_threshold));
            cJSON_AddNumberToObject(object, "token_threshold", plain((double)numbers.token_threshold));
        }
        cJSON_AddItemToArray(list, object);
    }
}

static cJSON *make_header(const struct eval *eval)
{
    struct rf_model_info info;
    rf_model_get_info(eval->engine.model, &info);
    cJSON *header = cJSON_CreateObject();
    cJSON_AddStringToObject(header, "format", "refusion-eval");
    cJSON_AddNumberToObject(header, "version", 1);
    cJSON_AddNumberToObject(header, "shard", eval->shard.index);
    cJSON_AddNumberToObject(header, "shards", eval->shard.count);
    cJSON *model = cJSON_AddObjectToObject(header, "model");
    cJSON_AddStringToObject(model, "path",
                            named_model(&eval->settings) ? named_model(&eval->settings) : "the tiny model");
    cJSON_AddStringToObject(model, "precision", info.precision);
    cJSON_AddStringToObject(model, "weights", hash_words(eval->engine.model->fingerprint).text);
    cJSON_AddStringToObject(header, "device", eval->engine.device);
    cJSON *tasks = cJSON_AddObjectToObject(header, "tasks");
    cJSON_AddNumberToObject(tasks, "samples", (double)eval->samples.count);
    cJSON_AddStringToObject(tasks, "hash", hash_words(samples_hash(&eval->samples)).text);
    cJSON *files = cJSON_AddArrayToObject(tasks, "files");
    for (uint32_t i = 0; i < eval->settings.files.count; i++)
        cJSON_AddItemToArray(files, cJSON_CreateString(eval->settings.files.items[i]));
    cJSON_AddItemToObject(header, "settings", settings_json(&eval->settings));
    cJSON_AddBoolToObject(header, "sweep", eval->variants.sweep);
    add_variants(header, eval);
    return header;
}

/* ---- What comes out ------------------------------------------------------------------------------------- */

static enum rf_status report(const struct settings *settings, struct results *results, struct rf_error *err)
{
    struct summary summary;
    enum rf_status status = summary_make(&summary, results, err);
    if (status)
        return status;
    if (settings->json)
        status = json_print(report_json(&summary), true, err);
    else
        report_tables(stdout, &summary, false);
    if (!status && settings->markdown)
        status = report_write(settings->markdown, &summary, report_markdown, err);
    if (!status && settings->svg)
        status = report_write(settings->svg, &summary, report_chart, err);
    summary_free(&summary);
    return status;
}

/* ---- The run -------------------------------------------------------------------------------------------- */

/* Merging answers nothing, so whatever says how to answer would have no effect. */
static enum rf_status check_merge(const struct settings *s, struct rf_error *err)
{
    static const enum option_group groups[] = {GROUP_PROMPT, GROUP_DECODING, GROUP_MODEL, GROUP_TEST};
    char *given = NULL;
    size_t size = 0;
    if (!s->files.count)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--merge: found no FILE, wanted results of shards");
    FILE *file = open_memstream(&given, &size);
    if (!file)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "eval: no memory");
    if (s->shard)
        fputs("  --shard\n", file);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        options_print_given(file, s, COMMAND_EVAL, groups[i]);
    fclose(file);
    enum rf_status status = RF_OK;
    if (size)
        status = rf_fail(err, RF_ERROR_ARGUMENT, "--merge: found it beside %.*s, which it would ignore",
                         (int)strcspn(given + 2, "\n"), given + 2);
    free(given);
    return status;
}

static enum rf_status merge_by_hand(const struct settings *settings, struct rf_error *err)
{
    struct results results;
    enum rf_status status = merge_files(&results, settings->files.items, settings->files.count, err);
    if (status)
        return status;
    if (settings->out)
        status = merge_write(&results, settings->out, err);
    if (!status)
        status = report(settings, &results, err);
    results_close(&results);
    return status;
}

static enum rf_status find_shard(struct eval *eval, struct rf_error *err)
{
    enum rf_status status = shard_find(&eval->shard, eval->settings.shard, getenv, err);
    if (status || eval->shard.count == 1)
        return status;
    if (!eval->settings.out)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--out: not given, wanted a file beside which %u shards write theirs",
                       eval->shard.count);
    if (!eval->settings.quiet)
        fprintf(stderr, "refusion: shard %u of %u, by %s\n", eval->shard.index, eval->shard.count,
                eval->shard.source);
    return RF_OK;
}

/* Variants whose numbers make no sense are told before a model is read. */
static enum rf_status make_variants(struct eval *eval, struct rf_error *err)
{
    const struct settings *s = &eval->settings;
    enum rf_status status = variants_make(&eval->variants, s->sweeps.items, s->sweeps.count,
                                          s->eval_decode != EVAL_AR, s->eval_decode != EVAL_REFUSION, err);
    for (size_t i = 0; i < eval->variants.count && !status; i++) {
        struct rf_session_desc desc = answer_desc(s, &eval->variants.items[i], eval->samples.items[0].preset);
        struct rf_settings numbers;
        status = rf_settings_resolve(&numbers, &desc.settings, err);
        if (status && eval->variants.sweep)
            status = rf_fail_within(err, status, "%s", eval->variants.items[i].name);
    }
    return status;
}

/* A shard writes beside --out, which others' results must not stand in the way of. */
static enum rf_status open_results(struct eval *eval, struct rf_error *err)
{
    const char *out = eval->settings.out;
    cJSON *header = make_header(eval);
    enum rf_status status = RF_OK;
    char *beside = NULL;
    if (eval->shard.count > 1) {
        FILE *merged = fopen(out, "r");
        struct results there;
        if (merged) {
            fclose(merged);
            status = results_read(&there, out, header, &eval->samples, err);
            if (!status)
                results_close(&there);
        }
        beside = shard_path(out, eval->shard.index, eval->shard.count);
        if (!status && !beside)
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for a path");
    }
    if (status)
        cJSON_Delete(header);
    else
        status = results_open(&eval->results, beside ? beside : out, header, &eval->samples, err);
    free(beside);
    if (!status && eval->shard.count > 1) {
        status = shard_clock(&eval->results, &eval->start, err);
        if (status)
            results_close(&eval->results);
    }
    return status;
}

/* Of a shard that is done: the last one puts all together and reports. */
static enum rf_status finish_shard(struct eval *eval, struct rf_error *err)
{
    struct results all;
    bool merged;
    uint32_t missing;
    char *beside = strdup(eval->results.path);
    cJSON *header = cJSON_Duplicate(eval->results.header, true);
    results_close(&eval->results);
    enum rf_status status = merge_shards(&all, &merged, &missing, eval->settings.out, header,
                                         eval->shard.count, &eval->samples, &eval->start, err);
    cJSON_Delete(header);
    if (!status && merged) {
        status = report(&eval->settings, &all, err);
        results_close(&all);
    } else if (!status && !eval->settings.quiet && missing) {
        fprintf(stderr, "refusion: %s is complete; %u other shard%s not yet\n", beside ? beside : "the shard",
                missing, missing == 1 ? " is" : "s are");
    } else if (!status && !eval->settings.quiet) {
        fprintf(stderr, "refusion: %s is complete; another shard has put all together\n",
                beside ? beside : "the shard");
    }
    free(beside);
    return status;
}

static void tell_what_is_kept(const struct eval *eval)
{
    if (!eval->results.path || eval->settings.quiet)
        return;
    fprintf(stderr, "refusion: %zu of %llu answers are in %s; the same command goes on from there\n",
            eval->results.count, (unsigned long long)results_wanted(&eval->results), eval->results.path);
}

static enum rf_status answer(struct eval *eval, struct rf_error *err)
{
    for (size_t i = 0; i < eval->samples.count; i++)
        if (!eval->samples.items[i].preset)
            eval->samples.items[i].preset = eval->engine.preset;
    struct answering job = {
        .settings = &eval->settings,
        .engine = &eval->engine,
        .samples = &eval->samples,
        .variants = &eval->variants,
        .limits = {eval->sandbox, eval->settings.test_seconds.value, eval->settings.test_memory.value},
        .results = &eval->results};
    enum rf_status status = open_results(eval, err);
    if (status)
        return status;
    status = answer_all(&job, err);
    if (status)
        tell_what_is_kept(eval);
    else if (eval->shard.count > 1)
        return finish_shard(eval, err);
    else
        status = report(&eval->settings, &eval->results, err);
    results_close(&eval->results);
    return status;
}

static int run(struct eval *eval)
{
    struct rf_error err = {0};
    enum rf_status status = find_shard(eval, &err);
    if (!status)
        status = read_tasks(eval, &err);
    if (!status)
        status = make_variants(eval, &err);
    if (!status)
        status = engine_open(&eval->engine, &eval->settings, &err);
    if (status)
        return complain_error(&err);
    status = answer(eval, &err);
    int exit = status ? complain_error(&err) : STATUS_OK;
    if (eval->settings.validate && engine_complaints(&eval->engine) && exit == STATUS_OK)
        exit = STATUS_FAILURE;
    engine_close(&eval->engine);
    if (exit == STATUS_OK && eval->samples.bad) {
        complain("%zu malformed record%s left out", eval->samples.bad,
                 eval->samples.bad == 1 ? " was" : "s were");
        exit = STATUS_FAILURE;
    }
    return exit;
}

int command_eval(const struct settings *settings)
{
    struct rf_error err = {0};
    interrupt_install();
    enum rf_status status = settings->merge ? check_merge(settings, &err) : RF_OK;
    if (!status && settings->merge)
        status = merge_by_hand(settings, &err);
    if (status)
        return complain_error(&err);
    if (settings->merge)
        return STATUS_OK;
    struct eval *eval = calloc(1, sizeof *eval);
    if (!eval) {
        complain("eval: no memory");
        return STATUS_FAILURE;
    }
    eval->settings = *settings;
    int exit = run(eval);
    sandbox_close(eval->sandbox);
    samples_free(&eval->samples);
    free(eval);
    return exit;
}
