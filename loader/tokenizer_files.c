/* From a path to a tokenizer: which route its files take, tokenizer_config.json, and the vocab.json +
 * merges.txt route. tokenizer_json.c and gguf_tokenizer.c have the others. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/allocate.h"
#include "engine/desc.h"
#include "loader/file_map.h"
#include "loader/gguf.h"
#include "loader/json.h"
#include "loader/model_path.h"
#include "loader/tokenizer_internal.h"
#include "loader/utf8.h"

enum { MAX_ADDED = 16384 };

/* The vocab.json route has no file for the split pattern: it stands in the tokenizer's class. This is that of
 * Qwen2Tokenizer, the class of all Qwen2 and Qwen3 models (PRETOKENIZE_REGEX in transformers), the same that
 * their tokenizer.json files carry. */
static const char qwen_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const char *const file_names[RF_TOKENIZER_FILE_COUNT] = {
    [RF_TOKENIZER_JSON] = "tokenizer.json",
    [RF_VOCAB_JSON] = "vocab.json",
    [RF_MERGES_TXT] = "merges.txt",
    [RF_ADDED_TOKENS_JSON] = "added_tokens.json",
    [RF_TOKENIZER_CONFIG_JSON] = "tokenizer_config.json",
    [RF_CHAT_TEMPLATE_JINJA] = "chat_template.jinja",
};

bool rf_is_qwen_split(const char *pattern)
{
    return strcmp(pattern, qwen_pattern) == 0;
}

enum rf_status rf_loading_qwen_split(struct rf_tokenizer_loading *loading)
{
    loading->tokenizer->qwen_split = true;
    return rf_splitter_create(&loading->tokenizer->splitter, qwen_pattern, sizeof qwen_pattern - 1,
                              "split pattern of Qwen2Tokenizer", loading->err);
}

static enum rf_status no_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "tokenizer: out of memory");
}

enum rf_status rf_loading_parse(struct rf_tokenizer_loading *loading, enum rf_tokenizer_file file)
{
    const char *name = loading->names[file];
    enum rf_status status = rf_json_parse(&loading->trees[file], name, loading->files->file[file].data,
                                          loading->files->file[file].size, RF_JSON_MAX_VALUES, loading->err);
    if (!status && !cJSON_IsObject(loading->trees[file]))
        status = rf_fail(loading->err, RF_ERROR_FORMAT, "%s: found %s, wanted an object", name,
                         rf_json_describe(loading->trees[file]).text);
    return status;
}

/* ---- Added tokens -------------------------------------------------------------------------------------- */

static struct rf_added_token *find_added(const struct rf_tokenizer_loading *loading, const char *content)
{
    for (size_t i = 0; i < loading->added_count; i++)
        if (!strcmp(loading->added[i].content, content))
            return &loading->added[i];
    return NULL;
}

enum rf_status rf_loading_add(struct rf_tokenizer_loading *loading, struct rf_added_token token)
{
    char quoted[RF_QUOTE_SIZE];
    rf_quote(quoted, token.content, strlen(token.content));
    const struct rf_added_token *known = find_added(loading, token.content);
    if (known && (known->file == token.file || known->id != token.id))
        return rf_fail(loading->err, RF_ERROR_FORMAT,
                       "%s: added token %s has id %u, but %s gives it %u, wanted one id", token.file, quoted,
                       token.id, known->file, known->id);
    if (known && known->special != token.special)
        return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: added token %s has special %s, but %s says %s",
                       token.file, quoted, token.special ? "true" : "false", known->file,
                       known->special ? "true" : "false");
    if (known)
        return RF_OK;
    if (loading->added_count == MAX_ADDED)
        return rf_fail(loading->err, RF_ERROR_UNSUPPORTED, "%s: more than %d added tokens", token.file,
                       MAX_ADDED);
    if (loading->added_count == loading->added_capacity) {
        size_t capacity = loading->added_capacity * 2 + 32;
        struct rf_added_token *added = rf_realloc(loading->added, capacity * sizeof *added);
        if (!added)
            return no_memory(loading->err);
        loading->added = added;
        loading->added_capacity = capacity;
    }
    loading->added[loading->added_count++] = token;
    return RF_OK;
}

