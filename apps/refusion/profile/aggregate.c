#include "apps/refusion/profile/aggregate.h"

#include "apps/refusion/profile/settle.h"
#include "apps/refusion/profile/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    step.spread = step.span > 0.0 ? (values[count - 1] - values[0]) / step.span : 0.0;
    free(values);
    return step;
}

struct profile_serialising profile_serialising(const struct profile *profile)
{
    struct profile_serialising s = {0};
    double groups = 0.0, *shares = calloc(profile->run_count + 1, sizeof *shares);
    for (uint32_t i = 0; shares && i < profile->run_count; i++) {
        const struct profile_run *run = &profile->runs[i];
        if (run->mode == RF_PROFILE_FREE)
            groups = run->groups;
        if (run->mode != RF_PROFILE_SERIAL || groups <= 0.0)
            continue;
        shares[s.turns++] = run->groups / groups - 1.0;
        groups = 0.0;
    }
    if (s.turns) {
        s.share = median(shares, s.turns);
        s.low = shares[0];
        s.high = shares[s.turns - 1];
    }
    free(shares);
    return s;
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

/* A sum's time in each run, had all been as fast as the fastest. */
static enum rf_status add_errors(struct summing *s, const struct settled *settled, struct rf_error *err)
{
    const struct profile *p = s->profile;
    double *values = calloc((size_t)s->out->count * settled->run_count + 1, sizeof *values);
    if (!values)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %u runs", settled->run_count);
    uint32_t index = 0;
    for (uint32_t i = 0; i < p->run_count; i++) {
        size_t count;
        if (p->runs[i].mode != s->timed)
            continue;
        const struct profile_dispatch *now = run_dispatches(p, &p->runs[i], &count);
        for (size_t d = 0; d < count; d++) {
            const struct profile_sum *sum = find(s, &now[d], err); /* is there: all have been added */
            if (sum)
                values[(size_t)(sum - s->out->items) * settled->run_count + index] +=
                    (now[d].end - now[d].begin) / settled->factors[index];
        }
        index++;
    }
    for (uint32_t i = 0; i < s->out->count; i++)
        s->out->items[i].settled_error =
            relative_error(values + (size_t)i * settled->run_count, settled->run_count);
    free(values);
    return RF_OK;
}

static enum rf_status add_settled(struct summing *s, struct rf_error *err)
{
    const struct profile *p = s->profile;
    struct settled settled;
    size_t count;
    enum rf_status status = settle(&settled, p, s->timed, err);
    const struct profile_dispatch *first =
        settled.count ? run_dispatches(p, profile_first_run(p, s->timed), &count) : NULL;
    for (size_t d = 0; d < settled.count; d++) {
        struct profile_sum *sum = find(s, &first[d], err);
        if (!sum)
            break;
        sum->has_settled = true;
        sum->settled += settled.seconds[d];
    }
    if (!status && settled.count)
        status = add_errors(s, &settled, err);
    settled_free(&settled);
    return status;
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
        status = add_settled(&s, err);
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
