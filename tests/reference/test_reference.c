/* The reference decoding on the reference network against runs of the original program (tests/golden):
 * logits, tokens, forwards, rows, and every row of the traced forwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/reference/ref_decode.h"
#include "tests/reference/ref_model.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 2, MAX_LINES = 256, AR_SLOT_SIZE = 32, AR_MAX_TOKENS = 128 };

static struct ref_model *model;

/* ---- Golden files ---- */

static char *read_golden(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/%s", RF_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s: cannot be opened", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    text[size] = '\0';
    fclose(file);
    return text;
}

static size_t read_lines(const char *name, cJSON **lines)
{
    char *text = read_golden(name), *rest = text;
    size_t count = 0;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (*line == '\0')
            continue;
        assert_true(count < MAX_LINES);
        lines[count] = cJSON_Parse(line);
        assert_non_null(lines[count++]);
    }
    free(text);
    assert_true(count > 0);
    return count;
}

static const cJSON *field(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (item == NULL)
        fail_msg("golden file: no field %s", name);
    return item;
}

static uint32_t number(const cJSON *object, const char *name)
{
    return (uint32_t)cJSON_GetNumberValue(field(object, name));
}

/* Flattens one level: [[1, 2], [3]] and [1, 2, 3] give the same. */
static uint32_t *read_ids(const cJSON *array, size_t *count)
{
    size_t room = 1;
    const cJSON *item, *inner;
    cJSON_ArrayForEach(item, array) room += cJSON_IsArray(item) ? (size_t)cJSON_GetArraySize(item) : 1;
    uint32_t *ids = calloc(room, sizeof *ids);
    assert_non_null(ids);
    *count = 0;
    cJSON_ArrayForEach(item, array)
    {
        if (!cJSON_IsArray(item)) {
            ids[(*count)++] = (uint32_t)item->valuedouble;
            continue;
        }
        cJSON_ArrayForEach(inner, item) ids[(*count)++] = (uint32_t)inner->valuedouble;
    }
    return ids;
}

/* ---- Jobs: decodings, spread over worker threads ---- */

struct job {
    const cJSON *golden;
    size_t line;
    struct ref_settings settings;
    uint32_t *prompt;
    struct ref_outcome outcome;
    bool accepted;
    char message[256];
};

struct job_list {
    struct job *jobs;
    size_t count;
    atomic_size_t next;
};

static void *run_jobs(void *user)
{
    struct job_list *list = user;
    for (size_t i = atomic_fetch_add(&list->next, 1); i < list->count; i = atomic_fetch_add(&list->next, 1)) {
        struct job *job = &list->jobs[i];
        const struct ref_settings *settings = &job->settings;
        uint32_t tokens = (uint32_t)settings->prompt_length + settings->max_tokens + settings->slot_size;
        struct ref_session *session = ref_session_create(model, tokens, settings->slot_size);
        struct ref_network network = {session, ref_session_forward, ref_session_commit};
        job->accepted = ref_decode(settings, &network, &job->outcome, job->message);
        ref_session_free(session);
    }
    return NULL;
}

static void run_all_jobs(struct job_list *list)
{
    pthread_t threads[WORKERS];
    atomic_init(&list->next, 0);
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_jobs, list), 0);
    }
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < list->count; i++) {
        if (!list->jobs[i].accepted)
            fail_msg("case %zu refused: %s", list->jobs[i].line, list->jobs[i].message);
    }
}

static struct ref_settings common_settings(enum ref_mode mode)
{
    const struct rf_model_config *config = ref_model_config(model);
    struct ref_settings settings = {.mode = mode, .has_mask = true, .mask_id = config->mask_token_id};
    for (size_t i = 0; i < config->eos_count && i < REF_MAX_EOS; i++) {
        settings.eos[settings.eos_count++] = config->eos_tokens[i];
    }
    return settings;
}

static void add_job(struct job_list *list, const cJSON *golden, size_t line, enum ref_mode mode)
{
    struct job *job = &list->jobs[list->count++];
    *job = (struct job){.golden = golden, .line = line, .settings = common_settings(mode)};
    job->prompt = read_ids(field(golden, "prompt_ids"), &job->settings.prompt_length);
    job->settings.prompt = job->prompt;
    if (mode == REF_MODE_AR) {
        job->settings.slot_size = AR_SLOT_SIZE;
        job->settings.max_tokens = AR_MAX_TOKENS;
        return;
    }
    job->settings.slot_size = number(golden, "slot_size");
    job->settings.max_tokens = number(golden, "gen_length");
    job->settings.block = number(golden, "block");
    job->settings.slot_threshold = (float)cJSON_GetNumberValue(field(golden, "slot_threshold"));
    job->settings.token_threshold = (float)cJSON_GetNumberValue(field(golden, "token_threshold"));
}

