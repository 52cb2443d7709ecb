/* What an accepted tokenizer must be good for, whatever files it came from. */
#ifndef RF_TESTS_FUZZ_TOKENIZER_PROMISE_H
#define RF_TESTS_FUZZ_TOKENIZER_PROMISE_H

#include "loader/tokenizer.h"
#include "promise.h"

/* The tokens of the 256 bytes with ids 0..255, as members of a JSON object: "\u0021":33,... The byte-level
 * alphabet writes printable Latin-1 as it is, and the other 68 bytes as U+0100, U+0101, ... Returns the
 * length. */
enum { BYTE_TOKENS_SIZE = 256 * 16 };
static inline size_t write_byte_tokens(char out[BYTE_TOKENS_SIZE])
{
    size_t used = 0;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        unsigned code = printable ? byte : next++;
        used += (size_t)snprintf(out + used, BYTE_TOKENS_SIZE - used, "%s\"\\u%04x\":%u", byte ? "," : "",
                                 code, byte);
    }
    return used;
}

static inline void promise_tokens(const rf_tokenizer *tokenizer)
{
    uint32_t vocab = rf_tokenizer_vocab(tokenizer);
    promise(vocab >= 256);
    promise(rf_tokenizer_check_vocab(tokenizer, vocab, NULL) == RF_OK);
    promise(rf_tokenizer_check_vocab(tokenizer, vocab - 1, NULL) == RF_ERROR_FORMAT);
    uint32_t eos = rf_tokenizer_eos(tokenizer), mask = rf_tokenizer_mask(tokenizer);
    promise((eos == UINT32_MAX || eos < vocab) && (mask == UINT32_MAX || mask < vocab));
    size_t length = 0;
    for (uint32_t id = 0; id < vocab; id++) {
        const char *text = rf_tokenizer_token_bytes(tokenizer, id, &length);
        promise(!text == !length);
        /* Reading every byte lets the address sanitizer judge the range. */
        unsigned sum = 0;
        for (size_t i = 0; i < length; i++)
            sum += (unsigned char)text[i];
        promise(sum <= 255 * length);
    }
    promise(!rf_tokenizer_token_bytes(tokenizer, vocab, &length));
}

/* Text that is in NFC comes back as it was; without `special`, no special token comes out. */
static inline void promise_round_trip(const rf_tokenizer *tokenizer, const char *text, size_t length,
                                      bool special)
{
    uint32_t *ids = NULL;
    size_t count = 0, back_length = 0;
    char *back = NULL;
    struct rf_error err = {0};
    enum rf_status status = rf_tokenizer_encode(tokenizer, text, length, special, &ids, &count, &err);
    promise_outcome(status, &err);
    if (status) { /* a split pattern of the file's own may give up */
        promise(status == RF_ERROR_UNSUPPORTED && !ids);
        return;
    }
    promise(count <= length);
    for (size_t i = 0; i < count; i++)
        promise(special || !rf_tokenizer_is_special(tokenizer, ids[i]));
    promise(rf_tokenizer_decode(tokenizer, ids, count, false, &back, &back_length, &err) == RF_OK);
    promise(back_length == length && !memcmp(back, text, length));
    rf_free(back);
    rf_free(ids);
}

static inline void promise_tokenizer(const struct rf_tokenizer_files *files)
{
    static const char text[] =
        "aabbab aaaaaaaaaaaab abba cab\r\n\r\n  the re 12 it's <|x|> \xC3\xA9\xE6\x97\xA5 <|y|>ab";
    rf_tokenizer *tokenizer = NULL;
    struct rf_error err = {0};
    enum rf_status status = rf_tokenizer_from_files(&tokenizer, files, &err);
    promise_outcome(status, &err);
    promise(!status == !!tokenizer);
    if (status)
        return;
    promise_tokens(tokenizer);
    promise_round_trip(tokenizer, text, sizeof text - 1, false);
    promise_round_trip(tokenizer, text, sizeof text - 1, true);
    rf_tokenizer_destroy(tokenizer);
}

#endif
