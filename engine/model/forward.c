#include "engine/allocate.h"
#include "engine/model/forward_internal.h"
#include "engine/model/tune.h"

#include <stdio.h>
#include <string.h>

#include "engine/arithmetic.h"
#include "engine/model/split.h"

enum {
    MIN_SPLIT_ROWS = 4096, /* 512 rows over 4096 keys; 68 MB of partials at 8B shape */
    STAND_IN_BYTES = 256,
    /* What a step of matmul_wide's loop over k reads of its inputs: 32 of k of every row and of the next 16,
     * at most f32. New lavapipe reads a step past the end (shaders/attention_wide.comp). */
    LOOP_STEP_BYTES = 32 * (RF_MAX_ROWS + 16) * 4
};

/* What runs beside the dispatches of layers.c. */
static const char gather_shader[] = "rows_gather";
static const char *const slot_shaders[RF_SLOT_SHADERS] = {"slot_select", "slot_fill", "slot_accept"};

static const char *commit_shader(const struct rf_forward *f)
{
    return f->fp16 ? "kv_commit_act16" : "kv_commit";
}

struct span_request {
    struct rf_span *span;
    struct rf_arena *arena;
    uint64_t bytes;
    const char *label;
};

static enum rf_status allocate(struct rf_forward *f, struct rf_error *err)
{
    const struct rf_model_config *c = &f->config;
    struct forward_spans *s = &f->spans;
    uint64_t rows = RF_MAX_ROWS, element = f->fp16 ? 2 : 4;
    uint64_t q = (uint64_t)c->heads * c->head_dim, qkv = q + 2 * (uint64_t)c->kv_heads * c->head_dim;
    uint64_t x = q > c->hidden ? q : c->hidden, split_columns = qkv > c->hidden ? qkv : c->hidden;
    const struct span_request requests[] = {
        {&s->seqs, f->upload, RF_MAX_SEQS * sizeof(struct rf_seq), "sequences"},
        {&s->work[0], f->upload, sizeof(struct rf_work), "work 0"},
        {&s->work[1], f->upload, sizeof(struct rf_work), "work 1"},
        {&s->active, f->upload, sizeof(struct rf_active), "active sequences"},
        {&s->sessions, f->device, STAND_IN_BYTES, "stand-in for sessions"},
        {&s->pages, f->device, STAND_IN_BYTES, "stand-in for KV pages"},
        {&s->rows, f->device, rows * sizeof(struct rf_row), "rows"},
        {&s->outputs, f->device, rows * 4, "outputs"},
        {&s->counts, f->device, sizeof(struct rf_counts), "counts"},
        {&s->h, f->device, rows * c->hidden * 4, "residual stream"},
        {&s->x, f->device, rows * x * element, "matmul input"},
        {&s->qkv, f->device, rows * qkv * 4, "qkv"},
        {&s->act, f->device, rows * c->ffn * element, "SwiGLU product"},
        {&s->attention_partials, f->device, (uint64_t)f->split_rows * c->heads * (c->head_dim + 2) * 4,
         "attention partials"},
        {&s->logit_partials, f->device, (uint64_t)f->logit_tiles * rows * sizeof(struct rf_partial),
         "logit partials"},
        {&s->split_partials, f->device, RF_SPLIT_ROWS * split_columns * 4, "partials of split products"},
    };
    enum rf_status status = RF_OK;
    size_t count = sizeof requests / sizeof *requests;
    if (!rf_split_possible(rf_gpu_get_caps(f->gpu)))
        count--;
    for (size_t i = 0; i < count; i++) {
        status =
            rf_arena_alloc(requests[i].arena, requests[i].span, requests[i].bytes, requests[i].label, err);
        if (status)
            return status;
    }
    /* A block of 512 rows; smaller buckets round up to less. */
    if (f->int8)
        status = rf_arena_alloc(f->device, &s->x8, rf_divide_up((uint32_t)x, 32) * RF_INT8_BLOCK(rows) * 16,
                                "int8 matmul input", err);
    if (status || !s->seqs.host)
        return status; /* nothing is there to be run */
    memset(s->seqs.host, 0, s->seqs.size);
    memset(s->active.host, 0, s->active.size);
    return RF_OK;
}

