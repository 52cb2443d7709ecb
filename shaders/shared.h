/* Structs and numbers that host and shaders share: compiled as C11 and as GLSL (scalar block layout).
 *
 * Memory is reached by device address. RF_REF(T) is a 64-bit address in C and a buffer reference of type T in
 * GLSL (the types are declared in refs.glsl). A push-constant struct holds at most 128 bytes.
 *
 * Layouts, used everywhere:
 *   M rows (tokens) of a forward, ld = rows that the bucket's buffers have room for (M <= ld)
 *   h, qkv      f32 [row][column], row-major
 *   activation  matmul input in quads: quad q of row m, elements 4q..4q+3, at index q * ld + m; f32, or f16
 *               with ACT_F16
 *   int8 activation  (ACT_INT8) input of products with quantized weights of a model on the int8 path: blocks
 * of
 *               32 elements; block b of all rows begins at uvec4 b * RF_INT8_BLOCK(ld): two planes [ld] of 16
 *               int8, element 16 h + i of row m in byte i of uvec4 h * ld + m, then [ld] {f32 scale, f32
 *               scale * sum of the 32 int8}, rounded up to a uvec4. value = scale * int8, see int8.glsl
 *   weights     blocks of 8 columns, see weights.glsl; columns are padded with zeros to a multiple of
 *               RF_COLUMN_PAD per chunk
 *   KV page     RF_PAGE_ROWS rows of all layers: [layer][kv_head]{K quads [head_dim/4][row][4], V
 *               [row][head_dim]}, f32 or f16 like the activations; a page table holds one address per page,
 *               virtual row v lies in page v / RF_PAGE_ROWS */
#ifndef RF_SHADERS_SHARED_H
#define RF_SHADERS_SHARED_H

