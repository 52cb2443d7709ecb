/* What a driver tells of a pipeline that it has compiled (VK_KHR_pipeline_executable_properties): statistics such
 * as registers and spills, and representations such as machine code. Kernels of a device that was created with
 * rf_gpu_desc.capture have it. */
#ifndef RF_GPU_CAPTURE_H
#define RF_GPU_CAPTURE_H

#include "engine/gpu/kernel.h"
#include "engine/gpu/spirv.h"

enum { RF_CAPTURE_TEXT = 256 }; /* Vulkan's VK_MAX_DESCRIPTION_SIZE */

enum rf_statistic_format { RF_STATISTIC_BOOL, RF_STATISTIC_INT, RF_STATISTIC_UINT, RF_STATISTIC_REAL };

struct rf_statistic {
    char name[RF_CAPTURE_TEXT], description[RF_CAPTURE_TEXT];
    enum rf_statistic_format format;
    union {
        bool truth;
        int64_t i64;
        uint64_t u64;
        double f64;
    } value;
};
/* Exact up to 2^53; a truth is 0 or 1. */
double rf_statistic_number(const struct rf_statistic *statistic);

struct rf_representation {
    char name[RF_CAPTURE_TEXT], description[RF_CAPTURE_TEXT];
    bool is_text; /* then data ends with a NUL, which size does not count */
    unsigned char *data;
    size_t size;
};

/* What the driver made of the pipeline; a compute pipeline mostly has one. */
struct rf_executable {
    char name[RF_CAPTURE_TEXT], description[RF_CAPTURE_TEXT];
    uint32_t subgroup_size; /* 0: it does not tell */
    uint32_t statistic_count;
    uint32_t representation_count; /* 0 unless RF_CAPTURE_ALL */
    struct rf_statistic *statistics;
    struct rf_representation *representations;
};

struct rf_kernel_facts {
    const char *shader; /* strings and specs are the kernel's */
    uint32_t spec_count;
    const uint32_t *specs;
    uint32_t subgroup_size; /* as required, else the device's default */
    size_t spirv_words;     /* handed to the driver */
    bool replaced;          /* by a file of shader_dir */
    struct rf_spirv_info info;
    uint32_t executable_count; /* 0: the device cannot tell */
    struct rf_executable *executables;
};

/* NULL: the device does not capture. Lives as long as the kernel. */
const struct rf_kernel_facts *rf_kernel_get_facts(const struct rf_kernel *kernel);
/* The first of this name, in any case; NULL: there is none. */
const struct rf_statistic *rf_find_statistic(const struct rf_kernel_facts *facts, const char *name);

#endif
