/* One safetensors file: u64 header length (little endian), a JSON header (name -> dtype, shape, byte
 * range), then the tensors' bytes without gaps. Only the header is read; tensor data is pointed at, not
 * looked at. */
#ifndef RF_LOADER_SAFETENSORS_H
#define RF_LOADER_SAFETENSORS_H

#include "engine/status.h"
#include "loader/tensor.h"

/* Parses a file's bytes. `file` is the name for messages (copied); `bytes` must outlive *out. */
enum rf_status rf_safetensors_parse(struct rf_tensor_table *out, const char *file, const unsigned char *bytes,
                                    uint64_t size, struct rf_error *err);

#endif
