/* Does it fit? What rf_model_estimate says beside what loading, a session and a full context really take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/decode/engine.h"

static const char tiny[] = RF_SOURCE_DIR "/tests/golden/tiny";

enum { RESPONSE = 32, LIMIT = 1 << 30 };

/* Most memory that the context held at any time of a response behind a prompt that leaves room for no more. */
static uint64_t fill_context(rf_context *context, rf_session *s, uint32_t context_length)
{
    uint32_t prompt[1024];
    uint64_t most = 0;
    for (uint32_t i = 0; i < context_length - RESPONSE; i++)
        prompt[i] = 60 + i * 7 % 400;
    require_ok(rf_session_begin(s, prompt, context_length - RESPONSE, err));
    while (!rf_session_finished(s)) {
        require_ok(rf_session_step(s, NULL, NULL, err));
        uint64_t now = rf_context_memory(context);
        most = now > most ? now : most;
    }
    assert_true(s->committed >= context_length - RESPONSE);
    return most;
}

static void compare(const struct rf_context_desc *context_desc, const struct rf_model_desc *desc)
{
    struct rf_memory_estimate e, again;
    rf_context *context = NULL;
    rf_model *model = NULL;
    rf_session *session = NULL;
    require_ok(rf_context_create(&context, context_desc, err));
    uint64_t empty = rf_context_memory(context);
    require_ok(rf_model_estimate(&e, context, tiny, desc, err));
    assert_int_equal(rf_context_memory(context), empty); /* it takes none itself */
    require_ok(rf_model_load(&model, context, tiny, desc, err));
    uint64_t staging = rf_context_memory(context) - empty - e.weights - e.work;
    assert_true(staging == 0 || empty == 0); /* only a device's first upload leaves anything behind */
    uint64_t loaded = rf_context_memory(context);
    const struct rf_session_desc alone = {.settings = {.max_tokens = RESPONSE}};
    require_ok(rf_session_create(&session, model, &alone, err));
    assert_int_equal(rf_context_memory(context) - loaded, e.session);
    loaded += e.session;
    uint64_t most = fill_context(context, session, desc->context_length);
    print_message("%u positions%s%s: %llu bytes of weights, %llu of work, %llu of a session, KV %llu; %llu "
                  "in all, %llu "
                  "beyond the KV were taken\n",
                  desc->context_length, desc->weight_type ? ", " : "",
                  desc->weight_type ? desc->weight_type : "", (unsigned long long)e.weights,
                  (unsigned long long)e.work, (unsigned long long)e.session, (unsigned long long)e.kv,
                  (unsigned long long)e.total, (unsigned long long)(most - loaded));
    assert_true(most - empty - staging <= e.total + e.total / 50);
    assert_true(most - loaded > e.kv / 3);
    assert_int_equal(e.total, e.weights + e.work + e.session + e.kv);
    assert_true(e.fits);
    require_ok(rf_model_estimate(&again, context, tiny, desc, err)); /* beside a loaded one */
    assert_int_equal(again.total, e.total);
    assert_true(again.available < e.available);
    rf_session_destroy(session);
    rf_model_destroy(model);
    assert_int_equal(rf_context_complaints(context), 0);
    rf_context_destroy(context);
}

static void what_it_says_is_what_it_takes(void **state)
{
    (void)state;
    /* What the system has left changes with what else runs; what a limit leaves does not. */
    const struct rf_context_desc plain = {.size = sizeof plain, .memory_limit = LIMIT},
                                 checked = {.memory_limit = LIMIT, .debug_checks = true};
    compare(&plain, &(struct rf_model_desc){.context_length = 1024, .no_tune = true});
    compare(&checked, &(struct rf_model_desc){.context_length = 512, .no_tune = true});
    compare(&plain, &(struct rf_model_desc){.context_length = 512, .no_tune = true, .weight_type = "q4_0"});
}

static void a_limit_is_kept_and_foretold(void **state)
{
    (void)state;
    const struct rf_model_desc desc = {.context_length = 512, .no_tune = true};
    struct rf_memory_estimate e, less;
    rf_context *context = NULL;
    rf_model *model = NULL;
    struct rf_error error = {0};
    require_ok(rf_context_create(&context, NULL, err));
    require_ok(rf_model_estimate(&e, context, tiny, &desc, err));
    assert_true(e.available > e.total && e.fits);
    rf_context_destroy(context);

    require_ok(
        rf_context_create(&context, &(struct rf_context_desc){.memory_limit = e.weights + e.work / 2}, err));
    require_ok(rf_model_estimate(&less, context, tiny, &desc, err));
    assert_int_equal(less.total, e.total);
    assert_int_equal(less.available, e.weights + e.work / 2);
    assert_false(less.fits);
    assert_int_equal(rf_model_load(&model, context, tiny, &desc, &error), RF_ERROR_DEVICE_MEMORY);
    assert_non_null(strstr(error.message, "the limit is "));
    assert_null(model);
    rf_context_destroy(context);

    /* What fits by the estimate does: the room for what is recorded later is told in the header. */
    rf_session *session = NULL;
    const struct rf_session_desc whole = {.settings = {.max_tokens = RESPONSE}};
    require_ok(
        rf_context_create(&context, &(struct rf_context_desc){.memory_limit = e.total + e.total / 10}, err));
    require_ok(rf_model_estimate(&less, context, tiny, &desc, err));
    assert_true(less.fits);
    require_ok(rf_model_load(&model, context, tiny, &desc, err));
    require_ok(rf_session_create(&session, model, &whole, err));
    fill_context(context, session, 512);
    rf_session_destroy(session);
    rf_model_destroy(model);
    rf_context_destroy(context);
}

static void what_cannot_be_loaded_has_no_estimate(void **state)
{
    (void)state;
    struct rf_memory_estimate e = {.total = 7};
    struct rf_error error = {0};
    rf_context *context = NULL;
    require_ok(rf_context_create(&context, NULL, err));
    assert_int_equal(rf_model_estimate(&e, context, "/no/such/folder", NULL, &error), RF_ERROR_IO);
    assert_non_null(strstr(error.message, "/no/such/folder"));
    assert_int_equal(e.total, 0);
    assert_false(e.fits);
    assert_int_equal(
        rf_model_estimate(&e, context, tiny, &(struct rf_model_desc){.context_length = 1u << 30}, &error),
        RF_ERROR_ARGUMENT);
    assert_int_equal(rf_model_estimate(&e, context, NULL, NULL, &error), RF_ERROR_ARGUMENT);
    assert_int_equal(rf_context_memory(context), 0);
    rf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says_is_what_it_takes),
        cmocka_unit_test(a_limit_is_kept_and_foretold),
        cmocka_unit_test(what_cannot_be_loaded_has_no_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
