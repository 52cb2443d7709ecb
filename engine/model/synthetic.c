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

/* Lists the planes of a block of 8 columns, as shaders/weights.glsl lays it out; returns how many there are. A weight
 * is d q in Q8_0, d (q - 8) in Q4_0, d s q - dmin m in Q4_K and d s (q - 32) in Q6_K; root mean squares of the
 * uniform integers: q of 8 bits and s of Q6_K 74, q - 8 4.6, s and m of 6 bits 37, q - 32 18.5. A scale plane is
 * uniform in the upper half of its amplitude, with a root mean square of 0.76 of that. dmin = 7.5 d centres Q4_K. */
static uint32_t list_planes(enum rf_weight_format format, uint32_t k, struct plane planes[MOST_PLANES])
{
    const double scale = 0.76;
    switch (format) {
    case RF_WEIGHT_BF16:
    case RF_WEIGHT_F16:
        planes[0] = (struct plane){
            0, 4 * k, 4 * k, 0, format == RF_WEIGHT_F16 ? RF_FILL_F16 : RF_FILL_BF16, 1.0 / sqrt(3.0), 0.0};
        return 1;
    case RF_WEIGHT_F32:
        planes[0] = (struct plane){0, 8 * k, 8 * k, 0, RF_FILL_F32, 1.0 / sqrt(3.0), 0.0};
        return 1;
    case RF_WEIGHT_Q8_0:
        planes[0] = (struct plane){0, 2 * k, 2 * k, 0, RF_FILL_BITS, 1.0, 0.0};
        planes[1] = (struct plane){2 * k, k / 8, k / 8, 0, RF_FILL_SCALES, scale * 74.0, 1.0};
        return 2;
    case RF_WEIGHT_Q4_0:
        planes[0] = (struct plane){0, k, k, 0, RF_FILL_BITS, 1.0, 0.0};
        planes[1] = (struct plane){k, k / 8, k / 8, 0, RF_FILL_SCALES, scale * 4.6, 1.0};
        return 2;
    case RF_WEIGHT_Q4_K: /* 8 words of d and dmin, then 24 of scales and minima */
        planes[0] = (struct plane){0, k, k, 0, RF_FILL_BITS, 1.0, 0.0};
        planes[1] = (struct plane){k, k / 32, 8, 32, RF_FILL_SCALES, scale * 256.0, 7.5};
        planes[2] = (struct plane){k + 8, k / 32 * 3, 24, 32, RF_FILL_BITS, 1.0, 0.0};
        return 3;
    case RF_WEIGHT_Q6_K: /* 32 words of scales, then 4 of d */
        planes[0] = (struct plane){0, k / 2 * 3, k / 2 * 3, 0, RF_FILL_BITS, 1.0, 0.0};
        planes[1] = (struct plane){k / 2 * 3, k / 8, 32, 36, RF_FILL_BITS, 1.0, 0.0};
        planes[2] = (struct plane){k / 2 * 3 + 32, k / 64, 4, 36, RF_FILL_SCALES, scale * 74.0 * 18.5, 1.0};
        return 3;
    case RF_WEIGHT_FORMATS:
        break;
    }
    return 0;
}

enum rf_status rf_synthesize_chunk(struct rf_gpu *gpu, enum rf_weight_format format, uint32_t k,
                                   struct rf_span span, uint32_t seed, struct rf_error *err)
{
    struct plane planes[MOST_PLANES];
    uint32_t count = list_planes(format, k, planes), block = (uint32_t)(rf_weight_block_bytes(format, k) / 4);
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
