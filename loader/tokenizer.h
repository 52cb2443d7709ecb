/* What the rest of the program asks of a tokenizer beyond the public rf_tokenizer_* calls. */
#ifndef RF_LOADER_TOKENIZER_H
#define RF_LOADER_TOKENIZER_H

#include "engine/status.h"

enum rf_chat_template {
    RF_CHAT_NONE,   /* the folder has no template */
    RF_CHAT_QWEN3,  /* ChatML as Qwen3's template writes it */
    RF_CHAT_UNKNOWN /* a template that this program does not know */
};

/* The files of a tokenizer folder. tokenizer.json alone is enough; without it vocab.json and merges.txt are
 * needed. The last three are optional; chat_template.jinja goes before the template inside
 * tokenizer_config.json. */
enum rf_tokenizer_file {
    RF_TOKENIZER_JSON,
    RF_VOCAB_JSON,
    RF_MERGES_TXT,
    RF_ADDED_TOKENS_JSON, /* only looked at beside vocab.json */
    RF_TOKENIZER_CONFIG_JSON,
    RF_CHAT_TEMPLATE_JINJA,
    RF_TOKENIZER_FILE_COUNT
};

struct rf_tokenizer_files {
    const char *folder; /* messages name a file as folder/name */
    struct {
        const char *data; /* NULL: there is no such file */
        size_t size;
    } file[RF_TOKENIZER_FILE_COUNT];
};

/* rf_tokenizer_load with the allocator that is at work: a model's tokenizer has the model's. */
enum rf_status rf_tokenizer_open(rf_tokenizer **out, const char *folder, struct rf_error *err);

/* From bytes in memory; nothing of `files` is kept. */
enum rf_status rf_tokenizer_from_files(rf_tokenizer **out, const struct rf_tokenizer_files *files,
                                       struct rf_error *err);

/* From a parsed GGUF file; nothing of it is kept. */
struct rf_gguf;
enum rf_status rf_tokenizer_from_gguf(rf_tokenizer **out, const struct rf_gguf *gguf, struct rf_error *err);

/* Highest id + 1. Ids may be missing only between the vocabulary and the added tokens, and between those. */
uint32_t rf_tokenizer_vocab(const rf_tokenizer *tokenizer);
/* RF_ERROR_FORMAT unless every id is below `config_vocab`, the number of embedding rows. */
enum rf_status rf_tokenizer_check_vocab(const rf_tokenizer *tokenizer, uint32_t config_vocab,
                                        struct rf_error *err);

/* Id of an added token by its exact content; UINT32_MAX when there is none. */
uint32_t rf_tokenizer_added(const rf_tokenizer *tokenizer, const char *content);
/* The bytes that a token stands for, not NUL-terminated, owned by the tokenizer; NULL for an id without a
 * token. A vocabulary token can be a part of a UTF-8 character. */
const char *rf_tokenizer_token_bytes(const rf_tokenizer *tokenizer, uint32_t id, size_t *length);
bool rf_tokenizer_is_special(const rf_tokenizer *tokenizer, uint32_t id);
uint32_t
rf_tokenizer_eos(const rf_tokenizer *tokenizer); /* tokenizer_config.json's eos_token, or UINT32_MAX */
uint32_t rf_tokenizer_mask(const rf_tokenizer *tokenizer); /* its mask_token, or UINT32_MAX */
enum rf_chat_template rf_tokenizer_template(const rf_tokenizer *tokenizer);

#endif
