/* One damaged or unsupported tokenizer file after the other: each is refused with one line that names file,
 * field, what was found and what was wanted. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A change to tests/golden/tiny, and the message that it must bring. `path` NULL: `value` is the file's whole
 * text. */
struct damage {
    const char *path, *value;
    enum rf_status status;
    const char *message;
};

static void assert_refused(const struct folder *folder, enum rf_status status, const char *message)
{
    struct rf_error err = {0};
    rf_tokenizer *tokenizer = NULL;
    enum rf_status found = folder_load(folder, &tokenizer, &err);
    if (found == RF_OK)
        fail_msg("accepted, wanted: %s", message);
    assert_string_equal(err.message, message);
    assert_int_equal(found, status);
    assert_int_equal(err.status, status);
    assert_null(tokenizer);
    assert_int_equal(folder_load(folder, &tokenizer, NULL), status); /* without a place for the message */
}

static void check_damages(bool parts, enum rf_tokenizer_file file, const struct damage *damages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct folder folder = tiny_folder(parts);
        if (damages[i].path)
            folder_edit(&folder, file, damages[i].path, damages[i].value);
        else
            folder_set(&folder, file, damages[i].value);
        assert_refused(&folder, damages[i].status, damages[i].message);
        folder_free(&folder);
    }
}
#define CHECK(parts, file, list) check_damages(parts, file, list, sizeof list / sizeof *list)

