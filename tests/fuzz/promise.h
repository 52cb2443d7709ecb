/* What every fuzz target asks of the code under test. A broken promise aborts, which a fuzzer and CTest
 * both see. */
#ifndef RF_TESTS_FUZZ_PROMISE_H
#define RF_TESTS_FUZZ_PROMISE_H

#include "engine/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define promise(condition) ((condition) ? (void)0 : broken_promise(__FILE__, __LINE__, #condition))

static inline void broken_promise(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, condition);
    abort();
}

/* Either no failure, or one line of message. Inputs are small, so memory cannot be out: that status would
 * mean that our own scan let a text through which cJSON refuses. */
static inline void promise_outcome(enum rf_status status, const struct rf_error *err)
{
    if (status == RF_OK)
        return;
    promise(status == err->status);
    promise(status != RF_ERROR_HOST_MEMORY && status != RF_ERROR_INTERNAL);
    promise(err->message[0] && memchr(err->message, '\0', sizeof err->message));
    promise(!strchr(err->message, '\n'));
}

#endif
