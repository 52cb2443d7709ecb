/* loader/text_stream: whole characters only, stop texts by first position, whatever way the bytes are cut. */
#include "loader/text_stream.h"

#include "loader/utf8.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rf_text_stream create(const char *const *stops, uint32_t count)
{
    struct rf_text_stream stream;
    struct rf_error err = {0};
    if (rf_text_stream_create(&stream, stops, count, &err))
        fail_msg("%s", err.message);
    return stream;
}

static void push(struct rf_text_stream *stream, const char *bytes)
{
    assert_int_equal(rf_text_stream_push(stream, bytes, strlen(bytes), NULL), RF_OK);
}

static void finish(struct rf_text_stream *stream)
{
    assert_int_equal(rf_text_stream_finish(stream, NULL), RF_OK);
}

static void assert_text(const struct rf_text_stream *stream, const char *wanted)
{
    size_t length = 0;
    const char *text = rf_text_stream_text(stream, &length);
    assert_string_equal(text, wanted);
    assert_int_equal(length, strlen(wanted));
}

static void test_whole_characters(void **state)
{
    (void)state;
    struct rf_text_stream stream = create(NULL, 0);
    assert_text(&stream, "");
    push(&stream, "a\xE6\x97");
    assert_text(&stream, "a");
    push(&stream, "\xA5");
    assert_text(&stream, "a日");
    push(&stream, "\xF0\x9F");
    push(&stream, "");
    push(&stream, "\x98");
    assert_text(&stream, "a日");
    push(&stream, "\x80.");
    assert_text(&stream, "a日😀.");
    push(&stream, "\xE6\x97");
    finish(&stream);
    assert_text(&stream, "a日😀.\xEF\xBF\xBD");
    push(&stream, "late");
    assert_text(&stream, "a日😀.\xEF\xBF\xBD");
    assert_int_equal(rf_text_stream_tokens(&stream), 7);
    rf_text_stream_free(&stream);
}

