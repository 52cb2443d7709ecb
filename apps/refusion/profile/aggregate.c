#include "apps/refusion/profile/aggregate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double SURE = 0.9;         /* that an interval holds the median */
static const double MOST_SPREAD = 0.05; /* of an interval that tells something */

const char *profile_phase(int phase)
{
    return phase == ALL_PHASES ? "all" : rf_profile_phase_name((enum rf_profile_phase)phase);
}

uint32_t profile_count_runs(const struct profile *profile, enum rf_profile_mode mode)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < profile->run_count; i++)
        count += profile->runs[i].mode == mode;
    return count;
}

const struct profile_run *profile_first_run(const struct profile *profile, enum rf_profile_mode mode)
{
    for (uint32_t i = 0; i < profile->run_count; i++)
        if (profile->runs[i].mode == mode)
            return &profile->runs[i];
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

struct profile_step profile_step(const struct profile *profile, enum rf_profile_mode mode)
{
    struct profile_step step = {0};
    uint32_t count = profile_count_runs(profile, mode), n = 0;
    double *values = calloc(3 * (size_t)count + 1, sizeof *values);
    if (!count || !values) {
        free(values);
        return step;
    }
    for (uint32_t i = 0; i < profile->run_count; i++) {
        if (profile->runs[i].mode != mode)
            continue;
        values[n] = profile->runs[i].span;
        values[count + n] = profile->runs[i].groups;
        values[2 * count + n++] = profile->runs[i].seconds;
    }
    step.span = median(values, count);
    step.groups = median(values + count, count);
    step.seconds = median(values + 2 * (size_t)count, count);
    step.least_groups = values[count];
    step.least_seconds = values[2 * (size_t)count];
    step.spread = step.span > 0.0 ? (values[count - 1] - values[0]) / step.span : 0.0;
    free(values);
    return step;
}

/* Wall seconds of a run's submission with all that follows until the next. */
static double wall_of(const struct profile *profile, const struct profile_run *run, uint32_t i)
{
    const struct profile_submission *s = &profile->submissions[run->first + i];
    double end = i + 1 < run->count ? s[1].record_begin : run->begin + run->seconds;
    return end - s->record_begin;
}

/* Submissions of one kind do the same work on nearly as many rows. */
static bool same_kind(const struct profile_submission *a, const struct profile_submission *b)
{
    return a->phase == b->phase && a->rows[0] == b->rows[0] && a->rows[1] == b->rows[1];
}

/* Of one turn: what `marked` takes beside `plain`, from the median ratio of each kind of submission, weighted with the
 * kind's time. ratios: room for one a submission. */
static double cost_of_turn(const struct profile *p, const struct profile_run *plain,
                           const struct profile_run *marked, double *ratios)
{
    const struct profile_submission *subs = &p->submissions[plain->first];
    double whole = 0.0, more = 0.0;
    for (uint32_t i = 0; i < plain->count; i++) {
        uint32_t n = 0, before = 0;
        double seconds = 0.0;
        while (before < i && !same_kind(&subs[before], &subs[i]))
            before++;
        if (before < i) /* the first of a kind stands for all */
            continue;
        for (uint32_t k = i; k < plain->count; k++) {
            double wall = wall_of(p, plain, k);
            if (!same_kind(&subs[k], &subs[i]) || wall <= 0.0)
                continue;
            seconds += wall;
            ratios[n++] = wall_of(p, marked, k) / wall;
        }
        if (n)
            more += seconds * (median(ratios, n) - 1.0);
        whole += seconds;
    }
    return whole > 0.0 ? more / whole : 0.0;
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
        same = same_kind(&p->submissions[a->first + i], &p->submissions[b->first + i]);
    return same;
}

/* The sign test's interval of a median: of `count` sorted values the outermost, or those further in that leave at
 * least SURE. Nothing is assumed of how a machine's unrest is distributed. */
static void bound_median(struct profile_cost *cost, const double *sorted, uint32_t count)
{
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
    cost->low = sorted[in];
    cost->high = sorted[count - 1 - in];
    cost->confidence = count > 1 ? 1.0 - 2.0 * tail : 0.0;
}

bool profile_cost(struct profile_cost *cost, const struct profile *profile)
{
    uint32_t turns = profile_count_runs(profile, RF_PROFILE_OFF), n = 0;
    uint32_t marked_runs = profile_count_runs(profile, RF_PROFILE_FREE);
    *cost = (struct profile_cost){0};
    turns = turns < marked_runs ? turns : marked_runs;
    double *costs = calloc(turns + 1, sizeof *costs);
    double *ratios = calloc(profile->submission_count + 1, sizeof *ratios);
    for (uint32_t t = 0; costs && ratios && t < turns; t++) {
        const struct profile_run *plain = nth_run(profile, RF_PROFILE_OFF, t),
                                 *marked = nth_run(profile, RF_PROFILE_FREE, t);
        if (same_submissions(profile, plain, marked))
            costs[n++] = cost_of_turn(profile, plain, marked, ratios);
    }
    if (n) {
        cost->turns = n;
        cost->share = median(costs, n);
        bound_median(cost, costs, n);
        cost->told = n > 1 && cost->high - cost->low <= MOST_SPREAD;
    }
    free(costs);
    free(ratios);
    return n > 0;
}

double profile_group_size(const struct profile *profile)
{
    const struct profile_run *run = profile_first_run(profile, RF_PROFILE_FREE);
    uint64_t dispatches = 0, groups = 0;
    for (uint32_t i = 0; run && i < run->count; i++) {
        const struct profile_submission *s = &profile->submissions[run->first + i];
        dispatches += s->count;
        groups += s->count ? profile->dispatches[s->first + s->count - 1].group + 1 : 0;
    }
    return groups ? (double)dispatches / (double)groups : 0.0;
}

/* ---- Sums ------------------------------------------------------------------------------------------- */

struct summing {
    const struct profile *profile;
    struct profile_sums *out;
    unsigned keys;
    enum rf_profile_mode timed; /* SERIAL, or FREE where nothing was serialised */
    uint32_t room;
};

static struct profile_sum key_of(const struct summing *s, const struct profile_dispatch *d)
{
    const struct profile *p = s->profile;
    struct profile_sum key = {.kernel = NO_KERNEL, .layer = NO_LAYER, .phase = ALL_PHASES};
    if (s->keys & (BY_KERNEL | BY_OP))
        key.kernel = (int)d->kernel;
    /* The first kernel of an op stands for all. */
    for (uint32_t i = 0; (s->keys & BY_OP) && i < d->kernel; i++)
        if (strcmp(p->kernels[i].op, p->kernels[d->kernel].op) == 0) {
            key.kernel = (int)i;
            break;
        }
    if (s->keys & BY_LAYER)
        key.layer = d->layer;
    if (s->keys & BY_PHASE)
        key.phase = (int)p->submissions[d->submission].phase;
    return key;
}

static struct profile_sum *find(struct summing *s, const struct profile_dispatch *d, struct rf_error *err)
{
    struct profile_sums *sums = s->out;
    struct profile_sum key = key_of(s, d);
    for (uint32_t i = 0; i < sums->count; i++) {
        struct profile_sum *item = &sums->items[i];
        if (item->kernel == key.kernel && item->layer == key.layer && item->phase == key.phase)
            return item;
    }
    if (sums->count == s->room) {
        uint32_t room = s->room ? 2 * s->room : 64;
        struct profile_sum *grown = realloc(sums->items, room * sizeof *grown);
        if (!grown) {
            rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %u sums", room);
            return NULL;
        }
        sums->items = grown;
        s->room = room;
    }
    key.run_totals = calloc(sums->serial_runs + 1, sizeof *key.run_totals);
    if (!key.run_totals) {
        rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for a sum");
        return NULL;
    }
    sums->items[sums->count] = key;
    return &sums->items[sums->count++];
}

/* Of one run of the timed mode, number `index` among them. */
static enum rf_status add_timed(struct summing *s, const struct profile_run *run, uint32_t index,
                                struct rf_error *err)
{
    const struct profile *p = s->profile;
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        const struct profile_submission *sub = &p->submissions[i];
        for (size_t n = sub->first; n < sub->first + sub->count; n++) {
            const struct profile_dispatch *d = &p->dispatches[n];
            struct profile_sum *sum = find(s, d, err);
            if (!sum)
                return RF_ERROR_HOST_MEMORY;
            double seconds = d->end - d->begin;
            sum->least = sum->calls == 0 || seconds < sum->least ? seconds : sum->least;
            sum->most = seconds > sum->most ? seconds : sum->most;
            sum->calls++;
            sum->rows += d->rows;
            sum->read += d->read;
            sum->written += d->written;
            sum->operations += d->operations;
            sum->total += seconds;
            sum->run_totals[index] += seconds;
        }
    }
    return RF_OK;
}

