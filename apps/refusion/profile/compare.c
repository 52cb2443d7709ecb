/* profile --compare OLD NEW: what got faster or slower.
 *
 * A kernel's figure is its *settled* time a call: what is left when each run's own speed is taken out (settle.h). It
 * changed when the two files' figures differ by more than the limit, by more than either can be believed (ERRORS times
 * their standard error), by more than kernels differ anyway (DEVIATIONS times the median distance of their ratios from
 * the common one, as a standard deviation), and when the change is LEAST_CHANGE of the whole time (SMALL_CHANGE and SMALL_LIMIT, of kernels below LARGE_SHARE). Machines have good
 * and bad days, so kernels are first set beside what happened to the others: the median of their ratios is divided out;
 * --absolute does without. Long dispatches suffer more from other processes than short ones, so that median is one of a
 * trend over their lengths. The others are those of other ops, because what changes an op does so in all phases. Medians
 * are weighted with the square root of time: long kernels are measured better than short ones, but none of them is to
 * be the median by itself. How kernels differ anyway is asked of large and of small ones apart: what takes a hundred
 * microseconds feels a machine's state in other ways than what takes milliseconds. Where a file's kernels are known no
 * better than to MOST_UNREST, its runs were stopped halfway again and again, which is nothing that medians of runs take
 * out: then nothing is judged. Kernels below LEAST_SHARE of the time
 * are left out. docs/profiling.md has measured rates. */
#include "apps/refusion/input.h"
#include "apps/refusion/profile/profile_json.h"
#include "apps/refusion/profile/statistics.h"
#include "apps/refusion/program.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_LIMIT = 10, LEAST_RUNS = 2, LEAST_KIND = 4, LEAST_SLOPES = 8 };
static const double LEAST_SHARE = 0.01, LARGE_SHARE = 0.02, LEAST_CHANGE = 0.003, SMALL_CHANGE = 0.006;
static const double DEVIATIONS = 3.0, DEVIATION_OF_MEDIAN = 1.4826; /* of a normal distribution */
static const double ERRORS = 3.0, MOST_UNREST = 0.03;
static const double LEAST_DISTANCE = 0.3, SMALL_LIMIT = 0.35;

struct kernel_times {
    const char *op, *shader, *phase; /* of the JSON tree */
    double calls, share, settled;    /* seconds a call */
    double error;                    /* of settled, as a share of it */
};

struct side {
    const char *path;
    cJSON *json;
    struct kernel_times *kernels;
    uint32_t count;
    uint32_t runs;
    double unrest; /* standard error of large kernels, as a share: the weighted median */
};

static enum rf_status read_whole(struct text *text, const char *path, struct rf_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return rf_fail(err, RF_ERROR_IO, "--compare: %s: %s", path, strerror(errno));
    enum rf_status status = read_stream(text, file, path, err);
    fclose(file);
    return status;
}

static enum rf_status damaged(const struct side *side, const char *field, const char *wanted,
                              struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_FORMAT, "--compare: %s: found no usable \"%s\", wanted %s", side->path,
                   field, wanted);
}

static enum rf_status check_format(const struct side *side, struct rf_error *err)
{
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(side->json, "format");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(side->json, "version");
    if (!cJSON_IsString(format) || strcmp(format->valuestring, PROFILE_JSON_FORMAT) != 0)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "--compare: %s: found no \"format\": \"%s\", wanted what `profile --json` wrote",
                       side->path, PROFILE_JSON_FORMAT);
    if (!cJSON_IsNumber(version))
        return damaged(side, "version", "a number", err);
    if (version->valuedouble != PROFILE_JSON_VERSION)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "--compare: %s: found version %g, wanted %d", side->path,
                       version->valuedouble, PROFILE_JSON_VERSION);
    return RF_OK;
}

