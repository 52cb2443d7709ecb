#include "engine/model/weights.h"

#include <math.h>
#include <string.h>

#include "engine/allocate.h"
#include "engine/model/synthetic.h"
#include "engine/thread.h"
#include "loader/quant.h"
#include "loader/quantize.h"
#include "shaders/shared.h"

/* Where the columns of a device matrix come from in the files. */
struct column_source {
    const struct rf_tensor *tensors[3];
    uint32_t count;
    bool interleave; /* 4 columns of each of two tensors in turn; else one tensor after the other */
    bool table;      /* embedding or head */
};

/* What one of the threads that pack weights has for itself. */
struct packer {
    float *row;             /* one row as f32, when it is encoded anew */
    unsigned char *encoded; /* 8 rows in a device format */
    struct rf_half_loss loss;
    uint64_t file_bytes; /* packed of this piece */
    uint64_t failed;     /* the first block of this piece that could not be packed, or NONE */
    struct rf_error err; /* why */
};

#define NONE UINT64_MAX

struct uploader {
    struct rf_gpu *gpu;
    struct rf_upload *upload; /* NULL: sizes and formats are all that is wanted */
    struct rf_weights *weights;
    const struct rf_model_config *config;
    const struct rf_weights_desc *desc;
    uint64_t done, total; /* bytes of the files */
    struct rf_team team;
    struct packer packers[RF_TEAM_MOST];
    void *rows;             /* of all packers */
    uint64_t encoded_bytes; /* of each row of packer.encoded */
};

static enum rf_status advance(struct uploader *up, uint64_t bytes, struct rf_error *err)
{
    up->done += bytes;
    if (up->desc->progress && !up->desc->progress(up->desc->progress_user, up->done, up->total))
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

/* Blocks of a chunk that are packed together. */
struct piece {
    struct uploader *up;
    const struct rf_chunk *chunk;
    const struct column_source *source;
    uint64_t first, block_bytes;
    uint32_t k;
    unsigned char *place;
};

/* Column n of the matrix in the chunk's format; slot 0..7 is where an encoded one is kept. NULL with packer->err set
 * when a weight does not fit the format. */
static const void *encode_column(struct packer *packer, const struct piece *piece, uint32_t n, uint32_t slot)
{
    uint64_t row;
    const struct rf_tensor *tensor = find_column(piece->source, n, &row);
    uint64_t k = tensor->shape[1];
    const unsigned char *from = (const unsigned char *)tensor->data + row * rf_dtype_bytes(tensor->dtype, k);
    enum rf_dtype dtype = rf_weight_format_dtype(piece->chunk->format);
    packer->file_bytes += rf_dtype_bytes(tensor->dtype, k);
    if (dtype == tensor->dtype)
        return from;
    unsigned char *to = packer->encoded + slot * piece->up->encoded_bytes;
    rf_quant_decode(tensor->dtype, from, k, packer->row);
    uint64_t overflow = packer->loss.overflow;
    if (dtype == RF_DTYPE_F16)
        rf_half_count_loss(packer->row, k, &packer->loss);
    if (packer->loss.overflow > overflow || rf_find_not_finite(packer->row, k) < k) {
        rf_fail(&packer->err, RF_ERROR_FORMAT,
                "%s: %s: row %llu: a weight is not finite, or above the 65504 that %s ends at", tensor->file,
                tensor->name, (unsigned long long)row, rf_weight_format_name(piece->chunk->format));
        return NULL;
    }
    rf_quant_encode(dtype, packer->row, k, to);
    return to;
}

/* 8 columns as a block; an rf_team_fn. */
static void pack_block(void *user, uint32_t worker, size_t index)
{
    const struct piece *piece = user;
    const struct rf_chunk *chunk = piece->chunk;
    struct packer *packer = &piece->up->packers[worker];
    uint32_t n = (uint32_t)(piece->first + index) * RF_COLUMNS;
    const void *columns[8] = {NULL};
    if (packer->failed != NONE)
        return;
    for (uint32_t c = 0; c < 8 && n + c < chunk->columns; c++) {
        columns[c] = encode_column(packer, piece, chunk->first + n + c, c);
        if (!columns[c]) {
            packer->failed = index;
            return;
        }
    }
    rf_weight_pack(chunk->format, piece->k, columns, piece->place + index * piece->block_bytes);
}

static enum rf_status pack_piece(struct piece *piece, uint64_t count, struct rf_error *err)
{
    struct uploader *up = piece->up;
    uint64_t file_bytes = 0;
    const struct packer *failed = NULL;
    for (uint32_t w = 0; w < up->team.workers; w++) {
        up->packers[w].failed = NONE;
        up->packers[w].file_bytes = 0;
    }
    rf_team_run(&up->team, count, pack_block, piece);
    for (uint32_t w = 0; w < up->team.workers; w++) {
        const struct packer *packer = &up->packers[w];
        file_bytes += packer->file_bytes;
        if (packer->failed != NONE && (!failed || packer->failed < failed->failed))
            failed = packer;
    }
    if (!failed)
        return advance(up, file_bytes, err);
    return rf_fail(err, RF_ERROR_FORMAT, "%s", failed->err.message);
}

static enum rf_status upload_chunk(struct uploader *up, const struct rf_matrix *matrix,
                                   const struct rf_chunk *chunk, const struct column_source *source,
                                   struct rf_error *err)
{
    if (!up->upload)
        return RF_OK;
    if (!source->tensors[0]->data) /* a synthetic model's */
        return rf_synthesize_chunk(up->gpu, chunk->format, matrix->k, chunk->span,
                                   (uint32_t)(up->weights->bytes >> 8), err);
    uint64_t block_bytes = rf_weight_block_bytes(chunk->format, matrix->k);
    uint64_t blocks = chunk->span.size / block_bytes;
    uint64_t at_once = rf_upload_piece_bytes(up->upload) / block_bytes;
    if (at_once == 0)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: 8 rows of %llu bytes are larger than an upload piece",
                       source->tensors[0]->name, (unsigned long long)block_bytes);
    for (uint64_t b = 0; b < blocks; b += at_once) {
        uint64_t count = blocks - b < at_once ? blocks - b : at_once;
        void *place;
        enum rf_status status =
            rf_upload_place(up->upload, chunk->span, b * block_bytes, count * block_bytes, &place, err);
        struct piece piece = {up, chunk, source, b, block_bytes, matrix->k, place};
        if (!status)
            status = pack_piece(&piece, count, err);
        if (status)
            return status;
    }
    return RF_OK;
}

