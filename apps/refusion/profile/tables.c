#include "apps/refusion/profile/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { COSTLIEST = 10, MOST_ROUNDS = 40, MOST_RUNS = 12 };

double profile_gb_per_second(const struct profile_sum *sum)
{
    return sum->total > 0.0 ? (double)(sum->read + sum->written) * 1e-9 / sum->total : 0.0;
}

double profile_tflops(const struct profile_sum *sum)
{
    return sum->total > 0.0 ? (double)sum->operations * 1e-12 / sum->total : 0.0;
}

double profile_percent_of_floor(const struct profile_sum *sum)
{
    return sum->total > 0.0 ? 100.0 * sum->floor_seconds / sum->total : 0.0;
}

static int explain_cost(const struct profile_cost *c, char *text, size_t size)
{
    if (c->turns < 2)
        return snprintf(text, size,
                        " A single turn cannot say what the profile itself costs: use more --runs.");
    return snprintf(
        text, size,
        " What the profile itself costs, by wall clock, of %u pairs of submissions that took turns "
        "in %u turns: %+.1f %%, within %+.1f and %+.1f %% with at least %.0f %% confidence; %s",
        c->pairs, c->turns, 100.0 * c->share, 100.0 * c->low, 100.0 * c->high, 100.0 * c->confidence,
        c->told ? "believe that one." : "too wide to say: the machine is busy, or --runs are too few.");
}

void profile_explain(const struct profile_report *r, char *text, size_t size)
{
    double span = r->free.span, groups = r->free.groups, serial = r->serial.groups;
    if (span <= 0.0) {
        snprintf(
            text, size,
            "This device has no timestamps, so there are times of the host alone: what a submission took "
            "from being handed over to the end of the wait, and nothing about single dispatches.");
        return;
    }
    int used = snprintf(
        text, size,
        "Free-running: commands as they always are, with timestamps at their own barriers, %.1f "
        "dispatches to a group between two of them; the device took %.3f ms a run, of which %.1f %% lie "
        "in groups and the rest between command buffers.",
        profile_group_size(r->profile), span * 1e3, 100.0 * groups / span);
    if (r->has_cost && used > 0 && (size_t)used < size)
        used += explain_cost(&r->cost, text + used, size - (size_t)used);
    const struct profile_serialising more = profile_serialising(r->profile);
    if (!more.turns || used < 0 || (size_t)used >= size)
        return;
    used += snprintf(
        text + used, size - (size_t)used,
        " Serialised: a barrier before every dispatch, so that each has a time of its own; these add up to "
        "%.3f ms a run, beside the free-running groups of the same turn %+.1f %% (of %u turns %+.1f to %+.1f "
        "%%): "
        "what dispatches gain by running side by side, and what the added barriers cost.",
        serial * 1e3, 100.0 * more.share, more.turns, 100.0 * more.low, 100.0 * more.high);
    if (more.share < 0.0 && used > 0 && (size_t)used < size)
        used += snprintf(
            text + used, size - (size_t)used,
            " Neither can be less than nothing: the machine was that much busier in the free-running "
            "runs, and times are no better than that.");
    if (used > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used,
                 " Spans of the free runs lie within %.1f %%. Shares and rates are of serialised times.",
                 100.0 * r->free.spread);
}

static void print_head(const struct profile_report *r)
{
    const struct rf_bench_ceilings *c = &r->ceilings;
    printf("%s, %s\n", r->device.name, r->device.driver);
    printf("%s: %s path, %u layers, %.1f MB of weights; %u prompt tokens\n", r->model_name,
           r->model.precision, r->model.layers, (double)r->model.weight_bytes * 1e-6, r->prompt_tokens);
    if (r->bench)
        printf(
            "ceilings: read %.1f GB/s (%.1f for as many bytes as the weights have), f32 %.3f, f16 %.3f, int8 "
            "%.3f, matrix units %.3f TFLOP/s\n",
            c->read_gb_per_second, c->read_model_gb_per_second, c->f32_tflops, c->f16_tflops, c->int8_tops,
            c->coopmat_tflops);
    printf("\n%-12s %10s %10s %10s %10s %10s %10s %8s %7s %9s %9s\n", "run", "wall ms", "device ms",
           "record ms", "submit ms", "wait ms", "read ms", "tokens", "rounds", "forwards", "tok/fwd");
    for (uint32_t i = 0; i < r->profile->run_count && i < MOST_RUNS; i++) {
        const struct profile_run *run = &r->profile->runs[i];
        static const char *const names[] = {"no profile", "free", "serialised", "host only", "counters"};
        printf("%-12s %10.3f %10.3f %10.3f %10.3f %10.3f %10.3f %8u %7u %9" PRIu64 " %9.2f\n",
               names[run->mode], run->seconds * 1e3, run->span * 1e3, run->record * 1e3, run->submit * 1e3,
               run->wait * 1e3, run->read * 1e3, run->tokens, run->rounds, run->forwards,
               run->tokens_per_forward);
    }
    if (r->profile->run_count > MOST_RUNS)
        printf("%u more runs: --json has them all\n", r->profile->run_count - MOST_RUNS);
    char text[1800];
    profile_explain(r, text, sizeof text);
    printf("\n%s\n", text);
    if (r->free.span > 0.0)
        printf("Device and host on one clock: %s, off by at most %.1f us.\n",
               r->profile->calibrated ? "VK_EXT_calibrated_timestamps"
                                      : "bounded by hand-over and end of the wait",
               r->profile->clock_error * 1e6);
}

