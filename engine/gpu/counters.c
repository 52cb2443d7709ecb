#include "engine/gpu/counters.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/allocate.h"
#include "engine/gpu/internal.h"

enum { MOST_COUNTERS = 64, LOCK_SECONDS = 1 };

struct rf_counters {
    uint32_t count, indices[MOST_COUNTERS];
    VkPerformanceCounterStorageKHR storages[MOST_COUNTERS];
    struct rf_counter chosen[MOST_COUNTERS];
    PFN_vkAcquireProfilingLockKHR acquire;
    PFN_vkReleaseProfilingLockKHR release;
    uint32_t holders; /* of the lock; guarded by queue_mutex */
};

/* ---- What there is ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool is_rate;
} units[] = {
    [VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR] = {"generic", false},
    [VK_PERFORMANCE_COUNTER_UNIT_PERCENTAGE_KHR] = {"percentage", true},
    [VK_PERFORMANCE_COUNTER_UNIT_NANOSECONDS_KHR] = {"nanoseconds", false},
    [VK_PERFORMANCE_COUNTER_UNIT_BYTES_KHR] = {"bytes", false},
    [VK_PERFORMANCE_COUNTER_UNIT_BYTES_PER_SECOND_KHR] = {"bytes per second", true},
    [VK_PERFORMANCE_COUNTER_UNIT_KELVIN_KHR] = {"kelvin", true},
    [VK_PERFORMANCE_COUNTER_UNIT_WATTS_KHR] = {"watts", true},
    [VK_PERFORMANCE_COUNTER_UNIT_VOLTS_KHR] = {"volts", true},
    [VK_PERFORMANCE_COUNTER_UNIT_AMPS_KHR] = {"amps", true},
    [VK_PERFORMANCE_COUNTER_UNIT_HERTZ_KHR] = {"hertz", true},
    [VK_PERFORMANCE_COUNTER_UNIT_CYCLES_KHR] = {"cycles", false},
};
static const char *const storages[] = {"int32", "int64", "uint32", "uint64", "float32", "float64"};
static const char *const scopes[] = {"command buffer", "render pass", "command"};

#define NAME_OF(names, index) ((size_t)(index) < sizeof(names) / sizeof *(names) ? (names)[index] : "unknown")

static void describe(struct rf_counter *out, const VkPerformanceCounterKHR *counter,
                     const VkPerformanceCounterDescriptionKHR *text)
{
    bool known = (size_t)counter->unit < sizeof units / sizeof *units;
    memcpy(out->name, text->name, sizeof out->name);
    memcpy(out->category, text->category, sizeof out->category);
    memcpy(out->description, text->description, sizeof out->description);
    out->name[RF_COUNTER_TEXT - 1] = out->category[RF_COUNTER_TEXT - 1] =
        out->description[RF_COUNTER_TEXT - 1] = 0;
    out->unit = known ? units[counter->unit].name : "unknown";
    out->is_rate = known && units[counter->unit].is_rate;
    out->storage = NAME_OF(storages, counter->storage);
    out->scope = NAME_OF(scopes, counter->scope);
    out->slows_down = text->flags & VK_PERFORMANCE_COUNTER_DESCRIPTION_PERFORMANCE_IMPACTING_BIT_KHR;
    out->sees_others = text->flags & VK_PERFORMANCE_COUNTER_DESCRIPTION_CONCURRENTLY_IMPACTED_BIT_KHR;
}

/* As the driver tells them; both for rf_free. */
static enum rf_status read_counters(const struct rf_instance *instance, const struct rf_probe *probe,
                                    VkPerformanceCounterKHR **counters,
                                    VkPerformanceCounterDescriptionKHR **texts, uint32_t *count,
                                    struct rf_error *err)
{
    *counters = NULL;
    *texts = NULL;
    *count = 0;
    if (!probe->performance_query)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "device %u (%s) offers no hardware counters (VK_KHR_performance_query)",
                       probe->info.index, probe->info.name);
    VkResult result = instance->list_counters(probe->physical, probe->family, count, NULL, NULL);
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR");
    *counters = rf_calloc(*count + 1, sizeof **counters);
    *texts = rf_calloc(*count + 1, sizeof **texts);
    if (!*counters || !*texts)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u counters", *count);
    for (uint32_t i = 0; i < *count; i++) {
        (*counters)[i].sType = VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_KHR;
        (*texts)[i].sType = VK_STRUCTURE_TYPE_PERFORMANCE_COUNTER_DESCRIPTION_KHR;
    }
    result = instance->list_counters(probe->physical, probe->family, count, *counters, *texts);
    return result >= VK_SUCCESS
               ? RF_OK
               : rf_vk_fail(err, result, "vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR");
}

