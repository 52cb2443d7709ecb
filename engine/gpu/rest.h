/* The share of time that the device may work for us: rf_context_desc.duty. */
#ifndef RF_GPU_REST_H
#define RF_GPU_REST_H

#include "engine/gpu/device.h"

/* A submission has kept the device busy for `seconds`, until now. */
void rf_gpu_worked(struct rf_gpu *gpu, double seconds);
/* Seconds for which the device has still to be left alone; 0: none. Whoever submits looks. */
double rf_gpu_rest_left(struct rf_gpu *gpu);

#endif
