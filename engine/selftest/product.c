#include "engine/selftest/product.h"

#include <stdio.h>

#include "engine/allocate.h"
#include "engine/arithmetic.h"
#include "engine/model/coopmat.h"
#include "engine/model/matmul.h"
#include "engine/model/split.h"

bool rf_product_is_few(const struct rf_product *p)
{
    return p->kind == RF_PRODUCT_FEW || p->kind == RF_PRODUCT_INT8_FEW;
}

bool rf_product_runs(const struct rf_suite *suite, enum rf_product_kind kind, enum rf_number act)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(suite->h->gpu);
    if (kind >= RF_PRODUCT_KINDS)
        return rf_int8_runs(suite) && act == RF_NUMBER_F16;
    if (kind == RF_PRODUCT_COOPMAT)
        return rf_coopmat_built() && caps->coopmat && act == RF_NUMBER_F16;
    if (kind == RF_PRODUCT_COOPMAT2)
        return rf_coopmat2_built(caps) && caps->coopmat2_matmul && act == RF_NUMBER_F16;
    return (kind != RF_PRODUCT_WIDE || caps->wide) && (kind != RF_PRODUCT_SPREAD || caps->spread);
}

void rf_product_set_coopmat(const struct rf_suite *suite, struct rf_product *p, uint32_t rows,
                            uint32_t columns)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(suite->h->gpu);
    const struct rf_coopmat_shape *fragment = rf_coopmat_fragment(caps, rows);
    p->kind = RF_PRODUCT_COOPMAT;
    p->rows_at_once = rf_divide_up(rows, fragment->m) * fragment->m;
    p->local = rf_divide_up(columns, fragment->n) * caps->subgroup_size;
}

bool rf_product_set_coopmat2(const struct rf_suite *suite, struct rf_product *p, uint32_t rows,
                             uint32_t local)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(suite->h->gpu);
    struct rf_coopmat2_tiling tiling;
    p->kind = RF_PRODUCT_COOPMAT2;
    p->rows_at_once = rf_coopmat2_rows(caps, local, rows);
    p->local = local;
    return rf_coopmat2_divide(caps, local, p->rows_at_once, &tiling);
}

bool rf_product_rounds_weights(const struct rf_product *p)
{
    return (p->kind == RF_PRODUCT_COOPMAT || p->kind == RF_PRODUCT_COOPMAT2) && p->weights != RF_WEIGHT_F16;
}

void rf_product_set_kind(const struct rf_suite *suite, struct rf_product *p, enum rf_product_kind kind)
{
    if (kind == RF_PRODUCT_COOPMAT) {
        rf_product_set_coopmat(suite, p, 32, RF_LOGIT_TILE);
        return;
    }
    if (kind == RF_PRODUCT_COOPMAT2) {
        rf_product_set_coopmat2(suite, p, 32,
                                rf_gpu_get_caps(suite->h->gpu)->workgroup_matrices.list[0].invocations);
        return;
    }
    p->kind = kind;
    if (kind >= RF_PRODUCT_KINDS) {
        p->rows_at_once = kind == RF_PRODUCT_INT8 ? 16 : 2;
        p->local = kind == RF_PRODUCT_INT8 ? 128 : 64;
        return;
    }
    p->lane_columns = rf_gpu_get_caps(suite->h->gpu)->cpu ? RF_COLUMNS : RF_COLUMNS / 2;
    p->by_column = rf_matmul_by_column(rf_gpu_get_caps(suite->h->gpu));
    p->rows_at_once = kind == RF_PRODUCT_MANY ? 1 : 2;
    p->local = kind == RF_PRODUCT_FEW ? 64 : 32;
    if (kind == RF_PRODUCT_WIDE || kind == RF_PRODUCT_SPREAD)
        p->local = rf_gpu_get_caps(suite->h->gpu)->subgroup_size;
}

#define NAMES(name, end)                                                                                     \
    {                                                                                                        \
        name "_bf16" end, name "_f16" end, name "_f32" end, name "_q8_0" end, name "_q4_0" end,              \
            name "_q4_k" end, name "_q6_k" end                                                               \
    }

