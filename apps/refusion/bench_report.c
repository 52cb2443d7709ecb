#include "apps/refusion/bench_report.h"

#include "apps/refusion/json_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- The machine's state ---------------------------------------------------------------------------- */

/* Bytes of the CPU's largest cache, which is also a CPU driver's; 0 where the system does not tell. */
static uint64_t cpu_cache_bytes(void)
{
    uint64_t most = 0;
    for (int i = 0; i < 8; i++) {
        char path[96];
        unsigned long long size = 0;
        char unit = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%llu%c", &size, &unit) == 2 && (unit == 'K' || unit == 'M')) {
            uint64_t bytes = (uint64_t)size << (unit == 'K' ? 10 : 20);
            most = bytes > most ? bytes : most;
        }
        fclose(file);
    }
    return most;
}

/* Runnable tasks over the last minute: beside a CPU driver, whatever else runs is in the figures. */
static double load_average(void)
{
    double load = -1.0;
    return getloadavg(&load, 1) == 1 ? load : -1.0;
}

void bench_date(char text[32])
{
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* ---- Figures of a cell ------------------------------------------------------------------------------ */

double bench_percent_of_floor(const struct rf_bench_forward *cell)
{
    return 100.0 * cell->floor_seconds / cell->seconds;
}

static double spread_percent(const struct rf_bench_forward *cell)
{
    return 100.0 * (cell->slowest - cell->fastest) / cell->seconds;
}

static double decode_rate(const struct rf_bench_decode *result)
{
    return result->decode_seconds > 0.0 ? result->tokens / result->decode_seconds : 0.0;
}

/* With the prompt, as papers count. */
static double whole_rate(const struct rf_bench_decode *result)
{
    return result->tokens / (result->decode_seconds + result->prefill_seconds);
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

cJSON *bench_ceilings_json(const struct rf_bench_ceilings *c)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "read_gb_per_second", c->read_gb_per_second);
    cJSON_AddNumberToObject(json, "read_bytes", (double)c->read_bytes);
    cJSON_AddStringToObject(json, "read_kernel", c->read_kernel);
    cJSON_AddNumberToObject(json, "read_model_gb_per_second", c->read_model_gb_per_second);
    cJSON_AddNumberToObject(json, "read_model_bytes", (double)c->read_model_bytes);
    cJSON_AddNumberToObject(json, "f32_tflops", c->f32_tflops);
    cJSON_AddStringToObject(json, "f32_kernel", c->f32_kernel);
    cJSON_AddNumberToObject(json, "f16_tflops", c->f16_tflops);
    cJSON_AddNumberToObject(json, "int8_tops", c->int8_tops);
    cJSON_AddNumberToObject(json, "coopmat_tflops", c->coopmat_tflops);
    cJSON_AddNumberToObject(json, "dispatch_us", c->dispatch_us);
    cJSON_AddNumberToObject(json, "barrier_us", c->barrier_us);
    cJSON_AddNumberToObject(json, "submission_us", c->submission_us);
    return json;
}

static void begin_json(struct bench_report *report, const struct rf_bench_ceilings *ceilings)
{
    char date[32];
    bench_date(date);
    cJSON *object = report->object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "version", rf_version());
    cJSON_AddStringToObject(object, "date", date);
    cJSON *device = cJSON_AddObjectToObject(object, "device");
    cJSON_AddStringToObject(device, "name", report->device.name);
    cJSON_AddStringToObject(device, "driver", report->device.driver);
    cJSON_AddStringToObject(device, "type", report->device.type);
    cJSON_AddStringToObject(device, "tiers", report->device.tiers);
    cJSON_AddNumberToObject(device, "subgroup_size", report->device.subgroup_size);
    cJSON_AddNumberToObject(device, "memory_bytes", (double)report->device.memory_bytes);
    cJSON_AddNumberToObject(device, "cpu_cache_bytes", (double)cpu_cache_bytes());
    cJSON_AddNumberToObject(device, "load_average", load_average());
    cJSON *model = cJSON_AddObjectToObject(object, "model");
    cJSON_AddStringToObject(model, "name", report->model);
    cJSON_AddNumberToObject(model, "layers", report->info.layers);
    cJSON_AddNumberToObject(model, "hidden", report->info.hidden);
    cJSON_AddNumberToObject(model, "ffn", report->info.ffn);
    cJSON_AddNumberToObject(model, "vocab", report->info.vocab);
    cJSON_AddNumberToObject(model, "parameters", (double)report->info.parameters);
    cJSON_AddNumberToObject(model, "weight_bytes", (double)report->info.weight_bytes);
    cJSON_AddStringToObject(model, "precision", report->info.precision);
    cJSON_AddItemToObject(object, "ceilings", bench_ceilings_json(ceilings));
    report->tune = cJSON_AddArrayToObject(object, "tune");
    report->sweep = cJSON_AddArrayToObject(object, "sweep");
    report->forward = cJSON_AddArrayToObject(object, "forward");
    cJSON_AddNullToObject(object, "prefill");
    cJSON_AddNullToObject(object, "ar");
    cJSON_AddNullToObject(object, "refusion");
}

