/* One task of an evaluation, and a list of them. */
#ifndef RF_APPS_EVAL_SAMPLE_H
#define RF_APPS_EVAL_SAMPLE_H

#include "engine/status.h"

/* How an answer is judged; named as in files: check_names in check.c. */
enum check {
    CHECK_EXACT,  /* the answer is the reference, but for white space around them */
    CHECK_NUMBER, /* the last number of the answer is the last one of the reference */
    CHECK_REGEX,  /* the pattern is found somewhere in the answer */
    CHECK_PYTHON, /* the answer's code passes the tests */
    CHECK_BOXED,  /* what stands in the answer's last \boxed{} is the reference, as mathematics is written */
    CHECK_COUNT
};

struct sample {
    char *task; /* of the family, the benchmark or the file */
    char *id;   /* given, or the line's number */
    char *query, *reference;
    char *prefix; /* CHECK_PYTHON: code that stands before the answer's; NULL: none */
    const char *
        preset; /* a benchmark's, else the model's once it is open; lives as long as both. NULL: that of the settings */
    enum check check;
    uint64_t hash; /* of all of the above */
};

struct samples {
    struct sample *items;
    size_t count, room;
    size_t bad; /* malformed ones, which were told and left out */
};

/* Takes the sample over, also when it fails; sets its hash. */
enum rf_status samples_add(struct samples *samples, struct sample *sample, struct rf_error *err);
void samples_free(struct samples *samples);
void sample_clear(struct sample *sample);

/* Of all samples in their order. */
uint64_t samples_hash(const struct samples *samples);

/* FNV-1a, 64 bits, of a text with its end, so that "ab", "c" is not "a", "bc". NULL is a text of its own. */
#define HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t hash_text(uint64_t hash, const char *text);
/* 16 hexadecimal digits. */
struct hash_words {
    char text[17];
};
struct hash_words hash_words(uint64_t hash);

#endif
