/* What the device does at best, by kernels that do nothing else: floors are made of these. Of every
 * candidate the fastest of several runs counts, and of all candidates the best: a ceiling that is too low
 * would flatter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench/bench_internal.h"
#include "engine/model/coopmat.h"
#include "engine/model/synthetic.h"

enum {
    KERNEL_NAME = sizeof(((struct rf_bench_ceilings *)0)->f32_kernel),
    SINK_BYTES = 1 << 16, /* also 6 matrices of f16, of up to 64 x 64 */
    EMPTY_DISPATCHES = 256,
    EMPTY_SUBMISSIONS = 50,
    RUNS = 5,
    MATH_INVOCATIONS = 1 << 17, /* no more workgroups of 4 than every device takes: 65535 */
    MATH_FLOPS =
        256, /* of an invocation and turn of bench_math's loop; twice that in f16, four times in int8 */
    CPU_READ = 128 << 20,  /* bytes */
    MODEL_READ = 64 << 20, /* bytes that one measurement reads at least, in several dispatches */
};

static const double MATH_SECONDS = 0.02; /* of one run, so that clocks are up and the start does not count */

struct probe {
    struct rf_gpu *gpu;
    const struct rf_timer *timer;
    struct rf_arena *arena;
    struct rf_span buffer, sink;
};

/* `count` times the same dispatch, with a barrier between them when it writes. */
static enum rf_status record(const struct probe *probe, const struct rf_dispatch *dispatch, uint32_t count,
                             struct rf_cmd **cmd, struct rf_error *err)
{
    enum rf_status status = rf_cmd_begin(cmd, probe->gpu, "ceiling", err);
    if (status)
        return status;
    for (uint32_t i = 0; !status && i < count; i++)
        status = rf_cmd_dispatch(*cmd, dispatch, err);
    if (!status)
        status = rf_cmd_end(*cmd, err);
    if (status) {
        rf_cmd_destroy(*cmd);
        *cmd = NULL;
    }
    return status;
}

/* Seconds of one submission: by timestamps where there are any, else from submit to the end of the wait. */
static enum rf_status run_once(const struct probe *probe, struct rf_cmd *cmd, double *seconds,
                               struct rf_error *err)
{
    struct rf_cmd *cmds[3];
    size_t count = 0;
    uint64_t ticket;
    double device;
    if (probe->timer)
        cmds[count++] = rf_timer_start(probe->timer);
    cmds[count++] = cmd;
    if (probe->timer)
        cmds[count++] = rf_timer_stop(probe->timer);
    double start = rf_bench_now();
    enum rf_status status = rf_gpu_submit(probe->gpu, cmds, count, &ticket, err);
    if (!status)
        status = rf_gpu_wait(probe->gpu, ticket, err);
    *seconds = rf_bench_now() - start;
    if (!status)
        status = rf_timer_seconds(probe->timer, &device, err);
    if (!status && device > 0.0)
        *seconds = device;
    return status;
}