/* What a matmul's loops step over at once: blocks of two subgroups' columns of the
 * widest matrix, at most f32. */
static uint64_t loop_step_bytes(const struct rf_model_config *config)
{
    uint64_t attention = (uint64_t)config->heads * config->head_dim, widest = config->ffn;
    widest = widest > config->hidden ? widest : config->hidden;
    return (widest > attention ? widest : attention) * 2 * RF_COLUMNS * 4;
}

/* The format that a tensor gets on the device: its own, or what `refusion quantize` would make of it. */
static enum rf_weight_format tensor_format(const struct uploader *up, const struct column_source *source,
                                           uint32_t i)
{
    const struct rf_tensor *tensor = source->tensors[i];
    enum rf_weight_format format = RF_WEIGHT_F32;
    enum rf_dtype dtype = tensor->dtype;
    const char *why;
    if (up->desc->convert)
        dtype = rf_quantize_choose(rf_weight_format_dtype(up->desc->format), false, tensor->rank,
                                   tensor->shape[1], source->table, &why);
    rf_weight_format_of(dtype, &format);
    return format;
}

/* Tensors that are fused into one matrix may differ in a mixed file. Whole tensors become chunks of their own
 * format; where columns of two alternate, f32 holds each of them exactly. */
static bool one_format(const struct uploader *up, const struct column_source *source)
{
    for (uint32_t i = 1; i < source->count; i++)
        if (tensor_format(up, source, i) != tensor_format(up, source, 0))
            return false;
    return true;
}

static bool splits_at_tensors(const struct column_source *source)
{
    for (uint32_t i = 0; i + 1 < source->count; i++)
        if (source->interleave || source->tensors[i]->shape[0] % RF_COLUMN_PAD != 0)
            return false;
    return true;
}

static enum rf_status add_chunk(struct uploader *up, struct rf_matrix *matrix, struct rf_chunk chunk,
                                const char *label, const struct column_source *source, struct rf_error *err)
{
    struct rf_chunk *chunks = rf_realloc(matrix->chunks, (matrix->chunk_count + 1) * sizeof *chunks);
    if (!chunks)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no host memory for its chunk list", label);
    matrix->chunks = chunks;
    uint64_t blocks =
        ((uint64_t)chunk.columns + RF_COLUMN_PAD - 1) / RF_COLUMN_PAD * (RF_COLUMN_PAD / RF_COLUMNS);
    enum rf_status status = rf_arena_alloc(
        up->weights->arena, &chunk.span, blocks * rf_weight_block_bytes(chunk.format, matrix->k), label, err);
    if (status)
        return status;
    chunks[matrix->chunk_count++] = chunk;
    up->weights->bytes += chunk.span.size;
    return upload_chunk(up, matrix, &chunk, source, err);
}

