/* The network as a list of dispatches:
 *   embed; per layer: rmsnorm, qkv, head_rope, attention (+ reduce), o + residual, rmsnorm, gate/up + SwiGLU,
 *   down + residual; rmsnorm of the rows that want a result, lm_head, logits_reduce. */
#include <math.h>

#include "engine/arithmetic.h"
#include "engine/model/coopmat.h"
#include "engine/model/int8.h"
#include "engine/model/matmul.h"

enum {
    NORM_LOCAL = 64,
    NORM_LOCAL_MOST = 256 /* RF_GROUP_MOST of rmsnorm.comp, and what every device has */
};

/* Keys that attention is taken to go over when a forward is cut into parts. It makes as many products for
 * NOMINAL_KEYS keys as a matmul with 2 * NOMINAL_KEYS * heads * head_dim weights. */
enum { NOMINAL_KEYS = 512 };

/* Shader names by path and weight format; static strings, because a kernel id keeps only the pointer. */
static const char *by_path(const struct rf_forward *f, const char *portable, const char *fp16)
{
    return f->fp16 ? fp16 : portable;
}

/* A row is one workgroup's: on a GPU as many invocations as have a quad, so that its loads are on their way
 * together; on a CPU one subgroup, because barriers cost it half of the norm's time (SPEED.md). */
static uint32_t norm_local(const struct rf_forward *f, uint32_t hidden)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    uint32_t local = NORM_LOCAL;
    if (caps->cpu)
        return caps->subgroup_size;
    while (local < NORM_LOCAL_MOST && 4 * local < hidden)
        local *= 2;
    return local;
}

void rf_plan_norm(const struct rf_forward *f, struct forward_plan *plan, const struct rf_norm_call *call)
{
    const struct forward_spans *s = &f->spans;
    bool split = call->splits > 1;
    const struct rf_int8_inputs inputs =
        call->to ? rf_int8_inputs(f, call->to) : (struct rf_int8_inputs){false, true};
    const char *shader = inputs.blocks ? "rmsnorm_int8" : by_path(f, "rmsnorm", "rmsnorm_act16");
    struct rf_push_rmsnorm push = {.counts = s->counts.address,
                                   .outputs = s->outputs.address,
                                   .h = call->h.address,
                                   .partials = s->split_partials.address,
                                   .weight = call->weight.address,
                                   .x = inputs.blocks ? s->x8.address : call->x.address,
                                   .quads = call->x.address,
                                   .hidden = call->hidden,
                                   .ld = plan->bucket,
                                   .eps = (float)f->config.rms_norm_eps};
    struct forward_op *op =
        RF_PLAN_ADD(plan, shader, call->layer, call->name, push,
                    rf_plan_grid(plan, 1, 1, call->gather ? RF_GRID_OUTPUTS : RF_GRID_ROWS));
    rf_op_work(op, rf_work_norm(f, call));
    rf_op_spec(op, call->gather);
    rf_op_spec(op, split ? call->splits : 1);
    rf_op_spec(op, inputs.blocks ? NORM_LOCAL : norm_local(f, call->hidden));
    rf_op_spec(op, inputs.blocks ? inputs.quads : rf_gpu_get_caps(f->gpu)->cpu);
    rf_op_access(op, s->counts, RF_READ);
    rf_op_access(op, call->h, split ? RF_READ_WRITE : RF_READ);
    rf_op_access(op, call->weight, RF_READ);
    if (inputs.blocks)
        rf_op_access(op, s->x8, RF_WRITE);
    if (inputs.quads)
        rf_op_access(op, call->x, RF_WRITE);
    if (call->gather)
        rf_op_access(op, s->outputs, RF_READ);
    if (split)
        rf_op_access(op, s->split_partials, RF_READ);
}

/* Of the residual stream, to which the product before it may have left partials to add. `to`: the matrix that
 * reads the rows, in one form or two. */
static void plan_rmsnorm(const struct rf_forward *f, struct forward_plan *plan, int layer, const char *name,
                         struct rf_span weight, const struct rf_matrix *to, bool gather)
{
    const struct rf_norm_call call = {.layer = layer,
                                      .name = name,
                                      .weight = weight,
                                      .h = f->spans.h,
                                      .x = f->spans.x,
                                      .to = to,
                                      .hidden = f->config.hidden,
                                      .splits = plan->pending,
                                      .gather = gather};
    rf_plan_norm(f, plan, &call);
    plan->pending = 0;
}