enum rf_status rf_counters_list(struct rf_counter_list *out, const struct rf_instance *instance,
                                const struct rf_probe *probe, struct rf_error *err)
{
    VkPerformanceCounterKHR *counters;
    VkPerformanceCounterDescriptionKHR *texts;
    *out = (struct rf_counter_list){.device = probe->info, .family = probe->family};
    enum rf_status status = read_counters(instance, probe, &counters, &texts, &out->count, err);
    if (!status && !(out->items = rf_calloc(out->count + 1, sizeof *out->items)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u counters", out->count);
    for (uint32_t i = 0; !status && i < out->count; i++)
        describe(&out->items[i], &counters[i], &texts[i]);
    rf_free(counters);
    rf_free(texts);
    return status;
}

/* ---- Choice ----------------------------------------------------------------------------------------- */

/* The counter of a name, in any case, or of a number in the list. */
static enum rf_status find_counter(const VkPerformanceCounterDescriptionKHR *texts, uint32_t count,
                                   const char *name, uint32_t *index, struct rf_error *err)
{
    uint32_t found = 0;
    char *end;
    for (uint32_t i = 0; i < count; i++) {
        if (strcasecmp(texts[i].name, name) != 0)
            continue;
        if (found++)
            return rf_fail(
                err, RF_ERROR_ARGUMENT,
                "counters: found \"%.100s\", which numbers %u (%.100s) and %u (%.100s) are called, "
                "wanted one of these numbers",
                name, *index, texts[*index].category, i, texts[i].category);
        *index = i;
    }
    if (found)
        return RF_OK;
    unsigned long number = strtoul(name, &end, 10);
    if (name[strspn(name, "0123456789")] || number >= count)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "counters: found \"%.100s\", wanted one of the %u names that `refusion profile "
                       "--counters` lists for this device, or its number there",
                       name, count);
    *index = (uint32_t)number;
    return RF_OK;
}

static enum rf_status add_counter(struct rf_counters *c, const VkPerformanceCounterKHR *counter,
                                  const VkPerformanceCounterDescriptionKHR *text, uint32_t index,
                                  struct rf_error *err)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->indices[i] == index)
            return rf_fail(err, RF_ERROR_ARGUMENT, "counters: found \"%.100s\" twice, wanted it once",
                           text->name);
    if (c->count == MOST_COUNTERS)
        return rf_fail(err, RF_ERROR_ARGUMENT, "counters: found more than %d, wanted at most as many",
                       MOST_COUNTERS);
    struct rf_counter *chosen = &c->chosen[c->count];
    describe(chosen, counter, text);
    if (counter->scope == VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_BUFFER_KHR)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "counters: \"%.100s\" counts whole command buffers only, wanted counters of the scope "
                       "command, which a single dispatch has",
                       chosen->name);
    if ((size_t)counter->storage >= sizeof storages / sizeof *storages)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "counters: \"%.100s\" has values of an unknown form",
                       chosen->name);
    c->indices[c->count] = index;
    c->storages[c->count++] = counter->storage;
    return RF_OK;
}

static VkQueryPoolPerformanceCreateInfoKHR pool_info(const struct rf_gpu *gpu)
{
    return (VkQueryPoolPerformanceCreateInfoKHR){.sType =
                                                     VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR,
                                                 .queueFamilyIndex = gpu->probe.family,
                                                 .counterIndexCount = gpu->counters->count,
                                                 .pCounterIndices = gpu->counters->indices};
}

/* Several passes would want each submission several times, and what decoding submits changes what the next one
 * reads. */
