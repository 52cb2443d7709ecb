#include "engine/gpu/hazard.h"

/* Plain and quadratic on purpose: the accesses of one entry against those of every entry since the barrier
 * before it. */

static bool collide(const struct rf_access *a, const struct rf_access *b)
{
    if (a->mode == RF_READ && b->mode == RF_READ)
        return false;
    const uint64_t begin = a->span.address > b->span.address ? a->span.address : b->span.address;
    const uint64_t a_end = a->span.address + a->span.size, b_end = b->span.address + b->span.size;
    return begin < (a_end < b_end ? a_end : b_end);
}

static const char *mode_name(enum rf_access_mode mode)
{
    return mode == RF_READ ? "reads" : mode == RF_WRITE ? "writes" : "reads and writes";
}

static enum rf_status check_pair(const struct rf_log_entry *earlier, const struct rf_log_entry *later,
                                 struct rf_error *err)
{
    for (uint32_t i = 0; i < earlier->access_count; ++i)
        for (uint32_t j = 0; j < later->access_count; ++j) {
            const struct rf_access *a = &earlier->accesses[i], *b = &later->accesses[j];
            if (!collide(a, b))
                continue;
            return rf_fail(
                err, RF_ERROR_INTERNAL,
                "hazard: no barrier between \"%s\", which %s [0x%llx, +%llu), and \"%s\", which %s "
                "[0x%llx, +%llu)",
                earlier->label, mode_name(a->mode), (unsigned long long)a->span.address,
                (unsigned long long)a->span.size, later->label, mode_name(b->mode),
                (unsigned long long)b->span.address, (unsigned long long)b->span.size);
        }
    return RF_OK;
}

enum rf_status rf_hazard_check(const struct rf_log_entry *log, size_t count, int without,
                               struct rf_error *err)
{
    size_t first = 0; /* the first entry behind the last barrier */
    int barrier = 0;
    for (size_t i = 0; i < count; ++i) {
        if (log[i].is_barrier) {
            if (barrier++ != without)
                first = i + 1;
            continue;
        }
        for (size_t j = first; j < i; ++j) {
            if (log[j].is_barrier)
                continue; /* the one that is left out */
            enum rf_status status = check_pair(&log[j], &log[i], err);
            if (status)
                return status;
        }
    }
    return RF_OK;
}
