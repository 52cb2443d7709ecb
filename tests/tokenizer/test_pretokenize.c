/* loader/pretokenize and loader/bpe on their own: NFC, the pattern's translation, and words of a megabyte. */
#include "loader/pretokenize.h"

#include "loader/bpe.h"
#include "loader/utf8.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

static void assert_nfc(const char *text, const char *wanted)
{
    struct rf_bytes out = {0};
    assert_true(rf_nfc(text, strlen(text), &out) && rf_bytes_terminate(&out));
    assert_string_equal(out.data, wanted);
    rf_free(out.data);
}

static void test_nfc(void **state)
{
    (void)state;
    assert_nfc("", "");
    assert_nfc("plain", "plain");
    assert_nfc("e\u0301", "é");
    assert_nfc("xe\u0301y", "xéy");
    assert_nfc("é\u0301", "é\u0301");
    assert_nfc("\u212B", "Å");                    /* a singleton */
    assert_nfc("\u0344", "\u0308\u0301");         /* decomposes and stays so */
    assert_nfc("q\u0307\u0323", "q\u0323\u0307"); /* marks are put in order */
    assert_nfc("\u1100\u1161\u11A8", "각");       /* Hangul */
    assert_nfc("\u0958", "\u0915\u093C");         /* excluded from composition */
    assert_nfc("\u0301a", "\u0301a");
    assert_nfc("日本e\u0301語", "日本é語");
}

/* Against utf8proc's own one-call normalisation, on random text. */
static void test_nfc_random(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int run = 0; run < 20000; run++) {
        struct rf_bytes text = {0}, out = {0};
        for (int i = rand_r(&seed) % 20; i >= 0; i--) {
            static const uint32_t starts[] = {0x41,   0x300,  0x316,   0xC0,   0x1E00, 0x1100,
                                              0x1160, 0x11A8, 0xAC00,  0x915,  0x930,  0x5D0,
                                              0x591,  0x4E00, 0x1F600, 0xF900, 0x2126, 0x20};
            uint32_t start = starts[(size_t)rand_r(&seed) % (sizeof starts / sizeof *starts)];
            char utf8[4];
            size_t size = rf_utf8_encode(start + (uint32_t)rand_r(&seed) % 40, utf8);
            assert_true(rf_bytes_append(&text, utf8, size));
        }
        utf8proc_uint8_t *wanted = NULL;
        utf8proc_ssize_t length =
            utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.length, &wanted,
                         UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        assert_true(length >= 0 && rf_nfc(text.data, text.length, &out));
        assert_int_equal(out.length, length);
        assert_memory_equal(out.data, wanted, (size_t)length);
        free(wanted);
        rf_free(text.data);
        rf_free(out.data);
    }
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A million marks in the wrong order behind one letter: sorting them must not be quadratic (which takes
 * minutes). */
static void test_nfc_many_marks(void **state)
{
    (void)state;
    struct rf_bytes text = {0}, out = {0};
    assert_true(rf_bytes_append(&text, "q", 1));
    for (int i = 0; i < 500000; i++)
        assert_true(rf_bytes_append(&text, "\u0301\u0316", 4));
    double start = seconds();
    assert_true(rf_nfc(text.data, text.length, &out));
    assert_true(seconds() - start < 20.0);
    assert_int_equal(out.length, text.length);
    for (size_t i = 0; i < 500000; i++) {
        assert_memory_equal(out.data + 1 + 2 * i, "\u0316", 2);
        assert_memory_equal(out.data + 1000001 + 2 * i, "\u0301", 2);
    }
    rf_free(text.data);
    rf_free(out.data);
}