/* The fastest of `runs`; gives up after the first that is far from `best` seconds (0: none yet). */
static enum rf_status fastest(const struct probe *probe, const struct rf_dispatch *dispatch, uint32_t count,
                              int runs, double best, double *seconds, struct rf_error *err)
{
    struct rf_cmd *cmd;
    enum rf_status status = record(probe, dispatch, count, &cmd, err);
    *seconds = 0.0;
    for (int i = 0; !status && i < runs; i++) {
        double now = 0.0;
        status = run_once(probe, cmd, &now, err);
        if (*seconds == 0.0 || now < *seconds)
            *seconds = now;
        if (best > 0.0 && *seconds > 1.5 * best)
            break;
    }
    rf_cmd_destroy(cmd);
    return status;
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

struct read_shape {
    const char *shader;
    uint32_t local, per_group; /* vectors of 16 bytes a workgroup */
};

static enum rf_status time_read(const struct probe *probe, const struct read_shape *shape, uint64_t *bytes,
                                double best_rate, double *rate, struct rf_error *err)
{
    const struct rf_kernel_id id = {.shader = shape->shader, .spec_count = 2, .specs = {0, shape->local}};
    struct rf_kernel *kernel;
    enum rf_status status = rf_kernels_get(probe->gpu, &id, 1, &kernel, err);
    if (status)
        return status;
    const struct rf_push_bench_read push = {
        .source = probe->buffer.address, .sink = probe->sink.address, .per_group = shape->per_group};
    uint32_t groups = (uint32_t)(*bytes / 16 / shape->per_group),
             most = rf_gpu_get_caps(probe->gpu)->max_workgroup_count[0];
    groups = groups < most ? groups : most;
    *rate = 0.0;
    if (groups == 0)
        return RF_OK;
    *bytes = (uint64_t)groups * shape->per_group * 16;
    struct rf_dispatch dispatch = {.kernel = kernel,
                                   .label = shape->shader,
                                   .push = &push,
                                   .push_size = sizeof push,
                                   .groups = {groups, 1, 1},
                                   .access_count = 1,
                                   .accesses = {{probe->buffer, RF_READ}}};
    uint32_t count = (uint32_t)(MODEL_READ / *bytes) + 1;
    double seconds, total = (double)*bytes * count;
    status = fastest(probe, &dispatch, count, RUNS, best_rate > 0.0 ? total / best_rate : 0.0, &seconds, err);
    if (!status && seconds > 0.0)
        *rate = total / seconds;
    return status;
}

/* The best rate over the first `bytes` of the buffer, in bytes a second. */
static enum rf_status measure_read(const struct probe *probe, uint64_t *bytes, double *best, char *name,
                                   size_t room, struct rf_error *err)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(probe->gpu);
    uint32_t lanes = caps->subgroup_size;
    const struct read_shape shapes[] = {
        {"bench_read", 256, 4096},
        {"bench_read", 256, 16384},
        {"bench_read", 64, 2048},
        {"bench_read", 64, 16384},
        {"bench_read", 1024, 16384},
        {"bench_read", lanes, 65536},
        {"bench_read_uniform", lanes, 4096},
        {"bench_read_uniform", lanes, 65536},
    };
    enum rf_status status = RF_OK;
    uint64_t read = 0;
    *best = 0.0;
    for (size_t i = 0; !status && i < sizeof shapes / sizeof *shapes; i++) {
        if (shapes[i].local > caps->max_invocations)
            continue;
        uint64_t now = *bytes;
        double rate;
        status = time_read(probe, &shapes[i], &now, *best, &rate, err);
        if (status || rate <= *best)
            continue;
        *best = rate;
        read = now;
        if (name)
            snprintf(name, room, "%s, %u invocations, %u KiB a workgroup", shapes[i].shader, shapes[i].local,
                     shapes[i].per_group / 64);
    }
    *bytes = read;
    return status;
}

static enum rf_status measure_reads(struct probe *probe, uint64_t model_bytes, struct rf_bench_ceilings *out,
                                    struct rf_error *err)
{
    struct rf_device_info info;
    rf_gpu_get_info(probe->gpu, &info);
    uint64_t bytes = CPU_READ, smallest = 4096 * 16;
    if (strcmp(info.type, "cpu") != 0)
        bytes = 1u << 30;
    if (bytes > rf_gpu_max_span(probe->gpu))
        bytes = rf_gpu_max_span(probe->gpu) / smallest * smallest;
    enum rf_status status = rf_arena_alloc(probe->arena, &probe->buffer, bytes, "read ceiling", err);
    const struct rf_fill fill = {.kind = RF_FILL_BITS, .seed = 1};
    if (!status)
        status = rf_fill_span(probe->gpu, probe->buffer, &fill, err);
    double rate = 0.0;
    if (!status)
        status = measure_read(probe, &bytes, &rate, out->read_kernel, sizeof out->read_kernel, err);
    out->read_bytes = out->read_model_bytes = bytes;
    out->read_gb_per_second = out->read_model_gb_per_second = rate * 1e-9;
    if (status || model_bytes >= bytes)
        return status;
    bytes = model_bytes > smallest ? model_bytes : smallest;
    status = measure_read(probe, &bytes, &rate, NULL, 0, err);
    out->read_model_bytes = bytes;
    if (rate * 1e-9 > out->read_gb_per_second)
        out->read_model_gb_per_second = rate * 1e-9;
    return status;
}

