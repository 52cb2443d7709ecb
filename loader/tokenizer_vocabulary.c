/* From what the files declare to the table of ids: the byte-level alphabet, and every check on ids and
 * merges.
 *
 * Rules for ids: vocabulary tokens fill 0..n-1, where an added token may fill a place too (some vocabularies
 * list their added tokens); added tokens above may leave ids out, as models with padded embeddings do. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/allocate.h"
#include "loader/json.h"
#include "loader/tokenizer_internal.h"
#include "loader/utf8.h"

enum { MAX_GAPS = 65536 }; /* ids left out between added tokens */

static enum rf_status no_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "tokenizer: out of memory");
}

/* ---- The byte-level alphabet --------------------------------------------------------------------------- */

/* Byte-level BPE writes each byte as a printable character: bytes that are printable in Latin-1 as
 * themselves, the other 68 as U+0100, U+0101, ... in order. */
static bool is_itself(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/* The byte that a character stands for, or -1. */
static int alphabet_byte(uint32_t code)
{
    if (code < 256)
        return is_itself(code) ? (int)code : -1;
    uint32_t place = code - 256;
    if (place >= 68)
        return -1;
    if (place < 33)
        return (int)place; /* 0x00..0x20 */
    if (place < 67)
        return (int)(place - 33 + 0x7F); /* 0x7F..0xA0 */
    return 0xAD;
}

bool rf_alphabet_encode(struct rf_bytes *out, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint32_t byte = (unsigned char)bytes[i], code = byte;
        if (!is_itself(byte)) /* the reverse of alphabet_byte */
            code = 256 + (byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7F + 33 : 67);
        char written[4];
        if (!rf_bytes_append(out, written, rf_utf8_encode(code, written)))
            return false;
    }
    return true;
}

/* Appends the bytes that `text` writes; false when a character is not of the alphabet. `out` has room. */
static bool decode_alphabet(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        enum rf_utf8_kind kind;
        size_t size = rf_utf8_next(text + at, length - at, &kind);
        int byte = kind == RF_UTF8_WHOLE ? alphabet_byte(rf_utf8_decode(text + at, size)) : -1;
        if (byte < 0)
            return false;
        out[used++] = (char)byte;
        at += size;
    }
    *out_length = used;
    return true;
}

/* ---- Tokens by their bytes ----------------------------------------------------------------------------- */

/* Where `bytes` stand in the table, or the free entry where they belong. */
static struct rf_vocabulary_entry *entry_of(const struct rf_vocabulary *vocabulary, const char *bytes,
                                            size_t length)
{
    const rf_tokenizer *tokenizer = vocabulary->tokenizer;
    uint64_t long_hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        long_hash = (long_hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001B3);
    uint32_t hash = (uint32_t)(long_hash ^ long_hash >> 32);
    for (uint32_t at = hash & vocabulary->mask;; at = (at + 1) & vocabulary->mask) {
        struct rf_vocabulary_entry *entry = &vocabulary->table[at];
        if (entry->id == RF_TOKENIZER_NONE) {
            entry->hash = hash; /* for the caller that takes the entry */
            return entry;
        }
        if (entry->hash != hash)
            continue;
        const struct rf_token *token = &tokenizer->tokens[entry->id];
        if (token->length == length && !memcmp(tokenizer->bytes.data + token->offset, bytes, length))
            return entry;
    }
}

static uint32_t find_id(const struct rf_vocabulary *vocabulary, const char *bytes, size_t length)
{
    return entry_of(vocabulary, bytes, length)->id;
}

static bool create_table(struct rf_vocabulary *vocabulary, size_t count)
{
    size_t capacity = 512;
    while (capacity / 2 < count)
        capacity *= 2;
    vocabulary->table = rf_malloc(capacity * sizeof *vocabulary->table);
    if (!vocabulary->table)
        return false;
    vocabulary->mask = (uint32_t)(capacity - 1);
    for (size_t i = 0; i < capacity; i++)
        vocabulary->table[i] = (struct rf_vocabulary_entry){0, RF_TOKENIZER_NONE};
    return true;
}

/* A token for a message, quoted. */
static const char *show(const rf_tokenizer *tokenizer, uint32_t id, char out[RF_QUOTE_SIZE])
{
    const struct rf_token *token = &tokenizer->tokens[id];
    return rf_quote(out, tokenizer->bytes.data + token->offset, token->length);
}

/* ---- Building the table -------------------------------------------------------------------------------- */

struct builder {
    struct rf_vocabulary *vocabulary;
    rf_tokenizer *tokenizer;
    const char *file, *field;
    const struct rf_added_token *added;
    size_t added_count;
    struct rf_error *err;
};