enum rf_status rf_forward_create(struct rf_forward **out, const struct rf_forward_desc *desc,
                                 struct rf_error *err)
{
    struct rf_forward *f = rf_calloc(1, sizeof *f);
    if (!f)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the forward");
    f->gpu = desc->gpu;
    f->weights = desc->weights;
    f->config = *desc->config;
    f->context_length = desc->context_length;
    f->fp16 = desc->fp16;
    f->int8 = desc->int8;
    f->tune = desc->tune;
    uint32_t splits = rf_divide_up(desc->context_length + RF_MAX_ROWS, RF_SPLIT_KEYS);
    f->split_rows = splits > MIN_SPLIT_ROWS ? splits : MIN_SPLIT_ROWS;
    f->logit_tiles = rf_divide_up(f->config.vocab, RF_LOGIT_TILE);
    struct rf_arena *(*create)(struct rf_gpu *, enum rf_memory_kind, const char *) =
        desc->sizes_only ? rf_arena_create_counted : rf_arena_create;
    f->device = create(desc->gpu, RF_MEMORY_DEVICE, "activations");
    f->upload = create(desc->gpu, RF_MEMORY_UPLOAD, "sequences and work");
    if (f->device)
        rf_arena_keep_tail(f->device, LOOP_STEP_BYTES);
    enum rf_status status = f->device && f->upload
                                ? allocate(f, err)
                                : rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for arenas");
    if (status) {
        rf_forward_destroy(f);
        return status;
    }
    *out = f;
    return RF_OK;
}

uint64_t rf_forward_bytes(const struct rf_forward *f)
{
    return rf_arena_bytes(f->device) + rf_arena_bytes(f->upload);
}

static void drop_parts(struct forward_variant *variant)
{
    for (uint32_t i = 0; i < variant->part_count; i++)
        rf_cmd_destroy(variant->parts[i]);
    rf_free(variant->parts);
    rf_free(variant->notes);
    variant->notes = NULL;
    variant->parts = NULL;
    variant->part_count = 0;
}

static void drop_gathers(struct forward_variant *variant)
{
    rf_cmd_destroy(variant->gather[0]);
    rf_cmd_destroy(variant->gather[1]);
    variant->gather[0] = variant->gather[1] = NULL;
}

static void drop_recordings(struct forward_variant *variant)
{
    drop_parts(variant);
    drop_gathers(variant);
}

static void drop_commit(struct forward_recordings *r, uint32_t seq)
{
    rf_cmd_destroy(r->commits[seq]);
    r->commits[seq] = NULL;
}

void rf_forward_drop_commit(struct rf_forward *f, uint32_t seq)
{
    for (uint32_t m = 0; m < RF_MARKINGS; m++)
        drop_commit(&f->recordings[m], seq);
}

void rf_forward_drop_marked(struct rf_forward *f, enum rf_marking marking)
{
    struct forward_recordings *r = &f->recordings[marking];
    for (uint32_t b = 0; b < FORWARD_BUCKETS; b++) {
        for (uint32_t v = 0; v < RF_FORWARD_VARIANTS; v++)
            drop_recordings(&r->variants[b][v]);
    }
    for (uint32_t i = 0; i < RF_SLOT_SHADERS; i++) {
        rf_cmd_destroy(r->slots[i]);
        r->slots[i] = NULL;
    }
    for (uint32_t seq = 0; seq < RF_MAX_SEQS; seq++)
        drop_commit(r, seq);
}

void rf_forward_drop_recordings(struct rf_forward *f)
{
    for (int m = 0; m < RF_MARKINGS; m++)
        rf_forward_drop_marked(f, (enum rf_marking)m);
}

void rf_forward_destroy(struct rf_forward *f)
{
    if (!f)
        return;
    rf_forward_drop_recordings(f);
    rf_arena_destroy(f->readback);
    rf_arena_destroy(f->device);
    rf_arena_destroy(f->upload);
    rf_tune_free(f->tuned);
    rf_free(f);
}

struct rf_seq *rf_forward_seqs(struct rf_forward *f)
{
    return f->spans.seqs.host;
}

struct rf_work *rf_forward_work(struct rf_forward *f, uint32_t pass)
{
    return f->spans.work[pass].host;
}

