/* The list of a model's kernels, made on a device that only compiles, against those that forwards really take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/gpu/cache_file.h"
#include "engine/gpu/kernel.h"
#include "engine/model/model.h"

enum { MOST_SHADERS = 64, NAME = 64 };

/* How many specializations of each shader there are. */
struct census {
    struct {
        char shader[NAME];
        uint32_t count;
    } items[MOST_SHADERS];
    uint32_t count;
};

static void add(struct census *census, const char *shader)
{
    uint32_t i = 0;
    while (i < census->count && strcmp(census->items[i].shader, shader) != 0)
        i++;
    assert_true(i < MOST_SHADERS);
    if (i == census->count)
        snprintf(census->items[census->count++].shader, NAME, "%s", shader);
    census->items[i].count++;
}

static void visit(void *user, const char *shader, uint64_t dispatches)
{
    (void)dispatches;
    add(user, shader);
}

static uint32_t count_of(const struct census *census, const char *shader)
{
    for (uint32_t i = 0; i < census->count; i++)
        if (strcmp(census->items[i].shader, shader) == 0)
            return census->items[i].count;
    return 0;
}

static void check_ok(enum rf_status status, const struct rf_error *err)
{
    if (status)
        fail_msg("%s", err->message);
}

struct opened {
    rf_context *context;
    rf_model *model;
};

static struct opened open_tiny(enum rf_capture capture, const char *cache, const char *type)
{
    struct opened o;
    struct rf_error err;
    const char *precision = getenv("RF_PRECISION");
    const struct rf_context_desc context = {.cache_dir = cache ? cache : ""};
    const struct rf_model_desc model = {
        .precision = precision && strcmp(precision, "f16") == 0 ? RF_PRECISION_F16 : RF_PRECISION_F32,
        .weight_type = type,
        .no_tune = !cache};
    check_ok(rf_context_open(&o.context, &context, capture, NULL, 0, &err), &err);
    check_ok(rf_model_load(&o.model, o.context, RF_SOURCE_DIR "/tests/golden/tiny", &model, &err), &err);
    return o;
}

static void close_tiny(struct opened *o)
{
    rf_model_destroy(o->model);
    rf_context_destroy(o->context);
}

/* Records everything that a model of the tiny shape can be asked for with these flags. */
static void record_all(struct opened *o, uint32_t flags)
{
    struct rf_error err;
    struct rf_forward *forward = o->model->forward;
    struct rf_arena *arena = rf_arena_create(o->model->gpu, RF_MEMORY_DEVICE, "round state");
    struct rf_span state;
    struct rf_cmd *cmd;
    for (uint32_t rows = 1; rows <= RF_MAX_ROWS; rows *= 2) {
        struct rf_forward_cmds cmds;
        rf_forward_cmds_init(&cmds);
        check_ok(rf_forward_get(forward, rows, flags, 0, &cmds, &err), &err);
    }
    for (int i = 0; i < RF_SLOT_SHADERS; i++)
        check_ok(rf_forward_slots(forward, (enum rf_slot_shader)i, &cmd, &err), &err);
    check_ok(rf_arena_alloc(arena, &state, sizeof(struct rf_round_state), "round state", &err), &err);
    check_ok(rf_forward_commit(forward, 0, state, &cmd, &err), &err);
    rf_arena_destroy(arena);
}

static void compare(uint32_t flags, const char *type)
{
    struct rf_error err;
    struct census real = {.count = 0}, listed = {.count = 0};
    struct rf_kernel_list list = {0};
    struct opened o = open_tiny(RF_CAPTURE_NOTHING, NULL, type);
    record_all(&o, flags);
    rf_kernels_visit(o.model->gpu, visit, &real);
    close_tiny(&o);

    o = open_tiny(RF_CAPTURE_STATISTICS, NULL, type);
    check_ok(rf_forward_list(o.model->forward, flags, &list, &err), &err);
    assert_int_equal(rf_gpu_memory_used(o.model->gpu), 0);
    for (uint32_t i = 0; i < list.count; i++)
        add(&listed, list.uses[i].id.shader);
    for (uint32_t i = 0; i < real.count; i++)
        if (real.items[i].count != count_of(&listed, real.items[i].shader))
            fail_msg("%s: forwards take %u specializations, %u are listed", real.items[i].shader,
                     real.items[i].count, count_of(&listed, real.items[i].shader));
    assert_int_equal(real.count, listed.count);
    printf("flags %u, %s: %u shaders, %u pipelines\n", flags, type ? type : "as in the files", real.count,
           list.count);
    rf_free(list.uses);
    close_tiny(&o);
}