struct rf_kernel_id rf_product_kernel(const struct rf_suite *suite, const struct rf_product *p)
{
    static const char *const int8_names[2][RF_WEIGHT_FORMATS] = {NAMES("matmul_int8", ""),
                                                                 NAMES("matmul_int8_few", "")};
    if (p->kind >= RF_PRODUCT_KINDS)
        return (struct rf_kernel_id){.shader = int8_names[p->kind == RF_PRODUCT_INT8_FEW][p->weights],
                                     .spec_count = 3,
                                     .specs = {[RF_SPEC_EPILOGUE] = p->epilogue,
                                               [RF_SPEC_LOCAL] = p->local,
                                               [RF_SPEC_ROWS] = p->rows_at_once}};
    static const char *const names[RF_PRODUCT_KINDS][2][RF_WEIGHT_FORMATS] = {
        {NAMES("matmul", ""), NAMES("matmul", "_act16")},
        {NAMES("matmul_few", ""), NAMES("matmul_few", "_act16")},
        {NAMES("matmul_wide", ""), NAMES("matmul_wide", "_act16")},
        {NAMES("matmul_spread", ""), NAMES("matmul_spread", "_act16")},
        {{NULL}, NAMES("matmul_coopmat", "_act16")},
        {{NULL}, NAMES("matmul_coopmat2", "_act16")},
    };
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(suite->h->gpu);
    struct rf_coopmat_tiling tiling;
    struct rf_coopmat2_tiling workgroup;
    struct rf_kernel_id id = {
        .shader = names[p->kind][p->act == RF_NUMBER_F16][p->weights],
        .spec_count = p->kind == RF_PRODUCT_FEW    ? 5
                      : p->kind == RF_PRODUCT_MANY ? 4
                                                   : 3,
        .specs = {[RF_SPEC_EPILOGUE] = p->epilogue,
                  [RF_SPEC_LOCAL] = p->local,
                  [RF_SPEC_ROWS] = p->rows_at_once,
                  [RF_SPEC_BY_COLUMN] = p->by_column,
                  [RF_SPEC_LANE_COLUMNS] = p->lane_columns},
    };
    if (p->kind == RF_PRODUCT_SPREAD)
        id.specs[id.spec_count++] = rf_spread_blocks(p->rows_at_once);
    if (p->kind == RF_PRODUCT_COOPMAT &&
        rf_coopmat_divide(caps, p->local, p->rows_at_once, p->epilogue == RF_EPILOGUE_REDUCE, &tiling)) {
        rf_coopmat_specs(&tiling, id.specs + id.spec_count);
        id.spec_count += RF_COOPMAT_SPECS;
    }
    if (p->kind == RF_PRODUCT_COOPMAT2 && rf_coopmat2_divide(caps, p->local, p->rows_at_once, &workgroup)) {
        rf_coopmat2_specs(&workgroup, id.specs + id.spec_count);
        id.spec_count += RF_COOPMAT2_SPECS;
    }
    return id;
}

uint32_t rf_product_splits(const struct rf_product *p)
{
    return p->epilogue == RF_EPILOGUE_PARTIAL && p->splits > 1 ? p->splits : 1;
}

const char *rf_product_shape(const struct rf_product *p, char *text, size_t size)
{
    static const char *const epilogues[] = {[RF_EPILOGUE_STORE] = "store",
                                            [RF_EPILOGUE_RESIDUAL] = "residual",
                                            [RF_EPILOGUE_SWIGLU] = "swiglu",
                                            [RF_EPILOGUE_REDUCE] = "reduce",
                                            [RF_EPILOGUE_LOGITS] = "logits",
                                            [RF_EPILOGUE_PARTIAL] = "partial",
                                            [RF_EPILOGUE_SWIGLU_INT8] = "swiglu int8"};
    static const char *const data[] = {"",           " exact", " one-hot", " offset",
                                       " same rows", " huge",  " rounded"};
    int length = snprintf(text, size, "rows=%u k=%u columns=%u %s rows at once=%u local=%u%s", p->rows, p->k,
                          p->columns, epilogues[p->epilogue], p->rows_at_once, p->local, data[p->data]);
    if (rf_product_splits(p) > 1 && length > 0)
        length += snprintf(text + length, size - (size_t)length, " splits=%u", p->splits);
    if (p->column_first && length > 0)
        length += snprintf(text + length, size - (size_t)length, " first=%u", p->column_first);
    if (p->amplitude != 0.0 && length > 0)
        snprintf(text + length, size - (size_t)length, " amplitude=%g", p->amplitude);
    return text;
}

