#include "engine/model/matmul.h"

#include "engine/arithmetic.h"
#include "engine/model/coopmat.h"
#include "engine/model/int8.h"
#include "engine/model/tune.h"

enum {
    MANY_ROWS = 8,
    WIDE_ROWS = 16, /* 32 vector registers hold 16 sums and what is multiplied */
    WIDE_REDUCE_ROWS = 8,
    DETERMINISTIC_WIDE_ROWS = 8,
    ATTENTION_LINES = 8, /* most of attention_lines.glsl */
    SMALL_SUBGROUP = 16,
    LOCAL = 64,
    MOST_LOCAL = 256,
    COOPMAT_ROWS = 64, /* weights are read once for so many */
    COOPMAT_COLUMNS = 64,
    MOST_COOPMAT2_ROWS = 256
};

const char *rf_matmul_kind_name(enum rf_matmul_kind kind)
{
    static const char *const names[RF_MATMUL_KINDS] = {"many",    "few",      "wide", "spread",
                                                       "coopmat", "coopmat2", "tile"};
    return names[kind];
}

const char *rf_matmul_path(const struct rf_forward *f, enum rf_weight_format format)
{
    return rf_int8_takes(f, format) ? "int8" : f->fp16 ? "fp16" : "portable";
}

/* Whether matmul_coopmat can make products of this bucket. */
static bool has_coopmat(const struct rf_forward *f, uint32_t bucket)
{
    return rf_coopmat_built() && rf_gpu_get_caps(f->gpu)->coopmat && f->fp16 && bucket > RF_FEW_ROWS;
}

static bool has_coopmat2(const struct rf_forward *f, uint32_t bucket)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    return rf_coopmat2_built(caps) && caps->coopmat2_matmul && f->fp16 && bucket > RF_FEW_ROWS;
}

/* Every epilogue, because one choice serves all products of a format. */
static bool can_divide(const struct rf_gpu_caps *caps, struct rf_matmul_shape shape)
{
    struct rf_coopmat_tiling tiling;
    return rf_coopmat_divide(caps, shape.local, shape.rows, false, &tiling) &&
           rf_coopmat_divide(caps, shape.local, shape.rows, true, &tiling);
}

/* For inputs that are quads. */
static bool is_legal(const struct rf_forward *f, uint32_t bucket, struct rf_matmul_shape shape)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    struct rf_coopmat2_tiling tiling;
    if (shape.kind == RF_MATMUL_COOPMAT)
        return has_coopmat(f, bucket) && can_divide(caps, shape);
    if (shape.kind == RF_MATMUL_COOPMAT2)
        return has_coopmat2(f, bucket) && rf_coopmat2_divide(caps, shape.local, shape.rows, &tiling);
    if (!caps->plain_matmul && has_coopmat(f, bucket))
        return false;
    if (!rf_is_power_of_two(shape.rows) || !rf_is_power_of_two(shape.local) ||
        shape.local > caps->max_invocations)
        return false;
    switch (shape.kind) {
    case RF_MATMUL_MANY:
        return shape.rows <= MANY_ROWS;
    case RF_MATMUL_FEW:
        return bucket <= RF_FEW_ROWS && shape.rows <= RF_FEW_ROWS && shape.rows <= bucket;
    case RF_MATMUL_WIDE:
        return caps->wide && shape.local == caps->subgroup_size && shape.rows <= WIDE_ROWS;
    case RF_MATMUL_SPREAD:
        return caps->spread && shape.local == caps->subgroup_size && shape.rows <= MANY_ROWS;
    default:
        return false;
    }
}

/* Subgroups of up to 16 lanes (CPU drivers, small GPUs) are one workgroup each, with as many rows an
 * invocation as the bucket fills, so that a weight is unpacked once for 64 rows: 15 GFLOP/s on lavapipe where
 * one row an invocation makes 4.7. Wider subgroups share workgroups of 64, whose subgroups without a row
 * leave at once. */