enum rf_status rf_loading_added_object(struct rf_tokenizer_loading *loading, enum rf_tokenizer_file file,
                                       const struct cJSON *object, const char *path, uint64_t id)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    struct rf_json_at at = {object, loading->names[file], path};
    const char *content = NULL;
    bool special = false, set = false;
    enum rf_status status = rf_json_string(at, "content", &content, loading->err);
    if (!status && !content)
        status = rf_fail(loading->err, RF_ERROR_FORMAT, "%s: %scontent is missing, wanted the token's text",
                         at.file, path);
    for (size_t i = 0; i < sizeof flags / sizeof *flags && !status; i++) {
        status = rf_json_bool(at, flags[i], false, &set, loading->err);
        if (!status && set)
            status = rf_fail(loading->err, RF_ERROR_UNSUPPORTED,
                             "%s: %s%s is true (token \"%s\"), which is not "
                             "supported",
                             at.file, path, flags[i], rf_json_printable(content).text);
    }
    if (!status)
        status = rf_json_bool(at, "special", false, &special, loading->err);
    if (status)
        return status;
    return rf_loading_add(loading, (struct rf_added_token){content, (uint32_t)id, special, false, at.file});
}

/* ---- tokenizer_config.json ----------------------------------------------------------------------------- */

static struct rf_json_at config_at(const struct rf_tokenizer_loading *loading)
{
    return (struct rf_json_at){loading->trees[RF_TOKENIZER_CONFIG_JSON],
                               loading->names[RF_TOKENIZER_CONFIG_JSON], ""};
}

/* What a field such as eos_token names: a string, or an object with content. *out NULL when absent or
 * null. */
static enum rf_status named_token(const struct rf_tokenizer_loading *loading, const char *field,
                                  const char **out)
{
    struct rf_json_at at = config_at(loading);
    *out = NULL;
    const cJSON *value = rf_json_member(at, field);
    if (!value)
        return RF_OK;
    const cJSON *text = cJSON_IsObject(value) ? cJSON_GetObjectItemCaseSensitive(value, "content") : value;
    if (!cJSON_IsString(text))
        return rf_fail(loading->err, RF_ERROR_FORMAT,
                       "%s: %s is %s, wanted a token's text or an object with content", at.file, field,
                       rf_json_describe(value).text);
    *out = text->valuestring;
    return RF_OK;
}

/* For added tokens that no file flags: special are those that the config names for a purpose. */
static bool named_in_config(const struct rf_tokenizer_loading *loading, const char *content)
{
    static const char *const fields[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                         "pad_token", "cls_token", "mask_token", "additional_special_tokens"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const cJSON *value = rf_json_member(config_at(loading), fields[i]);
        const cJSON *item = cJSON_IsArray(value) ? value->child : value;
        for (; item; item = cJSON_IsArray(value) ? item->next : NULL) {
            const cJSON *text =
                cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, "content") : item;
            if (cJSON_IsString(text) && !strcmp(text->valuestring, content))
                return true;
        }
    }
    return false;
}

/* Settings that change ids or text and that we do not implement must be off. */
static enum rf_status check_config(const struct rf_tokenizer_loading *loading)
{
    static const char *const off[] = {"add_bos_token", "add_eos_token", "add_prefix_space",
                                      "split_special_tokens", "clean_up_tokenization_spaces"};
    static const char *const classes[] = {"Qwen2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast"};
    struct rf_json_at at = config_at(loading);
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < sizeof off / sizeof *off && !status; i++) {
        bool set = false;
        status = rf_json_bool(at, off[i], false, &set, loading->err);
        if (!status && set)
            status =
                rf_fail(loading->err, RF_ERROR_UNSUPPORTED, "%s: %s is true, wanted false", at.file, off[i]);
    }
    const char *errors = NULL, *class = NULL;
    if (!status)
        status = rf_json_string(at, "errors", &errors, loading->err);
    if (!status && errors && strcmp(errors, "replace") != 0)
        status = rf_fail(loading->err, RF_ERROR_UNSUPPORTED, "%s: errors is \"%s\", wanted \"replace\"",
                         at.file, rf_json_printable(errors).text);
    if (!status)
        status = rf_json_string(at, "tokenizer_class", &class, loading->err);
    if (status || !class)
        return status;
    /* PreTrainedTokenizerFast says nothing about the split pattern, which then must stand in
     * tokenizer.json. */
    size_t known = loading->trees[RF_TOKENIZER_JSON] ? 3 : 2;
    for (size_t i = 0; i < known; i++)
        if (!strcmp(class, classes[i]))
            return RF_OK;
    return rf_fail(loading->err, RF_ERROR_UNSUPPORTED,
                   "%s: tokenizer_class is \"%s\", wanted \"Qwen2Tokenizer\"", at.file,
                   rf_json_printable(class).text);
}

