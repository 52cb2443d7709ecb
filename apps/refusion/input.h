/* What the user gives as text, ids or files, read and checked. */
#ifndef RF_APPS_INPUT_H
#define RF_APPS_INPUT_H

#include "apps/refusion/options.h"
#include "engine/status.h"

#include <stdio.h>

struct text {
    char *bytes; /* malloc'ed, NUL behind the end */
    size_t length;
};

struct ids {
    uint32_t *items; /* for rf_free */
    size_t count;
};

/* All of a stream. `name` is for messages. */
enum rf_status read_stream(struct text *out, FILE *file, const char *name, struct rf_error *err);

/* "1,2,3", "1 2 3", or @FILE that holds such a list; at least one id. `option` is for messages. */
enum rf_status read_ids(struct ids *out, const char *option, const char *list, struct rf_error *err);

/* Whether standard input is a pipe, a socket or a file, and so meant as input. */
bool stdin_is_given(void);
/* Says on stderr that the program waits for standard input, when nothing comes for a while. */
void stdin_announce_wait(const char *what);

/* --model, else RF_MODEL from the environment; NULL: neither. */
const char *named_model(const struct settings *settings);
/* The named model, or the folder of the one that comes along, which `path` takes: beside the program, in the source tree, or
 * where it was installed. */
enum rf_status find_model(const char **out, const struct settings *settings, char *path, size_t size,
                          struct rf_error *err);

#endif
