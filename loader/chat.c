#include "loader/chat.h"

#include "engine/allocate.h"
#include "loader/tokenizer_internal.h"
#include "loader/utf8.h"

/* ---- Recognising the template -------------------------------------------------------------------------- */

/* A Jinja template is taken for Qwen3's when it says nothing that Qwen3's does not (every string in it is one
 * of these), and holds the statements that decide what plain conversations look like. Releases of Qwen3
 * differ in how they test for content that is no string, or for tools; that may vary. A default system
 * prompt, another thinking rule or another role name brings a string or a statement of its own, and is not
 * recognised. */
static const char *const known_strings[] = {
    "<|im_start|>system\\n",
    "system",
    "\\n\\n",
    "# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided "
    "with function "
    "signatures within <tools></tools> XML tags:\\n<tools>",
    "\\n",
    "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\\"name\\\": <function-name>, \\\"arguments\\\": "
    "<args-json-object>}\\n</tool_call><|im_end|>\\n",
    "<|im_end|>\\n",
    "user",
    "<tool_response>",
    "</tool_response>",
    "<|im_start|>",
    "<|im_end|>",
    "assistant",
    "",
    "</think>",
    "<think>",
    "\\n<think>\\n",
    "\\n</think>\\n\\n",
    "<tool_call>\\n{\"name\": \"",
    "\", \"arguments\": ",
    "}\\n</tool_call>",
    "tool",
    "<|im_start|>user",
    "\\n<tool_response>\\n",
    "\\n</tool_response>",
    "<|im_start|>assistant\\n",
    "<think>\\n\\n</think>\\n\\n",
};

static const char *const wanted_statements[] = {
    "if messages[0].role == 'system'",
    "'<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n'",
    "set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1)",
    "for message in messages[::-1]",
    "set ns.last_query_index = index",
    "for message in messages",
    "if (message.role == \"user\") or (message.role == \"system\" and not loop.first)",
    "elif message.role == \"assistant\"",
    "if loop.index0 > ns.last_query_index",
    "if loop.last or (not loop.last and reasoning_content)",
    "'<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' "
    "+ "
    "content.lstrip('\\n')",
    "'<|im_start|>' + message.role + '\\n' + content",
    "'<|im_end|>\\n'",
    "if add_generation_prompt",
    "'<|im_start|>assistant\\n'",
    "if enable_thinking is defined and enable_thinking is false",
    "'<think>\\n\\n</think>\\n\\n'",
};
enum { WANTED = sizeof wanted_statements / sizeof *wanted_statements };

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool strings_known(const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        char quote = text[at];
        if (quote != '\'' && quote != '"')
            continue;
        size_t start = ++at;
        while (at < length && text[at] != quote)
            at += text[at] == '\\' ? 2 : 1;
        if (at >= length)
            return false;
        size_t i = 0, count = sizeof known_strings / sizeof *known_strings;
        while (i < count && (strlen(known_strings[i]) != at - start ||
                             memcmp(known_strings[i], text + start, at - start) != 0))
            i++;
        if (i == count)
            return false;
    }
    return true;
}

/* The end of a tag's inside: the first %} or }} outside of quotes; `length` when there is none, or a { before
 * it. */
static size_t tag_end(const char *text, size_t at, size_t length, char closer)
{
    char quote = 0;
    for (; at + 1 < length; at++) {
        if (quote && text[at] == '\\')
            at++;
        else if (quote)
            quote = text[at] == quote ? 0 : quote;
        else if (text[at] == '\'' || text[at] == '"')
            quote = text[at];
        else if (text[at] == closer && text[at + 1] == '}')
            return at;
        else if (text[at] == '{')
            return length;
    }
    return length;
}

enum rf_chat_template rf_chat_recognise(const char *text, size_t length)
{
    bool seen[WANTED] = {false};
    while (length > 0 && text[length - 1] == '\n')
        length--;
    size_t at = 0;
    while (at < length) {
        if (is_space(text[at])) { /* eaten by the '-' of the next tag, which every tag must have */
            at++;
            continue;
        }
        bool tag = length - at > 4 && text[at] == '{' && (text[at + 1] == '%' || text[at + 1] == '{');
        if (!tag || text[at + 2] != '-')
            return RF_CHAT_UNKNOWN;
        size_t start = at + 3, end = tag_end(text, start, length, text[at + 1] == '%' ? '%' : '}');
        if (end == length || !strings_known(text + start, end - start))
            return RF_CHAT_UNKNOWN;
        at = end + 2;
        while (start < end && is_space(text[start]))
            start++;
        while (end > start && (is_space(text[end - 1]) || text[end - 1] == '-'))
            end--;
        for (size_t i = 0; i < WANTED; i++)
            if (strlen(wanted_statements[i]) == end - start &&
                !memcmp(wanted_statements[i], text + start, end - start))
                seen[i] = true;
    }
    if (length == 0 || is_space(text[length - 1]))
        return RF_CHAT_UNKNOWN;
    for (size_t i = 0; i < WANTED; i++)
        if (!seen[i])
            return RF_CHAT_UNKNOWN;
    return RF_CHAT_QWEN3;
}

