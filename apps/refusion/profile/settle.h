/* What each dispatch takes beside the others, when runs of it are laid on one another. */
#ifndef RF_APPS_PROFILE_SETTLE_H
#define RF_APPS_PROFILE_SETTLE_H

#include "apps/refusion/profile/store.h"

/* A machine that others use is slower in one run than in the next, but nearly as much slower for all dispatches of
 * that run. So times are taken for the product of what a dispatch takes and of how fast its run was, and both are
 * fitted by medians in turn. Medians of a run's dispatches are weighted with the square root of time: long ones are
 * measured better, but none of them is to be the median by itself. */
struct settled {
    double *seconds; /* [count] of each dispatch at the speed of the fastest run */
    double *factors; /* [run_count] how much slower each run was */
    uint32_t run_count;
    size_t count;
};

/* Of runs of a mode. count is 0 where there are fewer than two, or where they made different dispatches, as they do
 * when tokens are drawn. */
enum rf_status settle(struct settled *out, const struct profile *profile, enum rf_profile_mode mode,
                      struct rf_error *err);
void settled_free(struct settled *settled);

/* The dispatches of a run, one behind the other. */
const struct profile_dispatch *run_dispatches(const struct profile *profile, const struct profile_run *run,
                                              size_t *count);
/* Standard error of the median of `values`, as a share of it, by their median distance from it; sorts them. Above 0. */
double relative_error(double *values, uint32_t count);

#endif
