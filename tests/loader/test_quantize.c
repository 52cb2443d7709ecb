/* loader/quantize: blocks against those of llama-quantize, whole models there and back, and every way to
 * fail, which must leave nothing behind. */
#include "gguf_builder.h"
#include "loader/chat.h"
#include "loader/file_out.h"
#include "loader/model_files.h"
#include "loader/quant.h"
#include "loader/quantize.h"
#include "model_writer.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define TINY RF_SOURCE_DIR "/tests/golden/tiny"

static const enum rf_dtype all_types[] = {RF_DTYPE_F32,  RF_DTYPE_F16,  RF_DTYPE_BF16, RF_DTYPE_Q8_0,
                                          RF_DTYPE_Q4_0, RF_DTYPE_Q4_K, RF_DTYPE_Q6_K};
enum { TYPES = sizeof all_types / sizeof all_types[0] };

struct path {
    char text[128];
};

static struct path in_folder(const struct folder *folder, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", folder->path, name);
    return path;
}

static size_t count_files(const struct folder *folder)
{
    DIR *dir = opendir(folder->path);
    assert_non_null(dir);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void quantize(const char *in, const char *out, enum rf_dtype type, struct rf_quantize_total *total)
{
    struct rf_quantize_desc desc = {.type = type};
    struct rf_error err = {0};
    if (rf_quantize(in, out, &desc, total, &err))
        fail_msg("%s", err.message);
}

static void open_model(struct rf_model_files *files, const char *path)
{
    struct rf_error err = {0};
    if (rf_model_files_open(files, path, &err))
        fail_msg("%s", err.message);
}

/* ---- Against llama.cpp --------------------------------------------------------------------------------- */

struct golden {
    struct rf_file_map map;
    struct rf_gguf gguf;
};

static const struct rf_tensor *open_golden(struct golden *golden, const char *name)
{
    char path[256];
    struct rf_error err = {0};
    snprintf(path, sizeof path, RF_SOURCE_DIR "/tests/golden/quant/%s", name);
    if (rf_file_map_open(&golden->map, path, &err) ||
        rf_gguf_parse(&golden->gguf, path, golden->map.data, golden->map.size, &err))
        fail_msg("%s", err.message);
    const struct rf_tensor *tensor = rf_tensor_table_find(&golden->gguf.tensors, "blk.0.ffn_up.weight");
    assert_non_null(tensor);
    return tensor;
}

static void close_golden(struct golden *golden)
{
    rf_gguf_free(&golden->gguf);
    rf_file_map_close(&golden->map);
}

static double error_of(enum rf_dtype dtype, const void *blocks, const float *x, uint64_t count)
{
    float *back = malloc(count * sizeof *back);
    assert_non_null(back);
    rf_quant_decode(dtype, blocks, count, back);
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += ((double)x[i] - (double)back[i]) * ((double)x[i] - (double)back[i]);
    free(back);
    return sqrt(sum / (double)count);
}

static void blocks_are_those_of_llama_quantize(void **state)
{
    (void)state;
    static const char *const names[] = {"q8_0.gguf", "q4_0.gguf", "q4_k.gguf", "q6_k.gguf"};
    struct golden source, golden;
    const struct rf_tensor *from = open_golden(&source, "bf16.gguf");
    uint64_t count = rf_tensor_elements(from);
    float *x = malloc(count * sizeof *x);
    assert_non_null(x);
    rf_quant_decode(from->dtype, from->data, count, x);
    for (int i = 0; i < 4; i++) {
        const struct rf_tensor *theirs = open_golden(&golden, names[i]);
        assert_int_equal(theirs->dtype, all_types[3 + i]);
        unsigned char *ours = malloc(theirs->bytes);
        assert_non_null(ours);
        rf_quant_encode(theirs->dtype, x, count, ours);
        double error = error_of(theirs->dtype, ours, x, count);
        double their_error = error_of(theirs->dtype, theirs->data, x, count);
        uint64_t same = 0;
        for (uint64_t k = 0; k < theirs->bytes; k++)
            same += ours[k] == ((const unsigned char *)theirs->data)[k];
        print_message("%s: %.2f %% of the bytes alike, root mean square error %.6g, theirs %.6g\n",
                      rf_dtype_name(theirs->dtype), 100.0 * (double)same / (double)theirs->bytes, error,
                      their_error);
        if (i < 2)
            assert_int_equal(same, theirs->bytes);
        else
            assert_true(error <= 1.001 * their_error);
        free(ours);
        close_golden(&golden);
    }
    free(x);
    close_golden(&source);
}

/* ---- Choice of types ----------------------------------------------------------------------------------- */

static void types_are_chosen(void **state)
{
    (void)state;
    static const struct {
        enum rf_dtype wanted;
        bool pure;
        uint32_t rank;
        uint64_t row;
        bool table;
        enum rf_dtype got;
        const char *why;
    } cases[] = {
        {RF_DTYPE_Q4_K, false, 2, 4096, false, RF_DTYPE_Q4_K, NULL},
        {RF_DTYPE_Q4_K, false, 2, 4096, true, RF_DTYPE_Q6_K, "finer"},
        {RF_DTYPE_Q4_K, true, 2, 4096, true, RF_DTYPE_Q4_K, NULL},
        {RF_DTYPE_Q4_K, false, 1, 4096, false, RF_DTYPE_F32, "vectors"},
        {RF_DTYPE_Q4_K, true, 1, 4096, false, RF_DTYPE_F32, "vectors"},
        {RF_DTYPE_F32, false, 1, 4096, false, RF_DTYPE_F32, NULL},
        {RF_DTYPE_Q4_K, false, 2, 160, false, RF_DTYPE_Q8_0, "multiple of 256"},
        {RF_DTYPE_Q6_K, false, 2, 160, true, RF_DTYPE_Q8_0, "multiple of 256"},
        {RF_DTYPE_Q4_0, false, 2, 160, false, RF_DTYPE_Q4_0, NULL},
        {RF_DTYPE_Q4_0, false, 2, 160, true, RF_DTYPE_Q8_0, "finer"},
        {RF_DTYPE_Q8_0, false, 2, 168, false, RF_DTYPE_F16, "multiple of 32"},
        {RF_DTYPE_Q4_K, false, 2, 168, true, RF_DTYPE_F16, "multiple of 32"},
        {RF_DTYPE_F16, false, 2, 168, true, RF_DTYPE_F16, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = "?";
        enum rf_dtype got = rf_quantize_choose(cases[i].wanted, cases[i].pure, cases[i].rank, cases[i].row,
                                               cases[i].table, &why);
        assert_int_equal(got, cases[i].got);
        assert_true(cases[i].why ? why && strstr(why, cases[i].why) : !why);
    }
}

/* ---- There and back ------------------------------------------------------------------------------------ */

static void same_config(const struct rf_model_config *a, const struct rf_model_config *b)
{
    assert_int_equal(a->layers, b->layers);
    assert_int_equal(a->hidden, b->hidden);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->kv_heads, b->kv_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->ffn, b->ffn);
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->max_position_embeddings, b->max_position_embeddings);
    assert_true((float)a->rms_norm_eps == (float)b->rms_norm_eps);
    assert_true((float)a->rope_theta == (float)b->rope_theta);
    assert_int_equal(a->tie_word_embeddings, b->tie_word_embeddings);
    assert_int_equal(a->mask_token_id, b->mask_token_id);
    assert_int_equal(a->bos_token_id, b->bos_token_id);
    assert_int_equal(a->pad_token_id, b->pad_token_id);
    assert_string_equal(a->preset, b->preset);
    assert_int_equal(a->eos_count, b->eos_count);
    assert_memory_equal(a->eos_tokens, b->eos_tokens, a->eos_count * sizeof a->eos_tokens[0]);
}

