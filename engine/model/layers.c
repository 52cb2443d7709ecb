/* The network as a list of dispatches:
 *   embed; per layer: rmsnorm, qkv, head_rope, attention (+ reduce), o + residual, rmsnorm, gate/up + SwiGLU,
 *   down + residual; rmsnorm of the rows that want a result, lm_head, logits_reduce. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/forward_internal.h"

enum { FEW_ROWS = 8, FEW_REDUCE_ROWS = 4, MANY_ROWS = 8, DETERMINISTIC_ROWS = 32, LOCAL = 64 };

static uint32_t divide_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

static uint32_t grid(struct forward_plan *plan, uint32_t x, uint32_t y_per, uint32_t source)
{
    for (uint32_t g = 0; g < plan->grid_count; g++)
        if (plan->grids[g].x == x && plan->grids[g].y_per == y_per && plan->grids[g].source == source)
            return g;
    if (plan->grid_count == RF_MAX_GRIDS) {
        plan->failed = true;
        return 0;
    }
    plan->grids[plan->grid_count] = (struct rf_grid){.x = x, .y_per = y_per, .source = source};
    return plan->grid_count++;
}

/* A new op with its push constants; NULL when the host is out of memory (plan->failed). */
static struct forward_op *add(struct forward_plan *plan, const char *shader, int layer, const char *name,
                              const void *push, uint32_t push_size, uint32_t grid_index)
{
    if (plan->op_count == plan->op_capacity) {
        uint32_t capacity = plan->op_capacity ? plan->op_capacity * 2 : 64;
        struct forward_op *ops = realloc(plan->ops, capacity * sizeof *ops);
        if (!ops) {
            plan->failed = true;
            return NULL;
        }
        plan->ops = ops;
        plan->op_capacity = capacity;
    }
    struct forward_op *op = &plan->ops[plan->op_count++];
    memset(op, 0, sizeof *op);
    op->kernel.shader = shader;
    op->grid = grid_index;
    op->dispatch.push_size = push_size;
    memcpy(op->push, push, push_size);
    if (layer >= 0)
        snprintf(op->label, sizeof op->label, "L%d %s", layer, name);
    else
        snprintf(op->label, sizeof op->label, "%s", name);
    return op;
}

static void access_span(struct forward_op *op, struct rf_span span, enum rf_access_mode mode)
{
    if (op)
        op->dispatch.accesses[op->dispatch.access_count++] = (struct rf_access){span, mode};
}

static void spec(struct forward_op *op, uint32_t value)
{
    if (op)
        op->kernel.specs[op->kernel.spec_count++] = value;
}

#define ADD(plan, shader, layer, name, push, grid_index)                                                     \
    add(plan, shader, layer, name, &(push), (uint32_t)sizeof(push), grid_index)

/* Shader names by path and weight format; static strings, because a kernel id keeps only the pointer. */
static const char *by_path(const struct rf_forward *f, const char *portable, const char *fp16)
{
    return f->fp16 ? fp16 : portable;
}

static const char *matmul_shader(const struct rf_forward *f, bool few, enum rf_weight_format format)
{
    static const char *const names[2][2][3] = {
        {{"matmul_bf16", "matmul_f16", "matmul_f32"},
         {"matmul_bf16_act16", "matmul_f16_act16", "matmul_f32_act16"}},
        {{"matmul_few_bf16", "matmul_few_f16", "matmul_few_f32"},
         {"matmul_few_bf16_act16", "matmul_few_f16_act16", "matmul_few_f32_act16"}},
    };
    return names[few][f->fp16][format];
}

/* Which matmul a bucket uses, and how its rows are spread. */
struct matmul_shape {
    bool few;
    uint32_t local, rows; /* specialization constants LOCAL and ROWS */
};

/* Subgroups of up to 16 lanes (CPU drivers, small GPUs) are one workgroup each, with as many rows an
 * invocation as the bucket fills, so that a weight is unpacked once for 64 rows: 15 GFLOP/s on lavapipe where
 * one row an invocation makes 4.7. Wider subgroups share workgroups of 64, whose subgroups without a row
 * leave at once. */
