/* The context: one device. Models and the self-test reach it through here. */
#ifndef RF_ENGINE_CONTEXT_H
#define RF_ENGINE_CONTEXT_H

#include "engine/gpu/device.h"

struct rf_context {
    struct rf_gpu *gpu;
};

struct rf_gpu *rf_context_gpu(const rf_context *context);

#endif
