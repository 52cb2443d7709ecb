#include "engine/model/tune.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/allocate.h"
#include "engine/arithmetic.h"
#include "engine/gpu/cache_file.h"
#include "engine/gpu/rest.h"

enum {
    MOST_MATRICES = 8, /* products of a trial: different layers' weights, so that caches do not flatter */
    REPEATS = 3,
    HOPELESS = 2, /* times the fastest: a kind of kernel that slow is tried no further */
    SWEEP_ROUNDS = 4,
    SWEEP_FINALISTS = 4, /* beside the choice */
    LINE_ROOM = 160,
    MOST_FILE_BYTES = 1 << 16
};

/* Of a column's norm, between two kernels' products. */
static const double MOST_DIFFERENCE = 0x1p-8;

struct choice {
    bool known;
    struct rf_matmul_shape shape;
};

/* One line of the file: what the choice depends on beside device, driver and shaders. */
struct key {
    enum rf_split_product product; /* RF_SPLIT_NONE: the shape for everything else of the format */
    enum rf_weight_format format;
    const char *path; /* rf_matmul_path */
    uint32_t rows, k, columns;
};

struct rf_tune {
    struct choice choices[RF_WEIGHT_FORMATS][FORWARD_BUCKETS];
    struct choice products[RF_SPLIT_PRODUCTS][RF_WEIGHT_FORMATS][FORWARD_BUCKETS];
    bool lost[RF_WEIGHT_FORMATS][RF_MATMUL_KINDS]; /* hopeless at some number of rows, see try_all */
    char *lines;                                   /* the file's content: choices of other models too */
    size_t size;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The product that is tried: chunks of one format and shape, or with key.product whole matrices, of as many
 * layers as there are. */
struct subject {
    struct key key;
    const struct rf_matrix *matrices[MOST_MATRICES];
    const struct rf_chunk *chunks[MOST_MATRICES];
    uint32_t count;
};

/* ---- The file --------------------------------------------------------------------------------------- */

static int format_key(char *line, const struct key *key)
{
    bool whole = key->product == RF_SPLIT_NONE;
    return snprintf(
        line, LINE_ROOM, "%s%s%s %s rows %u k %u columns %u:", whole ? "" : rf_split_name(key->product),
        whole ? "" : " ", rf_weight_format_name(key->format), key->path, key->rows, key->k, key->columns);
}

static void read_lines(const struct rf_forward *f, struct rf_tune *tune)
{
    char path[RF_CACHE_PATH];
    if (!rf_cache_path(f->gpu, "tuned", "txt", path))
        return;
    FILE *file = fopen(path, "rb");
    if (!file)
        return;
    tune->lines = rf_malloc(MOST_FILE_BYTES + 1);
    if (tune->lines)
        tune->size = fread(tune->lines, 1, MOST_FILE_BYTES, file);
    if (tune->lines)
        tune->lines[tune->size] = '\0';
    fclose(file);
}

static bool is_legal(const struct rf_forward *f, const struct subject *subject, struct rf_matmul_shape shape)
{
    if (!rf_matmul_legal(f, subject->key.format, subject->key.rows, shape))
        return false;
    return subject->key.product == RF_SPLIT_NONE
               ? shape.splits == 1
               : rf_matmul_splits_legal(f, subject->key.rows, subject->matrices[0], shape);
}

/* The newest line with this key, if it names a shape that is legal here. A damaged file costs new trials
 * only. */
static bool find_line(const struct rf_forward *f, const struct rf_tune *tune, const struct subject *subject,
                      struct rf_matmul_shape *shape)
{
    char wanted[LINE_ROOM];
    int length = format_key(wanted, &subject->key);
    bool found = false;
    for (const char *at = tune->lines; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        char kind[16];
        unsigned local, rows, splits;
        if (strncmp(at, wanted, (size_t)length) != 0 ||
            sscanf(at + length, " %15s local %u rows %u splits %u", kind, &local, &rows, &splits) != 4)
            continue;
        for (int i = 0; i < RF_MATMUL_KINDS; i++) {
            struct rf_matmul_shape have = {(enum rf_matmul_kind)i, local, rows, splits};
            if (strcmp(kind, rf_matmul_kind_name(have.kind)) == 0 && is_legal(f, subject, have)) {
                *shape = have;
                found = true;
            }
        }
    }
    return found;
}

/* Reads the file again first: another process may have added to it. */
static void write_line(const struct rf_forward *f, struct rf_tune *tune, const struct key *key,
                       struct rf_matmul_shape shape, double seconds)
{
    char path[RF_CACHE_PATH], line[2 * LINE_ROOM];
    /* What was tried with replaced shaders is no choice for the built-in ones. */
    if (rf_gpu_replaces_shaders(f->gpu) || !rf_cache_path(f->gpu, "tuned", "txt", path))
        return;
    rf_free(tune->lines);
    tune->lines = NULL;
    tune->size = 0;
    read_lines(f, tune);
    int length = format_key(line, key);
    length +=
        snprintf(line + length, sizeof line - (size_t)length, " %s local %u rows %u splits %u (%.1f us)\n",
                 rf_matmul_kind_name(shape.kind), shape.local, shape.rows, shape.splits, seconds * 1e6);
    if (tune->size + (size_t)length > MOST_FILE_BYTES)
        tune->size = 0; /* begin anew rather than grow */
    if (!rf_cache_write(f->gpu, path, tune->lines ? tune->lines : "", tune->size, line, (size_t)length))
        rf_gpu_log(f->gpu, RF_LOG_WARNING, "%s: cannot be written: %s", path, strerror(errno));
}

/* ---- Trials ----------------------------------------------------------------------------------------- */

static void consider(const struct rf_forward *f, struct subject *subject, const struct rf_matrix *matrix)
{
    uint32_t room = (f->config.heads + 2 * f->config.kv_heads) * f->config.head_dim; /* columns of qkv */
    for (uint32_t c = 0; c < matrix->chunk_count && subject->count < MOST_MATRICES; c++) {
        const struct rf_chunk *chunk = &matrix->chunks[c];
        uint32_t columns = chunk->columns < room ? chunk->columns : room;
        if (chunk->format != subject->key.format ||
            (subject->count && (matrix->k != subject->key.k || columns != subject->key.columns)))
            continue;
        subject->key.k = matrix->k;
        subject->key.columns = columns;
        subject->matrices[subject->count] = matrix;
        subject->chunks[subject->count++] = chunk;
    }
}

/* The first kind of matrix that has the format; count 0: none has. */
static struct subject find_subject(const struct rf_forward *f, enum rf_weight_format format, uint32_t rows)
{
    const struct rf_weights *w = f->weights;
    struct subject subject = {
        .key = {.product = RF_SPLIT_NONE, .format = format, .path = rf_matmul_path(f, format), .rows = rows}};
    for (uint32_t l = 0; l < w->layer_count; l++)
        consider(f, &subject, &w->layers[l].qkv);
    for (uint32_t l = 0; l < w->layer_count && !subject.count; l++)
        consider(f, &subject, &w->layers[l].gate_up);
    for (uint32_t l = 0; l < w->layer_count && !subject.count; l++)
        consider(f, &subject, &w->layers[l].down);
    if (!subject.count)
        consider(f, &subject, &w->lm_head);
    if (!subject.count)
        consider(f, &subject, &w->layers[0].o);
    return subject;
}

static const struct rf_matrix *product_matrix(const struct rf_layer_weights *w, enum rf_split_product product)
{
    return product == RF_SPLIT_QKV ? &w->qkv : product == RF_SPLIT_O ? &w->o : &w->down;
}

/* The layers whose matrix mostly has the format. */
static struct subject find_product(const struct rf_forward *f, enum rf_split_product product,
                                   enum rf_weight_format format, uint32_t rows)
{
    struct subject subject = {
        .key = {.product = product, .format = format, .path = rf_matmul_path(f, format), .rows = rows}};
    for (uint32_t l = 0; l < f->weights->layer_count && subject.count < MOST_MATRICES; l++) {
        const struct rf_matrix *matrix = product_matrix(&f->weights->layers[l], product);
        if (rf_split_format(matrix) != format)
            continue;
        subject.key.k = matrix->k;
        subject.key.columns = matrix->columns;
        subject.matrices[subject.count++] = matrix;
    }
    return subject;
}

/* The products of one shape as a command buffer each, so that they can be submitted together or apart. */
struct trial_cmds {
    struct rf_cmd *parts[MOST_MATRICES];
    uint32_t count;
};

/* One chunk's product. */
static void plan_shape(const struct rf_forward *f, struct forward_plan *plan, const struct subject *subject,
                       uint32_t index, struct rf_matmul_shape shape)
{
    uint64_t x_bytes = (uint64_t)subject->key.k * subject->key.rows * (f->fp16 ? 2 : 4);
    struct rf_chunk chunk = *subject->chunks[index];
    chunk.columns = subject->key.columns;
    chunk.first = 0;
    const struct rf_matmul_call call = {.layer = -1,
                                        .name = "trial",
                                        .matrix = subject->matrices[index],
                                        .epilogue = RF_EPILOGUE_STORE,
                                        .product = RF_SPLIT_NONE,
                                        .x = x_bytes <= f->spans.x.size ? f->spans.x : f->spans.act,
                                        .y = f->spans.qkv,
                                        .ldx = subject->key.rows,
                                        .ldy = subject->key.columns,
                                        .scale = 1.0f};
    rf_plan_chunk(f, plan, &call, &chunk, shape);
}

/* A product, and behind it a norm that adds its splits up and normalises, as in a forward. Behind qkv there
 * is head_rope, but it needs sessions: a norm as long as qkv reads as much. */
static void plan_product(const struct rf_forward *f, struct forward_plan *plan, const struct subject *subject,
                         uint32_t index, struct rf_matmul_shape shape)
{
    const struct forward_spans *s = &f->spans;
    bool qkv = subject->key.product == RF_SPLIT_QKV, down = subject->key.product == RF_SPLIT_DOWN;
    const struct rf_matmul_call call = {.layer = -1,
                                        .name = "trial",
                                        .matrix = subject->matrices[index],
                                        .epilogue = qkv ? RF_EPILOGUE_STORE : RF_EPILOGUE_RESIDUAL,
                                        .product = subject->key.product,
                                        .x = down ? s->act : s->x,
                                        .y = qkv ? s->qkv : s->h,
                                        .ldx = subject->key.rows,
                                        .ldy = subject->key.columns,
                                        .scale = 1.0f};
    const struct rf_norm_call norm = {.layer = -1,
                                      .name = "trial",
                                      .weight = qkv ? s->h : f->weights->final_norm,
                                      .h = call.y,
                                      .x = down ? s->x : s->act,
                                      .hidden = subject->key.columns,
                                      .splits = shape.splits};
    rf_plan_split(f, plan, &call, shape);
    rf_plan_norm(f, plan, &norm);
}

static enum rf_status record_product(struct rf_forward *f, const struct subject *subject, uint32_t index,
                                     struct rf_matmul_shape shape, struct rf_cmd *cmd, struct rf_error *err)
{
    struct forward_plan plan = {.bucket = subject->key.rows};
    if (subject->key.product == RF_SPLIT_NONE)
        plan_shape(f, &plan, subject, index, shape);
    else
        plan_product(f, &plan, subject, index, shape);
    enum rf_status status =
        plan.failed ? rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a trial") : RF_OK;
    for (uint32_t i = 0; !status && i < plan.op_count; i++) {
        struct forward_op *op = &plan.ops[i];
        const struct rf_grid *grid = &plan.grids[op->grid];
        op->dispatch.label = op->label;
        op->dispatch.push = op->push;
        op->dispatch.groups[0] = grid->x;
        op->dispatch.groups[1] = rf_divide_up(subject->key.rows, grid->y_per);
        op->dispatch.groups[2] = grid->z;
        status = rf_kernels_get(f->gpu, &op->kernel, 1, &op->dispatch.kernel, err);
        if (!status)
            status = rf_cmd_dispatch(cmd, &op->dispatch, err);
    }
    rf_free(plan.ops);
    return status;
}

static enum rf_status record_trial(struct rf_forward *f, const struct subject *subject,
                                   struct rf_matmul_shape shape, struct trial_cmds *cmds,
                                   struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t i = 0; !status && i < subject->count; i++) {
        struct rf_cmd **cmd = &cmds->parts[i];
        status =
            i == 0 ? rf_cmd_begin(cmd, f->gpu, "trial", err) : rf_cmd_continue(cmd, cmds->parts[i - 1], err);
        cmds->count = i + 1;
        if (!status)
            rf_cmd_mark_trial(*cmd);
        if (!status)
            status = record_product(f, subject, i, shape, *cmd, err);
    }
    if (!status)
        status = rf_cmd_end(cmds->parts[cmds->count - 1], err);
    return status;
}

