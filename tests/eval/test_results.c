/* Files of results: what is kept, gone on with, and refused. */
#include "tests/eval/support.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static void add(struct results *r, const struct samples *samples, uint64_t sample, uint32_t variant)
{
    struct record record = make_record(samples, sample, variant, sample % 3 == 0);
    struct rf_error err = {0};
    if (results_add(r, &record, &err))
        fail_msg("%s", err.message);
}

/* A file of the first `count` of all samples' results. */
static void write_results(const char *name, const struct samples *samples, uint64_t count)
{
    struct results r;
    unlink(path_of(name));
    assert_int_equal(results_open(&r, path_of(name), make_header(samples, 0, 1), samples, NULL), RF_OK);
    for (uint64_t i = 0; i < count; i++)
        add(&r, samples, i / 2, i % 2);
    results_close(&r);
}

static void test_goes_on(void **state)
{
    (void)state;
    struct samples samples;
    struct results r;
    make_samples(&samples, 4);
    write_results("on.jsonl", &samples, 3);
    assert_int_equal(results_open(&r, path_of("on.jsonl"), make_header(&samples, 0, 1), &samples, NULL),
                     RF_OK);
    assert_int_equal(r.count, 3);
    assert_int_equal(results_wanted(&r), 8);
    for (uint64_t i = 0; i < 8; i++)
        assert_true(results_has(&r, i / 2, i % 2) == (i < 3));
    const struct record *record = &r.records[2];
    assert_int_equal(record->sample, 1);
    assert_int_equal(record->variant, 0);
    assert_string_equal(record->task, "b");
    assert_string_equal(record->id, "2");
    assert_string_equal(record->answer, "an \"answer\"\nof two lines");
    assert_string_equal(record->reason, "found 2, wanted 1");
    assert_false(record->right);
    assert_true(r.records[0].right);
    assert_true(record->query == samples.items[1].hash && record->settings == 7);
    assert_true(record->prompt_tokens == 5 && record->tokens == 9 && record->counted == 10 &&
                record->forwards == 4);
    assert_true(record->seconds == 0.5 && record->latency == 1.25);
    for (uint64_t i = 3; i < 8; i++)
        add(&r, &samples, i / 2, i % 2);
    results_close(&r);
    char *text = read_whole("on.jsonl");
    size_t lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 9);
    free(text);
    samples_free(&samples);
}

/* Wherever a kill tears the file, what is left is taken and the rest is cut off. */
static void test_torn(void **state)
{
    (void)state;
    struct samples samples;
    make_samples(&samples, 2);
    write_results("whole.jsonl", &samples, 4);
    char *whole = read_whole("whole.jsonl");
    size_t size = strlen(whole);
    for (size_t cut = 0; cut <= size; cut++) {
        size_t lines = 0, kept = 0;
        for (size_t i = 0; i < cut; i++) {
            lines += whole[i] == '\n';
            kept = whole[i] == '\n' ? i + 1 : kept;
        }
        char *torn = strndup(whole, cut);
        write_file("torn.jsonl", torn);
        free(torn);
        struct results r;
        struct rf_error err = {0};
        if (results_open(&r, path_of("torn.jsonl"), make_header(&samples, 0, 1), &samples, &err))
            fail_msg("cut at %zu: %s", cut, err.message);
        assert_int_equal(r.count, lines ? lines - 1 : 0);
        for (uint64_t i = r.count; i < 4; i++)
            add(&r, &samples, i / 2, i % 2);
        results_close(&r);
        char *text = read_whole("torn.jsonl");
        assert_memory_equal(text, whole, kept);
        assert_string_equal(text, whole);
        free(text);
    }
    free(whole);
    samples_free(&samples);
}

static void refused(const char *name, cJSON *header, const struct samples *samples, enum rf_status status,
                    const char *part)
{
    struct results r;
    struct rf_error err = {0};
    char *before = read_whole(name);
    assert_int_equal(results_open(&r, path_of(name), header, samples, &err), status);
    if (!strstr(err.message, part) || !strstr(err.message, name))
        fail_msg("found \"%s\", wanted \"%s\"", err.message, part);
    char *after = read_whole(name);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void test_of_something_else(void **state)
{
    (void)state;
    struct samples samples, others;
    make_samples(&samples, 3);
    make_samples(&others, 3);
    others.items[1].hash++;
    write_results("else.jsonl", &samples, 2);
    cJSON *header = make_header(&samples, 0, 1);
    cJSON_SetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(header, "settings"), "slot_size"), 16);
    refused("else.jsonl", header, &samples, RF_ERROR_ARGUMENT,
            "something else: settings.slot_size: found 8, wanted 16");
    header = make_header(&samples, 0, 1);
    cJSON_AddNumberToObject(cJSON_GetObjectItem(header, "settings"), "block", 64);
    refused("else.jsonl", header, &samples, RF_ERROR_ARGUMENT, "settings.block: found nothing, wanted 64");
    header = make_header(&samples, 0, 1);
    cJSON_DeleteItemFromObject(cJSON_GetObjectItem(header, "settings"), "slot_size");
    refused("else.jsonl", header, &samples, RF_ERROR_ARGUMENT, "settings.slot_size: found 8, wanted nothing");
    header = make_header(&samples, 0, 1);
    cJSON_SetValuestring(cJSON_GetObjectItem(cJSON_GetObjectItem(header, "model"), "weights"), "1");
    refused("else.jsonl", header, &samples, RF_ERROR_ARGUMENT, "model.weights: found \"0\", wanted \"1\"");
    refused("else.jsonl", make_header(&others, 0, 1), &others, RF_ERROR_ARGUMENT, "tasks.hash: found");
    refused("else.jsonl", make_header(&samples, 0, 2), &samples, RF_ERROR_ARGUMENT,
            "shards: found 1, wanted 2");
    /* A note of one line without an end is not a torn first line, which would be cut off. */
    static const char *const notes[] = {"a note", "{\"format\":\"other\"}", "x"};
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        write_file("note.txt", notes[i]);
        refused("note.txt", make_header(&samples, 0, 1), &samples, RF_ERROR_FORMAT, "found other things");
    }
    /* Another path to the same weights, and another device, are the same run. */
    header = make_header(&samples, 0, 1);
    cJSON_SetValuestring(cJSON_GetObjectItem(header, "device"), "e");
    struct results r;
    assert_int_equal(results_open(&r, path_of("else.jsonl"), header, &samples, NULL), RF_OK);
    /* While it is open here, nobody else may add to it. */
    refused("else.jsonl", make_header(&samples, 0, 1), &samples, RF_ERROR_ARGUMENT,
            "another process adds to it");
    results_close(&r);
    samples_free(&samples);
    samples_free(&others);
}

