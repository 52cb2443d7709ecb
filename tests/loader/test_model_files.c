/* loader/model_files: folders that open, and one test for each way in which a folder can be wrong. */
#include "loader/model_files.h"
#include "model_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The tiny model ------------------------------------------------------------------------------------ */

static float bf16_at(const struct rf_tensor *tensor, uint64_t index)
{
    assert_int_equal(tensor->dtype, RF_DTYPE_BF16);
    assert_true(2 * index + 2 <= tensor->bytes);
    uint16_t half;
    memcpy(&half, (const unsigned char *)tensor->data + 2 * index, sizeof half);
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void tiny_model_binds_every_weight(void **state)
{
    (void)state;
    struct rf_model_files files;
    struct rf_error err = {0};
    if (rf_model_files_open(&files, RF_SOURCE_DIR "/tests/golden/tiny", &err))
        fail_msg("%s", err.message);
    assert_int_equal(files.config.layers, 6);
    assert_int_equal(files.config.vocab, 671);
    assert_int_equal(files.config.mask_token_id, 670);
    assert_int_equal(files.config.eos_count, 2);
    assert_int_equal(files.config.eos_tokens[0], 668);
    assert_int_equal(files.config.eos_tokens[1], 666);
    assert_int_equal(files.parameters, 4894464);
    assert_int_equal(files.weight_bytes, 2 * 4894464);
    assert_int_equal(files.warning_count, 0);
    assert_true(files.config.tie_word_embeddings);
    assert_ptr_equal(files.lm_head.data, files.embed.data);
    /* Values that an independent reader (Python's struct module) gave for this file. */
    assert_true(bf16_at(&files.embed, 0) == -0.047607421875f);
    assert_true(bf16_at(&files.embed, 670 * 256 + 255) == -0.04443359375f);
    assert_true(bf16_at(&files.layers[0].q_norm, 63) == 0.6484375f);
    assert_true(bf16_at(&files.layers[3].down_proj, 100 * 768 + 17) == 0.01214599609375f);
    assert_true(bf16_at(&files.layers[5].v_proj, 127 * 256) == 0.0098876953125f);
    assert_true(bf16_at(&files.final_norm, 128) == 1.2109375f);
    rf_model_files_close(&files);
    rf_model_files_close(&files); /* closing twice is allowed */
}

static void forgotten_pages_read_the_same(void **state)
{
    (void)state;
    struct rf_model_files files;
    struct rf_error err = {0};
    assert_int_equal(rf_model_files_open(&files, RF_SOURCE_DIR "/tests/golden/tiny", &err), RF_OK);
    const struct rf_tensor *tensor = &files.layers[3].down_proj;
    float before = bf16_at(tensor, 100 * 768 + 17);
    rf_file_map_forget(tensor->data, tensor->bytes);
    rf_file_map_forget(tensor->data, 1);
    rf_file_map_forget(NULL, 0);
    assert_true(bf16_at(tensor, 100 * 768 + 17) == before);
    rf_model_files_close(&files);
}

/* ---- Small written models ------------------------------------------------------------------------------ */

static struct written_model model; /* too large for a stack that a sanitizer pads */

/* Writes `model`, opens it, and closes it again where that worked. `look`, if given, sees the open files. */
static enum rf_status open_written(struct rf_error *err, void (*look)(const struct rf_model_files *files))
{
    struct folder folder = make_folder();
    write_model(&folder, &model);
    struct rf_model_files files;
    enum rf_status status = rf_model_files_open(&files, folder.path, err);
    if (!status && look)
        look(&files);
    if (status)
        assert_null(files.shards);
    rf_model_files_close(&files);
    remove_folder(&folder);
    return status;
}

static void opens(void (*look)(const struct rf_model_files *files))
{
    struct rf_error err = {0};
    if (open_written(&err, look))
        fail_msg("%s", err.message);
}

static void look_untied(const struct rf_model_files *files)
{
    assert_string_equal(files->lm_head.name, "lm_head.weight");
    assert_ptr_not_equal(files->lm_head.data, files->embed.data);
    assert_int_equal(files->layers[1].q_proj.shape[0], 32);
    assert_string_equal(files->layers[1].q_proj.name, "model.layers.1.self_attn.q_proj.weight");
    uint64_t layer = 2 * 16 + 2 * 8 + 2 * 32 * 16 + 2 * 16 * 16 + 3 * 24 * 16;
    assert_int_equal(files->parameters, 2 * 11 * 16 + 2 * layer + 16);
    assert_int_equal(files->warning_count, 0);
}

static void untied_single_file_opens(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    opens(look_untied);
}

static void look_sharded(const struct rf_model_files *files)
{
    look_untied(files);
    assert_int_equal(files->shard_count, 2);
    assert_non_null(strstr(files->layers[0].q_proj.file, "model-00001-of-00002.safetensors"));
    assert_non_null(strstr(files->layers[1].q_proj.file, "model-00002-of-00002.safetensors"));
}

static void sharded_model_opens(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 2);
    opens(look_sharded);
}