/* Submits the first `products` of a trial, as one submission or each product as its own, and waits. */
static enum rf_status run_trial(struct rf_forward *f, const struct trial_cmds *cmds, uint32_t products,
                                bool cut, double *seconds, struct rf_error *err)
{
    struct rf_cmd *items[2 * MOST_MATRICES];
    size_t count = 0;
    uint64_t ticket;
    for (uint32_t i = 0; i < products; i++) {
        if (cut && i > 0)
            items[count++] = NULL;
        items[count++] = cmds->parts[i];
    }
    double start = seconds_now();
    enum rf_status status = rf_gpu_submit(f->gpu, items, count, &ticket, err);
    if (!status)
        status = rf_gpu_wait(f->gpu, ticket, err);
    *seconds = seconds_now() - start;
    if (!status)
        rf_gpu_worked(f->gpu, *seconds);
    return status;
}

/* Seconds of one product: the least of REPEATS, after one product that warms up (CPU drivers compile then).
 * That one also tells whether the products are too long for one submission: nobody knows before how slow a
 * shape is. `enough`: what is slower than so many seconds need not be known exactly. */
static enum rf_status time_trial(struct rf_forward *f, const struct subject *subject,
                                 struct rf_matmul_shape shape, double enough, double *seconds,
                                 struct rf_error *err)
{
    struct trial_cmds cmds = {.count = 0};
    double limit = rf_gpu_submission_limit(f->gpu), taken;
    enum rf_status status = record_trial(f, subject, shape, &cmds, err);
    if (!status)
        status = run_trial(f, &cmds, 1, false, &taken, err);
    *seconds = 1e30;
    for (uint32_t i = 0; !status && i < REPEATS && (i == 0 || *seconds < enough); i++) {
        bool cut = (i == 0 ? taken * cmds.count : taken) > limit;
        status = run_trial(f, &cmds, cmds.count, cut, &taken, err);
        if (taken / cmds.count < *seconds)
            *seconds = taken / cmds.count;
        if (taken > 0.25)
            i += REPEATS / 2; /* slow enough to be measured by fewer */
    }
    for (uint32_t i = 0; i < cmds.count; i++)
        rf_cmd_destroy(cmds.parts[i]);
    return status;
}

