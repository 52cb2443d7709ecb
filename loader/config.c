#include "loader/config.h"

#include "engine/allocate.h"
#include "loader/file_map.h"
#include "loader/json.h"

#include <inttypes.h>
#include <string.h>

/* ---- What the engine does not run ---------------------------------------------------------------------- */

/* ReFusion is trained with a modified Qwen3ForCausalLM and saved under that name; a later export may call
 * the class ReFusion..., perhaps with auto_map code beside it, which is never run: the tensors' names and
 * shapes decide. */
static enum rf_status check_architecture(struct rf_json_at at, struct rf_error *err)
{
    const char *type;
    enum rf_status status = rf_json_string(at, "model_type", &type, err);
    if (status)
        return status;
    if (!type || (strcmp(type, "qwen3") && strcmp(type, "refusion")))
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: model_type is %s, wanted \"qwen3\" or \"refusion\"",
                       at.file, rf_json_describe(rf_json_member(at, "model_type")).text);
    const cJSON *list = rf_json_member(at, "architectures");
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 1)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: architectures is %s, wanted an array of one name", at.file,
                       cJSON_IsArray(list) ? "of another length" : rf_json_describe(list).text);
    const char *name = cJSON_GetStringValue(list->child);
    if (!name || (strcmp(name, "Qwen3ForCausalLM") && strncmp(name, "ReFusion", strlen("ReFusion"))))
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "%s: architectures names %s, wanted \"Qwen3ForCausalLM\" or a name that begins with ReFusion",
            at.file, rf_json_describe(list->child).text);
    return RF_OK;
}

/* rope_scaling (or rope_parameters, as newer exports call it) may be absent, null, or an object of type
 * "default". */
static enum rf_status check_rope_scaling(struct rf_json_at at, const char *key, struct rf_error *err)
{
    const cJSON *scaling = rf_json_member(at, key);
    if (!scaling)
        return RF_OK;
    if (!cJSON_IsObject(scaling))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: %s is %s, wanted null or an object", at.file, key,
                       rf_json_describe(scaling).text);
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(scaling, "rope_type");
    if (!type)
        type = cJSON_GetObjectItemCaseSensitive(scaling, "type");
    const char *name = cJSON_GetStringValue(type);
    if (!name || strcmp(name, "default"))
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: %s.rope_type is %s, wanted \"default\" or no %s at all", at.file, key,
                       rf_json_describe(type).text, key);
    return RF_OK;
}

static enum rf_status check_layer_types(struct rf_json_at at, uint32_t layers, struct rf_error *err)
{
    const cJSON *types = rf_json_member(at, "layer_types");
    if (!types)
        return RF_OK;
    if (!cJSON_IsArray(types) || cJSON_GetArraySize(types) != (int)layers)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: layer_types is %s, wanted an array of %" PRIu32 " names",
                       at.file, cJSON_IsArray(types) ? "of another length" : rf_json_describe(types).text,
                       layers);
    for (const cJSON *type = types->child; type; type = type->next)
        if (!cJSON_IsString(type) || strcmp(type->valuestring, "full_attention"))
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "%s: layer_types holds %s, wanted only \"full_attention\"", at.file,
                           rf_json_describe(type).text);
    return RF_OK;
}

static enum rf_status refuse_flag(struct rf_json_at at, const char *key, struct rf_error *err)
{
    bool value;
    enum rf_status status = rf_json_bool(at, key, false, &value, err);
    if (status || !value)
        return status;
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: %s is true, wanted false", at.file, key);
}

