#include "apps/refusion/profile/live.h"

#include "apps/refusion/profile/statistics.h"
#include "apps/refusion/shader_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Are they right? -------------------------------------------------------------------------------- */

struct check {
    rf_context *context;
    bool quiet;
    const char *name;
    uint32_t shapes;
    double error, tolerance; /* of the shape that comes nearest to its tolerance */
    char shape[160];
    struct rf_error failure;
};

/* The self-test takes every kernel whose name contains the one that is asked for. */
static void on_result(void *user, const struct rf_selftest_result *result)
{
    struct check *check = user;
    if (strcmp(result->kernel, check->name) != 0)
        return;
    check->shapes++;
    bool nearest =
        check->shapes == 1 || !(result->error / result->tolerance <= check->error / check->tolerance);
    if (nearest) {
        check->error = result->error;
        check->tolerance = result->tolerance;
        snprintf(check->shape, sizeof check->shape, "%s", result->shape);
    }
    if (!result->passed && !check->failure.status)
        rf_fail(&check->failure, RF_ERROR_INTERNAL,
                "--shader-dir: %s is not what the built-in shader is: %s: error %.2g, tolerated %.2g",
                check->name, result->shape, result->error, result->tolerance);
}

static void check_shader(void *user, const char *name)
{
    struct check *check = user;
    if (check->failure.status)
        return;
    const struct rf_selftest_desc desc = {.kernel = name};
    struct rf_error err = {0};
    check->name = name;
    check->shapes = 0;
    rf_selftest(check->context, &desc, on_result, check, &err);
    /* A shader that cannot be made into a pipeline has no result. */
    if (!check->failure.status && !check->shapes && err.status && err.status != RF_ERROR_ARGUMENT)
        check->failure = err;
    if (check->quiet || check->failure.status)
        return;
    if (check->shapes)
        fprintf(stderr, "replaced %s: %u shapes checked, nearest to its tolerance %s: error %.2g of %.2g\n",
                name, check->shapes, check->shape, check->error, check->tolerance);
    else
        fprintf(stderr, "replaced %s: no self-test on this device, not checked\n", name);
}

enum rf_status live_check(rf_context *context, bool quiet, struct rf_error *err)
{
    struct check check = {.context = context, .quiet = quiet};
    shader_dir_visit(check_shader, &check);
    if (check.failure.status)
        *err = check.failure;
    return check.failure.status;
}

/* ---- Side by side ----------------------------------------------------------------------------------- */

struct lookup {
    const char *name;
    bool found;
};

static void look(void *user, const char *name)
{
    struct lookup *lookup = user;
    lookup->found = lookup->found || strcmp(name, lookup->name) == 0;
}

static bool is_replaced(const struct profile_kernel *kernel)
{
    struct lookup lookup = {kernel->shader, false};
    shader_dir_visit(look, &lookup);
    return lookup.found;
}

/* Median of a kernel's runs, each divided by `parts`; sorts them. */
static double middle(double *values, uint32_t count, double parts, double range[2])
{
    const double of_runs = median(values, count);
    range[0] = values[0] / parts;
    range[1] = values[count - 1] / parts;
    return of_runs / parts;
}

static const struct profile_sum *find(const struct profile_sums *sums, const struct profile *profile,
                                      const struct profile_kernel *kernel, int phase)
{
    for (uint32_t i = 0; i < sums->count; i++) {
        const struct profile_kernel *k = &profile->kernels[sums->items[i].kernel];
        if (sums->items[i].phase == phase && strcmp(k->op, kernel->op) == 0 &&
            strcmp(k->shader, kernel->shader) == 0)
            return &sums->items[i];
    }
    return NULL;
}

/* What was not replaced: how unlike the two sides' machines were. */
static enum rf_status rest_of(const struct profile_sums *sums, const struct profile *profile, double *median,
                              double range[2], struct rf_error *err)
{
    double *totals = calloc(sums->serial_runs + 1, sizeof *totals);
    if (!totals)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %u runs", sums->serial_runs);
    for (uint32_t i = 0; i < sums->count; i++)
        for (uint32_t r = 0; r < sums->serial_runs && !is_replaced(&profile->kernels[sums->items[i].kernel]);
             r++)
            totals[r] += sums->items[i].run_totals[r];
    if (sums->serial_runs)
        *median = middle(totals, sums->serial_runs, 1.0, range);
    free(totals);
    return RF_OK;
}