static void test_damage(void **state)
{
    (void)state;
    struct samples samples;
    make_samples(&samples, 3);
    static const struct {
        const char *from, *to, *said;
    } cases[] = {
        {"{\"sample\":0", "{\"sample\":9", ":2: sample is 9, wanted"},
        {"{\"sample\":0", "{\"sample\":1", ":2: found another sample 1 (a 1) than the tasks have (b 2)"},
        {"\"decode\":\"ar\"", "\"decode\":\"refusion\"",
         ":3: found sample 0 (a 1) by refusion a second time"},
        {"\"decode\":\"ar\"", "\"decode\":\"beam\"",
         ":3: \"decode\": found \"beam\", wanted one of the first line"},
        {"\"right\":true", "\"right\":1", ":2: \"right\": found 1, wanted true or false"},
        {"\"tokens\":9", "\"tokens\":-9", ":2: tokens is -9"},
        {"\"settings\":\"0000000000000007\"", "\"settings\":\"7\"",
         "\"settings\": wanted 16 hexadecimal digits"},
        {"\"answer\":", "\"replied\":", ":2: found no \"answer\", wanted a text"},
        {"}\n{\"sample\":0,\"task\":\"a\",\"id\":\"1\",\"decode\":\"ar\"", "\n", ":2: "},
        {"refusion-eval", "something", ":1: found other things than results of `refusion eval`"},
        {"\"version\":1", "\"version\":2", ":1: version is 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_results("damaged.jsonl", &samples, 2);
        char *text = read_whole("damaged.jsonl"), *at = strstr(text, cases[i].from), *changed;
        assert_non_null(at);
        assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                             at + strlen(cases[i].from)) > 0);
        write_file("damaged.jsonl", changed);
        refused("damaged.jsonl", make_header(&samples, 0, 1), &samples, RF_ERROR_FORMAT, cases[i].said);
        free(text);
        free(changed);
    }
    write_file("text.jsonl", "some text\n");
    refused("text.jsonl", make_header(&samples, 0, 1), &samples, RF_ERROR_FORMAT, "text.jsonl:1: ");
    samples_free(&samples);
}

static void test_in_memory(void **state)
{
    (void)state;
    struct samples samples;
    struct results r;
    make_samples(&samples, 3);
    assert_int_equal(results_open(&r, NULL, make_header(&samples, 0, 1), &samples, NULL), RF_OK);
    add(&r, &samples, 2, 1);
    add(&r, &samples, 0, 1);
    add(&r, &samples, 2, 0);
    results_sort(&r);
    assert_true(r.records[0].sample == 0 && r.records[1].sample == 2 && r.records[1].variant == 0);
    results_close(&r);
    samples_free(&samples);
}

/* A limit on the file's size stands for it: a write takes a part, the next nothing. */
static void test_a_full_disk(void **state)
{
    (void)state;
    struct samples samples;
    struct results r;
    struct rf_error err = {0};
    struct rlimit before, limit;
    make_samples(&samples, 1);
    write_results("full.jsonl", &samples, 1);
    char *text = read_whole("full.jsonl");
    assert_int_equal(results_open(&r, path_of("full.jsonl"), make_header(&samples, 0, 1), &samples, NULL),
                     RF_OK);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = strlen(text) + 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct record record = make_record(&samples, 0, 1, true);
    assert_int_equal(results_add(&r, &record, &err), RF_ERROR_IO);
    assert_non_null(strstr(err.message, "full.jsonl: cannot write: only a part of a line was taken"));
    assert_false(results_has(&r, 0, 1));
    record = make_record(&samples, 0, 1, true);
    assert_int_equal(results_add(&r, &record, &err), RF_ERROR_IO);
    assert_non_null(strstr(err.message, "full.jsonl: cannot write: File too large"));
    setrlimit(RLIMIT_FSIZE, &before);
    results_close(&r);
    /* With room again it goes on. */
    assert_int_equal(results_open(&r, path_of("full.jsonl"), make_header(&samples, 0, 1), &samples, NULL),
                     RF_OK);
    assert_int_equal(r.count, 1);
    results_close(&r);
    char *after = read_whole("full.jsonl");
    assert_string_equal(after, text);
    free(after);
    free(text);
    assert_int_equal(results_open(&r, "/dev/null", make_header(&samples, 0, 1), &samples, &err),
                     RF_ERROR_ARGUMENT);
    assert_int_equal(results_open(&r, path_of("no/such"), make_header(&samples, 0, 1), &samples, &err),
                     RF_ERROR_IO);
    samples_free(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on),           cmocka_unit_test(test_torn),
        cmocka_unit_test(test_of_something_else), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_in_memory),         cmocka_unit_test(test_a_full_disk),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
