#include "apps/refusion/prompt.h"

#include "apps/refusion/program.h"

#include <stdlib.h>
#include <string.h>

/* A question that the tiny model answers well. */
static const char sample_question[] =
    "Write a Python function count_numbers(items) that counts the numbers in a list that are even.";

enum rf_status prompt_check(const struct settings *s, struct rf_error *err)
{
    const struct option_pair pairs[] = {
        {s->tokens && s->prompt, "tokens", "prompt"}, {s->tokens && s->system, "tokens", "system"},
        {s->tokens && s->raw, "tokens", "raw"},       {s->tokens && s->no_thinking, "tokens", "no-thinking"},
        {s->raw && s->system, "raw", "system"},       {s->raw && s->no_thinking, "raw", "no-thinking"},
    };
    return refuse_pairs(pairs, sizeof pairs / sizeof *pairs, err);
}

enum rf_status prompt_read(struct prompt *prompt, const struct settings *settings, struct rf_error *err)
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

void prompt_free(struct prompt *prompt)
{
    rf_free(prompt->ids.items);
    free(prompt->text.bytes);
}

enum rf_status prompt_begin(rf_session *session, const struct engine *engine, struct prompt *prompt,
                            const struct settings *settings, struct rf_error *err)
{
    if (settings->raw && !engine->tokenizer) {
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "--raw: the model folder has no tokenizer, wanted --tokens");
    }
    if (settings->raw && !prompt->ids.items) {
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
