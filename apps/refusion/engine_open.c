#include "apps/refusion/engine_open.h"

#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/program.h"
#include "apps/refusion/shader_dir.h"
#include "engine/context.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void on_log(void *user, enum rf_log_level level, const char *line)
{
    (void)user;
    if (level >= RF_LOG_WARNING)
        complain("%s%s", level == RF_LOG_WARNING ? "warning: " : "", line);
}

struct progress {
    bool visible;
    double last; /* seconds, when it was drawn */
};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct progress *progress = user;
    double now = now_seconds();
    if (progress->visible && total && now - progress->last > 0.1) {
        progress->last = now;
        fprintf(stderr, "\r\033[Kloading: %3.0f %% of %.1f MB", 100.0 * (double)done / (double)total,
                (double)total / 1e6);
    }
    return !interrupted();
}

/* Zero, which the library takes for its default, is no limit here. */
static uint32_t submission_ms(const struct settings *settings)
{
    if (settings->submission_ms.given && settings->submission_ms.value == 0)
        return UINT32_MAX;
    return (uint32_t)settings->submission_ms.value;
}

enum rf_status context_open(rf_context **out, const struct settings *settings, struct rf_error *err)
{
    size_t shader_count;
    enum rf_status status = settings->shader_dir ? shader_dir_prepare(settings->shader_dir, err) : RF_OK;
    if (status)
        return status;
    struct rf_context_desc desc = {
        .size = sizeof desc,
        .device = settings->device,
        .disable = settings->disable,
        .shader_dir = settings->shader_dir,
        .memory_limit = settings->memory_limit.value,
        .submission_ms = submission_ms(settings),
        .duty = (uint32_t)settings->duty.value,
        .priority = (enum rf_priority)settings->priority,
        .debug_checks = settings->validate,
        .validation = settings->validate,
        .debug_labels = settings->labels,
        .capture_step = settings->capture_round.given ? (uint32_t)settings->capture_round.value + 1 : 0,
        .counters = settings->counters,
        .log = on_log,
    };
    enum rf_capture capture = settings->disassemble   ? RF_CAPTURE_ALL
                              : settings->static_only ? RF_CAPTURE_STATISTICS
                                                      : RF_CAPTURE_NOTHING;
    const struct rf_shader_words *shaders = shader_dir_compiled(&shader_count);
    return rf_context_open(out, &desc, capture, shaders, shader_count, err);
}

static enum rf_status load_model(struct engine *engine, const struct settings *settings, struct rf_error *err)
{
    char folder[PATH_MAX];
    const char *model = NULL;
    enum rf_status status =
        settings->synthetic ? RF_OK : find_model(&model, settings, folder, sizeof folder, err);
    if (status)
        return status;
    struct progress progress = {.visible = !settings->quiet && isatty(STDERR_FILENO), .last = now_seconds()};
    struct rf_model_desc desc = {
        .context_length = (uint32_t)settings->context.value,
        .precision = (enum rf_precision)settings->precision,
        .progress = on_progress,
        .progress_user = &progress,
        .weight_type = settings->type,
        .no_tune = settings->no_tune,
    };
    status = settings->synthetic
                 ? rf_model_synthesize(&engine->model, engine->context, settings->synthetic, &desc, err)
                 : rf_model_load(&engine->model, engine->context, model, &desc, err);
    if (progress.visible)
        fprintf(stderr, "\r\033[K");
    return status;
}

enum rf_status engine_open(struct engine *engine, const struct settings *settings, struct rf_error *err)
{
    *engine = (struct engine){0};
    double start = now_seconds();
    enum rf_status status = context_open(&engine->context, settings, err);
    if (!status)
        status = load_model(engine, settings, err);
    if (!status && interrupted())
        status = rf_fail(err, RF_ERROR_CANCELLED, "interrupted while loading");
    if (status) {
        engine_close(engine);
        return status;
    }
    struct rf_device_info info;
    rf_context_device(engine->context, &info);
    memcpy(engine->device, info.name, sizeof engine->device);
    engine->tokenizer = rf_model_tokenizer(engine->model);
    struct rf_model_info model;
    rf_model_get_info(engine->model, &model);
    memcpy(engine->preset, model.preset, sizeof engine->preset);
    engine->load_seconds = now_seconds() - start;
    return RF_OK;
}

void engine_close(struct engine *engine)
{
    if (engine->model)
        rf_model_destroy(engine->model);
    rf_context_destroy(engine->context);
    *engine = (struct engine){0};
}

uint64_t engine_complaints(const struct engine *engine)
{
    uint64_t complaints = rf_context_complaints(engine->context);
    if (complaints)
        complain("--validate: found %" PRIu64 " complaints, wanted none", complaints);
    return complaints;
}

struct rf_session_desc session_desc(const struct settings *settings)
{
    return (struct rf_session_desc){
        .settings =
            {
                .preset = settings->preset,
                .decode = settings->decode == DECODE_AR ? RF_DECODE_AR : RF_DECODE_REFUSION,
                .max_tokens = (uint32_t)settings->max_tokens.value,
                .slot_size = (uint32_t)settings->slot_size.value,
                .block = (uint32_t)settings->block.value,
                .slot_threshold = (float)settings->slot_threshold.value,
                .token_threshold = (float)settings->token_threshold.value,
                .has_slot_threshold = settings->slot_threshold.given,
                .has_token_threshold = settings->token_threshold.given,
                .temperature = (float)settings->temperature.value,
                .seed = settings->seed.value,
                .top_k = (uint32_t)settings->top_k.value,
                .top_p = (float)settings->top_p.value,
                .reference = settings->reference,
            },
        .stops = settings->stops.items,
        .stop_count = settings->stops.count,
        .deterministic = settings->deterministic,
    };
}

enum rf_status resolve_settings(struct rf_settings *out, const struct engine *engine,
                                const struct settings *settings, struct rf_error *err)
{
    struct rf_session_desc desc = session_desc(settings);
    if (!desc.settings.preset)
        desc.settings.preset = engine->preset;
    return rf_settings_resolve(out, &desc.settings, err);
}

enum rf_status check_settings(const struct settings *settings, struct rf_error *err)
{
    struct rf_session_desc desc = session_desc(settings);
    struct rf_settings numbers;
    return rf_settings_resolve(&numbers, &desc.settings, err);
}
