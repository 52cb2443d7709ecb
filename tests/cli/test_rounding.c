/* Where the fp16 path gives other tokens than the original program, the original's own margin must be below
 * the path's error. decode_wild.jsonl line 3 (from 0) is such a case: in the fourth turn of its first
 * COMPLETE the second slot's sixth row is a mask whose two best tokens are 0.0048 apart. That row's forward,
 * which sees the prompt and the five rows of its slot before it, is repeated here and compared with the f64
 * network. parity.py excuses the line on the fp16 path because of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/decode/engine.h"
#include "tests/reference/ref_model.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE = 3, SLOT = 8 /* where the second slot begins */, BEST = 345, SECOND = 451, MOST_ROWS = 128 };

/* Tokens of the slot before the row, as the turns before had settled them: the golden output's own. */
enum { SETTLED = 5 };

struct sequence {
    uint32_t tokens[MOST_ROWS], positions[MOST_ROWS], count;
};

static void add_row(struct sequence *sequence, uint32_t token, uint32_t position)
{
    assert_true(sequence->count < MOST_ROWS);
    sequence->tokens[sequence->count] = token;
    sequence->positions[sequence->count++] = position;
}

static struct sequence read_sequence(void)
{
    FILE *file = fopen(RF_SOURCE_DIR "/tests/golden/decode_wild.jsonl", "rb");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0;
    for (int i = 0; i <= LINE; i++)
        assert_true(getline(&line, &room, file) > 0);
    fclose(file);
    cJSON *golden = cJSON_Parse(line);
    free(line);
    assert_non_null(golden);
    struct sequence sequence = {.count = 0};
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "prompt_ids"))
        add_row(&sequence, (uint32_t)item->valuedouble, sequence.count);
    uint32_t first = sequence.count + SLOT;
    const cJSON *output = cJSON_GetObjectItem(golden, "output_ids");
    for (uint32_t i = 0; i < SETTLED; i++)
        add_row(&sequence, (uint32_t)cJSON_GetArrayItem(output, (int)(SLOT + i))->valuedouble, first + i);
    add_row(&sequence, engine.model->config.mask_token_id, first + SETTLED);
    cJSON_Delete(golden);
    return sequence;
}

/* Logits [vocab] of the last row, from the device. */
static void device_logits(const struct sequence *sequence, float *logits)
{
    rf_session *session = NULL;
    require_ok(rf_session_create(&session, engine.model, NULL, err));
    require_ok(
        rf_session_begin(session, sequence->tokens, 1, err)); /* fills in its entry of the sequence table */
    struct rf_forward *forward = engine.model->forward;
    require_ok(rf_session_cover(session, 0, sequence->count, err));
    struct rf_row *rows = session->memory.rows.host;
    for (uint32_t i = 0; i < sequence->count; i++)
        rows[i] = (struct rf_row){.token = sequence->tokens[i],
                                  .position = sequence->positions[i],
                                  .kv_row = i,
                                  .want = RF_NONE,
                                  .result = i + 1 == sequence->count ? 0 : RF_NONE};
    *rf_forward_work(forward, 0) =
        (struct rf_work){.piece_count = 1, .pieces = {{session->seq, 0, sequence->count}}};
    struct rf_forward_cmds cmds;
    uint64_t ticket;
    require_ok(engine_get_forward(engine.model, sequence->count, RF_FORWARD_LOGITS, &cmds, err));
    require_ok(rf_gpu_submit(engine.model->gpu, cmds.items, cmds.count, &ticket, err));
    require_ok(rf_gpu_wait(engine.model->gpu, ticket, err));
    uint64_t bytes = (uint64_t)engine.model->config.vocab * sizeof *logits;
    require_ok(rf_gpu_read(engine.model->gpu, rf_forward_logits(forward), logits, bytes, err));
    rf_session_destroy(session);
}

static void reference_logits(const struct sequence *sequence, double *logits)
{
    struct ref_model *model;
    require_ok(ref_model_load(&model, RF_SOURCE_DIR "/tests/golden/tiny", err));
    struct ref_session *session = ref_session_create(model, MOST_ROWS, 8);
    struct ref_row rows[MOST_ROWS] = {{0}};
    for (uint32_t i = 0; i < sequence->count; i++)
        rows[i] = (struct ref_row){.token = sequence->tokens[i],
                                   .position = sequence->positions[i],
                                   .index = i,
                                   .wants_result = i + 1 == sequence->count};
    ref_session_logits(session, rows, sequence->count, logits);
    ref_session_free(session);
    ref_model_free(model);
}

static void the_originals_margin_is_below_the_error(void **state)
{
    (void)state;
    uint32_t vocab = engine.model->config.vocab;
    struct sequence sequence = read_sequence();
    double *want = malloc(vocab * sizeof *want);
    float *have = malloc(vocab * sizeof *have);
    assert_true(want && have);
    reference_logits(&sequence, want);
    device_logits(&sequence, have);
    double largest = 0, squares = 0, wanted = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        squares += (have[i] - want[i]) * (have[i] - want[i]);
        wanted += want[i] * want[i];
        largest = fmax(largest, fabs(have[i] - want[i]));
        /* The two are the best and the second of the original. */
        assert_true(i == BEST || want[i] < want[BEST]);
        assert_true(i == BEST || i == SECOND || want[i] < want[SECOND]);
    }
    double margin = want[BEST] - want[SECOND], moved = margin - ((double)have[BEST] - (double)have[SECOND]);
    printf("margin %.5f; largest error of a logit %.5f, the margin moved by %.5f\n", margin, largest, moved);
    /* Two logits that are each off by up to `largest` can change places when the margin is below twice that; and the
     * error must be one that this path may have at all. */
    assert_true(sqrt(squares / wanted) < (engine.model->fp16 ? 2e-3 : 1e-5));
    if (engine.model->fp16)
        assert_true(margin < 2.0 * largest);
    else
        assert_true(largest < margin / 100);
    free(want);
    free(have);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_originals_margin_is_below_the_error)};
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}
