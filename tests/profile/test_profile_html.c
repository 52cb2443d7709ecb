/* The page that the program carries, and the way a profile gets into it. */
#include "apps/refusion/profile/html.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What profile_html_write makes of the JSON; the caller frees it. */
static char *page_of(const char *json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    struct rf_error err = {0};
    assert_non_null(file);
    assert_int_equal(profile_html_write(file, json, strlen(json), &err), RF_OK);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(strlen(text), size);
    return text;
}

static void test_json_stands_between_head_and_tail(void **state)
{
    (void)state;
    static const char json[] = "{\"format\":\"refusion-profile\",\"n\":1}";
    char *page = page_of(json);
    const char *inside = page + rf_profile_page_head_size;
    assert_int_equal(strlen(page), rf_profile_page_head_size + strlen(json) + rf_profile_page_tail_size);
    assert_memory_equal(page, "<!doctype html>", strlen("<!doctype html>"));
    assert_memory_equal(inside, json, strlen(json));
    /* The element that src/profile.js looks for. */
    static const char opening[] = "<script type=\"application/json\" id=\"profile\">";
    assert_memory_equal(inside - strlen(opening), opening, strlen(opening));
    assert_memory_equal(inside + strlen(json), "</script>", strlen("</script>"));
    assert_non_null(strstr(inside, "</html>\n"));
    free(page);
}

static void test_no_text_of_a_profile_leaves_its_element(void **state)
{
    (void)state;
    char *page = page_of("{\"text\":\"</script><!-- <b>\",\"more\":\"<\"}");
    static const char wanted[] =
        "{\"text\":\"\\u003c/script>\\u003c!-- \\u003cb>\",\"more\":\"\\u003c\"}</script>";
    assert_memory_equal(page + rf_profile_page_head_size, wanted, strlen(wanted));
    free(page);
}

static void test_the_page_asks_for_nothing(void **state)
{
    (void)state;
    char *page = page_of("{}");
    /* The policy is what forbids it; src= and url( are how it would be asked. */
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_null(strstr(page, " src="));
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "@import"));
    assert_true(strlen(page) < 300 * 1000);
    free(page);
}

static void test_a_full_disk_is_told(void **state)
{
    (void)state;
    FILE *file = fopen("/dev/full", "w");
    if (!file)
        skip();
    struct rf_error err = {0};
    assert_int_equal(profile_html_write(file, "{}", 2, &err), RF_ERROR_IO);
    assert_string_equal(err.message, "the profile's page cannot be written: No space left on device");
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_stands_between_head_and_tail),
        cmocka_unit_test(test_no_text_of_a_profile_leaves_its_element),
        cmocka_unit_test(test_the_page_asks_for_nothing),
        cmocka_unit_test(test_a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
