/* Any text as merges.txt beside a small vocabulary: the 256 bytes, and all words of two and three letters a,
 * b, c. */
#include "tokenizer_promise.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char vocab[16384];
static size_t vocab_size;

static void put(const char *text)
{
    size_t length = strlen(text);
    promise(vocab_size + length < sizeof vocab);
    memcpy(vocab + vocab_size, text, length);
    vocab_size += length;
}

static void make_vocab(void)
{
    static char tokens[BYTE_TOKENS_SIZE + 1];
    tokens[write_byte_tokens(tokens)] = '\0';
    put("{");
    put(tokens);
    for (int i = 0; i < 9 + 27; i++) {
        char text[4] = {(char)('a' + i % 3), (char)('a' + i / 3 % 3), 0, 0}, member[32];
        if (i >= 9)
            text[2] = (char)('a' + (i - 9) / 9);
        snprintf(member, sizeof member, ",\"%s\":%d", text, 256 + i);
        put(member);
    }
    put("}");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!vocab_size)
        make_vocab();
    if (size == 0)
        return 0;
    struct rf_tokenizer_files files = {.folder = "m"};
    files.file[RF_VOCAB_JSON].data = vocab;
    files.file[RF_VOCAB_JSON].size = vocab_size;
    files.file[RF_MERGES_TXT].data = (const char *)bytes;
    files.file[RF_MERGES_TXT].size = size;
    promise_tokenizer(&files);
    return 0;
}
