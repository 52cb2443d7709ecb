#include "engine/model/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/synthetic.h"
#include "shaders/shared.h"

/* Where the columns of a device matrix come from in the files. */
struct column_source {
    const struct rf_tensor *tensors[3];
    uint32_t count;
    bool interleave; /* 4 columns of each of two tensors in turn; else one tensor after the other */
};

struct uploader {
    struct rf_gpu *gpu;
    struct rf_upload *upload;
    struct rf_weights *weights;
    const struct rf_model_config *config;
    rf_progress_fn progress;
    void *progress_user;
    uint64_t done, total; /* bytes of the files */
};

const char *rf_weight_format_name(enum rf_weight_format format)
{
    static const char *const names[] = {"bf16", "f16", "f32"};
    return names[format];
}

static uint32_t element_bytes(enum rf_weight_format format)
{
    return format == RF_WEIGHT_F32 ? 4 : 2;
}

static enum rf_weight_format format_of(const struct column_source *source)
{
    enum rf_dtype dtype = source->tensors[0]->dtype;
    /* Tensors that are fused into one matrix may differ in a mixed file: f32 holds each of them exactly. */
    for (uint32_t i = 1; i < source->count; i++)
        if (source->tensors[i]->dtype != dtype)
            return RF_WEIGHT_F32;
    return dtype == RF_DTYPE_BF16 ? RF_WEIGHT_BF16 : dtype == RF_DTYPE_F16 ? RF_WEIGHT_F16 : RF_WEIGHT_F32;
}

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* `count` elements of any of the three dtypes as f32; `from` may have any alignment. */
static void widen(float *to, const unsigned char *from, enum rf_dtype dtype, uint64_t count)
{
    if (dtype == RF_DTYPE_F32) {
        memcpy(to, from, count * 4);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        uint32_t bits = (uint32_t)half << 16;
        if (dtype == RF_DTYPE_F16)
            to[i] = half_to_float(half);
        else
            memcpy(&to[i], &bits, 4);
    }
}

static enum rf_status advance(struct uploader *up, uint64_t bytes, struct rf_error *err)
{
    up->done += bytes;
    if (up->progress && !up->progress(up->progress_user, up->done, up->total))
        return rf_fail(err, RF_ERROR_CANCELLED, "loading was cancelled at %llu of %llu bytes",
                       (unsigned long long)up->done, (unsigned long long)up->total);
    return RF_OK;
}

/* The tensor and its row that column `n` of the device matrix is. */
static const struct rf_tensor *find_column(const struct column_source *source, uint32_t n, uint64_t *row)
{
    if (source->interleave) {
        *row = (uint64_t)(n / 8) * 4 + n % 4;
        return source->tensors[n % 8 / 4];
    }
    uint32_t i = 0;
    *row = n;
    while (*row >= source->tensors[i]->shape[0])
        *row -= source->tensors[i++]->shape[0];
    return source->tensors[i];
}

static void copy_column(unsigned char *to, const struct column_source *source, uint32_t n, uint32_t k,
                        enum rf_weight_format format)
{
    uint64_t row;
    const struct rf_tensor *tensor = find_column(source, n, &row);
    uint64_t from_bytes = k * (uint64_t)rf_dtype_bits(tensor->dtype) / 8;
    const unsigned char *from = (const unsigned char *)tensor->data + row * from_bytes;
    if (format == RF_WEIGHT_F32)
        widen((float *)(void *)to, from, tensor->dtype, k);
    else
        memcpy(to, from, from_bytes);
}

static enum rf_status upload_chunk(struct uploader *up, const struct rf_matrix *matrix,
                                   const struct rf_chunk *chunk, const struct column_source *source,
                                   struct rf_error *err)
{
    if (!source->tensors[0]->data) /* a synthetic model's */
        return rf_synthesize_chunk(up->gpu, matrix->format, matrix->k, chunk->span,
                                   (uint32_t)(up->weights->bytes >> 8), err);
    uint64_t column_bytes = (uint64_t)matrix->k * element_bytes(matrix->format);
    uint64_t padded = chunk->span.size / column_bytes;
    uint64_t at_once = rf_upload_piece_bytes(up->upload) / column_bytes;
    if (at_once == 0)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: a row of %llu bytes is larger than an upload piece",
                       source->tensors[0]->name, (unsigned long long)column_bytes);
    for (uint64_t n = 0; n < padded; n += at_once) {
        uint64_t count = padded - n < at_once ? padded - n : at_once;
        void *place;
        enum rf_status status =
            rf_upload_place(up->upload, chunk->span, n * column_bytes, count * column_bytes, &place, err);
        if (status)
            return status;
        uint64_t real = 0;
        for (uint64_t i = 0; i < count; i++) {
            unsigned char *to = (unsigned char *)place + i * column_bytes;
            if (n + i < chunk->columns) {
                copy_column(to, source, chunk->first + (uint32_t)(n + i), matrix->k, matrix->format);
                real++;
            } else {
                memset(to, 0, column_bytes);
            }
        }
        status = advance(up, real * column_bytes, err);
        if (status)
            return status;
    }
    return RF_OK;
}