static void test_tokenizer_json_settings(void **state)
{
    (void)state;
#define FILE_NAME  "m/tokenizer.json: "
#define FIRST      "pre_tokenizer.pretokenizers.0."
#define FIRST_SAID "pre_tokenizer.pretokenizers[0]."
    static const struct damage list[] = {
        {"version", "\"2.0\"", RF_ERROR_UNSUPPORTED, FILE_NAME "version is \"2.0\", wanted \"1.0\""},
        {"truncation", "{\"max_length\": 9}", RF_ERROR_UNSUPPORTED,
         FILE_NAME "truncation is an object, wanted null (it is not supported)"},
        {"padding", "{}", RF_ERROR_UNSUPPORTED,
         FILE_NAME "padding is an object, wanted null (it is not supported)"},
        {"surprise", "1", RF_ERROR_UNSUPPORTED, FILE_NAME "surprise is not a known field"},
        {"normalizer", "null", RF_ERROR_FORMAT, FILE_NAME "normalizer is nothing, wanted an object"},
        {"normalizer.type", "\"NFKC\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "normalizer.type is \"NFKC\", wanted \"NFC\""},
        {"normalizer.more", "1", RF_ERROR_UNSUPPORTED, FILE_NAME "normalizer.more is not a known field"},
        {"pre_tokenizer", "{\"type\": \"ByteLevel\"}", RF_ERROR_UNSUPPORTED,
         FILE_NAME "pre_tokenizer.type is \"ByteLevel\", wanted \"Sequence\""},
        {"pre_tokenizer.pretokenizers.1", NULL, RF_ERROR_UNSUPPORTED,
         FILE_NAME "pre_tokenizer.pretokenizers is another list, wanted the two objects Split and ByteLevel"},
        {FIRST "type", "\"Digits\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME FIRST_SAID "type is \"Digits\", wanted \"Split\""},
        {FIRST "behavior", "\"Removed\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME FIRST_SAID "behavior is \"Removed\", wanted \"Isolated\""},
        {FIRST "invert", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME FIRST_SAID "invert is true, wanted null (it is not supported)"},
        {FIRST "pattern", "{\"String\": \" \"}", RF_ERROR_UNSUPPORTED,
         FILE_NAME FIRST_SAID "pattern.String is not a known field"},
        {FIRST "pattern", "{}", RF_ERROR_UNSUPPORTED,
         FILE_NAME FIRST_SAID "pattern.Regex is nothing, wanted a pattern"},
        {FIRST "pattern.Regex", "\"a(\"", RF_ERROR_FORMAT,
         FILE_NAME FIRST_SAID "pattern.Regex: the pattern does not compile: missing closing parenthesis"},
        {FIRST "pattern.Regex", "\"\\\\w+\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME FIRST_SAID "pattern.Regex: the pattern holds \"\\w\" at byte 0, which is not supported"},
        {"pre_tokenizer.pretokenizers.1.add_prefix_space", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "pre_tokenizer.pretokenizers[1].add_prefix_space is true, wanted false"},
        {"pre_tokenizer.pretokenizers.1.use_regex", NULL, RF_ERROR_UNSUPPORTED,
         FILE_NAME "pre_tokenizer.pretokenizers[1].use_regex is nothing, wanted false"},
        {"post_processor", "{\"type\": \"TemplateProcessing\"}", RF_ERROR_UNSUPPORTED,
         FILE_NAME "post_processor.type is \"TemplateProcessing\", wanted \"ByteLevel\""},
        {"decoder", NULL, RF_ERROR_FORMAT, FILE_NAME "decoder is nothing, wanted an object"},
        {"decoder.type", "\"Metaspace\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "decoder.type is \"Metaspace\", wanted \"ByteLevel\""},
        {"model", "[]", RF_ERROR_FORMAT, FILE_NAME "model is an array, wanted an object"},
        {"model.type", "\"Unigram\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.type is \"Unigram\", wanted \"BPE\""},
        {"model.dropout", "0.1", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.dropout is 0.10000000000000001, wanted null (it is not supported)"},
        {"model.unk_token", "\"<unk>\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.unk_token is \"<unk>\", wanted null (it is not supported)"},
        {"model.continuing_subword_prefix", "\"##\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.continuing_subword_prefix is \"##\", wanted null (it is not supported)"},
        {"model.end_of_word_suffix", "\"</w>\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.end_of_word_suffix is \"</w>\", wanted null (it is not supported)"},
        {"model.fuse_unk", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.fuse_unk is true, wanted null (it is not supported)"},
        {"model.byte_fallback", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.byte_fallback is true, wanted null (it is not supported)"},
        {"model.ignore_merges", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "model.ignore_merges is true, wanted null (it is not supported)"},
        {"model.cache", "9", RF_ERROR_UNSUPPORTED, FILE_NAME "model.cache is not a known field"},
    };
    CHECK(false, RF_TOKENIZER_JSON, list);
}

static void test_tokenizer_json_tokens(void **state)
{
    (void)state;
    static const struct damage list[] = {
        {NULL, "", RF_ERROR_FORMAT, FILE_NAME "line 1, column 1: not valid JSON: a value was wanted here"},
        {NULL, "[1]", RF_ERROR_FORMAT, FILE_NAME "found an array, wanted an object"},
        {NULL, "{\"version\": \"1.0", RF_ERROR_FORMAT,
         FILE_NAME "line 1, column 17, after \"version\": not valid JSON: the text ends inside a string"},
        {NULL, "{\"version\": \"\xFF\"}", RF_ERROR_FORMAT,
         FILE_NAME "line 1, column 14, after \"version\": not valid JSON: invalid UTF-8 in a string"},
        {"model.vocab", "[]", RF_ERROR_FORMAT, FILE_NAME "model.vocab is an array, wanted an object"},
        {"model.vocab", "{}", RF_ERROR_FORMAT, FILE_NAME "model.vocab: the vocabulary is empty"},
        {"model.vocab.re", "\"x\"", RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: \"re\" is \"x\", wanted a token id (a whole number)"},
        {"model.vocab.re", "-1", RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: \"re\" is -1, wanted a token id (a whole number)"},
        {"model.vocab.re", "1.5", RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: \"re\" is 1.5, wanted a token id (a whole number)"},
        {"model.vocab.re", "4000000000", RF_ERROR_FORMAT,
         FILE_NAME
         "model.vocab: the highest id is 4000000000 with only 671 tokens, wanted ids without holes"},
        {"model.vocab.new", "5", RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: id 5 is given to both \"&\" and \"new\", wanted one token per id"},
        {"model.vocab.new", "667", RF_ERROR_FORMAT,
         FILE_NAME
         "id 667 is given to both \"new\" and the added token \"<|im_start|>\", wanted one token per id"},
        {"model.vocab.ab c", "666", RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: token \"ab c\" (id 666) is not written in the byte-level alphabet"},
        {"model.vocab.\n", "666", RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: token \"\\x0A\" (id 666) is not written in the byte-level alphabet"},
        {"model.vocab.!", NULL, RF_ERROR_FORMAT,
         FILE_NAME "model.vocab: no token has id 0, wanted ids without holes up to 665"},
        {"model.vocab.<|im_end|>", "666", RF_ERROR_FORMAT,
         FILE_NAME
         "id 666 is given to both \"<|im_end|>\" and the added token \"<|endoftext|>\", wanted one token per "
         "id"},
        {"added_tokens", "{}", RF_ERROR_FORMAT, FILE_NAME "added_tokens is an object, wanted an array"},
        {"added_tokens.0", "1", RF_ERROR_FORMAT, FILE_NAME "added_tokens[0] is 1, wanted an object"},
        {"added_tokens.0.id", "\"a\"", RF_ERROR_FORMAT,
         FILE_NAME "added_tokens[0].id is \"a\", wanted a whole number from 0 to 4294967294"},
        {"added_tokens.0.content", NULL, RF_ERROR_FORMAT,
         FILE_NAME "added_tokens[0].content is missing, wanted the token's text"},
        {"added_tokens.5", "{\"id\": 671, \"content\": \"\"}", RF_ERROR_FORMAT,
         FILE_NAME "added token 671 is empty, wanted some text"},
        {"added_tokens.0.lstrip", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "added_tokens[0].lstrip is true (token \"<|endoftext|>\"), which is not supported"},
        {"added_tokens.1.rstrip", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "added_tokens[1].rstrip is true (token \"<|im_start|>\"), which is not supported"},
        {"added_tokens.4.single_word", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "added_tokens[4].single_word is true (token \"<|mask|>\"), which is not supported"},
        {"added_tokens.4.normalized", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "added_tokens[4].normalized is true (token \"<|mask|>\"), which is not supported"},
        {"added_tokens.4.flag", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "added_tokens[4].flag is not a known field"},
        {"added_tokens.5", "{\"id\": 669, \"content\": \"<new>\"}", RF_ERROR_FORMAT,
         FILE_NAME "id 669 is given to both \"<|beginoftext|>\" and the added token \"<new>\", wanted one "
                   "token per id"},
        {"added_tokens.5", "{\"id\": 671, \"content\": \"<|mask|>\"}", RF_ERROR_FORMAT,
         FILE_NAME "added token \"<|mask|>\" has id 671, but m/tokenizer.json gives it 670, wanted one id"},
        {"added_tokens.5", "{\"id\": 671, \"content\": \"re\"}", RF_ERROR_FORMAT,
         FILE_NAME "added token \"re\" has id 671, but m/tokenizer.json: model.vocab: gives it id 257"},
        {"added_tokens.5", "{\"id\": 1000000, \"content\": \"<far>\"}", RF_ERROR_FORMAT,
         FILE_NAME "added token id 1000000 is too high for 672 tokens, wanted below 66208"},
        {"added_tokens.5", "{\"id\": 0, \"content\": \"!\", \"special\": true}", RF_ERROR_FORMAT,
         FILE_NAME
         "model.vocab: the token of byte 0x21 (id 0) is also a control token, so that plain text would "
         "produce it"},
    };
    CHECK(false, RF_TOKENIZER_JSON, list);
}

static void test_tokenizer_json_merges(void **state)
{
    (void)state;
    static const struct damage list[] = {
        {"model.merges", "{}", RF_ERROR_FORMAT, FILE_NAME "model.merges is an object, wanted an array"},
        {"model.merges.0", "7", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[0] is 7, wanted \"a b\" or [\"a\", \"b\"]"},
        {"model.merges.1", "\"re\"", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1] is \"re\", wanted \"a b\" or [\"a\", \"b\"]"},
        {"model.merges.1", "\"r e s\"", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1] is \"r e s\", wanted \"a b\" or [\"a\", \"b\"]"},
        {"model.merges.1", "[\"r\"]", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1] is an array, wanted \"a b\" or [\"a\", \"b\"]"},
        {"model.merges.1", "[\"r\", \"e\", \"s\"]", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1] is an array, wanted \"a b\" or [\"a\", \"b\"]"},
        {"model.merges.1", "\"zzz e\"", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1]: \"zzz\" is not in the vocabulary"},
        {"model.merges.1", "[\"r\", \"\"]", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1]: \"\" is not in the vocabulary"},
        {"model.merges.1", "\"q z\"", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1]: \"qz\" is what the merge makes, but it is not in the vocabulary"},
        {"model.merges.9", "\"r e\"", RF_ERROR_FORMAT,
         FILE_NAME
         "model.merges[9]: \"re\" comes from a pair that an earlier merge has too, wanted each pair once"},
        {"added_tokens.5", "{\"id\": 257, \"content\": \"re\", \"special\": true}", RF_ERROR_FORMAT,
         FILE_NAME "model.merges[1]: \"re\" is a control token, and a merge would let plain text produce it"},
    };
    CHECK(false, RF_TOKENIZER_JSON, list);
}
#undef FILE_NAME

