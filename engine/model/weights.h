/* The network's weights on the device, repacked from checked files into the layout that the kernels read. */
#ifndef RF_MODEL_WEIGHTS_H
#define RF_MODEL_WEIGHTS_H

#include "engine/gpu/memory.h"
#include "loader/model_files.h"

/* How the columns of a matrix stand in device memory; also picks the shader variant. */
enum rf_weight_format { RF_WEIGHT_BF16, RF_WEIGHT_F16, RF_WEIGHT_F32 };

const char *rf_weight_format_name(enum rf_weight_format format); /* "bf16", as in shader names */

/* Columns [first, first + columns) of a matrix in one span: [columns padded to RF_COLUMN_PAD][k], padding
 * zero. */
struct rf_chunk {
    struct rf_span span;
    uint32_t first, columns;
};

/* y = x W^T: one column for each output. Split into several chunks when larger than the device's largest
 * span. */
struct rf_matrix {
    enum rf_weight_format format;
    uint32_t columns, k;
    uint32_t chunk_count;
    struct rf_chunk *chunks;
};

struct rf_layer_weights {
    struct rf_span input_norm;          /* f32 [hidden] */
    struct rf_matrix qkv;               /* [(heads + 2 kv_heads) * head_dim, hidden]: q, k, v */
    struct rf_span q_norm, k_norm;      /* f32 [head_dim] */
    struct rf_matrix o;                 /* [hidden, heads * head_dim] */
    struct rf_span post_attention_norm; /* f32 [hidden] */
    struct rf_matrix gate_up;           /* [2 ffn, hidden]: 4 gates, their 4 ups, and so on */
    struct rf_matrix down;              /* [hidden, ffn] */
};

struct rf_weights {
    struct rf_arena *arena;
    struct rf_matrix embed;    /* [vocab, hidden] */
    struct rf_matrix lm_head;  /* the same chunks when tied */
    struct rf_span final_norm; /* f32 [hidden] */
    struct rf_span rope;       /* f32 [context_length][head_dim / 2][cos, sin] */
    struct rf_layer_weights *layers;
    uint32_t layer_count;
    bool tied;
    uint64_t bytes; /* on the device */
};

/* Streams every tensor to the device. `progress` may be NULL. On failure *out is freed. */
enum rf_status rf_weights_upload(struct rf_weights *out, struct rf_gpu *gpu,
                                 const struct rf_model_files *files, uint32_t context_length,
                                 rf_progress_fn progress, void *progress_user, struct rf_error *err);
void rf_weights_free(struct rf_weights *weights); /* zeroed is fine */

#endif
