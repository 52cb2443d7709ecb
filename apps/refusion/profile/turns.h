/* Two answers to one prompt, one profiled and one not, whose submissions take strict turns: what the profile itself
 * costs is then told by submissions that lie milliseconds apart. */
#ifndef RF_APPS_PROFILE_TURNS_H
#define RF_APPS_PROFILE_TURNS_H

#include "apps/refusion/engine_open.h"
#include "apps/refusion/options.h"
#include "apps/refusion/profile/store.h"
#include "apps/refusion/prompt.h"

struct turns {
    struct engine *engine;
    struct prompt *prompt;
    const struct settings *settings;
};

/* Adds a free-running run and one without profile to `kept`. On the profile's clock the second follows the first, and
 * of either only its own time has passed. *recorded: commands were recorded, and nothing was added. */
enum rf_status turns_run(const struct turns *turns, struct profile *kept, bool *recorded,
                         struct rf_error *err);

#endif
