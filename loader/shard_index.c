#include "loader/shard_index.h"

#include "engine/allocate.h"
#include "loader/json.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_INDEX_VALUES = 1 << 20 }; /* one per tensor */

/* A shard lies in the folder of its index: a path could name any file of the machine. */
static enum rf_status check_entry(const cJSON *entry, const char *file, struct rf_error *err)
{
    const char *shard = cJSON_GetStringValue(entry);
    if (!shard)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: weight_map.%s is %s, wanted a shard's file name", file,
                       rf_json_printable(entry->string).text, rf_json_describe(entry).text);
    if (!shard[0] || strcmp(shard, ".") == 0 || strcmp(shard, "..") == 0 || strpbrk(shard, "/\\"))
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: weight_map.%s is %s, wanted the plain name of a file in the same folder", file,
                       rf_json_printable(entry->string).text, rf_json_describe(entry).text);
    for (const char *c = shard; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return rf_fail(err, RF_ERROR_FORMAT, "%s: weight_map.%s has a control character in its file name",
                           file, rf_json_printable(entry->string).text);
    return RF_OK;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct rf_shard_entry *)a)->tensor, ((const struct rf_shard_entry *)b)->tensor);
}

static enum rf_status reserve(struct rf_shard_index *out, const cJSON *map, const char *file,
                              struct rf_error *err)
{
    size_t count = 0, name_bytes = 0;
    for (const cJSON *entry = map->child; entry; entry = entry->next) {
        enum rf_status status = check_entry(entry, file, err);
        if (status)
            return status;
        count++;
        name_bytes += strlen(entry->string) + strlen(entry->valuestring) + 2;
    }
    if (count == 0)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: weight_map is empty, wanted at least one tensor", file);
    out->entries = rf_calloc(count, sizeof *out->entries);
    out->shards = rf_calloc(count, sizeof *out->shards);
    out->names = rf_malloc(name_bytes);
    if (!out->entries || !out->shards || !out->names)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory for %zu tensors", file, count);
    return RF_OK;
}

static const char *store(char **next, const char *text)
{
    size_t length = strlen(text) + 1;
    char *place = *next;
    memcpy(place, text, length);
    *next += length;
    return place;
}

static enum rf_status read_map(struct rf_shard_index *out, const cJSON *map, const char *file,
                               struct rf_error *err)
{
    enum rf_status status = reserve(out, map, file, err);
    if (status)
        return status;
    char *next = out->names;
    for (const cJSON *entry = map->child; entry; entry = entry->next) {
        out->shards[out->count] = store(&next, entry->valuestring);
        out->entries[out->count++].tensor = store(&next, entry->string);
    }
    qsort(out->shards, out->count, sizeof *out->shards, compare_strings);
    for (size_t i = 0; i < out->count; i++)
        if (i == 0 || strcmp(out->shards[i], out->shards[out->shard_count - 1]) != 0)
            out->shards[out->shard_count++] = out->shards[i];
    size_t i = 0;
    for (const cJSON *entry = map->child; entry; entry = entry->next) {
        const char *shard = entry->valuestring;
        const char **found = bsearch(&shard, out->shards, out->shard_count, sizeof shard, compare_strings);
        out->entries[i++].shard = (uint32_t)(found - out->shards);
    }
    qsort(out->entries, out->count, sizeof *out->entries, compare_entries);
    return RF_OK;
}

enum rf_status rf_shard_index_parse(struct rf_shard_index *out, const char *file, const char *text,
                                    size_t size, struct rf_error *err)
{
    *out = (struct rf_shard_index){0};
    cJSON *tree;
    enum rf_status status = rf_json_parse(&tree, file, text, size, MAX_INDEX_VALUES, err);
    if (status)
        return status;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(tree, "weight_map");
    if (cJSON_IsObject(map))
        status = read_map(out, map, file, err);
    else
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: weight_map is %s, wanted an object of tensor -> shard",
                         file, rf_json_describe(map).text);
    cJSON_Delete(tree);
    if (status)
        rf_shard_index_free(out);
    return status;
}

void rf_shard_index_free(struct rf_shard_index *index)
{
    rf_free(index->entries);
    rf_free(index->shards);
    rf_free(index->names);
    *index = (struct rf_shard_index){0};
}

const struct rf_shard_entry *rf_shard_index_find(const struct rf_shard_index *index, const char *tensor)
{
    struct rf_shard_entry key = {.tensor = tensor};
    return index->count ? bsearch(&key, index->entries, index->count, sizeof key, compare_entries) : NULL;
}
