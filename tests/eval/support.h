/* What the tests of `refusion eval` share: a folder of their own, samples, headers, and results made up. */
#ifndef RF_TESTS_EVAL_SUPPORT_H
#define RF_TESTS_EVAL_SUPPORT_H

#include "apps/refusion/eval/results.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int make_folder(void **state);
int remove_folder(void **state);
/* In the folder; of the last eight calls. */
const char *path_of(const char *name);
void write_file(const char *name, const char *text);
char *read_whole(const char *name); /* for free */

/* `count` of them, of the tasks "a" and "b" in turn. */
void make_samples(struct samples *out, size_t count);
/* Of variants "refusion" and "ar". */
cJSON *make_header(const struct samples *samples, uint32_t shard, uint32_t shards);
/* An answer that is right when `right`, to be taken over. */
struct record make_record(const struct samples *samples, uint64_t sample, uint32_t variant, bool right);

#endif
