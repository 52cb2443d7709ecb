/* What the library's profile callback told, kept until the end: submissions and dispatches of each run. */
#ifndef RF_APPS_PROFILE_STORE_H
#define RF_APPS_PROFILE_STORE_H

#include "engine/refusion_profile.h"
#include "engine/status.h"

/* A kernel in its place: what it is in the model, and which shader does it. */
struct profile_kernel {
    const char *op, *shader;
};

struct profile_dispatch {
    uint32_t kernel; /* index into profile.kernels */
    int32_t layer;   /* -1: none */
    uint32_t submission, pass, group, rows;
    uint64_t read, written, operations;
    double begin, end; /* of its group; seconds since gpu_begin of its submission */
};

struct profile_submission {
    uint32_t run;
    enum rf_profile_phase phase;
    uint32_t round;
    uint32_t rows[2], outputs[2];
    uint32_t remaining_slots, chosen_slots, committed_tokens, kv_pages;
    uint64_t device_memory;
    /* Seconds since the profile's origin. */
    double record_begin, submit_begin, wait_begin, read_begin, end, gpu_begin, gpu_end;
    double clock_error;
    double groups; /* seconds of all groups together */
    bool calibrated;
    size_t first; /* of its dispatches */
    uint32_t count;
    size_t first_value; /* index into profile.values; of runs with RF_PROFILE_COUNTERS */
};

struct profile_event {
    enum rf_event_kind kind;
    uint32_t round, position, count, token;
};

struct profile_run {
    enum rf_profile_mode mode;
    double begin, seconds; /* wall; begin since the origin */
    double span, groups;   /* of the device: first to last timestamp of each submission; of the groups */
    double record, submit, wait, read; /* of the host */
    uint32_t tokens, rounds;
    uint64_t forwards;
    double tokens_per_forward;
    uint32_t first, count; /* of its submissions */
    struct profile_event *events;
    size_t event_count;
};

struct profile {
    double origin; /* CLOCK_MONOTONIC seconds; moves on where the clock stood still */
    double paused; /* since when it stands still */
    struct profile_kernel *kernels;
    uint32_t kernel_count;
    struct profile_dispatch *dispatches;
    size_t dispatch_count;
    double *values; /* of hardware counters: [dispatches of such runs][counter_count] */
    size_t value_count;
    uint32_t counter_count;
    struct profile_submission *submissions;
    uint32_t submission_count;
    struct profile_run *runs;
    uint32_t run_count;
    double clock_error;      /* largest of all submissions */
    bool calibrated;         /* all of them */
    struct rf_error failure; /* of the callback */
};

void profile_init(struct profile *profile);
void profile_free(struct profile *profile);
/* A run begins: what is recorded from now on belongs to it. NULL without memory. */
struct profile_run *profile_begin_run(struct profile *profile, enum rf_profile_mode mode);
/* It has ended with this session, whose events were kept as they came. */
void profile_end_run(struct profile *profile, rf_session *session);
enum rf_status profile_keep_events(struct profile *profile, rf_session *session, struct rf_error *err);
/* The library's callback; `user` is the profile. */
void profile_on_record(void *user, const struct rf_profile_record *record);
/* Forgets the current run. */
void profile_drop_run(struct profile *profile);
/* Between the two the profile's clock stands still: the time belongs to another answer that takes turns with this
 * one. */
void profile_pause(struct profile *profile);
void profile_resume(struct profile *profile);
/* The only run of `from`, which has no dispatches, as if it had begun now and ended at once; `from` is empty then. */
enum rf_status profile_take_run(struct profile *profile, struct profile *from, struct rf_error *err);

#endif
