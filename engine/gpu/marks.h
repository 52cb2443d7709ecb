/* Timestamps inside a recorded command buffer, for the profiler: one where its work may begin, one behind each
 * of its barriers, one behind its last dispatch. What lies between two of them is a group: dispatches and
 * copies that nothing orders against each other, and, where a timestamp itself takes long (rf_gpu_caps), short ones of
 * several stretches between barriers. A command buffer that was not marked has no query pool and
 * not one command more. */
#ifndef RF_GPU_MARKS_H
#define RF_GPU_MARKS_H

#include "engine/gpu/command.h"

enum rf_marking {
    RF_MARK_NOTHING,
    RF_MARK_GROUPS,     /* no barrier is added: what runs is what runs without */
    RF_MARK_DISPATCHES, /* a barrier before every dispatch, so that each is a group of its own */
    RF_MARK_COUNTERS,   /* and a query of the chosen hardware counters round it, see counters.h */
    RF_MARKINGS
};

/* Right behind rf_cmd_begin. rf_cmd_continue goes on with it. RF_ERROR_UNSUPPORTED on a device without
 * timestamps. A marked command buffer may be in flight once only, and once in a submission. With
 * RF_MARK_COUNTERS it holds at most `most` dispatches and copies. */
enum rf_status rf_cmd_mark(struct rf_cmd *cmd, enum rf_marking marking, uint32_t most, struct rf_error *err);

/* A dispatch or copy of a marked command buffer. */
struct rf_marked {
    const struct rf_kernel *kernel; /* NULL: a copy */
    uint32_t note;                  /* as in struct rf_dispatch; of a copy UINT32_MAX */
    uint32_t group;                 /* from 0 */
};

/* In the order of recording; NULL and 0 when the command buffer is not marked. */
const struct rf_marked *rf_cmd_marked(const struct rf_cmd *cmd, uint32_t *count);
uint32_t rf_cmd_group_count(const struct rf_cmd *cmd); /* 0: not marked */
/* Device ticks [rf_cmd_group_count() + 1] of the last submission that held it, which was waited for: group g
 * lies between ticks g and g + 1. */
enum rf_status rf_cmd_read_marks(const struct rf_cmd *cmd, uint64_t *ticks, struct rf_error *err);

/* [dispatches and copies][counters], likewise; only with RF_MARK_COUNTERS. */
enum rf_status rf_cmd_read_counters(const struct rf_cmd *cmd, double *values, struct rf_error *err);

/* Ticks from `first` to `second`, which came later, as seconds; the counter may have wrapped once. */
double rf_gpu_ticks_between(const struct rf_gpu *gpu, uint64_t first, uint64_t second);

/* The device's clock and the host's at one moment. */
struct rf_clock_pair {
    double host;    /* seconds, CLOCK_MONOTONIC */
    uint64_t ticks; /* of the device */
    double error;   /* seconds that the two may lie apart */
};
/* *known is false where VK_EXT_calibrated_timestamps is missing, or knows no such pair of clocks. */
enum rf_status rf_gpu_read_clocks(struct rf_gpu *gpu, struct rf_clock_pair *pair, bool *known,
                                  struct rf_error *err);

#endif
