/* One safetensors file: u64 header length (little endian), a JSON header (name -> dtype, shape, byte
 * range), then the tensors' bytes without gaps. Only the header is read; tensor data is pointed at, not
 * looked at. */
#ifndef RF_LOADER_SAFETENSORS_H
#define RF_LOADER_SAFETENSORS_H

#include "engine/status.h"

enum rf_dtype {
    RF_DTYPE_NONE = 0,
    RF_DTYPE_BF16, /* these three hold weights that the engine can use */
    RF_DTYPE_F16,
    RF_DTYPE_F32,
    /* The others are known to the format: a file that holds them is read, binding them is refused. */
    RF_DTYPE_F64,
    RF_DTYPE_F8_E4M3,
    RF_DTYPE_F8_E5M2,
    RF_DTYPE_F8_E8M0,
    RF_DTYPE_F6_E2M3,
    RF_DTYPE_F6_E3M2,
    RF_DTYPE_F4,
    RF_DTYPE_BOOL,
    RF_DTYPE_I8,
    RF_DTYPE_U8,
    RF_DTYPE_I16,
    RF_DTYPE_U16,
    RF_DTYPE_I32,
    RF_DTYPE_U32,
    RF_DTYPE_I64,
    RF_DTYPE_U64,
    RF_DTYPE_C64,
    RF_DTYPE_COUNT
};

const char *rf_dtype_name(enum rf_dtype dtype); /* as safetensors writes it: "BF16" */
uint32_t rf_dtype_bits(enum rf_dtype dtype);    /* bits an element; 0 for RF_DTYPE_NONE */

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
    uint64_t bytes; /* product of shape * bits / 8 */
};

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