struct rf_active *rf_forward_active(struct rf_forward *f)
{
    return f->spans.active.host;
}

struct rf_span rf_forward_logits(const struct rf_forward *f)
{
    return f->spans.logits;
}

uint32_t rf_forward_max_rows(const struct rf_forward *f, uint32_t max_keys)
{
    if (max_keys <= RF_SPLIT_KEYS)
        return RF_MAX_ROWS;
    /* Partials lie [split][bucket][head], so it is a whole bucket that must fit. */
    uint32_t bucket = RF_MAX_ROWS, splits = rf_divide_up(max_keys, RF_SPLIT_KEYS);
    while (bucket > 1 && bucket * splits > f->split_rows)
        bucket /= 2;
    return bucket;
}

static uint32_t bucket_of(uint32_t rows)
{
    uint32_t b = 0;
    while ((1u << b) < rows)
        b++;
    return b;
}

/* most: dispatches and copies, where the forward is marked. */
static enum rf_status begin_cmd(const struct rf_forward *f, struct rf_cmd **cmd, const char *label,
                                const struct rf_op_note *notes, uint32_t most, struct rf_error *err)
{
    enum rf_status status = rf_cmd_begin(cmd, f->gpu, label, err);
    if (!status)
        status = rf_cmd_mark(*cmd, f->marking, most, err);
    if (!status)
        rf_cmd_set_notes(*cmd, notes);
    return status;
}

static enum rf_status record_gather(struct rf_forward *f, struct forward_variant *variant, uint32_t bucket,
                                    uint32_t pass, struct rf_error *err)
{
    const struct forward_spans *s = &f->spans;
    struct rf_kernel *kernel;
    enum rf_status status =
        rf_kernels_get(f->gpu, &(struct rf_kernel_id){.shader = gather_shader}, 1, &kernel, err);
    if (status)
        return status;
    struct rf_push_rows_gather push = {.seqs = s->seqs.address,
                                       .work = s->work[pass].address,
                                       .rows = s->rows.address,
                                       .outputs = s->outputs.address,
                                       .counts = s->counts.address,
                                       .grids = variant->grids.address,
                                       .indirect = variant->indirect.address,
                                       .grid_count = variant->grid_count};
    struct rf_dispatch dispatch = {.kernel = kernel,
                                   .label = "rows gather",
                                   .push = &push,
                                   .push_size = sizeof push,
                                   .groups = {1, 1, 1},
                                   .access_count = 8,
                                   .accesses = {{s->seqs, RF_READ},
                                                {s->work[pass], RF_READ},
                                                {s->sessions, RF_READ},
                                                {variant->grids, RF_READ},
                                                {s->rows, RF_WRITE},
                                                {s->outputs, RF_WRITE},
                                                {s->counts, RF_WRITE},
                                                {variant->indirect, RF_WRITE}}};
    struct rf_cmd **cmd = &variant->gather[pass];
    variant->gather_note = (struct rf_op_note){
        .op = "rows gather", .layer = -1, .begins_pass = true, .work = rf_work_gather(variant->grid_count)};
    status = begin_cmd(f, cmd, "gather", &variant->gather_note, 2, err);
    if (!status)
        status = rf_cmd_dispatch(*cmd, &dispatch, err);
    /* Slot shaders lay rows that the host never sees, and what a dispatch has to do is counted from them. */
    if (!status && f->marking)
        status = rf_cmd_copy(*cmd, f->gathered[pass], s->rows, bucket * sizeof(struct rf_row),
                             "profiler: rows", err);
    if (!status)
        status = rf_cmd_end(*cmd, err);
    return status;
}

/* With the forward's kernels come those that run beside it: one at a time they would be compiled on one
 * thread. */
