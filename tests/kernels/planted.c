/* Every fault of planted.cmake must make rf_selftest fail, in the shader that has it and in no other, and for
 * the reason that stands in the list: lines of NAME|SHADER|REASON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/context.h"
#include "engine/gpu/device.h"
#include "engine/refusion_profile.h"

enum { EXIT_SKIP = 77 };

struct fault {
    char name[64], shader[64], reason[128];
};

struct watch {
    const struct fault *fault;
    unsigned failed_here, failed_elsewhere, with_reason;
    char first[400];
};

static void on_result(void *user, const struct rf_selftest_result *result)
{
    struct watch *watch = user;
    if (result->passed)
        return;
    if (strcmp(result->kernel, watch->fault->shader) != 0)
        watch->failed_elsewhere++;
    else if (watch->failed_here++ == 0)
        snprintf(watch->first, sizeof watch->first, "%s: error %.3g", result->shape, result->error);
    if (strstr(result->shape, watch->fault->reason))
        watch->with_reason++;
}

/* 0: found as it must be; 1: not; EXIT_SKIP: no device. */
static int find_fault(const struct fault *fault)
{
    char folder[1024];
    rf_context *context;
    struct rf_error err = {0};
    struct watch watch = {.fault = fault};
    snprintf(folder, sizeof folder, "%s/%s/%s.spv", RF_PLANTED_DIR, fault->name, fault->shader);
    FILE *shader = fopen(folder, "rb");
    if (!shader) {
        printf("%s: not planted: see tests/kernels/plant.cmake\n", fault->name);
        return 1;
    }
    fclose(shader);
    snprintf(folder, sizeof folder, "%s/%s", RF_PLANTED_DIR, fault->name);
    /* Planted in emulations, which any device with fp16 runs. */
    bool emulated = strstr(fault->shader, "matmul_coopmat2") != NULL;
    const struct rf_context_desc desc = {
        .cache_dir = "", .shader_dir = folder, .disable = emulated ? "coopmat2Units" : NULL};
    const struct rf_selftest_desc selftest = {.kernel = fault->shader, .seed = 11};
    enum rf_status status = rf_context_create(&context, &desc, &err);
    if (status != RF_OK) {
        printf("%s\n", err.message);
        return status == RF_ERROR_NO_DEVICE ? EXIT_SKIP : 1;
    }
    struct rf_device_info info;
    rf_context_device(context, &info);
    if ((!info.has_fp16 && strstr(fault->shader, "_act16")) ||
        (!info.has_coopmat && !emulated && strstr(fault->shader, "coopmat")) ||
        (strstr(fault->shader, "attention_wide") &&
         !rf_gpu_get_caps(rf_context_gpu(context))->wide_attention) ||
        (strstr(fault->shader, "_spread") && !rf_gpu_get_caps(rf_context_gpu(context))->spread) ||
        (strstr(fault->shader, "_int8") &&
         !(info.has_fp16 && rf_gpu_get_caps(rf_context_gpu(context))->dot_product))) {
        printf("%-26s %-18s not run on this device\n", fault->name, fault->shader);
        rf_context_destroy(context);
        return 0;
    }
    status = rf_selftest(context, &selftest, on_result, &watch, &err);
    rf_context_destroy(context);
    bool found = status == RF_ERROR_INTERNAL && strstr(err.message, fault->shader) && watch.failed_here > 0 &&
                 watch.failed_elsewhere == 0 && watch.with_reason > 0;
    printf("%-26s %-18s %s: %s\n", fault->name, fault->shader, found ? "found" : "NOT FOUND",
           watch.failed_here ? watch.first : err.message);
    return found ? 0 : 1;
}

static bool read_fault(FILE *list, struct fault *fault)
{
    char line[512], *bar;
    *fault = (struct fault){0};
    if (!fgets(line, sizeof line, list))
        return false;
    line[strcspn(line, "\n")] = 0;
    snprintf(fault->name, sizeof fault->name, "%.*s", (int)strcspn(line, "|"), line);
    bar = strchr(line, '|');
    if (!bar)
        return false;
    snprintf(fault->shader, sizeof fault->shader, "%.*s", (int)strcspn(bar + 1, "|"), bar + 1);
    bar = strchr(bar + 1, '|');
    if (!bar)
        return false;
    snprintf(fault->reason, sizeof fault->reason, "%s", bar + 1);
    return true;
}

int main(int argc, char **argv)
{
    struct fault fault;
    int failures = 0, count = 0;
    setvbuf(stdout, NULL, _IOLBF, 0); /* a crash leaves its name behind */
    FILE *list = fopen(RF_PLANTED_DIR "/list", "r");
    if (!list) {
        printf("%s/list: cannot be read\n", RF_PLANTED_DIR);
        return EXIT_FAILURE;
    }
    for (; read_fault(list, &fault);) {
        if (argc > 1 && !strstr(fault.name, argv[1]) && !strstr(fault.shader, argv[1]))
            continue;
        int rc = find_fault(&fault);
        if (rc == EXIT_SKIP) {
            fclose(list);
            return EXIT_SKIP;
        }
        count++;
        failures += rc;
    }
    fclose(list);
    printf("%d faults planted, %d not found\n", count, failures);
    return count > 0 && failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
