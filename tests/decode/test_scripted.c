/* The reference decoding on scripted networks: cases worked out by hand, and properties that must hold
 * over many random cases, each branch of the rules being taken often. RF_TEST_SEED=N repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/decode/scripted.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CASES = 10000, LEAST_HITS = 20, EOS = 9, MASK = 99 };

/* ---- Worked by hand --------------------------------------------------------------------------------- */

/* What one row answers: its argmax, and the probability of the argmax (even forwards) or of the wanted
 * token. */
struct answer {
    uint32_t argmax;
    float p;
};

struct table {
    const struct answer *answers; /* row by row, forward by forward */
    size_t count, next;
};

static void table_forward(void *user, const struct ref_row *rows, size_t row_count,
                          struct ref_result *results)
{
    struct table *table = user;
    (void)rows;
    for (size_t i = 0; i < row_count; i++, table->next++) {
        assert_true(table->next < table->count);
        const struct answer *answer = &table->answers[table->next];
        results[i] = (struct ref_result){.argmax = answer->argmax, .sum_exp = 1.0f / answer->p};
    }
}

static void run_table(const struct ref_settings *settings, const struct answer *answers, size_t count,
                      struct ref_outcome *out)
{
    char message[256];
    struct table table = {answers, count, 0};
    struct ref_network network = {&table, table_forward, NULL};
    assert_true(ref_decode(settings, &network, out, message));
}

static void assert_commits(const struct ref_outcome *out, const struct ref_commit *want, size_t count)
{
    assert_int_equal(out->commit_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(out->commits[i].position, want[i].position);
        assert_int_equal(out->commits[i].token, want[i].token);
        assert_int_equal(out->commits[i].round, want[i].round);
    }
}

static struct ref_settings hand_settings(enum ref_mode mode, uint32_t slot_size, uint32_t max_tokens)
{
    static const uint32_t prompt[] = {1};
    return (struct ref_settings){.prompt = prompt,
                                 .prompt_length = 1,
                                 .slot_size = slot_size,
                                 .max_tokens = max_tokens,
                                 .block = max_tokens,
                                 .slot_threshold = 0.5f,
                                 .token_threshold = 0.5f,
                                 .eos = {EOS},
                                 .eos_count = 1,
                                 .has_mask = true,
                                 .mask_id = MASK,
                                 .mode = mode};
}

/* Slots 2 and 3 of four are chosen, the second token of slot 2 is refused and becomes an eos in the first
 * turn. Slots 0 and 1 are still masked then: decoded by default; the original takes the eos slot's place
 * among the chosen (0) for its place in Remaining and drops them. */
static void test_eos_in_completion(void **state)
{
    // clang-format off
    static const struct answer answers[] = {
        {0, 1.0f}, /* PLAN: the prompt, which is not looked at */
        {30, 0.1f}, {31, 0.9f}, {32, 0.5f}, {33, 0.9f}, /* slots 0 and 1: below and at the threshold */
        {10, 0.9f}, {11, 0.9f}, {12, 0.9f}, {13, 0.9f}, /* slots 2 and 3 */
        {0, 0.1f}, {0, 0.9f}, {0, 0.9f}, {0, 0.9f}, /* VERIFY: 11 is refused */
        {40, 0.9f}, {EOS, 0.9f}, {41, 0.9f}, {42, 0.9f}, /* only the second is masked */
        {0, 0.9f}, {0, 0.9f}, {0, 0.9f}, {0, 0.9f},
        {20, 0.9f}, {21, 0.9f}, {22, 0.9f}, {23, 0.9f}, /* round 1, default only: slots 0 and 1 */
        {0, 0.9f}, {0, 0.9f}, {0, 0.9f}, {0, 0.9f},
    };
    // clang-format on
    static const struct ref_commit commits[] = {{4, 10, 0}, {5, EOS, 0}, {0, 20, 1},
                                                {1, 21, 1}, {2, 22, 1},  {3, 23, 1}};
    struct ref_outcome out;
    (void)state;
    struct ref_settings settings = hand_settings(REF_MODE_DEFAULT, 2, 8);
    run_table(&settings, answers, sizeof answers / sizeof *answers, &out);
    assert_commits(&out, commits, 6);
    assert_int_equal(out.rounds, 2);
    assert_int_equal(out.turns, 1);
    assert_int_equal(out.forward_count, 6);
    assert_int_equal(out.row_count, 9 + 4 + 4 + 4 + 4 + 4);
    assert_int_equal(out.forwards[4].committed, 3);
    assert_int_equal(out.shown_count, 5);
    assert_int_equal(out.drop_count, 2);
    assert_int_equal(out.drops[0].position, 6);
    assert_float_equal(out.tokens_per_forward, 1.0, 1e-12);
    ref_outcome_free(&out);

    settings.mode = REF_MODE_REFERENCE;
    run_table(&settings, answers, sizeof answers / sizeof *answers, &out);
    assert_commits(&out, commits, 2);
    assert_int_equal(out.forward_count, 4);
    assert_int_equal(out.drop_count, 6);
    assert_float_equal(out.reference_tokens_per_forward, 2.0 * 2.0 / 4.0, 1e-12);
    ref_outcome_free(&out);
}

