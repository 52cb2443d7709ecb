/* What forward.c (buffers, buckets) and layers.c (the dispatches of a forward) share. */
#ifndef RF_MODEL_FORWARD_INTERNAL_H
#define RF_MODEL_FORWARD_INTERNAL_H

#include "engine/model/forward.h"
#include "engine/model/parts.h"
#include "engine/model/plan.h"

/* Spans that dispatches read and write. Sequences' own memory (pending rows, results, slot state) and KV
 * pages are reached through pointers in the sequence table and come and go with sessions, so each of the two
 * is declared by a stand-in: a span that no kernel touches and that orders everything that touches the real
 * thing. */
struct forward_spans {
    struct rf_span seqs, work[2], active;
    struct rf_span sessions, pages; /* stand-ins */
    struct rf_span rows, outputs, counts;
    struct rf_span h, x, qkv, act; /* see shared.h; x also takes the attention's output */
    struct rf_span x8;             /* what x is to products with int8 inputs; act is either */
    struct rf_span attention_partials, logit_partials, logits;
    struct rf_span split_partials; /* [split][bucket][column]: qkv's, o's or down's; see split.h */
};

struct forward_variant {
    struct rf_span grids, indirect;
    uint32_t grid_count;
    struct rf_cmd *gather[2];
    struct rf_op_note gather_note;
    struct rf_op_note *notes; /* of the forward's dispatches; owned; NULL: not marked */
    struct rf_cmd **parts; /* the forward, one submission each; owned, NULL: not recorded */
    uint32_t part_count;
    uint32_t parts_wanted; /* by time; fewer are recorded where single dispatches take longer */
    uint64_t cost;         /* of all dispatches */
    struct forward_times times;
};

enum { FORWARD_BUCKETS = 10 }; /* 1, 2, 4, .. 512 rows */

/* What is recorded with one kind of marks. */
struct forward_recordings {
    struct rf_op_note slot_notes[RF_SLOT_SHADERS], commit_note;
    struct forward_variant variants[FORWARD_BUCKETS][RF_FORWARD_VARIANTS];
    struct rf_cmd *slots[RF_SLOT_SHADERS], *commits[RF_MAX_SEQS];
};

struct rf_forward {
    struct rf_gpu *gpu;
    const struct rf_weights *weights;
    struct rf_model_config config;
    uint32_t context_length;
    bool fp16;
    bool int8; /* with fp16: inputs of products with quantized weights are int8 */
    bool tune;
    struct rf_tune *tuned; /* NULL until a bucket was tuned */
    uint32_t split_rows;   /* rows times splits that attention_partials has room for */
    uint32_t logit_tiles;
    enum rf_marking marking;
    struct rf_arena *readback; /* NULL: never marked */
    struct rf_span gathered[2];
    struct rf_arena *device, *upload;
    struct forward_spans spans;
    struct forward_recordings recordings[RF_MARKINGS];
};

/* x = norm(h), h [row][hidden]; `splits` more than 1: of h increased by so many partials of split_partials. */
struct rf_norm_call {
    int layer;
    const char *name;
    struct rf_span weight, h, x;
    uint32_t hidden, splits;
    bool gather;                /* only rows that want a result */
    const struct rf_matrix *to; /* that reads x, or spans.x8 where its inputs are int8; NULL: x is quads */
};
void rf_plan_norm(const struct rf_forward *forward, struct forward_plan *plan,
                  const struct rf_norm_call *call);

/* Lists the dispatches of a forward of plan->bucket rows. */
void rf_plan_forward(const struct rf_forward *forward, struct forward_plan *plan);

#endif
