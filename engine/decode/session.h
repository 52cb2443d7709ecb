/* One conversation: its settings, its virtual KV rows, the response that is being decoded.
 *
 * Virtual rows: [0, committed) are the committed buffer in commit order, VERIFY writes behind it;
 * [scratch_first, ..) is scratch for the thrown-away rows of PLAN and the segments of COMPLETE. Both are
 * pages of the model's pool behind one page table. The prompt's rows lie in position order, and so are reused
 * by the next turn; a response's rows do not. */
#ifndef RF_DECODE_SESSION_H
#define RF_DECODE_SESSION_H

#include <stdatomic.h>

#include "engine/decode/settings.h"
#include "engine/model/model.h"
#include "loader/text_stream.h"

/* What the session's next submission is about. */
enum rf_pass {
    RF_PASS_NONE,     /* nothing begun, or finished */
    RF_PASS_PLAN,     /* prompt rows that are not cached yet, then all remaining slots as masks */
    RF_PASS_VERIFY,   /* the chosen slots' drafts */
    RF_PASS_PREDICT,  /* first half of a COMPLETE turn */
    RF_PASS_REVERIFY, /* its second half */
    RF_PASS_AR        /* sequential decoding: prompt or newest token, and a mask row where a slot opens */
};

/* Device memory of a session; allocated anew when a response needs more room. */
struct rf_session_memory {
    struct rf_arena *device, *upload, *readback;
    struct rf_span pages, rows, results, slots, state, chosen, tokens, tagged, status;
    uint32_t row_capacity; /* of every array but pages */
};

struct rf_session {
    rf_model *model;
    struct rf_settings settings;
    bool deterministic;
    struct rf_cmd *script; /* bench: runs between each forward and the slot shaders; NULL: none; not owned */
    uint32_t mask_token;   /* the model's; RF_NONE: it has none */
    uint32_t eos[RF_MAX_EOS], eos_count; /* those that end this session's responses */
    atomic_bool cancelled;

    uint32_t seq; /* entry of the sequence table */
    bool has_seq;
    struct rf_session_memory memory;
    struct rf_kv_page **pages;          /* [page_slots]; NULL where there is none */
    uint32_t page_slots, scratch_first; /* scratch_first: virtual row, a multiple of RF_PAGE_ROWS */

    uint32_t *cached; /* tokens of the rows that lie in position order [cached_count] */
    uint32_t cached_count, cached_capacity;
    uint32_t committed; /* C */

    /* The response. Positions count from its start. */
    uint32_t *prompt; /* [prompt_count] */
    uint32_t prompt_count;
    uint32_t length, limit; /* positions that are decoded (whole slots), tokens that may be shown */
    uint32_t produced;      /* sequential decoding: response tokens so far */
    uint32_t block_first;   /* first position of the current block */
    uint32_t *remaining;    /* first position of each masked slot of the block [remaining_count] */
    uint32_t remaining_count;
    uint32_t *response; /* [length]; RF_NONE where nothing is committed */
    bool ended, finished;
    const char *finish_reason;

    /* The round. */
    enum rf_pass pass;
    uint32_t pass_row;     /* rows of this pass that earlier submissions have forwarded */
    uint32_t draw;         /* names the pass's noise; both halves of a COMPLETE turn share one */
    uint32_t actions;      /* RF_ACT_... in the submission under way */
    uint32_t chosen_count; /* slots that SELECT chose */
    uint32_t kept_count;   /* of them, those that COMPLETE still works on: an eos cuts the rest */
    uint32_t accepted, turns;
    bool round_over;
    bool broken; /* a submission ran, and what came of it could not be had: the device is ahead of the host */
    struct rf_error failure; /* of this session alone, during a step of several */

    /* What has come of it. */
    struct rf_event *events;
    size_t event_count, event_capacity;
    uint32_t *shown; /* tokens as rf_session_tokens returns them */
    size_t shown_count;
    uint32_t streamed; /* leading positions that went into the text */
    bool eos_reached;  /* and the one behind them is an eos */
    struct rf_text_stream text;
    struct rf_session_stats stats;
    double reference_sum; /* of the rounds' figures, for reference_tokens_per_forward */
    bool prefilled;       /* the first PLAN is done */
};

/* ---- session.c -------------------------------------------------------------------------------------- */
/* Page table entries for virtual rows [first, end), each page writable by this session alone. */
enum rf_status rf_session_cover(struct rf_session *s, uint32_t first, uint32_t end, struct rf_error *err);

/* Device memory of a session beside its KV rows, until a response wants more than usual; 0: no host memory. */
uint64_t rf_session_bytes(rf_model *model);

/* Its kv_commit, as the forward records now. */
enum rf_status rf_session_commit(struct rf_session *s, struct rf_cmd **cmd, struct rf_error *err);

/* ---- step.c ----------------------------------------------------------------------------------------- */
/* A step, a submission at a time, which no tool's frame encloses. The round's events are complete when s->round_over
 * or s->finished. */
enum rf_status rf_session_submit(struct rf_session *s, struct rf_error *err);

/* ---- round.c: plan-and-infill ----------------------------------------------------------------------- */
void rf_round_start_block(struct rf_session *s);
uint32_t rf_round_rows(const struct rf_session *s); /* of the current pass, all submissions together */
/* Makes rows [pass_row, pass_row + count) of the current pass ready: writes those that the host lays, covers
 * their KV rows. *first is where they begin among the pending rows. */
enum rf_status rf_round_prepare(struct rf_session *s, uint32_t count, uint32_t *first, struct rf_error *err);
uint32_t rf_round_keys(const struct rf_session *s); /* most keys that a row of this pass attends to */
void rf_round_absorb(struct rf_session *s); /* after a pass's last submission: read the status, go on */

/* ---- sequential.c: --decode ar ---------------------------------------------------------------------- */
void rf_sequential_start(struct rf_session *s);
uint32_t rf_sequential_rows(const struct rf_session *s);
enum rf_status rf_sequential_prepare(struct rf_session *s, uint32_t count, uint32_t *first,
                                     struct rf_error *err);
bool rf_sequential_wants_logits(const struct rf_session *s);
enum rf_status rf_sequential_absorb(struct rf_session *s, struct rf_error *err);

/* ---- output.c --------------------------------------------------------------------------------------- */
void rf_output_event(struct rf_session *s, enum rf_event_kind kind, uint32_t position, uint32_t count,
                     uint32_t token);
void rf_output_commit(struct rf_session *s, uint32_t position, uint32_t token);
void rf_output_advance(struct rf_session *s); /* extends the text by what has become contiguous */
void rf_output_finish(struct rf_session *s);
bool rf_session_ends(const struct rf_session *s, uint32_t token); /* is it an eos of this session */

#endif
