/* The tokenizer of a GGUF file: byte-level BPE as llama.cpp's converters write it for Qwen models. What
 * comes out is what tokenizer.json gives: normal tokens are the vocabulary, control and user-defined ones
 * are added tokens. */
#include <inttypes.h>
#include <string.h>

#include "engine/allocate.h"
#include "loader/gguf_config.h"
#include "loader/tokenizer_internal.h"
#include "loader/utf8.h"

/* tokenizer.ggml.token_type; the others that exist belong to other kinds of tokenizer. */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_UNUSED = 5 };

static const char tokens_key[] = "tokenizer.ggml.tokens";
static const char types_key[] = "tokenizer.ggml.token_type";
static const char merges_key[] = "tokenizer.ggml.merges";

struct source {
    const struct rf_gguf *gguf;
    const struct rf_gguf_value *tokens, *types, *merges;
    struct rf_written_token *written; /* normal tokens */
    size_t written_count;
    char **added_texts; /* NUL-terminated copies of what rf_loading_add points at */
    size_t added_count;
    struct rf_tokenizer_loading *loading;
};

static enum rf_status no_memory(const struct source *s)
{
    return rf_fail(s->loading->err, RF_ERROR_HOST_MEMORY, "%s: out of memory for the tokenizer",
                   s->gguf->file);
}

/* ---- What kind of tokenizer it is ---------------------------------------------------------------------- */

static enum rf_status expect_text(const struct source *s, const char *key, const char *wanted)
{
    struct rf_gguf_string text;
    enum rf_status status = rf_gguf_text(s->gguf, key, &text, s->loading->err);
    if (status || rf_gguf_equals(text, wanted))
        return status;
    return rf_fail(s->loading->err, RF_ERROR_UNSUPPORTED, "%s: metadata \"%s\": is %s, wanted \"%s\"",
                   s->gguf->file, key, rf_gguf_describe(rf_gguf_find(s->gguf, key)).text, wanted);
}

static enum rf_status needed_array(const struct source *s, const char *key, enum rf_gguf_type type,
                                   const struct rf_gguf_value **out)
{
    enum rf_status status = rf_gguf_array(s->gguf, key, type, out, s->loading->err);
    if (status || *out)
        return status;
    return rf_fail(s->loading->err, RF_ERROR_FORMAT, "%s: metadata \"%s\": is nothing, wanted an array",
                   s->gguf->file, key);
}

/* Settings that change ids and that we do not implement must be off. */
static enum rf_status check_kind(struct source *s)
{
    static const char *const off[] = {"tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
                                      "tokenizer.ggml.add_space_prefix"};
    enum rf_status status = expect_text(s, "tokenizer.ggml.model", "gpt2");
    if (!status)
        status = expect_text(s, "tokenizer.ggml.pre", "qwen2");
    for (size_t i = 0; i < sizeof off / sizeof off[0] && !status; i++) {
        bool set;
        status = rf_gguf_bool(s->gguf, off[i], false, &set, s->loading->err);
        if (!status && set)
            status = rf_fail(s->loading->err, RF_ERROR_UNSUPPORTED,
                             "%s: metadata \"%s\": is true, wanted false", s->gguf->file, off[i]);
    }
    if (!status)
        status = needed_array(s, tokens_key, RF_GGUF_STRING, &s->tokens);
    if (!status)
        status = needed_array(s, types_key, RF_GGUF_I32, &s->types);
    if (!status)
        status = needed_array(s, merges_key, RF_GGUF_STRING, &s->merges);
    if (!status && s->tokens->count != s->types->count)
        status =
            rf_fail(s->loading->err, RF_ERROR_FORMAT,
                    "%s: metadata \"%s\": has %" PRIu64 " items, wanted one for each of %" PRIu64 " tokens",
                    s->gguf->file, types_key, s->types->count, s->tokens->count);
    return status;
}

/* ---- Tokens -------------------------------------------------------------------------------------------- */

static enum rf_status take_added(struct source *s, uint32_t id, struct rf_gguf_string text, bool special)
{
    char quoted[RF_QUOTE_SIZE];
    if (text.length == 0 || memchr(text.text, '\0', text.length))
        return rf_fail(s->loading->err, RF_ERROR_FORMAT,
                       "%s: metadata \"%s\": token %" PRIu32 " is %s, wanted a text", s->gguf->file,
                       tokens_key, id, rf_quote(quoted, text.text, text.length));
    char *copy = rf_strndup(text.text, text.length);
    if (!copy)
        return no_memory(s);
    s->added_texts[s->added_count++] = copy;
    return rf_loading_add(s->loading, (struct rf_added_token){copy, id, special, false, s->gguf->file});
}

static enum rf_status take_token(struct source *s, uint32_t id, struct rf_gguf_string text)
{
    int32_t type = rf_gguf_item_i32(s->types, id);
    char quoted[RF_QUOTE_SIZE];
    size_t valid = rf_utf8_valid(text.text, text.length);
    if (valid < text.length)
        return rf_fail(s->loading->err, RF_ERROR_FORMAT,
                       "%s: metadata \"%s\": token %" PRIu32 ", %s, is no UTF-8", s->gguf->file, tokens_key,
                       id, rf_quote(quoted, text.text, text.length));
    switch (type) {
    case TYPE_NORMAL:
        s->written[s->written_count++] = (struct rf_written_token){text.text, text.length, id};
        return RF_OK;
    case TYPE_CONTROL:
    case TYPE_USER_DEFINED:
        return take_added(s, id, text, type == TYPE_CONTROL);
    case TYPE_UNUSED: /* fills up to the rows of the embedding */
        return RF_OK;
    default:
        return rf_fail(s->loading->err, RF_ERROR_UNSUPPORTED,
                       "%s: metadata \"%s\": token %" PRIu32 ", %s, has type %" PRId32
                       ", wanted 1 (normal), 3 (control), 4 (user defined) or 5 (unused)",
                       s->gguf->file, types_key, id, rf_quote(quoted, text.text, text.length), type);
    }
}

