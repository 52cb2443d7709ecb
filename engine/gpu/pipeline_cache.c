/* The pipeline cache's file. A driver trusts the data that it is given beyond its own short header, so the
 * file carries a header of ours with the identity of device, driver and shaders and a checksum; anything
 * that differs is ignored. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/allocate.h"
#include "engine/gpu/cache_file.h"
#include "engine/gpu/internal.h"
#include "engine/gpu/shader_blobs.h"

enum { MOST_CACHE_BYTES = 256 << 20, HASH_CHARS = 64 };

struct file_header {
    char magic[8];
    uint32_t header_bytes;
    uint32_t driver_version, vendor, device;
    uint8_t device_uuid[VK_UUID_SIZE], cache_uuid[VK_UUID_SIZE];
    char shader_hash[HASH_CHARS];
    uint64_t payload_bytes, checksum;
};

static uint64_t checksum(const unsigned char *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; ++i)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static struct file_header make_header(const struct rf_gpu *gpu)
{
    const VkPhysicalDeviceProperties *properties = &gpu->probe.properties;
    struct file_header header;
    memset(&header, 0, sizeof header); /* padding too: it is written */
    memcpy(header.magic, "RFPCACH1", sizeof header.magic);
    header.header_bytes = sizeof header;
    header.driver_version = properties->driverVersion;
    header.vendor = properties->vendorID;
    header.device = properties->deviceID;
    memcpy(header.device_uuid, gpu->probe.device_uuid, VK_UUID_SIZE);
    memcpy(header.cache_uuid, properties->pipelineCacheUUID, VK_UUID_SIZE);
    snprintf(header.shader_hash, sizeof header.shader_hash, "%s", rf_shader_hash);
    return header;
}

/* What is wrong with the file, or NULL; *payload is for rf_free when nothing is. */
static const char *read_payload(const struct rf_gpu *gpu, FILE *file, unsigned char **payload, size_t *size)
{
    struct file_header have, want = make_header(gpu);
    struct stat info;
    *payload = NULL;
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode))
        return "not a regular file";
    if (fread(&have, 1, sizeof have, file) != sizeof have)
        return "shorter than its header";
    want.payload_bytes = have.payload_bytes;
    want.checksum = have.checksum;
    if (memcmp(&have, &want, sizeof have) != 0)
        return "written for another device, driver or build";
    if (!have.payload_bytes || have.payload_bytes > (uint64_t)MOST_CACHE_BYTES ||
        have.payload_bytes != (uint64_t)info.st_size - sizeof have)
        return "its length is not what its header says";
    unsigned char *bytes = rf_malloc((size_t)have.payload_bytes);
    if (!bytes)
        return "no host memory for it";
    *size = (size_t)have.payload_bytes;
    const char *wrong = NULL;
    if (fread(bytes, 1, *size, file) != *size)
        wrong = "cannot be read";
    else if (checksum(bytes, *size) != have.checksum)
        wrong = "its checksum is wrong";
    if (wrong)
        rf_free(bytes);
    else
        *payload = bytes;
    return wrong;
}

static unsigned char *read_file(struct rf_gpu *gpu, size_t *size)
{
    char path[RF_CACHE_PATH];
    unsigned char *payload = NULL;
    *size = 0;
    if (!rf_cache_path(gpu, "pipelines", "bin", path))
        return NULL;
    FILE *file = fopen(path, "rb");
    if (!file) {
        if (errno != ENOENT)
            rf_gpu_log(gpu, RF_LOG_WARNING, "pipeline cache %s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    const char *wrong = read_payload(gpu, file, &payload, size);
    fclose(file);
    if (wrong)
        rf_gpu_log(gpu, RF_LOG_WARNING, "pipeline cache %s: ignored: %s", path, wrong);
    if (!payload)
        *size = 0;
    return payload;
}

enum rf_status rf_pipeline_cache_open(struct rf_gpu *gpu, struct rf_error *err)
{
    size_t size;
    unsigned char *payload = read_file(gpu, &size);
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = size,
                                      .pInitialData = payload};
    VkResult result = gpu->vk.vkCreatePipelineCache(gpu->device, &info, NULL, &gpu->pipeline_cache);
    if (result != VK_SUCCESS && size) { /* the driver refuses what it once wrote: start anew */
        info.initialDataSize = size = 0;
        result = gpu->vk.vkCreatePipelineCache(gpu->device, &info, NULL, &gpu->pipeline_cache);
    }
    rf_free(payload);
    gpu->pipeline_cache_loaded = size;
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkCreatePipelineCache");
}

static bool write_file(const struct rf_gpu *gpu, const unsigned char *payload, size_t size)
{
    char path[RF_CACHE_PATH];
    struct file_header header = make_header(gpu);
    header.payload_bytes = size;
    header.checksum = checksum(payload, size);
    return rf_cache_path(gpu, "pipelines", "bin", path) &&
           rf_cache_write(gpu, path, &header, sizeof header, payload, size);
}

void rf_pipeline_cache_close(struct rf_gpu *gpu)
{
    if (!gpu->pipeline_cache)
        return;
    size_t size = 0;
    VkResult result = gpu->vk.vkGetPipelineCacheData(gpu->device, gpu->pipeline_cache, &size, NULL);
    if (gpu->cache_dir && result == VK_SUCCESS && size > gpu->pipeline_cache_loaded &&
        size <= (size_t)MOST_CACHE_BYTES) {
        unsigned char *payload = rf_malloc(size);
        if (payload)
            result = gpu->vk.vkGetPipelineCacheData(gpu->device, gpu->pipeline_cache, &size, payload);
        const char *wrong = !payload                          ? "no host memory for it"
                            : result != VK_SUCCESS            ? rf_vk_result_name(result)
                            : !write_file(gpu, payload, size) ? strerror(errno)
                                                              : NULL;
        if (wrong)
            rf_gpu_log(gpu, RF_LOG_WARNING, "pipeline cache in %s: cannot be written: %s", gpu->cache_dir,
                       wrong);
        rf_free(payload);
    }
    gpu->vk.vkDestroyPipelineCache(gpu->device, gpu->pipeline_cache, NULL);
    gpu->pipeline_cache = VK_NULL_HANDLE;
}
