#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[RF_TOKENIZER_FILE_COUNT] = {
    [RF_TOKENIZER_JSON] = "tokenizer.json",
    [RF_VOCAB_JSON] = "vocab.json",
    [RF_MERGES_TXT] = "merges.txt",
    [RF_ADDED_TOKENS_JSON] = "added_tokens.json",
    [RF_TOKENIZER_CONFIG_JSON] = "tokenizer_config.json",
    [RF_CHAT_TEMPLATE_JINJA] = "chat_template.jinja",
};

char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long length = ftell(file);
    assert_true(length >= 0);
    rewind(file);
    char *text = malloc((size_t)length + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)length, file), length);
    text[length] = '\0';
    *size = (size_t)length;
    fclose(file);
    return text;
}

struct folder tiny_folder(bool parts)
{
    struct folder folder = {0};
    for (int i = 0; i < RF_TOKENIZER_FILE_COUNT; i++) {
        bool of_parts = i == RF_VOCAB_JSON || i == RF_MERGES_TXT || i == RF_ADDED_TOKENS_JSON;
        if (i == RF_CHAT_TEMPLATE_JINJA || (i == RF_TOKENIZER_JSON && parts) || (of_parts && !parts))
            continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", RF_SOURCE_DIR, names[i]);
        folder.text[i] = read_file(path, &folder.size[i]);
        assert_non_null(folder.text[i]);
    }
    return folder;
}

void folder_free(struct folder *folder)
{
    for (int i = 0; i < RF_TOKENIZER_FILE_COUNT; i++)
        free(folder->text[i]);
    *folder = (struct folder){0};
}

void folder_set(struct folder *folder, enum rf_tokenizer_file file, const char *text)
{
    free(folder->text[file]);
    folder->size[file] = strlen(text);
    folder->text[file] = malloc(folder->size[file] + 1);
    assert_non_null(folder->text[file]);
    memcpy(folder->text[file], text, folder->size[file] + 1);
}

static void put_value(cJSON *parent, const char *key, const char *value)
{
    cJSON *item = value ? cJSON_Parse(value) : NULL;
    assert_true(!value || item);
    if (cJSON_IsArray(parent)) {
        int place = atoi(key);
        if (!value)
            cJSON_DeleteItemFromArray(parent, place);
        else if (place < cJSON_GetArraySize(parent))
            cJSON_ReplaceItemInArray(parent, place, item);
        else
            cJSON_AddItemToArray(parent, item);
    } else if (!value) {
        assert_non_null(cJSON_GetObjectItemCaseSensitive(parent, key));
        cJSON_DeleteItemFromObjectCaseSensitive(parent, key);
    } else if (cJSON_GetObjectItemCaseSensitive(parent, key)) {
        cJSON_ReplaceItemInObjectCaseSensitive(parent, key, item);
    } else {
        cJSON_AddItemToObject(parent, key, item);
    }
}

void folder_edit(struct folder *folder, enum rf_tokenizer_file file, const char *path, const char *value)
{
    cJSON *root = cJSON_Parse(folder->text[file]), *parent = root;
    assert_non_null(root);
    char key[256];
    for (const char *point; (point = strchr(path, '.')) != NULL; path = point + 1) {
        snprintf(key, sizeof key, "%.*s", (int)(point - path), path);
        parent = cJSON_IsArray(parent) ? cJSON_GetArrayItem(parent, atoi(key))
                                       : cJSON_GetObjectItemCaseSensitive(parent, key);
        assert_non_null(parent);
    }
    put_value(parent, path, value);
    char *text = cJSON_PrintUnformatted(root);
    folder_set(folder, file, text);
    cJSON_free(text);
    cJSON_Delete(root);
}

enum rf_status folder_load(const struct folder *folder, rf_tokenizer **out, struct rf_error *err)
{
    struct rf_tokenizer_files files = {.folder = "m"};
    for (int i = 0; i < RF_TOKENIZER_FILE_COUNT; i++) {
        files.file[i].data = folder->text[i];
        files.file[i].size = folder->size[i];
    }
    return rf_tokenizer_from_files(out, &files, err);
}

rf_tokenizer *load_tiny(bool parts)
{
    struct folder folder = tiny_folder(parts);
    rf_tokenizer *tokenizer = NULL;
    struct rf_error err = {0};
    if (folder_load(&folder, &tokenizer, &err))
        fail_msg("%s", err.message);
    folder_free(&folder);
    return tokenizer;
}

void assert_ids(const uint32_t *ids, size_t count, const cJSON *wanted, const char *what)
{
    size_t at = 0;
    for (const cJSON *item = wanted->child; item; item = item->next, at++) {
        if (at >= count)
            fail_msg("%s: only %zu ids, wanted more", what, count);
        if ((double)ids[at] < item->valuedouble || (double)ids[at] > item->valuedouble)
            fail_msg("%s: id %zu is %u, wanted %.0f", what, at, ids[at], item->valuedouble);
    }
    if (at != count)
        fail_msg("%s: %zu ids, wanted %zu", what, count, at);
}

uint32_t *encode(const rf_tokenizer *tokenizer, const char *text, size_t length, bool special, size_t *count)
{
    uint32_t *ids = NULL;
    struct rf_error err = {0};
    if (rf_tokenizer_encode(tokenizer, text, length, special, &ids, count, &err))
        fail_msg("%s", err.message);
    assert_non_null(ids);
    return ids;
}

cJSON **read_lines(const char *path, size_t *count)
{
    size_t size = 0, capacity = 0;
    char *text = read_file(path, &size);
    if (!text)
        fail_msg("%s: cannot be read", path);
    cJSON **lines = NULL;
    *count = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (*count == capacity) {
            capacity = capacity * 2 + 64;
            lines = realloc(lines, capacity * sizeof(cJSON *));
            assert_non_null(lines);
        }
        lines[*count] = cJSON_Parse(line);
        assert_non_null(lines[*count]);
        ++*count;
    }
    free(text);
    return lines;
}

void free_lines(cJSON **lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cJSON_Delete(lines[i]);
    free(lines);
}
