/* Forwards of fresh rows: what they must do at least, whether their results are right, how long they take. */
#include "engine/allocate.h"
#include "engine/bench/bench_internal.h"
#include "engine/model/tune.h"

#include <math.h>
#include <stdio.h>

enum {
    LEAST_REPEATS = 3,
    MOST_REPEATS = 25,
    MOST_RAISES = 3,
    POISON = 0x7fc0dead /* a NaN as f32, no token as a number */
};

/* Root mean square differences over the rows' logits, as parts of the distance from the largest logit to an
 * average one, which is some 4 standard deviations of them. f32 sums in another order; f16 inputs (4.9e-4
 * each, a random walk over up to 36 layers); int8 inputs (5e-3 each). A single row may be off by
 * ROW_TOLERANCE times that. */
static const double TOLERANCE_F32 = 1e-4, TOLERANCE_F16 = 1e-2, TOLERANCE_INT8 = 1e-1, ROW_TOLERANCE = 5.0;
static const double WARM_UP = 0.05; /* of the time for a cell */

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* ---- What a forward must do ------------------------------------------------------------------------- */

/* Bytes of a matrix without the padding of its chunks. */
static uint64_t matrix_bytes(const struct rf_matrix *matrix)
{
    uint64_t bytes = 0;
    for (uint32_t c = 0; c < matrix->chunk_count; c++)
        bytes += rf_chunk_bytes(&matrix->chunks[c]);
    return bytes;
}

static uint64_t products(const struct rf_matrix *matrix)
{
    return (uint64_t)matrix->columns * matrix->k;
}

/* Each weight and each KV row once; two operations a product; attention's two products a key and head. */
static void count_work(const struct rf_bench *b, const struct rf_bench_forward *cell, uint32_t outputs,
                       uint64_t *bytes, uint64_t *flops)
{
    const struct rf_weights *w = &b->model->weights;
    const struct rf_model_config *c = &b->model->config;
    uint64_t keys = (uint64_t)cell->rows * cell->cache + (uint64_t)cell->rows * (cell->rows + 1) / 2;
    *bytes = matrix_bytes(&w->lm_head) + matrix_bytes(&w->embed) / c->vocab * cell->rows;
    *flops = 2 * products(&w->lm_head) * outputs;
    for (uint32_t l = 0; l < w->layer_count; l++) {
        const struct rf_layer_weights *layer = &w->layers[l];
        const struct rf_matrix *const matrices[] = {&layer->qkv, &layer->o, &layer->gate_up, &layer->down};
        for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
            *bytes += matrix_bytes(matrices[i]);
            *flops += 2 * products(matrices[i]) * cell->rows;
        }
        *bytes += layer->input_norm.size + layer->post_attention_norm.size;
    }
    uint64_t element = b->model->fp16 ? 2 : 4;
    *bytes += 2 * (uint64_t)c->layers * c->kv_heads * c->head_dim * element * (cell->cache + cell->rows);
    *flops += 4 * (uint64_t)c->layers * c->heads * c->head_dim * keys;
}

double rf_bench_floor(const rf_bench *b, uint64_t bytes, uint64_t flops)
{
    const struct rf_bench_ceilings *c = &b->ceilings;
    double read = larger(c->read_gb_per_second, c->read_model_gb_per_second) * 1e9;
    double math =
        larger(larger(c->f32_tflops, c->f16_tflops), larger(c->int8_tops, c->coopmat_tflops)) * 1e12;
    return larger((double)bytes / read, (double)flops / math);
}

/* ---- Rows and their results ------------------------------------------------------------------------- */

/* Fresh random rows: one segment behind `cache` committed rows, as VERIFY forwards it, each asking for a
 * random token's probability. */
static void lay_rows(struct rf_bench *b, struct rf_row *rows, const struct rf_bench_forward *cell,
                     uint64_t seed)
{
    uint32_t vocab = b->model->config.vocab;
    for (uint32_t i = 0; i < cell->rows; i++)
        rows[i] = (struct rf_row){.token = (uint32_t)(rf_bench_random(&seed) % vocab),
                                  .position = cell->cache + i,
                                  .kv_row = cell->cache + i,
                                  .ctx_rows = cell->cache,
                                  .seg_first = cell->cache,
                                  .want = (uint32_t)(rf_bench_random(&seed) % vocab),
                                  .result = i};
}

static enum rf_status run_rows(struct rf_bench *b, struct bench_sequence *s,
                               const struct rf_bench_forward *cell, uint64_t seed, uint32_t flags,
                               struct bench_time *time, struct rf_result *results, struct rf_error *err)
{
    *time = (struct bench_time){0};
    lay_rows(b, s->rows.host, cell, seed);
    enum rf_status status = rf_gpu_fill(b->gpu, s->results, POISON, err);
    if (!status)
        status = rf_bench_sequence_run(s, cell->rows, cell->cache + cell->rows, flags,
                                       s == &b->measured ? b->timer : NULL, time, err);
    if (!status)
        status = rf_gpu_read(b->gpu, s->results, results, cell->rows * sizeof *results, err);
    for (uint32_t i = 0; !status && i < cell->rows; i++)
        if (!isfinite(results[i].max) || !isfinite(results[i].sum) || !(results[i].want_p >= 0.0f) ||
            results[i].token >= b->model->config.vocab)
            status = rf_fail(
                err, RF_ERROR_INTERNAL,
                "bench: rows %u, cache %u: row %u has no finite result (token %u, max %g, sum %g)",
                cell->rows, cell->cache, i, results[i].token, (double)results[i].max, (double)results[i].sum);
    return status;
}