static enum rf_status take_tokens(struct source *s)
{
    if (s->tokens->count >= UINT32_MAX / 2)
        return rf_fail(s->loading->err, RF_ERROR_FORMAT,
                       "%s: metadata \"%s\": has %" PRIu64 " items, wanted fewer", s->gguf->file, tokens_key,
                       s->tokens->count);
    uint32_t count = (uint32_t)s->tokens->count;
    s->written = rf_calloc((size_t)count + 1, sizeof *s->written);
    s->added_texts = rf_calloc((size_t)count + 1, sizeof *s->added_texts);
    if (!s->written || !s->added_texts)
        return no_memory(s);
    const unsigned char *at = s->tokens->data;
    enum rf_status status = RF_OK;
    for (uint32_t id = 0; id < count && !status; id++)
        status = take_token(s, id, rf_gguf_next_string(&at));
    return status;
}

/* eos or mask: must be an added token, and then no plain text may produce it. */
static enum rf_status take_role(struct source *s, const char *role, const char *key, uint32_t id,
                                uint32_t *out)
{
    struct rf_tokenizer_loading *loading = s->loading;
    if (id == RF_TOKENIZER_NONE)
        return RF_OK;
    *out = id;
    for (size_t i = 0; i < loading->added_count; i++)
        if (loading->added[i].id == id) {
            loading->added[i].protect = true;
            return RF_OK;
        }
    return rf_fail(loading->err, RF_ERROR_FORMAT,
                   "%s: the %s token (metadata \"tokenizer.ggml.%s\") is %" PRIu32
                   ", which is no control or user defined token",
                   s->gguf->file, role, key, id);
}

static enum rf_status take_roles(struct source *s)
{
    uint32_t eos, mask;
    rf_tokenizer *tokenizer = s->loading->tokenizer;
    enum rf_status status =
        rf_gguf_token_id(s->gguf, "tokenizer.ggml.eos_token_id", s->tokens->count, &eos, s->loading->err);
    if (!status)
        status = rf_gguf_mask_token(s->gguf, s->tokens->count, &mask, s->loading->err);
    if (!status)
        status = take_role(s, "end", "eos_token_id", eos, &tokenizer->eos);
    if (!status)
        status = take_role(s, "mask", "mask_token_id", mask, &tokenizer->mask);
    return status;
}

/* ---- Merges and template ------------------------------------------------------------------------------- */

static enum rf_status take_merges(struct source *s)
{
    struct rf_tokenizer_loading *loading = s->loading;
    if (s->merges->count >= UINT32_MAX / 2 ||
        !rf_merges_create(&loading->tokenizer->merges, s->merges->count))
        return no_memory(s);
    const unsigned char *at = s->merges->data;
    enum rf_status status = RF_OK;
    for (uint32_t i = 0; i < s->merges->count && !status; i++) {
        struct rf_gguf_string text = rf_gguf_next_string(&at);
        const char *space = memchr(text.text, ' ', text.length);
        size_t left = space ? (size_t)(space - text.text) : 0, right = space ? text.length - left - 1 : 0;
        char quoted[RF_QUOTE_SIZE];
        if (left == 0 || right == 0 || memchr(space + 1, ' ', right))
            return rf_fail(loading->err, RF_ERROR_FORMAT,
                           "%s: metadata \"%s\": item %" PRIu32
                           " is %s, wanted two tokens with one space between",
                           s->gguf->file, merges_key, i, rf_quote(quoted, text.text, text.length));
        struct rf_merge_place place = {s->gguf->file, "tokenizer.ggml.merges", i};
        status = rf_vocabulary_merge(&loading->vocabulary, place, i, text.text, left, space + 1, right,
                                     loading->err);
    }
    return status;
}

static enum rf_status take_template(struct source *s)
{
    struct rf_gguf_string text;
    enum rf_status status = rf_gguf_text(s->gguf, "tokenizer.chat_template", &text, s->loading->err);
    if (!status && text.text)
        status = rf_loading_template(s->loading, text.text, text.length);
    return status;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

static enum rf_status load(struct source *s)
{
    struct rf_tokenizer_loading *loading = s->loading;
    enum rf_status status = check_kind(s);
    if (!status)
        status = take_tokens(s);
    if (!status)
        status = take_roles(s);
    if (!status)
        status = take_template(s);
    if (!status)
        status =
            rf_vocabulary_build(&loading->vocabulary, s->gguf->file, "tokenizer.ggml.tokens: ", s->written,
                                s->written_count, loading->added, loading->added_count, loading->err);
    if (!status)
        status = take_merges(s);
    return status ? status : rf_loading_qwen_split(loading);
}

enum rf_status rf_tokenizer_from_gguf(rf_tokenizer **out, const struct rf_gguf *gguf, struct rf_error *err)
{
    *out = NULL;
    struct rf_tokenizer_loading loading;
    enum rf_status status = rf_loading_begin(&loading, gguf->file, err);
    struct source source = {.gguf = gguf, .loading = &loading};
    if (!status)
        status = load(&source);
    rf_free(source.written);
    for (size_t i = 0; i < source.added_count; i++)
        rf_free(source.added_texts[i]);
    rf_free(source.added_texts);
    return rf_loading_end(&loading, status, out);
}
