/* The context: one device. Models and the self-test reach it through here. */
#ifndef RF_ENGINE_CONTEXT_H
#define RF_ENGINE_CONTEXT_H

#include "engine/gpu/counters.h"

struct rf_context {
    struct rf_gpu *gpu;
};

/* rf_context_create; `capture` something: for a device that only compiles, see struct rf_gpu_desc. Models that are loaded
 * on it can be listed (rf_forward_list), not run. `shaders` replace built-in ones, as in struct rf_gpu_desc. */
enum rf_status rf_context_open(rf_context **out, const struct rf_context_desc *desc, enum rf_capture capture,
                               const struct rf_shader_words *shaders, size_t shader_count,
                               struct rf_error *err);
/* rf_gpu_list_counters; NULL: what the environment says. */
enum rf_status rf_context_list_counters(struct rf_counter_list *out, const char *device, const char *disable,
                                        struct rf_error *err);
struct rf_gpu *rf_context_gpu(const rf_context *context);

#endif
