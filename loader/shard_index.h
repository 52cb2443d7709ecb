/* model.safetensors.index.json: which shard holds which tensor. */
#ifndef RF_LOADER_SHARD_INDEX_H
#define RF_LOADER_SHARD_INDEX_H

#include "engine/status.h"

struct rf_shard_entry {
    const char *tensor;
    uint32_t shard; /* into rf_shard_index.shards */
};

struct rf_shard_index {
    struct rf_shard_entry *entries; /* sorted by tensor name (strcmp), each name once */
    size_t count;                   /* >= 1 */
    const char **shards;            /* plain file names: no folder part, sorted, each once */
    uint32_t shard_count;           /* >= 1 */
    char *names;                    /* one block that holds all strings */
};

/* `file` is the name for messages. */
enum rf_status rf_shard_index_parse(struct rf_shard_index *out, const char *file, const char *text,
                                    size_t size, struct rf_error *err);
void rf_shard_index_free(struct rf_shard_index *index); /* zeroed is fine */

const struct rf_shard_entry *rf_shard_index_find(const struct rf_shard_index *index, const char *tensor);

#endif
