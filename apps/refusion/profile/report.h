/* A profile as people and programs read it. */
#ifndef RF_APPS_PROFILE_REPORT_H
#define RF_APPS_PROFILE_REPORT_H

#include "apps/refusion/engine_open.h"
#include "apps/refusion/options.h"
#include "apps/refusion/profile/aggregate.h"
#include "engine/gpu/counters.h"

#include <cjson/cJSON.h>

struct profile_report {
    const struct profile *profile;
    const struct settings *settings;
    struct rf_device_info device;
    struct rf_model_info model;
    const char *model_name;
    const rf_tokenizer *tokenizer; /* NULL: events carry no text */
    const rf_bench *bench;         /* with measured ceilings; NULL: there are none */
    struct rf_bench_ceilings ceilings;
    uint32_t prompt_tokens;
    struct profile_step off, free, serial; /* zero: not run */
    struct profile_cost cost;              /* of the free-running profile */
    bool has_cost;
    const struct rf_counter *counters; /* [profile.counter_count] */
    const cJSON *pipelines;            /* NULL: the device does not tell what it compiles */
};

/* Why the free-running span and the serialised sum differ, with this profile's figures. */
void profile_explain(const struct profile_report *report, char *text, size_t size);
double profile_gb_per_second(const struct profile_sum *sum); /* 0 without time */
double profile_tflops(const struct profile_sum *sum);
double profile_percent_of_floor(const struct profile_sum *sum); /* 0: unknown */

/* tables.c: standard output. */
enum rf_status profile_print_tables(const struct profile_report *report, struct rf_error *err);
enum rf_status profile_print_csv(const struct profile_report *report, struct rf_error *err);

/* profile_json.c. `trace`: with sampled dispatches of the first free run, as the page draws them. */
enum rf_status profile_to_json(cJSON **out, const struct profile_report *report, bool trace,
                               struct rf_error *err);

/* counters.c: what hardware counters told of a kernel (and layer), the mean over the dispatches of its calls. */
struct profile_counted {
    int kernel, layer, phase; /* as in struct profile_sum */
    uint64_t calls;           /* of one run */
    double seconds;           /* a call, while they were counted */
    double *values;           /* [profile.counter_count]; a call's; of rates weighted with the calls' times */
};
/* In the order of seconds in all calls. */
enum rf_status profile_count_up(struct profile_counted **out, uint32_t *count,
                                const struct profile_report *report, unsigned keys, struct rf_error *err);
/* NULL: it was not counted. */
const struct profile_counted *profile_find_counted(const struct profile_counted *items, uint32_t count,
                                                   const struct profile_sum *sum);
void profile_counted_free(struct profile_counted *items, uint32_t count);
/* Nothing where nothing was counted. */
enum rf_status profile_print_counters(const struct profile_report *report, struct rf_error *err);
enum rf_status profile_counters_json(cJSON *object, const struct profile_report *report,
                                     struct rf_error *err);

/* static.c: what the driver's compiler made of the pipelines that have run, compiled once more on a device beside the
 * engine's, whose pipelines and their cache stay as they are. *out is NULL where the device does not tell. */
enum rf_status profile_pipelines(cJSON **out, const struct settings *settings, const struct engine *engine,
                                 struct rf_error *err);

/* timeline.c: Chrome's trace format. */
enum rf_status profile_write_timeline(const struct profile_report *report, const char *path,
                                      struct rf_error *err);

#endif
