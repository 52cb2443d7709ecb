#include "engine/model/parts.h"

#include <math.h>

#include "engine/model/forward_internal.h"

/* Parts are made this long, so that a growing context does not soon make them too long. */
static const double AIM = 2.0 / 3.0; /* of the limit */

/* The slowest devices of desktops read 2 GB and multiply 2e10 numbers a second. A forward that is cut into
 * more parts than it needs loses a few microseconds each, once: the next one is cut by what this one took. */
static const double SLOW_BYTES = 2e9, SLOW_FLOPS = 2e10;

void rf_times_add(struct forward_times *times, double seconds)
{
    times->last[times->count++ % RF_TIMES_KEPT] = seconds;
}

double rf_times_seconds(const struct forward_times *times)
{
    uint32_t kept = times->count < RF_TIMES_KEPT ? times->count : RF_TIMES_KEPT;
    double longest = 0.0, second = 0.0;
    for (uint32_t i = 0; i < kept; i++) {
        double now = times->last[i];
        second = now > longest ? longest : now > second ? now : second;
        longest = now > longest ? now : longest;
    }
    return kept == 1 ? longest : second;
}

uint32_t rf_parts_for(double seconds, double limit)
{
    double parts = ceil(seconds / (AIM * limit));
    return parts < 1.0 ? 1 : parts > RF_FORWARD_PARTS ? RF_FORWARD_PARTS : (uint32_t)parts;
}

bool rf_parts_are_wrong(uint32_t parts, double seconds, double limit)
{
    uint32_t wanted = rf_parts_for(seconds, limit);
    return (seconds > parts * limit && wanted > parts) || 2 * wanted <= parts;
}

/* The least of what forwards of other sizes or kinds took, as many times as this one has their rows; above: more
 * than any. */
static double least_of_others(const struct forward_recordings *r, uint32_t bucket)
{
    double least = INFINITY;
    for (uint32_t b = 0; b < FORWARD_BUCKETS; b++) {
        for (uint32_t v = 0; v < RF_FORWARD_VARIANTS; v++) {
            const struct forward_times *other = &r->variants[b][v].times;
            double seconds = rf_times_seconds(other) * (b < bucket ? 1u << (bucket - b) : 1u);
            if (other->count && seconds < least)
                least = seconds;
        }
    }
    return least;
}

double rf_forward_estimate(const struct rf_forward *f, uint32_t bucket, uint32_t flags, uint64_t cost)
{
    const struct forward_recordings *own = &f->recordings[f->marking],
                                    *plain = &f->recordings[RF_MARK_NOTHING];
    if (own->variants[bucket][flags].times.count)
        return rf_times_seconds(&own->variants[bucket][flags].times);
    /* Marks add little to what the same forward takes without. */
    const struct forward_times *same = &plain->variants[bucket][flags & ~(uint32_t)RF_FORWARD_SECOND].times;
    if (same->count)
        return rf_times_seconds(same);
    double least = fmin(least_of_others(own, bucket), least_of_others(plain, bucket));
    if (least < INFINITY)
        return least;
    double rows = 1u << bucket; /* a byte of weights is at most two weights, a product is two operations */
    return fmax((double)cost / SLOW_BYTES, 4.0 * (double)cost * rows / SLOW_FLOPS);
}