/* Columns [first, first + columns) in as many chunks as the largest span asks for. */
static enum rf_status upload_columns(struct uploader *up, struct rf_matrix *matrix, uint32_t first,
                                     uint32_t columns, enum rf_weight_format format, const char *label,
                                     const struct column_source *source, struct rf_error *err)
{
    uint64_t pad_bytes = rf_weight_block_bytes(format, matrix->k) * (RF_COLUMN_PAD / RF_COLUMNS);
    uint64_t room = rf_gpu_max_span(up->gpu) - loop_step_bytes(up->config);
    uint64_t most = room / pad_bytes * RF_COLUMN_PAD;
    if (most == 0)
        return rf_fail(err, RF_ERROR_DEVICE_MEMORY,
                       "%s: %u columns of %llu bytes exceed the largest span, %llu bytes", label,
                       (unsigned)RF_COLUMN_PAD, (unsigned long long)pad_bytes / RF_COLUMN_PAD,
                       (unsigned long long)rf_gpu_max_span(up->gpu));
    enum rf_status status = RF_OK;
    for (uint32_t n = 0; !status && n < columns; n += (uint32_t)most) {
        uint32_t count = columns - n < most ? columns - n : (uint32_t)most;
        struct rf_chunk chunk = {.first = first + n, .columns = count, .format = format};
        status = add_chunk(up, matrix, chunk, label, source, err);
    }
    return status;
}

static enum rf_status upload_matrix(struct uploader *up, struct rf_matrix *matrix, const char *label,
                                    const struct column_source *source, struct rf_error *err)
{
    uint64_t columns = 0;
    for (uint32_t i = 0; i < source->count; i++)
        columns += source->tensors[i]->shape[0];
    matrix->columns = (uint32_t)columns;
    matrix->k = (uint32_t)source->tensors[0]->shape[1];
    bool same = one_format(up, source);
    enum rf_status status = RF_OK;
    if (!same && splits_at_tensors(source)) {
        uint32_t first = 0;
        for (uint32_t i = 0; !status && i < source->count; i++) {
            uint32_t count = (uint32_t)source->tensors[i]->shape[0];
            status =
                upload_columns(up, matrix, first, count, tensor_format(up, source, i), label, source, err);
            first += count;
        }
    } else {
        enum rf_weight_format format = same ? tensor_format(up, source, 0) : RF_WEIGHT_F32;
        status = upload_columns(up, matrix, 0, matrix->columns, format, label, source, err);
    }
    for (uint32_t i = 0; !status && i < source->count; i++)
        rf_file_map_forget(source->tensors[i]->data, source->tensors[i]->bytes);
    return status;
}

static enum rf_status upload_vector(struct uploader *up, struct rf_span *span, const struct rf_tensor *tensor,
                                    struct rf_error *err)
{
    uint64_t count = tensor->shape[0];
    void *place;
    enum rf_status status = rf_arena_alloc(up->weights->arena, span, count * 4, tensor->name, err);
    if (!status && up->upload)
        status = rf_upload_place(up->upload, *span, 0, count * 4, &place, err);
    if (status || !up->upload)
        return status;
    if (tensor->data)
        rf_quant_decode(tensor->dtype, tensor->data, count, place);
    for (uint64_t i = 0; !tensor->data && i < count; i++)
        ((float *)place)[i] = 1.0f; /* a synthetic model's norm */
    up->weights->bytes += span->size;
    return advance(up, tensor->bytes, err);
}

/* Positions of the rope table from `first` on. */
struct rope_piece {
    float *place;
    const double *frequencies;
    uint32_t first, half;
};

/* cos and sin are made in double and rounded once: a table computed in f32 is off by 1e-5 at position 500
 * already. An rf_team_fn. */
static void fill_rope(void *user, uint32_t worker, size_t index)
{
    (void)worker;
    const struct rope_piece *piece = user;
    float *out = piece->place + index * piece->half * 2;
    for (uint32_t i = 0; i < piece->half; i++) {
        double angle = (double)(piece->first + index) * piece->frequencies[i];
        *out++ = (float)cos(angle);
        *out++ = (float)sin(angle);
    }
}

static enum rf_status upload_rope(struct uploader *up, const struct rf_model_config *config,
                                  uint32_t positions, struct rf_error *err)
{
    uint32_t half = config->head_dim / 2;
    uint64_t row_bytes = (uint64_t)half * 8;
    enum rf_status status =
        rf_arena_alloc(up->weights->arena, &up->weights->rope, positions * row_bytes, "rope table", err);
    if (status || !up->upload)
        return status;
    double *frequencies = rf_malloc(half * sizeof *frequencies);
    if (!frequencies)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %u frequencies", half);
    for (uint32_t i = 0; i < half; i++)
        frequencies[i] = pow(config->rope_theta, -2.0 * i / config->head_dim);
    uint32_t at_once = (uint32_t)(rf_upload_piece_bytes(up->upload) / row_bytes);
    for (uint32_t first = 0; !status && first < positions; first += at_once) {
        uint32_t count = positions - first < at_once ? positions - first : at_once;
        void *place;
        status =
            rf_upload_place(up->upload, up->weights->rope, first * row_bytes, count * row_bytes, &place, err);
        if (!status)
            rf_team_run(&up->team, count, fill_rope, &(struct rope_piece){place, frequencies, first, half});
    }
    rf_free(frequencies);
    return status;
}

