/* The real Qwen3 tokenizer with ReFusion's two tokens, by every route, against results of Hugging Face
 * tokenizers and jinja2. Exit status 77 (skipped) when its files are not there. Two routes are GGUF files:
 * one that this test makes from tokenizer.json as llama.cpp's converter does, and one that we write. */
#include "gguf_builder.h"
#include "loader/chat.h"
#include "loader/gguf_metadata.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FOLDERS = 3,
    BUILT = FOLDERS,
    WRITTEN,
    ROUTES,
    ROWS = 151936,
    VOCAB = 151671,
    MASK = 151670,
    IM_END = 151645,
    THINK = 151667
};
static const char *const route_names[ROUTES] = {"json", "pairs", "parts", "gguf", "our gguf"};
static rf_tokenizer *routes[ROUTES];

static int parse_route(int route, unsigned char *bytes, uint64_t size)
{
    struct rf_gguf gguf;
    struct rf_error err = {0};
    enum rf_status status = rf_gguf_parse(&gguf, route_names[route], bytes, size, &err);
    if (!status)
        status = rf_tokenizer_from_gguf(&routes[route], &gguf, &err);
    rf_gguf_free(&gguf);
    rf_free(bytes);
    if (status)
        fprintf(stderr, "%s\n", err.message);
    return status != RF_OK;
}

static cJSON *read_json(const char *name)
{
    char path[4096];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/json/%s", RF_QWEN3_TOKENIZER, name);
    char *text = read_file(path, &size);
    cJSON *tree = text ? cJSON_Parse(text) : NULL;
    assert_non_null(tree);
    free(text);
    return tree;
}

/* Normal tokens from model.vocab, added ones by their flag, and a filler for each id that nothing has. */
static void put_vocabulary(struct built_gguf *f, const cJSON *tree)
{
    static const char *texts[ROWS];
    static uint32_t types[ROWS];
    const cJSON *vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "model"), "vocab");
    for (const cJSON *item = vocab->child; item; item = item->next) {
        texts[item->valueint] = item->string;
        types[item->valueint] = 1;
    }
    for (const cJSON *item = cJSON_GetObjectItem(tree, "added_tokens")->child; item; item = item->next) {
        int id = cJSON_GetObjectItem(item, "id")->valueint;
        texts[id] = cJSON_GetObjectItem(item, "content")->valuestring;
        types[id] = cJSON_IsTrue(cJSON_GetObjectItem(item, "special")) ? 3 : 4;
    }
    put_array(f, "tokenizer.ggml.tokens", RF_GGUF_STRING, ROWS);
    for (int id = 0; id < ROWS; id++) {
        char filler[24];
        snprintf(filler, sizeof filler, "[PAD%d]", id);
        add_string(&f->values, texts[id] ? texts[id] : filler);
    }
    put_array(f, "tokenizer.ggml.token_type", RF_GGUF_I32, ROWS);
    for (int id = 0; id < ROWS; id++)
        add_u32(&f->values, types[id] ? types[id] : 5);
}

/* tokenizer.json as a GGUF file without tensors. */
static int build_route(void)
{
    struct built_gguf f = {0};
    cJSON *tree = read_json("tokenizer.json"), *config = read_json("tokenizer_config.json");
    put_text(&f, "general.architecture", "qwen3");
    put_text(&f, "tokenizer.ggml.model", "gpt2");
    put_text(&f, "tokenizer.ggml.pre", "qwen2");
    put_vocabulary(&f, tree);
    const cJSON *merges = cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "model"), "merges");
    put_array(&f, "tokenizer.ggml.merges", RF_GGUF_STRING, (uint64_t)cJSON_GetArraySize(merges));
    for (const cJSON *item = merges->child; item; item = item->next) {
        char pair[1024];
        if (cJSON_IsString(item))
            snprintf(pair, sizeof pair, "%s", item->valuestring);
        else
            snprintf(pair, sizeof pair, "%s %s", item->child->valuestring, item->child->next->valuestring);
        add_string(&f.values, pair);
    }
    put_u32(&f, "tokenizer.ggml.eos_token_id", IM_END);
    put_u32(&f, "tokenizer.ggml.mask_token_id", MASK);
    put_bool(&f, "tokenizer.ggml.add_bos_token", false);
    put_text(&f, "tokenizer.chat_template", cJSON_GetObjectItem(config, "chat_template")->valuestring);
    cJSON_Delete(tree);
    cJSON_Delete(config);
    uint64_t size;
    unsigned char *bytes = build(&f, &size);
    return parse_route(BUILT, bytes, size);
}