static enum rf_status check_supported(struct rf_json_at at, struct rf_error *err)
{
    enum rf_status status = check_architecture(at, err);
    if (!status)
        status = check_rope_scaling(at, "rope_scaling", err);
    if (!status)
        status = check_rope_scaling(at, "rope_parameters", err);
    if (!status)
        status = refuse_flag(at, "attention_bias", err);
    if (!status)
        status = refuse_flag(at, "use_sliding_window", err);
    const char *activation;
    if (!status)
        status = rf_json_string(at, "hidden_act", &activation, err);
    if (!status && (!activation || strcmp(activation, "silu")))
        status = rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: hidden_act is %s, wanted \"silu\"", at.file,
                         rf_json_describe(rf_json_member(at, "hidden_act")).text);
    if (!status && rf_json_member(at, "quantization_config"))
        status = rf_fail(err, RF_ERROR_UNSUPPORTED,
                         "%s: quantization_config is present, wanted unquantised weights (BF16, F16 or F32)",
                         at.file);
    return status;
}

/* ---- Sizes --------------------------------------------------------------------------------------------- */

static enum rf_status read_sizes(struct rf_model_config *out, struct rf_json_at at, struct rf_error *err)
{
    const struct {
        const char *key;
        uint32_t max;
        uint32_t *field;
    } sizes[] = {
        {"num_hidden_layers", RF_CONFIG_MAX_LAYERS, &out->layers},
        {"hidden_size", RF_CONFIG_MAX_HIDDEN, &out->hidden},
        {"num_attention_heads", RF_CONFIG_MAX_HEADS, &out->heads},
        {"num_key_value_heads", RF_CONFIG_MAX_HEADS, &out->kv_heads},
        {"head_dim", RF_CONFIG_MAX_HEAD_DIM, &out->head_dim},
        {"intermediate_size", RF_CONFIG_MAX_FFN, &out->ffn},
        {"vocab_size", RF_CONFIG_MAX_VOCAB, &out->vocab},
        {"max_position_embeddings", RF_CONFIG_MAX_POSITIONS, &out->max_position_embeddings},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        /* The one size with a default that transformers' Qwen3 applies whatever the other numbers are (not
         * hidden size / heads, as in other families). A wrong guess cannot pass: the shapes of q_norm and
         * q_proj are checked. */
        if (sizes[i].field == &out->head_dim && !cJSON_GetObjectItemCaseSensitive(at.object, "head_dim")) {
            out->head_dim = 128;
            continue;
        }
        uint64_t value;
        enum rf_status status = rf_json_uint(at, sizes[i].key, 1, sizes[i].max, &value, err);
        if (status)
            return status;
        *sizes[i].field = (uint32_t)value;
    }
    return RF_OK;
}

static enum rf_status check_multiple(const char *file, const char *key, uint32_t value, uint32_t factor,
                                     const char *why, struct rf_error *err)
{
    if (value % factor == 0)
        return RF_OK;
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: %s is %" PRIu32 ", wanted a multiple of %" PRIu32 "%s",
                   file, key, value, factor, why);
}

static enum rf_status check_sizes(const struct rf_model_config *config, const char *file,
                                  struct rf_error *err)
{
    const char *reason = " (weights are read eight at a time)";
    enum rf_status status = check_multiple(file, "num_attention_heads", config->heads, config->kv_heads,
                                           " (num_key_value_heads)", err);
    if (!status)
        status = check_multiple(file, "hidden_size", config->hidden, 8, reason, err);
    if (!status)
        status = check_multiple(file, "head_dim", config->head_dim, 8, reason, err);
    if (!status)
        status = check_multiple(file, "intermediate_size", config->ffn, 8, reason, err);
    return status;
}

/* Newer exports keep rope_theta inside rope_parameters. */
static enum rf_status read_rope_theta(struct rf_model_config *out, struct rf_json_at at, struct rf_error *err)
{
    const cJSON *nested = rf_json_member(at, "rope_parameters");
    if (nested && !rf_json_member(at, "rope_theta"))
        at = (struct rf_json_at){.object = nested, .file = at.file, .path = "rope_parameters."};
    return rf_json_number(at, "rope_theta", 1.0, 1e12, &out->rope_theta, err);
}

/* ---- Tokens and type ----------------------------------------------------------------------------------- */