static void free_jobs(struct job_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->jobs[i].prompt);
        ref_outcome_free(&list->jobs[i].outcome);
    }
    free(list->jobs);
}

/* ---- Comparisons: each returns the number of complaints it printed ---- */

static size_t compare_number(const struct job *job, const char *what, double have, double want,
                             double tolerance)
{
    if (fabs(have - want) <= tolerance)
        return 0;
    print_error("case %zu: %s %.9g, the golden run has %.9g\n", job->line, what, have, want);
    return 1;
}

static size_t compare_ids(const struct job *job, const char *what, const cJSON *golden, const uint32_t *have,
                          size_t have_count)
{
    size_t count, failures = 0;
    uint32_t *want = read_ids(golden, &count);
    if (count != have_count) {
        print_error("case %zu: %zu of %s, the golden run has %zu\n", job->line, have_count, what, count);
        failures++;
    }
    for (size_t i = 0; failures == 0 && i < count; i++) {
        if (have[i] == want[i])
            continue;
        print_error("case %zu: %s %zu is %u, the golden run has %u\n", job->line, what, i, have[i], want[i]);
        failures++;
    }
    free(want);
    return failures;
}

static size_t compare_decode(const struct job *job)
{
    const struct ref_outcome *out = &job->outcome;
    const cJSON *golden = job->golden;
    size_t failures = 0;
    if (job->settings.mode == REF_MODE_REFERENCE) {
        double figure = cJSON_GetNumberValue(field(golden, "reported_tpf"));
        failures +=
            compare_ids(job, "output_ids", field(golden, "output_ids"), out->response, out->response_count);
        failures +=
            compare_number(job, "forwards", (double)out->forward_count, number(golden, "forwards"), 0.0);
        failures += compare_number(job, "rows", (double)out->row_count, number(golden, "rows"), 0.0);
        failures +=
            compare_number(job, "reported_tpf", out->reference_tokens_per_forward, figure, 1e-9 * figure);
    } else {
        failures +=
            compare_ids(job, "default_ids", field(golden, "default_ids"), out->shown, out->shown_count);
        if (cJSON_HasObjectItem(golden, "default_forwards")) {
            double want = number(golden, "default_forwards");
            failures += compare_number(job, "default_forwards", (double)out->forward_count, want, 0.0);
        }
    }
    return failures;
}

static void decode_file(const char *name)
{
    static cJSON *lines[MAX_LINES];
    size_t count = read_lines(name, lines), failures = 0;
    struct job_list list = {.jobs = calloc(2 * count, sizeof *list.jobs)};
    assert_non_null(list.jobs);
    for (size_t i = 0; i < count; i++) {
        add_job(&list, lines[i], i, REF_MODE_REFERENCE);
        add_job(&list, lines[i], i, REF_MODE_DEFAULT);
    }
    run_all_jobs(&list);
    for (size_t i = 0; i < list.count; i++)
        failures += compare_decode(&list.jobs[i]);
    print_message("%s: %zu runs, %zu complaints\n", name, list.count, failures);
    assert_int_equal(failures, 0);
    free_jobs(&list);
    for (size_t i = 0; i < count; i++)
        cJSON_Delete(lines[i]);
}

/* ---- Tests ---- */

static void test_logits(void **state)
{
    (void)state;
    char *text = read_golden("logits.json");
    cJSON *cases = cJSON_Parse(text), *golden;
    free(text);
    assert_true(cJSON_GetArraySize(cases) > 0);
    size_t vocab = ref_model_config(model)->vocab;
    cJSON_ArrayForEach(golden, cases)
    {
        size_t count, positions_count, wanted = (size_t)cJSON_GetArraySize(field(golden, "logits")), r = 0;
        uint32_t *tokens = read_ids(field(golden, "tokens"), &count);
        uint32_t *positions = read_ids(field(golden, "positions"), &positions_count);
        assert_int_equal(count, positions_count);
        struct ref_row *rows = calloc(count, sizeof *rows);
        double *logits = calloc(wanted * vocab, sizeof *logits), difference = 0.0, norm = 0.0;
        assert_true(rows != NULL && logits != NULL);
        for (size_t i = 0; i < count; i++) {
            rows[i] = (struct ref_row){.token = tokens[i],
                                       .position = positions[i],
                                       .index = (uint32_t)i,
                                       .wants_result = i + wanted >= count};
        }
        struct ref_session *session = ref_session_create(model, (uint32_t)count, 1);
        ref_session_logits(session, rows, count, logits);
        const cJSON *row, *value;
        cJSON_ArrayForEach(row, field(golden, "logits"))
        {
            assert_int_equal(cJSON_GetArraySize(row), vocab);
            cJSON_ArrayForEach(value, row)
            {
                double off = logits[r++] - value->valuedouble;
                difference += off * off;
                norm += value->valuedouble * value->valuedouble;
            }
        }
        double error = sqrt(difference / norm);
        print_message("logits, %s: relative error %.3g\n", field(golden, "kind")->valuestring, error);
        assert_true(error < 1e-6);
        ref_session_free(session);
        free(rows);
        free(logits);
        free(tokens);
        free(positions);
    }
    cJSON_Delete(cases);
}

