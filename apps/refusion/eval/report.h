/* What a summary looks like. */
#ifndef RF_APPS_EVAL_REPORT_H
#define RF_APPS_EVAL_REPORT_H

#include "apps/refusion/eval/summary.h"

#include <stdio.h>

/* For a terminal; `markdown`: the same tables as Markdown, with what they are of. */
void report_tables(FILE *file, const struct summary *summary, bool markdown);
/* NULL: no memory. */
cJSON *report_json(const struct summary *summary);
/* Accuracy against tokens per forward and against tokens per second, as SVG. */
void report_chart(FILE *file, const struct summary *summary);

/* Writes the file by one of them; it appears whole. */
enum rf_status report_write(const char *path, const struct summary *summary,
                            void (*write)(FILE *, const struct summary *), struct rf_error *err);
void report_markdown(FILE *file, const struct summary *summary);

#endif
