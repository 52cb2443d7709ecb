/* Sessions that are saved and loaded, also by another context: they go on exactly as the saved one does and as a fork
 * does. And files that must not be taken. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/decode/engine.h"

enum { FIRST = 150, SECOND = 20, HEADER = 40 };

static char path[] = "test_state.XXXXXX";

static uint32_t conversation[512];

/* What a response was. */
struct answer {
    uint32_t tokens[256];
    size_t count;
    uint32_t cached;
};

static struct rf_session_desc desc_of(enum rf_decode decode)
{
    return (struct rf_session_desc){.settings = {.decode = decode, .preset = "demo", .max_tokens = 24},
                                    .deterministic = true};
}

static struct answer respond(rf_session *s, size_t count)
{
    struct answer answer = {0};
    require_ok(rf_session_begin(s, conversation, count, err));
    require_ok(rf_session_generate(s, NULL, NULL, err));
    const uint32_t *tokens = rf_session_tokens(s, &answer.count);
    assert_true(answer.count <= 256);
    memcpy(answer.tokens, tokens, answer.count * sizeof *tokens);
    struct rf_session_stats stats;
    rf_session_get_stats(s, &stats);
    answer.cached = stats.cached_tokens;
    return answer;
}

static void assert_same_answer(const struct answer *got, const struct answer *want)
{
    assert_int_equal(got->count, want->count);
    assert_memory_equal(got->tokens, want->tokens, want->count * sizeof *want->tokens);
    assert_int_equal(got->cached, want->cached);
}

/* A first turn; then the second by the session itself, by a fork, and by what a file holds. */
static void check_decode(enum rf_decode decode)
{
    rf_session *session = NULL, *fork = NULL, *loaded = NULL;
    const struct rf_session_desc desc = desc_of(decode);
    require_ok(rf_session_create(&session, engine.model, &desc, err));
    struct answer first = respond(session, FIRST);
    memcpy(conversation + FIRST, first.tokens, first.count * sizeof *first.tokens);
    require_ok(rf_session_save(session, path, err));
    require_ok(rf_session_fork(&fork, session, &desc, err));
    require_ok(rf_session_load(&loaded, engine.model, path, &desc, err));
    size_t second = FIRST + first.count + SECOND;
    struct answer want = respond(session, second), forked = respond(fork, second), got = respond(loaded, second);
    assert_same_answer(&forked, &want);
    assert_same_answer(&got, &want);
    assert_true(want.count > 0 && want.cached >= FIRST); /* the prompt was not computed anew */
    rf_session_destroy(loaded);
    rf_session_destroy(fork);
    rf_session_destroy(session);

    struct engine other;
    engine_open(&other);
    require_ok(rf_session_load(&loaded, other.model, path, &desc, err));
    got = respond(loaded, second);
    assert_same_answer(&got, &want);
    rf_session_destroy(loaded);
    engine_close(&other);
}

static void goes_on_as_the_saved_one(void **state)
{
    (void)state;
    check_decode(RF_DECODE_REFUSION);
    check_decode(RF_DECODE_AR);
}