static struct rf_matmul_shape default_many(const struct rf_gpu_caps *caps, uint32_t bucket)
{
    uint32_t lanes = caps->subgroup_size;
    if (lanes > SMALL_SUBGROUP)
        return (struct rf_matmul_shape){RF_MATMUL_MANY, LOCAL, bucket <= LOCAL ? 1 : 2, 1};
    uint32_t rows = 1;
    while (rows < MANY_ROWS && lanes * rows < bucket)
        rows *= 2;
    return (struct rf_matmul_shape){RF_MATMUL_MANY, lanes, rows, 1};
}

/* What a device without matrix units makes more than 8 rows with. */
static struct rf_matmul_shape default_rows(const struct rf_gpu_caps *caps, uint32_t bucket)
{
    struct rf_matmul_shape shape = default_many(caps, bucket);
    if (caps->spread)
        shape.kind = RF_MATMUL_SPREAD;
    return shape;
}

/* At most `rows` rows of the bucket and `columns` columns a workgroup, in whole fragments. */
static struct rf_matmul_shape coopmat_shape(const struct rf_gpu_caps *caps, uint32_t bucket, uint32_t rows,
                                            uint32_t columns)
{
    uint32_t wanted = bucket < rows ? bucket : rows;
    const struct rf_coopmat_shape *fragment = rf_coopmat_fragment(caps, wanted);
    uint32_t subgroups = columns > fragment->n ? columns / fragment->n : 1;
    return (struct rf_matmul_shape){RF_MATMUL_COOPMAT, subgroups * caps->subgroup_size,
                                    rf_divide_up(wanted, fragment->m) * fragment->m, 1};
}

struct rf_matmul_shape rf_matmul_plain(const struct rf_forward *f, uint32_t bucket)
{
    return default_many(rf_gpu_get_caps(f->gpu), bucket);
}

static struct rf_matmul_shape few_shape(uint32_t bucket)
{
    return (struct rf_matmul_shape){RF_MATMUL_FEW, LOCAL, bucket, 1};
}

/* CPU drivers that load whole vectors: the kind that trials chose for every format and bucket, 1.6 to 9 times
 * as fast as the others (SPEED.md). Else matrix units first; CPU drivers emulate them. COOPMAT2 by trial only,
 * unless tests have it emulated and want nothing else. */
static struct rf_matmul_shape default_shape(const struct rf_forward *f, uint32_t bucket)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    const struct rf_matmul_shape wide = {RF_MATMUL_WIDE, caps->subgroup_size,
                                         bucket < WIDE_ROWS ? bucket : WIDE_ROWS, 1};
    if (caps->plain_matmul && !caps->spread && is_legal(f, bucket, wide))
        return wide;
    if (bucket <= RF_FEW_ROWS)
        return few_shape(bucket);
    if (!caps->coopmat2_units && !caps->plain_matmul && has_coopmat2(f, bucket)) {
        uint32_t local = caps->workgroup_matrices.list[0].invocations;
        uint32_t rows = rf_coopmat2_rows(caps, local, bucket < COOPMAT_ROWS ? bucket : COOPMAT_ROWS);
        return (struct rf_matmul_shape){RF_MATMUL_COOPMAT2, local, rows, 1};
    }
    if (has_coopmat(f, bucket) && !(caps->cpu && caps->plain_matmul)) {
        struct rf_matmul_shape shape = coopmat_shape(caps, bucket, COOPMAT_ROWS, COOPMAT_COLUMNS);
        if (is_legal(f, bucket, shape))
            return shape;
    }
    return default_rows(caps, bucket);
}

bool rf_matmul_legal(const struct rf_forward *f, enum rf_weight_format format, uint32_t bucket,
                     struct rf_matmul_shape shape)
{
    return rf_int8_takes(f, format) ? rf_int8_legal(rf_gpu_get_caps(f->gpu), bucket, shape)
                                    : is_legal(f, bucket, shape);
}

