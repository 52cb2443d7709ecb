#include "engine/gpu/cache_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gpu/internal.h"
#include "engine/gpu/shader_blobs.h"

bool rf_cache_path(const struct rf_gpu *gpu, const char *kind, const char *extension,
                   char path[RF_CACHE_PATH])
{
    char uuid[2 * VK_UUID_SIZE + 1], masked[20] = "";
    if (!gpu->cache_dir)
        return false;
    for (unsigned i = 0; i < VK_UUID_SIZE; ++i)
        snprintf(uuid + 2 * i, 3, "%02x", gpu->probe.device_uuid[i]);
    /* Shapes that were the best of what was left are not the best of everything. */
    if (gpu->masked && strcmp(kind, "tuned") == 0)
        snprintf(masked, sizeof masked, "-%llx", (unsigned long long)gpu->masked);
    int length = snprintf(path, RF_CACHE_PATH, "%s/%s-%s-%08x-%.16s%s.%s", gpu->cache_dir, kind, uuid,
                          gpu->probe.properties.driverVersion, rf_shader_hash, masked, extension);
    return length > 0 && length < RF_CACHE_PATH;
}

static bool make_folders(const char *path)
{
    char part[RF_CACHE_PATH];
    size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (size_t i = 1; i <= length; ++i) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

bool rf_cache_write(const struct rf_gpu *gpu, const char *path, const void *head, size_t head_bytes,
                    const void *body, size_t body_bytes)
{
    char temporary[RF_CACHE_PATH + 8];
    if (!make_folders(gpu->cache_dir))
        return false;
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int descriptor = mkstemp(temporary);
    if (descriptor < 0)
        return false;
    FILE *file = fdopen(descriptor, "wb");
    int failure = errno;
    if (!file) {
        close(descriptor);
        unlink(temporary);
        errno = failure;
        return false;
    }
    bool written =
        fwrite(head, 1, head_bytes, file) == head_bytes && fwrite(body, 1, body_bytes, file) == body_bytes;
    written = (fclose(file) == 0) && written;
    if (written && rename(temporary, path) == 0)
        return true;
    failure = errno;
    unlink(temporary);
    errno = failure;
    return false;
}