static void test_config(void **state)
{
    (void)state;
#define FILE_NAME "m/tokenizer_config.json: "
    static const struct damage list[] = {
        {"add_bos_token", "true", RF_ERROR_UNSUPPORTED, FILE_NAME "add_bos_token is true, wanted false"},
        {"add_eos_token", "true", RF_ERROR_UNSUPPORTED, FILE_NAME "add_eos_token is true, wanted false"},
        {"add_prefix_space", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "add_prefix_space is true, wanted false"},
        {"split_special_tokens", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "split_special_tokens is true, wanted false"},
        {"split_special_tokens", "1", RF_ERROR_FORMAT,
         FILE_NAME "split_special_tokens is 1, wanted true or false"},
        {"clean_up_tokenization_spaces", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME "clean_up_tokenization_spaces is true, wanted false"},
        {"errors", "\"strict\"", RF_ERROR_UNSUPPORTED, FILE_NAME "errors is \"strict\", wanted \"replace\""},
        {"tokenizer_class", "\"LlamaTokenizer\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "tokenizer_class is \"LlamaTokenizer\", wanted \"Qwen2Tokenizer\""},
        {"eos_token", "\"<eos>\"", RF_ERROR_FORMAT,
         FILE_NAME "eos_token is \"<eos>\", which is no added token"},
        {"mask_token", "\"re\"", RF_ERROR_FORMAT, FILE_NAME "mask_token is \"re\", which is no added token"},
        {"mask_token", "{\"special\": true}", RF_ERROR_FORMAT,
         FILE_NAME "mask_token is an object, wanted a token's text or an object with content"},
        {"added_tokens_decoder", "[]", RF_ERROR_FORMAT,
         FILE_NAME "added_tokens_decoder is an array, wanted an object"},
        {"added_tokens_decoder.x", "{}", RF_ERROR_FORMAT,
         FILE_NAME "added_tokens_decoder.x. is no token id with an object"},
        {"added_tokens_decoder.667.lstrip", "true", RF_ERROR_UNSUPPORTED,
         FILE_NAME
         "added_tokens_decoder.667.lstrip is true (token \"<|im_start|>\"), which is not supported"},
    };
    for (int parts = 0; parts < 2; parts++)
        CHECK(parts == 1, RF_TOKENIZER_CONFIG_JSON, (list));
    static const struct damage whole[] = {
        {"added_tokens_decoder.667.content", "\"<|mask|>\"", RF_ERROR_FORMAT,
         FILE_NAME "added token \"<|mask|>\" has id 667, but m/tokenizer.json gives it 670, wanted one id"},
        {"added_tokens_decoder.667.special", "false", RF_ERROR_FORMAT,
         FILE_NAME "added token \"<|im_start|>\" has special false, but m/tokenizer.json says true"},
        {"added_tokens_decoder.700", "{\"content\": \"<|mask|>\", \"special\": true}", RF_ERROR_FORMAT,
         FILE_NAME "added token \"<|mask|>\" has id 700, but m/tokenizer.json gives it 670, wanted one id"},
    };
    CHECK(false, RF_TOKENIZER_CONFIG_JSON, whole);
    static const struct damage in_parts[] = {
        {"added_tokens_decoder.667.content", "\"<|mask|>\"", RF_ERROR_FORMAT,
         FILE_NAME
         "added token \"<|mask|>\" has id 670, but m/tokenizer_config.json gives it 667, wanted one id"},
        {"tokenizer_class", "\"PreTrainedTokenizerFast\"", RF_ERROR_UNSUPPORTED,
         FILE_NAME "tokenizer_class is \"PreTrainedTokenizerFast\", wanted \"Qwen2Tokenizer\""},
    };
    CHECK(true, RF_TOKENIZER_CONFIG_JSON, in_parts);
}
#undef FILE_NAME

