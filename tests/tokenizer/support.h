/* What the tokenizer's tests share: files in memory, edits of JSON by path, comparison of ids. */
#ifndef RF_TESTS_TOKENIZER_SUPPORT_H
#define RF_TESTS_TOKENIZER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loader/tokenizer.h"

#include <cjson/cJSON.h>

/* The whole file, NUL-terminated; NULL when it cannot be read. The caller frees it. */
char *read_file(const char *path, size_t *size);

/* The files of a tokenizer folder in memory, each malloc'ed or NULL. */
struct folder {
    char *text[RF_TOKENIZER_FILE_COUNT];
    size_t size[RF_TOKENIZER_FILE_COUNT];
};
/* tests/golden/tiny by one route: with tokenizer.json alone, or with vocab.json, merges.txt and added_tokens.json;
 * both have tokenizer_config.json. */
struct folder tiny_folder(bool parts);
void folder_free(struct folder *folder);
/* Replaces a file's text. */
void folder_set(struct folder *folder, enum rf_tokenizer_file file, const char *text);
/* Sets the value at a path such as "model.merges.0" (array places are numbers) to the JSON text `value`; NULL
 * deletes it. An array's place at its end appends. */
void folder_edit(struct folder *folder, enum rf_tokenizer_file file, const char *path, const char *value);
/* Loads it under the name "m". */
enum rf_status folder_load(const struct folder *folder, rf_tokenizer **out, struct rf_error *err);

/* tests/golden/tiny by one route, loaded. */
rf_tokenizer *load_tiny(bool parts);

/* Fails the test, and names the first difference, unless ids equal the JSON array. */
void assert_ids(const uint32_t *ids, size_t count, const cJSON *wanted, const char *what);
/* encode() must succeed; the caller frees. */
uint32_t *encode(const rf_tokenizer *tokenizer, const char *text, size_t length, bool special, size_t *count);

/* Lines of a JSON Lines file, parsed; *count of them. Freed by free_lines. */
cJSON **read_lines(const char *path, size_t *count);
void free_lines(cJSON **lines, size_t count);

#endif
