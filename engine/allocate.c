#include "engine/allocate.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Before each block; as long as keeps the block aligned for anything. */
struct header {
    alignas(max_align_t) struct rf_allocator from;
};

static _Thread_local struct rf_allocator current;

struct rf_allocator rf_allocator_enter(struct rf_allocator next)
{
    struct rf_allocator former = current;
    current = next;
    return former;
}

void rf_allocator_leave(const struct rf_allocator *former)
{
    current = *former;
}

struct rf_allocator rf_allocator_current(void)
{
    return current;
}

static void *behind(struct header *header, struct rf_allocator from)
{
    if (!header)
        return NULL;
    header->from = from;
    return header + 1;
}

static void *with_header(struct rf_allocator from, struct header *old, size_t size)
{
    if (size > SIZE_MAX - sizeof(struct header))
        return NULL;
    size += sizeof(struct header);
    return behind(from.allocate ? from.allocate(from.user, old, size) : realloc(old, size), from);
}

void *rf_malloc(size_t size)
{
    return with_header(current, NULL, size);
}

void *rf_calloc(size_t count, size_t size)
{
    if (size && count > (SIZE_MAX - sizeof(struct header)) / size)
        return NULL;
    size_t total = count * size;
    if (!current
             .allocate) /* large blocks come zeroed from the system, and their pages when they are touched */
        return behind(calloc(1, sizeof(struct header) + total), current);
    void *block = rf_malloc(total);
    return block ? memset(block, 0, total) : NULL;
}

void *rf_realloc(void *block, size_t size)
{
    if (!block)
        return rf_malloc(size);
    struct header *header = (struct header *)block - 1;
    return with_header(header->from, header, size);
}

void rf_free(void *block)
{
    if (!block)
        return;
    struct header *header = (struct header *)block - 1;
    if (header->from.allocate)
        header->from.allocate(header->from.user, header, 0);
    else
        free(header);
}

static char *copy_text(const char *text, size_t length)
{
    char *copy = rf_malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *rf_strdup(const char *text)
{
    return copy_text(text, strlen(text));
}

char *rf_strndup(const char *text, size_t most)
{
    const char *end = memchr(text, '\0', most);
    return copy_text(text, end ? (size_t)(end - text) : most);
}
