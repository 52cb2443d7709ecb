#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/allocate.h"
#include "engine/gpu/capture.h"
#include "engine/gpu/internal.h"
#include "engine/gpu/shader_blobs.h"
#include "engine/gpu/spirv.h"
#include "engine/thread.h"

enum { MOST_THREADS = 8, MOST_SHADER_BYTES = 16 << 20, KERNEL_NAME = 96 };

struct rf_kernel {
    char name[KERNEL_NAME];
    uint32_t spec_count, specs[RF_KERNEL_SPECS];
    uint32_t subgroup_size; /* as asked for */
    bool builtin;           /* made while no replacement was wanted */
    VkPipeline pipeline;
    uint32_t local_size;
    uint32_t push_bytes, push_alignment;
    atomic_uint_fast64_t dispatches; /* submitted so far, trials left out */
    struct rf_kernel_facts *facts;   /* NULL: the device captures nothing */
    struct rf_kernel *next;
};

/* One pipeline of a batch, made by whichever thread takes it. */
struct job {
    const struct rf_kernel_id *id;
    struct rf_kernel *kernel;
    enum rf_status status;
    struct rf_error err;
};

struct batch {
    struct rf_gpu *gpu;
    struct job *jobs;
    size_t count;
    atomic_size_t next;
    bool (*stopped)(void); /* NULL: never */
};

const char *rf_kernel_name(const struct rf_kernel *kernel)
{
    return kernel->name;
}

uint32_t rf_kernel_local_size(const struct rf_kernel *kernel)
{
    return kernel->local_size;
}

/* C pads a struct to its widest member, GLSL's scalar layout does not. */
uint32_t rf_kernel_push_size(const struct rf_kernel *kernel)
{
    return (kernel->push_bytes + kernel->push_alignment - 1) / kernel->push_alignment *
           kernel->push_alignment;
}

VkPipeline rf_kernel_pipeline(const struct rf_kernel *kernel)
{
    return kernel->pipeline;
}

bool rf_gpu_replaces_shaders(const struct rf_gpu *gpu)
{
    return gpu->shader_dir || gpu->shader_count;
}

void rf_kernels_builtin_only(struct rf_gpu *gpu, bool only)
{
    pthread_mutex_lock(&gpu->kernel_mutex);
    gpu->builtin_only = only;
    pthread_mutex_unlock(&gpu->kernel_mutex);
}

void rf_kernel_count(struct rf_kernel *kernel, uint64_t dispatches)
{
    atomic_fetch_add(&kernel->dispatches, dispatches);
}

const struct rf_kernel_facts *rf_kernel_get_facts(const struct rf_kernel *kernel)
{
    return kernel->facts;
}

void rf_kernels_visit(struct rf_gpu *gpu, rf_kernel_visit_fn visit, void *user)
{
    pthread_mutex_lock(&gpu->kernel_mutex);
    for (const struct rf_kernel *kernel = gpu->kernels; kernel; kernel = kernel->next)
        visit(user, kernel->name, atomic_load(&kernel->dispatches));
    pthread_mutex_unlock(&gpu->kernel_mutex);
}

void rf_kernels_destroy(struct rf_gpu *gpu)
{
    for (struct rf_kernel *kernel = gpu->kernels, *next; kernel; kernel = next) {
        next = kernel->next;
        gpu->vk.vkDestroyPipeline(gpu->device, kernel->pipeline, NULL);
        rf_capture_free(kernel->facts);
        rf_free(kernel);
    }
    gpu->kernels = NULL;
}

/* ---- Shader words ----------------------------------------------------------------------------------- */

static const struct rf_shader_blob *find_blob(const char *name)
{
    for (size_t i = 0; i < rf_shader_blob_count; ++i)
        if (strcmp(rf_shader_blobs[i].name, name) == 0)
            return &rf_shader_blobs[i];
    return NULL;
}

