/* Compute pipelines from the embedded SPIR-V: one pipeline layout for all (128 bytes of push constants, no
 * descriptor sets), created in parallel batches from a persistent cache file. */
#ifndef RF_GPU_KERNEL_H
#define RF_GPU_KERNEL_H

#include "engine/gpu/device.h"

enum { RF_KERNEL_SPECS = 12, RF_PUSH_BYTES = 128 };

/* Identity of a pipeline: shader variant and the values of its specialization constants (ids 0..n-1). Equal
 * identities share one pipeline. */
struct rf_kernel_id {
    const char *shader; /* NAME of an rf_shader() line; the string must outlive the call only */
    uint32_t spec_count;
    uint32_t specs[RF_KERNEL_SPECS];
    /* Required size, 0: the device's default (full subgroups are asked for where they can be). */
    uint32_t subgroup_size;
};

struct rf_kernel; /* lives as long as its gpu */

/* Creates what does not exist yet, in parallel threads; out[i] belongs to ids[i]. One slow call instead of
 * many. */
enum rf_status rf_kernels_get(struct rf_gpu *gpu, const struct rf_kernel_id *ids, size_t count,
                              struct rf_kernel **out, struct rf_error *err);
/* Likewise, but nothing more is begun once `stopped` says so, which several threads ask: RF_ERROR_CANCELLED. */
enum rf_status rf_kernels_get_until(struct rf_gpu *gpu, const struct rf_kernel_id *ids, size_t count,
                                    struct rf_kernel **out, bool (*stopped)(void), struct rf_error *err);
bool rf_gpu_replaces_shaders(const struct rf_gpu *gpu); /* rf_gpu_desc.shaders or shader_dir */
/* Whether rf_kernels_get gives built-in shaders from now on even where there is a replacement. Kernels that
 * it gave before stay what they are. */
void rf_kernels_builtin_only(struct rf_gpu *gpu, bool only);
const char *rf_kernel_name(const struct rf_kernel *kernel);
/* Read from the SPIR-V: invocations per workgroup; bytes of push constants, which dispatches are checked
 * against. */
uint32_t rf_kernel_local_size(const struct rf_kernel *kernel);
uint32_t rf_kernel_push_size(const struct rf_kernel *kernel);

/* Dispatches submitted so far, by pipeline: a shader comes as often as it has specializations. Trials of the
 * tuner are left out. */
uint64_t rf_kernel_dispatches(struct rf_gpu *gpu, const struct rf_kernel_id *id); /* built-in and replaced */
typedef void (*rf_kernel_visit_fn)(void *user, const char *shader, uint64_t dispatches);
void rf_kernels_visit(struct rf_gpu *gpu, rf_kernel_visit_fn visit, void *user);

#endif
