/* Models and tokenizers in GGUF files: what metadata make, and every refusal. */
#include "gguf_builder.h"
#include "loader/model_files.h"
#include "loader/tokenizer.h"
#include "model_writer.h"

#include <stdio.h>
#include <unistd.h>

/* ---- A small model ------------------------------------------------------------------------------------- */

/* 256 byte tokens, "ab", then <|end|> (control), <think> (user defined), an unused one, <|mask|>
 * (control). */
enum { BYTES = 256, AB = BYTES, END, THINK, UNUSED, MASK, VOCAB };
enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED_TYPE = 5 };

/* The byte-level alphabet: printable Latin-1 as it is, the other bytes as U+0100, U+0101, ... */
static void add_byte_token(struct rf_bytes *to, unsigned byte, unsigned *next)
{
    bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    unsigned code = printable ? byte : (*next)++;
    char text[3] = {(char)code, '\0', '\0'};
    if (code >= 0x80) {
        text[0] = (char)(0xC0 | code >> 6);
        text[1] = (char)(0x80 | (code & 63));
    }
    add_string(to, text);
}

struct tokens {
    const char *ab, *end, *mask;
    uint32_t types[VOCAB];
    const char *merge;
};

static struct tokens right_tokens(void)
{
    struct tokens tokens = {.ab = "ab", .end = "<|end|>", .mask = "<|mask|>", .merge = "a b"};
    for (int i = 0; i < VOCAB; i++)
        tokens.types[i] = NORMAL;
    tokens.types[END] = tokens.types[MASK] = CONTROL;
    tokens.types[THINK] = USER_DEFINED;
    tokens.types[UNUSED] = UNUSED_TYPE;
    return tokens;
}

static void put_tokenizer(struct built_gguf *f, const struct tokens *tokens)
{
    unsigned next = 0x100;
    put_text(f, "tokenizer.ggml.model", "gpt2");
    put_text(f, "tokenizer.ggml.pre", "qwen2");
    put_array(f, "tokenizer.ggml.tokens", RF_GGUF_STRING, VOCAB);
    for (unsigned byte = 0; byte < BYTES; byte++)
        add_byte_token(&f->values, byte, &next);
    add_string(&f->values, tokens->ab);
    add_string(&f->values, tokens->end);
    add_string(&f->values, "<think>");
    add_string(&f->values, "[PAD259]");
    add_string(&f->values, tokens->mask);
    put_array(f, "tokenizer.ggml.token_type", RF_GGUF_I32, VOCAB);
    for (int i = 0; i < VOCAB; i++)
        add_u32(&f->values, tokens->types[i]);
    put_array(f, "tokenizer.ggml.merges", RF_GGUF_STRING, 1);
    add_string(&f->values, tokens->merge);
    put_u32(f, "tokenizer.ggml.eos_token_id", END);
    put_u32(f, "tokenizer.ggml.mask_token_id", MASK);
}

static void put_config(struct built_gguf *f)
{
    put_text(f, "general.architecture", "qwen3");
    put_u32(f, "qwen3.block_count", 2);
    put_u32(f, "qwen3.context_length", 512);
    put_u32(f, "qwen3.embedding_length", 32);
    put_u32(f, "qwen3.feed_forward_length", 64);
    put_u32(f, "qwen3.attention.head_count", 4);
    put_u32(f, "qwen3.attention.head_count_kv", 2);
    put_u32(f, "qwen3.attention.key_length", 16);
    put_u32(f, "qwen3.attention.value_length", 16);
    put_f32(f, "qwen3.attention.layer_norm_rms_epsilon", 1e-6f);
    put_f32(f, "qwen3.rope.freq_base", 1e6f);
}

/* Matrices in Q8_0, vectors in F32. */
static void put_matrix(struct built_gguf *f, const char *name, uint64_t rows, uint64_t columns)
{
    put_tensor(f, name, 8, rows, columns, rows * columns / 32 * 34);
}

static void put_vector(struct built_gguf *f, const char *name, uint64_t size)
{
    put_tensor(f, name, 0, 0, size, size * 4);
}