/* Reads `path` if it is there: *words stays NULL when it is not. */
static enum rf_status read_words(const char *path, uint32_t **words, size_t *count, struct rf_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file && errno == ENOENT)
        return RF_OK;
    if (!file)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    enum rf_status status = RF_OK;
    struct stat info;
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode))
        status = rf_fail(err, RF_ERROR_IO, "%s: not a regular file", path);
    else if (info.st_size % 4 || !info.st_size || info.st_size > MOST_SHADER_BYTES)
        status =
            rf_fail(err, RF_ERROR_FORMAT, "%s: %lld bytes, wanted SPIR-V words (a multiple of 4, at most %d)",
                    path, (long long)info.st_size, MOST_SHADER_BYTES);
    else if (!(*words = rf_malloc((size_t)info.st_size)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of host memory", path);
    else if (fread(*words, 1, (size_t)info.st_size, file) != (size_t)info.st_size)
        status = rf_fail(err, RF_ERROR_IO, "%s: cannot be read", path);
    else
        *count = (size_t)info.st_size / 4;
    fclose(file);
    if (status) {
        rf_free(*words);
        *words = NULL;
    }
    return status;
}

struct shader {
    const uint32_t *words;
    size_t count;
    uint32_t *owned; /* to be freed; NULL: words are not */
    bool replaced;
};

/* From memory, else from shader_dir; out->words stays NULL where neither has it. `origin`: what messages call it. */
static enum rf_status find_replacement(const struct rf_gpu *gpu, const char *name, struct shader *out,
                                       char *origin, size_t room, struct rf_error *err)
{
    for (size_t i = 0; i < gpu->shader_count; ++i) {
        const struct rf_shader_words *given = &gpu->shaders[i];
        if (strcmp(given->name, name) != 0)
            continue;
        snprintf(origin, room, "%s", given->origin);
        out->words = given->words;
        out->count = given->count;
        return RF_OK;
    }
    if (!gpu->shader_dir)
        return RF_OK;
    if (snprintf(origin, room, "%s/%s.spv", gpu->shader_dir, name) >= (int)room)
        return rf_fail(err, RF_ERROR_ARGUMENT, "shader_dir: the path is too long");
    enum rf_status status = read_words(origin, &out->owned, &out->count, err);
    out->words = out->owned;
    return status;
}

/* A replacement must take the built-in's push constants, or it would read what the host does not send. */
static enum rf_status check_replacement(const struct shader *shader, const struct rf_shader_blob *blob,
                                        const char *name, const char *origin, struct rf_error *err)
{
    struct rf_spirv_info have, want;
    enum rf_status status = rf_spirv_read(&have, shader->words, shader->count, NULL, 0, origin, err);
    if (status || !blob)
        return status;
    status = rf_spirv_read(&want, blob->words, blob->word_count, NULL, 0, name, err);
    if (!status && have.push_bytes != want.push_bytes)
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: %u bytes of push constants, the built-in shader has %u",
                         origin, have.push_bytes, want.push_bytes);
    return status;
}

/* Replaced or built-in. */
static enum rf_status load_shader(struct rf_gpu *gpu, const char *name, struct shader *out,
                                  struct rf_error *err)
{
    const struct rf_shader_blob *blob = find_blob(name);
    char origin[4096];
    *out = (struct shader){0};
    if (!gpu->builtin_only) {
        enum rf_status status = find_replacement(gpu, name, out, origin, sizeof origin, err);
        out->replaced = out->words != NULL;
        if (!status && out->replaced)
            status = check_replacement(out, blob, name, origin, err);
        if (status)
            rf_free(out->owned);
        if (status || out->replaced)
            return status;
    }
    if (!blob)
        return rf_fail(err, RF_ERROR_ARGUMENT, "shader %s: there is none of this name", name);
    out->words = blob->words;
    out->count = blob->word_count;
    return RF_OK;
}

/* ---- Pipelines -------------------------------------------------------------------------------------- */

/* A capability of the shader that the device was not created with would be undefined behaviour, not an
 * error. */
static enum rf_status check_capabilities(const struct rf_gpu *gpu, const struct rf_spirv_info *info,
                                         const char *name, struct rf_error *err)
{
    const struct rf_gpu_caps *caps = &gpu->probe.caps;
    const char *lacks = NULL;
    if ((info->float16 || info->storage16) && !caps->fp16)
        lacks = "fp16";
    if (info->cooperative_matrix && !caps->coopmat)
        lacks = "coopmat";
    if (info->cooperative_matrix2 && !caps->coopmat2)
        lacks = "coopmat2";
    if (info->tensor_addressing && !(caps->coopmat2_matmul && caps->coopmat2_units))
        lacks = "coopmat2Matmul";
    if (info->dot_product && !caps->dot_product)
        lacks = "int8dot";
    if (info->int64 && !caps->wide_attention && !caps->spread)
        lacks = "wide with 64 bit integers";
    if (lacks)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "shader %s needs %s, which device %u (%s) lacks or which is disabled", name, lacks,
                       gpu->probe.info.index, gpu->probe.info.name);
    if (info->float64)
        lacks = "Float64";
    if (info->int8 || info->storage8)
        lacks = "Int8";
    if (lacks)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "shader %s uses the SPIR-V capability %s, which no path may", name, lacks);
    if (info->push_bytes > RF_PUSH_BYTES)
        return rf_fail(err, RF_ERROR_FORMAT, "shader %s: %u bytes of push constants, at most %d are possible",
                       name, info->push_bytes, RF_PUSH_BYTES);
    const uint32_t invocations = info->local_size[0] * info->local_size[1] * info->local_size[2];
    if (invocations > caps->max_invocations)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "shader %s: %u invocations in a workgroup, the device has at most %u", name,
                       invocations, caps->max_invocations);
    return RF_OK;
}

