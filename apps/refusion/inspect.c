/* refusion inspect: what a model folder holds, checked. Touches no Vulkan. */
#include "apps/refusion/input.h"
#include "apps/refusion/json_out.h"
#include "apps/refusion/program.h"
#include "loader/model_files.h"
#include "loader/tokenizer.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A tensor that the model uses, by its field, or one of the files that it leaves aside. */
typedef void (*tensor_fn)(void *user, const struct rf_tensor *tensor);

static void each_tensor(const struct rf_model_files *files, tensor_fn visit, void *user)
{
    for (uint32_t i = 0; i < files->shard_count; i++) {
        const struct rf_tensor_table *content = &files->shards[i].content;
        for (size_t t = 0; t < content->count; t++)
            visit(user, &content->tensors[t]);
    }
}

static const char *template_name(const rf_tokenizer *tokenizer)
{
    switch (rf_tokenizer_template(tokenizer)) {
    case RF_CHAT_QWEN3:
        return "ChatML as Qwen3 writes it";
    case RF_CHAT_UNKNOWN:
        return "unknown: chat is refused, --raw and --tokens work";
    case RF_CHAT_NONE:
        break;
    }
    return "none: chat is refused, --raw and --tokens work";
}

static uint32_t count_special(const rf_tokenizer *tokenizer)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < rf_tokenizer_vocab(tokenizer); id++)
        count += rf_tokenizer_is_special(tokenizer, id);
    return count;
}

/* ---- Text ---------------------------------------------------------------------------------------------- */

static void print_tensor(void *user, const struct rf_tensor *tensor)
{
    (void)user;
    printf("  %-48s %-5s %-18s %12" PRIu64 "\n", tensor->name, rf_dtype_name(tensor->dtype),
           rf_shape_describe(tensor->shape, tensor->rank).text, tensor->bytes);
}

static void print_config(const struct rf_model_config *config)
{
    printf("config\n");
    printf("  layers           %u\n", config->layers);
    printf("  hidden           %u\n", config->hidden);
    printf("  heads            %u query, %u key/value of %u\n", config->heads, config->kv_heads,
           config->head_dim);
    printf("  feed-forward     %u\n", config->ffn);
    printf("  vocabulary       %u\n", config->vocab);
    printf("  positions        %u\n", config->max_position_embeddings);
    printf("  rms_norm_eps     %g\n", config->rms_norm_eps);
    printf("  rope_theta       %g\n", config->rope_theta);
    printf("  tied embeddings  %s\n", config->tie_word_embeddings ? "yes" : "no");
    if (config->mask_token_id == UINT32_MAX)
        printf("  mask token       none: --decode ar only\n");
    else
        printf("  mask token       %u\n", config->mask_token_id);
    if (config->preset[0])
        printf("  preset           %s\n", config->preset);
    printf("  end tokens      ");
    for (uint32_t i = 0; i < config->eos_count; i++)
        printf(" %u", config->eos_tokens[i]);
    printf("%s\n", config->eos_count ? "" : " none");
}

static void print_token(const rf_tokenizer *tokenizer, const char *what, uint32_t id)
{
    size_t length = 0;
    const char *bytes = id == UINT32_MAX ? NULL : rf_tokenizer_token_bytes(tokenizer, id, &length);
    if (bytes)
        printf("  %-16s %u %.*s\n", what, id, (int)length, bytes);
    else
        printf("  %-16s none\n", what);
}

static void print_text(const struct rf_model_files *files, const rf_tokenizer *tokenizer, const char *folder)
{
    printf("%s\n", folder);
    print_config(&files->config);
    printf("tokenizer\n");
    printf("  vocabulary       %u ids, %u of them special\n", rf_tokenizer_vocab(tokenizer),
           count_special(tokenizer));
    print_token(tokenizer, "end token", rf_tokenizer_eos(tokenizer));
    print_token(tokenizer, "mask token", rf_tokenizer_mask(tokenizer));
    printf("  chat template    %s\n", template_name(tokenizer));
    printf("files\n");
    for (uint32_t i = 0; i < files->shard_count; i++) {
        printf("  %s, %" PRIu64 " bytes, %zu tensors\n", files->shards[i].path, files->shards[i].map.size,
               files->shards[i].content.count);
    }
    printf("tensors\n");
    each_tensor(files, print_tensor, NULL);
    printf("total\n  %" PRIu64 " parameters, %" PRIu64 " bytes of weights\n", files->parameters,
           files->weight_bytes);
    /* K and V of every layer; two bytes a number on the fp16 path, four on the portable one. */
    uint64_t row = 2ull * files->config.layers * files->config.kv_heads * files->config.head_dim;
    printf("  %" PRIu64 " bytes of KV cache a token in 16 bit\n", 2 * row);
    if (files->warning_count)
        printf("warnings\n");
    for (uint32_t i = 0; i < files->warning_count; i++)
        printf("  %s\n", files->warnings[i]);
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static void add_tensor(void *user, const struct rf_tensor *tensor)
{
    cJSON *array = user;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "name", tensor->name);
    cJSON_AddStringToObject(object, "dtype", rf_dtype_name(tensor->dtype));
    cJSON *shape = cJSON_AddArrayToObject(object, "shape");
    for (uint32_t i = 0; i < tensor->rank; i++) {
        cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[i]));
    }
    cJSON_AddNumberToObject(object, "bytes", (double)tensor->bytes);
    cJSON_AddStringToObject(object, "file", tensor->file);
    cJSON_AddItemToArray(array, object);
}

