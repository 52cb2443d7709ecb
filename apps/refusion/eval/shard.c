#include "apps/refusion/eval/shard.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Which shard ---------------------------------------------------------------------------------------- */

static bool read_number(const char *text, const char **end, uint32_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *stop;
    unsigned long value = strtoul(text, &stop, 10);
    *end = stop;
    *out = (uint32_t)value;
    return !errno && value <= 1000000;
}

static enum rf_status from_option(struct shard *out, const char *option, struct rf_error *err)
{
    const char *end = option;
    bool read = read_number(option, &end, &out->index) && *end == '/' &&
                read_number(end + 1, &end, &out->count) && !*end && out->index < out->count;
    out->source = "--shard";
    return read ? RF_OK
                : rf_fail(err, RF_ERROR_ARGUMENT,
                          "--shard: found \"%s\", wanted I/N, I being from 0 to N - 1", option);
}

/* Of a launcher that gives each process its rank and their number. */
static enum rf_status from_pair(struct shard *out, const char *source, const char *rank_name,
                                const char *size_name, char *(*variable)(const char *), struct rf_error *err)
{
    const char *rank = variable(rank_name), *size = variable(size_name), *end = NULL;
    if (!rank && !size)
        return RF_OK;
    if (!rank || !size)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "%s: found it in the environment without %s, wanted both or --shard",
                       rank ? rank_name : size_name, rank ? size_name : rank_name);
    bool read =
        read_number(rank, &end, &out->index) && !*end && read_number(size, &end, &out->count) && !*end;
    if (!read || out->index >= out->count)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "%s=%s, %s=%s: wanted a rank from 0 and a larger number of processes", rank_name, rank,
                       size_name, size);
    out->source = source;
    return RF_OK;
}

enum rf_status shard_find(struct shard *out, const char *option, char *(*variable)(const char *name),
                          struct rf_error *err)
{
    *out = (struct shard){0, 1, NULL};
    if (option)
        return from_option(out, option, err);
    struct shard mpi = {0}, torch = {0}, slurm = {0};
    enum rf_status status =
        from_pair(&mpi, "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", variable, err);
    if (!status)
        status = from_pair(&torch, "torchrun", "RANK", "WORLD_SIZE", variable, err);
    if (!status && !mpi.source && !torch.source)
        status = from_pair(&slurm, "Slurm", "SLURM_PROCID", "SLURM_NTASKS", variable, err);
    if (!status && mpi.source && torch.source && (mpi.index != torch.index || mpi.count != torch.count))
        status = rf_fail(
            err, RF_ERROR_ARGUMENT,
            "found shard %u/%u by OMPI_COMM_WORLD_RANK and _SIZE and %u/%u by RANK and WORLD_SIZE, wanted "
            "one of them or --shard",
            mpi.index, mpi.count, torch.index, torch.count);
    const struct shard *found = mpi.source ? &mpi : torch.source ? &torch : &slurm;
    if (!status && found->source)
        *out = *found;
    return status;
}

char *shard_path(const char *path, uint32_t index, uint32_t count)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *point = strrchr(name, '.');
    size_t stem = point && point > name ? (size_t)(point - path) : strlen(path);
    char *text;
    return asprintf(&text, "%.*s.%u-of-%u%s", (int)stem, path, index, count, path + stem) < 0 ? NULL : text;
}
