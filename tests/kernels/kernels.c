/* Runs rf_selftest on the device at hand, prints the worst case of each kernel, and fails as rf_selftest
 * does, on a complaint of the validation layer or the red zones, and when a shader of the library is neither
 * run nor known to be tested elsewhere. With RF_FULL in the environment --quick is not heard.
 * kernels [--quick] [--seed N] [--kernel NAME]... [--shaders FOLDER] [--verbose] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/context.h"
#include "engine/gpu/device.h"
#include "engine/gpu/shader_blobs.h"
#include "engine/refusion_profile.h"

enum { MAX_KERNELS = 128, MAX_NAMES = 16, EXIT_SKIP = 77 };

struct worst {
    char kernel[64];
    unsigned cases, failures;
    double ratio, error, tolerance; /* of the case with the largest error / tolerance */
    char shape[400];
};

struct tally {
    struct worst kernels[MAX_KERNELS];
    unsigned count, cases;
    bool verbose;
};

static struct worst *find(struct tally *tally, const char *kernel)
{
    for (unsigned i = 0; i < tally->count; i++)
        if (strcmp(tally->kernels[i].kernel, kernel) == 0)
            return &tally->kernels[i];
    if (tally->count == MAX_KERNELS)
        exit(EXIT_FAILURE);
    struct worst *worst = &tally->kernels[tally->count++];
    snprintf(worst->kernel, sizeof worst->kernel, "%s", kernel);
    worst->ratio = -1.0;
    return worst;
}

static void on_result(void *user, const struct rf_selftest_result *result)
{
    struct tally *tally = user;
    struct worst *worst = find(tally, result->kernel);
    double ratio = result->error == 0.0 ? 0.0 : result->error / (result->tolerance + 1e-300);
    worst->cases++;
    tally->cases++;
    if (!result->passed)
        worst->failures++;
    if (result->passed && strstr(result->shape, "chi-square"))
        return; /* not an error in the numbers */
    if (!(ratio <= worst->ratio)) {
        worst->ratio = ratio;
        worst->error = result->error;
        worst->tolerance = result->tolerance;
        snprintf(worst->shape, sizeof worst->shape, "%s", result->shape);
    }
    if (tally->verbose || !result->passed)
        printf("%s %s: error %.3g, tolerance %.3g: %s\n", result->kernel, result->shape, result->error,
               result->tolerance, result->passed ? "ok" : "FAILED");
}

static void print_line(void *user, enum rf_log_level level, const char *line)
{
    (void)user;
    if (level >= RF_LOG_WARNING)
        printf("log: %s\n", line);
}

/* The slot shaders run in tests/decode, against a second implementation of the decoding rules; those of the
 * bench in tests/bench. */
static bool is_tested_elsewhere(const char *shader)
{
    return strncmp(shader, "slot_", 5) == 0 || strncmp(shader, "bench_", 6) == 0 ||
           strcmp(shader, "synthetic") == 0;
}

/* What the device has no tier for. `wide` kernels are for CPUs with subgroups of 8 or 16. */
static bool is_out_of_reach(const char *shader, const struct rf_device_info *info,
                            const struct rf_gpu_caps *caps)
{
    bool int8 = caps->dot_product && caps->fp16;
    bool wide = strcmp(info->type, "cpu") == 0 && (info->subgroup_size == 8 || info->subgroup_size == 16);
    return (!info->has_fp16 && strstr(shader, "_act16")) || (!wide && strstr(shader, "_wide")) ||
           (!caps->wide_attention && strstr(shader, "attention_wide")) ||
           (!caps->spread && strstr(shader, "_spread")) ||
           (!info->has_coopmat && strstr(shader, "_coopmat")) ||
           (!info->has_coopmat2_matmul && strstr(shader, "matmul_coopmat2")) ||
           (!int8 && strstr(shader, "_int8"));
}