static bool find_added(const struct builder *b, uint32_t id, const char *text, size_t length)
{
    for (size_t i = 0; i < b->added_count; i++)
        if (b->added[i].id == id && strlen(b->added[i].content) == length &&
            !memcmp(b->added[i].content, text, length))
            return true;
    return false;
}

/* Sizes the id table: one entry for every id up to the highest. */
static enum rf_status allocate(const struct builder *b, const struct rf_written_token *written, size_t count,
                               uint32_t *vocab_ids)
{
    size_t bytes = 0;
    uint64_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        if (written[i].id > highest)
            highest = written[i].id;
        bytes += written[i].length;
    }
    if (count == 0)
        return rf_fail(b->err, RF_ERROR_FORMAT, "%s: %sthe vocabulary is empty", b->file, b->field);
    if (highest >= count + b->added_count)
        return rf_fail(b->err, RF_ERROR_FORMAT,
                       "%s: %sthe highest id is %llu with only %zu tokens, wanted ids "
                       "without holes",
                       b->file, b->field, (unsigned long long)highest, count + b->added_count);
    *vocab_ids = (uint32_t)highest + 1;
    for (size_t i = 0; i < b->added_count; i++) {
        if (b->added[i].id > highest)
            highest = b->added[i].id;
        bytes += strlen(b->added[i].content);
        if (b->added[i].id >= count + b->added_count + MAX_GAPS)
            return rf_fail(
                b->err, RF_ERROR_FORMAT, "%s: added token id %u is too high for %zu tokens, wanted below %zu",
                b->added[i].file, b->added[i].id, count + b->added_count, count + b->added_count + MAX_GAPS);
    }
    b->tokenizer->vocab = (uint32_t)highest + 1;
    b->tokenizer->tokens = rf_calloc(b->tokenizer->vocab, sizeof *b->tokenizer->tokens);
    bool ok = b->tokenizer->tokens && rf_bytes_reserve(&b->tokenizer->bytes, bytes + 1);
    return ok && create_table(b->vocabulary, count) ? RF_OK : no_memory(b->err);
}

static enum rf_status add_vocab_token(const struct builder *b, const struct rf_written_token *written)
{
    rf_tokenizer *tokenizer = b->tokenizer;
    uint32_t id = written->id;
    size_t length = 0;
    char quoted[RF_QUOTE_SIZE], other[RF_QUOTE_SIZE];
    char *bytes = tokenizer->bytes.data + tokenizer->bytes.length;
    if (!decode_alphabet(written->text, written->length, bytes, &length) || length == 0) {
        if (find_added(b, id, written->text, written->length))
            return RF_OK; /* comes again with the added tokens, as plain text */
        return rf_fail(b->err, RF_ERROR_FORMAT,
                       "%s: %stoken %s (id %u) is not written in the byte-level alphabet", b->file, b->field,
                       rf_quote(quoted, written->text, written->length), id);
    }
    struct rf_token *token = &tokenizer->tokens[id];
    if (token->flags)
        return rf_fail(b->err, RF_ERROR_FORMAT,
                       "%s: %sid %u is given to both %s and %s, wanted one token per id", b->file, b->field,
                       id, show(tokenizer, id, other), rf_quote(quoted, written->text, written->length));
    struct rf_vocabulary_entry *entry = entry_of(b->vocabulary, bytes, length);
    if (entry->id != RF_TOKENIZER_NONE)
        return rf_fail(b->err, RF_ERROR_FORMAT, "%s: %stoken %s has the ids %u and %u, wanted one", b->file,
                       b->field, rf_quote(quoted, written->text, written->length), entry->id, id);
    *token = (struct rf_token){(uint32_t)tokenizer->bytes.length, (uint32_t)length, RF_TOKEN_PRESENT};
    tokenizer->bytes.length += length;
    entry->id = id;
    return RF_OK;
}