/* Activations of 0.5 (f32, scales of int8) or 1.75 (f16): what is in memory could be anything, and
 * subnormals are slow. */
static enum rf_status prepare(struct rf_forward *f, uint32_t rows, struct rf_error *err)
{
    const struct rf_counts counts = {.rows = rows, .outputs = rows};
    enum rf_status status = rf_gpu_write(f->gpu, f->spans.counts, &counts, sizeof counts, err);
    if (!status)
        status = rf_gpu_fill(f->gpu, f->spans.x, 0x3f003f00, err);
    if (!status)
        status = rf_gpu_fill(f->gpu, f->spans.act, 0x3f003f00, err);
    if (!status && f->int8)
        status = rf_gpu_fill(f->gpu, f->spans.x8, 0x3f003f00, err);
    if (!status)
        status = rf_gpu_fill(f->gpu, f->spans.h, 0, err);
    return status;
}

/* ---- Kernels that have to prove themselves ---------------------------------------------------------- */

static struct rf_span output_of(const struct rf_forward *f, const struct subject *subject)
{
    bool adds = subject->key.product == RF_SPLIT_O || subject->key.product == RF_SPLIT_DOWN;
    uint64_t bytes = (uint64_t)subject->key.rows * subject->key.columns * sizeof(float);
    return rf_span_part(adds ? f->spans.h : f->spans.qkv, 0, bytes);
}

