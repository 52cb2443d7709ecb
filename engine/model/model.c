#include "engine/model/model.h"

#include <string.h>

#include "engine/allocate.h"
#include "engine/desc.h"
#include "engine/model/coopmat.h"
#include "engine/model/int8.h"
#include "loader/synthetic.h"
#include "loader/tokenizer.h"

static enum rf_status check_desc(struct rf_model *model, const struct rf_model_desc *desc,
                                 struct rf_error *err)
{
    uint32_t most = model->config.max_position_embeddings;
    model->context_length = desc->context_length ? desc->context_length : most;
    if (model->context_length > most)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "context length %u: the model was made for at most %u positions",
                       model->context_length, most);
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(model->gpu);
    if (desc->precision > RF_PRECISION_INT8)
        return rf_fail(err, RF_ERROR_ARGUMENT, "precision %d: wanted auto, f32, f16 or int8",
                       (int)desc->precision);
    if (desc->precision == RF_PRECISION_INT8 && !(caps->fp16 && caps->dot_product))
        return rf_fail(err, RF_ERROR_NO_DEVICE, "precision int8: the device lacks %s, or the %s is disabled",
                       caps->fp16 ? "shaderIntegerDotProduct" : "shaderFloat16 or 16-bit storage",
                       caps->fp16 ? "int8 dot product" : "fp16 tier");
    if (desc->precision == RF_PRECISION_F16 && !caps->fp16)
        return rf_fail(err, RF_ERROR_NO_DEVICE,
                       "precision f16: the device lacks shaderFloat16 or 16-bit storage, or the fp16 "
                       "tier is disabled");
    /* A CPU converts every f16 that it reads: lavapipe is faster without. */
    bool best = desc->precision == RF_PRECISION_AUTO && caps->fp16 && !caps->cpu;
    model->fp16 = desc->precision == RF_PRECISION_F16 || desc->precision == RF_PRECISION_INT8 || best;
    return RF_OK;
}

/* Once the weights are there. Unasked, where it is clearly right: dot products that the device accelerates,
 * and no matrix units, which multiply f16 faster. */
static enum rf_status choose_int8(struct rf_model *model, const struct rf_model_desc *desc,
                                  struct rf_error *err)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(model->gpu);
    bool asked = desc->precision == RF_PRECISION_INT8, matrix_units = caps->coopmat && rf_coopmat_built();
    bool best = desc->precision == RF_PRECISION_AUTO && model->fp16 && caps->int8_dot && !matrix_units;
    if (!asked && !best)
        return RF_OK;
    enum rf_status status = rf_int8_check(&model->weights, &model->config, err);
    model->int8 = !status;
    return asked ? status : RF_OK;
}

static void add_eos(struct rf_model *model, uint32_t token)
{
    for (uint32_t i = 0; i < model->eos_count; i++)
        if (model->eos_tokens[i] == token)
            return;
    if (model->eos_count < RF_MAX_EOS)
        model->eos_tokens[model->eos_count++] = token;
}

/* Ids come from the files alone: the tokenizer's eos first, then generation_config's; the mask from
 * config.json or else from the tokenizer. */
static enum rf_status resolve_tokens(struct rf_model *model, const char *folder, struct rf_error *err)
{
    enum rf_status status = rf_tokenizer_open(&model->tokenizer, folder, err);
    if (status)
        return status;
    status = rf_tokenizer_check_vocab(model->tokenizer, model->config.vocab, err);
    if (status)
        return status;
    uint32_t eos = rf_tokenizer_eos(model->tokenizer), mask = rf_tokenizer_mask(model->tokenizer);
    if (eos != RF_NONE)
        add_eos(model, eos);
    for (uint32_t i = 0; i < model->config.eos_count; i++)
        add_eos(model, model->config.eos_tokens[i]);
    model->mask_token = model->config.mask_token_id != RF_NONE ? model->config.mask_token_id : mask;
    if (mask != RF_NONE && model->mask_token != mask)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: config.json's mask_token_id is %u, but the tokenizer's mask token is %u", folder,
                       model->mask_token, mask);
    return RF_OK;
}

static enum rf_status upload_weights(struct rf_model *model, const struct rf_model_files *files,
                                     const struct rf_model_desc *desc, bool sizes_only, struct rf_error *err)
{
    struct rf_weights_desc weights = {.context_length = model->context_length,
                                      .sizes_only = sizes_only,
                                      .convert = desc->weight_type != NULL,
                                      .progress = desc->progress,
                                      .progress_user = desc->progress_user};
    enum rf_status status = RF_OK;
    if (desc->weight_type)
        status = rf_weight_format_parse(&weights.format, desc->weight_type, err);
    return status ? status : rf_weights_upload(&model->weights, model->gpu, files, &weights, err);
}

/* Where a model comes from: a folder, or the shape of a synthetic one. */
struct source {
    const char *folder, *shape;
    bool sizes_only; /* see rf_model_count */
};

uint64_t rf_model_page_bytes(const struct rf_model *model)
{
    const struct rf_model_config *c = &model->config;
    return (uint64_t)c->layers * c->kv_heads * 2 * RF_PAGE_ROWS * c->head_dim * (model->fp16 ? 2 : 4);
}

