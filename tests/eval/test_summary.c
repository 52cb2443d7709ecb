/* Figures, intervals and what they look like. */
#include "apps/refusion/eval/report.h"
#include "tests/eval/support.h"

#include <math.h>

static void near(double found, double wanted)
{
    if (!(fabs(found - wanted) < 1e-9))
        fail_msg("found %.12g, wanted %.12g", found, wanted);
}

/* Figures of other programs. */
static void test_wilson(void **state)
{
    (void)state;
    struct interval i = wilson_interval(8, 10);
    near(i.low, 0.4901624715366418);
    near(i.high, 0.9433178485456248);
    i = wilson_interval(0, 10);
    assert_true(i.low == 0);
    near(i.high, 0.2775327998628892);
    i = wilson_interval(10, 10);
    near(i.low, 0.7224672001371107);
    assert_true(i.high == 1);
}

static void test_ratio(void **state)
{
    (void)state;
    struct ratio ratio = {0};
    assert_true(ratio_value(&ratio) == 0);
    ratio_add(&ratio, 10, 2);
    near(ratio_interval(&ratio).low, 5);
    ratio_add(&ratio, 20, 5);
    ratio_add(&ratio, 30, 5);
    near(ratio_value(&ratio), 5);
    near(ratio_interval(&ratio).low, 3.5855178324047854);
    near(ratio_interval(&ratio).high, 6.414482167595215);
    /* A ratio that is the same in all samples is known exactly. */
    struct ratio same = {0};
    ratio_add(&same, 10, 2);
    ratio_add(&same, 25, 5);
    near(ratio_interval(&same).low, 5);
    near(ratio_interval(&same).high, 5);
}

static void test_paired(void **state)
{
    (void)state;
    struct interval i = paired_interval(10, 4, 100);
    near(i.low, -0.014716387037129491);
    near(i.high, 0.1323634458606589);
    near(mcnemar_p(10, 2), 0.03857421875);
    near(mcnemar_p(2, 10), 0.03857421875);
    near(mcnemar_p(0, 0), 1);
    near(mcnemar_p(3, 3), 1);
}

static void test_percentile(void **state)
{
    (void)state;
    double values[] = {5, 1, 4, 2, 3};
    near(percentile(values, 5, 0.5), 3);
    near(percentile(values, 5, 0.95), 5);
    near(percentile(values, 5, 0.2), 1);
    near(percentile(values, 1, 0.5), 1);
}

/* Four samples of two tasks: plan-and-infill is right in 0, 1, 2, sequential decoding in 0 and 3. */
static void make_results(struct results *out, struct samples *samples)
{
    static const bool right[2][4] = {{true, true, true, false}, {true, false, false, true}};
    make_samples(samples, 4);
    assert_int_equal(results_open(out, NULL, make_header(samples, 0, 1), samples, NULL), RF_OK);
    for (uint64_t i = 4; i-- > 0;) {
        for (uint32_t v = 0; v < 2; v++) {
            struct record record = make_record(samples, i, v, right[v][i]);
            record.tokens += (uint32_t)i;
            if (i == 3) {
                free(record.finish);
                record.finish = strdup("length");
            }
            assert_int_equal(results_add(out, &record, NULL), RF_OK);
        }
    }
}

static void test_summary(void **state)
{
    (void)state;
    struct samples samples;
    struct results results;
    struct summary s;
    make_results(&results, &samples);
    assert_int_equal(summary_make(&s, &results, NULL), RF_OK);
    assert_int_equal(s.task_count, 2);
    assert_string_equal(s.tasks[0].name, "a");
    assert_string_equal(s.tasks[1].name, "b");
    const struct measure *refusion = &s.overall.variants[0], *ar = &s.overall.variants[1];
    assert_int_equal(s.overall.n, 4);
    near(refusion->accuracy, 0.75);
    near(ar->accuracy, 0.5);
    near(ratio_value(&refusion->per_forward), 2.5);
    near(ratio_value(&ar->per_forward), 1);
    near(refusion->mean_length, 10.5);
    near(ratio_value(&refusion->per_second), 21);
    near(refusion->p50, 1.25);
    near(refusion->p95, 3.25);
    assert_int_equal(refusion->cut, 1);
    assert_true(refusion->paired && !ar->paired);
    assert_int_equal(refusion->more, 2);
    assert_int_equal(refusion->fewer, 1);
    near(s.tasks[0].variants[0].accuracy, 1);
    near(s.tasks[1].variants[0].accuracy, 0.5);
    assert_int_equal(s.tasks[1].n, 2);
    assert_int_equal(s.tasks[1].variants[0].more, 1);
    assert_int_equal(s.tasks[1].variants[0].fewer, 1);
    summary_free(&s);
    results_close(&results);
    samples_free(&samples);
}