/* What a matmul's loops step over at once: RF_COLUMNS columns of the widest matrix, at most f32. */
static uint64_t loop_step_bytes(const struct rf_model_config *config)
{
    uint64_t attention = (uint64_t)config->heads * config->head_dim, widest = config->ffn;
    widest = widest > config->hidden ? widest : config->hidden;
    return (widest > attention ? widest : attention) * RF_COLUMNS * 4;
}

static enum rf_status upload_matrix(struct uploader *up, struct rf_matrix *matrix, const char *label,
                                    const struct column_source *source, struct rf_error *err)
{
    uint64_t columns = 0;
    for (uint32_t i = 0; i < source->count; i++)
        columns += source->tensors[i]->shape[0];
    matrix->format = format_of(source);
    matrix->columns = (uint32_t)columns;
    matrix->k = (uint32_t)source->tensors[0]->shape[1];
    uint64_t column_bytes = (uint64_t)matrix->k * element_bytes(matrix->format);
    uint64_t most = (rf_gpu_max_span(up->gpu) - loop_step_bytes(up->config)) / column_bytes / RF_COLUMN_PAD *
                    RF_COLUMN_PAD;
    if (most == 0)
        return rf_fail(err, RF_ERROR_DEVICE_MEMORY,
                       "%s: %u columns of %llu bytes exceed the largest span, %llu bytes", label,
                       (unsigned)RF_COLUMN_PAD, (unsigned long long)column_bytes,
                       (unsigned long long)rf_gpu_max_span(up->gpu));
    matrix->chunk_count = (uint32_t)((columns + most - 1) / most);
    matrix->chunks = calloc(matrix->chunk_count, sizeof *matrix->chunks);
    if (!matrix->chunks)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no host memory for its chunk list", label);
    for (uint32_t c = 0; c < matrix->chunk_count; c++) {
        struct rf_chunk *chunk = &matrix->chunks[c];
        chunk->first = (uint32_t)(c * most);
        chunk->columns = (uint32_t)(columns - c * most < most ? columns - c * most : most);
        uint64_t padded = ((uint64_t)chunk->columns + RF_COLUMN_PAD - 1) / RF_COLUMN_PAD * RF_COLUMN_PAD;
        enum rf_status status =
            rf_arena_alloc(up->weights->arena, &chunk->span, padded * column_bytes, label, err);
        if (!status)
            status = upload_chunk(up, matrix, chunk, source, err);
        if (status)
            return status;
        up->weights->bytes += chunk->span.size;
    }
    return RF_OK;
}

static enum rf_status upload_vector(struct uploader *up, struct rf_span *span, const struct rf_tensor *tensor,
                                    struct rf_error *err)
{
    uint64_t count = tensor->shape[0];
    void *place;
    enum rf_status status = rf_arena_alloc(up->weights->arena, span, count * 4, tensor->name, err);
    if (!status)
        status = rf_upload_place(up->upload, *span, 0, count * 4, &place, err);
    if (status)
        return status;
    if (tensor->data)
        widen(place, tensor->data, tensor->dtype, count);
    for (uint64_t i = 0; !tensor->data && i < count; i++)
        ((float *)place)[i] = 1.0f; /* a synthetic model's norm */
    up->weights->bytes += span->size;
    return advance(up, tensor->bytes, err);
}

/* cos and sin are made in double and rounded once: a table computed in f32 is off by 1e-5 at position 500
 * already. */
static enum rf_status upload_rope(struct uploader *up, const struct rf_model_config *config,
                                  uint32_t positions, struct rf_error *err)
{
    uint32_t half = config->head_dim / 2;
    uint64_t row_bytes = (uint64_t)half * 8;
    enum rf_status status =
        rf_arena_alloc(up->weights->arena, &up->weights->rope, positions * row_bytes, "rope table", err);
    if (status)
        return status;
    uint32_t at_once = (uint32_t)(rf_upload_piece_bytes(up->upload) / row_bytes);
    for (uint32_t first = 0; first < positions; first += at_once) {
        uint32_t count = positions - first < at_once ? positions - first : at_once;
        void *place;
        status =
            rf_upload_place(up->upload, up->weights->rope, first * row_bytes, count * row_bytes, &place, err);
        if (status)
            return status;
        float *out = place;
        for (uint32_t p = 0; p < count; p++) {
            for (uint32_t i = 0; i < half; i++) {
                double angle = (double)(first + p) * pow(config->rope_theta, -2.0 * i / config->head_dim);
                *out++ = (float)cos(angle);
                *out++ = (float)sin(angle);
            }
        }
    }
    return RF_OK;
}

