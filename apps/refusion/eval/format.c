/* Benchmarks as they are published. The prompts are ours: the paper does not print its own, so scores are near those
 * of other programs and not the same. */
#include "apps/refusion/eval/format.h"

#include "apps/refusion/eval/check.h"
#include "loader/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 1, 2))) static char *print(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return length < 0 ? NULL : text;
}

static enum rf_status filled(const struct sample *sample, const char *where, struct rf_error *err)
{
    if (sample->query && sample->reference)
        return RF_OK;
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for a sample", where);
}

/* A text that has to be there. */
static enum rf_status need(const char **out, const cJSON *object, const char *where, const char *key,
                           struct rf_error *err)
{
    enum rf_status status = rf_json_string((struct rf_json_at){object, where, ""}, key, out, err);
    if (!status && !*out)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: found no \"%s\", wanted a text", where, key);
    if (!status && !**out)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: \"%s\": found an empty text, wanted at least one character",
                       where, key);
    return status;
}

/* Several of them: keys and where they go, up to a NULL. */
static enum rf_status need_all(const cJSON *object, const char *where, struct rf_error *err, ...)
{
    enum rf_status status = RF_OK;
    va_list args;
    va_start(args, err);
    for (const char *key = va_arg(args, const char *); key && !status; key = va_arg(args, const char *))
        status = need(va_arg(args, const char **), object, where, key, err);
    va_end(args);
    return status;
}

/* An id, which may be a number. NULL: none. */
static char *id_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsString(value))
        return strdup(value->valuestring);
    return cJSON_IsNumber(value) ? print("%.15g", value->valuedouble) : NULL;
}

/* ---- Our own -------------------------------------------------------------------------------------------- */

static enum rf_status convert_own(struct sample *out, const cJSON *object, const char *where,
                                  struct rf_error *err)
{
    struct rf_json_at at = {object, where, ""};
    const char *query, *reference = NULL, *check, *task = NULL, *family = NULL, *prefix = NULL;
    enum rf_status status = need_all(object, where, err, "query", &query, "check", &check, NULL);
    if (!status)
        status = rf_json_string(at, "reference", &reference, err);
    if (!status && !reference)
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: found no \"reference\", wanted a text", where);
    if (!status)
        status = rf_json_string(at, "task", &task, err);
    if (!status)
        status = rf_json_string(at, "family", &family, err);
    if (!status)
        status = rf_json_string(at, "prefix", &prefix, err);
    if (status)
        return status;
    if (!check_find(check, &out->check))
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: \"check\": found \"%s\", wanted exact, number, regex, python-tests or boxed",
                       where, rf_json_printable(check).text);
    if (prefix && out->check != CHECK_PYTHON)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: found a \"prefix\" beside the check %s, wanted it with python-tests", where,
                       check);
    task = task ? task : family;
    out->task = task && *task ? strdup(task) : NULL;
    out->id = id_of(object, "id");
    out->query = strdup(query);
    out->reference = strdup(reference);
    out->prefix = prefix ? strdup(prefix) : NULL;
    return filled(out, where, err);
}

/* ---- GSM8K, MATH ---------------------------------------------------------------------------------------- */

/* {"question", "answer"}, the answer's last line being "#### 72". */
static enum rf_status convert_gsm8k(struct sample *out, const cJSON *object, const char *where,
                                    struct rf_error *err)
{
    const char *question, *answer;
    enum rf_status status = need_all(object, where, err, "question", &question, "answer", &answer, NULL);
    if (status)
        return status;
    const char *mark = strstr(answer, "####");
    if (!mark)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: \"answer\": found no \"####\", wanted it before the result",
                       where);
    for (mark += 4; *mark == ' ';)
        mark++;
    out->check = CHECK_NUMBER;
    out->reference = strndup(mark, strcspn(mark, "\n"));
    out->query = print(
        "%s\n\nSolve this step by step. End with a line \"The answer is N.\", N being the number.", question);
    return filled(out, where, err);
}

