/* Measurements on one model, beside what the device does at best. The program's `bench` stands on this;
 * applications that embed the library have no use for it, so it is not in refusion.h. */
#ifndef RF_BENCH_BENCH_H
#define RF_BENCH_BENCH_H

#include "engine/status.h"

typedef struct rf_bench
    rf_bench; /* measurements on one model, by one thread, with no session being stepped */

struct rf_bench_desc {
    double
        cell_seconds; /* most time for the repeats of one measurement, of which there are at least 3; 0: 2 */
    uint64_t seed;    /* of tokens and cache contents */
};

/* What the device does at best, measured by kernels that do nothing else. 0: it lacks that. */
struct rf_bench_ceilings {
    double read_gb_per_second; /* of read_bytes, far more than caches hold */
    double
        read_model_gb_per_second; /* of as many bytes as the weights have where these are fewer, else equal */
    uint64_t read_bytes, read_model_bytes;
    double f32_tflops, f16_tflops, int8_tops, coopmat_tflops;
    double dispatch_us, barrier_us,
        submission_us;                    /* an empty dispatch; a barrier between two; submit and wait */
    char read_kernel[64], f32_kernel[64]; /* the fastest shapes */
};

/* One forward of `rows` fresh rows, each with a result, over `cache` committed rows. */
struct rf_bench_forward {
    uint32_t rows, cache;
    uint32_t repeats;
    double seconds, fastest, slowest; /* submit to end of the wait; the median and the extremes */
    double device_seconds;            /* median by timestamps; 0: the device has none */
    double submit_seconds;            /* of the host until the work is handed over; median */
    double floor_seconds;             /* the larger of bytes / read ceiling and flops / best matrix ceiling */
    uint64_t bytes;                   /* weights and KV rows, each once */
    uint64_t flops;
    double error; /* against the portable path (the portable path: against its deterministic pipelines) */
    uint32_t submissions, dispatches, barriers;
    char path[32]; /* precision, matmul kernel and the rows that it takes at once, such as "fp16 few 8" */
};

/* One trial: of one matmul shape, or of a product that may be split over k and the norm behind it. */
struct rf_bench_trial {
    char format[8], kernel[64];
    uint32_t rows, k, columns;
    double seconds; /* of one product, the norm included; 0: the choice was kept from an earlier start */
    bool chosen;
    bool wrong; /* refused: its product is not the plain kernel's */
};
struct rf_bench_sweep { /* the choice for one format beside the fastest legal shape */
    char format[8], chosen[48], fastest[48];
    uint32_t rows, k, columns;
    uint32_t shapes;                        /* tried */
    double chosen_seconds, fastest_seconds; /* of one product */
};
typedef void (*rf_bench_sweep_fn)(void *user, const struct rf_bench_sweep *sweep);
typedef void (*rf_bench_trial_fn)(void *user, const struct rf_bench_trial *trial);

struct rf_bench_decode_desc {
    struct rf_decode_settings settings; /* max_tokens: how many are generated; end tokens end nothing here */
    uint32_t prompt;                    /* tokens */
    bool scripted; /* chosen and accepted is what a generator says, at accept_rate, not what the model says */
    double accept_rate; /* [0, 1] */
};

struct rf_bench_decode {
    uint32_t prompt, tokens, rounds;
    uint64_t forwards, rows;
    double prefill_seconds, decode_seconds; /* decode: from a cached prompt to the last token */
    double tokens_per_forward;
};

enum rf_status rf_bench_create(rf_bench **out, rf_model *model, const struct rf_bench_desc *desc,
                               struct rf_error *err);
void rf_bench_destroy(rf_bench *bench); /* NULL is fine */
/* To be called first: the others' floors come from it. Called again it leaves the higher of both
 * measurements, and the others do that themselves when something was faster than its floor. */
enum rf_status rf_bench_run_ceilings(rf_bench *bench, struct rf_bench_ceilings *out, struct rf_error *err);
void rf_bench_get_ceilings(const rf_bench *bench, struct rf_bench_ceilings *out);
/* Seconds, with the ceilings as they are now. */
double rf_bench_floor(const rf_bench *bench, uint64_t bytes, uint64_t flops);
/* The smaller of wall and device time: nothing honest makes it less than the floor. */
double rf_bench_shortest(const struct rf_bench_forward *cell);
/* Results are compared before anything is timed: RF_ERROR_INTERNAL when they are wrong. */
enum rf_status rf_bench_run_forward(rf_bench *bench, uint32_t rows, uint32_t cache,
                                    struct rf_bench_forward *out, struct rf_error *err);
/* Tries the matmul shapes for so many rows, as the first forward of them would; before that forward. */
enum rf_status rf_bench_run_tune(rf_bench *bench, uint32_t rows, rf_bench_trial_fn on_trial, void *user,
                                 struct rf_error *err);
/* Tries every legal shape, for each format, and tells how the choice compares (see rf_tune_sweep). */
enum rf_status rf_bench_run_sweep(rf_bench *bench, uint32_t rows, rf_bench_sweep_fn on_sweep, void *user,
                                  struct rf_error *err);
/* `rows` prompt rows in as many forwards as they take; only the last has a result. */
enum rf_status rf_bench_run_prefill(rf_bench *bench, uint32_t rows, struct rf_bench_forward *out,
                                    struct rf_error *err);
enum rf_status rf_bench_run_decode(rf_bench *bench, const struct rf_bench_decode_desc *desc,
                                   struct rf_bench_decode *out, struct rf_error *err);

#endif