static enum rf_status upload_layer(struct uploader *up, struct rf_layer_weights *layer,
                                   const struct rf_layer_tensors *files, struct rf_error *err)
{
    const struct column_source qkv = {{&files->q_proj, &files->k_proj, &files->v_proj}, 3, false};
    const struct column_source o = {{&files->o_proj}, 1, false};
    const struct column_source gate_up = {{&files->gate_proj, &files->up_proj}, 2, true};
    const struct column_source down = {{&files->down_proj}, 1, false};
    enum rf_status status = upload_vector(up, &layer->input_norm, &files->input_norm, err);
    if (!status)
        status = upload_matrix(up, &layer->qkv, "qkv", &qkv, err);
    if (!status)
        status = upload_vector(up, &layer->q_norm, &files->q_norm, err);
    if (!status)
        status = upload_vector(up, &layer->k_norm, &files->k_norm, err);
    if (!status)
        status = upload_matrix(up, &layer->o, "o_proj", &o, err);
    if (!status)
        status = upload_vector(up, &layer->post_attention_norm, &files->post_attention_norm, err);
    if (!status)
        status = upload_matrix(up, &layer->gate_up, "gate_up", &gate_up, err);
    if (!status)
        status = upload_matrix(up, &layer->down, "down_proj", &down, err);
    return status;
}

static enum rf_status upload_all(struct uploader *up, const struct rf_model_files *files,
                                 uint32_t context_length, struct rf_error *err)
{
    struct rf_weights *weights = up->weights;
    const struct column_source embed = {{&files->embed}, 1, false}, head = {{&files->lm_head}, 1, false};
    weights->tied = files->config.tie_word_embeddings;
    enum rf_status status = upload_matrix(up, &weights->embed, "embed_tokens", &embed, err);
    for (uint32_t l = 0; !status && l < weights->layer_count; l++)
        status = upload_layer(up, &weights->layers[l], &files->layers[l], err);
    if (!status)
        status = upload_vector(up, &weights->final_norm, &files->final_norm, err);
    if (!status && !weights->tied)
        status = upload_matrix(up, &weights->lm_head, "lm_head", &head, err);
    if (!status && weights->tied)
        weights->lm_head = weights->embed;
    if (!status)
        status = upload_rope(up, &files->config, context_length, err);
    return status;
}

enum rf_status rf_weights_upload(struct rf_weights *out, struct rf_gpu *gpu,
                                 const struct rf_model_files *files, uint32_t context_length,
                                 rf_progress_fn progress, void *progress_user, struct rf_error *err)
{
    memset(out, 0, sizeof *out);
    struct uploader up = {.gpu = gpu,
                          .weights = out,
                          .config = &files->config,
                          .progress = progress,
                          .progress_user = progress_user,
                          .total = files->weight_bytes};
    out->layer_count = files->config.layers;
    out->layers = calloc(out->layer_count, sizeof *out->layers);
    out->arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
    enum rf_status status = RF_OK;
    if (!out->layers || !out->arena)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the weights' list");
    if (!status) {
        rf_arena_keep_tail(out->arena, loop_step_bytes(&files->config));
        status = rf_upload_begin(&up.upload, gpu, err);
    }
    if (!status) {
        status = upload_all(&up, files, context_length, err);
        enum rf_status end = rf_upload_end(up.upload, status ? NULL : err);
        if (!status)
            status = end;
    }
    if (status)
        rf_weights_free(out);
    return status;
}

static void free_matrix(struct rf_matrix *matrix)
{
    free(matrix->chunks);
    matrix->chunks = NULL;
}

void rf_weights_free(struct rf_weights *weights)
{
    if (weights->lm_head.chunks != weights->embed.chunks)
        free_matrix(&weights->lm_head);
    free_matrix(&weights->embed);
    for (uint32_t l = 0; weights->layers && l < weights->layer_count; l++) {
        free_matrix(&weights->layers[l].qkv);
        free_matrix(&weights->layers[l].o);
        free_matrix(&weights->layers[l].gate_up);
        free_matrix(&weights->layers[l].down);
    }
    free(weights->layers);
    rf_arena_destroy(weights->arena);
    memset(weights, 0, sizeof *weights);
}
