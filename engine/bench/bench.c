#include "engine/allocate.h"
#include "engine/bench/bench_internal.h"
#include "engine/model/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The portable path takes seconds for many rows of a large model; a single dispatch is not cut, so each
 * should be short. */
enum { REFERENCE_ROWS = 64 };

static const double DEFAULT_CELL_SECONDS = 2.0;

uint64_t rf_bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double rf_bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double rf_bench_median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* ---- Creation --------------------------------------------------------------------------------------- */

static enum rf_status create_measured(struct rf_bench *b, struct rf_error *err)
{
    struct rf_model *model = b->model;
    enum rf_status status = rf_model_take_seq(model, &b->seq, err);
    if (status)
        return status;
    b->has_seq = true;
    b->measured = (struct bench_sequence){
        .gpu = b->gpu, .forward = model->forward, .pool = model->pool, .fp16 = model->fp16, .seq = b->seq};
    return rf_bench_sequence_init(&b->measured, model->context_length, err);
}

/* The reference: a forward of its own on the portable path, with f32 pages. */
static enum rf_status create_reference(struct rf_bench *b, struct rf_error *err)
{
    const struct rf_model_config *c = &b->model->config;
    uint64_t page_bytes = (uint64_t)c->layers * c->kv_heads * 2 * RF_PAGE_ROWS * c->head_dim * 4;
    const struct rf_forward_desc desc = {.gpu = b->gpu,
                                         .weights = &b->model->weights,
                                         .config = c,
                                         .context_length = b->model->context_length,
                                         .fp16 = false};
    enum rf_status status = rf_kv_pool_create(&b->portable_pool, b->gpu, page_bytes, err);
    if (!status)
        status = rf_forward_create(&b->portable, &desc, err);
    if (status)
        return status;
    b->reference = (struct bench_sequence){.gpu = b->gpu,
                                           .forward = b->portable,
                                           .pool = b->portable_pool,
                                           .fp16 = false,
                                           .seq = 0,
                                           .most_rows = REFERENCE_ROWS};
    return rf_bench_sequence_init(&b->reference, b->model->context_length, err);
}

enum rf_status rf_bench_create(rf_bench **out, rf_model *model, const struct rf_bench_desc *desc,
                               struct rf_error *err)
{
    static const struct rf_bench_desc defaults;
    if (!out || !model)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_bench_create: out and model are needed");
    *out = NULL;
    desc = desc ? desc : &defaults;
    struct rf_bench *b = rf_calloc(1, sizeof *b);
    if (!b)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the bench");
    b->model = model;
    b->gpu = model->gpu;
    b->random = b->decode_seed = desc->seed;
    b->kv_seed = (uint32_t)desc->seed * 65537u;
    b->cell_seconds = desc->cell_seconds > 0.0 ? desc->cell_seconds : DEFAULT_CELL_SECONDS;
    enum rf_status status = rf_timer_create(&b->timer, b->gpu, err);
    if (!status)
        status = create_measured(b, err);
    if (!status)
        status = create_reference(b, err);
    if (status) {
        rf_bench_destroy(b);
        return status;
    }
    *out = b;
    return RF_OK;
}