struct rf_matmul_shape rf_matmul_default(const struct rf_forward *f, enum rf_weight_format format,
                                         uint32_t bucket)
{
    return rf_int8_takes(f, format) ? rf_int8_default(rf_gpu_get_caps(f->gpu), bucket)
                                    : default_shape(f, bucket);
}

static void add_new(struct rf_matmul_shape shape, struct rf_matmul_shape *shapes, uint32_t *count)
{
    if (*count == RF_MATMUL_CANDIDATES)
        return;
    for (uint32_t i = 0; i < *count; i++)
        if (shapes[i].kind == shape.kind && shapes[i].local == shape.local && shapes[i].rows == shape.rows &&
            shapes[i].splits == shape.splits)
            return;
    shapes[(*count)++] = shape;
}

static void add_shape(const struct rf_forward *f, uint32_t bucket, struct rf_matmul_shape shape,
                      struct rf_matmul_shape *shapes, uint32_t *count)
{
    if (is_legal(f, bucket, shape))
        add_new(shape, shapes, count);
}

/* Columns decide how many workgroups there are, rows how often weights are read. */
static void add_coopmat(const struct rf_forward *f, uint32_t bucket, struct rf_matmul_shape *shapes,
                        uint32_t *count)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    if (!has_coopmat(f, bucket))
        return;
    for (uint32_t columns = COOPMAT_COLUMNS / 2; columns <= 2 * COOPMAT_COLUMNS; columns *= 2)
        add_shape(f, bucket, coopmat_shape(caps, bucket, COOPMAT_ROWS, columns), shapes, count);
    add_shape(f, bucket, coopmat_shape(caps, bucket, 2 * COOPMAT_ROWS, 2 * COOPMAT_COLUMNS), shapes, count);
}

/* Every workgroup that the device has, for one tile of the bucket's rows and, where that leaves more
 * workgroups, for tiles of COOPMAT_ROWS. */
static void add_coopmat2(const struct rf_forward *f, uint32_t bucket, struct rf_matmul_shape *shapes,
                         uint32_t *count)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    for (uint32_t i = 0; has_coopmat2(f, bucket) && i < caps->workgroup_matrices.count; i++) {
        uint32_t local = caps->workgroup_matrices.list[i].invocations;
        for (uint32_t most = COOPMAT_ROWS; most <= MOST_COOPMAT2_ROWS; most *= 2) {
            uint32_t rows = rf_coopmat2_rows(caps, local, bucket < most ? bucket : most);
            add_shape(f, bucket, (struct rf_matmul_shape){RF_MATMUL_COOPMAT2, local, rows, 1}, shapes, count);
        }
    }
}

uint32_t rf_matmul_candidates(const struct rf_forward *f, enum rf_weight_format format, uint32_t bucket,
                              struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES])
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    if (rf_int8_takes(f, format))
        return rf_int8_candidates(caps, bucket, shapes);
    uint32_t count = 0, lanes = caps->subgroup_size;
    add_shape(f, bucket, default_shape(f, bucket), shapes, &count);
    if (bucket <= RF_FEW_ROWS)
        add_shape(f, bucket, few_shape(bucket), shapes, &count);
    uint32_t most = bucket < WIDE_ROWS ? bucket : WIDE_ROWS;
    /* The one with fewer rows compiles faster and tells as well whether the kind is hopeless (tune.c). */
    if (bucket > 1)
        add_shape(f, bucket, (struct rf_matmul_shape){RF_MATMUL_WIDE, lanes, most / 2, 1}, shapes, &count);
    add_shape(f, bucket, (struct rf_matmul_shape){RF_MATMUL_WIDE, lanes, most, 1}, shapes, &count);
    /* From 4 rows on, lanes that are rows can win over lanes that share a sum. */
    if (bucket >= 4)
        add_shape(f, bucket, default_rows(caps, bucket), shapes, &count);
    if (caps->cpu && caps->coopmat2_units) /* each trial costs a compilation, up to a second on SwiftShader */
        return count;
    /* Those that are proved on hardware first: the list may be full before the others are. */
    if (!caps->cpu)
        add_coopmat(f, bucket, shapes, &count);
    add_coopmat2(f, bucket, shapes, &count);
    if (caps->cpu)
        return count;
    for (uint32_t local = LOCAL; local <= MOST_LOCAL; local *= 2)
        add_shape(f, bucket, (struct rf_matmul_shape){RF_MATMUL_FEW, local, bucket, 1}, shapes, &count);
    for (uint32_t rows = 1; rows <= 4; rows *= 2)
        add_shape(f, bucket, (struct rf_matmul_shape){RF_MATMUL_MANY, LOCAL, rows, 1}, shapes, &count);
    return count;
}

