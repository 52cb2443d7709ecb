#include "loader/model_files.h"

#include "engine/allocate.h"
#include "loader/gguf_config.h"
#include "loader/json.h"
#include "loader/model_path.h"
#include "loader/safetensors.h"
#include "loader/shard_index.h"
#include "loader/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

/* What opening needs besides its result. */
struct opening {
    struct rf_model_files *files;
    const char *folder; /* or GGUF file */
    const char *by;     /* what says which tensors there are: "config.json" or "its metadata" */
    char *index_path;
    bool has_index;
    struct rf_shard_index index;
    bool **bound; /* [shard][tensor of that shard]: a field has it, or it is knowingly ignored */
    struct rf_error *err;
};

static enum rf_status out_of_memory(const struct opening *o)
{
    return rf_fail(o->err, RF_ERROR_HOST_MEMORY, "%s: out of memory", o->folder);
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static enum rf_status
warn(struct opening *o, const char *format, ...)
{
    struct rf_model_files *files = o->files;
    char **grown = rf_realloc(files->warnings, (files->warning_count + 1) * sizeof *grown);
    if (!grown)
        return out_of_memory(o);
    files->warnings = grown;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    char *copy = rf_strdup(line);
    if (!copy)
        return out_of_memory(o);
    files->warnings[files->warning_count++] = copy;
    return RF_OK;
}

/* ---- Shards -------------------------------------------------------------------------------------------- */

static enum rf_status open_shard(struct opening *o, const char *name)
{
    struct rf_shard *shard = &o->files->shards[o->files->shard_count++];
    shard->path = rf_path_join(o->folder, name);
    if (!shard->path)
        return out_of_memory(o);
    if (o->has_index && !rf_path_exists(shard->path))
        return rf_fail(o->err, RF_ERROR_IO, "%s: names the shard %s, which is not in the folder",
                       o->index_path, name);
    enum rf_status status = rf_file_map_open(&shard->map, shard->path, o->err);
    if (!status)
        status = rf_safetensors_parse(&shard->content, shard->path, shard->map.data, shard->map.size, o->err);
    return status;
}

static enum rf_status read_index(struct opening *o)
{
    struct rf_file_map map;
    enum rf_status status = rf_file_map_open(&map, o->index_path, o->err);
    if (!status)
        status =
            rf_shard_index_parse(&o->index, o->index_path, (const char *)map.data, (size_t)map.size, o->err);
    rf_file_map_close(&map);
    return status;
}

/* One model.safetensors goes before an index, as in transformers. */
static enum rf_status find_layout(struct opening *o)
{
    char *single_path = rf_path_join(o->folder, single_name);
    o->index_path = rf_path_join(o->folder, index_name);
    enum rf_status status = RF_OK;
    if (!single_path || !o->index_path)
        status = out_of_memory(o);
    bool single = !status && rf_path_exists(single_path);
    bool index = !status && rf_path_exists(o->index_path);
    rf_free(single_path);
    if (status)
        return status;
    if (!single && !index)
        return rf_fail(o->err, RF_ERROR_IO, "%s: no weights: wanted %s or %s", o->folder, single_name,
                       index_name);
    o->has_index = !single;
    if (single && index)
        return warn(o, "%s: ignored, because %s is there too", o->index_path, single_name);
    return RF_OK;
}

static enum rf_status open_shards(struct opening *o)
{
    enum rf_status status = find_layout(o);
    if (!status && o->has_index)
        status = read_index(o);
    if (status)
        return status;
    uint32_t count = o->has_index ? o->index.shard_count : 1;
    o->files->shards = rf_calloc(count, sizeof *o->files->shards);
    o->bound = rf_calloc(count, sizeof *o->bound);
    if (!o->files->shards || !o->bound)
        return out_of_memory(o);
    for (uint32_t i = 0; i < count && !status; i++) {
        status = open_shard(o, o->has_index ? o->index.shards[i] : single_name);
        if (!status && !(o->bound[i] = rf_calloc(o->files->shards[i].content.count, sizeof **o->bound)))
            status = out_of_memory(o);
    }
    return status;
}

/* Index and shards must agree in both directions. */
static enum rf_status check_index(const struct opening *o)
{
    for (size_t i = 0; i < o->index.count; i++) {
        const struct rf_shard_entry *entry = &o->index.entries[i];
        if (!rf_tensor_table_find(&o->files->shards[entry->shard].content, entry->tensor))
            return rf_fail(o->err, RF_ERROR_FORMAT, "%s: tensor %s: wanted in %s, which does not hold it",
                           o->index_path, rf_json_printable(entry->tensor).text,
                           o->index.shards[entry->shard]);
    }
    for (uint32_t i = 0; i < o->files->shard_count; i++) {
        const struct rf_shard *shard = &o->files->shards[i];
        for (size_t j = 0; j < shard->content.count; j++) {
            const char *name = shard->content.tensors[j].name;
            const struct rf_shard_entry *entry = rf_shard_index_find(&o->index, name);
            if (!entry || entry->shard != i)
                return rf_fail(o->err, RF_ERROR_FORMAT, "%s: tensor %s: surplus, %s puts it in %s",
                               shard->path, rf_json_printable(name).text, index_name,
                               entry ? o->index.shards[entry->shard] : "no shard");
        }
    }
    return RF_OK;
}

/* ---- Binding ------------------------------------------------------------------------------------------- */

/* A size that a tensor's dimension must have, and the words for it. */
enum size_name { NO_SIZE, HIDDEN, FFN, VOCAB, HEAD_DIM, Q_WIDTH, KV_WIDTH };

static uint64_t size_of(const struct rf_model_config *config, enum size_name name)
{
    switch (name) {
    case HIDDEN:
        return config->hidden;
    case FFN:
        return config->ffn;
    case VOCAB:
        return config->vocab;
    case HEAD_DIM:
        return config->head_dim;
    case Q_WIDTH:
        return (uint64_t)config->heads * config->head_dim;
    case KV_WIDTH:
        return (uint64_t)config->kv_heads * config->head_dim;
    case NO_SIZE:
        break;
    }
    return 0;
}

static const char *const size_words[] = {
    [HIDDEN] = "hidden_size",
    [FFN] = "intermediate_size",
    [VOCAB] = "vocab_size",
    [HEAD_DIM] = "head_dim",
    [Q_WIDTH] = "num_attention_heads * head_dim",
    [KV_WIDTH] = "num_key_value_heads * head_dim",
};

struct wanted {
    enum size_name rows, columns; /* columns NO_SIZE: a vector */
};

static const struct {
    const char *suffix, *gguf; /* after "model.layers.N.", and after "blk.N." */
    size_t field;
    struct wanted shape;
} layer_tensors[] = {
    {"input_layernorm.weight",
     "attn_norm.weight",
     offsetof(struct rf_layer_tensors, input_norm),
     {HIDDEN, NO_SIZE}},
    {"self_attn.q_proj.weight",
     "attn_q.weight",
     offsetof(struct rf_layer_tensors, q_proj),
     {Q_WIDTH, HIDDEN}},
    {"self_attn.k_proj.weight",
     "attn_k.weight",
     offsetof(struct rf_layer_tensors, k_proj),
     {KV_WIDTH, HIDDEN}},
    {"self_attn.v_proj.weight",
     "attn_v.weight",
     offsetof(struct rf_layer_tensors, v_proj),
     {KV_WIDTH, HIDDEN}},
    {"self_attn.o_proj.weight",
     "attn_output.weight",
     offsetof(struct rf_layer_tensors, o_proj),
     {HIDDEN, Q_WIDTH}},
    {"self_attn.q_norm.weight",
     "attn_q_norm.weight",
     offsetof(struct rf_layer_tensors, q_norm),
     {HEAD_DIM, NO_SIZE}},
    {"self_attn.k_norm.weight",
     "attn_k_norm.weight",
     offsetof(struct rf_layer_tensors, k_norm),
     {HEAD_DIM, NO_SIZE}},
    {"post_attention_layernorm.weight",
     "ffn_norm.weight",
     offsetof(struct rf_layer_tensors, post_attention_norm),
     {HIDDEN, NO_SIZE}},
    {"mlp.gate_proj.weight", "ffn_gate.weight", offsetof(struct rf_layer_tensors, gate_proj), {FFN, HIDDEN}},
    {"mlp.up_proj.weight", "ffn_up.weight", offsetof(struct rf_layer_tensors, up_proj), {FFN, HIDDEN}},
    {"mlp.down_proj.weight", "ffn_down.weight", offsetof(struct rf_layer_tensors, down_proj), {HIDDEN, FFN}},
};

/* NULL when no shard holds it; otherwise it counts as used. */
static const struct rf_tensor *take(struct opening *o, const char *name)
{
    uint32_t shard = 0;
    if (o->has_index) {
        const struct rf_shard_entry *entry = rf_shard_index_find(&o->index, name);
        if (!entry)
            return NULL;
        shard = entry->shard;
    }
    const struct rf_tensor_table *content = &o->files->shards[shard].content;
    const struct rf_tensor *tensor = rf_tensor_table_find(content, name);
    if (tensor)
        o->bound[shard][tensor - content->tensors] = true;
    return tensor;
}

static enum rf_status check_tensor(const struct opening *o, const struct rf_tensor *tensor,
                                   struct wanted wanted)
{
    uint32_t rank = wanted.columns ? 2 : 1;
    bool plain = rf_dtype_is_weight(tensor->dtype) && rf_dtype_block_elements(tensor->dtype) == 1;
    bool quantized = rf_dtype_is_weight(tensor->dtype) && o->files->is_gguf && rank == 2;
    if (!plain && !quantized)
        return rf_fail(o->err, RF_ERROR_UNSUPPORTED, "%s: tensor %s: dtype is %s, wanted BF16, F16 or F32%s",
                       tensor->file, tensor->name, rf_dtype_name(tensor->dtype),
                       o->files->is_gguf && rank == 2 ? ", Q8_0, Q4_0, Q4_K or Q6_K" : "");
    uint64_t shape[2] = {size_of(&o->files->config, wanted.rows), size_of(&o->files->config, wanted.columns)};
    if (tensor->rank == rank && tensor->shape[0] == shape[0] && (rank == 1 || tensor->shape[1] == shape[1]))
        return RF_OK;
    return rf_fail(
        o->err, RF_ERROR_FORMAT,
        "%s: tensor %s: rank %" PRIu32 ", shape %s, wanted rank %" PRIu32 ", shape %s [%s%s%s] by %s",
        tensor->file, tensor->name, tensor->rank, rf_shape_describe(tensor->shape, tensor->rank).text, rank,
        rf_shape_describe(shape, rank).text, size_words[wanted.rows], rank == 2 ? ", " : "",
        rank == 2 ? size_words[wanted.columns] : "", o->by);
}

static enum rf_status bind_tensor(struct opening *o, struct rf_tensor *out, const char *name,
                                  struct wanted wanted)
{
    const struct rf_tensor *tensor = take(o, name);
    if (!tensor)
        return rf_fail(o->err, RF_ERROR_FORMAT, "%s: tensor %s: missing, wanted by %s",
                       o->has_index ? o->index_path : o->files->shards[0].path, name, o->by);
    enum rf_status status = check_tensor(o, tensor, wanted);
    if (status)
        return status;
    *out = *tensor;
    o->files->parameters += rf_tensor_elements(tensor);
    o->files->weight_bytes += tensor->bytes;
    return RF_OK;
}

static enum rf_status bind_layer(struct opening *o, uint32_t layer)
{
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < sizeof layer_tensors / sizeof layer_tensors[0] && !status; i++) {
        char name[96];
        if (o->files->is_gguf)
            snprintf(name, sizeof name, "blk.%" PRIu32 ".%s", layer, layer_tensors[i].gguf);
        else
            snprintf(name, sizeof name, "model.layers.%" PRIu32 ".%s", layer, layer_tensors[i].suffix);
        struct rf_tensor *field =
            (struct rf_tensor *)((char *)&o->files->layers[layer] + layer_tensors[i].field);
        status = bind_tensor(o, field, name, layer_tensors[i].shape);
    }
    return status;
}

