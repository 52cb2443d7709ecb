#include "apps/refusion/eval/summary.h"

#include <stdlib.h>
#include <string.h>

const char *summary_variant(const struct summary *s, uint32_t variant)
{
    const cJSON *item =
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(s->header, "variants"), (int)variant);
    return cJSON_GetObjectItemCaseSensitive(item, "name")->valuestring;
}

bool summary_is_ar(const struct summary *s, uint32_t variant)
{
    return strcmp(summary_variant(s, variant), "ar") == 0;
}

static void add(struct measure *m, const struct record *record)
{
    m->n++;
    m->right += record->right;
    m->cut += strcmp(record->finish, "length") == 0;
    m->tokens += record->tokens;
    ratio_add(&m->per_forward, (double)record->counted, (double)record->forwards);
    ratio_add(&m->per_second, record->tokens, record->seconds);
}

static enum rf_status finish(struct measure *m, const struct results *results, const char *task,
                             uint32_t variant, struct rf_error *err)
{
    if (!m->n)
        return RF_OK;
    double *latencies = malloc(m->n * sizeof *latencies);
    if (!latencies)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %llu latencies", (unsigned long long)m->n);
    size_t count = 0;
    for (size_t i = 0; i < results->count; i++)
        if (results->records[i].variant == variant && (!task || strcmp(results->records[i].task, task) == 0))
            latencies[count++] = results->records[i].latency;
    m->p50 = percentile(latencies, count, 0.5);
    m->p95 = percentile(latencies, count, 0.95);
    free(latencies);
    m->accuracy = (double)m->right / (double)m->n;
    m->accuracy_interval = wilson_interval(m->right, m->n);
    m->mean_length = (double)m->tokens / (double)m->n;
    if (m->paired) {
        m->difference = paired_interval(m->more, m->fewer, m->n);
        m->p = mcnemar_p(m->more, m->fewer);
    }
    return RF_OK;
}

static enum rf_status finish_task(struct task_summary *task, const struct summary *s,
                                  const struct results *results, bool overall, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t v = 0; v < s->variants && !status; v++) {
        status = finish(&task->variants[v], results, overall ? NULL : task->name, v, err);
        task->n = task->variants[v].n > task->n ? task->variants[v].n : task->n;
    }
    return status;
}

/* The summary of a task's name, added when it is new; NULL: no memory. */
static struct task_summary *task_of(struct summary *s, const char *name)
{
    /* Samples of a task stand together more often than not. */
    for (size_t i = s->task_count; i > 0; i--)
        if (strcmp(s->tasks[i - 1].name, name) == 0)
            return &s->tasks[i - 1];
    struct task_summary *larger = realloc(s->tasks, (s->task_count + 1) * sizeof *larger);
    if (!larger)
        return NULL;
    s->tasks = larger;
    s->tasks[s->task_count] = (struct task_summary){name, 0, calloc(s->variants, sizeof(struct measure))};
    return s->tasks[s->task_count].variants ? &s->tasks[s->task_count++] : NULL;
}

/* The records of one sample, which stand together. */
static void add_sample(struct summary *s, struct task_summary *task, const struct record *records,
                       size_t count)
{
    const struct record *ar = NULL;
    for (size_t i = 0; i < count; i++)
        if (summary_is_ar(s, records[i].variant))
            ar = &records[i];
    for (size_t i = 0; i < count; i++) {
        struct measure *both[] = {&task->variants[records[i].variant],
                                  &s->overall.variants[records[i].variant]};
        for (int k = 0; k < 2; k++) {
            add(both[k], &records[i]);
            both[k]->paired = ar && ar != &records[i];
            both[k]->more += both[k]->paired && records[i].right && !ar->right;
            both[k]->fewer += both[k]->paired && !records[i].right && ar->right;
        }
    }
}

enum rf_status summary_make(struct summary *out, struct results *results, struct rf_error *err)
{
    results_sort(results);
    *out = (struct summary){.header = results->header,
                            .variants = results->variants,
                            .sweep = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(results->header, "sweep")),
                            .overall = {"overall", 0, calloc(results->variants, sizeof(struct measure))}};
    enum rf_status status =
        out->overall.variants ? RF_OK : rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory to sum up");
    for (size_t first = 0, end; first < results->count && !status; first = end) {
        for (end = first + 1;
             end < results->count && results->records[end].sample == results->records[first].sample;)
            end++;
        struct task_summary *task = task_of(out, results->records[first].task);
        if (task)
            add_sample(out, task, &results->records[first], end - first);
        else
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory to sum up");
    }
    for (size_t i = 0; i < out->task_count && !status; i++)
        status = finish_task(&out->tasks[i], out, results, false, err);
    if (!status)
        status = finish_task(&out->overall, out, results, true, err);
    if (status)
        summary_free(out);
    return status;
}

void summary_free(struct summary *s)
{
    for (size_t i = 0; i < s->task_count; i++)
        free(s->tasks[i].variants);
    free(s->tasks);
    free(s->overall.variants);
    *s = (struct summary){0};
}
