#include "apps/refusion/eval/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Together ------------------------------------------------------------------------------------------- */

/* An empty set of results of all samples, with the header of `from`. */
static enum rf_status begin(struct results *out, const struct results *from, struct rf_error *err)
{
    cJSON *header = cJSON_Duplicate(from->header, true);
    if (!header)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory to merge results");
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(header, "shard"), 0);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(header, "shards"), 1);
    return results_open(out, NULL, header, NULL, err);
}

/* Moves the records over. */
static enum rf_status take_all(struct results *out, struct results *from, struct rf_error *err)
{
    for (size_t i = 0; i < from->count; i++) {
        struct record *record = &from->records[i];
        if (results_has(out, record->sample, record->variant))
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "%s: found sample %llu (%s %s) by %s, which another file has too", from->path,
                           (unsigned long long)record->sample, record->task, record->id,
                           results_variant(from, record->variant));
        enum rf_status status = results_take(out, record, err);
        if (status)
            return status;
    }
    return RF_OK;
}

static enum rf_status check_complete(const struct results *out, struct rf_error *err)
{
    uint64_t missing = 0;
    char first[256] = "";
    for (uint64_t i = 0; i < out->samples * out->variants; i++) {
        if (out->done[i])
            continue;
        if (!missing++)
            snprintf(first, sizeof first, "sample %llu by %s", (unsigned long long)(i / out->variants),
                     results_variant(out, (uint32_t)(i % out->variants)));
    }
    if (!missing)
        return RF_OK;
    return rf_fail(err, RF_ERROR_ARGUMENT, "--merge: %llu results are missing, the first is %s",
                   (unsigned long long)missing, first);
}

enum rf_status merge_files(struct results *out, const char *const *paths, size_t count, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    *out = (struct results){.fd = -1};
    for (size_t i = 0; i < count && !status; i++) {
        struct results part;
        status = results_read(&part, paths[i], out->header, NULL, err);
        if (status)
            break;
        if (!out->header)
            status = begin(out, &part, err);
        if (!status)
            status = take_all(out, &part, err);
        results_close(&part);
    }
    if (!status)
        status = check_complete(out, err);
    if (status) {
        results_close(out);
        return status;
    }
    results_sort(out);
    return RF_OK;
}

/* ---- To a file ------------------------------------------------------------------------------------------ */

static bool put_lines(FILE *file, const struct results *results)
{
    char *header = cJSON_PrintUnformatted(results->header);
    bool good = header && fprintf(file, "%s\n", header) > 0;
    cJSON_free(header);
    for (size_t i = 0; i < results->count && good; i++)
        good = fputs(results->records[i].line, file) >= 0;
    return fflush(file) == 0 && fsync(fileno(file)) == 0 && good;
}

enum rf_status merge_write(const struct results *results, const char *path, struct rf_error *err)
{
    char partial[PATH_MAX];
    if (snprintf(partial, sizeof partial, "%s.partial", path) >= (int)sizeof partial)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--out: the path is too long");
    FILE *file = fopen(partial, "w");
    if (!file)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot write: %s", partial, strerror(errno));
    bool good = put_lines(file, results);
    good = fclose(file) == 0 && good;
    if (good && rename(partial, path) == 0)
        return RF_OK;
    enum rf_status status = rf_fail(err, RF_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    unlink(partial);
    return status;
}

/* ---- By the last shard ---------------------------------------------------------------------------------- */

enum rf_status shard_clock(const struct results *results, struct timespec *out, struct rf_error *err)
{
    struct stat info;
    if (futimens(results->fd, NULL) != 0 || fstat(results->fd, &info) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot tell its time: %s", results->path, strerror(errno));
    *out = info.st_mtim;
    return RF_OK;
}

static bool newer(const char *path, const struct timespec *start)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    return info.st_mtim.tv_sec != start->tv_sec ? info.st_mtim.tv_sec > start->tv_sec
                                                : info.st_mtim.tv_nsec >= start->tv_nsec;
}

/* Reads all shards while they are ready; *missing counts those that are not. */
static enum rf_status gather(struct results *out, uint32_t *missing, const char *path, const cJSON *header,
                             uint32_t shards, const struct samples *samples, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    *out = (struct results){.fd = -1};
    for (uint32_t i = 0; i < shards && !status; i++) {
        struct results part;
        struct stat info;
        char *name = shard_path(path, i, shards);
        if (!name)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory to merge results");
        bool there = stat(name, &info) == 0 && info.st_size > 0;
        *missing += !there;
        status = there ? results_read(&part, name, header, samples, err) : RF_OK;
        free(name);
        if (status || !there)
            continue;
        *missing += part.count < results_wanted(&part);
        if (!out->header)
            status = begin(out, &part, err);
        if (!status)
            status = take_all(out, &part, err);
        results_close(&part);
    }
    return status;
}

enum rf_status merge_shards(struct results *out, bool *merged, uint32_t *missing, const char *path,
                            const cJSON *header, uint32_t shards, const struct samples *samples,
                            const struct timespec *start, struct rf_error *err)
{
    char lock[PATH_MAX];
    *merged = false;
    *missing = 0;
    *out = (struct results){.fd = -1};
    if (snprintf(lock, sizeof lock, "%s.lock", path) >= (int)sizeof lock)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--out: the path is too long");
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        if (fd >= 0)
            close(fd);
        return rf_fail(err, RF_ERROR_IO, "%s: cannot lock: %s", lock, strerror(errno));
    }
    enum rf_status status = RF_OK;
    if (!newer(path, start)) {
        status = gather(out, missing, path, header, shards, samples, err);
        if (!status && !*missing) {
            results_sort(out);
            status = merge_write(out, path, err);
            *merged = !status;
        }
        if (!*merged)
            results_close(out);
    }
    /* Whoever still waits for it, or makes it anew, finds the merged file. */
    if (!status && !*missing)
        unlink(lock);
    close(fd);
    return status;
}