static struct matmul_shape pick_many(const struct rf_forward *f, uint32_t bucket)
{
    uint32_t lanes = rf_gpu_get_caps(f->gpu)->subgroup_size;
    if (lanes > 16)
        return (struct matmul_shape){false, LOCAL, bucket <= LOCAL ? 1 : 2};
    uint32_t rows = 1;
    while (rows < MANY_ROWS && lanes * rows < bucket)
        rows *= 2;
    return (struct matmul_shape){false, lanes, rows};
}

static struct matmul_shape pick_matmul(const struct rf_forward *f, const struct forward_plan *plan,
                                       uint32_t epilogue)
{
    /* One pipeline whatever the company. At many rows it reads the weights more often than need be, which is
     * the price of bit-identical rows. */
    if (plan->flags & RF_FORWARD_DETERMINISTIC)
        return pick_many(f, DETERMINISTIC_ROWS);
    /* The reduction over logits carries six numbers a row: at 8 rows GCN spills 72 scalar registers, at 4
     * none. */
    uint32_t most = epilogue == RF_EPILOGUE_REDUCE ? FEW_REDUCE_ROWS : FEW_ROWS;
    if (plan->bucket <= FEW_ROWS)
        return (struct matmul_shape){true, LOCAL, plan->bucket < most ? plan->bucket : most};
    return pick_many(f, plan->bucket);
}

struct matmul_call {
    int layer;
    const char *name;
    const struct rf_matrix *matrix;
    uint32_t epilogue;
    struct rf_span x, y;
    uint32_t ldx, ldy;
    float scale;
};

static void plan_matmul(const struct rf_forward *f, struct forward_plan *plan, const struct matmul_call *call)
{
    const struct forward_spans *s = &f->spans;
    struct matmul_shape shape = pick_matmul(f, plan, call->epilogue);
    bool head = call->epilogue == RF_EPILOGUE_REDUCE || call->epilogue == RF_EPILOGUE_LOGITS;
    uint32_t unit = call->epilogue == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
    for (uint32_t c = 0; c < call->matrix->chunk_count; c++) {
        const struct rf_chunk *chunk = &call->matrix->chunks[c];
        struct rf_push_matmul push = {.counts = s->counts.address,
                                      .x = call->x.address,
                                      .w = chunk->span.address,
                                      .y = call->y.address,
                                      .rows = s->rows.address,
                                      .outputs = s->outputs.address,
                                      .seqs = s->seqs.address,
                                      .k = call->matrix->k,
                                      .columns = chunk->columns,
                                      .column_first = chunk->first,
                                      .ldx = call->ldx,
                                      .ldy = call->ldy,
                                      .scale = call->scale};
        uint32_t units = divide_up(chunk->columns, unit);
        uint32_t per_group = shape.few ? LOCAL / rf_gpu_get_caps(f->gpu)->subgroup_size : 1;
        uint32_t x = divide_up(units, per_group ? per_group : 1);
        uint32_t y_per = shape.few ? shape.rows : shape.local * shape.rows;
        struct forward_op *op =
            ADD(plan, matmul_shader(f, shape.few, call->matrix->format), call->layer, call->name, push,
                grid(plan, x, y_per, head ? RF_GRID_OUTPUTS : RF_GRID_ROWS));
        spec(op, call->epilogue);
        spec(op, shape.local);
        spec(op, shape.rows);
        access_span(op, s->counts, RF_READ);
        access_span(op, call->x, RF_READ);
        access_span(op, chunk->span, RF_READ);
        access_span(op, call->y, call->epilogue == RF_EPILOGUE_RESIDUAL ? RF_READ_WRITE : RF_WRITE);
        if (call->epilogue != RF_EPILOGUE_REDUCE)
            continue;
        access_span(op, s->rows, RF_READ);
        access_span(op, s->outputs, RF_READ);
        access_span(op, s->seqs, RF_READ);
    }
}

static void plan_rmsnorm(const struct rf_forward *f, struct forward_plan *plan, int layer, const char *name,
                         struct rf_span weight, bool gather)
{
    const struct forward_spans *s = &f->spans;
    struct rf_push_rmsnorm push = {.counts = s->counts.address,
                                   .outputs = s->outputs.address,
                                   .h = s->h.address,
                                   .weight = weight.address,
                                   .x = s->x.address,
                                   .hidden = f->config.hidden,
                                   .ld = plan->bucket,
                                   .eps = (float)f->config.rms_norm_eps};
    struct forward_op *op = ADD(plan, by_path(f, "rmsnorm", "rmsnorm_act16"), layer, name, push,
                                grid(plan, 1, 1, gather ? RF_GRID_OUTPUTS : RF_GRID_ROWS));
    spec(op, gather);
    access_span(op, s->counts, RF_READ);
    access_span(op, s->h, RF_READ);
    access_span(op, weight, RF_READ);
    access_span(op, s->x, RF_WRITE);
    if (gather)
        access_span(op, s->outputs, RF_READ);
}

