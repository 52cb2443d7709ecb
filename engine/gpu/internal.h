/* struct rf_gpu and what the files of this room share. No other room includes this. */
#ifndef RF_GPU_INTERNAL_H
#define RF_GPU_INTERNAL_H

#include <pthread.h>

#include "engine/gpu/caps.h"
#include "engine/gpu/counters.h"
#include "engine/gpu/features.h"
#include "engine/gpu/kernel.h"
#include "engine/gpu/marks.h"
#include "engine/gpu/memory.h"

struct rf_transfer;
struct rf_crumbs;
struct rf_counters;
enum { RF_FLIGHT = 80 };

/* Functions of VK_EXT_debug_utils, which are not to be called unless `wanted`. */
struct rf_labels {
    bool wanted;
    uint64_t frame, capture_frame; /* from 1; capture_frame 0: none */
    PFN_vkSetDebugUtilsObjectNameEXT set_name;
    PFN_vkCmdBeginDebugUtilsLabelEXT cmd_begin;
    PFN_vkCmdEndDebugUtilsLabelEXT cmd_end;
    PFN_vkQueueBeginDebugUtilsLabelEXT queue_begin;
    PFN_vkQueueEndDebugUtilsLabelEXT queue_end;
    PFN_vkQueueInsertDebugUtilsLabelEXT queue_insert;
};

/* What is known about what the device is at, with labels: see fault.c. */
struct rf_faults {
#ifdef VK_EXT_device_fault
    PFN_vkGetDeviceFaultInfoEXT get_info; /* NULL: the device has no VK_EXT_device_fault */
#endif
    struct {
        const struct rf_crumbs *crumbs;
        const char *label;
    } flight[2 * RF_FLIGHT]; /* command buffers of the last submissions, which may not be through; guarded by
                              * queue_mutex */
    uint32_t flight_count;
    bool told;
    char report[700];
};

struct rf_gpu {
    struct rf_allocator allocator; /* of what the context and everything on it needs of the host */
    struct rf_log_sink sink;
    struct rf_instance instance;
    struct rf_probe probe;
    uint64_t masked; /* capabilities that are not to be used */
    VkDevice device;
    bool adopted; /* instance, device and queue are the application's */
    struct {
        rf_queue_fn lock, unlock; /* NULL: the queue is ours alone */
        void *user;
    } queue_lock;
    struct rf_device_table vk;
    struct rf_labels labels;
    struct rf_faults faults;
    struct rf_counters *counters; /* NULL: none were chosen */
    PFN_vkGetCalibratedTimestampsEXT
        read_clocks;                        /* NULL: the device's clock cannot be read beside the host's */
    struct rf_executable_table executables; /* NULLs: not capturing, or the device cannot tell */
    VkQueue queue;
    VkPipelineLayout layout;
    bool debug_checks;
    enum rf_capture capture;
    char *cache_dir, *shader_dir; /* NULL: none */
    const struct rf_shader_words *shaders;
    size_t shader_count;

    /* memory.c */
    uint64_t memory_limit; /* UINT64_MAX: none was set */
    atomic_uint_fast64_t memory_used;
    atomic_uint_fast32_t allocation_count;
    pthread_mutex_t arena_mutex; /* guards the list and what the red zone check reads of each arena */
    struct rf_arena *arenas;
    uint64_t captured_bytes; /* of spans without memory */

    /* transfer.c */
    pthread_mutex_t transfer_mutex;
    struct rf_transfer *transfer; /* made when first needed */

    /* kernel.c, pipeline_cache.c */
    pthread_mutex_t kernel_mutex;
    struct rf_kernel *kernels;
    bool builtin_only;
    VkPipelineCache pipeline_cache;
    size_t pipeline_cache_loaded; /* bytes that came from the file */

    /* submit.c */
    pthread_mutex_t queue_mutex;
    VkSemaphore timeline;
    atomic_uint_fast64_t last_ticket; /* newest value that has been submitted */
    atomic_uint_fast64_t submissions; /* those of rf_gpu_submit only */
    atomic_uint_fast64_t recorded;
    double submission_limit; /* seconds; INFINITY: none */
    atomic_bool lost;

    /* rest.c */
    struct {
        pthread_mutex_t mutex;
        double per_second; /* of work; 0: none */
        double until;      /* seconds, monotonic; guarded by mutex */
    } rest;
};