static enum rf_status read_kernel(struct side *side, const cJSON *entry, struct rf_error *err)
{
    struct kernel_times *k = &side->kernels[side->count];
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(entry, "calls");
    const cJSON *share = cJSON_GetObjectItemCaseSensitive(entry, "share");
    const cJSON *runs = cJSON_GetObjectItemCaseSensitive(entry, "run_totals");
    const cJSON *settled = cJSON_GetObjectItemCaseSensitive(entry, "settled");
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(entry, "settled_error");
    const char *names[] = {"op", "shader", "phase"}, **texts[] = {&k->op, &k->shader, &k->phase};
    for (int i = 0; i < 3; i++) {
        *texts[i] = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, names[i]));
        if (!*texts[i])
            return damaged(side, names[i], "a text in every entry of \"shaders\"", err);
    }
    if (!cJSON_IsNumber(calls) || calls->valuedouble < 1.0 || !cJSON_IsNumber(share))
        return damaged(side, "calls", "a number of at least 1 beside a share", err);
    side->runs = cJSON_IsArray(runs) ? (uint32_t)cJSON_GetArraySize(runs) : 0;
    if (side->runs < LEAST_RUNS)
        return damaged(side, "run_totals", "the times of at least 2 runs (--runs)", err);
    if (!cJSON_IsNumber(settled) || settled->valuedouble < 0.0)
        return damaged(side, "settled",
                       "times of runs that made the same dispatches, as greedy decoding does", err);
    if (!cJSON_IsNumber(error) || error->valuedouble < 0.0)
        return damaged(side, "settled_error", "a number of at least 0", err);
    k->calls = calls->valuedouble;
    k->share = share->valuedouble;
    k->settled = settled->valuedouble / k->calls;
    k->error = error->valuedouble;
    side->count++;
    return RF_OK;
}

static enum rf_status open_side(struct side *side, const char *path, struct rf_error *err)
{
    struct text text = {0};
    *side = (struct side){.path = path};
    enum rf_status status = read_whole(&text, path, err);
    if (!status) {
        side->json = cJSON_ParseWithLength(text.bytes, text.length);
        if (!side->json)
            status = rf_fail(err, RF_ERROR_FORMAT,
                             "--compare: %s: found no JSON, wanted what `profile --json` wrote", path);
    }
    free(text.bytes);
    if (!status)
        status = check_format(side, err);
    const cJSON *shaders = status ? NULL : cJSON_GetObjectItemCaseSensitive(side->json, "shaders"), *entry;
    if (!status && (!cJSON_IsArray(shaders) || cJSON_GetArraySize(shaders) == 0))
        status = damaged(side, "shaders", "a list of kernels", err);
    if (!status) {
        side->kernels = calloc((size_t)cJSON_GetArraySize(shaders), sizeof *side->kernels);
        if (!side->kernels)
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "--compare: %s: no host memory", path);
    }
    if (!status)
        cJSON_ArrayForEach(entry, shaders)
        {
            status = read_kernel(side, entry, err);
            if (status)
                break;
        }
    return status;
}

static void close_side(struct side *side)
{
    cJSON_Delete(side->json);
    free(side->kernels);
}

static const struct kernel_times *find(const struct side *side, const struct kernel_times *wanted)
{
    for (uint32_t i = 0; i < side->count; i++) {
        const struct kernel_times *k = &side->kernels[i];
        if (strcmp(k->op, wanted->op) == 0 && strcmp(k->shader, wanted->shader) == 0 &&
            strcmp(k->phase, wanted->phase) == 0)
            return k;
    }
    return NULL;
}

static bool counts(const struct kernel_times *a, const struct kernel_times *b)
{
    return a && b && a->settled > 0.0 && b->settled > 0.0 &&
           (a->share >= LEAST_SHARE || b->share >= LEAST_SHARE);
}

/* A kernel in both files: how long a call takes and what became of it, as logarithms. */
struct point {
    double length, change, weight;
    bool large;
};

