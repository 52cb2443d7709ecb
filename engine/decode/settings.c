#include "engine/decode/settings.h"

#include <math.h>
#include <string.h>

/* arXiv 2512.13586, the settings of its evaluation (gen_length 512 everywhere); tiny: what models/tiny/README.md
 * measured. */
static const struct preset {
    const char *name;
    float slot_threshold, token_threshold;
    uint32_t slot_size, block;
} presets[] = {
    {"chat", 0.9f, 0.4f, 32, 128},                                /* as gsm8k */
    {"code", 0.9f, 0.3f, 32, 128},                                /* as mbpp */
    {"math", 0.8f, 0.6f, 32, 64},   {"strict", 0.8f, 0.1f, 8, 8}, /* as arc-c */
    {"demo", 0.6f, 0.3f, 4, 16},    {"mmlu-pro", 0.9f, 0.4f, 16, 128},  {"arc-c", 0.8f, 0.1f, 8, 8},
    {"gsm8k", 0.9f, 0.4f, 32, 128}, {"humaneval", 0.9f, 0.4f, 32, 128}, {"mbpp", 0.9f, 0.3f, 32, 128},
    {"gpqa", 0.8f, 0.2f, 8, 16},    {"tiny", 0.9f, 0.9f, 16, 16},
};

enum { MAX_RESPONSE = 1 << 20 };

static const struct preset *find_preset(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

bool rf_settings_know(const char *preset)
{
    return find_preset(preset) != NULL;
}

static enum rf_status check_threshold(const char *name, float value, struct rf_error *err)
{
    if (value >= 0.0f && value <= 1.0f)
        return RF_OK; /* false for NaN */
    return rf_fail(err, RF_ERROR_ARGUMENT, "%s %g: wanted a number in [0, 1]", name, (double)value);
}

static enum rf_status check_sampling(const struct rf_settings *s, struct rf_error *err)
{
    if (!(s->temperature >= 0.0f && isfinite(s->temperature)))
        return rf_fail(err, RF_ERROR_ARGUMENT, "temperature %g: wanted a number >= 0",
                       (double)s->temperature);
    if (!(s->top_p >= 0.0f && s->top_p <= 1.0f))
        return rf_fail(err, RF_ERROR_ARGUMENT, "top-p %g: wanted a number in (0, 1]", (double)s->top_p);
    if (s->decode != RF_DECODE_AR && (s->top_k || s->top_p > 0.0f))
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "top-k and top-p work with sequential decoding only (RF_DECODE_AR, --decode ar): "
                       "plan-and-infill draws from the whole distribution");
    if ((s->top_k || s->top_p > 0.0f) && s->temperature == 0.0f)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "top-k and top-p need a temperature above 0, which is 0 (greedy)");
    if (s->reference && s->temperature > 0.0f)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "temperature %g with reference: the reference mode is greedy only",
                       (double)s->temperature);
    return RF_OK;
}

static enum rf_status check_sizes(const struct rf_settings *s, struct rf_error *err)
{
    if (s->max_tokens > MAX_RESPONSE)
        return rf_fail(err, RF_ERROR_ARGUMENT, "max-tokens %u: wanted at most %d", s->max_tokens,
                       MAX_RESPONSE);
    if (s->slot_size > MAX_RESPONSE)
        return rf_fail(err, RF_ERROR_ARGUMENT, "slot-size %u: wanted at most %d", s->slot_size, MAX_RESPONSE);
    if (s->slot_size > s->block)
        return rf_fail(err, RF_ERROR_ARGUMENT, "slot-size %u: wanted at most the block, %u", s->slot_size,
                       s->block);
    if (s->block % s->slot_size)
        return rf_fail(err, RF_ERROR_ARGUMENT, "block %u: wanted a multiple of slot-size, %u", s->block,
                       s->slot_size);
    return RF_OK;
}

enum rf_status rf_settings_resolve(struct rf_settings *out, const struct rf_decode_settings *in,
                                   struct rf_error *err)
{
    const struct preset *preset = find_preset(in->preset ? in->preset : "chat");
    if (!preset)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "preset \"%s\": wanted chat, code, math, strict, demo, mmlu-pro, arc-c, gsm8k, "
                       "humaneval, mbpp, gpqa or tiny",
                       in->preset);
    if (in->decode > RF_DECODE_AR)
        return rf_fail(err, RF_ERROR_ARGUMENT, "decode %d: wanted refusion or ar", (int)in->decode);
    for (size_t i = 0; i < sizeof in->reserved / sizeof *in->reserved; i++)
        if (in->reserved[i])
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "rf_decode_settings.reserved[%zu] is %u: refusion " RF_VERSION
                           " knows no such setting, wanted 0",
                           i, in->reserved[i]);
    *out = (struct rf_settings){
        .decode = in->decode,
        .max_tokens = in->max_tokens,
        .slot_size = in->slot_size ? in->slot_size : preset->slot_size,
        .block = in->block ? in->block : preset->block,
        .slot_threshold = in->has_slot_threshold || in->slot_threshold != 0.0f ? in->slot_threshold
                                                                               : preset->slot_threshold,
        .token_threshold = in->has_token_threshold || in->token_threshold != 0.0f ? in->token_threshold
                                                                                  : preset->token_threshold,
        .temperature = in->temperature,
        .seed = in->seed,
        .top_k = in->top_k,
        .top_p = in->top_p,
        .reference = in->reference};
    /* A slot size of one's own with the preset's block: the smallest block that holds whole slots and no
     * less. */
    if (!in->block && in->slot_size && in->slot_size <= MAX_RESPONSE)
        out->block = (out->block + out->slot_size - 1) / out->slot_size * out->slot_size;
    enum rf_status status = check_sizes(out, err);
    if (!status)
        status = check_threshold("slot-threshold", out->slot_threshold, err);
    if (!status)
        status = check_threshold("token-threshold", out->token_threshold, err);
    if (!status)
        status = check_sampling(out, err);
    return status;
}