static float *decoded(const struct rf_tensor *tensor)
{
    float *x = malloc(rf_tensor_elements(tensor) * sizeof *x);
    assert_non_null(x);
    rf_quant_decode(tensor->dtype, tensor->data, rf_tensor_elements(tensor), x);
    return x;
}

struct seen {
    const struct rf_model_files *source;
    size_t count;
    struct rf_quantize_report last;
    char name[64];
};

static void see(void *user, const struct rf_quantize_report *report)
{
    struct seen *seen = user;
    seen->count++;
    if (strcmp(report->name, "blk.3.ffn_down.weight") != 0)
        return;
    seen->last = *report;
    snprintf(seen->name, sizeof seen->name, "%s", report->name);
}

/* Every type: config and shapes come back; what is stored is what encoding gives; the report says so. */
static void models_come_back(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct path out = in_folder(&folder, "m.gguf");
    struct rf_model_files source, back;
    open_model(&source, TINY);
    for (int t = 0; t < TYPES; t++) {
        struct seen seen = {.source = &source};
        struct rf_quantize_desc desc = {.type = all_types[t], .pure = t % 2, .report = see, .user = &seen};
        struct rf_quantize_total total;
        struct rf_error err = {0};
        if (rf_quantize(TINY, out.text, &desc, &total, &err))
            fail_msg("%s", err.message);
        open_model(&back, out.text);
        same_config(&source.config, &back.config);
        assert_int_equal(back.warning_count, 0);
        assert_int_equal(back.parameters, source.parameters);
        assert_int_equal(total.parameters, source.parameters);
        assert_int_equal(total.bytes_after, back.weight_bytes);
        assert_int_equal(total.bytes_before, source.weight_bytes);
        assert_int_equal(total.tensors, seen.count);
        assert_int_equal(seen.count, 6 * 11 + 2);
        const struct rf_tensor *old = &source.layers[3].down_proj, *new = &back.layers[3].down_proj;
        assert_int_equal(new->dtype, all_types[t]);
        uint64_t count = rf_tensor_elements(old);
        float *x = decoded(old);
        unsigned char *blocks = malloc(new->bytes);
        assert_non_null(blocks);
        rf_quant_encode(new->dtype, x, count, blocks);
        assert_memory_equal(blocks, new->data, new->bytes);
        double square = 0;
        for (uint64_t i = 0; i < count; i++)
            square += (double)x[i] * (double)x[i];
        double error = error_of(new->dtype, blocks, x, count) * sqrt((double)count / square);
        assert_true(fabs(seen.last.relative_error - error) <= 1e-9);
        assert_int_equal(seen.last.bytes, new->bytes);
        float *norm = decoded(&source.layers[2].q_norm), *norm_back = decoded(&back.layers[2].q_norm);
        assert_memory_equal(norm, norm_back, 64 * sizeof *norm);
        free(norm);
        free(norm_back);
        free(blocks);
        free(x);
        rf_model_files_close(&back);
    }
    assert_int_equal(count_files(&folder), 1);
    rf_model_files_close(&source);
    remove_folder(&folder);
}