static void plan_embed(const struct rf_forward *f, struct forward_plan *plan)
{
    static const char *const shaders[RF_WEIGHT_FORMATS] = RF_BY_FORMAT("embed", "");
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
        struct forward_op *op = RF_PLAN_ADD(plan, shaders[chunk->format], -1, "embed", push,
                                            rf_plan_grid(plan, 1, 1, RF_GRID_ROWS));
        rf_op_work(op, rf_work_embed(f, chunk));
        rf_op_access(op, s->counts, RF_READ);
        rf_op_access(op, s->rows, RF_READ);
        rf_op_access(op, chunk->span, RF_READ);
        rf_op_access(op, s->h, RF_WRITE);
    }
}

/* `splits` more than 1: of the qkv product. */
static void plan_head_rope(const struct rf_forward *f, struct forward_plan *plan, int layer, uint32_t splits)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_model_config *c = &f->config;
    const struct rf_layer_weights *w = &f->weights->layers[layer];
    struct rf_push_head_rope push = {.counts = s->counts.address,
                                     .rows = s->rows.address,
                                     .seqs = s->seqs.address,
                                     .qkv = s->qkv.address,
                                     .partials = s->split_partials.address,
                                     .q_weight = w->q_norm.address,
                                     .k_weight = w->k_norm.address,
                                     .rope = f->weights->rope.address,
                                     .heads = c->heads,
                                     .kv_heads = c->kv_heads,
                                     .head_dim = c->head_dim,
                                     .layer = (uint32_t)layer,
                                     .ld = plan->bucket,
                                     .eps = (float)c->rms_norm_eps};
    struct forward_op *op =
        RF_PLAN_ADD(plan, by_path(f, "head_rope", "head_rope_act16"), layer, "head norm, RoPE, KV write",
                    push, rf_plan_grid(plan, c->heads + 2 * c->kv_heads, 1, RF_GRID_ROWS));
    rf_op_access(op, s->counts, RF_READ);
    rf_op_access(op, s->rows, RF_READ);
    rf_op_access(op, s->seqs, RF_READ);
    rf_op_spec(op, splits);
    rf_op_work(op, rf_work_head_rope(f, splits));
    rf_op_access(op, s->qkv, splits > 1 ? RF_WRITE : RF_READ_WRITE);
    if (splits > 1)
        rf_op_access(op, s->split_partials, RF_READ);
    rf_op_access(op, w->q_norm, RF_READ);
    rf_op_access(op, w->k_norm, RF_READ);
    rf_op_access(op, f->weights->rope, RF_READ);
    rf_op_access(op, s->pages, RF_WRITE);
}

/* Which attention kernel a plan takes, and how its grid is divided. */
struct attention_kernel {
    const char *shader;
    uint32_t spec_count, specs[RF_COOPMAT_ATTENTION_SPECS];
    uint32_t groups, rows; /* workgroups a kv head, and rows of a workgroup */
};

/* Matrix units from as many rows on as products use them. CPU drivers emulate them. A deterministic forward
 * cannot have it: where its tiles begin depends on the company. */
static bool takes_coopmat(const struct rf_forward *f, const struct forward_plan *plan,
                          struct rf_coopmat_attention *division)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    const struct rf_model_config *c = &f->config;
    return rf_coopmat_built() && caps->coopmat_attention && f->fp16 && plan->bucket > RF_FEW_ROWS &&
           !(plan->flags & RF_FORWARD_DETERMINISTIC) && !(caps->cpu && caps->plain_matmul) &&
           rf_coopmat_attend(caps, c->heads / c->kv_heads, c->head_dim, plan->bucket, division);
}

