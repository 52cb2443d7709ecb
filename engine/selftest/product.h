/* One matmul under test: inputs in the pool and the f64 product. Shared by the suites of matmul, logits,
 * sampling and company. */
#ifndef RF_SELFTEST_PRODUCT_H
#define RF_SELFTEST_PRODUCT_H

#include "engine/selftest/fixtures.h"
#include "engine/selftest/int8_rows.h"
#include "engine/selftest/weights.h"

enum rf_product_data {
    RF_DATA_RANDOM,
    RF_DATA_EXACT, /* small multiples of 1/8: every sum is exact in f32 in any order, and ties are frequent */
    RF_DATA_ONE_HOT, /* each row of x has a single 1: the product is a copy of weights */
    RF_DATA_OFFSET,  /* exact, about -1024, in one column of 200 about 1024 */
    RF_DATA_SAME,    /* exact, all rows of x equal */
    RF_DATA_HUGE,    /* one-hot, and weights of 200000: what makes them f16 must saturate */
    RF_DATA_ROUNDED /* int8 inputs: about normal, and the product is of what they were before they were int8 */
};

/* Which shader: matmul, matmul_few, matmul_wide, matmul_spread, matmul_coopmat, matmul_coopmat2; with int8
 * inputs, matmul_int8, matmul_int8_few. */
enum rf_product_kind {
    RF_PRODUCT_MANY,
    RF_PRODUCT_FEW,
    RF_PRODUCT_WIDE,
    RF_PRODUCT_SPREAD,
    RF_PRODUCT_COOPMAT,
    RF_PRODUCT_COOPMAT2,
    RF_PRODUCT_KINDS, /* those whose inputs are numbers */
    RF_PRODUCT_INT8 = RF_PRODUCT_KINDS,
    RF_PRODUCT_INT8_FEW
};

struct rf_product {
    /* The pipeline. */
    enum rf_product_kind kind;
    enum rf_number act;
    enum rf_weight_format weights;
    uint32_t epilogue, local, rows_at_once; /* COOPMAT, COOPMAT2, INT8: rows of a workgroup */
    uint32_t lane_columns;                  /* FEW */
    bool by_column;                         /* FEW, MANY */
    uint32_t splits;                        /* PARTIAL: of k, which must be divisible so; 0 is 1 */
    /* The shape: M rows, buffers with room for ldx (x) and ldy (partials, quads) rows or of ldy columns (y).
     */
    uint32_t rows, ldx, k, columns, column_first, ldy;
    float scale;
    double amplitude; /* of random x; 0: 1 */
    enum rf_product_data data;
    /* Filled by rf_product_place. */
    size_t x_at, w_at;
    double *y;       /* [rows][columns] x w^T, with PARTIAL [splits][rows][columns]; owned: rf_product_free */
    double term_rms; /* rms over y's elements of sqrt(sum of squared terms): what rounding errors are related
                        to */
};

/* FEW or INT8_FEW: rows are at most 8. */
bool rf_product_is_few(const struct rf_product *p);
/* Whether the device can run this kind with activations of this type. */
bool rf_product_runs(const struct rf_suite *suite, enum rf_product_kind kind, enum rf_number act);
/* A usual workgroup and number of rows at once for the kind. */
void rf_product_set_kind(const struct rf_suite *suite, struct rf_product *p, enum rf_product_kind kind);
/* COOPMAT with workgroups of at least so many rows and of so many columns. */
void rf_product_set_coopmat(const struct rf_suite *suite, struct rf_product *p, uint32_t rows,
                            uint32_t columns);
/* COOPMAT2 with workgroups of at least so many rows, by one that the device has for so many invocations. False when it
 * has none. */
bool rf_product_set_coopmat2(const struct rf_suite *suite, struct rf_product *p, uint32_t rows,
                             uint32_t local);
/* Whether weights become f16 on the way. */
bool rf_product_rounds_weights(const struct rf_product *p);
struct rf_kernel_id rf_product_kernel(const struct rf_suite *suite, const struct rf_product *p);
/* "rows=.. k=.. columns=.. ..." */
const char *rf_product_shape(const struct rf_product *p, char *text, size_t size);
/* Puts x and w into the pool and multiplies; false when memory ran out. */
bool rf_product_place(struct rf_case *c, struct rf_product *p);
void rf_product_free(struct rf_product *p);
uint32_t rf_product_splits(const struct rf_product *p);
/* Push constants without y, partials, rows, outputs, seqs; and the grid. */
struct rf_push_matmul rf_product_push(struct rf_case *c, const struct rf_product *p, size_t counts);
void rf_product_set_groups(struct rf_case *c, const struct rf_product *p);
/* For rf_alone_run: x of the last row becomes that of row 0, and the grid that of one row. */
void rf_product_move_last(struct rf_case *c, const struct rf_product *p);
/* Relative error that sums over k may have. */
double rf_product_tolerance(const struct rf_product *p);

#endif
