/* Hardware counters, by VK_KHR_performance_query: those that the driver offers for the queue family that work runs
 * on, and those that were chosen when the device was made (rf_gpu_desc.counters), which command buffers marked
 * with RF_MARK_COUNTERS read for each of their dispatches. */
#ifndef RF_GPU_COUNTERS_H
#define RF_GPU_COUNTERS_H

#include "engine/gpu/device.h"

enum { RF_COUNTER_TEXT = 256 }; /* Vulkan's VK_MAX_DESCRIPTION_SIZE */

struct rf_counter {
    char name[RF_COUNTER_TEXT], category[RF_COUNTER_TEXT], description[RF_COUNTER_TEXT];
    const char *unit;    /* "percentage", "bytes", "cycles", ..; static, as the next two */
    const char *storage; /* "uint64", "float32", .. */
    const char *scope;   /* what one query counts: "command", "render pass" or "command buffer" */
    bool is_rate;        /* of a unit whose values are averaged over time, not added up */
    bool slows_down;     /* counting may change what is counted */
    bool sees_others;    /* other work on the device is counted too */
};

struct rf_counter_list {
    struct rf_device_info device;
    uint32_t family; /* queue family */
    uint32_t count;
    struct rf_counter *items; /* owned: rf_free(); in the driver's order */
};

/* Of the device that is chosen as in rf_gpu_desc; no device is made. RF_ERROR_UNSUPPORTED where it has none. */
enum rf_status rf_gpu_list_counters(struct rf_counter_list *out, const char *device, const char *disable,
                                    struct rf_error *err);
/* In the order of rf_gpu_desc.counters; live as long as the device. NULL and 0: none were chosen. */
const struct rf_counter *rf_gpu_counters(const struct rf_gpu *gpu, uint32_t *count);
/* Takes or gives back the device's profiling lock, which is to be held while commands with counters are recorded and
 * until they have run: it is given back as often as it was taken. Waits a second for another process that has it. */
enum rf_status rf_gpu_hold_counters(struct rf_gpu *gpu, bool hold, struct rf_error *err);

#endif
