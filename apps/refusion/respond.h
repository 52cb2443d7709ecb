/* One response, from a session that was begun to its end: events go to whoever wants them, text to standard
 * output as far as it is certain. */
#ifndef RF_APPS_RESPOND_H
#define RF_APPS_RESPOND_H

#include "apps/refusion/json_out.h"
#include "apps/refusion/show.h"

struct commit {
    uint32_t position, token, round;
};

struct response {
    /* Set by the caller. */
    const rf_tokenizer *tokenizer; /* NULL: events carry no text */
    struct show *show;             /* NULL: not drawn */
    bool print_text;               /* the append stream on standard output */
    bool print_events;             /* the denoise stream on standard output */
    bool keep_commits;
    /* Filled. */
    struct commit *commits; /* malloc'ed, in the order of events */
    size_t commit_count;
    size_t printed; /* bytes of text */
};

const char *event_name(enum rf_event_kind kind); /* "planned", "committed", "dropped", "finished" */
/* Steps until the response is finished. Ctrl-C gives RF_ERROR_CANCELLED. */
enum rf_status respond(struct response *response, rf_session *session, struct rf_error *err);
void response_free(struct response *response);

/* The object that --json prints; `load_seconds` below 0 leaves it out. NULL when memory is out. */
cJSON *response_json(const struct response *response, rf_session *session, bool reference,
                     double load_seconds, const char *device);
/* One line of times on stderr. */
void response_print_times(rf_session *session, const char *device, double load_seconds);
/* Shown tokens for each second of prefill and decoding. */
double tokens_per_second(const struct rf_session_stats *stats);

#endif