static enum rf_status make_kernels(struct rf_forward *f, struct forward_plan *plan, struct rf_error *err)
{
    const uint32_t count = plan->op_count + RF_SLOT_SHADERS + 2;
    struct rf_kernel_id *ids = rf_calloc(count, sizeof *ids);
    struct rf_kernel **kernels = rf_malloc(count * sizeof *kernels);
    enum rf_status status = RF_OK;
    if (!ids || !kernels)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %u kernels", count);
    for (uint32_t i = 0; !status && i < plan->op_count; i++)
        ids[i] = plan->ops[i].kernel;
    for (uint32_t i = 0; !status && i < RF_SLOT_SHADERS; i++)
        ids[plan->op_count + i].shader = slot_shaders[i];
    if (!status) {
        ids[count - 2].shader = gather_shader;
        ids[count - 1].shader = commit_shader(f);
        status = rf_kernels_get(f->gpu, ids, count, kernels, err);
    }
    for (uint32_t i = 0; !status && i < plan->op_count; i++)
        plan->ops[i].dispatch.kernel = kernels[i];
    rf_free(ids);
    rf_free(kernels);
    return status;
}

/* The device sizes its dispatches itself (rows_gather), so what it may come to is checked where it is
 * planned: for a full bucket over the longest context. */
static enum rf_status check_grids(const struct rf_forward *f, const struct forward_plan *plan,
                                  struct rf_error *err)
{
    const uint32_t *most = rf_gpu_get_caps(f->gpu)->max_workgroup_count;
    const uint32_t splits = rf_divide_up(f->context_length + RF_MAX_ROWS, RF_SPLIT_KEYS);
    for (uint32_t i = 0; i < plan->op_count; i++) {
        const struct rf_grid *grid = &plan->grids[plan->ops[i].grid];
        const bool fixed = (grid->source & 3) == RF_GRID_FIXED;
        const uint32_t groups[3] = {grid->x, fixed ? grid->y_per : rf_divide_up(plan->bucket, grid->y_per),
                                    grid->source & RF_GRID_SPLITS ? splits : grid->z};
        for (int d = 0; d < 3; d++)
            if (groups[d] > most[d])
                return rf_fail(err, RF_ERROR_UNSUPPORTED,
                               "%s of %u rows: %u workgroups in dimension %d, the device takes at most %u",
                               plan->ops[i].label, plan->bucket, groups[d], d, most[d]);
    }
    return RF_OK;
}

/* The spans of a variant outlive a failure: the next try takes them again. */
static enum rf_status make_spans(struct rf_forward *f, struct forward_variant *variant, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    if (!variant->grids.address)
        status =
            rf_arena_alloc(f->upload, &variant->grids, RF_MAX_GRIDS * sizeof(struct rf_grid), "grids", err);
    if (!status && !variant->indirect.address)
        status = rf_arena_alloc(f->device, &variant->indirect, RF_MAX_GRIDS * 12, "dispatch sizes", err);
    return status;
}

/* Records ops in as many parts as are wanted, cut where a dispatch waits for what is before it anyway, as
 * near as dispatches allow to where the cost is shared out evenly. Whether that is between layers or within
 * one makes no difference to the device. */
static enum rf_status record_parts(struct rf_forward *f, struct forward_variant *variant,
                                   struct forward_plan *plan, double seconds, struct rf_error *err)
{
    uint32_t wanted = variant->parts_wanted, next = 1;
    uint64_t done = 0;
    variant->parts = rf_calloc(wanted, sizeof(struct rf_cmd *));
    if (!variant->parts)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %u parts of a forward", wanted);
    struct rf_cmd **cmd = variant->parts;
    const double seconds_per_cost = seconds / (double)variant->cost;
    enum rf_status status = begin_cmd(f, cmd, "forward", variant->notes, plan->op_count, err);
    variant->part_count = 1;
    for (uint32_t i = 0; !status && i < plan->op_count; i++) {
        struct forward_op *op = &plan->ops[i];
        op->dispatch.label = op->label;
        op->dispatch.push = op->push;
        op->dispatch.note = i;
        op->dispatch.seconds = seconds_per_cost * (double)op->cost;
        op->dispatch.indirect = rf_span_part(variant->indirect, (uint64_t)op->grid * 12, 12);
        if (next < wanted && (done + op->cost / 2) * wanted >= variant->cost * next &&
            rf_cmd_waits(*cmd, &op->dispatch)) {
            status = rf_cmd_continue(cmd + 1, *cmd, err);
            cmd++;
            variant->part_count++;
            while (next < wanted && (done + op->cost / 2) * wanted >= variant->cost * next)
                next++;
        }
        done += op->cost;
        if (!status)
            status = rf_cmd_dispatch(*cmd, &op->dispatch, err);
    }
    if (!status)
        status = rf_cmd_end(*cmd, err);
    return status;
}

