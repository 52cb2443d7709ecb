/* The matmul shaders with the epilogues that leave numbers: STORE, RESIDUAL, SWIGLU, LOGITS, PARTIAL. */
#include "engine/arithmetic.h"
#include "engine/model/split.h"
#include "engine/selftest/product.h"

static double silu(double g)
{
    return g / (1.0 + exp(-g));
}

/* STORE, LOGITS: y[m][column_first + n]; RESIDUAL: y + scale * product. */
static void expect_columns(struct rf_case *c, const struct rf_product *p, size_t y)
{
    bool residual = p->epilogue == RF_EPILOGUE_RESIDUAL;
    for (uint32_t m = 0; m < p->rows; m++)
        for (uint32_t n = 0; n < p->columns; n++) {
            size_t at = y + ((size_t)m * p->ldy + p->column_first + n) * 4;
            double value = p->y[(size_t)m * p->columns + n];
            if (residual) {
                rf_case_put_number(c, at, RF_NUMBER_F32, rf_random_signed(&c->random));
                value = rf_case_get_number(c, at, RF_NUMBER_F32) + (double)p->scale * value;
            }
            rf_case_expect(c, at, RF_NUMBER_F32, value);
        }
    c->floors[0] = p->term_rms * (residual ? (double)p->scale : 1.0);
    /* A copy of weights that were made f16 is not exact. */
    bool rounded = rf_product_rounds_weights(p) && p->data != RF_DATA_EXACT;
    bool random = p->data == RF_DATA_RANDOM || p->data == RF_DATA_ROUNDED;
    c->tolerance = random || residual || rounded ? rf_product_tolerance(p) : 0.0;
}

/* PARTIAL: [split][ldx][ldy], each with the sum over its part of k. */
static void expect_partials(struct rf_case *c, const struct rf_product *p, size_t y)
{
    for (uint32_t z = 0; z < rf_product_splits(p); z++)
        for (uint32_t m = 0; m < p->rows; m++)
            for (uint32_t n = 0; n < p->columns; n++)
                rf_case_expect(c, y + (((size_t)z * p->ldx + m) * p->ldy + p->column_first + n) * 4,
                               RF_NUMBER_F32,
                               (double)p->scale * p->y[((size_t)z * p->rows + m) * p->columns + n]);
    c->floors[0] = p->term_rms * (double)p->scale / sqrt(rf_product_splits(p));
    c->tolerance = p->data == RF_DATA_EXACT ? 0.0 : rf_product_tolerance(p);
}

/* Columns come as 4 gates, then their 4 ups. f16 saturates at its largest finite number. */
static void expect_swiglu(struct rf_case *c, const struct rf_product *p, size_t y)
{
    double limit = p->act == RF_NUMBER_F16 ? 65504.0 : (double)INFINITY;
    for (uint32_t m = 0; m < p->rows; m++)
        for (uint32_t n = 0; n < p->columns; n += 8)
            for (uint32_t i = 0; i < 4; i++) {
                double g = p->y[(size_t)m * p->columns + n + i], u = p->y[(size_t)m * p->columns + n + 4 + i];
                double value = fmax(-limit, fmin(limit, silu(g) * u * (double)p->scale));
                uint32_t column = (p->column_first + n) / 2 + i;
                rf_case_expect(c, rf_quad_at(y, p->act, p->ldy, m, column), p->act, value);
            }
    c->floors[0] = p->term_rms * p->term_rms * (double)p->scale * 0.5;
    /* Both factors carry the product's error, exp adds 3 + 2|x| ulp where Vulkan asks for no better: 2^-19
     * covers gates down to -8, below which silu vanishes. f16 output rounds once more: 2^-11 at most, and
     * half of that in the norm. */
    c->tolerance =
        3.0 * rf_product_tolerance(p) + ldexp(1.0, -19) + (p->act == RF_NUMBER_F16 ? ldexp(1.0, -11) : 0.0);
}

/* The same as int8 blocks. Relative to the largest product of a block, which is not far below their rms, as
 * single numbers are there. */
static bool run_swiglu_int8(struct rf_case *c, const struct rf_product *p, struct rf_int8_rows *out)
{
    for (uint32_t m = 0; m < p->rows; m++)
        for (uint32_t n = 0; n < p->columns; n += 8)
            for (uint32_t i = 0; i < 4; i++) {
                double g = p->y[(size_t)m * p->columns + n + i], u = p->y[(size_t)m * p->columns + n + 4 + i];
                rf_int8_expect(c, out, m, n / 2 + i, silu(g) * u * (double)p->scale);
            }
    c->tolerance = 16.0 * (3.0 * rf_product_tolerance(p) + ldexp(1.0, -19));
    return rf_int8_run(c, out);
}

