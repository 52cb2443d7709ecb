/* refusion generate: one prompt, one answer. */
#include "apps/refusion/dispatches.h"
#include "apps/refusion/engine_open.h"
#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/program.h"
#include "apps/refusion/respond.h"
#include "engine/decode/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A question that the tiny model answers well. */
static const char sample_question[] =
    "Write a Python function sum_odd(nums) that sums the odd numbers in a list.";

struct prompt {
    struct ids ids;   /* --tokens; items NULL: text */
    struct text text; /* bytes NULL: `words` is used */
    const char *words;
    size_t length;
};

/* Options that would have no effect beside one another are refused. */
static enum rf_status check_pairs(const struct settings *s, struct rf_error *err)
{
    const struct {
        bool both;
        const char *one, *other;
    } pairs[] = {
        {s->tokens && s->prompt, "tokens", "prompt"},
        {s->tokens && s->system, "tokens", "system"},
        {s->tokens && s->raw, "tokens", "raw"},
        {s->tokens && s->no_thinking, "tokens", "no-thinking"},
        {s->raw && s->system, "raw", "system"},
        {s->raw && s->no_thinking, "raw", "no-thinking"},
        {s->json && s->stream == STREAM_DENOISE, "json", "stream denoise"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (!pairs[i].both)
            continue;
        return rf_fail(err, RF_ERROR_ARGUMENT, "--%s: found it beside --%s, wanted one of them", pairs[i].one,
                       pairs[i].other);
    }
    return RF_OK;
}

static enum rf_status read_prompt(struct prompt *prompt, const struct settings *settings,
                                  struct rf_error *err)
{
    *prompt = (struct prompt){0};
    if (settings->tokens)
        return read_ids(&prompt->ids, "--tokens", settings->tokens, err);
    const char *name = "--prompt";
    prompt->words = settings->prompt;
    if (!prompt->words && stdin_is_given()) {
        name = "standard input";
        stdin_announce_wait("the prompt");
        enum rf_status status = read_stream(&prompt->text, stdin, name, err);
        if (status)
            return status;
        struct text *text = &prompt->text;
        if (text->length && text->bytes[text->length - 1] == '\n')
            text->length--;
        prompt->words = text->bytes;
        prompt->length = text->length;
    } else if (!prompt->words) {
        prompt->words = sample_question;
        if (!settings->quiet)
            fprintf(stderr, "refusion: no --prompt; asking: %s\n", sample_question);
    }
    if (name[0] == '-')
        prompt->length = strlen(prompt->words);
    if (prompt->length == 0) {
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: found an empty prompt, wanted at least one character",
                       name);
    }
    if (memchr(prompt->words, '\0', prompt->length)) {
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: found a NUL byte in the prompt, wanted UTF-8 text", name);
    }
    return RF_OK;
}

static void free_prompt(struct prompt *prompt)
{
    free(prompt->ids.items);
    free(prompt->text.bytes);
}

static enum rf_status begin(rf_session *session, const struct engine *engine, struct prompt *prompt,
                            const struct settings *settings, struct rf_error *err)
{
    if (settings->raw && !engine->tokenizer) {
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "--raw: the model folder has no tokenizer, wanted --tokens");
    }
    if (settings->raw) {
        enum rf_status status = rf_tokenizer_encode(engine->tokenizer, prompt->words, prompt->length, true,
                                                    &prompt->ids.items, &prompt->ids.count, err);
        if (status)
            return status;
    }
    if (prompt->ids.items)
        return rf_session_begin(session, prompt->ids.items, prompt->ids.count, err);
    if (prompt->text.bytes)
        prompt->text.bytes[prompt->length] = '\0';
    struct rf_message messages[2];
    size_t count = 0;
    if (settings->system)
        messages[count++] = (struct rf_message){"system", settings->system};
    messages[count++] = (struct rf_message){"user", prompt->words};
    return rf_session_begin_chat(session, messages, count, !settings->no_thinking, err);
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
    struct rf_session_desc desc = session_desc(settings);
    struct rf_settings numbers;
    enum rf_status status = rf_settings_resolve(&numbers, &desc.settings, err);
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
    status = begin(session, engine, prompt, settings, err);
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
        status = read_prompt(&prompt, settings, &err);
    if (!status)
        status = engine_open(&engine, settings, &err);
    if (!status) {
        status = generate(settings, &engine, &prompt, &err);
        int exit = status ? complain_error(&err) : STATUS_OK;
        if (settings->validate && engine_complaints(&engine) && exit == STATUS_OK)
            exit = STATUS_FAILURE;
        engine_close(&engine);
        free_prompt(&prompt);
        return exit;
    }
    free_prompt(&prompt);
    return complain_error(&err);
}