/* {"problem", "solution"}, the result being in the solution's last \boxed{}; or in "answer", as in lists of 500. */
static enum rf_status convert_math(struct sample *out, const cJSON *object, const char *where,
                                   struct rf_error *err)
{
    const char *problem, *solution, *answer = NULL;
    enum rf_status status = need_all(object, where, err, "problem", &problem, "solution", &solution, NULL);
    if (!status)
        status = rf_json_string((struct rf_json_at){object, where, ""}, "answer", &answer, err);
    if (status)
        return status;
    out->reference = answer && *answer ? strdup(answer) : boxed_content(solution);
    if (!out->reference)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: \"solution\": found no \\boxed{}, wanted it round the result", where);
    out->check = CHECK_BOXED;
    out->id = id_of(object, "unique_id");
    out->query = print("%s\n\nSolve this step by step, and put the final answer in \\boxed{}.", problem);
    return filled(out, where, err);
}

/* ---- MBPP, HumanEval ------------------------------------------------------------------------------------ */

/* The statements of a list of texts, a line each behind `first`. */
static char *joined(const char *first, const cJSON *list)
{
    size_t size = strlen(first) + 2;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) size += strlen(item->valuestring) + 1;
    char *text = malloc(size);
    if (!text)
        return NULL;
    char *to = stpcpy(text, first);
    if (to > text && to[-1] != '\n')
        to = stpcpy(to, "\n");
    cJSON_ArrayForEach(item, list) to = stpcpy(stpcpy(to, item->valuestring), "\n");
    return text;
}

static bool texts_only(const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return false;
    }
    return cJSON_IsArray(list) && cJSON_GetArraySize(list) > 0;
}

/* {"text" or "prompt", "test_list", "test_setup_code" or "test_imports"}; the sanitized version has the latter. */
static enum rf_status convert_mbpp(struct sample *out, const cJSON *object, const char *where,
                                   struct rf_error *err)
{
    const char *text, *setup = NULL;
    bool sanitized = !cJSON_HasObjectItem(object, "text") && cJSON_HasObjectItem(object, "prompt");
    enum rf_status status = need(&text, object, where, sanitized ? "prompt" : "text", err);
    if (!status)
        status = rf_json_string((struct rf_json_at){object, where, ""}, "test_setup_code", &setup, err);
    if (status)
        return status;
    const cJSON *tests = cJSON_GetObjectItemCaseSensitive(object, "test_list");
    const cJSON *imports = cJSON_GetObjectItemCaseSensitive(object, "test_imports");
    if (!texts_only(tests))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: \"test_list\": found %s, wanted a list of texts", where,
                       cJSON_IsArray(tests) ? "a list without, or with other things than texts"
                                            : rf_json_describe(tests).text);
    char *first = joined(setup ? setup : "", texts_only(imports) ? imports : NULL);
    char *asserts = joined("", tests);
    out->check = CHECK_PYTHON;
    out->id = id_of(object, "task_id");
    if (first && asserts) {
        out->reference = print("%s%s", first, asserts);
        out->query =
            print("%s\n\nWrite it in Python. It has to pass these tests:\n\n```python\n%s```", text, asserts);
    }
    free(first);
    free(asserts);
    return filled(out, where, err);
}

/* {"task_id", "prompt", "test", "entry_point"}. The prompt stands before the answer's code too: its imports are
 * there, and an answer may be the function anew or what goes on behind the docstring. */
static enum rf_status convert_humaneval(struct sample *out, const cJSON *object, const char *where,
                                        struct rf_error *err)
{
    const char *prompt, *test, *entry;
    enum rf_status status =
        need_all(object, where, err, "prompt", &prompt, "test", &test, "entry_point", &entry, NULL);
    if (status)
        return status;
    out->check = CHECK_PYTHON;
    out->id = id_of(object, "task_id");
    out->prefix = strdup(prompt);
    out->reference = print("%s\n\ncheck(%s)\n", test, entry);
    out->query = print("Complete this Python function. Answer with the whole function in one block of code."
                       "\n\n```python\n%s\n```",
                       prompt);
    return out->prefix ? filled(out, where, err) : rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory", where);
}