/* In either file. */
static bool is_large(const struct kernel_times *a, const struct kernel_times *b)
{
    return a->share >= LARGE_SHARE || b->share >= LARGE_SHARE;
}

/* Of all ops but this (NULL: of all); how many. */
static uint32_t points_beside(const struct side *old, const struct side *new, const char *op,
                              struct point *points)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < old->count; i++) {
        const struct kernel_times *a = &old->kernels[i], *b = find(new, a);
        if (counts(a, b) && !(op && strcmp(a->op, op) == 0))
            points[n++] = (struct point){log(a->settled), log(b->settled / a->settled),
                                         sqrt(a->settled * a->calls), is_large(a, b)};
    }
    return n;
}

struct room {
    struct point *points;
    struct weighted *items;
};

/* What became of kernels of other ops, by how long they take: level + slope * length. A machine that others use stops
 * long dispatches more often than short ones, and one that is left alone wakes its threads later. */
struct trend {
    double level, slope, shortest, longest; /* lengths */
    double deviation[2];                    /* of small and of large kernels, a standard deviation */
};

/* The median over kernels of the median slope to the others: half of them may be anything. */
static double slope_of(const struct point *points, uint32_t count, struct weighted *items)
{
    struct weighted *inner = items + count;
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t m = 0;
        for (uint32_t j = 0; j < count; j++) {
            double distance = points[j].length - points[i].length;
            if (fabs(distance) > LEAST_DISTANCE)
                inner[m++] =
                    (struct weighted){(points[j].change - points[i].change) / distance, fabs(distance)};
        }
        if (m)
            items[n++] = (struct weighted){weighted_median(inner, m), points[i].weight};
    }
    return n >= LEAST_SLOPES ? weighted_median(items, n) : 0.0; /* of fewer, one that changed is too many */
}

/* kind: 0: of small kernels, 1: of large ones; of any where those are too few. */
static double deviation_of(const struct trend *t, const struct point *points, uint32_t count, int kind,
                           struct weighted *items)
{
    uint32_t n = 0;
    for (int any = 0; any < 2 && n < LEAST_KIND; any++) {
        n = 0;
        for (uint32_t i = 0; i < count; i++)
            if (any || points[i].large == (kind == 1))
                items[n++] = (struct weighted){
                    fabs(points[i].change - t->slope * points[i].length - t->level), points[i].weight};
    }
    return n ? DEVIATION_OF_MEDIAN * weighted_median(items, n) : 0.0;
}

static struct trend trend_beside(const struct side *old, const struct side *new, const char *op, bool sloped,
                                 struct room *room)
{
    struct trend t = {.shortest = INFINITY, .longest = -INFINITY};
    uint32_t n = points_beside(old, new, op, room->points);
    if (!n)
        return t;
    t.slope = sloped ? slope_of(room->points, n, room->items) : 0.0;
    for (uint32_t i = 0; i < n; i++) {
        const struct point *p = &room->points[i];
        room->items[i] = (struct weighted){p->change - t.slope * p->length, p->weight};
        t.shortest = fmin(t.shortest, p->length);
        t.longest = fmax(t.longest, p->length);
    }
    t.level = weighted_median(room->items, n);
    for (int kind = 0; kind < 2; kind++)
        t.deviation[kind] = deviation_of(&t, room->points, n, kind, room->items);
    return t;
}

static double unrest_of(const struct side *side, struct weighted *items)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < side->count; i++) {
        const struct kernel_times *k = &side->kernels[i];
        if (is_large(k, k))
            items[n++] = (struct weighted){k->error, sqrt(k->settled * k->calls)};
    }
    return n ? weighted_median(items, n) : 0.0;
}

static const char *text_of(const struct side *side, const char *object, const char *name)
{
    const cJSON *group = cJSON_GetObjectItemCaseSensitive(side->json, object);
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(group, name));
    return text ? text : "";
}

