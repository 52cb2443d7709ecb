/* config.json and generation_config.json of a model folder, as numbers that the engine can trust: every
 * field below was present, in range and consistent with the others. What the engine cannot run is refused
 * by name, never ignored. */
#ifndef RF_LOADER_CONFIG_H
#define RF_LOADER_CONFIG_H

#include "engine/status.h"
#include "loader/dtype.h"

enum {
    RF_CONFIG_PRESET_MAX = 15, /* bytes of a name; struct rf_model_info holds as many */
    RF_CONFIG_EOS_MAX = 7,     /* struct rf_model_info holds one more: the tokenizer's */
    RF_CONFIG_MAX_LAYERS = 1024,
    RF_CONFIG_MAX_HEADS = 1024,
    RF_CONFIG_MAX_HEAD_DIM = 256,
    RF_CONFIG_MAX_HIDDEN = 1 << 16,
    RF_CONFIG_MAX_FFN = 1 << 20,
    RF_CONFIG_MAX_VOCAB = 1 << 24,
    RF_CONFIG_MAX_POSITIONS = 1 << 24,
};

struct rf_model_config {
    uint32_t layers;
    uint32_t hidden; /* a multiple of 8 */
    uint32_t heads;  /* query heads, a multiple of kv_heads */
    uint32_t kv_heads;
    uint32_t head_dim; /* a multiple of 8; heads * head_dim need not equal hidden */
    uint32_t ffn;      /* a multiple of 8 */
    uint32_t vocab;    /* rows of the embedding and of lm_head; any number >= 1 */
    uint32_t max_position_embeddings;
    double rms_norm_eps; /* [1e-30, 0.1] */
    double rope_theta;   /* [1, 1e12] */
    bool tie_word_embeddings;
    uint32_t mask_token_id;              /* UINT32_MAX: none stated, here and below */
    uint32_t bos_token_id, pad_token_id; /* decide nothing; a GGUF file that is written states them too */
    enum rf_dtype torch_dtype;           /* as stated, RF_DTYPE_NONE when absent; tensors carry their own */
    /* config.json's refusion_preset: how the model wants to be decoded; empty when absent. Any name: which
     * ones there are is for those who decode. */
    char preset[RF_CONFIG_PRESET_MAX + 1];
    /* generation_config.json's eos_token_id, else (no such file) config.json's; each id once, in the file's
     * order, and below vocab. The tokenizer's own eos token is not added here, but stands first where a GGUF
     * file states it: hence one more. */
    uint32_t eos_tokens[RF_CONFIG_EOS_MAX + 1], eos_count;
};

/* Reads folder/config.json and, if there, folder/generation_config.json. */
enum rf_status rf_config_load(struct rf_model_config *out, const char *folder, struct rf_error *err);

/* The same from memory; `file` is the name for messages. */
enum rf_status rf_config_parse(struct rf_model_config *out, const char *file, const char *text, size_t size,
                               struct rf_error *err);
/* Replaces the eos fields of a parsed config. */
enum rf_status rf_generation_config_parse(struct rf_model_config *config, const char *file, const char *text,
                                          size_t size, struct rf_error *err);

#endif