/* The subgroup size to require, 0 for none. Without a wish the default size is pinned where sizes vary,
 * because newer SPIR-V lets the driver choose otherwise. */
static enum rf_status choose_subgroup(const struct rf_gpu *gpu, const struct rf_kernel_id *id,
                                      uint32_t invocations, uint32_t *required, struct rf_error *err)
{
    const struct rf_gpu_caps *caps = &gpu->probe.caps;
    uint32_t size = id->subgroup_size ? id->subgroup_size : caps->subgroup_size;
    *required = 0;
    if (size < caps->subgroup_size_min || size > caps->subgroup_size_max || (size & (size - 1)))
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "shader %s: subgroup size %u is wanted, the device has %u to %u", id->shader, size,
                       caps->subgroup_size_min, caps->subgroup_size_max);
    if (!caps->subgroup_size_control || caps->subgroup_size_min == caps->subgroup_size_max)
        return RF_OK;
    if (invocations <= (uint64_t)size * gpu->probe.max_workgroup_subgroups)
        *required = size;
    else if (id->subgroup_size)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "shader %s: %u invocations are more than %u subgroups of %u", id->shader, invocations,
                       gpu->probe.max_workgroup_subgroups, size);
    return RF_OK;
}

static enum rf_status create_pipeline(struct rf_gpu *gpu, const struct rf_kernel_id *id,
                                      const struct rf_spirv_info *info, VkShaderModule module,
                                      VkPipeline *pipeline, uint32_t *required_subgroup, struct rf_error *err)
{
    const struct rf_gpu_caps *caps = &gpu->probe.caps;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
    enum rf_status status =
        choose_subgroup(gpu, id, info->local_size[0] * info->local_size[1] * info->local_size[2],
                        &subgroup.requiredSubgroupSize, err);
    if (status)
        return status;
    *required_subgroup = subgroup.requiredSubgroupSize;
    VkComputePipelineCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = subgroup.requiredSubgroupSize ? &subgroup : NULL,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = info->entry},
        .layout = gpu->layout};
    if (gpu->executables.properties)
        create.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    if (gpu->executables.properties && gpu->capture == RF_CAPTURE_ALL)
        create.flags |= VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
    const uint32_t whole =
        subgroup.requiredSubgroupSize ? subgroup.requiredSubgroupSize : caps->subgroup_size_max;
    if (caps->full_subgroups && whole && info->local_size[0] % whole == 0)
        create.stage.flags |= VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    VkResult result =
        gpu->vk.vkCreateComputePipelines(gpu->device, gpu->pipeline_cache, 1, &create, NULL, pipeline);
    if (result == VK_SUCCESS)
        rf_label_name(gpu, VK_OBJECT_TYPE_PIPELINE, (uint64_t)*pipeline, id->shader);
    if (result == VK_SUCCESS)
        return RF_OK;
    status = rf_vk_fail(err, result, "vkCreateComputePipelines");
    return rf_fail_within(err, status, "shader %s", id->shader);
}