static enum rf_status keep_notes(const struct rf_forward *f, struct forward_variant *variant,
                                 const struct forward_plan *plan, struct rf_error *err)
{
    if (!f->marking)
        return RF_OK;
    rf_free(variant->notes);
    variant->notes = rf_malloc(plan->op_count * sizeof *variant->notes);
    if (!variant->notes)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the notes of %u dispatches",
                       plan->op_count);
    for (uint32_t i = 0; i < plan->op_count; i++)
        variant->notes[i] = plan->ops[i].note;
    return RF_OK;
}

/* seconds: that the forward is expected to take. */
static enum rf_status record_plan(struct rf_forward *f, struct forward_variant *variant,
                                  struct forward_plan *plan, double seconds, struct rf_error *err)
{
    enum rf_status status = check_grids(f, plan, err);
    if (!status)
        status = make_kernels(f, plan, err);
    if (!status)
        status = make_spans(f, variant, err);
    if (status)
        return status;
    if (variant->grid_count != plan->grid_count) /* a gather is told how many dispatch sizes it writes */
        drop_gathers(variant);
    memcpy(variant->grids.host, plan->grids, sizeof plan->grids);
    variant->grid_count = plan->grid_count;
    status = keep_notes(f, variant, plan, err);
    if (!status)
        status = record_parts(f, variant, plan, seconds, err);
    for (uint32_t pass = 0; !status && pass < 2; pass++)
        if (!variant->gather[pass])
            status = record_gather(f, variant, plan->bucket, pass, err);
    return status;
}

static uint64_t plan_cost(const struct forward_plan *plan)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < plan->op_count; i++)
        cost += plan->ops[i].cost;
    return cost;
}

/* plan->ops is the caller's, after a failure too. */
static enum rf_status make_plan(struct rf_forward *f, uint32_t bucket, uint32_t flags, uint64_t piece,
                                struct forward_plan *plan, struct rf_error *err)
{
    *plan = (struct forward_plan){.bucket = 1u << bucket, .flags = flags, .piece = piece};
    /* A deterministic forward has the shape of one bucket, whatever its own. */
    enum rf_status status = rf_tune_bucket(f, bucket, NULL, NULL, err);
    if (!status && (flags & RF_FORWARD_DETERMINISTIC))
        status = rf_tune_bucket(f, RF_DETERMINISTIC_BUCKET, NULL, NULL, err);
    if (status)
        return status;
    rf_plan_forward(f, plan);
    return plan->failed ? rf_fail(err, RF_ERROR_HOST_MEMORY,
                                  "the forward's plan has too many dispatch sizes, or no host memory")
                        : RF_OK;
}

static enum rf_status record_variant(struct rf_forward *f, uint32_t bucket, uint32_t flags,
                                     struct rf_error *err)
{
    struct forward_variant *variant = &f->recordings[f->marking].variants[bucket][flags];
    if ((flags & RF_FORWARD_LOGITS) && !f->spans.logits.address) {
        enum rf_status status = rf_arena_alloc(f->device, &f->spans.logits,
                                               (uint64_t)RF_LOGIT_ROWS * f->config.vocab * 4, "logits", err);
        if (status)
            return status;
    }
    struct forward_plan plan;
    enum rf_status status = make_plan(f, bucket, flags, 0, &plan, err);
    if (!status) {
        variant->cost = plan_cost(&plan);
        const double seconds = rf_forward_estimate(f, bucket, flags, variant->cost);
        variant->parts_wanted = rf_parts_for(seconds, rf_gpu_submission_limit(f->gpu));
        if (variant->parts_wanted > 1) {
            /* Half a part at most, so that cuts fall near to where they are wanted. */
            rf_free(plan.ops);
            status = make_plan(f, bucket, flags, variant->cost / (2 * variant->parts_wanted), &plan, err);
            variant->cost = plan_cost(&plan);
        }
        if (!status)
            status = record_plan(f, variant, &plan, seconds, err);
    }
    if (status)
        drop_recordings(variant);
    rf_free(plan.ops);
    return status;
}

