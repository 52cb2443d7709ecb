#include "loader/file_map.h"
#include "engine/allocate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_name(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a folder";
    if (S_ISFIFO(mode))
        return "a FIFO";
    if (S_ISCHR(mode) || S_ISBLK(mode))
        return "a device";
    if (S_ISSOCK(mode))
        return "a socket";
    return "something else";
}

static enum rf_status map_descriptor(struct rf_file_map *out, int fd, const char *path, struct rf_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot read its size: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return rf_fail(err, RF_ERROR_IO, "%s: is %s, wanted a regular file", path, kind_name(info.st_mode));
    if (info.st_size <= 0)
        return rf_fail(err, RF_ERROR_IO, "%s: the file is empty", path);
    if ((uint64_t)info.st_size > SIZE_MAX)
        return rf_fail(err, RF_ERROR_IO, "%s: %lld bytes do not fit this machine's address space", path,
                       (long long)info.st_size);
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return rf_fail(err, errno == ENOMEM ? RF_ERROR_HOST_MEMORY : RF_ERROR_IO,
                       "%s: cannot map %lld bytes: %s", path, (long long)info.st_size, strerror(errno));
    *out = (struct rf_file_map){.data = data, .size = (uint64_t)info.st_size};
    return RF_OK;
}

enum rf_status rf_file_map_open(struct rf_file_map *out, const char *path, struct rf_error *err)
{
    *out = (struct rf_file_map){0};
    /* O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    enum rf_status status = map_descriptor(out, fd, path, err);
    close(fd);
    return status;
}

void rf_file_map_close(struct rf_file_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, (size_t)map->size);
    *map = (struct rf_file_map){0};
}

void rf_file_map_forget(const void *data, uint64_t bytes)
{
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0 || !data)
        return;
    /* Only pages that lie wholly inside: a neighbour may still be read. */
    uintptr_t size = (uintptr_t)page;
    uintptr_t first = ((uintptr_t)data + size - 1) / size * size;
    uintptr_t end = ((uintptr_t)data + (uintptr_t)bytes) / size * size;
    if (first < end)
        madvise((void *)first, (size_t)(end - first), MADV_DONTNEED);
}

char *rf_path_join(const char *folder, const char *name)
{
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = rf_malloc(room);
    if (path)
        snprintf(path, room, "%s/%s", folder, name);
    return path;
}

bool rf_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}
