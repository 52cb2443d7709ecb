/* Any text as tokenizer.json: refused with one line, or a tokenizer whose ids, texts and merges hold
 * together: it encodes a text that is rich in pairs, and the ids come back as that text. */
#include "loader/tokenizer.h"
#include "tokenizer_promise.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct rf_tokenizer_files files = {.folder = "m"};
    /* An empty file never comes this far: a folder's files are not empty. */
    if (size == 0)
        return 0;
    files.file[RF_TOKENIZER_JSON].data = (const char *)bytes;
    files.file[RF_TOKENIZER_JSON].size = size;
    promise_tokenizer(&files);
    return 0;
}