/* f16 of either sign from 2^-4 to 1, another for each row and k. */
static enum rf_status fill_random(struct rf_forward *f, struct rf_span span, struct rf_error *err)
{
    uint32_t state = 0x2545f491;
    uint16_t *numbers = rf_malloc(span.size);
    if (!numbers)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a trial's %" PRIu64 " bytes",
                       span.size);
    for (uint64_t i = 0; i < span.size / 2; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (uint16_t)((state >> 16 & 0x83ff) | (11u + (state >> 26 & 3)) << 10);
    }
    enum rf_status status = rf_gpu_write(f->gpu, span, numbers, span.size, err);
    rf_free(numbers);
    return status;
}

/* y [bucket][columns] as a shape makes it of the first `rows` rows of random activations with the first
 * matrix; what is not written is zero. */
static enum rf_status make_product(struct rf_forward *f, const struct subject *subject,
                                   struct rf_matmul_shape shape, uint32_t rows, float *y,
                                   struct rf_error *err)
{
    struct rf_span output = output_of(f, subject), inputs[] = {f->spans.x, f->spans.act};
    uint64_t x_bytes = (uint64_t)subject->key.k * subject->key.rows * 2;
    const struct rf_counts counts = {.rows = rows};
    struct subject one = *subject;
    struct trial_cmds cmds = {.count = 0};
    double seconds;
    one.count = 1;
    enum rf_status status = rf_gpu_write(f->gpu, f->spans.counts, &counts, sizeof counts, err);
    for (int i = 0; !status && i < 2; i++)
        if (x_bytes <= inputs[i].size)
            status = fill_random(f, rf_span_part(inputs[i], 0, x_bytes), err);
    if (!status)
        status = rf_gpu_fill(f->gpu, output, 0, err);
    if (!status)
        status = record_trial(f, &one, shape, &cmds, err);
    if (!status)
        status = run_trial(f, &cmds, 1, false, &seconds, err);
    if (!status)
        status = rf_gpu_read(f->gpu, output, y, output.size, err);
    for (uint32_t i = 0; i < cmds.count; i++)
        rf_cmd_destroy(cmds.parts[i]);
    return status;
}