/* The eos of the first slot tags what is refused behind it and cuts the second slot, which is not done: there
 * is no second turn. */
static void test_eos_ends_turns(void **state)
{
    // clang-format off
    static const struct answer answers[] = {
        {0, 1.0f}, {10, 0.9f}, {11, 0.9f}, {12, 0.9f}, {13, 0.9f}, {14, 0.9f}, {15, 0.9f}, /* PLAN */
        {0, 0.1f}, {0, 0.9f}, {0, 0.9f}, {0, 0.1f}, {0, 0.9f}, {0, 0.9f}, /* VERIFY: 11 and 14 are refused */
        {20, 0.9f}, {EOS, 0.9f}, {21, 0.9f}, {22, 0.9f}, {23, 0.9f}, {24, 0.9f},
        {0, 0.1f}, {0, 0.1f}, {0, 0.9f}, {0, 0.1f}, {0, 0.1f}, {0, 0.9f}, /* EOS and 23 by force, 21 and 24 not */
    };
    // clang-format on
    static const struct ref_commit commits[] = {{0, 10, 0}, {1, EOS, 0}};
    struct ref_outcome out;
    (void)state;
    struct ref_settings settings = hand_settings(REF_MODE_DEFAULT, 3, 6);
    run_table(&settings, answers, sizeof answers / sizeof *answers, &out);
    assert_commits(&out, commits, 2);
    assert_int_equal(out.turns, 1);
    assert_int_equal(out.drop_count, 4);
    assert_float_equal(out.reference_tokens_per_forward, 3.0 * 2.0 / 4.0, 1e-12);
    ref_outcome_free(&out);
}

/* Slots 1, 2 and 3 of four are chosen; the prefix reaches into slot 3 and has an eos as second token of
 * slot 2: slot 1 and the start of slot 2 are committed, slot 3 is dropped, slot 0 is decoded in the next
 * round. */
static void test_eos_in_prefix(void **state)
{
    // clang-format off
    static const struct answer answers[] = {
        {0, 1.0f}, /* the prompt */
        {30, 0.1f}, {31, 0.9f}, {32, 0.9f}, /* slot 0 */
        {10, 0.9f}, {11, 0.9f}, {12, 0.9f}, {13, 0.9f}, {EOS, 0.9f}, {15, 0.9f}, /* slots 1 to 3 */
        {16, 0.9f}, {17, 0.9f}, {18, 0.9f},
        {0, 0.9f}, {0, 0.9f}, {0, 0.1f}, /* VERIFY */
        {0, 0.9f}, {0, 0.9f}, {0, 0.1f},
        {0, 0.1f}, {0, 0.1f}, {0, 0.1f},
        {20, 0.1f}, {21, 0.9f}, {22, 0.9f}, /* round 1: slot 0, the best though below the threshold */
        {0, 0.9f}, {0, 0.9f}, {0, 0.9f},
    };
    // clang-format on
    static const struct ref_commit commits[] = {{3, 10, 0},  {4, 11, 0}, {5, 12, 0}, {6, 13, 0},
                                                {7, EOS, 0}, {0, 20, 1}, {1, 21, 1}, {2, 22, 1}};
    struct ref_outcome out;
    (void)state;
    struct ref_settings settings = hand_settings(REF_MODE_DEFAULT, 3, 12);
    run_table(&settings, answers, sizeof answers / sizeof *answers, &out);
    assert_commits(&out, commits, 8);
    assert_int_equal(out.forward_count, 4);
    assert_int_equal(out.shown_count, 7);
    assert_int_equal(out.drop_count, 4);
    assert_int_equal(out.drops[0].position, 8);
    assert_float_equal(out.reference_tokens_per_forward, (3.0 * 2.0 / 2.0 + 3.0 / 2.0) / 2.0, 1e-12);
    ref_outcome_free(&out);
}

