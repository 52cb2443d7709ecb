#include "apps/refusion/eval/check.h"

#include "apps/refusion/eval/number.h"
#include "loader/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

const char *const check_names[CHECK_COUNT] = {"exact", "number", "regex", "python-tests", "boxed"};

enum {
    MOST_MATCH_STEPS = 10 * 1000 * 1000
}; /* of PCRE2; a pattern that takes more is told, not waited for */

bool check_find(const char *name, enum check *out)
{
    for (int i = 0; i < CHECK_COUNT; i++) {
        if (strcmp(check_names[i], name) == 0) {
            *out = (enum check)i;
            return true;
        }
    }
    return false;
}

static void wrong(struct verdict *out, const char *format, const char *found, const char *wanted)
{
    out->right = false;
    struct rf_json_words a = rf_json_printable(found), b = rf_json_printable(wanted);
    snprintf(out->reason, sizeof out->reason, format, a.text, b.text);
}

/* ---- exact ---------------------------------------------------------------------------------------------- */

static const char *trim(const char *text, size_t *length)
{
    while (isspace((unsigned char)*text))
        text++;
    *length = strlen(text);
    while (*length && isspace((unsigned char)text[*length - 1]))
        --*length;
    return text;
}

static void check_exact(struct verdict *out, const struct sample *sample, const char *answer)
{
    size_t length, wanted_length;
    const char *found = trim(answer, &length), *wanted = trim(sample->reference, &wanted_length);
    out->right = length == wanted_length && memcmp(found, wanted, length) == 0;
    if (!out->right)
        wrong(out, "found \"%s\", wanted \"%s\"", found, wanted);
}

/* ---- number --------------------------------------------------------------------------------------------- */

static void check_number(struct verdict *out, const struct sample *sample, const char *answer)
{
    struct number found, wanted;
    const char *begin;
    size_t length;
    if (!number_last(&found, answer, &begin, &length)) {
        wrong(out, "found no number%s, wanted %s", "", sample->reference);
        return;
    }
    out->right = number_last(&wanted, sample->reference, NULL, NULL) && number_equal(&found, &wanted);
    char text[64];
    snprintf(text, sizeof text, "%.*s", length < 60 ? (int)length : 60, begin);
    if (!out->right)
        wrong(out, "found %s, wanted %s", text, sample->reference);
}

/* ---- regex ---------------------------------------------------------------------------------------------- */

static enum rf_status compile(pcre2_code **out, const char *pattern, struct rf_error *err)
{
    int code;
    PCRE2_SIZE at;
    *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (*out)
        return RF_OK;
    PCRE2_UCHAR why[160];
    pcre2_get_error_message(code, why, sizeof why);
    return rf_fail(err, RF_ERROR_FORMAT, "reference \"%s\": not a regular expression: %s, at byte %zu",
                   rf_json_printable(pattern).text, (const char *)why, (size_t)at);
}

static enum rf_status check_regex(struct verdict *out, const struct sample *sample, const char *answer,
                                  struct rf_error *err)
{
    pcre2_code *code;
    enum rf_status status = compile(&code, sample->reference, err);
    if (status)
        return status;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    int found = PCRE2_ERROR_NOMEMORY;
    if (match && context) {
        pcre2_set_match_limit(context, MOST_MATCH_STEPS);
        found = pcre2_match(code, (PCRE2_SPTR)answer, strlen(answer), 0, 0, match, context);
    }
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    if (found == PCRE2_ERROR_NOMEMORY)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory to look for a pattern");
    out->right = found >= 0;
    if (found == PCRE2_ERROR_NOMATCH) {
        wrong(out, "found \"%s\", wanted a match of \"%s\"", answer, sample->reference);
    } else if (found < 0) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(found, why, sizeof why);
        wrong(out, "looking for \"%s\" was given up: %s", sample->reference, (const char *)why);
    }
    return RF_OK;
}

/* ---- python-tests --------------------------------------------------------------------------------------- */

