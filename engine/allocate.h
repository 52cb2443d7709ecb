/* The host's memory. Every room takes it here (tests/consumers/test_symbols.py looks), and so from the rf_allocator
 * of the context or the tokenizer that is at work: a public function that may allocate says which one by
 * RF_ALLOCATE_FROM, for its thread and until it returns. A parameter would say the same in some hundred signatures, and
 * could not reach what libraries allocate through callbacks of ours.
 *
 * A block knows whom it came from, by 16 bytes before it: rf_free and rf_realloc need not be told. */
#ifndef RF_ENGINE_ALLOCATE_H
#define RF_ENGINE_ALLOCATE_H

#include "engine/refusion.h"

/* As their namesakes of C. */
void *rf_malloc(size_t size);
void *rf_calloc(size_t count, size_t size);
void *rf_realloc(void *block, size_t size);
char *rf_strdup(const char *text);
char *rf_strndup(const char *text, size_t most);

/* From here on this thread's blocks come from `next`; an `allocate` of NULL: from malloc. Returns what was so far. */
struct rf_allocator rf_allocator_enter(struct rf_allocator next);
void rf_allocator_leave(const struct rf_allocator *former);
/* Whom this thread's blocks come from now. */
struct rf_allocator rf_allocator_current(void);

/* rf_allocator_enter until the end of the block that this stands in, whichever way it is left. */
#define RF_ALLOCATE_FROM(next)                                                                               \
    __attribute__((cleanup(rf_allocator_leave), unused)) const struct rf_allocator rf_former_allocator =     \
        rf_allocator_enter(next)

#endif
