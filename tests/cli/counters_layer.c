/* A Vulkan layer that gives the device below it what no driver here has together with a machine to run on:
 *
 * - VK_KHR_performance_query, with counters whose values can be told beforehand: how many dispatches lie in a
 *   query, and its place in its pool. Each form of storage occurs.
 * - VK_KHR_pipeline_executable_properties, with two statistics.
 *
 * It is strict: whatever breaks a rule of VK_KHR_performance_query is told on stderr and ends the process. One
 * instance and one device with counters at a time. */
#define VK_NO_PROTOTYPES
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { MOST_POOLS = 4096, MOST_BUFFERS = 4096, MOST_CHOSEN = 16 };

static struct {
    PFN_vkGetInstanceProcAddr get;
    VkInstance instance;
    PFN_vkEnumerateDeviceExtensionProperties enumerate_extensions;
    PFN_vkGetPhysicalDeviceFeatures2 get_features2;
} below_instance;

struct device {
    PFN_vkGetDeviceProcAddr get;
    VkDevice device;
    bool counts; /* made with VK_KHR_performance_query */
#define DEVICE_FUNCTIONS(X)                                                                                  \
    X(DestroyDevice)                                                                                         \
    X(CreateQueryPool)                                                                                       \
    X(DestroyQueryPool)                                                                                      \
    X(ResetQueryPool)                                                                                        \
    X(CmdResetQueryPool)                                                                                     \
    X(GetQueryPoolResults)                                                                                   \
    X(BeginCommandBuffer)                                                                                    \
    X(CmdBeginQuery)                                                                                         \
    X(CmdEndQuery)                                                                                           \
    X(CmdDispatch)                                                                                           \
    X(CmdDispatchIndirect)                                                                                   \
    X(CmdCopyBuffer)                                                                                         \
    X(QueueSubmit2)                                                                                          \
    X(CreateComputePipelines)
#define FIELD(name) PFN_vk##name name;
    DEVICE_FUNCTIONS(FIELD)
#undef FIELD
};

/* The plain device, and the one beside it that only compiles. Commands go to either by the same functions, because
 * both are of one driver. */
static struct device devices[4];

struct pool {
    uint32_t count, chosen_count, chosen[MOST_CHOSEN];
    struct {
        bool reset, recorded;
        uint32_t dispatches, copies;
    } * queries;
};

static struct pool *pools[MOST_POOLS];
static struct {
    VkCommandBuffer handle;
    struct pool *pool;   /* the only one of its queries */
    uint32_t query;      /* that is open */
    bool open, has_lock; /* has_lock: the lock was held when it was begun */
} buffers[MOST_BUFFERS];
static bool locked;

static void demand(bool good, const char *rule)
{
    if (good)
        return;
    fprintf(stderr, "layer: %s\n", rule);
    _Exit(99);
}

/* ---- Counters --------------------------------------------------------------------------------------- */