/* Column by column, because weights of one may be much larger than another's: f16 weights cost 3e-4 of a
 * column's norm, one wrong number among 512 4e-2. No NaN is right. */
static bool columns_agree(const float *y, const float *wanted, const struct key *key)
{
    for (uint32_t n = 0; n < key->columns; n++) {
        double norm = 0.0, difference = 0.0;
        for (uint32_t m = 0; m < key->rows; m++) {
            double want = wanted[(size_t)m * key->columns + n], d = y[(size_t)m * key->columns + n] - want;
            norm += want * want;
            difference += d * d;
        }
        if (!(difference <= norm * MOST_DIFFERENCE * MOST_DIFFERENCE))
            return false;
    }
    return true;
}

/* Whether the shape's product of so many rows is that of the plain kernel. A driver that cannot make its
 * pipeline is as good as one that makes a wrong one: `why` tells. y, wanted: room for [bucket][columns]. */
static enum rf_status prove_rows(struct rf_forward *f, const struct subject *subject,
                                 struct rf_matmul_shape shape, uint32_t rows, float *y, float *wanted,
                                 struct rf_error *why, struct rf_error *err)
{
    enum rf_status status =
        make_product(f, subject, rf_matmul_plain(f, subject->key.rows), rows, wanted, err);
    if (status)
        return status;
    enum rf_status made = make_product(f, subject, shape, rows, y, why);
    if (!made && !columns_agree(y, wanted, &subject->key))
        snprintf(why->message, sizeof why->message, "its product of %u rows differs from the plain kernel's",
                 rows);
    return made == RF_OK || made == RF_ERROR_INTERNAL || made == RF_ERROR_UNSUPPORTED
               ? RF_OK
               : rf_fail(err, made, "%s", why->message);
}

/* A full bucket, and one with rows missing. */
static enum rf_status prove_shape(struct rf_forward *f, const struct subject *subject,
                                  struct rf_matmul_shape shape, bool *right, struct rf_error *err)
{
    size_t count = (size_t)subject->key.rows * subject->key.columns;
    const uint32_t rows[] = {subject->key.rows, subject->key.rows - rf_divide_up(subject->key.rows, 8)};
    float *y = rf_malloc(count * sizeof *y), *wanted = rf_malloc(count * sizeof *wanted);
    struct rf_error why = {0};
    enum rf_status status =
        y && wanted ? RF_OK : rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a trial");
    for (int i = 0; !status && i < 2 && !why.message[0]; i++)
        status = prove_rows(f, subject, shape, rows[i], y, wanted, &why, err);
    rf_free(y);
    rf_free(wanted);
    *right = !why.message[0];
    if (!status && !*right)
        rf_gpu_log(f->gpu, RF_LOG_WARNING, "%s, local %u, rows %u, splits %u is not used for %s weights: %s",
                   rf_matmul_kind_name(shape.kind), shape.local, shape.rows, shape.splits,
                   rf_weight_format_name(subject->key.format), why.message);
    if (!status)
        status = prepare(f, subject->key.rows, err);
    return status;
}

