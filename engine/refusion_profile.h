/* refusion for engineers: what each dispatch of a step costs, and whether every kernel is right on this device. The
 * conventions are those of refusion.h. An application that only wants answers needs nothing of this. */
#ifndef REFUSION_PROFILE_H
#define REFUSION_PROFILE_H

#include "refusion.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Profiling -------------------------------------------------------------------------------------- */

enum rf_profile_mode {
    RF_PROFILE_OFF = 0,
    /* Free-running: the commands are those of a run without profile, with a timestamp where each begins, before
     * each of their barriers and at the end. Dispatches between two barriers have one time together. */
    RF_PROFILE_FREE,
    /* Serialised: a barrier before every dispatch, so that each has a time of its own; what ran side by side
     * does not, and the sum is at least that of a free-running step. */
    RF_PROFILE_SERIAL,
    RF_PROFILE_HOST, /* times of the host alone: all that there is on a device without timestamps */
    /* Serialised, with a query of rf_context_desc.counters round each dispatch. The device's profiling lock is
     * held, under which a driver may fix clocks. */
    RF_PROFILE_COUNTERS
};

enum rf_profile_phase {
    RF_PHASE_PREFILL,  /* rows of the prompt, those of the first PLAN included */
    RF_PHASE_PLAN,     /* masks of all remaining slots */
    RF_PHASE_VERIFY,   /* drafts of the chosen slots */
    RF_PHASE_COMPLETE, /* a turn that fills rejected tails, or half of one */
    RF_PHASE_AR,       /* RF_DECODE_AR */
    RF_PHASES
};
/* "prefill", "plan", "verify", "complete" or "ar"; "unknown" for a number that is none. Static. Thread-safe.
 *
 *     for (int phase = 0; phase < RF_PHASES; phase++)
 *         puts(rf_profile_phase_name((enum rf_profile_phase)phase));
 */
RF_API const char *rf_profile_phase_name(enum rf_profile_phase phase);

/* One dispatch, or copy, of a submission. */
struct rf_profile_dispatch {
    const char *op;     /* what it is in the model: "qkv", "attention", ..; static */
    const char *shader; /* variant; "copy"; lives as long as the context */
    int32_t layer;      /* -1: none */
    uint32_t pass;      /* forward of the submission that it belongs to: 0 or 1 */
    /* Counts the stretches between timestamps. Equal: no barrier was between them, and they may have run side by side,
     * or, on a device whose timestamps take long (Mesa's llvmpipe), they were too short for one of their own. */
    uint32_t group;
    uint32_t rows; /* that it worked on */
    /* Bytes that must move, each once, and multiplications and additions of the mathematics, both counted from
     * shapes; 0: nothing worth counting. */
    uint64_t bytes_read, bytes_written, operations;
    double begin, end; /* of its group, in seconds since gpu_begin */
};

struct rf_profile_session {
    rf_session *session;
    enum rf_profile_phase phase;
    uint32_t round;            /* from 0 */
    uint32_t rows;             /* of its own in pass 0 */
    uint32_t remaining_slots;  /* before the submission; RF_DECODE_AR: 0 */
    uint32_t chosen_slots;     /* that this round's PLAN chose, as far as it has run */
    uint32_t committed_tokens; /* by this submission */
    uint32_t kv_pages;         /* that it holds, scratch included */
};

struct rf_profile_part {
    double begin, end; /* on the device, in seconds since gpu_begin */
};

/* One submission: what sessions wanted of the device at one time. Times of the host are seconds of
 * CLOCK_MONOTONIC. Valid during the callback. */
struct rf_profile_record {
    enum rf_profile_mode mode;
    /* Commands are looked up (or recorded, when they are wanted for the first time), handed over, waited for,
     * and what came of it is read: each begins where the one before ends. */
    double record_begin, submit_begin, wait_begin, read_begin, end;
    /* First and last timestamp on the host's clock; equal: none. clock_error: seconds that they may be off; the
     * distance between the two is exact. */
    double gpu_begin, gpu_end, clock_error;
    bool calibrated; /* by VK_EXT_calibrated_timestamps; else by when the wait ended */
    bool recorded;   /* commands were recorded, and pipelines made, that the next submission will find */
    uint32_t rows[2], outputs[2]; /* of the forwards; outputs: rows with a result */
    uint64_t device_memory;       /* bytes that the context holds */
    const struct rf_profile_session *sessions;
    uint32_t session_count;
    const struct rf_profile_dispatch *dispatches; /* in the order of recording; none with RF_PROFILE_HOST */
    uint32_t dispatch_count;
    /* [dispatch_count][counter_count], of the dispatches, in the order of rf_context_desc.counters; NULL: not
     * RF_PROFILE_COUNTERS. */
    const double *counters;
    uint32_t counter_count;
    /* What it was cut into (rf_context_desc.submission_ms), in order: submissions of their own, nobody waits between
     * them. None on a device without timestamps, or with RF_PROFILE_HOST. */
    const struct rf_profile_part *parts;
    uint32_t part_count;
};
/* Called by the thread that steps, after each submission, with the model's lock held: it must not call into the
 * model or its sessions. */
typedef void (*rf_profile_fn)(void *user, const struct rf_profile_record *record);

/* From the next submission of the model's sessions on. Commands of each mode are recorded when they are first
 * wanted, so the first submission of each kind has to be left out where times matter (rf_profile_record.recorded),
 * and kept until RF_PROFILE_OFF, so that modes can take turns. Those without a timestamp are never touched.
 * RF_ERROR_UNSUPPORTED for FREE, SERIAL and COUNTERS on a device without timestamps, for COUNTERS also when the
 * device does not grant its profiling lock. Thread-safe; waits for the submission under way.
 *
 *     rf_model_profile(model, RF_PROFILE_FREE, on_record, NULL, &err);
 *     rf_session_generate(session, NULL, NULL, &err);
 *     return rf_model_profile(model, RF_PROFILE_OFF, NULL, NULL, &err);
 */
RF_API enum rf_status rf_model_profile(rf_model *model, enum rf_profile_mode mode, rf_profile_fn on_record,
                                       void *user, struct rf_error *err);

/* ---- Self-test -------------------------------------------------------------------------------------- */

struct rf_selftest_result {
    const char *kernel; /* shader variant, such as "attention_act16" */
    const char *shape;  /* what was run, such as "rows=33 cache=65 head_dim=128 gqa=4" */
    double error;       /* norm of difference / norm of the f64 reference */
    double tolerance;
    bool passed;
};
typedef void (*rf_selftest_fn)(void *user, const struct rf_selftest_result *result);

struct rf_selftest_desc {
    uint32_t size;      /* sizeof(struct rf_selftest_desc), or 0; see refusion.h */
    const char *kernel; /* only kernels whose name contains this; NULL: all */
    bool thorough;      /* the whole matrix of awkward shapes; else a few of each */
    uint64_t seed;      /* of the random data; 0: from the clock (reported in `shape` of the first result) */
};

/* Runs every kernel on this device against a plain f64 C reference. RF_OK when all passed, RF_ERROR_INTERNAL
 * when one did not (counts in err). `desc` and `on_result` may be NULL.
 *
 *     struct rf_selftest_desc desc = {.size = sizeof desc, .kernel = "attention", .seed = 1};
 *     return rf_selftest(context, &desc, NULL, NULL, &err);
 */
RF_API enum rf_status rf_selftest(rf_context *context, const struct rf_selftest_desc *desc,
                                  rf_selftest_fn on_result, void *user, struct rf_error *err);

#ifdef __cplusplus
}
#endif
#endif