#define COMMAND VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_KHR
enum {
    DISPATCHES,
    COPIES,
    PLACE,
    BUSY,
    LARGE,
    BELOW_ZERO,
    WHOLE,
    WIDE_A,
    WIDE_B,
    TWICE_A,
    TWICE_B,
    COUNTERS
};
static const struct {
    const char *name, *category, *description;
    VkPerformanceCounterUnitKHR unit;
    VkPerformanceCounterStorageKHR storage;
    VkPerformanceCounterScopeKHR scope;
    VkPerformanceCounterDescriptionFlagsKHR flags;
} counters[COUNTERS] = {
    [DISPATCHES] = {"Dispatches", "Commands", "dispatches in the query",
                    VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR, VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR,
                    COMMAND, 0},
    [COPIES] = {"Copies", "Commands", "copies in the query", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
                VK_PERFORMANCE_COUNTER_STORAGE_INT32_KHR, COMMAND, 0},
    [PLACE] = {"Place", "Commands", "of the query in its pool, from 1",
               VK_PERFORMANCE_COUNTER_UNIT_CYCLES_KHR, VK_PERFORMANCE_COUNTER_STORAGE_UINT32_KHR, COMMAND, 0},
    [BUSY] = {"Shader busy", "Invented", "always 37.5", VK_PERFORMANCE_COUNTER_UNIT_PERCENTAGE_KHR,
              VK_PERFORMANCE_COUNTER_STORAGE_FLOAT32_KHR, COMMAND,
              VK_PERFORMANCE_COUNTER_DESCRIPTION_PERFORMANCE_IMPACTING_BIT_KHR},
    [LARGE] = {"Bytes", "Invented", "always 2^40 + 0.5", VK_PERFORMANCE_COUNTER_UNIT_BYTES_KHR,
               VK_PERFORMANCE_COUNTER_STORAGE_FLOAT64_KHR, COMMAND,
               VK_PERFORMANCE_COUNTER_DESCRIPTION_CONCURRENTLY_IMPACTED_BIT_KHR},
    [BELOW_ZERO] = {"Below zero", "Invented", "always -2^40", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
                    VK_PERFORMANCE_COUNTER_STORAGE_INT64_KHR, VK_PERFORMANCE_COUNTER_SCOPE_RENDER_PASS_KHR,
                    0},
    [WHOLE] = {"Whole buffer", "Invented", "counts a command buffer", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
               VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR, VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_BUFFER_KHR, 0},
    [WIDE_A] = {"Wide A", "Invented", "takes a pass of its own", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
                VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR, COMMAND, 0},
    [WIDE_B] = {"Wide B", "Invented", "takes a pass of its own", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
                VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR, COMMAND, 0},
    [TWICE_A] = {"Twice", "First", "7", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
                 VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR, COMMAND, 0},
    [TWICE_B] = {"Twice", "Second", "8", VK_PERFORMANCE_COUNTER_UNIT_GENERIC_KHR,
                 VK_PERFORMANCE_COUNTER_STORAGE_UINT64_KHR, COMMAND, 0},
};

static VkPerformanceCounterResultKHR value_of(uint32_t counter, const struct pool *pool, uint32_t query)
{
    VkPerformanceCounterResultKHR value;
    memset(&value, 0xff, sizeof value); /* what a narrow value leaves is not to be read */
    switch (counter) {
    case DISPATCHES:
        value.uint64 = pool->queries[query].dispatches;
        break;
    case COPIES:
        value.int32 = (int32_t)pool->queries[query].copies;
        break;
    case PLACE:
        value.uint32 = query + 1;
        break;
    case BUSY:
        value.float32 = 37.5f;
        break;
    case LARGE:
        value.float64 = 1099511627776.5;
        break;
    case BELOW_ZERO:
        value.int64 = -1099511627776;
        break;
    default:
        value.uint64 = counter - TWICE_A + 7;
    }
    return value;
}

static VkResult VKAPI_CALL list_counters(VkPhysicalDevice physical, uint32_t family, uint32_t *count,
                                         VkPerformanceCounterKHR *out,
                                         VkPerformanceCounterDescriptionKHR *texts)
{
    (void)physical, (void)family;
    if (!out && !texts) {
        *count = COUNTERS;
        return VK_SUCCESS;
    }
    demand(*count == COUNTERS, "another number of counters than was told");
    for (uint32_t i = 0; out && i < COUNTERS; i++) {
        out[i].unit = counters[i].unit;
        out[i].scope = counters[i].scope;
        out[i].storage = counters[i].storage;
    }
    for (uint32_t i = 0; texts && i < COUNTERS; i++) {
        texts[i].flags = counters[i].flags;
        strcpy(texts[i].name, counters[i].name);
        strcpy(texts[i].category, counters[i].category);
        strcpy(texts[i].description, counters[i].description);
    }
    return VK_SUCCESS;
}

static void VKAPI_CALL count_passes(VkPhysicalDevice physical,
                                    const VkQueryPoolPerformanceCreateInfoKHR *info, uint32_t *passes)
{
    (void)physical;
    uint32_t wide = 0;
    for (uint32_t i = 0; i < info->counterIndexCount; i++)
        wide += info->pCounterIndices[i] == WIDE_A || info->pCounterIndices[i] == WIDE_B;
    *passes = wide > 1 ? wide : 1;
}