static void test_parts(void **state)
{
    (void)state;
    static const struct damage vocab[] = {
        {"re", "5", RF_ERROR_FORMAT,
         "m/vocab.json: id 5 is given to both \"&\" and \"re\", wanted one token per id"},
        {"re", "null", RF_ERROR_FORMAT, "m/vocab.json: \"re\" is null, wanted a token id (a whole number)"},
        {"re", "700000", RF_ERROR_FORMAT,
         "m/vocab.json: the highest id is 700000 with only 671 tokens, wanted ids without holes"},
        {NULL, "{\"a\": 0, \"a\": 1}", RF_ERROR_FORMAT,
         "m/vocab.json: a: the key appears twice in one object, wanted once"},
        {NULL, "{\"a\": 0}", RF_ERROR_FORMAT, "m/vocab.json: no token for byte 0x00, wanted all 256"},
    };
    CHECK(true, RF_VOCAB_JSON, vocab);
    static const struct damage added[] = {
        {"<|mask|>", "\"x\"", RF_ERROR_FORMAT,
         "m/added_tokens.json: \"<|mask|>\" is \"x\", wanted a token id"},
        {"<|mask|>", "671", RF_ERROR_FORMAT,
         "m/added_tokens.json: added token \"<|mask|>\" has id 671, but m/tokenizer_config.json gives it "
         "670, wanted one "
         "id"},
        {"<new>", "665", RF_ERROR_FORMAT,
         "m/added_tokens.json: id 665 is given to both \" less\" and the added token \"<new>\", wanted one "
         "token per id"},
        {NULL, "{", RF_ERROR_FORMAT,
         "m/added_tokens.json: line 1, column 2: not valid JSON: a key in quotes was wanted here"},
    };
    CHECK(true, RF_ADDED_TOKENS_JSON, added);
    static const struct damage merges[] = {
        {NULL, "#version: 0.2\nr e\nre\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 3 is \"re\", wanted two tokens with one space between"},
        {NULL, "r e\n\nt h\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 2 is \"\", wanted two tokens with one space between"},
        {NULL, "r e s\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 1 is \"r e s\", wanted two tokens with one space between"},
        {NULL, "r \n", RF_ERROR_FORMAT,
         "m/merges.txt: line 1 is \"r \", wanted two tokens with one space between"},
        {NULL, " e\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 1 is \" e\", wanted two tokens with one space between"},
        {NULL, "r e\nqq x\n", RF_ERROR_FORMAT, "m/merges.txt: line 2: \"qq\" is not in the vocabulary"},
        {NULL, "r e\nx qq\n", RF_ERROR_FORMAT, "m/merges.txt: line 2: \"qq\" is not in the vocabulary"},
        {NULL, "r e\nq z\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 2: \"qz\" is what the merge makes, but it is not in the vocabulary"},
        {NULL, "r e\r\nr e\r\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 2: \"re\" comes from a pair that an earlier merge has too, wanted each pair "
         "once"},
        {NULL, "r e\nt \xC4(\n", RF_ERROR_FORMAT,
         "m/merges.txt: line 2 holds invalid UTF-8 (byte 6 of the file)"},
    };
    CHECK(true, RF_MERGES_TXT, merges);
}

