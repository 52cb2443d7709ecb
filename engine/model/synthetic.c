#include "engine/model/synthetic.h"

#include <math.h>

enum { FILL_LOCAL = 64, FILL_GROUPS = 16384 };

enum rf_status rf_fill_span(struct rf_gpu *gpu, struct rf_span span, const struct rf_fill *fill,
                            struct rf_error *err)
{
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = "synthetic"};
    enum rf_status status = rf_kernels_get(gpu, &id, 1, &kernel, err);
    if (status)
        return status;
    const struct rf_push_synthetic push = {.words = span.address,
                                           .count = (uint32_t)(span.size / 4),
                                           .kind = fill->kind,
                                           .seed = fill->seed,
                                           .amplitude = fill->amplitude};
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

/* A format's memory is a row of planes, one behind the other over the whole chunk: each takes `share` of every
 * `of` bytes. Uniform numbers of variance 1 / k lie in (-sqrt(3 / k), sqrt(3 / k)); `scale` divides that by the
 * root mean square of what the plane's numbers are multiplied with. */
struct plane {
    uint32_t share, of;
    uint32_t kind;
    double scale;
};

enum { MOST_PLANES = 4 };

static const struct plane planes_of[][MOST_PLANES] = {
    [RF_WEIGHT_BF16] = {{1, 1, RF_FILL_BF16, 1.0}},
    [RF_WEIGHT_F16] = {{1, 1, RF_FILL_F16, 1.0}},
    [RF_WEIGHT_F32] = {{1, 1, RF_FILL_F32, 1.0}},
};

enum rf_status rf_synthesize_chunk(struct rf_gpu *gpu, enum rf_weight_format format, uint32_t k,
                                   struct rf_span span, uint32_t seed, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    uint64_t offset = 0;
    for (uint32_t i = 0; !status && i < MOST_PLANES && planes_of[format][i].of; i++) {
        const struct plane *plane = &planes_of[format][i];
        uint64_t bytes = span.size / plane->of * plane->share;
        const struct rf_fill fill = {plane->kind, seed + i, (float)(sqrt(3.0 / k) * plane->scale)};
        status = rf_fill_span(gpu, rf_span_part(span, offset, bytes), &fill, err);
        offset += bytes;
    }
    return status;
}
