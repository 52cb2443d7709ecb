#include "tests/reference/ref_model.h"

#include "loader/model_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows that a matmul takes together: independent sums, so that a compiler may use vectors without
 * reordering any. */
enum { ROW_TILE = 8 };

struct layer {
    float *input_norm, *post_attention_norm; /* [hidden] */
    float *q_norm, *k_norm;                  /* [head_dim] */
    float *q, *k, *v;                        /* [q_size or kv_size, hidden] */
    float *o;                                /* [hidden, q_size] */
    float *gate, *up;                        /* [ffn, hidden] */
    float *down;                             /* [hidden, ffn] */
};

struct ref_model {
    struct rf_model_config config;
    size_t q_size, kv_size; /* heads * head_dim, kv_heads * head_dim */
    float *embed, *head;    /* [vocab, hidden]; the same array when tied */
    float *final_norm;      /* [hidden] */
    struct layer *layers;
};

struct ref_session {
    const struct ref_model *model;
    uint32_t max_tokens, slot_size, committed;
    size_t scratch_rows;
    double *keys, *values;                 /* [layers, max_tokens, kv_size] */
    double *scratch_keys, *scratch_values; /* [layers, scratch_rows, kv_size] */
};

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "ref_model: out of memory\n");
        abort();
    }
    return memory;
}

/* ---- Loading ---- */

static float float_of_half(uint16_t half)
{
    int exponent = (half >> 10) & 31, mantissa = half & 1023;
    double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(mantissa + 1024, exponent - 25);
    if (exponent == 31)
        magnitude = mantissa == 0 ? INFINITY : NAN;
    return (float)((half & 0x8000) != 0 ? -magnitude : magnitude);
}

static float *read_tensor(const struct rf_tensor *tensor)
{
    size_t count = (size_t)rf_tensor_elements(tensor);
    const unsigned char *bytes = tensor->data;
    float *values = allocate(count, sizeof *values);
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        if (tensor->dtype == RF_DTYPE_F32) {
            memcpy(&values[i], bytes + 4 * i, sizeof values[i]);
            continue;
        }
        memcpy(&half, bytes + 2 * i, sizeof half);
        if (tensor->dtype == RF_DTYPE_F16) {
            values[i] = float_of_half(half);
        } else {
            uint32_t bits = (uint32_t)half << 16;
            memcpy(&values[i], &bits, sizeof bits);
        }
    }
    return values;
}

static void read_layer(struct layer *layer, const struct rf_layer_tensors *tensors)
{
    layer->input_norm = read_tensor(&tensors->input_norm);
    layer->post_attention_norm = read_tensor(&tensors->post_attention_norm);
    layer->q_norm = read_tensor(&tensors->q_norm);
    layer->k_norm = read_tensor(&tensors->k_norm);
    layer->q = read_tensor(&tensors->q_proj);
    layer->k = read_tensor(&tensors->k_proj);
    layer->v = read_tensor(&tensors->v_proj);
    layer->o = read_tensor(&tensors->o_proj);
    layer->gate = read_tensor(&tensors->gate_proj);
    layer->up = read_tensor(&tensors->up_proj);
    layer->down = read_tensor(&tensors->down_proj);
}

enum rf_status ref_model_load(struct ref_model **out, const char *folder, struct rf_error *err)
{
    struct rf_model_files files;
    *out = NULL;
    enum rf_status status = rf_model_files_open(&files, folder, err);
    if (status != RF_OK)
        return status;
    struct ref_model *model = allocate(1, sizeof *model);
    model->config = files.config;
    model->q_size = (size_t)files.config.heads * files.config.head_dim;
    model->kv_size = (size_t)files.config.kv_heads * files.config.head_dim;
    model->embed = read_tensor(&files.embed);
    model->head = files.config.tie_word_embeddings ? model->embed : read_tensor(&files.lm_head);
    model->final_norm = read_tensor(&files.final_norm);
    model->layers = allocate(files.config.layers, sizeof *model->layers);
    for (uint32_t l = 0; l < files.config.layers; l++)
        read_layer(&model->layers[l], &files.layers[l]);
    rf_model_files_close(&files);
    *out = model;
    return RF_OK;
}