/* The dispatches of a run, one behind the other. */
static const struct profile_dispatch *run_dispatches(const struct profile *p, const struct profile_run *run,
                                                     size_t *count)
{
    *count = 0;
    if (!run->count)
        return NULL;
    const struct profile_submission *last = &p->submissions[run->first + run->count - 1];
    size_t first = p->submissions[run->first].first;
    *count = last->first + last->count - first;
    return &p->dispatches[first];
}

/* Greedy decoding makes the same dispatches in every run; where it does not (a drawn token, a changed prompt), runs
 * cannot be laid on one another. */
static bool same_dispatches(const struct summing *s, size_t *count)
{
    const struct profile *p = s->profile;
    const struct profile_dispatch *first = NULL;
    for (uint32_t i = 0; i < p->run_count; i++) {
        size_t n;
        if (p->runs[i].mode != s->timed)
            continue;
        const struct profile_dispatch *now = run_dispatches(p, &p->runs[i], &n);
        if (!now || (first && n != *count))
            return false;
        first = first ? first : now;
        *count = n;
        for (size_t d = 0; d < n; d++)
            if (now[d].kernel != first[d].kernel || now[d].layer != first[d].layer ||
                now[d].rows != first[d].rows)
                return false;
    }
    return first != NULL;
}

static enum rf_status settle(struct summing *s, struct rf_error *err)
{
    const struct profile *p = s->profile;
    size_t count = 0;
    if (s->out->serial_runs < 2 || !same_dispatches(s, &count))
        return RF_OK;
    const struct profile_dispatch *first = NULL;
    double(*least)[2] = malloc((count + 1) * sizeof *least); /* of even and of odd runs */
    if (!least)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %zu dispatches", count);
    uint32_t index = 0;
    for (uint32_t i = 0; i < p->run_count; i++) {
        if (p->runs[i].mode != s->timed)
            continue;
        const struct profile_dispatch *now = run_dispatches(p, &p->runs[i], &count);
        first = first ? first : now;
        for (size_t d = 0; d < count; d++) {
            double seconds = now[d].end - now[d].begin;
            if (index < 2 || seconds < least[d][index % 2])
                least[d][index % 2] = seconds;
        }
        index++;
    }
    for (size_t d = 0; d < count; d++) {
        struct profile_sum *sum = find(s, &first[d], err);
        if (!sum)
            break;
        sum->has_settled = true;
        sum->halves[0] += least[d][0];
        sum->halves[1] += least[d][1];
        sum->settled += least[d][0] < least[d][1] ? least[d][0] : least[d][1];
    }
    free(least);
    return RF_OK;
}