void rf_forward_cmds_init(struct rf_forward_cmds *cmds)
{
    cmds->count = 0;
    cmds->forward_count = 0;
    cmds->tail = 0.0;
}

void rf_forward_cmds_add(struct rf_forward_cmds *cmds, struct rf_cmd *cmd)
{
    cmds->items[cmds->count++] = cmd;
}

/* A forward that follows another one begins a submission of its own where the two would take too long
 * together. */
static void add_forward(struct rf_forward *f, struct forward_variant *variant, uint32_t pass, double seconds,
                        struct rf_forward_cmds *cmds)
{
    double part = seconds / variant->part_count;
    if (cmds->forward_count && cmds->tail + part > rf_gpu_submission_limit(f->gpu)) {
        rf_forward_cmds_add(cmds, NULL);
        cmds->tail = 0.0;
    }
    rf_forward_cmds_add(cmds, variant->gather[pass]);
    for (uint32_t i = 0; i < variant->part_count; i++) {
        if (i > 0)
            rf_forward_cmds_add(cmds, NULL);
        rf_forward_cmds_add(cmds, variant->parts[i]);
    }
    cmds->tail = variant->part_count > 1 ? part : cmds->tail + part;
    cmds->forwards[cmds->forward_count].variant = variant;
    cmds->forwards[cmds->forward_count++].seconds = seconds;
}

enum rf_status rf_forward_get(struct rf_forward *f, uint32_t rows, uint32_t flags, uint32_t pass,
                              struct rf_forward_cmds *cmds, struct rf_error *err)
{
    uint32_t bucket = bucket_of(rows);
    if (f->marking && pass == 1)
        flags |= RF_FORWARD_SECOND; /* a marked recording may stand in a submission once only */
    struct forward_variant *variant = &f->recordings[f->marking].variants[bucket][flags];
    double limit = rf_gpu_submission_limit(f->gpu);
    if (variant->parts && variant->times.count &&
        rf_parts_are_wrong(variant->parts_wanted, rf_times_seconds(&variant->times), limit))
        drop_parts(variant); /* whoever submitted them has waited */
    if (!variant->parts) {
        enum rf_status status = record_variant(f, bucket, flags, err);
        if (status)
            return status;
    }
    add_forward(f, variant, pass, rf_forward_estimate(f, bucket, flags, variant->cost), cmds);
    return RF_OK;
}

void rf_forward_ran(const struct rf_forward_cmds *cmds, double seconds)
{
    double expected = 0.0;
    for (uint32_t i = 0; i < cmds->forward_count; i++)
        expected += cmds->forwards[i].seconds;
    for (uint32_t i = 0; i < cmds->forward_count; i++)
        rf_times_add(&cmds->forwards[i].variant->times, seconds * cmds->forwards[i].seconds / expected);
}

enum rf_status rf_forward_slots(struct rf_forward *f, enum rf_slot_shader which, struct rf_cmd **cmd,
                                struct rf_error *err)
{
    struct forward_recordings *r = &f->recordings[f->marking];
    const char *shader = slot_shaders[which];
    *cmd = r->slots[which];
    if (*cmd)
        return RF_OK;
    const struct forward_spans *s = &f->spans;
    struct rf_kernel *kernel;
    enum rf_status status = rf_kernels_get(f->gpu, &(struct rf_kernel_id){.shader = shader}, 1, &kernel, err);
    if (status)
        return status;
    struct rf_push_slots push = {.seqs = s->seqs.address, .sequences = s->active.address};
    struct rf_dispatch dispatch = {
        .kernel = kernel,
        .label = shader,
        .push = &push,
        .push_size = sizeof push,
        .indirect = rf_span_part(s->active, 0, 12),
        .access_count = 3,
        .accesses = {{s->seqs, RF_READ}, {s->active, RF_READ}, {s->sessions, RF_READ_WRITE}}};
    r->slot_notes[which] = (struct rf_op_note){.op = shader, .layer = -1, .work = rf_work_slots()};
    status = begin_cmd(f, cmd, shader, &r->slot_notes[which], 1, err);
    if (!status)
        status = rf_cmd_dispatch(*cmd, &dispatch, err);
    if (!status)
        status = rf_cmd_end(*cmd, err);
    if (status) {
        rf_cmd_destroy(*cmd);
        *cmd = NULL;
    }
    r->slots[which] = *cmd;
    return status;
}