static void run_alone(struct rf_case *c, const struct rf_product *p, size_t counts, size_t y)
{
    uint32_t last = p->rows - 1;
    rf_alone_begin(c);
    rf_product_move_last(c, p);
    rf_patch_counts(c, counts, p->epilogue == RF_EPILOGUE_LOGITS);
    size_t row = y + p->column_first * 4, row_bytes = p->columns * 4;
    for (uint32_t z = 0; p->epilogue == RF_EPILOGUE_PARTIAL && z < rf_product_splits(p); z++) {
        size_t split = row + (size_t)z * p->ldx * p->ldy * 4;
        rf_alone_expect(c, split + (size_t)last * p->ldy * 4, split, row_bytes);
    }
    for (uint32_t i = p->column_first / 2;
         p->epilogue == RF_EPILOGUE_SWIGLU && i < (p->column_first + p->columns) / 2; i += 4)
        rf_alone_expect(c, rf_quad_at(y, p->act, p->ldy, last, i), rf_quad_at(y, p->act, p->ldy, 0, i),
                        4 * rf_number_bytes(p->act));
    if (p->epilogue == RF_EPILOGUE_RESIDUAL)
        rf_alone_move(c, row + (size_t)last * p->ldy * 4, row, row_bytes);
    if (p->epilogue != RF_EPILOGUE_SWIGLU && p->epilogue != RF_EPILOGUE_PARTIAL)
        rf_alone_expect(c, row + (size_t)last * p->ldy * 4, row, row_bytes);
    rf_alone_run(c);
}

static void run_product(struct rf_suite *suite, struct rf_product p)
{
    struct rf_case c;
    struct rf_kernel_id id = rf_product_kernel(suite, &p);
    char shape[RF_SHAPE_LENGTH];
    bool quads = p.epilogue == RF_EPILOGUE_SWIGLU, logits = p.epilogue == RF_EPILOGUE_LOGITS;
    bool partial = p.epilogue == RF_EPILOGUE_PARTIAL;
    p.ldx = p.rows + p.rows % 3; /* with and without room for more rows */
    p.ldy = quads ? p.rows + 2 : p.column_first + p.columns + 8 - p.columns % 8;
    if (p.scale == 0.0f)
        p.scale = 1.0f;
    if (!rf_case_begin(suite->h, &c, &id, "%s", rf_product_shape(&p, shape, sizeof shape)))
        return;
    if (rf_product_place(&c, &p)) {
        size_t counts = rf_put_counts(&c, logits ? UINT32_MAX : p.rows, logits ? p.rows : UINT32_MAX);
        struct rf_push_matmul push = rf_product_push(&c, &p, counts);
        size_t y_size = quads     ? (size_t)p.ldy * (p.column_first + p.columns) / 2 * rf_number_bytes(p.act)
                        : partial ? (size_t)rf_product_splits(&p) * p.ldx * p.ldy * 4
                                  : (size_t)p.rows * p.ldy * 4;
        size_t y = rf_case_alloc(&c, "y", y_size);
        *(partial ? &push.partials : &push.y) = rf_case_address(&c, y);
        rf_case_set_push(&c, &push, sizeof push);
        rf_product_set_groups(&c, &p);
        if (quads)
            expect_swiglu(&c, &p, y);
        else if (partial)
            expect_partials(&c, &p, y);
        else
            expect_columns(&c, &p, y);
        if (rf_case_run(&c) && !rf_product_is_few(&p) && p.rows > 1)
            run_alone(&c, &p, counts, y);
    }
    rf_product_free(&p);
}

