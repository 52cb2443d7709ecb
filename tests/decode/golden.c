#include "tests/decode/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

enum { MAX_CASES = 256, MAX_PASSES = 8 };

static char *read_file(const char *name)
{
    const char *folder = getenv("RF_TEST_GOLDEN");
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder ? folder : RF_SOURCE_DIR "/tests/golden", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: cannot be opened", path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    return text;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!item)
        fail_msg("a golden result has no \"%s\"", name);
    return item;
}

static struct golden_tokens tokens_of(const cJSON *object, const char *name)
{
    const cJSON *list = member(object, name), *item;
    struct golden_tokens tokens = {calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(uint32_t)), 0};
    cJSON_ArrayForEach(item, list) tokens.ids[tokens.count++] = (uint32_t)item->valuedouble;
    return tokens;
}

static uint32_t number(const cJSON *object, const char *name)
{
    return (uint32_t)member(object, name)->valuedouble;
}

static struct golden_case case_of(const cJSON *run, const char *file, unsigned line)
{
    const cJSON *default_forwards = cJSON_GetObjectItemCaseSensitive(run, "default_forwards");
    struct golden_case c = {
        .file = file,
        .line = line,
        .prompt = tokens_of(run, "prompt_ids"),
        .output = tokens_of(run, "output_ids"),
        .shown = tokens_of(run, "default_ids"),
        .forwards = number(run, "forwards"),
        .rows = number(run, "rows"),
        .settings = {.max_tokens = number(run, "gen_length"),
                     .slot_size = number(run, "slot_size"),
                     .block = number(run, "block"),
                     .has_slot_threshold = true,
                     .has_token_threshold = true,
                     .slot_threshold = (float)member(run, "slot_threshold")->valuedouble,
                     .token_threshold = (float)member(run, "token_threshold")->valuedouble}};
    c.default_forwards = default_forwards ? (uint64_t)default_forwards->valuedouble : 0;
    return c;
}

static size_t read_cases(struct golden_case *cases, size_t count, const char *file)
{
    char *text = read_file(file), *rest = text;
    for (unsigned line = 1; rest && *rest; line++) {
        char *end = strchr(rest, '\n');
        if (end)
            *end = '\0';
        cJSON *run = cJSON_Parse(rest);
        if (!run || count == MAX_CASES)
            fail_msg("%s:%u: no JSON, or too many lines", file, line);
        cases[count++] = case_of(run, file, line);
        cJSON_Delete(run);
        rest = end ? end + 1 : NULL;
    }
    free(text);
    return count;
}

size_t golden_cases(const struct golden_case **out)
{
    static struct golden_case cases[MAX_CASES];
    static size_t count;
    if (count == 0)
        count = read_cases(cases, read_cases(cases, 0, "decode.jsonl"), "decode_wild.jsonl");
    *out = cases;
    return count;
}

static struct golden_logits logits_of(const cJSON *pass)
{
    const cJSON *rows = member(pass, "logits"), *row, *value;
    struct golden_logits out = {.kind = strdup(member(pass, "kind")->valuestring),
                                .tokens = tokens_of(pass, "tokens"),
                                .positions = tokens_of(pass, "positions"),
                                .rows = (size_t)cJSON_GetArraySize(rows),
                                .vocab = (size_t)cJSON_GetArraySize(cJSON_GetArrayItem(rows, 0))};
    out.logits = calloc(out.rows * out.vocab, sizeof *out.logits);
    size_t i = 0;
    cJSON_ArrayForEach(row, rows) cJSON_ArrayForEach(value, row) out.logits[i++] = value->valuedouble;
    return out;
}

size_t golden_logits(const struct golden_logits **out)
{
    static struct golden_logits passes[MAX_PASSES];
    static size_t count;
    if (count == 0) {
        char *text = read_file("logits.json");
        cJSON *list = cJSON_Parse(text);
        const cJSON *pass;
        if (!list || cJSON_GetArraySize(list) > MAX_PASSES)
            fail_msg("logits.json: no JSON, or too many passes");
        cJSON_ArrayForEach(pass, list) passes[count++] = logits_of(pass);
        cJSON_Delete(list);
        free(text);
    }
    *out = passes;
    return count;
}
