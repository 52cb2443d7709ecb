/* How `bench` says what it measured: a table as it goes, CSV, or JSON at the end. */
#ifndef RF_APPS_BENCH_REPORT_H
#define RF_APPS_BENCH_REPORT_H

#include "apps/refusion/options.h"
#include "engine/bench/bench.h"

#include <cjson/cJSON.h>

enum bench_style { BENCH_TABLE, BENCH_CSV, BENCH_JSON };

struct bench_report {
    enum bench_style style;
    const char *model; /* folder, or the synthetic shape */
    struct rf_device_info device;
    struct rf_model_info info;
    bool begun;
    bool headed;                            /* the table has its heading */
    struct rf_bench_ceilings ceilings;      /* as they were first */
    cJSON *object, *forward, *tune, *sweep; /* with BENCH_JSON */
};

void bench_report_begin(struct bench_report *report, const struct rf_bench_ceilings *ceilings);
void bench_report_trial(struct bench_report *report, const struct rf_bench_trial *trial);
void bench_report_sweep(struct bench_report *report, const struct rf_bench_sweep *sweep);
void bench_report_forward(struct bench_report *report, const struct rf_bench_forward *cell);
void bench_report_prefill(struct bench_report *report, const struct rf_bench_forward *cell);
/* accept_rate < 0: nothing was scripted. */
void bench_report_decode(struct bench_report *report, enum rf_decode decode,
                         const struct rf_bench_decode *result, double accept_rate);
/* Prints what was kept for the end, and frees it. Ceilings that were raised meanwhile are told, and floors in
 * JSON are those of the last ones. `failure` (NULL: none) is what ended the measurements. */
enum rf_status bench_report_end(struct bench_report *report, const rf_bench *bench, const char *failure,
                                struct rf_error *err);

/* What the profiler says in the same way. */
cJSON *bench_ceilings_json(const struct rf_bench_ceilings *ceilings);
void bench_date(char text[32]); /* UTC, ISO 8601 */

double bench_percent_of_floor(const struct rf_bench_forward *cell);

#endif