/* SWIGLU_INT8: behind `column_first` columns of another chunk, whose products are not touched. */
static void run_int8_product(struct rf_suite *suite, struct rf_product p)
{
    struct rf_case c;
    struct rf_int8_rows out;
    struct rf_kernel_id id = rf_product_kernel(suite, &p);
    char shape[RF_SHAPE_LENGTH];
    p.ldx = p.rows + p.rows % 3;
    p.ldy = p.rows + p.rows % 2;
    p.scale = 1.0f;
    if (!rf_case_begin(suite->h, &c, &id, "%s", rf_product_shape(&p, shape, sizeof shape)))
        return;
    if (rf_product_place(&c, &p)) {
        size_t counts = rf_put_counts(&c, p.rows, UINT32_MAX);
        struct rf_push_matmul push = rf_product_push(&c, &p, counts);
        uint32_t first = p.column_first / 2;
        if (rf_int8_begin(&c, &out, p.rows, p.ldy, p.columns / 2)) {
            size_t before = first / RF_INT8_BLOCK_LENGTH * rf_int8_bytes(RF_INT8_BLOCK_LENGTH, p.ldy);
            push.y = rf_case_address(&c, out.at) - before;
            rf_case_set_push(&c, &push, sizeof push);
            rf_product_set_groups(&c, &p);
            if (run_swiglu_int8(&c, &p, &out) && !rf_product_is_few(&p) && p.rows > 1) {
                rf_alone_begin(&c);
                rf_product_move_last(&c, &p);
                rf_patch_counts(&c, counts, false);
                rf_int8_expect_alone(&c, &out, p.rows - 1, 0);
                rf_alone_run(&c);
            }
        }
        rf_int8_end(&out);
    }
    rf_product_free(&p);
}

/* ---- Shapes ----------------------------------------------------------------------------------------- */

static const uint32_t all_rows[] = {1, 2, 7, 8, 9, 31, 33, 64, 65, 127};
static const uint32_t all_columns[] = {1, 7, 8, 63, 65, 513};
static const uint32_t all_k[] = {8, 24, 256, 768, 4096};
enum { ROW_COUNT = 10, FEW_ROW_COUNT = 4, COLUMN_COUNT = 6, K_COUNT = 5 };

/* Every row count with this pipeline; columns and k go round, so that over all pipelines every pair comes up.
 */
static void run_store_rows(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    uint32_t count = p.kind == RF_PRODUCT_FEW ? FEW_ROW_COUNT : ROW_COUNT, step = suite->thorough ? 1 : 3;
    uint32_t unit = rf_weights_unit(p.weights);
    for (uint32_t i = turn % step; i < count; i += step) {
        uint32_t t = turn + i;
        p.rows = all_rows[i];
        p.columns = all_columns[t % COLUMN_COUNT];
        p.k = all_k[(t / COLUMN_COUNT + t) % (suite->thorough ? K_COUNT : K_COUNT - 1)];
        /* A driver that gathers what matmul_wide loads makes 0.1 GFLOP/s; its loop over k is that of 768. */
        if (p.kind == RF_PRODUCT_WIDE && p.k > 768)
            p.k = 768;
        p.k = (p.k + unit - 1) / unit * unit;
        p.column_first = t % 4 == 3 ? 2 * RF_COLUMN_PAD : 0;
        p.data = t % 9 == 7 ? RF_DATA_EXACT : t % 9 == 4 ? RF_DATA_ONE_HOT : RF_DATA_RANDOM;
        /* Quick: too few to do without random data. */
        if (!suite->thorough || !rf_weights_exact(p.weights))
            p.data = RF_DATA_RANDOM;
        run_product(suite, p);
    }
}

/* Every ROWS, and every local size that the engine chooses; not every pair, because pipelines are what takes
 * time (on SwiftShader, minutes). Quick: one pipeline of each shader. */
static void run_store(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    static const struct {
        uint32_t rows, local;
    } shapes[] = {{1, 16}, {1, 32}, {1, 64}, {2, 64}, {4, 32}, {8, 16}};
    p.epilogue = RF_EPILOGUE_STORE;
    for (int kind = RF_PRODUCT_FEW; kind <= RF_PRODUCT_SPREAD; kind++) {
        if (!rf_product_runs(suite, (enum rf_product_kind)kind, p.act))
            continue;
        rf_product_set_kind(suite, &p, (enum rf_product_kind)kind);
        uint32_t most = kind == RF_PRODUCT_WIDE ? 16 : 8, quick = p.weights == RF_WEIGHT_F16 ? 4 : 1;
        for (p.rows_at_once = 1; p.rows_at_once <= most; p.rows_at_once *= 2)
            if (suite->thorough || p.rows_at_once == quick)
                run_store_rows(suite, p, turn += 5);
        p.rows_at_once = 4; /* and the other way that its lanes share columns */
        p.lane_columns = p.lane_columns == RF_COLUMNS ? RF_COLUMNS / 2 : RF_COLUMNS;
        p.by_column = !p.by_column;
        if (kind == RF_PRODUCT_FEW && (suite->thorough || p.weights == RF_WEIGHT_F16))
            run_store_rows(suite, p, turn += 5);
    }
    p.kind = RF_PRODUCT_MANY;
    for (uint32_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        p.rows_at_once = shapes[i].rows;
        p.local = shapes[i].local;
        p.by_column = i % 2;
        if (suite->thorough || (p.rows_at_once == (p.weights == RF_WEIGHT_F32 ? 2 : 1) && p.local == 64))
            run_store_rows(suite, p, turn += 7);
    }
}

