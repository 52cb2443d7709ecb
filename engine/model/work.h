/* What a dispatch has to do: bytes that it must move and operations that it must make, counted from shapes.
 * Bytes are each thing once, however often a kernel comes back to it: weights, activations in and out, KV rows,
 * partials. So bytes over time is a bandwidth that can be held against the device's, and what a kernel reads
 * twice shows as distance from the floor. Operations are multiplications and additions of the mathematics;
 * exponentials, scales and conversions are left out.
 *
 * A recorded dispatch serves forwards of different rows and contexts, so its work is kept as terms, which a
 * forward's figures turn into numbers. */
#ifndef RF_MODEL_WORK_H
#define RF_MODEL_WORK_H

#include "engine/model/weights.h"
#include "shaders/shared.h"

struct rf_forward;
struct rf_matmul_call;
struct rf_norm_call;

/* One forward's rows, as the device gathered them. */
struct rf_load {
    uint64_t rows, outputs; /* outputs: rows with a result */
    uint64_t keys;          /* KV rows that some row attends to, of all sequences, each once */
    uint64_t pairs;         /* keys of each row, summed */
    uint64_t short_rows;    /* rows that one split of attention covers */
    uint64_t parts;         /* splits of the other rows, summed */
};
struct rf_key_run {
    uint32_t seq, first, end;
};
/* From the gathered rows; `scratch` has room for 2 * count runs. */
void rf_load_count(struct rf_load *load, const struct rf_row *rows, uint32_t count,
                   struct rf_key_run *scratch);

/* fixed + row * rows + ...; of bytes or of operations. */
struct rf_terms {
    uint64_t fixed, row, output, key, pair, short_row, part, long_row;
};

struct rf_work_terms {
    struct rf_terms read, written, operations;
    bool by_outputs;                 /* its rows are those with a result */
    bool long_only;                  /* it works on rows of several splits alone */
    uint32_t token_first, token_end; /* embed: rows of these tokens only; equal: of all */
};

struct rf_work_done {
    uint64_t rows, read, written, operations;
};
/* `rows`: those that `load` was counted from. */
struct rf_work_done rf_work_of(const struct rf_work_terms *terms, const struct rf_load *load,
                               const struct rf_row *rows);

/* What a recorded dispatch is, for whoever reads its marks (engine/gpu/marks.h). */
struct rf_op_note {
    const char *op;   /* static */
    int layer;        /* -1: none */
    bool begins_pass; /* the first dispatch of a forward */
    bool commits;     /* kv_commit: its rows are known when the session has read what was committed */
    struct rf_work_terms work;
};

/* Terms of each kind of dispatch. */
struct rf_work_terms rf_work_gather(uint32_t grid_count);
struct rf_work_terms rf_work_embed(const struct rf_forward *forward, const struct rf_chunk *chunk);
struct rf_work_terms rf_work_norm(const struct rf_forward *forward, const struct rf_norm_call *call);
struct rf_work_terms rf_work_head_rope(const struct rf_forward *forward, uint32_t splits);
struct rf_work_terms rf_work_attention(const struct rf_forward *forward, bool int8);
struct rf_work_terms rf_work_attention_reduce(const struct rf_forward *forward, bool int8);
struct rf_work_terms rf_work_matmul(const struct rf_forward *forward, const struct rf_matmul_call *call,
                                    const struct rf_chunk *chunk, uint32_t splits);
struct rf_work_terms rf_work_logits_reduce(const struct rf_forward *forward);
struct rf_work_terms rf_work_slots(void); /* they read the results of the forward before them */
struct rf_work_terms rf_work_kv_commit(const struct rf_forward *forward); /* rows: those committed */

#endif