/* ---- device.c --------------------------------------------------------------------------------------- */

/* The device that `wanted` names: an index, else a part of a name (NULL or empty: any), by type. Usable ones
 * first; one that is not is refused. */
enum rf_status rf_choose_device(const struct rf_probe *probes, uint32_t count, const char *wanted,
                                const struct rf_probe **out, struct rf_error *err);

/* ---- memory.c --------------------------------------------------------------------------------------- */

struct rf_block {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t size, used;
    uint64_t address;
    unsigned char *host; /* NULL when it is not mapped */
    bool host_cached;    /* reading through `host` is fast */
    struct rf_block *next;
};

void rf_memory_destroy(struct rf_gpu *gpu); /* arenas that are left are freed with a warning */
/* Indices of the memory types in `allowed` that serve `kind`, best first; how many. RF_MEMORY_DEVICE on a
 * device whose memory is not unified has device-local types alone: weights read through the bus are no
 * service. */
uint32_t rf_memory_types(const VkPhysicalDeviceMemoryProperties *memory, enum rf_memory_kind kind,
                         bool unified, uint32_t allowed, uint32_t order[VK_MAX_MEMORY_TYPES]);

/* ---- transfer.c ------------------------------------------------------------------------------------- */

/* One part of a block as bytes, for transfers that have no span. */
struct rf_region {
    struct rf_block *block;
    uint64_t offset, size;
};

/* Fills with a repeated word; offset and size are multiples of 4. */
enum rf_status rf_region_fill(struct rf_gpu *gpu, struct rf_region region, uint32_t word,
                              struct rf_error *err);
/* Gathers regions into host memory, one behind the other. */
enum rf_status rf_regions_read(struct rf_gpu *gpu, const struct rf_region *regions, size_t count, void *data,
                               struct rf_error *err);
/* With debug checks on memory that the host cannot reach, red zones are read through the transfer while
 * arenas are locked, so that it has to exist before. */
enum rf_status rf_transfer_init(struct rf_gpu *gpu, struct rf_error *err);
void rf_transfer_destroy(struct rf_gpu *gpu);

/* ---- kernel.c --------------------------------------------------------------------------------------- */

VkPipeline rf_kernel_pipeline(const struct rf_kernel *kernel);
void rf_kernel_count(struct rf_kernel *kernel, uint64_t dispatches);
void rf_kernels_destroy(struct rf_gpu *gpu);

/* ---- capture.c --------------------------------------------------------------------------------------- */

struct rf_kernel_facts;
/* `known` and what the driver tells, where it does; *out may be there after a failure too. */
enum rf_status rf_capture_pipeline(const struct rf_gpu *gpu, VkPipeline pipeline,
                                   const struct rf_kernel_facts *known, struct rf_kernel_facts **out,
                                   struct rf_error *err);
void rf_capture_free(struct rf_kernel_facts *facts); /* NULL is fine */

/* ---- command.c -------------------------------------------------------------------------------------- */

struct rf_cmd;
/* Between rf_cmd_begin and rf_cmd_end: for what is no dispatch and no copy. */
VkCommandBuffer rf_cmd_buffer(const struct rf_cmd *cmd);

/* ---- labels.c --------------------------------------------------------------------------------------- */

void rf_labels_load(struct rf_gpu *gpu); /* labels.wanted and capture_frame are set; the device exists */
void rf_label_name(struct rf_gpu *gpu, VkObjectType type, uint64_t handle, const char *name);
void rf_label_begin(struct rf_gpu *gpu, VkCommandBuffer buffer, const char *text);
void rf_label_end(struct rf_gpu *gpu, VkCommandBuffer buffer);

/* ---- fault.c ---------------------------------------------------------------------------------------- */

/* *out is NULL without labels; the others take that. */
enum rf_status rf_crumbs_create(struct rf_crumbs **out, struct rf_gpu *gpu, struct rf_error *err);
void rf_crumbs_destroy(struct rf_crumbs *crumbs);
/* Records that the dispatch of this label is reached. */
void rf_crumbs_drop(struct rf_crumbs *crumbs, struct rf_gpu *gpu, VkCommandBuffer buffer, const char *label);
void rf_crumbs_clear(struct rf_crumbs *crumbs); /* before it is submitted */
/* After the device was lost: what to append to the message, one line; the same every time. */
void rf_fault_report(struct rf_gpu *gpu, char *text, size_t room);