/* ---- Choices: ARC, GPQA, MMLU-Pro ----------------------------------------------------------------------- */

enum { MOST_CHOICES = 26 };

struct choices {
    const char *labels[MOST_CHOICES], *texts[MOST_CHOICES];
    size_t count;
};

/* What is looked for: the last "answer is X", or nothing but X. */
static enum rf_status ask_choice(struct sample *out, const char *question, const struct choices *choices,
                                 const char *right, const char *where, struct rf_error *err)
{
    char *list = strdup("");
    for (size_t i = 0; i < choices->count && list; i++) {
        char *longer = print("%s%s. %s\n", list, choices->labels[i], choices->texts[i]);
        free(list);
        list = longer;
    }
    out->check = CHECK_REGEX;
    if (list)
        out->query =
            print("%s\n\n%s\nThink step by step. End with a line \"The answer is X.\", X being the letter "
                  "or number of the right choice.",
                  question, list);
    free(list);
    out->reference =
        print("(?s)(?i:\\banswer is:?)[\\s(*$]*%s\\b(?!.*(?i:\\banswer is\\b))|\\A[\\s(*]*%s[\\s).*]*$",
              right, right);
    return filled(out, where, err);
}

static enum rf_status check_label(const char *label, const char *where, const char *key, struct rf_error *err)
{
    bool plain = label && label[0] && !label[1] &&
                 ((label[0] >= 'A' && label[0] <= 'Z') || (label[0] >= '0' && label[0] <= '9'));
    return plain ? RF_OK
                 : rf_fail(err, RF_ERROR_FORMAT,
                           "%s: \"%s\": found \"%s\", wanted a letter from A to Z or a digit", where, key,
                           label ? rf_json_printable(label).text : "nothing");
}

/* {"id", "question": {"stem", "choices": [{"text", "label"}]}, "answerKey"} */
static enum rf_status convert_arc(struct sample *out, const cJSON *object, const char *where,
                                  struct rf_error *err)
{
    const cJSON *question = cJSON_GetObjectItemCaseSensitive(object, "question"), *choice;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(question, "choices");
    struct choices choices = {.count = 0};
    const char *stem, *key;
    if (!cJSON_IsObject(question))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: \"question\": found %s, wanted an object", where,
                       rf_json_describe(question).text);
    enum rf_status status = need(&stem, question, where, "stem", err);
    if (!status)
        status = need(&key, object, where, "answerKey", err);
    bool found = false;
    cJSON_ArrayForEach(choice, list)
    {
        const char **label = &choices.labels[choices.count], **text = &choices.texts[choices.count];
        if (status || choices.count == MOST_CHOICES)
            break;
        status = need_all(choice, where, err, "label", label, "text", text, NULL);
        if (!status)
            status = check_label(*label, where, "label", err);
        if (!status)
            found |= strcmp(*label, key) == 0;
        choices.count++;
    }
    if (!status && !found)
        status = rf_fail(err, RF_ERROR_FORMAT,
                         "%s: \"answerKey\": found \"%s\", wanted the label of one of %zu choices", where,
                         rf_json_printable(key).text, choices.count);
    if (status)
        return status;
    out->id = id_of(object, "id");
    return ask_choice(out, stem, &choices, key, where, err);
}

static const char *const letters[MOST_CHOICES] = {"A", "B", "C", "D", "E", "F", "G", "H", "I",
                                                  "J", "K", "L", "M", "N", "O", "P", "Q", "R",
                                                  "S", "T", "U", "V", "W", "X", "Y", "Z"};

