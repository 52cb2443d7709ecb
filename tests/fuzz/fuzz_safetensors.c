/* Any bytes as a safetensors file: refused with one line, or tensors that lie inside the bytes and fill
 * them. */
#include "loader/safetensors.h"
#include "promise.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_tensor(const struct rf_safetensors *file, size_t i, const uint8_t *bytes, size_t size)
{
    const struct rf_tensor *tensor = &file->tensors[i];
    const uint8_t *data = tensor->data;
    promise(data >= bytes + 8 && data <= bytes + size && tensor->bytes <= (uint64_t)(bytes + size - data));
    promise(tensor->rank <= RF_MAX_RANK && tensor->dtype > RF_DTYPE_NONE && tensor->dtype < RF_DTYPE_COUNT);
    uint64_t bits = rf_dtype_bits(tensor->dtype);
    for (uint32_t d = 0; d < tensor->rank; d++)
        bits *= tensor->shape[d];
    promise(bits == tensor->bytes * 8);
    promise(i == 0 || strcmp(file->tensors[i - 1].name, tensor->name) < 0);
    promise(rf_safetensors_find(file, tensor->name) == tensor);
    promise(strlen(rf_shape_describe(tensor->shape, tensor->rank).text) < sizeof(struct rf_shape_text));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct rf_safetensors file;
    struct rf_error err = {0};
    enum rf_status status = rf_safetensors_parse(&file, "fuzz.safetensors", bytes, size, &err);
    promise_outcome(status, &err);
    uint64_t covered = 0;
    for (size_t i = 0; i < file.count; i++) {
        check_tensor(&file, i, bytes, size);
        covered += file.tensors[i].bytes;
    }
    promise(status || (file.count > 0 && covered < size));
    rf_safetensors_free(&file);
    return 0;
}
