/* The network's weights on the device, repacked from checked files into the layout that the kernels read. */
#ifndef RF_MODEL_WEIGHTS_H
#define RF_MODEL_WEIGHTS_H

#include "engine/gpu/memory.h"
#include "engine/model/weight_format.h"
#include "loader/model_files.h"

/* Columns [first, first + columns) of a matrix in one span: blocks of 8 columns (weight_format.h), padded
 * with zeros to a multiple of RF_COLUMN_PAD columns. */
struct rf_chunk {
    struct rf_span span;
    uint32_t first, columns; /* first is a multiple of RF_COLUMN_PAD */
    enum rf_weight_format format;
};

/* Bytes of a chunk's weights, without its padding. */
uint64_t rf_chunk_bytes(const struct rf_chunk *chunk);

/* y = x W^T: one column for each output. Split into several chunks when larger than the device's largest
 * span, or when the tensors that it is fused from come in several formats. */
struct rf_matrix {
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

struct rf_weights_desc {
    uint32_t context_length;
    bool convert; /* encode matrices as `format`, where it has blocks that their k is a multiple of */
    enum rf_weight_format format;
    bool sizes_only;         /* the arena is a counted one, and no tensor is read */
    rf_progress_fn progress; /* may be NULL */
    void *progress_user;
};

/* Streams every tensor to the device. On failure *out is freed. A device that only compiles
 * (rf_gpu_desc.capture) gets formats and sizes; no tensor is read. */
enum rf_status rf_weights_upload(struct rf_weights *out, struct rf_gpu *gpu,
                                 const struct rf_model_files *files, const struct rf_weights_desc *desc,
                                 struct rf_error *err);
void rf_weights_free(struct rf_weights *weights); /* zeroed is fine */

#endif
