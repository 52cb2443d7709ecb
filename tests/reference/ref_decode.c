#include "tests/reference/ref_decode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_SIZE = 256 };

#define REF_BRANCH_STRING(name) #name,
static const char *const branch_names[] = {REF_BRANCHES(REF_BRANCH_STRING)};

const char *ref_branch_name(enum ref_branch branch)
{
    return branch_names[branch];
}

/* Arrays by response position are as long as the response; those of slots have one entry per slot of it. */
struct decoder {
    const struct ref_settings *settings;
    const struct ref_network *network;
    struct ref_outcome *out;
    uint32_t length; /* of the response, rounded up to whole slots */
    uint32_t k;

    uint32_t *remaining; /* first response position of each masked slot of the block, ascending */
    size_t remaining_count;
    size_t *chosen; /* indices into remaining, ascending */
    size_t chosen_count;

    uint32_t *draft;    /* by response position */
    float *probability; /* of the draft, by response position */
    bool *ok, *tag;     /* by response position */
    bool *tag_before;   /* tags as a turn of COMPLETE found them */
    bool *refused;      /* a turn of COMPLETE said no to this token, by response position */

    struct ref_row *rows; /* of the forward being made */
    struct ref_result *results;
    size_t row_count;

    uint32_t committed; /* C: prompt rows and response rows */
    bool ended;
    double figure_sum; /* over rounds, of the original's tokens per forward */
};

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "ref_decode: out of memory\n");
        abort();
    }
    return memory;
}

/* Room for `more` elements behind the `count` present. The capacity needs no storing: it is the power of two
 * at or above what is held. */
static void *grow(void *memory, size_t count, size_t more, size_t size)
{
    size_t have = 1, want = 1;
    while (have < count)
        have *= 2;
    while (want < count + more)
        want *= 2;
    if (memory != NULL && have == want)
        return memory;
    void *grown = realloc(memory, want * size);
    if (grown == NULL) {
        fprintf(stderr, "ref_decode: out of memory\n");
        abort();
    }
    return grown;
}

static void count_branch(struct decoder *d, enum ref_branch branch)
{
    d->out->branches[branch]++;
}

static void count_branch_if(struct decoder *d, bool taken, enum ref_branch branch)
{
    if (taken)
        count_branch(d, branch);
}

float ref_probability(float logit, float max_logit, float sum_exp)
{
    float p = expf(logit - max_logit) / sum_exp;
    return p < 1.0f ? p : 1.0f;
}

static float probability_of(struct decoder *d, float logit, const struct ref_result *result)
{
    count_branch_if(d, expf(logit - result->max_logit) / result->sum_exp > 1.0f,
                    REF_BRANCH_PROBABILITY_CLIPPED);
    return ref_probability(logit, result->max_logit, result->sum_exp);
}

static bool is_eos(const struct decoder *d, uint32_t token)
{
    size_t known = d->settings->mode == REF_MODE_REFERENCE ? 1 : d->settings->eos_count;
    for (size_t i = 0; i < known && i < d->settings->eos_count; i++) {
        if (d->settings->eos[i] == token)
            return true;
    }
    return false;
}

static bool is_other_eos(const struct decoder *d, uint32_t token)
{
    for (size_t i = 1; i < d->settings->eos_count; i++) {
        if (d->settings->eos[i] == token)
            return true;
    }
    return false;
}

/* ---- Forwards ---- */

static struct ref_row *add_row(struct decoder *d, uint32_t token, uint32_t position, uint32_t segment,
                               uint32_t index)
{
    struct ref_row *row = &d->rows[d->row_count++];
    *row = (struct ref_row){
        .token = token, .position = position, .committed = d->committed, .segment = segment, .index = index};
    return row;
}

static uint32_t response_row_position(const struct decoder *d, uint32_t response_position)
{
    return (uint32_t)d->settings->prompt_length + response_position;
}

static void run_forward(struct decoder *d, enum ref_forward_kind kind, uint32_t segments, uint32_t reused)
{
    struct ref_outcome *out = d->out;
    out->forwards = grow(out->forwards, out->forward_count, 1, sizeof *out->forwards);
    out->forwards[out->forward_count++] = (struct ref_forward){.kind = kind,
                                                               .round = out->rounds,
                                                               .committed = d->committed,
                                                               .reused = reused,
                                                               .segments = segments,
                                                               .first_row = out->row_count,
                                                               .row_count = d->row_count};
    out->rows_forwarded =
        grow(out->rows_forwarded, out->row_count, d->row_count, sizeof *out->rows_forwarded);
    memcpy(out->rows_forwarded + out->row_count, d->rows, d->row_count * sizeof *d->rows);
    out->row_count += d->row_count;
    d->network->forward(d->network->user, d->rows, d->row_count, d->results);
}

