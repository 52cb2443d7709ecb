/* refusion generate: one prompt, one answer. */
#include "apps/refusion/dispatches.h"
#include "apps/refusion/engine_open.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/program.h"
#include "apps/refusion/prompt.h"
#include "apps/refusion/respond.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum rf_status check_pairs(const struct settings *s, struct rf_error *err)
{
    const struct option_pair pairs[] = {{s->json && s->stream == STREAM_DENOISE, "json", "stream denoise"}};
    enum rf_status status = prompt_check(s, err);
    return status ? status : refuse_pairs(pairs, sizeof pairs / sizeof *pairs, err);
}

/* Everything after the response: the end of standard output, the object, the times. */
static enum rf_status finish(const struct settings *settings, const struct engine *engine,
                             rf_session *session, const struct response *response, struct rf_error *err)
{
    if (settings->json) {
        cJSON *object =
            response_json(response, session, settings->reference, engine->load_seconds, engine->device);
        if (settings->dispatches)
            cJSON_AddItemToObject(object, "dispatches", dispatches_json(engine->context));
        enum rf_status status = json_print(object, true, err);
        if (status)
            return status;
    } else if (response->print_text) {
        putchar('\n');
    }
    fflush(stdout);
    if (!settings->quiet && isatty(STDERR_FILENO)) {
        response_print_times(session, engine->device, engine->load_seconds);
    }
    if (settings->dispatches && !settings->json)
        dispatches_print(engine->context);
    return RF_OK;
}

/* Cells for every position that may be decoded. */
static enum rf_status start_show(struct show **out, const struct settings *settings,
                                 const struct engine *engine, rf_session *session, struct rf_error *err)
{
    struct rf_settings numbers;
    enum rf_status status = resolve_settings(&numbers, engine, settings, err);
    if (status)
        return status;
    struct rf_model_info model;
    struct rf_session_stats stats;
    rf_model_get_info(engine->model, &model);
    rf_session_get_stats(session, &stats);
    uint32_t most = numbers.max_tokens ? numbers.max_tokens : 512;
    uint32_t left =
        model.context_length > stats.prompt_tokens ? model.context_length - stats.prompt_tokens : 1;
    uint32_t length = (most < left ? most : left) + numbers.slot_size - 1;
    return show_begin(out, engine->tokenizer, numbers.slot_size, length - length % numbers.slot_size, err);
}

static enum rf_status generate(const struct settings *settings, const struct engine *engine,
                               struct prompt *prompt, struct rf_error *err)
{
    rf_session *session = NULL;
    struct rf_session_desc desc = session_desc(settings);
    enum rf_status status = rf_session_create(&session, engine->model, &desc, err);
    if (status)
        return status;
    struct show *show = NULL;
    struct response response = {
        .tokenizer = engine->tokenizer,
        .print_text = !settings->json && settings->stream == STREAM_APPEND,
        .print_events = settings->stream == STREAM_DENOISE,
        .keep_commits = settings->json,
    };
    status = prompt_begin(session, engine, prompt, settings, err);
    bool drawn = settings->show == SHOW_FORCE || (settings->show && isatty(STDERR_FILENO));
    if (!status && drawn) {
        status = start_show(&show, settings, engine, session, err);
        response.show = show;
    } else if (settings->show && !settings->quiet) {
        fprintf(stderr,
                "refusion: --show: stderr is not a terminal, nothing is drawn; --show=force draws anyway\n");
    }
    if (!status) {
        status = respond(&response, session, err);
        if (!status || status == RF_ERROR_CANCELLED) {
            /* What an interrupted answer had is still shown. */
            struct rf_error late = {0};
            enum rf_status end = finish(settings, engine, session, &response, &late);
            if (end && !status) {
                if (err)
                    *err = late;
                status = end;
            }
        }
    }
    response_free(&response);
    show_free(show);
    rf_session_destroy(session);
    return status;
}

int command_generate(const struct settings *settings)
{
    struct rf_error err = {0};
    struct prompt prompt = {0};
    struct engine engine;
    interrupt_install();
    enum rf_status status = check_pairs(settings, &err);
    if (!status)
        status = check_settings(settings, &err);
    if (!status)
        status = prompt_read(&prompt, settings, &err);
    if (!status)
        status = engine_open(&engine, settings, &err);
    if (!status) {
        status = generate(settings, &engine, &prompt, &err);
        int exit = status ? complain_error(&err) : STATUS_OK;
        if (settings->validate && engine_complaints(&engine) && exit == STATUS_OK)
            exit = STATUS_FAILURE;
        engine_close(&engine);
        prompt_free(&prompt);
        return exit;
    }
    prompt_free(&prompt);
    return complain_error(&err);
}