/* One U+FFFD for each maximal subpart, as Python's errors="replace" gives. */
static void test_broken_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *wanted;
    } cases[] = {
        {"\x80", "\uFFFD"},
        {"a\xFFz", "a\uFFFDz"},
        {"\xE6\x97z", "\uFFFDz"},
        {"\xC0\xAF", "\uFFFD\uFFFD"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", "\uFFFD😀"},
        {"\xE0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rf_text_stream stream = create(NULL, 0);
        for (const char *byte = cases[i].bytes; *byte; byte++)
            assert_int_equal(rf_text_stream_push(&stream, byte, 1, NULL), RF_OK);
        finish(&stream);
        assert_text(&stream, cases[i].wanted);
        rf_text_stream_free(&stream);
    }
}

static void test_stop_over_tokens(void **state)
{
    (void)state;
    static const char *const stops[] = {"\n\n", "END"};
    struct rf_text_stream stream = create(stops, 2);
    push(&stream, "one\n");
    assert_text(&stream, "one"); /* the line end may begin a stop text */
    push(&stream, "two E");
    assert_text(&stream, "one\ntwo ");
    push(&stream, "N");
    push(&stream, "d E");
    assert_text(&stream, "one\ntwo ENd ");
    push(&stream, "ND and more");
    assert_true(rf_text_stream_stopped(&stream));
    assert_text(&stream, "one\ntwo ENd ");
    assert_int_equal(rf_text_stream_tokens(&stream), 3); /* the fourth holds the stop text's E */
    push(&stream, "nothing");
    finish(&stream);
    assert_text(&stream, "one\ntwo ENd ");
    rf_text_stream_reset(&stream);
    assert_text(&stream, "");
    assert_false(rf_text_stream_stopped(&stream));
    push(&stream, "aEN");
    finish(&stream);
    assert_text(&stream, "aEN");
    assert_false(rf_text_stream_stopped(&stream));
    rf_text_stream_free(&stream);
}

/* "c" is complete first, but "abcd" may begin before it: the first by position counts. */
static void test_overlapping_stops(void **state)
{
    (void)state;
    static const char *const stops[] = {"c", "abcd"};
    struct rf_text_stream stream = create(stops, 2);
    push(&stream, "xabc");
    assert_text(&stream, "x");
    assert_false(rf_text_stream_stopped(&stream));
    push(&stream, "d");
    assert_true(rf_text_stream_stopped(&stream));
    assert_text(&stream, "x");
    assert_int_equal(rf_text_stream_tokens(&stream), 0);
    rf_text_stream_reset(&stream);
    push(&stream, "xabc");
    push(&stream, "e");
    assert_true(rf_text_stream_stopped(&stream));
    assert_text(&stream, "xab");
    rf_text_stream_reset(&stream);
    push(&stream, "xabc");
    finish(&stream);
    assert_true(rf_text_stream_stopped(&stream));
    assert_text(&stream, "xab");
    rf_text_stream_free(&stream);
}

static void test_refused(void **state)
{
    (void)state;
    struct rf_text_stream stream;
    struct rf_error err = {0};
    static const char *const empty[] = {"ok", ""};
    assert_int_equal(rf_text_stream_create(&stream, empty, 2, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "stop text 2: empty, wanted at least one character");
    static const char *const broken[] = {"a\xFF"};
    assert_int_equal(rf_text_stream_create(&stream, broken, 1, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "stop text 1: invalid UTF-8 at byte 1");
    const char *many[RF_MAX_STOPS + 1];
    for (int i = 0; i <= RF_MAX_STOPS; i++)
        many[i] = "x";
    assert_int_equal(rf_text_stream_create(&stream, many, RF_MAX_STOPS + 1, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "stop texts: 17, wanted at most 16");
    stream = create(many, RF_MAX_STOPS);
    rf_text_stream_free(&stream);
}

/* The plain meaning: replace, then cut at the lowest position where a stop text stands. */
static char *plainly(const char *bytes, size_t length, const char *const *stops, uint32_t count,
                     bool *stopped)
{
    struct rf_bytes out = {0};
    size_t used = 0;
    assert_true(rf_utf8_append_replaced(&out, bytes, length, true, &used) && rf_bytes_terminate(&out));
    size_t end = out.length;
    *stopped = false;
    for (size_t at = 0; at < out.length && !*stopped; at++)
        for (uint32_t i = 0; i < count; i++)
            if (!strncmp(out.data + at, stops[i], strlen(stops[i]))) {
                end = at;
                *stopped = true;
            }
    out.data[end] = '\0';
    return out.data;
}

static void test_random_cuts(void **state)
{
    (void)state;
    static const char *const pool[] = {"ab", "aba", "bb", "é", "\n", "abab", "日", "a日", "\uFFFD"};
    static const char *const parts[] = {"a",    "b",    "\xC3", "\xA9", "é",    "\n",
                                        "\xE6", "\x97", "\xA5", "日",   "\xFF", "x"};
    unsigned seed = 12345;
    for (int run = 0; run < 20000; run++) {
        const char *stops[3];
        char bytes[64] = "";
        uint32_t count = (uint32_t)(rand_r(&seed) % 4);
        for (uint32_t i = 0; i < count; i++)
            stops[i] = pool[(size_t)rand_r(&seed) % (sizeof pool / sizeof *pool)];
        for (int i = rand_r(&seed) % 16; i > 0; i--)
            strcat(bytes, parts[(size_t)rand_r(&seed) % (sizeof parts / sizeof *parts)]);
        size_t length = strlen(bytes), shown = 0;
        struct rf_text_stream stream = create(stops, count);
        for (size_t at = 0; at < length;) {
            size_t size = 1 + (size_t)rand_r(&seed) % 4;
            if (size > length - at)
                size = length - at;
            assert_int_equal(rf_text_stream_push(&stream, bytes + at, size, NULL), RF_OK);
            at += size;
            size_t now = 0;
            const char *text = rf_text_stream_text(&stream, &now);
            assert_true(now >= shown && rf_utf8_valid(text, now) == now);
            shown = now;
        }
        finish(&stream);
        bool stopped;
        char *wanted = plainly(bytes, length, stops, count, &stopped);
        assert_text(&stream, wanted);
        assert_int_equal(rf_text_stream_stopped(&stream), stopped);
        rf_free(wanted);
        rf_text_stream_free(&stream);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_characters), cmocka_unit_test(test_broken_bytes),
        cmocka_unit_test(test_stop_over_tokens), cmocka_unit_test(test_overlapping_stops),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_random_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
