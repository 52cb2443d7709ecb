/* Files of tasks, ours and those of benchmarks. The samples of benchmarks are made up, in the published formats. */
#include "apps/refusion/eval/check.h"
#include "apps/refusion/eval/read.h"
#include "tests/eval/support.h"

#include <sys/stat.h>

static char told[4096]; /* lines of what was left out */

static void tell(const char *message)
{
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s\n", message);
}

/* Reads a file of this content; the message is that of `err` without the folder. */
static enum rf_status read_as(struct samples *samples, struct read_rules rules, const char *format,
                              const char *name, const char *content, char *message)
{
    struct rf_error err = {0};
    told[0] = '\0';
    write_file(name, content);
    rules.format = format_find(format, &err);
    rules.tell = tell;
    assert_non_null(rules.format);
    enum rf_status status = samples_read(samples, path_of(name), &rules, &err);
    const char *folder = path_of("");
    size_t skip = strncmp(err.message, folder, strlen(folder)) == 0 ? strlen(folder) : 0;
    strcpy(message, err.message + skip);
    return status;
}

static struct sample *only_sample(struct samples *samples, const char *format, const char *name,
                                  const char *content)
{
    char message[1024];
    *samples = (struct samples){0};
    enum rf_status status = read_as(samples, (struct read_rules){0}, format, name, content, message);
    if (status || samples->count != 1)
        fail_msg("%s: %zu samples; %s%s", format, samples->count, message, told);
    return &samples->items[0];
}

static void test_own(void **state)
{
    (void)state;
    char message[1024];
    struct samples samples = {0};
    assert_int_equal(
        read_as(
            &samples, (struct read_rules){0}, NULL, "sums.v1.jsonl",
            "{\"query\": \"1 + 1?\", \"reference\": \"2\", \"check\": \"number\", \"more\": [1]}\n"
            "\n"
            "{\"family\": \"f\", \"id\": 17, \"query\": \"q\", \"reference\": \"\", \"check\": \"exact\"}\n"
            "{\"task\": \"t\", \"family\": \"f\", \"id\": \"x\", \"query\": \"q\", \"reference\": \"r\", "
            "\"check\": \"python-tests\", \"prefix\": \"p\"}",
            message),
        RF_OK);
    assert_int_equal(samples.count, 3);
    const struct sample *s = samples.items;
    assert_string_equal(s[0].task, "sums.v1");
    assert_string_equal(s[0].id, "1");
    assert_string_equal(s[0].query, "1 + 1?");
    assert_string_equal(s[0].reference, "2");
    assert_int_equal(s[0].check, CHECK_NUMBER);
    assert_null(s[0].preset);
    assert_string_equal(s[1].task, "f");
    assert_string_equal(s[1].id, "17");
    assert_string_equal(s[2].task, "t");
    assert_string_equal(s[2].id, "x");
    assert_string_equal(s[2].prefix, "p");
    /* Whatever a sample is judged by is in its hash. */
    assert_true(s[0].hash != s[1].hash);
    uint64_t hash = samples_hash(&samples);
    struct samples again = {0};
    assert_int_equal(read_as(&again, (struct read_rules){.limit = 1}, NULL, "sums.v1.jsonl",
                             "{\"query\": \"1 + 1?\", \"reference\": \"3\", \"check\": \"number\"}\n"
                             "{\"query\": \"2 + 1?\", \"reference\": \"3\", \"check\": \"number\"}\n",
                             message),
                     RF_OK);
    assert_int_equal(again.count, 1);
    assert_true(again.items[0].hash != s[0].hash);
    assert_true(samples_hash(&again) != hash);
    samples_free(&again);
    samples_free(&samples);
}

static const char bad_lines[] =
    "{\"query\": \"q\", \"reference\": \"r\", \"check\": \"exact\"}\n"
    "{\"query\": \"q\", \"reference\": \"r\", \n"
    "{\"reference\": \"r\", \"check\": \"exact\"}\n"
    "{\"query\": \"\", \"reference\": \"r\", \"check\": \"exact\"}\n"
    "{\"query\": 5, \"reference\": \"r\", \"check\": \"exact\"}\n"
    "{\"query\": \"q\", \"check\": \"exact\"}\n"
    "{\"query\": \"q\", \"reference\": \"r\"}\n"
    "{\"query\": \"q\", \"reference\": \"r\", \"check\": \"fuzzy\"}\n"
    "{\"query\": \"q\", \"reference\": \"r\", \"check\": \"number\"}\n"
    "{\"query\": \"q\", \"reference\": \"(\", \"check\": \"regex\"}\n"
    "[1]\n"
    "{\"query\": \"q\", \"reference\": \"r\", \"check\": \"exact\", \"prefix\": \"p\"}\n"
    "{\"query\": \"q\", \"reference\": \"r\", \"check\": \"exact\"}\n";

