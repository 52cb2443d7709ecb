/* What the tests of the engine's decoding share: a context and the tiny model on whatever driver the test
 * runs on. */
#ifndef RF_TESTS_DECODE_ENGINE_H
#define RF_TESTS_DECODE_ENGINE_H

#include "engine/decode/session.h"

/* Sessions of `model` find these until changed back; scripted networks bring their own ids. */
struct engine {
    rf_context *context;
    rf_model *model;
};

/* Fails the test on an error; exits with 77 (skipped) when RF_PRECISION is f16 or int8 and the device has no
 * fp16 tier. RF_TEST_WEIGHTS: the type that weights get while they are loaded; int8 wants a quantized one.
 * RF_TEST_SHADERS: a folder of shaders that stand in the place of the library's.
 * Debug checks on: red zones after every submission, the hazard checker over every command buffer. */
void engine_open(struct engine *e);
/* Destroys both and fails when a red zone, a hazard or the validation layer complained. */
void engine_close(struct engine *e);

/* The program's one engine, and group fixtures around it. */
extern struct engine engine;
int engine_set_up(void **state);
int engine_tear_down(void **state);

/* The forward for `rows` rows, as pass 0 would submit it. */
enum rf_status engine_get_forward(rf_model *model, uint32_t rows, uint32_t flags,
                                  struct rf_forward_cmds *cmds, struct rf_error *err);

/* Fails with the error's text. */
#define require_ok(call)                                                                                     \
    do {                                                                                                     \
        struct rf_error require_err = {0};                                                                   \
        struct rf_error *err = &require_err;                                                                 \
        if ((call) != RF_OK)                                                                                 \
            fail_msg("%s: %s", #call, require_err.message);                                                  \
    } while (0)

#endif