/* Weights that make themselves f16 must saturate. */
static void run_huge(struct rf_suite *suite, struct rf_product p)
{
    if (p.weights != RF_WEIGHT_BF16 && p.weights != RF_WEIGHT_F32)
        return;
    p.data = RF_DATA_HUGE;
    p.rows = 9;
    p.k = 24;
    p.columns = 65;
    run_product(suite, p);
}

/* Workgroups of every size that the engine chooses. Quick: one with weights of each format. */
static void run_store_coopmat(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    static const struct {
        uint32_t rows, columns;
    } shapes[] = {{32, 64}, {16, 32}, {64, 64}, {16, 128}, {128, 128}};
    p.epilogue = RF_EPILOGUE_STORE;
    if (!rf_product_runs(suite, RF_PRODUCT_COOPMAT, p.act))
        return;
    for (uint32_t i = 0; i < (suite->thorough ? sizeof shapes / sizeof shapes[0] : 1); i++) {
        rf_product_set_coopmat(suite, &p, shapes[i].rows, shapes[i].columns);
        run_store_rows(suite, p, turn += 5);
    }
    rf_product_set_coopmat(suite, &p, shapes[0].rows, shapes[0].columns);
    run_huge(suite, p);
}

static void run_store_coopmat2(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    static const uint32_t rows[] = {64, 16, 32, 128, 256};
    const struct rf_workgroup_matrices *matrices = &rf_gpu_get_caps(suite->h->gpu)->workgroup_matrices;
    bool first = true;
    p.epilogue = RF_EPILOGUE_STORE;
    if (!rf_product_runs(suite, RF_PRODUCT_COOPMAT2, p.act))
        return;
    for (uint32_t i = 0; i < matrices->count; i++)
        for (uint32_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            if (!(suite->thorough || first) ||
                !rf_product_set_coopmat2(suite, &p, rows[r], matrices->list[i].invocations))
                continue;
            first = false;
            run_store_rows(suite, p, turn += 5);
        }
    rf_product_set_kind(suite, &p, RF_PRODUCT_COOPMAT2);
    run_huge(suite, p);
}

/* The other epilogues differ behind the sums only: one pipeline of each kind. Quick: with one weight format.
 */
static void run_epilogues(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    if (!rf_product_runs(suite, p.kind, p.act) || (!suite->thorough && p.weights != RF_WEIGHT_BF16))
        return;
    static const uint32_t swiglu_columns[] = {8, 24, 136, 520};
    bool few = p.kind == RF_PRODUCT_FEW;
    rf_product_set_kind(suite, &p, p.kind);
    if (p.kind != RF_PRODUCT_COOPMAT && p.kind != RF_PRODUCT_COOPMAT2)
        p.rows_at_once = suite->thorough ? (p.kind == RF_PRODUCT_MANY ? 2 : 4) : 1;
    for (uint32_t i = 0; i < (suite->thorough ? 3u : 1u); i++) {
        p.rows = few ? all_rows[(turn + i) % FEW_ROW_COUNT] : all_rows[(turn + 3 * i) % ROW_COUNT];
        p.k = all_k[(turn + i) % (K_COUNT - 1)];
        p.columns = all_columns[(turn + i) % COLUMN_COUNT];
        p.column_first = i == 1 ? RF_COLUMN_PAD : 0;
        p.epilogue = RF_EPILOGUE_LOGITS;
        if (suite->thorough)
            run_product(suite, p);
        p.epilogue = RF_EPILOGUE_RESIDUAL;
        p.scale = i == 0 ? (float)RF_SWIGLU_UNSCALE : 1.0f;
        run_product(suite, p);
        p.epilogue = RF_EPILOGUE_SWIGLU;
        p.columns = swiglu_columns[(turn + i) % 4];
        p.scale = p.act == RF_NUMBER_F16 ? (float)RF_SWIGLU_SCALE : 1.0f;
        run_product(suite, p);
        p.scale = 1.0f;
    }
    /* Gates and ups of thousands: products on both sides of 65504 * 32, where f16 must saturate and not
     * overflow. */
    p.rows = few ? 7 : 33;
    p.k = 256;
    p.columns = 136;
    p.column_first = 0;
    p.epilogue = RF_EPILOGUE_SWIGLU;
    p.scale = p.act == RF_NUMBER_F16 ? (float)RF_SWIGLU_SCALE : 1.0f;
    p.amplitude = 200.0;
    run_product(suite, p);
}