static cJSON *config_json(const struct rf_model_config *config)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "layers", config->layers);
    cJSON_AddNumberToObject(object, "hidden", config->hidden);
    cJSON_AddNumberToObject(object, "heads", config->heads);
    cJSON_AddNumberToObject(object, "kv_heads", config->kv_heads);
    cJSON_AddNumberToObject(object, "head_dim", config->head_dim);
    cJSON_AddNumberToObject(object, "ffn", config->ffn);
    cJSON_AddNumberToObject(object, "vocab", config->vocab);
    cJSON_AddNumberToObject(object, "max_position_embeddings", config->max_position_embeddings);
    cJSON_AddNumberToObject(object, "rms_norm_eps", config->rms_norm_eps);
    cJSON_AddNumberToObject(object, "rope_theta", config->rope_theta);
    cJSON_AddBoolToObject(object, "tie_word_embeddings", config->tie_word_embeddings);
    if (config->mask_token_id == UINT32_MAX)
        cJSON_AddNullToObject(object, "mask_token_id");
    else
        cJSON_AddNumberToObject(object, "mask_token_id", config->mask_token_id);
    if (config->preset[0])
        cJSON_AddStringToObject(object, "refusion_preset", config->preset);
    cJSON_AddItemToObject(object, "eos_token_id", json_ids(config->eos_tokens, config->eos_count));
    return object;
}

static void add_id(cJSON *object, const char *name, uint32_t id)
{
    if (id == UINT32_MAX)
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddNumberToObject(object, name, id);
}

static cJSON *tokenizer_json(const rf_tokenizer *tokenizer)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "vocab", rf_tokenizer_vocab(tokenizer));
    cJSON_AddNumberToObject(object, "special", count_special(tokenizer));
    add_id(object, "eos", rf_tokenizer_eos(tokenizer));
    add_id(object, "mask", rf_tokenizer_mask(tokenizer));
    static const char *const names[] = {
        [RF_CHAT_NONE] = "none", [RF_CHAT_QWEN3] = "qwen3", [RF_CHAT_UNKNOWN] = "unknown"};
    cJSON_AddStringToObject(object, "chat_template", names[rf_tokenizer_template(tokenizer)]);
    return object;
}

static enum rf_status print_json(const struct rf_model_files *files, const rf_tokenizer *tokenizer,
                                 const char *folder, struct rf_error *err)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "folder", folder);
    cJSON_AddItemToObject(object, "config", config_json(&files->config));
    cJSON_AddItemToObject(object, "tokenizer", tokenizer_json(tokenizer));
    cJSON *shards = cJSON_AddArrayToObject(object, "files");
    for (uint32_t i = 0; i < files->shard_count; i++) {
        cJSON *shard = cJSON_CreateObject();
        cJSON_AddStringToObject(shard, "path", files->shards[i].path);
        cJSON_AddNumberToObject(shard, "bytes", (double)files->shards[i].map.size);
        cJSON_AddNumberToObject(shard, "tensors", (double)files->shards[i].content.count);
        cJSON_AddItemToArray(shards, shard);
    }
    each_tensor(files, add_tensor, cJSON_AddArrayToObject(object, "tensors"));
    cJSON_AddNumberToObject(object, "parameters", (double)files->parameters);
    cJSON_AddNumberToObject(object, "weight_bytes", (double)files->weight_bytes);
    cJSON *warnings = cJSON_AddArrayToObject(object, "warnings");
    for (uint32_t i = 0; i < files->warning_count; i++) {
        cJSON_AddItemToArray(warnings, cJSON_CreateString(files->warnings[i]));
    }
    return json_print(object, true, err);
}

int command_inspect(const struct settings *settings)
{
    struct rf_error err = {0};
    char path[PATH_MAX];
    const char *folder;
    if (find_model(&folder, settings, path, sizeof path, &err))
        return complain_error(&err);
    struct rf_model_files files = {0};
    rf_tokenizer *tokenizer = NULL;
    enum rf_status status = rf_model_files_open(&files, folder, &err);
    if (!status)
        status = rf_tokenizer_load(&tokenizer, folder, NULL, &err);
    if (!status)
        status = rf_tokenizer_check_vocab(tokenizer, files.config.vocab, &err);
    if (!status && settings->json)
        status = print_json(&files, tokenizer, folder, &err);
    else if (!status)
        print_text(&files, tokenizer, folder);
    rf_tokenizer_destroy(tokenizer);
    rf_model_files_close(&files);
    return status ? complain_error(&err) : STATUS_OK;
}
