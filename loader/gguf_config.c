#include "loader/gguf_config.h"

#include <inttypes.h>
#include <string.h>

#include "loader/utf8.h"

#define ARCHITECTURE "qwen3"

/* ---- What the engine does not run ---------------------------------------------------------------------- */

static enum rf_status unsupported(const struct rf_gguf *gguf, const char *key, const char *wanted,
                                  struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: metadata \"%s\": is %s, wanted %s", gguf->file, key,
                   rf_gguf_describe(rf_gguf_find(gguf, key)).text, wanted);
}

enum rf_status rf_gguf_check_model(const struct rf_gguf *gguf, struct rf_error *err)
{
    struct rf_gguf_string text;
    uint64_t parts = 0;
    bool found;
    enum rf_status status = rf_gguf_uint(gguf, "split.count", 0, UINT16_MAX, &parts, &found, err);
    if (!status && parts > 1)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: is one part of %" PRIu64
                       " (metadata \"split.count\"), wanted a whole model: join the "
                       "parts with llama-gguf-split --merge",
                       gguf->file, parts);
    if (!status)
        status = rf_gguf_text(gguf, "general.type", &text, err);
    if (!status && text.text && !rf_gguf_equals(text, "model"))
        return unsupported(gguf, "general.type", "\"model\"", err);
    if (!status)
        status = rf_gguf_text(gguf, "general.architecture", &text, err);
    if (!status && !rf_gguf_equals(text, ARCHITECTURE))
        return unsupported(gguf, "general.architecture", "\"" ARCHITECTURE "\"", err);
    return status;
}

/* A number that must be 0, where it is there at all. */
static enum rf_status refuse_number(const struct rf_gguf *gguf, const char *key, struct rf_error *err)
{
    uint64_t value = 0;
    bool found;
    enum rf_status status = rf_gguf_uint(gguf, key, 0, UINT64_MAX, &value, &found, err);
    return !status && value ? unsupported(gguf, key, "0", err) : status;
}

static enum rf_status check_rope(const struct rf_gguf *gguf, uint32_t head_dim, struct rf_error *err)
{
    static const char *const keys[] = {
        ARCHITECTURE ".rope.scaling.factor", ARCHITECTURE ".rope.scaling.original_context_length",
        ARCHITECTURE ".rope.scaling.attn_factor", ARCHITECTURE ".rope.scale_linear"};
    struct rf_gguf_string type;
    uint64_t dimensions = head_dim;
    bool found;
    enum rf_status status = rf_gguf_text(gguf, ARCHITECTURE ".rope.scaling.type", &type, err);
    if (!status && type.text && !rf_gguf_equals(type, "none"))
        return unsupported(gguf, ARCHITECTURE ".rope.scaling.type", "\"none\" or no such key", err);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !status && !type.text; i++)
        if (rf_gguf_find(gguf, keys[i]))
            return unsupported(gguf, keys[i], "no such key: RoPE scaling is not supported", err);
    if (!status)
        status =
            rf_gguf_uint(gguf, ARCHITECTURE ".rope.dimension_count", 0, UINT32_MAX, &dimensions, &found, err);
    if (!status && dimensions != head_dim)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: metadata \"%s\": is %" PRIu64 ", wanted the size of a head, %" PRIu32, gguf->file,
                       ARCHITECTURE ".rope.dimension_count", dimensions, head_dim);
    return status;
}

static enum rf_status check_supported(const struct rf_gguf *gguf, struct rf_error *err)
{
    static const char *const off[] = {ARCHITECTURE ".expert_count", ARCHITECTURE ".attention.sliding_window",
                                      ARCHITECTURE ".pooling_type", ARCHITECTURE ".n_deepstack_layers"};
    bool causal;
    enum rf_status status = rf_gguf_bool(gguf, ARCHITECTURE ".attention.causal", true, &causal, err);
    if (!status && !causal)
        return unsupported(gguf, ARCHITECTURE ".attention.causal", "true", err);
    for (size_t i = 0; i < sizeof off / sizeof off[0] && !status; i++)
        status = refuse_number(gguf, off[i], err);
    return status;
}