/* ---- Multiply-adds ---------------------------------------------------------------------------------- */

struct math {
    struct rf_kernel_id kernel;
    double flops; /* of an invocation and turn of its loop */
    double *best; /* TFLOP/s */
    char *name;   /* of the best; NULL: nobody asks */
};

static enum rf_status time_math(const struct probe *probe, const struct math *math, struct rf_error *err)
{
    struct rf_kernel *kernel = NULL;
    enum rf_status status = rf_kernels_get(probe->gpu, &math->kernel, 1, &kernel, err);
    uint32_t local = math->kernel.specs[RF_SPEC_LOCAL];
    struct rf_push_bench_math push = {
        .sink = probe->sink.address, .loops = 1, .factor = 0.5f, .addend = 1.0f};
    struct rf_dispatch dispatch = {.kernel = kernel,
                                   .label = math->kernel.shader,
                                   .push = &push,
                                   .push_size = sizeof push,
                                   .groups = {MATH_INVOCATIONS / local, 1, 1}};
    double seconds = 0.0;
    while (!status) {
        status = fastest(probe, &dispatch, 1, 1, 0.0, &seconds, err);
        if (status || seconds >= 0.5 * MATH_SECONDS || push.loops >= 1u << 20)
            break;
        double factor = seconds > 0.0 ? MATH_SECONDS / seconds : 16.0;
        push.loops = (uint32_t)(push.loops * (factor < 16.0 ? factor : 16.0)) + 1;
    }
    double work = math->flops * MATH_INVOCATIONS * push.loops, best = *math->best * 1e12;
    if (!status)
        status = fastest(probe, &dispatch, 1, RUNS, best > 0.0 ? work / best : 0.0, &seconds, err);
    double rate = seconds > 0.0 ? work / seconds : 0.0;
    if (status || rate <= best)
        return status;
    *math->best = rate * 1e-12;
    if (math->name)
        snprintf(math->name, KERNEL_NAME, "%s, %u invocations", math->kernel.shader, local);
    return RF_OK;
}

static enum rf_status measure_vectors(const struct probe *probe, struct rf_bench_ceilings *out,
                                      struct rf_error *err)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(probe->gpu);
    const struct {
        const char *shader;
        bool runs;
        double flops, *best;
        char *name;
    } kernels[] = {{"bench_math_f32", true, MATH_FLOPS, &out->f32_tflops, out->f32_kernel},
                   {"bench_math_f32_muladd", true, MATH_FLOPS, &out->f32_tflops, out->f32_kernel},
                   {"bench_math_f16", caps->fp16, 2 * MATH_FLOPS, &out->f16_tflops, NULL},
                   {"bench_math_int8", caps->int8_dot, 4 * MATH_FLOPS, &out->int8_tops, NULL}};
    const uint32_t locals[] = {caps->subgroup_size, 64, 256};
    enum rf_status status = RF_OK;
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        for (size_t i = 0; !status && kernels[k].runs && i < sizeof locals / sizeof *locals; i++) {
            const struct math math = {.kernel = {.shader = kernels[k].shader,
                                                 .spec_count = 2,
                                                 .specs = {[RF_SPEC_LOCAL] = locals[i]}},
                                      .flops = kernels[k].flops,
                                      .best = kernels[k].best,
                                      .name = kernels[k].name};
            status = time_math(probe, &math, err);
        }
    }
    return status;
}