static void commit_rows(struct decoder *d, uint32_t segment, uint32_t count)
{
    if (d->network->commit != NULL)
        d->network->commit(d->network->user, segment, 0, count);
    d->committed += count;
}

static void log_commit(struct decoder *d, uint32_t position)
{
    struct ref_outcome *out = d->out;
    out->commits = grow(out->commits, out->commit_count, 1, sizeof *out->commits);
    out->commits[out->commit_count++] = (struct ref_commit){position, d->draft[position], out->rounds};
}

static void log_drops(struct decoder *d, uint32_t first, uint32_t end)
{
    struct ref_outcome *out = d->out;
    for (uint32_t position = first; position < end; position++) {
        out->drops = grow(out->drops, out->drop_count, 1, sizeof *out->drops);
        out->drops[out->drop_count++] = (struct ref_drop){position, out->rounds};
    }
}

/* ---- PLAN and SELECT ---- */

static void plan(struct decoder *d)
{
    const struct ref_settings *settings = d->settings;
    bool first_pass = d->committed == 0;
    uint32_t index = 0;
    d->row_count = 0;
    if (first_pass) {
        for (size_t i = 0; i < settings->prompt_length; i++) {
            add_row(d, settings->prompt[i], (uint32_t)i, 0, index++);
        }
    }
    size_t first_mask = d->row_count;
    for (size_t s = 0; s < d->remaining_count; s++) {
        for (uint32_t j = 0; j < d->k; j++) {
            uint32_t position = response_row_position(d, d->remaining[s] + j);
            add_row(d, settings->mask_id, position, 0, index++)->wants_result = true;
        }
    }
    run_forward(d, REF_FORWARD_PLAN, 1, 0);
    for (size_t s = 0; s < d->remaining_count; s++) {
        for (uint32_t j = 0; j < d->k; j++) {
            const struct ref_result *result = &d->results[first_mask + s * d->k + j];
            uint32_t position = d->remaining[s] + j;
            d->draft[position] = result->argmax;
            d->probability[position] = probability_of(d, result->max_logit, result);
            count_branch_if(d, result->argmax == settings->mask_id, REF_BRANCH_MASK_DRAFTED);
        }
    }
    if (first_pass)
        commit_rows(d, 0, (uint32_t)settings->prompt_length);
}

static float slot_score(const struct decoder *d, size_t slot)
{
    return d->probability[d->remaining[slot]];
}

static void select_slots(struct decoder *d)
{
    float threshold = d->settings->slot_threshold;
    d->chosen_count = 0;
    for (size_t s = 0; s < d->remaining_count; s++) {
        float score = slot_score(d, s);
        if (score > threshold)
            d->chosen[d->chosen_count++] = s;
        count_branch_if(d, score == threshold, REF_BRANCH_SELECT_SCORE_AT_THRESHOLD);
    }
    count_branch_if(d, d->remaining_count == 1, REF_BRANCH_SELECT_ONE_SLOT_LEFT);
    if (d->chosen_count > 0) {
        bool all = d->chosen_count == d->remaining_count;
        count_branch_if(d, !all, REF_BRANCH_SELECT_SOME_ABOVE);
        count_branch_if(d, all && d->remaining_count > 1, REF_BRANCH_SELECT_ALL);
        bool tie = d->chosen_count > 1 && slot_score(d, d->chosen[0]) == slot_score(d, d->chosen[1]);
        count_branch_if(d, tie, REF_BRANCH_SELECT_TIE_ABOVE);
        return;
    }
    size_t best = 0;
    bool tie = false;
    for (size_t s = 1; s < d->remaining_count; s++) {
        if (slot_score(d, s) > slot_score(d, best)) {
            best = s;
            tie = false;
        } else if (slot_score(d, s) == slot_score(d, best)) {
            tie = true;
        }
    }
    d->chosen[d->chosen_count++] = best;
    count_branch(d, REF_BRANCH_SELECT_NONE_ABOVE);
    count_branch_if(d, tie, REF_BRANCH_SELECT_NONE_ABOVE_TIE);
}