void ref_model_free(struct ref_model *model)
{
    if (model == NULL)
        return;
    for (uint32_t l = 0; l < model->config.layers; l++) {
        struct layer *layer = &model->layers[l];
        float *all[] = {layer->input_norm, layer->post_attention_norm,
                        layer->q_norm,     layer->k_norm,
                        layer->q,          layer->k,
                        layer->v,          layer->o,
                        layer->gate,       layer->up,
                        layer->down};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
    free(model->layers);
    if (model->head != model->embed)
        free(model->head);
    free(model->embed);
    free(model->final_norm);
    free(model);
}

const struct rf_model_config *ref_model_config(const struct ref_model *model)
{
    return &model->config;
}

/* ---- Session ---- */

struct ref_session *ref_session_create(const struct ref_model *model, uint32_t max_tokens, uint32_t slot_size)
{
    struct ref_session *session = allocate(1, sizeof *session);
    session->model = model;
    session->max_tokens = max_tokens;
    session->slot_size = slot_size;
    session->scratch_rows = (size_t)max_tokens + (size_t)(max_tokens / slot_size) * slot_size;
    size_t row = model->config.layers * model->kv_size;
    session->keys = allocate(max_tokens * row, sizeof *session->keys);
    session->values = allocate(max_tokens * row, sizeof *session->values);
    session->scratch_keys = allocate(session->scratch_rows * row, sizeof *session->scratch_keys);
    session->scratch_values = allocate(session->scratch_rows * row, sizeof *session->scratch_values);
    return session;
}

void ref_session_free(struct ref_session *session)
{
    if (session == NULL)
        return;
    free(session->keys);
    free(session->values);
    free(session->scratch_keys);
    free(session->scratch_values);
    free(session);
}

static size_t scratch_row(const struct ref_session *session, uint32_t segment, uint32_t index)
{
    return segment == 0 ? index : session->max_tokens + (size_t)(segment - 1) * session->slot_size + index;
}

void ref_session_commit(void *user, uint32_t segment, uint32_t first, uint32_t count)
{
    struct ref_session *session = user;
    size_t kv_size = session->model->kv_size;
    for (uint32_t l = 0; l < session->model->config.layers; l++) {
        size_t from = (l * session->scratch_rows + scratch_row(session, segment, first)) * kv_size;
        size_t to = ((size_t)l * session->max_tokens + session->committed) * kv_size;
        memcpy(session->keys + to, session->scratch_keys + from, count * kv_size * sizeof(double));
        memcpy(session->values + to, session->scratch_values + from, count * kv_size * sizeof(double));
    }
    session->committed += count;
}

/* ---- The network ---- */

/* out [rows, size] = x / sqrt(mean(x^2) + eps) * weight. */
static void rms_norm(double *out, const double *x, const float *weight, size_t rows, size_t size, double eps)
{
    for (size_t r = 0; r < rows; r++) {
        double squares = 0.0;
        for (size_t i = 0; i < size; i++)
            squares += x[r * size + i] * x[r * size + i];
        double scale = 1.0 / sqrt(squares / (double)size + eps);
        for (size_t i = 0; i < size; i++)
            out[r * size + i] = x[r * size + i] * scale * (double)weight[i];
    }
}

/* out [rows, outputs] = x [rows, inputs] * weight [outputs, inputs] transposed. */
static void matmul(double *out, const double *x, const float *weight, size_t rows, size_t inputs,
                   size_t outputs)
{
    double *tile = allocate(inputs * ROW_TILE, sizeof *tile); /* [inputs, ROW_TILE] */
    for (size_t first = 0; first < rows; first += ROW_TILE) {
        size_t count = rows - first < ROW_TILE ? rows - first : ROW_TILE;
        memset(tile, 0, inputs * ROW_TILE * sizeof *tile);
        for (size_t r = 0; r < count; r++) {
            for (size_t i = 0; i < inputs; i++)
                tile[i * ROW_TILE + r] = x[(first + r) * inputs + i];
        }
        for (size_t o = 0; o < outputs; o++) {
            double sums[ROW_TILE] = {0.0};
            const float *w = weight + o * inputs;
            for (size_t i = 0; i < inputs; i++) {
                double factor = (double)w[i];
                for (size_t r = 0; r < ROW_TILE; r++)
                    sums[r] += factor * tile[i * ROW_TILE + r];
            }
            for (size_t r = 0; r < count; r++)
                out[(first + r) * outputs + o] = sums[r];
        }
    }
    free(tile);
}

/* Half-split rotation of each head of one row. */
static void rotate(double *row, size_t heads, size_t head_dim, uint32_t position, double theta)
{
    size_t half = head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        double angle = (double)position * pow(theta, -2.0 * (double)i / (double)head_dim);
        double c = (double)(float)cos(angle), s = (double)(float)sin(angle);
        for (size_t h = 0; h < heads; h++) {
            double *low = row + h * head_dim + i, *high = low + half;
            double a = *low, b = *high;
            *low = a * c - b * s;
            *high = b * c + a * s;
        }
    }
}

