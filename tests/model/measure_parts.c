/* How long submissions take on the device beside the limit that was asked for: measure_parts SHAPE LIMIT_MS [SECONDS
 * [SHARE]]. SHAPE is one of rf_model_synthesize. Responses are decoded for SECONDS (60) behind a warm-up; the exit status
 * is 1 when less than SHARE (0.95) of their submissions kept to the limit. For a machine that does nothing else. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/refusion_profile.h"

enum { PROMPT = 100, TOKENS = 64, WARM_UP = 2, BINS = 8 };

struct tally {
    double limit, longest, busy;
    bool warm;
    unsigned records, parts, kept, single; /* single: those above it that are one dispatch */
    unsigned bins[BINS];                   /* of a quarter of the limit each, the last one of all above */
    char worst[160];
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Dispatches of a part, and the longest of them. */
static unsigned look_into(const struct rf_profile_record *record, const struct rf_profile_part *part,
                          const struct rf_profile_dispatch **longest)
{
    unsigned count = 0;
    *longest = NULL;
    for (uint32_t i = 0; i < record->dispatch_count; i++) {
        const struct rf_profile_dispatch *d = &record->dispatches[i];
        if (d->begin < part->begin - 1e-9 || d->end > part->end + 1e-9)
            continue;
        count++;
        if (!*longest || d->end - d->begin > (*longest)->end - (*longest)->begin)
            *longest = d;
    }
    return count;
}

static void on_record(void *user, const struct rf_profile_record *record)
{
    struct tally *t = user;
    if (!t->warm || record->recorded)
        return;
    t->records++;
    for (uint32_t i = 0; i < record->part_count; i++) {
        const struct rf_profile_part *part = &record->parts[i];
        const struct rf_profile_dispatch *longest;
        const double seconds = part->end - part->begin;
        const int bin = (int)(4.0 * seconds / t->limit);
        const unsigned count = look_into(record, part, &longest);
        t->parts++;
        t->busy += seconds;
        t->kept += seconds <= t->limit;
        t->single += seconds > t->limit && longest && longest->end - longest->begin > t->limit;
        t->bins[bin < BINS ? bin : BINS - 1]++;
        if (seconds <= t->longest)
            continue;
        t->longest = seconds;
        snprintf(t->worst, sizeof t->worst,
                 "part %u of %u, %u dispatches, %u rows; longest: %s layer %d, %.1f ms", i + 1,
                 record->part_count, count, record->rows[0], longest ? longest->op : "-",
                 longest ? longest->layer : -1, longest ? 1e3 * (longest->end - longest->begin) : 0.0);
    }
}

static enum rf_status respond(rf_model *model, struct rf_error *err)
{
    const struct rf_session_desc desc = {.size = sizeof desc,
                                         .settings = {.max_tokens = TOKENS,
                                                      .slot_size = 8,
                                                      .block = 32,
                                                      .slot_threshold = 0.2f,
                                                      .token_threshold = 0.2f,
                                                      .has_slot_threshold = true,
                                                      .has_token_threshold = true}};
    rf_session *session = NULL;
    uint32_t prompt[PROMPT];
    for (uint32_t i = 0; i < PROMPT; i++)
        prompt[i] = i + 1;
    enum rf_status status = rf_session_create(&session, model, &desc, err);
    if (!status)
        status = rf_session_begin(session, prompt, PROMPT, err);
    if (!status)
        status = rf_session_generate(session, NULL, NULL, err);
    rf_session_destroy(session);
    return status;
}

static enum rf_status measure(struct tally *t, rf_model *model, double seconds, struct rf_error *err)
{
    enum rf_status status = rf_model_profile(model, RF_PROFILE_FREE, on_record, t, err);
    for (int i = 0; !status && i < WARM_UP; i++)
        status = respond(model, err);
    t->warm = true;
    const double start = seconds_now();
    while (!status && (seconds_now() - start < seconds || !t->records))
        status = respond(model, err);
    return status;
}

static void print(const struct tally *t, const char *shape)
{
    double load[3] = {NAN, NAN, NAN};
    if (getloadavg(load, 3) < 1)
        load[0] = NAN;
    printf("%s, limit %.0f ms: %.1f %% of %u submissions below it (%u of %u above are one dispatch), %u "
           "steps, mean %.1f ms, "
           "longest %.1f ms; load %.1f\n",
           shape, 1e3 * t->limit, 100.0 * t->kept / t->parts, t->parts, t->single, t->parts - t->kept,
           t->records, 1e3 * t->busy / t->parts, 1e3 * t->longest, load[0]);
    printf("  in quarters of the limit:");
    for (int i = 0; i < BINS; i++)
        printf(" %u", t->bins[i]);
    printf("\n  longest: %s\n", t->worst);
}

int main(int argc, char **argv)
{
    if (argc < 3 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: measure_parts SHAPE LIMIT_MS [SECONDS [SHARE]]\n");
        return 2;
    }
    struct rf_error err = {0};
    rf_context *context = NULL;
    rf_model *model = NULL;
    const uint32_t ms = (uint32_t)atoi(argv[2]);
    const double seconds = argc > 3 ? atof(argv[3]) : 60.0, share = argc > 4 ? atof(argv[4]) : 0.95;
    const struct rf_context_desc desc = {.size = sizeof desc, .submission_ms = ms};
    const struct rf_model_desc model_desc = {
        .size = sizeof model_desc, .context_length = 1024, .no_tune = true};
    struct tally tally = {.limit = 1e-3 * ms};
    enum rf_status status = rf_context_create(&context, &desc, &err);
    if (!status)
        status = rf_model_synthesize(&model, context, argv[1], &model_desc, &err);
    if (!status)
        status = measure(&tally, model, seconds, &err);
    if (status)
        fprintf(stderr, "measure_parts: %s\n", err.message);
    else
        print(&tally, argv[1]);
    rf_model_destroy(model);
    rf_context_destroy(context);
    return !status && tally.kept >= share * tally.parts ? 0 : 1;
}