static void look_mixed(const struct rf_model_files *files)
{
    assert_int_equal(files->embed.dtype, RF_DTYPE_F16);
    assert_int_equal(files->final_norm.dtype, RF_DTYPE_F32);
    assert_int_equal(files->layers[0].q_proj.dtype, RF_DTYPE_BF16);
}

static void f16_and_f32_beside_bf16_open(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    find_written(&model, "model.embed_tokens.weight")->dtype = "F16";
    find_written(&model, "model.norm.weight")->dtype = "F32";
    find_written(&model, "model.norm.weight")->element_bytes = 4;
    opens(look_mixed);
}

static void look_tied_with_head(const struct rf_model_files *files)
{
    assert_ptr_equal(files->lm_head.data, files->embed.data);
    assert_int_equal(files->warning_count, 1);
    assert_non_null(strstr(files->warnings[0], "tensor lm_head.weight: ignored"));
}

static void tied_model_with_a_head_opens_with_a_warning(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    model.config_key = "tie_word_embeddings";
    model.config_value = "true";
    opens(look_tied_with_head);
}

static void tied_model_with_a_head_of_another_shape_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    model.config_key = "tie_word_embeddings";
    model.config_value = "true";
    find_written(&model, "lm_head.weight")->shape[0] = 12;
    struct rf_error err = {0};
    ASSERT_FAILURE(open_written(&err, NULL), err, RF_ERROR_FORMAT, "tensor lm_head.weight", "[12, 16]",
                   "[11, 16]");
}

static void look_rotary(const struct rf_model_files *files)
{
    assert_int_equal(files->warning_count, 1);
    assert_non_null(strstr(files->warnings[0], "ignored 2 tensors"));
    assert_non_null(strstr(files->warnings[0], "rotary_emb.inv_freq"));
}

static void rotary_tables_are_ignored_with_a_warning(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    add_written(&model, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, 4, 0);
    add_written(&model, "model.layers.1.self_attn.rotary_emb.inv_freq", 1, 4, 0);
    opens(look_rotary);
}

/* ---- Tensors that do not fit the config ---------------------------------------------------------------- */

static void refused(enum rf_status wanted, const char *tensor, const char *found, const char *want)
{
    struct rf_error err = {0};
    enum rf_status status = open_written(&err, NULL);
    ASSERT_FAILURE(status, err, wanted, "/rf-loader-", "safetensors", tensor, found, want);
}

static void wrong_dtype_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    struct written_tensor *tensor = find_written(&model, "model.layers.1.mlp.up_proj.weight");
    tensor->dtype = "F8_E4M3";
    tensor->element_bytes = 1;
    refused(RF_ERROR_UNSUPPORTED, "tensor model.layers.1.mlp.up_proj.weight", "dtype is F8_E4M3",
            "BF16, F16 or F32");
}

static void wrong_shape_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    find_written(&model, "model.layers.0.self_attn.k_proj.weight")->shape[0] = 32;
    refused(RF_ERROR_FORMAT, "tensor model.layers.0.self_attn.k_proj.weight", "shape [32, 16]",
            "shape [16, 16] [num_key_value_heads * head_dim, hidden_size]");
}

static void wrong_number_of_columns_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    find_written(&model, "model.layers.1.self_attn.o_proj.weight")->shape[1] = 40;
    refused(RF_ERROR_FORMAT, "tensor model.layers.1.self_attn.o_proj.weight", "shape [16, 40]",
            "shape [16, 32] [hidden_size, num_attention_heads * head_dim]");
}

static void transposed_matrix_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    struct written_tensor *tensor = find_written(&model, "model.layers.1.mlp.down_proj.weight");
    tensor->shape[0] = 24;
    tensor->shape[1] = 16;
    refused(RF_ERROR_FORMAT, "tensor model.layers.1.mlp.down_proj.weight", "shape [24, 16]",
            "shape [16, 24]");
}

