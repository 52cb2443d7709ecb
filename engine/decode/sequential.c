/* --decode ar: one token a forward, left to right; the baseline of every speed claim.
 *
 * Plain Qwen3: the token row's logits predict the next token. A ReFusion model was never trained to predict a
 * slot's first token that way, so where the next token opens a slot (response index a multiple of slot_size)
 * one mask row is laid behind the newest token, its unshifted logits are used, and its KV goes to scratch. */
#include "engine/allocate.h"
#include "engine/decode/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool has_mask(const struct rf_session *s)
{
    return s->mask_token != RF_NONE;
}

/* Does the token that this pass predicts open a slot? */
static bool opens_slot(const struct rf_session *s)
{
    return has_mask(s) && s->produced % s->settings.slot_size == 0;
}

/* Token rows of the pass: everything known that is not committed yet. */
static uint32_t token_rows(const struct rf_session *s)
{
    return s->prompt_count + s->produced - s->committed;
}

bool rf_sequential_wants_logits(const struct rf_session *s)
{
    return s->pass == RF_PASS_AR && (s->settings.top_k || s->settings.top_p > 0.0f);
}

void rf_sequential_start(struct rf_session *s)
{
    /* Somebody must be asked for the first token: the mask row, or else the last row of the prompt. */
    if (!has_mask(s) && s->committed == s->prompt_count)
        s->committed--;
    s->pass = RF_PASS_AR;
    s->pass_row = 0;
}

uint32_t rf_sequential_rows(const struct rf_session *s)
{
    return token_rows(s) + (opens_slot(s) ? 1 : 0);
}

enum rf_status rf_sequential_prepare(struct rf_session *s, uint32_t count, uint32_t *first,
                                     struct rf_error *err)
{
    *first = 0;
    uint32_t tokens = token_rows(s);
    if (s->pass_row == 0 && tokens) {
        enum rf_status status = rf_session_cover(s, s->committed, s->committed + tokens, err);
        if (status)
            return status;
    }
    struct rf_row *rows = s->memory.rows.host;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t r = s->pass_row + i, position = s->committed + r;
        bool mask = r == tokens, asked = mask || (r + 1 == tokens && !opens_slot(s));
        rows[i] =
            (struct rf_row){.token = mask                         ? s->mask_token
                                     : position < s->prompt_count ? s->prompt[position]
                                                                  : s->response[position - s->prompt_count],
                            .position = position,
                            .kv_row = mask ? s->scratch_first : position,
                            .ctx_rows = mask ? position : s->committed,
                            .seg_first = mask ? s->scratch_first : s->committed,
                            .want = RF_NONE,
                            .result = asked ? 0 : RF_NONE,
                            .flags = asked && s->settings.temperature > 0.0f ? RF_ROW_SAMPLE : 0};
    }
    return RF_OK;
}

struct candidate {
    uint32_t token;
    float logit;
};

static int by_logit(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return x->token < y->token ? -1 : 1;
}

/* A uniform number in [0, 1) of (seed, index): splitmix64's finaliser over both. */
static double uniform(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Draws from softmax(logits / temperature), kept to the top_k largest and then to the smallest leading set
 * whose probability reaches top_p. In double on the host: sequential sampling asks for logits anyway. */
static uint32_t draw(const struct rf_session *s, struct candidate *c, uint32_t vocab)
{
    qsort(c, vocab, sizeof *c, by_logit);
    uint32_t count = s->settings.top_k && s->settings.top_k < vocab ? s->settings.top_k : vocab;
    double temperature = s->settings.temperature, sum = 0.0,
           most = s->settings.top_p > 0.0f ? s->settings.top_p : 1.0;
    for (uint32_t i = 0; i < count; i++)
        sum += exp((c[i].logit - c[0].logit) / temperature);
    double kept = 0.0;
    uint32_t used = 0;
    while (used < count && (used == 0 || kept < most * sum))
        kept += exp((c[used++].logit - c[0].logit) / temperature);
    double left = uniform(s->settings.seed, s->produced) * kept;
    for (uint32_t i = 0; i < used; i++) {
        left -= exp((c[i].logit - c[0].logit) / temperature);
        if (left < 0.0)
            return c[i].token;
    }
    return c[used - 1].token;
}

static enum rf_status sample_logits(struct rf_session *s, uint32_t *token, struct rf_error *err)
{
    uint32_t vocab = s->model->config.vocab;
    float *logits = rf_malloc(vocab * sizeof *logits);
    struct candidate *candidates = rf_malloc(vocab * sizeof *candidates);
    enum rf_status status = RF_OK;
    if (!logits || !candidates)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %u logits", vocab);
    if (!status)
        status = rf_gpu_read(s->model->gpu, rf_forward_logits(s->model->forward), logits, (uint64_t)vocab * 4,
                             err);
    if (!status) {
        for (uint32_t i = 0; i < vocab; i++)
            candidates[i] = (struct candidate){i, logits[i]};
        *token = draw(s, candidates, vocab);
    }
    rf_free(logits);
    rf_free(candidates);
    return status;
}

enum rf_status rf_sequential_absorb(struct rf_session *s, struct rf_error *err)
{
    const struct rf_status_head *head = s->memory.status.host;
    uint32_t token = ((const uint32_t *)(head + 1))[s->memory.row_capacity];
    if (rf_sequential_wants_logits(s)) {
        enum rf_status status = sample_logits(s, &token, err);
        if (status) {
            s->pass_row = 0; /* the logits are gone with the next forward: tried again, it begins with ours */
            return status;
        }
    }
    uint32_t tokens = token_rows(s);
    s->stats.forwards++;
    s->stats.rows += rf_sequential_rows(s);
    for (uint32_t i = 0; i < tokens; i++) {
        uint32_t position = s->committed + i;
        s->cached[position] =
            position < s->prompt_count ? s->prompt[position] : s->response[position - s->prompt_count];
    }
    s->committed += tokens;
    s->cached_count = s->committed;
    s->prefilled = true;
    s->pass_row = 0;
    rf_output_commit(s, s->produced++, token);
    rf_output_advance(s);
    s->stats.rounds++;
    s->round_over = true;
    if (s->eos_reached || rf_text_stream_stopped(&s->text) || s->produced == s->length)
        rf_output_finish(s);
    return RF_OK;
}
