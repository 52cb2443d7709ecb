#include "loader/synthetic.h"
#include "engine/allocate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* From the config.json of Qwen/Qwen3-0.6B, -1.7B, -4B and -8B; the vocabulary is ReFusion's. */
static const struct shape {
    const char *name;
    struct rf_model_config config;
} shapes[] = {
#define QWEN3(NAME, LAYERS, HIDDEN, HEADS, FFN, TIED)                                                        \
    {                                                                                                        \
        NAME,                                                                                                \
        {                                                                                                    \
            .layers = LAYERS, .hidden = HIDDEN, .heads = HEADS, .kv_heads = 8, .head_dim = 128, .ffn = FFN,  \
            .vocab = 151671, .max_position_embeddings = 40960, .rms_norm_eps = 1e-6, .rope_theta = 1e6,      \
            .tie_word_embeddings = TIED, .torch_dtype = RF_DTYPE_BF16                                        \
        }                                                                                                    \
    }
    QWEN3("qwen3-0.6b", 28, 1024, 16, 3072, true),
    QWEN3("qwen3-1.7b", 28, 2048, 16, 6144, true),
    QWEN3("qwen3-4b", 36, 2560, 32, 9728, true),
    QWEN3("qwen3-8b", 36, 4096, 32, 12288, false),
};

static enum rf_status find_shape(struct rf_model_config *out, const char *name, size_t length,
                                 struct rf_error *err)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strlen(shapes[i].name) == length && strncmp(shapes[i].name, name, length) == 0) {
            *out = shapes[i].config;
            return RF_OK;
        }
    }
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "synthetic: found the shape \"%.*s\", wanted qwen3-0.6b, qwen3-1.7b, qwen3-4b or qwen3-8b",
                   (int)length, name);
}

static enum rf_status set_type(struct rf_model_config *config, const char *text, size_t length,
                               struct rf_error *err)
{
    static const struct {
        const char *name;
        enum rf_dtype dtype;
    } types[] = {{"bf16", RF_DTYPE_BF16}, {"f16", RF_DTYPE_F16},   {"f32", RF_DTYPE_F32},
                 {"q8_0", RF_DTYPE_Q8_0}, {"q4_0", RF_DTYPE_Q4_0}, {"q4_k", RF_DTYPE_Q4_K},
                 {"q6_k", RF_DTYPE_Q6_K}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].name) == length && strncmp(types[i].name, text, length) == 0) {
            config->torch_dtype = types[i].dtype;
            return RF_OK;
        }
    }
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "synthetic: type: found \"%.*s\", wanted bf16, f16, f32, q8_0, q4_0, q4_k or q6_k",
                   (int)length, text);
}

static enum rf_status set_number(uint32_t *field, uint32_t max, const char *key, size_t key_length,
                                 const char *text, size_t length, struct rf_error *err)
{
    uint64_t value = 0;
    bool digits = length > 0 && length < 10;
    for (size_t i = 0; digits && i < length; i++) {
        digits = text[i] >= '0' && text[i] <= '9';
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (!digits || value < 1 || value > max)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "synthetic: %.*s: found \"%.*s\", wanted a whole number from 1 to %" PRIu32,
                       (int)key_length, key, (int)length, text, max);
    *field = (uint32_t)value;
    return RF_OK;
}

/* One "KEY=VALUE". */
static enum rf_status set_member(struct rf_model_config *c, const char *text, size_t length,
                                 struct rf_error *err)
{
    const struct {
        const char *key;
        uint32_t *field, max;
    } members[] = {
        {"layers", &c->layers, RF_CONFIG_MAX_LAYERS},
        {"hidden", &c->hidden, RF_CONFIG_MAX_HIDDEN},
        {"heads", &c->heads, RF_CONFIG_MAX_HEADS},
        {"kv_heads", &c->kv_heads, RF_CONFIG_MAX_HEADS},
        {"head_dim", &c->head_dim, RF_CONFIG_MAX_HEAD_DIM},
        {"ffn", &c->ffn, RF_CONFIG_MAX_FFN},
        {"vocab", &c->vocab, RF_CONFIG_MAX_VOCAB},
        {"context", &c->max_position_embeddings, RF_CONFIG_MAX_POSITIONS},
    };
    const char *equals = memchr(text, '=', length);
    size_t key = equals ? (size_t)(equals - text) : length;
    const char *value = text + key + 1;
    size_t value_length = equals ? length - key - 1 : 0;
    if (equals && key == 4 && strncmp(text, "type", key) == 0)
        return set_type(c, value, value_length, err);
    if (equals && key == 4 && strncmp(text, "tied", key) == 0) {
        if (value_length != 1 || (*value != '0' && *value != '1'))
            return rf_fail(err, RF_ERROR_ARGUMENT, "synthetic: tied: found \"%.*s\", wanted 0 or 1",
                           (int)value_length, value);
        c->tie_word_embeddings = *value == '1';
        return RF_OK;
    }
    for (size_t i = 0; equals && i < sizeof members / sizeof *members; i++)
        if (strlen(members[i].key) == key && strncmp(members[i].key, text, key) == 0)
            return set_number(members[i].field, members[i].max, text, key, value, value_length, err);
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "synthetic: found \"%.*s\", wanted KEY=VALUE with one of layers, hidden, heads, kv_heads, "
                   "head_dim, ffn, vocab, tied, context, type",
                   (int)length, text);
}

