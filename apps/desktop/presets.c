#include "apps/desktop/presets.h"

const struct preset presets[PRESET_COUNT] = {
    {"chat", "Chat",
     "For everyday questions. Long slots of 32 tokens, filled in only where the plan is sure of a slot's "
     "beginning.",
     32, 128, 0.9, 0.4},
    {"code", "Code",
     "As Chat, but more drafted tokens are accepted at once: programs are easier to foresee than prose.", 32,
     128, 0.9, 0.3},
    {"math", "Mathematics",
     "More slots are tried at once and each token is judged more strictly, so a wrong digit rarely stays.",
     32, 64, 0.8, 0.6},
    {"strict", "Careful",
     "Short slots of 8 tokens, one after the other. Slower, and nearly what decoding from left to right "
     "gives.",
     8, 8, 0.8, 0.1},
    {"demo", "Demonstration",
     "Very short slots of 4 tokens with low thresholds: many small steps out of order, made to be watched.",
     4, 16, 0.6, 0.3},
};

const struct preset *preset_find(const char *name)
{
    for (guint i = 0; i < PRESET_COUNT; i++)
        if (g_strcmp0(presets[i].name, name) == 0)
            return &presets[i];
    return &presets[0];
}

const struct weight_format weight_formats[WEIGHT_FORMAT_COUNT] = {
    {NULL, "As in the model's files"},
    {"bf16", "16 bits a weight"},
    {"q8_0", "8 bits: half the memory, hardly any different"},
    {"q6_k", "6 bits"},
    {"q4_k", "4 bits: a quarter of the memory, less exact"},
};

const struct weight_format *weight_format_find(const char *type)
{
    for (guint i = 0; i < WEIGHT_FORMAT_COUNT; i++)
        if (g_strcmp0(weight_formats[i].type, type) == 0)
            return &weight_formats[i];
    return &weight_formats[0];
}

void answer_settings_clamp(struct answer_settings *s)
{
    s->max_tokens = CLAMP(s->max_tokens, (guint32)MIN_TOKENS, (guint32)MAX_TOKENS);
    s->temperature = CLAMP(s->temperature, 0, MAX_TEMPERATURE);
    s->slot_threshold = CLAMP(s->slot_threshold, 0, 1);
    s->token_threshold = CLAMP(s->token_threshold, 0, 1);
}

gboolean answer_settings_equal(const struct answer_settings *a, const struct answer_settings *b)
{
    return a->preset == b->preset && a->max_tokens == b->max_tokens && a->temperature == b->temperature &&
           a->seed == b->seed && a->own_thresholds == b->own_thresholds &&
           a->slot_threshold == b->slot_threshold && a->token_threshold == b->token_threshold;
}
