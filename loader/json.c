#include "loader/json.h"
#include "engine/allocate.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Copies text as one printable line into `room` bytes, cut between UTF-8 characters. */
static void put_printable(char *out, size_t room, const char *text, size_t length)
{
    size_t take = length < room ? length : room - 1;
    while (take < length && take > 0 && ((unsigned char)text[take] & 0xc0) == 0x80)
        take--;
    for (size_t i = 0; i < take; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = c < 0x20 || c == 0x7f ? '?' : text[i];
    }
    out[take] = '\0';
}

/* ---- Checking the text (RFC 8259) before cJSON sees it ------------------------------------------------- */

struct scanner {
    const char *file, *text;
    size_t size, at;
    size_t values, max_values;
    size_t key_at, key_length; /* the last key, without its quotes, to tell where the trouble is */
    struct rf_error *err;
};

static enum rf_status bad_text(const struct scanner *s, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < s->at && i < s->size; i++) {
        column = s->text[i] == '\n' ? 1 : column + 1;
        line += s->text[i] == '\n';
    }
    char after[64] = "", key[48];
    if (s->key_length) {
        put_printable(key, sizeof key, s->text + s->key_at, s->key_length);
        snprintf(after, sizeof after, ", after \"%s\"", key);
    }
    return rf_fail(s->err, RF_ERROR_FORMAT, "%s: line %zu, column %zu%s: not valid JSON: %s", s->file, line,
                   column, after, what);
}

static int peek(const struct scanner *s)
{
    return s->at < s->size ? (unsigned char)s->text[s->at] : -1;
}

static void skip_space(struct scanner *s)
{
    for (int c = peek(s); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(s))
        s->at++;
}

static bool skip_digits(struct scanner *s)
{
    size_t start = s->at;
    while (peek(s) >= '0' && peek(s) <= '9')
        s->at++;
    return s->at > start;
}

static enum rf_status scan_number(struct scanner *s)
{
    size_t start = s->at;
    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0')
        s->at++;
    else if (!skip_digits(s))
        return bad_text(s, "a value was wanted here");
    if (peek(s) == '.') {
        s->at++;
        if (!skip_digits(s))
            return bad_text(s, "a number ends in a point");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!skip_digits(s))
            return bad_text(s, "a number has an empty exponent");
    }
    /* cJSON copies a number into 64 bytes and would read a longer one wrongly. */
    return s->at - start < 60 ? RF_OK : bad_text(s, "a number of 60 characters or more");
}

/* The four hex digits after \u, or -1. */
static int32_t scan_hex4(struct scanner *s)
{
    int32_t code = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        if (c < 0 || !isxdigit(c))
            return -1;
        code = code * 16 + (isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
    }
    return code;
}

static enum rf_status scan_escape(struct scanner *s)
{
    int c = peek(s);
    s->at++;
    if (c > 0 && strchr("\"\\/bfnrt", c))
        return RF_OK;
    if (c != 'u')
        return bad_text(s, "an unknown escape in a string");
    int32_t code = scan_hex4(s);
    if (code < 0)
        return bad_text(s, "\\u without four hex digits");
    if (code == 0)
        return bad_text(s, "\\u0000 in a string");
    if (code >= 0xdc00 && code <= 0xdfff)
        return bad_text(s, "a low surrogate without a high one");
    if (code < 0xd800 || code > 0xdbff)
        return RF_OK;
    if (peek(s) != '\\' || s->at + 1 >= s->size || s->text[s->at + 1] != 'u')
        return bad_text(s, "a high surrogate without a low one");
    s->at += 2;
    code = scan_hex4(s);
    return code >= 0xdc00 && code <= 0xdfff ? RF_OK : bad_text(s, "a high surrogate without a low one");
}

/* Starts behind the opening quote. */
static enum rf_status scan_string(struct scanner *s)
{
    while (peek(s) != '"') {
        int c = peek(s);
        if (c < 0)
            return bad_text(s, "the text ends inside a string");
        if (c < 0x20)
            return bad_text(s, "a control character in a string");
        if (c == '\\') {
            s->at++;
            enum rf_status status = scan_escape(s);
            if (status)
                return status;
        } else if (c < 0x80) {
            s->at++;
        } else {
            utf8proc_int32_t point;
            size_t left = s->size - s->at;
            utf8proc_ssize_t taken = utf8proc_iterate((const utf8proc_uint8_t *)s->text + s->at,
                                                      left < 4 ? (utf8proc_ssize_t)left : 4, &point);
            if (taken <= 0)
                return bad_text(s, "invalid UTF-8 in a string");
            s->at += (size_t)taken;
        }
    }
    s->at++;
    return RF_OK;
}