static enum rf_status check_sizes(const struct rf_model_config *c, struct rf_error *err)
{
    const struct {
        const char *key;
        uint32_t value, factor;
    } multiples[] = {{"hidden", c->hidden, 8},
                     {"head_dim", c->head_dim, 8},
                     {"ffn", c->ffn, 8},
                     {"heads", c->heads, c->kv_heads}};
    for (size_t i = 0; i < sizeof multiples / sizeof *multiples; i++)
        if (multiples[i].value % multiples[i].factor)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "synthetic: %s: found %" PRIu32 ", wanted a multiple of %" PRIu32,
                           multiples[i].key, multiples[i].value, multiples[i].factor);
    const struct {
        const char *key;
        uint32_t value;
    } inputs[] = {{"hidden", c->hidden}, {"ffn", c->ffn}, {"heads * head_dim", c->heads * c->head_dim}};
    uint32_t block = rf_dtype_block_elements(c->torch_dtype);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (inputs[i].value % block)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "synthetic: %s: found %" PRIu32 ", wanted a multiple of %s's block, %" PRIu32,
                           inputs[i].key, inputs[i].value, rf_dtype_name(c->torch_dtype), block);
    return RF_OK;
}

static void set_tensor(struct rf_model_files *files, struct rf_tensor *tensor, const char *name,
                       uint64_t rows, uint64_t columns)
{
    /* Norms' vectors stand as f32 in most files that are not bf16, and on the device always. */
    *tensor = (struct rf_tensor){.name = name,
                                 .file = "synthetic",
                                 .dtype = columns ? files->config.torch_dtype : RF_DTYPE_F32,
                                 .rank = columns ? 2 : 1,
                                 .shape = {rows, columns}};
    uint64_t elements = rows * (columns ? columns : 1);
    tensor->bytes = rf_dtype_bytes(tensor->dtype, elements);
    files->parameters += elements;
    files->weight_bytes += tensor->bytes;
}

static enum rf_status set_tensors(struct rf_model_files *files, struct rf_error *err)
{
    const struct rf_model_config *c = &files->config;
    uint64_t q = (uint64_t)c->heads * c->head_dim, kv = (uint64_t)c->kv_heads * c->head_dim;
    files->layers = rf_calloc(c->layers, sizeof *files->layers);
    if (!files->layers)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "synthetic: no host memory for %" PRIu32 " layers",
                       c->layers);
    set_tensor(files, &files->embed, "embed_tokens", c->vocab, c->hidden);
    set_tensor(files, &files->final_norm, "norm", c->hidden, 0);
    if (c->tie_word_embeddings)
        files->lm_head = files->embed;
    else
        set_tensor(files, &files->lm_head, "lm_head", c->vocab, c->hidden);
    for (uint32_t l = 0; l < c->layers; l++) {
        struct rf_layer_tensors *layer = &files->layers[l];
        set_tensor(files, &layer->input_norm, "input_layernorm", c->hidden, 0);
        set_tensor(files, &layer->q_proj, "q_proj", q, c->hidden);
        set_tensor(files, &layer->k_proj, "k_proj", kv, c->hidden);
        set_tensor(files, &layer->v_proj, "v_proj", kv, c->hidden);
        set_tensor(files, &layer->o_proj, "o_proj", c->hidden, q);
        set_tensor(files, &layer->q_norm, "q_norm", c->head_dim, 0);
        set_tensor(files, &layer->k_norm, "k_norm", c->head_dim, 0);
        set_tensor(files, &layer->post_attention_norm, "post_attention_layernorm", c->hidden, 0);
        set_tensor(files, &layer->gate_proj, "gate_proj", c->ffn, c->hidden);
        set_tensor(files, &layer->up_proj, "up_proj", c->ffn, c->hidden);
        set_tensor(files, &layer->down_proj, "down_proj", c->hidden, c->ffn);
    }
    return RF_OK;
}

enum rf_status rf_model_files_synthesize(struct rf_model_files *out, const char *shape, struct rf_error *err)
{
    *out = (struct rf_model_files){0};
    size_t length = strcspn(shape, ",");
    enum rf_status status = find_shape(&out->config, shape, length, err);
    for (shape += length; !status && *shape; shape += length) {
        length = strcspn(++shape, ",");
        status = set_member(&out->config, shape, length, err);
    }
    if (!status)
        status = check_sizes(&out->config, err);
    out->config.mask_token_id = out->config.vocab - 1;
    if (!status)
        status = set_tensors(out, err);
    if (status)
        rf_model_files_close(out);
    return status;
}
