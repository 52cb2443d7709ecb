/* tokenizer.json as the Hugging Face tokenizers library writes it, restricted to what byte-level BPE models
 * of the Qwen family use. Whatever else a file asks for is refused by name. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "loader/json.h"
#include "loader/tokenizer_internal.h"
#include "loader/utf8.h"

/* ---- Checks of single members -------------------------------------------------------------------------- */

static enum rf_status unsupported(struct rf_json_at at, const char *key, const char *wanted,
                                  struct rf_error *err)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(at.object, key);
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: %s%s is %s, wanted %s", at.file, at.path, key,
                   rf_json_describe(found).text, wanted);
}

static enum rf_status expect_text(struct rf_json_at at, const char *key, const char *wanted,
                                  struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, key);
    if (cJSON_IsString(value) && !strcmp(value->valuestring, wanted))
        return RF_OK;
    char quoted[RF_QUOTE_SIZE];
    return unsupported(at, key, rf_quote(quoted, wanted, strlen(wanted)), err);
}

/* Must be false, and said so: the library's defaults for some of these are true. */
static enum rf_status expect_false(struct rf_json_at at, const char *key, struct rf_error *err)
{
    return cJSON_IsFalse(rf_json_member(at, key)) ? RF_OK : unsupported(at, key, "false", err);
}

/* Absent, null, false, "" or 0: all mean that the feature is not used. */
static enum rf_status expect_off(struct rf_json_at at, const char *key, struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, key);
    bool off = !value || cJSON_IsFalse(value) || (cJSON_IsString(value) && !value->valuestring[0]) ||
               (cJSON_IsNumber(value) && !(value->valuedouble < 0) && !(value->valuedouble > 0));
    return off ? RF_OK : unsupported(at, key, "null (it is not supported)", err);
}

static enum rf_status expect_object(struct rf_json_at at, const char *key, const cJSON **out,
                                    struct rf_error *err)
{
    *out = rf_json_member(at, key);
    if (cJSON_IsObject(*out))
        return RF_OK;
    return rf_fail(err, RF_ERROR_FORMAT, "%s: %s%s is %s, wanted an object", at.file, at.path, key,
                   rf_json_describe(*out).text);
}

/* Refuses members that are not listed: an unknown setting may change ids. */
static enum rf_status expect_only(struct rf_json_at at, const char *const *keys, size_t count,
                                  struct rf_error *err)
{
    for (const cJSON *item = at.object->child; item; item = item->next) {
        size_t i = 0;
        while (i < count && strcmp(keys[i], item->string) != 0)
            i++;
        if (i == count)
            return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: %s%s is not a known field", at.file, at.path,
                           rf_json_printable(item->string).text);
    }
    return RF_OK;
}
#define EXPECT_ONLY(at, keys, err) expect_only(at, keys, sizeof keys / sizeof *keys, err)

/* ---- The parts before the model ------------------------------------------------------------------------ */

static enum rf_status check_normalizer(struct rf_json_at top, struct rf_error *err)
{
    static const char *const keys[] = {"type"};
    const cJSON *object = NULL;
    enum rf_status status = expect_object(top, "normalizer", &object, err);
    struct rf_json_at at = {object, top.file, "normalizer."};
    if (!status)
        status = expect_text(at, "type", "NFC", err);
    return status ? status : EXPECT_ONLY(at, keys, err);
}

static enum rf_status check_byte_level(struct rf_json_at at, bool splits, struct rf_error *err)
{
    static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex"};
    enum rf_status status = expect_text(at, "type", "ByteLevel", err);
    /* Decoders and post-processors carry the same settings, but only the pre-tokenizer heeds these two. */
    if (!status && splits)
        status = expect_false(at, "add_prefix_space", err);
    if (!status && splits)
        status = expect_false(at, "use_regex", err);
    return status ? status : EXPECT_ONLY(at, keys, err);
}

