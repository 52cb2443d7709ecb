#include "apps/refusion/dispatches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHADERS = 256 };

struct shader_count {
    const char *shader; /* of the context's kernel, which lives as long as the context */
    uint64_t dispatches;
};

struct tally {
    struct shader_count shaders[MOST_SHADERS];
    size_t count;
};

/* Adds up the specializations of a shader. */
static void add(void *user, const char *shader, uint64_t dispatches)
{
    struct tally *tally = user;
    size_t i = 0;
    while (i < tally->count && strcmp(tally->shaders[i].shader, shader) != 0)
        i++;
    if (dispatches == 0 || i == MOST_SHADERS)
        return;
    if (i == tally->count)
        tally->shaders[tally->count++] = (struct shader_count){shader, 0};
    tally->shaders[i].dispatches += dispatches;
}

static int most_first(const void *a, const void *b)
{
    const struct shader_count *x = a, *y = b;
    if (x->dispatches != y->dispatches)
        return x->dispatches < y->dispatches ? 1 : -1;
    return strcmp(x->shader, y->shader);
}

static void count_all(const rf_context *context, struct tally *tally)
{
    tally->count = 0;
    rf_context_visit_dispatches(context, add, tally);
    qsort(tally->shaders, tally->count, sizeof *tally->shaders, most_first);
}

cJSON *dispatches_json(const rf_context *context)
{
    struct tally tally;
    count_all(context, &tally);
    cJSON *object = cJSON_CreateObject();
    for (size_t i = 0; i < tally.count; i++)
        cJSON_AddNumberToObject(object, tally.shaders[i].shader, (double)tally.shaders[i].dispatches);
    return object;
}

void dispatches_print(const rf_context *context)
{
    struct tally tally;
    count_all(context, &tally);
    for (size_t i = 0; i < tally.count; i++)
        fprintf(stderr, "%10llu  %s\n", (unsigned long long)tally.shaders[i].dispatches,
                tally.shaders[i].shader);
}
