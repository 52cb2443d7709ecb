/* refusion tokenize: text to ids and back. Touches no Vulkan. */
#include "apps/refusion/input.h"
#include "apps/refusion/json_out.h"
#include "apps/refusion/program.h"
#include "loader/json.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void print_ids(const struct ids *ids)
{
    for (size_t i = 0; i < ids->count; i++)
        printf("%s%" PRIu32, i ? "," : "", ids->items[i]);
    putchar('\n');
}

static enum rf_status check_options(const struct settings *s, struct rf_error *err)
{
    if (s->decode_ids && s->text) {
        return rf_fail(err, RF_ERROR_ARGUMENT, "--decode: found it beside TEXT \"%s\", wanted one of them",
                       s->text);
    }
    if (s->decode_ids && s->special) {
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--decode: found it beside --special, wanted one of them; special tokens are"
                       " always written out");
    }
    if (s->jsonl && (s->text || s->decode_ids || s->json)) {
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--jsonl: found it beside %s, wanted standard input and JSON lines only",
                       s->text         ? "TEXT"
                       : s->decode_ids ? "--decode"
                                       : "--json");
    }
    return RF_OK;
}

/* {"ids": [...], "text": what they stand for}. */
static enum rf_status print_pair(const rf_tokenizer *tokenizer, const struct ids *ids, struct rf_error *err)
{
    char *text;
    size_t length;
    enum rf_status status =
        rf_tokenizer_decode(tokenizer, ids->items, ids->count, false, &text, &length, err);
    if (status)
        return status;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "ids", json_ids(ids->items, ids->count));
    cJSON_AddStringToObject(object, "text", text);
    rf_free(text);
    return json_print(object, false, err);
}

static enum rf_status encode_text(const struct settings *settings, const rf_tokenizer *tokenizer,
                                  struct rf_error *err)
{
    struct text input = {0};
    const char *text = settings->text;
    size_t length = text ? strlen(text) : 0;
    if (!text) {
        stdin_announce_wait("the text");
        enum rf_status status = read_stream(&input, stdin, "standard input", err);
        if (status)
            return status;
        text = input.bytes;
        length = input.length;
    }
    struct ids ids = {0};
    enum rf_status status =
        rf_tokenizer_encode(tokenizer, text, length, settings->special, &ids.items, &ids.count, err);
    free(input.bytes);
    if (status)
        return status;
    if (settings->json)
        status = print_pair(tokenizer, &ids, err);
    else
        print_ids(&ids);
    rf_free(ids.items);
    return status;
}

static enum rf_status decode_ids(const struct settings *settings, const rf_tokenizer *tokenizer,
                                 struct rf_error *err)
{
    struct ids ids;
    enum rf_status status = read_ids(&ids, "--decode", settings->decode_ids, err);
    if (status)
        return status;
    if (settings->json) {
        status = print_pair(tokenizer, &ids, err);
    } else {
        char *text;
        size_t length;
        status = rf_tokenizer_decode(tokenizer, ids.items, ids.count, false, &text, &length, err);
        if (!status) {
            fwrite(text, 1, length, stdout);
            putchar('\n');
            rf_free(text);
        }
    }
    rf_free(ids.items);
    return status;
}

/* ---- JSON lines ---------------------------------------------------------------------------------------- */

enum { MAX_LINE_VALUES = 1 << 16 };

static enum rf_status read_messages(struct rf_message **out, size_t *count, const cJSON *array,
                                    const char *file, struct rf_error *err)
{
    if (!cJSON_IsArray(array) || !array->child) {
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: messages: found %s, wanted an array of at least one message", file,
                       rf_json_describe(array).text);
    }
    size_t total = (size_t)cJSON_GetArraySize(array);
    struct rf_message *messages = calloc(total, sizeof *messages);
    if (!messages)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for %zu messages", file, total);
    size_t i = 0;
    for (const cJSON *item = array->child; item; item = item->next, i++) {
        char path[48];
        snprintf(path, sizeof path, "messages[%zu].", i);
        struct rf_json_at at = {item, file, path};
        enum rf_status status = RF_OK;
        if (!cJSON_IsObject(item)) {
            status = rf_fail(err, RF_ERROR_FORMAT, "%s: messages[%zu]: found %s, wanted an object", file, i,
                             rf_json_describe(item).text);
        }
        if (!status)
            status = rf_json_string(at, "role", &messages[i].role, err);
        if (!status)
            status = rf_json_string(at, "content", &messages[i].content, err);
        if (!status && (!messages[i].role || !messages[i].content)) {
            status = rf_fail(err, RF_ERROR_FORMAT, "%s: messages[%zu].%s: found nothing, wanted text", file,
                             i, messages[i].role ? "content" : "role");
        }
        if (status) {
            free(messages);
            return status;
        }
    }
    *out = messages;
    *count = total;
    return RF_OK;
}