static void warn_of_differences(const struct side *old, const struct side *new)
{
    static const struct {
        const char *object, *name;
    } fields[] = {{"device", "name"}, {"device", "driver"}, {"model", "name"}, {"model", "precision"}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *a = text_of(old, fields[i].object, fields[i].name),
                   *b = text_of(new, fields[i].object, fields[i].name);
        if (strcmp(a, b) != 0)
            complain("warning: --compare: %s %s: %s has \"%s\", %s has \"%s\"", fields[i].object,
                     fields[i].name, old->path, a, new->path, b);
    }
}

struct verdict {
    double limit; /* as asked for */
    bool absolute;
    double total; /* settled seconds of the old file */
    struct room room;
    bool unquiet; /* nothing is judged */
    uint32_t slower, faster, unsure, compared;
    double most_told; /* the largest change of a kernel of LARGE_SHARE that would not have been told */
};

/* Few runs say little of their own unrest. */
static double errors_wanted(const struct side *old, const struct side *new)
{
    double runs = old->runs < new->runs ? old->runs : new->runs;
    return ERRORS * (1.0 + 16.0 / (runs * runs));
}

/* What became of kernels as long as this one, as a logarithm, and how far that is a guess, because no other is as long
 * or as short. */
static double expected(const struct trend *t, const struct kernel_times *k, double *guess)
{
    const double length = log(k->settled), within = fmin(fmax(length, t->shortest), t->longest);
    *guess = fabs(t->slope * (length - within));
    return t->level + (t->slope != 0.0 ? t->slope * within : 0.0);
}

/* The least change of a kernel that is told, as a share: of slower ones. */
static double least_told(const struct verdict *v, const struct side *old, const struct side *new,
                         const struct kernel_times *a, const struct kernel_times *b, const struct trend *t)
{
    double guess, deviations = DEVIATIONS * t->deviation[is_large(a, b)];
    double errors = errors_wanted(old, new) * hypot(a->error, b->error);
    expected(t, a, &guess);
    double least = fmax(log(1.0 + v->limit), fmax(deviations, errors)) + guess;
    return is_large(a, b) ? exp(least) - 1.0 : fmax(SMALL_LIMIT, exp(least) - 1.0);
}

static void judge(struct verdict *v, const struct side *old, const struct side *new,
                  const struct kernel_times *a, const struct kernel_times *b)
{
    const struct trend t = trend_beside(old, new, a->op, !v->absolute, &v->room);
    double guess, common = v->absolute ? 0.0 : expected(&t, a, &guess);
    const double now = b->settled / exp(common), ratio = now / a->settled;
    const double told = least_told(v, old, new, a, b, &t);
    const double matters =
        (is_large(a, b) ? LEAST_CHANGE : SMALL_CHANGE) * v->total / (a->settled * a->calls);
    const bool slower = ratio > 1.0 + told && ratio > 1.0 + matters;
    const bool faster = ratio < 1.0 / (1.0 + told) && ratio < 1.0 - matters;
    const double unseen = fmax(told, matters);
    v->compared++;
    v->unsure += v->unquiet && (slower || faster);
    v->slower += !v->unquiet && slower;
    v->faster += !v->unquiet && faster;
    if (is_large(a, b))
        v->most_told = fmax(v->most_told, unseen);
    printf("%-7s %-26s %-30s %-9s %5.1f%% %10.1f %10.1f us %+7.1f%% %9.1f%%\n",
           !slower && !faster ? "same"
           : v->unquiet       ? "unsure"
           : slower           ? "slower"
                              : "faster",
           a->op, a->shader, a->phase, 100.0 * a->share, a->settled * 1e6, now * 1e6, 100.0 * (ratio - 1.0),
           100.0 * unseen);
}