static char *text_by(void (*write)(FILE *, const struct summary *))
{
    struct samples samples;
    struct results results;
    struct summary s;
    make_results(&results, &samples);
    assert_int_equal(summary_make(&s, &results, NULL), RF_OK);
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    write(file, &s);
    fclose(file);
    summary_free(&s);
    results_close(&results);
    samples_free(&samples);
    return text;
}

static void write_tables(FILE *file, const struct summary *s)
{
    report_tables(file, s, false);
}

static void write_json(FILE *file, const struct summary *s)
{
    cJSON *object = report_json(s);
    char *text = cJSON_PrintUnformatted(object);
    fputs(text, file);
    cJSON_free(text);
    cJSON_Delete(object);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void test_tables(void **state)
{
    (void)state;
    char *text = text_by(write_tables);
    has(text, "accuracy, %");
    has(text, "refusion  100.0 (34.2 to 100.0)");
    has(text, "\noverall     4  refusion  75.0 (30.1 to 95.4)");
    has(text, "2.50 (2.50 to 2.50)");
    has(text, "+25.0 (");
    has(text, "p 1\n");
    free(text);
    text = text_by(report_markdown);
    has(text, "## overall\n\n4 samples.\n\n| decode | accuracy, % |");
    has(text, "\n## a\n");
    has(text, "| ar | 50.0 (15.0 to 85.0) | 1.00 (1.00 to 1.00) |");
    free(text);
}

static void test_json(void **state)
{
    (void)state;
    char *text = text_by(write_json);
    cJSON *object = cJSON_Parse(text);
    const cJSON *overall = cJSON_GetObjectItem(object, "overall"),
                *refusion = cJSON_GetObjectItem(overall, "refusion");
    const cJSON *tasks = cJSON_GetObjectItem(object, "tasks");
    assert_int_equal(cJSON_GetArraySize(tasks), 2);
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(tasks, 1), "name")->valuestring, "b");
    assert_string_equal(cJSON_GetObjectItem(overall, "name")->valuestring, "overall");
    near(cJSON_GetObjectItem(overall, "n")->valuedouble, 4);
    near(cJSON_GetObjectItem(refusion, "accuracy")->valuedouble, 0.75);
    near(cJSON_GetObjectItem(refusion, "tokens_per_forward")->valuedouble, 2.5);
    near(cJSON_GetObjectItem(refusion, "tokens_per_second")->valuedouble, 21);
    near(cJSON_GetObjectItem(refusion, "mean_length")->valuedouble, 10.5);
    near(cJSON_GetObjectItem(cJSON_GetObjectItem(refusion, "latency"), "p95")->valuedouble, 3.25);
    near(cJSON_GetObjectItem(cJSON_GetObjectItem(refusion, "against_ar"), "difference")->valuedouble, 0.25);
    assert_non_null(cJSON_GetObjectItem(overall, "ar"));
    cJSON_Delete(object);
    free(text);
}

static void test_chart(void **state)
{
    (void)state;
    char *text = text_by(report_chart);
    assert_int_equal(strncmp(text, "<svg xmlns=", 11), 0);
    has(text, "prefers-color-scheme: dark");
    has(text, "<title>refusion: 75.0 % (30.1 to 95.4), 2.5</title>");
    has(text, "Accuracy against tokens per second");
    has(text, "</svg>\n");
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf\""));
    free(text);
}

static void test_files(void **state)
{
    (void)state;
    struct samples samples;
    struct results results;
    struct summary s;
    struct rf_error err = {0};
    make_results(&results, &samples);
    assert_int_equal(summary_make(&s, &results, NULL), RF_OK);
    assert_int_equal(report_write(path_of("r.md"), &s, report_markdown, &err), RF_OK);
    char *text = read_whole("r.md");
    assert_int_equal(strncmp(text, "# Evaluation\n", 13), 0);
    free(text);
    assert_int_equal(report_write(path_of("no/r.md"), &s, report_markdown, &err), RF_ERROR_IO);
    has(err.message, "no/r.md.partial: cannot write: No such file or directory");
    summary_free(&s);
    results_close(&results);
    samples_free(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wilson),     cmocka_unit_test(test_ratio),   cmocka_unit_test(test_paired),
        cmocka_unit_test(test_percentile), cmocka_unit_test(test_summary), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_json),       cmocka_unit_test(test_chart),   cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