static enum rf_status add_from_config(struct rf_tokenizer_loading *loading)
{
    struct rf_json_at at = config_at(loading);
    const cJSON *decoder = rf_json_member(at, "added_tokens_decoder");
    if (decoder && !cJSON_IsObject(decoder))
        return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: added_tokens_decoder is %s, wanted an object",
                       at.file, rf_json_describe(decoder).text);
    for (const cJSON *item = decoder ? decoder->child : NULL; item; item = item->next) {
        char *end = NULL;
        unsigned long long id = strtoull(item->string, &end, 10);
        char path[64];
        snprintf(path, sizeof path, "added_tokens_decoder.%.20s.", rf_json_printable(item->string).text);
        bool digits = item->string[0] >= '0' && item->string[0] <= '9' && *end == '\0';
        if (!digits || id >= UINT32_MAX || !cJSON_IsObject(item))
            return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: %s is no token id with an object", at.file,
                           path);
        enum rf_status status = rf_loading_added_object(loading, RF_TOKENIZER_CONFIG_JSON, item, path, id);
        if (status)
            return status;
    }
    return RF_OK;
}

/* eos_token or mask_token: must be an added token, and then no plain text may produce it. */
static enum rf_status take_role(struct rf_tokenizer_loading *loading, const char *field, uint32_t *id)
{
    const char *content = NULL;
    enum rf_status status = named_token(loading, field, &content);
    if (status || !content)
        return status;
    struct rf_added_token *token = find_added(loading, content);
    if (!token)
        return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: %s is \"%s\", which is no added token",
                       loading->names[RF_TOKENIZER_CONFIG_JSON], field, rf_json_printable(content).text);
    token->protect = true;
    *id = token->id;
    return RF_OK;
}

enum rf_status rf_loading_template(struct rf_tokenizer_loading *loading, const char *text, size_t length)
{
    rf_tokenizer *tokenizer = loading->tokenizer;
    tokenizer->chat_template = rf_chat_recognise(text, length);
    tokenizer->template_text = rf_strndup(text, length);
    return tokenizer->template_text ? RF_OK : no_memory(loading->err);
}

static enum rf_status take_template(struct rf_tokenizer_loading *loading)
{
    const cJSON *value = rf_json_member(config_at(loading), "chat_template");
    const char *text = loading->files->file[RF_CHAT_TEMPLATE_JINJA].data;
    size_t length = loading->files->file[RF_CHAT_TEMPLATE_JINJA].size;
    if (!text && cJSON_IsString(value)) {
        text = value->valuestring;
        length = strlen(text);
    }
    loading->tokenizer->chat_template =
        value ? RF_CHAT_UNKNOWN : RF_CHAT_NONE; /* a list of several, or none */
    return text ? rf_loading_template(loading, text, length) : RF_OK;
}

static enum rf_status take_config(struct rf_tokenizer_loading *loading)
{
    enum rf_status status = check_config(loading);
    if (!status)
        status = add_from_config(loading);
    return status;
}

/* ---- vocab.json, merges.txt, added_tokens.json --------------------------------------------------------- */

static enum rf_status add_from_added_tokens(struct rf_tokenizer_loading *loading)
{
    const char *name = loading->names[RF_ADDED_TOKENS_JSON];
    if (!loading->files->file[RF_ADDED_TOKENS_JSON].data)
        return RF_OK;
    enum rf_status status = rf_loading_parse(loading, RF_ADDED_TOKENS_JSON);
    if (status)
        return status;
    for (const cJSON *item = loading->trees[RF_ADDED_TOKENS_JSON]->child; item && !status;
         item = item->next) {
        uint64_t id = 0;
        if (!rf_json_is_uint(item, 0, UINT32_MAX - 1, &id))
            return rf_fail(loading->err, RF_ERROR_FORMAT, "%s: \"%s\" is %s, wanted a token id", name,
                           rf_json_printable(item->string).text, rf_json_describe(item).text);
        const struct rf_added_token *known = find_added(loading, item->string);
        bool special = known ? known->special : named_in_config(loading, item->string);
        status = rf_loading_add(loading,
                                (struct rf_added_token){item->string, (uint32_t)id, special, false, name});
    }
    return status;
}

