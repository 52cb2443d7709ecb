/* JSON on standard output: built with cJSON, printed and freed in one call. */
#ifndef RF_APPS_JSON_OUT_H
#define RF_APPS_JSON_OUT_H

#include "engine/status.h"

#include <cjson/cJSON.h>

/* Ids or positions as a JSON array. */
cJSON *json_ids(const uint32_t *items, size_t count);

/* Prints the value and a newline, `indented` over several lines, and frees it. NULL (no memory while it was
 * built) is a failure. */
enum rf_status json_print(cJSON *value, bool indented, struct rf_error *err);

#endif