static VkResult VKAPI_CALL acquire_lock(VkDevice device, const VkAcquireProfilingLockInfoKHR *info)
{
    (void)device;
    demand(!locked, "the lock is held already");
    if (getenv("COUNTERS_LAYER_BUSY"))
        return info->timeout ? VK_TIMEOUT : VK_ERROR_INITIALIZATION_FAILED;
    locked = !getenv("COUNTERS_LAYER_FAULT"); /* as if it had not been taken */
    if (getenv("COUNTERS_LAYER_INTERRUPT"))
        raise(SIGINT);
    return VK_SUCCESS;
}

static void VKAPI_CALL release_lock(VkDevice device)
{
    (void)device;
    demand(locked, "the lock that is released is not held");
    locked = false;
}

/* ---- Queries ---------------------------------------------------------------------------------------- */

static struct device *device_of(VkDevice device)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (devices[i].device == device)
            return &devices[i];
    demand(false, "an unknown device");
    return NULL;
}

static struct pool *pool_of(VkQueryPool handle)
{
    for (size_t i = 0; i < MOST_POOLS; i++)
        if (pools[i] && (VkQueryPool)(uintptr_t)pools[i] == handle)
            return pools[i];
    return NULL; /* the driver's */
}

static size_t buffer_at(VkCommandBuffer handle)
{
    size_t i = 0;
    while (i < MOST_BUFFERS && buffers[i].handle && buffers[i].handle != handle)
        i++;
    demand(i < MOST_BUFFERS, "too many command buffers for this layer");
    buffers[i].handle = handle;
    return i;
}

static const VkBaseInStructure *find_in(const void *chain, VkStructureType type)
{
    const VkBaseInStructure *at = chain;
    while (at && at->sType != type)
        at = at->pNext;
    return at;
}

static VkResult VKAPI_CALL create_pool(VkDevice device, const VkQueryPoolCreateInfo *info,
                                       const VkAllocationCallbacks *allocator, VkQueryPool *handle)
{
    struct device *d = device_of(device);
    if (info->queryType != VK_QUERY_TYPE_PERFORMANCE_QUERY_KHR)
        return d->CreateQueryPool(device, info, allocator, handle);
    const VkQueryPoolPerformanceCreateInfoKHR *chosen =
        (const void *)find_in(info->pNext, VK_STRUCTURE_TYPE_QUERY_POOL_PERFORMANCE_CREATE_INFO_KHR);
    demand(d->counts, "a pool of counters on a device that was made without");
    demand(chosen && chosen->counterIndexCount && chosen->counterIndexCount <= MOST_CHOSEN &&
               info->queryCount,
           "a pool without counters or queries");
    struct pool *pool = calloc(1, sizeof *pool);
    size_t i = 0;
    while (i < MOST_POOLS && pools[i])
        i++;
    demand(pool && i < MOST_POOLS, "too many pools for this layer");
    pool->queries = calloc(info->queryCount, sizeof *pool->queries);
    pool->count = info->queryCount;
    pool->chosen_count = chosen->counterIndexCount;
    memcpy(pool->chosen, chosen->pCounterIndices, chosen->counterIndexCount * sizeof *pool->chosen);
    pools[i] = pool;
    *handle = (VkQueryPool)(uintptr_t)pool;
    return VK_SUCCESS;
}

static void VKAPI_CALL destroy_pool(VkDevice device, VkQueryPool handle,
                                    const VkAllocationCallbacks *allocator)
{
    struct pool *pool = pool_of(handle);
    if (!pool) {
        device_of(device)->DestroyQueryPool(device, handle, allocator);
        return;
    }
    for (size_t i = 0; i < MOST_POOLS; i++)
        if (pools[i] == pool)
            pools[i] = NULL;
    for (size_t i = 0; i < MOST_BUFFERS; i++)
        if (buffers[i].pool == pool)
            buffers[i].pool = NULL;
    free(pool->queries);
    free(pool);
}