/* Multiples of 1/8 in [-2, 2], a few of them zeros of either sign. */
static double exact_value(struct rf_random *random)
{
    double value = (double)rf_random_below(random, 33) / 8.0 - 2.0;
    return value == 0.0 && rf_random_below(random, 2) ? -0.0 : value;
}

static double x_value(struct rf_case *c, const struct rf_product *p, uint32_t row, uint32_t column)
{
    if (p->data == RF_DATA_OFFSET && column == 0)
        return 32.0;
    if (p->data == RF_DATA_SAME)
        return (double)((column * 29 + 7) % 17) / 8.0 - 1.0;
    if (p->data == RF_DATA_ONE_HOT || p->data == RF_DATA_HUGE)
        return column == (row * 37 + 5) % p->k ? 1.0 : 0.0;
    if (p->data == RF_DATA_EXACT || p->data == RF_DATA_OFFSET)
        return row % 8 == 5 ? 0.0 : exact_value(&c->random); /* every eighth row is one big tie */
    return rf_random_signed(&c->random) * (p->amplitude != 0.0 ? p->amplitude : 1.0);
}

static double w_value(struct rf_case *c, const struct rf_product *p, uint32_t column)
{
    if (p->data == RF_DATA_RANDOM || p->data == RF_DATA_ONE_HOT || p->data == RF_DATA_ROUNDED)
        return rf_random_signed(&c->random);
    if (p->data == RF_DATA_HUGE)
        return rf_random_signed(&c->random) * 200000.0;
    if (p->data == RF_DATA_OFFSET && column == 0)
        return rf_random_below(&c->random, 200) ? -32.0 : 32.0;
    return exact_value(&c->random);
}

/* x as int8 blocks, and as f64 [rows][k]: what stands there, or with RF_DATA_ROUNDED what was wanted. Exact
 * ones are -1, 0 and 1. */
static void place_int8(struct rf_case *c, struct rf_product *p, double *x)
{
    double values[RF_INT8_BLOCK_LENGTH];
    p->x_at = rf_case_alloc(c, "x", rf_int8_bytes(p->k, p->ldx));
    for (uint32_t m = 0; m < p->rows; m++)
        for (uint32_t b = 0; b < p->k / RF_INT8_BLOCK_LENGTH; b++) {
            double *to = x + (size_t)m * p->k + b * RF_INT8_BLOCK_LENGTH;
            double amplitude = p->amplitude != 0.0 ? p->amplitude : 1.0;
            float scale = (float)(amplitude * (1.5 + rf_random_signed(&c->random)) / 200.0);
            for (uint32_t i = 0; i < RF_INT8_BLOCK_LENGTH; i++) {
                values[i] = (double)scale * (double)((int)rf_random_below(&c->random, 255) - 127);
                if (p->data == RF_DATA_EXACT)
                    values[i] = m % 8 == 5 ? 0.0 : (double)rf_random_below(&c->random, 3) - 1.0;
                for (int j = p->data == RF_DATA_ROUNDED ? 0 : 4; j < 4; j++)
                    values[i] = (j ? values[i] : 0.0) + rf_random_signed(&c->random);
                to[i] = values[i];
            }
            scale = p->data == RF_DATA_ROUNDED ? 0.0f : p->data == RF_DATA_EXACT ? 1.0f : scale;
            rf_int8_put(c, p->x_at, p->ldx, m, b, scale, values);
            if (p->data != RF_DATA_ROUNDED)
                memcpy(to, values, sizeof values);
        }
}

/* x in the pool and as f64 [rows][k]. */
static void place_x(struct rf_case *c, struct rf_product *p, double *x)
{
    p->x_at = rf_case_alloc(c, "x", (size_t)p->ldx * p->k * rf_number_bytes(p->act));
    for (uint32_t m = 0; m < p->rows; m++)
        for (uint32_t i = 0; i < p->k; i++) {
            size_t at = rf_quad_at(p->x_at, p->act, p->ldx, m, i);
            rf_case_put_number(c, at, p->act, x_value(c, p, m, i));
            x[(size_t)m * p->k + i] = rf_case_get_number(c, at, p->act);
        }
}

