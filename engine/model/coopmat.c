#include "engine/model/coopmat.h"

#include "engine/arithmetic.h"
#include "shaders/shared.h"

enum {
    SKINNY_ROWS = 64, /* up to here one subgroup has all rows of its columns */
    MOST_SUMS = 128,  /* registers of sums an invocation */
    LONG_STEP = 64,   /* k; needs fewer barriers, if it leaves room for enough subgroups: */
    LONG_STEP_SUBGROUP_BYTES = 7168,
    SHORT_STEP = 32,
    MOST_SHARED_BYTES = 49152, /* what desktop devices have */
    WORD = 16,                 /* bytes of a uvec4 */
    MOST_STAGED_BYTES = 16384, /* matmul_coopmat2.comp; more would keep other workgroups from a core */
    /* attention_coopmat.comp */
    KEY_TILE = 32,
    MOST_MATRIX_ROWS = 2 * KEY_TILE,
    MOST_FRAGMENT = 16,  /* rows, dimensions of a head or keys */
    MOST_HEAD_DIM = 128, /* 256 spill on AMD */
    ROW_BYTES = 36 + 8   /* of a row's description, and its maximum and sum */
};

bool rf_coopmat_built(void)
{
    return RF_COOPMAT_SHADERS;
}

const struct rf_coopmat_shape *rf_coopmat_fragment(const struct rf_gpu_caps *caps, uint32_t rows)
{
    const struct rf_coopmat_shape *best = NULL;
    for (uint32_t i = 0; i < caps->coopmat_shape_count; i++) {
        const struct rf_coopmat_shape *shape = &caps->coopmat_shapes[i];
        uint32_t padded = rf_divide_up(rows, shape->m) * shape->m;
        uint32_t least = best ? rf_divide_up(rows, best->m) * best->m : UINT32_MAX;
        if (padded < least ||
            (padded == least && best && shape->m * shape->n * shape->k > best->m * best->n * best->k))
            best = shape;
    }
    return best;
}

/* Bytes of both buffers of factors; see the shader. */
static uint32_t factor_bytes(const struct rf_coopmat_tiling *t, uint32_t k_step)
{
    return 2 * (t->rows + t->columns) * (k_step / 8 + 1) * WORD;
}

static uint32_t sum_bytes(const struct rf_coopmat_tiling *t, uint32_t round_tiles)
{
    return round_tiles * t->fragment.m * t->row_groups * (t->columns / 4 + 1) * WORD;
}

/* `brief`: two fragments, because a CPU driver compiles whatever is unrolled for seconds. */
static bool choose_k_step(struct rf_coopmat_tiling *t, uint32_t most_bytes, bool brief)
{
    const uint32_t steps[] = {brief ? 2 * t->fragment.k : LONG_STEP, SHORT_STEP, t->fragment.k};
    uint32_t long_room = LONG_STEP_SUBGROUP_BYTES * t->row_groups * t->column_groups;
    const uint32_t room[] = {long_room < most_bytes ? long_room : most_bytes, most_bytes, most_bytes};
    for (int i = 0; i < 3; i++) {
        t->k_step = steps[i];
        if (steps[i] % t->fragment.k == 0 && factor_bytes(t, steps[i]) <= room[i])
            return true;
    }
    return false;
}

/* The epilogue takes as many row tiles at a time as the memory of the factors holds. */
static bool choose_round(struct rf_coopmat_tiling *t, uint32_t row_tiles, uint32_t most_bytes)
{
    uint32_t bytes = factor_bytes(t, t->k_step);
    t->round_tiles = row_tiles;
    while (t->round_tiles > 1 && (row_tiles % t->round_tiles || sum_bytes(t, t->round_tiles) > bytes))
        t->round_tiles--;
    if (sum_bytes(t, t->round_tiles) > bytes)
        bytes = sum_bytes(t, t->round_tiles);
    t->shared = bytes / WORD;
    return bytes <= most_bytes;
}

