/* A checker of our own over the declared accesses, because neither validation nor synchronization validation
 * sees memory that is reached by address. It shares no code with the barrier derivation in command.c: for
 * every pair of conflicting accesses it demands a barrier between them. */
#ifndef RF_GPU_HAZARD_H
#define RF_GPU_HAZARD_H

#include "engine/gpu/command.h"

/* One entry of a command buffer's log. */
struct rf_log_entry {
    bool is_barrier;
    char label[64]; /* of the dispatch or copy */
    uint32_t access_count;
    struct rf_access accesses[RF_DISPATCH_ACCESSES + 1];
};

const struct rf_log_entry *rf_cmd_log(const struct rf_cmd *cmd, size_t *count);

enum { RF_KEEP_ALL_BARRIERS = -1 };
/* Checks a log as if its barrier number `without` (0-based) were not there. RF_OK, or RF_ERROR_INTERNAL with
 * the labels of the two dispatches that collide and the span. */
enum rf_status rf_hazard_check(const struct rf_log_entry *log, size_t count, int without,
                               struct rf_error *err);

#endif