/* ---- VERIFY ---- */

static uint32_t chosen_start(const struct decoder *d, size_t i)
{
    return d->remaining[d->chosen[i]];
}

static bool agrees(struct decoder *d, const struct ref_result *row_before)
{
    float p = probability_of(d, row_before->want_logit, row_before);
    count_branch_if(d, p == d->settings->token_threshold, REF_BRANCH_TOKEN_AT_THRESHOLD);
    return p > d->settings->token_threshold;
}

/* Rows first..k-1 of chosen slot i with the drafts; each but the last is asked for the token after it. */
static void add_draft_rows(struct decoder *d, size_t i, uint32_t first, uint32_t segment,
                           uint32_t first_index)
{
    for (uint32_t j = first; j < d->k; j++) {
        uint32_t at = chosen_start(d, i) + j;
        struct ref_row *row =
            add_row(d, d->draft[at], response_row_position(d, at), segment, first_index + (j - first));
        if (j + 1 < d->k) {
            row->wants_result = row->has_want = true;
            row->want_token = d->draft[at + 1];
        }
    }
}

/* Returns the number of leading agreed tokens over the chosen slots laid end to end. */
static size_t verify(struct decoder *d)
{
    d->row_count = 0;
    for (size_t i = 0; i < d->chosen_count; i++)
        add_draft_rows(d, i, 0, 0, (uint32_t)i * d->k);
    run_forward(d, REF_FORWARD_VERIFY, 1, 0);
    for (size_t i = 0; i < d->chosen_count; i++) {
        uint32_t start = chosen_start(d, i);
        d->ok[start] = d->tag[start] = true;
        d->refused[start] = false;
        for (uint32_t j = 1; j < d->k; j++) {
            d->ok[start + j] = agrees(d, &d->results[i * d->k + j - 1]);
            d->tag[start + j] = d->tag[start + j - 1] && d->ok[start + j];
            d->refused[start + j] = false;
        }
    }
    size_t prefix = 0;
    while (prefix < d->chosen_count * d->k && d->ok[chosen_start(d, prefix / d->k) + prefix % d->k])
        prefix++;
    return prefix;
}

/* ---- COMMIT A PREFIX ---- */

static bool is_chosen(const struct decoder *d, size_t slot)
{
    for (size_t i = 0; i < d->chosen_count; i++) {
        if (d->chosen[i] == slot)
            return true;
    }
    return false;
}

/* Of Remaining stay the slots with index below `end` that are not among the first `leaving` chosen. Drops
 * are logged: the slots that leave without being among the first `committed` chosen, and what the eos cut
 * off the last of these (`tail`: its first cut response position, or the end of its slot). */
static void leave_remaining(struct decoder *d, size_t end, size_t leaving, size_t committed, uint32_t tail)
{
    size_t stay = 0, next_chosen = 0;
    for (size_t s = 0; s < d->remaining_count; s++) {
        uint32_t start = d->remaining[s];
        bool chosen = next_chosen < d->chosen_count && d->chosen[next_chosen] == s;
        size_t place = next_chosen;
        if (chosen)
            next_chosen++;
        if (chosen && place < committed) {
            if (place + 1 == committed)
                log_drops(d, tail, start + d->k);
        } else if (s < end && !(chosen && place < leaving)) {
            d->remaining[stay++] = start;
        } else {
            log_drops(d, start, start + d->k);
        }
    }
    d->remaining_count = stay;
}

static void count_prefix_branches(struct decoder *d, size_t prefix)
{
    count_branch_if(d, d->k == 1, REF_BRANCH_SLOT_SIZE_ONE);
    if (prefix == d->chosen_count * d->k) {
        count_branch(d, REF_BRANCH_PREFIX_WHOLE);
    } else if (prefix < d->k) {
        count_branch(d, REF_BRANCH_PREFIX_IN_FIRST_SLOT);
    } else if (prefix % d->k == 1) {
        /* The first token of a slot always agrees: a prefix that breaks behind whole slots reaches one
         * further. */
        count_branch(d, REF_BRANCH_PREFIX_AT_SLOT_END);
    } else {
        count_branch(d, REF_BRANCH_PREFIX_IN_LATER_SLOT);
    }
    for (size_t at = prefix; at < d->chosen_count * d->k; at++) {
        if (!is_eos(d, d->draft[chosen_start(d, at / d->k) + at % d->k]))
            continue;
        count_branch(d, REF_BRANCH_EOS_BEHIND_PREFIX);
        break;
    }
}

