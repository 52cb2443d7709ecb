/* The numbers that shape decoding: presets of the paper, defaults, ranges. */
#ifndef RF_DECODE_SETTINGS_H
#define RF_DECODE_SETTINGS_H

#include "engine/status.h"

/* rf_decode_settings with every default filled in and every range checked. */
struct rf_settings {
    enum rf_decode decode;
    uint32_t max_tokens; /* 0: 512, or what the context leaves */
    uint32_t slot_size, block;
    float slot_threshold, token_threshold;
    float temperature;
    uint64_t seed;
    uint32_t top_k;
    float top_p;
    bool reference;
};

bool rf_settings_know(const char *preset);

/* Message names the field as the CLI spells it ("slot-threshold"). */
enum rf_status rf_settings_resolve(struct rf_settings *out, const struct rf_decode_settings *in,
                                   struct rf_error *err);

#endif
