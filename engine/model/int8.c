#include "engine/model/int8.h"

#include "engine/arithmetic.h"

enum {
    FEW_LOCAL = 64,
    TILE_GROUPS = RF_LOGIT_TILE / RF_COLUMNS, /* subgroups that can share a tile in SWIGLU_INT8 */
    MOST_SHARING = 256,                       /* invocations that do */
    TILE_ROWS = 64,                           /* weights are read once for so many */
    LEAST_TILE_ROWS = 16,
    TILE_LOCAL = 128, /* 64 columns: RF_LOGIT_TILE */
    DETERMINISTIC_ROWS = 32
};

enum rf_status rf_int8_check(const struct rf_weights *w, const struct rf_model_config *config,
                             struct rf_error *err)
{
    bool any = false;
    for (uint32_t l = 0; l < w->layer_count; l++) {
        const struct rf_layer_weights *layer = &w->layers[l];
        const struct rf_matrix *const matrices[] = {&layer->qkv, &layer->o, &layer->gate_up, &layer->down};
        for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
            for (uint32_t c = 0; c < matrices[i]->chunk_count; c++)
                any = any || rf_weight_is_quantized(matrices[i]->chunks[c].format);
        if (rf_weight_is_quantized(layer->down.chunks[0].format) &&
            !rf_weight_is_quantized(layer->gate_up.chunks[0].format))
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "precision int8: layer %u: down_proj is %s, but gate and up are %s on the device; "
                           "wanted quantized weights of one type",
                           l, rf_weight_format_name(layer->down.chunks[0].format),
                           rf_weight_format_name(layer->gate_up.chunks[0].format));
    }
    if (!any)
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "precision int8: no matrix of the layers is quantized, wanted q8_0, q4_0, q4_k or q6_k");
    if (config->head_dim % 32)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "precision int8: head_dim is %u, wanted a multiple of 32",
                       config->head_dim);
    return RF_OK;
}

bool rf_int8_takes(const struct rf_forward *f, enum rf_weight_format format)
{
    return f->int8 && rf_weight_is_quantized(format);
}

struct rf_int8_inputs rf_int8_inputs(const struct rf_forward *f, const struct rf_matrix *matrix)
{
    struct rf_int8_inputs inputs = {false, false};
    for (uint32_t c = 0; c < matrix->chunk_count; c++) {
        bool blocks = rf_int8_takes(f, matrix->chunks[c].format);
        inputs.blocks = inputs.blocks || blocks;
        inputs.quads = inputs.quads || !blocks;
    }
    return inputs;
}

bool rf_int8_legal(const struct rf_gpu_caps *caps, uint32_t bucket, struct rf_matmul_shape shape)
{
    if (!rf_is_power_of_two(shape.rows) || !rf_is_power_of_two(shape.local) ||
        shape.local > caps->max_invocations)
        return false;
    if (shape.kind == RF_MATMUL_FEW)
        return bucket <= RF_FEW_ROWS && shape.rows <= RF_FEW_ROWS && shape.rows <= bucket &&
               shape.local >= FEW_LOCAL;
    return shape.kind == RF_MATMUL_TILE && shape.rows >= LEAST_TILE_ROWS && shape.rows <= TILE_ROWS &&
           shape.local >= FEW_LOCAL && shape.local <= 2 * TILE_LOCAL;
}

static uint32_t tile_rows(uint32_t bucket)
{
    return bucket < LEAST_TILE_ROWS ? LEAST_TILE_ROWS : bucket > TILE_ROWS ? TILE_ROWS : bucket;
}

struct rf_matmul_shape rf_int8_default(const struct rf_gpu_caps *caps, uint32_t bucket)
{
    (void)caps;
    if (bucket <= RF_FEW_ROWS)
        return (struct rf_matmul_shape){RF_MATMUL_FEW, FEW_LOCAL, bucket, 1};
    return (struct rf_matmul_shape){RF_MATMUL_TILE, TILE_LOCAL, tile_rows(bucket), 1};
}

static void add(const struct rf_gpu_caps *caps, uint32_t bucket, struct rf_matmul_shape shape,
                struct rf_matmul_shape *shapes, uint32_t *count)
{
    for (uint32_t i = 0; i < *count; i++)
        if (shapes[i].kind == shape.kind && shapes[i].local == shape.local && shapes[i].rows == shape.rows)
            return;
    if (*count < RF_MATMUL_CANDIDATES && rf_int8_legal(caps, bucket, shape))
        shapes[(*count)++] = shape;
}

/* From 4 rows on a tile, of which most rows are idle then, may win over lanes that share a sum. Its columns
 * decide how many workgroups there are. */
uint32_t rf_int8_candidates(const struct rf_gpu_caps *caps, uint32_t bucket,
                            struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES])
{
    uint32_t count = 0;
    add(caps, bucket, rf_int8_default(caps, bucket), shapes, &count);
    if (caps->cpu) /* each trial costs a compilation there */
        return count;
    for (uint32_t local = FEW_LOCAL; local <= 4 * FEW_LOCAL; local *= 2)
        add(caps, bucket, (struct rf_matmul_shape){RF_MATMUL_FEW, local, bucket, 1}, shapes, &count);
    for (uint32_t local = TILE_LOCAL / 2; bucket >= 4 && local <= 2 * TILE_LOCAL; local *= 2)
        add(caps, bucket, (struct rf_matmul_shape){RF_MATMUL_TILE, local, tile_rows(bucket), 1}, shapes,
            &count);
    return count;
}

struct rf_matmul_shape rf_int8_fit(const struct rf_gpu_caps *caps, struct rf_matmul_shape shape,
                                   uint32_t epilogue, bool deterministic)
{
    bool reduce = epilogue == RF_EPILOGUE_REDUCE, shares = epilogue == RF_EPILOGUE_SWIGLU_INT8;
    if (deterministic)
        return (struct rf_matmul_shape){RF_MATMUL_TILE, TILE_LOCAL, DETERMINISTIC_ROWS, 1};
    if (shape.kind == RF_MATMUL_TILE && (reduce || shares) && shape.local < TILE_LOCAL)
        shape.local = TILE_LOCAL;
    if (shape.kind == RF_MATMUL_FEW && reduce && shape.rows > rf_few_reduce_rows(caps))
        shape.rows = rf_few_reduce_rows(caps);
    if (shape.kind == RF_MATMUL_FEW && shares) {
        shape.local = TILE_GROUPS * caps->subgroup_size;
        while (shape.local > MOST_SHARING || shape.local > caps->max_invocations)
            shape.local /= 2;
    }
    return shape;
}
