/* Strict reading of JSON files: cJSON builds the tree, this file refuses what cJSON lets through (text
 * after the value, control characters, bad numbers, invalid UTF-8, \u0000, equal keys in one object,
 * nesting beyond RF_JSON_MAX_DEPTH) and reads fields with messages that name file, field, what was found
 * and what was wanted. */
#ifndef RF_LOADER_JSON_H
#define RF_LOADER_JSON_H

#include "engine/status.h"

#include <cjson/cJSON.h>

enum {
    RF_JSON_MAX_DEPTH = 32,
    RF_JSON_MAX_VALUES = 4 << 20, /* a tokenizer.json of 151,671 tokens has about 700,000 */
};

/* `file` is the name that messages carry. `text` holds `size` bytes and need not end in NUL. A text of
 * more than `max_values` JSON values is refused before anything is allocated. *out is freed by
 * cJSON_Delete. */
enum rf_status rf_json_parse(cJSON **out, const char *file, const char *text, size_t size, size_t max_values,
                             struct rf_error *err);

/* An object and the words that lead to it: `path` is "" at the top, "rope_scaling." one level down. */
struct rf_json_at {
    const cJSON *object;
    const char *file;
    const char *path;
};

/* The member `key`, or NULL when it is absent or null. */
const cJSON *rf_json_member(struct rf_json_at at, const char *key);

/* Each refuses an absent member, another type and a value out of range; bounds are inclusive. */
enum rf_status rf_json_uint(struct rf_json_at at, const char *key, uint64_t min, uint64_t max, uint64_t *out,
                            struct rf_error *err);
enum rf_status rf_json_number(struct rf_json_at at, const char *key, double min, double max, double *out,
                              struct rf_error *err);
/* An absent or null member gives `fallback`. */
enum rf_status rf_json_bool(struct rf_json_at at, const char *key, bool fallback, bool *out,
                            struct rf_error *err);
/* *out lives in the tree; NULL when the member is absent or null. */
enum rf_status rf_json_string(struct rf_json_at at, const char *key, const char **out, struct rf_error *err);

/* A whole number within the bounds (and at most 2^53, where doubles stop being exact); false otherwise. */
bool rf_json_is_uint(const cJSON *value, uint64_t min, uint64_t max, uint64_t *out);

/* `value` in a few words for a message: 12, "gelu", an array, null, nothing (when NULL). Always one
 * printable line. */
struct rf_json_words {
    char text[80];
};
struct rf_json_words rf_json_describe(const cJSON *value);
/* Any text as one printable line of at most 79 bytes: control characters become '?', the rest is cut. */
struct rf_json_words rf_json_printable(const char *text);

#endif