static void plan_embed(const struct rf_forward *f, struct forward_plan *plan)
{
    static const char *const shaders[] = {"embed_bf16", "embed_f16", "embed_f32"};
    const struct forward_spans *s = &f->spans;
    const struct rf_matrix *table = &f->weights->embed;
    for (uint32_t c = 0; c < table->chunk_count; c++) {
        const struct rf_chunk *chunk = &table->chunks[c];
        struct rf_push_embed push = {.counts = s->counts.address,
                                     .rows = s->rows.address,
                                     .table = chunk->span.address,
                                     .h = s->h.address,
                                     .hidden = f->config.hidden,
                                     .first = chunk->first,
                                     .count = chunk->columns};
        struct forward_op *op =
            ADD(plan, shaders[table->format], -1, "embed", push, grid(plan, 1, 1, RF_GRID_ROWS));
        access_span(op, s->counts, RF_READ);
        access_span(op, s->rows, RF_READ);
        access_span(op, chunk->span, RF_READ);
        access_span(op, s->h, RF_WRITE);
    }
}

static void plan_head_rope(const struct rf_forward *f, struct forward_plan *plan, int layer)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_model_config *c = &f->config;
    const struct rf_layer_weights *w = &f->weights->layers[layer];
    struct rf_push_head_rope push = {.counts = s->counts.address,
                                     .rows = s->rows.address,
                                     .seqs = s->seqs.address,
                                     .qkv = s->qkv.address,
                                     .q_weight = w->q_norm.address,
                                     .k_weight = w->k_norm.address,
                                     .rope = f->weights->rope.address,
                                     .heads = c->heads,
                                     .kv_heads = c->kv_heads,
                                     .head_dim = c->head_dim,
                                     .layer = (uint32_t)layer,
                                     .eps = (float)c->rms_norm_eps};
    struct forward_op *op =
        ADD(plan, by_path(f, "head_rope", "head_rope_act16"), layer, "head norm, RoPE, KV write", push,
            grid(plan, c->heads + 2 * c->kv_heads, 1, RF_GRID_ROWS));
    access_span(op, s->counts, RF_READ);
    access_span(op, s->rows, RF_READ);
    access_span(op, s->seqs, RF_READ);
    access_span(op, s->qkv, RF_READ_WRITE);
    access_span(op, w->q_norm, RF_READ);
    access_span(op, w->k_norm, RF_READ);
    access_span(op, f->weights->rope, RF_READ);
    access_span(op, s->pages, RF_WRITE);
}

static void plan_attention(const struct rf_forward *f, struct forward_plan *plan, int layer)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_model_config *c = &f->config;
    uint32_t ratio = c->heads / c->kv_heads, group = ratio;
    while (group > 8)
        group = divide_up(group, 2); /* at most 8 heads share a workgroup's registers */
    struct rf_push_attention push = {.counts = s->counts.address,
                                     .rows = s->rows.address,
                                     .seqs = s->seqs.address,
                                     .qkv = s->qkv.address,
                                     .y = s->x.address,
                                     .partials = s->attention_partials.address,
                                     .heads = c->heads,
                                     .kv_heads = c->kv_heads,
                                     .layer = (uint32_t)layer,
                                     .ld = plan->bucket,
                                     .scale = (float)(1.0 / sqrt(c->head_dim))};
    struct forward_op *op =
        ADD(plan, by_path(f, "attention", "attention_act16"), layer, "attention", push,
            grid(plan, c->kv_heads * divide_up(ratio, group), 1, RF_GRID_ROWS | RF_GRID_SPLITS));
    spec(op, group);
    spec(op, c->head_dim);
    access_span(op, s->counts, RF_READ);
    access_span(op, s->rows, RF_READ);
    access_span(op, s->seqs, RF_READ);
    access_span(op, s->qkv, RF_READ);
    access_span(op, s->pages, RF_READ);
    access_span(op, s->x, RF_WRITE);
    access_span(op, s->attention_partials, RF_WRITE);
    struct rf_push_attention_reduce reduce = {.counts = s->counts.address,
                                              .rows = s->rows.address,
                                              .partials = s->attention_partials.address,
                                              .y = s->x.address,
                                              .heads = c->heads,
                                              .head_dim = c->head_dim,
                                              .ld = plan->bucket};
    op = ADD(plan, by_path(f, "attention_reduce", "attention_reduce_act16"), layer, "attention reduce",
             reduce, grid(plan, c->heads, 1, RF_GRID_ROWS | RF_GRID_REDUCE));
    access_span(op, s->counts, RF_READ);
    access_span(op, s->rows, RF_READ);
    access_span(op, s->attention_partials, RF_READ);
    access_span(op, s->x, RF_WRITE);
}

