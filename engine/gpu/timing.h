/* Device time between two points of a submission, from timestamp queries. */
#ifndef RF_GPU_TIMING_H
#define RF_GPU_TIMING_H

#include "engine/gpu/command.h"

struct rf_timer; /* one measurement at a time */

/* *out is NULL on a device without timestamps; the other calls take that. */
enum rf_status rf_timer_create(struct rf_timer **out, struct rf_gpu *gpu, struct rf_error *err);
void rf_timer_destroy(struct rf_timer *timer); /* NULL is fine; the device must be done with it */
/* Command buffers to submit around those that are measured. NULL without a timer. */
struct rf_cmd *rf_timer_start(const struct rf_timer *timer);
struct rf_cmd *rf_timer_stop(const struct rf_timer *timer);
/* Of the last submission that held both, once it was waited for. 0 without a timer. */
enum rf_status rf_timer_seconds(const struct rf_timer *timer, double *seconds, struct rf_error *err);

#endif
