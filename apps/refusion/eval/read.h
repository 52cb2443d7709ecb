/* Files of tasks, read a record at a time. */
#ifndef RF_APPS_EVAL_READ_H
#define RF_APPS_EVAL_READ_H

#include "apps/refusion/eval/format.h"

struct read_rules {
    const struct format *format;
    bool strict;    /* the first malformed record is a failure; else it is told and left out */
    uint64_t limit; /* samples of each task at most; 0: all */
    void (*tell)(const char *message); /* of a record that is left out */
};

/* Appends the samples of a file, or of all *.json, *.jsonl and *.csv below a folder in the order of their names.
 * RF_ERROR_FORMAT when there is none. */
enum rf_status samples_read(struct samples *samples, const char *path, const struct read_rules *rules,
                            struct rf_error *err);

#endif