static void test_bad_lines(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        ":2: line 2, column 1",
        ":3: found no \"query\", wanted a text",
        ":4: \"query\": found an empty text, wanted at least one character",
        ":5: query is 5, wanted a string",
        ":6: found no \"reference\", wanted a text",
        ":7: found no \"check\", wanted a text",
        ":8: \"check\": found \"fuzzy\", wanted exact, number, regex, python-tests or boxed",
        ":9: reference \"r\": found no number, wanted one",
        ":10: reference \"(\": not a regular expression",
        ":11: found an array, wanted an object",
        ":12: found a \"prefix\" beside the check exact, wanted it with python-tests",
    };
    char message[1024];
    struct samples samples = {0};
    assert_int_equal(read_as(&samples, (struct read_rules){0}, NULL, "bad.jsonl", bad_lines, message), RF_OK);
    assert_int_equal(samples.count, 2);
    assert_int_equal(samples.bad, sizeof wanted / sizeof *wanted);
    assert_string_equal(samples.items[1].id, "13");
    const char *line = told;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char begin[512];
        snprintf(begin, sizeof begin, "%s%s", path_of("bad.jsonl"), wanted[i]);
        if (strncmp(line, begin, strlen(begin)) != 0)
            fail_msg("told \"%.*s\", wanted \"%s\"", (int)strcspn(line, "\n"), line, begin);
        line = strchr(line, '\n') + 1;
    }
    samples_free(&samples);
    assert_int_equal(
        read_as(&samples, (struct read_rules){.strict = true}, NULL, "bad.jsonl", bad_lines, message),
        RF_ERROR_FORMAT);
    assert_non_null(strstr(message, "bad.jsonl:2: "));
    assert_string_equal(told, "");
    samples_free(&samples);
}

static void test_bad_files(void **state)
{
    (void)state;
    char message[1024];
    struct samples samples = {0};
    struct read_rules rules = {0};
    assert_int_equal(read_as(&samples, rules, NULL, "empty.jsonl", "\n \n", message), RF_ERROR_FORMAT);
    assert_string_equal(message, "empty.jsonl: found no sample: it is empty, wanted at least one");
    assert_int_equal(read_as(&samples, rules, NULL, "worse.jsonl", "{}\n", message), RF_ERROR_FORMAT);
    assert_string_equal(message, "worse.jsonl: found no sample that is well formed, wanted at least one");
    assert_int_equal(read_as(&samples, rules, "mmlu-pro", "test.parquet", "PAR1....PAR1", message),
                     RF_ERROR_UNSUPPORTED);
    assert_non_null(
        strstr(message, "test.parquet: found a Parquet file, wanted JSON lines; pandas makes them"));
    assert_int_equal(read_as(&samples, rules, "humaneval", "HumanEval.jsonl.gz", "\x1f\x8b\x08", message),
                     RF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, "gunzip"));
    struct rf_error err = {0};
    rules.format = format_find(NULL, NULL);
    assert_int_equal(samples_read(&samples, path_of("absent"), &rules, &err), RF_ERROR_IO);
    assert_non_null(strstr(err.message, "absent: cannot open: No such file"));
    assert_null(format_find("squad", &err));
    assert_string_equal(err.message,
                        "--format: found \"squad\", wanted one of jsonl, gsm8k, math, mbpp, humaneval, "
                        "arc, gpqa, mmlu-pro");
    samples_free(&samples);
}

static void test_gsm8k(void **state)
{
    (void)state;
    struct samples samples;
    struct sample *s =
        only_sample(&samples, "gsm8k", "test.jsonl",
                    "{\"question\": \"How many?\", \"answer\": \"2*600=<<2*600=1200>>1200\\n#### 1,200\"}\n");
    assert_string_equal(s->task, "gsm8k");
    assert_string_equal(s->id, "1");
    assert_string_equal(s->reference, "1,200");
    assert_string_equal(s->preset, "gsm8k");
    assert_int_equal(s->check, CHECK_NUMBER);
    assert_int_equal(strncmp(s->query, "How many?\n\n", 11), 0);
    samples_free(&samples);
    char message[1024];
    assert_int_equal(read_as(&samples, (struct read_rules){.strict = true}, "gsm8k", "x.jsonl",
                             "{\"question\": \"q\", \"answer\": \"5\"}", message),
                     RF_ERROR_FORMAT);
    assert_string_equal(message, "x.jsonl:1: \"answer\": found no \"####\", wanted it before the result");
}

