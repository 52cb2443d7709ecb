/* Which matmul kernel makes a product, and with what shape. */
#ifndef RF_MODEL_MATMUL_H
#define RF_MODEL_MATMUL_H

#include "engine/model/forward_internal.h"
#include "engine/model/split.h"

/* MANY: lanes are rows (matmul.comp). FEW: lanes go over k, for at most 8 rows (matmul_few.comp). WIDE:
 * lanes are columns, for CPUs (matmul_wide.comp). SPREAD: lanes are rows and spread weights among them, for
 * CPUs that WIDE is not for (matmul_spread.comp). COOPMAT: matrix units, for more than 8 rows on the fp16
 * path (matmul_coopmat.comp); COOPMAT2: the same by matrices of a workgroup (matmul_coopmat2.comp), which
 * is chosen by trial only, and only where its products are right. Where inputs are int8 (int8.h): FEW
 * (matmul_int8_few.comp) and TILE, with shared memory, for any number of rows (matmul_int8.comp). */
enum rf_matmul_kind {
    RF_MATMUL_MANY,
    RF_MATMUL_FEW,
    RF_MATMUL_WIDE,
    RF_MATMUL_SPREAD,
    RF_MATMUL_COOPMAT,
    RF_MATMUL_COOPMAT2,
    RF_MATMUL_TILE,
    RF_MATMUL_KINDS
};

struct rf_matmul_shape {
    enum rf_matmul_kind kind;
    uint32_t local, rows; /* specialization constants RF_SPEC_LOCAL and RF_SPEC_ROWS */
    uint32_t splits;      /* of k: 1, or see split.h */
};

/* y = epilogue(x W^T) with a matrix of the model; see struct rf_push_matmul. Split over k, partials are
 * written instead of y. Where x is spans.x, chunks with int8 inputs read spans.x8. */
struct rf_matmul_call {
    int layer;
    const char *name;
    const struct rf_matrix *matrix;
    uint32_t epilogue;
    enum rf_split_product product;
    struct rf_span x, y;
    uint32_t ldx, ldy;
    float scale;
};

/* Shader names by weight format; static strings, because a kernel id keeps only the pointer. */
#define RF_BY_FORMAT(name, end)                                                                              \
    {                                                                                                        \
        [RF_WEIGHT_BF16] = name "_bf16" end, [RF_WEIGHT_F16] = name "_f16" end,                              \
        [RF_WEIGHT_F32] = name "_f32" end, [RF_WEIGHT_Q8_0] = name "_q8_0" end,                              \
        [RF_WEIGHT_Q4_0] = name "_q4_0" end, [RF_WEIGHT_Q4_K] = name "_q4_k" end,                            \
        [RF_WEIGHT_Q6_K] = name "_q6_k" end                                                                  \
    }

/* Most rows of RF_MATMUL_FEW, and where other kinds begin to win. */
enum { RF_FEW_ROWS = 8 };
/* With lm_head's reduction, where each row has a lane. */
static inline uint32_t rf_few_reduce_rows(const struct rf_gpu_caps *caps)
{
    return caps->subgroup_size < RF_FEW_ROWS ? caps->subgroup_size : RF_FEW_ROWS;
}
/* Bucket (rows are 1 << it) whose choice a deterministic forward takes. */
enum { RF_DETERMINISTIC_BUCKET = 5 };

/* "int8", "fp16" or "portable": the inputs that products with this format have. */
const char *rf_matmul_path(const struct rf_forward *forward, enum rf_weight_format format);
/* Whether products with a format on a forward's path can use a shape at all, splits aside; bucket: rows, a
 * power of two. */
bool rf_matmul_legal(const struct rf_forward *forward, enum rf_weight_format format, uint32_t bucket,
                     struct rf_matmul_shape shape);
/* What an untuned device gets, whole. */
struct rf_matmul_shape rf_matmul_default(const struct rf_forward *forward, enum rf_weight_format format,
                                         uint32_t bucket);
/* The one that every device can run: what RF_MATMUL_COOPMAT2 is compared with. Not for int8 inputs. */
struct rf_matmul_shape rf_matmul_plain(const struct rf_forward *forward, uint32_t bucket);
/* Legal shapes worth a trial, the default first, all whole; at most RF_MATMUL_CANDIDATES. Returns how many.
 * */
enum { RF_MATMUL_CANDIDATES = 12 };
uint32_t rf_matmul_candidates(const struct rf_forward *forward, enum rf_weight_format format, uint32_t bucket,
                              struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES]);

/* Every legal shape, whole, with workgroups of whole subgroups up to 256 invocations. */
enum { RF_MATMUL_ALL = 256 };
uint32_t rf_matmul_all(const struct rf_forward *forward, enum rf_weight_format format, uint32_t bucket,
                       struct rf_matmul_shape shapes[RF_MATMUL_ALL]);

/* Products that can be split have a choice of their own, shape and splits, by the format of most of their
 * columns; chunks of other formats take their format's shape and as many splits. */
enum rf_weight_format rf_split_format(const struct rf_matrix *matrix);
/* The matrix' product with this shape as rf_split_default wants it: what an untuned device gets. */
uint32_t rf_matmul_default_splits(const struct rf_forward *forward, uint32_t bucket,
                                  const struct rf_matrix *matrix, struct rf_matmul_shape shape);
/* Whether every chunk can be split so. */
bool rf_matmul_splits_legal(const struct rf_forward *forward, uint32_t bucket, const struct rf_matrix *matrix,
                            struct rf_matmul_shape shape);
/* Worth a trial, `whole` first: neighbours in splits, and other shapes of its kind with their default splits.
 * At most RF_MATMUL_CANDIDATES; 1: nothing to try. */
uint32_t rf_matmul_split_candidates(const struct rf_forward *forward, uint32_t bucket,
                                    const struct rf_matrix *matrix, struct rf_matmul_shape whole,
                                    struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES]);
const char *rf_matmul_kind_name(enum rf_matmul_kind kind); /* "many", "coopmat2", ... */

/* Whether products with this format go to RF_MATMUL_WIDE; what suits them suits attention
 * (attention_wide.comp). */
bool rf_plan_is_wide(const struct rf_forward *forward, const struct forward_plan *plan,
                     enum rf_weight_format format);
/* Whether matmul.comp and matmul_few.comp make sums a column at a time (RF_SPEC_BY_COLUMN): CPUs of 4 lanes
 * (SwiftShader) are 13% faster so (SPEED.md). */
bool rf_matmul_by_column(const struct rf_gpu_caps *caps);
/* RF_SPEC_BLOCKS of SPREAD with so many rows a lane. */
uint32_t rf_spread_blocks(uint32_t rows);
/* ROWS of attention_lines.glsl, for workgroups of `group` heads in forwards of up to `rows` rows. */
uint32_t rf_attention_lines_rows(uint32_t group, uint32_t rows);
/* One op for each chunk. Returns the splits: more than 1: partials were written instead of y. */
uint32_t rf_plan_matmul(const struct rf_forward *forward, struct forward_plan *plan,
                        const struct rf_matmul_call *call);
/* The same with a given choice for the format of most columns. */
void rf_plan_split(const struct rf_forward *forward, struct forward_plan *plan,
                   const struct rf_matmul_call *call, struct rf_matmul_shape choice);
/* One op for one chunk, with a given shape. */
void rf_plan_chunk(const struct rf_forward *forward, struct forward_plan *plan,
                   const struct rf_matmul_call *call, const struct rf_chunk *chunk,
                   struct rf_matmul_shape shape);

#endif
