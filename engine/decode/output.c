/* What a session gives out: events, tokens by position, the text that stays. */
#include "engine/decode/session.h"

#include "loader/tokenizer.h"

/* Room for every event of a round was made when the response began: planned, committed and dropped tokens of
 * one block, and the end (see reserve_response in session.c). */
void rf_output_event(struct rf_session *s, enum rf_event_kind kind, uint32_t position, uint32_t count,
                     uint32_t token)
{
    if (s->event_count < s->event_capacity)
        s->events[s->event_count++] = (struct rf_event){
            .kind = kind, .position = position, .count = count, .token = token, .round = s->stats.rounds};
}

void rf_output_commit(struct rf_session *s, uint32_t position, uint32_t token)
{
    s->response[position] = token;
    rf_output_event(s, RF_EVENT_COMMITTED, position, 1, token);
}

bool rf_session_ends(const struct rf_session *s, uint32_t token)
{
    for (uint32_t i = 0; i < s->eos_count; i++)
        if (s->eos[i] == token)
            return true;
    return false;
}

void rf_output_advance(struct rf_session *s)
{
    while (s->streamed < s->limit && s->response[s->streamed] != RF_NONE && !s->eos_reached) {
        uint32_t token = s->response[s->streamed];
        if (rf_session_ends(s, token)) {
            s->eos_reached = true;
            return;
        }
        size_t length = 0;
        const rf_tokenizer *tokenizer = s->model->tokenizer; /* NULL: a synthetic model, without texts */
        const char *bytes = tokenizer ? rf_tokenizer_token_bytes(tokenizer, token, &length) : NULL;
        if (!bytes || rf_tokenizer_is_special(tokenizer, token))
            length = 0;
        if (rf_text_stream_push(&s->text, bytes ? bytes : "", length, &s->failure))
            return;
        s->streamed++;
    }
}

static void list_shown(struct rf_session *s)
{
    s->shown_count = 0;
    if (s->settings.reference) {
        for (uint32_t p = 0; p < s->length; p++)
            if (s->response[p] != RF_NONE)
                s->shown[s->shown_count++] = s->response[p];
        return;
    }
    size_t count = rf_text_stream_tokens(&s->text);
    for (size_t p = 0; p < count; p++)
        s->shown[s->shown_count++] = s->response[p];
}

void rf_output_finish(struct rf_session *s)
{
    rf_output_advance(s);
    rf_text_stream_finish(&s->text, &s->failure);
    s->finished = true;
    s->pass = RF_PASS_NONE;
    /* An eos behind the cap was decoded but is not shown: then it is the cap that ended the text. In
     * reference mode an eos can also end a response that has holes before it. */
    bool stops = s->eos_reached || (s->ended && s->streamed < s->limit);
    s->finish_reason = rf_text_stream_stopped(&s->text) ? "stop_text" : stops ? "stop" : "length";
    rf_output_event(s, RF_EVENT_FINISHED, 0, 0, 0);
}

const uint32_t *rf_session_tokens(const rf_session *session, size_t *count)
{
    struct rf_session *s = (struct rf_session *)session; /* the list is a cache of the response */
    list_shown(s);
    if (count)
        *count = s->shown_count;
    return s->shown;
}

const char *rf_session_text(const rf_session *s, size_t *length)
{
    return rf_text_stream_text(&s->text, length);
}

const struct rf_event *rf_session_events(const rf_session *s, size_t *count)
{
    if (count)
        *count = s->event_count;
    return s->events;
}

bool rf_session_finished(const rf_session *s)
{
    return s->finished;
}

const char *rf_session_finish_reason(const rf_session *s)
{
    return s->finished ? s->finish_reason : "";
}

void rf_session_get_stats(const rf_session *s, struct rf_session_stats *stats)
{
    *stats = s->stats;
    stats->shown_tokens = (uint32_t)rf_text_stream_tokens(&s->text);
    if (stats->forwards)
        stats->tokens_per_forward =
            (stats->shown_tokens + (s->eos_reached ? 1.0 : 0.0)) / (double)stats->forwards;
    if (s->settings.reference && stats->rounds)
        stats->reference_tokens_per_forward = s->reference_sum / stats->rounds;
}