static void count_prefix_eos_branches(struct decoder *d, size_t prefix, size_t eos_at)
{
    size_t slot = eos_at / d->k;
    uint32_t token = d->draft[chosen_start(d, slot) + eos_at % d->k];
    count_branch(d, REF_BRANCH_PREFIX_EOS);
    count_branch(d, slot == 0 ? REF_BRANCH_PREFIX_EOS_FIRST_SLOT : REF_BRANCH_PREFIX_EOS_LATER_SLOT);
    count_branch_if(d, eos_at % d->k == 0, REF_BRANCH_PREFIX_EOS_FIRST_TOKEN);
    count_branch_if(d, eos_at % d->k == d->k - 1, REF_BRANCH_PREFIX_EOS_LAST_TOKEN);
    count_branch_if(d, prefix < (slot + 1) * d->k, REF_BRANCH_PREFIX_EOS_IN_PART_SLOT);
    for (size_t at = eos_at + 1; at < prefix; at++) {
        if (!is_eos(d, d->draft[chosen_start(d, at / d->k) + at % d->k]))
            continue;
        count_branch(d, REF_BRANCH_PREFIX_EOS_TWICE);
        break;
    }
    count_branch_if(d, slot + 1 < d->chosen_count, REF_BRANCH_PREFIX_EOS_DROPS_CHOSEN);
    size_t behind = d->remaining_count - d->chosen[slot] - 1, chosen_behind = d->chosen_count - slot - 1;
    count_branch_if(d, behind > chosen_behind, REF_BRANCH_PREFIX_EOS_DROPS_UNCHOSEN);
    count_branch_if(d, d->chosen[slot] > slot, REF_BRANCH_PREFIX_EOS_LEAVES_EARLIER);
    count_branch_if(d, is_other_eos(d, token), REF_BRANCH_EOS_SECOND_ID);
    count_branch_if(d, d->ended, REF_BRANCH_ENDED_AGAIN);
}

/* Returns false when nothing could be committed. */
static bool commit_prefix(struct decoder *d, size_t prefix)
{
    count_prefix_branches(d, prefix);
    size_t eos_at = 0;
    while (eos_at < prefix && !is_eos(d, d->draft[chosen_start(d, eos_at / d->k) + eos_at % d->k]))
        eos_at++;
    bool eos = eos_at < prefix;
    size_t slots = eos ? eos_at / d->k + 1 : prefix / d->k;
    size_t tokens = eos ? eos_at + 1 : slots * d->k;
    if (slots == 0)
        return false;

    for (size_t at = 0; at < tokens; at++) {
        uint32_t position = chosen_start(d, at / d->k) + (uint32_t)(at % d->k);
        bool ignored = d->settings->mode == REF_MODE_REFERENCE && is_other_eos(d, d->draft[position]);
        count_branch_if(d, ignored, REF_BRANCH_EOS_SECOND_ID_IGNORED);
        log_commit(d, position);
    }
    commit_rows(d, 0, (uint32_t)tokens);
    d->figure_sum += (double)(d->k * slots) / 2.0;
    uint32_t last = chosen_start(d, slots - 1);
    if (eos) {
        count_prefix_eos_branches(d, prefix, eos_at);
        leave_remaining(d, d->chosen[slots - 1], slots, slots, last + (uint32_t)(eos_at % d->k) + 1);
        d->ended = true;
    } else {
        leave_remaining(d, d->remaining_count, slots, slots, last + d->k);
    }
    return true;
}

/* ---- COMPLETE ---- */

static bool all_tagged(const struct decoder *d, size_t slots)
{
    for (size_t i = 0; i < slots; i++) {
        for (uint32_t j = 0; j < d->k; j++) {
            if (!d->tag[chosen_start(d, i) + j])
                return false;
        }
    }
    return true;
}