/* A tied model is saved without lm_head.weight, but older programs wrote it all the same. transformers
 * ties after loading, so the embedding wins; we do as it does, and say so. */
static enum rf_status bind_tied_head(struct opening *o)
{
    struct rf_model_files *files = o->files;
    files->lm_head = files->embed;
    const struct rf_tensor *head = take(o, "lm_head.weight");
    if (!head)
        return RF_OK;
    enum rf_status status = check_tensor(o, head, (struct wanted){VOCAB, HIDDEN});
    if (status)
        return status;
    return warn(o, "%s: tensor lm_head.weight: ignored, because tie_word_embeddings makes %s the head",
                head->file, files->embed.name);
}

static enum rf_status bind_all(struct opening *o)
{
    struct rf_model_files *files = o->files;
    files->layers = rf_calloc(files->config.layers, sizeof *files->layers);
    if (!files->layers)
        return out_of_memory(o);
    const struct wanted table = {VOCAB, HIDDEN};
    bool gguf = files->is_gguf;
    enum rf_status status =
        bind_tensor(o, &files->embed, gguf ? "token_embd.weight" : "model.embed_tokens.weight", table);
    for (uint32_t i = 0; i < files->config.layers && !status; i++)
        status = bind_layer(o, i);
    if (!status)
        status = bind_tensor(o, &files->final_norm, gguf ? "output_norm.weight" : "model.norm.weight",
                             (struct wanted){HIDDEN, NO_SIZE});
    if (!status && files->config.tie_word_embeddings)
        return bind_tied_head(o);
    if (!status)
        status = bind_tensor(o, &files->lm_head, gguf ? "output.weight" : "lm_head.weight", table);
    return status;
}