static enum rf_status take_split(struct rf_tokenizer_loading *loading, struct rf_json_at at)
{
    static const char *const keys[] = {"type", "pattern", "behavior", "invert"};
    static const char *const pattern_keys[] = {"Regex"};
    struct rf_error *err = loading->err;
    const cJSON *pattern = NULL;
    const char *regex = NULL;
    enum rf_status status = expect_text(at, "type", "Split", err);
    if (!status)
        status = expect_text(at, "behavior", "Isolated", err);
    if (!status)
        status = expect_off(at, "invert", err);
    if (!status)
        status = EXPECT_ONLY(at, keys, err);
    if (!status)
        status = expect_object(at, "pattern", &pattern, err);
    struct rf_json_at pattern_at = {pattern, at.file, "pre_tokenizer.pretokenizers[0].pattern."};
    if (!status)
        status = EXPECT_ONLY(pattern_at, pattern_keys, err);
    if (!status)
        status = rf_json_string(pattern_at, "Regex", &regex, err);
    if (status)
        return status;
    if (!regex)
        return unsupported(pattern_at, "Regex", "a pattern", err);
    loading->tokenizer->qwen_split = rf_is_qwen_split(regex);
    char where[512];
    snprintf(where, sizeof where, "%.400s: %sRegex", at.file, pattern_at.path);
    return rf_splitter_create(&loading->tokenizer->splitter, regex, strlen(regex), where, err);
}

static enum rf_status take_pre_tokenizer(struct rf_tokenizer_loading *loading, struct rf_json_at top)
{
    static const char *const keys[] = {"type", "pretokenizers"};
    const cJSON *object = NULL;
    enum rf_status status = expect_object(top, "pre_tokenizer", &object, loading->err);
    struct rf_json_at at = {object, top.file, "pre_tokenizer."};
    if (!status)
        status = expect_text(at, "type", "Sequence", loading->err);
    if (!status)
        status = EXPECT_ONLY(at, keys, loading->err);
    if (status)
        return status;
    const cJSON *list = rf_json_member(at, "pretokenizers");
    const cJSON *first = cJSON_IsArray(list) ? list->child : NULL, *second = first ? first->next : NULL;
    if (!cJSON_IsObject(first) || !cJSON_IsObject(second) || second->next)
        return rf_fail(loading->err, RF_ERROR_UNSUPPORTED,
                       "%s: pre_tokenizer.pretokenizers is %s, wanted the two "
                       "objects Split and ByteLevel",
                       top.file, cJSON_IsArray(list) ? "another list" : rf_json_describe(list).text);
    status = take_split(loading, (struct rf_json_at){first, top.file, "pre_tokenizer.pretokenizers[0]."});
    if (status)
        return status;
    return check_byte_level((struct rf_json_at){second, top.file, "pre_tokenizer.pretokenizers[1]."}, true,
                            loading->err);
}

static enum rf_status check_byte_level_member(struct rf_json_at top, const char *key, const char *path,
                                              bool needed, struct rf_error *err)
{
    const cJSON *object = NULL;
    if (!needed && !rf_json_member(top, key))
        return RF_OK;
    enum rf_status status = expect_object(top, key, &object, err);
    return status ? status : check_byte_level((struct rf_json_at){object, top.file, path}, false, err);
}

static enum rf_status take_added_tokens(struct rf_tokenizer_loading *loading, struct rf_json_at top)
{
    static const char *const keys[] = {"id",     "content", "single_word", "lstrip",
                                       "rstrip", "special", "normalized"};
    const cJSON *list = rf_json_member(top, "added_tokens");
    if (list && !cJSON_IsArray(list))
        return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: added_tokens is %s, wanted an array", top.file,
                       rf_json_describe(list).text);
    size_t place = 0;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next, place++) {
        char path[48];
        snprintf(path, sizeof path, "added_tokens[%zu].", place);
        struct rf_json_at at = {item, top.file, path};
        uint64_t id = 0;
        if (!cJSON_IsObject(item))
            return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: added_tokens[%zu] is %s, wanted an object",
                           top.file, place, rf_json_describe(item).text);
        enum rf_status status = rf_json_uint(at, "id", 0, UINT32_MAX - 1, &id, loading->err);
        if (!status)
            status = EXPECT_ONLY(at, keys, loading->err);
        if (!status)
            status = rf_loading_added_object(loading, RF_TOKENIZER_JSON, item, path, id);
        if (status)
            return status;
    }
    return RF_OK;
}

static enum rf_status check_model_settings(struct rf_json_at model, struct rf_error *err)
{
    static const char *const off[] = {
        "dropout",       "unk_token",    "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
        "byte_fallback", "ignore_merges"};
    static const char *const keys[] = {"dropout",
                                       "unk_token",
                                       "continuing_subword_prefix",
                                       "end_of_word_suffix",
                                       "fuse_unk",
                                       "byte_fallback",
                                       "ignore_merges",
                                       "type",
                                       "vocab",
                                       "merges"};
    enum rf_status status = expect_text(model, "type", "BPE", err);
    for (size_t i = 0; i < sizeof off / sizeof *off && !status; i++)
        status = expect_off(model, off[i], err);
    return status ? status : EXPECT_ONLY(model, keys, err);
}