uint32_t rf_matmul_all(const struct rf_forward *f, enum rf_weight_format format, uint32_t bucket,
                       struct rf_matmul_shape shapes[RF_MATMUL_ALL])
{
    uint32_t count = 0;
    for (int kind = 0; kind < RF_MATMUL_KINDS; kind++) {
        for (uint32_t local = rf_gpu_get_caps(f->gpu)->subgroup_size; local <= MOST_LOCAL; local *= 2) {
            for (uint32_t rows = 1; rows <= MOST_COOPMAT2_ROWS; rows *= 2) {
                const struct rf_matmul_shape shape = {(enum rf_matmul_kind)kind, local, rows, 1};
                if (rows > 2 * COOPMAT_ROWS && kind != RF_MATMUL_COOPMAT2)
                    continue;
                if (count < RF_MATMUL_ALL && rf_matmul_legal(f, format, bucket, shape))
                    shapes[count++] = shape;
            }
        }
    }
    return count;
}

/* The shape of a product in this plan. A deterministic forward has one pipeline whatever the company; with
 * MANY it reads the weights more often than need be at many rows, which is the price of bit-identical rows.
 */
static struct rf_matmul_shape pick_shape(const struct rf_forward *f, const struct forward_plan *plan,
                                         enum rf_weight_format format, uint32_t epilogue)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    bool reduce = epilogue == RF_EPILOGUE_REDUCE;
    if (rf_int8_takes(f, format))
        return rf_int8_fit(caps, rf_tune_shape(f, format, plan->bucket), epilogue,
                           (plan->flags & RF_FORWARD_DETERMINISTIC) != 0);
    if (plan->flags & RF_FORWARD_DETERMINISTIC) {
        struct rf_matmul_shape tuned = rf_tune_shape(f, format, 1u << RF_DETERMINISTIC_BUCKET);
        if (tuned.kind == RF_MATMUL_WIDE)
            return (struct rf_matmul_shape){RF_MATMUL_WIDE, tuned.local, DETERMINISTIC_WIDE_ROWS, 1};
        return default_rows(caps, 1u << RF_DETERMINISTIC_BUCKET);
    }
    struct rf_matmul_shape shape = rf_tune_shape(f, format, plan->bucket);
    uint32_t most = shape.kind == RF_MATMUL_FEW ? rf_few_reduce_rows(caps) : WIDE_REDUCE_ROWS;
    if (reduce && shape.kind != RF_MATMUL_COOPMAT && shape.kind != RF_MATMUL_COOPMAT2 && shape.rows > most)
        shape.rows = most;
    return shape;
}

bool rf_plan_is_wide(const struct rf_forward *f, const struct forward_plan *plan,
                     enum rf_weight_format format)
{
    return pick_shape(f, plan, format, RF_EPILOGUE_STORE).kind == RF_MATMUL_WIDE;
}

uint32_t rf_attention_lines_rows(uint32_t group, uint32_t rows)
{
    uint32_t most = ATTENTION_LINES / group;
    return rows < most ? rows : most;
}

