/* Answers that are still missing: each sample by each variant, on the device, judged and added to the results. */
#ifndef RF_APPS_EVAL_ANSWER_H
#define RF_APPS_EVAL_ANSWER_H

#include "apps/refusion/engine_open.h"
#include "apps/refusion/eval/check.h"
#include "apps/refusion/eval/results.h"
#include "apps/refusion/eval/variant.h"

struct answering {
    const struct settings *settings;
    const struct engine *engine;
    const struct samples *samples;
    const struct variants *variants;
    struct python_limits limits;
    struct results *results;
};

/* What a sample is decoded with by a variant; points into the settings and the sample. */
struct rf_session_desc answer_desc(const struct settings *settings, const struct variant *variant,
                                   const char *preset);

/* Each sample is answered by a session of its own, so that no answer depends on those before it. Ctrl-C gives
 * RF_ERROR_CANCELLED; what was answered is in the results. */
enum rf_status answer_all(struct answering *job, struct rf_error *err);

#endif