static enum rf_status build_module(struct rf_gpu *gpu, const struct rf_kernel_id *id,
                                   const struct rf_spirv_info *info, const uint32_t *words, size_t count,
                                   struct rf_kernel *kernel, struct rf_error *err)
{
    VkShaderModule module;
    VkShaderModuleCreateInfo create = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                       .codeSize = count * sizeof(uint32_t),
                                       .pCode = words};
    VkResult result = gpu->vk.vkCreateShaderModule(gpu->device, &create, NULL, &module);
    if (result != VK_SUCCESS) {
        enum rf_status status = rf_vk_fail(err, result, "vkCreateShaderModule");
        return rf_fail_within(err, status, "shader %s", id->shader);
    }
    uint32_t subgroup;
    enum rf_status status = create_pipeline(gpu, id, info, module, &kernel->pipeline, &subgroup, err);
    gpu->vk.vkDestroyShaderModule(gpu->device, module, NULL);
    if (status || !gpu->capture)
        return status;
    const struct rf_kernel_facts facts = {.shader = kernel->name,
                                          .spec_count = kernel->spec_count,
                                          .specs = kernel->specs,
                                          .subgroup_size =
                                              subgroup ? subgroup : gpu->probe.caps.subgroup_size,
                                          .spirv_words = count,
                                          .info = *info};
    status = rf_capture_pipeline(gpu, kernel->pipeline, &facts, &kernel->facts, err);
    if (status) {
        gpu->vk.vkDestroyPipeline(gpu->device, kernel->pipeline, NULL);
        kernel->pipeline = VK_NULL_HANDLE;
    }
    return status;
}

static enum rf_status build_kernel(struct rf_gpu *gpu, const struct rf_kernel_id *id,
                                   struct rf_kernel *kernel, struct rf_error *err)
{
    struct shader shader;
    struct rf_spirv_info info;
    enum rf_status status = load_shader(gpu, id->shader, &shader, err);
    if (status)
        return status;
    status = rf_spirv_read(&info, shader.words, shader.count, id->specs, id->spec_count, id->shader, err);
    if (!status)
        status = check_capabilities(gpu, &info, id->shader, err);
    uint32_t *frozen = NULL;
    size_t frozen_count = 0;
    if (!status)
        status = rf_spirv_freeze(&frozen, &frozen_count, shader.words, shader.count, id->specs,
                                 id->spec_count, err);
    if (!status)
        status = build_module(gpu, id, &info, frozen, frozen_count, kernel, err);
    if (kernel->facts)
        kernel->facts->replaced = shader.replaced;
    rf_free(frozen);
    rf_free(shader.owned);
    kernel->local_size = info.local_size[0] * info.local_size[1] * info.local_size[2];
    kernel->push_bytes = info.push_bytes;
    kernel->push_alignment = info.push_alignment;
    return status;
}

/* ---- Batches ---------------------------------------------------------------------------------------- */

static bool same_id(const struct rf_kernel *kernel, const struct rf_kernel_id *id)
{
    return kernel->subgroup_size == id->subgroup_size && kernel->spec_count == id->spec_count &&
           memcmp(kernel->specs, id->specs, id->spec_count * sizeof id->specs[0]) == 0 &&
           strcmp(kernel->name, id->shader) == 0;
}

static bool same_kernel(const struct rf_gpu *gpu, const struct rf_kernel *kernel,
                        const struct rf_kernel_id *id)
{
    return kernel->builtin == gpu->builtin_only && same_id(kernel, id);
}

uint64_t rf_kernel_dispatches(struct rf_gpu *gpu, const struct rf_kernel_id *id)
{
    uint64_t count = 0;
    pthread_mutex_lock(&gpu->kernel_mutex);
    for (const struct rf_kernel *kernel = gpu->kernels; kernel; kernel = kernel->next)
        if (same_id(kernel, id))
            count += atomic_load(&kernel->dispatches);
    pthread_mutex_unlock(&gpu->kernel_mutex);
    return count;
}

static void *work(void *user)
{
    struct batch *batch = user;
    RF_ALLOCATE_FROM(batch->gpu->allocator);
    for (;;) {
        size_t index = atomic_fetch_add(&batch->next, 1);
        if (index >= batch->count)
            return NULL;
        struct job *job = &batch->jobs[index];
        if (batch->stopped && batch->stopped())
            job->status = rf_fail(&job->err, RF_ERROR_CANCELLED, "interrupted while shaders were compiled");
        else
            job->status = build_kernel(batch->gpu, job->id, job->kernel, &job->err);
    }
}

/* In words of SPIR-V; attention_wide is the dearest on lavapipe (35 to 46 ms with a warm cache) and has 1 word
 * for 2.4 of matmul_wide. Nothing else is known to be far from its words. */
static size_t job_cost(const struct job *job)
{
    const struct rf_shader_blob *blob = find_blob(job->kernel->name);
    const size_t words = blob ? blob->word_count : 0;
    return strncmp(job->kernel->name, "attention_wide", 14) == 0 ? 3 * words : words;
}

static int by_cost(const void *a, const void *b)
{
    size_t x = job_cost(a), y = job_cost(b);
    return x > y ? -1 : x < y;
}