static void complete_predict(struct decoder *d, size_t slots, uint32_t acc)
{
    d->row_count = 0;
    for (size_t i = 0; i < slots; i++) {
        for (uint32_t j = acc; j < d->k; j++) {
            uint32_t at = chosen_start(d, i) + j;
            uint32_t token = d->tag[at] ? d->draft[at] : d->settings->mask_id;
            add_row(d, token, response_row_position(d, at), (uint32_t)i, j)->wants_result = !d->tag[at];
        }
    }
    run_forward(d, REF_FORWARD_COMPLETE_PREDICT, (uint32_t)slots, acc);
    for (size_t i = 0; i < slots; i++) {
        for (uint32_t j = acc; j < d->k; j++) {
            uint32_t at = chosen_start(d, i) + j;
            if (!d->tag[at])
                d->draft[at] = d->results[i * (d->k - acc) + (j - acc)].argmax;
        }
    }
}

static void complete_verify(struct decoder *d, size_t slots, uint32_t acc)
{
    d->row_count = 0;
    for (size_t i = 0; i < slots; i++)
        add_draft_rows(d, i, acc, (uint32_t)i, acc);
    run_forward(d, REF_FORWARD_COMPLETE_VERIFY, (uint32_t)slots, acc);
    for (size_t i = 0; i < slots; i++) {
        uint32_t start = chosen_start(d, i);
        memcpy(d->tag_before + start, d->tag + start, d->k * sizeof *d->tag);
        for (uint32_t j = acc; j < d->k; j++) {
            uint32_t at = start + j;
            bool forced = j == acc || d->tag_before[at - 1];
            bool judged = j > acc && agrees(d, &d->results[i * (d->k - acc) + (j - acc) - 1]);
            d->ok[at] = forced || judged;
            d->tag[at] = d->ok[at] && (j == acc || d->tag[at - 1]);
            count_branch_if(d, forced && j > acc && !judged && !d->tag_before[at],
                            REF_BRANCH_COMPLETE_FORCED_AFTER_TAGGED);
            count_branch_if(d, d->refused[at] && d->tag[at] && !forced,
                            REF_BRANCH_COMPLETE_REJUDGED_AFTER_REFUSED);
            count_branch_if(d, !d->ok[at], REF_BRANCH_COMPLETE_REFUSED);
            d->refused[at] = !d->ok[at];
        }
    }
}

static void count_cut_branches(struct decoder *d, size_t slot, uint32_t eos, size_t slots,
                               size_t eos_slot_before)
{
    uint32_t at = chosen_start(d, slot) + eos;
    count_branch(d, REF_BRANCH_COMPLETE_EOS);
    count_branch(d, d->tag_before[at] ? REF_BRANCH_COMPLETE_EOS_TAGGED_BY_VERIFY
                                      : REF_BRANCH_COMPLETE_EOS_TAGGED_NOW);
    count_branch(d, slot == 0 ? REF_BRANCH_COMPLETE_EOS_FIRST_SLOT : REF_BRANCH_COMPLETE_EOS_LATER_SLOT);
    count_branch_if(d, slot + 1 < slots, REF_BRANCH_COMPLETE_EOS_CUTS_SLOTS);
    count_branch_if(d, !d->tag[at - eos + d->k - 1], REF_BRANCH_COMPLETE_EOS_TAGS_REST);
    count_branch_if(d, eos == d->k - 1, REF_BRANCH_COMPLETE_EOS_LAST_TOKEN);
    count_branch_if(d, eos_slot_before < slots, REF_BRANCH_COMPLETE_EOS_MOVES_EARLIER);
    count_branch_if(d, is_other_eos(d, d->draft[at]), REF_BRANCH_EOS_SECOND_ID);
}

/* Looks at rows acc..k-1 for an eos that is tagged; cuts the slots behind the first slot that has one and
 * tags that slot whole. Returns the number of slots kept; *eos_slot (SIZE_MAX while there is none) becomes
 * that slot. */
static size_t complete_cut(struct decoder *d, size_t slots, uint32_t acc, size_t *eos_slot)
{
    for (size_t i = 0; i < slots; i++) {
        uint32_t start = chosen_start(d, i), eos = acc;
        while (eos < d->k && !(d->tag[start + eos] && is_eos(d, d->draft[start + eos]))) {
            count_branch_if(d, is_eos(d, d->draft[start + eos]), REF_BRANCH_COMPLETE_EOS_UNTAGGED);
            eos++;
        }
        if (eos == d->k)
            continue;
        if (*eos_slot != i)
            count_cut_branches(d, i, eos, slots, *eos_slot);
        *eos_slot = i;
        for (uint32_t j = 0; j < d->k; j++)
            d->tag[start + j] = true;
        return i + 1;
    }
    return slots;
}

