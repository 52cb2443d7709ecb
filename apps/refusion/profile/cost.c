/* What the free-running profile itself costs. Runs without it and free-running ones took turns, submission by submission
 * (turns.h), so that the two of a pair lie milliseconds apart and a machine that others use slows both. */
#include "apps/refusion/profile/aggregate.h"
#include "apps/refusion/profile/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double SURE = 0.9;         /* that an interval holds the median */
static const double MOST_SPREAD = 0.05; /* of an interval that tells something */

/* A run without profile and a free-running one of the same turn. */
struct turn {
    const struct profile_run *plain, *marked;
};

struct costs {
    const struct profile *profile;
    struct turn *turns;
    uint32_t turn_count;
    double *ratios; /* room for one a submission */
};

/* Of one kind of submission: what is the marked one to the plain one, and an interval that holds the true median. */
struct kind {
    double seconds; /* of the plain ones */
    double ratio, low, high, confidence;
    uint32_t pairs;
};

/* Wall seconds of a run's submission with all that follows until the next. */
static double wall_of(const struct profile *profile, const struct profile_run *run, uint32_t i)
{
    const struct profile_submission *s = &profile->submissions[run->first + i];
    double end = i + 1 < run->count ? s[1].record_begin : run->begin + run->seconds;
    return end - s->record_begin;
}

static uint32_t bucket_of(uint32_t rows)
{
    uint32_t bucket = 0;
    while (rows > 1u << bucket)
        bucket++;
    return bucket;
}

/* Submissions of one kind replay the same recorded forwards: those of up to as many rows, a power of two. */
static bool same_kind(const struct profile_submission *a, const struct profile_submission *b)
{
    return a->phase == b->phase && bucket_of(a->rows[0]) == bucket_of(b->rows[0]) &&
           !a->rows[1] == !b->rows[1] && bucket_of(a->rows[1]) == bucket_of(b->rows[1]);
}

static bool same_rows(const struct profile_submission *a, const struct profile_submission *b)
{
    return a->phase == b->phase && a->rows[0] == b->rows[0] && a->rows[1] == b->rows[1];
}

static const struct profile_run *nth_run(const struct profile *p, enum rf_profile_mode mode, uint32_t n)
{
    for (uint32_t i = 0; i < p->run_count; i++)
        if (p->runs[i].mode == mode && n-- == 0)
            return &p->runs[i];
    return NULL;
}

static bool same_submissions(const struct profile *p, const struct profile_run *a,
                             const struct profile_run *b)
{
    bool same = a->count == b->count && a->count > 0;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = same_rows(&p->submissions[a->first + i], &p->submissions[b->first + i]);
    return same;
}

/* The sign test's interval of a median: of sorted ratios the outermost, or those further in that leave at least SURE.
 * Nothing is assumed of how a machine's unrest is distributed. */
static void bound_median(struct kind *kind, const double *sorted)
{
    const uint32_t count = kind->pairs;
    double tail = pow(0.5, count), term = tail;
    uint32_t in = 0;
    for (;;) {
        double next = term * (double)(count - in) / (double)(in + 1);
        if (2 * (in + 1) >= count || 1.0 - 2.0 * (tail + next) < SURE)
            break;
        term = next;
        tail += term;
        in++;
    }
    kind->low = sorted[in];
    kind->high = sorted[count - 1 - in];
    kind->confidence = count > 1 ? 1.0 - 2.0 * tail : 0.0;
}

/* Of submissions like number `like` of the first turn, in all turns. */
static struct kind measure_kind(const struct costs *c, uint32_t like)
{
    const struct profile_submission *subs = c->profile->submissions;
    struct kind kind = {.ratio = 1.0};
    for (uint32_t t = 0; t < c->turn_count; t++) {
        const struct turn *turn = &c->turns[t];
        for (uint32_t i = 0; i < turn->plain->count; i++) {
            double wall = wall_of(c->profile, turn->plain, i);
            if (wall <= 0.0 ||
                !same_kind(&subs[turn->plain->first + i], &subs[c->turns[0].plain->first + like]))
                continue;
            kind.seconds += wall;
            c->ratios[kind.pairs++] = wall_of(c->profile, turn->marked, i) / wall;
        }
    }
    if (kind.pairs) {
        kind.ratio = median(c->ratios, kind.pairs);
        bound_median(&kind, c->ratios);
    }
    return kind;
}

/* Kinds are weighted with their time. What they miss the truth by is independent from kind to kind. */
static void sum_kinds(struct profile_cost *cost, const struct costs *c)
{
    const struct profile_run *first = c->turns[0].plain;
    const struct profile_submission *subs = &c->profile->submissions[first->first];
    double whole = 0.0, more = 0.0, below = 0.0, above = 0.0;
    cost->confidence = 1.0;
    for (uint32_t i = 0; i < first->count; i++) {
        uint32_t before = 0;
        while (before < i && !same_kind(&subs[before], &subs[i]))
            before++;
        if (before < i) /* the first of a kind stands for all */
            continue;
        struct kind kind = measure_kind(c, i);
        if (!kind.pairs)
            continue;
        whole += kind.seconds;
        more += kind.seconds * (kind.ratio - 1.0);
        below += pow(kind.seconds * (kind.ratio - kind.low), 2.0);
        above += pow(kind.seconds * (kind.high - kind.ratio), 2.0);
        cost->pairs += kind.pairs;
        cost->confidence = fmin(cost->confidence, kind.confidence);
    }
    if (whole <= 0.0)
        return;
    cost->share = more / whole;
    cost->low = cost->share - sqrt(below) / whole;
    cost->high = cost->share + sqrt(above) / whole;
    cost->turns = c->turn_count;
    cost->told = cost->turns > 1 && cost->high - cost->low <= MOST_SPREAD;
}

/* Turns that made the same submissions as the first, which greedy decoding does. */
static void find_turns(struct costs *c)
{
    const struct profile *p = c->profile;
    uint32_t turns = profile_count_runs(p, RF_PROFILE_OFF), marked = profile_count_runs(p, RF_PROFILE_FREE);
    for (uint32_t t = 0; t < turns && t < marked; t++) {
        struct turn turn = {nth_run(p, RF_PROFILE_OFF, t), nth_run(p, RF_PROFILE_FREE, t)};
        if (same_submissions(p, turn.plain, turn.marked) &&
            same_submissions(p, turn.plain, c->turn_count ? c->turns[0].plain : turn.plain))
            c->turns[c->turn_count++] = turn;
    }
}

bool profile_cost(struct profile_cost *cost, const struct profile *profile)
{
    struct costs c = {.profile = profile,
                      .turns = calloc(profile->run_count + 1, sizeof *c.turns),
                      .ratios = calloc((size_t)profile->submission_count + 1, sizeof *c.ratios)};
    *cost = (struct profile_cost){0};
    if (c.turns && c.ratios)
        find_turns(&c);
    if (c.turn_count)
        sum_kinds(cost, &c);
    free(c.turns);
    free(c.ratios);
    return cost->turns > 0;
}