/* ---- What is left over --------------------------------------------------------------------------------- */

/* Old exports hold RoPE's inverse frequencies: constants that follow from rope_theta and head_dim. */
static bool is_rotary_table(const char *name)
{
    static const char suffix[] = "rotary_emb.inv_freq";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return strncmp(name, "model.", 6) == 0 && length > tail && strcmp(name + length - tail, suffix) == 0;
}

static enum rf_status check_surplus(struct opening *o)
{
    const struct rf_tensor *rotary = NULL;
    size_t rotary_count = 0;
    for (uint32_t i = 0; i < o->files->shard_count; i++) {
        const struct rf_tensor_table *content = &o->files->shards[i].content;
        for (size_t j = 0; j < content->count; j++) {
            const struct rf_tensor *tensor = &content->tensors[j];
            if (o->bound[i][j])
                continue;
            if (!is_rotary_table(tensor->name))
                return rf_fail(
                    o->err, RF_ERROR_FORMAT,
                    "%s: tensor %s: surplus, a model of %" PRIu32 " layers by %s has no such tensor",
                    tensor->file, rf_json_printable(tensor->name).text, o->files->config.layers, o->by);
            rotary = tensor;
            rotary_count++;
        }
    }
    if (!rotary)
        return RF_OK;
    return warn(o, "%s: ignored %zu tensors such as %s: these tables are computed from rope_theta",
                rotary->file, rotary_count, rf_json_printable(rotary->name).text);
}

