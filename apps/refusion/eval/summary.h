/* What results come to: by task and variant, and over all. */
#ifndef RF_APPS_EVAL_SUMMARY_H
#define RF_APPS_EVAL_SUMMARY_H

#include "apps/refusion/eval/results.h"
#include "apps/refusion/eval/statistics.h"

struct measure {
    uint64_t n, right;
    uint64_t cut; /* answers that the limit on tokens ended */
    uint64_t tokens;
    double accuracy, mean_length;
    struct interval accuracy_interval;
    struct ratio per_forward; /* tokens and eos / forwards */
    struct ratio per_second;  /* tokens / the device's seconds */
    double p50, p95;          /* of latencies, in seconds */
    /* Against sequential decoding of the same samples, where there is that. */
    bool paired;
    uint64_t more, fewer; /* right only here, only there */
    struct interval difference;
    double p;
};

struct task_summary {
    const char *name; /* of the results, or "overall" */
    uint64_t n;       /* samples */
    struct measure *variants;
};

struct summary {
    const cJSON *header;
    uint32_t variants;
    bool sweep;
    struct task_summary overall;
    struct task_summary *tasks; /* in the order of their first samples */
    size_t task_count;
};

/* Of complete results, which are sorted and have to outlive it. */
enum rf_status summary_make(struct summary *out, struct results *results, struct rf_error *err);
void summary_free(struct summary *summary);
const char *summary_variant(const struct summary *summary, uint32_t variant); /* its name */
bool summary_is_ar(const struct summary *summary, uint32_t variant);

#endif