static void VKAPI_CALL reset_pool(VkDevice device, VkQueryPool handle, uint32_t first, uint32_t count)
{
    struct pool *pool = pool_of(handle);
    if (!pool) {
        device_of(device)->ResetQueryPool(device, handle, first, count);
        return;
    }
    demand(first + count <= pool->count, "a reset beyond the pool");
    for (uint32_t i = first; i < first + count; i++)
        pool->queries[i].reset = true;
}

static void VKAPI_CALL reset_in_buffer(VkCommandBuffer buffer, VkQueryPool handle, uint32_t first,
                                       uint32_t count)
{
    demand(!pool_of(handle), "counters reset in a command buffer");
    devices[0].CmdResetQueryPool(buffer, handle, first, count);
}

static VkResult VKAPI_CALL begin_buffer(VkCommandBuffer buffer, const VkCommandBufferBeginInfo *info)
{
    size_t at = buffer_at(buffer);
    buffers[at].pool = NULL;
    buffers[at].open = false;
    buffers[at].has_lock = locked;
    return devices[0].BeginCommandBuffer(buffer, info);
}

static void VKAPI_CALL begin_query(VkCommandBuffer buffer, VkQueryPool handle, uint32_t query,
                                   VkQueryControlFlags flags)
{
    size_t at = buffer_at(buffer);
    struct pool *pool = pool_of(handle);
    demand(pool && query < pool->count && !flags, "a query that its pool has not");
    demand(locked && buffers[at].has_lock, "counters recorded without the profiling lock");
    demand(!buffers[at].open, "a query within a query");
    demand(!buffers[at].pool || buffers[at].pool == pool, "two pools of counters in a command buffer");
    demand(!pool->queries[query].recorded, "a query recorded twice");
    for (uint32_t i = 0; i < pool->chosen_count; i++)
        demand(counters[pool->chosen[i]].scope != VK_PERFORMANCE_COUNTER_SCOPE_COMMAND_BUFFER_KHR,
               "a counter of command buffers round a command");
    buffers[at].pool = pool;
    buffers[at].query = query;
    buffers[at].open = pool->queries[query].recorded = true;
}

static void VKAPI_CALL end_query(VkCommandBuffer buffer, VkQueryPool handle, uint32_t query)
{
    size_t at = buffer_at(buffer);
    demand(buffers[at].open && buffers[at].pool == pool_of(handle) && buffers[at].query == query,
           "the end of a query that did not begin");
    buffers[at].open = false;
}

static void note(VkCommandBuffer buffer, uint32_t dispatches, uint32_t copies)
{
    size_t at = buffer_at(buffer);
    if (!buffers[at].open)
        return;
    buffers[at].pool->queries[buffers[at].query].dispatches += dispatches;
    buffers[at].pool->queries[buffers[at].query].copies += copies;
}

static void VKAPI_CALL dispatch(VkCommandBuffer buffer, uint32_t x, uint32_t y, uint32_t z)
{
    note(buffer, 1, 0);
    devices[0].CmdDispatch(buffer, x, y, z);
}

static void VKAPI_CALL dispatch_indirect(VkCommandBuffer buffer, VkBuffer grid, VkDeviceSize offset)
{
    note(buffer, 1, 0);
    devices[0].CmdDispatchIndirect(buffer, grid, offset);
}

static void VKAPI_CALL copy(VkCommandBuffer buffer, VkBuffer from, VkBuffer to, uint32_t count,
                            const VkBufferCopy *parts)
{
    note(buffer, 0, 1);
    devices[0].CmdCopyBuffer(buffer, from, to, count, parts);
}

static VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *submits, VkFence fence)
{
    for (uint32_t s = 0; s < count; s++)
        for (uint32_t b = 0; b < submits[s].commandBufferInfoCount; b++) {
            size_t at = buffer_at(submits[s].pCommandBufferInfos[b].commandBuffer);
            struct pool *pool = buffers[at].pool;
            demand(!pool || locked, "counters submitted without the profiling lock");
            for (uint32_t i = 0; pool && i < pool->count; i++) {
                demand(!pool->queries[i].recorded || pool->queries[i].reset, "a query that was not reset");
                pool->queries[i].reset = false;
            }
        }
    return devices[0].QueueSubmit2(queue, count, submits, fence);
}

