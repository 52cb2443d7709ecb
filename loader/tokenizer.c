/* The public face: text to ids and back, and what is asked about single tokens. */
#include "engine/allocate.h"
#include "loader/tokenizer_internal.h"
#include "loader/utf8.h"

#define MAX_TEXT ((size_t)1 << 30) /* bytes; keeps every index in 32 bits */

static enum rf_status no_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "tokenizer: out of memory");
}

void rf_tokenizer_destroy(rf_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    rf_free(tokenizer->tokens);
    rf_free(tokenizer->bytes.data);
    rf_merges_free(&tokenizer->merges);
    rf_splitter_destroy(tokenizer->splitter);
    rf_free(tokenizer->added);
    rf_free(tokenizer->template_text);
    rf_free(tokenizer->folder);
    rf_free(tokenizer);
}

/* ---- Single tokens ------------------------------------------------------------------------------------- */

static const struct rf_token *find_token(const rf_tokenizer *tokenizer, uint32_t id)
{
    if (id >= tokenizer->vocab || !tokenizer->tokens[id].flags)
        return NULL;
    return &tokenizer->tokens[id];
}

uint32_t rf_tokenizer_vocab(const rf_tokenizer *tokenizer)
{
    return tokenizer->vocab;
}

enum rf_status rf_tokenizer_check_vocab(const rf_tokenizer *tokenizer, uint32_t config_vocab,
                                        struct rf_error *err)
{
    if (tokenizer->vocab <= config_vocab)
        return RF_OK;
    const struct rf_token *last = &tokenizer->tokens[tokenizer->vocab - 1];
    char quoted[RF_QUOTE_SIZE];
    return rf_fail(err, RF_ERROR_FORMAT,
                   "%s: the tokenizer's token %s has id %u, but the embedding has %u rows (vocab_size), "
                   "wanted every id below that",
                   tokenizer->folder, rf_quote(quoted, tokenizer->bytes.data + last->offset, last->length),
                   tokenizer->vocab - 1, config_vocab);
}

uint32_t rf_tokenizer_added(const rf_tokenizer *tokenizer, const char *content)
{
    unsigned char first = (unsigned char)content[0];
    size_t length = strlen(content);
    for (uint32_t i = tokenizer->added_start[first]; i < tokenizer->added_start[first + 1]; i++) {
        const struct rf_added_text *added = &tokenizer->added[i];
        if (added->length == length && !memcmp(added->text, content, length))
            return added->id;
    }
    return RF_TOKENIZER_NONE;
}

const char *rf_tokenizer_token_bytes(const rf_tokenizer *tokenizer, uint32_t id, size_t *length)
{
    const struct rf_token *token = find_token(tokenizer, id);
    *length = token ? token->length : 0;
    return token ? tokenizer->bytes.data + token->offset : NULL;
}

bool rf_tokenizer_is_special(const rf_tokenizer *tokenizer, uint32_t id)
{
    const struct rf_token *token = find_token(tokenizer, id);
    return token && (token->flags & RF_TOKEN_SPECIAL);
}

uint32_t rf_tokenizer_eos(const rf_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

uint32_t rf_tokenizer_mask(const rf_tokenizer *tokenizer)
{
    return tokenizer->mask;
}

enum rf_chat_template rf_tokenizer_template(const rf_tokenizer *tokenizer)
{
    return tokenizer->chat_template;
}

/* ---- Text to ids --------------------------------------------------------------------------------------- */

static bool needs_nfc(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0xCC)
            return true; /* U+0300 and above: see rf_nfc */
    return false;
}

enum rf_status rf_encoder_plain(struct rf_encoder *encoder, const char *text, size_t length,
                                struct rf_error *err)
{
    const rf_tokenizer *tokenizer = encoder->tokenizer;
    if (needs_nfc(text, length)) {
        encoder->normal.length = 0;
        if (!rf_nfc(text, length, &encoder->normal))
            return no_memory(err);
        text = encoder->normal.data;
        length = encoder->normal.length;
    }
    enum rf_status status = rf_split_begin(&encoder->split, tokenizer->splitter, text, length, err);
    while (!status) {
        size_t start, end;
        status = rf_split_next(&encoder->split, &start, &end, err);
        if (status || start == end)
            break;
        if (!rf_bpe_word(&tokenizer->merges, tokenizer->byte_tokens, text + start, end - start,
                         &encoder->scratch, &encoder->ids))
            status = no_memory(err);
    }
    return status;
}

void rf_encoder_free(struct rf_encoder *encoder)
{
    rf_bpe_scratch_free(&encoder->scratch);
    rf_split_free(&encoder->split);
    rf_free(encoder->normal.data);
    encoder->normal = (struct rf_bytes){0};
}