static void assert_split(const char *pattern, const char *text, const char *const *wanted)
{
    struct rf_splitter *splitter = NULL;
    struct rf_error err = {0};
    if (rf_splitter_create(&splitter, pattern, strlen(pattern), "test", &err))
        fail_msg("%s", err.message);
    struct rf_split split = {0};
    assert_int_equal(rf_split_begin(&split, splitter, text, strlen(text), &err), RF_OK);
    for (;;) {
        size_t start, end;
        assert_int_equal(rf_split_next(&split, &start, &end, &err), RF_OK);
        if (start == end)
            break;
        assert_non_null(*wanted);
        assert_int_equal(end - start, strlen(*wanted));
        assert_memory_equal(text + start, *wanted, end - start);
        wanted++;
    }
    assert_null(*wanted);
    rf_split_free(&split);
    rf_splitter_destroy(splitter);
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_split(void **state)
{
    (void)state;
    assert_split("\\p{L}+", "ab1c--", WORDS("ab", "1", "c", "--")); /* what lies between is a word too */
    assert_split("(?i:'s|'t)|[^'\\s]+|\\s+", "It'S  a", WORDS("It", "'S", "  ", "a"));
    assert_split("\\s+(?!\\S)|\\s+", "   x", WORDS("  ", " ", "x"));
    assert_split("\\s+", "a\u180Eb\u2028c", WORDS("a\u180Eb", "\u2028", "c")); /* U+180E is no white space */
    assert_split("\\p{N}{1,3}", "12345", WORDS("123", "45"));
    assert_split("[^\\S\\n]+", "a \t\nb", WORDS("a", " \t", "\nb"));
}

static void assert_refused(const char *pattern, enum rf_status status, const char *message)
{
    struct rf_splitter *splitter = NULL;
    struct rf_error err = {0};
    assert_int_equal(rf_splitter_create(&splitter, pattern, strlen(pattern), "file: field", &err), status);
    assert_string_equal(err.message, message);
    assert_null(splitter);
}

static void test_refused_patterns(void **state)
{
    (void)state;
#define HOLDS(what) "file: field: the pattern holds " what ", which is not supported"
    assert_refused("a\\w", RF_ERROR_UNSUPPORTED, HOLDS("\"\\w\" at byte 1"));
    assert_refused("\\h+", RF_ERROR_UNSUPPORTED, HOLDS("\"\\h\" at byte 0"));
    assert_refused("a|^b", RF_ERROR_UNSUPPORTED, HOLDS("\"^b\" at byte 2"));
    assert_refused("a.", RF_ERROR_UNSUPPORTED, HOLDS("\".\" at byte 1"));
    assert_refused("[[:alpha:]]", RF_ERROR_UNSUPPORTED, HOLDS("\"[:\" at byte 1"));
    assert_refused("[a&&b]", RF_ERROR_UNSUPPORTED, HOLDS("\"&&\" at byte 2"));
    assert_refused("[]a]", RF_ERROR_UNSUPPORTED, HOLDS("\"[]\" at byte 0"));
    assert_refused("(?x: a)", RF_ERROR_UNSUPPORTED, HOLDS("\"(?x:\" at byte 0"));
    assert_refused("(*UTF)a", RF_ERROR_UNSUPPORTED, HOLDS("\"(*UT\" at byte 0"));
    assert_refused("a{,3}", RF_ERROR_UNSUPPORTED, HOLDS("\"{,3}\" at byte 1"));
    assert_refused("a{2}+", RF_ERROR_UNSUPPORTED, HOLDS("\"{2}+\" at byte 1"));
    assert_refused("\\p{Han}", RF_ERROR_UNSUPPORTED, HOLDS("\"\\p{Han}\" at byte 0"));
    assert_refused("a\\", RF_ERROR_UNSUPPORTED, HOLDS("\"\\\" at byte 1"));
    assert_refused("", RF_ERROR_UNSUPPORTED, "file: field: the pattern has 0 bytes, wanted 1 to 4096");
    assert_refused("a*", RF_ERROR_UNSUPPORTED,
                   "file: field: the pattern can match the empty text, which is not supported");
    assert_refused("(a", RF_ERROR_FORMAT,
                   "file: field: the pattern does not compile: missing closing parenthesis");
}

/* A pattern that explodes on a text must give up with a message, not hang. */
static void test_exploding_pattern(void **state)
{
    (void)state;
    const char *pattern = "((\\p{L}|\\p{L}\\p{L})+)+\\p{N}";
    char text[64];
    memset(text, 'a', sizeof text);
    struct rf_splitter *splitter = NULL;
    struct rf_error err = {0};
    assert_int_equal(rf_splitter_create(&splitter, pattern, strlen(pattern), "test", &err), RF_OK);
    struct rf_split split = {0};
    assert_int_equal(rf_split_begin(&split, splitter, text, sizeof text, &err), RF_OK);
    size_t start, end;
    assert_int_equal(rf_split_next(&split, &start, &end, &err), RF_ERROR_UNSUPPORTED);
    assert_string_equal(err.message,
                        "tokenizer: the split pattern gave up at byte 0 of the text: match limit exceeded");
    rf_split_free(&split);
    rf_splitter_destroy(splitter);
}

/* Merging plainly: scan for the lowest rank, the leftmost of equals, until nothing merges. */
static size_t merge_plainly(const struct rf_merges *merges, uint32_t *tokens, size_t count)
{
    for (;;) {
        const struct rf_merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            const struct rf_merge *merge = rf_merges_find(merges, tokens[i], tokens[i + 1]);
            if (merge && (!best || merge->rank < best->rank)) {
                best = merge;
                at = i;
            }
        }
        if (!best)
            return count;
        tokens[at] = best->merged;
        memmove(tokens + at + 1, tokens + at + 2, (count - at - 2) * sizeof *tokens);
        count--;
    }
}

