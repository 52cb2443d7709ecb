/* loader/config: every field that the engine relies on, and every configuration that it must not run. */
#include "loader/config.h"
#include "model_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum rf_status parse_with(struct rf_model_config *config, const char *key, const char *value,
                                 struct rf_error *err)
{
    char *text = make_config(&small_sizes, key, value);
    enum rf_status status = rf_config_parse(config, "config.json", text, strlen(text), err);
    free(text);
    return status;
}

/* ---- Refused ------------------------------------------------------------------------------------------- */

struct bad_member {
    const char *name;        /* of the test */
    const char *key, *value; /* value NULL: left out */
    enum rf_status status;
    const char *words[2]; /* found and wanted, both with the field's name */
};

#define NUMBER_CASES(key, max)                                                                               \
    {key " absent is refused", key, NULL, RF_ERROR_FORMAT, {key " is nothing", "from 1 to " max}},           \
        {key " null is refused", key, "null", RF_ERROR_FORMAT, {key " is null", "from 1 to " max}},          \
        {key " negative is refused", key, "-8", RF_ERROR_FORMAT, {key " is -8", "from 1 to " max}},          \
        {key " zero is refused", key, "0", RF_ERROR_FORMAT, {key " is 0", "from 1 to " max}},                \
        {key " huge is refused", key, "1e18", RF_ERROR_FORMAT, {key " is 1e+18", "from 1 to " max}},         \
        {key " infinite is refused", key, "1e999", RF_ERROR_FORMAT, {key " is inf", "from 1 to " max}},      \
        {key " fractional is refused", key, "8.5", RF_ERROR_FORMAT, {key " is 8.5", "from 1 to " max}},      \
        {key " as a string is refused", key, "\"8\"", RF_ERROR_FORMAT, {key " is \"8\"", "from 1 to " max}}, \
    {                                                                                                        \
        key " NaN is refused", key, "NaN", RF_ERROR_FORMAT,                                                  \
        {                                                                                                    \
            "after \"" key "\"", "NaN or Infinity, wanted a number"                                          \
        }                                                                                                    \
    }