static void compare(struct verdict *v, const struct side *old, const struct side *new)
{
    printf("%-7s %-26s %-30s %-9s %6s %10s %10s    %8s %10s\n", "", "kernel", "shader", "phase", "share",
           "old", "new", "change", "told from");
    for (uint32_t i = 0; i < old->count; i++) {
        const struct kernel_times *a = &old->kernels[i], *b = find(new, a);
        if (!b && a->share >= LEAST_SHARE)
            printf("gone    %-26s %-30s %-9s %5.1f%% %10.1f\n", a->op, a->shader, a->phase, 100.0 * a->share,
                   a->settled * 1e6);
        if (counts(a, b))
            judge(v, old, new, a, b);
    }
    for (uint32_t i = 0; i < new->count; i++)
        if (!find(old, &new->kernels[i]) && new->kernels[i].share >= LEAST_SHARE)
            printf("new     %-26s %-30s %-9s %5.1f%% %10s %10.1f us\n", new->kernels[i].op,
                   new->kernels[i].shader, new->kernels[i].phase, 100.0 * new->kernels[i].share, "",
                   new->kernels[i].settled * 1e6);
}

static void check_unrest(struct verdict *v, struct side *side)
{
    side->unrest = unrest_of(side, v->room.items);
    if (side->unrest <= MOST_UNREST)
        return;
    v->unquiet = true;
    complain(
        "warning: --compare: %s: kernels are known to %.1f %%, wanted %.1f %% or better: the machine was too "
        "busy, or --runs too few, and nothing is judged",
        side->path, 100.0 * side->unrest, 100.0 * MOST_UNREST);
}

static void print_verdict(const struct verdict *v, const struct side *old, const struct side *new)
{
    if (v->most_told > 1.001 * v->limit)
        printf(
            "of kernels with %.0f %% of the time or more, a change below %.1f %% could not be told of every "
            "one, beside the limit of %.1f %% asked for: more --runs or a quieter machine tell smaller "
            "ones\n",
            100.0 * LARGE_SHARE, 100.0 * v->most_told, 100.0 * v->limit);
    printf("%u kernels of %u and %u runs compared, limit %.1f %%: %u slower, %u faster", v->compared,
           old->runs, new->runs, 100.0 * v->limit, v->slower, v->faster);
    if (v->unquiet)
        printf(", %u unsure", v->unsure);
    printf("\n");
}

int profile_compare(const struct settings *settings)
{
    struct rf_error err = {0};
    struct side old = {0}, new = {0};
    if (!settings->text) {
        complain("--compare: found one file, wanted two: --compare OLD NEW");
        return STATUS_USAGE;
    }
    enum rf_status status = open_side(&old, settings->compare, &err);
    if (!status)
        status = open_side(&new, settings->text, &err);
    struct verdict v = {.limit = 0.01 * (settings->limit.given ? settings->limit.value : DEFAULT_LIMIT),
                        .absolute = settings->absolute,
                        .room = {calloc(old.count + 1, sizeof *v.room.points),
                                 calloc(2 * ((size_t)old.count + new.count) + 1, sizeof *v.room.items)}};
    if (!status && (!v.room.points || !v.room.items))
        status = rf_fail(&err, RF_ERROR_HOST_MEMORY, "--compare: no host memory for %u kernels", old.count);
    if (!status) {
        for (uint32_t i = 0; i < old.count; i++)
            v.total += old.kernels[i].settled * old.kernels[i].calls;
        warn_of_differences(&old, &new);
        check_unrest(&v, &old);
        check_unrest(&v, &new);
        if (!settings->absolute)
            printf(
                "all kernels alike: %+.1f %% (the machine, or what changed everything); below, each beside "
                "those of other ops\n",
                100.0 * (exp(trend_beside(&old, &new, NULL, false, &v.room).level) - 1.0));
        compare(&v, &old, &new);
        print_verdict(&v, &old, &new);
    }
    free(v.room.points);
    free(v.room.items);
    close_side(&old);
    close_side(&new);
    if (status)
        return complain_error(&err);
    return v.slower ? STATUS_FAILURE : STATUS_OK;
}