/* A trial's shape, if it is of a kind that has to. */
static enum rf_status check_shape(struct rf_forward *f, const struct subject *subject,
                                  struct rf_matmul_shape shape, bool *wrong, struct rf_error *err)
{
    bool right = true;
    enum rf_status status = RF_OK;
    if (shape.kind == RF_MATMUL_COOPMAT2)
        status = prove_shape(f, subject, shape, &right, err);
    *wrong = !right;
    return status;
}

/* ---- Choosing --------------------------------------------------------------------------------------- */

/* A trial on a CPU driver is mostly compilation, up to a second each, and the kinds of kernel differ by
 * factors there: what has lost clearly is not tried in other sizes, nor at other numbers of rows where lanes
 * do the same. It makes the first run ever on Debian 12's lavapipe 6 s instead of 11. */
static void note_losers(const struct rf_forward *f, const struct subject *subject,
                        const double seconds[RF_MATMUL_KINDS], double fastest)
{
    for (int kind = 0; kind < RF_MATMUL_KINDS && subject->key.rows > RF_FEW_ROWS; kind++)
        if (seconds[kind] > HOPELESS * fastest)
            f->tuned->lost[subject->key.format][kind] = true;
}

static bool is_hopeless(const struct rf_forward *f, const struct subject *subject, enum rf_matmul_kind kind,
                        const double seconds[RF_MATMUL_KINDS], double fastest)
{
    return seconds[kind] > HOPELESS * fastest ||
           (subject->key.rows > RF_FEW_ROWS && f->tuned->lost[subject->key.format][kind]);
}

static enum rf_status try_all(struct rf_forward *f, const struct subject *subject, struct rf_trial *best,
                              rf_trial_fn visit, void *user, struct rf_error *err)
{
    double seconds[RF_MATMUL_KINDS] = {0.0}; /* the least of a kind; 0: not tried */
    bool cpu = rf_gpu_get_caps(f->gpu)->cpu, any = false;
    struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES];
    uint32_t count =
        subject->key.product == RF_SPLIT_NONE
            ? rf_matmul_candidates(f, subject->key.format, subject->key.rows, shapes)
            : rf_matmul_split_candidates(f, subject->key.rows, subject->matrices[0], best->shape, shapes);
    enum rf_status status = count > 1 ? prepare(f, subject->key.rows, err) : RF_OK;
    for (uint32_t i = 0; !status && count > 1 && i < count; i++) {
        struct rf_trial trial = *best;
        double *least = &seconds[shapes[i].kind];
        trial.shape = shapes[i];
        trial.seconds = 0.0;
        if (cpu && any && is_hopeless(f, subject, shapes[i].kind, seconds, best->seconds))
            continue;
        status = check_shape(f, subject, trial.shape, &trial.wrong, err);
        if (!status && !trial.wrong)
            status = time_trial(f, subject, trial.shape, cpu && any ? HOPELESS * best->seconds : INFINITY,
                                &trial.seconds, err);
        if (!status && visit)
            visit(user, &trial);
        if (status || trial.wrong)
            continue;
        if (!any || trial.seconds < best->seconds)
            *best = trial;
        if (*least == 0.0 || trial.seconds < *least)
            *least = trial.seconds;
        any = true;
    }
    if (!status && count > 1 && !any)
        best->shape = rf_matmul_plain(f, subject->key.rows);
    if (!status && cpu)
        note_losers(f, subject, seconds, best->seconds);
    if (count == 1)
        best->shape = shapes[0];
    return status;
}

