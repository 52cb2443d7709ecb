/* The ways in which every sample is answered: plan-and-infill and left to right, or the points of a sweep. */
#ifndef RF_APPS_EVAL_VARIANT_H
#define RF_APPS_EVAL_VARIANT_H

#include "engine/status.h"

enum axis { AXIS_SLOT_SIZE, AXIS_BLOCK, AXIS_SLOT_THRESHOLD, AXIS_TOKEN_THRESHOLD, AXIS_COUNT };
extern const char *const axis_names[AXIS_COUNT]; /* as the options are called: "slot-size", ... */

enum { MOST_VARIANTS = 256 };

struct variant {
    char name[128]; /* "refusion", "ar"; of a point "slot-size=8 token-threshold=0.4" */
    bool ar;
    bool set[AXIS_COUNT];
    double values[AXIS_COUNT];
};

struct variants {
    struct variant items[MOST_VARIANTS];
    size_t count;
    bool sweep;
};

/* `specs`: those of --sweep, "slot-size=4,8,16" or "" for the grid that is tried by default; none: no sweep. A later
 * one of the same name takes the place of an earlier one. `refusion` and `ar`: which decodings are wanted. */
enum rf_status variants_make(struct variants *out, const char *const *specs, size_t count, bool refusion,
                             bool ar, struct rf_error *err);

/* Puts the variant's own numbers in the place of those that are there. */
void variant_apply(const struct variant *variant, struct rf_decode_settings *settings);

#endif
