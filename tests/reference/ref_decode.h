/* A second implementation of the decoding rules (plan, verify, commit a prefix, complete; and left to
 * right), written plainly from their description and sharing nothing with engine/decode, so that each can
 * accuse the other. It runs over any network: the f64 one of ref_model.h, or the scripted one of
 * tests/decode/scripted.h.
 *
 * Positions in rows are absolute (the prompt starts at 0); those in commits and drops count from the
 * response. */
#ifndef RF_TESTS_REF_DECODE_H
#define RF_TESTS_REF_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REF_MAX_EOS = 4 };

enum ref_mode {
    REF_MODE_DEFAULT,
    REF_MODE_REFERENCE, /* what the original program does, its quirks included */
    REF_MODE_AR         /* one token per forward, left to right */
};

enum ref_forward_kind {
    REF_FORWARD_PLAN,
    REF_FORWARD_VERIFY,
    REF_FORWARD_COMPLETE_PREDICT,
    REF_FORWARD_COMPLETE_VERIFY,
    REF_FORWARD_AR
};

/* One row of a forward. It sees the `committed` rows, then rows 0..index of its segment (those that this
 * forward does not hold were computed by an earlier turn of COMPLETE). */
struct ref_row {
    uint32_t token;
    uint32_t position;
    uint32_t committed;
    uint32_t segment; /* 0 in PLAN, VERIFY and AR; the place among the chosen slots in COMPLETE */
    uint32_t index;   /* of this row in its segment; in COMPLETE the token's place in its slot */
    bool wants_result;
    bool has_want; /* the logit of want_token is asked for */
    uint32_t want_token;
};

struct ref_result {
    uint32_t argmax; /* the lowest token id on a tie */
    float max_logit;
    float sum_exp;    /* sum over the vocabulary of exp(l - max_logit) */
    float want_logit; /* of the row's want_token */
};

struct ref_network {
    void *user;
    /* results[i] belongs to rows[i] and is read only where wants_result is set. */
    void (*forward)(void *user, const struct ref_row *rows, size_t row_count, struct ref_result *results);
    /* Appends the KV rows first..first+count-1 of a segment, as last computed, to the committed ones. NULL
     * for a network without any. */
    void (*commit)(void *user, uint32_t segment, uint32_t first, uint32_t count);
};

struct ref_settings {
    const uint32_t *prompt;
    size_t prompt_length; /* at least 1 */
    uint32_t slot_size;   /* k */
    uint32_t max_tokens;  /* gen_length */
    uint32_t block;       /* b, a multiple of k; unused by AR */
    float slot_threshold, token_threshold;
    uint32_t eos[REF_MAX_EOS]; /* eos[0] is the tokenizer's, the only one that reference mode knows */
    size_t eos_count;
    bool has_mask; /* only AR runs without one */
    uint32_t mask_id;
    enum ref_mode mode;
};

struct ref_commit {
    uint32_t position, token, round; /* round from 0; with AR the number of the token */
};

struct ref_drop {
    uint32_t position, round;
};

struct ref_forward {
    enum ref_forward_kind kind;
    uint32_t round;
    uint32_t committed; /* C */
    uint32_t reused;    /* rows of each segment that an earlier turn left; 0 but in COMPLETE */
    uint32_t segments;
    size_t first_row, row_count; /* in ref_outcome.rows_forwarded */
};

