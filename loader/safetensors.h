/* One safetensors file: u64 header length (little endian), a JSON header (name -> dtype, shape, byte
 * range), then the tensors' bytes without gaps. Only the header is read; tensor data is pointed at, not
 * looked at. */
#ifndef RF_LOADER_SAFETENSORS_H
#define RF_LOADER_SAFETENSORS_H

#include "engine/status.h"
#include "loader/dtype.h"

enum { RF_MAX_RANK = 8 };

/* Row-major. `data` lies in the file's mapping and may have any alignment: copy it, or read elements by
 * memcpy. Strings live as long as the file's rf_safetensors (or rf_model_files). */
struct rf_tensor {
    const char *name;
    const char *file; /* name for messages: the path that was opened */
    enum rf_dtype dtype;
    uint32_t rank;
    uint64_t shape[RF_MAX_RANK]; /* [0] is the slowest; unused entries are 0 */
    const void *data;
    uint64_t bytes; /* rf_dtype_bytes of the product of shape */
};

static inline uint64_t rf_tensor_elements(const struct rf_tensor *tensor)
{
    return tensor->bytes / rf_dtype_block_bytes(tensor->dtype) * rf_dtype_block_elements(tensor->dtype);
}

/* Shape for messages: "[151671, 4096]". */
struct rf_shape_text {
    char text[192];
};
struct rf_shape_text rf_shape_describe(const uint64_t *shape, uint32_t rank);

struct rf_safetensors {
    struct rf_tensor *tensors; /* sorted by name (strcmp) */
    size_t count;
    char *names; /* one block that holds all names and the file's */
};

/* Parses a file's bytes. `file` is the name for messages (copied); `bytes` must outlive *out. */
enum rf_status rf_safetensors_parse(struct rf_safetensors *out, const char *file, const unsigned char *bytes,
                                    uint64_t size, struct rf_error *err);
void rf_safetensors_free(struct rf_safetensors *file); /* zeroed is fine */

/* NULL: no such tensor. */
const struct rf_tensor *rf_safetensors_find(const struct rf_safetensors *file, const char *name);

#endif