static VkResult VKAPI_CALL get_results(VkDevice device, VkQueryPool handle, uint32_t first, uint32_t count,
                                       size_t size, void *data, VkDeviceSize stride, VkQueryResultFlags flags)
{
    struct pool *pool = pool_of(handle);
    if (!pool)
        return device_of(device)->GetQueryPoolResults(device, handle, first, count, size, data, stride,
                                                      flags);
    demand(first + count <= pool->count && !(flags & ~(VkQueryResultFlags)VK_QUERY_RESULT_WAIT_BIT) &&
               stride >= pool->chosen_count * sizeof(VkPerformanceCounterResultKHR) && stride * count <= size,
           "how counters are read");
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t c = 0; c < pool->chosen_count; c++) {
            VkPerformanceCounterResultKHR value = value_of(pool->chosen[c], pool, first + i);
            memcpy((char *)data + i * stride + c * sizeof value, &value, sizeof value);
        }
    return VK_SUCCESS;
}

/* ---- Pipelines -------------------------------------------------------------------------------------- */

static VkResult VKAPI_CALL create_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                            const VkComputePipelineCreateInfo *infos,
                                            const VkAllocationCallbacks *allocator, VkPipeline *out)
{
    VkComputePipelineCreateInfo info = infos[0];
    demand(count == 1, "more pipelines at once than this layer takes");
    info.flags &= ~(VkPipelineCreateFlags)(VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                                           VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR);
    return device_of(device)->CreateComputePipelines(device, cache, 1, &info, allocator, out);
}

static VkResult VKAPI_CALL get_executables(VkDevice device, const VkPipelineInfoKHR *info, uint32_t *count,
                                           VkPipelineExecutablePropertiesKHR *out)
{
    (void)device, (void)info;
    *count = 1;
    if (out) {
        out->stages = VK_SHADER_STAGE_COMPUTE_BIT;
        out->subgroupSize = 8;
        strcpy(out->name, "compute");
        strcpy(out->description, "invented");
    }
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL get_statistics(VkDevice device, const VkPipelineExecutableInfoKHR *info,
                                          uint32_t *count, VkPipelineExecutableStatisticKHR *out)
{
    (void)device, (void)info;
    *count = 2;
    for (uint32_t i = 0; out && i < 2; i++) {
        out[i].format = VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR;
        out[i].value.u64 = i ? 0 : 41;
        strcpy(out[i].name, i ? "Spill Count" : "Register Count");
        strcpy(out[i].description, "invented");
    }
    return VK_SUCCESS;
}

/* ---- Devices ---------------------------------------------------------------------------------------- */

static const char *const added[] = {"VK_KHR_performance_query", "VK_KHR_pipeline_executable_properties"};
enum { ADDED = sizeof added / sizeof *added };

static bool is_added(const char *name)
{
    return strcmp(name, added[0]) == 0 || strcmp(name, added[1]) == 0;
}

static VkResult VKAPI_CALL enumerate_extensions(VkPhysicalDevice physical, const char *layer, uint32_t *count,
                                                VkExtensionProperties *out)
{
    uint32_t below = 0;
    VkResult result = below_instance.enumerate_extensions(physical, layer, &below, NULL);
    if (result != VK_SUCCESS || layer)
        return result;
    if (!out) {
        *count = below + ADDED;
        return VK_SUCCESS;
    }
    if (*count < below + ADDED)
        return VK_INCOMPLETE;
    result = below_instance.enumerate_extensions(physical, layer, &below, out);
    for (uint32_t i = 0; i < ADDED; i++) {
        memset(&out[below + i], 0, sizeof out[0]);
        strcpy(out[below + i].extensionName, added[i]);
        out[below + i].specVersion = 1;
    }
    *count = below + ADDED;
    return result;
}

static void VKAPI_CALL get_features2(VkPhysicalDevice physical, VkPhysicalDeviceFeatures2 *features)
{
    below_instance.get_features2(physical, features);
    for (VkBaseOutStructure *at = features->pNext; at; at = at->pNext) {
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR)
            ((VkPhysicalDevicePerformanceQueryFeaturesKHR *)(void *)at)->performanceCounterQueryPools =
                VK_TRUE;
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR)
            ((VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR *)(void *)at)->pipelineExecutableInfo =
                VK_TRUE;
    }
}

