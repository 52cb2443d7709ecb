/* Pipelines: identity, batches, replaced shaders, the SPIR-V reader, the cache file. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/gpu/shader_blobs.h"
#include "engine/gpu/spirv.h"
#include "tests/gpu/support.h"

static unsigned char *read_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* A fresh folder; remove_folder takes the files in it too. */
static void make_folder(char *path, size_t room)
{
    snprintf(path, room, "%s", "/tmp/refusion-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    char file[1024];
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            remove(file);
    }
    if (folder)
        closedir(folder);
    remove(path);
}

/* The only file of a folder. */
static void only_file(const char *folder, char *path, size_t room)
{
    DIR *dir = opendir(folder);
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, room, "%s/%s", folder, entry->d_name);
        ++count;
    }
    closedir(dir);
    assert_int_equal(count, 1);
}

static void test_identity(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_kernel *kernels[24], *again[24];
    struct rf_kernel_id ids[24];
    for (uint32_t i = 0; i < 24; ++i)
        ids[i] = (struct rf_kernel_id){.shader = "test_push", .spec_count = 2, .specs = {i % 12, 32}};
    assert_rf_ok(rf_kernels_get(gpu, ids, 24, kernels, &err));
    for (uint32_t i = 0; i < 24; ++i)
        for (uint32_t j = 0; j < i; ++j)
            assert_int_equal(kernels[i] == kernels[j], i % 12 == j % 12);
    assert_rf_ok(rf_kernels_get(gpu, ids, 24, again, &err));
    assert_memory_equal(kernels, again, sizeof kernels);
    assert_string_equal(rf_kernel_name(kernels[0]), "test_push");
    assert_int_equal(rf_kernel_local_size(kernels[0]), 32);
    ids[0].specs[1] = 64;
    assert_rf_ok(rf_kernels_get(gpu, ids, 1, again, &err));
    assert_ptr_not_equal(again[0], kernels[0]);
    assert_int_equal(rf_kernel_local_size(again[0]), 64);

    ids[0].specs[1] = 1 << 15;
    assert_rf_status(rf_kernels_get(gpu, ids, 1, again, &err), RF_ERROR_UNSUPPORTED);
    assert_message(&err, "test_push: 32768 invocations in a workgroup, the device has at most");
    ids[0].specs[1] = 32;
    ids[0].subgroup_size = 3;
    assert_rf_status(rf_kernels_get(gpu, ids, 1, again, &err), RF_ERROR_UNSUPPORTED);
    assert_message(&err, "subgroup size 3 is wanted");
    ids[0].subgroup_size = rf_gpu_get_caps(gpu)->subgroup_size;
    assert_rf_ok(rf_kernels_get(gpu, ids, 1, again, &err));
    ids[1].shader = "no_such_kernel";
    assert_rf_status(rf_kernels_get(gpu, ids, 2, again, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "shader no_such_kernel: there is none of this name");
    assert_null(again[0]);
    ids[0].spec_count = RF_KERNEL_SPECS + 1;
    assert_rf_status(rf_kernels_get(gpu, ids, 1, again, &err), RF_ERROR_ARGUMENT);
    rf_gpu_destroy(gpu);
}

/* Every shader of the library, with its default constants, in one batch. SwiftShader's compiler takes many
 * seconds for a matmul: there the kernels' own tests make those pipelines, and once is enough. */
static void test_builtin(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_device_info device;
    rf_gpu_get_info(gpu, &device);
    const bool slow_compiler = strstr(device.name, "SwiftShader") != NULL;
    struct rf_kernel_id *ids = calloc(rf_shader_blob_count + 1, sizeof *ids);
    struct rf_kernel **kernels = calloc(rf_shader_blob_count + 1, sizeof(struct rf_kernel *));
    size_t count = 0;
    assert_true(ids && kernels && rf_shader_blob_count > 0);
    for (size_t i = 0; i < rf_shader_blob_count; ++i) {
        struct rf_spirv_info info;
        const struct rf_shader_blob *blob = &rf_shader_blobs[i];
        assert_rf_ok(rf_spirv_read(&info, blob->words, blob->word_count, NULL, 0, blob->name, &err));
        assert_true(info.push_bytes > 0 && info.push_bytes <= RF_PUSH_BYTES);
        assert_false(info.float64 || info.int8 || info.storage8);
        /* Only for CPUs that have it, see rf_gpu_caps.wide_attention and spread. */
        const bool spread = strstr(blob->name, "_spread") != NULL;
        assert_int_equal(info.int64, spread || strncmp(blob->name, "attention_wide", 14) == 0);
        if (info.int64 && !(spread ? rf_gpu_get_caps(gpu)->spread : rf_gpu_get_caps(gpu)->wide_attention))
            continue;
        if ((info.float16 || info.storage16) && !rf_gpu_get_caps(gpu)->fp16)
            continue;
        assert_int_equal(info.cooperative_matrix2, strstr(blob->name, "coopmat2") != NULL);
        if (strstr(blob->name, "coopmat") && !rf_gpu_get_caps(gpu)->coopmat)
            continue;
        if (info.cooperative_matrix2 && !rf_gpu_get_caps(gpu)->coopmat2)
            continue;
        assert_int_equal(info.tensor_addressing, strstr(blob->name, "matmul_coopmat2") != NULL);
        if (info.tensor_addressing && !rf_gpu_get_caps(gpu)->coopmat2_matmul)
            continue;
        assert_int_equal(info.dot_product, strstr(blob->name, "_int8") && !strstr(blob->name, "norm") &&
                                               !strstr(blob->name, "attention"));
        if (info.dot_product && !rf_gpu_get_caps(gpu)->dot_product)
            continue;
        if (slow_compiler && strncmp(blob->name, "matmul", 6) == 0)
            continue;
        ids[count++].shader = blob->name;
    }
    struct timespec start, end;
    timespec_get(&start, TIME_UTC);
    assert_rf_ok(rf_kernels_get(gpu, ids, count, kernels, &err));
    timespec_get(&end, TIME_UTC);
    print_message("%zu pipelines in %.3f s\n", count,
                  (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec));
    free(ids);
    free(kernels);
    rf_gpu_destroy(gpu);
}

/* Files of shader_dir: a good one is taken, a damaged one or one with other push constants is refused by
 * name. */
static void test_shader_dir(void **state)
{
    (void)state;
    struct rf_error err;
    char folder[64], path[256];
    size_t size, other_size;
    struct rf_spirv_info builtin;
    assert_true(rf_shader_blob_count > 0);
    const struct rf_shader_blob *blob = &rf_shader_blobs[0];
    unsigned char *words = read_bytes(RF_TEST_SHADER_DIR "/test_push.spv", &size);
    unsigned char *other = read_bytes(RF_TEST_SHADER_DIR "/test_half.spv", &other_size);
    assert_rf_ok(rf_spirv_read(&builtin, blob->words, blob->word_count, NULL, 0, blob->name, &err));
    make_folder(folder, sizeof folder);
    struct rf_gpu *gpu;
    struct rf_kernel *kernel;
    struct rf_gpu_desc desc = {.shader_dir = folder};
    struct rf_kernel_id id = {.shader = "extra"};
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    snprintf(path, sizeof path, "%s/extra.spv", folder);
    const struct {
        size_t size;
        enum rf_status status;
        const char *message;
    } cases[] = {
        {0, RF_ERROR_FORMAT, "0 bytes, wanted SPIR-V words"},
        {size - 1, RF_ERROR_FORMAT, "wanted SPIR-V words"},
        {16, RF_ERROR_FORMAT, "no SPIR-V (4 words"},
        {20, RF_ERROR_FORMAT, "without a compute entry point"},
        {size / 8 * 4, RF_ERROR_FORMAT, "malformed SPIR-V"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        write_bytes(path, words, cases[i].size);
        assert_rf_status(rf_kernels_get(gpu, &id, 1, &kernel, &err), cases[i].status);
        assert_message(&err, cases[i].message);
        assert_message(&err, path);
    }
    write_bytes(path, words, size);
    assert_rf_ok(rf_kernels_get(gpu, &id, 1, &kernel, &err));
    assert_int_equal(rf_kernel_push_size(kernel), sizeof(struct test_push));

    /* In place of a built-in shader: whichever of the two has other push constants. */
    const bool half = builtin.push_bytes == 28;
    snprintf(path, sizeof path, "%s/%s.spv", folder, blob->name);
    write_bytes(path, half ? other : words, half ? other_size : size);
    id.shader = blob->name;
    assert_rf_status(rf_kernels_get(gpu, &id, 1, &kernel, &err), RF_ERROR_FORMAT);
    char wanted[160];
    snprintf(wanted, sizeof wanted, "%s.spv: %u bytes of push constants, the built-in shader has %u",
             blob->name, half ? 12u : 28u, builtin.push_bytes);
    assert_message(&err, wanted);
    rf_gpu_destroy(gpu);
    remove_folder(folder);
    free(words);
    free(other);
}

/* Damaged words: the reader says no or gives some numbers, it never reads beyond them. */
static void test_spirv_damage(void **state)
{
    (void)state;
    struct rf_error err;
    size_t size;
    unsigned char *bytes = read_bytes(RF_TEST_SHADER_DIR "/test_push.spv", &size);
    const size_t count = size / 4;
    uint32_t *words = malloc(size), seed = 3;
    const uint32_t specs[2] = {0, 64};
    struct rf_spirv_info info;
    size_t refused = 0;
    assert_non_null(words);
    for (int n = 0; n < 50000; ++n) {
        memcpy(words, bytes, size);
        for (int k = 0; k < 1 + n % 3; ++k) {
            seed = seed * 1664525u + 1013904223u;
            const uint32_t index = (seed >> 8) % (uint32_t)count;
            seed = seed * 1664525u + 1013904223u;
            words[index] = n % 2 ? seed : words[index] ^ (1u << (seed >> 27));
        }
        /* A copy of exact size, so that the sanitizer sees a read beyond it. */
        const size_t cut = n % 5 == 0 ? seed % (count + 1) : count;
        uint32_t *exact = malloc(cut * 4 + 1);
        assert_non_null(exact);
        memcpy(exact, words, cut * 4);
        refused += rf_spirv_read(&info, exact, cut, specs, 2, "damaged", &err) != RF_OK;
        free(exact);
    }
    assert_true(refused > 1000);
    memcpy(words, bytes, size);
    assert_rf_ok(rf_spirv_read(&info, words, count, specs, 2, "whole", &err));
    assert_int_equal(info.local_size[0], 64);
    assert_int_equal(info.local_size[1], 1);
    assert_int_equal(info.push_bytes, 28);
    assert_int_equal(info.push_alignment, 8);
    assert_string_equal(info.entry, "main");
    free(words);
    free(bytes);
}

/* ---- The cache file ---- */

static void run_with_cache(const char *folder, struct test_log *log)
{
    struct rf_error err;
    struct rf_gpu *gpu;
    struct rf_gpu_desc desc = {
        .shader_dir = RF_TEST_SHADER_DIR, .cache_dir = folder, .log = test_log_line, .log_user = log};
    log->text[0] = '\0';
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    test_kernel(gpu, 3, 16);
    rf_gpu_destroy(gpu);
}

static void test_cache_file(void **state)
{
    (void)state;
    static struct test_log log;
    char base[64], folder[256], path[512];
    size_t size, size_after;
    make_folder(base, sizeof base);
    snprintf(folder, sizeof folder, "%s/new/folder", base); /* both are made */
    run_with_cache(folder, &log);
    assert_null(strstr(log.text, "pipeline cache"));
    only_file(folder, path, sizeof path);
    unsigned char *bytes = read_bytes(path, &size);
    run_with_cache(folder, &log);
    assert_null(strstr(log.text, "pipeline cache"));

    static const struct {
        const char *what, *message;
    } damages[] = {
        {"byte", "its checksum is wrong"},
        {"foreign", "written for another device, driver or build"},
        {"truncated", "its length is not what its header says"},
        {"longer", "its length is not what its header says"},
        {"short", "shorter than its header"},
        {"empty", "shorter than its header"},
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; ++i) {
        unsigned char *bad = malloc(size + 1);
        size_t bad_size = size;
        assert_non_null(bad);
        memcpy(bad, bytes, size);
        bad[size] = 0;
        if (i == 0)
            bad[size - 1] ^= 1;
        if (i == 1)
            bad[30] ^= 1; /* in the device's UUID */
        if (i == 2)
            bad_size = size - 1;
        if (i == 3)
            bad_size = size + 1;
        if (i == 4)
            bad_size = 20;
        if (i == 5)
            bad_size = 0;
        write_bytes(path, bad, bad_size);
        free(bad);
        run_with_cache(folder, &log);
        if (!strstr(log.text, damages[i].message))
            fail_msg("%s: log is \"%s\"", damages[i].what, log.text);
        free(read_bytes(path, &size_after)); /* written anew, whole */
        run_with_cache(folder, &log);
        assert_null(strstr(log.text, "pipeline cache"));
    }
    free(bytes);
    remove_folder(folder);
    snprintf(folder, sizeof folder, "%s/new", base);
    remove_folder(folder);
    remove_folder(base);
}

/* A place that cannot be written costs a line in the log and nothing else. */
static void test_cache_unwritable(void **state)
{
    (void)state;
    static struct test_log log;
    char base[64], folder[256];
    make_folder(base, sizeof base);
    snprintf(folder, sizeof folder, "%s/file", base);
    write_bytes(folder, "x", 1);
    snprintf(folder, sizeof folder, "%s/file/folder", base);
    run_with_cache(folder, &log);
    assert_non_null(strstr(log.text, "cannot be written"));
    remove_folder(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),   cmocka_unit_test(test_builtin),
        cmocka_unit_test(test_shader_dir), cmocka_unit_test(test_spirv_damage),
        cmocka_unit_test(test_cache_file), cmocka_unit_test(test_cache_unwritable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