/* Four sums, so that f64 does not wait for itself: the reference takes most of the self-test's time. */
static double dot(const double *a, const double *b, uint32_t k)
{
    double sum[4] = {0.0, 0.0, 0.0, 0.0};
    for (uint32_t i = 0; i < k; i += 4) /* k is a multiple of 8 */
        for (uint32_t j = 0; j < 4; j++)
            sum[j] += a[i + j] * b[i + j];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static double sum_of_squared_terms(const double *a, const double *b, uint32_t k)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < k; i++)
        sum += a[i] * a[i] * b[i] * b[i];
    return sum;
}

/* w in the pool, column by column, each at once multiplied with all rows. */
static void place_w(struct rf_case *c, struct rf_product *p, const double *x, double *column)
{
    double squares = 0.0, sampled = 0.0;
    uint32_t splits = rf_product_splits(p), part = 8 * rf_split_octets(p->k, splits);
    p->w_at = rf_weights_alloc(c, p->weights, p->columns, p->k);
    for (uint32_t n = 0; n < p->columns; n++) {
        for (uint32_t i = 0; i < p->k; i++)
            column[i] = w_value(c, p, i);
        rf_weights_put(c, p->w_at, p->weights, p->k, n, column);
        for (uint32_t i = 0; p->data == RF_DATA_HUGE && i < p->k; i++)
            column[i] = fmax(-65504.0, fmin(65504.0, column[i]));
        for (uint32_t first = 0, z = 0; z < splits; first += part, z++)
            for (uint32_t m = 0; m < p->rows; m++)
                p->y[((size_t)z * p->rows + m) * p->columns + n] = dot(
                    x + (size_t)m * p->k + first, column + first, p->k - first < part ? p->k - first : part);
        if (n < 64) {
            squares += sum_of_squared_terms(x + (size_t)(n % p->rows) * p->k, column, p->k);
            sampled += 1.0;
        }
    }
    p->term_rms = sqrt(squares / sampled);
}

bool rf_product_place(struct rf_case *c, struct rf_product *p)
{
    double *x = rf_malloc((size_t)p->rows * p->k * sizeof *x), *column = rf_malloc(p->k * sizeof *column);
    p->y = rf_malloc((size_t)rf_product_splits(p) * p->rows * p->columns * sizeof *p->y);
    if (x && column && p->y) {
        if (p->kind >= RF_PRODUCT_KINDS)
            place_int8(c, p, x);
        else
            place_x(c, p, x);
        place_w(c, p, x, column);
    } else
        c->h->status = rf_fail(c->h->err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for %s %s",
                               c->id.shader, c->shape);
    rf_free(x);
    rf_free(column);
    return c->h->status == RF_OK;
}

void rf_product_free(struct rf_product *p)
{
    rf_free(p->y);
    p->y = NULL;
}

struct rf_push_matmul rf_product_push(struct rf_case *c, const struct rf_product *p, size_t counts)
{
    return (struct rf_push_matmul){
        .counts = rf_case_address(c, counts),
        .x = rf_case_address(c, p->x_at),
        .w = rf_case_address(c, p->w_at),
        .k = p->k,
        .columns = p->columns,
        .column_first = p->column_first,
        .ldx = p->ldx,
        .ldy = p->ldy,
        .scale = p->scale,
        .split_octets = rf_split_octets(p->k, rf_product_splits(p)),
    };
}

/* matmul: an invocation has `rows_at_once` rows and a workgroup 8 columns (64 with REDUCE), or 16 in
 * matmul_spread with few rows; matmul_wide: a
 * workgroup has a column for each invocation (64 columns with REDUCE) and all rows; matmul_few: subgroups
 * stride over the columns, so that any grid will do: the engine's gives each one step, every third case here
 * gives several; matmul_coopmat, matmul_coopmat2, matmul_int8: tiles of both. */
