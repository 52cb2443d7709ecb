/* profile --compare OLD NEW: what got faster or slower.
 *
 * A kernel's figure is its *settled* time a call: each dispatch at its shortest in all serialised runs of a file
 * (aggregate.h). It changed when the two files' figures differ by more than the limit and more than kernels differ
 * anyway (DEVIATIONS times the median distance of their ratios from the common one, as a standard deviation), when the
 * even and the odd runs alone say so too, and when the change is LEAST_CHANGE of the whole time. Machines have good and
 * bad days, so kernels are first set beside what happened to the others: the median of their ratios is divided out;
 * --absolute does without. The others are those of other ops, because what changes an op does so in all phases. Medians
 * are weighted with the square root of time: long kernels are measured better than short ones, but none of them is to
 * be the median by itself. Kernels below LEAST_SHARE of the time are left out. docs/profiling.md has measured rates.
 */
#include "apps/refusion/input.h"
#include "apps/refusion/profile/profile_json.h"
#include "apps/refusion/program.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_LIMIT = 10, LEAST_RUNS = 2 };
static const double LEAST_SHARE = 0.005, LEAST_CHANGE = 0.01;
static const double DEVIATIONS = 3.0, DEVIATION_OF_MEDIAN = 1.4826; /* of a normal distribution */

struct kernel_times {
    const char *op, *shader, *phase;           /* of the JSON tree */
    double calls, share, settled, least, most; /* seconds a call; least and most: of the halves */
};