/* The three numbers that a row's result is made of: largest logit, logarithm of the sum of exponentials, the
 * wanted token's logit (NaN when its probability is too small for f32 to tell). */
static void row_numbers(const struct rf_result *r, double out[3])
{
    out[0] = r->max;
    out[1] = r->max + log(r->sum);
    out[2] = r->want_p > 1e-30f ? out[1] + log(r->want_p) : NAN;
}

/* Relative difference of two forwards of the same rows; *worst is that of the worst row. */
static double difference(const struct rf_result *have, const struct rf_result *want, uint32_t rows,
                         double *worst)
{
    double sum = 0.0, most = 0.0, spread = 0.0;
    for (uint32_t i = 0; i < rows; i++) {
        double h[3], w[3], row = 0.0;
        row_numbers(&have[i], h);
        row_numbers(&want[i], w);
        int numbers = isnan(h[2]) || isnan(w[2]) ? 2 : 3;
        for (int n = 0; n < numbers; n++)
            row += (h[n] - w[n]) * (h[n] - w[n]) / numbers;
        sum += row;
        most = row > most ? row : most;
        spread += numbers == 3 ? (w[0] - w[2]) * (w[0] - w[2]) : 1.0;
    }
    spread = spread > 0.25 * rows ? spread : 0.25 * rows; /* a row may have asked for its own best token */
    *worst = sqrt(most / (spread / rows));
    return sqrt(sum / spread);
}

static enum rf_status compare(const struct rf_bench *b, const struct rf_bench_forward *cell, const char *what,
                              const struct rf_result *have, const struct rf_result *want, double *error,
                              struct rf_error *err)
{
    double worst, tolerance = b->model->int8   ? TOLERANCE_INT8
                              : b->model->fp16 ? TOLERANCE_F16
                                               : TOLERANCE_F32;
    *error = difference(have, want, cell->rows, &worst);
    if (*error <= tolerance && worst <= ROW_TOLERANCE * tolerance) /* so that NaN fails */
        return RF_OK;
    return rf_fail(
        err, RF_ERROR_INTERNAL,
        "bench: rows %u, cache %u: wrong results: they differ from %s by %.2g (tolerance %.0e), in the "
        "worst row by %.2g (%.0e)",
        cell->rows, cell->cache, what, *error, tolerance, worst, ROW_TOLERANCE * tolerance);
}

/* ---- Forwards --------------------------------------------------------------------------------------- */

/* By the layers' own matmuls; lm_head may take fewer rows at once. */
static void write_path(const struct rf_bench *b, struct rf_bench_forward *cell)
{
    enum rf_weight_format format = b->model->weights.layers[0].qkv.chunks[0].format;
    struct rf_matmul_shape shape =
        rf_tune_shape(b->model->forward, format, 1u << rf_bench_bucket(cell->rows));
    snprintf(cell->path, sizeof cell->path, "%s %s %u", rf_matmul_path(b->model->forward, format),
             rf_matmul_kind_name(shape.kind), shape.rows);
}

void rf_bench_summarise(const struct rf_bench *b, const struct bench_samples *samples,
                        const struct bench_time *time, uint32_t outputs, struct rf_bench_forward *cell)
{
    cell->repeats = samples->count;
    cell->seconds = rf_bench_median(samples->wall, samples->count);
    cell->fastest = samples->wall[0];
    cell->slowest = samples->wall[samples->count - 1];
    cell->device_seconds = rf_bench_median(samples->device, samples->count);
    cell->submit_seconds = rf_bench_median(samples->submit, samples->count);
    cell->submissions = time->submissions;
    cell->dispatches = time->dispatches;
    cell->barriers = time->barriers;
    count_work(b, cell, outputs, &cell->bytes, &cell->flops);
    cell->floor_seconds = rf_bench_floor(b, cell->bytes, cell->flops);
    write_path(b, cell);
}

/* Checks first_seed's rows against the reference (which warms up), then times fresh rows, then runs
 * first_seed's again: whatever the repeats have left behind must not be seen. results: 3 times [cell->rows].
 * */