static enum rf_status fill_rows(struct live_row *rows, uint32_t *count, const struct profile_sums sums[2],
                                const struct profile *const profiles[2], struct rf_error *err)
{
    *count = 0;
    for (uint32_t i = 0; i < sums[1].count; i++) {
        const struct profile_sum *now = &sums[1].items[i];
        const struct profile_kernel *kernel = &profiles[1]->kernels[now->kernel];
        if (!is_replaced(kernel))
            continue;
        const struct profile_sum *before = find(&sums[0], profiles[0], kernel, now->phase);
        if (!before || !before->calls || !now->calls)
            continue;
        struct live_row *row = &rows[(*count)++];
        *row = (struct live_row){.kernel = kernel, .phase = now->phase, .calls = now->calls};
        row->builtin =
            middle(before->run_totals, sums[0].serial_runs, (double)before->calls, row->builtin_range);
        row->replaced = middle(now->run_totals, sums[1].serial_runs, (double)now->calls, row->replaced_range);
    }
    struct live_row *rest = &rows[(*count)++];
    *rest = (struct live_row){.phase = ALL_PHASES};
    enum rf_status status = rest_of(&sums[0], profiles[0], &rest->builtin, rest->builtin_range, err);
    return status ? status : rest_of(&sums[1], profiles[1], &rest->replaced, rest->replaced_range, err);
}

enum rf_status live_rows(struct live_row **out, uint32_t *count, const struct profile *builtin,
                         const struct profile *replaced, struct rf_error *err)
{
    const struct profile *const profiles[2] = {builtin, replaced};
    struct profile_sums sums[2] = {0};
    enum rf_status status = RF_OK;
    *out = NULL;
    for (int i = 0; !status && i < 2; i++)
        status = profile_sum_up(&sums[i], profiles[i], BY_KERNEL | BY_PHASE, NULL, err);
    if (!status) {
        *out = calloc(sums[1].count + 1, sizeof **out);
        status = *out ? fill_rows(*out, count, sums, profiles, err)
                      : rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %u kernels",
                                sums[1].count);
    }
    for (int i = 0; i < 2; i++)
        profile_sums_free(&sums[i]);
    return status;
}

enum rf_status live_print(const struct profile *builtin, const struct profile *replaced, struct rf_error *err)
{
    struct live_row *rows;
    uint32_t count;
    enum rf_status status = live_rows(&rows, &count, builtin, replaced, err);
    if (status) {
        free(rows);
        return status;
    }
    printf("\n%-26s %-30s %-9s %7s %12s %12s %9s   %s\n", "replaced", "shader", "phase", "calls",
           "built-in us", "replaced us", "change", "runs, us");
    for (uint32_t i = 0; i < count; i++) {
        const struct live_row *r = &rows[i];
        printf("%-26s %-30s %-9s %7llu %12.1f %12.1f %+8.1f%%   %.1f to %.1f, then %.1f to %.1f\n",
               r->kernel ? r->kernel->op : "everything else, a run", r->kernel ? r->kernel->shader : "",
               profile_phase(r->phase), (unsigned long long)r->calls, r->builtin * 1e6, r->replaced * 1e6,
               r->builtin > 0.0 ? 100.0 * (r->replaced / r->builtin - 1.0) : 0.0, r->builtin_range[0] * 1e6,
               r->builtin_range[1] * 1e6, r->replaced_range[0] * 1e6, r->replaced_range[1] * 1e6);
    }
    free(rows);
    return RF_OK;
}

enum rf_status live_json(cJSON *object, const struct profile *builtin, const struct profile *replaced,
                         struct rf_error *err)
{
    struct live_row *rows;
    uint32_t count;
    enum rf_status status = live_rows(&rows, &count, builtin, replaced, err);
    cJSON *array = cJSON_AddArrayToObject(object, "replaced");
    for (uint32_t i = 0; !status && i < count; i++) {
        const struct live_row *r = &rows[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(array, json);
        cJSON_AddStringToObject(json, "op", r->kernel ? r->kernel->op : "everything else");
        cJSON_AddStringToObject(json, "shader", r->kernel ? r->kernel->shader : "");
        cJSON_AddStringToObject(json, "phase", profile_phase(r->phase));
        cJSON_AddNumberToObject(json, "calls", (double)r->calls);
        cJSON_AddNumberToObject(json, "builtin", r->builtin);
        cJSON_AddNumberToObject(json, "replaced", r->replaced);
        cJSON_AddItemToObject(json, "builtin_range", cJSON_CreateDoubleArray(r->builtin_range, 2));
        cJSON_AddItemToObject(json, "replaced_range", cJSON_CreateDoubleArray(r->replaced_range, 2));
    }
    free(rows);
    return status;
}