static void test_math(void **state)
{
    (void)state;
    struct samples samples;
    struct sample *s = only_sample(&samples, "math", "1.json",
                                   "{\n \"problem\": \"Half?\",\n \"level\": \"Level 1\",\n"
                                   " \"solution\": \"It is $\\\\boxed{\\\\frac{1}{2}}$.\"\n}\n");
    assert_string_equal(s->task, "math");
    assert_string_equal(s->reference, "\\frac{1}{2}");
    assert_int_equal(s->check, CHECK_BOXED);
    samples_free(&samples);
    s = only_sample(
        &samples, "math", "500.jsonl",
        "{\"problem\": \"p\", \"solution\": \"s\", \"answer\": \"7\", \"unique_id\": \"u/1.json\"}\n");
    assert_string_equal(s->reference, "7");
    assert_string_equal(s->id, "u/1.json");
    samples_free(&samples);
}

static void test_folder(void **state)
{
    (void)state;
    char message[1024];
    struct samples samples = {0};
    struct rf_error err = {0};
    mkdir(path_of("MATH"), 0700);
    mkdir(path_of("MATH/algebra"), 0700);
    static const char one[] = "{\"problem\": \"%s\", \"solution\": \"\\\\boxed{1}\"}";
    static const char *const names[] = {"MATH/b.json", "MATH/algebra/c.json", "MATH/algebra/note.txt"};
    for (size_t i = 0; i < 3; i++) {
        char text[128];
        snprintf(text, sizeof text, one, names[i]);
        write_file(names[i], text);
    }
    (void)message;
    struct read_rules rules = {.format = format_find("math", NULL), .tell = tell};
    assert_int_equal(samples_read(&samples, path_of("MATH"), &rules, &err), RF_OK);
    assert_int_equal(samples.count, 2);
    assert_non_null(strstr(samples.items[0].query, "algebra/c.json"));
    assert_non_null(strstr(samples.items[1].query, "b.json"));
    samples_free(&samples);
}

static void test_code(void **state)
{
    (void)state;
    struct samples samples;
    struct sample *s = only_sample(&samples, "mbpp", "mbpp.jsonl",
                                   "{\"text\": \"Write a function f.\", \"code\": \"def f(): return 1\", "
                                   "\"task_id\": 11, \"test_setup_code\": "
                                   "\"import math\", \"test_list\": [\"assert f() == 1\", \"assert f() != "
                                   "2\"], \"challenge_test_list\": []}\n");
    assert_string_equal(s->id, "11");
    assert_string_equal(s->reference, "import math\nassert f() == 1\nassert f() != 2\n");
    assert_string_equal(s->preset, "mbpp");
    assert_non_null(strstr(s->query, "Write a function f."));
    assert_non_null(strstr(s->query, "assert f() == 1\nassert f() != 2\n"));
    samples_free(&samples);
    s = only_sample(&samples, "mbpp", "sanitized.json",
                    "[{\"prompt\": \"P\", \"task_id\": 2, \"test_imports\": [\"import re\"], \"test_list\": "
                    "[\"assert g()\"]}]");
    assert_string_equal(s->reference, "import re\nassert g()\n");
    samples_free(&samples);
    s = only_sample(
        &samples, "humaneval", "he.jsonl",
        "{\"task_id\": \"HumanEval/0\", \"prompt\": \"def f(x):\\n    \\\"\\\"\\\"Doc\\\"\\\"\\\"\\n\", "
        "\"entry_point\": \"f\", \"canonical_solution\": \"    return x\\n\", "
        "\"test\": \"def check(candidate):\\n    assert candidate(1) == 1\\n\"}\n");
    assert_string_equal(s->id, "HumanEval/0");
    assert_string_equal(s->prefix, "def f(x):\n    \"\"\"Doc\"\"\"\n");
    assert_string_equal(s->reference, "def check(candidate):\n    assert candidate(1) == 1\n\n\ncheck(f)\n");
    samples_free(&samples);
}

static void judged(const struct sample *s, const char *answer, bool right)
{
    struct verdict verdict;
    assert_int_equal(check_answer(&verdict, s, answer, NULL, NULL), RF_OK);
    if (verdict.right != right)
        fail_msg("\"%s\" is %s", answer, verdict.right ? "right" : "wrong");
}

