/* Any text as model.safetensors.index.json: refused with one line, or a map whose shards are plain file
 * names. */
#include "loader/shard_index.h"
#include "promise.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_shard(const struct rf_shard_index *index, uint32_t i)
{
    const char *name = index->shards[i];
    promise(name[0] && !strpbrk(name, "/\\\n") && strcmp(name, ".") && strcmp(name, ".."));
    promise(i == 0 || strcmp(index->shards[i - 1], name) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct rf_shard_index index;
    struct rf_error err = {0};
    enum rf_status status = rf_shard_index_parse(&index, "index.json", (const char *)bytes, size, &err);
    promise_outcome(status, &err);
    promise(status || (index.count > 0 && index.shard_count > 0 && index.shard_count <= index.count));
    for (uint32_t i = 0; i < index.shard_count; i++)
        check_shard(&index, i);
    for (size_t i = 0; i < index.count; i++) {
        const struct rf_shard_entry *entry = &index.entries[i];
        promise(entry->shard < index.shard_count);
        promise(i == 0 || strcmp(index.entries[i - 1].tensor, entry->tensor) < 0);
        promise(rf_shard_index_find(&index, entry->tensor) == entry);
    }
    rf_shard_index_free(&index);
    return 0;
}
