#include "model_writer.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct model_sizes small_sizes = {
    .layers = 2, .hidden = 16, .heads = 4, .kv_heads = 2, .head_dim = 8, .ffn = 24, .vocab = 11};
const struct model_sizes refusion_sizes = {
    .layers = 36, .hidden = 4096, .heads = 32, .kv_heads = 8, .head_dim = 128, .ffn = 12288, .vocab = 151671};

void assert_failure(enum rf_status status, const struct rf_error *err, enum rf_status wanted,
                    const char *const *texts)
{
    if (status == RF_OK)
        fail_msg("succeeded, wanted: %s", rf_status_name(wanted));
    for (const char *const *text = texts; *text; text++)
        if (!strstr(err->message, *text))
            fail_msg("message \"%s\" lacks \"%s\"", err->message, *text);
    if (status != wanted || err->status != wanted)
        fail_msg("status is %s, wanted %s: %s", rf_status_name(status), rf_status_name(wanted), err->message);
    if (strchr(err->message, '\n'))
        fail_msg("message \"%s\" is more than one line", err->message);
}

/* ---- Files --------------------------------------------------------------------------------------------- */

struct folder make_folder(void)
{
    struct folder folder;
    const char *parent = getenv("TMPDIR");
    if (!parent || strlen(parent) > 40)
        parent = "/tmp";
    snprintf(folder.path, sizeof folder.path, "%.40s/rf-loader-XXXXXX", parent);
    assert_non_null(mkdtemp(folder.path));
    return folder;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

void remove_folder(const struct folder *folder)
{
    assert_int_equal(nftw(folder->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static FILE *create_file(const struct folder *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    return file;
}

void write_bytes(const struct folder *folder, const char *name, const void *bytes, size_t size)
{
    FILE *file = create_file(folder, name);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void write_text(const struct folder *folder, const char *name, const char *text)
{
    write_bytes(folder, name, text, strlen(text));
}

/* ---- config.json --------------------------------------------------------------------------------------- */

struct member {
    const char *key;
    char value[40];
};

char *make_config(const struct model_sizes *s, const char *key, const char *value)
{
    struct member members[] = {
        {"architectures", "[\"Qwen3ForCausalLM\"]"},
        {"model_type", "\"qwen3\""},
        {"hidden_act", "\"silu\""},
        {"attention_bias", "false"},
        {"use_sliding_window", "false"},
        {"rope_scaling", "null"},
        {"rope_theta", "1000000.0"},
        {"rms_norm_eps", "1e-06"},
        {"max_position_embeddings", "4096"},
        {"torch_dtype", "\"bfloat16\""},
        {"bos_token_id", "7"},
        {"eos_token_id", "9"},
        {"mask_token_id", "10"},
        {"tie_word_embeddings", ""},
        {"num_hidden_layers", ""},
        {"hidden_size", ""},
        {"num_attention_heads", ""},
        {"num_key_value_heads", ""},
        {"head_dim", ""},
        {"intermediate_size", ""},
        {"vocab_size", ""},
    };
    const uint32_t numbers[] = {s->layers, s->hidden, s->heads, s->kv_heads, s->head_dim, s->ffn, s->vocab};
    const size_t count = sizeof members / sizeof members[0],
                 first = count - sizeof numbers / sizeof numbers[0];
    snprintf(members[first - 1].value, sizeof members[0].value, "%s", s->tied ? "true" : "false");
    for (size_t i = first; i < count; i++)
        snprintf(members[i].value, sizeof members[0].value, "%" PRIu32, numbers[i - first]);

    size_t room = 4096 + (value ? strlen(value) : 0), used = 0;
    char *text = malloc(room);
    assert_non_null(text);
    bool found = !key;
    const char *comma = "{\n";
    for (size_t i = 0; i < count; i++) {
        bool changed = key && strcmp(key, members[i].key) == 0;
        found |= changed;
        if (changed && !value)
            continue;
        used += (size_t)snprintf(text + used, room - used, "%s  \"%s\": %s", comma, members[i].key,
                                 changed ? value : members[i].value);
        comma = ",\n";
    }
    if (!found)
        used += (size_t)snprintf(text + used, room - used, ",\n  \"%s\": %s", key, value);
    snprintf(text + used, room - used, "\n}\n");
    return text;
}

/* ---- Tensors ------------------------------------------------------------------------------------------- */

struct written_tensor *add_written(struct written_model *model, const char *name, uint32_t rank,
                                   uint64_t rows, uint64_t columns)
{
    assert_true(model->count < sizeof model->tensors / sizeof model->tensors[0]);
    struct written_tensor *tensor = &model->tensors[model->count++];
    *tensor = (struct written_tensor){
        .dtype = "BF16", .element_bytes = 2, .rank = rank, .shape = {rows, rank > 1 ? columns : 0}};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    return tensor;
}

static void add_layer(struct written_model *model, uint32_t layer)
{
    const struct model_sizes *s = &model->sizes;
    uint64_t q = (uint64_t)s->heads * s->head_dim, kv = (uint64_t)s->kv_heads * s->head_dim;
    const struct {
        const char *name;
        uint32_t rank;
        uint64_t rows, columns;
    } parts[] = {
        {"input_layernorm", 1, s->hidden, 0},          {"mlp.down_proj", 2, s->hidden, s->ffn},
        {"mlp.gate_proj", 2, s->ffn, s->hidden},       {"mlp.up_proj", 2, s->ffn, s->hidden},
        {"post_attention_layernorm", 1, s->hidden, 0}, {"self_attn.k_norm", 1, s->head_dim, 0},
        {"self_attn.k_proj", 2, kv, s->hidden},        {"self_attn.o_proj", 2, s->hidden, q},
        {"self_attn.q_norm", 1, s->head_dim, 0},       {"self_attn.q_proj", 2, q, s->hidden},
        {"self_attn.v_proj", 2, kv, s->hidden},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%" PRIu32 ".%s.weight", layer, parts[i].name);
        struct written_tensor *tensor =
            add_written(model, name, parts[i].rank, parts[i].rows, parts[i].columns);
        tensor->shard = (uint32_t)((uint64_t)layer * model->shards / s->layers);
    }
}

void fill_model(struct written_model *model, const struct model_sizes *sizes, uint32_t shards)
{
    *model = (struct written_model){.sizes = *sizes, .shards = shards};
    add_written(model, "model.embed_tokens.weight", 2, sizes->vocab, sizes->hidden);
    for (uint32_t i = 0; i < sizes->layers; i++)
        add_layer(model, i);
    add_written(model, "model.norm.weight", 1, sizes->hidden, 0)->shard = shards - 1;
    if (!sizes->tied)
        add_written(model, "lm_head.weight", 2, sizes->vocab, sizes->hidden)->shard = shards - 1;
}

struct written_tensor *find_written(struct written_model *model, const char *name)
{
    for (size_t i = 0; i < model->count; i++)
        if (strcmp(model->tensors[i].name, name) == 0)
            return &model->tensors[i];
    fail_msg("the written model has no %s", name);
    return NULL;
}

void drop_written(struct written_model *model, const char *name)
{
    struct written_tensor *gone = find_written(model, name);
    *gone = model->tensors[--model->count];
}

struct shard_name name_shard(uint32_t shard, uint32_t shards)
{
    struct shard_name name = {"model.safetensors"};
    if (shards > 1)
        snprintf(name.text, sizeof name.text, "model-%05" PRIu32 "-of-%05" PRIu32 ".safetensors", shard + 1,
                 shards);
    return name;
}

/* ---- Writing ------------------------------------------------------------------------------------------- */

static void write_shard(const struct folder *folder, const struct written_model *model, uint32_t shard)
{
    char *header = NULL;
    size_t length = 0;
    FILE *text = open_memstream(&header, &length);
    assert_non_null(text);
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", text);
    uint64_t offset = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct written_tensor *tensor = &model->tensors[i];
        if (tensor->shard != shard)
            continue;
        uint64_t bytes = tensor->element_bytes;
        fprintf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name, tensor->dtype);
        for (uint32_t d = 0; d < tensor->rank; d++) {
            fprintf(text, "%s%" PRIu64, d ? "," : "", tensor->shape[d]);
            bytes *= tensor->shape[d];
        }
        fprintf(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + bytes);
        offset += bytes;
    }
    fputs("}", text);
    fflush(text);
    while (length % 8) { /* as the usual writer does */
        fputs(" ", text);
        fflush(text);
    }
    assert_int_equal(fclose(text), 0);

    FILE *file = create_file(folder, name_shard(shard, model->shards).text);
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(length >> (8 * i));
    assert_int_equal(fwrite(prefix, 1, 8, file), 8);
    assert_int_equal(fwrite(header, 1, length, file), length);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(ftruncate(fileno(file), (off_t)(8 + length + offset)), 0);
    assert_int_equal(fclose(file), 0);
    free(header);
}

static void write_index(const struct folder *folder, const struct written_model *model)
{
    FILE *file = create_file(folder, "model.safetensors.index.json");
    fputs("{\"metadata\": {\"total_size\": 0}, \"weight_map\": {", file);
    for (size_t i = 0; i < model->count; i++)
        fprintf(file, "%s\n  \"%s\": \"%s\"", i ? "," : "", model->tensors[i].name,
                name_shard(model->tensors[i].shard, model->shards).text);
    fputs("}}\n", file);
    assert_int_equal(fclose(file), 0);
}

void write_model(const struct folder *folder, const struct written_model *model)
{
    char *config = make_config(&model->sizes, model->config_key, model->config_value);
    write_text(folder, "config.json", config);
    free(config);
    for (uint32_t shard = 0; shard < model->shards; shard++)
        write_shard(folder, model, shard);
    if (model->shards > 1)
        write_index(folder, model);
}

unsigned char *make_safetensors(const char *header, uint64_t data_bytes, uint64_t *size)
{
    uint64_t length = strlen(header);
    *size = 8 + length + data_bytes;
    unsigned char *bytes = malloc((size_t)*size);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, header, (size_t)length);
    for (uint64_t i = 0; i < data_bytes; i++)
        bytes[8 + length + i] = (unsigned char)i;
    return bytes;
}