static enum rf_status record_commit(struct rf_forward *f, uint32_t seq, struct rf_span state,
                                    struct rf_cmd **cmd, struct rf_error *err)
{
    const struct forward_spans *s = &f->spans;
    struct rf_kernel *kernel;
    const struct rf_kernel_id id = {.shader = commit_shader(f)};
    *cmd = NULL;
    enum rf_status status = rf_kernels_get(f->gpu, &id, 1, &kernel, err);
    if (status)
        return status;
    struct rf_push_kv_commit push = {
        .seqs = s->seqs.address, .seq = seq, .kv_heads = f->config.kv_heads, .head_dim = f->config.head_dim};
    struct rf_dispatch dispatch = {
        .kernel = kernel,
        .label = "kv_commit",
        .push = &push,
        .push_size = sizeof push,
        .indirect = rf_span_part(state, offsetof(struct rf_round_state, commit_x), 12),
        .access_count = 3,
        .accesses = {{s->seqs, RF_READ}, {s->sessions, RF_READ}, {s->pages, RF_READ_WRITE}}};
    struct rf_op_note *note = &f->recordings[f->marking].commit_note;
    *note =
        (struct rf_op_note){.op = "kv_commit", .layer = -1, .commits = true, .work = rf_work_kv_commit(f)};
    status = begin_cmd(f, cmd, "kv_commit", note, 1, err);
    if (!status)
        status = rf_cmd_dispatch(*cmd, &dispatch, err);
    if (!status)
        status = rf_cmd_end(*cmd, err);
    if (status) {
        rf_cmd_destroy(*cmd);
        *cmd = NULL;
    }
    return status;
}

enum rf_status rf_forward_commit(struct rf_forward *f, uint32_t seq, struct rf_span state,
                                 struct rf_cmd **cmd, struct rf_error *err)
{
    struct rf_cmd **kept = &f->recordings[f->marking].commits[seq];
    enum rf_status status = *kept ? RF_OK : record_commit(f, seq, state, kept, err);
    *cmd = *kept;
    return status;
}

void rf_forward_visit(const struct rf_forward *f, rf_cmd_visit_fn visit, void *user)
{
    static const char *const flag_names[RF_FORWARD_SECOND] = {"", " deterministic", " logits",
                                                              " deterministic logits"};
    const struct forward_recordings *r = &f->recordings[f->marking];
    for (uint32_t b = 0; b < FORWARD_BUCKETS; b++) {
        for (uint32_t v = 0; v < RF_FORWARD_VARIANTS; v++) {
            const struct forward_variant *variant = &r->variants[b][v];
            char label[64];
            snprintf(label, sizeof label, "%u rows%s%s", 1u << b, flag_names[v % RF_FORWARD_SECOND],
                     v & RF_FORWARD_SECOND ? " second" : "");
            for (uint32_t pass = 0; pass < 2; pass++)
                if (variant->gather[pass])
                    visit(user, variant->gather[pass], label);
            for (uint32_t i = 0; i < variant->part_count; i++)
                visit(user, variant->parts[i], label);
        }
    }
    for (uint32_t i = 0; i < RF_SLOT_SHADERS; i++)
        if (r->slots[i])
            visit(user, r->slots[i], slot_shaders[i]);
}

enum rf_status rf_forward_set_marking(struct rf_forward *f, enum rf_marking marking, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    f->marking = RF_MARK_NOTHING;
    if (marking && !f->readback) {
        f->readback = rf_arena_create(f->gpu, RF_MEMORY_READBACK, "profiler");
        if (!f->readback)
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the profiler's arena");
        for (uint32_t pass = 0; !status && pass < 2; pass++)
            status = rf_arena_alloc(f->readback, &f->gathered[pass], RF_MAX_ROWS * sizeof(struct rf_row),
                                    "gathered rows", err);
    }
    if (status) {
        rf_arena_destroy(f->readback);
        f->readback = NULL;
        return status;
    }
    f->marking = marking;
    return RF_OK;
}

enum rf_marking rf_forward_marking(const struct rf_forward *f)
{
    return f->marking;
}

