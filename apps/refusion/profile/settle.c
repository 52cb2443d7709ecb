#include "apps/refusion/profile/settle.h"

#include "apps/refusion/profile/statistics.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 4 };

struct fit {
    const struct profile_dispatch **runs; /* [run_count] */
    struct settled *out;
    struct weighted *items; /* [count] */
    double *values;         /* [run_count] */
};

const struct profile_dispatch *run_dispatches(const struct profile *p, const struct profile_run *run,
                                              size_t *count)
{
    *count = 0;
    if (!run->count)
        return NULL;
    const struct profile_submission *last = &p->submissions[run->first + run->count - 1];
    size_t first = p->submissions[run->first].first;
    *count = last->first + last->count - first;
    return *count ? &p->dispatches[first] : NULL;
}

/* Greedy decoding makes the same dispatches in every run; where it does not (a drawn token, a changed prompt), runs
 * cannot be laid on one another. */
static bool same_dispatches(const struct fit *fit)
{
    for (uint32_t r = 1; r < fit->out->run_count; r++)
        for (size_t d = 0; d < fit->out->count; d++) {
            const struct profile_dispatch *a = &fit->runs[0][d], *b = &fit->runs[r][d];
            if (a->kernel != b->kernel || a->layer != b->layer || a->rows != b->rows)
                return false;
        }
    return true;
}

/* False where there is nothing to lay on one another. */
static bool find_runs(struct fit *fit, const struct profile *p, enum rf_profile_mode mode)
{
    for (uint32_t i = 0; i < p->run_count; i++) {
        size_t count;
        if (p->runs[i].mode != mode)
            continue;
        const struct profile_dispatch *now = run_dispatches(p, &p->runs[i], &count);
        if (!now || (fit->out->run_count && count != fit->out->count))
            return false;
        fit->out->count = count;
        fit->runs[fit->out->run_count++] = now;
    }
    return fit->out->run_count > 1 && same_dispatches(fit);
}

static double seconds_of(const struct fit *fit, uint32_t run, size_t dispatch)
{
    const struct profile_dispatch *d = &fit->runs[run][dispatch];
    return d->end - d->begin;
}

static void fit_dispatches(struct fit *fit)
{
    const struct settled *s = fit->out;
    for (size_t d = 0; d < s->count; d++) {
        for (uint32_t r = 0; r < s->run_count; r++)
            fit->values[r] = seconds_of(fit, r, d) / s->factors[r];
        s->seconds[d] = median(fit->values, s->run_count);
    }
}

static void fit_runs(struct fit *fit)
{
    const struct settled *s = fit->out;
    for (uint32_t r = 0; r < s->run_count; r++) {
        uint32_t n = 0;
        for (size_t d = 0; d < s->count; d++)
            if (s->seconds[d] > 0.0)
                fit->items[n++] =
                    (struct weighted){seconds_of(fit, r, d) / s->seconds[d], sqrt(s->seconds[d])};
        s->factors[r] = n ? weighted_median(fit->items, n) : 1.0;
        if (!(s->factors[r] > 0.0)) /* of a clock that stood still */
            s->factors[r] = 1.0;
    }
}

static void fit_all(struct fit *fit)
{
    struct settled *s = fit->out;
    for (uint32_t r = 0; r < s->run_count; r++)
        s->factors[r] = 1.0;
    fit_dispatches(fit);
    for (int i = 0; i < ROUNDS; i++) {
        fit_runs(fit);
        fit_dispatches(fit);
    }
    double fastest = s->factors[0];
    for (uint32_t r = 1; r < s->run_count; r++)
        fastest = fmin(fastest, s->factors[r]);
    for (uint32_t r = 0; r < s->run_count; r++)
        s->factors[r] /= fastest;
    for (size_t d = 0; d < s->count; d++)
        s->seconds[d] *= fastest;
}

enum rf_status settle(struct settled *out, const struct profile *profile, enum rf_profile_mode mode,
                      struct rf_error *err)
{
    *out = (struct settled){0};
    struct fit fit = {.out = out, .runs = calloc(profile->run_count + 1, sizeof *fit.runs)};
    const bool any = fit.runs && find_runs(&fit, profile, mode);
    if (any) {
        out->seconds = calloc(out->count, sizeof *out->seconds);
        out->factors = calloc(out->run_count, sizeof *out->factors);
        fit.items = calloc(out->count, sizeof *fit.items);
        fit.values = calloc(out->run_count, sizeof *fit.values);
    }
    const bool failed = !fit.runs || (any && (!out->seconds || !out->factors || !fit.items || !fit.values));
    if (any && !failed)
        fit_all(&fit);
    free(fit.runs);
    free(fit.items);
    free(fit.values);
    if (!any || failed)
        settled_free(out);
    return failed ? rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory to lay runs on one another")
                  : RF_OK;
}

void settled_free(struct settled *settled)
{
    free(settled->seconds);
    free(settled->factors);
    *settled = (struct settled){0};
}

double relative_error(double *values, uint32_t count)
{
    /* Of a normal distribution: its standard deviation beside the median distance, the median's error beside the
     * mean's. Clocks have steps, so nothing is exact. */
    const double deviation = 1.4826, of_median = 1.2533, least = 1e-6;
    const double middle = median(values, count);
    if (!(middle > 0.0))
        return 1.0;
    for (uint32_t i = 0; i < count; i++)
        values[i] = fabs(values[i] / middle - 1.0);
    return fmax(least, of_median * deviation * median(values, count) / sqrt(count));
}
