#include "engine/context.h"
#include "engine/allocate.h"
#include "engine/desc.h"
#include "engine/gpu/adopt.h"
#include "engine/gpu/kernel.h"
#include "engine/gpu/memory.h"

#include <stdio.h>
#include <stdlib.h>

/* The only place that reads the environment. An unset or empty variable counts as absent. */
static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* $XDG_CACHE_HOME/refusion, else ~/.cache/refusion; false when there is neither. */
static bool default_cache_dir(char *path, size_t room)
{
    const char *cache = from_environment("XDG_CACHE_HOME"), *home = from_environment("HOME");
    int length = -1;
    if (cache && cache[0] == '/')
        length = snprintf(path, room, "%s/refusion", cache); /* relative: invalid by XDG */
    else if (home)
        length = snprintf(path, room, "%s/.cache/refusion", home);
    return length > 0 && (size_t)length < room;
}

enum rf_status rf_devices_list(struct rf_device_info **infos, size_t *count, struct rf_error *err)
{
    RF_ALLOCATE_FROM((struct rf_allocator){0});
    return rf_gpu_list(infos, count, from_environment("RF_DISABLE"), err);
}

enum rf_status rf_context_list_counters(struct rf_counter_list *out, const char *device, const char *disable,
                                        struct rf_error *err)
{
    return rf_gpu_list_counters(out, device ? device : from_environment("RF_DEVICE"),
                                disable ? disable : from_environment("RF_DISABLE"), err);
}

enum rf_status rf_context_create(rf_context **out, const struct rf_context_desc *desc, struct rf_error *err)
{
    return rf_context_open(out, desc, RF_CAPTURE_NOTHING, NULL, 0, err);
}

static enum rf_status check_desc(const struct rf_context_desc *desc, bool adopts, struct rf_error *err)
{
    if (desc->duty > 100)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_context_desc.duty: found %u, wanted 1 to 100 percent, or 0", desc->duty);
    if (desc->priority != RF_PRIORITY_DEFAULT && desc->priority != RF_PRIORITY_LOW)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_context_desc.priority: found %d, wanted one of enum rf_priority",
                       (int)desc->priority);
    if (adopts && desc->device)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_context_desc.device: found \"%.64s\", wanted NULL: the device is "
                       "rf_vulkan_device.device",
                       desc->device);
    if (adopts && desc->validation)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_context_desc.validation: found true, wanted false: the layers are "
                       "those of the application's instance");
    return RF_OK;
}

static enum rf_status open_context(rf_context **out, const struct rf_context_desc *given,
                                   struct rf_gpu_desc more, struct rf_error *err)
{
    struct rf_context_desc known, *desc = &known;
    char cache[4096];
    *out = NULL;
    enum rf_status status = RF_DESC_READ(&known, rf_context_desc, given, err);
    if (!status)
        status = check_desc(desc, more.adopt != NULL, err);
    if (status)
        return status;
    RF_ALLOCATE_FROM(desc->allocator);
    struct rf_gpu_desc gpu = {.device = desc->device ? desc->device : from_environment("RF_DEVICE"),
                              .disable = desc->disable ? desc->disable : from_environment("RF_DISABLE"),
                              .cache_dir = desc->cache_dir,
                              .shader_dir = desc->shader_dir,
                              .memory_limit = desc->memory_limit,
                              .submission_ms = desc->submission_ms,
                              .debug_checks = desc->debug_checks,
                              .validation = desc->validation,
                              .capture = more.capture,
                              .shaders = more.shaders,
                              .shader_count = more.shader_count,
                              .adopt = more.adopt,
                              .duty = desc->duty,
                              .priority = desc->priority,
                              .debug_labels = desc->debug_labels,
                              .capture_step = desc->capture_step,
                              .counters = desc->counters,
                              .log = desc->log,
                              .log_user = desc->log_user};
    if (!gpu.cache_dir && default_cache_dir(cache, sizeof cache))
        gpu.cache_dir = cache;
    rf_context *context = rf_calloc(1, sizeof *context);
    if (!context)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory creating a context");
    status = rf_gpu_create(&context->gpu, &gpu, err);
    if (status) {
        rf_free(context);
        return status;
    }
    *out = context;
    return RF_OK;
}

enum rf_status rf_context_open(rf_context **out, const struct rf_context_desc *desc, enum rf_capture capture,
                               const struct rf_shader_words *shaders, size_t shader_count,
                               struct rf_error *err)
{
    struct rf_gpu_desc more = {.capture = capture, .shaders = shaders, .shader_count = shader_count};
    if (!out)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_context_create: out is needed");
    return open_context(out, desc, more, err);
}

enum rf_status rf_context_adopt(rf_context **out, const struct rf_vulkan_device *vulkan,
                                const struct rf_context_desc *desc, struct rf_error *err)
{
    struct rf_vulkan_device known;
    if (out)
        *out = NULL;
    if (!out || !vulkan)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_context_adopt: %s is needed", out ? "vulkan" : "out");
    enum rf_status status = RF_DESC_READ(&known, rf_vulkan_device, vulkan, err);
    return status ? status : open_context(out, desc, (struct rf_gpu_desc){.adopt = &known}, err);
}

enum rf_status rf_vulkan_needs_get(struct rf_vulkan_needs **out, const struct rf_vulkan_query *query,
                                   struct rf_error *err)
{
    struct rf_vulkan_query known;
    if (out)
        *out = NULL;
    if (!out || !query)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_vulkan_needs_get: %s is needed", out ? "query" : "out");
    enum rf_status status = RF_DESC_READ(&known, rf_vulkan_query, query, err);
    if (status)
        return status;
    RF_ALLOCATE_FROM((struct rf_allocator){0});
    if (!known.disable)
        known.disable = from_environment("RF_DISABLE");
    return rf_adopt_needs(out, &known, err);
}

void rf_context_destroy(rf_context *context)
{
    if (!context)
        return;
    rf_gpu_destroy(context->gpu);
    rf_free(context);
}

void rf_context_device(const rf_context *context, struct rf_device_info *info)
{
    rf_gpu_get_info(context->gpu, info);
}

uint64_t rf_context_complaints(const rf_context *context)
{
    return rf_gpu_complaints(context->gpu);
}

uint64_t rf_context_memory(const rf_context *context)
{
    return rf_gpu_memory_used(context->gpu);
}

void rf_context_visit_dispatches(const rf_context *context, rf_dispatch_fn visit, void *user)
{
    rf_kernels_visit(context->gpu, visit, user);
}

struct rf_gpu *rf_context_gpu(const rf_context *context)
{
    return context->gpu;
}

const char *rf_version(void)
{
    return RF_VERSION;
}