enum rf_status rf_encoder_finish(struct rf_encoder *encoder, enum rf_status status, uint32_t **tokens,
                                 size_t *count, struct rf_error *err)
{
    struct rf_ids *ids = &encoder->ids;
    rf_encoder_free(encoder);
    if (!status && !ids->data && !(ids->data = rf_malloc(sizeof *ids->data)))
        status = no_memory(err); /* never NULL */
    if (status) {
        rf_free(ids->data);
        return status;
    }
    *tokens = ids->data;
    *count = ids->length;
    return RF_OK;
}

/* The longest added token that starts at text, or NULL. */
static const struct rf_added_text *added_at(const rf_tokenizer *tokenizer, const char *text, size_t length)
{
    unsigned char first = (unsigned char)text[0];
    for (uint32_t i = tokenizer->added_start[first]; i < tokenizer->added_start[first + 1]; i++) {
        const struct rf_added_text *added = &tokenizer->added[i];
        if (added->length <= length && !memcmp(added->text, text, added->length))
            return added;
    }
    return NULL;
}

/* Cuts the leftmost, longest added tokens out of the text; what lies between is encoded on its own. */
static enum rf_status encode_special(struct rf_encoder *encoder, const char *text, size_t length,
                                     struct rf_error *err)
{
    enum rf_status status = RF_OK;
    size_t start = 0;
    for (size_t at = 0; at < length && !status;) {
        const struct rf_added_text *added = added_at(encoder->tokenizer, text + at, length - at);
        if (!added) {
            at++;
            continue;
        }
        status = rf_encoder_plain(encoder, text + start, at - start, err);
        if (!status && !rf_ids_append(&encoder->ids, added->id))
            status = no_memory(err);
        start = at += added->length;
    }
    return status ? status : rf_encoder_plain(encoder, text + start, length - start, err);
}

enum rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const char *text, size_t length,
                                   bool special, uint32_t **tokens, size_t *count, struct rf_error *err)
{
    *tokens = NULL;
    *count = 0;
    if (!text && length > 0)
        return rf_fail(err, RF_ERROR_ARGUMENT, "text: NULL with a length of %zu", length);
    if (!text)
        text = "";
    RF_ALLOCATE_FROM(tokenizer->allocator);
    if (length > MAX_TEXT)
        return rf_fail(err, RF_ERROR_ARGUMENT, "text: %zu bytes, wanted at most %zu", length, MAX_TEXT);
    size_t valid = rf_utf8_valid(text, length);
    if (valid < length)
        return rf_fail(err, RF_ERROR_ARGUMENT, "text: invalid UTF-8 at byte %zu", valid);
    struct rf_encoder encoder = {.tokenizer = tokenizer};
    enum rf_status status =
        special ? encode_special(&encoder, text, length, err) : rf_encoder_plain(&encoder, text, length, err);
    return rf_encoder_finish(&encoder, status, tokens, count, err);
}

/* ---- Ids to text --------------------------------------------------------------------------------------- */

static enum rf_status collect_bytes(const rf_tokenizer *tokenizer, const uint32_t *tokens, size_t count,
                                    bool skip_special, struct rf_bytes *bytes, struct rf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct rf_token *token = find_token(tokenizer, tokens[i]);
        if (!token)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "tokens[%zu] is %u, which is no token of the vocabulary (ids below "
                           "%u)",
                           i, tokens[i], tokenizer->vocab);
        if (skip_special && (token->flags & RF_TOKEN_SPECIAL))
            continue;
        if (!rf_bytes_append(bytes, tokenizer->bytes.data + token->offset, token->length))
            return no_memory(err);
    }
    return RF_OK;
}

enum rf_status rf_tokenizer_decode(const rf_tokenizer *tokenizer, const uint32_t *tokens, size_t count,
                                   bool skip_special, char **text, size_t *length, struct rf_error *err)
{
    *text = NULL;
    if (length)
        *length = 0;
    RF_ALLOCATE_FROM(tokenizer->allocator);
    struct rf_bytes bytes = {0}, out = {0};
    size_t used = 0;
    enum rf_status status = collect_bytes(tokenizer, tokens, count, skip_special, &bytes, err);
    if (!status &&
        (!rf_utf8_append_replaced(&out, bytes.data, bytes.length, true, &used) || !rf_bytes_terminate(&out)))
        status = no_memory(err);
    rf_free(bytes.data);
    if (status) {
        rf_free(out.data);
        return status;
    }
    *text = out.data;
    if (length)
        *length = out.length;
    return RF_OK;
}