static uint32_t fewest_tags(const struct decoder *d, size_t slots, uint32_t acc)
{
    uint32_t fewest = d->k - acc;
    for (size_t i = 0; i < slots; i++) {
        uint32_t tags = 0;
        for (uint32_t j = acc; j < d->k; j++)
            tags += d->tag[chosen_start(d, i) + j];
        if (tags < fewest)
            fewest = tags;
    }
    return fewest;
}

/* Lays the finished slots' rows behind the committed ones, tokens after the first eos left out. Returns
 * the response position behind the last token kept of the last slot. */
static uint32_t complete_commit(struct decoder *d, size_t slots, size_t *eos_slot)
{
    *eos_slot = slots;
    uint32_t tail = 0;
    for (size_t i = 0; i < slots && *eos_slot == slots; i++) {
        uint32_t start = chosen_start(d, i), count = 0;
        while (count < d->k && *eos_slot == slots) {
            bool ignored =
                d->settings->mode == REF_MODE_REFERENCE && is_other_eos(d, d->draft[start + count]);
            count_branch_if(d, ignored, REF_BRANCH_EOS_SECOND_ID_IGNORED);
            if (is_eos(d, d->draft[start + count]))
                *eos_slot = i;
            log_commit(d, start + count++);
        }
        commit_rows(d, (uint32_t)i, count);
        tail = start + count;
    }
    return tail;
}

static void count_complete_branches(struct decoder *d, uint32_t turns)
{
    count_branch_if(d, turns == 1, REF_BRANCH_COMPLETE_ONE_TURN);
    count_branch_if(d, turns == 2, REF_BRANCH_COMPLETE_TWO_TURNS);
    count_branch_if(d, turns > 2, REF_BRANCH_COMPLETE_MANY_TURNS);
    count_branch_if(d, turns > 2 && turns == d->k - 1, REF_BRANCH_COMPLETE_MOST_TURNS);
    count_branch(d, d->chosen_count == 1 ? REF_BRANCH_COMPLETE_ONE_SLOT : REF_BRANCH_COMPLETE_MANY_SLOTS);
}

/* After an eos in COMPLETE: Remaining loses all chosen slots and, by default, whatever lies behind the eos
 * slot. The original takes the eos slot's place among the chosen for its place in Remaining. */
static void complete_drop(struct decoder *d, size_t eos_slot, uint32_t tail)
{
    size_t right = d->chosen[eos_slot] + 1, end = right;
    count_branch_if(d, d->ended, REF_BRANCH_ENDED_AGAIN);
    count_branch_if(d, d->chosen[eos_slot] > eos_slot, REF_BRANCH_COMPLETE_EOS_LEAVES_EARLIER);
    size_t behind = d->remaining_count - right;
    count_branch_if(d, behind > d->chosen_count - eos_slot - 1, REF_BRANCH_COMPLETE_EOS_DROPS_UNCHOSEN);
    if (d->settings->mode == REF_MODE_REFERENCE) {
        end = eos_slot;
        bool earlier = false;
        for (size_t s = end; s < right; s++)
            earlier = earlier || !is_chosen(d, s);
        count_branch(d, earlier ? REF_BRANCH_REFERENCE_DROPS_EARLIER : REF_BRANCH_REFERENCE_DROPS_AS_DEFAULT);
    }
    leave_remaining(d, end, d->chosen_count, eos_slot + 1, tail);
    d->ended = true;
}

static void complete(struct decoder *d)
{
    size_t slots = d->chosen_count, eos_slot = SIZE_MAX;
    uint32_t acc = 0, turns = 0;
    for (size_t i = 0; i < slots; i++) {
        count_branch_if(d, d->tag[chosen_start(d, i) + d->k - 1], REF_BRANCH_COMPLETE_SLOT_ALREADY_TAGGED);
    }
    while (turns < d->k && !all_tagged(d, slots)) {
        complete_predict(d, slots, acc);
        complete_verify(d, slots, acc);
        turns++;
        size_t eos_slot_before = eos_slot;
        slots = complete_cut(d, slots, acc, &eos_slot);
        bool done = all_tagged(d, slots);
        if (eos_slot != eos_slot_before) {
            count_branch(d, done ? REF_BRANCH_COMPLETE_EOS_ENDS_TURNS : REF_BRANCH_COMPLETE_EOS_TURNS_GO_ON);
        }
        uint32_t step = fewest_tags(d, slots, acc) - (done ? 0 : 1);
        count_branch(d, step == 1 ? REF_BRANCH_COMPLETE_ACC_BY_ONE : REF_BRANCH_COMPLETE_ACC_BY_MORE);
        acc += step;
    }
    d->out->turns += turns;
    count_complete_branches(d, turns);
    d->figure_sum += (double)(d->k * d->chosen_count) / (double)(2 * turns + 2);
    uint32_t tail = complete_commit(d, slots, &eos_slot);
    if (eos_slot < slots) {
        complete_drop(d, eos_slot, tail);
    } else {
        leave_remaining(d, d->remaining_count, d->chosen_count, d->chosen_count, tail);
    }
}