static enum rf_status check_members(const cJSON *object, const char *file, bool is_chat, struct rf_error *err)
{
    static const char *const text_members[] = {"text", NULL};
    static const char *const chat_members[] = {"messages", "enable_thinking", "add_generation_prompt", NULL};
    const char *const *known = is_chat ? chat_members : text_members;
    for (const cJSON *item = object->child; item; item = item->next) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], item->string) != 0)
            i++;
        if (!known[i]) {
            return rf_fail(err, RF_ERROR_FORMAT, "%s: found the member \"%s\", wanted %s", file,
                           rf_json_printable(item->string).text,
                           is_chat ? "messages, enable_thinking, add_generation_prompt" : "text");
        }
    }
    return RF_OK;
}

static enum rf_status encode_chat(struct ids *ids, const rf_tokenizer *tokenizer, struct rf_json_at at,
                                  struct rf_error *err)
{
    bool thinking, generation_prompt;
    enum rf_status status = rf_json_bool(at, "enable_thinking", true, &thinking, err);
    if (!status)
        status = rf_json_bool(at, "add_generation_prompt", true, &generation_prompt, err);
    if (status)
        return status;
    struct rf_message *messages = NULL;
    size_t count = 0;
    status = read_messages(&messages, &count, rf_json_member(at, "messages"), at.file, err);
    if (status)
        return status;
    status = rf_tokenizer_chat(tokenizer, messages, count, thinking, generation_prompt, &ids->items,
                               &ids->count, err);
    free(messages);
    return status;
}

static enum rf_status encode_line(const struct settings *settings, const rf_tokenizer *tokenizer,
                                  const char *name, const char *line, size_t length, struct rf_error *err)
{
    cJSON *object;
    enum rf_status status = rf_json_parse(&object, name, line, length, MAX_LINE_VALUES, err);
    if (status)
        return status;
    struct rf_json_at at = {object, name, ""};
    struct ids ids = {0};
    const char *text = NULL;
    bool is_chat = cJSON_IsObject(object) && rf_json_member(at, "messages");
    if (!cJSON_IsObject(object)) {
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: found %s, wanted an object", name,
                         rf_json_describe(object).text);
    }
    if (!status)
        status = check_members(object, name, is_chat, err);
    if (!status && is_chat) {
        status = encode_chat(&ids, tokenizer, at, err);
    } else if (!status) {
        status = rf_json_string(at, "text", &text, err);
        if (!status && !text) {
            status = rf_fail(err, RF_ERROR_FORMAT, "%s: found neither text nor messages, wanted one of them",
                             name);
        }
        if (!status) {
            status = rf_tokenizer_encode(tokenizer, text, strlen(text), settings->special, &ids.items,
                                         &ids.count, err);
        }
        if (status == RF_ERROR_ARGUMENT)
            rf_fail_within(err, status, "%s", name);
    }
    cJSON_Delete(object);
    if (!status)
        status = print_pair(tokenizer, &ids, err);
    rf_free(ids.items);
    return status;
}

static enum rf_status encode_lines(const struct settings *settings, const rf_tokenizer *tokenizer,
                                   struct rf_error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    enum rf_status status = RF_OK;
    stdin_announce_wait("JSON lines");
    for (unsigned long number = 1; !status && (length = getline(&line, &room, stdin)) >= 0; number++) {
        size_t used = (size_t)length;
        while (used && (line[used - 1] == '\n' || line[used - 1] == '\r'))
            used--;
        if (used == 0)
            continue;
        char name[64];
        snprintf(name, sizeof name, "standard input line %lu", number);
        status = encode_line(settings, tokenizer, name, line, used, err);
    }
    free(line);
    return status;
}

int command_tokenize(const struct settings *settings)
{
    struct rf_error err = {0};
    char folder[PATH_MAX];
    rf_tokenizer *tokenizer = NULL;
    enum rf_status status = check_options(settings, &err);
    const char *model;
    if (!status)
        status = find_model(&model, settings, folder, sizeof folder, &err);
    if (!status)
        status = rf_tokenizer_load(&tokenizer, model, NULL, &err);
    if (status)
        return complain_error(&err);
    if (settings->jsonl)
        status = encode_lines(settings, tokenizer, &err);
    else if (settings->decode_ids)
        status = decode_ids(settings, tokenizer, &err);
    else
        status = encode_text(settings, tokenizer, &err);
    rf_tokenizer_destroy(tokenizer);
    return status ? complain_error(&err) : STATUS_OK;
}
