/* Hardware counters (--counters): those that the device has, and what they told of each kernel. */
#include "apps/refusion/json_out.h"
#include "apps/refusion/profile/amd.h"
#include "apps/refusion/profile/report.h"
#include "apps/refusion/program.h"

#include "engine/context.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_WIDTH = 12 };

/* ---- What there is ---------------------------------------------------------------------------------- */

static cJSON *counter_json(const struct rf_counter *counter)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", counter->name);
    cJSON_AddStringToObject(json, "category", counter->category);
    cJSON_AddStringToObject(json, "unit", counter->unit);
    cJSON_AddStringToObject(json, "storage", counter->storage);
    cJSON_AddStringToObject(json, "scope", counter->scope);
    cJSON_AddStringToObject(json, "description", counter->description);
    cJSON_AddBoolToObject(json, "slows_down", counter->slows_down);
    cJSON_AddBoolToObject(json, "sees_others", counter->sees_others);
    return json;
}

static enum rf_status print_list_json(const struct rf_counter_list *list, struct rf_error *err)
{
    cJSON *object = cJSON_CreateObject(), *device = cJSON_AddObjectToObject(object, "device");
    cJSON_AddStringToObject(device, "name", list->device.name);
    cJSON_AddStringToObject(device, "driver", list->device.driver);
    cJSON_AddNumberToObject(object, "queue_family", list->family);
    cJSON *counters = cJSON_AddArrayToObject(object, "counters");
    for (uint32_t i = 0; i < list->count; i++) {
        cJSON *json = counter_json(&list->items[i]);
        cJSON_AddItemToArray(counters, json);
        cJSON_AddNumberToObject(json, "number", i);
    }
    return json_print(object, true, err);
}

static int widest(const struct rf_counter_list *list, size_t field, const char *title)
{
    size_t width = strlen(title);
    for (uint32_t i = 0; i < list->count; i++) {
        size_t length = strlen((const char *)&list->items[i] + field);
        width = length > width ? length : width;
    }
    return (int)width;
}

static void print_list(const struct rf_counter_list *list)
{
    int name = widest(list, offsetof(struct rf_counter, name), "name"),
        category = widest(list, offsetof(struct rf_counter, category), "category");
    printf("%s, %s: %" PRIu32 " counters of queue family %" PRIu32 "\n\n", list->device.name,
           list->device.driver, list->count, list->family);
    printf("%6s  %-*s  %-*s  %-16s  %-7s  %-14s  %s\n", "number", name, "name", category, "category", "unit",
           "storage", "scope", "description");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct rf_counter *c = &list->items[i];
        printf("%6" PRIu32 "  %-*s  %-*s  %-16s  %-7s  %-14s  %s%s%s\n", i, name, c->name, category,
               c->category, c->unit, c->storage, c->scope, c->description,
               c->slows_down ? " (slows down what it counts)" : "",
               c->sees_others ? " (counts other work on the device too)" : "");
    }
}

static enum rf_status check_options(const struct settings *s, struct rf_error *err)
{
    const struct option_pair pairs[] = {
        {s->csv, "counters without a name", "csv"},
        {s->timeline, "counters without a name", "timeline"},
        {s->html, "counters without a name", "html"},
        {s->runs.given, "counters without a name", "runs"},
        {s->model, "counters without a name", "model"},
        {s->synthetic, "counters without a name", "synthetic"},
        {s->prompt, "counters without a name", "prompt"},
        {s->tokens, "counters without a name", "tokens"},
        {s->labels, "counters without a name", "labels"},
        {s->capture_round.given, "counters without a name", "capture-round"},
        {s->compare, "counters without a name", "compare"},
        {s->limit.given, "counters without a name", "limit"},
        {s->absolute, "counters without a name", "absolute"},
        {s->no_ceilings, "counters without a name", "no-ceilings"},
        {s->shader_dir, "counters without a name", "shader-dir"},
        {s->static_only, "counters", "static"},
        {s->disassemble, "counters", "disassemble"},
        {s->amd && s->device, "amd", "device"},
    };
    return refuse_pairs(pairs, sizeof pairs / sizeof *pairs, err);
}