/* What the driver does not know of the two extensions is taken out of the chain while it is asked. */
static VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                         const VkAllocationCallbacks *allocator, VkDevice *out)
{
    VkLayerDeviceCreateInfo *link = NULL;
    for (VkBaseOutStructure *at = (void *)(uintptr_t)info->pNext; at; at = at->pNext) {
        VkLayerDeviceCreateInfo *one = (void *)at;
        if (at->sType == VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO && one->function == VK_LAYER_LINK_INFO)
            link = one;
    }
    demand(link, "a device without a chain of layers");
    PFN_vkGetInstanceProcAddr get_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    PFN_vkGetDeviceProcAddr get = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;

    VkDeviceCreateInfo mine = *info;
    const char *names[64];
    bool counts = false;
    mine.enabledExtensionCount = 0;
    mine.ppEnabledExtensionNames = names;
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++) {
        counts = counts || strcmp(info->ppEnabledExtensionNames[i], added[0]) == 0;
        if (!is_added(info->ppEnabledExtensionNames[i]))
            names[mine.enabledExtensionCount++] = info->ppEnabledExtensionNames[i];
    }
    const VkPhysicalDevicePerformanceQueryFeaturesKHR *asked = NULL;
    const VkPhysicalDeviceVulkan12Features *v12 = NULL;
    VkBaseOutStructure *before = (void *)&mine, *kept[8], *places[8];
    int removed = 0;
    for (VkBaseOutStructure *at = (void *)(uintptr_t)mine.pNext; at; at = at->pNext) {
        bool of_counters = at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PERFORMANCE_QUERY_FEATURES_KHR;
        if (of_counters)
            asked = (void *)at;
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)
            v12 = (void *)at;
        if (of_counters ||
            at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR) {
            places[removed] = before;
            kept[removed++] = at;
            before->pNext = at->pNext;
        } else {
            before = at;
        }
    }
    demand(counts == (asked && asked->performanceCounterQueryPools),
           "the extension and its feature go together");
    demand(!counts || (v12 && v12->hostQueryReset), "counters without hostQueryReset");
    PFN_vkCreateDevice create = (PFN_vkCreateDevice)get_instance(below_instance.instance, "vkCreateDevice");
    VkResult result = create(physical, &mine, allocator, out);
    while (removed--)
        places[removed]->pNext = kept[removed];
    if (result != VK_SUCCESS)
        return result;
    size_t i = 0;
    while (i < sizeof devices / sizeof *devices && devices[i].device)
        i++;
    demand(i < sizeof devices / sizeof *devices, "too many devices for this layer");
    struct device *d = &devices[i];
    d->get = get;
    d->device = *out;
    d->counts = counts;
#define LOAD(name) d->name = (PFN_vk##name)get(*out, "vk" #name);
    DEVICE_FUNCTIONS(LOAD)
#undef LOAD
    return VK_SUCCESS;
}

static void VKAPI_CALL destroy_device(VkDevice device, const VkAllocationCallbacks *allocator)
{
    struct device *d = device_of(device);
    demand(!d->counts || !locked, "a device destroyed while its profiling lock is held");
    d->DestroyDevice(device, allocator);
    d->device = VK_NULL_HANDLE; /* its functions stay: another device's commands may go by them */
}

/* ---- The layer -------------------------------------------------------------------------------------- */

static VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                           const VkAllocationCallbacks *allocator, VkInstance *out)
{
    VkLayerInstanceCreateInfo *link = NULL;
    for (VkBaseOutStructure *at = (void *)(uintptr_t)info->pNext; at; at = at->pNext) {
        VkLayerInstanceCreateInfo *one = (void *)at;
        if (at->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO && one->function == VK_LAYER_LINK_INFO)
            link = one;
    }
    demand(link, "an instance without a chain of layers");
    PFN_vkGetInstanceProcAddr get = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)get(VK_NULL_HANDLE, "vkCreateInstance");
    VkResult result = create(info, allocator, out);
    if (result != VK_SUCCESS)
        return result;
    below_instance.get = get;
    below_instance.instance = *out;
    below_instance.enumerate_extensions =
        (PFN_vkEnumerateDeviceExtensionProperties)get(*out, "vkEnumerateDeviceExtensionProperties");
    below_instance.get_features2 =
        (PFN_vkGetPhysicalDeviceFeatures2)get(*out, "vkGetPhysicalDeviceFeatures2");
    return VK_SUCCESS;
}

EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL layer_get_device(VkDevice device, const char *name);
EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL layer_get_instance(VkInstance instance, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
} of_devices[] =
    {
#define ENTRY(name, function)                                                                                \
    {                                                                                                        \
        name, (PFN_vkVoidFunction)function                                                                   \
    }
        ENTRY("vkGetDeviceProcAddr", layer_get_device),
        ENTRY("vkDestroyDevice", destroy_device),
        ENTRY("vkAcquireProfilingLockKHR", acquire_lock),
        ENTRY("vkReleaseProfilingLockKHR", release_lock),
        ENTRY("vkCreateQueryPool", create_pool),
        ENTRY("vkDestroyQueryPool", destroy_pool),
        ENTRY("vkResetQueryPool", reset_pool),
        ENTRY("vkCmdResetQueryPool", reset_in_buffer),
        ENTRY("vkGetQueryPoolResults", get_results),
        ENTRY("vkBeginCommandBuffer", begin_buffer),
        ENTRY("vkCmdBeginQuery", begin_query),
        ENTRY("vkCmdEndQuery", end_query),
        ENTRY("vkCmdDispatch", dispatch),
        ENTRY("vkCmdDispatchIndirect", dispatch_indirect),
        ENTRY("vkCmdCopyBuffer", copy),
        ENTRY("vkQueueSubmit2", submit),
        ENTRY("vkCreateComputePipelines", create_pipelines),
        ENTRY("vkGetPipelineExecutablePropertiesKHR", get_executables),
        ENTRY("vkGetPipelineExecutableStatisticsKHR", get_statistics),
},
  of_instances[] = {
      ENTRY("vkGetInstanceProcAddr", layer_get_instance),
      ENTRY("vkCreateInstance", create_instance),
      ENTRY("vkCreateDevice", create_device),
      ENTRY("vkEnumerateDeviceExtensionProperties", enumerate_extensions),
      ENTRY("vkGetPhysicalDeviceFeatures2", get_features2),
      ENTRY("vkEnumeratePhysicalDeviceQueueFamilyPerformanceQueryCountersKHR", list_counters),
      ENTRY("vkGetPhysicalDeviceQueueFamilyPerformanceQueryPassesKHR", count_passes),
};

PFN_vkVoidFunction VKAPI_CALL layer_get_device(VkDevice device, const char *name)
{
    for (size_t i = 0; i < sizeof of_devices / sizeof *of_devices; i++)
        if (strcmp(of_devices[i].name, name) == 0)
            return of_devices[i].function;
    return device_of(device)->get(device, name);
}

PFN_vkVoidFunction VKAPI_CALL layer_get_instance(VkInstance instance, const char *name)
{
    for (size_t i = 0; i < sizeof of_instances / sizeof *of_instances; i++)
        if (strcmp(of_instances[i].name, name) == 0)
            return of_instances[i].function;
    for (size_t i = 0; i < sizeof of_devices / sizeof *of_devices; i++)
        if (strcmp(of_devices[i].name, name) == 0)
            return of_devices[i].function;
    return instance ? below_instance.get(instance, name) : NULL;
}

EXPORT VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface)
{
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = layer_get_instance;
    interface->pfnGetDeviceProcAddr = layer_get_device;
    interface->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