/* ---- Rounds, blocks, the whole response ---- */

static void decode_block(struct decoder *d, uint32_t start, uint32_t end)
{
    d->remaining_count = 0;
    for (uint32_t position = start; position < end; position += d->k)
        d->remaining[d->remaining_count++] = position;
    while (d->remaining_count > 0) {
        count_branch_if(d, d->ended, REF_BRANCH_ROUND_AFTER_ENDED);
        plan(d);
        select_slots(d);
        size_t prefix = verify(d);
        if (!commit_prefix(d, prefix))
            complete(d);
        d->out->rounds++;
    }
}

static void decode_blocks(struct decoder *d)
{
    uint32_t block = d->settings->block;
    for (uint32_t start = 0; start < d->length && !d->ended; start += block) {
        uint32_t end = d->length - start < block ? d->length : start + block;
        count_branch_if(d, start > 0, REF_BRANCH_NEXT_BLOCK);
        count_branch_if(d, start > 0 && end - start < block, REF_BRANCH_SHORT_LAST_BLOCK);
        decode_block(d, start, end);
        count_branch_if(d, d->ended && end < d->length, REF_BRANCH_ENDED_BEFORE_LAST_BLOCK);
    }
    count_branch_if(d, !d->ended, REF_BRANCH_NEVER_ENDED);
    if (d->out->rounds > 0)
        d->out->reference_tokens_per_forward = d->figure_sum / d->out->rounds;
}

/* One token a forward. Where the next token opens a slot, a mask row behind the newest token predicts it. */
static void decode_left_to_right(struct decoder *d)
{
    const struct ref_settings *settings = d->settings;
    for (uint32_t i = 0; i < d->length && !d->ended; i++) {
        d->row_count = 0;
        uint32_t index = 0;
        if (i == 0) {
            for (size_t r = 0; r < settings->prompt_length; r++) {
                add_row(d, settings->prompt[r], (uint32_t)r, 0, index++);
            }
        } else {
            add_row(d, d->draft[i - 1], response_row_position(d, i - 1), 0, index++);
        }
        uint32_t kept = index;
        if (settings->has_mask && i % d->k == 0) {
            add_row(d, settings->mask_id, response_row_position(d, i), 0, index++);
        }
        d->rows[d->row_count - 1].wants_result = true;
        run_forward(d, REF_FORWARD_AR, 1, 0);
        d->draft[i] = d->results[d->row_count - 1].argmax;
        log_commit(d, i);
        commit_rows(d, 0, kept);
        d->ended = is_eos(d, d->draft[i]);
        d->out->rounds++;
    }
}

static int by_position(const void *a, const void *b)
{
    uint32_t left = ((const struct ref_commit *)a)->position,
             right = ((const struct ref_commit *)b)->position;
    return (left > right) - (left < right);
}