int profile_list_counters(const struct settings *settings)
{
    struct rf_error err = {0};
    struct rf_counter_list list = {0};
    enum rf_status status = check_options(settings, &err);
    if (!status && settings->amd)
        status = amd_prepare(settings->amd, &err);
    if (!status)
        status = rf_context_list_counters(&list, settings->amd ? "RADV" : settings->device, settings->disable,
                                          &err);
    if (!status && settings->json)
        status = print_list_json(&list, &err);
    else if (!status)
        print_list(&list);
    rf_free(list.items);
    return status ? complain_error(&err) : STATUS_OK;
}

/* ---- What they told --------------------------------------------------------------------------------- */

static struct profile_counted *find(struct profile_counted **items, uint32_t *count, uint32_t counters,
                                    const struct profile_counted *key, struct rf_error *err)
{
    for (uint32_t i = 0; i < *count; i++) {
        struct profile_counted *item = &(*items)[i];
        if (item->kernel == key->kernel && item->layer == key->layer && item->phase == key->phase)
            return item;
    }
    struct profile_counted *grown = realloc(*items, (*count + 1) * sizeof *grown);
    double *values = calloc(2 * (size_t)counters, sizeof *values); /* sums, then sums weighted with time */
    if (grown)
        *items = grown;
    if (!grown || !values) {
        free(values);
        rf_fail(err, RF_ERROR_HOST_MEMORY, "profile: no host memory for %u counted kernels", *count + 1);
        return NULL;
    }
    grown[*count] = *key;
    grown[*count].values = values;
    return &grown[(*count)++];
}

static enum rf_status add_run(struct profile_counted **items, uint32_t *count, const struct profile *p,
                              const struct profile_run *run, unsigned keys, struct rf_error *err)
{
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        const struct profile_submission *s = &p->submissions[i];
        for (size_t n = 0; n < s->count; n++) {
            const struct profile_dispatch *d = &p->dispatches[s->first + n];
            const double *values = p->values + s->first_value + n * p->counter_count;
            struct profile_counted key = {.kernel = (int)d->kernel,
                                          .layer = keys & BY_LAYER ? d->layer : NO_LAYER,
                                          .phase = (int)s->phase};
            struct profile_counted *item = find(items, count, p->counter_count, &key, err);
            if (!item)
                return RF_ERROR_HOST_MEMORY;
            double seconds = d->end - d->begin;
            item->calls++;
            item->seconds += seconds;
            for (uint32_t c = 0; c < p->counter_count; c++) {
                item->values[c] += values[c];
                item->values[p->counter_count + c] += values[c] * seconds;
            }
        }
    }
    return RF_OK;
}

static int by_seconds(const void *a, const void *b)
{
    const struct profile_counted *x = a, *y = b;
    double mine = x->seconds * (double)x->calls, other = y->seconds * (double)y->calls;
    return mine > other ? -1 : mine < other;
}

enum rf_status profile_count_up(struct profile_counted **out, uint32_t *count,
                                const struct profile_report *report, unsigned keys, struct rf_error *err)
{
    const struct profile *p = report->profile;
    const uint32_t runs = profile_count_runs(p, RF_PROFILE_COUNTERS);
    enum rf_status status = RF_OK;
    *out = NULL;
    *count = 0;
    for (uint32_t i = 0; !status && i < p->run_count; i++)
        if (p->runs[i].mode == RF_PROFILE_COUNTERS)
            status = add_run(out, count, p, &p->runs[i], keys, err);
    for (uint32_t i = 0; i < *count; i++) {
        struct profile_counted *item = &(*out)[i];
        for (uint32_t c = 0; c < p->counter_count; c++)
            item->values[c] = report->counters[c].is_rate && item->seconds > 0.0
                                  ? item->values[p->counter_count + c] / item->seconds
                                  : item->values[c] / (double)item->calls;
        item->seconds /= (double)item->calls;
        item->calls /= runs;
    }
    if (*count)
        qsort(*out, *count, sizeof **out, by_seconds);
    if (status) {
        profile_counted_free(*out, *count);
        *out = NULL;
        *count = 0;
    }
    return status;
}

