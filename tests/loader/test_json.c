/* loader/json: what it refuses, and what its messages say. */
#include "loader/json.h"
#include "model_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bad_text {
    const char *name; /* of the test */
    const char *text;
    const char *words[2];
};

static const struct bad_text bad_texts[] = {
    {"empty text is refused", "", {"line 1, column 1", "a value was wanted"}},
    {"text after the value is refused", "{}\n{}", {"line 2, column 1", "more text after the value"}},
    {"unclosed object is refused", "{\"a\": 1", {"line 1, column 8, after \"a\"", "',' or '}'"}},
    {"unclosed array is refused", "[1, 2", {"column 6", "',' or ']'"}},
    {"wrong closing bracket is refused", "[1}", {"column 3", "',' or ']'"}},
    {"comma before the end is refused", "{\"a\": 1,}", {"column 9", "a key in quotes"}},
    {"missing colon is refused", "{\"a\" 1}", {"column 6", "':'"}},
    {"unquoted key is refused", "{a: 1}", {"column 2", "a key in quotes"}},
    {"equal keys are refused",
     "{\"b\": {\"a\": 1, \"c\": 2, \"a\": 3}}",
     {"a: the key appears twice", "wanted once"}},
    {"equal keys written differently are refused",
     "{\"a\": 1, \"\\u0061\": 3}",
     {"a: the key appears twice", ""}},
    {"NaN is refused with its key",
     "{\"rms_norm_eps\": NaN}",
     {"after \"rms_norm_eps\"", "NaN or Infinity, wanted a number"}},
    {"-Infinity is refused with its key",
     "{\"x\": -Infinity}",
     {"after \"x\"", "NaN or Infinity, wanted a number"}},
    {"number with a leading plus is refused", "[+1]", {"column 2", "a value was wanted"}},
    {"number with a leading zero is refused", "[01]", {"column 3", "',' or ']'"}},
    {"number that ends in a point is refused", "[1.]", {"column 4", "ends in a point"}},
    {"number with an empty exponent is refused", "[1e]", {"column 4", "empty exponent"}},
    {"number of 70 digits is refused",
     "[1111111111111111111111111111111111111111111111111111111111111111111111]",
     {"60 characters", ""}},
    {"string without end is refused", "[\"abc", {"column 6", "ends inside a string"}},
    {"control character in a string is refused", "[\"a\tb\"]", {"column 4", "control character"}},
    {"unknown escape is refused", "[\"\\x\"]", {"unknown escape", ""}},
    {"NUL escape is refused", "[\"\\u0000\"]", {"\\u0000", ""}},
    {"short unicode escape is refused", "[\"\\u12\"]", {"four hex digits", ""}},
    {"lone high surrogate is refused", "[\"\\ud83d\"]", {"high surrogate", ""}},
    {"lone low surrogate is refused", "[\"\\ude00\"]", {"low surrogate", ""}},
    {"invalid UTF-8 is refused", "[\"\xc3(\"]", {"column 3", "invalid UTF-8"}},
    {"UTF-8 cut by the end is refused", "[\"\xf0\x9f", {"column 3", "invalid UTF-8"}},
    {"nesting 33 deep is refused",
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
     {"column 33", "nested too deeply"}},
    {"more values than allowed are refused", "[1,2,3,4,5,6,7,8,9,0]", {"more than 10 JSON values", ""}},
};

static void refuses(void **state)
{
    const struct bad_text *bad = *state;
    /* A buffer of exactly the text's size, so that a sanitizer sees any read behind it. */
    size_t size = strlen(bad->text);
    char *exact = malloc(size ? size : 1);
    memcpy(exact, bad->text, size);
    struct rf_error err = {0};
    cJSON *tree;
    enum rf_status status = rf_json_parse(&tree, "x.json", exact, size, 10, &err);
    if (strstr(bad->name, "33 deep"))
        status = rf_json_parse(&tree, "x.json", exact, size, 100, &err);
    ASSERT_FAILURE(status, err, RF_ERROR_FORMAT, "x.json: ", bad->words[0], bad->words[1]);
    assert_null(tree);
    free(exact);
}

static void good_text_gives_its_values(void **state)
{
    (void)state;
    const char *text =
        " {\"a\": [1, -2.5e3, true, null, \"\\u00e9\\ud83d\\ude00\\n\"], \"b\": {}, \"c\": []}\r\n\t ";
    cJSON *tree;
    struct rf_error err = {0};
    assert_int_equal(rf_json_parse(&tree, "x.json", text, strlen(text), 100, &err), RF_OK);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(tree, "a");
    assert_int_equal(cJSON_GetArraySize(list), 5);
    assert_true(cJSON_GetArrayItem(list, 1)->valuedouble == -2500.0);
    assert_string_equal(cJSON_GetArrayItem(list, 4)->valuestring, "\xc3\xa9\xf0\x9f\x98\x80\n");
    cJSON_Delete(tree);
}

