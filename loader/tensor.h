/* A tensor in a mapped file, and the table of all tensors of a file. */
#ifndef RF_LOADER_TENSOR_H
#define RF_LOADER_TENSOR_H

#include <stddef.h>

#include "loader/dtype.h"

enum { RF_MAX_RANK = 8 };

/* Row-major. `data` lies in the file's mapping and may have any alignment: copy it, or read elements by
 * memcpy. Strings live as long as the file's rf_tensor_table (or rf_model_files). */
struct rf_tensor {
    const char *name;
    const char *file; /* name for messages: the path that was opened */
    enum rf_dtype dtype;
    uint32_t rank;
    uint64_t shape[RF_MAX_RANK]; /* [0] is the slowest; unused entries are 0. A row is whole blocks */
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

struct rf_tensor_table {
    struct rf_tensor *tensors; /* sorted by name (strcmp) */
    size_t count;
    char *names; /* one block that holds all names and the file's */
};

void rf_tensor_table_free(struct rf_tensor_table *table); /* zeroed is fine */

/* NULL: no such tensor. */
const struct rf_tensor *rf_tensor_table_find(const struct rf_tensor_table *table, const char *name);

/* For qsort: by place in the file, empty tensors first; and by name. */
int rf_tensor_compare_places(const void *a, const void *b);
int rf_tensor_compare_names(const void *a, const void *b);

#endif