static void wrong_rank_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    struct written_tensor *tensor = find_written(&model, "model.norm.weight");
    tensor->rank = 2;
    tensor->shape[1] = 1;
    refused(RF_ERROR_FORMAT, "tensor model.norm.weight", "rank 2, shape [16, 1]",
            "rank 1, shape [16] [hidden_size]");
}

static void flattened_matrix_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    struct written_tensor *tensor = find_written(&model, "model.layers.0.mlp.gate_proj.weight");
    tensor->rank = 1;
    tensor->shape[0] = 24 * 16;
    refused(RF_ERROR_FORMAT, "tensor model.layers.0.mlp.gate_proj.weight", "rank 1, shape [384]",
            "rank 2, shape [24, 16] [intermediate_size, hidden_size]");
}

static void embedding_and_vocabulary_that_disagree_are_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    model.config_key = "vocab_size";
    model.config_value = "12";
    refused(RF_ERROR_FORMAT, "tensor model.embed_tokens.weight", "shape [11, 16]",
            "shape [12, 16] [vocab_size, hidden_size]");
}

static void head_and_vocabulary_that_disagree_are_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    find_written(&model, "lm_head.weight")->shape[0] = 10;
    refused(RF_ERROR_FORMAT, "tensor lm_head.weight", "shape [10, 16]",
            "shape [11, 16] [vocab_size, hidden_size]");
}

static void missing_tensor_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    drop_written(&model, "model.layers.1.self_attn.q_norm.weight");
    refused(RF_ERROR_FORMAT, "model.safetensors: tensor model.layers.1.self_attn.q_norm.weight", "missing",
            "wanted");
}

static void missing_head_of_an_untied_model_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    drop_written(&model, "lm_head.weight");
    refused(RF_ERROR_FORMAT, "tensor lm_head.weight", "missing", "wanted");
}

static void missing_tensor_of_a_sharded_model_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 2);
    drop_written(&model, "model.layers.0.mlp.up_proj.weight");
    refused(RF_ERROR_FORMAT, "index.json: tensor model.layers.0.mlp.up_proj.weight", "missing", "wanted");
}

static void surplus_tensor_is_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    add_written(&model, "model.layers.0.self_attn.q_proj.bias", 1, 32, 0);
    refused(RF_ERROR_FORMAT, "tensor model.layers.0.self_attn.q_proj.bias", "surplus",
            "2 layers by config.json");
}

static void more_layers_than_the_config_says_are_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    model.config_key = "num_hidden_layers";
    model.config_value = "1";
    refused(RF_ERROR_FORMAT, "tensor model.layers.1.", "surplus", "1 layers by config.json");
}

static void fewer_layers_than_the_config_says_are_refused(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    model.config_key = "num_hidden_layers";
    model.config_value = "3";
    refused(RF_ERROR_FORMAT, "tensor model.layers.2.input_layernorm.weight", "missing", "wanted");
}

static void absent_head_dim_must_still_fit_the_tensors(void **state)
{
    (void)state;
    fill_model(&model, &small_sizes, 1);
    model.config_key = "head_dim";
    refused(RF_ERROR_FORMAT, "tensor model.layers.0.self_attn.q_proj.weight", "shape [32, 16]",
            "shape [512, 16]");
}

/* ---- Index and shards ---------------------------------------------------------------------------------- */

/* A right sharded model in a folder, whose index is then replaced. */
static void refuses_index(const char *index, enum rf_status wanted, const char *a, const char *b)
{
    struct folder folder = make_folder();
    fill_model(&model, &small_sizes, 2);
    write_model(&folder, &model);
    write_text(&folder, "model.safetensors.index.json", index);
    struct rf_model_files files;
    struct rf_error err = {0};
    enum rf_status status = rf_model_files_open(&files, folder.path, &err);
    ASSERT_FAILURE(status, err, wanted, folder.path, a, b);
    remove_folder(&folder);
}

static void index_naming_a_missing_shard_is_refused(void **state)
{
    (void)state;
    refuses_index(
        "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"other.safetensors\"}}",
        RF_ERROR_IO, "index.json: names the shard other.safetensors", "not in the folder");
}

static void index_naming_a_path_is_refused(void **state)
{
    (void)state;
    refuses_index("{\"weight_map\": {\"a\": \"../x.safetensors\"}}", RF_ERROR_FORMAT,
                  "weight_map.a is \"../x.safetensors\"", "wanted the plain name");
    refuses_index("{\"weight_map\": {\"a\": \"/etc/passwd\"}}", RF_ERROR_FORMAT,
                  "weight_map.a is \"/etc/passwd\"", "wanted the plain name");
    refuses_index("{\"weight_map\": {\"a\": \"..\"}}", RF_ERROR_FORMAT, "weight_map.a is \"..\"",
                  "plain name");
    refuses_index("{\"weight_map\": {\"a\": \"\"}}", RF_ERROR_FORMAT, "weight_map.a is \"\"", "plain name");
    refuses_index("{\"weight_map\": {\"a\": \"b\\nc\"}}", RF_ERROR_FORMAT, "weight_map.a",
                  "control character");
}