bool rf_coopmat_divide(const struct rf_gpu_caps *caps, uint32_t local, uint32_t rows, bool reduce,
                       struct rf_coopmat_tiling *out)
{
    const struct rf_coopmat_shape *fragment = rf_coopmat_fragment(caps, rows);
    uint32_t subgroups = local / caps->subgroup_size;
    if (!fragment || rows == 0 || rows % fragment->m || subgroups == 0 || local % caps->subgroup_size ||
        local > caps->max_invocations)
        return false;
    struct rf_coopmat_tiling t = {.fragment = *fragment, .rows = rows, .row_groups = 1, .column_tiles = 1};
    if (rows > SKINNY_ROWS && subgroups % 2 == 0 && rows / fragment->m % 2 == 0)
        t.row_groups = t.column_tiles = 2;
    t.column_groups = subgroups / t.row_groups;
    while (reduce && t.column_groups * t.column_tiles * fragment->n % RF_LOGIT_TILE)
        t.column_tiles *= 2;
    t.columns = t.column_groups * t.column_tiles * fragment->n;
    uint32_t row_tiles = rows / fragment->m / t.row_groups;
    uint32_t sums = row_tiles * t.column_tiles * fragment->m * fragment->n / caps->subgroup_size;
    uint32_t most_bytes = caps->shared_bytes < MOST_SHARED_BYTES ? caps->shared_bytes : MOST_SHARED_BYTES;
    if (sums > MOST_SUMS || !choose_k_step(&t, most_bytes, caps->cpu) ||
        !choose_round(&t, row_tiles, most_bytes))
        return false;
    *out = t;
    return true;
}

void rf_coopmat_specs(const struct rf_coopmat_tiling *t, uint32_t specs[RF_COOPMAT_SPECS])
{
    const uint32_t values[] = {[RF_SPEC_FRAGMENT_M] = t->fragment.m,
                               [RF_SPEC_FRAGMENT_N] = t->fragment.n,
                               [RF_SPEC_FRAGMENT_K] = t->fragment.k,
                               [RF_SPEC_ROW_GROUPS] = t->row_groups,
                               [RF_SPEC_COLUMN_GROUPS] = t->column_groups,
                               [RF_SPEC_COLUMN_TILES] = t->column_tiles,
                               [RF_SPEC_K_STEP] = t->k_step,
                               [RF_SPEC_SHARED] = t->shared,
                               [RF_SPEC_ROUND_TILES] = t->round_tiles};
    for (uint32_t i = 0; i < RF_COOPMAT_SPECS; i++)
        specs[i] = values[RF_SPEC_FRAGMENT_M + i];
}

bool rf_coopmat2_built(const struct rf_gpu_caps *caps)
{
    return RF_COOPMAT2_SHADERS || !caps->coopmat2_units;
}

static const struct rf_workgroup_matrix *find_workgroup(const struct rf_gpu_caps *caps, uint32_t local)
{
    const struct rf_workgroup_matrices *matrices = &caps->workgroup_matrices;
    for (uint32_t i = 0; i < matrices->count; i++)
        if (matrices->list[i].invocations == local)
            return &matrices->list[i];
    return NULL;
}

uint32_t rf_coopmat2_rows(const struct rf_gpu_caps *caps, uint32_t local, uint32_t rows)
{
    const struct rf_workgroup_matrix *matrix = find_workgroup(caps, local);
    return matrix ? rf_divide_up(rows, matrix->m) * matrix->m : 0;
}

/* As long as possible: a step is a round trip to memory. It divides RF_SPLIT_K, so that splits are whole
 * steps. */
static bool choose_step(struct rf_coopmat2_tiling *t, const struct rf_workgroup_matrix *matrix,
                        uint32_t max_dimension)
{
    for (t->k = RF_SPLIT_K; t->k >= 8; t->k /= 2)
        if (t->k <= max_dimension && t->k % matrix->k == 0)
            return true;
    return false;
}

/* As many rows at a time as fit beside what the driver keeps to itself. */
static bool choose_staged(struct rf_coopmat2_tiling *t, const struct rf_gpu_caps *caps)
{
    uint32_t reserved = caps->workgroup_matrices.reserved_bytes;
    uint32_t room = caps->shared_bytes > reserved ? caps->shared_bytes - reserved : 0;
    uint32_t row_bytes = (t->columns + 1) * (uint32_t)sizeof(float);
    if (room > MOST_STAGED_BYTES)
        room = MOST_STAGED_BYTES;
    t->staged_rows = t->rows;
    while (t->staged_rows > 0 && (t->rows % t->staged_rows || t->staged_rows * row_bytes > room))
        t->staged_rows--;
    return t->staged_rows > 0;
}