/* `first`: the shape that is tried first, and stays when there is nothing else to try. */
static enum rf_status tune_subject(struct rf_forward *f, const struct subject *subject,
                                   struct rf_matmul_shape first, struct choice *choice, rf_trial_fn visit,
                                   void *user, struct rf_error *err)
{
    struct rf_trial best = {.format = subject->key.format,
                            .product = subject->key.product,
                            .rows = subject->key.rows,
                            .k = subject->key.k,
                            .columns = subject->key.columns,
                            .shape = first};
    enum rf_status status = RF_OK;
    best.from_file = find_line(f, f->tuned, subject, &best.shape);
    if (!best.from_file && rf_gpu_captures(f->gpu))
        return RF_OK; /* nothing can be tried: the default stays */
    if (!best.from_file)
        status = try_all(f, subject, &best, visit, user, err);
    if (status)
        return status;
    best.chosen = true;
    if (visit)
        visit(user, &best);
    *choice = (struct choice){true, best.shape};
    if (!best.from_file && best.seconds > 0.0)
        write_line(f, f->tuned, &subject->key, best.shape, best.seconds);
    return RF_OK;
}

static enum rf_status tune_format(struct rf_forward *f, enum rf_weight_format format, uint32_t bucket,
                                  rf_trial_fn visit, void *user, struct rf_error *err)
{
    struct choice *choice = &f->tuned->choices[format][bucket];
    struct subject subject = find_subject(f, format, 1u << bucket);
    if (choice->known || !subject.count)
        return RF_OK;
    return tune_subject(f, &subject, rf_matmul_default(f, format, subject.key.rows), choice, visit, user,
                        err);
}

/* After all formats: what is tried first is the format's choice, whole. */
static enum rf_status tune_product(struct rf_forward *f, enum rf_split_product product,
                                   enum rf_weight_format format, uint32_t bucket, rf_trial_fn visit,
                                   void *user, struct rf_error *err)
{
    struct choice *choice = &f->tuned->products[product][format][bucket];
    const struct subject subject = find_product(f, product, format, 1u << bucket);
    struct rf_matmul_shape shapes[RF_MATMUL_CANDIDATES], whole = rf_tune_shape(f, format, 1u << bucket);
    uint64_t x_bytes = (uint64_t)subject.key.columns * subject.key.rows * (f->fp16 ? 2 : 4);
    if (choice->known || !subject.count || x_bytes > f->spans.act.size ||
        rf_matmul_split_candidates(f, 1u << bucket, subject.matrices[0], whole, shapes) < 2)
        return RF_OK;
    return tune_subject(f, &subject, whole, choice, visit, user, err);
}

enum rf_status rf_tune_bucket(struct rf_forward *f, uint32_t bucket, rf_trial_fn visit, void *user,
                              struct rf_error *err)
{
    if (!f->tune)
        return RF_OK;
    if (!f->tuned) {
        f->tuned = rf_calloc(1, sizeof *f->tuned);
        if (!f->tuned)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for tuning");
        read_lines(f, f->tuned);
    }
    enum rf_status status = RF_OK;
    for (int format = 0; !status && format < RF_WEIGHT_FORMATS; format++)
        status = tune_format(f, (enum rf_weight_format)format, bucket, visit, user, err);
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    if (!rf_split_possible(caps) || !caps->whole_k)
        return status;
    for (int product = 0; product < RF_SPLIT_PRODUCTS; product++)
        for (int format = 0; !status && format < RF_WEIGHT_FORMATS; format++)
            status = tune_product(f, (enum rf_split_product)product, (enum rf_weight_format)format, bucket,
                                  visit, user, err);
    return status;
}

/* ---- Sweeps ----------------------------------------------------------------------------------------- */

struct contender {
    struct rf_matmul_shape shape;
    double seconds;
};

static int fastest_first(const void *a, const void *b)
{
    const struct contender *x = a, *y = b;
    return x->seconds < y->seconds ? -1 : x->seconds > y->seconds;
}

static bool same_shape(struct rf_matmul_shape a, struct rf_matmul_shape b)
{
    return a.kind == b.kind && a.local == b.local && a.rows == b.rows && a.splits == b.splits;
}