static cJSON *cell_json(const struct rf_bench_forward *cell)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "rows", cell->rows);
    cJSON_AddNumberToObject(json, "cache", cell->cache);
    cJSON_AddNumberToObject(json, "ms", cell->seconds * 1e3);
    cJSON_AddNumberToObject(json, "fastest_ms", cell->fastest * 1e3);
    cJSON_AddNumberToObject(json, "slowest_ms", cell->slowest * 1e3);
    cJSON_AddNumberToObject(json, "device_ms", cell->device_seconds * 1e3);
    cJSON_AddNumberToObject(json, "submit_ms", cell->submit_seconds * 1e3);
    cJSON_AddNumberToObject(json, "floor_ms", cell->floor_seconds * 1e3);
    cJSON_AddNumberToObject(json, "repeats", cell->repeats);
    cJSON_AddNumberToObject(json, "tokens_per_second", cell->rows / cell->seconds);
    cJSON_AddNumberToObject(json, "gb_per_second", (double)cell->bytes * 1e-9 / cell->seconds);
    cJSON_AddNumberToObject(json, "tflops", (double)cell->flops * 1e-12 / cell->seconds);
    cJSON_AddNumberToObject(json, "percent_of_floor", bench_percent_of_floor(cell));
    cJSON_AddStringToObject(json, "path", cell->path);
    cJSON_AddNumberToObject(json, "bytes", (double)cell->bytes);
    cJSON_AddNumberToObject(json, "flops", (double)cell->flops);
    cJSON_AddNumberToObject(json, "error", cell->error);
    cJSON_AddNumberToObject(json, "submissions", cell->submissions);
    cJSON_AddNumberToObject(json, "dispatches", cell->dispatches);
    cJSON_AddNumberToObject(json, "barriers", cell->barriers);
    return json;
}

static cJSON *decode_json(const struct rf_bench_decode *result, double accept_rate)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "tokens_per_second", decode_rate(result));
    cJSON_AddNumberToObject(json, "tokens_per_forward", result->tokens_per_forward);
    cJSON_AddNumberToObject(json, "tokens_per_second_with_prefill", whole_rate(result));
    cJSON_AddNumberToObject(json, "prompt", result->prompt);
    cJSON_AddNumberToObject(json, "tokens", result->tokens);
    cJSON_AddNumberToObject(json, "rounds", result->rounds);
    cJSON_AddNumberToObject(json, "forwards", (double)result->forwards);
    cJSON_AddNumberToObject(json, "rows", (double)result->rows);
    cJSON_AddNumberToObject(json, "prefill_seconds", result->prefill_seconds);
    cJSON_AddNumberToObject(json, "decode_seconds", result->decode_seconds);
    if (accept_rate >= 0.0)
        cJSON_AddNumberToObject(json, "accept_rate", accept_rate);
    return json;
}

/* ---- Table and CSV ---------------------------------------------------------------------------------- */

static void print_heading(void)
{
    printf("%-8s %4s %6s %10s %7s %10s %10s %8s %9s %7s %-18s %5s %5s %8s\n", "", "rows", "cache", "ms",
           "spread", "device ms", "tokens/s", "GB/s", "TFLOP/s", "floor", "path", "disp", "barr", "error");
}

static void begin_table(const struct bench_report *report, const struct rf_bench_ceilings *c)
{
    uint64_t cache = cpu_cache_bytes();
    printf("%s, %s\n", report->device.name, report->device.driver);
    printf("%s: %.2f G parameters, %.1f MB of weights, %s path; load average %.2f", report->model,
           (double)report->info.parameters * 1e-9, (double)report->info.weight_bytes * 1e-6,
           report->info.precision, load_average());
    if (cache && strcmp(report->device.type, "cpu") == 0)
        printf("; CPU cache %.0f MB", (double)cache * 1e-6);
    printf("\n\nceilings\n  read     %9.1f GB/s    of %.0f MB: %s\n", c->read_gb_per_second,
           (double)c->read_bytes * 1e-6, c->read_kernel);
    if (c->read_model_bytes != c->read_bytes)
        printf("  read     %9.1f GB/s    of %.1f MB, as the weights have\n", c->read_model_gb_per_second,
               (double)c->read_model_bytes * 1e-6);
    printf("  f32      %9.3f TFLOP/s %s\n", c->f32_tflops, c->f32_kernel);
    const struct {
        const char *name, *unit;
        double value;
    } others[] = {{"f16", "TFLOP/s", c->f16_tflops},
                  {"int8 dot", "TOP/s", c->int8_tops},
                  {"coopmat", "TFLOP/s", c->coopmat_tflops}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].value > 0.0)
            printf("  %-8s %9.3f %s\n", others[i].name, others[i].value, others[i].unit);
    printf("  dispatch %9.2f us\n  barrier  %9.2f us\n  submit   %9.1f us\n\n", c->dispatch_us, c->barrier_us,
           c->submission_us);
    fflush(stdout);
}

