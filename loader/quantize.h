/* A model from files to one GGUF file, its weights in another type.
 *
 * Vectors (norms) are always F32: they are small, and llama.cpp wants them so. Matrices become the wanted
 * type, but for two things:
 *   - embedding and head are more sensitive than the rest, so Q4_K keeps them in Q6_K and Q4_0 in Q8_0 (the
 *     same block of 32, so that any size that the one takes the other takes too); `pure` turns this off;
 *   - a matrix whose rows are no multiple of a type's block becomes Q8_0, or F16 where 32 is no divisor
 *     either.
 * A tensor that has its type already is copied as it is. */
#ifndef RF_LOADER_QUANTIZE_H
#define RF_LOADER_QUANTIZE_H

#include "engine/status.h"
#include "loader/dtype.h"

/* What became of one tensor. */
struct rf_quantize_report {
    const char *name; /* as GGUF has it */
    uint32_t rank;
    const uint64_t *shape;
    enum rf_dtype from, to;
    const char *why;       /* `to` is not the wanted type: the reason; else NULL */
    double relative_error; /* root mean square of the difference, over that of the values; 0 for zeros */
    double most_error;     /* the largest difference */
    uint64_t underflow;    /* elements that were not zero and are now */
    uint64_t bytes;        /* in the new file */
};

struct rf_quantize_total {
    uint64_t parameters;
    uint64_t bytes_before, bytes_after; /* of the tensors */
    double relative_error;              /* over all tensors */
    uint64_t underflow;
    uint32_t tensors, requantized; /* of them; those that came from quantized blocks */
};

struct rf_quantize_desc {
    enum rf_dtype type; /* a weight type */
    bool pure;
    uint32_t threads; /* 0: one for each processor, at most 16 */
    /* Both may be NULL. `progress` gets elements, a few times a second at most; false cancels. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void (*report)(void *user, const struct rf_quantize_report *report);
    void *user;
};

/* `in` is what rf_model_files_open takes; `out` is written under a temporary name and renamed when all of it
 * is on disk. *total is filled on success. An element that is not finite, or beyond what the new type holds,
 * is refused. */
enum rf_status rf_quantize(const char *in, const char *out, const struct rf_quantize_desc *desc,
                           struct rf_quantize_total *total, struct rf_error *err);

/* The type that a tensor gets; *why as in rf_quantize_report. `is_table`: embedding or head. */
enum rf_dtype rf_quantize_choose(enum rf_dtype wanted, bool pure, uint32_t rank, uint64_t row, bool is_table,
                                 const char **why);

#endif
