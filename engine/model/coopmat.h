/* How matmul_coopmat.comp divides a product: workgroup, subgroups, fragments, shared memory. */
#ifndef RF_MODEL_COOPMAT_H
#define RF_MODEL_COOPMAT_H

#include "engine/gpu/kernel.h"

struct rf_coopmat_tiling {
    struct rf_coopmat_shape fragment;
    uint32_t rows, columns;                                                        /* of a workgroup */
    uint32_t row_groups, column_groups, column_tiles, k_step, shared, round_tiles; /* RF_SPEC_... */
};

/* How attention_coopmat.comp divides a forward: a workgroup has `block` rows of every head of a group. */
struct rf_coopmat_attention {
    const char *shader; /* a static string */
    struct rf_coopmat_shape fragment;
    uint32_t subgroups, local, block;
};

/* Whether the library was built with these shaders; their compiler must know the extension. */
bool rf_coopmat_built(void);
/* The device's fragment shape with which `rows` rows are padded least; of several the largest. NULL without.
 */
const struct rf_coopmat_shape *rf_coopmat_fragment(const struct rf_gpu_caps *caps, uint32_t rows);
/* Divides a workgroup of `local` invocations that makes `rows` rows; `reduce`: whole RF_LOGIT_TILEs of
 * columns. False when this device cannot run it. */
bool rf_coopmat_divide(const struct rf_gpu_caps *caps, uint32_t local, uint32_t rows, bool reduce,
                       struct rf_coopmat_tiling *out);
/* The pipeline's specialization constants from RF_SPEC_FRAGMENT_M on, behind the three of all matmul shaders.
 */
enum { RF_COOPMAT_SPECS = 9 };
void rf_coopmat_specs(const struct rf_coopmat_tiling *tiling, uint32_t specs[RF_COOPMAT_SPECS]);

/* How matmul_coopmat2.comp divides a product: one matrix of sums a workgroup. */
struct rf_coopmat2_tiling {
    uint32_t rows, columns, k;
    uint32_t staged_rows; /* that are in shared memory at a time */
};
/* Whether these shaders are there for this device: built, or emulated for tests. */
bool rf_coopmat2_built(const struct rf_gpu_caps *caps);
/* Divides a workgroup of `local` invocations that makes `rows` rows, in whole RF_LOGIT_TILEs of columns.
 * False when this device cannot run it. */
bool rf_coopmat2_divide(const struct rf_gpu_caps *caps, uint32_t local, uint32_t rows,
                        struct rf_coopmat2_tiling *out);
/* The rows that a workgroup of `local` invocations has for `rows` wanted: whole units of the device's; 0: the
 * device has no such workgroup. */
uint32_t rf_coopmat2_rows(const struct rf_gpu_caps *caps, uint32_t local, uint32_t rows);
/* The pipeline's specialization constants from RF_SPEC_TILE_COLUMNS on, behind the three of all matmul
 * shaders. */
enum { RF_COOPMAT2_SPECS = 3 };
void rf_coopmat2_specs(const struct rf_coopmat2_tiling *tiling, uint32_t specs[RF_COOPMAT2_SPECS]);

/* For `group` heads that share a kv head, in forwards of up to `rows` rows. False when this device cannot run
 * it. */
bool rf_coopmat_attend(const struct rf_gpu_caps *caps, uint32_t group, uint32_t head_dim, uint32_t rows,
                       struct rf_coopmat_attention *out);
/* The pipeline's specialization constants. */
enum { RF_COOPMAT_ATTENTION_SPECS = 8 };
void rf_coopmat_attention_specs(const struct rf_coopmat_attention *attention, uint32_t group,
                                uint32_t head_dim, uint32_t specs[RF_COOPMAT_ATTENTION_SPECS]);

#endif