struct side {
    const char *path;
    cJSON *json;
    struct kernel_times *kernels;
    uint32_t count;
    uint32_t runs;
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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static enum rf_status read_kernel(struct side *side, const cJSON *entry, struct rf_error *err)
{
    struct kernel_times *k = &side->kernels[side->count];
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(entry, "calls");
    const cJSON *share = cJSON_GetObjectItemCaseSensitive(entry, "share");
    const cJSON *runs = cJSON_GetObjectItemCaseSensitive(entry, "run_totals");
    const cJSON *settled = cJSON_GetObjectItemCaseSensitive(entry, "settled");
    const cJSON *halves = cJSON_GetObjectItemCaseSensitive(entry, "settled_halves");
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
    const cJSON *even = cJSON_GetArrayItem(halves, 0), *odd = cJSON_GetArrayItem(halves, 1);
    if (!cJSON_IsNumber(settled) || settled->valuedouble < 0.0 || !cJSON_IsNumber(even) ||
        !cJSON_IsNumber(odd) || even->valuedouble < 0.0 || odd->valuedouble < 0.0)
        return damaged(side, "settled",
                       "times of runs that made the same dispatches, as greedy decoding does", err);
    bool ascending = even->valuedouble <= odd->valuedouble;
    k->calls = calls->valuedouble;
    k->share = share->valuedouble;
    k->settled = settled->valuedouble / k->calls;
    k->least = (ascending ? even : odd)->valuedouble / k->calls;
    k->most = (ascending ? odd : even)->valuedouble / k->calls;
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

struct reference {
    double common, limit;
};

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

struct weighted {
    double value, weight;
};

static double middle(struct weighted *items, uint32_t count)
{
    double whole = 0.0, sum = 0.0;
    uint32_t i = 0;
    qsort(items, count, sizeof *items, by_value);
    for (uint32_t n = 0; n < count; n++)
        whole += items[n].weight;
    while (i + 1 < count && (sum += items[i].weight) < 0.5 * whole)
        i++;
    return items[i].value;
}

/* What happened to kernels of all ops but this (NULL: of all) alike, 1 when there are none, and by how much more a
 * kernel must differ from it. */
static struct reference beside(const struct side *old, const struct side *new, const char *op, double limit)
{
    struct weighted *logs = malloc((old->count + 1) * sizeof *logs);
    struct reference r = {1.0, limit};
    uint32_t n = 0;
    for (uint32_t i = 0; logs && i < old->count; i++) {
        const struct kernel_times *a = &old->kernels[i], *b = find(new, a);
        if (counts(a, b) && !(op && strcmp(a->op, op) == 0))
            logs[n++] = (struct weighted){log(b->settled / a->settled), sqrt(a->settled * a->calls)};
    }
    if (n) {
        double common = middle(logs, n);
        for (uint32_t i = 0; i < n; i++)
            logs[i].value = fabs(logs[i].value - common);
        double anyway = exp(DEVIATIONS * DEVIATION_OF_MEDIAN * middle(logs, n)) - 1.0;
        r.common = exp(common);
        r.limit = limit > anyway ? limit : anyway;
    }
    free(logs);
    return r;
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
    double limit;   /* as asked for */
    double highest; /* that was used */
    bool absolute;
    double total; /* settled seconds of the old file */
    uint32_t slower, faster, compared;
};

static void judge(struct verdict *v, const struct kernel_times *a, const struct kernel_times *b,
                  struct reference r)
{
    double common = v->absolute ? 1.0 : r.common;
    double ratio = b->settled / a->settled / common, least = b->least / common, most = b->most / common;
    bool matters = fabs(b->settled / common - a->settled) * a->calls > LEAST_CHANGE * v->total;
    bool slower = matters && ratio > 1.0 + r.limit && least > a->most;
    bool faster = matters && ratio < 1.0 / (1.0 + r.limit) && most < a->least;
    v->highest = r.limit > v->highest ? r.limit : v->highest;
    v->compared++;
    v->slower += slower;
    v->faster += faster;
    if (!slower && !faster)
        return;
    printf("%-7s %-26s %-30s %-9s %10.1f %10.1f us %+7.1f%%  (half of the runs each: %.1f and %.1f, then "
           "%.1f and "
           "%.1f)\n",
           slower ? "slower" : "faster", a->op, a->shader, a->phase, a->settled * 1e6,
           b->settled / common * 1e6, 100.0 * (ratio - 1.0), a->least * 1e6, a->most * 1e6, least * 1e6,
           most * 1e6);
}

static void compare(struct verdict *v, const struct side *old, const struct side *new)
{
    for (uint32_t i = 0; i < old->count; i++) {
        const struct kernel_times *a = &old->kernels[i], *b = find(new, a);
        if (!b && a->share >= LEAST_SHARE)
            printf("gone    %-26s %-30s %-9s %10.1f us\n", a->op, a->shader, a->phase, a->settled * 1e6);
        if (counts(a, b))
            judge(v, a, b, beside(old, new, a->op, v->limit));
    }
    for (uint32_t i = 0; i < new->count; i++)
        if (!find(old, &new->kernels[i]) && new->kernels[i].share >= LEAST_SHARE)
            printf("new     %-26s %-30s %-9s %10.1f us\n", new->kernels[i].op, new->kernels[i].shader,
                   new->kernels[i].phase, new->kernels[i].settled * 1e6);
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
                        .absolute = settings->absolute};
    if (!status) {
        v.highest = v.limit;
        for (uint32_t i = 0; i < old.count; i++)
            v.total += old.kernels[i].settled * old.kernels[i].calls;
        warn_of_differences(&old, &new);
        if (!settings->absolute)
            printf(
                "all kernels alike: %+.1f %% (the machine, or what changed everything); below, each beside "
                "those of other ops\n",
                100.0 * (beside(&old, &new, NULL, v.limit).common - 1.0));
        compare(&v, &old, &new);
        if (v.highest > v.limit)
            printf(
                "kernels differ too much anyway for the limit of %.1f %% asked for: more --runs or a quieter "
                "machine tell smaller changes\n",
                100.0 * v.limit);
        printf("%u kernels of %u and %u runs compared, limit %.1f %%: %u slower, %u faster\n", v.compared,
               old.runs, new.runs, 100.0 * v.highest, v.slower, v.faster);
    }
    close_side(&old);
    close_side(&new);
    if (status)
        return complain_error(&err);
    return v.slower ? STATUS_FAILURE : STATUS_OK;
}