static bool skip_word(struct scanner *s, const char *word)
{
    size_t length = strlen(word);
    if (s->size - s->at < length || memcmp(s->text + s->at, word, length) != 0)
        return false;
    s->at += length;
    return true;
}

static enum rf_status scan_scalar(struct scanner *s)
{
    if (peek(s) == '"') {
        s->at++;
        return scan_string(s);
    }
    if (skip_word(s, "true") || skip_word(s, "false") || skip_word(s, "null"))
        return RF_OK;
    /* What Python's json module writes for them. */
    if (skip_word(s, "NaN") || skip_word(s, "Infinity") || skip_word(s, "-Infinity"))
        return bad_text(s, "NaN or Infinity, wanted a number");
    return scan_number(s);
}

/* "key": and the space around it. */
static enum rf_status scan_key(struct scanner *s)
{
    skip_space(s);
    if (peek(s) != '"')
        return bad_text(s, "a key in quotes was wanted here");
    size_t start = ++s->at;
    enum rf_status status = scan_string(s);
    if (status)
        return status;
    s->key_at = start;
    s->key_length = s->at - start - 1;
    skip_space(s);
    if (peek(s) != ':')
        return bad_text(s, "':' was wanted here");
    s->at++;
    return RF_OK;
}

/* After a value: commas and closing brackets, up to where the next value starts or the text is over
 * (*depth == 0). */
static enum rf_status scan_after_value(struct scanner *s, const char *closers, size_t *depth)
{
    while (*depth > 0) {
        skip_space(s);
        char closer = closers[*depth - 1];
        if (peek(s) == ',') {
            s->at++;
            return closer == '}' ? scan_key(s) : RF_OK;
        }
        if (peek(s) != closer)
            return bad_text(s, closer == '}' ? "',' or '}' was wanted here" : "',' or ']' was wanted here");
        s->at++;
        --*depth;
    }
    return RF_OK;
}

static enum rf_status scan_text(struct scanner *s)
{
    char closers[RF_JSON_MAX_DEPTH];
    size_t depth = 0;
    enum rf_status status;
    do {
        skip_space(s);
        if (++s->values > s->max_values)
            return rf_fail(s->err, RF_ERROR_FORMAT, "%s: more than %zu JSON values", s->file, s->max_values);
        int c = peek(s);
        if (c == '{' || c == '[') {
            if (depth == RF_JSON_MAX_DEPTH)
                return bad_text(s, "nested too deeply");
            char closer = c == '{' ? '}' : ']';
            s->at++;
            skip_space(s);
            closers[depth++] = closer;
            if (peek(s) != closer) {
                status = closer == '}' ? scan_key(s) : RF_OK;
                if (status)
                    return status;
                continue;
            }
        } else if ((status = scan_scalar(s)) != RF_OK) {
            return status;
        }
        if ((status = scan_after_value(s, closers, &depth)) != RF_OK)
            return status;
    } while (depth > 0);
    skip_space(s);
    return s->at == s->size ? RF_OK : bad_text(s, "more text after the value");
}

/* ---- Equal keys ---------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum rf_status check_object_keys(const cJSON *object, const char *file, struct rf_error *err)
{
    size_t count = 0;
    for (const cJSON *member = object->child; member; member = member->next)
        count++;
    if (count < 2)
        return RF_OK;
    const char **keys = rf_malloc(count * sizeof *keys);
    if (!keys)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory", file);
    size_t filled = 0;
    for (const cJSON *member = object->child; member; member = member->next)
        keys[filled++] = member->string;
    qsort(keys, count, sizeof *keys, compare_keys);
    enum rf_status status = RF_OK;
    for (size_t i = 1; i < count && !status; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = rf_fail(err, RF_ERROR_FORMAT, "%s: %s: the key appears twice in one object, wanted once",
                             file, rf_json_printable(keys[i]).text);
    rf_free(keys);
    return status;
}

/* Depth is bounded by the scan, so recursion is too. */
static enum rf_status check_keys(const cJSON *value, const char *file, struct rf_error *err)
{
    if (cJSON_IsObject(value)) {
        enum rf_status status = check_object_keys(value, file, err);
        if (status)
            return status;
    }
    for (const cJSON *child = value->child; child; child = child->next) {
        if (!child->child)
            continue;
        enum rf_status status = check_keys(child, file, err);
        if (status)
            return status;
    }
    return RF_OK;
}