static void nesting_32_deep_is_read(void **state)
{
    (void)state;
    char text[65] = {0};
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    cJSON *tree;
    struct rf_error err = {0};
    assert_int_equal(rf_json_parse(&tree, "x.json", text, 64, 100, &err), RF_OK);
    cJSON_Delete(tree);
}

static void numbers_are_whole_only_when_exact(void **state)
{
    (void)state;
    const struct {
        double value;
        bool whole;
    } cases[] = {
        {0, true},     {-0.5, false},     {-1, false},  {1.5, false},        {9007199254740992.0, true},
        {1e16, false}, {INFINITY, false}, {NAN, false}, {4294967296.0, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON number = {.type = cJSON_Number, .valuedouble = cases[i].value};
        uint64_t out = 0;
        assert_int_equal(rf_json_is_uint(&number, 0, UINT64_MAX, &out), cases[i].whole);
        if (cases[i].whole)
            assert_true((double)out == cases[i].value);
    }
}

static void descriptions_stay_on_one_line(void **state)
{
    (void)state;
    char text[200];
    memset(text, 'x', sizeof text);
    memcpy(text, "a\nb\x7f\xc3\xa9", 6);
    text[sizeof text - 1] = '\0';
    struct rf_json_words words = rf_json_printable(text);
    assert_int_equal(strlen(words.text), sizeof words.text - 1);
    assert_memory_equal(words.text, "a?b?\xc3\xa9xx", 8);
    /* A two-byte character that straddles the cut goes as a whole. */
    memset(text, 'x', sizeof text - 1);
    memcpy(text + sizeof words.text - 2, "\xc3\xa9", 2);
    assert_int_equal(strlen(rf_json_printable(text).text), sizeof words.text - 2);
}

static void fields_of_the_wrong_kind_are_named(void **state)
{
    (void)state;
    cJSON *tree = cJSON_Parse("{\"s\": \"text\", \"n\": 2.5, \"z\": null, \"o\": {}}");
    struct rf_json_at at = {.object = tree, .file = "f.json", .path = "rope."};
    struct rf_error err = {0};
    uint64_t whole;
    double number;
    bool flag;
    const char *text;
    ASSERT_FAILURE(rf_json_uint(at, "n", 1, 9, &whole, &err), err, RF_ERROR_FORMAT,
                   "f.json: rope.n is 2.5, wanted a whole number from 1 to 9");
    ASSERT_FAILURE(rf_json_uint(at, "z", 1, 9, &whole, &err), err, RF_ERROR_FORMAT, "rope.z is null");
    ASSERT_FAILURE(rf_json_uint(at, "absent", 1, 9, &whole, &err), err, RF_ERROR_FORMAT,
                   "rope.absent is nothing");
    ASSERT_FAILURE(rf_json_number(at, "s", 0, 1, &number, &err), err, RF_ERROR_FORMAT,
                   "rope.s is \"text\", wanted a number from 0 to 1");
    ASSERT_FAILURE(rf_json_number(at, "n", 0, 1, &number, &err), err, RF_ERROR_FORMAT, "rope.n is 2.5");
    ASSERT_FAILURE(rf_json_bool(at, "o", true, &flag, &err), err, RF_ERROR_FORMAT,
                   "rope.o is an object, wanted true or false");
    ASSERT_FAILURE(rf_json_string(at, "n", &text, &err), err, RF_ERROR_FORMAT,
                   "rope.n is 2.5, wanted a string");
    assert_int_equal(rf_json_bool(at, "z", true, &flag, &err), RF_OK);
    assert_true(flag);
    cJSON_Delete(tree);
}

int main(void)
{
    enum { BAD = sizeof bad_texts / sizeof bad_texts[0] };
    struct CMUnitTest tests[BAD + 5] = {
        cmocka_unit_test(good_text_gives_its_values), cmocka_unit_test(nesting_32_deep_is_read),
        cmocka_unit_test(numbers_are_whole_only_when_exact), cmocka_unit_test(descriptions_stay_on_one_line),
        cmocka_unit_test(fields_of_the_wrong_kind_are_named)};
    for (size_t i = 0; i < BAD; i++)
        tests[5 + i] =
            (struct CMUnitTest){bad_texts[i].name, refuses, NULL, NULL, (void *)(uintptr_t)&bad_texts[i]};
    return cmocka_run_group_tests_name("loader/json", tests, NULL, NULL);
}