static enum rf_status upload_layer(struct uploader *up, struct rf_layer_weights *layer,
                                   const struct rf_layer_tensors *files, struct rf_error *err)
{
    const struct column_source qkv = {{&files->q_proj, &files->k_proj, &files->v_proj}, 3, false, false};
    const struct column_source o = {{&files->o_proj}, 1, false, false};
    const struct column_source gate_up = {{&files->gate_proj, &files->up_proj}, 2, true, false};
    const struct column_source down = {{&files->down_proj}, 1, false, false};
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
    const struct column_source embed = {{&files->embed}, 1, false, true};
    const struct column_source head = {{&files->lm_head}, 1, false, true};
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

/* Rows that are encoded anew need room: of each packer one as f32, 8 in the widest format. */
static enum rf_status reserve_rows(struct uploader *up, struct rf_error *err)
{
    uint64_t widest = loop_step_bytes(up->config) / (2 * RF_COLUMNS * 4);
    up->encoded_bytes = widest * 4;
    uint64_t bytes = widest * sizeof(float) + 8 * up->encoded_bytes;
    unsigned char *room = up->rows = rf_malloc(up->team.workers * bytes);
    if (!room)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %u rows of weights",
                       9 * up->team.workers);
    for (uint32_t w = 0; w < up->team.workers; w++, room += bytes) {
        up->packers[w].row = (float *)room;
        up->packers[w].encoded = room + widest * sizeof(float);
    }
    return RF_OK;
}

/* What too small weights have lost is told. */
static void log_loss(const struct uploader *up)
{
    uint64_t underflow = 0;
    for (uint32_t w = 0; w < up->team.workers; w++)
        underflow += up->packers[w].loss.underflow;
    if (underflow)
        rf_gpu_log(up->gpu, RF_LOG_WARNING, "%llu weights are too small for f16 and became zero",
                   (unsigned long long)underflow);
}

static enum rf_status stream(struct uploader *up, const struct rf_model_files *files, struct rf_error *err)
{
    rf_team_begin(&up->team);
    enum rf_status status = reserve_rows(up, err);
    if (!status)
        status = rf_upload_begin(&up->upload, up->gpu, err);
    if (!status) {
        status = upload_all(up, files, up->desc->context_length, err);
        enum rf_status end = rf_upload_end(up->upload, status ? NULL : err);
        if (!status)
            status = end;
    }
    rf_team_end(&up->team);
    if (!status)
        log_loss(up);
    rf_free(up->rows);
    return status;
}

enum rf_status rf_weights_upload(struct rf_weights *out, struct rf_gpu *gpu,
                                 const struct rf_model_files *files, const struct rf_weights_desc *desc,
                                 struct rf_error *err)
{
    memset(out, 0, sizeof *out);
    struct uploader up = {
        .gpu = gpu, .weights = out, .config = &files->config, .desc = desc, .total = files->weight_bytes};
    out->layer_count = files->config.layers;
    out->layers = rf_calloc(out->layer_count, sizeof *out->layers);
    out->arena = desc->sizes_only ? rf_arena_create_counted(gpu, RF_MEMORY_DEVICE, "weights")
                                  : rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
    enum rf_status status = RF_OK;
    if (!out->layers || !out->arena)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the weights' list");
    if (!status) {
        rf_arena_keep_tail(out->arena, loop_step_bytes(&files->config));
        status = rf_gpu_captures(gpu) || desc->sizes_only ? upload_all(&up, files, desc->context_length, err)
                                                          : stream(&up, files, err);
    }
    if (status)
        rf_weights_free(out);
    return status;
}

static void free_matrix(struct rf_matrix *matrix)
{
    rf_free(matrix->chunks);
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
    rf_free(weights->layers);
    rf_arena_destroy(weights->arena);
    memset(weights, 0, sizeof *weights);
}

uint64_t rf_chunk_bytes(const struct rf_chunk *chunk)
{
    uint64_t padded = ((uint64_t)chunk->columns + RF_COLUMN_PAD - 1) / RF_COLUMN_PAD * RF_COLUMN_PAD;
    return chunk->span.size / padded * chunk->columns;
}