static void test_choices(void **state)
{
    (void)state;
    struct samples samples;
    struct sample *s = only_sample(&samples, "arc", "ARC-Challenge-Test.jsonl",
                                   "{\"id\": \"M_1\", \"question\": {\"stem\": \"Which?\", \"choices\": "
                                   "[{\"text\": \"one\", \"label\": \"A\"}, "
                                   "{\"text\": \"two\", \"label\": \"B\"}]}, \"answerKey\": \"B\"}\n");
    assert_string_equal(s->id, "M_1");
    assert_string_equal(s->preset, "arc-c");
    assert_int_equal(strncmp(s->query, "Which?\n\nA. one\nB. two\n\n", 22), 0);
    judged(s, "Two. The answer is B.", true);
    judged(s, "The answer is **B**", true);
    judged(s, "The answer is: (B).", true);
    judged(s, "B", true);
    judged(s, "(B).", true);
    judged(s, "The answer is A. No, the answer is B.", true);
    judged(s, "The answer is B. No, the answer is A.", false);
    judged(s, "The answer is Boron.", false);
    judged(s, "B or A", false);
    judged(s, "", false);
    samples_free(&samples);
    s = only_sample(
        &samples, "mmlu-pro", "test.json",
        "[{\"question_id\": 70, \"question\": \"Q\", \"options\": [\"x\", \"y\", \"z\"], \"answer\": \"C\", "
        "\"answer_index\": 2}]");
    assert_string_equal(s->id, "70");
    assert_non_null(strstr(s->query, "A. x\nB. y\nC. z\n"));
    judged(s, "the answer is C", true);
    samples_free(&samples);
    char message[1024];
    assert_int_equal(read_as(&samples, (struct read_rules){.strict = true}, "mmlu-pro", "m.jsonl",
                             "{\"question\": \"Q\", \"options\": [\"x\", \"y\"], \"answer\": \"C\"}\n",
                             message),
                     RF_ERROR_FORMAT);
    assert_string_equal(message, "m.jsonl:1: \"answer\": found \"C\", wanted the letter of one of 2 options");
}

static const char gpqa[] =
    "\xef\xbb\xbfRecord ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,"
    "Incorrect Answer 3\r\n"
    "rec1,\"Which, of \"\"these\"\"?\nTwo lines.\",right,w1,w2,w3\r\n"
    "rec2,short\r\n"
    "rec3,Another?,right,w1,w2,w3\r\n";

static void test_gpqa(void **state)
{
    (void)state;
    char message[1024];
    struct samples samples = {0};
    assert_int_equal(read_as(&samples, (struct read_rules){0}, "gpqa", "gpqa.csv", gpqa, message), RF_OK);
    assert_int_equal(samples.count, 2);
    assert_non_null(strstr(told, "gpqa.csv:4: found 2 values, wanted 6 as in the first line"));
    const struct sample *s = samples.items;
    assert_string_equal(s[0].id, "rec1");
    assert_int_equal(strncmp(s[0].query, "Which, of \"these\"?\nTwo lines.\n\nA. ", 34), 0);
    /* The letter before "right" is the right one. */
    for (size_t i = 0; i < 2; i++) {
        const char *line = strstr(s[i].query, ". right\n");
        assert_non_null(line);
        char answer[] = "The answer is X.";
        answer[14] = line[-1];
        judged(&s[i], answer, true);
        answer[14] = line[-1] == 'A' ? 'B' : 'A';
        judged(&s[i], answer, false);
    }
    samples_free(&samples);
}

static void test_shuffle(void **state)
{
    (void)state;
    unsigned places[4] = {0};
    for (int i = 0; i < 4000; i++) {
        char text[32];
        unsigned order[4], seen = 0;
        snprintf(text, sizeof text, "question %d", i);
        shuffled(order, text);
        for (unsigned k = 0; k < 4; k++) {
            seen |= 1u << order[k];
            places[k] += order[k] == 0;
        }
        assert_int_equal(seen, 15);
    }
    for (int k = 0; k < 4; k++)
        assert_in_range(places[k], 850, 1150); /* 1000, and five standard deviations of 27 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),     cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_gsm8k),   cmocka_unit_test(test_math),      cmocka_unit_test(test_folder),
        cmocka_unit_test(test_code),    cmocka_unit_test(test_choices),   cmocka_unit_test(test_gpqa),
        cmocka_unit_test(test_shuffle),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
