/* Text before BPE: Unicode normal form C, and the cut into words by the tokenizer's own split pattern. */
#ifndef RF_LOADER_PRETOKENIZE_H
#define RF_LOADER_PRETOKENIZE_H

#include "engine/status.h"
#include "loader/growable.h"

/* Appends NFC(text) to `out`; text is valid UTF-8. Linear in the text's length. False: no memory.
 * utf8proc knows newer characters than Hugging Face tokenizers 0.23: 98 combining marks that Unicode took
 * in after version 9 (such as U+1DF9) are put in order here and left where they are there. */
bool rf_nfc(const char *text, size_t length, struct rf_bytes *out);

/* A compiled split pattern; immutable, shared by threads. */
struct rf_splitter;

/* The pattern is written in Oniguruma's syntax, as tokenizer.json holds it. Only constructs that mean the
 * same in PCRE2 are taken; another is refused by name. `where` says where the pattern stands. */
enum rf_status rf_splitter_create(struct rf_splitter **out, const char *pattern, size_t length,
                                  const char *where, struct rf_error *err);
void rf_splitter_destroy(struct rf_splitter *splitter);

/* One pass over one text. Zero-initialise, begin, next until *end == *start, free; may begin again. */
struct rf_split {
    const struct rf_splitter *splitter;
    void *match, *context; /* pcre2_match_data, pcre2_match_context */
    const char *text;      /* valid UTF-8 */
    size_t length, at;
    size_t match_start, match_end; /* of a match whose gap before it was handed out first */
};
enum rf_status rf_split_begin(struct rf_split *split, const struct rf_splitter *splitter, const char *text,
                              size_t length, struct rf_error *err);
/* The next word text[*start..*end): matches of the pattern, and what lies between them. */
enum rf_status rf_split_next(struct rf_split *split, size_t *start, size_t *end, struct rf_error *err);
void rf_split_free(struct rf_split *split);

#endif
