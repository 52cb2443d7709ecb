/* Any text as config.json and, behind a zero byte, as generation_config.json: refused with one line, or
 * numbers that the engine may trust. */
#include "loader/config.h"
#include "promise.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_eos(const struct rf_model_config *config)
{
    promise(config->eos_count <= RF_CONFIG_EOS_MAX);
    for (uint32_t i = 0; i < config->eos_count; i++) {
        promise(config->eos_tokens[i] < config->vocab);
        for (uint32_t j = 0; j < i; j++)
            promise(config->eos_tokens[i] != config->eos_tokens[j]);
    }
}

static void check_config(const struct rf_model_config *c)
{
    promise(c->layers >= 1 && c->layers <= RF_CONFIG_MAX_LAYERS);
    promise(c->hidden >= 8 && c->hidden <= RF_CONFIG_MAX_HIDDEN && c->hidden % 8 == 0);
    promise(c->heads >= 1 && c->heads <= RF_CONFIG_MAX_HEADS);
    promise(c->kv_heads >= 1 && c->heads % c->kv_heads == 0);
    promise(c->head_dim >= 8 && c->head_dim <= RF_CONFIG_MAX_HEAD_DIM && c->head_dim % 8 == 0);
    promise(c->ffn >= 8 && c->ffn <= RF_CONFIG_MAX_FFN && c->ffn % 8 == 0);
    promise(c->vocab >= 1 && c->vocab <= RF_CONFIG_MAX_VOCAB);
    promise(c->max_position_embeddings >= 1 && c->max_position_embeddings <= RF_CONFIG_MAX_POSITIONS);
    promise(c->rms_norm_eps >= 1e-30 && c->rms_norm_eps <= 0.1);
    promise(c->rope_theta >= 1.0 && c->rope_theta <= 1e12);
    promise(c->mask_token_id == UINT32_MAX || c->mask_token_id < c->vocab);
    promise(c->torch_dtype <= RF_DTYPE_F32);
    check_eos(c);
}

static const char right_config[] = "{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\","
                                   "\"hidden_act\":\"silu\",\"num_hidden_layers\":2,"
                                   "\"hidden_size\":16,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
                                   "\"intermediate_size\":24,\"vocab_size\":99,"
                                   "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,\"rope_theta\":1e4}";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *text = (const char *)bytes, *zero = size ? memchr(text, 0, size) : NULL;
    size_t first = zero ? (size_t)(zero - text) : size;
    struct rf_model_config config;
    struct rf_error err = {0};
    enum rf_status status = zero == text && zero ? rf_config_parse(&config, "config.json", right_config,
                                                                   sizeof right_config - 1, &err)
                                                 : rf_config_parse(&config, "config.json", text, first, &err);
    promise_outcome(status, &err);
    if (status)
        return 0;
    check_config(&config);
    if (!zero)
        return 0;
    status = rf_generation_config_parse(&config, "generation_config.json", zero + 1, size - first - 1, &err);
    promise_outcome(status, &err);
    check_eos(&config);
    return 0;
}