static double mean_of(const struct profile_sum *sum)
{
    return sum->calls ? sum->total / (double)sum->calls : 0.0;
}

/* A group's time goes to its dispatches as their mean serialised times are to each other. */
static enum rf_status share_group(struct summing *s, size_t first, size_t end, struct rf_error *err)
{
    const struct profile_dispatch *all = s->profile->dispatches;
    double whole = 0.0, seconds = all[first].end - all[first].begin;
    for (size_t n = first; n < end; n++) {
        struct profile_sum *sum = find(s, &all[n], err);
        if (!sum)
            return RF_ERROR_HOST_MEMORY;
        whole += mean_of(sum);
    }
    for (size_t n = first; n < end; n++) {
        struct profile_sum *sum = find(s, &all[n], err);
        if (!sum)
            return RF_ERROR_HOST_MEMORY;
        sum->free_total += whole > 0.0 ? seconds * mean_of(sum) / whole : seconds / (double)(end - first);
    }
    return RF_OK;
}

static enum rf_status add_free(struct summing *s, const struct profile_run *run, struct rf_error *err)
{
    const struct profile *p = s->profile;
    enum rf_status status = RF_OK;
    for (uint32_t i = run->first; !status && i < run->first + run->count; i++) {
        size_t first = p->submissions[i].first, end = first + p->submissions[i].count;
        while (!status && first < end) {
            size_t next = first + 1;
            while (next < end && p->dispatches[next].group == p->dispatches[first].group)
                next++;
            status = share_group(s, first, next, err);
            first = next;
        }
    }
    return status;
}

static int by_total(const void *a, const void *b)
{
    const struct profile_sum *x = a, *y = b;
    return x->total > y->total ? -1 : x->total < y->total;
}

/* From sums over all runs to those of one. */
static void average(struct profile_sums *sums, const rf_bench *bench)
{
    for (uint32_t i = 0; i < sums->count; i++) {
        struct profile_sum *sum = &sums->items[i];
        uint64_t runs = sums->serial_runs ? sums->serial_runs : 1;
        sum->calls /= runs;
        sum->rows /= runs;
        sum->read /= runs;
        sum->written /= runs;
        sum->operations /= runs;
        sum->total /= (double)runs;
        sum->free_total /= sums->free_runs ? (double)sums->free_runs : 1.0;
        if (bench)
            sum->floor_seconds = rf_bench_floor(bench, sum->read + sum->written, sum->operations);
        sums->total += sum->total;
    }
    if (sums->count) /* qsort takes no NULL, not even of nothing */
        qsort(sums->items, sums->count, sizeof *sums->items, by_total);
}

