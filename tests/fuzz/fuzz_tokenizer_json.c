/* Any text as tokenizer.json: refused with one line, or a tokenizer whose ids, texts and merges hold
 * together: it encodes a text that is rich in pairs, and the ids come back as that text. The first "@@":0 of
 * an input stands for the tokens of the 256 bytes, which every vocabulary needs: so inputs are short and
 * mutations hit the rest. Half of the mutations are made on the JSON tree: most others only break the
 * text. */
#include "tokenizer_promise.h"

#include <cjson/cJSON.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned seed);
/* libFuzzer's own mutations; absent where the corpus is replayed without it. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t max_size) __attribute__((weak));

static const char mark[] = "\"@@\":0";
enum { MARK = sizeof mark - 1, NODES = 4096 };

static size_t find_mark(const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + MARK <= size; at++)
        if (!memcmp(bytes + at, mark, MARK))
            return at;
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    /* An empty file never comes this far: mapping a folder's files refuses it. */
    if (size == 0)
        return 0;
    static char tokens[BYTE_TOKENS_SIZE];
    size_t before = find_mark(bytes, size), length = before < size ? write_byte_tokens(tokens) : 0;
    size_t rest = before < size ? before + MARK : size;
    /* Exactly as long as the file, so that a sanitizer sees any read behind it. */
    char *text = malloc(before + length + (size - rest));
    promise(text);
    memcpy(text, bytes, before);
    memcpy(text + before, tokens, length);
    memcpy(text + before + length, bytes + rest, size - rest);
    struct rf_tokenizer_files files = {.folder = "m"};
    files.file[RF_TOKENIZER_JSON].data = text;
    files.file[RF_TOKENIZER_JSON].size = before + length + (size - rest);
    promise_tokenizer(&files);
    free(text);
    return 0;
}

/* ---- Mutations of the tree ----------------------------------------------------------------------------- */

static void collect(cJSON *parent, cJSON **parents, cJSON **nodes, size_t *count)
{
    for (cJSON *child = parent->child; child && *count < NODES; child = child->next) {
        parents[*count] = parent;
        nodes[(*count)++] = child;
        collect(child, parents, nodes, count);
    }
}

static cJSON *new_value(cJSON **nodes, size_t count, unsigned *seed)
{
    static const char *const values[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "255",
        "256",
        "257",
        "65792",
        "4294967294",
        "1e300",
        "\"\"",
        "\"a\"",
        "\"ab\"",
        "\"<|x|>\"",
        "[]",
        "{}",
        "[\"a\",\"b\"]",
        "\"a b\"",
        "\"ab a\"",
        "[\"ab\",\"ab\"]",
    };
    if (rand_r(seed) % 2)
        return cJSON_Duplicate(nodes[(size_t)rand_r(seed) % count], true);
    return cJSON_Parse(values[(size_t)rand_r(seed) % (sizeof values / sizeof *values)]);
}

/* Deletes, replaces or adds one value somewhere in the tree. */
static void mutate_tree(cJSON *root, unsigned *seed)
{
    static const char *const keys[] = {"special", "id",     "lstrip",  "normalized",
                                       "dropout", "ab",     "aab",     "<|x|>",
                                       "vocab",   "merges", "content", "post_processor"};
    static cJSON *parents[NODES], *nodes[NODES];
    size_t count = 0;
    collect(root, parents, nodes, &count);
    if (count == 0)
        return;
    size_t pick = (size_t)rand_r(seed) % count;
    cJSON *node = nodes[pick];
    switch (rand_r(seed) % 3) {
    case 0:
        cJSON_Delete(cJSON_DetachItemViaPointer(parents[pick], node));
        break;
    case 1: {
        cJSON *value = new_value(nodes, count, seed);
        if (value && node->string) {
            free(value->string);
            value->string = strdup(node->string);
        }
        cJSON_ReplaceItemViaPointer(parents[pick], node, value);
        break;
    }
    default:
        if (cJSON_IsArray(node))
            cJSON_AddItemToArray(node, new_value(nodes, count, seed));
        else if (cJSON_IsObject(node))
            cJSON_AddItemToObject(node, keys[(size_t)rand_r(seed) % (sizeof keys / sizeof *keys)],
                                  new_value(nodes, count, seed));
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned seed)
{
    cJSON *root = rand_r(&seed) % 2 ? cJSON_ParseWithLength((const char *)bytes, size) : NULL;
    if (!root)
        return LLVMFuzzerMutate(bytes, size, max_size);
    for (int i = rand_r(&seed) % 3; i >= 0; i--)
        mutate_tree(root, &seed);
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    size_t length = text ? strlen(text) : 0;
    bool fits = length > 0 && length <= max_size;
    if (fits)
        memcpy(bytes, text, length);
    cJSON_free(text);
    return fits ? length : LLVMFuzzerMutate(bytes, size, max_size);
}