static const char *matmul_shader(const struct rf_forward *f, enum rf_matmul_kind kind,
                                 enum rf_weight_format format)
{
    static const char *const names[RF_MATMUL_KINDS][2][RF_WEIGHT_FORMATS] = {
        {RF_BY_FORMAT("matmul", ""), RF_BY_FORMAT("matmul", "_act16")},
        {RF_BY_FORMAT("matmul_few", ""), RF_BY_FORMAT("matmul_few", "_act16")},
        {RF_BY_FORMAT("matmul_wide", ""), RF_BY_FORMAT("matmul_wide", "_act16")},
        {RF_BY_FORMAT("matmul_spread", ""), RF_BY_FORMAT("matmul_spread", "_act16")},
        {{NULL}, RF_BY_FORMAT("matmul_coopmat", "_act16")},
        {{NULL}, RF_BY_FORMAT("matmul_coopmat2", "_act16")},
        {{NULL}, {NULL}},
    };
    static const char *const int8_names[2][RF_WEIGHT_FORMATS] = {RF_BY_FORMAT("matmul_int8", ""),
                                                                 RF_BY_FORMAT("matmul_int8_few", "")};
    if (rf_int8_takes(f, format))
        return int8_names[kind == RF_MATMUL_FEW][format];
    return names[kind][f->fp16][format];
}

/* Dispatch size for `columns` columns: x is theirs, y the rows'. */
struct groups {
    uint32_t x, y_per;  /* see struct rf_grid */
    uint32_t subgroups; /* of a workgroup */
};

static struct groups matmul_groups(const struct rf_forward *f, struct rf_matmul_shape shape, uint32_t columns,
                                   bool reduce)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    uint32_t unit = reduce ? RF_LOGIT_TILE : RF_COLUMNS, lanes = caps->subgroup_size;
    uint32_t subgroups = lanes < shape.local ? shape.local / lanes : 1;
    struct rf_coopmat_tiling tiling;
    struct rf_coopmat2_tiling workgroup;
    switch (shape.kind) {
    case RF_MATMUL_WIDE: /* one invocation goes over all rows */
        return (struct groups){rf_divide_up(columns, reduce ? RF_LOGIT_TILE : shape.local), RF_MAX_ROWS,
                               subgroups};
    case RF_MATMUL_SPREAD:
        unit = reduce ? RF_LOGIT_TILE : rf_spread_blocks(shape.rows) * RF_COLUMNS;
        return (struct groups){rf_divide_up(columns, unit), shape.local * shape.rows, subgroups};
    case RF_MATMUL_FEW:
        return (struct groups){rf_divide_up(rf_divide_up(columns, unit), subgroups), shape.rows, subgroups};
    case RF_MATMUL_TILE:
        return (struct groups){rf_divide_up(columns, shape.local / 2), shape.rows, subgroups};
    case RF_MATMUL_COOPMAT:
        rf_coopmat_divide(caps, shape.local, shape.rows, reduce, &tiling);
        return (struct groups){rf_divide_up(columns, tiling.columns), tiling.rows, subgroups};
    case RF_MATMUL_COOPMAT2:
        rf_coopmat2_divide(caps, shape.local, shape.rows, &workgroup);
        return (struct groups){rf_divide_up(columns, workgroup.columns), workgroup.rows, subgroups};
    default:
        return (struct groups){rf_divide_up(columns, unit), shape.local * shape.rows, subgroups};
    }
}

static uint32_t matmul_grid(const struct rf_forward *f, struct forward_plan *plan,
                            struct rf_matmul_shape shape, uint32_t columns, uint32_t epilogue)
{
    bool reduce = epilogue == RF_EPILOGUE_REDUCE, shares = epilogue == RF_EPILOGUE_SWIGLU_INT8;
    uint32_t source = reduce || epilogue == RF_EPILOGUE_LOGITS ? RF_GRID_OUTPUTS : RF_GRID_ROWS;
    struct groups groups = matmul_groups(f, shape, columns, reduce);
    if (shares && shape.kind == RF_MATMUL_FEW)
        groups.x = rf_divide_up(columns, RF_LOGIT_TILE); /* a workgroup makes one tile */
    return rf_plan_grid_z(plan, groups.x, groups.y_per, source, shape.splits);
}