enum rf_status rf_loading_tokenizer_json_head(struct rf_tokenizer_loading *loading)
{
    static const char *const keys[] = {"version",        "truncation", "padding",
                                       "added_tokens",   "normalizer", "pre_tokenizer",
                                       "post_processor", "decoder",    "model"};
    struct rf_error *err = loading->err;
    enum rf_status status = rf_loading_parse(loading, RF_TOKENIZER_JSON);
    if (status)
        return status;
    struct rf_json_at top = {loading->trees[RF_TOKENIZER_JSON], loading->names[RF_TOKENIZER_JSON], ""};
    status = expect_text(top, "version", "1.0", err);
    if (!status)
        status = expect_off(top, "truncation", err);
    if (!status)
        status = expect_off(top, "padding", err);
    if (!status)
        status = EXPECT_ONLY(top, keys, err);
    if (!status)
        status = check_normalizer(top, err);
    if (!status)
        status = take_pre_tokenizer(loading, top);
    if (!status)
        status = check_byte_level_member(top, "post_processor", "post_processor.", false, err);
    if (!status)
        status = check_byte_level_member(top, "decoder", "decoder.", true, err);
    const cJSON *model = NULL;
    if (!status)
        status = expect_object(top, "model", &model, err);
    if (!status)
        status = check_model_settings((struct rf_json_at){model, top.file, "model."}, err);
    return status ? status : take_added_tokens(loading, top);
}

/* ---- Vocabulary and merges ----------------------------------------------------------------------------- */

/* A merge is "a b" or ["a", "b"]; no token holds a space, so the first one parts them. */
static enum rf_status take_merge(struct rf_tokenizer_loading *loading, const cJSON *item, size_t number)
{
    const char *name = loading->names[RF_TOKENIZER_JSON];
    const char *left = NULL, *right = NULL;
    size_t left_length = 0;
    if (cJSON_IsString(item)) {
        left = item->valuestring;
        left_length = strcspn(left, " ");
        if (left_length > 0 && left[left_length] && left[left_length + 1] &&
            !strchr(left + left_length + 1, ' '))
            right = left + left_length + 1;
    } else if (cJSON_IsArray(item) && cJSON_IsString(item->child) && cJSON_IsString(item->child->next) &&
               !item->child->next->next) {
        left = item->child->valuestring;
        left_length = strlen(left);
        right = item->child->next->valuestring;
    }
    if (!right)
        return rf_fail(loading->err, RF_ERROR_FORMAT,
                       "%s: model.merges[%zu] is %s, wanted \"a b\" or [\"a\", \"b\"]", name, number,
                       rf_json_describe(item).text);
    struct rf_merge_place place = {name, "model.merges", number};
    return rf_vocabulary_merge(&loading->vocabulary, place, (uint32_t)number, left, left_length, right,
                               strlen(right), loading->err);
}

enum rf_status rf_loading_tokenizer_json_model(struct rf_tokenizer_loading *loading)
{
    const char *name = loading->names[RF_TOKENIZER_JSON];
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(loading->trees[RF_TOKENIZER_JSON], "model");
    struct rf_json_at at = {model, name, "model."};
    const cJSON *vocab = NULL, *merges = rf_json_member(at, "merges");
    enum rf_status status = expect_object(at, "vocab", &vocab, loading->err);
    if (status)
        return status;
    if (!cJSON_IsArray(merges))
        return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: model.merges is %s, wanted an array", name,
                       rf_json_describe(merges).text);
    status = rf_vocabulary_build_json(&loading->vocabulary, name, "model.vocab: ", vocab, loading->added,
                                      loading->added_count, loading->err);
    if (status)
        return status;
    size_t count = 0;
    for (const cJSON *item = merges->child; item; item = item->next)
        count++;
    if (!rf_merges_create(&loading->tokenizer->merges, count))
        return rf_fail(loading->err, RF_ERROR_HOST_MEMORY, "tokenizer: out of memory");
    size_t number = 0;
    for (const cJSON *item = merges->child; item && !status; item = item->next)
        status = take_merge(loading, item, number++);
    return status;
}