static void index_without_a_weight_map_is_refused(void **state)
{
    (void)state;
    refuses_index("{\"metadata\": {}}", RF_ERROR_FORMAT, "weight_map is nothing", "wanted an object");
    refuses_index("{\"weight_map\": {}}", RF_ERROR_FORMAT, "weight_map is empty", "wanted at least one");
    refuses_index("[1]", RF_ERROR_FORMAT, "weight_map is nothing", "wanted an object");
    refuses_index("{\"weight_map\": {\"a\": 1}}", RF_ERROR_FORMAT, "weight_map.a is 1",
                  "wanted a shard's file name");
    refuses_index("{\"weight_map\": ", RF_ERROR_FORMAT, "line 1, column 16", "not valid JSON");
}

static void index_naming_a_tensor_that_its_shard_lacks_is_refused(void **state)
{
    (void)state;
    refuses_index("{\"weight_map\": {\"model.nothing.weight\": \"model-00001-of-00002.safetensors\"}}",
                  RF_ERROR_FORMAT, "tensor model.nothing.weight: wanted in model-00001-of-00002.safetensors",
                  "does not hold it");
}

static void tensor_that_the_index_omits_is_refused(void **state)
{
    (void)state;
    refuses_index("{\"weight_map\": {\"model.embed_tokens.weight\": \"model-00001-of-00002.safetensors\"}}",
                  RF_ERROR_FORMAT,
                  "model-00001-of-00002.safetensors: tensor model.layers.0.input_layernorm.weight: surplus",
                  "puts it in no shard");
}

static void tensor_held_by_two_shards_is_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    fill_model(&model, &small_sizes, 2);
    add_written(&model, "model.norm.weight", 1, 16,
                0); /* once more, in the first shard; the index names the second */
    struct written_tensor first = *find_written(&model, "model.norm.weight");
    assert_int_equal(first.shard, 1);
    write_model(&folder, &model);
    model.count--;
    struct folder clean = make_folder();
    write_model(&clean, &model);
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/model.safetensors.index.json", clean.path);
    snprintf(to, sizeof to, "%s/model.safetensors.index.json", folder.path);
    assert_int_equal(rename(from, to), 0);
    struct rf_model_files files;
    struct rf_error err = {0};
    ASSERT_FAILURE(rf_model_files_open(&files, folder.path, &err), err, RF_ERROR_FORMAT,
                   "model-00001-of-00002.safetensors: tensor model.norm.weight: surplus",
                   "puts it in model-00002-of-00002.safetensors");
    remove_folder(&folder);
    remove_folder(&clean);
}

static void single_file_goes_before_an_index_with_a_warning(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    fill_model(&model, &small_sizes, 1);
    write_model(&folder, &model);
    write_text(&folder, "model.safetensors.index.json", "{\"weight_map\": {\"a\": \"b\"}}");
    struct rf_model_files files;
    struct rf_error err = {0};
    if (rf_model_files_open(&files, folder.path, &err))
        fail_msg("%s", err.message);
    assert_int_equal(files.warning_count, 1);
    assert_non_null(strstr(files.warnings[0], "index.json: ignored, because model.safetensors is there"));
    rf_model_files_close(&files);
    remove_folder(&folder);
}

/* ---- Files and folders --------------------------------------------------------------------------------- */

static void refuses_folder(const char *path, const char *a, const char *b)
{
    struct rf_model_files files;
    struct rf_error err = {0};
    ASSERT_FAILURE(rf_model_files_open(&files, path, &err), err, RF_ERROR_IO, a, b);
}

static void missing_folder_is_refused(void **state)
{
    (void)state;
    refuses_folder("/nowhere/model", "/nowhere/model: cannot open the model folder", "No such file");
}

static void file_instead_of_a_folder_is_refused(void **state)
{
    (void)state;
    refuses_folder(RF_SOURCE_DIR "/tests/golden/tiny/config.json", "config.json: is a file",
                   "wanted a model folder");
}

static void folder_without_a_config_is_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    refuses_folder(folder.path, "/config.json: cannot open", "No such file");
    remove_folder(&folder);
}

