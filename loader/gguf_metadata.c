#include "loader/gguf_metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/allocate.h"
#include "loader/tokenizer_internal.h"

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_UNUSED = 5 };

static void put_text(struct rf_gguf_metadata *to, const char *key, const char *text)
{
    rf_gguf_put_text(to, key, text, strlen(text));
}

static void put_id(struct rf_gguf_metadata *to, const char *key, uint32_t id)
{
    if (id != UINT32_MAX)
        rf_gguf_put_u32(to, key, id);
}

/* ---- Configuration ------------------------------------------------------------------------------------- */

static void put_config(struct rf_gguf_metadata *to, const struct rf_model_config *config)
{
    rf_gguf_put_u32(to, "qwen3.block_count", config->layers);
    rf_gguf_put_u32(to, "qwen3.context_length", config->max_position_embeddings);
    rf_gguf_put_u32(to, "qwen3.embedding_length", config->hidden);
    rf_gguf_put_u32(to, "qwen3.feed_forward_length", config->ffn);
    rf_gguf_put_u32(to, "qwen3.attention.head_count", config->heads);
    rf_gguf_put_u32(to, "qwen3.attention.head_count_kv", config->kv_heads);
    rf_gguf_put_u32(to, "qwen3.attention.key_length", config->head_dim);
    rf_gguf_put_u32(to, "qwen3.attention.value_length", config->head_dim);
    rf_gguf_put_f32(to, "qwen3.attention.layer_norm_rms_epsilon", (float)config->rms_norm_eps);
    rf_gguf_put_f32(to, "qwen3.rope.freq_base", (float)config->rope_theta);
}

/* The tokenizer's own end token first, as when the model is loaded. */
static void put_eos(struct rf_gguf_metadata *to, const struct rf_model_config *config, uint32_t tokenizer_eos)
{
    uint32_t ids[RF_CONFIG_EOS_MAX + 1], count = 0;
    if (tokenizer_eos != UINT32_MAX)
        ids[count++] = tokenizer_eos;
    for (uint32_t i = 0; i < config->eos_count; i++)
        if (config->eos_tokens[i] != tokenizer_eos)
            ids[count++] = config->eos_tokens[i];
    if (count > 0)
        rf_gguf_put_u32(to, "tokenizer.ggml.eos_token_id", ids[0]);
    if (count < 2)
        return;
    rf_gguf_put_array(to, RF_GGUF_EOS_KEY, RF_GGUF_U32, count);
    for (uint32_t i = 0; i < count; i++)
        rf_gguf_put_u32_item(to, ids[i]);
}

/* ---- Tokenizer ----------------------------------------------------------------------------------------- */

/* Of id `id`, which may be beyond the tokenizer's. */
static uint32_t type_of(const rf_tokenizer *tokenizer, uint32_t id)
{
    uint32_t flags = id < tokenizer->vocab ? tokenizer->tokens[id].flags : 0;
    if (!flags)
        return TYPE_UNUSED;
    if (flags & RF_TOKEN_ADDED)
        return flags & RF_TOKEN_SPECIAL ? TYPE_CONTROL : TYPE_USER_DEFINED;
    return TYPE_NORMAL;
}

static bool put_alphabet(struct rf_bytes *to, const rf_tokenizer *tokenizer, uint32_t id)
{
    const struct rf_token *token = &tokenizer->tokens[id];
    return rf_alphabet_encode(to, tokenizer->bytes.data + token->offset, token->length);
}

/* One for each row of the embedding, as llama.cpp wants it. */
static void put_tokens(struct rf_gguf_metadata *to, const rf_tokenizer *tokenizer, uint32_t vocab)
{
    struct rf_bytes written = {0};
    rf_gguf_put_array(to, "tokenizer.ggml.tokens", RF_GGUF_STRING, vocab);
    for (uint32_t id = 0; id < vocab; id++) {
        uint32_t type = type_of(tokenizer, id);
        written.length = 0;
        if (type == TYPE_UNUSED) {
            char name[24];
            int length = snprintf(name, sizeof name, "[PAD%" PRIu32 "]", id);
            rf_gguf_put_text_item(to, name, (size_t)length);
        } else if (type == TYPE_NORMAL) {
            to->failed |= !put_alphabet(&written, tokenizer, id);
            rf_gguf_put_text_item(to, written.data, written.length);
        } else {
            const struct rf_token *token = &tokenizer->tokens[id];
            rf_gguf_put_text_item(to, tokenizer->bytes.data + token->offset, token->length);
        }
    }
    rf_gguf_put_array(to, "tokenizer.ggml.token_type", RF_GGUF_I32, vocab);
    for (uint32_t id = 0; id < vocab; id++)
        rf_gguf_put_u32_item(to, type_of(tokenizer, id));
    rf_free(written.data);
}

