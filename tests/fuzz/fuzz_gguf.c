/* Any bytes as a GGUF file: refused with one line, or metadata and tensors that lie inside the bytes. What is
 * accepted goes on to be a configuration, a tokenizer and a copy: each again refused or sound. */
#include "loader/gguf_config.h"
#include "loader/gguf_metadata.h"
#include "tokenizer_promise.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Reading every byte lets the address sanitizer judge the range. */
static unsigned read_all(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    return sum;
}

static void check_value(const struct rf_gguf *gguf, size_t i, const uint8_t *bytes, size_t size)
{
    const struct rf_gguf_value *value = &gguf->values[i];
    const uint8_t *end = value->whole + value->whole_bytes;
    promise(value->whole >= bytes && value->whole_bytes >= 4 && end <= bytes + size);
    promise(value->data >= value->whole && value->data <= end);
    promise(value->type < RF_GGUF_TYPE_COUNT && value->type != RF_GGUF_ARRAY);
    promise(value->is_array ? value->count <= value->whole_bytes : value->count == 1);
    const unsigned char *at = value->data;
    if (value->type == RF_GGUF_STRING)
        for (uint64_t k = 0; k < value->count; k++)
            rf_gguf_next_string(&at);
    else
        at += value->count * rf_gguf_scalar_bytes(value->type);
    promise(at == end);
    struct rf_gguf_words words = rf_gguf_describe(value);
    promise(memchr(words.text, '\0', sizeof words.text) && !strchr(words.text, '\n'));
    char key[256] = {0};
    promise(value->key.length >= 1 && value->key.length < sizeof key);
    memcpy(key, value->key.text, value->key.length);
    promise(strlen(key) == value->key.length && rf_gguf_find(gguf, key) == value);
}

static void check_tensor(const struct rf_gguf *gguf, size_t i, const uint8_t *bytes, size_t size)
{
    const struct rf_tensor *tensor = &gguf->tensors.tensors[i];
    const uint8_t *data = tensor->data;
    promise(data >= bytes && data <= bytes + size && tensor->bytes <= (uint64_t)(bytes + size - data));
    promise(tensor->rank >= 1 && tensor->rank <= 4 && tensor->bytes > 0);
    uint64_t elements = 1;
    for (uint32_t d = 0; d < tensor->rank; d++)
        promise(!__builtin_mul_overflow(elements, tensor->shape[d], &elements));
    promise(tensor->shape[tensor->rank - 1] % rf_dtype_block_elements(tensor->dtype) == 0);
    promise(rf_dtype_bytes(tensor->dtype, elements) == tensor->bytes &&
            rf_tensor_elements(tensor) == elements);
    promise(rf_tensor_table_find(&gguf->tensors, tensor->name) == tensor);
    promise((uint64_t)(data - (const uint8_t *)gguf->tensors.tensors[0].data) % gguf->alignment == 0);
    for (size_t k = 0; k < i && k < 64; k++) {
        const struct rf_tensor *other = &gguf->tensors.tensors[k];
        const uint8_t *place = other->data;
        promise(place + other->bytes <= data || data + tensor->bytes <= place);
    }
}

static void check_config(const struct rf_gguf *gguf)
{
    struct rf_model_config c;
    struct rf_gguf_unknown unknown = {0};
    struct rf_error err = {0};
    enum rf_status status = rf_gguf_config(&c, gguf, &unknown, &err);
    promise_outcome(status, &err);
    if (status)
        return;
    promise(c.layers >= 1 && c.layers <= RF_CONFIG_MAX_LAYERS && c.heads >= 1 &&
            c.heads <= RF_CONFIG_MAX_HEADS);
    promise(c.kv_heads >= 1 && c.heads % c.kv_heads == 0);
    promise(c.hidden % 8 == 0 && c.head_dim % 8 == 0 && c.ffn % 8 == 0 && c.hidden && c.head_dim && c.ffn);
    promise(c.hidden <= RF_CONFIG_MAX_HIDDEN && c.head_dim <= RF_CONFIG_MAX_HEAD_DIM &&
            c.ffn <= RF_CONFIG_MAX_FFN);
    promise(c.vocab >= 1 && c.vocab <= RF_CONFIG_MAX_VOCAB && c.max_position_embeddings >= 1);
    promise(c.rms_norm_eps >= 1e-30 && c.rms_norm_eps <= 0.1 && c.rope_theta >= 1 && c.rope_theta <= 1e12);
    promise(c.mask_token_id == UINT32_MAX || c.mask_token_id < c.vocab);
    promise(c.eos_count <= RF_CONFIG_EOS_MAX + 1 && unknown.count <= RF_GGUF_UNKNOWN_MAX);
    for (uint32_t i = 0; i < c.eos_count; i++)
        promise(c.eos_tokens[i] < c.vocab);
}

/* Metadata copied into a new file say the same there. */
static void check_copy(const struct rf_gguf *gguf)
{
    struct rf_gguf_metadata metadata = {0};
    struct rf_bytes bytes = {0};
    struct rf_gguf copy;
    struct rf_error err = {0};
    rf_gguf_put_copies(&metadata, gguf);
    promise(rf_gguf_write_head(&bytes, &metadata, NULL, 0, "copy.gguf", &err) == RF_OK);
    promise(rf_gguf_parse(&copy, "copy.gguf", (unsigned char *)bytes.data, bytes.length, &err) == RF_OK);
    promise(copy.value_count == metadata.count && copy.value_count <= gguf->value_count);
    for (size_t i = 0; i < copy.value_count; i++) {
        const struct rf_gguf_value *value = &copy.values[i];
        char key[256] = {0};
        memcpy(key, value->key.text, value->key.length);
        const struct rf_gguf_value *old = rf_gguf_find(gguf, key);
        promise(old && old->whole_bytes == value->whole_bytes &&
                !memcmp(old->whole, value->whole, value->whole_bytes));
    }
    rf_gguf_free(&copy);
    rf_gguf_metadata_free(&metadata);
    rf_free(bytes.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char text[] =
        "aabbab aaaab abba\r\n\r\n  the re 12 it's <|x|> \xC3\xA9\xE6\x97\xA5 <|mask|>ab";
    struct rf_gguf gguf;
    struct rf_error err = {0};
    enum rf_status status = rf_gguf_parse(&gguf, "fuzz.gguf", bytes, size, &err);
    promise_outcome(status, &err);
    if (status)
        return 0;
    for (size_t i = 0; i < gguf.value_count; i++)
        check_value(&gguf, i, bytes, size);
    for (size_t i = 0; i < gguf.tensors.count; i++) {
        check_tensor(&gguf, i, bytes, size);
        promise(read_all(gguf.tensors.tensors[i].data, gguf.tensors.tensors[i].bytes) <= 255 * size);
    }
    check_config(&gguf);
    check_copy(&gguf);
    rf_tokenizer *tokenizer = NULL;
    status = rf_tokenizer_from_gguf(&tokenizer, &gguf, &err);
    promise_outcome(status, &err);
    promise(!status == !!tokenizer);
    rf_gguf_free(&gguf);
    if (status)
        return 0;
    promise_tokens(tokenizer);
    promise_round_trip(tokenizer, text, sizeof text - 1, false);
    promise_round_trip(tokenizer, text, sizeof text - 1, true);
    rf_tokenizer_destroy(tokenizer);
    return 0;
}
