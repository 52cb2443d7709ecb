#include "loader/gguf_writer.h"
#include "engine/allocate.h"

enum { VERSION = 3 };

static bool put_uint(struct rf_bytes *to, uint64_t value, size_t bytes)
{
    char little[8];
    for (size_t i = 0; i < bytes; i++)
        little[i] = (char)(value >> (8 * i));
    return rf_bytes_append(to, little, bytes);
}

static bool put_string(struct rf_bytes *to, const char *text, size_t length)
{
    return put_uint(to, length, 8) && rf_bytes_append(to, text, length);
}

static void put_key(struct rf_gguf_metadata *to, const char *key, enum rf_gguf_type type)
{
    to->failed |= !put_string(&to->bytes, key, strlen(key)) || !put_uint(&to->bytes, type, 4);
    to->count++;
}

void rf_gguf_put_text(struct rf_gguf_metadata *to, const char *key, const char *text, size_t length)
{
    put_key(to, key, RF_GGUF_STRING);
    rf_gguf_put_text_item(to, text, length);
}

void rf_gguf_put_u32(struct rf_gguf_metadata *to, const char *key, uint32_t value)
{
    put_key(to, key, RF_GGUF_U32);
    rf_gguf_put_u32_item(to, value);
}

void rf_gguf_put_f32(struct rf_gguf_metadata *to, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(to, key, RF_GGUF_F32);
    rf_gguf_put_u32_item(to, bits);
}

void rf_gguf_put_bool(struct rf_gguf_metadata *to, const char *key, bool value)
{
    put_key(to, key, RF_GGUF_BOOL);
    to->failed |= !put_uint(&to->bytes, value, 1);
}

void rf_gguf_put_value(struct rf_gguf_metadata *to, const struct rf_gguf_value *value)
{
    to->failed |= !put_string(&to->bytes, value->key.text, value->key.length) ||
                  !rf_bytes_append(&to->bytes, (const char *)value->whole, value->whole_bytes);
    to->count++;
}

void rf_gguf_put_array(struct rf_gguf_metadata *to, const char *key, enum rf_gguf_type type, uint64_t count)
{
    put_key(to, key, RF_GGUF_ARRAY);
    to->failed |= !put_uint(&to->bytes, type, 4) || !put_uint(&to->bytes, count, 8);
}

void rf_gguf_put_text_item(struct rf_gguf_metadata *to, const char *text, size_t length)
{
    to->failed |= !put_string(&to->bytes, text, length);
}

void rf_gguf_put_u32_item(struct rf_gguf_metadata *to, uint32_t value)
{
    to->failed |= !put_uint(&to->bytes, value, 4);
}

void rf_gguf_metadata_free(struct rf_gguf_metadata *metadata)
{
    rf_free(metadata->bytes.data);
    *metadata = (struct rf_gguf_metadata){0};
}

uint64_t rf_gguf_new_tensor_bytes(const struct rf_gguf_new_tensor *tensor)
{
    uint64_t elements = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        elements *= tensor->shape[i];
    return rf_dtype_bytes(tensor->dtype, elements);
}

static bool put_info(struct rf_bytes *out, const struct rf_gguf_new_tensor *tensor, uint64_t offset)
{
    bool ok = put_string(out, tensor->name, strlen(tensor->name)) && put_uint(out, tensor->rank, 4);
    for (uint32_t i = tensor->rank; i-- > 0;) /* GGUF begins with the fastest */
        ok = ok && put_uint(out, tensor->shape[i], 8);
    return ok && put_uint(out, rf_gguf_tensor_type(tensor->dtype), 4) && put_uint(out, offset, 8);
}

enum rf_status rf_gguf_write_head(struct rf_bytes *out, const struct rf_gguf_metadata *metadata,
                                  const struct rf_gguf_new_tensor *tensors, size_t count, const char *file,
                                  struct rf_error *err)
{
    *out = (struct rf_bytes){0};
    bool ok = !metadata->failed && rf_bytes_append(out, "GGUF", 4) && put_uint(out, VERSION, 4) &&
              put_uint(out, count, 8) && put_uint(out, metadata->count, 8) &&
              rf_bytes_append(out, metadata->bytes.data, metadata->bytes.length);
    uint64_t offset = 0;
    for (size_t i = 0; i < count && ok; i++) {
        ok = put_info(out, &tensors[i], offset);
        offset += rf_gguf_padded(rf_gguf_new_tensor_bytes(&tensors[i]));
    }
    while (ok && out->length % RF_GGUF_ALIGNMENT)
        ok = put_uint(out, 0, 1);
    if (ok)
        return RF_OK;
    rf_free(out->data);
    *out = (struct rf_bytes){0};
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory for its metadata", file);
}
