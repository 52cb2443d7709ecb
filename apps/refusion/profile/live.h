/* Work on shaders: replaced ones (--shader-dir) checked and set beside the built-in ones. */
#ifndef RF_APPS_PROFILE_LIVE_H
#define RF_APPS_PROFILE_LIVE_H

#include "apps/refusion/profile/report.h"

/* Runs the self-test of each replaced shader, and says on stderr how near it is to the f64 reference.
 * RF_ERROR_INTERNAL when one is not. */
enum rf_status live_check(rf_context *context, bool quiet, struct rf_error *err);

/* A replaced kernel in a phase, both ways. */
struct live_row {
    const struct profile_kernel *kernel;
    int phase;
    uint64_t calls;
    double builtin, replaced;                   /* seconds a call, medians over the serialised runs */
    double builtin_range[2], replaced_range[2]; /* least and most */
};
/* malloc'ed; the last row, whose kernel is NULL, is everything that was not replaced (seconds a run). */
enum rf_status live_rows(struct live_row **out, uint32_t *count, const struct profile *builtin,
                         const struct profile *replaced, struct rf_error *err);
enum rf_status live_print(const struct profile *builtin, const struct profile *replaced,
                          struct rf_error *err);
/* As "replaced" in the profile's object. */
enum rf_status live_json(cJSON *object, const struct profile *builtin, const struct profile *replaced,
                         struct rf_error *err);

#endif