/* Split over k, every kind that can be, with weights of each format: even and uneven parts, a last part that
 * is no whole step, as many parts as there are, and one. Quick: one case of each shader. */
static void run_splits(struct rf_suite *suite, struct rf_product p, uint32_t turn)
{
    static const struct {
        uint32_t k, splits;
    } divisions[] = {{4096, 8}, {768, 3}, {1000, 4}, {200, 4}, {72, 2}, {24, 1}, {1280, 7}};
    enum { DIVISIONS = sizeof divisions / sizeof divisions[0] };
    static const uint32_t columns[] = {64, 8, 136, 520};
    uint32_t unit = rf_weights_unit(p.weights);
    if (p.kind == RF_PRODUCT_WIDE || !rf_product_runs(suite, p.kind, p.act))
        return;
    rf_product_set_kind(suite, &p, p.kind);
    p.epilogue = RF_EPILOGUE_PARTIAL;
    if (p.kind == RF_PRODUCT_FEW)
        p.rows_at_once = 4;
    for (uint32_t i = 0; i < (suite->thorough ? DIVISIONS : 2u); i++) {
        uint32_t t = turn + i + (uint32_t)p.kind;
        p.k = rf_divide_up(divisions[i].k, unit) * unit;
        p.splits = divisions[i].splits;
        /* 256 numbers a block are four units of RF_SPLIT_K, which are fewer parts than the k above has. */
        while (rf_split_octets(p.k, p.splits) == 0)
            p.splits--;
        p.rows = p.kind == RF_PRODUCT_FEW ? all_rows[t % FEW_ROW_COUNT] : all_rows[(3 * t) % ROW_COUNT];
        p.columns = columns[t % 4];
        p.column_first = t % 3 == 2 ? RF_COLUMN_PAD : 0;
        p.scale = t % 2 ? (float)RF_SWIGLU_UNSCALE : 1.0f;
        p.data = rf_weights_exact(p.weights) && i == 1 ? RF_DATA_EXACT : RF_DATA_RANDOM;
        run_product(suite, p);
    }
}

/* The published vocabulary. */
static void run_vocabulary(struct rf_suite *suite, struct rf_product p)
{
    rf_product_set_kind(suite, &p, RF_PRODUCT_FEW);
    p.rows = 2;
    p.k = 24;
    p.columns = 151671;
    p.epilogue = RF_EPILOGUE_LOGITS;
    p.rows_at_once = 4;
    run_product(suite, p);
}

/* Products with int8 inputs: every epilogue but REDUCE (logits.c), parts of k, every number of rows at once and
 * workgroup that the engine chooses, with Q8_0; the first INT8_MOST with the other formats. Quick: the
 * first two. Then one beside what the inputs were before they were rounded. */
enum { INT8_MOST = 3, INT8_COUNT = 9 };
struct int8_case {
    uint32_t epilogue, rows, rows_at_once, local, columns, k, column_first, splits;
};

