/* What the files that build, run and profile a submission share. */
#ifndef RF_DECODE_SUBMISSION_H
#define RF_DECODE_SUBMISSION_H

#include "engine/decode/session.h"

/* One submission under construction. */
struct submission {
    struct rf_model *model;
    struct rf_session *sessions[RF_MAX_PIECES];
    uint32_t counts[RF_MAX_PIECES]; /* rows of each in pass 0 */
    uint32_t session_count;
    uint32_t rows[2]; /* of the two passes */
    uint32_t piece_count[2], active_count;
    uint32_t flags;   /* of the forwards */
    uint32_t actions; /* all sessions' together */
    bool submitted;   /* or tried to: a failure is the device's, not that of what was laid out */
    bool ran;         /* all of it or a part: the device's state has moved on */
    struct rf_forward_cmds cmds;
    struct {
        double record, submit, wait, read, end; /* when each began; seconds, monotonic */
    } times;
};

#endif