/* Random merges over four letters, random words, against the plain way. */
static void test_bpe_random(void **state)
{
    (void)state;
    unsigned seed = 99;
    uint32_t bytes[256];
    for (uint32_t i = 0; i < 256; i++)
        bytes[i] = i;
    struct rf_bpe_scratch scratch = {0};
    for (int run = 0; run < 500; run++) {
        struct rf_merges merges;
        assert_true(rf_merges_create(&merges, 40));
        for (uint32_t rank = 0; rank < 40; rank++) {
            uint32_t pick[2];
            for (int i = 0; i < 2; i++) {
                uint32_t any = (uint32_t)rand_r(&seed) % (4 + rank);
                pick[i] = any < 4 ? 'a' + any : 256 + any - 4;
            }
            if (!rf_merges_find(&merges, pick[0], pick[1]))
                rf_merges_add(&merges, (struct rf_merge){pick[0], pick[1], rank, 256 + rank});
        }
        for (int word = 0; word < 20; word++) {
            char text[80];
            uint32_t wanted[80];
            size_t length = 1 + (size_t)rand_r(&seed) % 80;
            for (size_t i = 0; i < length; i++) {
                text[i] = (char)('a' + rand_r(&seed) % 4);
                wanted[i] = (uint32_t)text[i];
            }
            struct rf_ids ids = {0};
            assert_true(rf_bpe_word(&merges, bytes, text, length, &scratch, &ids));
            assert_int_equal(ids.length, merge_plainly(&merges, wanted, length));
            assert_memory_equal(ids.data, wanted, ids.length * sizeof *wanted);
            rf_free(ids.data);
        }
        rf_merges_free(&merges);
    }
    rf_bpe_scratch_free(&scratch);
}

/* One word of a megabyte takes about a second; a quadratic algorithm would take the better part of an
 * hour. */
static void test_bpe_long_word(void **state)
{
    (void)state;
    uint32_t bytes[256] = {0};
    struct rf_merges merges;
    assert_true(rf_merges_create(&merges, 10));
    for (uint32_t i = 0; i < 10; i++)
        rf_merges_add(&merges, (struct rf_merge){i, i, i, i + 1});
    size_t length = (size_t)1 << 20;
    char *word = calloc(length, 1);
    assert_non_null(word);
    struct rf_bpe_scratch scratch = {0};
    struct rf_ids ids = {0};
    double start = seconds();
    assert_true(rf_bpe_word(&merges, bytes, word, length, &scratch, &ids));
    assert_true(seconds() - start < 60.0);
    assert_int_equal(ids.length, 1024);
    for (size_t i = 0; i < ids.length; i++)
        assert_int_equal(ids.data[i], 10);
    free(word);
    rf_free(ids.data);
    rf_bpe_scratch_free(&scratch);
    rf_merges_free(&merges);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_nfc_random),
        cmocka_unit_test(test_nfc_many_marks),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_exploding_pattern),
        cmocka_unit_test(test_bpe_random),
        cmocka_unit_test(test_bpe_long_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