bool rf_matmul_by_column(const struct rf_gpu_caps *caps)
{
    return caps->cpu && caps->subgroup_size <= 4;
}

uint32_t rf_spread_blocks(uint32_t rows)
{
    return rows <= 4 ? 2 : 1;
}

static void add_specs(const struct rf_forward *f, struct forward_op *op, enum rf_weight_format format,
                      struct rf_matmul_shape shape, uint32_t epilogue)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    struct rf_coopmat_tiling tiling;
    struct rf_coopmat2_tiling workgroup;
    uint32_t specs[RF_COOPMAT_SPECS], count = 0;
    rf_op_spec(op, epilogue);
    rf_op_spec(op, shape.local);
    rf_op_spec(op, shape.rows);
    if ((shape.kind == RF_MATMUL_MANY || shape.kind == RF_MATMUL_FEW) && !rf_int8_takes(f, format))
        rf_op_spec(op, rf_matmul_by_column(caps));
    if (shape.kind == RF_MATMUL_FEW && !rf_int8_takes(f, format))
        rf_op_spec(op, caps->cpu ? RF_COLUMNS : RF_COLUMNS / 2);
    if (shape.kind == RF_MATMUL_SPREAD)
        rf_op_spec(op, rf_spread_blocks(shape.rows));
    if (shape.kind == RF_MATMUL_COOPMAT) {
        rf_coopmat_divide(caps, shape.local, shape.rows, epilogue == RF_EPILOGUE_REDUCE, &tiling);
        rf_coopmat_specs(&tiling, specs);
        count = RF_COOPMAT_SPECS;
    } else if (shape.kind == RF_MATMUL_COOPMAT2) {
        rf_coopmat2_divide(caps, shape.local, shape.rows, &workgroup);
        rf_coopmat2_specs(&workgroup, specs);
        count = RF_COOPMAT2_SPECS;
    }
    for (uint32_t i = 0; i < count; i++)
        rf_op_spec(op, specs[i]);
}

void rf_plan_chunk(const struct rf_forward *f, struct forward_plan *plan, const struct rf_matmul_call *call,
                   const struct rf_chunk *chunk, struct rf_matmul_shape shape)
{
    const struct forward_spans *s = &f->spans;
    bool blocks = rf_int8_takes(f, chunk->format) && call->x.address == s->x.address;
    struct rf_span x = blocks ? s->x8 : call->x;
    bool split = shape.splits > 1;
    uint32_t epilogue = split ? RF_EPILOGUE_PARTIAL : call->epilogue;
    struct rf_push_matmul push = {.counts = s->counts.address,
                                  .x = x.address,
                                  .w = chunk->span.address,
                                  .y = call->y.address,
                                  .partials = s->split_partials.address,
                                  .rows = s->rows.address,
                                  .outputs = s->outputs.address,
                                  .seqs = s->seqs.address,
                                  .k = call->matrix->k,
                                  .columns = chunk->columns,
                                  .column_first = chunk->first,
                                  .ldx = call->ldx,
                                  .ldy = call->ldy,
                                  .scale = call->scale,
                                  .split_octets = rf_split_octets(call->matrix->k, shape.splits)};
    struct forward_op *op =
        RF_PLAN_ADD(plan, matmul_shader(f, shape.kind, chunk->format), call->layer, call->name, push,
                    matmul_grid(f, plan, shape, chunk->columns, epilogue));
    add_specs(f, op, chunk->format, shape, epilogue);
    rf_op_cost(op, chunk->span.size);
    rf_op_work(op, rf_work_matmul(f, call, chunk, shape.splits));
    rf_op_access(op, s->counts, RF_READ);
    rf_op_access(op, x, RF_READ);
    rf_op_access(op, chunk->span, RF_READ);
    if (split)
        rf_op_access(op, s->split_partials, RF_WRITE);
    else
        rf_op_access(op, call->y, epilogue == RF_EPILOGUE_RESIDUAL ? RF_READ_WRITE : RF_WRITE);
    if (epilogue != RF_EPILOGUE_REDUCE)
        return;
    rf_op_access(op, s->rows, RF_READ);
    rf_op_access(op, s->outputs, RF_READ);
    rf_op_access(op, s->seqs, RF_READ);
}