static void print_figures(const struct profile_sums *sums, const struct profile_sum *s)
{
    printf(" %7" PRIu64 " %8.1f %10.3f %10.3f %10.1f %10.1f %6.1f%% %8.2f %8.4f ", s->calls,
           s->calls ? (double)s->rows / (double)s->calls : 0.0, s->total * 1e3, s->free_total * 1e3,
           s->calls ? s->total * 1e6 / (double)s->calls : 0.0, s->most * 1e6,
           sums->total > 0.0 ? 100.0 * s->total / sums->total : 0.0, profile_gb_per_second(s),
           profile_tflops(s));
    if (s->floor_seconds > 0.0)
        printf("%6.1f%%\n", profile_percent_of_floor(s));
    else
        printf("%7s\n", "-");
}

static void print_columns(const char *first, int width)
{
    printf("\n%-*s %7s %8s %10s %10s %10s %10s %7s %8s %8s %7s\n", width, first, "calls", "rows", "ms",
           "free ms", "mean us", "most us", "share", "GB/s", "TFLOP/s", "floor");
}

static void print_sum_name(const struct profile *p, const struct profile_sum *s, int width)
{
    char name[128];
    if (s->layer != NO_LAYER && s->layer >= 0)
        snprintf(name, sizeof name, "layer %d", s->layer);
    else if (s->layer != NO_LAYER)
        snprintf(name, sizeof name, "outside");
    else if (s->kernel == NO_KERNEL)
        snprintf(name, sizeof name, "%s", profile_phase(s->phase));
    else
        snprintf(name, sizeof name, "%-26s %-30s %s", p->kernels[s->kernel].op, p->kernels[s->kernel].shader,
                 profile_phase(s->phase));
    printf("%-*s", width, name);
}

static enum rf_status print_sums(const struct profile_report *r, unsigned keys, const char *title, int width,
                                 struct rf_error *err)
{
    struct profile_sums sums;
    enum rf_status status = profile_sum_up(&sums, r->profile, keys, r->bench, err);
    if (status)
        return status;
    print_columns(title, width);
    for (uint32_t i = 0; i < sums.count; i++) {
        print_sum_name(r->profile, &sums.items[i], width);
        print_figures(&sums, &sums.items[i]);
    }
    profile_sums_free(&sums);
    return RF_OK;
}

static void print_costliest(const struct profile_report *r)
{
    size_t found[COSTLIEST + 1];
    const struct profile *p = r->profile;
    uint32_t count = profile_costliest(p, found, COSTLIEST);
    printf("\n%-24s %-30s %5s %8s %5s %5s %10s %8s %8s\n", "costliest dispatches", "shader", "layer", "phase",
           "round", "rows", "us", "GB/s", "TFLOP/s");
    for (uint32_t i = 0; i < count; i++) {
        const struct profile_dispatch *d = &p->dispatches[found[i]];
        const struct profile_submission *s = &p->submissions[d->submission];
        double seconds = d->end - d->begin;
        printf("%-24s %-30s %5d %8s %5u %5u %10.1f %8.2f %8.4f\n", p->kernels[d->kernel].op,
               p->kernels[d->kernel].shader, d->layer, profile_phase((int)s->phase), s->round, d->rows,
               seconds * 1e6, seconds > 0.0 ? (double)(d->read + d->written) * 1e-9 / seconds : 0.0,
               seconds > 0.0 ? (double)d->operations * 1e-12 / seconds : 0.0);
    }
}

static enum rf_status print_rounds(const struct profile_report *r, struct rf_error *err)
{
    struct profile_round *rounds;
    uint32_t count;
    enum rf_status status = profile_rounds(&rounds, &count, r->profile, err);
    if (status)
        return status;
    printf("\n%-6s %6s %6s %9s %7s %7s %7s %9s %10s %10s %10s %10s %10s\n", "round", "submit", "rows",
           "forwards", "slots", "chosen", "tokens", "tok/fwd", "record us", "submit us", "wait us", "read us",
           "device us");
    for (uint32_t i = 0; i < count && i < MOST_ROUNDS; i++) {
        const struct profile_round *x = &rounds[i];
        printf("%-6u %6u %6u %9u %7u %7u %7u %9.2f %10.1f %10.1f %10.1f %10.1f %10.1f\n", x->round,
               x->submissions, x->rows, x->forwards, x->remaining_slots, x->chosen_slots, x->committed_tokens,
               x->forwards ? (double)x->committed_tokens / x->forwards : 0.0, x->record * 1e6,
               x->submit * 1e6, x->wait * 1e6, x->read * 1e6, x->gpu * 1e6);
    }
    if (count > MOST_ROUNDS)
        printf("%u more rounds: --json and --html have them all\n", count - MOST_ROUNDS);
    free(rounds);
    return RF_OK;
}

