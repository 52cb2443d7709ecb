/* Writes GGUF files in memory, right ones and wrong ones, without the help of what is tested. */
#ifndef RF_TESTS_LOADER_GGUF_BUILDER_H
#define RF_TESTS_LOADER_GGUF_BUILDER_H

#include "loader/gguf.h"
#include "loader/growable.h"

/* Appends little-endian numbers, and strings as a length and bytes. */
void add_u32(struct rf_bytes *to, uint64_t value);
void add_u64(struct rf_bytes *to, uint64_t value);
void add_f32(struct rf_bytes *to, float value);
void add_raw(struct rf_bytes *to, const void *bytes, size_t size);
void add_string(struct rf_bytes *to, const char *text);

/* A file in parts; build() puts them together. */
struct built_gguf {
    struct rf_bytes values, infos, data;
    uint64_t value_count, tensor_count;
    uint64_t offset; /* of the next tensor */
};

/* One metadata value, or what one begins with. */
void put_u32(struct built_gguf *file, const char *key, uint32_t value);
void put_f32(struct built_gguf *file, const char *key, float value);
void put_bool(struct built_gguf *file, const char *key, bool value);
void put_text(struct built_gguf *file, const char *key, const char *text);
void put_head(struct built_gguf *file, const char *key, uint32_t type);
void put_array(struct built_gguf *file, const char *key, uint32_t type, uint64_t count);
/* Leaves out a key that was put. */
void drop_value(struct built_gguf *file, const char *key);

/* A tensor of zeros; `rows` 0: a vector. `type` is GGML's number. */
void put_tensor(struct built_gguf *file, const char *name, uint32_t type, uint64_t rows, uint64_t columns,
                uint64_t bytes);
/* An info as it is, without data. */
void put_info(struct built_gguf *file, const char *name, uint32_t rank, const uint64_t *dimensions,
              uint32_t type, uint64_t offset);

/* The whole file, malloc'ed. Empties `file`. */
unsigned char *build(struct built_gguf *file, uint64_t *size);
void free_built(struct built_gguf *file);

#endif
