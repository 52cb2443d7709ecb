/* Shared by the tokenizer's own files only. */
#ifndef RF_LOADER_TOKENIZER_INTERNAL_H
#define RF_LOADER_TOKENIZER_INTERNAL_H

#include "loader/bpe.h"
#include "loader/pretokenize.h"
#include "loader/tokenizer.h"

#define RF_TOKENIZER_NONE UINT32_MAX

enum rf_token_flags {
    RF_TOKEN_PRESENT = 1,
    RF_TOKEN_ADDED = 2,     /* cut out of the text as a whole, when asked for */
    RF_TOKEN_SPECIAL = 4,   /* left out of decoded text, when asked for */
    RF_TOKEN_PROTECTED = 8, /* special, eos or mask: no text may produce it by way of BPE */
};

struct rf_token {
    uint32_t offset, length; /* into rf_tokenizer.bytes */
    uint32_t flags;
};

struct rf_added_text {
    const char *text; /* into rf_tokenizer.bytes */
    uint32_t length, id;
};

struct rf_tokenizer {
    struct rf_allocator allocator;
    struct rf_token *tokens; /* [vocab] by id */
    uint32_t vocab;          /* highest id + 1 */
    struct rf_bytes bytes;   /* what all tokens stand for, end to end */
    uint32_t byte_tokens[256];
    struct rf_merges merges;
    struct rf_splitter *splitter;
    /* Added tokens, ordered by first byte, then the longest first; those that begin with byte b are
     * added[added_start[b]..added_start[b + 1]). */
    struct rf_added_text *added;
    uint32_t added_count;
    uint32_t added_start[257];
    uint32_t eos, mask; /* RF_TOKENIZER_NONE: none */
    enum rf_chat_template chat_template;
    char *template_text; /* as the files have it; NULL: none */
    bool qwen_split;     /* the split pattern is that of Qwen2Tokenizer */
    char *folder;        /* or GGUF file, for messages */
};

/* An added token as a file declares it. */
struct rf_added_token {
    const char *content; /* belongs to the parsed file */
    uint32_t id;
    bool special;
    bool protect;     /* eos or mask */
    const char *file; /* that declares it, for messages */
};

/* A vocabulary token as a file declares it, written in the byte-level alphabet. */
struct rf_written_token {
    const char *text; /* belongs to the parsed file; need not end in NUL */
    size_t length;
    uint32_t id;
};

/* Builds the id table. */
struct cJSON;
struct rf_vocabulary_entry {
    uint32_t hash, id; /* id RF_TOKENIZER_NONE: free */
};

struct rf_vocabulary {
    rf_tokenizer *tokenizer;
    struct rf_vocabulary_entry *table; /* [mask + 1], by a token's bytes; vocabulary tokens only */
    uint32_t mask;
    struct rf_bytes scratch;
};

/* `field` leads messages inside `file`: "model.vocab: " or "". vocabulary->tokenizer is set, the rest
 * zero. */
enum rf_status rf_vocabulary_build(struct rf_vocabulary *vocabulary, const char *file, const char *field,
                                   const struct rf_written_token *tokens, size_t count,
                                   const struct rf_added_token *added, size_t added_count,
                                   struct rf_error *err);
/* The same from a JSON object token -> id. */
enum rf_status rf_vocabulary_build_json(struct rf_vocabulary *vocabulary, const char *file, const char *field,
                                        const struct cJSON *vocab, const struct rf_added_token *added,
                                        size_t added_count, struct rf_error *err);

/* Appends bytes as the byte-level alphabet writes them; false: no memory. */
bool rf_alphabet_encode(struct rf_bytes *out, const char *bytes, size_t length);

/* Where a merge stands, for messages: place `number` of `list`, or line `number` of a text file (NULL). */
struct rf_merge_place {
    const char *file, *list;
    size_t number;
};
/* Both parts are written in the byte-level alphabet. The tokenizer's merges have room for it. */
enum rf_status rf_vocabulary_merge(struct rf_vocabulary *vocabulary, struct rf_merge_place place,
                                   uint32_t rank, const char *left, size_t left_length, const char *right,
                                   size_t right_length, struct rf_error *err);
void rf_vocabulary_free(struct rf_vocabulary *vocabulary); /* not the tokenizer */

/* ---- Loading ------------------------------------------------------------------------------------------- */

struct rf_tokenizer_loading {
    rf_tokenizer *tokenizer;
    const struct rf_tokenizer_files *files;
    char *names[RF_TOKENIZER_FILE_COUNT];         /* folder/name */
    struct cJSON *trees[RF_TOKENIZER_FILE_COUNT]; /* parsed files; the added tokens' texts point into them */
    struct rf_vocabulary vocabulary;
    struct rf_added_token *added;
    size_t added_count, added_capacity;
    struct rf_error *err;
};

/* Makes an empty tokenizer that calls itself `folder`; *loading is filled even on failure. */
enum rf_status rf_loading_begin(struct rf_tokenizer_loading *loading, const char *folder,
                                struct rf_error *err);
/* Frees everything but the tokenizer, which is handed out, or destroyed when `status` is a failure. */
enum rf_status rf_loading_end(struct rf_tokenizer_loading *loading, enum rf_status status,
                              rf_tokenizer **out);

/* Takes the chat template, and recognises it. */
enum rf_status rf_loading_template(struct rf_tokenizer_loading *loading, const char *text, size_t length);
/* Cuts text into words as Qwen2Tokenizer does, for files that only name the pattern. */
enum rf_status rf_loading_qwen_split(struct rf_tokenizer_loading *loading);
/* Whether a pattern is that one. */
bool rf_is_qwen_split(const char *pattern);

/* Parses one file into trees[file]. */
enum rf_status rf_loading_parse(struct rf_tokenizer_loading *loading, enum rf_tokenizer_file file);
/* Remembers an added token. A file that repeats another's token must say the same. */
enum rf_status rf_loading_add(struct rf_tokenizer_loading *loading, struct rf_added_token token);
/* An object with content and flags, as tokenizer.json and added_tokens_decoder have it; refuses flags that
 * are not supported. `path` ends in a point. */
enum rf_status rf_loading_added_object(struct rf_tokenizer_loading *loading, enum rf_tokenizer_file file,
                                       const struct cJSON *object, const char *path, uint64_t id);
/* tokenizer.json: everything but the vocabulary is checked and taken, then vocabulary and merges. */
enum rf_status rf_loading_tokenizer_json_head(struct rf_tokenizer_loading *loading);
enum rf_status rf_loading_tokenizer_json_model(struct rf_tokenizer_loading *loading);

/* ---- Encoding ------------------------------------------------------------------------------------------ */

/* One text on its way to ids. Zero-initialise but for `tokenizer`; `ids` belongs to the caller. */
struct rf_encoder {
    const rf_tokenizer *tokenizer;
    struct rf_bpe_scratch scratch;
    struct rf_split split;
    struct rf_bytes normal; /* NFC of the text at hand */
    struct rf_ids ids;
};

/* Appends the ids of valid UTF-8; added tokens in it are plain text. */
enum rf_status rf_encoder_plain(struct rf_encoder *encoder, const char *text, size_t length,
                                struct rf_error *err);
void rf_encoder_free(struct rf_encoder *encoder); /* all but `ids` */
/* Hands over the ids, or frees them when `status` is a failure. */
enum rf_status rf_encoder_finish(struct rf_encoder *encoder, enum rf_status status, uint32_t **tokens,
                                 size_t *count, struct rf_error *err);

/* Recognises a template by its text. */
enum rf_chat_template rf_chat_recognise(const char *text, size_t length);

#endif