void rf_bench_destroy(rf_bench *b)
{
    if (!b)
        return;
    rf_bench_sequence_destroy(&b->measured);
    rf_bench_sequence_destroy(&b->reference);
    rf_forward_destroy(b->portable);
    rf_kv_pool_destroy(b->portable_pool);
    if (b->has_seq)
        rf_model_return_seq(b->model, b->seq);
    rf_timer_destroy(b->timer);
    rf_free(b);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Of two measurements of one ceiling the higher is nearer to what the device can do: whatever else ran
 * beside them made both too low. */
static void raise_ceilings(struct rf_bench_ceilings *c, const struct rf_bench_ceilings *now)
{
    if (now->read_gb_per_second > c->read_gb_per_second)
        memcpy(c->read_kernel, now->read_kernel, sizeof c->read_kernel);
    if (now->f32_tflops > c->f32_tflops)
        memcpy(c->f32_kernel, now->f32_kernel, sizeof c->f32_kernel);
    c->read_gb_per_second = larger(c->read_gb_per_second, now->read_gb_per_second);
    c->read_model_gb_per_second = larger(c->read_model_gb_per_second, now->read_model_gb_per_second);
    c->f32_tflops = larger(c->f32_tflops, now->f32_tflops);
    c->f16_tflops = larger(c->f16_tflops, now->f16_tflops);
    c->int8_tops = larger(c->int8_tops, now->int8_tops);
    c->coopmat_tflops = larger(c->coopmat_tflops, now->coopmat_tflops);
    c->dispatch_us = smaller(c->dispatch_us, now->dispatch_us);
    c->barrier_us = smaller(c->barrier_us, now->barrier_us);
    c->submission_us = smaller(c->submission_us, now->submission_us);
}

enum rf_status rf_bench_run_ceilings(rf_bench *b, struct rf_bench_ceilings *out, struct rf_error *err)
{
    struct rf_bench_ceilings now;
    enum rf_status status = rf_bench_measure_ceilings(b->gpu, b->timer, b->model->weights.bytes, &now, err);
    if (!status && b->has_ceilings)
        raise_ceilings(&b->ceilings, &now);
    else
        b->ceilings = now;
    b->has_ceilings = b->has_ceilings || !status;
    *out = b->ceilings;
    return status;
}

void rf_bench_get_ceilings(const rf_bench *b, struct rf_bench_ceilings *out)
{
    *out = b->ceilings;
}

uint32_t rf_bench_bucket(uint32_t rows)
{
    uint32_t bucket = 0;
    while (bucket + 1 < FORWARD_BUCKETS && (1u << bucket) < rows)
        bucket++;
    return bucket;
}

struct trial_listener {
    rf_bench_trial_fn on_trial;
    rf_bench_sweep_fn on_sweep;
    void *user;
};

static int describe(char *text, size_t size, struct rf_matmul_shape shape)
{
    return snprintf(text, size, "%s %u, %u lanes", rf_matmul_kind_name(shape.kind), shape.rows, shape.local);
}

static void on_trial(void *user, const struct rf_trial *trial)
{
    const struct trial_listener *listener = user;
    struct rf_bench_trial out = {.rows = trial->rows,
                                 .k = trial->k,
                                 .columns = trial->columns,
                                 .seconds = trial->from_file ? 0.0 : trial->seconds,
                                 .chosen = trial->chosen,
                                 .wrong = trial->wrong};
    snprintf(out.format, sizeof out.format, "%s", rf_weight_format_name(trial->format));
    int length = describe(out.kernel, sizeof out.kernel, trial->shape);
    if (trial->product != RF_SPLIT_NONE && length > 0)
        snprintf(out.kernel + length, sizeof out.kernel - (size_t)length, ", %u splits, %s and norm",
                 trial->shape.splits, rf_split_name(trial->product));
    if (listener->on_trial)
        listener->on_trial(listener->user, &out);
}

static void on_sweep(void *user, const struct rf_sweep *sweep)
{
    const struct trial_listener *listener = user;
    struct rf_bench_sweep out = {.rows = sweep->rows,
                                 .k = sweep->k,
                                 .columns = sweep->columns,
                                 .shapes = sweep->shape_count,
                                 .chosen_seconds = sweep->chosen_seconds,
                                 .fastest_seconds = sweep->fastest_seconds};
    snprintf(out.format, sizeof out.format, "%s", rf_weight_format_name(sweep->format));
    describe(out.chosen, sizeof out.chosen, sweep->chosen);
    describe(out.fastest, sizeof out.fastest, sweep->fastest);
    listener->on_sweep(listener->user, &out);
}

static enum rf_status check_rows(uint32_t rows, struct rf_error *err)
{
    return rows >= 1 && rows <= RF_MAX_ROWS
               ? RF_OK
               : rf_fail(err, RF_ERROR_ARGUMENT, "bench: rows: found %u, wanted 1 to %u", rows,
                         (unsigned)RF_MAX_ROWS);
}

enum rf_status rf_bench_run_tune(rf_bench *b, uint32_t rows, rf_bench_trial_fn visit, void *user,
                                 struct rf_error *err)
{
    struct trial_listener listener = {.on_trial = visit, .user = user};
    enum rf_status status = check_rows(rows, err);
    if (status)
        return status;
    pthread_mutex_lock(&b->model->mutex);
    status = rf_tune_bucket(b->model->forward, rf_bench_bucket(rows), on_trial, &listener, err);
    pthread_mutex_unlock(&b->model->mutex);
    return status;
}

enum rf_status rf_bench_run_sweep(rf_bench *b, uint32_t rows, rf_bench_sweep_fn visit, void *user,
                                  struct rf_error *err)
{
    struct trial_listener listener = {.on_sweep = visit, .user = user};
    enum rf_status status = check_rows(rows, err);
    if (status)
        return status;
    pthread_mutex_lock(&b->model->mutex);
    status = rf_tune_sweep(b->model->forward, rf_bench_bucket(rows), on_sweep, &listener, err);
    pthread_mutex_unlock(&b->model->mutex);
    return status;
}