void rf_product_set_groups(struct rf_case *c, const struct rf_product *p)
{
    bool reduce = p->epilogue == RF_EPILOGUE_REDUCE;
    bool shares = p->epilogue == RF_EPILOGUE_SWIGLU_INT8; /* subgroups share a tile */
    uint32_t units = rf_divide_up(p->columns, reduce || shares ? RF_LOGIT_TILE : RF_COLUMNS);
    uint32_t subgroups = shares ? 1 : p->local / rf_gpu_get_caps(c->h->gpu)->subgroup_size;
    struct rf_coopmat_tiling tiling;
    struct rf_coopmat2_tiling workgroup;
    uint32_t steps = (p->columns + p->k / 8) % 3 == 0 ? 3 : 1, z = rf_product_splits(p);
    if (p->kind == RF_PRODUCT_INT8)
        rf_case_set_groups(c, rf_divide_up(p->columns, p->local / 2), rf_divide_up(p->rows, p->rows_at_once),
                           z);
    else if (rf_product_is_few(p))
        rf_case_set_groups(c, rf_divide_up(units, steps * (subgroups ? subgroups : 1)), 1, z);
    else if (p->kind == RF_PRODUCT_COOPMAT) {
        if (rf_coopmat_divide(rf_gpu_get_caps(c->h->gpu), p->local, p->rows_at_once, reduce, &tiling))
            rf_case_set_groups(c, rf_divide_up(p->columns, tiling.columns),
                               rf_divide_up(p->rows, tiling.rows), z);
    } else if (p->kind == RF_PRODUCT_COOPMAT2) {
        if (rf_coopmat2_divide(rf_gpu_get_caps(c->h->gpu), p->local, p->rows_at_once, &workgroup))
            rf_case_set_groups(c, rf_divide_up(p->columns, workgroup.columns),
                               rf_divide_up(p->rows, workgroup.rows), z);
    } else if (p->kind == RF_PRODUCT_WIDE)
        rf_case_set_groups(c, rf_divide_up(p->columns, reduce ? RF_LOGIT_TILE : p->local), 1, 1);
    else if (p->kind == RF_PRODUCT_SPREAD)
        rf_case_set_groups(
            c,
            rf_divide_up(p->columns, reduce ? RF_LOGIT_TILE : rf_spread_blocks(p->rows_at_once) * RF_COLUMNS),
            rf_divide_up(p->rows, p->local * p->rows_at_once), z);
    else
        rf_case_set_groups(c, units, rf_divide_up(p->rows, p->local * p->rows_at_once), z);
}

/* A sum of k terms rounds k times, by 2^-24 of a partial sum that grows like a random walk: the norm of the
 * error is about 0.3 sqrt(k) 2^-24 of the norm of the terms, plus the roundings of the products. Threefold
 * room. A quantized weight is itself rounded: scale times number, and a minimum taken off, which leaves a
 * number up to eight times smaller. COOPMAT and COOPMAT2 make weights f16, which costs 2e-4 in the norm,
 * and how a matrix unit adds is its own affair; a case with a single number may be five times off: 2^-10,
 * half of what quantized products may. Int8 inputs: sums of 16 or 32 are exact; beside what the inputs were
 * before, 1e-2. */
double rf_product_tolerance(const struct rf_product *p)
{
    if (p->kind == RF_PRODUCT_COOPMAT || p->kind == RF_PRODUCT_COOPMAT2)
        return ldexp(1.0, -10);
    if (p->data == RF_DATA_ROUNDED)
        return 1e-2;
    return ((rf_weights_exact(p->weights) ? 2.0 : 10.0) + sqrt(p->k)) * ldexp(1.0, -24);
}

void rf_product_move_last(struct rf_case *c, const struct rf_product *p)
{
    if (p->kind >= RF_PRODUCT_KINDS)
        rf_int8_move(c, p->x_at, p->ldx, p->k, p->rows - 1, 0);
    for (uint32_t i = 0; p->kind < RF_PRODUCT_KINDS && i < p->k; i += 4)
        rf_alone_move(c, rf_quad_at(p->x_at, p->act, p->ldx, p->rows - 1, i),
                      rf_quad_at(p->x_at, p->act, p->ldx, 0, i), 4 * rf_number_bytes(p->act));
    struct rf_product alone = *p;
    alone.rows = 1;
    rf_product_set_groups(c, &alone);
}