/* Keys of the architecture's own that nothing here has looked at: they may mean something that we do not
 * do. */
static void find_unknown(const struct rf_gguf *gguf, struct rf_gguf_unknown *unknown)
{
    static const char *const known[] = {
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "context_length",
        "vocab_size",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.layer_norm_rms_epsilon",
        "attention.causal",
        "attention.sliding_window",
        "rope.freq_base",
        "rope.dimension_count",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.attn_factor",
        "rope.scale_linear",
        "expert_count",
        "pooling_type",
        "n_deepstack_layers",
    };
    const char prefix[] = ARCHITECTURE ".";
    size_t skip = sizeof prefix - 1;
    unknown->count = 0;
    for (size_t i = 0; i < gguf->value_count && unknown->count < RF_GGUF_UNKNOWN_MAX; i++) {
        struct rf_gguf_string key = gguf->values[i].key;
        if (key.length <= skip || memcmp(key.text, prefix, skip) != 0)
            continue;
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            is_known |= rf_gguf_equals((struct rf_gguf_string){key.text + skip, key.length - skip}, known[k]);
        if (!is_known)
            unknown->values[unknown->count++] = &gguf->values[i];
    }
}

/* ---- Sizes --------------------------------------------------------------------------------------------- */

static enum rf_status check_multiple(const struct rf_gguf *gguf, const char *key, uint32_t value,
                                     uint32_t factor, const char *why, struct rf_error *err)
{
    if (value % factor == 0)
        return RF_OK;
    return rf_fail(err, RF_ERROR_UNSUPPORTED,
                   "%s: metadata \"%s\": is %" PRIu32 ", wanted a multiple of %" PRIu32 "%s", gguf->file, key,
                   value, factor, why);
}

static enum rf_status check_sizes(const struct rf_model_config *config, const struct rf_gguf *gguf,
                                  struct rf_error *err)
{
    const char *reason = " (weights are read eight at a time)";
    enum rf_status status = check_multiple(gguf, ARCHITECTURE ".attention.head_count", config->heads,
                                           config->kv_heads, " (attention.head_count_kv)", err);
    if (!status)
        status = check_multiple(gguf, ARCHITECTURE ".embedding_length", config->hidden, 8, reason, err);
    if (!status)
        status = check_multiple(gguf, ARCHITECTURE ".attention.key_length", config->head_dim, 8, reason, err);
    if (!status)
        status = check_multiple(gguf, ARCHITECTURE ".feed_forward_length", config->ffn, 8, reason, err);
    return status;
}

/* key_length may be left out, as by programs that take hidden size / heads for granted; a wrong guess cannot
 * pass: the shapes of the tensors are checked. */
static enum rf_status read_head_dim(struct rf_model_config *out, const struct rf_gguf *gguf,
                                    struct rf_error *err)
{
    uint64_t key_length = out->hidden / out->heads;
    bool found;
    enum rf_status status = rf_gguf_uint(gguf, ARCHITECTURE ".attention.key_length", 1,
                                         RF_CONFIG_MAX_HEAD_DIM, &key_length, &found, err);
    uint64_t value_length = key_length;
    if (!status && (key_length < 1 || key_length > RF_CONFIG_MAX_HEAD_DIM))
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "%s: metadata \"%s\": is nothing, and embedding_length / attention.head_count is %" PRIu64
            ", wanted 1 to %d",
            gguf->file, ARCHITECTURE ".attention.key_length", key_length, RF_CONFIG_MAX_HEAD_DIM);
    if (!status)
        status = rf_gguf_uint(gguf, ARCHITECTURE ".attention.value_length", 1, RF_CONFIG_MAX_HEAD_DIM,
                              &value_length, &found, err);
    if (!status && value_length != key_length)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: metadata \"%s\": is %" PRIu64 ", wanted attention.key_length, %" PRIu64,
                       gguf->file, ARCHITECTURE ".attention.value_length", value_length, key_length);
    out->head_dim = (uint32_t)key_length;
    return status;
}