/* ---- Rendering ----------------------------------------------------------------------------------------- */

struct span {
    const char *text;
    size_t length;
};

static struct span whole(const char *text)
{
    return (struct span){text, strlen(text)};
}

static bool put(struct rf_chat *chat, struct span span, bool control)
{
    struct rf_chat_piece *last = chat->count ? &chat->pieces[chat->count - 1] : NULL;
    if (span.length == 0)
        return true;
    if (last && !last->control && !control) {
        last->length += span.length;
        return rf_bytes_append(&chat->text, span.text, span.length);
    }
    if (chat->count == chat->capacity) {
        size_t capacity = chat->capacity * 2 + 16;
        struct rf_chat_piece *pieces = rf_realloc(chat->pieces, capacity * sizeof *pieces);
        if (!pieces)
            return false;
        chat->pieces = pieces;
        chat->capacity = capacity;
    }
    chat->pieces[chat->count++] = (struct rf_chat_piece){chat->text.length, span.length, control};
    return rf_bytes_append(&chat->text, span.text, span.length);
}

static bool put_text(struct rf_chat *chat, const char *text)
{
    return put(chat, whole(text), false);
}

static bool put_control(struct rf_chat *chat, const char *text)
{
    return put(chat, whole(text), true);
}

static struct span strip_left(struct span span)
{
    while (span.length > 0 && span.text[0] == '\n') {
        span.text++;
        span.length--;
    }
    return span;
}

static struct span strip_right(struct span span)
{
    while (span.length > 0 && span.text[span.length - 1] == '\n')
        span.length--;
    return span;
}

/* The part behind the last `mark`, or everything. */
static struct span after_last(struct span span, const char *mark)
{
    size_t size = strlen(mark);
    for (size_t at = span.length >= size ? span.length - size + 1 : 0; at-- > 0;)
        if (!memcmp(span.text + at, mark, size))
            return (struct span){span.text + at + size, span.length - at - size};
    return span;
}

static bool starts_and_ends(const char *text, const char *start, const char *end)
{
    size_t length = strlen(text), first = strlen(start), last = strlen(end);
    return length >= first && length >= last && !memcmp(text, start, first) &&
           !memcmp(text + length - last, end, last);
}

/* The last message that is a question of the user; tool answers come in the user's name but are none. */
static size_t last_query(const struct rf_message *messages, size_t count)
{
    for (size_t i = count; i-- > 0;)
        if (!strcmp(messages[i].role, "user") &&
            !starts_and_ends(messages[i].content, "<tool_response>", "</tool_response>"))
            return i;
    return count - 1;
}

/* Reasoning is kept only in answers to the last question, where the last message always gets a think
 * block. */
static bool put_assistant(struct rf_chat *chat, const char *text, bool after_query, bool last)
{
    struct span content = whole(text), reasoning = {text, 0};
    const char *end = strstr(text, "</think>");
    if (end) {
        reasoning = (struct span){text, (size_t)(end - text)};
        reasoning = strip_left(after_last(strip_right(reasoning), "<think>"));
        content = strip_left(after_last(content, "</think>"));
    }
    bool ok = put_control(chat, "<|im_start|>") && put_text(chat, "assistant\n");
    if (after_query && (last || reasoning.length > 0)) {
        ok = ok && put_control(chat, "<think>") && put_text(chat, "\n");
        ok = ok && put(chat, strip_right(strip_left(reasoning)), false) && put_text(chat, "\n");
        ok = ok && put_control(chat, "</think>") && put_text(chat, "\n\n");
        content = strip_left(content);
    }
    return ok && put(chat, content, false) && put_control(chat, "<|im_end|>") && put_text(chat, "\n");
}

static bool put_message(struct rf_chat *chat, const struct rf_message *message)
{
    return put_control(chat, "<|im_start|>") && put_text(chat, message->role) && put_text(chat, "\n") &&
           put_text(chat, message->content) && put_control(chat, "<|im_end|>") && put_text(chat, "\n");
}

