/* Random scripted networks for the decode logic: a case is a set of settings and a pseudo-random function
 * (seed, number of the forward, number of the row in it) -> row result, biased so that every branch of the
 * rules is taken often. The same case can be run through ref_decode and through anything else that can be
 * fed row results; both must list rows in the order of the rules: the prompt, then the masked slots by
 * position (PLAN); the chosen slots by position (VERIFY); each chosen slot's rows acc..k-1, slot after slot
 * (COMPLETE).
 *
 * Nothing hangs on how exactly exp and division round: a probability is either at least 1e-3 away from the
 * threshold that it is compared with, or equal to it and 0 or one over a power of two; two slot scores are
 * equal bit for bit or at least 1e-3 apart. */
#ifndef RF_TESTS_SCRIPTED_H
#define RF_TESTS_SCRIPTED_H

#include "tests/reference/ref_decode.h"

enum { REF_CASE_MAX_PROMPT = 8, REF_CASE_MAX_RESPONSE = 320, REF_CASE_MAX_SLOT = 32 };

/* Do not copy: settings.prompt points into it. */
struct ref_case {
    uint64_t seed;
    struct ref_settings settings; /* default or reference mode; a few are to be refused (block) */
    uint32_t prompt[REF_CASE_MAX_PROMPT];
    uint32_t vocab;      /* every token is below it; the mask token is vocab - 1 */
    uint32_t eos_rate;   /* rows of a thousand whose argmax is an eos */
    uint32_t eos_from;   /* the first forward that has any */
    uint32_t score_rate; /* rows of a thousand with a high probability of the argmax, and that agree with */
    uint32_t agree_rate; /* the wanted token; UINT32_MAX: drawn for each forward */
};

void ref_case_generate(struct ref_case *out, uint64_t seed);

/* Rows and forwards count from 0; rows that want no result count too. PLAN and the first half of a turn of
 * COMPLETE are even forwards, VERIFY and the second half odd ones. */
struct ref_result ref_case_result(const struct ref_case *script, size_t forward, size_t row);

/* ref_decode on the case; false when it refuses the settings (message: 256 bytes). */
bool ref_case_run(const struct ref_case *script, struct ref_outcome *outcome, char *message);

/* One line that shows the settings, for messages of failing tests. Returns `text`. */
const char *ref_case_describe(const struct ref_case *script, char *text, size_t size);

#endif