/* One slot of four, two tokens tagged by VERIFY. Turn 1 gains the forced one, and the last agreed row is
 * computed again in turn 2, which gains the last token. */
static void test_turns(void **state)
{
    // clang-format off
    static const struct answer answers[] = {
        {0, 1.0f}, /* the prompt */
        {10, 0.9f}, {11, 0.9f}, {12, 0.9f}, {13, 0.9f}, /* PLAN */
        {0, 0.9f}, {0, 0.5f}, {0, 0.9f}, {0, 0.9f}, /* VERIFY: 12, at the threshold, is refused */
        {0, 0.9f}, {0, 0.9f}, {22, 0.9f}, {23, 0.9f}, /* turn 1: masks in the last two rows */
        {0, 0.1f}, {0, 0.1f}, {0, 0.1f}, {0, 0.9f}, /* 23 is refused */
        {0, 0.9f}, {33, 0.9f}, /* turn 2 */
        {0, 0.1f}, {0, 0.9f},
    };
    // clang-format on
    static const struct ref_commit commits[] = {{0, 10, 0}, {1, 11, 0}, {2, 22, 0}, {3, 33, 0}};
    static const uint32_t predicted[] = {10, 11, MASK, MASK, 22, MASK};
    struct ref_outcome out;
    (void)state;
    struct ref_settings settings = hand_settings(REF_MODE_DEFAULT, 4, 4);
    run_table(&settings, answers, sizeof answers / sizeof *answers, &out);
    assert_commits(&out, commits, 4);
    assert_int_equal(out.turns, 2);
    assert_int_equal(out.forward_count, 6);
    assert_int_equal(out.row_count, 5 + 4 + 4 + 4 + 2 + 2);
    assert_int_equal(out.forwards[4].reused, 2);
    for (size_t i = 0; i < 6; i++) {
        size_t row = i < 4 ? out.forwards[2].first_row + i : out.forwards[4].first_row + i - 4;
        assert_int_equal(out.rows_forwarded[row].token, predicted[i]);
        assert_int_equal(out.rows_forwarded[row].index, i < 4 ? i : i - 2);
        assert_int_equal(out.rows_forwarded[row].committed, 1);
    }
    ref_outcome_free(&out);
}

/* Left to right, with and without a mask token: the mask row stands behind the newest token where a slot
 * opens. */
static void test_left_to_right(void **state)
{
    static const struct answer answers[] = {{1, 0.9f}, {10, 0.9f}, {11, 0.9f},
                                            {2, 0.9f}, {12, 0.9f}, {EOS, 0.9f}};
    static const struct answer plain[] = {{10, 0.9f}, {11, 0.9f}, {12, 0.9f}};
    static const struct ref_commit commits[] = {{0, 10, 0}, {1, 11, 1}, {2, 12, 2}, {3, EOS, 3}};
    struct ref_outcome out;
    (void)state;
    struct ref_settings settings = hand_settings(REF_MODE_AR, 2, 7);
    run_table(&settings, answers, sizeof answers / sizeof *answers, &out);
    assert_commits(&out, commits, 4);
    assert_int_equal(out.forward_count, 4);
    assert_int_equal(out.row_count, 6);
    assert_int_equal(out.shown_count, 3);
    assert_int_equal(out.rows_forwarded[4].token, MASK);
    assert_int_equal(out.rows_forwarded[4].position, 3);
    ref_outcome_free(&out);

    settings.has_mask = false;
    settings.max_tokens = 3;
    run_table(&settings, plain, sizeof plain / sizeof *plain, &out);
    assert_commits(&out, commits, 3);
    assert_int_equal(out.row_count, 3);
    assert_false(out.shown_eos);
    ref_outcome_free(&out);
}