static struct attention_kernel choose_attention(const struct rf_forward *f, const struct forward_plan *plan,
                                                int layer, bool int8)
{
    const struct rf_model_config *c = &f->config;
    uint32_t ratio = c->heads / c->kv_heads, group = ratio;
    struct rf_coopmat_attention division;
    struct attention_kernel kernel = {.groups = 1, .rows = 1};
    if (!int8 && takes_coopmat(f, plan, &division)) {
        kernel.shader = division.shader;
        kernel.spec_count = RF_COOPMAT_ATTENTION_SPECS;
        kernel.rows = division.block;
        rf_coopmat_attention_specs(&division, ratio, c->head_dim, kernel.specs);
        return kernel;
    }
    while (group > 8)
        group = rf_divide_up(group, 2); /* at most 8 heads share a workgroup's registers */
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    bool spread = !int8 && caps->spread;
    bool wide = !int8 && caps->wide_attention &&
                rf_plan_is_wide(f, plan, f->weights->layers[layer].qkv.chunks[0].format);
    kernel.shader = int8     ? "attention_int8"
                    : spread ? by_path(f, "attention_spread", "attention_spread_act16")
                    : wide   ? by_path(f, "attention_wide", "attention_wide_act16")
                             : by_path(f, "attention", "attention_act16");
    kernel.spec_count = wide || spread ? 4 : 2;
    kernel.specs[0] = group;
    kernel.specs[1] = c->head_dim;
    kernel.specs[2] = caps->subgroup_size;
    kernel.specs[3] = rf_attention_lines_rows(group, plan->bucket);
    kernel.groups = rf_divide_up(ratio, group);
    return kernel;
}

static void plan_attention(const struct rf_forward *f, struct forward_plan *plan, int layer)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_model_config *c = &f->config;
    bool int8 = rf_int8_inputs(f, &f->weights->layers[layer].o).blocks; /* o is one tensor, of one format */
    struct rf_span y = int8 ? s->x8 : s->x;
    struct rf_push_attention push = {.counts = s->counts.address,
                                     .rows = s->rows.address,
                                     .seqs = s->seqs.address,
                                     .qkv = s->qkv.address,
                                     .y = y.address,
                                     .partials = s->attention_partials.address,
                                     .heads = c->heads,
                                     .kv_heads = c->kv_heads,
                                     .layer = (uint32_t)layer,
                                     .ld = plan->bucket,
                                     .scale = (float)(1.0 / sqrt(c->head_dim))};
    const struct attention_kernel kernel = choose_attention(f, plan, layer, int8);
    struct forward_op *op = RF_PLAN_ADD(
        plan, kernel.shader, layer, "attention", push,
        rf_plan_grid(plan, c->kv_heads * kernel.groups, kernel.rows, RF_GRID_ROWS | RF_GRID_SPLITS));
    for (uint32_t i = 0; i < kernel.spec_count; i++)
        rf_op_spec(op, kernel.specs[i]);
    rf_op_cost(op, (uint64_t)NOMINAL_KEYS * c->heads * c->head_dim * 2);
    rf_op_work(op, rf_work_attention(f, int8));
    rf_op_access(op, s->counts, RF_READ);
    rf_op_access(op, s->rows, RF_READ);
    rf_op_access(op, s->seqs, RF_READ);
    rf_op_access(op, s->qkv, RF_READ);
    rf_op_access(op, s->pages, RF_READ);
    rf_op_access(op, y, RF_WRITE);
    rf_op_access(op, s->attention_partials, RF_WRITE);
    struct rf_push_attention_reduce reduce = {.counts = s->counts.address,
                                              .rows = s->rows.address,
                                              .partials = s->attention_partials.address,
                                              .y = y.address,
                                              .heads = c->heads,
                                              .head_dim = c->head_dim,
                                              .ld = plan->bucket};
    const char *shader =
        int8 ? "attention_reduce_int8" : by_path(f, "attention_reduce", "attention_reduce_act16");
    op = RF_PLAN_ADD(plan, shader, layer, "attention reduce", reduce,
                     rf_plan_grid(plan, c->heads, 1, RF_GRID_ROWS | RF_GRID_REDUCE));
    rf_op_work(op, rf_work_attention_reduce(f, int8));
    rf_op_access(op, s->counts, RF_READ);
    rf_op_access(op, s->rows, RF_READ);
    rf_op_access(op, s->attention_partials, RF_READ);
    rf_op_access(op, y, RF_WRITE);
}