static void put_tensors(struct built_gguf *f, const char *left_out)
{
    static const struct {
        const char *name;
        uint64_t rows, columns;
    } parts[] = {
        {"attn_norm", 0, 32},    {"attn_q", 64, 32},     {"attn_k", 32, 32},     {"attn_v", 32, 32},
        {"attn_output", 32, 64}, {"attn_q_norm", 0, 16}, {"attn_k_norm", 0, 16}, {"ffn_norm", 0, 32},
        {"ffn_gate", 64, 32},    {"ffn_up", 64, 32},     {"ffn_down", 32, 64},
    };
    put_matrix(f, "token_embd.weight", VOCAB, 32);
    for (int layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, parts[i].name);
            if (strcmp(name, left_out) == 0)
                continue;
            if (parts[i].rows)
                put_matrix(f, name, parts[i].rows, parts[i].columns);
            else
                put_vector(f, name, parts[i].columns);
        }
    put_vector(f, "output_norm.weight", 32);
}

static struct built_gguf right_model(void)
{
    struct built_gguf f = {0};
    struct tokens tokens = right_tokens();
    put_config(&f);
    put_tokenizer(&f, &tokens);
    put_tensors(&f, "");
    return f;
}

/* Writes the file into a folder of its own and opens the folder. */
static enum rf_status open_built(struct built_gguf *f, struct rf_model_files *files, struct rf_error *err)
{
    struct folder folder = make_folder();
    uint64_t size;
    unsigned char *bytes = build(f, &size);
    write_bytes(&folder, "m.gguf", bytes, size);
    rf_free(bytes);
    *err = (struct rf_error){0};
    enum rf_status status = rf_model_files_open(files, folder.path, err);
    remove_folder(&folder);
    return status;
}

static void refuses(struct built_gguf *f, enum rf_status wanted, const char *first, const char *second)
{
    struct rf_model_files files;
    struct rf_error err;
    ASSERT_FAILURE(open_built(f, &files, &err), err, wanted, "/m.gguf: ", first, second);
    assert_null(files.shards);
}

/* ---- Models that are right ----------------------------------------------------------------------------- */

static void model_is_bound(void **state)
{
    (void)state;
    struct built_gguf f = right_model();
    struct rf_model_files files;
    struct rf_error err;
    if (open_built(&f, &files, &err))
        fail_msg("%s", err.message);
    const struct rf_model_config *c = &files.config;
    const uint32_t sizes[] = {c->layers, c->hidden, c->heads, c->kv_heads, c->head_dim, c->ffn, c->vocab};
    const uint32_t wanted[] = {2, 32, 4, 2, 16, 64, VOCAB};
    assert_memory_equal(sizes, wanted, sizeof wanted);
    assert_int_equal(c->max_position_embeddings, 512);
    assert_true(c->rms_norm_eps == (double)1e-6f && c->rope_theta == 1e6);
    assert_true(c->tie_word_embeddings);
    assert_int_equal(c->mask_token_id, MASK);
    assert_int_equal(c->eos_count, 1);
    assert_int_equal(c->eos_tokens[0], END);
    assert_true(files.is_gguf);
    assert_int_equal(files.warning_count, 0);
    assert_int_equal(files.layers[1].down_proj.dtype, RF_DTYPE_Q8_0);
    assert_int_equal(files.layers[1].down_proj.shape[0], 32);
    assert_int_equal(files.layers[1].down_proj.shape[1], 64);
    assert_ptr_equal(files.lm_head.data, files.embed.data);
    uint64_t layer = 64 * 32 * 4 + 32 * 32 * 2 + 64 * 32 + 32 * 2 + 16 * 2;
    assert_int_equal(files.parameters, VOCAB * 32 + 2 * layer + 32);
    rf_model_files_close(&files);
}

/* A key of the architecture's that is not known here is told, not refused. */
static void unknown_keys_are_told(void **state)
{
    (void)state;
    struct built_gguf f = right_model();
    put_u32(&f, "qwen3.something.new", 3);
    put_u32(&f, "other.something", 3);
    put_matrix(&f, "output.weight", VOCAB, 32);
    struct rf_model_files files;
    struct rf_error err;
    if (open_built(&f, &files, &err))
        fail_msg("%s", err.message);
    assert_int_equal(files.warning_count, 1);
    assert_non_null(strstr(files.warnings[0], "metadata \"qwen3.something.new\": ignored"));
    assert_false(files.config.tie_word_embeddings);
    assert_true(files.lm_head.data != files.embed.data);
    rf_model_files_close(&files);
}