static int compare_ranks(const void *a, const void *b)
{
    const struct rf_merge *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static void put_merges(struct rf_gguf_metadata *to, const rf_tokenizer *tokenizer)
{
    const struct rf_merges *merges = &tokenizer->merges;
    size_t slots = (size_t)merges->mask + 1, count = 0;
    struct rf_merge *sorted = rf_calloc(slots, sizeof *sorted);
    if (!sorted) {
        to->failed = true;
        return;
    }
    for (size_t i = 0; i < slots; i++)
        if (merges->slots[i].rank != UINT32_MAX)
            sorted[count++] = merges->slots[i];
    qsort(sorted, count, sizeof *sorted, compare_ranks);
    struct rf_bytes written = {0};
    rf_gguf_put_array(to, "tokenizer.ggml.merges", RF_GGUF_STRING, count);
    for (size_t i = 0; i < count; i++) {
        written.length = 0;
        to->failed |= !put_alphabet(&written, tokenizer, sorted[i].left) ||
                      !rf_bytes_append(&written, " ", 1) ||
                      !put_alphabet(&written, tokenizer, sorted[i].right);
        rf_gguf_put_text_item(to, written.data, written.length);
    }
    rf_free(written.data);
    rf_free(sorted);
}

static enum rf_status check_mask(const struct rf_model_config *config, const rf_tokenizer *tokenizer,
                                 uint32_t *mask, struct rf_error *err)
{
    *mask = config->mask_token_id != UINT32_MAX ? config->mask_token_id : tokenizer->mask;
    if (tokenizer->mask != UINT32_MAX && tokenizer->mask != *mask)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: config.json's mask_token_id is %" PRIu32
                       ", but the tokenizer's mask token is %" PRIu32,
                       tokenizer->folder, *mask, tokenizer->mask);
    return RF_OK;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

enum rf_status rf_gguf_put_model(struct rf_gguf_metadata *to, const char *name,
                                 const struct rf_model_config *config, const rf_tokenizer *tokenizer,
                                 struct rf_error *err)
{
    uint32_t mask;
    if (!tokenizer->qwen_split)
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "%s: the tokenizer's split pattern is another than Qwen2Tokenizer's, the only one that GGUF "
            "files of this program can name",
            tokenizer->folder);
    enum rf_status status = check_mask(config, tokenizer, &mask, err);
    if (status)
        return status;
    put_text(to, "general.architecture", "qwen3");
    put_text(to, "general.type", "model");
    put_text(to, "general.name", name);
    put_config(to, config);
    put_text(to, "tokenizer.ggml.model", "gpt2");
    put_text(to, "tokenizer.ggml.pre", "qwen2");
    put_tokens(to, tokenizer, config->vocab);
    put_merges(to, tokenizer);
    put_eos(to, config, tokenizer->eos);
    put_id(to, "tokenizer.ggml.bos_token_id", config->bos_token_id);
    put_id(to, "tokenizer.ggml.padding_token_id", config->pad_token_id);
    put_id(to, "tokenizer.ggml.mask_token_id", mask);
    rf_gguf_put_bool(to, "tokenizer.ggml.add_bos_token", false);
    if (config->preset[0])
        put_text(to, RF_GGUF_PRESET_KEY, config->preset);
    if (tokenizer->template_text)
        put_text(to, "tokenizer.chat_template", tokenizer->template_text);
    return RF_OK;
}

void rf_gguf_put_copies(struct rf_gguf_metadata *to, const struct rf_gguf *from)
{
    static const char *const own[] = {"general.file_type", "general.quantization_version",
                                      "general.alignment", "split.count",
                                      "split.no",          "split.tensors.count"};
    for (size_t i = 0; i < from->value_count; i++) {
        bool copied = true;
        for (size_t k = 0; k < sizeof own / sizeof own[0]; k++)
            copied &= !rf_gguf_equals(from->values[i].key, own[k]);
        if (copied)
            rf_gguf_put_value(to, &from->values[i]);
    }
}

void rf_gguf_put_type(struct rf_gguf_metadata *to, enum rf_dtype dtype)
{
    static const uint32_t file_types[RF_DTYPE_COUNT] = {
        [RF_DTYPE_F32] = 0,  [RF_DTYPE_F16] = 1,   [RF_DTYPE_BF16] = 32, [RF_DTYPE_Q8_0] = 7,
        [RF_DTYPE_Q4_0] = 2, [RF_DTYPE_Q4_K] = 14, [RF_DTYPE_Q6_K] = 18,
    };
    rf_gguf_put_u32(to, "general.file_type", file_types[dtype]);
    if (rf_dtype_block_elements(dtype) > 1)
        rf_gguf_put_u32(to, "general.quantization_version", 2);
}
