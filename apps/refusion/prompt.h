/* What is asked: --prompt, --tokens, standard input, or a sample question. */
#ifndef RF_APPS_PROMPT_H
#define RF_APPS_PROMPT_H

#include "apps/refusion/engine_open.h"
#include "apps/refusion/input.h"

struct prompt {
    struct ids ids;   /* --tokens; items NULL: text */
    struct text text; /* bytes NULL: `words` is used */
    const char *words;
    size_t length;
};

/* The pairs among the options that say what is asked. */
enum rf_status prompt_check(const struct settings *settings, struct rf_error *err);
/* To be freed after a failure too. */
enum rf_status prompt_read(struct prompt *prompt, const struct settings *settings, struct rf_error *err);
void prompt_free(struct prompt *prompt);
/* Begins a response to it; may be called again, with other sessions too. */
enum rf_status prompt_begin(rf_session *session, const struct engine *engine, struct prompt *prompt,
                            const struct settings *settings, struct rf_error *err);

#endif