static void drop(struct folder *folder, enum rf_tokenizer_file file)
{
    free(folder->text[file]);
    folder->text[file] = NULL;
    folder->size[file] = 0;
}

static void test_missing_files(void **state)
{
    (void)state;
    struct folder folder = tiny_folder(true);
    drop(&folder, RF_MERGES_TXT);
    assert_refused(
        &folder, RF_ERROR_IO,
        "m: no merges.txt beside vocab.json, wanted tokenizer.json, or vocab.json with merges.txt");
    drop(&folder, RF_VOCAB_JSON);
    assert_refused(&folder, RF_ERROR_IO,
                   "m: no tokenizer, wanted tokenizer.json, or vocab.json with merges.txt");
    folder_free(&folder);
}

/* What is optional may be absent: then there is no eos, no mask and no template. */
static void test_optional_files(void **state)
{
    (void)state;
    struct folder folder = tiny_folder(true);
    drop(&folder, RF_TOKENIZER_CONFIG_JSON);
    rf_tokenizer *tokenizer = NULL;
    assert_int_equal(folder_load(&folder, &tokenizer, NULL), RF_OK);
    assert_int_equal(rf_tokenizer_eos(tokenizer), UINT32_MAX);
    assert_int_equal(rf_tokenizer_mask(tokenizer), UINT32_MAX);
    assert_int_equal(rf_tokenizer_template(tokenizer), RF_CHAT_NONE);
    assert_int_equal(rf_tokenizer_added(tokenizer, "<|mask|>"), 670);
    assert_false(rf_tokenizer_is_special(tokenizer, 670)); /* nothing says so */
    rf_tokenizer_destroy(tokenizer);
    drop(&folder, RF_ADDED_TOKENS_JSON);
    assert_int_equal(folder_load(&folder, &tokenizer, NULL), RF_OK);
    assert_int_equal(rf_tokenizer_vocab(tokenizer), 666);
    rf_tokenizer_destroy(tokenizer);
    folder_free(&folder);

    /* added_tokens.json without flags: special are those that the config names */
    folder = tiny_folder(true);
    folder_edit(&folder, RF_TOKENIZER_CONFIG_JSON, "added_tokens_decoder", NULL);
    folder_edit(&folder, RF_TOKENIZER_CONFIG_JSON, "eos_token", "{\"content\": \"<|im_end|>\"}");
    folder_edit(&folder, RF_TOKENIZER_CONFIG_JSON, "additional_special_tokens", "[\"<|im_start|>\"]");
    assert_int_equal(folder_load(&folder, &tokenizer, NULL), RF_OK);
    assert_int_equal(rf_tokenizer_eos(tokenizer), 668);
    assert_true(rf_tokenizer_is_special(tokenizer, 667) && rf_tokenizer_is_special(tokenizer, 668));
    assert_true(rf_tokenizer_is_special(tokenizer, 670)); /* mask_token */
    assert_false(rf_tokenizer_is_special(tokenizer, 669));
    rf_tokenizer_destroy(tokenizer);
    folder_free(&folder);
}