enum rf_status profile_print_tables(const struct profile_report *r, struct rf_error *err)
{
    print_head(r);
    enum rf_status status = RF_OK;
    if (r->free.span > 0.0 || r->serial.span > 0.0) {
        status = print_sums(r, BY_KERNEL | BY_PHASE, "kernel", 68, err);
        if (!status)
            status = print_sums(r, BY_PHASE, "phase", 12, err);
        if (!status)
            status = print_sums(r, BY_LAYER, "layer", 12, err);
        if (!status)
            status = profile_print_counters(r, err);
        if (!status)
            print_costliest(r);
    }
    return status ? status : print_rounds(r, err);
}

/* A text in quotes, which are doubled inside it. */
static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++)
        printf(*text == '"' ? "\"\"" : "%c", *text);
    putchar('"');
}

/* Without timestamps: the host's times of each phase, and nothing of the device. */
static void print_csv_host(const struct profile *p)
{
    const uint32_t runs = profile_count_runs(p, RF_PROFILE_HOST);
    for (int phase = 0; phase < RF_PHASES; phase++) {
        uint64_t submissions = 0, rows = 0;
        double times[4] = {0};
        for (uint32_t i = 0; i < p->submission_count; i++) {
            const struct profile_submission *s = &p->submissions[i];
            if ((int)s->phase != phase || p->runs[s->run].mode != RF_PROFILE_HOST)
                continue;
            submissions++;
            rows += s->rows[0] + s->rows[1];
            times[0] += s->submit_begin - s->record_begin;
            times[1] += s->wait_begin - s->submit_begin;
            times[2] += s->read_begin - s->wait_begin;
            times[3] += s->end - s->read_begin;
        }
        if (!submissions)
            continue;
        printf("host,,%s,,%" PRIu64 ",%" PRIu64 ",,,,,,,,,,,,", profile_phase(phase), submissions / runs,
               rows / runs);
        for (int t = 0; t < 4; t++)
            printf(",%.6f", times[t] * 1e3 / runs);
        printf("\n");
    }
}

static void print_csv_line(const struct profile_report *r, const struct profile_sums *sums,
                           const struct profile_sum *s)
{
    const struct profile_kernel *k = &r->profile->kernels[s->kernel];
    printf("\"%s\",%s,%s,%d,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
           ",%.6f,%.6f,%.3f,%.3f,%.3f,%.6f,%.4f,%.6f,%.2f,,,,",
           k->op, k->shader, profile_phase(s->phase), s->layer, s->calls, s->rows, s->read, s->written,
           s->operations, s->total * 1e3, s->free_total * 1e3,
           s->calls ? s->total * 1e6 / (double)s->calls : 0.0, s->least * 1e6, s->most * 1e6,
           sums->total > 0.0 ? s->total / sums->total : 0.0, profile_gb_per_second(s), profile_tflops(s),
           profile_percent_of_floor(s));
}

enum rf_status profile_print_csv(const struct profile_report *r, struct rf_error *err)
{
    const unsigned keys = BY_KERNEL | BY_PHASE | BY_LAYER;
    const uint32_t counters = r->profile->counter_count;
    struct profile_sums sums;
    struct profile_counted *counted = NULL;
    uint32_t count = 0;
    enum rf_status status = profile_sum_up(&sums, r->profile, keys, r->bench, err);
    if (!status && counters)
        status = profile_count_up(&counted, &count, r, keys, err);
    if (!status) {
        printf(
            "op,shader,phase,layer,calls,rows,bytes_read,bytes_written,operations,total_ms,free_ms,mean_us,"
            "least_us,most_us,share,gb_per_second,tflops,percent_of_floor,record_ms,submit_ms,wait_ms,read_"
            "ms");
        for (uint32_t c = 0; c < counters; c++) {
            putchar(',');
            print_quoted(r->counters[c].name);
        }
        printf("\n");
    }
    for (uint32_t i = 0; !status && i < sums.count; i++) {
        const struct profile_counted *found = profile_find_counted(counted, count, &sums.items[i]);
        print_csv_line(r, &sums, &sums.items[i]);
        for (uint32_t c = 0; c < counters; c++)
            found ? printf(",%.9g", found->values[c]) : printf(",");
        printf("\n");
    }
    if (!status && !sums.count)
        print_csv_host(r->profile);
    profile_sums_free(&sums);
    profile_counted_free(counted, count);
    return status;
}
