#include "gguf_builder.h"
#include "model_writer.h"

static void add_uint(struct rf_bytes *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char byte = (char)(value >> (8 * i));
        assert_true(rf_bytes_append(to, &byte, 1));
    }
}

void add_u32(struct rf_bytes *to, uint64_t value)
{
    add_uint(to, value, 4);
}

void add_u64(struct rf_bytes *to, uint64_t value)
{
    add_uint(to, value, 8);
}

void add_f32(struct rf_bytes *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_u32(to, bits);
}

void add_raw(struct rf_bytes *to, const void *bytes, size_t size)
{
    assert_true(rf_bytes_append(to, bytes, size));
}

void add_string(struct rf_bytes *to, const char *text)
{
    add_u64(to, strlen(text));
    add_raw(to, text, strlen(text));
}

void put_head(struct built_gguf *file, const char *key, uint32_t type)
{
    add_string(&file->values, key);
    add_u32(&file->values, type);
    file->value_count++;
}

void put_u32(struct built_gguf *file, const char *key, uint32_t value)
{
    put_head(file, key, RF_GGUF_U32);
    add_u32(&file->values, value);
}

void put_f32(struct built_gguf *file, const char *key, float value)
{
    put_head(file, key, RF_GGUF_F32);
    add_f32(&file->values, value);
}

void put_bool(struct built_gguf *file, const char *key, bool value)
{
    put_head(file, key, RF_GGUF_BOOL);
    add_uint(&file->values, value, 1);
}

void put_text(struct built_gguf *file, const char *key, const char *text)
{
    put_head(file, key, RF_GGUF_STRING);
    add_string(&file->values, text);
}

void put_array(struct built_gguf *file, const char *key, uint32_t type, uint64_t count)
{
    put_head(file, key, RF_GGUF_ARRAY);
    add_u32(&file->values, type);
    add_u64(&file->values, count);
}

/* Reads the metadata back, and puts all but one together again. */
void drop_value(struct built_gguf *file, const char *key)
{
    struct built_gguf old = *file;
    uint64_t size;
    file->infos = file->data = (struct rf_bytes){0};
    file->tensor_count = 0;
    unsigned char *bytes = build(file, &size);
    struct rf_gguf parsed;
    struct rf_error err = {0};
    if (rf_gguf_parse(&parsed, "built", bytes, size, &err))
        fail_msg("%s", err.message);
    assert_non_null(rf_gguf_find(&parsed, key));
    *file = (struct built_gguf){
        .infos = old.infos, .data = old.data, .tensor_count = old.tensor_count, .offset = old.offset};
    for (size_t i = 0; i < parsed.value_count; i++) {
        if (rf_gguf_equals(parsed.values[i].key, key))
            continue;
        add_u64(&file->values, parsed.values[i].key.length);
        add_raw(&file->values, parsed.values[i].key.text, parsed.values[i].key.length);
        add_raw(&file->values, parsed.values[i].whole, parsed.values[i].whole_bytes);
        file->value_count++;
    }
    rf_gguf_free(&parsed);
    rf_free(bytes);
}

void put_info(struct built_gguf *file, const char *name, uint32_t rank, const uint64_t *dimensions,
              uint32_t type, uint64_t offset)
{
    add_string(&file->infos, name);
    add_u32(&file->infos, rank);
    for (uint32_t i = 0; i < rank; i++)
        add_u64(&file->infos, dimensions[i]);
    add_u32(&file->infos, type);
    add_u64(&file->infos, offset);
    file->tensor_count++;
}

void put_tensor(struct built_gguf *file, const char *name, uint32_t type, uint64_t rows, uint64_t columns,
                uint64_t bytes)
{
    uint64_t dimensions[2] = {columns, rows};
    put_info(file, name, rows ? 2 : 1, dimensions, type, file->offset);
    uint64_t padded = (bytes + 31) / 32 * 32;
    for (uint64_t i = 0; i < padded; i += 8)
        add_u64(&file->data, 0);
    file->offset += padded;
}

unsigned char *build(struct built_gguf *file, uint64_t *size)
{
    struct rf_bytes out = {0};
    add_raw(&out, "GGUF", 4);
    add_u32(&out, 3);
    add_u64(&out, file->tensor_count);
    add_u64(&out, file->value_count);
    add_raw(&out, file->values.data, file->values.length);
    add_raw(&out, file->infos.data, file->infos.length);
    while (file->data.length && out.length % 32)
        add_uint(&out, 0, 1);
    add_raw(&out, file->data.data, file->data.length);
    free_built(file);
    *size = out.length;
    return (unsigned char *)out.data;
}

void free_built(struct built_gguf *file)
{
    rf_free(file->values.data);
    rf_free(file->infos.data);
    rf_free(file->data.data);
    *file = (struct built_gguf){0};
}
