#include "tests/decode/scripted.h"

#include <stdio.h>

enum { ANY_RATE = UINT32_MAX };

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* SplitMix64's finaliser: every bit of the result hangs on every bit of x. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct random {
    uint64_t state;
};

static uint32_t draw(struct random *random, uint32_t bound)
{
    random->state += 0x9e3779b97f4a7c15u;
    return (uint32_t)((mix(random->state) >> 32) * bound >> 32);
}

static bool chance(struct random *random, uint32_t per_mille)
{
    return draw(random, 1000) < per_mille;
}

/* ---- Settings --------------------------------------------------------------------------------------- */

/* 1 over a power of two can be hit exactly; the others lie between the probabilities that results take. */
static const float thresholds[] = {0.0f, 0.125f, 0.25f, 0.3f, 0.5f, 0.6f, 0.7f, 0.9f, 1.0f};

static void generate_eos(struct ref_case *out, struct random *random)
{
    static const uint32_t rates[] = {0, 3, 10, 30, 100, 300};
    static const uint32_t starts[] = {0, 0, 2, 6, 20};
    struct ref_settings *settings = &out->settings;
    settings->eos_count = 1 + draw(random, 3);
    uint32_t first = draw(random, out->vocab - 1);
    /* Neighbours modulo the tokens below the mask: distinct, since there are at least four of those. */
    for (uint32_t i = 0; i < settings->eos_count; i++)
        settings->eos[i] = (first + i) % (out->vocab - 1);
    out->eos_rate = rates[draw(random, COUNT_OF(rates))];
    out->eos_from = starts[draw(random, COUNT_OF(starts))];
}

static void generate_lengths(struct ref_settings *settings, struct random *random)
{
    static const uint32_t sizes[] = {1, 2, 3, 4, 4, 5, 8, 8, 16, 32};
    uint32_t k =
        chance(random, 300) ? 1 + draw(random, REF_CASE_MAX_SLOT) : sizes[draw(random, COUNT_OF(sizes))];
    uint32_t most = REF_CASE_MAX_RESPONSE / k, wish = chance(random, 500) ? 4 : 24;
    uint32_t slots = 1 + draw(random, wish < most ? wish : most);
    settings->slot_size = k;
    settings->max_tokens = slots * k - (chance(random, 400) ? draw(random, k) : 0);
    if (chance(random, 400)) {
        settings->block = slots * k;
    } else {
        settings->block = (1 + draw(random, slots + 1)) * k;
    }
    /* All but a few reference cases get blocks that divide the response. */
    if (settings->mode != REF_MODE_REFERENCE || chance(random, 30))
        return;
    while (slots * k % settings->block != 0)
        settings->block -= k;
}

void ref_case_generate(struct ref_case *out, uint64_t seed)
{
    static const uint32_t score_rates[] = {ANY_RATE, ANY_RATE, 0, 200, 700, 1000};
    static const uint32_t agree_rates[] = {ANY_RATE, ANY_RATE, 0, 300, 600, 900, 970, 1000};
    struct random random = {mix(seed)};
    *out = (struct ref_case){.seed = seed};
    struct ref_settings *settings = &out->settings;
    settings->mode = chance(&random, 500) ? REF_MODE_REFERENCE : REF_MODE_DEFAULT;
    out->vocab = 5 + draw(&random, 8);
    settings->has_mask = true;
    settings->mask_id = out->vocab - 1;
    settings->prompt = out->prompt;
    settings->prompt_length = 1 + draw(&random, REF_CASE_MAX_PROMPT);
    for (size_t i = 0; i < settings->prompt_length; i++)
        out->prompt[i] = draw(&random, out->vocab);
    settings->slot_threshold = thresholds[draw(&random, COUNT_OF(thresholds))];
    settings->token_threshold = thresholds[draw(&random, COUNT_OF(thresholds))];
    generate_eos(out, &random);
    generate_lengths(settings, &random);
    out->score_rate = score_rates[draw(&random, COUNT_OF(score_rates))];
    out->agree_rate = agree_rates[draw(&random, COUNT_OF(agree_rates))];
}

/* ---- Row results ------------------------------------------------------------------------------------ */

/* Sums of exponentials whose reciprocals are high or low probabilities. No sum is below 1 but by rounding;
 * the probability is then clipped. */
static const float high_sums[] = {0.9990234375f, 1.0f, 1.0f, 1.03125f};
static const float low_sums[] = {1.25f, 1.5f, 2.0f, 3.0f, 4.0f, 8.0f, 16.0f, 64.0f};

static bool is_reciprocal(float threshold)
{
    return threshold == 0.125f || threshold == 0.25f || threshold == 0.5f || threshold == 1.0f;
}

