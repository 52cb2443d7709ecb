/* generate --dispatches: how often each shader ran. */
#ifndef RF_APPS_DISPATCHES_H
#define RF_APPS_DISPATCHES_H

#include "apps/refusion/json_out.h"
#include "engine/refusion.h"

cJSON *dispatches_json(const rf_context *context); /* {shader: dispatches}; NULL without memory */
void dispatches_print(const rf_context *context);  /* on stderr, most first */

#endif
