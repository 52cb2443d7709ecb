/* The golden runs of tests/golden as C structs. */
#ifndef RF_TESTS_DECODE_GOLDEN_H
#define RF_TESTS_DECODE_GOLDEN_H

#include "engine/refusion.h"

struct golden_tokens {
    uint32_t *ids;
    size_t count;
};

/* One line of decode.jsonl or decode_wild.jsonl. */
struct golden_case {
    const char *file;
    unsigned line;                              /* from 1 */
    struct golden_tokens prompt, output, shown; /* output: the original's; shown: default mode's */
    struct rf_decode_settings settings;         /* reference is left false */
    uint64_t forwards, rows, default_forwards;
};

struct golden_logits {
    const char *kind;
    struct golden_tokens tokens, positions; /* one pass, in buffer order */
    double *logits;                         /* [rows][vocab], of the last `rows` rows */
    size_t rows, vocab;
};

/* Of RF_TEST_GOLDEN, a folder, where that is set. Both fail the running test when a file is missing or odd; the memory lives until the program ends. */
size_t golden_cases(const struct golden_case **cases);
size_t golden_logits(const struct golden_logits **passes);

#endif
