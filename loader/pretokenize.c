#define PCRE2_CODE_UNIT_WIDTH 8
#include "loader/pretokenize.h"

#include <ctype.h>
#include <pcre2.h>
#include <utf8proc.h>

#include "engine/allocate.h"
#include "loader/utf8.h"

/* ---- NFC ----------------------------------------------------------------------------------------------- */

struct codes {
    utf8proc_int32_t *data;
    size_t length, capacity;
};

static bool codes_reserve(struct codes *codes, size_t more)
{
    if (codes->capacity - codes->length >= more)
        return true;
    size_t capacity = codes->capacity * 2 + more + 64;
    if (capacity > SIZE_MAX / sizeof *codes->data)
        return false;
    utf8proc_int32_t *data = rf_realloc(codes->data, capacity * sizeof *data);
    if (!data)
        return false;
    codes->data = data;
    codes->capacity = capacity;
    return true;
}

static bool decompose(struct codes *codes, utf8proc_int32_t code)
{
    enum { LONGEST = 32 }; /* canonical decompositions are at most 4 code points */
    if (!codes_reserve(codes, LONGEST))
        return false;
    int boundary = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char(code, codes->data + codes->length, LONGEST,
                                                     UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    if (count < 0 || count > LONGEST)
        return false;
    codes->length += (size_t)count;
    return true;
}

static unsigned combining_class(utf8proc_int32_t code)
{
    return (unsigned)utf8proc_get_property(code)->combining_class & 0xFFu;
}

/* Stable sort of marks[0..count) by combining class, in linear time: a text may hold a million marks in a
 * row. */
static bool sort_marks(utf8proc_int32_t *marks, size_t count)
{
    size_t i = 1;
    while (i < count && combining_class(marks[i - 1]) <= combining_class(marks[i]))
        i++;
    if (i >= count)
        return true;
    utf8proc_int32_t *copy = rf_malloc(count * sizeof *copy);
    if (!copy)
        return false;
    memcpy(copy, marks, count * sizeof *copy);
    size_t starts[257] = {0};
    for (i = 0; i < count; i++)
        starts[combining_class(copy[i]) + 1]++;
    for (i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (i = 0; i < count; i++)
        marks[starts[combining_class(copy[i])]++] = copy[i];
    rf_free(copy);
    return true;
}

static bool order_marks(struct codes *codes)
{
    for (size_t at = 0; at < codes->length;) {
        size_t end = at;
        while (end < codes->length && combining_class(codes->data[end]) != 0)
            end++;
        if (!sort_marks(codes->data + at, end - at))
            return false;
        at = end + 1;
    }
    return true;
}

static bool nfc_run(const char *text, size_t length, struct codes *codes, struct rf_bytes *out)
{
    codes->length = 0;
    for (size_t at = 0; at < length;) {
        enum rf_utf8_kind kind;
        size_t size = rf_utf8_next(text + at, length - at, &kind);
        if (!decompose(codes, (utf8proc_int32_t)rf_utf8_decode(text + at, size)))
            return false;
        at += size;
    }
    if (!order_marks(codes))
        return false;
    utf8proc_ssize_t count = utf8proc_normalize_utf32(codes->data, (utf8proc_ssize_t)codes->length,
                                                      UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char utf8[4];
        size_t size = rf_utf8_encode((uint32_t)codes->data[i], utf8);
        if (!rf_bytes_append(out, utf8, size))
            return false;
    }
    return count >= 0;
}

/* Everything below U+0300 (lead bytes below 0xCC) is in NFC, and starts afresh: it never joins what stands
 * before it, but a mark may join it. So only runs of characters from U+0300 on, each with the character
 * before, need work. */
static size_t plain_end(const char *text, size_t at, size_t length)
{
    while (at < length && (unsigned char)text[at] < 0xCC)
        at++;
    return at;
}

bool rf_nfc(const char *text, size_t length, struct rf_bytes *out)
{
    struct codes codes = {0};
    bool ok = rf_bytes_reserve(out, length);
    for (size_t at = 0; ok && at < length;) {
        size_t run = plain_end(text, at, length);
        if (run < length)
            while (run > at && ((unsigned char)text[--run] & 0xC0) == 0x80)
                continue;
        ok = rf_bytes_append(out, text + at, run - at);
        if (run == length)
            break;
        size_t end = plain_end(text, run, length);
        while (end < length && (unsigned char)text[end] >= 0xCC) {
            enum rf_utf8_kind kind;
            end += rf_utf8_next(text + end, length - end, &kind);
        }
        ok = ok && nfc_run(text + run, end - run, &codes, out);
        at = end;
    }
    rf_free(codes.data);
    return ok;
}

/* ---- The split pattern --------------------------------------------------------------------------------- */

struct rf_splitter {
    pcre2_code *code;
};

struct translation {
    const char *pattern;
    size_t length, at;
    const char *where;
    bool in_class;
    struct rf_bytes out;
};

static enum rf_status refuse(const struct translation *t, size_t size, struct rf_error *err)
{
    char quoted[RF_QUOTE_SIZE];
    size_t left = t->length - t->at;
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: the pattern holds %s at byte %zu, which is not supported",
                   t->where, rf_quote(quoted, t->pattern + t->at, size < left ? size : left), t->at);
}

static bool copy(struct translation *t, size_t size)
{
    if (!rf_bytes_append(&t->out, t->pattern + t->at, size))
        return false;
    t->at += size;
    return true;
}

static enum rf_status no_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "tokenizer: out of memory");
}