/* Every shape that the driver lists, with 1 and with 4 subgroups a workgroup. */
static enum rf_status measure_matrices(const struct probe *probe, struct rf_bench_ceilings *out,
                                       struct rf_error *err)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(probe->gpu);
    enum rf_status status = RF_OK;
    for (uint32_t i = 0; rf_coopmat_built() && i < caps->coopmat_shape_count; i++) {
        const struct rf_coopmat_shape *shape = &caps->coopmat_shapes[i];
        for (uint32_t subgroups = 1; !status && subgroups <= 4; subgroups *= 4) {
            const struct math math = {.kernel = {.shader = "bench_coopmat",
                                                 .spec_count = 4,
                                                 .specs = {[RF_SPEC_COOPMAT_M] = shape->m,
                                                           [RF_SPEC_LOCAL] = subgroups * caps->subgroup_size,
                                                           [RF_SPEC_COOPMAT_N] = shape->n,
                                                           [RF_SPEC_COOPMAT_K] = shape->k}},
                                      .flops = 32.0 * shape->m * shape->n * shape->k / caps->subgroup_size,
                                      .best = &out->coopmat_tflops};
            status = time_math(probe, &math, err);
        }
    }
    return status;
}

/* ---- Doing nothing ---------------------------------------------------------------------------------- */

static enum rf_status measure_submission(const struct probe *probe, double *seconds, struct rf_error *err)
{
    struct rf_cmd *cmd;
    const struct rf_dispatch nothing = {.groups = {0, 0, 0}};
    double times[EMPTY_SUBMISSIONS];
    enum rf_status status = record(probe, &nothing, 0, &cmd, err);
    for (int i = 0; !status && i < EMPTY_SUBMISSIONS; i++) {
        uint64_t ticket;
        double start = rf_bench_now();
        status = rf_gpu_submit(probe->gpu, &cmd, 1, &ticket, err);
        if (!status)
            status = rf_gpu_wait(probe->gpu, ticket, err);
        times[i] = rf_bench_now() - start;
    }
    rf_cmd_destroy(cmd);
    if (!status)
        *seconds = rf_bench_median(times, EMPTY_SUBMISSIONS);
    return status;
}

static enum rf_status measure_empty(const struct probe *probe, struct rf_bench_ceilings *out,
                                    struct rf_error *err)
{
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = "bench_empty"};
    enum rf_status status = rf_kernels_get(probe->gpu, &id, 1, &kernel, err);
    const struct rf_push_bench_math push = {.sink = probe->sink.address};
    struct rf_dispatch dispatch = {.kernel = status ? NULL : kernel,
                                   .label = "empty",
                                   .push = &push,
                                   .push_size = sizeof push,
                                   .groups = {1, 1, 1}};
    double apart = 0.0, ordered = 0.0, submission = 0.0;
    if (!status)
        status = fastest(probe, &dispatch, EMPTY_DISPATCHES, RUNS, 0.0, &apart, err);
    dispatch.access_count = 1;
    dispatch.accesses[0] = (struct rf_access){probe->sink, RF_WRITE};
    if (!status)
        status = fastest(probe, &dispatch, EMPTY_DISPATCHES, RUNS, 0.0, &ordered, err);
    if (!status)
        status = measure_submission(probe, &submission, err);
    out->dispatch_us = apart * 1e6 / EMPTY_DISPATCHES;
    out->barrier_us = ordered > apart ? (ordered - apart) * 1e6 / (EMPTY_DISPATCHES - 1) : 0.0;
    out->submission_us = submission * 1e6;
    return status;
}

enum rf_status rf_bench_measure_ceilings(struct rf_gpu *gpu, const struct rf_timer *timer,
                                         uint64_t model_bytes, struct rf_bench_ceilings *out,
                                         struct rf_error *err)
{
    struct probe probe = {.gpu = gpu, .timer = timer};
    memset(out, 0, sizeof *out);
    probe.arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "ceilings");
    if (!probe.arena)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the ceilings' arena");
    enum rf_status status = rf_arena_alloc(probe.arena, &probe.sink, SINK_BYTES, "sink", err);
    const struct rf_fill inputs = {.kind = RF_FILL_F16, .seed = 2, .amplitude = 1.0f};
    if (!status)
        status = rf_fill_span(gpu, probe.sink, &inputs, err);
    if (!status)
        status = measure_empty(&probe, out, err);
    if (!status)
        status = measure_vectors(&probe, out, err);
    if (!status)
        status = measure_matrices(&probe, out, err);
    if (!status)
        status = measure_reads(&probe, model_bytes, out, err);
    rf_arena_destroy(probe.arena);
    return status;
}