/* Without a mask token there is none; with one that only the token list names, it is found. */
static void mask_token_is_found(void **state)
{
    (void)state;
    struct rf_model_files files;
    struct rf_error err;
    struct built_gguf f = right_model();
    drop_value(&f, "tokenizer.ggml.mask_token_id");
    assert_int_equal(open_built(&f, &files, &err), RF_OK);
    assert_int_equal(files.config.mask_token_id, MASK);
    rf_model_files_close(&files);
    struct tokens tokens = right_tokens();
    tokens.mask = "<|other|>";
    f = (struct built_gguf){0};
    put_config(&f);
    put_tokenizer(&f, &tokens);
    put_tensors(&f, "");
    drop_value(&f, "tokenizer.ggml.mask_token_id");
    put_u32(&f, "tokenizer.ggml.eot_token_id", THINK);
    put_array(&f, "refusion.eos_token_ids", RF_GGUF_U32, 3);
    add_u32(&f.values, END);
    add_u32(&f.values, AB);
    add_u32(&f.values, 1);
    assert_int_equal(open_built(&f, &files, &err), RF_OK);
    assert_int_equal(files.config.mask_token_id, UINT32_MAX);
    const uint32_t eos[] = {END, THINK, AB, 1};
    assert_int_equal(files.config.eos_count, 4);
    assert_memory_equal(files.config.eos_tokens, eos, sizeof eos);
    rf_model_files_close(&files);
}

/* ---- Models that are wrong ----------------------------------------------------------------------------- */

struct bad_value {
    const char *key;
    uint32_t type; /* RF_GGUF_U32, RF_GGUF_F32, RF_GGUF_BOOL, RF_GGUF_STRING; RF_GGUF_ARRAY: left out */
    double number;
    const char *text;
    enum rf_status status;
    const char *words;
};

