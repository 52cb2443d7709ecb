/* A model folder or GGUF file, opened and checked: config, mapped shards, and every weight bound to a named
 * field with exactly the dtype, rank and shape that the config asks for. Weights are not read here: `data`
 * points into the mappings. */
#ifndef RF_LOADER_MODEL_FILES_H
#define RF_LOADER_MODEL_FILES_H

#include "loader/config.h"
#include "loader/file_map.h"
#include "loader/tensor.h"

/* All matrices are [outputs, inputs], row-major, as PyTorch's Linear stores them. dtype is a weight type
 * (rf_dtype_is_weight; quantized ones from GGUF files and in matrices only), and may differ from tensor to
 * tensor. */
struct rf_layer_tensors {
    struct rf_tensor input_norm;          /* [hidden] */
    struct rf_tensor q_proj;              /* [heads * head_dim, hidden] */
    struct rf_tensor k_proj, v_proj;      /* [kv_heads * head_dim, hidden] */
    struct rf_tensor o_proj;              /* [hidden, heads * head_dim] */
    struct rf_tensor q_norm, k_norm;      /* [head_dim] */
    struct rf_tensor post_attention_norm; /* [hidden] */
    struct rf_tensor gate_proj, up_proj;  /* [ffn, hidden] */
    struct rf_tensor down_proj;           /* [hidden, ffn] */
};

struct rf_shard {
    char *path;
    struct rf_file_map map;
    struct rf_tensor_table content; /* all its tensors, the ignored ones included */
};

struct rf_model_files {
    struct rf_model_config config;
    struct rf_tensor embed;          /* [vocab, hidden] */
    struct rf_tensor final_norm;     /* [hidden] */
    struct rf_tensor lm_head;        /* [vocab, hidden]; when tied, the same data as embed */
    struct rf_layer_tensors *layers; /* [config.layers] */
    uint64_t parameters;             /* elements of the weights that are used, a tied head counted once */
    uint64_t weight_bytes;           /* the same in bytes, as they stand in the files */
    struct rf_shard *shards;
    uint32_t shard_count;
    bool is_gguf; /* the only shard is a GGUF file, whose metadata made the config */
    /* One line for each thing in the folder that is knowingly left unused (rotary tables of old exports, a
     * head beside a tied embedding). The caller logs them. */
    char **warnings;
    uint32_t warning_count;
};

/* Opens `path`: a folder with model.safetensors or the shards that model.safetensors.index.json lists; a GGUF
 * file; or a folder that holds one GGUF file and no config.json. On failure *out is zeroed. */
enum rf_status rf_model_files_open(struct rf_model_files *out, const char *path, struct rf_error *err);

/* Every weight that is used, under the name that GGUF gives it. */
struct rf_named_tensor {
    char gguf[64];
    const struct rf_tensor *tensor;
};
/* For rf_free; *count of them, in the order of the network. A tied head is not among them. */
enum rf_status rf_model_files_list(const struct rf_model_files *files, struct rf_named_tensor **out,
                                   size_t *count, struct rf_error *err);

/* Tells models apart that their shapes do not: of every tensor its name, type, shape, and the first and last 64 bytes; 0:
 * no host memory. */
uint64_t rf_model_files_fingerprint(const struct rf_model_files *files);

void rf_model_files_close(struct rf_model_files *files); /* zeroed or closed is fine */

#endif
