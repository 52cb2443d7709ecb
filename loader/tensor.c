#include "loader/tensor.h"
#include "engine/allocate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rf_shape_text rf_shape_describe(const uint64_t *shape, uint32_t rank)
{
    struct rf_shape_text out;
    size_t used = 0;
    out.text[used++] = '[';
    for (uint32_t i = 0; i < rank; i++)
        used +=
            (size_t)snprintf(out.text + used, sizeof out.text - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
    out.text[used++] = ']';
    out.text[used] = '\0';
    return out;
}

int rf_tensor_compare_places(const void *a, const void *b)
{
    const struct rf_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

int rf_tensor_compare_names(const void *a, const void *b)
{
    return strcmp(((const struct rf_tensor *)a)->name, ((const struct rf_tensor *)b)->name);
}

void rf_tensor_table_free(struct rf_tensor_table *table)
{
    rf_free(table->tensors);
    rf_free(table->names);
    *table = (struct rf_tensor_table){0};
}

const struct rf_tensor *rf_tensor_table_find(const struct rf_tensor_table *table, const char *name)
{
    struct rf_tensor key = {.name = name};
    return table->count ? bsearch(&key, table->tensors, table->count, sizeof key, rf_tensor_compare_names)
                        : NULL;
}