static const struct bad_value bad_values[] = {
    {"general.architecture", RF_GGUF_STRING, 0, "llama", RF_ERROR_UNSUPPORTED,
     "is string \"llama\", wanted \"qwen3\""},
    {"general.architecture", RF_GGUF_ARRAY, 0, 0, RF_ERROR_UNSUPPORTED, "is nothing, wanted \"qwen3\""},
    {"general.architecture", RF_GGUF_U32, 3, 0, RF_ERROR_FORMAT, "is u32 3, wanted a string"},
    {"general.type", RF_GGUF_STRING, 0, "adapter", RF_ERROR_UNSUPPORTED, "wanted \"model\""},
    {"split.count", RF_GGUF_U32, 3, 0, RF_ERROR_UNSUPPORTED, "is one part of 3"},
    {"qwen3.block_count", RF_GGUF_ARRAY, 0, 0, RF_ERROR_FORMAT,
     "is nothing, wanted a whole number from 1 to 1024"},
    {"qwen3.block_count", RF_GGUF_U32, 0, 0, RF_ERROR_FORMAT, "is u32 0"},
    {"qwen3.block_count", RF_GGUF_U32, 4294967295u, 0, RF_ERROR_FORMAT, "is u32 4294967295"},
    {"qwen3.block_count", RF_GGUF_U32, 3, 0, RF_ERROR_FORMAT, "tensor blk.2.attn_norm.weight: missing"},
    {"qwen3.block_count", RF_GGUF_U32, 1, 0, RF_ERROR_FORMAT, "surplus, a model of 1 layers by its metadata"},
    {"qwen3.embedding_length", RF_GGUF_STRING, 0, "32", RF_ERROR_FORMAT, "is string \"32\", wanted a whole"},
    {"qwen3.embedding_length", RF_GGUF_U32, 64, 0, RF_ERROR_FORMAT,
     "tensor token_embd.weight: rank 2, shape [261, 32]"},
    {"qwen3.embedding_length", RF_GGUF_U32, 33, 0, RF_ERROR_UNSUPPORTED, "is 33, wanted a multiple of 8"},
    {"qwen3.attention.head_count", RF_GGUF_U32, 5, 0, RF_ERROR_UNSUPPORTED, "is 5, wanted a multiple of 2"},
    {"qwen3.attention.key_length", RF_GGUF_U32, 8, 0, RF_ERROR_UNSUPPORTED, "value_length\": is 16, wanted"},
    {"qwen3.attention.key_length", RF_GGUF_U32, 300, 0, RF_ERROR_FORMAT,
     "is u32 300, wanted a whole number from 1 to 256"},
    {"qwen3.feed_forward_length", RF_GGUF_F32, 64, 0, RF_ERROR_FORMAT, "is f32 64, wanted a whole"},
    {"qwen3.context_length", RF_GGUF_ARRAY, 0, 0, RF_ERROR_FORMAT, "context_length\": is nothing"},
    {"qwen3.attention.layer_norm_rms_epsilon", RF_GGUF_F32, 0, 0, RF_ERROR_FORMAT,
     "is f32 0, wanted a number"},
    {"qwen3.attention.layer_norm_rms_epsilon", RF_GGUF_ARRAY, 0, 0, RF_ERROR_FORMAT,
     "is nothing, wanted a number"},
    {"qwen3.rope.freq_base", RF_GGUF_F32, 0.5, 0, RF_ERROR_FORMAT, "is f32 0.5, wanted a number"},
    {"qwen3.rope.freq_base", RF_GGUF_U32, 10000, 0, RF_ERROR_FORMAT, "is u32 10000, wanted a number"},
    {"qwen3.rope.scaling.type", RF_GGUF_STRING, 0, "yarn", RF_ERROR_UNSUPPORTED,
     "is string \"yarn\", wanted \"none\""},
    {"qwen3.rope.scaling.factor", RF_GGUF_F32, 4, 0, RF_ERROR_UNSUPPORTED, "RoPE scaling is not supported"},
    {"qwen3.rope.dimension_count", RF_GGUF_U32, 8, 0, RF_ERROR_UNSUPPORTED,
     "is 8, wanted the size of a head, 16"},
    {"qwen3.expert_count", RF_GGUF_U32, 8, 0, RF_ERROR_UNSUPPORTED, "is u32 8, wanted 0"},
    {"qwen3.pooling_type", RF_GGUF_U32, 3, 0, RF_ERROR_UNSUPPORTED, "is u32 3, wanted 0"},
    {"qwen3.attention.sliding_window", RF_GGUF_U32, 128, 0, RF_ERROR_UNSUPPORTED, "is u32 128, wanted 0"},
    {"qwen3.attention.causal", RF_GGUF_BOOL, 0, 0, RF_ERROR_UNSUPPORTED, "is bool false, wanted true"},
    {"qwen3.vocab_size", RF_GGUF_U32, 300, 0, RF_ERROR_FORMAT,
     "is 300, wanted the rows of token_embd.weight, 261"},
    {"tokenizer.ggml.eos_token_id", RF_GGUF_U32, 261, 0, RF_ERROR_FORMAT,
     "is u32 261, wanted a whole number from 0 to 260"},
    {"tokenizer.ggml.mask_token_id", RF_GGUF_U32, 261, 0, RF_ERROR_FORMAT, "is u32 261"},
    {"tokenizer.ggml.bos_token_id", RF_GGUF_U32, 261, 0, RF_ERROR_FORMAT, "is u32 261"},
    {"refusion.eos_token_ids", RF_GGUF_U32, 1, 0, RF_ERROR_FORMAT, "is u32 1, wanted an array of u32"},
    {"refusion.preset", RF_GGUF_U32, 1, 0, RF_ERROR_FORMAT, "is u32 1, wanted a string"},
    {"refusion.preset", RF_GGUF_STRING, 0, "", RF_ERROR_FORMAT, "holds 0 bytes, wanted a name of 1 to 15"},
    {"refusion.preset", RF_GGUF_STRING, 0, "sixteen-letters-", RF_ERROR_FORMAT,
     "holds 16 bytes, wanted a name"},
    {"general.alignment", RF_GGUF_U32, 33, 0, RF_ERROR_FORMAT, "is 33, wanted a power of two"},
};