static void run_int8(struct rf_suite *suite, struct rf_product p)
{
    static const struct int8_case cases[2][INT8_COUNT] = {
        {{RF_EPILOGUE_SWIGLU_INT8, 33, 16, 128, 128, 96, 0, 0},
         {RF_EPILOGUE_PARTIAL, 33, 32, 128, 136, 768, 0, 3},
         {RF_EPILOGUE_STORE, 31, 32, 64, 513, 96, RF_COLUMN_PAD, 0},
         {RF_EPILOGUE_PARTIAL, 9, 16, 64, 64, 4064, RF_COLUMN_PAD, 7},
         {RF_EPILOGUE_STORE, 65, 64, 128, 65, 768, 0, 0},
         {RF_EPILOGUE_RESIDUAL, 127, 16, 256, 65, 4096, 0, 0},
         {RF_EPILOGUE_SWIGLU, 9, 16, 64, 136, 256, 0, 0},
         {RF_EPILOGUE_LOGITS, 64, 32, 128, 7, 32, RF_COLUMN_PAD, 0},
         {RF_EPILOGUE_SWIGLU_INT8, 1, 32, 256, 320, 32, RF_COLUMN_PAD, 0}},
        {{RF_EPILOGUE_SWIGLU_INT8, 7, 8, 64, 128, 256, 0, 0},
         {RF_EPILOGUE_PARTIAL, 7, 4, 64, 136, 768, 0, 3},
         {RF_EPILOGUE_STORE, 8, 4, 64, 513, 768, 0, 0},
         {RF_EPILOGUE_PARTIAL, 2, 2, 128, 64, 4064, RF_COLUMN_PAD, 7},
         {RF_EPILOGUE_STORE, 1, 1, 128, 65, 96, RF_COLUMN_PAD, 0},
         {RF_EPILOGUE_RESIDUAL, 2, 2, 64, 63, 4096, 0, 0},
         {RF_EPILOGUE_SWIGLU, 7, 8, 64, 136, 256, 0, 0},
         {RF_EPILOGUE_LOGITS, 8, 2, 64, 8, 32, RF_COLUMN_PAD, 0},
         {RF_EPILOGUE_SWIGLU_INT8, 2, 2, 256, 320, 32, RF_COLUMN_PAD, 0}},
    };
    uint32_t unit = rf_weights_unit(p.weights), most = p.weights == RF_WEIGHT_Q8_0 ? INT8_COUNT : INT8_MOST;
    for (uint32_t i = 0; i < (suite->thorough ? most : 2u); i++) {
        const struct int8_case *now = &cases[p.kind == RF_PRODUCT_INT8_FEW][i];
        p.epilogue = now->epilogue;
        p.rows = now->rows;
        p.rows_at_once = now->rows_at_once;
        p.local = now->local;
        p.columns = now->columns;
        p.k = rf_divide_up(now->k, unit) * unit;
        p.column_first = now->column_first;
        p.splits = now->splits;
        p.scale = p.epilogue == RF_EPILOGUE_SWIGLU ? (float)RF_SWIGLU_SCALE : 1.0f;
        p.amplitude = i % 2 ? 50.0 : 0.0;
        if (p.epilogue == RF_EPILOGUE_SWIGLU_INT8)
            run_int8_product(suite, p);
        else
            run_product(suite, p);
    }
    rf_product_set_kind(suite, &p, p.kind);
    p.data = RF_DATA_ROUNDED;
    p.epilogue = RF_EPILOGUE_STORE;
    p.splits = 0;
    p.amplitude = 0.0;
    p.column_first = 0;
    p.rows = p.kind == RF_PRODUCT_INT8_FEW ? 3 : 9;
    p.columns = 65;
    p.k = 768;
    run_product(suite, p);
}

void rf_selftest_matmul(struct rf_suite *suite)
{
    uint32_t turn = 0;
    for (int act = RF_NUMBER_F32; act <= (suite->fp16 ? RF_NUMBER_F16 : RF_NUMBER_F32); act++)
        for (int weights = 0; weights < RF_WEIGHT_FORMATS; weights++) {
            struct rf_product p = {.act = (enum rf_number)act, .weights = (enum rf_weight_format)weights};
            run_store(suite, p, turn);
            run_store_coopmat(suite, p, turn);
            run_store_coopmat2(suite, p, turn);
            for (int kind = 0; kind < RF_PRODUCT_KINDS; kind++) {
                p.kind = (enum rf_product_kind)kind;
                run_splits(suite, p, turn);
            }
            for (int kind = 0; rf_weights_exact(p.weights) && kind < RF_PRODUCT_KINDS; kind++) {
                p.kind = (enum rf_product_kind)kind;
                run_epilogues(suite, p, turn);
            }
            if (suite->thorough && weights == RF_WEIGHT_BF16)
                run_vocabulary(suite, p);
            turn += 11;
        }
    for (int weights = RF_WEIGHT_Q8_0; weights < RF_WEIGHT_FORMATS; weights++)
        for (int kind = RF_PRODUCT_INT8; kind <= RF_PRODUCT_INT8_FEW; kind++) {
            struct rf_product p = {.kind = (enum rf_product_kind)kind,
                                   .act = RF_NUMBER_F16,
                                   .weights = (enum rf_weight_format)weights};
            if (rf_product_runs(suite, p.kind, p.act))
                run_int8(suite, p);
        }
}