static enum rf_status add_added_token(const struct builder *b, const struct rf_added_token *added)
{
    rf_tokenizer *tokenizer = b->tokenizer;
    struct rf_token *token = &tokenizer->tokens[added->id];
    size_t length = strlen(added->content);
    char quoted[RF_QUOTE_SIZE], other[RF_QUOTE_SIZE];
    rf_quote(quoted, added->content, length);
    if (length == 0)
        return rf_fail(b->err, RF_ERROR_FORMAT, "%s: added token %u is empty, wanted some text", added->file,
                       added->id);
    bool listed_here =
        token->length == length && !memcmp(tokenizer->bytes.data + token->offset, added->content, length);
    if ((token->flags & RF_TOKEN_ADDED) || (token->flags && !listed_here))
        return rf_fail(b->err, RF_ERROR_FORMAT,
                       "%s: id %u is given to both %s and the added token %s, wanted one token "
                       "per id",
                       added->file, added->id, show(tokenizer, added->id, other), quoted);
    uint32_t listed = find_id(b->vocabulary, added->content, length);
    if (listed != RF_TOKENIZER_NONE && listed != added->id)
        return rf_fail(b->err, RF_ERROR_FORMAT, "%s: added token %s has id %u, but %s: %sgives it id %u",
                       added->file, quoted, added->id, b->file, b->field, listed);
    uint32_t flags = RF_TOKEN_PRESENT | RF_TOKEN_ADDED;
    if (added->special)
        flags |= RF_TOKEN_SPECIAL;
    if (added->special || added->protect)
        flags |= RF_TOKEN_PROTECTED;
    *token = (struct rf_token){(uint32_t)tokenizer->bytes.length, (uint32_t)length, flags};
    if (!rf_bytes_append(&tokenizer->bytes, added->content, length))
        return no_memory(b->err);
    return RF_OK;
}

static int compare_added(const void *a, const void *b)
{
    const struct rf_added_text *x = a, *y = b;
    unsigned char first_x = (unsigned char)x->text[0], first_y = (unsigned char)y->text[0];
    if (first_x != first_y)
        return first_x < first_y ? -1 : 1;
    if (x->length != y->length)
        return x->length > y->length ? -1 : 1;
    return memcmp(x->text, y->text, x->length);
}

/* Makes rf_tokenizer.added, and refuses a text that occurs twice in it. */
static enum rf_status sort_added(const struct builder *b)
{
    rf_tokenizer *tokenizer = b->tokenizer;
    size_t count = b->added_count;
    tokenizer->added = rf_calloc(count + 1, sizeof *tokenizer->added);
    if (!tokenizer->added)
        return no_memory(b->err);
    tokenizer->added_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct rf_token *token = &tokenizer->tokens[b->added[i].id];
        tokenizer->added[i] =
            (struct rf_added_text){tokenizer->bytes.data + token->offset, token->length, b->added[i].id};
    }
    qsort(tokenizer->added, count, sizeof *tokenizer->added, compare_added);
    for (size_t i = 0; i < count; i++) {
        const struct rf_added_text *one = &tokenizer->added[i];
        char quoted[RF_QUOTE_SIZE];
        if (i > 0 && !compare_added(one - 1, one))
            return rf_fail(b->err, RF_ERROR_FORMAT, "%s: added token %s has the ids %u and %u, wanted one",
                           b->added[0].file, rf_quote(quoted, one->text, one->length), one[-1].id, one->id);
        tokenizer->added_start[(unsigned char)one->text[0] + 1]++;
    }
    for (size_t i = 1; i < 257; i++)
        tokenizer->added_start[i] += tokenizer->added_start[i - 1];
    return RF_OK;
}

/* Every byte must have a token, so that any text can be encoded, and not one that text must never produce. */
static enum rf_status find_byte_tokens(const struct builder *b)
{
    for (unsigned i = 0; i < 256; i++) {
        char byte = (char)i;
        uint32_t id = find_id(b->vocabulary, &byte, 1);
        if (id == RF_TOKENIZER_NONE)
            return rf_fail(b->err, RF_ERROR_FORMAT, "%s: %sno token for byte 0x%02X, wanted all 256", b->file,
                           b->field, i);
        if (b->tokenizer->tokens[id].flags & RF_TOKEN_PROTECTED)
            return rf_fail(b->err, RF_ERROR_FORMAT,
                           "%s: %sthe token of byte 0x%02X (id %u) is also a control token, so "
                           "that plain text would produce it",
                           b->file, b->field, i, id);
        b->tokenizer->byte_tokens[i] = id;
    }
    return RF_OK;
}

enum rf_status rf_vocabulary_build(struct rf_vocabulary *vocabulary, const char *file, const char *field,
                                   const struct rf_written_token *tokens, size_t count,
                                   const struct rf_added_token *added, size_t added_count,
                                   struct rf_error *err)
{
    struct builder b = {vocabulary, vocabulary->tokenizer, file, field, added, added_count, err};
    uint32_t vocab_ids = 0;
    enum rf_status status = allocate(&b, tokens, count, &vocab_ids);
    for (size_t i = 0; i < count && !status; i++)
        status = add_vocab_token(&b, &tokens[i]);
    for (size_t i = 0; i < added_count && !status; i++)
        status = add_added_token(&b, &added[i]);
    for (uint32_t id = 0; id < vocab_ids && !status; id++)
        if (!b.tokenizer->tokens[id].flags)
            status =
                rf_fail(err, RF_ERROR_FORMAT, "%s: %sno token has id %u, wanted ids without holes up to %u",
                        file, field, id, vocab_ids - 1);
    if (!status)
        status = find_byte_tokens(&b);
    return status ? status : sort_added(&b);
}