static void bad_values_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_values / sizeof bad_values[0]; i++) {
        const struct bad_value *bad = &bad_values[i];
        struct built_gguf f = right_model();
        static const char *const extra[] = {"general.type", "split.count",  "rope.scaling", "dimension_count",
                                            "expert_count", "pooling",      "sliding",      "causal",
                                            "vocab_size",   "bos_token_id", "refusion.",    "alignment"};
        bool is_extra = false;
        for (size_t k = 0; k < sizeof extra / sizeof extra[0]; k++)
            is_extra |= strstr(bad->key, extra[k]) != NULL;
        if (!is_extra)
            drop_value(&f, bad->key);
        if (bad->type == RF_GGUF_STRING)
            put_text(&f, bad->key, bad->text);
        else if (bad->type == RF_GGUF_F32)
            put_f32(&f, bad->key, (float)bad->number);
        else if (bad->type == RF_GGUF_BOOL)
            put_bool(&f, bad->key, bad->number > 0);
        else if (bad->type == RF_GGUF_U32)
            put_u32(&f, bad->key, (uint32_t)bad->number);
        refuses(&f, bad->status, bad->words, "");
    }
}

static void bad_tensors_are_refused(void **state)
{
    (void)state;
    struct built_gguf f = {0};
    struct tokens tokens = right_tokens();
    put_config(&f);
    put_tokenizer(&f, &tokens);
    put_tensors(&f, "blk.1.ffn_up.weight");
    refuses(&f, RF_ERROR_FORMAT, "tensor blk.1.ffn_up.weight: missing, wanted by its metadata", "");
    f = (struct built_gguf){0};
    put_config(&f);
    put_tensors(&f, "blk.0.attn_norm.weight");
    put_tensor(&f, "blk.0.attn_norm.weight", 8, 0, 32, 34);
    refuses(&f, RF_ERROR_UNSUPPORTED, "tensor blk.0.attn_norm.weight: dtype is Q8_0",
            "wanted BF16, F16 or F32");
    f = (struct built_gguf){0};
    put_config(&f);
    put_tensors(&f, "blk.0.attn_q.weight");
    put_tensor(&f, "blk.0.attn_q.weight", 26, 64, 32, 64 * 32 * 4);
    refuses(&f, RF_ERROR_UNSUPPORTED, "dtype is I32, wanted BF16, F16 or F32, Q8_0", "");
    f = (struct built_gguf){0};
    put_config(&f);
    put_tensors(&f, "blk.0.attn_q.weight");
    put_matrix(&f, "blk.0.attn_q.weight", 32, 64); /* turned round */
    refuses(&f, RF_ERROR_FORMAT, "shape [32, 64], wanted rank 2, shape [64, 32]", "by its metadata");
    f = right_model();
    put_vector(&f, "rope_freqs.weight", 8);
    refuses(&f, RF_ERROR_FORMAT, "tensor rope_freqs.weight: surplus", "");
    f = (struct built_gguf){0};
    put_config(&f);
    refuses(&f, RF_ERROR_FORMAT, "tensor token_embd.weight: missing", "");
}

/* ---- Paths --------------------------------------------------------------------------------------------- */

static void paths_are_resolved(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct built_gguf f = right_model();
    struct rf_model_files files;
    struct rf_error err = {0};
    uint64_t size;
    unsigned char *bytes = build(&f, &size);
    char path[128];
    write_bytes(&folder, "model-without-suffix", bytes, size);
    snprintf(path, sizeof path, "%s/model-without-suffix", folder.path);
    assert_int_equal(rf_model_files_open(&files, path, &err), RF_OK);
    rf_model_files_close(&files);
    ASSERT_FAILURE(rf_model_files_open(&files, folder.path, &err), err, RF_ERROR_IO,
                   "config.json: cannot open", "");
    write_bytes(&folder, "b.gguf", bytes, size);
    assert_int_equal(rf_model_files_open(&files, folder.path, &err), RF_OK);
    assert_non_null(strstr(files.shards[0].path, "/b.gguf"));
    rf_model_files_close(&files);
    write_bytes(&folder, "a.gguf", bytes, size);
    ASSERT_FAILURE(rf_model_files_open(&files, folder.path, &err), err, RF_ERROR_ARGUMENT,
                   "holds several models such as a.gguf and b.gguf", "");
    write_text(&folder, "config.json", "{}");
    ASSERT_FAILURE(rf_model_files_open(&files, folder.path, &err), err, RF_ERROR_UNSUPPORTED,
                   "config.json: model_type", "");
    write_text(&folder, "c.gguf", "some text");
    snprintf(path, sizeof path, "%s/c.gguf", folder.path);
    ASSERT_FAILURE(rf_model_files_open(&files, path, &err), err, RF_ERROR_IO, "c.gguf: is a file",
                   "wanted a model folder or a GGUF file");
    rf_tokenizer *tokenizer;
    ASSERT_FAILURE(rf_tokenizer_load(&tokenizer, path, NULL, &err), err, RF_ERROR_IO, "c.gguf: is a file",
                   "wanted a model folder or a GGUF file");
    rf_free(bytes);
    remove_folder(&folder);
}

