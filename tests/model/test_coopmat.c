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

/* ---- Matrices of a workgroup ------------------------------------------------------------------------ */

/* What devices with VK_NV_cooperative_matrix2 may report: units of 16 throughout; coarser ones, other for each
 * workgroup; one that keeps nearly all shared memory; one with matrices too small for a tile of logits; one whose
 * units of k are longer than a split's; and tests/kernels' emulation. */
static const struct {
    struct rf_workgroup_matrices matrices;
    uint32_t shared, possible; /* of rows 16 to 256, every workgroup */
} reports[] = {
    {{2, {{128, 16, 16, 16}, {256, 16, 16, 16}}, 1024, 1024, 16384}, 49152, 10},
    {{2, {{128, 32, 16, 32}, {256, 32, 32, 16}}, 1024, 1024, 32768}, 101376, 8},
    {{2, {{128, 16, 16, 16}, {256, 16, 16, 16}}, 1024, 1024, 48 * 1024 - 300}, 49152, 5},
    {{1, {{128, 16, 16, 16}}, 32, 1024, 0}, 49152, 0},
    {{1, {{128, 16, 16, 128}}, 1024, 1024, 0}, 49152, 0},
    {{2, {{128, 16, 16, 16}, {256, 16, 16, 16}}, 1024, 128, 0}, 49152, 5},
    {{1, {{96, 16, 16, 16}}, 1024, 1024, 0}, 49152, 0},
    {{2, {{128, 16, 16, 16}, {256, 32, 32, 16}}, 64, 256, 16384}, 32768, 5},
};

/* What matmul_coopmat2.comp and the extension take for granted. */
static void check_workgroup(const struct rf_gpu_caps *caps, const struct rf_workgroup_matrix *matrix,
                            const struct rf_coopmat2_tiling *t)
{
    const struct rf_workgroup_matrices *limits = &caps->workgroup_matrices;
    assert_int_equal(t->rows % matrix->m, 0);
    assert_int_equal(t->columns % matrix->n, 0);
    assert_int_equal(t->k % matrix->k, 0);
    assert_int_equal(t->columns % RF_LOGIT_TILE, 0);
    assert_int_equal(t->k % 8, 0);
    assert_int_equal(RF_SPLIT_K % t->k, 0);
    assert_true(t->rows > 0 && t->columns > 0 && t->k > 0);
    assert_true(t->rows <= limits->max_dimension && t->columns <= limits->max_dimension);
    assert_true(t->k <= limits->max_dimension);
    assert_true(matrix->invocations <= limits->max_invocations);
    assert_int_equal(t->rows * t->columns % matrix->invocations, 0); /* the emulation's sums */
    assert_true(t->staged_rows > 0 && t->rows % t->staged_rows == 0);
    assert_true(t->staged_rows * (t->columns + 1) * 4 + limits->reserved_bytes <= caps->shared_bytes);
}

static void test_workgroups(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof reports / sizeof reports[0]; r++) {
        struct rf_gpu_caps caps = {.subgroup_size = 32,
                                   .max_invocations = 1024,
                                   .shared_bytes = reports[r].shared,
                                   .workgroup_matrices = reports[r].matrices};
        uint32_t possible = 0;
        for (uint32_t i = 0; i < caps.workgroup_matrices.count; i++)
            for (uint32_t rows = 16; rows <= 256; rows *= 2) {
                const struct rf_workgroup_matrix *matrix = &caps.workgroup_matrices.list[i];
                struct rf_coopmat2_tiling tiling;
                uint32_t padded = rf_coopmat2_rows(&caps, matrix->invocations, rows);
                assert_true(padded >= rows && padded < rows + matrix->m);
                memset(&tiling, 0xff, sizeof tiling);
                if (padded != rows || !rf_coopmat2_divide(&caps, matrix->invocations, rows, &tiling))
                    continue;
                possible++;
                assert_int_equal(tiling.rows, rows);
                check_workgroup(&caps, matrix, &tiling);
            }
        assert_int_equal(possible, reports[r].possible);
    }
}

static void test_workgroups_refused(void **state)
{
    (void)state;
    struct rf_coopmat2_tiling tiling;
    struct rf_gpu_caps caps = {.subgroup_size = 32,
                               .max_invocations = 1024,
                               .shared_bytes = 49152,
                               .workgroup_matrices = reports[0].matrices};
    assert_true(rf_coopmat2_divide(&caps, 128, 64, &tiling));
    assert_int_equal(tiling.columns, 64);
    assert_int_equal(tiling.k, 64);
    assert_false(rf_coopmat2_divide(&caps, 64, 64, &tiling));   /* not listed */
    assert_int_equal(rf_coopmat2_rows(&caps, 64, 64), 0);
    assert_false(rf_coopmat2_divide(&caps, 128, 0, &tiling));
    assert_false(rf_coopmat2_divide(&caps, 128, 40, &tiling));  /* no whole units */
    assert_false(rf_coopmat2_divide(&caps, 128, 512, &tiling)); /* registers */
    caps.max_invocations = 64;
    assert_false(rf_coopmat2_divide(&caps, 128, 64, &tiling));
    caps.max_invocations = 1024;
    caps.subgroup_size = 96;
    assert_false(rf_coopmat2_divide(&caps, 128, 64, &tiling)); /* no whole subgroups */
    caps.subgroup_size = 32;
    caps.workgroup_matrices.reserved_bytes = 65536; /* more than there is */
    assert_false(rf_coopmat2_divide(&caps, 128, 64, &tiling));
    caps.workgroup_matrices = (struct rf_workgroup_matrices){.count = 0};
    assert_false(rf_coopmat2_divide(&caps, 128, 64, &tiling));
}

static void test_workgroup_specs(void **state)
{
    (void)state;
    const struct rf_coopmat2_tiling t = {.rows = 100, .columns = 1, .k = 2, .staged_rows = 3};
    uint32_t specs[RF_COOPMAT2_SPECS];
    rf_coopmat2_specs(&t, specs);
    for (uint32_t i = 0; i < RF_COOPMAT2_SPECS; i++)
        assert_int_equal(specs[i], i + 1);
    assert_int_equal(RF_SPEC_TILE_COLUMNS, RF_SPEC_ROWS + 1);
    assert_int_equal(RF_SPEC_STAGED_ROWS, RF_SPEC_ROWS + RF_COOPMAT2_SPECS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divide),
        cmocka_unit_test(test_fragment),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_workgroups),
        cmocka_unit_test(test_workgroups_refused),
        cmocka_unit_test(test_workgroup_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
