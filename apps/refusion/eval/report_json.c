#include "apps/refusion/eval/report.h"

static void add_interval(cJSON *object, const char *name, struct interval interval)
{
    cJSON *array = cJSON_AddArrayToObject(object, name);
    cJSON_AddItemToArray(array, cJSON_CreateNumber(interval.low));
    cJSON_AddItemToArray(array, cJSON_CreateNumber(interval.high));
}

static cJSON *measure_json(const struct measure *m)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "right", (double)m->right);
    cJSON_AddNumberToObject(object, "accuracy", m->accuracy);
    add_interval(object, "accuracy_interval", m->accuracy_interval);
    cJSON_AddNumberToObject(object, "tokens_per_forward", ratio_value(&m->per_forward));
    add_interval(object, "tokens_per_forward_interval", ratio_interval(&m->per_forward));
    cJSON_AddNumberToObject(object, "tokens_per_second", ratio_value(&m->per_second));
    add_interval(object, "tokens_per_second_interval", ratio_interval(&m->per_second));
    cJSON_AddNumberToObject(object, "mean_length", m->mean_length);
    cJSON_AddNumberToObject(object, "cut", (double)m->cut);
    cJSON *latency = cJSON_AddObjectToObject(object, "latency");
    cJSON_AddNumberToObject(latency, "p50", m->p50);
    cJSON_AddNumberToObject(latency, "p95", m->p95);
    if (m->paired) {
        cJSON *against = cJSON_AddObjectToObject(object, "against_ar");
        cJSON_AddNumberToObject(against, "difference", ((double)m->more - (double)m->fewer) / (double)m->n);
        add_interval(against, "interval", m->difference);
        cJSON_AddNumberToObject(against, "more", (double)m->more);
        cJSON_AddNumberToObject(against, "fewer", (double)m->fewer);
        cJSON_AddNumberToObject(against, "p", m->p);
    }
    return object;
}

static cJSON *task_json(const struct summary *s, const struct task_summary *task)
{
    cJSON *object = cJSON_CreateObject(), *points = NULL;
    cJSON_AddStringToObject(object, "name", task->name);
    cJSON_AddNumberToObject(object, "n", (double)task->n);
    for (uint32_t v = 0; v < s->variants; v++) {
        cJSON *measure = measure_json(&task->variants[v]);
        if (!s->sweep || summary_is_ar(s, v)) {
            cJSON_AddItemToObject(object, summary_variant(s, v), measure);
            continue;
        }
        points = points ? points : cJSON_AddArrayToObject(object, "sweep");
        cJSON_AddStringToObject(measure, "name", summary_variant(s, v));
        cJSON_AddItemToArray(points, measure);
    }
    return object;
}

cJSON *report_json(const struct summary *s)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "overall", task_json(s, &s->overall));
    cJSON *tasks = cJSON_AddArrayToObject(object, "tasks");
    for (size_t i = 0; i < s->task_count; i++)
        cJSON_AddItemToArray(tasks, task_json(s, &s->tasks[i]));
    cJSON_AddItemToObject(object, "run", cJSON_Duplicate(s->header, true));
    return object;
}