static double dot(const double *a, const double *b, size_t size)
{
    double sums[4] = {0.0};
    for (size_t i = 0; i + 4 <= size; i += 4) {
        for (size_t lane = 0; lane < 4; lane++)
            sums[lane] += a[i + lane] * b[i + lane];
    }
    for (size_t i = size / 4 * 4; i < size; i++)
        sums[0] += a[i] * b[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* out [q_size] = attention of one row's query over its committed rows and its segment up to itself. */
static void attend_row(const struct ref_session *s, size_t l, const struct ref_row *row, const double *query,
                       double *scores, double *out)
{
    const struct ref_model *model = s->model;
    size_t head_dim = model->config.head_dim, kv_size = model->kv_size;
    size_t seen = (size_t)row->committed + row->index + 1, cache = l * s->max_tokens * kv_size;
    size_t segment = (l * s->scratch_rows + scratch_row(s, row->segment, 0)) * kv_size;
    memset(out, 0, model->q_size * sizeof *out);
    for (size_t h = 0; h < model->config.heads; h++) {
        size_t kv_offset = h / (model->config.heads / model->config.kv_heads) * head_dim;
        double max = -INFINITY, sum = 0.0;
        for (size_t t = 0; t < seen; t++) {
            const double *key = t < row->committed
                                    ? s->keys + cache + t * kv_size
                                    : s->scratch_keys + segment + (t - row->committed) * kv_size;
            scores[t] = dot(query + h * head_dim, key + kv_offset, head_dim) / sqrt((double)head_dim);
            max = scores[t] > max ? scores[t] : max;
        }
        for (size_t t = 0; t < seen; t++) {
            scores[t] = exp(scores[t] - max);
            sum += scores[t];
        }
        for (size_t t = 0; t < seen; t++) {
            const double *value = t < row->committed
                                      ? s->values + cache + t * kv_size
                                      : s->scratch_values + segment + (t - row->committed) * kv_size;
            double share = scores[t] / sum;
            for (size_t i = 0; i < head_dim; i++)
                out[h * head_dim + i] += share * value[kv_offset + i];
        }
    }
}

static void add(double *h, const double *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h[i] += x[i];
}

/* h += o_proj(attention(norm(h))) */
static void attention_layer(struct ref_session *s, size_t l, const struct ref_row *rows, size_t n, double *h)
{
    const struct ref_model *model = s->model;
    const struct layer *layer = &model->layers[l];
    const struct rf_model_config *config = &model->config;
    size_t hidden = config->hidden, kv_size = model->kv_size, q_size = model->q_size;
    double *x = allocate(n * hidden, sizeof *x), *q = allocate(n * q_size, sizeof *q);
    double *k = allocate(n * kv_size, sizeof *k), *v = allocate(n * kv_size, sizeof *v);
    double *mixed = allocate(n * q_size, sizeof *mixed);
    double *scores = allocate((size_t)s->max_tokens * 2, sizeof *scores);
    rms_norm(x, h, layer->input_norm, n, hidden, config->rms_norm_eps);
    matmul(q, x, layer->q, n, hidden, q_size);
    matmul(k, x, layer->k, n, hidden, kv_size);
    matmul(v, x, layer->v, n, hidden, kv_size);
    rms_norm(q, q, layer->q_norm, n * config->heads, config->head_dim, config->rms_norm_eps);
    rms_norm(k, k, layer->k_norm, n * config->kv_heads, config->head_dim, config->rms_norm_eps);
    for (size_t r = 0; r < n; r++) {
        rotate(q + r * q_size, config->heads, config->head_dim, rows[r].position, config->rope_theta);
        rotate(k + r * kv_size, config->kv_heads, config->head_dim, rows[r].position, config->rope_theta);
        size_t to = (l * s->scratch_rows + scratch_row(s, rows[r].segment, rows[r].index)) * kv_size;
        memcpy(s->scratch_keys + to, k + r * kv_size, kv_size * sizeof *k);
        memcpy(s->scratch_values + to, v + r * kv_size, kv_size * sizeof *v);
    }
    for (size_t r = 0; r < n; r++)
        attend_row(s, l, &rows[r], q + r * q_size, scores, mixed + r * q_size);
    matmul(x, mixed, layer->o, n, q_size, hidden);
    add(h, x, n * hidden);
    free(x);
    free(q);
    free(k);
    free(v);
    free(mixed);
    free(scores);
}

/* h += down(silu(gate(x)) * up(x)), x = norm(h) */
static void ffn_layer(const struct ref_model *model, size_t l, size_t n, double *h)
{
    const struct layer *layer = &model->layers[l];
    size_t hidden = model->config.hidden, ffn = model->config.ffn;
    double *x = allocate(n * hidden, sizeof *x);
    double *gate = allocate(n * ffn, sizeof *gate), *up = allocate(n * ffn, sizeof *up);
    rms_norm(x, h, layer->post_attention_norm, n, hidden, model->config.rms_norm_eps);
    matmul(gate, x, layer->gate, n, hidden, ffn);
    matmul(up, x, layer->up, n, hidden, ffn);
    for (size_t i = 0; i < n * ffn; i++)
        gate[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
    matmul(x, gate, layer->down, n, ffn, hidden);
    add(h, x, n * hidden);
    free(x);
    free(gate);
    free(up);
}

void ref_session_logits(struct ref_session *s, const struct ref_row *rows, size_t n, double *logits)
{
    const struct ref_model *model = s->model;
    size_t hidden = model->config.hidden, wanted = 0;
    double *h = allocate(n * hidden, sizeof *h);
    for (size_t r = 0; r < n; r++) {
        const float *embedding = model->embed + rows[r].token * hidden;
        for (size_t i = 0; i < hidden; i++)
            h[r * hidden + i] = (double)embedding[i];
    }
    for (size_t l = 0; l < model->config.layers; l++) {
        attention_layer(s, l, rows, n, h);
        ffn_layer(model, l, n, h);
    }
    for (size_t r = 0; r < n; r++) {
        if (rows[r].wants_result)
            memmove(h + wanted++ * hidden, h + r * hidden, hidden * sizeof *h);
    }
    rms_norm(h, h, model->final_norm, wanted, hidden, model->config.rms_norm_eps);
    matmul(logits, h, model->head, wanted, hidden, model->config.vocab);
    free(h);
}

void ref_session_forward(void *user, const struct ref_row *rows, size_t row_count, struct ref_result *results)
{
    struct ref_session *session = user;
    size_t vocab = session->model->config.vocab;
    double *logits = allocate(row_count * vocab, sizeof *logits), *row_logits = logits;
    ref_session_logits(session, rows, row_count, logits);
    for (size_t r = 0; r < row_count; r++) {
        if (!rows[r].wants_result)
            continue;
        size_t best = 0;
        for (size_t v = 1; v < vocab; v++)
            best = row_logits[v] > row_logits[best] ? v : best;
        double sum = 0.0;
        for (size_t v = 0; v < vocab; v++)
            sum += exp(row_logits[v] - row_logits[best]);
        results[r] = (struct ref_result){.argmax = (uint32_t)best,
                                         .max_logit = (float)row_logits[best],
                                         .sum_exp = (float)sum,
                                         .want_logit =
                                             (float)row_logits[rows[r].has_want ? rows[r].want_token : best]};
        row_logits += vocab;
    }
    free(logits);
}
