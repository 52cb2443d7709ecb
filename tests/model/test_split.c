/* How products are split over k on devices that this machine does not have: how k is divided, what is legal, and
 * what an untuned device gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/model/split.h"
#include "shaders/shared.h"

static const struct rf_gpu_caps large = {
    .cores = 132, .splits = true, .whole_k = true, .max_workgroup_count = {65535, 65535, 65535}};

/* o of an 8B model: `bits` a weight, 64 columns a workgroup of four subgroups. */
static struct rf_split_load load_of(uint32_t rows, uint32_t k, uint32_t columns, uint32_t bits)
{
    return (struct rf_split_load){.rows = rows,
                                  .k = k,
                                  .columns = columns,
                                  .subgroups = columns / 64 * 4 * (rows > 64 ? rows / 64 : 1),
                                  .weight_bytes = (uint64_t)columns * k * bits / 8};
}

/* Every octet is in exactly one split, and no split is empty. */
static void test_octets(void **state)
{
    (void)state;
    for (uint32_t k = 8; k <= 4096; k += 8)
        for (uint32_t splits = 1; splits <= RF_MOST_SPLITS; splits++) {
            uint32_t part = rf_split_octets(k, splits), octets = k / 8;
            if (splits == 1)
                assert_true(part >= octets);
            if (!part)
                continue;
            assert_int_equal(part % (RF_SPLIT_K / 8), 0);
            assert_true((splits - 1) * part < octets);
            assert_true(splits * part >= octets);
        }
    assert_int_equal(rf_split_octets(4096, 8), 64);
    assert_int_equal(rf_split_octets(768, 5), 0); /* 12 units: five parts of three are four */
    assert_int_equal(rf_split_octets(64, 2), 0);
    assert_int_equal(rf_split_octets(72, 2), 8);
    assert_int_equal(rf_split_octets(64, 0), 0);
}

static void test_legal(void **state)
{
    (void)state;
    struct rf_split_load load = load_of(64, 4096, 4096, 16);
    struct rf_gpu_caps caps = large;
    assert_true(rf_split_legal(&caps, &load, 8));
    assert_false(rf_split_legal(&caps, &load, 16)); /* more rows times splits than the partials hold */
    assert_false(rf_split_legal(&caps, &load, 0));
    load.rows = 1;
    assert_true(rf_split_legal(&caps, &load, 16));
    assert_false(rf_split_legal(&caps, &load, 17));
    load.columns = 4092;
    assert_false(rf_split_legal(&caps, &load, 2)); /* half a block */
    load.columns = 4096;
    caps.max_workgroup_count[2] = 3;
    assert_false(rf_split_legal(&caps, &load, 4));
    caps.splits = false;
    assert_false(rf_split_legal(&caps, &load, 2));
    assert_true(rf_split_legal(&caps, &load, 1));
    caps = large;
    caps.cpu = true;
    assert_false(rf_split_legal(&caps, &load, 2));
    caps.whole_k = false; /* for tests */
    assert_true(rf_split_legal(&caps, &load, 2));
}

static uint32_t default_of(const struct rf_gpu_caps *caps, uint32_t rows, uint32_t k, uint32_t columns,
                           uint32_t bits)
{
    const struct rf_split_load load = load_of(rows, k, columns, bits);
    return rf_split_default(caps, &load);
}

static void test_default(void **state)
{
    (void)state;
    struct rf_gpu_caps caps = large;
    assert_int_equal(default_of(&caps, 32, 4096, 4096, 16), 8);
    assert_int_equal(default_of(&caps, 32, 4096, 6144, 16), 4); /* more workgroups */
    assert_int_equal(default_of(&caps, 32, 4096, 24576, 16), 1);
    assert_int_equal(default_of(&caps, 64, 4096, 4096, 4), 2); /* partials would be as large as the weights */
    assert_int_equal(default_of(&caps, 16, 4096, 4096, 4), 8);
    assert_int_equal(default_of(&caps, 512, 12288, 4096, 16), 1); /* no room */
    assert_int_equal(default_of(&caps, 16, 512, 1024, 16), 2);    /* parts of 256 */
    caps.cores = 16;
    assert_int_equal(default_of(&caps, 32, 4096, 4096, 16), 1); /* full already */
    caps.cores = 0;
    assert_int_equal(default_of(&caps, 32, 4096, 4096, 16), 2);
    caps.unified_memory = true;
    assert_int_equal(default_of(&caps, 32, 4096, 4096, 16), 1);
    assert_int_equal(default_of(&caps, 32, 4096, 1024, 16), 2);
    caps.cpu = true;
    assert_int_equal(default_of(&caps, 32, 4096, 1024, 16), 1);
    caps.whole_k = false;
    assert_int_equal(default_of(&caps, 32, 4096, 1024, 16), 3);
    assert_int_equal(default_of(&caps, 32, 128, 1024, 16), 2);
    assert_int_equal(default_of(&caps, 32, 64, 1024, 16), 1);
    assert_int_equal(default_of(&caps, 512, 4096, 1024, 16), 1);
    caps.splits = false;
    assert_int_equal(default_of(&caps, 32, 4096, 1024, 16), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_octets),
        cmocka_unit_test(test_legal),
        cmocka_unit_test(test_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