static void plan_layer(const struct rf_forward *f, struct forward_plan *plan, int layer)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_model_config *c = &f->config;
    const struct rf_layer_weights *w = &f->weights->layers[layer];
    uint32_t ld = plan->bucket, qkv = (c->heads + 2 * c->kv_heads) * c->head_dim;
    plan_rmsnorm(f, plan, layer, "input norm", w->input_norm, false);
    plan_matmul(f, plan,
                &(struct matmul_call){layer, "qkv", &w->qkv, RF_EPILOGUE_STORE, s->x, s->qkv, ld, qkv, 1.0f});
    plan_head_rope(f, plan, layer);
    plan_attention(f, plan, layer);
    plan_matmul(
        f, plan,
        &(struct matmul_call){layer, "o", &w->o, RF_EPILOGUE_RESIDUAL, s->x, s->h, ld, c->hidden, 1.0f});
    plan_rmsnorm(f, plan, layer, "post-attention norm", w->post_attention_norm, false);
    plan_matmul(f, plan,
                &(struct matmul_call){layer, "gate/up", &w->gate_up, RF_EPILOGUE_SWIGLU, s->x, s->act, ld, ld,
                                      f->fp16 ? (float)RF_SWIGLU_SCALE : 1.0f});
    plan_matmul(f, plan,
                &(struct matmul_call){layer, "down", &w->down, RF_EPILOGUE_RESIDUAL, s->act, s->h, ld,
                                      c->hidden, f->fp16 ? (float)RF_SWIGLU_UNSCALE : 1.0f});
}

static void plan_head(const struct rf_forward *f, struct forward_plan *plan)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_matrix *head = &f->weights->lm_head;
    uint32_t ld = plan->bucket;
    plan_rmsnorm(f, plan, -1, "final norm", f->weights->final_norm, true);
    if (plan->flags & RF_FORWARD_LOGITS) {
        plan_matmul(f, plan,
                    &(struct matmul_call){-1, "lm_head", head, RF_EPILOGUE_LOGITS, s->x, s->logits, ld,
                                          f->config.vocab, 1.0f});
        return;
    }
    plan_matmul(f, plan,
                &(struct matmul_call){-1, "lm_head", head, RF_EPILOGUE_REDUCE, s->x, s->logit_partials, ld,
                                      ld, 1.0f});
    struct rf_push_logits_reduce push = {.counts = s->counts.address,
                                         .rows = s->rows.address,
                                         .outputs = s->outputs.address,
                                         .seqs = s->seqs.address,
                                         .partials = s->logit_partials.address,
                                         .tiles = f->logit_tiles,
                                         .ld = ld};
    struct forward_op *op =
        ADD(plan, "logits_reduce", -1, "logits reduce", push, grid(plan, 1, 1, RF_GRID_OUTPUTS));
    access_span(op, s->counts, RF_READ);
    access_span(op, s->rows, RF_READ);
    access_span(op, s->outputs, RF_READ);
    access_span(op, s->seqs, RF_READ);
    access_span(op, s->logit_partials, RF_READ);
    access_span(op, s->sessions, RF_WRITE);
}

void rf_plan_forward(const struct rf_forward *f, struct forward_plan *plan)
{
    plan_embed(f, plan);
    for (uint32_t l = 0; l < f->weights->layer_count; l++)
        plan_layer(f, plan, (int)l);
    plan_head(f, plan);
}
