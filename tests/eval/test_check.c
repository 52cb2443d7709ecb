/* Right and wrong answers. */
#include "apps/refusion/eval/check.h"
#include "apps/refusion/eval/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct verdict judge(enum check check, const char *reference, const char *answer)
{
    struct sample sample = {.task = "t", .id = "1", .check = check, .reference = strdup(reference)};
    struct verdict verdict;
    struct rf_error err = {0};
    assert_int_equal(check_reference(&sample, &err), RF_OK);
    assert_int_equal(check_answer(&verdict, &sample, answer, NULL, &err), RF_OK);
    free(sample.reference);
    assert_true(verdict.right == (verdict.reason[0] == '\0'));
    return verdict;
}

static void right(enum check check, const char *reference, const char *answer)
{
    struct verdict verdict = judge(check, reference, answer);
    if (!verdict.right)
        fail_msg("\"%s\" for \"%s\": %s", answer, reference, verdict.reason);
}

static void wrong(enum check check, const char *reference, const char *answer, const char *reason)
{
    struct verdict verdict = judge(check, reference, answer);
    if (verdict.right)
        fail_msg("\"%s\" for \"%s\" is right", answer, reference);
    assert_string_equal(verdict.reason, reason);
}

static void test_exact(void **state)
{
    (void)state;
    right(CHECK_EXACT, "a b", "a b");
    right(CHECK_EXACT, "a b\n", "\n  a b \t\n");
    right(CHECK_EXACT, "", " ");
    wrong(CHECK_EXACT, "a b", "a  b", "found \"a  b\", wanted \"a b\"");
    wrong(CHECK_EXACT, "a b", "A b", "found \"A b\", wanted \"a b\"");
    wrong(CHECK_EXACT, "a", "ab", "found \"ab\", wanted \"a\"");
    wrong(CHECK_EXACT, "a", "", "found \"\", wanted \"a\"");
    wrong(CHECK_EXACT, "a\nb", "a\nc", "found \"a?c\", wanted \"a?b\"");
}