static void test_refusals(void **state)
{
    struct ref_outcome out;
    char message[256];
    (void)state;
    for (int i = 0; i < 7; i++) {
        struct ref_settings settings = hand_settings(REF_MODE_REFERENCE, 4, 16);
        if (i == 0)
            settings.prompt_length = 0;
        if (i == 1)
            settings.slot_size = 0;
        if (i == 2)
            settings.max_tokens = 0;
        if (i == 3)
            settings.block = 0;
        if (i == 4)
            settings.block = 6;
        if (i == 5)
            settings.block = 12;
        if (i == 6)
            settings.has_mask = false;
        assert_false(ref_decode(&settings, NULL, &out, message));
        assert_int_not_equal(message[0], '\0');
    }
}

/* ---- Properties of random cases --------------------------------------------------------------------- */

static uint64_t base_seed;

#define CHECK(script, condition)                                                                             \
    do {                                                                                                     \
        char text[256];                                                                                      \
        if (!(condition))                                                                                    \
            fail_msg("%s: %s", ref_case_describe(script, text, sizeof text), #condition);                    \
    } while (0)

/* Each response position of the blocks that were begun is committed or dropped, and once. */
static void check_positions(const struct ref_case *script, const struct ref_outcome *out)
{
    const struct ref_settings *settings = &script->settings;
    uint32_t k = settings->slot_size, length = (settings->max_tokens + k - 1) / k * k;
    unsigned char fate[REF_CASE_MAX_RESPONSE] = {0};
    CHECK(script, length <= REF_CASE_MAX_RESPONSE);
    for (size_t i = 0; i < out->commit_count; i++) {
        CHECK(script, out->commits[i].position < length && fate[out->commits[i].position]++ == 0);
    }
    for (size_t i = 0; i < out->drop_count; i++) {
        CHECK(script, out->drops[i].position < length && fate[out->drops[i].position]++ == 0);
    }
    uint32_t settled = 0, earliest_eos = length;
    for (uint32_t position = 0; position < length; position++)
        settled += fate[position];
    CHECK(script, settled == length || settled % settings->block == 0);
    for (uint32_t position = 0; position < settled; position++)
        CHECK(script, fate[position] == 1);
    for (size_t i = out->commit_count; i-- > 0;) {
        for (size_t e = 0; e < settings->eos_count; e++) {
            bool eos = out->commits[i].token == settings->eos[e] && out->commits[i].position < earliest_eos;
            if (eos)
                earliest_eos = out->commits[i].position;
        }
    }
    if (settings->mode == REF_MODE_REFERENCE)
        return;
    CHECK(script,
          out->shown_count == (earliest_eos < settings->max_tokens ? earliest_eos : settings->max_tokens));
    CHECK(script, settled == length || earliest_eos < length);
    for (size_t i = 0; i < out->shown_count; i++)
        CHECK(script, out->response_positions[i] == i);
}

/* Forwards and rows are what the rounds and turns say, and each row sees what was committed before it. */
static void check_forwards(const struct ref_case *script, const struct ref_outcome *out)
{
    const struct ref_settings *settings = &script->settings;
    CHECK(script, out->forward_count == 2 * (size_t)out->rounds + 2 * (size_t)out->turns);
    CHECK(script, out->turns <= out->rounds * (settings->slot_size - 1));
    size_t rows = 0, commits = 0;
    for (size_t f = 0; f < out->forward_count; f++) {
        const struct ref_forward *forward = &out->forwards[f];
        while (commits < out->commit_count && out->commits[commits].round < forward->round)
            commits++;
        CHECK(script, forward->first_row == rows);
        CHECK(script, forward->kind != REF_FORWARD_COMPLETE_PREDICT || forward->reused == 0 ||
                          forward->reused > forward[-1].reused);
        CHECK(script, forward->committed == (f == 0 ? 0 : settings->prompt_length + commits));
        CHECK(script, (f % 2 == 0) == (forward->kind == REF_FORWARD_PLAN ||
                                       forward->kind == REF_FORWARD_COMPLETE_PREDICT));
        for (size_t i = 0; i < forward->row_count; i++) {
            const struct ref_row *row = &out->rows_forwarded[rows + i], *before = row - 1;
            bool same = i > 0 && before->segment == row->segment;
            CHECK(script, row->segment < forward->segments && row->committed == forward->committed);
            CHECK(script, row->index == (same ? before->index + 1 : forward->reused));
            CHECK(script, i == 0 || row->position > before->position);
        }
        rows += forward->row_count;
    }
    CHECK(script, rows == out->row_count);
}

static bool far_or_exact(float p, float threshold)
{
    return fabsf(p - threshold) >= 1e-3f || p == threshold;
}

/* The results that a forward of the outcome was given do not hang on how exp and division round. */
static void check_margins(const struct ref_case *script, const struct ref_outcome *out)
{
    for (size_t f = 0; f < out->forward_count; f++) {
        for (size_t i = 0; i < out->forwards[f].row_count; i++) {
            struct ref_result r = ref_case_result(script, f, i);
            float p = ref_probability(r.max_logit, r.max_logit, r.sum_exp);
            float want = ref_probability(r.want_logit, r.max_logit, r.sum_exp);
            CHECK(script, r.argmax < script->vocab);
            CHECK(script, f % 2 == 1 || far_or_exact(p, script->settings.slot_threshold));
            CHECK(script, f % 2 == 0 || far_or_exact(want, script->settings.token_threshold));
        }
    }
}

static void test_random_cases(void **state)
{
    uint64_t branches[REF_BRANCH_COUNT] = {0}, refused = 0, rounds = 0, rows = 0;
    (void)state;
    for (uint64_t i = 0; i < CASES; i++) {
        struct ref_case script;
        struct ref_outcome out;
        char message[256];
        ref_case_generate(&script, base_seed + i);
        bool accepted = ref_case_run(&script, &out, message);
        for (size_t b = 0; b < REF_BRANCH_COUNT; b++)
            branches[b] += out.branches[b] > 0;
        if (!accepted) {
            CHECK(&script, script.settings.mode == REF_MODE_REFERENCE);
            refused++;
            continue;
        }
        check_positions(&script, &out);
        check_forwards(&script, &out);
        check_margins(&script, &out);
        rounds += out.rounds;
        rows += out.row_count;
        ref_outcome_free(&out);
    }
    print_message("%d cases, %llu refused, %llu rounds, %llu rows\n", CASES, (unsigned long long)refused,
                  (unsigned long long)rounds, (unsigned long long)rows);
    size_t rare = 0;
    for (size_t b = 0; b < REF_BRANCH_COUNT; b++) {
        const char *name = ref_branch_name((enum ref_branch)b);
        print_message("%6llu cases  %s\n", (unsigned long long)branches[b], name);
        rare += branches[b] < LEAST_HITS;
    }
    assert_int_equal(rare, 0);
}

/* The same seed gives the same case and the same results. */
static void test_repeatable(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        struct ref_case a, b;
        ref_case_generate(&a, base_seed + i);
        ref_case_generate(&b, base_seed + i);
        for (size_t forward = 0; forward < 8; forward++) {
            struct ref_result x = ref_case_result(&a, forward, i), y = ref_case_result(&b, forward, i);
            assert_memory_equal(&x, &y, sizeof x);
        }
        a.settings.prompt = b.settings.prompt;
        assert_memory_equal(&a, &b, sizeof a);
    }
}

int main(void)
{
    const char *seed = getenv("RF_TEST_SEED");
    base_seed = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
    print_message("RF_TEST_SEED=%llu\n", (unsigned long long)base_seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eos_in_completion), cmocka_unit_test(test_eos_ends_turns),
        cmocka_unit_test(test_eos_in_prefix),     cmocka_unit_test(test_turns),
        cmocka_unit_test(test_left_to_right),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_repeatable),        cmocka_unit_test(test_random_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