const struct rf_row *rf_forward_gathered(const struct rf_forward *f, uint32_t pass)
{
    return f->gathered[pass].host;
}

/* ---- Lists ------------------------------------------------------------------------------------------ */

static bool same_id(const struct rf_kernel_id *a, const struct rf_kernel_id *b)
{
    return a->subgroup_size == b->subgroup_size && a->spec_count == b->spec_count &&
           memcmp(a->specs, b->specs, a->spec_count * sizeof *a->specs) == 0 &&
           strcmp(a->shader, b->shader) == 0;
}

static enum rf_status list_use(struct rf_kernel_list *list, const struct rf_kernel_id *id, const char *op,
                               uint32_t buckets, struct rf_error *err)
{
    uint32_t at = 0, o = 0;
    while (at < list->count && !same_id(&list->uses[at].id, id))
        at++;
    if (at == list->count) {
        struct rf_kernel_use *uses = rf_realloc(list->uses, (list->count + 1) * sizeof *uses);
        if (!uses)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a list of kernels");
        list->uses = uses;
        list->uses[list->count++] = (struct rf_kernel_use){.id = *id};
    }
    struct rf_kernel_use *use = &list->uses[at];
    while (o < use->op_count && strcmp(use->ops[o].op, op) != 0)
        o++;
    if (o == RF_KERNEL_OPS)
        return rf_fail(err, RF_ERROR_INTERNAL, "%s: more than %d ops of one kernel", id->shader,
                       RF_KERNEL_OPS);
    if (o == use->op_count)
        use->ops[use->op_count++].op = op;
    use->ops[o].buckets |= buckets;
    return RF_OK;
}

_Static_assert(RF_ALL_BUCKETS == (1 << FORWARD_BUCKETS) - 1, "one bit a bucket");

static enum rf_status list_forward(struct rf_forward *f, uint32_t bucket, uint32_t flags,
                                   struct rf_kernel_list *list, struct rf_error *err)
{
    struct forward_plan plan;
    enum rf_status status = make_plan(f, bucket, flags, 0, &plan, err);
    for (uint32_t i = 0; !status && i < plan.op_count; i++)
        status = list_use(list, &plan.ops[i].kernel, plan.ops[i].note.op, 1u << bucket, err);
    rf_free(plan.ops);
    return status;
}

/* Slot shaders and the commit. */
static enum rf_status list_beside(struct rf_forward *f, bool only_run, struct rf_kernel_list *list,
                                  struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t i = 0; !status && i <= RF_SLOT_SHADERS; i++) {
        const bool commit = i == RF_SLOT_SHADERS;
        const struct rf_kernel_id id = {.shader = commit ? commit_shader(f) : slot_shaders[i]};
        if (!only_run || rf_kernel_dispatches(f->gpu, &id))
            status = list_use(list, &id, commit ? "kv_commit" : slot_shaders[i], 0, err);
    }
    return status;
}

enum rf_status rf_forward_list(struct rf_forward *f, uint32_t flags, struct rf_kernel_list *list,
                               struct rf_error *err)
{
    enum rf_status status =
        list_use(list, &(struct rf_kernel_id){.shader = gather_shader}, "rows gather", RF_ALL_BUCKETS, err);
    for (uint32_t b = 0; !status && b < FORWARD_BUCKETS; b++)
        status = list_forward(f, b, flags, list, err);
    return status ? status : list_beside(f, false, list, err);
}

enum rf_status rf_forward_list_recorded(struct rf_forward *f, struct rf_kernel_list *list,
                                        struct rf_error *err)
{
    const struct rf_kernel_id gather = {.shader = gather_shader};
    enum rf_status status = RF_OK;
    for (uint32_t b = 0; !status && b < FORWARD_BUCKETS; b++)
        for (uint32_t flags = 0; !status && flags < RF_FORWARD_VARIANTS; flags++) {
            bool any = false;
            for (uint32_t m = 0; m < RF_MARKINGS; m++)
                any = any || f->recordings[m].variants[b][flags].cost; /* outlives its recording */
            if (!any)
                continue;
            status = list_use(list, &gather, "rows gather", 1u << b, err);
            if (!status)
                status = list_forward(f, b, flags, list, err);
        }
    return status ? status : list_beside(f, true, list, err);
}
