#include "tests/decode/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct engine engine;

static void log_line(void *user, enum rf_log_level level, const char *line)
{
    (void)user;
    if (level >= RF_LOG_WARNING)
        fprintf(stderr, "%s\n", line);
}

void engine_open(struct engine *e)
{
    const char *precision = getenv("RF_PRECISION"), *model = getenv("RF_TEST_MODEL");
    struct rf_model_desc desc = {.precision = RF_PRECISION_F32, .weight_type = getenv("RF_TEST_WEIGHTS")};
    if (precision && strcmp(precision, "f16") == 0)
        desc.precision = RF_PRECISION_F16;
    if (precision && strcmp(precision, "int8") == 0)
        desc.precision = RF_PRECISION_INT8;
    desc.no_tune = getenv("RF_TEST_NO_TUNE") != NULL; /* trials cost a slow compiler minutes */
    require_ok(rf_context_create(&e->context,
                                 &(struct rf_context_desc){.shader_dir = getenv("RF_TEST_SHADERS"),
                                                           .debug_checks = true,
                                                           .log = log_line},
                                 err));
    struct rf_device_info info;
    rf_context_device(e->context, &info);
    if (desc.precision != RF_PRECISION_F32 && !info.has_fp16) {
        printf("%s has no fp16 tier: skipped\n", info.name);
        rf_context_destroy(e->context);
        exit(77);
    }
    printf("%s, %s, subgroups of %u\n", info.name,
           desc.precision == RF_PRECISION_F32 ? "portable" : precision, info.subgroup_size);
    require_ok(
        rf_model_load(&e->model, e->context, model ? model : RF_SOURCE_DIR "/tests/golden/tiny", &desc, err));
}

void engine_close(struct engine *e)
{
    uint64_t complaints = rf_context_complaints(e->context);
    uint32_t pages = rf_kv_pages_used(e->model->pool);
    rf_model_destroy(e->model);
    rf_context_destroy(e->context);
    assert_int_equal(pages, 0); /* every session gave its pages back */
    assert_int_equal(complaints, 0);
}

enum rf_status engine_get_forward(rf_model *model, uint32_t rows, uint32_t flags,
                                  struct rf_forward_cmds *cmds, struct rf_error *err)
{
    rf_forward_cmds_init(cmds);
    return rf_forward_get(model->forward, rows, flags, 0, cmds, err);
}

int engine_set_up(void **state)
{
    (void)state;
    engine_open(&engine);
    return 0;
}

int engine_tear_down(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}
