/* refusion quantize: a model to one GGUF file in another type. Touches no Vulkan. */
#include "loader/quantize.h"

#include "apps/refusion/engine_open.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/json_out.h"
#include "apps/refusion/program.h"
#include "loader/tensor.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    enum rf_dtype dtype;
} types[] = {
    {"f32", RF_DTYPE_F32},   {"f16", RF_DTYPE_F16},   {"bf16", RF_DTYPE_BF16}, {"q8_0", RF_DTYPE_Q8_0},
    {"q4_0", RF_DTYPE_Q4_0}, {"q4_k", RF_DTYPE_Q4_K}, {"q6_k", RF_DTYPE_Q6_K},
};

static enum rf_status read_type(const char *name, enum rf_dtype *out, struct rf_error *err)
{
    for (size_t i = 0; name && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i].name) == 0) {
            *out = types[i].dtype;
            return RF_OK;
        }
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "--type: found %s%s%s, wanted f32, f16, bf16, q8_0, q4_0, q4_k or q6_k", name ? "\"" : "",
                   name ? name : "nothing", name ? "\"" : "");
}

struct job {
    const struct settings *settings;
    bool visible;   /* progress on a terminal */
    double last;    /* seconds, when it was drawn */
    cJSON *tensors; /* with --json */
};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct job *job = user;
    double now = now_seconds();
    if (job->visible && now - job->last > 0.1) {
        job->last = now;
        fprintf(stderr, "\r\033[Kquantizing: %3.0f %% of %.1f million numbers",
                100.0 * (double)done / (double)total, (double)total / 1e6);
    }
    return !interrupted();
}

static void print_report(const struct rf_quantize_report *report)
{
    printf("%-28s %-16s %-4s -> %-4s  error %.6f, at most %-9.3g %12" PRIu64 " bytes%s%s%s\n", report->name,
           rf_shape_describe(report->shape, report->rank).text, rf_dtype_name(report->from),
           rf_dtype_name(report->to), report->relative_error, report->most_error, report->bytes,
           report->why ? "  (" : "", report->why ? report->why : "", report->why ? ")" : "");
}

static void on_report(void *user, const struct rf_quantize_report *report)
{
    struct job *job = user;
    if (!job->settings->json) {
        if (job->visible)
            fprintf(stderr, "\r\033[K");
        print_report(report);
        return;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", report->name);
    cJSON *shape = cJSON_AddArrayToObject(object, "shape");
    for (uint32_t i = 0; i < report->rank; i++)
        cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)report->shape[i]));
    cJSON_AddStringToObject(object, "from", rf_dtype_name(report->from));
    cJSON_AddStringToObject(object, "to", rf_dtype_name(report->to));
    if (report->why)
        cJSON_AddStringToObject(object, "why", report->why);
    cJSON_AddNumberToObject(object, "relative_error", report->relative_error);
    cJSON_AddNumberToObject(object, "max_error", report->most_error);
    cJSON_AddNumberToObject(object, "underflow", (double)report->underflow);
    cJSON_AddNumberToObject(object, "bytes", (double)report->bytes);
    cJSON_AddItemToArray(job->tensors, object);
}

static enum rf_status print_json(struct job *job, const struct rf_quantize_total *total, double seconds,
                                 struct rf_error *err)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "in", job->settings->text);
    cJSON_AddStringToObject(object, "out", job->settings->second_text);
    cJSON_AddStringToObject(object, "type", job->settings->type);
    cJSON_AddItemToObject(object, "tensors", job->tensors);
    job->tensors = NULL;
    cJSON_AddNumberToObject(object, "parameters", (double)total->parameters);
    cJSON_AddNumberToObject(object, "bytes_before", (double)total->bytes_before);
    cJSON_AddNumberToObject(object, "bytes_after", (double)total->bytes_after);
    cJSON_AddNumberToObject(object, "relative_error", total->relative_error);
    cJSON_AddNumberToObject(object, "underflow", (double)total->underflow);
    cJSON_AddNumberToObject(object, "seconds", seconds);
    return json_print(object, true, err);
}

static void print_total(const struct settings *settings, const struct rf_quantize_total *total,
                        double seconds)
{
    printf("%s: %u tensors, %" PRIu64
           " parameters, %.1f MB of weights from %.1f MB (%.2f bits a parameter), error "
           "%.6f, %.1f s\n",
           settings->second_text, total->tensors, total->parameters, (double)total->bytes_after / 1e6,
           (double)total->bytes_before / 1e6, 8.0 * (double)total->bytes_after / (double)total->parameters,
           total->relative_error, seconds);
}

static enum rf_status check_options(const struct settings *settings, enum rf_dtype *type,
                                    struct rf_error *err)
{
    if (!settings->text || !settings->second_text)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "quantize: found %s, wanted IN, a model folder or GGUF file, and OUT, "
                       "the file to write",
                       settings->text ? "only one argument" : "no arguments");
    return read_type(settings->type, type, err);
}

int command_quantize(const struct settings *settings)
{
    struct rf_error err = {0};
    struct job job = {.settings = settings, .visible = isatty(STDERR_FILENO) && !settings->quiet};
    struct rf_quantize_desc desc = {.pure = settings->pure,
                                    .threads = (uint32_t)settings->threads.value,
                                    .progress = on_progress,
                                    .report = on_report,
                                    .user = &job};
    struct rf_quantize_total total;
    enum rf_status status = check_options(settings, &desc.type, &err);
    if (status)
        return complain_error(&err);
    interrupt_install();
    signal(SIGXFSZ, SIG_IGN); /* a file that grows beyond the user's limit is an error like a full disk */
    if (settings->json && !(job.tensors = cJSON_CreateArray()))
        status = rf_fail(&err, RF_ERROR_HOST_MEMORY, "quantize: out of memory");
    double start = now_seconds();
    if (!status)
        status = rf_quantize(settings->text, settings->second_text, &desc, &total, &err);
    if (job.visible)
        fprintf(stderr, "\r\033[K");
    double seconds = now_seconds() - start;
    if (!status && total.requantized && !settings->quiet)
        complain("warning: %u tensors were quantized before: their errors add up, a file in F16 or F32 is a "
                 "better "
                 "source",
                 total.requantized);
    if (!status && total.underflow && !settings->quiet && desc.type == RF_DTYPE_F16)
        complain("warning: %" PRIu64 " numbers are too small for F16 and became zero", total.underflow);
    if (!status && settings->json)
        status = print_json(&job, &total, seconds, &err);
    else if (!status)
        print_total(settings, &total, seconds);
    cJSON_Delete(job.tensors);
    return status ? complain_error(&err) : STATUS_OK;
}