static enum rf_status check_passes(const struct rf_gpu *gpu, struct rf_error *err)
{
    const VkQueryPoolPerformanceCreateInfoKHR info = pool_info(gpu);
    uint32_t passes = 0;
    gpu->instance.count_passes(gpu->probe.physical, &info, &passes);
    return passes <= 1
               ? RF_OK
               : rf_fail(err, RF_ERROR_UNSUPPORTED,
                         "counters: device %u (%s) would need %u passes for these %u, wanted a choice "
                         "for one pass: ask for fewer at a time",
                         gpu->probe.info.index, gpu->probe.info.name, passes, gpu->counters->count);
}

static enum rf_status add_names(struct rf_counters *c, const char *names,
                                const VkPerformanceCounterKHR *counters,
                                const VkPerformanceCounterDescriptionKHR *texts, uint32_t count,
                                struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (const char *at = names; !status; at++) {
        char name[RF_COUNTER_TEXT] = "";
        uint32_t index = 0;
        at += strspn(at, " ");
        size_t length = strcspn(at, ","), kept = length;
        while (kept && at[kept - 1] == ' ')
            kept--;
        if (!kept || kept >= sizeof name)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "counters: found \"%.100s\", wanted names with commas between them", names);
        memcpy(name, at, kept);
        status = find_counter(texts, count, name, &index, err);
        if (!status)
            status = add_counter(c, &counters[index], &texts[index], index, err);
        at += length;
        if (!*at)
            break;
    }
    return status;
}

enum rf_status rf_counters_choose(struct rf_gpu *gpu, const char *names, struct rf_error *err)
{
    VkPerformanceCounterKHR *counters;
    VkPerformanceCounterDescriptionKHR *texts;
    uint32_t count;
    enum rf_status status = read_counters(&gpu->instance, &gpu->probe, &counters, &texts, &count, err);
    if (!status && !(gpu->counters = rf_calloc(1, sizeof *gpu->counters)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory choosing counters");
    if (!status)
        status = add_names(gpu->counters, names, counters, texts, count, err);
    if (!status)
        status = check_passes(gpu, err);
    rf_free(counters);
    rf_free(texts);
    return status;
}

void rf_counters_load(struct rf_gpu *gpu)
{
    if (!gpu->counters)
        return;
    gpu->counters->acquire = (PFN_vkAcquireProfilingLockKHR)gpu->instance.get_device_function(
        gpu->device, "vkAcquireProfilingLockKHR");
    gpu->counters->release = (PFN_vkReleaseProfilingLockKHR)gpu->instance.get_device_function(
        gpu->device, "vkReleaseProfilingLockKHR");
}

void rf_counters_free(struct rf_gpu *gpu)
{
    rf_free(gpu->counters);
}

const struct rf_counter *rf_gpu_counters(const struct rf_gpu *gpu, uint32_t *count)
{
    *count = gpu->counters ? gpu->counters->count : 0;
    return gpu->counters ? gpu->counters->chosen : NULL;
}

static enum rf_status acquire(struct rf_gpu *gpu, struct rf_error *err)
{
    const VkAcquireProfilingLockInfoKHR info = {.sType = VK_STRUCTURE_TYPE_ACQUIRE_PROFILING_LOCK_INFO_KHR,
                                                .timeout = LOCK_SECONDS * UINT64_C(1000000000)};
    VkResult result = gpu->counters->acquire(gpu->device, &info);
    if (result == VK_TIMEOUT)
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "counters: device %u (%s) did not grant its profiling lock within %d s: another program "
            "has it, or this user may not read counters",
            gpu->probe.info.index, gpu->probe.info.name, LOCK_SECONDS);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkAcquireProfilingLockKHR");
}

enum rf_status rf_gpu_hold_counters(struct rf_gpu *gpu, bool hold, struct rf_error *err)
{
    struct rf_counters *c = gpu->counters;
    enum rf_status status = RF_OK;
    if (!c)
        return RF_OK;
    pthread_mutex_lock(&gpu->queue_mutex);
    if (!hold && c->holders && --c->holders == 0)
        c->release(gpu->device);
    if (hold && c->holders == 0)
        status = acquire(gpu, err);
    c->holders += hold && !status;
    pthread_mutex_unlock(&gpu->queue_mutex);
    return status;
}

/* ---- Queries ---------------------------------------------------------------------------------------- */

struct rf_queries {
    struct rf_gpu *gpu;
    VkQueryPool pool; /* one, because more in a command buffer are another feature */
    uint32_t room, used;
};

enum rf_status rf_queries_create(struct rf_queries **out, struct rf_gpu *gpu, uint32_t room,
                                 struct rf_error *err)
{
    *out = NULL;
    if (!gpu->counters)
        return rf_fail(err, RF_ERROR_ARGUMENT, "counters: none were chosen when the device was made");
    struct rf_queries *queries = rf_calloc(1, sizeof *queries);
    if (!queries)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the counters of a command buffer");
    *queries = (struct rf_queries){.gpu = gpu, .room = room};
    const VkQueryPoolPerformanceCreateInfoKHR counters = pool_info(gpu);
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .pNext = &counters,
                                        .queryType = VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR,
                                        .queryCount = room};
    VkResult result = gpu->vk.vkCreateQueryPool(gpu->device, &info, NULL, &queries->pool);
    if (result != VK_SUCCESS) {
        rf_free(queries);
        return rf_vk_fail(err, result, "vkCreateQueryPool");
    }
    *out = queries;
    return RF_OK;
}

