/* Into how many submissions a forward is cut, so that none takes longer than the device's limit: from times
 * that were measured, and for what has not run yet from those of its neighbours. */
#ifndef RF_MODEL_PARTS_H
#define RF_MODEL_PARTS_H

#include <stdbool.h>
#include <stdint.h>

struct rf_forward;

enum { RF_TIMES_KEPT = 4 };

/* The last seconds that a forward took, whatever they were made of. */
struct forward_times {
    double last[RF_TIMES_KEPT];
    uint32_t count; /* ever */
};

void rf_times_add(struct forward_times *times, double seconds);
/* The second longest of those kept (of one: that): one stalled run changes nothing, while of sessions that
 * take turns the one with the longer context counts. 0: never run. */
double rf_times_seconds(const struct forward_times *times);

/* Parts of a forward that takes `seconds`, 1 to RF_FORWARD_PARTS. */
uint32_t rf_parts_for(double seconds, double limit);
/* Whether `parts` are so wrong for it that recording anew is worth it: parts that take longer than the limit,
 * or not half as long as they might. */
bool rf_parts_are_wrong(uint32_t parts, double seconds, double limit);

/* Seconds of a forward of 2^bucket rows: as measured, else at most what forwards of other sizes took (fewer
 * rows: no longer; more rows: by the ratio), else by a device as slow as any that one would use. `cost`:
 * bytes of weights that it reads. */
double rf_forward_estimate(const struct rf_forward *forward, uint32_t bucket, uint32_t flags, uint64_t cost);

#endif
