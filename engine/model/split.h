/* Splitting a product over k. A product with few columns has fewer workgroups than fill a large device; split,
 * several workgroups share its columns, each with a part of k, and leave partial sums
 * (RF_EPILOGUE_PARTIAL). What follows the product adds them up while it reads: head_rope those of qkv, the
 * next rmsnorm those of o and down. So a split costs bytes, but neither a dispatch nor a barrier. gate/up
 * (SwiGLU needs whole sums) and lm_head have columns enough and are not split. */
#ifndef RF_MODEL_SPLIT_H
#define RF_MODEL_SPLIT_H

#include "engine/gpu/device.h"

/* The products that can be split. */
enum rf_split_product {
    RF_SPLIT_QKV,
    RF_SPLIT_O,
    RF_SPLIT_DOWN,
    RF_SPLIT_PRODUCTS,
    RF_SPLIT_NONE = RF_SPLIT_PRODUCTS
};
const char *rf_split_name(enum rf_split_product product); /* "qkv", "o", "down" */

enum {
    RF_SPLIT_ROWS = 512, /* rows (of the bucket) times splits that the partials have room for */
    RF_MOST_SPLITS = 16
};

/* Whether products of this device are ever split. CPUs have no idle cores to gain: only when tests ask for
 * it. */
bool rf_split_possible(const struct rf_gpu_caps *caps);
/* Octets of k that each of `splits` splits has (the last maybe fewer), in whole RF_SPLIT_K; 0 when that makes
 * another number of splits. */
uint32_t rf_split_octets(uint32_t k, uint32_t splits);

/* One product as it would run whole. */
struct rf_split_load {
    uint32_t rows; /* of the bucket */
    uint32_t k, columns;
    uint32_t subgroups; /* that have work */
    uint64_t weight_bytes;
};
/* False too for what a device or the partials have no room for; 1 is always legal. */
bool rf_split_legal(const struct rf_gpu_caps *caps, const struct rf_split_load *load, uint32_t splits);
/* What an untuned device gets: 1 when the product fills it. */
uint32_t rf_split_default(const struct rf_gpu_caps *caps, const struct rf_split_load *load);

#endif
