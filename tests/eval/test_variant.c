/* What --sweep means. */
#include "apps/refusion/eval/variant.h"
#include "tests/eval/support.h"

static struct variants made(size_t count, const char *const *specs)
{
    struct variants v;
    struct rf_error err = {0};
    if (variants_make(&v, specs, count, true, true, &err))
        fail_msg("%s", err.message);
    return v;
}

static void test_no_sweep(void **state)
{
    (void)state;
    struct variants v = made(0, NULL);
    assert_false(v.sweep);
    assert_int_equal(v.count, 2);
    assert_string_equal(v.items[0].name, "refusion");
    assert_string_equal(v.items[1].name, "ar");
    assert_true(v.items[1].ar);
    assert_int_equal(variants_make(&v, NULL, 0, false, true, NULL), RF_OK);
    assert_int_equal(v.count, 1);
    assert_string_equal(v.items[0].name, "ar");
}

static void test_grid(void **state)
{
    (void)state;
    struct variants v = made(2, (const char *[]){"token-threshold=0,.5", "slot-size=4,8,16"});
    assert_true(v.sweep);
    assert_int_equal(v.count, 7);
    assert_string_equal(v.items[0].name, "slot-size=4 token-threshold=0");
    assert_string_equal(v.items[1].name, "slot-size=4 token-threshold=0.5");
    assert_string_equal(v.items[5].name, "slot-size=16 token-threshold=0.5");
    assert_string_equal(v.items[6].name, "ar");
    struct rf_decode_settings settings = {.slot_size = 1, .block = 64, .token_threshold = 0.9f};
    variant_apply(&v.items[4], &settings);
    assert_true(settings.slot_size == 16 && settings.block == 64 && settings.decode == RF_DECODE_REFUSION);
    assert_true(settings.token_threshold == 0 && settings.has_token_threshold &&
                !settings.has_slot_threshold);
    variant_apply(&v.items[6], &settings);
    assert_int_equal(settings.decode, RF_DECODE_AR);
    assert_int_equal(made(1, (const char *[]){""}).count, 25);
    /* One of the default's axes by other values. */
    assert_int_equal(made(2, (const char *[]){"", "slot-size=8"}).count, 7);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"slots=4", "--sweep: found \"slots=4\", wanted slot-size, block, slot-threshold or token-threshold"},
        {"slot-size", "--sweep: found \"slot-size\", wanted"},
        {"slot-size=", "--sweep slot-size: found \"\", wanted whole numbers from 1"},
        {"slot-size=0", "--sweep slot-size: found \"0\""},
        {"slot-size=4,,8", "--sweep slot-size: found \",8\""},
        {"slot-size=4,", "--sweep slot-size: found nothing behind the last comma"},
        {"slot-size=4.5", "--sweep slot-size: found \"4.5\""},
        {"slot-size=4,8,4", "--sweep slot-size: found 4 twice"},
        {"token-threshold=1.5", "--sweep token-threshold: found \"1.5\", wanted numbers from 0 to 1"},
        {"token-threshold=nan", "--sweep token-threshold: found \"nan\""},
        {"token-threshold=-0.5", "--sweep token-threshold: found \"-0.5\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct variants v;
        struct rf_error err = {0};
        assert_int_equal(variants_make(&v, &cases[i][0], 1, true, true, &err), RF_ERROR_ARGUMENT);
        if (strncmp(err.message, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("found \"%s\", wanted \"%s\"", err.message, cases[i][1]);
    }
    struct variants v;
    struct rf_error err = {0};
    const char *many[] = {"slot-size=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
                          "block=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"};
    assert_int_equal(variants_make(&v, many, 2, true, true, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "--sweep: found 256 points, wanted fewer than 256");
    assert_int_equal(variants_make(&v, many, 1, false, true, &err), RF_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_sweep),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