/* \p{L}, \P{Nd}: general categories, one or two letters. */
static size_t category_size(const char *p, size_t left)
{
    if (left < 5 || p[2] != '{' || !isupper((unsigned char)p[3]))
        return 0;
    size_t size = islower((unsigned char)p[4]) ? 6 : 5;
    return left >= size && p[size - 1] == '}' ? size : 0;
}

static enum rf_status translate_escape(struct translation *t, struct rf_error *err)
{
    const char *p = t->pattern + t->at;
    size_t left = t->length - t->at;
    if (left < 2)
        return refuse(t, 1, err);
    size_t size = 2;
    switch (p[1]) {
    case 's': /* PCRE2's \s takes U+180E, Oniguruma's does not; both know the property White_Space */
    case 'S':
        t->at += 2;
        return rf_bytes_append(&t->out, p[1] == 's' ? "\\p{wspace}" : "\\P{wspace}", 10) ? RF_OK
                                                                                         : no_memory(err);
    case 'p':
    case 'P':
        size = category_size(p, left);
        if (!size)
            return refuse(t, 8, err);
        break;
    case 'r':
    case 'n':
    case 't':
    case 'f':
    case 'd':
    case 'D':
        break;
    default:
        if (!ispunct((unsigned char)p[1]))
            return refuse(t, 2, err);
    }
    return copy(t, size) ? RF_OK : no_memory(err);
}

/* (?: (?i: (?= (?! (?<= (?<! (?> and plain groups. */
static size_t group_size(const char *p, size_t left)
{
    static const char *const opens[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) {
        size_t size = strlen(opens[i]);
        if (left >= size && !memcmp(p, opens[i], size))
            return size;
    }
    return left > 1 && (p[1] == '?' || p[1] == '*') ? 0 : 1;
}

/* {2}, {2,} or {2,5}, at most 3 digits, with no + or ? behind it: there the two syntaxes part. */
static size_t interval_size(const char *p, size_t left)
{
    size_t at = 1;
    while (at < left && at < 4 && isdigit((unsigned char)p[at]))
        at++;
    if (at == 1)
        return 0;
    if (at < left && p[at] == ',') {
        size_t comma = at++;
        while (at < left && at - comma < 4 && isdigit((unsigned char)p[at]))
            at++;
    }
    if (at >= left || p[at] != '}')
        return 0;
    at++;
    return at < left && (p[at] == '+' || p[at] == '?' || p[at] == '*' || p[at] == '{') ? 0 : at;
}

static enum rf_status translate_class_start(struct translation *t, struct rf_error *err)
{
    const char *p = t->pattern + t->at;
    size_t left = t->length - t->at;
    size_t size = left > 1 && p[1] == '^' ? 2 : 1;
    if (size < left && p[size] == ']')
        return refuse(t, size + 1, err);
    t->in_class = true;
    return copy(t, size) ? RF_OK : no_memory(err);
}

static enum rf_status translate_one(struct translation *t, struct rf_error *err)
{
    const char *p = t->pattern + t->at;
    size_t left = t->length - t->at, size = 1;
    if (p[0] == '\\')
        return translate_escape(t, err);
    if (t->in_class) {
        if (p[0] == '[' || (p[0] == '&' && left > 1 && p[1] == '&'))
            return refuse(t, 2, err);
        if (p[0] == ']')
            t->in_class = false;
        return copy(t, 1) ? RF_OK : no_memory(err);
    }
    switch (p[0]) {
    case '[':
        return translate_class_start(t, err);
    case '(':
        size = group_size(p, left);
        break;
    case '{':
        size = interval_size(p, left);
        break;
    case '}':
    case ']':
    case '.': /* ends of lines differ */
    case '^':
    case '$':
        size = 0;
        break;
    default:
        break;
    }
    if (!size)
        return refuse(t, 4, err);
    return copy(t, size) ? RF_OK : no_memory(err);
}

static void *allocate(size_t size, void *user)
{
    (void)user;
    return rf_malloc(size);
}

static void give_back(void *block, void *user)
{
    (void)user;
    rf_free(block);
}

/* A copy of the functions stays with whatever PCRE2 makes for it; made for single calls because a splitter is shared by
 * threads of different allocators. */
static pcre2_general_context *pcre2_memory(void)
{
    return pcre2_general_context_create(allocate, give_back, NULL);
}

