/* The parts of a GGUF file (version 3) before its tensors' bytes, built in memory. */
#ifndef RF_LOADER_GGUF_WRITER_H
#define RF_LOADER_GGUF_WRITER_H

#include "loader/gguf.h"
#include "loader/growable.h"

enum { RF_GGUF_ALIGNMENT = 32 }; /* the default, which needs no key */

/* Metadata that grows. Zero-initialise; running out of memory shows once, in rf_gguf_write_head. */
struct rf_gguf_metadata {
    struct rf_bytes bytes;
    uint64_t count;
    bool failed;
};

void rf_gguf_put_text(struct rf_gguf_metadata *to, const char *key, const char *text, size_t length);
void rf_gguf_put_u32(struct rf_gguf_metadata *to, const char *key, uint32_t value);
void rf_gguf_put_f32(struct rf_gguf_metadata *to, const char *key, float value);
void rf_gguf_put_bool(struct rf_gguf_metadata *to, const char *key, bool value);
/* As another file has it. */
void rf_gguf_put_value(struct rf_gguf_metadata *to, const struct rf_gguf_value *value);
/* Exactly `count` items must follow. */
void rf_gguf_put_array(struct rf_gguf_metadata *to, const char *key, enum rf_gguf_type type, uint64_t count);
void rf_gguf_put_text_item(struct rf_gguf_metadata *to, const char *text, size_t length);
void rf_gguf_put_u32_item(struct rf_gguf_metadata *to, uint32_t value); /* i32 too: its bits */
void rf_gguf_metadata_free(struct rf_gguf_metadata *metadata);

struct rf_gguf_new_tensor {
    const char *name;
    enum rf_dtype dtype;
    uint32_t rank;
    const uint64_t *shape; /* [0] is the slowest */
};

static inline uint64_t rf_gguf_padded(uint64_t bytes)
{
    return (bytes + RF_GGUF_ALIGNMENT - 1) / RF_GGUF_ALIGNMENT * RF_GGUF_ALIGNMENT;
}

/* Bytes of a tensor, without padding. */
uint64_t rf_gguf_new_tensor_bytes(const struct rf_gguf_new_tensor *tensor);

/* Header, metadata and infos, padded to the alignment. The tensors' bytes follow in this order, each padded
 * with zeros to the alignment. `file` is for messages; *out is the caller's to free. */
enum rf_status rf_gguf_write_head(struct rf_bytes *out, const struct rf_gguf_metadata *metadata,
                                  const struct rf_gguf_new_tensor *tensors, size_t count, const char *file,
                                  struct rf_error *err);

#endif
