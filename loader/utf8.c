#include "loader/utf8.h"

#include <stdio.h>

size_t rf_utf8_next(const char *text, size_t length, enum rf_utf8_kind *kind)
{
    const unsigned char *p = (const unsigned char *)text;
    *kind = RF_UTF8_WHOLE;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4) {
        *kind = RF_UTF8_BROKEN;
        return 1;
    }
    size_t size = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    /* The second byte's range is narrower after these leads: overlong forms, surrogates, above U+10FFFF. */
    unsigned low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < size; i++) {
        if (i == length) {
            *kind = RF_UTF8_CUT;
            return i;
        }
        if (p[i] < low || p[i] > high) {
            *kind = RF_UTF8_BROKEN;
            return i;
        }
        low = 0x80;
        high = 0xBF;
    }
    return size;
}

size_t rf_utf8_valid(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint64_t eight;
        if (length - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                at += sizeof eight;
                continue;
            }
        }
        enum rf_utf8_kind kind;
        size_t size = rf_utf8_next(text + at, length - at, &kind);
        if (kind != RF_UTF8_WHOLE)
            return at;
        at += size;
    }
    return length;
}

bool rf_utf8_append_replaced(struct rf_bytes *out, const char *text, size_t length, bool final, size_t *used)
{
    size_t at = 0;
    while (at < length) {
        size_t whole = rf_utf8_valid(text + at, length - at);
        if (!rf_bytes_append(out, text + at, whole))
            return false;
        at += whole;
        if (at == length)
            break;
        enum rf_utf8_kind kind;
        size_t size = rf_utf8_next(text + at, length - at, &kind);
        if (kind == RF_UTF8_CUT && !final)
            break;
        if (!rf_bytes_append(out, "\xEF\xBF\xBD", 3))
            return false;
        at += size;
    }
    *used = at;
    return true;
}

uint32_t rf_utf8_decode(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    switch (size) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    case 3:
        return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    default:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
    }
}

size_t rf_utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

const char *rf_quote(char out[RF_QUOTE_SIZE], const char *text, size_t length)
{
    size_t used = 0, at = 0;
    out[used++] = '"';
    while (at < length) {
        enum rf_utf8_kind kind;
        size_t size = rf_utf8_next(text + at, length - at, &kind);
        if (used + 4 * size + 5 >= RF_QUOTE_SIZE) { /* room for this one escaped, and for ..." */
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        unsigned char first = (unsigned char)text[at];
        if (kind == RF_UTF8_WHOLE && first >= 0x20 && first != 0x7F) {
            memcpy(out + used, text + at, size);
            used += size;
        } else {
            for (size_t i = 0; i < size; i++)
                used += (size_t)snprintf(out + used, 5, "\\x%02X", (unsigned char)text[at + i]);
        }
        at += size;
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}
