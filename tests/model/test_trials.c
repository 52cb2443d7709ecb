/* Kernels that have to prove themselves before they are chosen (matmul_coopmat2, emulated): right ones are
 * tried, wrong ones and those that the driver refuses cost nothing but speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gpu/internal.h"
#include "engine/model/coopmat.h"
#include "engine/model/tune.h"
#include "tests/decode/engine.h"

enum { BUCKET = 4, ROWS = 1 << BUCKET };

struct seen {
    uint32_t right, wrong, chosen, chosen_coopmat2;
    char warning[256];
};

static void note_warning(void *user, enum rf_log_level level, const char *line)
{
    struct seen *seen = user;
    if (level == RF_LOG_WARNING && strstr(line, "is not used for"))
        snprintf(seen->warning, sizeof seen->warning, "%s", line);
}

static void note_trial(void *user, const struct rf_trial *trial)
{
    struct seen *seen = user;
    bool coopmat2 = trial->shape.kind == RF_MATMUL_COOPMAT2;
    assert_true(coopmat2 || !trial->wrong);
    assert_true(trial->wrong ? trial->seconds == 0.0 : trial->chosen || trial->seconds > 0.0);
    seen->right += coopmat2 && !trial->chosen && !trial->wrong;
    seen->wrong += trial->wrong;
    seen->chosen += trial->chosen;
    seen->chosen_coopmat2 += trial->chosen && coopmat2;
}

static void note_sweep(void *user, const struct rf_sweep *sweep)
{
    *(uint32_t *)user += sweep->shape_count;
}

/* The tiny model on a device that takes `shaders` for its workgroup matrices; trials of 16 rows. */
static void open_model(const char *shaders, const char *type, struct seen *seen, rf_context **context,
                       rf_model **model)
{
    const struct rf_context_desc desc = {.cache_dir = "",
                                         .shader_dir = shaders,
                                         .disable = "coopmat2Units",
                                         .debug_checks = true,
                                         .log = note_warning,
                                         .log_user = seen};
    const struct rf_model_desc model_desc = {.precision = RF_PRECISION_F16, .weight_type = type};
    require_ok(rf_context_create(context, &desc, err));
    require_ok(rf_model_load(model, *context, RF_SOURCE_DIR "/tests/golden/tiny", &model_desc, err));
}

static void close_model(rf_context *context, rf_model *model)
{
    rf_model_destroy(model);
    assert_int_equal(rf_context_complaints(context), 0);
    rf_context_destroy(context);
}

static struct seen try_shaders(const char *shaders, const char *type)
{
    rf_context *context = NULL;
    rf_model *model = NULL;
    struct seen seen = {0};
    open_model(shaders, type, &seen, &context, &model);
    require_ok(rf_tune_bucket(model->forward, BUCKET, note_trial, &seen, err));
    close_model(context, model);
    return seen;
}

static void right_products_are_timed(void **state)
{
    (void)state;
    static const char *const types[] = {NULL, "f16", "q8_0", "q4_0"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct seen seen = try_shaders(RF_EMULATED_DIR, types[i]);
        assert_true(seen.right >= 1);
        assert_int_equal(seen.wrong, 0);
        assert_true(seen.chosen >= 1);
        assert_string_equal(seen.warning, "");
    }
}

/* Of faults that leave all rows wrong, some columns, and those of a bucket that is not full. */
static void wrong_products_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fault, *type;
        uint32_t rows; /* with which it shows first */
    } faults[] = {{"swaps_view", "f16", ROWS},
                  {"ignores_ldx", "f16", ROWS - ROWS / 8},
                  {"reads_one_column", "q8_0", ROWS},
                  {"q4_0_swaps_nibbles", "q4_0", ROWS},
                  {"bf16_swaps_halves", NULL, ROWS}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char shaders[1024], part[64];
        snprintf(shaders, sizeof shaders, RF_PLANTED_DIR "/coopmat2_%s", faults[i].fault);
        struct seen seen = try_shaders(shaders, faults[i].type);
        snprintf(part, sizeof part, "its product of %u rows differs", faults[i].rows);
        assert_int_equal(seen.right, 0);
        assert_true(seen.wrong >= 1);
        assert_true(seen.chosen >= 1);
        assert_int_equal(seen.chosen_coopmat2, 0);
        if (!strstr(seen.warning, part))
            fail_msg("%s: the warning \"%s\" does not contain \"%s\"", faults[i].fault, seen.warning, part);
    }
}

/* The library's own shaders, which this device cannot run. */
static void refused_pipelines_are_no_choice(void **state)
{
    (void)state;
    const struct rf_gpu_caps capable = {.coopmat2_units = true};
    if (!rf_coopmat2_built(&capable))
        skip();
    struct seen seen = try_shaders(NULL, "f16");
    assert_int_equal(seen.right, 0);
    assert_true(seen.wrong >= 1 && seen.chosen >= 1);
    assert_int_equal(seen.chosen_coopmat2, 0);
    assert_non_null(strstr(seen.warning, "needs coopmat2Matmul"));
}

/* A sweep has the shapes whose products are right, and no others. */
static void sweeps_leave_wrong_products_out(void **state)
{
    (void)state;
    rf_context *context = NULL;
    rf_model *model = NULL;
    uint32_t shapes[2] = {0, 0}, forwards = 0;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct seen seen = {0};
        open_model(wrong ? RF_PLANTED_DIR "/coopmat2_swaps_view" : RF_EMULATED_DIR, "f16", &seen, &context,
                   &model);
        struct rf_matmul_shape all[RF_MATMUL_ALL];
        uint32_t count = rf_matmul_all(model->forward, RF_WEIGHT_F16, ROWS, all);
        for (uint32_t i = 0; i < count && !wrong; i++)
            forwards += all[i].kind == RF_MATMUL_COOPMAT2;
        require_ok(rf_tune_sweep(model->forward, BUCKET, note_sweep, &shapes[wrong], err));
        close_model(context, model);
    }
    assert_true(forwards >= 2);
    assert_int_equal(shapes[0] - shapes[1], forwards);
}

/* Where nobody masks it, no CPU has it; untuned nobody gets it. */
static void nobody_gets_it_untried(void **state)
{
    (void)state;
    rf_context *context = NULL;
    rf_model *model = NULL;
    struct seen seen = {0};
    open_model(RF_EMULATED_DIR, "f16", &seen, &context, &model);
    for (uint32_t rows = 1; rows <= RF_MAX_ROWS; rows *= 2)
        assert_int_not_equal(rf_matmul_default(model->forward, RF_WEIGHT_F16, rows).kind, RF_MATMUL_COOPMAT2);
    close_model(context, model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_products_are_timed),        cmocka_unit_test(wrong_products_are_refused),
        cmocka_unit_test(refused_pipelines_are_no_choice), cmocka_unit_test(sweeps_leave_wrong_products_out),
        cmocka_unit_test(nobody_gets_it_untried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