/* What we write from the first route's tokenizer. */
static int write_route(void)
{
    const struct rf_model_config config = {.layers = 1,
                                           .vocab = ROWS,
                                           .mask_token_id = UINT32_MAX,
                                           .bos_token_id = UINT32_MAX,
                                           .pad_token_id = UINT32_MAX};
    struct rf_gguf_metadata metadata = {0};
    struct rf_bytes bytes = {0};
    struct rf_error err = {0};
    enum rf_status status = rf_gguf_put_model(&metadata, "q", &config, routes[0], &err);
    if (!status)
        status = rf_gguf_write_head(&bytes, &metadata, NULL, 0, "our.gguf", &err);
    rf_gguf_metadata_free(&metadata);
    if (status) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return parse_route(WRITTEN, (unsigned char *)bytes.data, bytes.length);
}

static int load_routes(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct rf_error err = {0};
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", RF_QWEN3_TOKENIZER, route_names[i]);
        if (rf_tokenizer_load(&routes[i], path, NULL, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
    }
    return build_route() || write_route();
}

/* Every token of every route stands for the same bytes, and is as special. */
static void test_same_tokens(void **state)
{
    (void)state;
    for (uint32_t id = 0; id < VOCAB; id++) {
        size_t length, other_length;
        const char *bytes = rf_tokenizer_token_bytes(routes[0], id, &length);
        for (int i = 1; i < ROUTES; i++) {
            const char *other = rf_tokenizer_token_bytes(routes[i], id, &other_length);
            assert_int_equal(other_length, length);
            assert_memory_equal(other, bytes, length);
            assert_int_equal(rf_tokenizer_is_special(routes[i], id), rf_tokenizer_is_special(routes[0], id));
        }
    }
}

static int destroy_routes(void **state)
{
    (void)state;
    for (int i = 0; i < ROUTES; i++)
        rf_tokenizer_destroy(routes[i]);
    return 0;
}

static void test_queries(void **state)
{
    (void)state;
    for (int i = 0; i < ROUTES; i++) {
        assert_int_equal(rf_tokenizer_vocab(routes[i]), VOCAB);
        assert_int_equal(rf_tokenizer_eos(routes[i]), IM_END);
        assert_int_equal(rf_tokenizer_mask(routes[i]), MASK);
        assert_int_equal(rf_tokenizer_template(routes[i]), RF_CHAT_QWEN3);
        assert_int_equal(rf_tokenizer_added(routes[i], "<think>"), THINK);
        assert_false(rf_tokenizer_is_special(routes[i], THINK));
        assert_int_equal(rf_tokenizer_check_vocab(routes[i], VOCAB, NULL), RF_OK);
        assert_int_equal(rf_tokenizer_check_vocab(routes[i], VOCAB - 1, NULL), RF_ERROR_FORMAT);
    }
}

static void test_golden_ids(void **state)
{
    (void)state;
    size_t count = 0, length = 0;
    cJSON **lines = read_lines(RF_SOURCE_DIR "/tests/golden/tokenizer_qwen3.jsonl", &count);
    assert_true(count > 200);
    for (size_t i = 0; i < count; i++) {
        const char *text = cJSON_GetObjectItem(lines[i], "text")->valuestring;
        for (int route = 0; route < ROUTES; route++) {
            char what[64];
            snprintf(what, sizeof what, "line %zu, route %s", i + 1, route_names[route]);
            uint32_t *ids = encode(routes[route], text, strlen(text), true, &length);
            assert_ids(ids, length, cJSON_GetObjectItem(lines[i], "ids"), what);
            rf_free(ids);
        }
    }
    printf("%zu lines by %d routes\n", count, ROUTES);
    free_lines(lines, count);
}

static size_t read_messages(const cJSON *list, struct rf_message messages[16])
{
    size_t count = 0;
    for (const cJSON *item = list->child; item; item = item->next) {
        assert_true(count < 16);
        messages[count].role = cJSON_GetObjectItem(item, "role")->valuestring;
        messages[count++].content = cJSON_GetObjectItem(item, "content")->valuestring;
    }
    return count;
}

/* The rendered text, and ids: content without added tokens in it must come out as the rendered text encoded
 * raw. */
static void test_golden_chats(void **state)
{
    (void)state;
    size_t size = 0, count = 0;
    char *text = read_file(RF_SOURCE_DIR "/tests/golden/chat_qwen3.json", &size);
    cJSON *cases = text ? cJSON_Parse(text) : NULL;
    assert_non_null(cases);
    for (const cJSON *item = cases->child; item; item = item->next, count++) {
        struct rf_message messages[16];
        size_t message_count = read_messages(cJSON_GetObjectItem(item, "messages"), messages);
        bool thinking = cJSON_IsTrue(cJSON_GetObjectItem(item, "enable_thinking"));
        bool prompt = cJSON_IsTrue(cJSON_GetObjectItem(item, "add_generation_prompt"));
        const char *wanted = cJSON_GetObjectItem(item, "text")->valuestring;
        struct rf_chat chat;
        assert_int_equal(rf_chat_render(&chat, messages, message_count, thinking, prompt, NULL), RF_OK);
        assert_string_equal(chat.text.data, wanted);
        rf_chat_free(&chat);
        for (int route = 0; route < ROUTES; route++) {
            uint32_t *ids = NULL;
            size_t length = 0, raw_length = 0;
            assert_int_equal(rf_tokenizer_chat(routes[route], messages, message_count, thinking, prompt, &ids,
                                               &length, NULL),
                             RF_OK);
            uint32_t *raw = encode(routes[route], wanted, strlen(wanted), true, &raw_length);
            assert_int_equal(length, raw_length);
            assert_memory_equal(ids, raw, length * sizeof *ids);
            rf_free(raw);
            rf_free(ids);
        }
    }
    printf("%zu conversations by %d routes\n", count, ROUTES);
    assert_int_equal(count, 16);
    cJSON_Delete(cases);
    free(text);
}

/* Text with every added token in it, and messages that hold them: none comes out but what the template
 * writes. */
static void test_text_never_controls(void **state)
{
    (void)state;
    struct rf_bytes all = {0};
    for (uint32_t id = VOCAB - 28; id < VOCAB; id++) {
        size_t length = 0;
        const char *bytes = rf_tokenizer_token_bytes(routes[0], id, &length);
        assert_non_null(bytes);
        assert_true(rf_bytes_append(&all, bytes, length) && rf_bytes_append(&all, " ", id % 2));
    }
    assert_true(rf_bytes_terminate(&all));
    for (int route = 0; route < ROUTES; route++) {
        size_t count = 0;
        uint32_t *ids = encode(routes[route], all.data, all.length, false, &count);
        for (size_t i = 0; i < count; i++)
            assert_true(ids[i] < VOCAB - 28);
        rf_free(ids);
        ids = encode(routes[route], all.data, all.length, true, &count);
        size_t controls = 0;
        for (size_t i = 0; i < count; i++)
            controls += ids[i] >= VOCAB - 28;
        assert_int_equal(controls, 28);
        rf_free(ids);
        const struct rf_message message = {"user", all.data};
        assert_int_equal(rf_tokenizer_chat(routes[route], &message, 1, false, true, &ids, &count, NULL),
                         RF_OK);
        controls = 0;
        for (size_t i = 0; i < count; i++)
            controls += ids[i] >= VOCAB - 28;
        assert_int_equal(controls, 5); /* start, end, start, <think>, </think> */
        rf_free(ids);
    }
    rf_free(all.data);
}

int main(void)
{
    struct stat info;
    if (stat(RF_QWEN3_TOKENIZER "/parts/merges.txt", &info) != 0) {
        fprintf(stderr, "%s: not there; scripts/setup.sh --tests fetches it\n", RF_QWEN3_TOKENIZER);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_same_tokens),
        cmocka_unit_test(test_golden_ids),
        cmocka_unit_test(test_golden_chats),
        cmocka_unit_test(test_text_never_controls),
    };
    return cmocka_run_group_tests(tests, load_routes, destroy_routes);
}