/* The first fence at a line's begin; NULL: none. */
static const char *find_fence(const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "```", 3) == 0)
            return line;
    }
    return NULL;
}

const char *answer_code(const char *answer, size_t *length)
{
    const char *fence = find_fence(answer);
    *length = strlen(answer);
    if (!fence)
        return answer;
    const char *begin = strchr(fence, '\n');
    if (!begin) {
        *length = 0;
        return fence + strlen(fence);
    }
    const char *end = find_fence(++begin);
    *length = end ? (size_t)(end - begin) : strlen(begin);
    return begin;
}

static enum rf_status check_python(struct verdict *out, const struct sample *sample, const char *answer,
                                   const struct python_limits *limits, struct rf_error *err)
{
    if (!limits || !limits->sandbox)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "python-tests: there is no sandbox to run them in");
    size_t length, before = sample->prefix ? strlen(sample->prefix) : 0;
    const char *code = answer_code(answer, &length);
    char *whole = malloc(before + length + 2);
    if (!whole)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %zu bytes of Python", before + length + 2);
    memcpy(whole, sample->prefix ? sample->prefix : "", before);
    /* A prompt that is to be continued may lack its newline. */
    if (before && whole[before - 1] != '\n')
        whole[before++] = '\n';
    memcpy(whole + before, code, length);
    struct sandbox_desc desc = {
        .code = whole,
        .code_length = before + length,
        .tests = sample->reference,
        .tests_length = strlen(sample->reference),
        .wall_seconds = limits->seconds,
        .cpu_seconds = limits->seconds,
        .memory_bytes = limits->memory_bytes,
    };
    struct sandbox_result result;
    enum rf_status status = sandbox_run(limits->sandbox, &desc, &result, err);
    free(whole);
    if (status)
        return rf_fail_within(err, status, "python-tests of %s %s", sample->task, sample->id);
    out->right = result.end == SANDBOX_PASSED;
    if (!out->right)
        snprintf(out->reason, sizeof out->reason, "%s%s%s", sandbox_end_name(result.end),
                 result.detail[0] ? ": " : "", result.detail);
    sandbox_result_clear(&result);
    return RF_OK;
}

/* ---- boxed ---------------------------------------------------------------------------------------------- */

static void check_boxed(struct verdict *out, const struct sample *sample, const char *answer)
{
    char *found = boxed_content(answer);
    if (!found) {
        wrong(out, "found no \\boxed{}%s, wanted \"%s\"", "", sample->reference);
        return;
    }
    out->right = same_term(found, sample->reference);
    if (!out->right)
        wrong(out, "found \"%s\", wanted \"%s\"", found, sample->reference);
    free(found);
}

/* ---- All ------------------------------------------------------------------------------------------------ */

enum rf_status check_answer(struct verdict *out, const struct sample *sample, const char *answer,
                            const struct python_limits *limits, struct rf_error *err)
{
    *out = (struct verdict){0};
    switch (sample->check) {
    case CHECK_EXACT:
        check_exact(out, sample, answer);
        break;
    case CHECK_NUMBER:
        check_number(out, sample, answer);
        break;
    case CHECK_REGEX:
        return check_regex(out, sample, answer, err);
    case CHECK_PYTHON:
        return check_python(out, sample, answer, limits, err);
    default:
        check_boxed(out, sample, answer);
        break;
    }
    return RF_OK;
}

enum rf_status check_reference(const struct sample *sample, struct rf_error *err)
{
    struct number number;
    const char *reference = sample->reference;
    if (sample->check == CHECK_NUMBER && !number_last(&number, reference, NULL, NULL))
        return rf_fail(err, RF_ERROR_FORMAT, "reference \"%s\": found no number, wanted one",
                       rf_json_printable(reference).text);
    if (sample->check == CHECK_REGEX) {
        pcre2_code *code = NULL;
        enum rf_status status = compile(&code, reference, err);
        pcre2_code_free(code);
        return status;
    }
    return RF_OK;
}