/* ---- Opening and closing ------------------------------------------------------------------------------- */

static enum rf_status open_folder(struct opening *o)
{
    enum rf_status status = rf_config_load(&o->files->config, o->folder, o->err);
    if (!status)
        status = open_shards(o);
    if (!status && o->has_index)
        status = check_index(o);
    return status;
}

static enum rf_status warn_unknown(struct opening *o, const struct rf_gguf_unknown *unknown)
{
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < unknown->count && !status; i++) {
        char quoted[RF_QUOTE_SIZE];
        struct rf_gguf_string key = unknown->values[i]->key;
        status = warn(o, "%s: metadata %s: ignored, its meaning is not known here", o->folder,
                      rf_quote(quoted, key.text, key.length));
    }
    return status;
}

/* The file's metadata take the place of config.json, and it is the only shard. */
static enum rf_status open_gguf(struct opening *o)
{
    struct rf_model_files *files = o->files;
    struct rf_gguf gguf = {0};
    struct rf_gguf_unknown unknown;
    files->is_gguf = true;
    files->shards = rf_calloc(1, sizeof *files->shards);
    o->bound = rf_calloc(1, sizeof *o->bound);
    if (!files->shards || !o->bound)
        return out_of_memory(o);
    files->shard_count = 1;
    struct rf_shard *shard = &files->shards[0];
    if (!(shard->path = rf_strdup(o->folder)))
        return out_of_memory(o);
    enum rf_status status = rf_file_map_open(&shard->map, shard->path, o->err);
    if (!status && !rf_gguf_is_magic(shard->map.data, shard->map.size))
        return rf_fail(o->err, RF_ERROR_IO, "%s: is a file, wanted a model folder or a GGUF file", o->folder);
    if (!status)
        status = rf_gguf_parse(&gguf, shard->path, shard->map.data, shard->map.size, o->err);
    if (!status)
        status = rf_gguf_config(&files->config, &gguf, &unknown, o->err);
    if (!status)
        status = warn_unknown(o, &unknown);
    shard->content = gguf.tensors;
    gguf.tensors = (struct rf_tensor_table){0};
    rf_gguf_free(&gguf);
    if (!status && !(o->bound[0] = rf_calloc(shard->content.count, sizeof **o->bound)))
        status = out_of_memory(o);
    return status;
}

