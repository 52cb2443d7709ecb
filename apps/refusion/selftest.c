/* refusion selftest: every kernel on one device against a plain f64 C reference. */
#include "apps/refusion/engine_open.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/json_out.h"
#include "apps/refusion/program.h"
#include "engine/refusion_profile.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kernel_row {
    char *kernel, *worst_shape;
    unsigned cases, failed;
    double worst_error, tolerance; /* of the case with the largest share of its tolerance */
};

struct report {
    struct kernel_row *rows;
    size_t count;
    cJSON *failures; /* NULL without --json */
    char *first_shape;
    bool no_memory, progress;
};

static struct kernel_row *row_of(struct report *report, const char *kernel)
{
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->rows[i].kernel, kernel) == 0)
            return &report->rows[i];
    }
    struct kernel_row *larger = realloc(report->rows, (report->count + 1) * sizeof *larger);
    char *name = strdup(kernel), *shape = strdup("");
    if (larger)
        report->rows = larger;
    if (!larger || !name || !shape) {
        free(name);
        free(shape);
        return NULL;
    }
    struct kernel_row *row = &report->rows[report->count++];
    *row = (struct kernel_row){.kernel = name, .worst_shape = shape, .worst_error = -1};
    return row;
}

/* Written so that NaN is the worst of all. */
static bool is_worse(const struct kernel_row *row, const struct rf_selftest_result *result)
{
    if (row->worst_error != row->worst_error)
        return false;
    if (row->worst_error < 0)
        return true;
    return !(result->error * row->tolerance <= row->worst_error * result->tolerance);
}

static void note_failure(struct report *report, const struct rf_selftest_result *result)
{
    if (!report->failures) {
        if (report->progress)
            fprintf(stderr, "\r\033[K");
        printf("FAILED  %s  %s  error %.3g, tolerance %.3g\n", result->kernel, result->shape, result->error,
               result->tolerance);
        return;
    }
    cJSON *failure = cJSON_CreateObject();
    cJSON_AddStringToObject(failure, "kernel", result->kernel);
    cJSON_AddStringToObject(failure, "shape", result->shape);
    cJSON_AddNumberToObject(failure, "error", result->error);
    cJSON_AddNumberToObject(failure, "tolerance", result->tolerance);
    cJSON_AddItemToArray(report->failures, failure);
}

static void on_result(void *user, const struct rf_selftest_result *result)
{
    struct report *report = user;
    struct kernel_row *row = row_of(report, result->kernel);
    char *shape = strdup(result->shape);
    if (!report->first_shape)
        report->first_shape = strdup(result->shape);
    if (!row || !shape) {
        free(shape);
        report->no_memory = true;
        return;
    }
    if (report->progress)
        fprintf(stderr, "\r\033[K%s %.60s", result->kernel, result->shape);
    row->cases++;
    if (is_worse(row, result)) {
        free(row->worst_shape);
        row->worst_shape = shape;
        row->worst_error = result->error;
        row->tolerance = result->tolerance;
    } else {
        free(shape);
    }
    if (!result->passed) {
        row->failed++;
        note_failure(report, result);
    }
}

static void print_table(const struct report *report)
{
    printf("%-28s %6s  %-10s %-10s %-6s  %s\n", "kernel", "cases", "error", "tolerance", "", "worst shape");
    for (size_t i = 0; i < report->count; i++) {
        const struct kernel_row *row = &report->rows[i];
        printf("%-28s %6u  %-10.2e %-10.2e %-6s  %s\n", row->kernel, row->cases, row->worst_error,
               row->tolerance, row->failed ? "FAILED" : "ok", row->worst_shape);
    }
}

static enum rf_status print_json(struct report *report, const char *device, bool passed, struct rf_error *err)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "device", device);
    cJSON_AddBoolToObject(object, "passed", passed);
    cJSON_AddStringToObject(object, "first_shape", report->first_shape ? report->first_shape : "");
    cJSON *kernels = cJSON_AddArrayToObject(object, "kernels");
    for (size_t i = 0; i < report->count; i++) {
        const struct kernel_row *row = &report->rows[i];
        cJSON *kernel = cJSON_CreateObject();
        cJSON_AddStringToObject(kernel, "kernel", row->kernel);
        cJSON_AddNumberToObject(kernel, "cases", row->cases);
        cJSON_AddNumberToObject(kernel, "failed", row->failed);
        cJSON_AddNumberToObject(kernel, "error", row->worst_error); /* NaN is printed as null */
        cJSON_AddNumberToObject(kernel, "tolerance", row->tolerance);
        cJSON_AddStringToObject(kernel, "worst_shape", row->worst_shape);
        cJSON_AddItemToArray(kernels, kernel);
    }
    cJSON_AddItemToObject(object, "failures", report->failures);
    report->failures = NULL;
    return json_print(object, true, err);
}

static int run(const struct settings *settings, rf_context *context, struct report *report,
               struct rf_error *err)
{
    struct rf_device_info info;
    rf_context_device(context, &info);
    struct rf_selftest_desc desc = {
        .kernel = settings->kernel, .thorough = settings->thorough, .seed = settings->seed.value};
    double start = now_seconds();
    enum rf_status status = rf_selftest(context, &desc, on_result, report, err);
    if (report->progress)
        fprintf(stderr, "\r\033[K");
    if (report->no_memory)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "selftest: no memory for the table");
    if (settings->json) {
        struct rf_error late = {0};
        enum rf_status printed = print_json(report, info.name, !status, &late);
        if (printed && !status) {
            *err = late;
            status = printed;
        }
    } else if (report->count) {
        printf("%s, %s\n", info.name, info.driver);
        print_table(report);
        if (!status) {
            printf("all passed in %.1f s (first case: %s)\n", now_seconds() - start,
                   report->first_shape ? report->first_shape : "none");
        }
    }
    fflush(stdout);
    return status ? complain_error(err) : STATUS_OK;
}

int command_selftest(const struct settings *settings)
{
    struct rf_error err = {0};
    rf_context *context = NULL;
    if (context_open(&context, settings, &err))
        return complain_error(&err);
    struct report report = {
        .failures = settings->json ? cJSON_CreateArray() : NULL,
        .progress = isatty(STDERR_FILENO),
    };
    int exit = run(settings, context, &report, &err);
    uint64_t complaints = rf_context_complaints(context);
    if (settings->validate && complaints) {
        complain("--validate: found %llu complaints, wanted none", (unsigned long long)complaints);
        if (exit == STATUS_OK)
            exit = STATUS_FAILURE;
    }
    rf_context_destroy(context);
    for (size_t i = 0; i < report.count; i++) {
        free(report.rows[i].kernel);
        free(report.rows[i].worst_shape);
    }
    free(report.rows);
    free(report.first_shape);
    cJSON_Delete(report.failures);
    return exit;
}