static enum rf_status bad_token(struct rf_json_at at, const char *key, const cJSON *value, uint32_t vocab,
                                struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_FORMAT, "%s: %s is %s, wanted a token id below vocab_size %" PRIu32, at.file,
                   key, rf_json_describe(value).text, vocab);
}

/* UINT32_MAX when the member is absent or null. */
static enum rf_status read_token(struct rf_json_at at, const char *key, uint32_t vocab, uint32_t *out,
                                 struct rf_error *err)
{
    *out = UINT32_MAX;
    const cJSON *value = rf_json_member(at, key);
    uint64_t id;
    if (!value)
        return RF_OK;
    if (!rf_json_is_uint(value, 0, vocab - 1, &id))
        return bad_token(at, key, value, vocab, err);
    *out = (uint32_t)id;
    return RF_OK;
}

static enum rf_status add_eos(struct rf_model_config *config, struct rf_json_at at, const cJSON *value,
                              struct rf_error *err)
{
    uint64_t id;
    if (!rf_json_is_uint(value, 0, config->vocab - 1, &id))
        return bad_token(at, "eos_token_id", value, config->vocab, err);
    for (uint32_t i = 0; i < config->eos_count; i++)
        if (config->eos_tokens[i] == id)
            return RF_OK;
    if (config->eos_count == RF_CONFIG_EOS_MAX)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: eos_token_id lists more than %d ids, wanted at most %d", at.file,
                       RF_CONFIG_EOS_MAX, RF_CONFIG_EOS_MAX);
    config->eos_tokens[config->eos_count++] = (uint32_t)id;
    return RF_OK;
}

/* A number, a list of numbers, or nothing. */
static enum rf_status read_eos(struct rf_model_config *config, struct rf_json_at at, struct rf_error *err)
{
    config->eos_count = 0;
    const cJSON *value = rf_json_member(at, "eos_token_id");
    if (!value)
        return RF_OK;
    if (!cJSON_IsArray(value))
        return add_eos(config, at, value, err);
    enum rf_status status = RF_OK;
    for (const cJSON *item = value->child; item && !status; item = item->next)
        status = add_eos(config, at, item, err);
    return status;
}

/* torch_dtype, or dtype as newer exports call it. It decides nothing, but a value that we do not know is a
 * sign of a model that we do not run. */
static enum rf_status read_dtype(struct rf_model_config *out, struct rf_json_at at, struct rf_error *err)
{
    const char *key = rf_json_member(at, "torch_dtype") ? "torch_dtype" : "dtype";
    const char *name;
    enum rf_status status = rf_json_string(at, key, &name, err);
    if (status || !name)
        return status;
    if (strcmp(name, "bfloat16") == 0)
        out->torch_dtype = RF_DTYPE_BF16;
    else if (strcmp(name, "float16") == 0)
        out->torch_dtype = RF_DTYPE_F16;
    else if (strcmp(name, "float32") == 0)
        out->torch_dtype = RF_DTYPE_F32;
    else
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: %s is \"%s\", wanted bfloat16, float16 or float32",
                       at.file, key, rf_json_printable(name).text);
    return RF_OK;
}

static enum rf_status read_tokens(struct rf_model_config *out, struct rf_json_at at, struct rf_error *err)
{
    enum rf_status status = read_token(at, "mask_token_id", out->vocab, &out->mask_token_id, err);
    if (!status)
        status = read_token(at, "bos_token_id", out->vocab, &out->bos_token_id, err);
    if (!status)
        status = read_token(at, "pad_token_id", out->vocab, &out->pad_token_id, err);
    if (!status)
        status = read_eos(out, at, err);
    return status;
}

static enum rf_status read_preset(struct rf_model_config *out, struct rf_json_at at, struct rf_error *err)
{
    const char *name;
    enum rf_status status = rf_json_string(at, "refusion_preset", &name, err);
    if (status || !name)
        return status;
    const size_t length = strlen(name);
    if (length == 0 || length > RF_CONFIG_PRESET_MAX)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: refusion_preset is \"%s\", wanted a name of 1 to %d bytes",
                       at.file, rf_json_printable(name).text, RF_CONFIG_PRESET_MAX);
    memcpy(out->preset, name, length + 1);
    return RF_OK;
}

