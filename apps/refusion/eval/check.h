/* Whether an answer is right. */
#ifndef RF_APPS_EVAL_CHECK_H
#define RF_APPS_EVAL_CHECK_H

#include "apps/refusion/eval/sample.h"
#include "apps/refusion/eval/sandbox.h"

extern const char *const check_names[CHECK_COUNT]; /* "exact", "number", "regex", "python-tests", "boxed" */
bool check_find(const char *name, enum check *out);

struct verdict {
    bool right;
    char reason[400]; /* why not, one line; "" when it is right */
};

/* What python-tests run in; sandbox NULL: there is none, and such samples are refused. Zeros are the sandbox's own. */
struct python_limits {
    const struct sandbox *sandbox;
    double seconds;
    size_t memory_bytes;
};

/* RF_OK: *out says it. Else nothing can be said of the answer: no memory, or the sandbox failed. */
enum rf_status check_answer(struct verdict *out, const struct sample *sample, const char *answer,
                            const struct python_limits *limits, struct rf_error *err);

/* Whether the sample's reference is one that its check can use: a pattern that compiles, a text with a number. The
 * message begins with "reference". */
enum rf_status check_reference(const struct sample *sample, struct rf_error *err);

/* The code of an answer: its first fenced block, without the fences; the whole answer when it has none. A block without
 * an end goes to the answer's. */
const char *answer_code(const char *answer, size_t *length);

/* The content of the last \boxed{} or \fbox{}, malloc'ed; NULL: none, or no memory. */
char *boxed_content(const char *text);
/* Whether two terms are the same when spaces, \left, \right, text styles, units' degrees, $ and a full stop do not
 * count, or as numbers. */
bool same_term(const char *a, const char *b);

#endif