static void folder_without_weights_is_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    char *config = make_config(&small_sizes, NULL, NULL);
    write_text(&folder, "config.json", config);
    refuses_folder(folder.path, "no weights", "wanted model.safetensors or model.safetensors.index.json");
    free(config);
    remove_folder(&folder);
}

static void weights_that_are_no_regular_file_are_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    char *config = make_config(&small_sizes, NULL, NULL);
    write_text(&folder, "config.json", config);
    free(config);
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", folder.path);
    assert_int_equal(mkdir(path, 0700), 0);
    refuses_folder(folder.path, "/model.safetensors: is a folder", "wanted a regular file");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuses_folder(folder.path, "/model.safetensors: is a FIFO", "wanted a regular file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    refuses_folder(folder.path, "/model.safetensors: is a device", "wanted a regular file");
    assert_int_equal(unlink(path), 0);
    write_text(&folder, "model.safetensors", "");
    refuses_folder(folder.path, "/model.safetensors: the file is empty", "");
    remove_folder(&folder);
}

static void truncated_weights_are_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    fill_model(&model, &small_sizes, 1);
    write_model(&folder, &model);
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", folder.path);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 1), 0);
    struct rf_model_files files;
    struct rf_error err = {0};
    ASSERT_FAILURE(rf_model_files_open(&files, folder.path, &err), err, RF_ERROR_FORMAT,
                   "model.safetensors: tensor lm_head.weight", "truncated");
    remove_folder(&folder);
}

static void errors_need_no_error_struct(void **state)
{
    (void)state;
    struct rf_model_files files;
    assert_int_equal(rf_model_files_open(&files, "/nowhere/model", NULL), RF_ERROR_IO);
    fill_model(&model, &small_sizes, 1);
    drop_written(&model, "lm_head.weight");
    assert_int_equal(open_written(NULL, NULL), RF_ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_model_binds_every_weight),
        cmocka_unit_test(forgotten_pages_read_the_same),
        cmocka_unit_test(untied_single_file_opens),
        cmocka_unit_test(sharded_model_opens),
        cmocka_unit_test(f16_and_f32_beside_bf16_open),
        cmocka_unit_test(tied_model_with_a_head_opens_with_a_warning),
        cmocka_unit_test(tied_model_with_a_head_of_another_shape_is_refused),
        cmocka_unit_test(rotary_tables_are_ignored_with_a_warning),
        cmocka_unit_test(wrong_dtype_is_refused),
        cmocka_unit_test(wrong_shape_is_refused),
        cmocka_unit_test(wrong_number_of_columns_is_refused),
        cmocka_unit_test(transposed_matrix_is_refused),
        cmocka_unit_test(wrong_rank_is_refused),
        cmocka_unit_test(flattened_matrix_is_refused),
        cmocka_unit_test(embedding_and_vocabulary_that_disagree_are_refused),
        cmocka_unit_test(head_and_vocabulary_that_disagree_are_refused),
        cmocka_unit_test(missing_tensor_is_refused),
        cmocka_unit_test(missing_head_of_an_untied_model_is_refused),
        cmocka_unit_test(missing_tensor_of_a_sharded_model_is_refused),
        cmocka_unit_test(surplus_tensor_is_refused),
        cmocka_unit_test(more_layers_than_the_config_says_are_refused),
        cmocka_unit_test(fewer_layers_than_the_config_says_are_refused),
        cmocka_unit_test(absent_head_dim_must_still_fit_the_tensors),
        cmocka_unit_test(index_naming_a_missing_shard_is_refused),
        cmocka_unit_test(index_naming_a_path_is_refused),
        cmocka_unit_test(index_without_a_weight_map_is_refused),
        cmocka_unit_test(index_naming_a_tensor_that_its_shard_lacks_is_refused),
        cmocka_unit_test(tensor_that_the_index_omits_is_refused),
        cmocka_unit_test(tensor_held_by_two_shards_is_refused),
        cmocka_unit_test(single_file_goes_before_an_index_with_a_warning),
        cmocka_unit_test(missing_folder_is_refused),
        cmocka_unit_test(file_instead_of_a_folder_is_refused),
        cmocka_unit_test(folder_without_a_config_is_refused),
        cmocka_unit_test(folder_without_weights_is_refused),
        cmocka_unit_test(weights_that_are_no_regular_file_are_refused),
        cmocka_unit_test(truncated_weights_are_refused),
        cmocka_unit_test(errors_need_no_error_struct),
    };
    return cmocka_run_group_tests_name("loader/model_files", tests, NULL, NULL);
}