/* Half as many columns as invocations: 64 rows are 32 sums an invocation, 256 are MOST_SUMS. */
bool rf_coopmat2_divide(const struct rf_gpu_caps *caps, uint32_t local, uint32_t rows,
                        struct rf_coopmat2_tiling *out)
{
    const struct rf_workgroup_matrices *limits = &caps->workgroup_matrices;
    const struct rf_workgroup_matrix *matrix = find_workgroup(caps, local);
    if (!matrix || rows == 0 || rows % matrix->m || rows > limits->max_dimension ||
        local > caps->max_invocations || local > limits->max_invocations || local % caps->subgroup_size)
        return false;
    struct rf_coopmat2_tiling t = {.rows = rows, .columns = local / 2};
    if (t.columns > limits->max_dimension)
        t.columns = limits->max_dimension;
    t.columns = t.columns / RF_LOGIT_TILE * RF_LOGIT_TILE;
    if (t.columns == 0 || t.columns % matrix->n || rows * t.columns / local > MOST_SUMS ||
        !choose_step(&t, matrix, limits->max_dimension) || !choose_staged(&t, caps))
        return false;
    *out = t;
    return true;
}

void rf_coopmat2_specs(const struct rf_coopmat2_tiling *t, uint32_t specs[RF_COOPMAT2_SPECS])
{
    const uint32_t values[] = {
        [RF_SPEC_TILE_COLUMNS] = t->columns, [RF_SPEC_TILE_K] = t->k, [RF_SPEC_STAGED_ROWS] = t->staged_rows};
    for (uint32_t i = 0; i < RF_COOPMAT2_SPECS; i++)
        specs[i] = values[RF_SPEC_TILE_COLUMNS + i];
}

static bool can_attend(const struct rf_gpu_caps *caps, const struct rf_coopmat_shape *shape,
                       uint32_t head_dim)
{
    return shape->m <= MOST_FRAGMENT && shape->n <= MOST_FRAGMENT && shape->m <= caps->subgroup_size &&
           shape->n % 8 == 0 && shape->k % 8 == 0 && KEY_TILE % shape->n == 0 && KEY_TILE % shape->k == 0 &&
           head_dim % shape->n == 0 && head_dim % shape->k == 0;
}

/* The largest fragment, and as many subgroups as the rows of the forward fill; a lane has one key of a
 * tile. */
bool rf_coopmat_attend(const struct rf_gpu_caps *caps, uint32_t group, uint32_t head_dim, uint32_t rows,
                       struct rf_coopmat_attention *out)
{
    struct rf_coopmat_attention a = {.block = 0};
    for (uint32_t i = 0; i < caps->coopmat_shape_count; i++) {
        const struct rf_coopmat_shape *shape = &caps->coopmat_shapes[i];
        if (can_attend(caps, shape, head_dim) &&
            shape->m * shape->n * shape->k > a.fragment.m * a.fragment.n * a.fragment.k)
            a.fragment = *shape;
    }
    if (a.fragment.m == 0 || group > MOST_MATRIX_ROWS || head_dim > MOST_HEAD_DIM)
        return false;
    uint32_t most = MOST_MATRIX_ROWS / a.fragment.m, wanted = rf_divide_up(group * rows, a.fragment.m);
    uint32_t least = rf_divide_up(KEY_TILE, caps->subgroup_size);
    a.subgroups = wanted < most ? wanted : most;
    a.subgroups = rf_divide_up(a.subgroups, least) * least;
    a.local = a.subgroups * caps->subgroup_size;
    a.block = a.subgroups * a.fragment.m / group;
    uint32_t bytes = MOST_MATRIX_ROWS * ((head_dim / 8 + 1) * WORD + (KEY_TILE / 4 + 1) * WORD + ROW_BYTES);
    bool coopmat2 = RF_COOPMAT2_SHADERS && caps->coopmat2 && a.fragment.n == a.fragment.k;
    a.shader = coopmat2 ? "attention_coopmat2_act16" : "attention_coopmat_act16";
    *out = a;
    return a.subgroups <= most && a.block > 0 && a.local <= caps->max_invocations &&
           bytes <= caps->shared_bytes;
}

void rf_coopmat_attention_specs(const struct rf_coopmat_attention *attention, uint32_t group,
                                uint32_t head_dim, uint32_t specs[RF_COOPMAT_ATTENTION_SPECS])
{
    const uint32_t values[RF_COOPMAT_ATTENTION_SPECS] = {
        group,
        head_dim,
        attention->local,
        attention->subgroups,
        attention->fragment.m,
        attention->fragment.n,
        attention->fragment.k,
        attention->block,
    };
    for (uint32_t i = 0; i < RF_COOPMAT_ATTENTION_SPECS; i++)
        specs[i] = values[i];
}