/* ---- Whole files --------------------------------------------------------------------------------------- */

static enum rf_status read_config(struct rf_model_config *out, struct rf_json_at at, struct rf_error *err)
{
    enum rf_status status = check_supported(at, err);
    if (!status)
        status = read_sizes(out, at, err);
    if (!status)
        status = check_sizes(out, at.file, err);
    if (!status)
        status = check_layer_types(at, out->layers, err);
    if (!status) /* an eps below 1e-30 would be no help to a row of zeros in f32 */
        status = rf_json_number(at, "rms_norm_eps", 1e-30, 0.1, &out->rms_norm_eps, err);
    if (!status)
        status = read_rope_theta(out, at, err);
    if (!status) /* false where transformers' Qwen3 class says so: a tied model states it */
        status = rf_json_bool(at, "tie_word_embeddings", false, &out->tie_word_embeddings, err);
    if (!status)
        status = read_dtype(out, at, err);
    if (!status)
        status = read_tokens(out, at, err);
    if (!status)
        status = read_preset(out, at, err);
    return status;
}

static enum rf_status parse_object(cJSON **out, const char *file, const char *text, size_t size,
                                   struct rf_error *err)
{
    enum { MAX_VALUES = 1 << 16 }; /* a config has some fifty */
    enum rf_status status = rf_json_parse(out, file, text, size, MAX_VALUES, err);
    if (status || cJSON_IsObject(*out))
        return status;
    status = rf_fail(err, RF_ERROR_FORMAT, "%s: holds %s, wanted a JSON object", file,
                     rf_json_describe(*out).text);
    cJSON_Delete(*out);
    *out = NULL;
    return status;
}

enum rf_status rf_config_parse(struct rf_model_config *out, const char *file, const char *text, size_t size,
                               struct rf_error *err)
{
    *out = (struct rf_model_config){
        .mask_token_id = UINT32_MAX, .bos_token_id = UINT32_MAX, .pad_token_id = UINT32_MAX};
    cJSON *tree;
    enum rf_status status = parse_object(&tree, file, text, size, err);
    if (!status)
        status = read_config(out, (struct rf_json_at){.object = tree, .file = file, .path = ""}, err);
    cJSON_Delete(tree);
    return status;
}

enum rf_status rf_generation_config_parse(struct rf_model_config *config, const char *file, const char *text,
                                          size_t size, struct rf_error *err)
{
    cJSON *tree;
    enum rf_status status = parse_object(&tree, file, text, size, err);
    if (!status)
        status = read_eos(config, (struct rf_json_at){.object = tree, .file = file, .path = ""}, err);
    cJSON_Delete(tree);
    return status;
}

typedef enum rf_status parse_fn(struct rf_model_config *config, const char *file, const char *text,
                                size_t size, struct rf_error *err);

static enum rf_status parse_file(struct rf_model_config *config, const char *path, parse_fn *parse,
                                 struct rf_error *err)
{
    struct rf_file_map map;
    enum rf_status status = rf_file_map_open(&map, path, err);
    if (!status)
        status = parse(config, path, (const char *)map.data, (size_t)map.size, err);
    rf_file_map_close(&map);
    return status;
}

enum rf_status rf_config_load(struct rf_model_config *out, const char *folder, struct rf_error *err)
{
    char *main_path = rf_path_join(folder, "config.json");
    char *generation_path = rf_path_join(folder, "generation_config.json");
    enum rf_status status = RF_OK;
    if (!main_path || !generation_path)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory", folder);
    if (!status)
        status = parse_file(out, main_path, rf_config_parse, err);
    if (!status && rf_path_exists(generation_path))
        status = parse_file(out, generation_path, rf_generation_config_parse, err);
    rf_free(main_path);
    rf_free(generation_path);
    return status;
}
