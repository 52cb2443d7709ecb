/* How products are divided into workgroups of cooperative matrices, for fragment shapes and subgroup sizes that real
 * devices list and this machine does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/coopmat.h"
#include "shaders/shared.h"

enum { DEVICES = 6 };

/* lavapipe, Intel (2), AMD, NVIDIA, and one with large fragments only. */
static const struct rf_gpu_caps devices[DEVICES] = {
    {.subgroup_size = 8, .coopmat_shape_count = 1, .coopmat_shapes = {{8, 8, 8}}},
    {.subgroup_size = 8, .coopmat_shape_count = 1, .coopmat_shapes = {{8, 8, 16}}},
    {.subgroup_size = 16, .coopmat_shape_count = 1, .coopmat_shapes = {{8, 16, 16}}},
    {.subgroup_size = 64, .coopmat_shape_count = 1, .coopmat_shapes = {{16, 16, 16}}},
    {.subgroup_size = 32,
     .coopmat_shape_count = 3,
     .coopmat_shapes = {{16, 8, 8}, {16, 8, 16}, {16, 16, 16}}},
    {.subgroup_size = 32, .coopmat_shape_count = 1, .coopmat_shapes = {{32, 32, 16}}},
};

static struct rf_gpu_caps with_limits(uint32_t device, uint32_t shared)
{
    struct rf_gpu_caps caps = devices[device];
    caps.coopmat = true;
    caps.shared_bytes = shared;
    caps.max_invocations = 1024;
    return caps;
}

/* What the shader takes for granted. */
static void check(const struct rf_gpu_caps *caps, const struct rf_coopmat_tiling *t, uint32_t local,
                  uint32_t rows, bool reduce)
{
    uint32_t row_tiles = rows / (t->fragment.m * t->row_groups);
    uint32_t subgroups = t->row_groups * t->column_groups, most = caps->shared_bytes / 16;
    assert_int_equal(t->rows, rows);
    assert_int_equal(row_tiles * t->fragment.m * t->row_groups, rows);
    assert_int_equal(subgroups * caps->subgroup_size, local);
    assert_int_equal(t->columns, t->column_groups * t->column_tiles * t->fragment.n);
    assert_int_equal(t->columns % (reduce ? RF_LOGIT_TILE : RF_COLUMNS), 0);
    assert_int_equal(t->k_step % t->fragment.k, 0);
    assert_int_equal(t->k_step % 8, 0);
    assert_int_equal(row_tiles % t->round_tiles, 0);
    assert_true(t->shared <= most);
    assert_true(t->shared >= 2 * (t->rows + t->columns) * (t->k_step / 8 + 1));
    assert_true(t->shared >= t->round_tiles * t->fragment.m * t->row_groups * (t->columns / 4 + 1));
}

static void test_divide(void **state)
{
    (void)state;
    uint32_t possible = 0;
    for (uint32_t d = 0; d < DEVICES; d++)
        for (uint32_t shared = 32768; shared <= 65536; shared += 16384)
            for (uint32_t rows = 8; rows <= 128; rows *= 2)
                for (uint32_t columns = 32; columns <= 128; columns *= 2)
                    for (int reduce = 0; reduce < 2; reduce++) {
                        const struct rf_gpu_caps caps = with_limits(d, shared);
                        const struct rf_coopmat_shape *fragment = rf_coopmat_fragment(&caps, rows);
                        uint32_t local = columns / fragment->n * caps.subgroup_size;
                        struct rf_coopmat_tiling tiling;
                        memset(&tiling, 0xff, sizeof tiling);
                        bool done = rf_coopmat_divide(&caps, local, rows, reduce, &tiling);
                        if (done)
                            check(&caps, &tiling, local, rows, reduce);
                        /* The usual one, 64 columns and up to 64 rows, must be possible everywhere. */
                        if (columns == 64 && rows >= fragment->m && rows <= 64)
                            assert_true(done);
                        possible += done;
                    }
    assert_true(possible > 200);
}

static void test_fragment(void **state)
{
    (void)state;
    struct rf_gpu_caps caps = with_limits(4, 49152);
    const struct rf_coopmat_shape *fragment = rf_coopmat_fragment(&caps, 64);
    assert_int_equal(fragment->n, 16); /* of equal padding the largest */
    caps.coopmat_shapes[0] = (struct rf_coopmat_shape){8, 8, 8};
    assert_int_equal(rf_coopmat_fragment(&caps, 8)->m, 8); /* least padding */
    assert_int_equal(rf_coopmat_fragment(&caps, 24)->m, 8);
    assert_int_equal(rf_coopmat_fragment(&caps, 32)->m, 16);
    caps.coopmat_shape_count = 0;
    assert_null(rf_coopmat_fragment(&caps, 8));
    struct rf_coopmat_tiling tiling;
    assert_false(rf_coopmat_divide(&caps, 128, 64, false, &tiling));
}

static void test_refused(void **state)
{
    (void)state;
    struct rf_coopmat_tiling tiling;
    struct rf_gpu_caps caps = with_limits(3, 65536);
    assert_true(rf_coopmat_divide(&caps, 256, 64, false, &tiling));
    assert_false(rf_coopmat_divide(&caps, 0, 64, false, &tiling));
    assert_false(rf_coopmat_divide(&caps, 32, 64, false, &tiling)); /* half a subgroup */
    assert_false(rf_coopmat_divide(&caps, 256, 0, false, &tiling));
    assert_false(rf_coopmat_divide(&caps, 256, 40, false, &tiling));  /* no whole fragments */
    assert_false(rf_coopmat_divide(&caps, 2048, 64, false, &tiling)); /* more than the device has */
    assert_false(rf_coopmat_divide(&caps, 64, 2048, false, &tiling)); /* registers */
}

/* In the order of the shader's constants. */
static void test_specs(void **state)
{
    (void)state;
    const struct rf_coopmat_tiling t = {{1, 2, 3}, 100, 200, 4, 5, 6, 7, 8, 9};
    uint32_t specs[RF_COOPMAT_SPECS];
    rf_coopmat_specs(&t, specs);
    for (uint32_t i = 0; i < RF_COOPMAT_SPECS; i++)
        assert_int_equal(specs[i], i + 1);
    assert_int_equal(RF_SPEC_FRAGMENT_M, RF_SPEC_ROWS + 1);
    assert_int_equal(RF_SPEC_ROUND_TILES, RF_SPEC_ROWS + RF_COOPMAT_SPECS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divide),
        cmocka_unit_test(test_fragment),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
