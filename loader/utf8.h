/* UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef RF_LOADER_UTF8_H
#define RF_LOADER_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/growable.h"

enum rf_utf8_kind {
    RF_UTF8_WHOLE,  /* one well-formed character */
    RF_UTF8_BROKEN, /* bytes that no continuation can make a character: one U+FFFD */
    RF_UTF8_CUT     /* the text ends inside a character that is well formed so far */
};

/* Length of what stands at the start of text (length >= 1): a character, or the longest run of bytes that one
 * U+FFFD replaces (Unicode's "maximal subpart", which Python's errors="replace" and Rust's from_utf8_lossy
 * follow too). */
size_t rf_utf8_next(const char *text, size_t length, enum rf_utf8_kind *kind);

/* Length of the longest well-formed prefix: `length` when all of it is. */
size_t rf_utf8_valid(const char *text, size_t length);

/* Appends `text` with U+FFFD for what is broken. Unless `final`, a cut character at the end is left alone;
 * *used is how many bytes of `text` were consumed. */
bool rf_utf8_append_replaced(struct rf_bytes *out, const char *text, size_t length, bool final, size_t *used);

/* Code point of a whole character of `size` bytes, and the reverse (returns the size, 1..4). */
uint32_t rf_utf8_decode(const char *text, size_t size);
size_t rf_utf8_encode(uint32_t code, char out[4]);

/* Makes bytes fit for an error message: in double quotes, control and non-UTF-8 bytes as \xNN, long ones
 * cut. */
enum { RF_QUOTE_SIZE = 100 };
const char *rf_quote(char out[RF_QUOTE_SIZE], const char *text, size_t length);

#endif
