/* Growable arrays of bytes and token ids. Zero-initialised is empty; every append returns false when memory
 * runs out and then leaves the array as it was. The owner frees `data`. */
#ifndef RF_LOADER_GROWABLE_H
#define RF_LOADER_GROWABLE_H

#include "engine/allocate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rf_bytes {
    char *data;
    size_t length, capacity; /* bytes */
};

struct rf_ids {
    uint32_t *data;
    size_t length, capacity; /* ids */
};

static inline bool rf_bytes_reserve(struct rf_bytes *bytes, size_t more)
{
    if (bytes->capacity - bytes->length >= more)
        return true;
    if (more > SIZE_MAX / 2 - bytes->length)
        return false;
    size_t wanted = bytes->length + more;
    size_t capacity = bytes->capacity + bytes->capacity / 2 + 64;
    if (capacity < wanted)
        capacity = wanted;
    char *data = rf_realloc(bytes->data, capacity);
    if (!data)
        return false;
    bytes->data = data;
    bytes->capacity = capacity;
    return true;
}

static inline bool rf_bytes_append(struct rf_bytes *bytes, const char *data, size_t length)
{
    if (!rf_bytes_reserve(bytes, length))
        return false;
    if (length)
        memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
    return true;
}

/* Puts a NUL behind the content, which `length` does not count. */
static inline bool rf_bytes_terminate(struct rf_bytes *bytes)
{
    if (!rf_bytes_reserve(bytes, 1))
        return false;
    bytes->data[bytes->length] = '\0';
    return true;
}

static inline bool rf_ids_append(struct rf_ids *ids, uint32_t id)
{
    if (ids->length == ids->capacity) {
        size_t capacity = ids->capacity + ids->capacity / 2 + 64;
        if (capacity > SIZE_MAX / sizeof *ids->data)
            return false;
        uint32_t *data = rf_realloc(ids->data, capacity * sizeof *data);
        if (!data)
            return false;
        ids->data = data;
        ids->capacity = capacity;
    }
    ids->data[ids->length++] = id;
    return true;
}

#endif