static const struct bad_member bad_members[] = {
    NUMBER_CASES("num_hidden_layers", "1024"),
    NUMBER_CASES("hidden_size", "65536"),
    NUMBER_CASES("num_attention_heads", "1024"),
    NUMBER_CASES("num_key_value_heads", "1024"),
    NUMBER_CASES("intermediate_size", "1048576"),
    NUMBER_CASES("vocab_size", "16777216"),
    NUMBER_CASES("max_position_embeddings", "16777216"),
    {"refusion_preset as a number is refused",
     "refusion_preset",
     "32",
     RF_ERROR_FORMAT,
     {"refusion_preset is 32", "wanted a string"}},
    {"refusion_preset empty is refused",
     "refusion_preset",
     "\"\"",
     RF_ERROR_FORMAT,
     {"refusion_preset is \"\"", "a name of 1 to 15 bytes"}},
    {"refusion_preset of 16 bytes is refused",
     "refusion_preset",
     "\"sixteen-letters-\"",
     RF_ERROR_FORMAT,
     {"refusion_preset is \"sixteen-letters-\"", "a name of 1 to 15 bytes"}},
    {"head_dim null is refused", "head_dim", "null", RF_ERROR_FORMAT, {"head_dim is null", "from 1 to 256"}},
    {"head_dim 512 is refused", "head_dim", "512", RF_ERROR_FORMAT, {"head_dim is 512", "from 1 to 256"}},
    {"head_dim 12 is refused", "head_dim", "12", RF_ERROR_UNSUPPORTED, {"head_dim is 12", "a multiple of 8"}},
    {"head_dim odd is refused", "head_dim", "7", RF_ERROR_UNSUPPORTED, {"head_dim is 7", "a multiple of 8"}},
    {"hidden_size 20 is refused",
     "hidden_size",
     "20",
     RF_ERROR_UNSUPPORTED,
     {"hidden_size is 20", "a multiple of 8"}},
    {"intermediate_size 30 is refused",
     "intermediate_size",
     "30",
     RF_ERROR_UNSUPPORTED,
     {"intermediate_size is 30", "a multiple of 8"}},
    {"heads that kv heads do not divide are refused",
     "num_key_value_heads",
     "3",
     RF_ERROR_UNSUPPORTED,
     {"num_attention_heads is 4", "a multiple of 3 (num_key_value_heads)"}},
    {"more kv heads than heads are refused",
     "num_key_value_heads",
     "8",
     RF_ERROR_UNSUPPORTED,
     {"num_attention_heads is 4", "a multiple of 8"}},
    {"rms_norm_eps absent is refused",
     "rms_norm_eps",
     NULL,
     RF_ERROR_FORMAT,
     {"rms_norm_eps is nothing", "a number"}},
    {"rms_norm_eps negative is refused",
     "rms_norm_eps",
     "-1e-6",
     RF_ERROR_FORMAT,
     {"rms_norm_eps is -", "a number"}},
    {"rms_norm_eps zero is refused",
     "rms_norm_eps",
     "0",
     RF_ERROR_FORMAT,
     {"rms_norm_eps is 0", "from 1e-30 to 0.1"}},
    {"rms_norm_eps huge is refused",
     "rms_norm_eps",
     "7",
     RF_ERROR_FORMAT,
     {"rms_norm_eps is 7", "from 1e-30 to 0.1"}},
    {"rms_norm_eps NaN is refused",
     "rms_norm_eps",
     "NaN",
     RF_ERROR_FORMAT,
     {"after \"rms_norm_eps\"", "wanted a number"}},
    {"rope_theta absent is refused",
     "rope_theta",
     NULL,
     RF_ERROR_FORMAT,
     {"rope_theta is nothing", "a number"}},
    {"rope_theta zero is refused",
     "rope_theta",
     "0",
     RF_ERROR_FORMAT,
     {"rope_theta is 0", "from 1 to 1e+12"}},
    {"rope_theta infinite is refused",
     "rope_theta",
     "1e400",
     RF_ERROR_FORMAT,
     {"rope_theta is inf", "from 1 to"}},
    {"rope_theta as a string is refused",
     "rope_theta",
     "\"1e6\"",
     RF_ERROR_FORMAT,
     {"rope_theta is \"1e6\"", "a number"}},
    {"another model_type is refused",
     "model_type",
     "\"llama\"",
     RF_ERROR_UNSUPPORTED,
     {"model_type is \"llama\"", "\"qwen3\" or \"refusion\""}},
    {"the MoE model_type is refused",
     "model_type",
     "\"qwen3_moe\"",
     RF_ERROR_UNSUPPORTED,
     {"model_type is \"qwen3_moe\"", "\"qwen3\""}},
    {"model_type absent is refused",
     "model_type",
     NULL,
     RF_ERROR_UNSUPPORTED,
     {"model_type is nothing", "\"qwen3\""}},
    {"another architecture is refused",
     "architectures",
     "[\"LlamaForCausalLM\"]",
     RF_ERROR_UNSUPPORTED,
     {"architectures names \"LlamaForCausalLM\"", "\"Qwen3ForCausalLM\""}},
    {"a longer architecture name is refused",
     "architectures",
     "[\"Qwen3ForCausalLMWithHead\"]",
     RF_ERROR_UNSUPPORTED,
     {"architectures names \"Qwen3ForCausalLMWithHead\"", "\"Qwen3ForCausalLM\""}},
    {"architectures absent is refused",
     "architectures",
     NULL,
     RF_ERROR_FORMAT,
     {"architectures is nothing", "array"}},
    {"two architectures are refused",
     "architectures",
     "[\"Qwen3ForCausalLM\", \"Qwen3ForCausalLM\"]",
     RF_ERROR_FORMAT,
     {"architectures is of another length", "one name"}},
    {"architecture that is a number is refused",
     "architectures",
     "[3]",
     RF_ERROR_UNSUPPORTED,
     {"architectures names 3", "\"Qwen3ForCausalLM\""}},
    {"rope_scaling yarn is refused",
     "rope_scaling",
     "{\"rope_type\": \"yarn\", \"factor\": 4.0}",
     RF_ERROR_UNSUPPORTED,
     {"rope_scaling.rope_type is \"yarn\"", "\"default\""}},
    {"rope_scaling linear, old spelling, is refused",
     "rope_scaling",
     "{\"type\": \"linear\", \"factor\": 2.0}",
     RF_ERROR_UNSUPPORTED,
     {"rope_scaling.rope_type is \"linear\"", "\"default\""}},
    {"rope_scaling without a type is refused",
     "rope_scaling",
     "{\"factor\": 2.0}",
     RF_ERROR_UNSUPPORTED,
     {"rope_scaling.rope_type is nothing", "\"default\""}},
    {"rope_scaling as a number is refused",
     "rope_scaling",
     "2",
     RF_ERROR_FORMAT,
     {"rope_scaling is 2", "null or an object"}},
    {"rope_parameters yarn is refused",
     "rope_parameters",
     "{\"rope_type\": \"yarn\"}",
     RF_ERROR_UNSUPPORTED,
     {"rope_parameters.rope_type is \"yarn\"", "\"default\""}},
    {"attention_bias is refused",
     "attention_bias",
     "true",
     RF_ERROR_UNSUPPORTED,
     {"attention_bias is true", "false"}},
    {"attention_bias as a number is refused",
     "attention_bias",
     "0",
     RF_ERROR_FORMAT,
     {"attention_bias is 0", "true or false"}},
    {"sliding window is refused",
     "use_sliding_window",
     "true",
     RF_ERROR_UNSUPPORTED,
     {"use_sliding_window is true", "false"}},
    {"sliding layers are refused",
     "layer_types",
     "[\"full_attention\", \"sliding_attention\"]",
     RF_ERROR_UNSUPPORTED,
     {"layer_types holds \"sliding_attention\"", "\"full_attention\""}},
    {"layer_types of another length are refused",
     "layer_types",
     "[\"full_attention\"]",
     RF_ERROR_FORMAT,
     {"layer_types is of another length", "2 names"}},
    {"another activation is refused",
     "hidden_act",
     "\"gelu\"",
     RF_ERROR_UNSUPPORTED,
     {"hidden_act is \"gelu\"", "\"silu\""}},
    {"activation absent is refused",
     "hidden_act",
     NULL,
     RF_ERROR_UNSUPPORTED,
     {"hidden_act is nothing", "\"silu\""}},
    {"quantised weights are refused",
     "quantization_config",
     "{\"quant_method\": \"fp8\"}",
     RF_ERROR_UNSUPPORTED,
     {"quantization_config is present", "unquantised"}},
    {"unknown torch_dtype is refused",
     "torch_dtype",
     "\"float8_e4m3fn\"",
     RF_ERROR_UNSUPPORTED,
     {"torch_dtype is \"float8_e4m3fn\"", "bfloat16, float16 or float32"}},
    {"tie_word_embeddings as a string is refused",
     "tie_word_embeddings",
     "\"yes\"",
     RF_ERROR_FORMAT,
     {"tie_word_embeddings is \"yes\"", "true or false"}},
    {"mask token outside the vocabulary is refused",
     "mask_token_id",
     "11",
     RF_ERROR_FORMAT,
     {"mask_token_id is 11", "below vocab_size 11"}},
    {"mask token negative is refused",
     "mask_token_id",
     "-1",
     RF_ERROR_FORMAT,
     {"mask_token_id is -1", "a token id"}},
    {"bos token outside the vocabulary is refused",
     "bos_token_id",
     "151643",
     RF_ERROR_FORMAT,
     {"bos_token_id is 151643", "below vocab_size 11"}},
    {"eos token outside the vocabulary is refused",
     "eos_token_id",
     "[9, 11]",
     RF_ERROR_FORMAT,
     {"eos_token_id is 11", "below vocab_size 11"}},
    {"eos token as a string is refused",
     "eos_token_id",
     "\"<|im_end|>\"",
     RF_ERROR_FORMAT,
     {"eos_token_id is \"<|im_end|>\"", "a token id"}},
    {"eight eos tokens are refused",
     "eos_token_id",
     "[0, 1, 2, 3, 4, 5, 6, 7]",
     RF_ERROR_UNSUPPORTED,
     {"eos_token_id lists more than 7", "at most 7"}},
};