static void test_decode(void **state)
{
    (void)state;
    decode_file("decode.jsonl");
}

static void test_decode_wild(void **state)
{
    (void)state;
    decode_file("decode_wild.jsonl");
}

static void test_left_to_right(void **state)
{
    (void)state;
    char *text = read_golden("ar.json");
    cJSON *cases = cJSON_Parse(text), *golden;
    free(text);
    size_t count = (size_t)cJSON_GetArraySize(cases), failures = 0;
    struct job_list list = {.jobs = calloc(count, sizeof *list.jobs)};
    assert_true(count > 0 && list.jobs != NULL);
    cJSON_ArrayForEach(golden, cases) add_job(&list, golden, list.count, REF_MODE_AR);
    run_all_jobs(&list);
    for (size_t i = 0; i < count; i++) {
        const struct ref_outcome *out = &list.jobs[i].outcome;
        const cJSON *ids = field(list.jobs[i].golden, "ids");
        failures += compare_ids(&list.jobs[i], "ids", ids, out->response, out->response_count);
        failures += compare_number(&list.jobs[i], "forwards", (double)out->forward_count,
                                   (double)out->response_count, 0.0);
    }
    assert_int_equal(failures, 0);
    free_jobs(&list);
    cJSON_Delete(cases);
}

/* Every forward of a traced case: what was cached, and each row's token and position. The trace has
 * [slot][row], as ref_decode lists them. */
static size_t compare_trace(const struct job *job, const cJSON *trace)
{
    const struct ref_outcome *out = &job->outcome;
    const cJSON *golden, *forwards = field(trace, "forwards");
    size_t failures = 0, f = 0;
    if ((size_t)cJSON_GetArraySize(forwards) != out->forward_count) {
        print_error("case %zu: %zu forwards, the trace has %d\n", job->line, out->forward_count,
                    cJSON_GetArraySize(forwards));
        return 1;
    }
    uint32_t *values = calloc(out->row_count, sizeof *values);
    assert_non_null(values);
    cJSON_ArrayForEach(golden, forwards)
    {
        const struct ref_forward *forward = &out->forwards[f];
        const struct ref_row *rows = out->rows_forwarded + forward->first_row;
        double cached = forward->committed + forward->reused;
        failures += compare_number(job, "cached rows", cached, number(golden, "cached"), 0.0);
        failures += compare_number(job, "slots in the forward", forward->segments,
                                   cJSON_GetArraySize(field(golden, "tokens")), 0.0);
        for (size_t i = 0; i < forward->row_count; i++)
            values[i] = rows[i].token;
        failures +=
            compare_ids(job, "token of a forward", field(golden, "tokens"), values, forward->row_count);
        for (size_t i = 0; i < forward->row_count; i++)
            values[i] = rows[i].position;
        failures += compare_ids(job, "position", field(golden, "positions"), values, forward->row_count);
        if (failures > 0) {
            print_error("case %zu: in forward %zu\n", job->line, f);
            break;
        }
        f++;
    }
    free(values);
    return failures;
}

static void test_trace(void **state)
{
    (void)state;
    static cJSON *cases[MAX_LINES], *traces[MAX_LINES];
    size_t case_count = read_lines("decode.jsonl", cases), count = read_lines("decode_trace.jsonl", traces);
    struct job_list list = {.jobs = calloc(count, sizeof *list.jobs)};
    assert_non_null(list.jobs);
    for (size_t i = 0; i < count; i++) {
        uint32_t line = number(traces[i], "case");
        assert_true(line < case_count);
        add_job(&list, cases[line], line, REF_MODE_REFERENCE);
    }
    run_all_jobs(&list);
    size_t failures = 0;
    for (size_t i = 0; i < count; i++)
        failures += compare_trace(&list.jobs[i], traces[i]);
    assert_int_equal(failures, 0);
    free_jobs(&list);
    for (size_t i = 0; i < case_count; i++)
        cJSON_Delete(cases[i]);
    for (size_t i = 0; i < count; i++)
        cJSON_Delete(traces[i]);
}

static int load_model(void **state)
{
    (void)state;
    struct rf_error err;
    if (ref_model_load(&model, RF_SOURCE_DIR "/tests/golden/tiny", &err) == RF_OK)
        return 0;
    print_error("%s\n", err.message);
    return -1;
}

static int free_model(void **state)
{
    (void)state;
    ref_model_free(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits), cmocka_unit_test(test_left_to_right),
        cmocka_unit_test(test_trace),  cmocka_unit_test(test_decode_wild),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
