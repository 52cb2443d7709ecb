/* Comma separated values as RFC 4180 has them: quotes, doubled quotes, newlines inside quotes. */
#ifndef RF_APPS_EVAL_CSV_H
#define RF_APPS_EVAL_CSV_H

#include "engine/status.h"

#include <cjson/cJSON.h>
#include <stdio.h>

struct csv;

/* Reads the first record, the names of the columns. `file` and `path` have to outlive it. */
enum rf_status csv_open(struct csv **out, FILE *file, const char *path, struct rf_error *err);
void csv_close(struct csv *csv); /* NULL: nothing */
/* The next record as an object of texts, and the line that it begins in; NULL at the end. A record with other than the
 * first's number of values is RF_ERROR_FORMAT, and the next call goes on behind it. Columns without a name are left out. */
enum rf_status csv_next(struct csv *csv, cJSON **out, uint64_t *line, struct rf_error *err);

#endif
