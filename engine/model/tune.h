/* Choice of matmul shapes by trial: when a row bucket is recorded for the first time, each candidate makes
 * the same product with the model's own weights, and the fastest is kept for that device, format and bucket.
 * The choices stand in a text file beside the pipeline cache, named by device, driver and shaders, so that a
 * device is tried once. RF_MATMUL_COOPMAT2 has run on no driver yet: it may only be chosen when the products
 * that it makes with the model's weights are right, so that a driver's fault costs speed and not truth. A
 * trial that fails or is switched off leaves rf_matmul_default.
 *
 * Products that can be split over k are tried once more, each by itself and together with a norm that adds the
 * partials up, so that what a split costs is in its time. */
#ifndef RF_MODEL_TUNE_H
#define RF_MODEL_TUNE_H

#include "engine/model/matmul.h"

struct rf_tune;

/* Fills in what is missing for the bucket (1 << bucket rows), for every format of the model's matrices. Waits
 * for the device; the activations are overwritten. `visit` (may be NULL) is told every trial. */
struct rf_trial {
    enum rf_weight_format format;
    enum rf_split_product product; /* RF_SPLIT_NONE: a shape; else a product and what adds its splits up */
    uint32_t rows, k, columns;
    struct rf_matmul_shape shape;
    double seconds; /* of one product: the least of several */
    bool chosen, from_file;
    bool wrong; /* not taken, nor timed: its product is not the plain kernel's, or the driver refuses it */
};
typedef void (*rf_trial_fn)(void *user, const struct rf_trial *trial);
enum rf_status rf_tune_bucket(struct rf_forward *forward, uint32_t bucket, rf_trial_fn visit, void *user,
                              struct rf_error *err);
/* How good the bucket's choices are: every legal shape of a product (rf_matmul_all) against the one that
 * rf_tune_bucket took, for every format. The best few are timed again in turns with the choice, so that a
 * stall does not decide. */
struct rf_sweep { /* shapes whose products are wrong are left out */
    enum rf_weight_format format;
    uint32_t rows, k, columns;
    uint32_t shape_count; /* tried */
    struct rf_matmul_shape chosen, fastest;
    double chosen_seconds, fastest_seconds; /* of one product */
};
typedef void (*rf_sweep_fn)(void *user, const struct rf_sweep *sweep);
/* RF_ERROR_ARGUMENT for a forward that is not tuned. */
enum rf_status rf_tune_sweep(struct rf_forward *forward, uint32_t bucket, rf_sweep_fn visit, void *user,
                             struct rf_error *err);
/* The choice for a product that can be split; false: nothing was tried. */
bool rf_tune_product(const struct rf_forward *forward, enum rf_split_product product,
                     enum rf_weight_format format, uint32_t rows, struct rf_matmul_shape *shape);
/* The choice, or the default. */
struct rf_matmul_shape rf_tune_shape(const struct rf_forward *forward, enum rf_weight_format format,
                                     uint32_t rows);
void rf_tune_free(struct rf_tune *tune); /* NULL is fine */

#endif
