#include "loader/file_out.h"
#include "engine/allocate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum rf_status no_memory(const char *path, struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory", path);
}

/* A name that nothing has: left-overs of programs that were killed are not touched. */
static enum rf_status create_temporary(struct rf_file_out *out, struct rf_error *err)
{
    enum { TRIES = 100 };
    size_t room = strlen(out->path) + 40;
    out->temporary = rf_malloc(room);
    if (!out->temporary)
        return no_memory(out->path, err);
    for (int i = 0; i < TRIES && out->fd < 0; i++) {
        snprintf(out->temporary, room, "%s.%ld-%d.part", out->path, (long)getpid(), i);
        out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (out->fd < 0 && errno != EEXIST)
            break;
    }
    if (out->fd >= 0)
        return RF_OK;
    int reason = errno;
    rf_free(out->temporary);
    out->temporary = NULL;
    return rf_fail(err, RF_ERROR_IO, "%s: cannot create a file beside it: %s", out->path, strerror(reason));
}

static enum rf_status reserve(const struct rf_file_out *out, uint64_t bytes, struct rf_error *err)
{
#ifdef __linux__
    if (bytes == 0 || bytes > INT64_MAX || fallocate(out->fd, 0, 0, (off_t)bytes) == 0)
        return RF_OK;
    if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT)
        return rf_fail(err, RF_ERROR_IO, "%s: no room for %llu bytes: %s", out->path,
                       (unsigned long long)bytes, strerror(errno));
#else
    (void)out, (void)bytes, (void)err;
#endif
    return RF_OK; /* some file systems cannot say: writing will */
}

enum rf_status rf_file_out_open(struct rf_file_out *out, const char *path, uint64_t bytes,
                                struct rf_error *err)
{
    *out = (struct rf_file_out){.fd = -1};
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return rf_fail(err, RF_ERROR_IO, "%s: is no regular file, wanted a name for a new one", path);
    out->path = rf_strdup(path);
    if (!out->path)
        return no_memory(path, err);
    enum rf_status status = create_temporary(out, err);
    if (!status)
        status = reserve(out, bytes, err);
    if (status)
        rf_file_out_close(out);
    return status;
}

enum rf_status rf_file_out_write(struct rf_file_out *out, const void *data, uint64_t bytes,
                                 struct rf_error *err)
{
    enum { MOST_AT_ONCE = 1 << 30 }; /* write() takes less than 2 GiB */
    const char *from = data;
    while (bytes > 0) {
        ssize_t count = write(out->fd, from, bytes < MOST_AT_ONCE ? (size_t)bytes : MOST_AT_ONCE);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return rf_fail(err, RF_ERROR_IO, "%s: cannot write at byte %llu: %s", out->path,
                           (unsigned long long)out->written,
                           count < 0 ? strerror(errno) : "nothing was taken");
        from += count;
        bytes -= (uint64_t)count;
        out->written += (uint64_t)count;
    }
    return RF_OK;
}

/* The new name is durable only when the folder is. Not every file system lets a folder be synced. */
static void sync_folder(const char *path)
{
    char *folder = rf_strdup(path);
    if (!folder)
        return;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    rf_free(folder);
}

enum rf_status rf_file_out_commit(struct rf_file_out *out, struct rf_error *err)
{
    if (fsync(out->fd) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot bring it to disk: %s", out->path, strerror(errno));
    int fd = out->fd;
    out->fd = -1;
    if (close(fd) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot close it: %s", out->path, strerror(errno));
    if (rename(out->temporary, out->path) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot take this name: %s", out->path, strerror(errno));
    rf_free(out->temporary);
    out->temporary = NULL;
    sync_folder(out->path);
    return RF_OK;
}

void rf_file_out_close(struct rf_file_out *out)
{
    if (out->path && out->fd >= 0)
        close(out->fd);
    if (out->temporary)
        unlink(out->temporary);
    rf_free(out->temporary);
    rf_free(out->path);
    *out = (struct rf_file_out){.fd = -1};
}