static void refuses(void **state)
{
    const struct bad_member *bad = *state;
    struct rf_model_config config;
    struct rf_error err = {0};
    enum rf_status status = parse_with(&config, bad->key, bad->value, &err);
    ASSERT_FAILURE(status, err, bad->status, "config.json: ", "wanted", bad->words[0], bad->words[1]);
}

/* ---- Accepted ------------------------------------------------------------------------------------------ */

static void every_field_is_read(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    assert_int_equal(parse_with(&c, NULL, NULL, &err), RF_OK);
    assert_int_equal(c.layers, 2);
    assert_int_equal(c.hidden, 16);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.kv_heads, 2);
    assert_int_equal(c.head_dim, 8);
    assert_int_equal(c.ffn, 24);
    assert_int_equal(c.vocab, 11);
    assert_int_equal(c.max_position_embeddings, 4096);
    assert_true(c.rms_norm_eps == 1e-6);
    assert_true(c.rope_theta == 1e6);
    assert_false(c.tie_word_embeddings);
    assert_int_equal(c.mask_token_id, 10);
    assert_int_equal(c.torch_dtype, RF_DTYPE_BF16);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos_tokens[0], 9);
    assert_string_equal(c.preset, "");
    assert_int_equal(parse_with(&c, "refusion_preset", "\"tiny\"", &err), RF_OK);
    assert_string_equal(c.preset, "tiny");
}