/* ---- marks.c ---------------------------------------------------------------------------------------- */

struct rf_marks;
/* With the first timestamp in `buffer`. */
enum rf_status rf_marks_create(struct rf_marks **out, struct rf_gpu *gpu, enum rf_marking marking,
                               VkCommandBuffer buffer, struct rf_error *err);
void rf_marks_destroy(struct rf_marks *marks); /* NULL is fine, here and below */
enum rf_marking rf_marks_marking(const struct rf_marks *marks);
/* One more timestamp: the end of a group. */
enum rf_status rf_marks_tick(struct rf_marks *marks, VkCommandBuffer buffer, struct rf_error *err);
/* Before a barrier: is it worth one? */
bool rf_marks_want_tick(const struct rf_marks *marks);
/* seconds: expected. */
enum rf_status rf_marks_add(struct rf_marks *marks, const struct rf_kernel *kernel, uint32_t note,
                            double seconds, struct rf_error *err);
const struct rf_marked *rf_marks_items(const struct rf_marks *marks, uint32_t *count);
uint32_t rf_marks_groups(const struct rf_marks *marks);
enum rf_status rf_marks_read(const struct rf_marks *marks, uint64_t *ticks, struct rf_error *err);

/* ---- counters.c ------------------------------------------------------------------------------------- */

/* Those of the device's queue family; RF_ERROR_UNSUPPORTED where there is no VK_KHR_performance_query. */
enum rf_status rf_counters_list(struct rf_counter_list *out, const struct rf_instance *instance,
                                const struct rf_probe *probe, struct rf_error *err);
/* gpu->counters, chosen by names as in rf_gpu_desc; the probe is known, the device not yet made. */
enum rf_status rf_counters_choose(struct rf_gpu *gpu, const char *names, struct rf_error *err);
void rf_counters_load(struct rf_gpu *gpu); /* the device exists */
void rf_counters_free(struct rf_gpu *gpu);

struct rf_queries;
/* For at most `room` commands of one command buffer. The profiling lock is held. */
enum rf_status rf_queries_create(struct rf_queries **out, struct rf_gpu *gpu, uint32_t room,
                                 struct rf_error *err);
void rf_queries_destroy(struct rf_queries *queries); /* NULL is fine, in the next two too */
enum rf_status rf_queries_begin(struct rf_queries *queries, VkCommandBuffer buffer, struct rf_error *err);
void rf_queries_end(struct rf_queries *queries, VkCommandBuffer buffer);
uint32_t rf_queries_room(const struct rf_queries *queries);
void rf_queries_clear(struct rf_queries *queries); /* before each submission */
/* [commands][counters] of a submission that was waited for. */
enum rf_status rf_queries_read(const struct rf_queries *queries, double *values, struct rf_error *err);

/* ---- pipeline_cache.c ------------------------------------------------------------------------------- */

enum rf_status rf_pipeline_cache_open(struct rf_gpu *gpu, struct rf_error *err);
void rf_pipeline_cache_close(struct rf_gpu *gpu); /* writes the file when the cache has grown */

/* ---- submit.c --------------------------------------------------------------------------------------- */

enum rf_status rf_submit_init(struct rf_gpu *gpu, struct rf_error *err);
void rf_submit_destroy(struct rf_gpu *gpu); /* waits for what was submitted */
/* Round every call that takes the queue: other threads of ours, and the application that lent it. */
void rf_queue_lock(struct rf_gpu *gpu);
void rf_queue_unlock(struct rf_gpu *gpu);
enum rf_status rf_submit_buffers(struct rf_gpu *gpu, const VkCommandBuffer *buffers, size_t count,
                                 uint64_t *ticket, struct rf_error *err);
/* rf_gpu_wait without debug checks. A wait that fails leaves no work in flight, or the device is lost. */
enum rf_status rf_wait_ticket(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err);
/* A command pool and one primary command buffer from it. */
enum rf_status rf_command_pool_create(struct rf_gpu *gpu, VkCommandPool *pool, VkCommandBuffer *buffer,
                                      struct rf_error *err);
/* Barriers: everything on the device to everything; those that begin and end every command buffer add the
 * host. */
void rf_record_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer);
void rf_record_begin_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer);
void rf_record_end_barrier(struct rf_gpu *gpu, VkCommandBuffer buffer);

#endif
