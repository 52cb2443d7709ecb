/* One Vulkan device with one compute queue, and the table of what it can do. Knows nothing of models. */
#ifndef RF_GPU_DEVICE_H
#define RF_GPU_DEVICE_H

#include <stdatomic.h>

#include "engine/gpu/vulkan.h"
#include "engine/refusion_vulkan.h"
#include "engine/status.h"

/* A cooperative matrix product of one subgroup, [m][k] times [k][n]: f16 factors, f32 sums. */
struct rf_coopmat_shape {
    uint32_t m, n, k; /* powers of two from 8 to 64 */
};
enum { RF_COOPMAT_SHAPES = 8 };

/* Cooperative matrices of a whole workgroup (VK_NV_cooperative_matrix2), f16 factors and f32 sums: the
 * number of invocations that it must have, and what rows, columns and k are multiples of. */
struct rf_workgroup_matrix {
    uint32_t invocations, m, n, k;
};
enum { RF_WORKGROUP_MATRICES = 8 };
struct rf_workgroup_matrices {
    uint32_t count; /* 0: there are none */
    struct rf_workgroup_matrix list[RF_WORKGROUP_MATRICES];
    uint32_t max_dimension, max_invocations;
    uint32_t reserved_bytes; /* of shared memory, for the driver */
};

/* What the engine asks of a device. Tiers are chosen from this table alone, never from vendor names. */
struct rf_gpu_caps {
    uint32_t subgroup_size;                        /* default size */
    uint32_t subgroup_size_min, subgroup_size_max; /* equal to subgroup_size when it cannot be chosen */
    bool subgroup_size_control, full_subgroups;
    uint32_t shared_bytes, max_invocations, max_workgroup_count[3], max_push_bytes;
    uint64_t max_allocation, memory_bytes;
    uint32_t max_allocation_count;
    uint32_t cores; /* streaming multiprocessors, compute units, shader cores; 0: the device does not tell */
    bool cpu;       /* the device is the host's CPU */
    bool wide;      /* a CPU with subgroups of 8 or 16 lanes that can be shuffled: vector registers */
    bool wide_attention; /* and with 64 bit integers and operations of clusters, for attention_wide.comp */
    bool
        spread; /* the same with broadcasts and 64 bit integers, without operations of clusters: a driver that
                  * loads lane by lane, for matmul_spread.comp */
    bool unified_memory; /* no discrete GPU, every device-local heap is host-visible */
    bool fp16;           /* shaderFloat16 and 16-bit storage */
    bool dot_product;    /* shaderIntegerDotProduct, fast or not */
    bool int8_dot;       /* and accelerated for packed 4x8 signed integers */
    bool coopmat;
    bool coopmat2;        /* with conversions, reductions and functions of elements */
    bool coopmat2_matmul; /* with workgroup_matrices too, tensor addressing and decode functions */
    bool coopmat2_units;  /* the device's own; false only when masked, for tests: see RF_CAP_COOPMAT2_UNITS */
    struct rf_workgroup_matrices workgroup_matrices; /* some with coopmat2_matmul, else none */
    uint32_t coopmat_shape_count;                    /* at least 1 with coopmat, else 0 */
    struct rf_coopmat_shape coopmat_shapes[RF_COOPMAT_SHAPES];
    bool plain_matmul;      /* products without coopmat are wanted too; false only when masked, for tests */
    bool coopmat_attention; /* coopmat, and attention may use it */
    bool splits;            /* products may be split over k; false only when masked */
    bool whole_k;           /* whole ones are wanted too; false only when masked, for tests */
    bool memory_budget;
    bool pipeline_properties; /* the driver tells what it compiled, see capture.h */
    float timestamp_period;   /* ns per tick; 0: no timestamps */
    uint32_t timestamp_bits;  /* of the counter */
    double timestamp_cost;    /* seconds that one takes between two dispatches, where that matters; else 0 */
};

enum rf_capture {
    RF_CAPTURE_NOTHING,
    RF_CAPTURE_STATISTICS,
    RF_CAPTURE_ALL /* representations too: Mesa takes half as long again */
};

/* SPIR-V that replaces the shader of a name. */
struct rf_shader_words {
    const char *name, *origin; /* origin: what messages call it */
    const uint32_t *words;
    size_t count;
};

struct rf_gpu_desc {
    /* As in rf_context_desc, environment already applied. */
    const char *device, *disable, *cache_dir, *shader_dir;
    uint64_t memory_limit;
    uint32_t submission_ms;
    bool debug_checks, validation, debug_labels;
    uint32_t capture_step;
    const char *counters;
    uint32_t duty; /* 0: 100 */
    enum rf_priority priority;
    const struct rf_vulkan_device *adopt; /* NULL: a device of our own */
    /* A device that compiles kernels to be looked at (capture.h), and nothing else: spans have sizes, but there
     * is no memory behind them, and nothing can be submitted. So it needs no hardware. Its pipelines are made
     * with other flags than those that run, so it neither reads nor writes their cache file. */
    enum rf_capture capture;
    const struct rf_shader_words *shaders; /* before those of shader_dir; outlive the device */
    size_t shader_count;
    rf_log_fn log;
    void *log_user;
};

struct rf_gpu; /* thread-safe unless a function says otherwise */

enum rf_status rf_gpu_list(struct rf_device_info **infos, size_t *count, const char *disable,
                           struct rf_error *err);
enum rf_status rf_gpu_create(struct rf_gpu **out, const struct rf_gpu_desc *desc, struct rf_error *err);
void rf_gpu_destroy(struct rf_gpu *gpu);
const struct rf_gpu_caps *rf_gpu_get_caps(const struct rf_gpu *gpu);
struct rf_allocator rf_gpu_allocator(const struct rf_gpu *gpu);
bool rf_gpu_captures(const struct rf_gpu *gpu);
void rf_gpu_get_info(const struct rf_gpu *gpu, struct rf_device_info *info);
uint64_t rf_gpu_complaints(const struct rf_gpu *gpu); /* validation messages and failed debug checks */
void rf_gpu_log(const struct rf_gpu *gpu, enum rf_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
