/* Files that the engine keeps between runs, in the context's cache folder, named by device, driver and
 * shaders: what one device learned is never read by another. */
#ifndef RF_GPU_CACHE_FILE_H
#define RF_GPU_CACHE_FILE_H

#include "engine/gpu/device.h"

enum { RF_CACHE_PATH = 4096 };

/* FOLDER/KIND-DEVICE-DRIVER-SHADERS.EXTENSION; false when there is no folder, or the path is too long. */
bool rf_cache_path(const struct rf_gpu *gpu, const char *kind, const char *extension,
                   char path[RF_CACHE_PATH]);
/* Writes `head` and `body` to a temporary file that is then renamed, so that readers see the old file or the
 * new one, whole. Makes the folder. false: errno says why. */
bool rf_cache_write(const struct rf_gpu *gpu, const char *path, const void *head, size_t head_bytes,
                    const void *body, size_t body_bytes);

#endif