/* ---- Parsing ------------------------------------------------------------------------------------------- */

enum rf_status rf_json_parse(cJSON **out, const char *file, const char *text, size_t size, size_t max_values,
                             struct rf_error *err)
{
    *out = NULL;
    struct scanner scanner = {.file = file, .text = text, .size = size, .max_values = max_values, .err = err};
    enum rf_status status = scan_text(&scanner);
    if (status)
        return status;
    cJSON *tree = cJSON_ParseWithLength(text, size);
    if (!tree)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory while reading %zu bytes of JSON", file,
                       size);
    status = check_keys(tree, file, err);
    if (status)
        cJSON_Delete(tree);
    else
        *out = tree;
    return status;
}

/* ---- Words for messages -------------------------------------------------------------------------------- */

struct rf_json_words rf_json_printable(const char *text)
{
    struct rf_json_words words;
    put_printable(words.text, sizeof words.text, text, strlen(text));
    return words;
}

struct rf_json_words rf_json_describe(const cJSON *value)
{
    struct rf_json_words words = {0};
    if (!value)
        snprintf(words.text, sizeof words.text, "nothing");
    else if (cJSON_IsNumber(value))
        snprintf(words.text, sizeof words.text, "%.17g", value->valuedouble);
    else if (cJSON_IsString(value)) {
        char inner[sizeof words.text - 2];
        put_printable(inner, sizeof inner, value->valuestring, strlen(value->valuestring));
        snprintf(words.text, sizeof words.text, "\"%s\"", inner);
    } else if (cJSON_IsBool(value))
        snprintf(words.text, sizeof words.text, cJSON_IsTrue(value) ? "true" : "false");
    else
        snprintf(words.text, sizeof words.text, "%s",
                 cJSON_IsNull(value)    ? "null"
                 : cJSON_IsArray(value) ? "an array"
                                        : "an object");
    return words;
}

/* ---- Fields -------------------------------------------------------------------------------------------- */

static const cJSON *member_or_null(struct rf_json_at at, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(at.object, key);
}

const cJSON *rf_json_member(struct rf_json_at at, const char *key)
{
    const cJSON *value = member_or_null(at, key);
    return cJSON_IsNull(value) ? NULL : value;
}

bool rf_json_is_uint(const cJSON *value, uint64_t min, uint64_t max, uint64_t *out)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    /* Written so that NaN fails every branch. */
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0.0 && value->valuedouble <= exact))
        return false;
    uint64_t whole = (uint64_t)value->valuedouble;
    if ((double)whole != value->valuedouble || whole < min || whole > max)
        return false;
    *out = whole;
    return true;
}

enum rf_status rf_json_uint(struct rf_json_at at, const char *key, uint64_t min, uint64_t max, uint64_t *out,
                            struct rf_error *err)
{
    const cJSON *value = member_or_null(at, key);
    if (rf_json_is_uint(value, min, max, out))
        return RF_OK;
    return rf_fail(err, RF_ERROR_FORMAT, "%s: %s%s is %s, wanted a whole number from %" PRIu64 " to %" PRIu64,
                   at.file, at.path, key, rf_json_describe(value).text, min, max);
}

enum rf_status rf_json_number(struct rf_json_at at, const char *key, double min, double max, double *out,
                              struct rf_error *err)
{
    const cJSON *value = member_or_null(at, key);
    if (cJSON_IsNumber(value) && value->valuedouble >= min && value->valuedouble <= max) {
        *out = value->valuedouble;
        return RF_OK;
    }
    return rf_fail(err, RF_ERROR_FORMAT, "%s: %s%s is %s, wanted a number from %g to %g", at.file, at.path,
                   key, rf_json_describe(value).text, min, max);
}

enum rf_status rf_json_bool(struct rf_json_at at, const char *key, bool fallback, bool *out,
                            struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, key);
    if (value && !cJSON_IsBool(value))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: %s%s is %s, wanted true or false", at.file, at.path, key,
                       rf_json_describe(value).text);
    *out = value ? cJSON_IsTrue(value) : fallback;
    return RF_OK;
}

enum rf_status rf_json_string(struct rf_json_at at, const char *key, const char **out, struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, key);
    if (value && !cJSON_IsString(value))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: %s%s is %s, wanted a string", at.file, at.path, key,
                       rf_json_describe(value).text);
    *out = value ? value->valuestring : NULL;
    return RF_OK;
}