void profile_counted_free(struct profile_counted *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(items[i].values);
    free(items);
}

const struct profile_counted *profile_find_counted(const struct profile_counted *items, uint32_t count,
                                                   const struct profile_sum *sum)
{
    for (uint32_t i = 0; i < count; i++)
        if (items[i].kernel == sum->kernel && items[i].layer == sum->layer && items[i].phase == sum->phase)
            return &items[i];
    return NULL;
}

static int column_width(const struct rf_counter *counter)
{
    size_t length =
        strlen(counter->name) + (strcmp(counter->unit, "generic") == 0 ? 0 : strlen(counter->unit) + 3);
    return (int)(length > LEAST_WIDTH ? length : LEAST_WIDTH);
}

enum rf_status profile_print_counters(const struct profile_report *report, struct rf_error *err)
{
    const struct profile *p = report->profile;
    struct profile_counted *items;
    uint32_t count;
    if (!p->counter_count)
        return RF_OK;
    enum rf_status status = profile_count_up(&items, &count, report, 0, err);
    if (status)
        return status;
    printf("\n%-68s %7s %10s", "counters, mean of a call", "calls", "mean us");
    for (uint32_t c = 0; c < p->counter_count; c++) {
        const struct rf_counter *counter = &report->counters[c];
        char title[2 * RF_COUNTER_TEXT];
        bool plain = strcmp(counter->unit, "generic") == 0;
        snprintf(title, sizeof title, plain ? "%s" : "%s [%s]", counter->name, counter->unit);
        printf(" %*s", column_width(counter), title);
    }
    printf("\n");
    for (uint32_t i = 0; i < count; i++) {
        const struct profile_kernel *k = &p->kernels[items[i].kernel];
        printf("%-26s %-30s %-10s %7" PRIu64 " %10.1f", k->op, k->shader, profile_phase(items[i].phase),
               items[i].calls, items[i].seconds * 1e6);
        for (uint32_t c = 0; c < p->counter_count; c++)
            printf(" %*.6g", column_width(&report->counters[c]), items[i].values[c]);
        printf("\n");
    }
    profile_counted_free(items, count);
    return RF_OK;
}

enum rf_status profile_counters_json(cJSON *object, const struct profile_report *report, struct rf_error *err)
{
    const struct profile *p = report->profile;
    struct profile_counted *items;
    uint32_t count;
    if (!p->counter_count)
        return RF_OK;
    enum rf_status status = profile_count_up(&items, &count, report, 0, err);
    if (status)
        return status;
    cJSON *counters = cJSON_AddObjectToObject(object, "counters");
    cJSON_AddNumberToObject(counters, "runs", profile_count_runs(p, RF_PROFILE_COUNTERS));
    cJSON *list = cJSON_AddArrayToObject(counters, "list");
    for (uint32_t c = 0; c < p->counter_count; c++)
        cJSON_AddItemToArray(list, counter_json(&report->counters[c]));
    cJSON *shaders = cJSON_AddArrayToObject(counters, "shaders");
    for (uint32_t i = 0; i < count; i++) {
        const struct profile_kernel *k = &p->kernels[items[i].kernel];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(shaders, json);
        cJSON_AddStringToObject(json, "op", k->op);
        cJSON_AddStringToObject(json, "shader", k->shader);
        cJSON_AddStringToObject(json, "phase", profile_phase(items[i].phase));
        cJSON_AddNumberToObject(json, "calls", (double)items[i].calls);
        cJSON_AddNumberToObject(json, "mean", items[i].seconds);
        cJSON_AddItemToObject(json, "values",
                              cJSON_CreateDoubleArray(items[i].values, (int)p->counter_count));
    }
    profile_counted_free(items, count);
    return RF_OK;
}