static void published_refusion_numbers_are_read(void **state)
{
    (void)state;
    char *text = make_config(&refusion_sizes, "eos_token_id", "151645");
    struct rf_model_config c;
    struct rf_error err = {0};
    assert_int_equal(rf_config_parse(&c, "config.json", text, strlen(text), &err), RF_OK);
    assert_int_equal(c.vocab, 151671);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.eos_tokens[0], 151645);
    free(text);
}

static void accepts(void **state)
{
    const struct bad_member *good = *state;
    struct rf_model_config config;
    struct rf_error err = {0};
    if (parse_with(&config, good->key, good->value, &err))
        fail_msg("refused: %s", err.message);
}

static const struct bad_member good_members[] = {
    {.name = "a preset of a later version is accepted",
     .key = "refusion_preset",
     .value = "\"fifteen-letters\""},
    {.name = "custom code named ReFusion is accepted",
     .key = "architectures",
     .value = "[\"ReFusionModelLM\"]"},
    {.name = "auto_map is accepted", .key = "auto_map", .value = "{\"AutoModel\": \"modeling.ReFusion\"}"},
    {.name = "model_type refusion is accepted", .key = "model_type", .value = "\"refusion\""},
    {.name = "default rope_scaling is accepted",
     .key = "rope_scaling",
     .value = "{\"rope_type\": \"default\"}"},
    {.name = "old spelling of default rope_scaling is accepted",
     .key = "rope_scaling",
     .value = "{\"type\": \"default\"}"},
    {.name = "rope_scaling absent is accepted", .key = "rope_scaling"},
    {.name = "attention_bias absent is accepted", .key = "attention_bias"},
    {.name = "torch_dtype absent is accepted", .key = "torch_dtype"},
    {.name = "full attention layers are accepted",
     .key = "layer_types",
     .value = "[\"full_attention\", \"full_attention\"]"},
    {.name = "unknown members are accepted", .key = "transformers_version", .value = "\"4.52.4\""},
};

static void mask_token_absent_gives_none(void **state)
{
    (void)state;
    struct rf_model_config config;
    struct rf_error err = {0};
    assert_int_equal(parse_with(&config, "mask_token_id", NULL, &err), RF_OK);
    assert_int_equal(config.mask_token_id, UINT32_MAX);
}

static void head_dim_absent_gives_128(void **state)
{
    (void)state;
    struct rf_model_config config;
    struct rf_error err = {0};
    assert_int_equal(parse_with(&config, "head_dim", NULL, &err), RF_OK);
    assert_int_equal(config.head_dim, 128);
}

static void rope_theta_is_read_from_rope_parameters(void **state)
{
    (void)state;
    char *text = make_config(&small_sizes, "rope_theta", NULL);
    char *end = strrchr(text, '}');
    strcpy(end, ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5000}}");
    struct rf_model_config config;
    struct rf_error err = {0};
    assert_int_equal(rf_config_parse(&config, "config.json", text, strlen(text), &err), RF_OK);
    assert_true(config.rope_theta == 5000.0);
    strcpy(end, ", \"rope_parameters\": {\"rope_type\": \"default\"}}");
    ASSERT_FAILURE(rf_config_parse(&config, "config.json", text, strlen(text), &err), err, RF_ERROR_FORMAT,
                   "rope_parameters.rope_theta is nothing");
    free(text);
}