static enum rf_status read_sizes(struct rf_model_config *out, const struct rf_gguf *gguf,
                                 struct rf_error *err)
{
    const struct {
        const char *key;
        uint32_t max;
        uint32_t *field;
    } sizes[] = {
        {ARCHITECTURE ".block_count", RF_CONFIG_MAX_LAYERS, &out->layers},
        {ARCHITECTURE ".embedding_length", RF_CONFIG_MAX_HIDDEN, &out->hidden},
        {ARCHITECTURE ".attention.head_count", RF_CONFIG_MAX_HEADS, &out->heads},
        {ARCHITECTURE ".attention.head_count_kv", RF_CONFIG_MAX_HEADS, &out->kv_heads},
        {ARCHITECTURE ".feed_forward_length", RF_CONFIG_MAX_FFN, &out->ffn},
        {ARCHITECTURE ".context_length", RF_CONFIG_MAX_POSITIONS, &out->max_position_embeddings},
    };
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && !status; i++) {
        uint64_t value = 0;
        status = rf_gguf_uint(gguf, sizes[i].key, 1, sizes[i].max, &value, NULL, err);
        *sizes[i].field = (uint32_t)value;
    }
    if (!status)
        status = read_head_dim(out, gguf, err);
    return status ? status : check_sizes(out, gguf, err);
}

/* Rows of the embedding: metadata need not say how many there are. */
static enum rf_status read_vocab(struct rf_model_config *out, const struct rf_gguf *gguf,
                                 struct rf_error *err)
{
    const struct rf_tensor *embed = rf_tensor_table_find(&gguf->tensors, "token_embd.weight");
    uint64_t stated = 0;
    bool found;
    if (!embed)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor token_embd.weight: missing", gguf->file);
    if (embed->rank != 2 || embed->shape[0] > RF_CONFIG_MAX_VOCAB)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor token_embd.weight: shape %s, wanted rank 2 and at most %d rows",
                       gguf->file, rf_shape_describe(embed->shape, embed->rank).text, RF_CONFIG_MAX_VOCAB);
    out->vocab = (uint32_t)embed->shape[0];
    out->tie_word_embeddings = !rf_tensor_table_find(&gguf->tensors, "output.weight");
    enum rf_status status =
        rf_gguf_uint(gguf, ARCHITECTURE ".vocab_size", 1, UINT32_MAX, &stated, &found, err);
    if (!status && found && stated != out->vocab)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: metadata \"%s\": is %" PRIu64 ", wanted the rows of token_embd.weight, %" PRIu32,
                       gguf->file, ARCHITECTURE ".vocab_size", stated, out->vocab);
    return status;
}

/* ---- Tokens -------------------------------------------------------------------------------------------- */

enum rf_status rf_gguf_token_id(const struct rf_gguf *gguf, const char *key, uint64_t limit, uint32_t *out,
                                struct rf_error *err)
{
    uint64_t value = UINT32_MAX;
    bool found;
    enum rf_status status = rf_gguf_uint(gguf, key, 0, limit - 1, &value, &found, err);
    *out = (uint32_t)value;
    return status;
}

enum rf_status rf_gguf_mask_token(const struct rf_gguf *gguf, uint64_t limit, uint32_t *out,
                                  struct rf_error *err)
{
    enum rf_status status = rf_gguf_token_id(gguf, "tokenizer.ggml.mask_token_id", limit, out, err);
    if (status || *out != UINT32_MAX)
        return status;
    const struct rf_gguf_value *tokens;
    status = rf_gguf_array(gguf, "tokenizer.ggml.tokens", RF_GGUF_STRING, &tokens, err);
    if (status || !tokens)
        return status;
    const unsigned char *at = tokens->data;
    for (uint64_t id = 0; id < tokens->count && id < limit; id++)
        if (rf_gguf_equals(rf_gguf_next_string(&at), "<|mask|>")) {
            *out = (uint32_t)id;
            break;
        }
    return RF_OK;
}