static void print_cell(const char *kind, const struct rf_bench_forward *cell)
{
    printf("%-8s %4" PRIu32 " %6" PRIu32 " %10.3f %6.1f%% ", kind, cell->rows, cell->cache,
           cell->seconds * 1e3, spread_percent(cell));
    if (cell->device_seconds > 0.0)
        printf("%10.3f ", cell->device_seconds * 1e3);
    else
        printf("%10s ", "-");
    printf("%10.1f %8.1f %9.4f %6.1f%% %-18s %5" PRIu32 " %5" PRIu32 " %8.1e\n", cell->rows / cell->seconds,
           (double)cell->bytes * 1e-9 / cell->seconds, (double)cell->flops * 1e-12 / cell->seconds,
           bench_percent_of_floor(cell), cell->path, cell->dispatches, cell->barriers, cell->error);
    fflush(stdout);
}

static void print_cell_csv(const char *kind, const struct rf_bench_forward *cell)
{
    printf("%s,%" PRIu32 ",%" PRIu32 ",%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%s,%" PRIu32 ",%" PRIu32
           ",%" PRIu32 ",\n",
           kind, cell->rows, cell->cache, cell->seconds * 1e3, cell->fastest * 1e3, cell->slowest * 1e3,
           cell->device_seconds * 1e3, cell->rows / cell->seconds, (double)cell->bytes * 1e-9 / cell->seconds,
           (double)cell->flops * 1e-12 / cell->seconds, bench_percent_of_floor(cell), cell->path,
           cell->repeats, cell->dispatches, cell->barriers);
    fflush(stdout);
}

static void print_cell_as(struct bench_report *report, const char *kind, const struct rf_bench_forward *cell)
{
    if (report->style == BENCH_TABLE && !report->headed)
        print_heading();
    report->headed = true;
    if (report->style == BENCH_TABLE)
        print_cell(kind, cell);
    if (report->style == BENCH_CSV)
        print_cell_csv(kind, cell);
}

/* ---- The report ------------------------------------------------------------------------------------- */

void bench_report_begin(struct bench_report *report, const struct rf_bench_ceilings *ceilings)
{
    report->ceilings = *ceilings;
    report->begun = true;
    if (report->style == BENCH_JSON)
        begin_json(report, ceilings);
    else if (report->style == BENCH_TABLE)
        begin_table(report, ceilings);
    else
        printf("kind,rows,cache,ms,fastest_ms,slowest_ms,device_ms,tokens_per_second,gb_per_second,tflops,"
               "percent_of_floor,path,repeats,dispatches,barriers,tokens_per_forward\n");
}

void bench_report_trial(struct bench_report *report, const struct rf_bench_trial *trial)
{
    if (report->style == BENCH_JSON) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "format", trial->format);
        cJSON_AddNumberToObject(json, "rows", trial->rows);
        cJSON_AddNumberToObject(json, "k", trial->k);
        cJSON_AddNumberToObject(json, "columns", trial->columns);
        cJSON_AddStringToObject(json, "kernel", trial->kernel);
        cJSON_AddNumberToObject(json, "us", trial->seconds * 1e6);
        cJSON_AddBoolToObject(json, "chosen", trial->chosen);
        cJSON_AddBoolToObject(json, "wrong", trial->wrong);
        cJSON_AddItemToArray(report->tune, json);
    } else if (report->style == BENCH_TABLE) {
        printf("%s %s, %" PRIu32 " rows of %" PRIu32 " by %" PRIu32 ": %s", trial->chosen ? "taken" : "tried",
               trial->format, trial->rows, trial->k, trial->columns, trial->kernel);
        if (trial->wrong)
            printf(": its product is wrong on this device, not taken\n");
        else if (trial->seconds > 0.0)
            printf(": %.1f us\n", trial->seconds * 1e6);
        else
            printf(" (kept from an earlier start, or there is no other)\n");
    }
}