void shuffled(unsigned order[4], const char *text)
{
    uint64_t hash = hash_text(HASH_START, text);
    for (unsigned i = 0; i < 4; i++)
        order[i] = i;
    for (unsigned i = 3; i > 0; i--) {
        hash ^= hash >> 29; /* the low bits of FNV are its weak ones */
        unsigned other = (unsigned)(hash % (i + 1)), kept = order[i];
        hash /= i + 1;
        order[i] = order[other];
        order[other] = kept;
    }
}

/* Columns "Question", "Correct Answer", "Incorrect Answer 1" to 3, "Record ID". The order of the choices is the
 * question's own, whatever else is in the file. */
static enum rf_status convert_gpqa(struct sample *out, const cJSON *object, const char *where,
                                   struct rf_error *err)
{
    const char *question, *texts[4];
    enum rf_status status =
        need_all(object, where, err, "Question", &question, "Correct Answer", &texts[0], "Incorrect Answer 1",
                 &texts[1], "Incorrect Answer 2", &texts[2], "Incorrect Answer 3", &texts[3], NULL);
    if (status)
        return status;
    unsigned order[4];
    shuffled(order, question);
    struct choices choices = {.count = 4};
    const char *right = "";
    for (unsigned i = 0; i < 4; i++) {
        choices.labels[i] = letters[i];
        choices.texts[i] = texts[order[i]];
        right = order[i] == 0 ? letters[i] : right;
    }
    out->id = id_of(object, "Record ID");
    return ask_choice(out, question, &choices, right, where, err);
}

/* {"question_id", "question", "options": [text], "answer": letter} */
static enum rf_status convert_mmlu_pro(struct sample *out, const cJSON *object, const char *where,
                                       struct rf_error *err)
{
    const char *question, *answer;
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(object, "options"), *option;
    enum rf_status status = need_all(object, where, err, "question", &question, "answer", &answer, NULL);
    if (!status && !texts_only(options))
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: \"options\": found %s, wanted a list of texts", where,
                         cJSON_IsArray(options) ? "other things than texts" : rf_json_describe(options).text);
    if (!status)
        status = check_label(answer, where, "answer", err);
    if (status)
        return status;
    struct choices choices = {.count = 0};
    bool found = false;
    cJSON_ArrayForEach(option, options)
    {
        if (choices.count == MOST_CHOICES)
            break;
        choices.labels[choices.count] = letters[choices.count];
        choices.texts[choices.count] = option->valuestring;
        found |= strcmp(letters[choices.count++], answer) == 0;
    }
    if (!found)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: \"answer\": found \"%s\", wanted the letter of one of %zu options", where, answer,
                       choices.count);
    out->id = id_of(object, "question_id");
    return ask_choice(out, question, &choices, answer, where, err);
}

/* ---- All ------------------------------------------------------------------------------------------------ */

const struct format formats[] = {
    {.name = "jsonl", .task_of_file = true, .convert = convert_own},
    {.name = "gsm8k", .preset = "gsm8k", .convert = convert_gsm8k},
    {.name = "math", .preset = "math", .whole = true, .convert = convert_math},
    {.name = "mbpp", .preset = "mbpp", .convert = convert_mbpp, .whole = true},
    {.name = "humaneval", .preset = "humaneval", .convert = convert_humaneval},
    {.name = "arc", .preset = "arc-c", .convert = convert_arc},
    {.name = "gpqa", .preset = "gpqa", .csv = true, .convert = convert_gpqa},
    {.name = "mmlu-pro", .preset = "mmlu-pro", .whole = true, .convert = convert_mmlu_pro},
};
const size_t format_count = sizeof formats / sizeof *formats;

const struct format *format_find(const char *name, struct rf_error *err)
{
    char names[160] = "";
    if (!name)
        return &formats[0];
    for (size_t i = 0; i < format_count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", formats[i].name);
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    }
    rf_fail(err, RF_ERROR_ARGUMENT, "--format: found \"%s\", wanted one of %s", name, names);
    return NULL;
}
