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

/* Two options of which one would have no effect beside the other. */
struct option_pair {
    bool both;
    const char *one, *other;
};
/* RF_ERROR_ARGUMENT for the first pair that was given. */
enum rf_status refuse_pairs(const struct option_pair *pairs, size_t count, struct rf_error *err);
/* The pairs among the options that say what is asked. */
enum rf_status prompt_check(const struct settings *settings, struct rf_error *err);
/* To be freed after a failure too. */
enum rf_status prompt_read(struct prompt *prompt, const struct settings *settings, struct rf_error *err);
void prompt_free(struct prompt *prompt);
/* Begins a response to it; may be called again, with other sessions too. */
enum rf_status prompt_begin(rf_session *session, const struct engine *engine, struct prompt *prompt,
                            const struct settings *settings, struct rf_error *err);

#endif