static void test_last_number(void **state)
{
    (void)state;
    static const struct {
        const char *text, *last; /* NULL: none */
    } cases[] = {
        {"", NULL},
        {"none", NULL},
        {"7", "7"},
        {"12 and 13.", "13"},
        {"The answer is 1,234.", "1234"},
        {"1,234,567.50 dollars", "1234567.5"},
        {"1,2", "2"},
        {"1,23,456", "23456"},
        {"1234,567", "567"},
        {"1,2345", "2345"},
        {"-5", "-5"},
        {"is -5.", "-5"},
        {"$-5", "-5"},
        {"(-5)", "-5"},
        {"\xe2\x88\x92"
         "5",
         "-5"},
        {"10-3", "3"},
        {"x-3", "3"},
        {"(4)-3", "3"},
        {"10 - 3", "3"},
        {"10 -3", "-3"},
        {"+5", "5"},
        {"3.50", "3.5"},
        {"3.", "3"},
        {".5", "0.5"},
        {"0.0", "0"},
        {"-0", "0"},
        {"007", "7"},
        {"$18.00", "18"},
        {"\xe2\x82\xac"
         "12",
         "12"},
        {"5kg", "5"},
        {"the 5th", "5"},
        {"7 by x2", "7"},
        {"7 by v1.5b", "7"},
        {"2e3", "2000"},
        {"1.5E-2", "0.015"},
        {"2e3x", "2"},
        {"8e", "8"},
        {"50%", "50"},
        {"6*7=42", "42"},
        {"\\boxed{42}", "42"},
        {"10**20 is 100000000000000000000", "100000000000000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct number found, wanted;
        bool is = number_last(&found, cases[i].text, NULL, NULL);
        if (is != (cases[i].last != NULL))
            fail_msg("\"%s\": a number is %sfound", cases[i].text, is ? "" : "not ");
        if (is && (!number_whole(&wanted, cases[i].last) || !number_equal(&found, &wanted)))
            fail_msg("\"%s\": found %s0.%s * 10^%ld, wanted %s", cases[i].text, found.negative ? "-" : "",
                     found.digits, found.exponent, cases[i].last);
    }
}

static void test_where_a_number_stands(void **state)
{
    (void)state;
    struct number number;
    const char *begin, *text = "it is -1,234.5 kg";
    size_t length;
    assert_true(number_last(&number, text, &begin, &length));
    assert_int_equal(begin - text, 6);
    assert_int_equal(length, 8);
    assert_true(number_whole(&number, " -3.5\n"));
    assert_false(number_whole(&number, "3 4"));
    assert_false(number_whole(&number, "3x"));
    assert_false(number_whole(&number, ""));
}

static void test_number(void **state)
{
    (void)state;
    right(CHECK_NUMBER, "72", "48 + 24 = 72\nThe answer is 72.");
    right(CHECK_NUMBER, "1,234", "it is $1234.00");
    right(CHECK_NUMBER, "so #### 5", "5");
    right(CHECK_NUMBER, "0.1", "0.10");
    wrong(CHECK_NUMBER, "72", "72 of 100", "found 100, wanted 72");
    wrong(CHECK_NUMBER, "72", "-72", "found -72, wanted 72");
    wrong(CHECK_NUMBER, "72", "7.2", "found 7.2, wanted 72");
    wrong(CHECK_NUMBER, "72", "720", "found 720, wanted 72");
    wrong(CHECK_NUMBER, "72", "seventy", "found no number, wanted 72");
    /* More digits than a double tells apart. */
    wrong(CHECK_NUMBER, "9007199254740993", "9007199254740992",
          "found 9007199254740992, wanted 9007199254740993");
}

static void test_regex(void **state)
{
    (void)state;
    right(CHECK_REGEX, "answer is 7:25\\.\\s*$", "6:45 + 40\nThe answer is 7:25.\n");
    right(CHECK_REGEX, "^b", "b");
    right(CHECK_REGEX, "(?m)^b", "a\nb");
    right(CHECK_REGEX, "^\\w+$", "\xc3\xa9t\xc3\xa9");
    wrong(CHECK_REGEX, "^b", "a\nb", "found \"a?b\", wanted a match of \"^b\"");
    wrong(CHECK_REGEX, "a.b", "a\nb", "found \"a?b\", wanted a match of \"a.b\"");
    struct verdict endless = judge(CHECK_REGEX, "^(a|a)*$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    assert_false(endless.right);
    assert_non_null(strstr(endless.reason, "given up"));
}

static void test_boxed(void **state)
{
    (void)state;
    right(CHECK_BOXED, "\\frac{1}{2}", "so \\boxed{3}, no: $\\boxed{\\dfrac12}$.");
    right(CHECK_BOXED, "\\left( 3, \\frac{\\pi}{2} \\right)", "\\boxed{(3,\\frac{\\pi}{2})}");
    right(CHECK_BOXED, "90^\\circ", "\\boxed{90}");
    right(CHECK_BOXED, "1,234", "\\boxed{1234.0}");
    right(CHECK_BOXED, "\\text{Evelyn}", "\\boxed{Evelyn}");
    right(CHECK_BOXED, "2x+1", "\\boxed {2x + 1}");
    wrong(CHECK_BOXED, "3", "the answer is 3", "found no \\boxed{}, wanted \"3\"");
    wrong(CHECK_BOXED, "3", "\\boxed{4}", "found \"4\", wanted \"3\"");
    wrong(CHECK_BOXED, "3", "\\boxed{3", "found no \\boxed{}, wanted \"3\"");
    wrong(CHECK_BOXED, "\\frac{1}{23}", "\\boxed{\\frac{12}{3}}",
          "found \"\\frac{12}{3}\", wanted \"\\frac{1}{23}\"");
}

static void code_is(const char *answer, const char *wanted)
{
    size_t length;
    const char *code = answer_code(answer, &length);
    assert_int_equal(length, strlen(wanted));
    assert_memory_equal(code, wanted, length);
}

static void test_code_of_an_answer(void **state)
{
    (void)state;
    code_is("```python\ndef f():\n    pass\n```", "def f():\n    pass\n");
    code_is("Here:\n```\nx = 1\n```\nand\n```\ny\n```\n", "x = 1\n");
    code_is("x = '```'\n", "x = '```'\n");
    code_is("```python\nx = 1\n", "x = 1\n");
    code_is("```python", "");
    code_is("", "");
}

static void test_bad_references(void **state)
{
    (void)state;
    struct rf_error err = {0};
    struct sample sample = {.check = CHECK_NUMBER, .reference = (char *)"many"};
    assert_int_equal(check_reference(&sample, &err), RF_ERROR_FORMAT);
    assert_string_equal(err.message, "reference \"many\": found no number, wanted one");
    sample = (struct sample){.check = CHECK_REGEX, .reference = (char *)"a(b"};
    assert_int_equal(check_reference(&sample, &err), RF_ERROR_FORMAT);
    assert_non_null(
        strstr(err.message, "reference \"a(b\": not a regular expression: missing closing parenthesis"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_last_number),
        cmocka_unit_test(test_where_a_number_stands),
        cmocka_unit_test(test_number),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_boxed),
        cmocka_unit_test(test_code_of_an_answer),
        cmocka_unit_test(test_bad_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