/* ---- Tokenizers ---------------------------------------------------------------------------------------- */

static enum rf_status load_tokenizer(struct built_gguf *f, rf_tokenizer **out, struct rf_error *err)
{
    struct rf_gguf gguf;
    uint64_t size;
    unsigned char *bytes = build(f, &size);
    *err = (struct rf_error){0};
    if (rf_gguf_parse(&gguf, "m.gguf", bytes, size, err))
        fail_msg("%s", err->message);
    enum rf_status status = rf_tokenizer_from_gguf(out, &gguf, err);
    rf_gguf_free(&gguf);
    rf_free(bytes);
    return status;
}

static void tokenizer_is_read(void **state)
{
    (void)state;
    struct tokens tokens = right_tokens();
    struct built_gguf f = {0};
    put_tokenizer(&f, &tokens);
    put_text(&f, "tokenizer.chat_template", "{{ something }}");
    rf_tokenizer *t;
    struct rf_error err;
    if (load_tokenizer(&f, &t, &err))
        fail_msg("%s", err.message);
    assert_int_equal(rf_tokenizer_vocab(t), VOCAB);
    assert_int_equal(rf_tokenizer_eos(t), END);
    assert_int_equal(rf_tokenizer_mask(t), MASK);
    assert_int_equal(rf_tokenizer_template(t), RF_CHAT_UNKNOWN);
    assert_int_equal(rf_tokenizer_added(t, "<think>"), THINK);
    assert_int_equal(rf_tokenizer_added(t, "[PAD259]"), UINT32_MAX);
    assert_true(rf_tokenizer_is_special(t, END));
    assert_false(rf_tokenizer_is_special(t, THINK));
    size_t count = 0;
    assert_null(rf_tokenizer_token_bytes(t, UNUSED, &count));
    uint32_t *ids = NULL;
    static const char text[] = "ab a<think>\xC3\xA9<|end|>";
    const uint32_t wanted[] = {AB, ' ', 'a', THINK, 0xC3, 0xA9, END};
    assert_int_equal(rf_tokenizer_encode(t, text, sizeof text - 1, true, &ids, &count, &err), RF_OK);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ids[i], wanted[i]); /* the byte tokens have the bytes' ids */
    rf_free(ids);
    rf_tokenizer_destroy(t);
}

static void refuses_tokenizer(struct built_gguf *f, enum rf_status wanted, const char *first,
                              const char *second)
{
    rf_tokenizer *tokenizer = (rf_tokenizer *)f;
    struct rf_error err;
    ASSERT_FAILURE(load_tokenizer(f, &tokenizer, &err), err, wanted, "m.gguf: ", first, second);
    assert_null(tokenizer);
}

static struct built_gguf with_tokens(const struct tokens *tokens)
{
    struct built_gguf f = {0};
    put_tokenizer(&f, tokens);
    return f;
}

