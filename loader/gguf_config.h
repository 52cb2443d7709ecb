/* A model's configuration from GGUF metadata, under the same rules as config.json: what the engine cannot
 * run is refused by name. */
#ifndef RF_LOADER_GGUF_CONFIG_H
#define RF_LOADER_GGUF_CONFIG_H

#include "loader/config.h"
#include "loader/gguf.h"

/* Ids that a model ends with are written as tokenizer.ggml.eos_token_id, which holds one; a model of several
 * states all of them under this key, an array of u32. */
#define RF_GGUF_EOS_KEY    "refusion.eos_token_ids"
#define RF_GGUF_PRESET_KEY "refusion.preset"

/* Metadata keys that bind nothing: one warning for each is up to the caller. */
enum { RF_GGUF_UNKNOWN_MAX = 16 };
struct rf_gguf_unknown {
    const struct rf_gguf_value *values[RF_GGUF_UNKNOWN_MAX];
    size_t count;
};

/* Sizes come from metadata, `vocab` and `tie_word_embeddings` from the tensors token_embd.weight and
 * output.weight. The mask token is tokenizer.ggml.mask_token_id, else the token <|mask|>. */
enum rf_status rf_gguf_config(struct rf_model_config *out, const struct rf_gguf *gguf,
                              struct rf_gguf_unknown *unknown, struct rf_error *err);

/* A file that holds a model of ours at all: architecture qwen3, whole (not one part of several). */
enum rf_status rf_gguf_check_model(const struct rf_gguf *gguf, struct rf_error *err);

/* An optional token id below `limit`; UINT32_MAX when the key is absent. */
enum rf_status rf_gguf_token_id(const struct rf_gguf *gguf, const char *key, uint64_t limit, uint32_t *out,
                                struct rf_error *err);
/* mask_token_id, else the place of <|mask|> among the tokens, else UINT32_MAX. */
enum rf_status rf_gguf_mask_token(const struct rf_gguf *gguf, uint64_t limit, uint32_t *out,
                                  struct rf_error *err);

#endif