/* The dearest shaders first, so that at the end no thread is left alone with one. The calling thread works
 * too; a thread that cannot be started is done without. */
static void run_batch(struct batch *batch)
{
    qsort(batch->jobs, batch->count, sizeof *batch->jobs, by_cost);
    pthread_t threads[MOST_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = cores < 1 ? 1 : cores > MOST_THREADS ? MOST_THREADS : (size_t)cores;
    if (most > batch->count)
        most = batch->count;
    size_t started = 0;
    while (started + 1 < most && rf_thread_start(&threads[started], work, batch) == 0)
        ++started;
    work(batch);
    for (size_t i = 0; i < started; ++i)
        pthread_join(threads[i], NULL);
}

static struct rf_kernel *find_kernel(struct rf_gpu *gpu, const struct batch *batch,
                                     const struct rf_kernel_id *id)
{
    for (struct rf_kernel *kernel = gpu->kernels; kernel; kernel = kernel->next)
        if (same_kernel(gpu, kernel, id))
            return kernel;
    for (size_t i = 0; i < batch->count; ++i)
        if (same_kernel(gpu, batch->jobs[i].kernel, id))
            return batch->jobs[i].kernel;
    return NULL;
}

/* Fills out[] with what exists and with new, unbuilt kernels that become jobs. */
static enum rf_status plan_batch(struct batch *batch, const struct rf_kernel_id *ids, size_t count,
                                 struct rf_kernel **out, struct rf_error *err)
{
    for (size_t i = 0; i < count; ++i) {
        const struct rf_kernel_id *id = &ids[i];
        if (!id->shader || !id->shader[0] || strlen(id->shader) >= KERNEL_NAME ||
            id->spec_count > RF_KERNEL_SPECS)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "kernel %zu: no shader name, or %u specialization constants (at most %d)", i,
                           id->spec_count, RF_KERNEL_SPECS);
        out[i] = find_kernel(batch->gpu, batch, id);
        if (out[i])
            continue;
        struct rf_kernel *kernel = rf_calloc(1, sizeof *kernel);
        if (!kernel)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for shader %s", id->shader);
        snprintf(kernel->name, sizeof kernel->name, "%s", id->shader);
        kernel->spec_count = id->spec_count;
        memcpy(kernel->specs, id->specs, id->spec_count * sizeof id->specs[0]);
        kernel->subgroup_size = id->subgroup_size;
        kernel->builtin = batch->gpu->builtin_only;
        batch->jobs[batch->count++] = (struct job){.id = id, .kernel = kernel};
        out[i] = kernel;
    }
    return RF_OK;
}

/* Keeps what was built; after a failure also, so that a second try has less to do. */
static enum rf_status keep_batch(struct batch *batch, enum rf_status status, struct rf_error *err)
{
    for (size_t i = 0; i < batch->count; ++i) {
        struct job *job = &batch->jobs[i];
        if (job->status && !status) {
            status = job->status;
            if (err)
                *err = job->err;
        }
        if (!job->kernel->pipeline) {
            rf_capture_free(job->kernel->facts);
            rf_free(job->kernel);
            continue;
        }
        job->kernel->next = batch->gpu->kernels;
        batch->gpu->kernels = job->kernel;
    }
    return status;
}

enum rf_status rf_kernels_get(struct rf_gpu *gpu, const struct rf_kernel_id *ids, size_t count,
                              struct rf_kernel **out, struct rf_error *err)
{
    return rf_kernels_get_until(gpu, ids, count, out, NULL, err);
}

enum rf_status rf_kernels_get_until(struct rf_gpu *gpu, const struct rf_kernel_id *ids, size_t count,
                                    struct rf_kernel **out, bool (*stopped)(void), struct rf_error *err)
{
    if (!count)
        return RF_OK;
    struct batch batch = {.gpu = gpu, .jobs = rf_calloc(count, sizeof *batch.jobs), .stopped = stopped};
    if (!batch.jobs)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for %zu kernels", count);
    pthread_mutex_lock(&gpu->kernel_mutex);
    enum rf_status status = plan_batch(&batch, ids, count, out, err);
    if (!status && batch.count)
        run_batch(&batch);
    status = keep_batch(&batch, status, err);
    pthread_mutex_unlock(&gpu->kernel_mutex);
    rf_free(batch.jobs);
    if (status)
        memset(out, 0, count * sizeof *out);
    return status;
}
