/* The tiny model's tokenizer by both routes: encoding, added tokens, decoding, what the loader asks. */
#include "support.h"

#include "loader/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

enum { ENDOFTEXT = 666, IM_START, IM_END, BEGINOFTEXT, MASK };

static rf_tokenizer *routes[2];

static int load_both(void **state)
{
    (void)state;
    routes[0] = load_tiny(false);
    routes[1] = load_tiny(true);
    return 0;
}

static int destroy_both(void **state)
{
    (void)state;
    rf_tokenizer_destroy(routes[0]);
    rf_tokenizer_destroy(routes[1]);
    return 0;
}

static void test_queries(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const rf_tokenizer *t = routes[i];
        struct rf_error err = {0};
        size_t length = 0;
        assert_int_equal(rf_tokenizer_vocab(t), 671);
        assert_int_equal(rf_tokenizer_eos(t), IM_END);
        assert_int_equal(rf_tokenizer_mask(t), MASK);
        assert_int_equal(rf_tokenizer_template(t), RF_CHAT_QWEN3);
        assert_int_equal(rf_tokenizer_added(t, "<|im_start|>"), IM_START);
        assert_int_equal(rf_tokenizer_added(t, "<|im_start|"), UINT32_MAX);
        assert_int_equal(rf_tokenizer_added(t, ""), UINT32_MAX);
        assert_true(rf_tokenizer_is_special(t, MASK));
        assert_false(rf_tokenizer_is_special(t, 0));
        assert_false(rf_tokenizer_is_special(t, 671));
        assert_memory_equal(rf_tokenizer_token_bytes(t, MASK, &length), "<|mask|>", 8);
        assert_int_equal(length, 8);
        assert_memory_equal(rf_tokenizer_token_bytes(t, 220, &length), " ", 1); /* written as U+0120 */
        assert_null(rf_tokenizer_token_bytes(t, 671, &length));
        assert_int_equal(rf_tokenizer_check_vocab(t, 671, &err), RF_OK);
        assert_int_equal(rf_tokenizer_check_vocab(t, 670, &err), RF_ERROR_FORMAT);
        assert_string_equal(err.message,
                            "m: the tokenizer's token \"<|mask|>\" has id 670, but the embedding has "
                            "670 rows (vocab_size), wanted every id below that");
    }
}

/* Both routes, both ways; the text comes back from the ids. */
static uint32_t *encode_both(const char *text, bool special, size_t *count)
{
    size_t other_count;
    uint32_t *ids = encode(routes[0], text, strlen(text), special, count);
    uint32_t *other = encode(routes[1], text, strlen(text), special, &other_count);
    assert_int_equal(*count, other_count);
    assert_memory_equal(ids, other, *count * sizeof *ids);
    rf_free(other);
    return ids;
}

static void assert_decodes(const uint32_t *ids, size_t count, bool skip_special, const char *wanted)
{
    for (int i = 0; i < 2; i++) {
        char *text = NULL;
        size_t length = 0;
        assert_int_equal(rf_tokenizer_decode(routes[i], ids, count, skip_special, &text, &length, NULL),
                         RF_OK);
        assert_string_equal(text, wanted);
        assert_int_equal(length, strlen(wanted));
        rf_free(text);
    }
}

