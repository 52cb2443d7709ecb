/* The text of a response as it grows, for the `append` stream: bytes of committed tokens go in, in order of
 * position; out comes text that will not be taken back: whole UTF-8 characters (U+FFFD for broken bytes),
 * before the first occurrence of a stop text. What may be the start of a stop text is held back until more
 * comes or the response ends. The result does not depend on how the bytes were cut into tokens. Plain
 * functions on bytes: no tokenizer, no device. */
#ifndef RF_LOADER_TEXT_STREAM_H
#define RF_LOADER_TEXT_STREAM_H

#include "engine/status.h"
#include "loader/growable.h"

enum { RF_MAX_STOPS = 16 };

struct rf_text_stream {
    struct rf_bytes stops[RF_MAX_STOPS]; /* copies */
    uint32_t stop_count;
    struct rf_bytes text;       /* what has been given out, NUL-terminated */
    struct rf_bytes held;       /* behind it: whole characters that may begin a stop text */
    struct rf_bytes cut;        /* behind that: the start of a character, at most 3 bytes */
    struct rf_bytes token_ends; /* size_t per push: length of all text up to there */
    bool stopped;               /* a stop text was found; it begins right behind `text` */
    bool finished;
};

/* At most RF_MAX_STOPS stop texts, none empty, all UTF-8. On failure nothing needs to be freed. */
enum rf_status rf_text_stream_create(struct rf_text_stream *stream, const char *const *stops,
                                     uint32_t stop_count, struct rf_error *err);
void rf_text_stream_free(struct rf_text_stream *stream); /* zeroed is fine */
/* Forgets the text and keeps the stop texts. */
void rf_text_stream_reset(struct rf_text_stream *stream);

/* The bytes of one token, or none (a token that is not shown). After a stop or the end they are passed
 * over. */
enum rf_status rf_text_stream_push(struct rf_text_stream *stream, const char *bytes, size_t length,
                                   struct rf_error *err);
/* No more tokens: gives out what was held back, unless a stop text begins in it. */
enum rf_status rf_text_stream_finish(struct rf_text_stream *stream, struct rf_error *err);

/* All text given out so far; valid until the next call with this stream. */
const char *rf_text_stream_text(const struct rf_text_stream *stream, size_t *length);
bool rf_text_stream_stopped(const struct rf_text_stream *stream);
/* After a stop: how many of the pushed tokens lie wholly before it. Otherwise: how many were pushed. */
size_t rf_text_stream_tokens(const struct rf_text_stream *stream);

#endif