enum rf_status rf_model_files_open(struct rf_model_files *out, const char *path, struct rf_error *err)
{
    *out = (struct rf_model_files){0};
    struct opening o = {.files = out, .folder = path, .by = "config.json", .err = err};
    char *gguf;
    enum rf_status status = rf_model_path_resolve(&gguf, path, err);
    if (!status && gguf) {
        o.folder = gguf;
        o.by = "its metadata";
        status = open_gguf(&o);
    } else if (!status) {
        status = open_folder(&o);
    }
    if (!status)
        status = bind_all(&o);
    if (!status)
        status = check_surplus(&o);
    for (uint32_t i = 0; o.bound && i < out->shard_count; i++)
        rf_free(o.bound[i]);
    rf_free(o.bound);
    rf_free(o.index_path);
    rf_free(gguf);
    rf_shard_index_free(&o.index);
    if (status)
        rf_model_files_close(out);
    return status;
}

/* ---- Listing ------------------------------------------------------------------------------------------- */

static void list_one(struct rf_named_tensor *list, size_t *count, const struct rf_tensor *tensor,
                     const char *name)
{
    struct rf_named_tensor *item = &list[(*count)++];
    item->tensor = tensor;
    snprintf(item->gguf, sizeof item->gguf, "%s", name);
}

enum rf_status rf_model_files_list(const struct rf_model_files *files, struct rf_named_tensor **out,
                                   size_t *count, struct rf_error *err)
{
    enum { PER_LAYER = sizeof layer_tensors / sizeof layer_tensors[0] };
    *count = 0;
    struct rf_named_tensor *list = rf_calloc((size_t)files->config.layers * PER_LAYER + 3, sizeof *list);
    *out = list;
    if (!list)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory", files->shards[0].path);
    list_one(list, count, &files->embed, "token_embd.weight");
    for (uint32_t layer = 0; layer < files->config.layers; layer++)
        for (size_t i = 0; i < PER_LAYER; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%" PRIu32 ".%s", layer, layer_tensors[i].gguf);
            const char *fields = (const char *)&files->layers[layer];
            list_one(list, count, (const struct rf_tensor *)(const void *)(fields + layer_tensors[i].field),
                     name);
        }
    list_one(list, count, &files->final_norm, "output_norm.weight");
    if (!files->config.tie_word_embeddings)
        list_one(list, count, &files->lm_head, "output.weight");
    return RF_OK;
}

void rf_model_files_close(struct rf_model_files *files)
{
    for (uint32_t i = 0; i < files->shard_count; i++) {
        rf_tensor_table_free(&files->shards[i].content);
        rf_file_map_close(&files->shards[i].map);
        rf_free(files->shards[i].path);
    }
    for (uint32_t i = 0; i < files->warning_count; i++)
        rf_free(files->warnings[i]);
    rf_free(files->warnings);
    rf_free(files->shards);
    rf_free(files->layers);
    *files = (struct rf_model_files){0};
}

/* FNV-1a. */
static uint64_t hash(uint64_t sum, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return sum;
}

uint64_t rf_model_files_fingerprint(const struct rf_model_files *files)
{
    enum { ENDS = 64 };
    struct rf_named_tensor *tensors;
    size_t count;
    if (rf_model_files_list(files, &tensors, &count, NULL))
        return 0;
    uint64_t sum = 0xcbf29ce484222325u;
    sum = hash(sum, &files->config.rope_theta, sizeof files->config.rope_theta);
    for (size_t i = 0; i < count; i++) {
        const struct rf_tensor *t = tensors[i].tensor;
        const uint32_t type = (uint32_t)t->dtype;
        uint64_t ends = t->bytes < ENDS ? t->bytes : ENDS;
        sum = hash(sum, tensors[i].gguf, strlen(tensors[i].gguf));
        sum = hash(sum, &type, sizeof type);
        sum = hash(sum, t->shape, sizeof t->shape);
        if (t->data) {
            sum = hash(sum, t->data, ends);
            sum = hash(sum, (const unsigned char *)t->data + t->bytes - ends, ends);
        }
    }
    rf_free(tensors);
    return sum;
}
