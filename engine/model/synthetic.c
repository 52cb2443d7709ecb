#include "engine/model/synthetic.h"

#include <math.h>

enum {
    FILL_LOCAL = 64,
    FILL_GROUPS = 16384,
    FILL_WORDS =
        1 << 24 /* of one submission: 64 MiB, which a device that writes 1 GB a second does in 64 ms */
};

/* Which words of a span are filled: see struct rf_push_synthetic. */
struct words {
    uint32_t count, first, part, stride, run, step;
};

/* Words [begin, begin + FILL_WORDS) of them, in one submission. */
static enum rf_status fill_some(struct rf_gpu *gpu, struct rf_span span, const struct words *words,
                                uint32_t begin, const struct rf_fill *fill, struct rf_error *err)
{
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = "synthetic"};
    enum rf_status status = rf_kernels_get(gpu, &id, 1, &kernel, err);
    if (status)
        return status;
    const uint32_t count = words->count - begin < FILL_WORDS ? words->count - begin : FILL_WORDS;
    const struct rf_push_synthetic push = {.words = span.address,
                                           .begin = begin,
                                           .end = begin + count,
                                           .first = words->first,
                                           .part = words->part,
                                           .stride = words->stride,
                                           .run = words->run,
                                           .step = words->step,
                                           .kind = fill->kind,
                                           .seed = fill->seed,
                                           .amplitude = fill->amplitude,
                                           .ratio = fill->ratio};
    const uint32_t groups = (count + FILL_LOCAL - 1) / FILL_LOCAL;
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

static enum rf_status fill_words(struct rf_gpu *gpu, struct rf_span span, const struct words *words,
                                 const struct rf_fill *fill, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint64_t begin = 0; !status && begin < words->count; begin += FILL_WORDS)
        status = fill_some(gpu, span, words, (uint32_t)begin, fill, err);
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

enum { MOST_PLANES = 2 };

/* Root mean squares: of f16 scales (RF_FILL_SCALES), uniform in (a / 2, a); of an int8; of 4 bits less 8; of
 * 6 bits less 32; and of scale q - minimum with 6-bit scale and minimum, whose factors are as 1 to 7.5, so
 * that the mean is 0. */
#define RMS_SCALE  0.7638
#define RMS_INT8   73.9
#define RMS_4BIT   4.637
#define RMS_6BIT   18.48
#define RMS_Q4_K   258.3
#define RATIO_Q4_K 7.5

/* The planes of a block of 8 columns (shaders/weights.glsl); returns how many. *block: its words. */
static uint32_t list_planes(enum rf_weight_format format, uint32_t k, struct plane planes[MOST_PLANES],
                            uint32_t *block)
{
    uint32_t words = (uint32_t)(rf_weight_block_bytes(format, k) / 4), scales = k / 8, b = k / 256;
    const struct plane plain = {0, words, words, words, RF_FILL_BITS, 1.0 / sqrt(3.0), 0.0};
    *block = words;
    planes[0] = plain;
    switch (format) {
    case RF_WEIGHT_BF16:
        planes[0].kind = RF_FILL_BF16;
        return 1;
    case RF_WEIGHT_F16:
        planes[0].kind = RF_FILL_F16;
        return 1;
    case RF_WEIGHT_F32:
        planes[0].kind = RF_FILL_F32;
        return 1;
    case RF_WEIGHT_Q8_0:
    case RF_WEIGHT_Q4_0: {
        double rms = RMS_SCALE * (format == RF_WEIGHT_Q8_0 ? RMS_INT8 : RMS_4BIT);
        planes[1] = (struct plane){words - scales, scales, scales, scales, RF_FILL_SCALES, rms, 1.0};
        return 2;
    }
    case RF_WEIGHT_Q4_K:
        planes[1] = (struct plane){k, b * 8, 8, 32, RF_FILL_SCALES, RMS_SCALE * RMS_Q4_K, RATIO_Q4_K};
        return 2;
    case RF_WEIGHT_Q6_K: {
        double rms = RMS_SCALE * RMS_INT8 * RMS_6BIT;
        planes[1] = (struct plane){k + k / 2 + 32, b * 4, 4, 36, RF_FILL_SCALES, rms, 1.0};
        return 2;
    }
    default:
        return 0;
    }
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