static enum rf_status load(struct rf_model *model, const struct source *source,
                           const struct rf_model_desc *desc, struct rf_error *err)
{
    struct rf_model_files files;
    enum rf_status status = source->folder ? rf_model_files_open(&files, source->folder, err)
                                           : rf_model_files_synthesize(&files, source->shape, err);
    if (status)
        return status;
    model->config = files.config;
    model->parameters = files.parameters;
    for (uint32_t i = 0; i < files.warning_count; i++)
        rf_gpu_log(model->gpu, RF_LOG_WARNING, "%s", files.warnings[i]);
    status = check_desc(model, desc, err);
    if (!status)
        model->mask_token = model->config.mask_token_id;
    if (!status && source->folder && !source->sizes_only)
        status = resolve_tokens(model, source->folder, err);
    if (!status)
        status = upload_weights(model, &files, desc, source->sizes_only, err);
    uint64_t fingerprint = rf_model_files_fingerprint(&files);
    rf_model_files_close(&files);
    if (!status && !fingerprint)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the list of weights");
    if (!status)
        status = choose_int8(model, desc, err);
    if (status)
        return status;
    for (const char *type = desc->weight_type ? desc->weight_type : ""; *type; type++)
        fingerprint = 31 * fingerprint + (unsigned char)*type;
    model->fingerprint = 4 * fingerprint + 2 * model->fp16 + model->int8;
    status = rf_kv_pool_create(&model->pool, model->gpu, rf_model_page_bytes(model), err);
    if (status)
        return status;
    const struct rf_forward_desc forward = {.gpu = model->gpu,
                                            .weights = &model->weights,
                                            .config = &model->config,
                                            .context_length = model->context_length,
                                            .fp16 = model->fp16,
                                            .int8 = model->int8,
                                            .tune = !desc->no_tune,
                                            .sizes_only = source->sizes_only};
    return rf_forward_create(&model->forward, &forward, err);
}

static enum rf_status create(rf_model **out, rf_context *context, const struct source *source,
                             const struct rf_model_desc *desc, struct rf_error *err)
{
    struct rf_model_desc known;
    *out = NULL;
    RF_ALLOCATE_FROM(rf_gpu_allocator(rf_context_gpu(context)));
    enum rf_status status = RF_DESC_READ(&known, rf_model_desc, desc, err);
    if (status)
        return status;
    struct rf_model *model = rf_calloc(1, sizeof *model);
    if (!model)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the model");
    model->gpu = rf_context_gpu(context);
    pthread_mutex_init(&model->mutex, NULL);
    rf_turns_init(&model->turns);
    status = load(model, source, &known, err);
    if (status) {
        rf_model_destroy(model);
        return status;
    }
    *out = model;
    return RF_OK;
}

enum rf_status rf_model_load(rf_model **out, rf_context *context, const char *folder,
                             const struct rf_model_desc *desc, struct rf_error *err)
{
    if (!out || !context || !folder)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_model_load: out, context and folder are needed");
    return create(out, context, &(struct source){.folder = folder}, desc, err);
}

enum rf_status rf_model_count(rf_model **out, rf_context *context, const char *folder,
                              const struct rf_model_desc *desc, struct rf_error *err)
{
    return create(out, context, &(struct source){.folder = folder, .sizes_only = true}, desc, err);
}

enum rf_status rf_model_synthesize(rf_model **out, rf_context *context, const char *shape,
                                   const struct rf_model_desc *desc, struct rf_error *err)
{
    if (!out || !context || !shape)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_model_synthesize: out, context and shape are needed");
    return create(out, context, &(struct source){.shape = shape}, desc, err);
}

void rf_model_destroy(rf_model *model)
{
    if (!model)
        return;
    RF_ALLOCATE_FROM(rf_gpu_allocator(model->gpu));
    rf_forward_destroy(model->forward);
    if (model->profile_mode == RF_PROFILE_COUNTERS)
        rf_gpu_hold_counters(model->gpu, false, NULL);
    rf_kv_pool_destroy(model->pool);
    rf_weights_free(&model->weights);
    rf_tokenizer_destroy(model->tokenizer);
    rf_turns_destroy(&model->turns);
    pthread_mutex_destroy(&model->mutex);
    rf_free(model);
}

void rf_model_get_info(const rf_model *model, struct rf_model_info *info)
{
    const struct rf_model_config *c = &model->config;
    memset(info, 0, sizeof *info);
    info->layers = c->layers;
    info->hidden = c->hidden;
    info->heads = c->heads;
    info->kv_heads = c->kv_heads;
    info->head_dim = c->head_dim;
    info->ffn = c->ffn;
    info->vocab = c->vocab;
    info->context_length = model->context_length;
    info->mask_token = model->mask_token;
    memcpy(info->eos_tokens, model->eos_tokens, sizeof info->eos_tokens);
    info->eos_count = model->eos_count;
    info->parameters = model->parameters;
    info->weight_bytes = model->weights.bytes;
    strcpy(info->preset, c->preset[0] ? c->preset : "chat");
    strcpy(info->precision, model->int8 ? "int8" : model->fp16 ? "fp16" : "portable");
}

const rf_tokenizer *rf_model_tokenizer(const rf_model *model)
{
    return model->tokenizer;
}

enum rf_status rf_model_take_seq(struct rf_model *model, uint32_t *seq, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    pthread_mutex_lock(&model->mutex);
    for (*seq = 0; *seq < RF_MAX_SEQS && model->seq_taken[*seq]; ++*seq) {
    }
    if (*seq == RF_MAX_SEQS)
        status = rf_fail(err, RF_ERROR_ARGUMENT, "a model has at most %d sessions", (int)RF_MAX_SEQS);
    else
        model->seq_taken[*seq] = true;
    pthread_mutex_unlock(&model->mutex);
    return status;
}

void rf_model_return_seq(struct rf_model *model, uint32_t seq)
{
    pthread_mutex_lock(&model->mutex);
    model->seq_taken[seq] = false;
    pthread_mutex_unlock(&model->mutex);
}