static bool contains(const uint32_t *ids, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void test_added_tokens(void **state)
{
    (void)state;
    const char *text = "a<|mask|><|im_end|>\n <|im_<|im_start|>|>";
    size_t count = 0;
    uint32_t *ids = encode_both(text, true, &count);
    assert_true(contains(ids, count, MASK) && contains(ids, count, IM_END) && contains(ids, count, IM_START));
    assert_decodes(ids, count, false, text);
    assert_decodes(ids, count, true, "a\n <|im_|>");
    rf_free(ids);
    ids = encode_both(text, false, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(ids[i] < ENDOFTEXT);
    assert_decodes(ids, count, true, text);
    rf_free(ids);
}

/* Whatever text holds, without `special` no added token comes out: every added token's text, broken up and
 * joined in every way that these parts allow. */
static void test_text_never_controls(void **state)
{
    (void)state;
    static const char *const parts[] = {"<|mask|>",
                                        "<|im_end|>",
                                        "<|im_start|>",
                                        "<|endoftext|>",
                                        "<|",
                                        "|>",
                                        "<|beginoftext|>",
                                        "mask",
                                        "im_end",
                                        "<",
                                        "|",
                                        ">",
                                        " ",
                                        "\n",
                                        "\u0301",
                                        "é",
                                        "１"};
    unsigned seed = 3;
    for (int run = 0; run < 20000; run++) {
        char text[256] = "";
        for (int i = rand_r(&seed) % 10; i >= 0; i--)
            strcat(text, parts[(size_t)rand_r(&seed) % (sizeof parts / sizeof *parts)]);
        size_t count = 0;
        uint32_t *ids = encode(routes[run % 2], text, strlen(text), false, &count);
        for (size_t i = 0; i < count; i++)
            assert_true(ids[i] < ENDOFTEXT);
        rf_free(ids);
    }
}

static uint32_t random_code(unsigned *seed)
{
    static const uint32_t starts[] = {0,      0,      0,      0x20,   0x20,   0xA0,   0x300,
                                      0x1100, 0xAC00, 0x2000, 0x3040, 0x4E00, 0x1F300};
    int kind = rand_r(seed) % 20;
    if (kind < 18) {
        uint32_t start = starts[(size_t)rand_r(seed) % (sizeof starts / sizeof *starts)];
        return start + (uint32_t)rand_r(seed) % (start < 0x80 ? 0x60 : 0x120);
    }
    uint32_t code = ((uint32_t)rand_r(seed) << 8 ^ (uint32_t)rand_r(seed)) % 0x110000;
    return code >= 0xD800 && code < 0xE000 ? 0x41 : code;
}

/* decode(encode(x)) is x in NFC, by utf8proc's own account of NFC. RF_TEST_SEED repeats a run. */
static void test_round_trip(void **state)
{
    (void)state;
    const char *given = getenv("RF_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("seed %u\n", seed);
    for (int run = 0; run < 5000; run++) {
        struct rf_bytes text = {0};
        for (int i = rand_r(&seed) % 60; i >= 0; i--) {
            char utf8[4];
            size_t size = rf_utf8_encode(random_code(&seed), utf8);
            assert_true(rf_bytes_append(&text, utf8, size));
        }
        utf8proc_uint8_t *normal = NULL;
        utf8proc_ssize_t wanted =
            utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.length, &normal,
                         UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        assert_true(wanted >= 0);
        size_t count = 0, length = 0;
        char *back = NULL;
        uint32_t *ids = encode(routes[run % 2], text.data, text.length, run % 3 == 0, &count);
        assert_int_equal(rf_tokenizer_decode(routes[run % 2], ids, count, false, &back, &length, NULL),
                         RF_OK);
        assert_int_equal(length, wanted);
        assert_memory_equal(back, normal, length);
        rf_free(ids);
        rf_free(back);
        free(normal);
        rf_free(text.data);
    }
}

static void test_decode_replaces(void **state)
{
    (void)state;
    size_t count = 0;
    uint32_t *ids = encode_both("日", false, &count);
    assert_int_equal(count, 3); /* one token a byte */
    assert_decodes(ids, 2, false, "\uFFFD");
    assert_decodes(ids + 1, 2, false, "\uFFFD\uFFFD");
    uint32_t mixed[] = {ids[0], ids[1], IM_END, ids[2]};
    assert_decodes(mixed, 4, true, "日"); /* tokens that are left out do not break a character */
    assert_decodes(mixed, 4, false, "\uFFFD<|im_end|>\uFFFD");
    assert_decodes(NULL, 0, false, "");
    rf_free(ids);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    struct rf_error err = {0};
    uint32_t *ids = NULL, wrong[] = {1, 671};
    size_t count = 0;
    char *text = NULL;
    assert_int_equal(rf_tokenizer_encode(routes[0], "ab\xFFz", 4, false, &ids, &count, &err),
                     RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "text: invalid UTF-8 at byte 2");
    assert_null(ids);
    assert_int_equal(rf_tokenizer_encode(routes[0], "ab\xE6\x97", 4, true, &ids, &count, &err),
                     RF_ERROR_ARGUMENT);
    assert_int_equal(rf_tokenizer_encode(routes[0], "\xED\xA0\x80", 3, true, &ids, &count, &err),
                     RF_ERROR_ARGUMENT);
    assert_int_equal(rf_tokenizer_encode(routes[0], NULL, 3, true, &ids, &count, &err), RF_ERROR_ARGUMENT);
    assert_int_equal(rf_tokenizer_decode(routes[0], wrong, 2, false, &text, &count, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "tokens[1] is 671, which is no token of the vocabulary (ids below 671)");
    assert_null(text);
    ids = encode(routes[0], NULL, 0, true, &count);
    assert_int_equal(count, 0);
    rf_free(ids);
    ids = encode(routes[0], "a\0b", 3, true, &count); /* NUL is a byte like any other */
    assert_int_equal(count, 3);
    rf_free(ids);
}

/* The folder itself, through the public call, with tokenizer.json and, in a copy, without it. */
static void test_folders(void **state)
{
    (void)state;
    static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                        "tokenizer_config.json"};
    char folder[] = "/tmp/refusion-tokenizer-XXXXXX", path[4096];
    struct rf_error err = {0};
    rf_tokenizer *t = NULL;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(rf_tokenizer_load(&t, folder, NULL, &err), RF_ERROR_IO);
    snprintf(path, sizeof path, "%s: no tokenizer, wanted tokenizer.json, or vocab.json with merges.txt",
             folder);
    assert_string_equal(err.message, path);
    for (int i = 0; i < 4; i++) {
        size_t size = 0;
        snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", RF_SOURCE_DIR, names[i]);
        char *text = read_file(path, &size);
        assert_non_null(text);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *file = fopen(path, "wb");
        assert_int_equal(fwrite(text, 1, size, file), size);
        fclose(file);
        free(text);
    }
    if (rf_tokenizer_load(&t, folder, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(rf_tokenizer_vocab(t), 671);
    rf_tokenizer_destroy(t);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rf_tokenizer_load(&t, folder, NULL, &err), RF_ERROR_IO);
    snprintf(path, sizeof path, "%s: cannot open the model folder: No such file or directory", folder);
    assert_string_equal(err.message, path);
    if (rf_tokenizer_load(&t, RF_SOURCE_DIR "/tests/golden/tiny", NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(rf_tokenizer_mask(t), MASK);
    rf_tokenizer_destroy(t);
    rf_tokenizer_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_text_never_controls),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_decode_replaces),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_folders),
    };
    return cmocka_run_group_tests(tests, load_both, destroy_both);
}
