/* Any bytes as a safetensors file: refused with one line, or tensors that lie inside the bytes and fill
 * them. */
#include "loader/safetensors.h"
#include "promise.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_tensor(const struct rf_tensor_table *file, size_t i, const uint8_t *bytes, size_t size)
{
    const struct rf_tensor *tensor = &file->tensors[i];
    const uint8_t *data = tensor->data;
    promise(data >= bytes + 8 && data <= bytes + size && tensor->bytes <= (uint64_t)(bytes + size - data));
    promise(tensor->rank <= RF_MAX_RANK && tensor->dtype > RF_DTYPE_NONE &&
            tensor->dtype < RF_DTYPE_SAFETENSORS_END);
    uint64_t elements = 1;
    for (uint32_t d = 0; d < tensor->rank; d++)
        promise(!__builtin_mul_overflow(elements, tensor->shape[d], &elements));
    promise(elements % rf_dtype_block_elements(tensor->dtype) == 0);
    promise(rf_dtype_bytes(tensor->dtype, elements) == tensor->bytes &&
            rf_tensor_elements(tensor) == elements);
    promise(i == 0 || strcmp(file->tensors[i - 1].name, tensor->name) < 0);
    promise(rf_tensor_table_find(file, tensor->name) == tensor);
    promise(strlen(rf_shape_describe(tensor->shape, tensor->rank).text) < sizeof(struct rf_shape_text));
}

/* Every byte behind the header belongs to exactly one tensor. */
static void check_coverage(const struct rf_tensor_table *file, const uint8_t *bytes, size_t size)
{
    uint8_t *owners = calloc(size, 1);
    promise(owners != NULL);
    size_t first = size, owned = 0;
    for (size_t i = 0; i < file->count; i++) {
        size_t begin = (size_t)((const uint8_t *)file->tensors[i].data - bytes);
        first = begin < first ? begin : first;
        owned += (size_t)file->tensors[i].bytes;
        for (size_t j = begin; j < begin + file->tensors[i].bytes; j++)
            promise(owners[j]++ == 0);
    }
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | bytes[i];
    promise(first == 8 + header && first + owned == size);
    free(owners);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct rf_tensor_table file;
    struct rf_error err = {0};
    enum rf_status status = rf_safetensors_parse(&file, "fuzz.safetensors", bytes, size, &err);
    promise_outcome(status, &err);
    for (size_t i = 0; i < file.count; i++)
        check_tensor(&file, i, bytes, size);
    if (!status)
        check_coverage(&file, bytes, size);
    rf_tensor_table_free(&file);
    return 0;
}
