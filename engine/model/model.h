/* A loaded model: checked config, tokenizer, weights, KV page pool and the forward, with the mutex that
 * serialises steps. */
#ifndef RF_MODEL_MODEL_H
#define RF_MODEL_MODEL_H

#include <pthread.h>

#include "engine/context.h"
#include "engine/model/forward.h"
#include "engine/model/kv_pages.h"
#include "engine/refusion_profile.h"
#include "engine/thread.h"

struct rf_model {
    struct rf_gpu *gpu;
    struct rf_model_config config;
    rf_tokenizer *tokenizer;
    struct rf_weights weights;
    struct rf_kv_pool *pool;
    struct rf_forward *forward;
    uint64_t
        fingerprint; /* of the weights, how they are encoded and computed with: KV rows fit where it is equal */
    bool fp16, int8; /* int8 with fp16: see engine/model/int8.h */
    uint32_t context_length;
    uint32_t mask_token;                        /* RF_NONE: a plain Qwen3 */
    uint32_t eos_tokens[RF_MAX_EOS], eos_count; /* [0] the tokenizer's */
    uint64_t parameters;
    pthread_mutex_t mutex; /* over forward, its work and sequences */
    struct rf_turns turns; /* of submissions, taken before the mutex */
    bool seq_taken[RF_MAX_SEQS];
    enum rf_profile_mode profile_mode;
    rf_profile_fn on_profile;
    void *profile_user;
};

/* A model whose memory is counted and never taken: config, `weights.arena`, `forward` and precision are as loading would
 * make them, nothing else may be used. Destroyed by rf_model_destroy. */
enum rf_status rf_model_count(rf_model **out, rf_context *context, const char *folder,
                              const struct rf_model_desc *desc, struct rf_error *err);
uint64_t rf_model_page_bytes(const struct rf_model *model); /* of one KV page */

/* A free entry of the sequence table. */
enum rf_status rf_model_take_seq(struct rf_model *model, uint32_t *seq, struct rf_error *err);
void rf_model_return_seq(struct rf_model *model, uint32_t seq);

#endif