/* Every way that the rules can go; ref_branch_name gives each a name. */
// clang-format off
#define REF_BRANCHES(X)                \
    X(SELECT_SOME_ABOVE)               \
    X(SELECT_ALL)                      \
    X(SELECT_NONE_ABOVE)               \
    X(SELECT_NONE_ABOVE_TIE)           \
    X(SELECT_SCORE_AT_THRESHOLD)       \
    X(SELECT_ONE_SLOT_LEFT)            \
    X(SELECT_TIE_ABOVE)                \
    X(PROBABILITY_CLIPPED)             \
    X(TOKEN_AT_THRESHOLD)              \
    X(MASK_DRAFTED)                    \
    X(PREFIX_IN_FIRST_SLOT)            \
    X(PREFIX_IN_LATER_SLOT)            \
    X(PREFIX_AT_SLOT_END)              \
    X(PREFIX_WHOLE)                    \
    X(SLOT_SIZE_ONE)                   \
    X(PREFIX_EOS)                      \
    X(PREFIX_EOS_FIRST_SLOT)           \
    X(PREFIX_EOS_LATER_SLOT)           \
    X(PREFIX_EOS_FIRST_TOKEN)          \
    X(PREFIX_EOS_LAST_TOKEN)           \
    X(PREFIX_EOS_IN_PART_SLOT)         \
    X(PREFIX_EOS_TWICE)                \
    X(PREFIX_EOS_DROPS_CHOSEN)         \
    X(PREFIX_EOS_DROPS_UNCHOSEN)       \
    X(PREFIX_EOS_LEAVES_EARLIER)       \
    X(EOS_BEHIND_PREFIX)               \
    X(EOS_SECOND_ID)                   \
    X(EOS_SECOND_ID_IGNORED)           \
    X(COMPLETE_ONE_TURN)               \
    X(COMPLETE_TWO_TURNS)              \
    X(COMPLETE_MANY_TURNS)             \
    X(COMPLETE_MOST_TURNS)             \
    X(COMPLETE_ONE_SLOT)               \
    X(COMPLETE_MANY_SLOTS)             \
    X(COMPLETE_SLOT_ALREADY_TAGGED)    \
    X(COMPLETE_FORCED_AFTER_TAGGED)    \
    X(COMPLETE_REFUSED)                \
    X(COMPLETE_REJUDGED_AFTER_REFUSED) \
    X(COMPLETE_ACC_BY_ONE)             \
    X(COMPLETE_ACC_BY_MORE)            \
    X(COMPLETE_EOS)                    \
    X(COMPLETE_EOS_TAGGED_BY_VERIFY)   \
    X(COMPLETE_EOS_TAGGED_NOW)         \
    X(COMPLETE_EOS_UNTAGGED)           \
    X(COMPLETE_EOS_FIRST_SLOT)         \
    X(COMPLETE_EOS_LATER_SLOT)         \
    X(COMPLETE_EOS_CUTS_SLOTS)         \
    X(COMPLETE_EOS_TAGS_REST)          \
    X(COMPLETE_EOS_ENDS_TURNS)         \
    X(COMPLETE_EOS_TURNS_GO_ON)        \
    X(COMPLETE_EOS_MOVES_EARLIER)      \
    X(COMPLETE_EOS_DROPS_UNCHOSEN)     \
    X(COMPLETE_EOS_LEAVES_EARLIER)     \
    X(COMPLETE_EOS_LAST_TOKEN)         \
    X(REFERENCE_DROPS_EARLIER)         \
    X(REFERENCE_DROPS_AS_DEFAULT)      \
    X(ROUND_AFTER_ENDED)               \
    X(ENDED_AGAIN)                     \
    X(NEXT_BLOCK)                      \
    X(ENDED_BEFORE_LAST_BLOCK)         \
    X(SHORT_LAST_BLOCK)                \
    X(EXCESS_CUT)                      \
    X(EOS_IN_EXCESS)                   \
    X(NEVER_ENDED)                     \
    X(COMMITTED_BEHIND_EOS)            \
    X(HOLE_BEFORE_EOS)                 \
    X(REFUSED_BLOCKS)
// clang-format on

#define REF_BRANCH_ENUM(name) REF_BRANCH_##name,
enum ref_branch { REF_BRANCHES(REF_BRANCH_ENUM) REF_BRANCH_COUNT };

const char *ref_branch_name(enum ref_branch branch);

struct ref_outcome {
    uint32_t *response; /* every committed response token by position: what reference mode returns */
    uint32_t *response_positions;
    size_t response_count;
    uint32_t *
        shown; /* the response before its earliest eos and within max_tokens: what the default mode returns */
    size_t shown_count;
    bool shown_eos;             /* shown ends because of an eos */
    struct ref_commit *commits; /* in commit order, prompt left out */
    size_t commit_count;
    struct ref_drop
        *drops; /* positions of the block that left undecoded, by round, ascending within a round */
    size_t drop_count;
    uint32_t rounds, turns;              /* turns: of COMPLETE */
    double tokens_per_forward;           /* (shown + the eos) / forwards */
    double reference_tokens_per_forward; /* the original's own figure; computed in default mode too */
    struct ref_forward *forwards;
    size_t forward_count;
    struct ref_row *rows_forwarded;
    size_t row_count;
    uint64_t branches[REF_BRANCH_COUNT]; /* how often each was taken */
};

/* False: the settings are refused, `message` (256 bytes) says why, and *outcome holds nothing but branch
 * counts. Otherwise free it with ref_outcome_free. */
bool ref_decode(const struct ref_settings *settings, const struct ref_network *network,
                struct ref_outcome *outcome, char *message);
void ref_outcome_free(struct ref_outcome *outcome);

/* min(1, exp(logit - max) / sum) in f32. */
float ref_probability(float logit, float max_logit, float sum_exp);

#endif