/* A vocabulary may list its added tokens, written plainly, and merges may be spelled either way. */
static void test_legal_variants(void **state)
{
    (void)state;
    struct folder folder = tiny_folder(false);
    rf_tokenizer *tokenizer = NULL;
    folder_edit(&folder, RF_TOKENIZER_JSON, "model.vocab.<|endoftext|>", "666");
    folder_edit(&folder, RF_TOKENIZER_JSON, "model.merges.1", "\"r e\"");
    folder_edit(&folder, RF_TOKENIZER_JSON, "added_tokens.5", "{\"id\": 672, \"content\": \"<｜a b｜>\"}");
    struct rf_error err = {0};
    if (folder_load(&folder, &tokenizer, &err))
        fail_msg("%s", err.message);
    assert_int_equal(rf_tokenizer_vocab(tokenizer), 673); /* 671 is a gap */
    assert_int_equal(rf_tokenizer_added(tokenizer, "<｜a b｜>"), 672);
    size_t count = 0;
    uint32_t *ids = encode(tokenizer, "re<｜a b｜>", strlen("re<｜a b｜>"), true, &count);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0], 257);
    assert_int_equal(ids[1], 672);
    rf_free(ids);
    rf_tokenizer_destroy(tokenizer);
    folder_free(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_json_settings),
        cmocka_unit_test(test_tokenizer_json_tokens),
        cmocka_unit_test(test_tokenizer_json_merges),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_optional_files),
        cmocka_unit_test(test_legal_variants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
