/* What the application makes of texts: blocks of code, a forming response, titles; and whether it tells the
 * truth about presets. */
#include "apps/desktop/blocks.h"
#include "apps/desktop/presets.h"
#include "apps/desktop/records.h"
#include "apps/desktop/response.h"
#include "engine/decode/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

/* Blocks as one line: "prose" in brackets, code in braces with its language. */
static void expect_blocks(const char *text, const char *wanted)
{
    GString *all = g_string_new(NULL);
    GArray *blocks = blocks_split(text);
    for (guint i = 0; i < blocks->len; i++) {
        const struct block *block = &g_array_index(blocks, struct block, i);
        int length = (int)(block->end - block->begin);
        if (block->code)
            g_string_append_printf(all, "{%s:%.*s}", block->language ? block->language : "", length,
                                   text + block->begin);
        else
            g_string_append_printf(all, "[%.*s]", length, text + block->begin);
    }
    g_array_unref(blocks);
    assert_string_equal(all->str, wanted);
    g_string_free(all, TRUE);
}

static void test_blocks(void **state)
{
    (void)state;
    expect_blocks("", "");
    expect_blocks("only\nprose", "[only\nprose]");
    expect_blocks("a\n```Python\nx = 1\n```\nb\n", "[a]{python:x = 1}[b]");
    expect_blocks("```\ncode\n```", "{:code}");
    expect_blocks("```c\nnot closed", "{c:not closed}");
    expect_blocks("```c", "{c:}");
    expect_blocks("````md\n```c\nx\n```\n````\nend", "{md:```c\nx\n```}[end]");
    expect_blocks("```a\n1\n```\n\n```b\n2\n```", "{a:1}{b:2}");
    expect_blocks("in `line` and ``` inside", "[in `line` and ``` inside]");
    expect_blocks("```python title=x\n1\n```", "{python:1}");
    expect_blocks("```sh\necho ''\n``` not a fence\n```\n", "{sh:echo ''\n``` not a fence}");
}

/* Token t is the t-th of these; the dice's four bytes are two tokens. */
static const char *const vocabulary[] = {"def", " f", "()", "\xf0\x9f", "\x8e\xb2", "\n"};

static char *decode(void *user, const guint32 *tokens, gsize count)
{
    (void)user;
    GString *bytes = g_string_new(NULL);
    for (gsize i = 0; i < count; i++)
        g_string_append(bytes, vocabulary[tokens[i]]);
    char *text = g_utf8_make_valid(bytes->str, -1);
    g_string_free(bytes, TRUE);
    return text;
}

static void expect_cells(struct response *response, const char *wanted)
{
    GString *all = g_string_new(NULL);
    response_decode(response, decode, NULL);
    for (guint32 i = 0; i < response->count; i++) {
        const struct cell *cell = &response->cells[i];
        g_string_append_printf(all, "%c%s%s|", ".pCx"[cell->state], cell -> text ? cell -> text : "",
                               cell->dirty ? "*" : "");
        response->cells[i].dirty = FALSE;
    }
    assert_string_equal(all->str, wanted);
    g_string_free(all, TRUE);
}

static void test_response(void **state)
{
    (void)state;
    struct response response = {0};
    response_set(&response, 1, CELL_PLANNED, 1, 0);
    expect_cells(&response, ".|p f*|");
    response_set(&response, 0, CELL_COMMITTED, 0, 0);
    response_set(&response, 1, CELL_COMMITTED, 1, 1);
    response_set(&response, 3, CELL_PLANNED, 3, 1);
    expect_cells(&response, "Cdef*|C f*|.|p\xef\xbf\xbd\xef\xbf\xbd*|");
    response_set(&response, 4, CELL_COMMITTED, 4, 2); /* the other half of the character */
    expect_cells(&response, "Cdef|C f|.|p\xf0\x9f\x8e\xb2*|C*|");
    response_set(&response, 0, CELL_PLANNED, 2, 2); /* what is final stays */
    expect_cells(&response, "Cdef|C f|.|p\xf0\x9f\x8e\xb2|C|");
    response_set(&response, 3, CELL_COMMITTED, 3, 3);
    response_set(&response, 2, CELL_COMMITTED, 2, 3);
    response_set(&response, 6, CELL_PLANNED, 5, 3);
    response_drop(&response, 5, 100);
    expect_cells(&response, "Cdef|C f|C()*|C\xf0\x9f\x8e\xb2*|C|x*|x*|");

    GBytes *rounds = response_rounds(&response, "def f()\xf0\x9f\x8e\xb2");
    struct rounds_reader reader;
    guint32 bytes, round;
    static const guint32 wanted[][2] = {{3, 0}, {2, 1}, {2, 3}, {4, 3}};
    rounds_begin(&reader, rounds);
    for (gsize i = 0; i < G_N_ELEMENTS(wanted); i++) {
        assert_true(rounds_next(&reader, &bytes, &round));
        assert_int_equal(bytes, wanted[i][0]);
        assert_int_equal(round, wanted[i][1]);
    }
    assert_false(rounds_next(&reader, &bytes, &round));
    g_bytes_unref(rounds);
    assert_null(response_rounds(&response, "deaf f()"));
    assert_null(response_rounds(&response, "def f()\xf0\x9f\x8e\xb2 and more"));
    rounds = response_rounds(&response, "de"); /* a stop text inside of a token */
    rounds_begin(&reader, rounds);
    assert_true(rounds_next(&reader, &bytes, &round) && bytes == 2);
    g_bytes_unref(rounds);
    response_clear(&response);
}

static void test_damaged_rounds(void **state)
{
    (void)state;
    static const char *const damaged[] = {"", "\2\1\1", "\1\377\377\377\377\377\377", "\1\5"};
    struct rounds_reader reader;
    guint32 bytes, round;
    for (gsize i = 0; i < G_N_ELEMENTS(damaged); i++) {
        GBytes *rounds = g_bytes_new_static(damaged[i], strlen(damaged[i]));
        rounds_begin(&reader, rounds);
        assert_false(rounds_next(&reader, &bytes, &round));
        g_bytes_unref(rounds);
    }
    rounds_begin(&reader, NULL);
    assert_false(rounds_next(&reader, &bytes, &round));
}

static void test_titles(void **state)
{
    (void)state;
    char *title = title_from_question("  What is it?\nAnd why?");
    assert_string_equal(title, "What is it?");
    g_free(title);
    title = title_from_question("äääääääääääääääääääääääääääääääääääääääääääääääääääääääääää ööööööö");
    assert_int_equal(g_utf8_strlen(title, -1), 60);
    assert_true(g_str_has_suffix(title, "ä…"));
    g_free(title);
}

static void test_presets(void **state)
{
    (void)state;
    for (guint i = 0; i < PRESET_COUNT; i++) {
        struct rf_settings settings;
        struct rf_error err;
        assert_int_equal(
            rf_settings_resolve(&settings, &(struct rf_decode_settings){.preset = presets[i].name}, &err),
            RF_OK);
        assert_int_equal(settings.slot_size, presets[i].slot_size);
        assert_int_equal(settings.block, presets[i].block);
        assert_true((float)presets[i].slot_threshold == settings.slot_threshold);
        assert_true((float)presets[i].token_threshold == settings.token_threshold);
        assert_ptr_equal(preset_find(presets[i].name), &presets[i]);
    }
    assert_ptr_equal(preset_find("nothing"), &presets[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks), cmocka_unit_test(test_response), cmocka_unit_test(test_damaged_rounds),
        cmocka_unit_test(test_titles), cmocka_unit_test(test_presets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