static enum rf_status parse_merge_line(struct rf_tokenizer_loading *loading, const char *line, size_t length,
                                       size_t number, uint32_t *rank)
{
    const char *name = loading->names[RF_MERGES_TXT];
    const char *space = memchr(line, ' ', length);
    size_t left = space ? (size_t)(space - line) : 0;
    if (!space || left == 0 || left + 1 == length || memchr(space + 1, ' ', length - left - 1)) {
        char quoted[RF_QUOTE_SIZE];
        return rf_fail(loading->err, RF_ERROR_FORMAT,
                       "%s: line %zu is %s, wanted two tokens with one space between", name, number,
                       rf_quote(quoted, line, length));
    }
    struct rf_merge_place place = {name, NULL, number};
    return rf_vocabulary_merge(&loading->vocabulary, place, (*rank)++, line, left, space + 1,
                               length - left - 1, loading->err);
}

static size_t count_lines(const char *text, size_t size)
{
    size_t count = 1;
    for (const char *at = text; (at = memchr(at, '\n', size - (size_t)(at - text))) != NULL; at++)
        count++;
    return count;
}

static enum rf_status parse_merges(struct rf_tokenizer_loading *loading)
{
    const char *text = loading->files->file[RF_MERGES_TXT].data;
    size_t size = loading->files->file[RF_MERGES_TXT].size;
    size_t valid = rf_utf8_valid(text, size);
    if (valid < size)
        return rf_fail(loading->err, RF_ERROR_FORMAT,
                       "%s: line %zu holds invalid UTF-8 (byte %zu of the file)",
                       loading->names[RF_MERGES_TXT], count_lines(text, valid), valid);
    if (!rf_merges_create(&loading->tokenizer->merges, count_lines(text, size)))
        return no_memory(loading->err);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--; /* empty lines at the end */
    uint32_t rank = 0;
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t next = end ? (size_t)(end - text) + 1 : size;
        size_t length = next - at - (end ? 1 : 0);
        if (length > 0 && text[at + length - 1] == '\r')
            length--;
        bool version = number == 1 && length >= 8 && !memcmp(text + at, "#version", 8);
        enum rf_status status = version ? RF_OK : parse_merge_line(loading, text + at, length, number, &rank);
        if (status)
            return status;
        at = next;
    }
    return RF_OK;
}

static enum rf_status load_vocab_route(struct rf_tokenizer_loading *loading)
{
    enum rf_status status = rf_loading_parse(loading, RF_VOCAB_JSON);
    if (status)
        return status;
    status = rf_vocabulary_build_json(&loading->vocabulary, loading->names[RF_VOCAB_JSON], "",
                                      loading->trees[RF_VOCAB_JSON], loading->added, loading->added_count,
                                      loading->err);
    if (!status)
        status = parse_merges(loading);
    return status ? status : rf_loading_qwen_split(loading);
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

static enum rf_status load(struct rf_tokenizer_loading *loading)
{
    const struct rf_tokenizer_files *files = loading->files;
    rf_tokenizer *tokenizer = loading->tokenizer;
    bool whole = files->file[RF_TOKENIZER_JSON].data;
    if (!whole && (!files->file[RF_VOCAB_JSON].data || !files->file[RF_MERGES_TXT].data))
        return rf_fail(loading->err, RF_ERROR_IO,
                       "%s: no %s, wanted tokenizer.json, or vocab.json with merges.txt", files->folder,
                       !files->file[RF_MERGES_TXT].data && files->file[RF_VOCAB_JSON].data
                           ? "merges.txt beside vocab.json"
                           : "tokenizer");
    enum rf_status status = RF_OK;
    if (files->file[RF_TOKENIZER_CONFIG_JSON].data)
        status = rf_loading_parse(loading, RF_TOKENIZER_CONFIG_JSON);
    if (!status && whole)
        status = rf_loading_tokenizer_json_head(loading);
    if (!status)
        status = take_config(loading);
    if (!status && !whole)
        status = add_from_added_tokens(loading);
    if (!status)
        status = take_role(loading, "eos_token", &tokenizer->eos);
    if (!status)
        status = take_role(loading, "mask_token", &tokenizer->mask);
    if (!status)
        status = take_template(loading);
    if (!status)
        status = whole ? rf_loading_tokenizer_json_model(loading) : load_vocab_route(loading);
    return status;
}

enum rf_status rf_loading_begin(struct rf_tokenizer_loading *loading, const char *folder,
                                struct rf_error *err)
{
    *loading = (struct rf_tokenizer_loading){.err = err};
    loading->tokenizer = rf_calloc(1, sizeof *loading->tokenizer);
    if (!loading->tokenizer)
        return no_memory(err);
    loading->tokenizer->allocator = rf_allocator_current();
    loading->tokenizer->eos = loading->tokenizer->mask = RF_TOKENIZER_NONE;
    loading->vocabulary.tokenizer = loading->tokenizer;
    loading->tokenizer->folder = rf_strdup(folder);
    return loading->tokenizer->folder ? RF_OK : no_memory(err);
}

enum rf_status rf_loading_end(struct rf_tokenizer_loading *loading, enum rf_status status, rf_tokenizer **out)
{
    rf_vocabulary_free(&loading->vocabulary);
    rf_free(loading->added);
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT; i++) {
        cJSON_Delete(loading->trees[i]);
        rf_free(loading->names[i]);
    }
    if (status)
        rf_tokenizer_destroy(loading->tokenizer);
    else
        *out = loading->tokenizer;
    return status;
}