void rf_queries_destroy(struct rf_queries *queries)
{
    if (!queries)
        return;
    queries->gpu->vk.vkDestroyQueryPool(queries->gpu->device, queries->pool, NULL);
    rf_free(queries);
}

enum rf_status rf_queries_begin(struct rf_queries *queries, VkCommandBuffer buffer, struct rf_error *err)
{
    if (!queries)
        return RF_OK;
    if (queries->used == queries->room)
        return rf_fail(err, RF_ERROR_INTERNAL, "counters: more than %u commands in a command buffer",
                       queries->room);
    queries->gpu->vk.vkCmdBeginQuery(buffer, queries->pool, queries->used, 0);
    return RF_OK;
}

void rf_queries_end(struct rf_queries *queries, VkCommandBuffer buffer)
{
    if (queries)
        queries->gpu->vk.vkCmdEndQuery(buffer, queries->pool, queries->used++);
}

uint32_t rf_queries_room(const struct rf_queries *queries)
{
    return queries ? queries->room : 0;
}

/* By the host: a command buffer that reads counters must not reset them. */
void rf_queries_clear(struct rf_queries *queries)
{
    if (queries)
        queries->gpu->vk.vkResetQueryPool(queries->gpu->device, queries->pool, 0, queries->room);
}

static double number_of(VkPerformanceCounterResultKHR value, VkPerformanceCounterStorageKHR storage)
{
    switch (storage) {
    case VK_PERFORMANCE_COUNTER_STORAGE_INT32_KHR:
        return value.int32;
    case VK_PERFORMANCE_COUNTER_STORAGE_INT64_KHR:
        return (double)value.int64;
    case VK_PERFORMANCE_COUNTER_STORAGE_UINT32_KHR:
        return value.uint32;
    case VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR:
        return (double)value.uint64;
    case VK_PERFORMANCE_COUNTER_STORAGE_FLOAT32_KHR:
        return (double)value.float32;
    default:
        return value.float64;
    }
}

enum rf_status rf_queries_read(const struct rf_queries *queries, double *values, struct rf_error *err)
{
    const struct rf_gpu *gpu = queries->gpu;
    const struct rf_counters *c = gpu->counters;
    const size_t count = (size_t)queries->used * c->count;
    if (!count)
        return RF_OK;
    VkPerformanceCounterResultKHR *results = rf_calloc(count, sizeof *results);
    if (!results)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %zu values of counters", count);
    const size_t stride = c->count * sizeof *results;
    VkResult result =
        gpu->vk.vkGetQueryPoolResults(gpu->device, queries->pool, 0, queries->used, count * sizeof *results,
                                      results, stride, VK_QUERY_RESULT_WAIT_BIT);
    for (size_t i = 0; i < count; i++)
        values[i] = number_of(results[i], c->storages[i % c->count]);
    rf_free(results);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkGetQueryPoolResults");
}