static enum rf_status check_messages(const struct rf_message *messages, size_t count, struct rf_error *err)
{
    if (count == 0 || !messages)
        return rf_fail(err, RF_ERROR_ARGUMENT, "messages: none, wanted at least one");
    for (size_t i = 0; i < count; i++) {
        const char *role = messages[i].role, *content = messages[i].content;
        char quoted[RF_QUOTE_SIZE];
        if (!role || !content)
            return rf_fail(err, RF_ERROR_ARGUMENT, "messages[%zu]: %s is NULL", i, role ? "content" : "role");
        if (!strcmp(role, "tool"))
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "messages[%zu]: role is \"tool\"; tools are not supported", i);
        if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "messages[%zu]: role is %s, wanted system, user or assistant", i,
                           rf_quote(quoted, role, strlen(role)));
        size_t length = strlen(content), valid = rf_utf8_valid(content, length);
        if (valid < length)
            return rf_fail(err, RF_ERROR_ARGUMENT, "messages[%zu]: content has invalid UTF-8 at byte %zu", i,
                           valid);
    }
    return RF_OK;
}

enum rf_status rf_chat_render(struct rf_chat *chat, const struct rf_message *messages, size_t count,
                              bool thinking, bool generation_prompt, struct rf_error *err)
{
    *chat = (struct rf_chat){0};
    enum rf_status status = check_messages(messages, count, err);
    if (status)
        return status;
    size_t query = last_query(messages, count);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++)
        ok = !strcmp(messages[i].role, "assistant")
                 ? put_assistant(chat, messages[i].content, i > query, i + 1 == count)
                 : put_message(chat, &messages[i]);
    if (generation_prompt)
        ok = ok && put_control(chat, "<|im_start|>") && put_text(chat, "assistant\n");
    if (generation_prompt && !thinking)
        ok = ok && put_control(chat, "<think>") && put_text(chat, "\n\n") && put_control(chat, "</think>") &&
             put_text(chat, "\n\n");
    if (ok && rf_bytes_terminate(&chat->text))
        return RF_OK;
    rf_chat_free(chat);
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "chat: out of memory");
}

void rf_chat_free(struct rf_chat *chat)
{
    rf_free(chat->text.data);
    rf_free(chat->pieces);
    *chat = (struct rf_chat){0};
}

/* ---- To ids -------------------------------------------------------------------------------------------- */

static enum rf_status check_template(const rf_tokenizer *tokenizer, struct rf_error *err)
{
    static const char *const needed[] = {"<|im_start|>", "<|im_end|>"};
    if (tokenizer->chat_template != RF_CHAT_QWEN3)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: the chat template is %s; only Qwen3's is supported: write the "
                       "prompt out yourself (rf_session_begin, --raw)",
                       tokenizer->folder,
                       tokenizer->chat_template == RF_CHAT_NONE ? "missing" : "not one that is known");
    for (size_t i = 0; i < 2; i++)
        if (rf_tokenizer_added(tokenizer, needed[i]) == RF_TOKENIZER_NONE)
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: the chat template needs the added token %s, which is missing",
                           tokenizer->folder, needed[i]);
    return RF_OK;
}

/* The control token that a piece stands for, or RF_TOKENIZER_NONE: without added tokens for <think> it is
 * text. */
static uint32_t control_token(const rf_tokenizer *tokenizer, const struct rf_chat *chat,
                              const struct rf_chat_piece *piece)
{
    char content[32];
    if (!piece->control || piece->length >= sizeof content)
        return RF_TOKENIZER_NONE;
    memcpy(content, chat->text.data + piece->offset, piece->length);
    content[piece->length] = '\0';
    return rf_tokenizer_added(tokenizer, content);
}

static enum rf_status encode_pieces(struct rf_encoder *encoder, const struct rf_chat *chat,
                                    struct rf_error *err)
{
    size_t start = 0; /* of the text that waits to be encoded as one run */
    for (size_t i = 0; i < chat->count; i++) {
        const struct rf_chat_piece *piece = &chat->pieces[i];
        uint32_t id = control_token(encoder->tokenizer, chat, piece);
        if (id == RF_TOKENIZER_NONE)
            continue;
        enum rf_status status =
            rf_encoder_plain(encoder, chat->text.data + start, piece->offset - start, err);
        if (status)
            return status;
        if (!rf_ids_append(&encoder->ids, id))
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "chat: out of memory");
        start = piece->offset + piece->length;
    }
    return rf_encoder_plain(encoder, chat->text.data + start, chat->text.length - start, err);
}

enum rf_status rf_tokenizer_chat(const rf_tokenizer *tokenizer, const struct rf_message *messages,
                                 size_t count, bool thinking, bool generation_prompt, uint32_t **tokens,
                                 size_t *token_count, struct rf_error *err)
{
    *tokens = NULL;
    *token_count = 0;
    RF_ALLOCATE_FROM(tokenizer->allocator);
    struct rf_chat chat;
    enum rf_status status = check_template(tokenizer, err);
    if (!status)
        status = rf_chat_render(&chat, messages, count, thinking, generation_prompt, err);
    if (status)
        return status;
    struct rf_encoder encoder = {.tokenizer = tokenizer};
    status = encode_pieces(&encoder, &chat, err);
    rf_chat_free(&chat);
    return rf_encoder_finish(&encoder, status, tokens, token_count, err);
}