enum rf_status profile_sum_up(struct profile_sums *out, const struct profile *profile, unsigned keys,
                              const rf_bench *bench, struct rf_error *err)
{
    struct summing s = {.profile = profile, .out = out, .keys = keys, .timed = RF_PROFILE_SERIAL};
    *out = (struct profile_sums){0};
    if (!profile_count_runs(profile, RF_PROFILE_SERIAL))
        s.timed = RF_PROFILE_FREE;
    out->serial_runs = profile_count_runs(profile, s.timed);
    out->free_runs = profile_count_runs(profile, RF_PROFILE_FREE);
    enum rf_status status = RF_OK;
    uint32_t index = 0;
    for (uint32_t i = 0; !status && i < profile->run_count; i++)
        if (profile->runs[i].mode == s.timed)
            status = add_timed(&s, &profile->runs[i], index++, err);
    for (uint32_t i = 0; !status && i < profile->run_count; i++)
        if (profile->runs[i].mode == RF_PROFILE_FREE)
            status = add_free(&s, &profile->runs[i], err);
    if (!status)
        status = settle(&s, err);
    if (status) {
        profile_sums_free(out);
        return status;
    }
    average(out, bench);
    return RF_OK;
}

void profile_sums_free(struct profile_sums *sums)
{
    for (uint32_t i = 0; i < sums->count; i++)
        free(sums->items[i].run_totals);
    free(sums->items);
    *sums = (struct profile_sums){0};
}

/* ---- Rounds and single dispatches ------------------------------------------------------------------- */

static const struct profile_run *shown_run(const struct profile *profile)
{
    const struct profile_run *run = profile_first_run(profile, RF_PROFILE_FREE);
    return run ? run : profile_first_run(profile, RF_PROFILE_HOST);
}

enum rf_status profile_rounds(struct profile_round **out, uint32_t *count, const struct profile *profile,
                              struct rf_error *err)
{
    const struct profile_run *run = shown_run(profile);
    *count = 0;
    *out = calloc(run && run->count ? run->count : 1, sizeof **out);
    if (!*out)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for the rounds");
    for (uint32_t i = run ? run->first : 0; run && i < run->first + run->count; i++) {
        const struct profile_submission *s = &profile->submissions[i];
        if (!*count || (*out)[*count - 1].round != s->round)
            (*out)[(*count)++] =
                (struct profile_round){.round = s->round, .remaining_slots = s->remaining_slots};
        struct profile_round *round = &(*out)[*count - 1];
        round->submissions++;
        round->rows += s->rows[0] + s->rows[1];
        round->forwards += s->rows[1] ? 2 : 1;
        round->chosen_slots = s->chosen_slots > round->chosen_slots ? s->chosen_slots : round->chosen_slots;
        round->committed_tokens += s->committed_tokens;
        round->record += s->submit_begin - s->record_begin;
        round->submit += s->wait_begin - s->submit_begin;
        round->wait += s->read_begin - s->wait_begin;
        round->read += s->end - s->read_begin;
        round->gpu += s->gpu_end - s->gpu_begin;
    }
    return RF_OK;
}

uint32_t profile_costliest(const struct profile *profile, size_t *out, uint32_t most)
{
    const struct profile_run *run = NULL;
    for (uint32_t i = 0; i < profile->run_count; i++)
        if (profile->runs[i].mode == RF_PROFILE_SERIAL || (!run && profile->runs[i].mode == RF_PROFILE_FREE))
            run = &profile->runs[i];
    uint32_t count = 0;
    for (uint32_t i = run ? run->first : 0; run && i < run->first + run->count; i++) {
        const struct profile_submission *s = &profile->submissions[i];
        for (size_t n = s->first; n < s->first + s->count; n++) {
            const struct profile_dispatch *d = &profile->dispatches[n];
            uint32_t at = count;
            while (at > 0 && profile->dispatches[out[at - 1]].end - profile->dispatches[out[at - 1]].begin <
                                 d->end - d->begin)
                at--;
            if (at == most)
                continue;
            if (count < most)
                count++;
            memmove(out + at + 1, out + at, (count - 1 - at) * sizeof *out);
            out[at] = n;
        }
    }
    return count;
}
