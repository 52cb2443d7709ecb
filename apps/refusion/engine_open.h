/* From settings to a running engine: context and model, with progress on a terminal, and the session's
 * description. */
#ifndef RF_APPS_ENGINE_OPEN_H
#define RF_APPS_ENGINE_OPEN_H

#include "apps/refusion/options.h"
#include "engine/decode/settings.h"

struct engine {
    rf_context *context;
    rf_model *model;
    const rf_tokenizer *tokenizer; /* of the model; NULL when it has none */
    char device[RF_NAME_LENGTH];
    char preset[16];     /* of sessions whose settings name none */
    double load_seconds; /* context and model */
};

/* On failure nothing is left to close. */
enum rf_status engine_open(struct engine *engine, const struct settings *settings, struct rf_error *err);
void engine_close(struct engine *engine);
/* With --validate: how many complaints there were, said on stderr; 0 without. */
uint64_t engine_complaints(const struct engine *engine);

/* The context alone, for `selftest`. */
enum rf_status context_open(rf_context **out, const struct settings *settings, struct rf_error *err);

/* Stop texts are pointed at in `settings`. */
struct rf_session_desc session_desc(const struct settings *settings);

/* What a session of this engine decodes with. */
enum rf_status resolve_settings(struct rf_settings *out, const struct engine *engine,
                                const struct settings *settings, struct rf_error *err);

/* Wrong combinations of numbers are told before a model is read. */
enum rf_status check_settings(const struct settings *settings, struct rf_error *err);

double now_seconds(void); /* monotonic */

#endif