static enum rf_status measure(struct rf_bench *b, struct rf_bench_forward *cell, struct rf_result *results,
                              struct rf_error *err)
{
    double wall[MOST_REPEATS], submit[MOST_REPEATS], device[MOST_REPEATS];
    struct bench_samples samples = {wall, submit, device, 0};
    struct rf_result *first = results, *reference = results + RF_MAX_ROWS, *now = results + 2 * RF_MAX_ROWS;
    struct bench_time time;
    double again;
    uint64_t first_seed = rf_bench_random(&b->random);
    enum rf_status status = run_rows(b, &b->reference, cell, first_seed,
                                     b->model->fp16 ? 0 : RF_FORWARD_DETERMINISTIC, &time, reference, err);
    if (!status)
        status = run_rows(b, &b->measured, cell, first_seed, 0, &time, first, err);
    if (!status)
        status = compare(b, cell, "the portable path", first, reference, &cell->error, err);
    double end = rf_bench_now() + WARM_UP * b->cell_seconds;
    do {
        if (!status)
            status = run_rows(b, &b->measured, cell, rf_bench_random(&b->random), 0, &time, now, err);
    } while (!status && rf_bench_now() < end);
    end = rf_bench_now() + b->cell_seconds;
    while (!status && samples.count < MOST_REPEATS &&
           (samples.count < LEAST_REPEATS || rf_bench_now() < end)) {
        status = run_rows(b, &b->measured, cell, rf_bench_random(&b->random), 0, &time, now, err);
        wall[samples.count] = time.wall;
        submit[samples.count] = time.submit;
        device[samples.count++] = time.device;
    }
    if (!status)
        status = run_rows(b, &b->measured, cell, first_seed, 0, &time, now, err);
    if (!status)
        status = compare(b, cell, "the same rows' before the repeats", now, first, &again, err);
    if (!status)
        rf_bench_summarise(b, &samples, &time, cell->rows, cell);
    return status;
}

double rf_bench_shortest(const struct rf_bench_forward *cell)
{
    bool device = cell->device_seconds > 0.0 && cell->device_seconds < cell->seconds;
    return device ? cell->device_seconds : cell->seconds;
}

/* What seems faster than its floor may have met a ceiling that was measured while the machine was busy: they
 * are measured anew, and only what is faster than those too is left as it is. */
static enum rf_status check_floor(struct rf_bench *b, struct rf_bench_forward *cell, struct rf_error *err)
{
    struct rf_bench_ceilings raised;
    enum rf_status status = RF_OK;
    for (int i = 0; !status && i < MOST_RAISES && rf_bench_shortest(cell) < cell->floor_seconds; i++) {
        status = rf_bench_run_ceilings(b, &raised, err);
        cell->floor_seconds = rf_bench_floor(b, cell->bytes, cell->flops);
    }
    return status;
}

static enum rf_status check_cell(const struct rf_bench *b, uint32_t rows, uint32_t cache,
                                 struct rf_error *err)
{
    if (!b->has_ceilings)
        return rf_fail(err, RF_ERROR_ARGUMENT, "bench: ceilings are to be measured first");
    if (rows < 1 || rows > RF_MAX_ROWS)
        return rf_fail(err, RF_ERROR_ARGUMENT, "bench: rows: found %u, wanted 1 to %u", rows,
                       (unsigned)RF_MAX_ROWS);
    if ((uint64_t)rows + cache > b->model->context_length)
        return rf_fail(err, RF_ERROR_CONTEXT_FULL,
                       "bench: rows %u over cache %u exceed the context length, %u", rows, cache,
                       b->model->context_length);
    return RF_OK;
}

enum rf_status rf_bench_run_forward(rf_bench *b, uint32_t rows, uint32_t cache, struct rf_bench_forward *out,
                                    struct rf_error *err)
{
    *out = (struct rf_bench_forward){.rows = rows, .cache = cache};
    enum rf_status status = check_cell(b, rows, cache, err);
    if (status)
        return status;
    struct rf_result *results = rf_malloc(3 * RF_MAX_ROWS * sizeof *results);
    if (!results)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the results of %u rows", rows);
    pthread_mutex_lock(&b->model->mutex);
    status = rf_bench_sequence_cover(&b->measured, cache + rows, b->kv_seed, err);
    if (!status)
        status = rf_bench_sequence_cover(&b->reference, cache + rows, b->kv_seed, err);
    if (!status)
        status = measure(b, out, results, err);
    if (!status)
        status = check_floor(b, out, err);
    pthread_mutex_unlock(&b->model->mutex);
    rf_free(results);
    return status;
}

enum rf_status rf_bench_run_prefill(rf_bench *b, uint32_t rows, struct rf_bench_forward *out,
                                    struct rf_error *err)
{
    *out = (struct rf_bench_forward){.rows = rows};
    if (!b->has_ceilings)
        return rf_fail(err, RF_ERROR_ARGUMENT, "bench: ceilings are to be measured first");
    if (rows < 1 || rows > b->model->context_length)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "bench: prefill: found %u tokens, wanted 1 to the context length, %u", rows,
                       b->model->context_length);
    pthread_mutex_lock(&b->model->mutex);
    enum rf_status status = rf_bench_prefill(b, out, err);
    if (!status)
        status = check_floor(b, out, err);
    pthread_mutex_unlock(&b->model->mutex);
    return status;
}