static uint32_t draw_token(const struct ref_case *script, struct random *random, size_t forward)
{
    const struct ref_settings *settings = &script->settings;
    if (forward >= script->eos_from && chance(random, script->eos_rate)) {
        return settings->eos[chance(random, 500) ? 0 : draw(random, (uint32_t)settings->eos_count)];
    }
    for (;;) {
        uint32_t token = draw(random, script->vocab);
        bool eos = false;
        for (size_t i = 0; i < settings->eos_count; i++)
            eos = eos || settings->eos[i] == token;
        if (!eos)
            return token;
    }
}

/* The probability of the argmax, which PLAN compares with the slot threshold. */
static void draw_score(const struct ref_case *script, struct random *random, uint32_t rate,
                       struct ref_result *result)
{
    float threshold = script->settings.slot_threshold;
    if (chance(random, rate)) {
        result->sum_exp = high_sums[draw(random, COUNT_OF(high_sums))];
    } else if (is_reciprocal(threshold) && chance(random, 150)) {
        result->sum_exp = 1.0f / threshold;
    } else {
        result->sum_exp = low_sums[draw(random, COUNT_OF(low_sums))];
    }
    result->want_logit = result->max_logit - (float)draw(random, 4);
}

/* The probability of the wanted token, which VERIFY compares with the token threshold. */
static void draw_agreement(const struct ref_case *script, struct random *random, uint32_t rate,
                           struct ref_result *result)
{
    float threshold = script->settings.token_threshold;
    result->want_logit = result->max_logit;
    if (chance(random, rate)) {
        result->sum_exp = high_sums[draw(random, COUNT_OF(high_sums))];
    } else if (is_reciprocal(threshold) && chance(random, 150)) {
        result->sum_exp = 1.0f / threshold;
    } else if (threshold == 0.0f || chance(random, 200)) {
        result->sum_exp = 1.0f;
        result->want_logit -= 200.0f; /* its exponential is 0 in f32 */
    } else if (chance(random, 500)) {
        result->sum_exp = 1.0f;
        result->want_logit -= 3.0f;
    } else {
        result->sum_exp = 64.0f;
    }
}

static uint32_t forward_rate(struct random *random, uint32_t rate)
{
    static const uint32_t rates[] = {0, 100, 500, 900, 980, 1000};
    return rate != ANY_RATE ? rate : rates[draw(random, COUNT_OF(rates))];
}

struct ref_result ref_case_result(const struct ref_case *script, size_t forward, size_t row)
{
    struct random of_forward = {mix(script->seed ^ mix(forward + 1))};
    uint32_t score_rate = forward_rate(&of_forward, script->score_rate);
    uint32_t agree_rate = forward_rate(&of_forward, script->agree_rate);
    struct random random = {mix(of_forward.state ^ mix(row + 0x10001))};
    /* Multiples of 1/64 in a small range: differences of logits are exact in f32. */
    struct ref_result result = {.max_logit = (float)draw(&random, 2048) / 64.0f - 16.0f};
    result.argmax = draw_token(script, &random, forward);
    if (forward % 2 == 0) {
        draw_score(script, &random, score_rate, &result);
    } else {
        draw_agreement(script, &random, agree_rate, &result);
    }
    return result;
}

/* ---- Running ---------------------------------------------------------------------------------------- */

struct scripted_network {
    const struct ref_case *script;
    size_t forwards;
};

static void scripted_forward(void *user, const struct ref_row *rows, size_t row_count,
                             struct ref_result *results)
{
    struct scripted_network *network = user;
    (void)rows;
    for (size_t i = 0; i < row_count; i++)
        results[i] = ref_case_result(network->script, network->forwards, i);
    network->forwards++;
}

bool ref_case_run(const struct ref_case *script, struct ref_outcome *outcome, char *message)
{
    struct scripted_network scripted = {.script = script};
    struct ref_network network = {&scripted, scripted_forward, NULL};
    return ref_decode(&script->settings, &network, outcome, message);
}

const char *ref_case_describe(const struct ref_case *script, char *text, size_t size)
{
    const struct ref_settings *s = &script->settings;
    snprintf(text, size,
             "seed %llu: %s, prompt %zu, slot size %u, max tokens %u, block %u, thresholds %g %g, %zu eos",
             (unsigned long long)script->seed, s->mode == REF_MODE_REFERENCE ? "reference" : "default",
             s->prompt_length, s->slot_size, s->max_tokens, s->block, (double)s->slot_threshold,
             (double)s->token_threshold, s->eos_count);
    return text;
}
