#include "engine/model/synthetic.h"

#include <math.h>

enum { FILL_LOCAL = 64, FILL_GROUPS = 16384 };

/* Which words of a span are filled: see struct rf_push_synthetic. */
struct words {
    uint32_t count, first, part, stride, run, step;
};

static enum rf_status fill_words(struct rf_gpu *gpu, struct rf_span span, const struct words *words,
                                 const struct rf_fill *fill, struct rf_error *err)
{
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = "synthetic"};
    enum rf_status status = rf_kernels_get(gpu, &id, 1, &kernel, err);
    if (status)
        return status;
    const struct rf_push_synthetic push = {.words = span.address,
                                           .count = words->count,
                                           .first = words->first,
                                           .part = words->part,
                                           .stride = words->stride,
                                           .run = words->run,
                                           .step = words->step,
                                           .kind = fill->kind,
                                           .seed = fill->seed,
                                           .amplitude = fill->amplitude,
                                           .ratio = fill->ratio};
    uint32_t groups = (push.count + FILL_LOCAL - 1) / FILL_LOCAL;
    const struct rf_dispatch dispatch = {.kernel = kernel,
                                         .label = "fill",
                                         .push = &push,
                                         .push_size = sizeof push,
                                         .groups = {groups < FILL_GROUPS ? groups : FILL_GROUPS, 1, 1},
                                         .access_count = 1,
                                         .accesses = {{span, RF_WRITE}}};
    struct rf_cmd *cmd;
    uint64_t ticket;
    status = rf_cmd_begin(&cmd, gpu, "fill", err);
    if (status)
        return status;
    status = rf_cmd_dispatch(cmd, &dispatch, err);
    if (!status)
        status = rf_cmd_end(cmd, err);
    if (!status)
        status = rf_gpu_submit(gpu, &cmd, 1, &ticket, err);
    if (!status)
        status = rf_gpu_wait(gpu, ticket, err);
    rf_cmd_destroy(cmd);
    return status;
}

enum rf_status rf_fill_span(struct rf_gpu *gpu, struct rf_span span, const struct rf_fill *fill,
                            struct rf_error *err)
{
    uint32_t count = (uint32_t)(span.size / 4);
    return fill_words(gpu, span, &(struct words){count, 0, count, 0, count, 0}, fill, err);
}

/* Numbers of one kind among the words of a block of weights: `part` words a block from `first` on, `run` at a
 * time, one run every `step` words. `rms` is the root mean square of what one of them is multiplied with to
 * become a weight, or of itself where it is one: 1 / sqrt(3) of its amplitude where it is uniform. */
struct plane {
    uint32_t first, part, run, step;
    uint32_t kind;
    double rms, ratio;
};

enum { MOST_PLANES = 4 };

/* Returns how many planes there are; *block: words of a block. */
static uint32_t list_planes(enum rf_weight_format format, uint32_t k, struct plane planes[MOST_PLANES],
                            uint32_t *block)
{
    static const uint32_t kinds[] = {
        [RF_WEIGHT_BF16] = RF_FILL_BF16, [RF_WEIGHT_F16] = RF_FILL_F16, [RF_WEIGHT_F32] = RF_FILL_F32};
    uint32_t words = format == RF_WEIGHT_F32 ? k : k / 2; /* of one column: blocks of any size would do */
    *block = words;
    planes[0] = (struct plane){0, words, words, words, kinds[format], 1.0 / sqrt(3.0), 0.0};
    return 1;
}

enum rf_status rf_synthesize_chunk(struct rf_gpu *gpu, enum rf_weight_format format, uint32_t k,
                                   struct rf_span span, uint32_t seed, struct rf_error *err)
{
    struct plane planes[MOST_PLANES];
    uint32_t block, count = list_planes(format, k, planes, &block);
    uint32_t blocks = (uint32_t)(span.size / 4 / block);
    enum rf_status status = RF_OK;
    for (uint32_t i = 0; !status && i < count; i++) {
        const struct plane *p = &planes[i];
        const struct words words = {blocks * p->part, p->first, p->part, block, p->run, p->step};
        const struct rf_fill fill = {p->kind, seed * MOST_PLANES + i, (float)(1.0 / (sqrt(k) * p->rms)),
                                     (float)p->ratio};
        status = fill_words(gpu, span, &words, &fill, err);
    }
    return status;
}