enum rf_status rf_vocabulary_build_json(struct rf_vocabulary *vocabulary, const char *file, const char *field,
                                        const struct cJSON *vocab, const struct rf_added_token *added,
                                        size_t added_count, struct rf_error *err)
{
    size_t count = 0;
    for (const cJSON *item = vocab->child; item; item = item->next)
        count++;
    struct rf_written_token *tokens = rf_calloc(count + 1, sizeof *tokens);
    if (!tokens)
        return no_memory(err);
    enum rf_status status = RF_OK;
    size_t i = 0;
    for (const cJSON *item = vocab->child; item && !status; item = item->next, i++) {
        uint64_t id = 0;
        char quoted[RF_QUOTE_SIZE];
        if (!rf_json_is_uint(item, 0, UINT32_MAX - 1, &id))
            status = rf_fail(err, RF_ERROR_FORMAT, "%s: %s%s is %s, wanted a token id (a whole number)", file,
                             field, rf_quote(quoted, item->string, strlen(item->string)),
                             rf_json_describe(item).text);
        tokens[i] = (struct rf_written_token){item->string, strlen(item->string), (uint32_t)id};
    }
    if (!status)
        status = rf_vocabulary_build(vocabulary, file, field, tokens, count, added, added_count, err);
    rf_free(tokens);
    return status;
}

void rf_vocabulary_free(struct rf_vocabulary *vocabulary)
{
    rf_free(vocabulary->table);
    rf_free(vocabulary->scratch.data);
    vocabulary->table = NULL;
    vocabulary->scratch = (struct rf_bytes){0};
}

/* ---- Merges -------------------------------------------------------------------------------------------- */

static enum rf_status bad_merge(struct rf_merge_place place, struct rf_error *err, const char *what,
                                const char *token, size_t length)
{
    char quoted[RF_QUOTE_SIZE];
    enum rf_status status = rf_fail(err, RF_ERROR_FORMAT, "%s %s", rf_quote(quoted, token, length), what);
    return place.list ? rf_fail_within(err, status, "%s: %s[%zu]", place.file, place.list, place.number)
                      : rf_fail_within(err, status, "%s: line %zu", place.file, place.number);
}

enum rf_status rf_vocabulary_merge(struct rf_vocabulary *vocabulary, struct rf_merge_place place,
                                   uint32_t rank, const char *left, size_t left_length, const char *right,
                                   size_t right_length, struct rf_error *err)
{
    rf_tokenizer *tokenizer = vocabulary->tokenizer;
    struct rf_bytes *scratch = &vocabulary->scratch; /* the left part's bytes, then the right part's */
    scratch->length = 0;
    if (!rf_bytes_reserve(scratch, left_length + right_length))
        return no_memory(err);
    size_t first = 0, second = 0;
    uint32_t left_id = RF_TOKENIZER_NONE, right_id = RF_TOKENIZER_NONE;
    if (decode_alphabet(left, left_length, scratch->data, &first))
        left_id = find_id(vocabulary, scratch->data, first);
    if (left_id == RF_TOKENIZER_NONE)
        return bad_merge(place, err, "is not in the vocabulary", left, left_length);
    if (decode_alphabet(right, right_length, scratch->data + first, &second))
        right_id = find_id(vocabulary, scratch->data + first, second);
    if (right_id == RF_TOKENIZER_NONE)
        return bad_merge(place, err, "is not in the vocabulary", right, right_length);
    uint32_t merged = find_id(vocabulary, scratch->data, first + second);
    if (merged == RF_TOKENIZER_NONE)
        return bad_merge(place, err, "is what the merge makes, but it is not in the vocabulary",
                         scratch->data, first + second);
    if (tokenizer->tokens[merged].flags & RF_TOKEN_PROTECTED)
        return bad_merge(place, err, "is a control token, and a merge would let plain text produce it",
                         scratch->data, first + second);
    if (rf_merges_find(&tokenizer->merges, left_id, right_id))
        return bad_merge(place, err, "comes from a pair that an earlier merge has too, wanted each pair once",
                         scratch->data, first + second);
    rf_merges_add(&tokenizer->merges, (struct rf_merge){left_id, right_id, rank, merged});
    return RF_OK;
}
