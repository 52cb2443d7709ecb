/* Prefill, sequential decoding and plan-and-infill from end to end. */
#include <string.h>

#include "engine/allocate.h"
#include "engine/bench/bench_internal.h"
#include "engine/decode/session.h"
#include "engine/model/forward_internal.h"

enum { PREFILL_REPEATS = 3 };

/* ---- Prefill ---------------------------------------------------------------------------------------- */

static enum rf_status prefill_once(struct rf_bench *b, uint32_t rows, struct bench_time *time,
                                   struct rf_error *err)
{
    struct bench_sequence *s = &b->measured;
    struct rf_row *laid = s->rows.host;
    enum rf_status status = RF_OK;
    for (uint32_t first = 0, count; !status && first < rows; first += count) {
        count = rows - first < RF_MAX_ROWS ? rows - first : RF_MAX_ROWS;
        for (uint32_t i = 0; i < count; i++)
            laid[i] =
                (struct rf_row){.token = (uint32_t)(rf_bench_random(&b->random) % b->model->config.vocab),
                                .position = first + i,
                                .kv_row = first + i,
                                .want = RF_NONE,
                                .result = first + i + 1 == rows ? 0 : RF_NONE};
        status = rf_bench_sequence_run(s, count, first + count, 0, b->timer, time, err);
    }
    return status;
}

enum rf_status rf_bench_prefill(struct rf_bench *b, struct rf_bench_forward *cell, struct rf_error *err)
{
    double wall[PREFILL_REPEATS], submit[PREFILL_REPEATS], device[PREFILL_REPEATS];
    struct bench_time time = {0};
    enum rf_status status = rf_bench_sequence_cover(&b->measured, cell->rows, b->kv_seed, err);
    if (!status)
        status = prefill_once(b, cell->rows, &time, err); /* records, warms up */
    double end = rf_bench_now() + b->cell_seconds;
    uint32_t count = 0;
    while (!status && count < PREFILL_REPEATS && (count == 0 || rf_bench_now() < end)) {
        time = (struct bench_time){0};
        status = prefill_once(b, cell->rows, &time, err);
        wall[count] = time.wall;
        submit[count] = time.submit;
        device[count++] = time.device;
    }
    if (!status)
        rf_bench_summarise(b, &(struct bench_samples){wall, submit, device, count}, &time, 1, cell);
    return status;
}

/* ---- Sessions --------------------------------------------------------------------------------------- */

/* Overwrites what a forward says of each row's probabilities (bench_script.comp). */
static enum rf_status record_script(struct rf_bench *b, uint32_t seed, double accept_rate,
                                    struct rf_cmd **cmd, struct rf_error *err)
{
    const struct forward_spans *s = &b->model->forward->spans;
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = "bench_script"};
    enum rf_status status = rf_kernels_get(b->gpu, &id, 1, &kernel, err);
    if (status)
        return status;
    const struct rf_push_bench_script push = {.counts = s->counts.address,
                                              .rows = s->rows.address,
                                              .outputs = s->outputs.address,
                                              .seqs = s->seqs.address,
                                              .seed = seed,
                                              .rate = (float)accept_rate};
    const struct rf_dispatch dispatch = {.kernel = kernel,
                                         .label = "script",
                                         .push = &push,
                                         .push_size = sizeof push,
                                         .groups = {1, 1, 1},
                                         .access_count = 5,
                                         .accesses = {{s->counts, RF_READ},
                                                      {s->rows, RF_READ},
                                                      {s->outputs, RF_READ},
                                                      {s->seqs, RF_READ},
                                                      {s->sessions, RF_READ_WRITE}}};
    status = rf_cmd_begin(cmd, b->gpu, "script", err);
    if (!status)
        status = rf_cmd_dispatch(*cmd, &dispatch, err);
    if (!status)
        status = rf_cmd_end(*cmd, err);
    return status;
}

/* One response from begin to end. */
static enum rf_status respond(rf_session *session, const uint32_t *prompt, uint32_t count, double *seconds,
                              struct rf_error *err)
{
    enum rf_status status = rf_session_begin(session, prompt, count, err);
    double start = rf_bench_now();
    while (!status && !rf_session_finished(session))
        status = rf_session_step(session, NULL, NULL, err);
    *seconds = rf_bench_now() - start;
    return status;
}

/* The first response fills the prompt's cache, records what is new and warms up; of the second, which begins
 * from the cached prompt, every forward is timed. */
static enum rf_status decode(rf_session *session, const uint32_t *prompt, struct rf_bench_decode *out,
                             struct rf_error *err)
{
    struct rf_session_stats stats;
    double seconds = 0.0;
    session->eos_count = 0; /* what random weights take for an end is none */
    enum rf_status status = respond(session, prompt, out->prompt, &seconds, err);
    if (status)
        return status;
    rf_session_get_stats(session, &stats);
    out->prefill_seconds = stats.prefill_seconds;
    status = respond(session, prompt, out->prompt, &seconds, err);
    if (status)
        return status;
    rf_session_get_stats(session, &stats);
    out->decode_seconds = seconds;
    out->tokens = stats.shown_tokens;
    out->rounds = stats.rounds;
    out->forwards = stats.forwards;
    out->rows = stats.rows;
    out->tokens_per_forward = stats.tokens_per_forward;
    return RF_OK;
}

enum rf_status rf_bench_run_decode(rf_bench *b, const struct rf_bench_decode_desc *desc,
                                   struct rf_bench_decode *out, struct rf_error *err)
{
    *out = (struct rf_bench_decode){.prompt = desc->prompt};
    if (desc->prompt < 1 || desc->prompt >= b->model->context_length)
        return rf_fail(err, RF_ERROR_ARGUMENT, "bench: prompt: found %u tokens, wanted 1 to %u", desc->prompt,
                       b->model->context_length - 1);
    if (desc->scripted && !(desc->accept_rate >= 0.0 && desc->accept_rate <= 1.0))
        return rf_fail(err, RF_ERROR_ARGUMENT, "bench: accept rate: found %g, wanted 0 to 1",
                       desc->accept_rate);
    uint32_t *prompt = rf_malloc(desc->prompt * sizeof *prompt);
    if (!prompt)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a prompt of %u tokens", desc->prompt);
    uint64_t random = b->decode_seed;
    for (uint32_t i = 0; i < desc->prompt; i++)
        prompt[i] = (uint32_t)(rf_bench_random(&random) % b->model->config.vocab);
    struct rf_cmd *script = NULL;
    rf_session *session = NULL;
    const struct rf_session_desc session_desc = {.settings = desc->settings};
    enum rf_status status = rf_session_create(&session, b->model, &session_desc, err);
    if (!status && desc->scripted)
        status = record_script(b, (uint32_t)rf_bench_random(&random), desc->accept_rate, &script, err);
    if (!status) {
        session->script = script;
        status = decode(session, prompt, out, err);
    }
    rf_session_destroy(session);
    rf_cmd_destroy(script);
    rf_free(prompt);
    return status;
}
