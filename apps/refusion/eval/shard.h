/* Which part of the samples a process answers, and how the parts come together. */
#ifndef RF_APPS_EVAL_SHARD_H
#define RF_APPS_EVAL_SHARD_H

#include "apps/refusion/eval/results.h"

struct shard {
    uint32_t index, count;
    const char *source; /* "--shard", "Open MPI", "torchrun", "Slurm"; NULL: there is one process */
};

/* `option`: of --shard, "0/2", which wins; NULL: not given. Otherwise what a launcher says by `variable` (getenv): Open
 * MPI's mpirun and torchrun, which must agree where both do; else Slurm, which is outside of them. RF_ERROR_ARGUMENT
 * for what is no shard, and for half of a pair. */
enum rf_status shard_find(struct shard *out, const char *option, char *(*variable)(const char *name),
                          struct rf_error *err);

/* "results.jsonl" to "results.0-of-2.jsonl", malloc'ed; NULL: no memory. */
char *shard_path(const char *path, uint32_t index, uint32_t count);

/* Results of several files as those of one process: sorted, with a header of one shard. Each sample by each variant has
 * to be there once; what is missing, repeated or of another run is named (RF_ERROR_ARGUMENT). */
enum rf_status merge_files(struct results *out, const char *const *paths, size_t count, struct rf_error *err);

/* Writes results to a file, which appears whole. */
enum rf_status merge_write(const struct results *results, const char *path, struct rf_error *err);

struct timespec;
/* What a shard calls when all of its samples are in its file and that is closed; `start` is when it began, by the clock
 * of the file system (shard_clock). *merged: this process is the one that found all shards ready and wrote `path`; *out
 * is filled then. Otherwise another has, or will; *missing is how many shards are not ready. */
enum rf_status merge_shards(struct results *out, bool *merged, uint32_t *missing, const char *path,
                            const cJSON *header, uint32_t shards, const struct samples *samples,
                            const struct timespec *start, struct rf_error *err);
/* Touches the open results and tells the time that the file system gave them. */
enum rf_status shard_clock(const struct results *results, struct timespec *out, struct rf_error *err);

#endif