#ifdef __STDC_VERSION__
#include <assert.h>
#include <stdint.h>
typedef uint32_t uint;
#define RF_REF(T)             uint64_t
#define RF_CONST(name, value) enum { name = value };
#define RF_STRUCT             struct
#define RF_CHECK_PUSH(T)      static_assert(sizeof(struct T) <= 128, #T " does not fit push constants")
#define RF_CHECK_SIZE(T, bytes)                                                                              \
    static_assert(sizeof(struct T) == (bytes), #T " differs from GLSL's scalar layout")
#define RF_NONE UINT32_MAX
#else
#define RF_REF(T)             T
#define RF_CONST(name, value) const uint name = value;
#define RF_STRUCT
#define RF_CHECK_PUSH(T)
#define RF_CHECK_SIZE(T, bytes)
#define RF_NONE 0xffffffffu
#endif

RF_CONST(RF_PAGE_ROWS, 64)
RF_CONST(RF_COLUMN_PAD, 64)  /* weight columns per chunk are padded to this */
RF_CONST(RF_COLUMNS, 8)      /* columns that one matmul invocation (or subgroup) makes at a time */
RF_CONST(RF_LOGIT_TILE, 64)  /* vocabulary columns that one partial of the lm_head reduction covers */
RF_CONST(RF_SPLIT_KEYS, 512) /* keys per split of the attention */
RF_CONST(RF_SPLIT_K, 64)     /* a product that is split over k is split between multiples of this */
RF_CONST(RF_MAX_PIECES, 64)  /* sessions in one forward */
RF_CONST(RF_MAX_EOS, 8)
RF_CONST(RF_MAX_ROWS, 512) /* rows in one forward; the largest bucket */
RF_CONST(RF_MAX_GRIDS, 64)
RF_CONST(RF_MAX_SEQS, 1024) /* sequences of a model */

/* SwiGLU products are stored times 2^-5 where activations are f16: products up to 2.09e6 stay finite (65504 *
 * 32) and beyond that they saturate; down_proj's epilogue multiplies by 2^5. Both are exact powers of two. */
#define RF_SWIGLU_SCALE   0.03125
#define RF_SWIGLU_UNSCALE 32.0

#define RF_INT8_BLOCK(ld) (2 * (ld) + ((ld) + 1) / 2)

/* ---- Rows ------------------------------------------------------------------------------------------- */

RF_CONST(RF_ROW_SAMPLE, 1) /* flags: draw the token with the sequence's temperature instead of the argmax */

/* One token of a forward. It attends to the virtual KV rows [0, ctx_rows) and [seg_first, kv_row], and writes
 * kv_row. */
struct rf_row {
    uint token;
    uint position;  /* logical, for RoPE */
    uint kv_row;    /* virtual row of its own K and V */
    uint ctx_rows;  /* committed rows that it sees */
    uint seg_first; /* first virtual row of its segment; <= kv_row */
    uint want;      /* token whose probability is wanted, or RF_NONE */
    uint result;    /* index into the sequence's results, or RF_NONE: no logits for this row */
    uint seq;       /* index of its sequence; written by rows_gather */
    uint flags;
};
RF_CHECK_SIZE(rf_row, 36);

/* What lm_head leaves of a row's logits. p = min(1, exp(logit - max) / sum), un-tempered. */
struct rf_result {
    uint token;   /* argmax (lowest id on a tie), or the Gumbel-max draw */
    float p;      /* of token */
    float want_p; /* of rf_row.want; 0 when none was wanted */
    float max;    /* largest logit */
    float sum;    /* of exp(logit - max) */
};
RF_CHECK_SIZE(rf_result, 20);

/* One lm_head partial: RF_LOGIT_TILE columns of one row. Partials lie [tile][ld]. */
struct rf_partial {
    float max, sum;
    uint best;      /* token with the largest key */
    float best_key; /* logit, or logit / temperature + Gumbel noise */
    float best_logit;
    float want_logit; /* logit of rf_row.want when this tile holds it */
};
RF_CHECK_SIZE(rf_partial, 24);

/* ---- Sequences: one per session, host-written ------------------------------------------------------- */

/* What the slot shaders do with a sequence in a step: a sum of these. */
RF_CONST(RF_ACT_SELECT, 1) /* slot_select: choose among the planned slots */
RF_CONST(RF_ACT_VERIFY, 2) /* slot_accept: judge VERIFY */
RF_CONST(RF_ACT_FILL, 4)   /* slot_fill: fill in what a COMPLETE turn predicted */
RF_CONST(RF_ACT_TURN, 8)   /* slot_accept: judge a COMPLETE turn */
RF_CONST(RF_ACT_COPY, 16)  /* slot_accept: results 0 and 1 to the status' tokens (sequential decoding) */

struct rf_seq {
    RF_REF(RfPages) pages; /* page table */
    RF_REF(RfRows) rows;   /* pending rows, written by the host or by slot shaders, gathered into a forward */
    RF_REF(RfResults) results; /* [rows with a result] */
    RF_REF(RfSlots) slots;     /* first position of each remaining slot, in position order [slot_count] */
    RF_REF(RfRoundState) state;
    RF_REF(RfWords) chosen;  /* indices into slots [slot_count] */
    RF_REF(RfWords) tokens;  /* drafts of the chosen slots, [chosen][slot_size] */
    RF_REF(RfWords) tagged;  /* leading agreed tokens of each chosen slot [slot_count] */
    RF_REF(RfStatus) status; /* read by the host after each submission */
    uint actions;            /* RF_ACT_... */
    uint slot_size, slot_count;
    uint committed;     /* C */
    uint scratch_first; /* first virtual row of scratch */
    float slot_threshold, token_threshold;
    uint mask_token;
    uint eos_count, eos[RF_MAX_EOS];
    float inverse_temperature; /* 0: greedy */
    uint seed_low, seed_high;
    uint draw;          /* counts passes, so that each has fresh noise */
    uint status_tokens; /* where the tokens begin among the status words */
};
RF_CHECK_SIZE(rf_seq, 160);

/* Carried between the submissions of one round, on the device. */
struct rf_round_state {
    uint chosen_count;
    uint accepted; /* acc: rows of every chosen slot whose KV is kept in scratch (COMPLETE) */
    uint commit_x, commit_y, commit_z; /* VkDispatchIndirectCommand of kv_commit */
    uint commit_rows;
};
RF_CHECK_SIZE(rf_round_state, 24);

/* Head of the status block. Its words follow: chosen [chosen_count] from word 0, tokens
 * [chosen_count][slot_size] from word rf_seq.status_tokens. */
struct rf_status_head {
    uint chosen_count;
    uint committed_tokens; /* leading tokens of the status' tokens that are committed */
    uint committed_slots;  /* chosen slots that these end in */
    uint eos_slot;         /* index among the chosen of the slot whose eos ends the response, or RF_NONE */
    uint accepted;         /* acc for the next COMPLETE turn */
    uint turn_needed;      /* 1: a COMPLETE turn comes next */
};
RF_CHECK_SIZE(rf_status_head, 24);

/* ---- Work of one step: host-written ----------------------------------------------------------------- */

struct rf_piece {
    uint seq, first, count; /* rows [first, first + count) of the sequence's pending rows */
};

struct rf_work {
    uint piece_count;
    RF_STRUCT rf_piece pieces[RF_MAX_PIECES];
};

/* Sequences on which the slot shaders act in a step: one workgroup each. */
struct rf_active {
    uint grid_x, grid_y, grid_z; /* VkDispatchIndirectCommand: count, 1, 1 */
    uint seqs[RF_MAX_PIECES];
};

/* What rows_gather finds out about a forward. */
struct rf_counts {
    uint rows, outputs; /* outputs: rows with a result */
    uint max_keys;      /* most keys that a row attends to */
};

RF_CONST(RF_GRID_FIXED, 0)   /* y = y_per */
RF_CONST(RF_GRID_ROWS, 1)    /* y = ceil(rows / y_per) */
RF_CONST(RF_GRID_OUTPUTS, 2) /* y = ceil(outputs / y_per) */
RF_CONST(RF_GRID_SPLITS, 4)  /* flag: z = ceil(max_keys / RF_SPLIT_KEYS) */
RF_CONST(RF_GRID_REDUCE, 8)  /* flag: zero unless max_keys > RF_SPLIT_KEYS */

/* One dispatch size that rows_gather computes for the forward behind it; `z` without RF_GRID_SPLITS. */
struct rf_grid {
    uint x, y_per, source, z;
};

/* ---- Push constants --------------------------------------------------------------------------------- */

struct rf_push_rows_gather { /* 1 workgroup */
    RF_REF(RfSeqs) seqs;
    RF_REF(RfWork) work;
    RF_REF(RfRows) rows;      /* out [rows] */
    RF_REF(RfWords) outputs;  /* out [outputs]: row indices */
    RF_REF(RfCounts) counts;  /* out */
    RF_REF(RfGrids) grids;    /* [grid_count] */
    RF_REF(RfWords) indirect; /* out [grid_count][3] */
    uint grid_count;
};
RF_CHECK_PUSH(rf_push_rows_gather);

struct rf_push_embed { /* grid: (1, rows); a row outside [first, first + count) is left alone */
    RF_REF(RfCounts) counts;
    RF_REF(RfRows) rows;
    RF_REF(RfWeights) table; /* rows [first, first + count) of the embedding */
    RF_REF(RfVec4s) h;       /* out [row][hidden] */
    uint hidden, first, count;
};
RF_CHECK_PUSH(rf_push_embed);

/* Spec 0 GATHER: 0 row m is h's row m, 1 row m is h's row outputs[m] and M = counts.outputs; spec 1 SPLITS:
 * more than 1: h is first increased by the sum of so many partials, and written back; spec 2: invocations;
 * spec 3, with ACT_INT8 BOTH (see quads), else ONE_SUBGROUP: 1 the workgroup is a single one. */
struct rf_push_rmsnorm { /* grid: (1, rows or outputs) */
    RF_REF(RfCounts) counts;
    RF_REF(RfWords) outputs;  /* read only with GATHER */
    RF_REF(RfVec4s) h;        /* [row][hidden]; in/out with SPLITS */
    RF_REF(RfVec4s) partials; /* SPLITS: see RF_EPILOGUE_PARTIAL */
    RF_REF(RfVec4s) weight;   /* f32 [hidden] */
    RF_REF(RfQuads) x;        /* out: activation quads [hidden / 4][ld]; int8 blocks with ACT_INT8 */
    RF_REF(RfBits) quads;     /* ACT_INT8 with spec 3 BOTH: out, f16 activation quads, for plain weights */
    uint hidden, ld;
    float eps;
};
RF_CHECK_PUSH(rf_push_rmsnorm);

/* Spec constants of the matmul shaders. */
RF_CONST(RF_SPEC_EPILOGUE, 0)
RF_CONST(RF_SPEC_LOCAL, 1)        /* invocations per workgroup */
RF_CONST(RF_SPEC_ROWS, 2)         /* rows that a subgroup (matmul_few) or an invocation handles at
                                   * once: 1, 2, 4, 8, and 16 in matmul_wide */
RF_CONST(RF_SPEC_BY_COLUMN, 3)    /* matmul, matmul_few: 1: sums of all rows a column at a time; 0: a row at a time */
RF_CONST(RF_SPEC_LANE_COLUMNS, 4) /* matmul_few: columns of a lane, 4 or RF_COLUMNS */
RF_CONST(RF_SPEC_BLOCKS, 3)       /* matmul_spread: blocks of 8 columns a pass, 1 or 2 */
/* matmul_coopmat's own; RF_SPEC_ROWS is the rows of a workgroup there. */
RF_CONST(RF_SPEC_FRAGMENT_M, 3) /* shape of one cooperative matrix product: rows, columns, k; */
RF_CONST(RF_SPEC_FRAGMENT_N, 4) /* one that the device lists */
RF_CONST(RF_SPEC_FRAGMENT_K, 5)
RF_CONST(RF_SPEC_ROW_GROUPS, 6)    /* subgroups of a workgroup along the rows */
RF_CONST(RF_SPEC_COLUMN_GROUPS, 7) /* and along the columns */
RF_CONST(RF_SPEC_COLUMN_TILES, 8)  /* fragments of a subgroup along the columns */
RF_CONST(RF_SPEC_K_STEP, 9)        /* k between two barriers, a multiple of the fragment's */
RF_CONST(RF_SPEC_SHARED, 10)       /* 16-byte words of shared memory */
RF_CONST(RF_SPEC_ROUND_TILES, 11)  /* row fragments of a subgroup that go through the epilogue at a time */
/* matmul_coopmat2's own; RF_SPEC_ROWS is the rows of a workgroup there too. */
RF_CONST(RF_SPEC_TILE_COLUMNS, 3)  /* columns of a workgroup, a multiple of RF_LOGIT_TILE */
RF_CONST(RF_SPEC_TILE_K, 4)        /* k of one product, a divisor of RF_SPLIT_K */
RF_CONST(RF_SPEC_STAGED_ROWS, 5)   /* rows that go through the epilogue at a time, a divisor of RF_SPEC_ROWS */
RF_CONST(RF_EPILOGUE_STORE, 0)     /* y f32 [m][ldy], column n_first + n */
RF_CONST(RF_EPILOGUE_RESIDUAL, 1)  /* the same, added to what is there, times `scale` */
RF_CONST(RF_EPILOGUE_SWIGLU,
         2) /* columns come as 4 gates then their 4 ups: y = activation quads, silu(g) * u * scale */
RF_CONST(RF_EPILOGUE_REDUCE, 3) /* lm_head: partials [tile][ld]; M = counts.outputs, row = rows[outputs[m]] */
RF_CONST(RF_EPILOGUE_SWIGLU_INT8, 8) /* SWIGLU into int8 blocks: a workgroup makes whole tiles of 64 columns */
RF_CONST(RF_EPILOGUE_LOGITS, 4) /* lm_head: y f32 [m][ldy] with M = counts.outputs (tests, host sampling) */
RF_CONST(RF_EPILOGUE_PARTIAL, 5) /* split over k: workgroups of one z have split_octets octets of k and write
                                  * f32 [z][ldx][ldy], times `scale`; what follows adds them up (rmsnorm,
                                  * head_rope). Columns and ldy are multiples of RF_COLUMNS; not WIDE. */

struct rf_push_matmul {
    RF_REF(RfCounts) counts;
    RF_REF(RfQuads) x;   /* activation quads [k / 4][ldx]; int8 blocks in the matmul_int8 shaders */
    RF_REF(RfWeights) w; /* this chunk */
    RF_REF(RfBits)
    y; /* by epilogue: f32, activation quads, int8 blocks or partials, written as words, because SwiftShader
        * cannot turn one reference into another */
    RF_REF(RfVec4s) partials; /* PARTIAL, instead of y */
    RF_REF(RfRows) rows;     /* REDUCE */
    RF_REF(RfWords) outputs; /* REDUCE */
    RF_REF(RfSeqs) seqs;     /* REDUCE: temperature and noise */
    uint k, columns;         /* columns of this chunk, without padding */
    uint column_first;       /* of this chunk in the whole matrix; a multiple of RF_COLUMN_PAD */
    uint ldx, ldy;
    float scale;       /* RESIDUAL, SWIGLU, PARTIAL */
    uint split_octets; /* PARTIAL: of k, a multiple of RF_SPLIT_K / 8 */
};
RF_CHECK_PUSH(rf_push_matmul);

/* Grid: (heads + 2 kv_heads, rows), one subgroup a head. Reads qkv, normalises and rotates q and k, writes q
 * back in place (f32) and K, V into the row's page. Spec 0 SPLITS: more than 1: qkv is the sum of so many
 * partials, and only q is written to its place. */
struct rf_push_head_rope {
    RF_REF(RfCounts) counts;
    RF_REF(RfRows) rows;
    RF_REF(RfSeqs) seqs;
    RF_REF(RfVec4s) qkv;                /* in/out [row][(heads + 2 kv_heads) * head_dim]: q, then k, then v */
    RF_REF(RfVec4s) partials;           /* SPLITS: [split][ld][(heads + 2 kv_heads) * head_dim] */
    RF_REF(RfVec4s) q_weight, k_weight; /* f32 [head_dim] */
    RF_REF(RfVec4s) rope;               /* [position][head_dim / 2][cos, sin] */
    uint heads, kv_heads, head_dim, layer, ld;
    float eps;
};
RF_CHECK_PUSH(rf_push_head_rope);

/* Grid: (kv_heads * ceil(group / 8), rows, splits). Spec 0 GROUP: q heads of one kv head that a workgroup
 * handles (<= 8), spec 1 HEAD_DIM; attention_wide and attention_spread: spec 2 lanes, spec 3 ROWS of a workgroup. A
 * row with at most RF_SPLIT_KEYS keys is written to y at once, by split 0; any other leaves partials for
 * attention_reduce. */
struct rf_push_attention {
    RF_REF(RfCounts) counts;
    RF_REF(RfRows) rows;
    RF_REF(RfSeqs) seqs;
    RF_REF(RfVec4s) qkv;       /* q as head_rope left it */
    RF_REF(RfQuads) y;         /* out: activation quads [heads * head_dim / 4][ld], or int8 blocks */
    RF_REF(RfFloats) partials; /* out [split][ld][head]{max, sum, o[head_dim]} */
    uint heads, kv_heads, layer, ld;
    float scale; /* head_dim^-0.5 */
};
RF_CHECK_PUSH(rf_push_attention);

/* Grid: (heads, rows): combines the partials of rows with more than RF_SPLIT_KEYS keys. */
struct rf_push_attention_reduce {
    RF_REF(RfCounts) counts;
    RF_REF(RfRows) rows;
    RF_REF(RfFloats) partials;
    RF_REF(RfQuads) y;
    uint heads, head_dim, ld;
};
RF_CHECK_PUSH(rf_push_attention_reduce);

/* Grid: (1, outputs): partials of one row, in tile order, to the sequence's results. */
struct rf_push_logits_reduce {
    RF_REF(RfCounts) counts;
    RF_REF(RfRows) rows;
    RF_REF(RfWords) outputs;
    RF_REF(RfSeqs) seqs;
    RF_REF(RfPartials) partials; /* [tile][ld] */
    uint tiles, ld;
};
RF_CHECK_PUSH(rf_push_logits_reduce);

/* slot_select, slot_fill, slot_accept: one workgroup per active sequence. */
struct rf_push_slots {
    RF_REF(RfSeqs) seqs;
    RF_REF(RfActive) sequences;
};
RF_CHECK_PUSH(rf_push_slots);

/* kv_commit: copies scratch rows [0, commit_rows) behind the committed rows, in all layers. Grid from the
 * round state: (commit_rows, layers). */
struct rf_push_kv_commit {
    RF_REF(RfSeqs) seqs;
    uint seq, kv_heads, head_dim;
};
RF_CHECK_PUSH(rf_push_kv_commit);

/* ---- Bench and synthetic weights -------------------------------------------------------------------- */

RF_CONST(RF_FILL_BITS, 0)       /* random words */
RF_CONST(RF_FILL_F32, 1)        /* these three: uniform in (-amplitude, amplitude) */
RF_CONST(RF_FILL_F16, 2)        /* two a word */
RF_CONST(RF_FILL_BF16, 3)       /* two a word */
RF_CONST(RF_FILL_F16_AS_F32, 4) /* the values of RF_FILL_F16, element by element, as f32 */
RF_CONST(RF_FILL_SCALES,
         5) /* f16, two a word: uniform in (amplitude / 2, amplitude), the upper times ratio */

/* Word w of what is filled is word first + w / part * stride + w % part / run * step + w % run of the target:
 * blocks of `stride` words, in each `part` words in runs of `run`, one every `step`. Any grid of one
 * dimension. */
struct rf_push_synthetic {
    RF_REF(RfBits) words;
    uint begin, end; /* words w */
    uint first, part, stride, run, step;
    uint kind; /* RF_FILL_... */
    uint seed;
    float amplitude, ratio;
};
RF_CHECK_PUSH(rf_push_synthetic);

struct rf_push_bench_read { /* grid: vectors / per_group */
    RF_REF(RfWeights) source;
    RF_REF(RfBits) sink;
    uint per_group; /* 16-byte vectors that a workgroup reads, a multiple of 8 * RF_SPEC_LOCAL's value */
};
RF_CHECK_PUSH(rf_push_bench_read);

/* Spec constants of bench_coopmat beside RF_SPEC_LOCAL. */
RF_CONST(RF_SPEC_COOPMAT_M, 0)
RF_CONST(RF_SPEC_COOPMAT_N, 2)
RF_CONST(RF_SPEC_COOPMAT_K, 3)

struct rf_push_bench_math {
    RF_REF(RfBits) sink;
    uint loops;
    float factor, addend;
};
RF_CHECK_PUSH(rf_push_bench_math);

struct rf_push_bench_script { /* grid: (1, 1) */
    RF_REF(RfCounts) counts;
    RF_REF(RfRows) rows;
    RF_REF(RfWords) outputs;
    RF_REF(RfSeqs) seqs;
    uint seed;
    float rate; /* [0, 1] */
};
RF_CHECK_PUSH(rf_push_bench_script);

#endif
