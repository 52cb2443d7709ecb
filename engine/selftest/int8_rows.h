/* Rows of int8 blocks (shaders/shared.h) as input of a case and as its output. Written apart from
 * shaders/int8.glsl. */
#ifndef RF_SELFTEST_INT8_ROWS_H
#define RF_SELFTEST_INT8_ROWS_H

#include "engine/selftest/fixtures.h"

enum { RF_INT8_BLOCK_LENGTH = 32 };

/* Whether the device can run kernels with integer dot products, fast or not. */
bool rf_int8_runs(const struct rf_suite *suite);

size_t rf_int8_bytes(uint32_t k, uint32_t ld);
/* Puts 32 numbers of a row in: with `scale` the numbers are whole multiples of it, without, they are rounded
 * as the kernels do. values become what stands there. */
void rf_int8_put(struct rf_case *c, size_t at, uint32_t ld, uint32_t row, uint32_t block, float scale,
                 double values[RF_INT8_BLOCK_LENGTH]);

/* Rows that a case writes, and what they should be before they are rounded. */
struct rf_int8_rows {
    size_t at;
    uint32_t rows, ld, k;
    double *values;   /* [rows][k], owned: rf_int8_end */
    bool *is_written; /* [rows], owned: the others are not to be touched */
};
/* False when the host is out of memory; h->status is set then. */
bool rf_int8_begin(struct rf_case *c, struct rf_int8_rows *out, uint32_t rows, uint32_t ld, uint32_t k);
void rf_int8_end(struct rf_int8_rows *out);
void rf_int8_expect(struct rf_case *c, struct rf_int8_rows *out, uint32_t row, uint32_t i, double value);
/* As rf_case_run. The tolerance is relative to a block's largest number: of its scale, and by how much more
 * than half a step a number may be off. */
bool rf_int8_run(struct rf_case *c, const struct rf_int8_rows *out);
/* For rf_alone_run: a row's blocks as input, as output. */
void rf_int8_move(struct rf_case *c, size_t at, uint32_t ld, uint32_t k, uint32_t from, uint32_t to);
void rf_int8_expect_alone(struct rf_case *c, const struct rf_int8_rows *out, uint32_t from, uint32_t to);

#endif