static enum rf_status compile(struct rf_splitter *splitter, const struct rf_bytes *pattern, const char *where,
                              struct rf_error *err)
{
    int code = PCRE2_ERROR_HEAP_FAILED;
    PCRE2_SIZE offset = 0;
    pcre2_general_context *memory = pcre2_memory();
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    if (context)
        splitter->code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->length,
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, context);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (!splitter->code && code == PCRE2_ERROR_HEAP_FAILED)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory for the pattern", where);
    if (!splitter->code) {
        PCRE2_UCHAR text[160] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return rf_fail(err, RF_ERROR_FORMAT, "%s: the pattern does not compile: %s", where,
                       (const char *)text);
    }
    uint32_t matches_empty = 0;
    pcre2_pattern_info(splitter->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: the pattern can match the empty text, which is not supported", where);
    /* Without JIT (forbidden by the system, or not built in) pcre2_match interprets: slower, same result. */
    (void)pcre2_jit_compile(splitter->code, PCRE2_JIT_COMPLETE);
    return RF_OK;
}

enum rf_status rf_splitter_create(struct rf_splitter **out, const char *pattern, size_t length,
                                  const char *where, struct rf_error *err)
{
    enum { LONGEST = 4096 };
    *out = NULL;
    if (length == 0 || length > LONGEST)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: the pattern has %zu bytes, wanted 1 to %d", where,
                       length, LONGEST);
    struct translation t = {.pattern = pattern, .length = length, .where = where};
    enum rf_status status = RF_OK;
    while (!status && t.at < t.length)
        status = translate_one(&t, err);
    struct rf_splitter *splitter = NULL;
    if (!status) {
        splitter = rf_calloc(1, sizeof *splitter);
        status = splitter ? compile(splitter, &t.out, where, err) : no_memory(err);
    }
    rf_free(t.out.data);
    if (status) {
        rf_splitter_destroy(splitter);
        return status;
    }
    *out = splitter;
    return RF_OK;
}

void rf_splitter_destroy(struct rf_splitter *splitter)
{
    if (!splitter)
        return;
    pcre2_code_free(splitter->code);
    rf_free(splitter);
}

/* ---- Splitting ----------------------------------------------------------------------------------------- */

enum rf_status rf_split_begin(struct rf_split *split, const struct rf_splitter *splitter, const char *text,
                              size_t length, struct rf_error *err)
{
    pcre2_general_context *memory = pcre2_memory();
    if (memory && !split->match)
        split->match = pcre2_match_data_create(1, memory);
    if (memory && !split->context)
        split->context = pcre2_match_context_create(memory);
    pcre2_general_context_free(memory);
    if (!split->match || !split->context)
        return no_memory(err);
    /* An honest pattern backs up a few times per byte of one run; one that explodes stops here instead of
     * hanging. */
    size_t limit = 1000000 + 16 * (length < UINT32_MAX / 32 ? length : UINT32_MAX / 32);
    pcre2_set_match_limit(split->context, (uint32_t)limit);
    split->splitter = splitter;
    split->text = text;
    split->length = length;
    split->at = split->match_start = split->match_end = 0;
    return RF_OK;
}

/* Finds the next match from split->at on; at the text's end when there is none. */
static enum rf_status find(struct rf_split *split, struct rf_error *err)
{
    PCRE2_SPTR text = (PCRE2_SPTR)split->text;
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int found = pcre2_match(split->splitter->code, text, split->length, split->at, options, split->match,
                            split->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(split->splitter->code, text, split->length, split->at, options | PCRE2_NO_JIT,
                            split->match, split->context);
    if (found == PCRE2_ERROR_NOMEMORY)
        return no_memory(err);
    if (found == PCRE2_ERROR_NOMATCH) {
        split->match_start = split->match_end = split->length;
        return RF_OK;
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(split->match);
    /* Lookarounds can make even a pattern that "matches no empty text" report an empty or backward range. */
    if (found >= 0 && range[0] >= split->at && range[1] > range[0]) {
        split->match_start = range[0];
        split->match_end = range[1];
        return RF_OK;
    }
    PCRE2_UCHAR reason[160] = "an empty match";
    if (found < 0)
        pcre2_get_error_message(found, reason, sizeof reason);
    return rf_fail(err, RF_ERROR_UNSUPPORTED,
                   "tokenizer: the split pattern gave up at byte %zu of the text: %s", split->at,
                   (const char *)reason);
}

enum rf_status rf_split_next(struct rf_split *split, size_t *start, size_t *end, struct rf_error *err)
{
    *start = *end = split->at;
    if (split->at == split->length)
        return RF_OK;
    if (split->at != split->match_start || split->match_end == split->match_start) {
        enum rf_status status = find(split, err);
        if (status)
            return status;
    }
    *end = split->at < split->match_start ? split->match_start : split->match_end;
    split->at = *end;
    return RF_OK;
}

void rf_split_free(struct rf_split *split)
{
    pcre2_match_data_free(split->match);
    pcre2_match_context_free(split->context);
    *split = (struct rf_split){0};
}