static void list_is_what_forwards_take(void **state)
{
    (void)state;
    compare(0, NULL);
    compare(RF_FORWARD_DETERMINISTIC, NULL);
    compare(RF_FORWARD_LOGITS, "q4_0");
}

/* Each op of a forward at each number of rows has a kernel, and only one where its matrix has one format. */
static void every_op_at_every_row_count(void **state)
{
    (void)state;
    static const char *const ops[] = {"rows gather",
                                      "embed",
                                      "input norm",
                                      "qkv",
                                      "head norm, RoPE, KV write",
                                      "attention",
                                      "attention reduce",
                                      "o",
                                      "post-attention norm",
                                      "gate/up",
                                      "down",
                                      "final norm",
                                      "lm_head",
                                      "logits reduce"};
    struct rf_error err;
    struct rf_kernel_list list = {0};
    struct opened o = open_tiny(RF_CAPTURE_STATISTICS, NULL, NULL);
    check_ok(rf_forward_list(o.model->forward, 0, &list, &err), &err);
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++) {
        uint32_t once = 0, twice = 0;
        for (uint32_t i = 0; i < list.count; i++) {
            for (uint32_t n = 0; n < list.uses[i].op_count; n++) {
                if (strcmp(list.uses[i].ops[n].op, ops[op]) != 0)
                    continue;
                twice |= once & list.uses[i].ops[n].buckets;
                once |= list.uses[i].ops[n].buckets;
            }
        }
        if (once != RF_ALL_BUCKETS)
            fail_msg("%s: kernels for the row counts 0x%x, wanted 0x%x", ops[op], once, RF_ALL_BUCKETS);
        /* Norms differ by the splits of the product before them, which the first layer's has not. */
        if (!strstr(ops[op], "norm") && twice)
            fail_msg("%s: several kernels for the row counts 0x%x", ops[op], twice);
    }
    rf_free(list.uses);
    close_tiny(&o);
}

/* A choice that stands in the tuner's file is listed; what the file does not know is as untuned. */
static void tuned_choices_are_listed(void **state)
{
    (void)state;
    struct rf_error err;
    char folder[] = "/tmp/refusion-test-XXXXXX", path[RF_CACHE_PATH];
    assert_non_null(mkdtemp(folder));
    for (int tuned = 0; tuned < 2; tuned++) {
        struct opened o = open_tiny(RF_CAPTURE_STATISTICS, folder, NULL);
        const struct rf_model_config *c = &o.model->config;
        struct rf_kernel_list list = {0};
        bool found = false;
        assert_true(rf_cache_path(o.model->gpu, "tuned", "txt", path));
        if (tuned) {
            FILE *file = fopen(path, "w");
            assert_non_null(file);
            fprintf(file, "bf16 %s rows 64 k %u columns %u: many local 16 rows 2 splits 1 (1.0 us)\n",
                    o.model->fp16 ? "fp16" : "portable", c->hidden,
                    (c->heads + 2 * c->kv_heads) * c->head_dim);
            fclose(file);
        }
        check_ok(rf_forward_list(o.model->forward, 0, &list, &err), &err);
        for (uint32_t i = 0; i < list.count; i++) {
            const struct rf_kernel_use *use = &list.uses[i];
            if (strncmp(use->id.shader, "matmul_bf16", 11) == 0 && use->id.specs[RF_SPEC_LOCAL] == 16 &&
                use->id.specs[RF_SPEC_ROWS] == 2) {
                for (uint32_t n = 0; n < use->op_count; n++)
                    assert_int_equal(use->ops[n].buckets, 1 << 6);
                found = true;
            }
        }
        assert_int_equal(found, tuned);
        rf_free(list.uses);
        close_tiny(&o);
        assert_int_equal(access(path, F_OK) == 0, tuned); /* nothing is tried, so nothing is written */
    }
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void sessions_are_refused(void **state)
{
    (void)state;
    struct rf_error err;
    rf_session *session;
    struct opened o = open_tiny(RF_CAPTURE_STATISTICS, NULL, NULL);
    assert_int_equal(rf_session_create(&session, o.model, NULL, &err), RF_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "only compiles"));
    close_tiny(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_what_forwards_take),
        cmocka_unit_test(every_op_at_every_row_count),
        cmocka_unit_test(tuned_choices_are_listed),
        cmocka_unit_test(sessions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