static void bad_kinds_are_refused(void **state)
{
    (void)state;
    static const struct bad_value changes[] = {
        {"tokenizer.ggml.model", RF_GGUF_STRING, 0, "llama", RF_ERROR_UNSUPPORTED,
         "is string \"llama\", wanted \"gpt2\""},
        {"tokenizer.ggml.model", RF_GGUF_ARRAY, 0, 0, RF_ERROR_UNSUPPORTED, "is nothing, wanted \"gpt2\""},
        {"tokenizer.ggml.pre", RF_GGUF_STRING, 0, "llama-bpe", RF_ERROR_UNSUPPORTED, "wanted \"qwen2\""},
        {"tokenizer.ggml.tokens", RF_GGUF_ARRAY, 0, 0, RF_ERROR_FORMAT, "is nothing, wanted an array"},
        {"tokenizer.ggml.token_type", RF_GGUF_U32, 1, 0, RF_ERROR_FORMAT, "is u32 1, wanted an array of i32"},
        {"tokenizer.ggml.merges", RF_GGUF_ARRAY, 0, 0, RF_ERROR_FORMAT, "is nothing, wanted an array"},
        {"tokenizer.ggml.eos_token_id", RF_GGUF_U32, 'x', 0, RF_ERROR_FORMAT, "is 120, which is no control"},
        {"tokenizer.ggml.eos_token_id", RF_GGUF_U32, VOCAB, 0, RF_ERROR_FORMAT, "is u32 261, wanted"},
        {"tokenizer.ggml.mask_token_id", RF_GGUF_U32, 'x', 0, RF_ERROR_FORMAT, "is 120, which is no control"},
    };
    struct tokens tokens = right_tokens();
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct built_gguf f = with_tokens(&tokens);
        drop_value(&f, changes[i].key);
        if (changes[i].type == RF_GGUF_STRING)
            put_text(&f, changes[i].key, changes[i].text);
        else if (changes[i].type == RF_GGUF_U32)
            put_u32(&f, changes[i].key, (uint32_t)changes[i].number);
        refuses_tokenizer(&f, changes[i].status, changes[i].key, changes[i].words);
    }
    static const char *const off[] = {"add_bos_token", "add_eos_token", "add_space_prefix"};
    for (size_t i = 0; i < 3; i++) {
        struct built_gguf f = with_tokens(&tokens);
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s", off[i]);
        put_bool(&f, key, true);
        refuses_tokenizer(&f, RF_ERROR_UNSUPPORTED, key, "is true, wanted false");
    }
}

static void bad_tokens_are_refused(void **state)
{
    (void)state;
    struct tokens tokens = right_tokens();
    tokens.types[5] = 6;
    struct built_gguf f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_UNSUPPORTED, "token 5, ", "has type 6, wanted 1 (normal)");
    tokens = right_tokens();
    tokens.types[5] = UNUSED_TYPE;
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "tokenizer.ggml.tokens: no token has id 5", "");
    tokens = right_tokens();
    tokens.ab = "a b";
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "token \"a b\" (id 256) is not written in the byte-level alphabet",
                      "");
    tokens = right_tokens();
    tokens.ab = "b";
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "token \"b\" has the ids 98 and 256", "");
    tokens = right_tokens();
    tokens.ab = "\xFF";
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "token 256, \"\\xFF\", is no UTF-8", "");
    tokens = right_tokens();
    tokens.end = "";
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "token 257 is \"\", wanted a text", "");
    tokens = right_tokens();
    tokens.end = "<|mask|>";
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "added token \"<|mask|>\" has id 260", "gives it 257");
    static const char *const merges[] = {"ab", "a b c", " ab", "ab ", ""};
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        tokens = right_tokens();
        tokens.merge = merges[i];
        f = with_tokens(&tokens);
        refuses_tokenizer(&f, RF_ERROR_FORMAT, "metadata \"tokenizer.ggml.merges\": item 0 is \"",
                          "wanted two tokens");
    }
    tokens = right_tokens();
    tokens.merge = "b a";
    f = with_tokens(&tokens);
    refuses_tokenizer(&f, RF_ERROR_FORMAT, "tokenizer.ggml.merges[0]: \"ba\" is what the merge makes", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_is_bound),          cmocka_unit_test(unknown_keys_are_told),
        cmocka_unit_test(mask_token_is_found),     cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(bad_tensors_are_refused), cmocka_unit_test(paths_are_resolved),
        cmocka_unit_test(tokenizer_is_read),       cmocka_unit_test(bad_kinds_are_refused),
        cmocka_unit_test(bad_tokens_are_refused),
    };
    return cmocka_run_group_tests_name("loader/gguf_model", tests, NULL, NULL);
}