/* ---- Splits over k ---------------------------------------------------------------------------------- */

static const struct rf_chunk *largest_chunk(const struct rf_matrix *matrix)
{
    const struct rf_chunk *largest = &matrix->chunks[0];
    for (uint32_t c = 1; c < matrix->chunk_count; c++)
        if (matrix->chunks[c].columns > largest->columns)
            largest = &matrix->chunks[c];
    return largest;
}

enum rf_weight_format rf_split_format(const struct rf_matrix *matrix)
{
    return largest_chunk(matrix)->format;
}

/* As if all columns had the format of the largest chunk. */
static struct rf_split_load split_load(const struct rf_forward *f, uint32_t bucket,
                                       const struct rf_matrix *matrix, struct rf_matmul_shape shape)
{
    struct groups groups = matmul_groups(f, shape, matrix->columns, false);
    uint32_t lanes = rf_gpu_get_caps(f->gpu)->subgroup_size, y = rf_divide_up(bucket, groups.y_per);
    uint32_t subgroups = y * groups.subgroups;
    if (shape.kind == RF_MATMUL_MANY && rf_divide_up(bucket, lanes) < subgroups)
        subgroups = rf_divide_up(bucket, lanes); /* those without a row leave at once */
    return (struct rf_split_load){.rows = bucket,
                                  .k = matrix->k,
                                  .columns = matrix->columns,
                                  .subgroups = groups.x * subgroups,
                                  .weight_bytes = rf_divide_up(matrix->columns, RF_COLUMNS) *
                                                  rf_weight_block_bytes(rf_split_format(matrix), matrix->k)};
}

bool rf_matmul_splits_legal(const struct rf_forward *f, uint32_t bucket, const struct rf_matrix *matrix,
                            struct rf_matmul_shape shape)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    struct rf_split_load load = split_load(f, bucket, matrix, shape);
    if (shape.splits == 1)
        return true;
    for (uint32_t c = 0; c < matrix->chunk_count; c++) {
        enum rf_weight_format format = matrix->chunks[c].format;
        if (matrix->chunks[c].columns % RF_COLUMNS ||
            (format != rf_split_format(matrix) && rf_tune_shape(f, format, bucket).kind == RF_MATMUL_WIDE))
            return false;
    }
    return shape.kind != RF_MATMUL_WIDE && rf_split_legal(caps, &load, shape.splits);
}

uint32_t rf_matmul_default_splits(const struct rf_forward *f, uint32_t bucket, const struct rf_matrix *matrix,
                                  struct rf_matmul_shape shape)
{
    struct rf_split_load load = split_load(f, bucket, matrix, shape);
    shape.splits = rf_split_default(rf_gpu_get_caps(f->gpu), &load);
    return rf_matmul_splits_legal(f, bucket, matrix, shape) ? shape.splits : 1;
}

uint32_t rf_matmul_split_candidates(const struct rf_forward *f, uint32_t bucket,
                                    const struct rf_matrix *matrix, struct rf_matmul_shape whole,
                                    struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES])
{
    struct rf_matmul_shape others[RF_MATMUL_CANDIDATES];
    uint32_t count = 0, other_count = rf_matmul_candidates(f, rf_split_format(matrix), bucket, others);
    uint32_t splits = rf_matmul_default_splits(f, bucket, matrix, whole);
    const uint32_t neighbours[] = {splits, 2 * splits, splits / 2};
    add_new(whole, shapes, &count);
    for (int i = 0; i < 3; i++) {
        struct rf_matmul_shape shape = whole;
        shape.splits = neighbours[i];
        if (shape.splits > 1 && rf_matmul_splits_legal(f, bucket, matrix, shape))
            add_new(shape, shapes, &count);
    }
    for (uint32_t i = 0; count > 1 && i < other_count; i++) {
        if (others[i].kind != whole.kind)
            continue;
        others[i].splits = rf_matmul_default_splits(f, bucket, matrix, others[i]);
        add_new(others[i], shapes, &count);
    }
    return count;
}