static unsigned count_missing(struct tally *tally, const struct rf_device_info *info,
                              const struct rf_gpu_caps *caps)
{
    unsigned missing = 0;
    for (size_t i = 0; i < rf_shader_blob_count; i++) {
        const char *name = rf_shader_blobs[i].name;
        if (is_tested_elsewhere(name) || is_out_of_reach(name, info, caps) || find(tally, name)->cases)
            continue;
        printf("%s: no case runs this shader\n", name);
        missing++;
    }
    return missing;
}

static void print_summary(const struct tally *tally)
{
    for (unsigned i = 0; i < tally->count; i++) {
        const struct worst *worst = &tally->kernels[i];
        printf("%-24s %4u cases, %u failed, worst %.2e of %.2e (%s)\n", worst->kernel, worst->cases,
               worst->failures, worst->error, worst->tolerance, worst->shape);
    }
}

/* One run for each name, or one for all kernels. */
static enum rf_status run_names(rf_context *context, struct rf_selftest_desc desc, const char *const *names,
                                unsigned count, struct tally *tally, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (unsigned i = 0; i < count || (i == 0 && count == 0); i++) {
        struct rf_error failure = {0};
        desc.kernel = count ? names[i] : NULL;
        if (rf_selftest(context, &desc, on_result, tally, &failure) != RF_OK && status == RF_OK) {
            status = failure.status;
            *err = failure;
        }
    }
    return status;
}

static int run(rf_context *context, const struct rf_selftest_desc *desc, const char *const *names,
               unsigned name_count, struct tally *tally)
{
    struct rf_error err = {0};
    struct rf_device_info info;
    struct timespec begin, end;
    rf_context_device(context, &info);
    printf("%s, %s, subgroup size %u\n", info.name, info.driver, info.subgroup_size);
    timespec_get(&begin, TIME_UTC);
    enum rf_status status = run_names(context, *desc, names, name_count, tally, &err);
    timespec_get(&end, TIME_UTC);
    unsigned missing = name_count ? 0 : count_missing(tally, &info, rf_gpu_get_caps(rf_context_gpu(context)));
    print_summary(tally);
    uint64_t complaints = rf_context_complaints(context);
    printf("%u cases, %u shaders not run, %" PRIu64 " complaints, %.1f s\n", tally->cases, missing,
           complaints, (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9);
    if (status != RF_OK)
        printf("%s: %s\n", rf_status_name(status), err.message);
    return status == RF_OK && missing == 0 && complaints == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct rf_selftest_desc desc = {.thorough = true};
    static struct tally tally;
    const char *names[MAX_NAMES], *shaders = NULL;
    unsigned name_count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            desc.thorough = getenv("RF_FULL");
        else if (strcmp(argv[i], "--verbose") == 0)
            tally.verbose = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            desc.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--kernel") == 0 && i + 1 < argc && name_count < MAX_NAMES)
            names[name_count++] = argv[++i];
        else if (strcmp(argv[i], "--shaders") == 0 && i + 1 < argc)
            shaders = argv[++i];
        else {
            fprintf(
                stderr,
                "usage: kernels [--quick] [--seed N] [--kernel NAME]... [--shaders FOLDER] [--verbose]\n");
            return 2;
        }
    }
    rf_context *context;
    struct rf_error err = {0};
    /* The layer leaks, so sanitizer builds run without it; the test's environment tells. */
    struct rf_context_desc context_desc = {.cache_dir = "",
                                           .shader_dir = shaders,
                                           .debug_checks = true,
                                           .validation = getenv("RF_VALIDATION_LOG"),
                                           .log = print_line};
    enum rf_status status = rf_context_create(&context, &context_desc, &err);
    if (status != RF_OK) {
        printf("%s\n", err.message);
        return status == RF_ERROR_NO_DEVICE ? EXIT_SKIP : EXIT_FAILURE;
    }
    int rc = run(context, &desc, names, name_count, &tally);
    rf_context_destroy(context);
    return rc;
}