static unsigned char *read_file(size_t *size)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &info), 0);
    *size = (size_t)info.st_size;
    unsigned char *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_file(const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void refuse(enum rf_status wanted, const char *part)
{
    rf_session *s = NULL;
    struct rf_error error = {0};
    assert_int_equal(rf_session_load(&s, engine.model, path, NULL, &error), wanted);
    assert_null(s);
    assert_non_null(strstr(error.message, path));
    if (!strstr(error.message, part))
        fail_msg("\"%s\" lacks \"%s\"", error.message, part);
}

static void save_some(uint32_t tokens)
{
    rf_session *s = NULL;
    const struct rf_session_desc desc = desc_of(RF_DECODE_REFUSION);
    require_ok(rf_session_create(&s, engine.model, &desc, err));
    if (tokens)
        respond(s, tokens);
    require_ok(rf_session_save(s, path, err));
    rf_session_destroy(s);
}

static void damaged_files_are_refused(void **state)
{
    size_t size;
    (void)state;
    save_some(FIRST);
    unsigned char *bytes = read_file(&size);
    const size_t cuts[] = {1, 7, HEADER - 1, HEADER, HEADER + 4 * FIRST, size / 2, size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(bytes, cuts[i]);
        refuse(RF_ERROR_FORMAT, cuts[i] < HEADER ? "is no saved session" : "it is damaged");
    }
    const size_t flips[] = {HEADER + 8, HEADER + 4 * FIRST + 100, size / 2, size - 3};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        bytes[flips[i]] ^= 0x10;
        write_file(bytes, size);
        refuse(RF_ERROR_FORMAT, "its checksum is ");
        bytes[flips[i]] ^= 0x10;
    }
    bytes[0] = 'R';
    write_file(bytes, size);
    refuse(RF_ERROR_FORMAT, "is no saved session");
    bytes[0] = 'r';
    bytes[8] = 2;
    write_file(bytes, size);
    refuse(RF_ERROR_UNSUPPORTED, "version 2, wanted 1");
    bytes[8] = 1;
    bytes[16] ^= 1;
    write_file(bytes, size);
    refuse(RF_ERROR_ARGUMENT, "was saved with another model");
    free(bytes);
    assert_int_equal(unlink(path), 0);
    refuse(RF_ERROR_IO, "");
}

/* Rows behind the last token are nobody's business: the page was another session's before. */
static void nothing_else_is_in_the_file(void **state)
{
    struct rf_memory_estimate estimate;
    size_t size, other_size;
    (void)state;
    require_ok(rf_model_estimate(&estimate, engine.context, RF_SOURCE_DIR "/tests/golden/tiny", NULL, err));
    save_some(60 + 64); /* fills pages and gives them back */
    save_some(5);
    unsigned char *bytes = read_file(&size);
    save_some(0);
    unsigned char *none = read_file(&other_size);
    assert_int_equal(other_size, HEADER + 8); /* no token, no page */
    free(none);
    size_t used = 0, page = (size - HEADER - 24 - 8);
    for (size_t i = 0; i < page; i++)
        used += bytes[HEADER + 24 + i] != 0;
    print_message("%zu of %zu bytes are not zero\n", used, page);
    assert_true(used > 0 && used <= page * 5 / RF_PAGE_ROWS);
    free(bytes);
    rf_session *s = NULL;
    require_ok(rf_session_load(&s, engine.model, path, NULL, err));
    rf_session_destroy(s);
}

static void saved_only_between_responses(void **state)
{
    rf_session *s = NULL;
    struct rf_error error = {0};
    const struct rf_session_desc desc = desc_of(RF_DECODE_REFUSION);
    (void)state;
    require_ok(rf_session_create(&s, engine.model, &desc, err));
    require_ok(rf_session_begin(s, conversation, 40, err));
    require_ok(rf_session_step(s, NULL, NULL, err));
    if (!rf_session_finished(s)) {
        assert_int_equal(rf_session_save(s, path, &error), RF_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, "in the middle of a response"));
    }
    require_ok(rf_session_generate(s, NULL, NULL, err));
    assert_int_equal(rf_session_save(s, "/no/such/folder/state", &error), RF_ERROR_IO);
    assert_non_null(strstr(error.message, "/no/such/folder"));
    assert_int_equal(rf_session_save(s, NULL, &error), RF_ERROR_ARGUMENT);
    rf_session_destroy(s);
}

static int set_up(void **state)
{
    int file = mkstemp(path);
    if (file < 0)
        return -1;
    close(file);
    for (size_t i = 0; i < sizeof conversation / sizeof *conversation; i++)
        conversation[i] = (uint32_t)(60 + i * 11 % 500);
    return engine_set_up(state);
}

static int tear_down(void **state)
{
    unlink(path);
    return engine_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_as_the_saved_one),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(nothing_else_is_in_the_file),
        cmocka_unit_test(saved_only_between_responses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