enum rf_status rf_tokenizer_from_files(rf_tokenizer **out, const struct rf_tokenizer_files *files,
                                       struct rf_error *err)
{
    *out = NULL;
    struct rf_tokenizer_loading loading;
    enum rf_status status = rf_loading_begin(&loading, files->folder, err);
    loading.files = files;
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT && !status; i++)
        if (!(loading.names[i] = rf_path_join(files->folder, file_names[i])))
            status = no_memory(err);
    if (!status)
        status = load(&loading);
    return rf_loading_end(&loading, status, out);
}

static enum rf_status load_folder(rf_tokenizer **out, const char *folder, struct rf_error *err)
{
    struct rf_tokenizer_files files = {.folder = folder};
    struct rf_file_map maps[RF_TOKENIZER_FILE_COUNT] = {0};
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT && !status; i++) {
        bool vocab_route = i == RF_VOCAB_JSON || i == RF_MERGES_TXT || i == RF_ADDED_TOKENS_JSON;
        if (vocab_route && files.file[RF_TOKENIZER_JSON].data)
            continue; /* tokenizer.json says it all */
        char *path = rf_path_join(folder, file_names[i]);
        if (!path)
            status = no_memory(err);
        if (path && rf_path_exists(path)) {
            status = rf_file_map_open(&maps[i], path, err);
            files.file[i].data = (const char *)maps[i].data;
            files.file[i].size = (size_t)maps[i].size;
        }
        rf_free(path);
    }
    if (!status)
        status = rf_tokenizer_from_files(out, &files, err);
    for (size_t i = 0; i < RF_TOKENIZER_FILE_COUNT; i++)
        rf_file_map_close(&maps[i]);
    return status;
}

static enum rf_status load_gguf(rf_tokenizer **out, const char *path, struct rf_error *err)
{
    struct rf_file_map map;
    struct rf_gguf gguf = {0};
    enum rf_status status = rf_file_map_open(&map, path, err);
    if (!status && !rf_gguf_is_magic(map.data, map.size))
        status = rf_fail(err, RF_ERROR_IO, "%s: is a file, wanted a model folder or a GGUF file", path);
    if (!status)
        status = rf_gguf_parse(&gguf, path, map.data, map.size, err);
    if (!status)
        status = rf_tokenizer_from_gguf(out, &gguf, err);
    rf_gguf_free(&gguf);
    rf_file_map_close(&map);
    return status;
}

enum rf_status rf_tokenizer_open(rf_tokenizer **out, const char *folder, struct rf_error *err)
{
    char *gguf;
    *out = NULL;
    enum rf_status status = rf_model_path_resolve(&gguf, folder, err);
    if (!status)
        status = gguf ? load_gguf(out, gguf, err) : load_folder(out, folder, err);
    rf_free(gguf);
    return status;
}

enum rf_status rf_tokenizer_load(rf_tokenizer **out, const char *folder, const struct rf_tokenizer_desc *desc,
                                 struct rf_error *err)
{
    struct rf_tokenizer_desc known;
    if (!out || !folder)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_tokenizer_load: out and folder are needed");
    *out = NULL;
    enum rf_status status = RF_DESC_READ(&known, rf_tokenizer_desc, desc, err);
    if (status)
        return status;
    RF_ALLOCATE_FROM(known.allocator);
    return rf_tokenizer_open(out, folder, err);
}