/* By way of F32, and with any number of threads, the same blocks come out. */
static void ways_agree(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct path f32 = in_folder(&folder, "f32.gguf"), direct = in_folder(&folder, "a.gguf"),
                other = in_folder(&folder, "b.gguf");
    struct rf_quantize_total total;
    struct rf_model_files a, b;
    quantize(TINY, f32.text, RF_DTYPE_F32, &total);
    quantize(TINY, direct.text, RF_DTYPE_Q4_K, &total);
    struct rf_quantize_desc desc = {.type = RF_DTYPE_Q4_K, .threads = 1};
    assert_int_equal(rf_quantize(f32.text, other.text, &desc, &total, NULL), RF_OK);
    assert_int_equal(total.requantized, 0);
    open_model(&a, direct.text);
    open_model(&b, other.text);
    same_config(&a.config, &b.config);
    assert_int_equal(a.embed.dtype, RF_DTYPE_Q6_K);
    for (size_t i = 0; i < a.shards[0].content.count; i++) {
        const struct rf_tensor *x = &a.shards[0].content.tensors[i], *y = &b.shards[0].content.tensors[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    rf_model_files_close(&a);
    rf_model_files_close(&b);
    /* From quantized blocks: allowed, and counted. What has its type is copied. */
    quantize(direct.text, other.text, RF_DTYPE_Q8_0, &total);
    assert_int_equal(total.requantized, 6 * 7 + 1);
    quantize(direct.text, other.text, RF_DTYPE_Q4_K, &total);
    assert_int_equal(total.requantized, 0);
    assert_true(total.relative_error <= 0);
    remove_folder(&folder);
}

/* Tiny's tokenizer from the folder and from the file that was written from it. */
static void tokenizers_come_back(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct path out = in_folder(&folder, "m.gguf");
    struct rf_quantize_total total;
    struct rf_error err = {0};
    rf_tokenizer *a, *b;
    quantize(TINY, out.text, RF_DTYPE_Q8_0, &total);
    assert_int_equal(rf_tokenizer_load(&a, TINY, NULL, &err), RF_OK);
    if (rf_tokenizer_load(&b, folder.path, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(rf_tokenizer_vocab(a), rf_tokenizer_vocab(b));
    assert_int_equal(rf_tokenizer_eos(a), rf_tokenizer_eos(b));
    assert_int_equal(rf_tokenizer_mask(a), rf_tokenizer_mask(b));
    assert_int_equal(rf_tokenizer_template(b), RF_CHAT_QWEN3);
    for (uint32_t id = 0; id < rf_tokenizer_vocab(a); id++) {
        size_t x_length, y_length;
        const char *x = rf_tokenizer_token_bytes(a, id, &x_length),
                   *y = rf_tokenizer_token_bytes(b, id, &y_length);
        assert_int_equal(x_length, y_length);
        assert_memory_equal(x, y, x_length);
        assert_int_equal(rf_tokenizer_is_special(a, id), rf_tokenizer_is_special(b, id));
    }
    struct rf_message message = {
        "user", "Write a Python function count(nums).\n\nTom's 12 \xC3\xA9\xC3\xA9 apples <|im_end|>"};
    uint32_t *x, *y;
    size_t x_count, y_count;
    assert_int_equal(rf_tokenizer_chat(a, &message, 1, true, true, &x, &x_count, &err), RF_OK);
    assert_int_equal(rf_tokenizer_chat(b, &message, 1, true, true, &y, &y_count, &err), RF_OK);
    assert_int_equal(x_count, y_count);
    assert_memory_equal(x, y, x_count * sizeof *x);
    rf_free(x);
    rf_free(y);
    rf_tokenizer_destroy(a);
    rf_tokenizer_destroy(b);
    remove_folder(&folder);
}

/* ---- Failing ------------------------------------------------------------------------------------------- */

static void fails(const struct folder *folder, const char *in, const struct rf_quantize_desc *desc,
                  enum rf_status wanted, const char *first, const char *second)
{
    struct path out = in_folder(folder, "out.gguf");
    struct rf_quantize_total total;
    struct rf_error err = {0};
    size_t before = count_files(folder);
    ASSERT_FAILURE(rf_quantize(in, out.text, desc, &total, &err), err, wanted, first, second);
    assert_int_equal(count_files(folder), before);
}

static bool stop_halfway(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    return done < total / 2;
}

static void interrupts_leave_nothing(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct rf_quantize_desc desc = {.type = RF_DTYPE_Q4_0, .progress = stop_halfway};
    fails(&folder, TINY, &desc, RF_ERROR_CANCELLED, "out.gguf: interrupted", "");
    write_text(&folder, "out.gguf", "older");
    fails(&folder, TINY, &desc, RF_ERROR_CANCELLED, "out.gguf: interrupted", "");
    struct rf_file_map map;
    assert_int_equal(rf_file_map_open(&map, in_folder(&folder, "out.gguf").text, NULL), RF_OK);
    assert_int_equal(map.size, 5); /* the older file is still there */
    rf_file_map_close(&map);
    remove_folder(&folder);
}

/* A limit on file sizes stands for a full disk: both fail in the same calls. */
static void full_disks_leave_nothing(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct rlimit old, limit;
    struct rf_quantize_desc desc = {.type = RF_DTYPE_Q8_0};
    struct rf_file_out file;
    struct rf_error err = {0};
    char *block = calloc(1, 1 << 20);
    assert_non_null(block);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 2 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fails(&folder, TINY, &desc, RF_ERROR_IO, "out.gguf: ", "File too large");
    /* Where the file system cannot reserve space, writing fails. */
    struct path out = in_folder(&folder, "out.gguf");
    assert_int_equal(rf_file_out_open(&file, out.text, 0, &err), RF_OK);
    assert_int_equal(rf_file_out_write(&file, block, 1 << 20, &err), RF_OK);
    assert_int_equal(rf_file_out_write(&file, block, 1 << 20, &err), RF_OK);
    ASSERT_FAILURE(rf_file_out_write(&file, block, 1 << 20, &err), err, RF_ERROR_IO,
                   "out.gguf: cannot write at byte 2097152: File too large", "");
    assert_int_equal(count_files(&folder), 1);
    rf_file_out_close(&file);
    assert_int_equal(count_files(&folder), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    free(block);
    remove_folder(&folder);
}

/* Replaces one element of a tensor in a copy of tiny in F32. */
static void poison(const struct folder *folder, const char *name, uint64_t element, float value)
{
    struct rf_quantize_total total;
    struct rf_model_files files;
    struct path path = in_folder(folder, "in.gguf");
    quantize(TINY, path.text, RF_DTYPE_F32, &total);
    open_model(&files, path.text);
    const struct rf_tensor *tensor = rf_tensor_table_find(&files.shards[0].content, name);
    assert_non_null(tensor);
    long place = (long)((const unsigned char *)tensor->data - files.shards[0].map.data) + (long)element * 4;
    rf_model_files_close(&files);
    FILE *file = fopen(path.text, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fwrite(&value, sizeof value, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct path in = in_folder(&folder, "in.gguf");
    static const char name[] = "blk.4.ffn_up.weight";
    poison(&folder, name, 130000, NAN);
    for (int t = 0; t < TYPES; t++) {
        struct rf_quantize_desc desc = {.type = all_types[t], .threads = 3};
        fails(&folder, in.text, &desc, RF_ERROR_FORMAT, "tensor blk.4.ffn_up.weight: element 130000 is NaN",
              "");
    }
    poison(&folder, name, 196607, -INFINITY);
    struct rf_quantize_desc desc = {.type = RF_DTYPE_Q6_K};
    fails(&folder, in.text, &desc, RF_ERROR_FORMAT, "element 196607 is infinite", "");
    poison(&folder, name, 0, 1e5f);
    for (int t = 0; t < TYPES; t++) {
        if (all_types[t] == RF_DTYPE_F32 || all_types[t] == RF_DTYPE_BF16)
            continue;
        desc.type = all_types[t];
        fails(&folder, in.text, &desc, RF_ERROR_UNSUPPORTED, "element 0 is 100000, which", "cannot hold");
    }
    poison(&folder, name, 7, 3.4e38f);
    desc.type = RF_DTYPE_BF16;
    fails(&folder, in.text, &desc, RF_ERROR_UNSUPPORTED, "element 7 is 3.4e+38, which BF16 cannot hold", "");
    /* Too small is not refused, but counted: 1e-9 beside what tiny itself has. */
    struct rf_quantize_total total, with;
    struct path out = in_folder(&folder, "out.gguf");
    quantize(TINY, out.text, RF_DTYPE_F16, &total);
    poison(&folder, name, 7, 1e-9f);
    quantize(in.text, out.text, RF_DTYPE_F16, &with);
    assert_int_equal(with.underflow, total.underflow + 1);
    remove_folder(&folder);
}

static void bad_places_are_refused(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    struct rf_quantize_desc desc = {.type = RF_DTYPE_Q8_0};
    struct rf_quantize_total total;
    struct rf_error err = {0};
    fails(&folder, "/nowhere/model", &desc, RF_ERROR_IO, "/nowhere/model: cannot open", "");
    ASSERT_FAILURE(rf_quantize(TINY, "/nowhere/out.gguf", &desc, &total, &err), err, RF_ERROR_IO,
                   "/nowhere/out.gguf: cannot create a file beside it: No such file", "");
    ASSERT_FAILURE(rf_quantize(TINY, folder.path, &desc, &total, &err), err, RF_ERROR_IO,
                   "is no regular file", "");
    struct path in = in_folder(&folder, "in.gguf");
    quantize(TINY, in.text, RF_DTYPE_F16, &total);
    ASSERT_FAILURE(rf_quantize(in.text, in.text, &desc, &total, &err), err, RF_ERROR_ARGUMENT,
                   "in.gguf: is the model that is read", "");
    assert_int_equal(count_files(&folder), 1);
    remove_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_those_of_llama_quantize),
        cmocka_unit_test(types_are_chosen),
        cmocka_unit_test(models_come_back),
        cmocka_unit_test(ways_agree),
        cmocka_unit_test(tokenizers_come_back),
        cmocka_unit_test(interrupts_leave_nothing),
        cmocka_unit_test(full_disks_leave_nothing),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused),
        cmocka_unit_test(bad_places_are_refused),
    };
    return cmocka_run_group_tests_name("loader/quantize", tests, NULL, NULL);
}