static void plan_layer(const struct rf_forward *f, struct forward_plan *plan, int layer)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_model_config *c = &f->config;
    const struct rf_layer_weights *w = &f->weights->layers[layer];
    uint32_t ld = plan->bucket, qkv = (c->heads + 2 * c->kv_heads) * c->head_dim;
    bool int8 = rf_int8_inputs(f, &w->down).blocks; /* then gate/up has int8 inputs too: rf_int8_check */
    bool scaled = f->fp16 && !int8;
    plan_rmsnorm(f, plan, layer, "input norm", w->input_norm, &w->qkv, false);
    uint32_t splits = rf_plan_matmul(f, plan,
                                     &(struct rf_matmul_call){layer, "qkv", &w->qkv, RF_EPILOGUE_STORE,
                                                              RF_SPLIT_QKV, s->x, s->qkv, ld, qkv, 1.0f});
    plan_head_rope(f, plan, layer, splits);
    plan_attention(f, plan, layer);
    plan->pending = rf_plan_matmul(f, plan,
                                   &(struct rf_matmul_call){layer, "o", &w->o, RF_EPILOGUE_RESIDUAL,
                                                            RF_SPLIT_O, s->x, s->h, ld, c->hidden, 1.0f});
    plan_rmsnorm(f, plan, layer, "post-attention norm", w->post_attention_norm, &w->gate_up, false);
    rf_plan_matmul(f, plan,
                   &(struct rf_matmul_call){
                       layer, "gate/up", &w->gate_up, int8 ? RF_EPILOGUE_SWIGLU_INT8 : RF_EPILOGUE_SWIGLU,
                       RF_SPLIT_NONE, s->x, s->act, ld, ld, scaled ? (float)RF_SWIGLU_SCALE : 1.0f});
    plan->pending = rf_plan_matmul(f, plan,
                                   &(struct rf_matmul_call){layer, "down", &w->down, RF_EPILOGUE_RESIDUAL,
                                                            RF_SPLIT_DOWN, s->act, s->h, ld, c->hidden,
                                                            scaled ? (float)RF_SWIGLU_UNSCALE : 1.0f});
}

static void plan_head(const struct rf_forward *f, struct forward_plan *plan)
{
    const struct forward_spans *s = &f->spans;
    const struct rf_matrix *head = &f->weights->lm_head;
    uint32_t ld = plan->bucket;
    plan_rmsnorm(f, plan, -1, "final norm", f->weights->final_norm, head, true);
    if (plan->flags & RF_FORWARD_LOGITS) {
        rf_plan_matmul(f, plan,
                       &(struct rf_matmul_call){-1, "lm_head", head, RF_EPILOGUE_LOGITS, RF_SPLIT_NONE, s->x,
                                                s->logits, ld, f->config.vocab, 1.0f});
        return;
    }
    rf_plan_matmul(f, plan,
                   &(struct rf_matmul_call){-1, "lm_head", head, RF_EPILOGUE_REDUCE, RF_SPLIT_NONE, s->x,
                                            s->logit_partials, ld, ld, 1.0f});
    struct rf_push_logits_reduce push = {.counts = s->counts.address,
                                         .rows = s->rows.address,
                                         .outputs = s->outputs.address,
                                         .seqs = s->seqs.address,
                                         .partials = s->logit_partials.address,
                                         .tiles = f->logit_tiles,
                                         .ld = ld};
    struct forward_op *op = RF_PLAN_ADD(plan, "logits_reduce", -1, "logits reduce", push,
                                        rf_plan_grid(plan, 1, 1, RF_GRID_OUTPUTS));
    rf_op_work(op, rf_work_logits_reduce(f));
    rf_op_access(op, s->counts, RF_READ);
    rf_op_access(op, s->rows, RF_READ);
    rf_op_access(op, s->outputs, RF_READ);
    rf_op_access(op, s->seqs, RF_READ);
    rf_op_access(op, s->logit_partials, RF_READ);
    rf_op_access(op, s->sessions, RF_WRITE);
}

void rf_plan_forward(const struct rf_forward *f, struct forward_plan *plan)
{
    plan_embed(f, plan);
    for (uint32_t l = 0; l < f->weights->layer_count; l++)
        plan_layer(f, plan, (int)l);
    plan_head(f, plan);
}
