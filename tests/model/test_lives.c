/* Contexts, models and sessions come and go without a trace. A program of its own, because Debian 12's validation
 * layer, which watches the other tests, keeps 4 KB for each life. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/decode/engine.h"

/* What malloc has given out and not got back. Sanitizers bring their own malloc: there the leak report tells.
 */
static size_t allocated_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* 100 lives of context, model and session: what the device and the heap hold does not grow. The drivers keep
 * a few hundred bytes a life. */
static void a_hundred_lives_leave_nothing(void **state)
{
    (void)state;
    const uint32_t prompt[] = {1, 2, 3};
    size_t yardstick = 0;
    for (int life = 0; life < 100; life++) {
        rf_context *context = NULL;
        rf_model *model = NULL;
        rf_session *session = NULL;
        require_ok(rf_context_create(&context, NULL, err));
        require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", NULL, err));
        require_ok(rf_session_create(&session, model, NULL, err));
        require_ok(rf_session_begin(session, prompt, 3, err));
        rf_session_destroy(session);
        rf_model_destroy(model);
        assert_int_equal(rf_gpu_memory_used(rf_context_gpu(context)), 0);
        rf_context_destroy(context);
        if (life == 20)
            yardstick = allocated_bytes();
    }
    size_t end = allocated_bytes();
    printf("heap after 20 lives %zu bytes, after 100 %zu\n", yardstick, end);
    assert_true(end < yardstick + (128u << 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_hundred_lives_leave_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