static void config_that_is_an_array_is_refused(void **state)
{
    (void)state;
    struct rf_model_config config;
    struct rf_error err = {0};
    ASSERT_FAILURE(rf_config_parse(&config, "config.json", "[]", 2, &err), err, RF_ERROR_FORMAT,
                   "config.json: holds an array, wanted a JSON object");
}

/* ---- generation_config.json ---------------------------------------------------------------------------- */

static enum rf_status load_with_generation(struct rf_model_config *config, const char *generation,
                                           struct rf_error *err)
{
    struct folder folder = make_folder();
    char *text = make_config(&small_sizes, NULL, NULL);
    write_text(&folder, "config.json", text);
    if (generation)
        write_text(&folder, "generation_config.json", generation);
    enum rf_status status = rf_config_load(config, folder.path, err);
    free(text);
    remove_folder(&folder);
    return status;
}

static void generation_config_lists_each_eos_once(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    assert_int_equal(load_with_generation(&c, "{\"eos_token_id\": [8, 6, 8, 9]}", &err), RF_OK);
    assert_int_equal(c.eos_count, 3);
    assert_int_equal(c.eos_tokens[0], 8);
    assert_int_equal(c.eos_tokens[1], 6);
    assert_int_equal(c.eos_tokens[2], 9);
}

static void generation_config_may_give_one_number(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    assert_int_equal(load_with_generation(&c, "{\"eos_token_id\": 8}", &err), RF_OK);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos_tokens[0], 8);
}

static void generation_config_without_eos_lists_none(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    assert_int_equal(load_with_generation(&c, "{\"do_sample\": true}", &err), RF_OK);
    assert_int_equal(c.eos_count, 0);
}

static void generation_config_absent_leaves_the_eos_of_config(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    assert_int_equal(load_with_generation(&c, NULL, &err), RF_OK);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos_tokens[0], 9);
}

static void generation_config_with_a_foreign_eos_is_refused(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    ASSERT_FAILURE(load_with_generation(&c, "{\"eos_token_id\": [8, 151645]}", &err), err, RF_ERROR_FORMAT,
                   "generation_config.json: eos_token_id is 151645, wanted a token id below vocab_size 11");
}

static void generation_config_that_is_damaged_is_refused(void **state)
{
    (void)state;
    struct rf_model_config c;
    struct rf_error err = {0};
    ASSERT_FAILURE(load_with_generation(&c, "{\"eos_token_id\": [8", &err), err, RF_ERROR_FORMAT,
                   "generation_config.json: line 1, column 20", "not valid JSON");
    ASSERT_FAILURE(load_with_generation(&c, "", &err), err, RF_ERROR_IO,
                   "generation_config.json: the file is empty");
}

int main(void)
{
    enum {
        BAD = sizeof bad_members / sizeof bad_members[0],
        GOOD = sizeof good_members / sizeof good_members[0]
    };
    static const struct CMUnitTest fixed[] = {
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(published_refusion_numbers_are_read),
        cmocka_unit_test(mask_token_absent_gives_none),
        cmocka_unit_test(head_dim_absent_gives_128),
        cmocka_unit_test(rope_theta_is_read_from_rope_parameters),
        cmocka_unit_test(config_that_is_an_array_is_refused),
        cmocka_unit_test(generation_config_lists_each_eos_once),
        cmocka_unit_test(generation_config_may_give_one_number),
        cmocka_unit_test(generation_config_without_eos_lists_none),
        cmocka_unit_test(generation_config_absent_leaves_the_eos_of_config),
        cmocka_unit_test(generation_config_with_a_foreign_eos_is_refused),
        cmocka_unit_test(generation_config_that_is_damaged_is_refused),
    };
    enum { FIXED = sizeof fixed / sizeof fixed[0] };
    struct CMUnitTest tests[FIXED + BAD + GOOD];
    memcpy(tests, fixed, sizeof fixed);
    for (size_t i = 0; i < BAD; i++)
        tests[FIXED + i] =
            (struct CMUnitTest){bad_members[i].name, refuses, NULL, NULL, (void *)(uintptr_t)&bad_members[i]};
    for (size_t i = 0; i < GOOD; i++)
        tests[FIXED + BAD + i] = (struct CMUnitTest){good_members[i].name, accepts, NULL, NULL,
                                                     (void *)(uintptr_t)&good_members[i]};
    return cmocka_run_group_tests_name("loader/config", tests, NULL, NULL);
}