void bench_report_sweep(struct bench_report *report, const struct rf_bench_sweep *sweep)
{
    double percent = 100.0 * (sweep->chosen_seconds / sweep->fastest_seconds - 1.0);
    if (report->style == BENCH_JSON) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "format", sweep->format);
        cJSON_AddNumberToObject(json, "rows", sweep->rows);
        cJSON_AddNumberToObject(json, "k", sweep->k);
        cJSON_AddNumberToObject(json, "columns", sweep->columns);
        cJSON_AddNumberToObject(json, "shapes", sweep->shapes);
        cJSON_AddStringToObject(json, "chosen", sweep->chosen);
        cJSON_AddNumberToObject(json, "chosen_us", sweep->chosen_seconds * 1e6);
        cJSON_AddStringToObject(json, "fastest", sweep->fastest);
        cJSON_AddNumberToObject(json, "fastest_us", sweep->fastest_seconds * 1e6);
        cJSON_AddNumberToObject(json, "percent_slower", percent);
        cJSON_AddItemToArray(report->sweep, json);
    } else if (report->style == BENCH_TABLE) {
        printf("swept %s, %" PRIu32 " rows of %" PRIu32 " by %" PRIu32 ", %" PRIu32
               " shapes: taken %s, %.1f us; fastest %s, %.1f us: %.1f%% slower\n",
               sweep->format, sweep->rows, sweep->k, sweep->columns, sweep->shapes, sweep->chosen,
               sweep->chosen_seconds * 1e6, sweep->fastest, sweep->fastest_seconds * 1e6, percent);
    }
}

void bench_report_forward(struct bench_report *report, const struct rf_bench_forward *cell)
{
    print_cell_as(report, "forward", cell);
    if (report->style == BENCH_JSON)
        cJSON_AddItemToArray(report->forward, cell_json(cell));
}

void bench_report_prefill(struct bench_report *report, const struct rf_bench_forward *cell)
{
    print_cell_as(report, "prefill", cell);
    if (report->style == BENCH_JSON)
        cJSON_ReplaceItemInObjectCaseSensitive(report->object, "prefill", cell_json(cell));
}

void bench_report_decode(struct bench_report *report, enum rf_decode decode,
                         const struct rf_bench_decode *result, double accept_rate)
{
    const char *name = decode == RF_DECODE_AR ? "ar" : "refusion";
    if (report->style == BENCH_JSON) {
        cJSON_ReplaceItemInObjectCaseSensitive(report->object, name, decode_json(result, accept_rate));
        return;
    }
    if (report->style == BENCH_CSV) {
        printf("%s,%" PRIu64 ",%" PRIu32 ",%.6g,,,,%.6g,,,,%s,,,,%.6g\n", name, result->rows, result->prompt,
               result->decode_seconds * 1e3, decode_rate(result), report->info.precision,
               result->tokens_per_forward);
        return;
    }
    printf(
        "%-8s %.2f tokens/s: %" PRIu32 " tokens in %" PRIu64 " forwards of %.1f rows, %.2f tokens a forward",
        name, decode_rate(result), result->tokens, result->forwards,
        (double)result->rows / (double)(result->forwards ? result->forwards : 1), result->tokens_per_forward);
    printf("; %.2f tokens/s with the prompt of %" PRIu32, whole_rate(result), result->prompt);
    if (accept_rate >= 0.0)
        printf("; accepted by script, rate %.3f", accept_rate);
    printf("\n");
    fflush(stdout);
}

static double member(const cJSON *json, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

static void renew_floor(cJSON *cell, const rf_bench *bench)
{
    double floor =
        1e3 * rf_bench_floor(bench, (uint64_t)member(cell, "bytes"), (uint64_t)member(cell, "flops"));
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(cell, "floor_ms"), floor);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(cell, "percent_of_floor"),
                         100.0 * floor / member(cell, "ms"));
}

enum rf_status bench_report_end(struct bench_report *report, const rf_bench *bench, const char *failure,
                                struct rf_error *err)
{
    struct rf_bench_ceilings last;
    rf_bench_get_ceilings(bench, &last);
    bool raised = memcmp(&last, &report->ceilings, sizeof last) != 0;
    if (report->style == BENCH_TABLE && raised)
        printf("ceilings were raised meanwhile, because something else ran when they were measured: read "
               "%.1f GB/s, as "
               "much as the weights %.1f GB/s, f32 %.3f TFLOP/s\n",
               last.read_gb_per_second, last.read_model_gb_per_second, last.f32_tflops);
    if (report->style != BENCH_JSON)
        return RF_OK;
    cJSON *object = report->object, *cell;
    report->object = NULL;
    if (failure)
        cJSON_AddStringToObject(object, "failure", failure);
    if (raised) {
        cJSON_ReplaceItemInObjectCaseSensitive(object, "ceilings", bench_ceilings_json(&last));
        cJSON_ArrayForEach(cell, report->forward) renew_floor(cell, bench);
        cell = cJSON_GetObjectItemCaseSensitive(object, "prefill");
        if (cJSON_IsObject(cell))
            renew_floor(cell, bench);
    }
    return json_print(object, true, err);
}