/* False: there is no room for one more. */
static bool add_eos(struct rf_model_config *out, uint32_t id)
{
    for (uint32_t i = 0; i < out->eos_count; i++)
        if (out->eos_tokens[i] == id)
            return true;
    if (out->eos_count == RF_CONFIG_EOS_MAX + 1)
        return false;
    out->eos_tokens[out->eos_count++] = id;
    return true;
}

/* All of them, as files of this program state them. */
static enum rf_status read_own_eos(struct rf_model_config *out, const struct rf_gguf *gguf,
                                   struct rf_error *err)
{
    const struct rf_gguf_value *list;
    enum rf_status status = rf_gguf_array(gguf, RF_GGUF_EOS_KEY, RF_GGUF_U32, &list, err);
    for (uint64_t i = 0; !status && list && i < list->count; i++) {
        uint32_t id = rf_gguf_item_u32(list, i);
        if (id >= out->vocab)
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: metadata \"%s\": holds %" PRIu32 ", wanted token ids below %" PRIu32,
                           gguf->file, RF_GGUF_EOS_KEY, id, out->vocab);
        if (!add_eos(out, id))
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "%s: metadata \"%s\": lists more than %d ids, wanted at most %d", gguf->file,
                           RF_GGUF_EOS_KEY, RF_CONFIG_EOS_MAX + 1, RF_CONFIG_EOS_MAX + 1);
    }
    return status;
}

static enum rf_status read_tokens(struct rf_model_config *out, const struct rf_gguf *gguf,
                                  struct rf_error *err)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
    enum rf_status status = rf_gguf_mask_token(gguf, out->vocab, &out->mask_token_id, err);
    if (!status)
        status = rf_gguf_token_id(gguf, "tokenizer.ggml.bos_token_id", out->vocab, &out->bos_token_id, err);
    if (!status)
        status =
            rf_gguf_token_id(gguf, "tokenizer.ggml.padding_token_id", out->vocab, &out->pad_token_id, err);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && !status; i++) {
        uint32_t id;
        status = rf_gguf_token_id(gguf, ends[i], out->vocab, &id, err);
        if (!status && id != UINT32_MAX)
            add_eos(out, id);
    }
    return status ? status : read_own_eos(out, gguf, err);
}

static enum rf_status read_preset(struct rf_model_config *out, const struct rf_gguf *gguf,
                                  struct rf_error *err)
{
    struct rf_gguf_string name = {0};
    enum rf_status status = rf_gguf_text(gguf, RF_GGUF_PRESET_KEY, &name, err);
    if (status || !name.text)
        return status;
    if (name.length == 0 || name.length > RF_CONFIG_PRESET_MAX || memchr(name.text, 0, name.length))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: metadata \"%s\": holds %zu bytes, wanted a name of 1 to %d",
                       gguf->file, RF_GGUF_PRESET_KEY, name.length, RF_CONFIG_PRESET_MAX);
    memcpy(out->preset, name.text, name.length);
    return RF_OK;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

enum rf_status rf_gguf_config(struct rf_model_config *out, const struct rf_gguf *gguf,
                              struct rf_gguf_unknown *unknown, struct rf_error *err)
{
    *out = (struct rf_model_config){
        .mask_token_id = UINT32_MAX, .bos_token_id = UINT32_MAX, .pad_token_id = UINT32_MAX};
    enum rf_status status = rf_gguf_check_model(gguf, err);
    if (!status)
        status = check_supported(gguf, err);
    if (!status)
        status = read_sizes(out, gguf, err);
    if (!status)
        status = check_rope(gguf, out->head_dim, err);
    if (!status)
        status = rf_gguf_number(gguf, ARCHITECTURE ".attention.layer_norm_rms_epsilon", 1e-30, 0.1,
                                &out->rms_norm_eps, err);
    if (!status)
        status = rf_gguf_number(gguf, ARCHITECTURE ".rope.freq_base", 1.0, 1e12, &out->rope_theta, err);
    if (!status)
        status = read_vocab(out, gguf, err);
    if (!status)
        status = read_tokens(out, gguf, err);
    if (!status)
        status = read_preset(out, gguf, err);
    if (!status)
        find_unknown(gguf, unknown);
    return status;
}
