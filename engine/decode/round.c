/* One round of plan-and-infill, as a state machine over submissions: PLAN -> SELECT -> VERIFY -> commit a
 * prefix, or COMPLETE turns (PREDICT, REVERIFY). The shaders decide; here the host follows what they decided
 * (spec: arXiv 2512.13586 and its program), keeps Remaining, and lays the rows of PLAN. */
#include "engine/decode/session.h"

#include <string.h>

static uint32_t minimum(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static const struct rf_status_head *status_head(const struct rf_session *s)
{
    return s->memory.status.host;
}

static const uint32_t *status_chosen(const struct rf_session *s)
{
    return (const uint32_t *)(status_head(s) + 1);
}

static const uint32_t *status_tokens(const struct rf_session *s)
{
    return status_chosen(s) + s->memory.row_capacity;
}

static uint32_t prompt_rows(const struct rf_session *s)
{
    return s->prefilled ? 0 : s->prompt_count - s->committed;
}

void rf_round_start_block(struct rf_session *s)
{
    uint32_t k = s->settings.slot_size, end = minimum(s->length, s->block_first + s->settings.block);
    s->remaining_count = 0;
    for (uint32_t p = s->block_first; p < end; p += k)
        s->remaining[s->remaining_count++] = p;
    s->pass = RF_PASS_PLAN;
    s->pass_row = 0;
}

uint32_t rf_round_rows(const struct rf_session *s)
{
    uint32_t k = s->settings.slot_size;
    switch (s->pass) {
    case RF_PASS_PLAN:
        return prompt_rows(s) + s->remaining_count * k;
    case RF_PASS_VERIFY:
        return s->chosen_count * k;
    case RF_PASS_PREDICT:
    case RF_PASS_REVERIFY:
        return s->kept_count * (k - s->accepted);
    default:
        return 0;
    }
}

uint32_t rf_round_keys(const struct rf_session *s)
{
    uint32_t seen = s->pass == RF_PASS_PLAN && !s->prefilled ? s->prompt_count : s->committed;
    uint32_t segment = s->pass == RF_PASS_PLAN ? s->remaining_count * s->settings.slot_size
                                               : s->chosen_count * s->settings.slot_size;
    return seen + segment;
}

/* Row `i` of a PLAN pass: the prompt rows that are not cached, then k masks for each remaining slot. */
static struct rf_row plan_row(const struct rf_session *s, uint32_t i)
{
    uint32_t prompt = prompt_rows(s), k = s->settings.slot_size;
    struct rf_row row = {.want = RF_NONE, .result = RF_NONE};
    if (i < prompt) {
        row.position = row.kv_row = s->committed + i;
        row.token = s->prompt[row.position];
        row.ctx_rows = row.seg_first = s->committed;
        return row;
    }
    uint32_t m = i - prompt;
    row.token = s->mask_token;
    row.position = s->prompt_count + s->remaining[m / k] + m % k;
    row.kv_row = s->scratch_first + m;
    row.ctx_rows = s->committed + prompt;
    row.seg_first = s->scratch_first;
    row.result = m;
    row.flags = s->settings.temperature > 0.0f ? RF_ROW_SAMPLE : 0;
    return row;
}

static enum rf_status prepare_plan(struct rf_session *s, uint32_t count, struct rf_error *err)
{
    uint32_t prompt = prompt_rows(s);
    if (s->pass_row == 0 && prompt) {
        enum rf_status status = rf_session_cover(s, s->committed, s->prompt_count, err);
        if (status)
            return status;
    }
    struct rf_row *rows = s->memory.rows.host;
    for (uint32_t i = 0; i < count; i++)
        rows[i] = plan_row(s, s->pass_row + i);
    uint32_t *slots = s->memory.slots.host;
    for (uint32_t i = 0; i < s->remaining_count; i++)
        slots[i] = s->prompt_count + s->remaining[i];
    return RF_OK;
}

enum rf_status rf_round_prepare(struct rf_session *s, uint32_t count, uint32_t *first, struct rf_error *err)
{
    *first = s->pass_row;
    if (s->pass == RF_PASS_PLAN) {
        *first = 0;
        return prepare_plan(s, count, err);
    }
    if (s->pass == RF_PASS_VERIFY && s->pass_row == 0)
        return rf_session_cover(s, s->committed, s->committed + s->chosen_count * s->settings.slot_size, err);
    /* A COMPLETE turn commits behind the committed rows too, but what it may commit VERIFY has covered
     * already. */
    return RF_OK;
}

/* Which slots leave Remaining. */
struct leaving {
    const uint32_t *chosen;
    uint32_t decoded;   /* leading chosen slots that are committed */
    uint32_t drop_from; /* first index of Remaining that is dropped, or RF_NONE */
};

static void leave_remaining(struct rf_session *s, const struct leaving *leaving)
{
    uint32_t k = s->settings.slot_size, next = 0, kept = 0;
    for (uint32_t i = 0; i < s->remaining_count; i++) {
        bool decoded = next < leaving->decoded && leaving->chosen[next] == i;
        if (decoded)
            next++;
        else if (i >= leaving->drop_from)
            rf_output_event(s, RF_EVENT_DROPPED, s->remaining[i], k, 0);
        else
            s->remaining[kept++] = s->remaining[i];
    }
    s->remaining_count = kept;
}

static void drop_later_blocks(struct rf_session *s)
{
    uint32_t end = minimum(s->length, s->block_first + s->settings.block);
    if (end < s->length)
        rf_output_event(s, RF_EVENT_DROPPED, end, s->length - end, 0);
}

static void commit(struct rf_session *s, bool complete)
{
    const struct rf_status_head *head = status_head(s);
    const uint32_t *chosen = status_chosen(s), *tokens = status_tokens(s);
    uint32_t k = s->settings.slot_size;
    for (uint32_t t = 0; t < head->committed_tokens; t++)
        rf_output_commit(s, s->remaining[chosen[t / k]] + t % k, tokens[t]);
    s->committed += head->committed_tokens;
    struct leaving leaving = {chosen, head->committed_slots, RF_NONE};
    bool ends = head->eos_slot != RF_NONE;
    if (ends && complete && s->settings.reference)
        leaving.drop_from = head->eos_slot; /* the original's wrong index */
    else if (ends)
        leaving.drop_from = chosen[head->eos_slot];
    if (ends) {
        uint32_t cut =
            s->remaining[chosen[head->eos_slot]] + k - (head->committed_slots * k - head->committed_tokens);
        uint32_t rest = head->committed_slots * k - head->committed_tokens;
        if (rest)
            rf_output_event(s, RF_EVENT_DROPPED, cut, rest, 0);
    }
    leave_remaining(s, &leaving);
    if (ends && !s->ended) {
        s->ended = true;
        drop_later_blocks(s);
    }
    s->reference_sum += complete ? (double)k * s->chosen_count / (2.0 * s->turns + 2.0)
                                 : (double)k * head->committed_slots / 2.0;
}

static void end_round(struct rf_session *s)
{
    s->stats.rounds++;
    s->round_over = true;
    rf_output_advance(s);
    if (rf_text_stream_stopped(&s->text)) {
        rf_output_finish(s);
        return;
    }
    s->pass = RF_PASS_PLAN;
    s->pass_row = 0;
    while (s->remaining_count == 0) {
        s->block_first += s->settings.block;
        if (s->ended || s->block_first >= s->length) {
            rf_output_finish(s);
            return;
        }
        rf_round_start_block(s);
    }
}

static void absorb_plan(struct rf_session *s)
{
    uint32_t k = s->settings.slot_size;
    if (!s->prefilled) {
        s->committed = s->prompt_count;
        memcpy(s->cached, s->prompt, s->prompt_count * sizeof *s->prompt);
        s->cached_count = s->prompt_count;
        s->prefilled = true;
    }
    s->chosen_count = status_head(s)->chosen_count;
    s->turns = 0;
    s->accepted = 0;
    for (uint32_t i = 0; i < s->chosen_count * k; i++)
        rf_output_event(s, RF_EVENT_PLANNED, s->remaining[status_chosen(s)[i / k]] + i % k, 1,
                        status_tokens(s)[i]);
    s->pass = RF_PASS_VERIFY;
}

static void absorb_turn(struct rf_session *s)
{
    const struct rf_status_head *head = status_head(s);
    s->turns++;
    s->stats.turns++;
    if (head->turn_needed) {
        s->accepted = head->accepted;
        s->kept_count = head->chosen_count;
        s->pass = RF_PASS_PREDICT;
        return;
    }
    commit(s, true);
    end_round(s);
}

void rf_round_absorb(struct rf_session *s)
{
    s->stats.forwards++;
    s->stats.rows += rf_round_rows(s);
    s->pass_row = 0;
    switch (s->pass) {
    case RF_PASS_PLAN:
        absorb_plan(s);
        break;
    case RF_PASS_VERIFY:
        if (status_head(s)->turn_needed) {
            s->kept_count = s->chosen_count;
            s->pass = RF_PASS_PREDICT;
        } else {
            commit(s, false);
            end_round(s);
        }
        break;
    case RF_PASS_PREDICT:
        s->pass = RF_PASS_REVERIFY;
        break;
    case RF_PASS_REVERIFY:
        absorb_turn(s);
        break;
    default:
        break;
    }
}