/* Each again SWEEP_ROUNDS times, in turns. */
static enum rf_status time_finalists(struct rf_forward *f, const struct subject *subject,
                                     struct contender *finalists, uint32_t count, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t round = 0; round < SWEEP_ROUNDS; round++) {
        for (uint32_t i = 0; !status && i < count; i++) {
            double seconds;
            status = time_trial(f, subject, finalists[i].shape, INFINITY, &seconds, err);
            if (seconds < finalists[i].seconds)
                finalists[i].seconds = seconds;
        }
    }
    return status;
}

static enum rf_status sweep_format(struct rf_forward *f, const struct subject *subject, uint32_t bucket,
                                   struct rf_sweep *sweep, struct rf_error *err)
{
    struct rf_matmul_shape shapes[RF_MATMUL_ALL];
    struct contender all[RF_MATMUL_ALL], finalists[SWEEP_FINALISTS + 1];
    uint32_t shape_count = rf_matmul_all(f, subject->key.format, subject->key.rows, shapes);
    uint32_t count = 0, finalist_count = 1;
    enum rf_status status = prepare(f, subject->key.rows, err);
    for (uint32_t i = 0; !status && i < shape_count; i++) {
        bool wrong;
        status = check_shape(f, subject, shapes[i], &wrong, err);
        if (status || wrong)
            continue;
        all[count].shape = shapes[i];
        status = time_trial(f, subject, shapes[i], INFINITY, &all[count++].seconds, err);
    }
    if (status)
        return status;
    qsort(all, count, sizeof *all, fastest_first);
    finalists[0] = (struct contender){rf_tune_shape(f, subject->key.format, 1u << bucket), 1e30};
    for (uint32_t i = 0; i < count && finalist_count <= SWEEP_FINALISTS; i++)
        if (!same_shape(all[i].shape, finalists[0].shape))
            finalists[finalist_count++] = all[i];
    status = time_finalists(f, subject, finalists, finalist_count, err);
    uint32_t best = 0;
    for (uint32_t i = 1; i < finalist_count; i++)
        if (finalists[i].seconds < finalists[best].seconds)
            best = i;
    *sweep = (struct rf_sweep){.format = subject->key.format,
                               .rows = subject->key.rows,
                               .k = subject->key.k,
                               .columns = subject->key.columns,
                               .shape_count = count,
                               .chosen = finalists[0].shape,
                               .chosen_seconds = finalists[0].seconds,
                               .fastest = finalists[best].shape,
                               .fastest_seconds = finalists[best].seconds};
    return status;
}

enum rf_status rf_tune_sweep(struct rf_forward *f, uint32_t bucket, rf_sweep_fn visit, void *user,
                             struct rf_error *err)
{
    if (!f->tune)
        return rf_fail(err, RF_ERROR_ARGUMENT, "a sweep of shapes wants a model that is tuned");
    enum rf_status status = rf_tune_bucket(f, bucket, NULL, NULL, err);
    for (int format = 0; !status && format < RF_WEIGHT_FORMATS; format++) {
        struct rf_sweep sweep;
        const struct subject subject = find_subject(f, (enum rf_weight_format)format, 1u << bucket);
        if (!subject.count)
            continue;
        status = sweep_format(f, &subject, bucket, &sweep, err);
        if (!status)
            visit(user, &sweep);
    }
    return status;
}

/* ---- Choices ---------------------------------------------------------------------------------------- */

static uint32_t bucket_of(uint32_t rows)
{
    uint32_t bucket = 0;
    while ((1u << bucket) < rows)
        bucket++;
    return bucket;
}

bool rf_tune_product(const struct rf_forward *f, enum rf_split_product product, enum rf_weight_format format,
                     uint32_t rows, struct rf_matmul_shape *shape)
{
    const struct choice *choice = f->tuned ? &f->tuned->products[product][format][bucket_of(rows)] : NULL;
    if (!choice || !choice->known)
        return false;
    *shape = choice->shape;
    return true;
}

struct rf_matmul_shape rf_tune_shape(const struct rf_forward *f, enum rf_weight_format format, uint32_t rows)
{
    uint32_t bucket = bucket_of(rows);
    if (f->tuned && f->tuned->choices[format][bucket].known)
        return f->tuned->choices[format][bucket].shape;
    return rf_matmul_default(f, format, rows);
}

void rf_tune_free(struct rf_tune *tune)
{
    if (!tune)
        return;
    rf_free(tune->lines);
    rf_free(tune);
}