static void finish(struct decoder *d)
{
    struct ref_outcome *out = d->out;
    struct ref_commit *sorted = allocate(out->commit_count, sizeof *sorted);
    if (out->commit_count > 0)
        memcpy(sorted, out->commits, out->commit_count * sizeof *sorted);
    qsort(sorted, out->commit_count, sizeof *sorted, by_position);
    out->response_count = out->commit_count;
    out->response = allocate(out->response_count, sizeof *out->response);
    out->response_positions = allocate(out->response_count, sizeof *out->response_positions);
    out->shown = allocate(out->response_count, sizeof *out->shown);
    bool cut = false;
    for (size_t i = 0; i < out->response_count; i++) {
        out->response[i] = sorted[i].token;
        out->response_positions[i] = sorted[i].position;
        bool excess = sorted[i].position >= d->settings->max_tokens, eos = is_eos(d, sorted[i].token);
        count_branch_if(d, excess && !cut, REF_BRANCH_EXCESS_CUT);
        count_branch_if(d, excess && eos && !out->shown_eos, REF_BRANCH_EOS_IN_EXCESS);
        count_branch_if(d, out->shown_eos && !eos, REF_BRANCH_COMMITTED_BEHIND_EOS);
        count_branch_if(d, !cut && sorted[i].position > i && (i == 0 || sorted[i - 1].position == i - 1),
                        REF_BRANCH_HOLE_BEFORE_EOS);
        if (!cut && eos && !excess)
            out->shown_eos = true;
        cut = cut || eos || excess;
        if (!cut)
            out->shown[out->shown_count++] = sorted[i].token;
    }
    free(sorted);
    double tokens = (double)out->shown_count + (out->shown_eos ? 1.0 : 0.0);
    out->tokens_per_forward = out->forward_count > 0 ? tokens / (double)out->forward_count : 0.0;
}

static bool check_settings(const struct ref_settings *settings, struct ref_outcome *out, char *message)
{
    message[0] = '\0';
    uint32_t k = settings->slot_size;
    if (settings->prompt_length == 0) {
        snprintf(message, MESSAGE_SIZE, "the prompt is empty");
    } else if (k == 0 || settings->max_tokens == 0) {
        snprintf(message, MESSAGE_SIZE, "slot size %u and max tokens %u, at least 1 wanted", k,
                 settings->max_tokens);
    } else if (settings->mode == REF_MODE_AR) {
        return true;
    } else if (!settings->has_mask) {
        snprintf(message, MESSAGE_SIZE, "no mask token");
    } else if (settings->block == 0 || settings->block % k != 0) {
        snprintf(message, MESSAGE_SIZE, "block %u, a multiple of the slot size %u wanted", settings->block,
                 k);
    } else if (settings->mode == REF_MODE_REFERENCE &&
               (settings->max_tokens + k - 1) / k * k % settings->block != 0) {
        out->branches[REF_BRANCH_REFUSED_BLOCKS]++;
        snprintf(message, MESSAGE_SIZE, "max tokens %u, in whole slots a multiple of the block %u wanted",
                 settings->max_tokens, settings->block);
    }
    return message[0] == '\0';
}

bool ref_decode(const struct ref_settings *settings, const struct ref_network *network,
                struct ref_outcome *outcome, char *message)
{
    *outcome = (struct ref_outcome){0};
    if (!check_settings(settings, outcome, message))
        return false;
    uint32_t k = settings->slot_size, whole_slots = (settings->max_tokens + k - 1) / k * k;
    struct decoder d = {.settings = settings, .network = network, .out = outcome, .k = k};
    d.length = settings->mode == REF_MODE_AR ? settings->max_tokens : whole_slots;
    size_t max_rows = settings->prompt_length + whole_slots + 1;
    d.remaining = allocate(whole_slots / k, sizeof *d.remaining);
    d.chosen = allocate(whole_slots / k, sizeof *d.chosen);
    d.draft = allocate(whole_slots, sizeof *d.draft);
    d.probability = allocate(whole_slots, sizeof *d.probability);
    d.ok = allocate(whole_slots, sizeof *d.ok);
    d.tag = allocate(whole_slots, sizeof *d.tag);
    d.tag_before = allocate(whole_slots, sizeof *d.tag_before);
    d.refused = allocate(whole_slots, sizeof *d.refused);
    d.rows = allocate(max_rows, sizeof *d.rows);
    d.results = allocate(max_rows, sizeof *d.results);
    if (settings->mode == REF_MODE_AR) {
        decode_left_to_right(&d);
    } else {
        decode_blocks(&d);
    }
    finish(&d);
    free(d.remaining);
    free(d.chosen);
    free(d.draft);
    free(d.probability);
    free(d.ok);
    free(d.tag);
    free(d.tag_before);
    free(d.refused);
    free(d.rows);
    free(d.results);
    return true;
}

void ref_outcome_free(struct ref_outcome *outcome)
{
    free(outcome->response);
    free(outcome->response_positions);
    free(outcome->shown);
    free(outcome->commits);
    free(outcome->drops);
    free(outcome->forwards);
    free(outcome->rows_forwarded);
    *outcome = (struct ref_outcome){0};
}
