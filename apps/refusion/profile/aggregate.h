/* Sums over a profile: per kernel and phase, per layer and op, per phase, per round. */
#ifndef RF_APPS_PROFILE_AGGREGATE_H
#define RF_APPS_PROFILE_AGGREGATE_H

#include "apps/refusion/profile/store.h"
#include "engine/bench/bench.h"

enum { ALL_PHASES = RF_PHASES, NO_KERNEL = -1, NO_LAYER = -2 };

/* Times in seconds of one run, the mean over the runs of a kind; counts of one run. */
struct profile_sum {
    int kernel; /* index into profile.kernels, or NO_KERNEL */
    int layer;  /* NO_LAYER: all */
    int phase;  /* ALL_PHASES: all */
    uint64_t calls, rows, read, written, operations;
    double total;         /* serialised */
    double least, most;   /* of a single dispatch, serialised */
    double free_total;    /* free-running: groups of several are shared out by their serialised times */
    double floor_seconds; /* at the measured ceilings; 0: unknown */
    double *run_totals;   /* [serial runs] */
    /* What is left when each run's own speed is taken out (settle.h), and how far that can be believed: its standard
     * error as a share of it. Not with fewer than two runs, nor where their dispatches differ. */
    double settled, settled_error;
    bool has_settled;
};

struct profile_sums {
    struct profile_sum *items; /* by total, largest first */
    uint32_t count;
    uint32_t serial_runs, free_runs;
    double total; /* of all of them */
};

enum profile_key {
    BY_KERNEL = 1, /* shader and op */
    BY_PHASE = 2,
    BY_LAYER = 4,
    BY_OP = 8 /* kernels of one op are one */
};

/* Sums by a set of keys. `bench` (NULL: no floors) has measured its ceilings. Falls back on free-running times
 * where nothing was serialised. */
enum rf_status profile_sum_up(struct profile_sums *out, const struct profile *profile, unsigned keys,
                              const rf_bench *bench, struct rf_error *err);
void profile_sums_free(struct profile_sums *sums);

/* One round of the first run of a mode (the first of all when there is none). */
struct profile_round {
    uint32_t round, submissions, rows, forwards;
    uint32_t remaining_slots, chosen_slots, committed_tokens;
    double record, submit, wait, read, gpu;
};
/* malloc'ed, in order. */
enum rf_status profile_rounds(struct profile_round **out, uint32_t *count, const struct profile *profile,
                              struct rf_error *err);

/* The first run of a mode; NULL: none. */
const struct profile_run *profile_first_run(const struct profile *profile, enum rf_profile_mode mode);
uint32_t profile_count_runs(const struct profile *profile, enum rf_profile_mode mode);
/* Median over the runs of a mode of their device span, of what their groups sum up to, and of wall time. */
struct profile_step {
    double span, groups, seconds;
    double spread; /* of spans: (largest - smallest) / median */
};
struct profile_step profile_step(const struct profile *profile, enum rf_profile_mode mode);

/* cost.c: what free-running runs take beside those without profile, by wall clock, as shares: the median ratio of each
 * kind of submission (phase, and rows up to a power of two), weighted with the kind's time. Of runs whose submissions took turns. */
struct profile_cost {
    double share, low, high; /* low to high: an interval that holds the true value ... */
    double confidence;       /* ... with this probability; 0: a single turn */
    uint32_t turns, pairs;   /* of submissions */
    bool told;               /* the interval is narrow enough to say anything */
};
/* False where the runs of one kind are missing or made other submissions. */
bool profile_cost(struct profile_cost *cost, const struct profile *profile);
/* What serialised dispatches add up to beside the free-running groups of the same turn, as shares: the median of the
 * turns, the least and the most. turns is 0 where either is missing. */
struct profile_serialising {
    double share, low, high;
    uint32_t turns;
};
struct profile_serialising profile_serialising(const struct profile *profile);
/* Dispatches to a group in the first free-running run, on average; 0: there is none. */
double profile_group_size(const struct profile *profile);

/* Indices of the longest dispatches of the last serialised run (else free run), longest first; how many. */
uint32_t profile_costliest(const struct profile *profile, size_t *out, uint32_t most);

const char *profile_phase(int phase); /* "all" too */

#endif
