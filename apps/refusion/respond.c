#include "apps/refusion/respond.h"

#include "apps/refusion/interrupt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum rf_status keep_commit(struct response *response, const struct rf_event *event,
                                  struct rf_error *err)
{
    size_t count = response->commit_count;
    /* Room doubles whenever the count reaches a power of two. */
    if ((count & (count - 1)) == 0) {
        size_t room = count ? 2 * count : 1;
        struct commit *larger = realloc(response->commits, room * sizeof *larger);
        if (!larger)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %zu commits", room);
        response->commits = larger;
    }
    response->commits[response->commit_count++] =
        (struct commit){event->position, event->token, event->round};
    return RF_OK;
}

const char *event_name(enum rf_event_kind kind)
{
    switch (kind) {
    case RF_EVENT_PLANNED:
        return "planned";
    case RF_EVENT_COMMITTED:
        return "committed";
    case RF_EVENT_DROPPED:
        return "dropped";
    case RF_EVENT_FINISHED:
        return "finished";
    }
    return "unknown";
}

/* One JSON line of the denoise stream. */
static enum rf_status print_event(const struct response *response, rf_session *session,
                                  const struct rf_event *event, struct rf_error *err)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "event", event_name(event->kind));
    cJSON_AddNumberToObject(line, "round", event->round);
    if (event->kind == RF_EVENT_FINISHED) {
        size_t count;
        const uint32_t *tokens = rf_session_tokens(session, &count);
        cJSON_AddStringToObject(line, "finish_reason", rf_session_finish_reason(session));
        cJSON_AddItemToObject(line, "tokens", json_ids(tokens, count));
        cJSON_AddStringToObject(line, "text", rf_session_text(session, NULL));
        return json_print(line, false, err);
    }
    cJSON_AddNumberToObject(line, "position", event->position);
    if (event->kind == RF_EVENT_DROPPED) {
        cJSON_AddNumberToObject(line, "count", event->count);
        return json_print(line, false, err);
    }
    cJSON_AddNumberToObject(line, "token", event->token);
    if (response->tokenizer) {
        char *piece;
        size_t length;
        enum rf_status status =
            rf_tokenizer_decode(response->tokenizer, &event->token, 1, false, &piece, &length, err);
        if (status) {
            cJSON_Delete(line);
            return status;
        }
        cJSON_AddStringToObject(line, "text", piece);
        rf_free(piece);
    }
    return json_print(line, false, err);
}

/* What one step brought. A round's drafts are drawn before what became of them. */
static enum rf_status pass_events(struct response *response, rf_session *session, struct rf_error *err)
{
    size_t count;
    const struct rf_event *events = rf_session_events(session, &count);
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    for (size_t i = 0; i < count; i++) {
        enum rf_status status = RF_OK;
        bool planned = i && events[i - 1].kind == RF_EVENT_PLANNED;
        if (response->show && planned && events[i].kind != RF_EVENT_PLANNED)
            show_draw(response->show, &stats, "planned");
        if (response->keep_commits && events[i].kind == RF_EVENT_COMMITTED)
            status = keep_commit(response, &events[i], err);
        if (!status && response->print_events)
            status = print_event(response, session, &events[i], err);
        if (!status && response->show)
            status = show_event(response->show, &events[i], err);
        if (status)
            return status;
    }
    if (response->print_events)
        fflush(stdout);
    if (response->show && count)
        show_draw(response->show, &stats, "done");
    return RF_OK;
}

static void print_text(struct response *response, rf_session *session)
{
    size_t length;
    const char *text = rf_session_text(session, &length);
    if (length <= response->printed)
        return;
    fwrite(text + response->printed, 1, length - response->printed, stdout);
    fflush(stdout);
    response->printed = length;
}

enum rf_status respond(struct response *response, rf_session *session, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    interrupt_watch(session);
    while (!status && !rf_session_finished(session)) {
        /* An interrupt before the session was watched reached nobody. */
        if (interrupted()) {
            status = rf_fail(err, RF_ERROR_CANCELLED, "interrupted");
            break;
        }
        status = rf_session_step(session, NULL, NULL, err);
        if (!status)
            status = pass_events(response, session, err);
        if (response->print_text && !response->show)
            print_text(response, session);
    }
    interrupt_watch(NULL);
    if (response->show)
        show_end(response->show);
    if (response->print_text)
        print_text(response, session);
    return status;
}

void response_free(struct response *response)
{
    free(response->commits);
    response->commits = NULL;
    response->commit_count = 0;
}

double tokens_per_second(const struct rf_session_stats *stats)
{
    double seconds = stats->prefill_seconds + stats->decode_seconds;
    return seconds > 0 ? stats->shown_tokens / seconds : 0;
}

static cJSON *commits_json(const struct response *response)
{
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < response->commit_count; i++) {
        cJSON *commit = cJSON_CreateObject();
        cJSON_AddNumberToObject(commit, "position", response->commits[i].position);
        cJSON_AddNumberToObject(commit, "token", response->commits[i].token);
        cJSON_AddNumberToObject(commit, "round", response->commits[i].round);
        cJSON_AddItemToArray(array, commit);
    }
    return array;
}

cJSON *response_json(const struct response *response, rf_session *session, bool reference,
                     double load_seconds, const char *device)
{
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "text", rf_session_text(session, NULL));
    size_t count;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    cJSON_AddItemToObject(object, "tokens", json_ids(tokens, count));
    cJSON_AddNumberToObject(object, "prompt_tokens", stats.prompt_tokens);
    cJSON_AddNumberToObject(object, "cached_tokens", stats.cached_tokens);
    cJSON_AddStringToObject(object, "finish_reason",
                            rf_session_finished(session) ? rf_session_finish_reason(session) : "cancelled");
    cJSON_AddNumberToObject(object, "rounds", stats.rounds);
    cJSON_AddNumberToObject(object, "forwards", (double)stats.forwards);
    cJSON_AddNumberToObject(object, "rows", (double)stats.rows);
    cJSON_AddNumberToObject(object, "tokens_per_forward", stats.tokens_per_forward);
    if (reference) {
        cJSON_AddNumberToObject(object, "reference_tokens_per_forward", stats.reference_tokens_per_forward);
    }
    cJSON *seconds = cJSON_AddObjectToObject(object, "seconds");
    if (load_seconds >= 0)
        cJSON_AddNumberToObject(seconds, "load", load_seconds);
    cJSON_AddNumberToObject(seconds, "prefill", stats.prefill_seconds);
    cJSON_AddNumberToObject(seconds, "decode", stats.decode_seconds);
    cJSON_AddNumberToObject(object, "tokens_per_second", tokens_per_second(&stats));
    cJSON_AddStringToObject(object, "device", device);
    cJSON_AddItemToObject(object, "commits", commits_json(response));
    return object;
}

void response_print_times(rf_session *session, const char *device, double load_seconds)
{
    struct rf_session_stats stats;
    rf_session_get_stats(session, &stats);
    if (load_seconds >= 0)
        fprintf(stderr, "load %.2f s, ", load_seconds);
    fprintf(stderr, "prompt %u tokens", stats.prompt_tokens);
    if (stats.cached_tokens)
        fprintf(stderr, " (%u cached)", stats.cached_tokens);
    fprintf(stderr, " %.2f s, %u tokens %.2f s: %.1f tokens/s, %llu forwards, %.2f tokens/forward, %s\n",
            stats.prefill_seconds, stats.shown_tokens, stats.decode_seconds, tokens_per_second(&stats),
            (unsigned long long)stats.forwards, stats.tokens_per_forward, device);
}