/* A deterministic forward splits nothing: how many splits are worth it depends on the number of rows. */
static struct rf_matmul_shape pick_split(const struct rf_forward *f, const struct forward_plan *plan,
                                         const struct rf_matmul_call *call)
{
    enum rf_weight_format format = rf_split_format(call->matrix);
    struct rf_matmul_shape choice = pick_shape(f, plan, format, call->epilogue), tuned;
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    if (call->product == RF_SPLIT_NONE || (plan->flags & RF_FORWARD_DETERMINISTIC) ||
        !rf_split_possible(caps))
        return choice;
    if (caps->whole_k && rf_tune_product(f, call->product, format, plan->bucket, &tuned))
        choice = tuned;
    else
        choice.splits = rf_matmul_default_splits(f, plan->bucket, call->matrix, choice);
    /* The choice is that of a layer with the same format, whose other chunks may differ. */
    if (!rf_matmul_splits_legal(f, plan->bucket, call->matrix, choice))
        choice.splits = 1;
    return choice;
}

/* A chunk whose product would take longer than a submission may goes as several, each of some columns: their sums are
 * the same to the bit. Pieces are as even as whole workgroups of every kind allow. */
static void plan_pieces(const struct rf_forward *f, struct forward_plan *plan,
                        const struct rf_matmul_call *call, const struct rf_chunk *chunk,
                        struct rf_matmul_shape shape)
{
    enum { STEP = 512 }; /* columns; a multiple of RF_COLUMN_PAD */
    const uint64_t block = rf_weight_block_bytes(chunk->format, call->matrix->k);
    uint64_t wanted = plan->piece ? (chunk->span.size + plan->piece - 1) / plan->piece : 1;
    uint32_t steps = rf_divide_up(chunk->columns, STEP);
    const uint32_t count = wanted < steps ? (uint32_t)wanted : steps;
    if (count < 2) {
        rf_plan_chunk(f, plan, call, chunk, shape);
        return;
    }
    const uint32_t columns = rf_divide_up(steps, count) * STEP;
    for (uint32_t first = 0; first < chunk->columns; first += columns) {
        const uint32_t left = chunk->columns - first;
        const uint64_t offset = first / RF_COLUMNS * block;
        const struct rf_chunk piece = {
            .span = rf_span_part(chunk->span, offset,
                                 left > columns ? columns / RF_COLUMNS * block : chunk->span.size - offset),
            .first = chunk->first + first,
            .columns = left < columns ? left : columns,
            .format = chunk->format};
        rf_plan_chunk(f, plan, call, &piece, shape);
    }
}

void rf_plan_split(const struct rf_forward *f, struct forward_plan *plan, const struct rf_matmul_call *call,
                   struct rf_matmul_shape choice)
{
    enum rf_weight_format format = rf_split_format(call->matrix);
    for (uint32_t c = 0; c < call->matrix->chunk_count; c++) {
        const struct rf_chunk *chunk = &call->matrix->chunks[c];
        struct rf_matmul_shape shape = choice;
        if (chunk->format != format)
            shape = pick_shape(f, plan, chunk->format, call->epilogue);
        shape.splits = choice.splits;
        plan_pieces(f, plan, call, chunk, shape);
    }
}

uint32_t rf_plan_matmul(const struct rf_forward *f, struct forward_plan *plan,
                        const struct rf_matmul_call *call)
{
    struct rf_matmul_shape choice = pick_split(f, plan, call);
    rf_plan_split(f, plan, call, choice);
    return choice.splits;
}
