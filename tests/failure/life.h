/* A life of the library: a context, a tokenizer, a model, rounds, sessions in files and forked, a response in the
 * background, and the end of all. A step that fails is made again, until it does. */
#ifndef RF_TESTS_FAILURE_LIFE_H
#define RF_TESTS_FAILURE_LIFE_H

#include "engine/refusion.h"

enum { LIFE_TOKENS = 256 };

struct life {
    rf_context *context;
    rf_tokenizer *tokenizer;
    rf_model *model;
    rf_session *session, *other, *sequential;
    rf_generation *generation;
    uint32_t tokens[3]
                   [LIFE_TOKENS]; /* of the responses in rounds, of the fork in the background, one by one */
    size_t counts[3];
    const char *failed; /* the step that failed last; NULL: none */
    struct rf_error error;
    unsigned failures;
    char path[64]; /* of a saved session */
};

/* From the beginning to the end. Fails the test when a step fails with another status than one of a lack of
 * memory, or without a message, or ever again. After RF_ERROR_DEVICE_LOST no further step is made. */
void life_live(struct life *life);
void life_end(struct life *life);

#endif
