/* One GGUF file, version 2 or 3, little endian: magic, version, counts, metadata (key -> typed value), tensor
 * infos, then the tensors' bytes, each at a multiple of the alignment. The file is checked here, down to the
 * last length; metadata and tensor data are pointed at where they lie in its bytes. */
#ifndef RF_LOADER_GGUF_H
#define RF_LOADER_GGUF_H

#include "engine/status.h"
#include "loader/tensor.h"

enum rf_gguf_type {
    RF_GGUF_U8,
    RF_GGUF_I8,
    RF_GGUF_U16,
    RF_GGUF_I16,
    RF_GGUF_U32,
    RF_GGUF_I32,
    RF_GGUF_F32,
    RF_GGUF_BOOL,
    RF_GGUF_STRING,
    RF_GGUF_ARRAY,
    RF_GGUF_U64,
    RF_GGUF_I64,
    RF_GGUF_F64,
    RF_GGUF_TYPE_COUNT
};

/* Bytes as they stand in the file: not NUL-terminated, and UTF-8 only as far as the writer cared. */
struct rf_gguf_string {
    const char *text; /* NULL: absent */
    size_t length;
};

struct rf_gguf_value {
    struct rf_gguf_string key;
    enum rf_gguf_type type; /* of the items: arrays of arrays are refused */
    bool is_array;
    uint64_t count;             /* items; 1 when no array */
    const unsigned char *data;  /* the first item; strings are a u64 length and their bytes, end to end */
    const unsigned char *whole; /* from the type's number to the end of the value, as the file has it */
    uint64_t whole_bytes;
};

struct rf_gguf {
    const char *file; /* name for messages */
    uint32_t version;
    uint64_t alignment;           /* a power of two */
    struct rf_gguf_value *values; /* sorted by key, each key once */
    size_t value_count;
    struct rf_tensor_table tensors; /* shapes turned round: [0] is the slowest */
};

/* Numbers that GGUF gives to types. */
uint32_t rf_gguf_tensor_type(enum rf_dtype dtype);     /* of a weight type */
uint32_t rf_gguf_scalar_bytes(enum rf_gguf_type type); /* 0 for strings and arrays */

/* Whether a file begins as GGUF files do. */
bool rf_gguf_is_magic(const unsigned char *bytes, uint64_t size);

/* `file` is the name for messages (copied); `bytes` must outlive *out. */
enum rf_status rf_gguf_parse(struct rf_gguf *out, const char *file, const unsigned char *bytes, uint64_t size,
                             struct rf_error *err);
void rf_gguf_free(struct rf_gguf *gguf); /* zeroed is fine */

/* NULL: there is no such key. */
const struct rf_gguf_value *rf_gguf_find(const struct rf_gguf *gguf, const char *key);

/* Each refuses another type and a value out of range (bounds are inclusive); an absent key leaves *out alone
 * and sets *found (NULL: the key is needed). */
enum rf_status rf_gguf_uint(const struct rf_gguf *gguf, const char *key, uint64_t min, uint64_t max,
                            uint64_t *out, bool *found, struct rf_error *err);
enum rf_status rf_gguf_number(const struct rf_gguf *gguf, const char *key, double min, double max,
                              double *out, struct rf_error *err);
/* An absent key gives `fallback`. */
enum rf_status rf_gguf_bool(const struct rf_gguf *gguf, const char *key, bool fallback, bool *out,
                            struct rf_error *err);
/* text NULL when absent. */
enum rf_status rf_gguf_text(const struct rf_gguf *gguf, const char *key, struct rf_gguf_string *out,
                            struct rf_error *err);
bool rf_gguf_equals(struct rf_gguf_string string, const char *text);

/* Items of an array of `type`; *out NULL when the key is absent. */
enum rf_status rf_gguf_array(const struct rf_gguf *gguf, const char *key, enum rf_gguf_type type,
                             const struct rf_gguf_value **out, struct rf_error *err);
/* Walks an array of strings: *at is the first item's data, and moves on. At most `count` times. */
struct rf_gguf_string rf_gguf_next_string(const unsigned char **at);
/* Item `i` of an array of u32 or i32. */
uint32_t rf_gguf_item_u32(const struct rf_gguf_value *value, uint64_t i);
int32_t rf_gguf_item_i32(const struct rf_gguf_value *value, uint64_t i);

/* A value in a few words for a message: u32 12, an array of 3 i32, nothing (when NULL). */
struct rf_gguf_words {
    char text[160];
};
struct rf_gguf_words rf_gguf_describe(const struct rf_gguf_value *value);

#endif
