/* What the files of this room share: sequences that are forwarded without a session, and the timing of one
 * thing. */
#ifndef RF_BENCH_BENCH_INTERNAL_H
#define RF_BENCH_BENCH_INTERNAL_H

#include "engine/bench/bench.h"
#include "engine/gpu/timing.h"
#include "engine/model/model.h"

/* Deterministic random numbers: splitmix64. */
uint64_t rf_bench_random(uint64_t *state);
double rf_bench_now(void);                              /* seconds, monotonic */
double rf_bench_median(double *values, uint32_t count); /* sorts them */

/* ---- sequence.c: one sequence of a forward ---------------------------------------------------------- */

struct bench_sequence {
    struct rf_gpu *gpu;
    struct rf_forward *forward;
    struct rf_kv_pool *pool;
    bool fp16;          /* element type of the KV pages */
    uint32_t seq;       /* its entry in the forward's table */
    uint32_t most_rows; /* of one submission; 0: as many as the forward takes */
    struct rf_arena *upload, *device;
    struct rf_span table, rows, results; /* page table; rf_row and rf_result [RF_MAX_ROWS] */
    struct rf_kv_page **pages;
    uint32_t page_count, page_room;
};

/* Room for `rows` virtual KV rows. What *s refers to must outlive it. On failure it is to be destroyed too.
 * */
enum rf_status rf_bench_sequence_init(struct bench_sequence *s, uint32_t rows, struct rf_error *err);
void rf_bench_sequence_destroy(struct bench_sequence *s);
/* Pages for virtual rows [0, rows), filled anew with random numbers: the same for one seed on every path,
 * but for the element type. */
enum rf_status rf_bench_sequence_cover(struct bench_sequence *s, uint32_t rows, uint32_t seed,
                                       struct rf_error *err);

struct bench_time {
    double wall, submit, device; /* seconds, summed over submissions; device 0: no timestamps */
    uint32_t submissions, dispatches, barriers;
};

/* Forwards rows [0, count) of s->rows, in as many submissions as they take; rows attend to at most max_keys.
 * */
enum rf_status rf_bench_sequence_run(struct bench_sequence *s, uint32_t count, uint32_t max_keys,
                                     uint32_t flags, const struct rf_timer *timer, struct bench_time *time,
                                     struct rf_error *err);

/* ---- ceilings.c ------------------------------------------------------------------------------------- */

enum rf_status rf_bench_measure_ceilings(struct rf_gpu *gpu, const struct rf_timer *timer,
                                         uint64_t model_bytes, struct rf_bench_ceilings *out,
                                         struct rf_error *err);

/* ---- bench.c ---------------------------------------------------------------------------------------- */

struct rf_bench {
    rf_model *model;
    struct rf_gpu *gpu;
    struct rf_timer *timer;
    double cell_seconds;
    uint64_t random;      /* drawn on by timed repeats, so it stands where time has brought it */
    uint64_t decode_seed; /* prompts and scripts: the same for one seed however long anything took */
    uint32_t kv_seed;
    struct rf_bench_ceilings ceilings;
    bool has_ceilings;
    struct bench_sequence measured, reference;
    uint32_t seq; /* of `measured` in the model's table */
    bool has_seq;
    struct rf_forward *portable; /* the reference's own, portable whatever the model's path is */
    struct rf_kv_pool *portable_pool;
};

/* Index of the forward's row bucket; rows <= RF_MAX_ROWS. */
uint32_t rf_bench_bucket(uint32_t rows);

/* ---- forwards.c ------------------------------------------------------------------------------------- */

struct bench_samples {
    double *wall, *submit, *device; /* [count], sorted by rf_bench_summarise */
    uint32_t count;
};
/* Fills in everything but rows, cache and error. `time` is that of one repeat; outputs: rows with a result.
 * */
void rf_bench_summarise(const struct rf_bench *b, const struct bench_samples *samples,
                        const struct bench_time *time, uint32_t outputs, struct rf_bench_forward *cell);

/* ---- decode.c --------------------------------------------------------------------------------------- */

enum rf_status rf_bench_prefill(struct rf_bench *b, struct rf_bench_forward *cell, struct rf_error *err);

#endif
