/* What files of tasks look like: our own lines, and benchmarks as they are published. */
#ifndef RF_APPS_EVAL_FORMAT_H
#define RF_APPS_EVAL_FORMAT_H

#include "apps/refusion/eval/sample.h"

#include <cjson/cJSON.h>

struct format {
    const char *name;   /* of --format, and of the task where the file has none */
    const char *preset; /* of decoding; NULL: the model's */
    bool csv;           /* a record is an object whose keys stand in the first line */
    bool whole;         /* the file may also be one object, or a list of them */
    bool task_of_file;  /* the task is called as the file, where the object does not say */
    /* Fills query, reference, check and whatever else the object tells; `where` is the file's name and the record's
     * place, for messages. What it leaves NULL the reader fills. */
    enum rf_status (*convert)(struct sample *out, const cJSON *object, const char *where,
                              struct rf_error *err);
};

extern const struct format formats[]; /* the first is our own */
extern const size_t format_count;
/* NULL: RF_ERROR_ARGUMENT, with all names; `name` NULL: our own. */
const struct format *format_find(const char *name, struct rf_error *err);

/* The order in which GPQA's four choices are shown: that of the question alone. */
void shuffled(unsigned order[4], const char *text);

#endif
