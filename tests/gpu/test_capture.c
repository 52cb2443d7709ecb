/* Devices that only compile: what is known of their kernels, what they must not touch. On RADV without hardware
 * also what the driver tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gpu/cache_file.h"
#include "engine/gpu/capture.h"
#include "engine/gpu/internal.h"
#include "engine/gpu/shader_blobs.h"
#include "shaders/shared.h"
#include "tests/gpu/support.h"

static struct rf_gpu *capturing(const char *cache, enum rf_capture capture)
{
    struct rf_error err;
    struct rf_gpu *gpu;
    const struct rf_gpu_desc desc = {
        .cache_dir = cache, .shader_dir = RF_TEST_SHADER_DIR, .debug_checks = true, .capture = capture};
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    assert_true(rf_gpu_captures(gpu));
    return gpu;
}

static const struct rf_kernel_facts *facts_of(struct rf_gpu *gpu, const struct rf_kernel_id *id)
{
    struct rf_error err;
    struct rf_kernel *kernel;
    assert_rf_ok(rf_kernels_get(gpu, id, 1, &kernel, &err));
    const struct rf_kernel_facts *facts = rf_kernel_get_facts(kernel);
    assert_non_null(facts);
    return facts;
}

static void test_facts(void **state)
{
    (void)state;
    struct rf_gpu *gpu = capturing(NULL, RF_CAPTURE_STATISTICS);
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(gpu);
    const struct rf_kernel_facts *facts =
        facts_of(gpu, &(struct rf_kernel_id){.shader = "test_push", .spec_count = 2, .specs = {7, 32}});
    assert_string_equal(facts->shader, "test_push");
    assert_true(facts->replaced && facts->spirv_words > 50);
    assert_int_equal(facts->spec_count, 2);
    assert_int_equal(facts->specs[0], 7);
    assert_string_equal(facts->info.spec_names[0], "offset");
    assert_string_equal(facts->info.spec_names[1], "LOCAL");
    assert_string_equal(facts->info.spec_names[2], "");
    assert_int_equal(facts->info.local_size[0], 32);
    assert_int_equal(facts->info.shared_bytes, 0);
    assert_int_equal(facts->subgroup_size, caps->subgroup_size);
    assert_int_equal(facts->executable_count > 0, caps->pipeline_properties);

    facts =
        facts_of(gpu, &(struct rf_kernel_id){.shader = "matmul_bf16", .spec_count = 3, .specs = {1, 16, 2}});
    assert_false(facts->replaced);
    assert_string_equal(facts->info.spec_names[RF_SPEC_EPILOGUE], "EPILOGUE");
    assert_string_equal(facts->info.spec_names[RF_SPEC_LOCAL], "LOCAL");
    assert_string_equal(facts->info.spec_names[RF_SPEC_ROWS], "ROWS");
    rf_gpu_destroy(gpu);
}

/* Sums of the shaders' declarations, written out by hand. */
static void test_shared_bytes(void **state)
{
    (void)state;
    static const struct {
        struct rf_kernel_id id;
        uint32_t bytes;
        bool dot_product;
    } cases[] = {
        {{.shader = "rows_gather"}, 64 * 4 + 4, false},
        {{.shader = "slot_select"}, 3 * 64 * 4, false},
        {{.shader = "slot_accept"}, 4 * 4, false},
        {{.shader = "kv_commit"}, 0, false},
        {{.shader = "attention", .spec_count = 2, .specs = {2, 64}},
         2 * 16 * 16 + 2 * 64 * 4 + 2 * 64 * 4 + 2 * 64 / 4 * 4 + 64 * 2 * 16,
         false},
        {{.shader = "attention", .spec_count = 2, .specs = {4, 128}},
         4 * 32 * 16 + 4 * 64 * 4 + 2 * 64 * 4 + 4 * 64 / 4 * 4 + 64 * 4 * 16,
         false},
        /* QUADS 16, W_STRIDE 18, FACTORS_FIRST 288, X_FIRST 352, NUMBERS_FIRST 608, BUFFER 672; SUMS 1024 */
        {{.shader = "matmul_int8_q8_0", .spec_count = 3, .specs = {0, 128, 64}}, 2 * 672 * 16, true},
    };
    struct rf_gpu *gpu = capturing(NULL, RF_CAPTURE_STATISTICS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        if (cases[i].dot_product && !(rf_gpu_get_caps(gpu)->dot_product && rf_gpu_get_caps(gpu)->fp16))
            continue;
        const struct rf_kernel_facts *facts = facts_of(gpu, &cases[i].id);
        if (facts->info.shared_bytes != cases[i].bytes)
            fail_msg("%s: %u bytes of shared memory, wanted %u", facts->shader, facts->info.shared_bytes,
                     cases[i].bytes);
        /* Drivers round up. */
        const struct rf_statistic *lds = rf_find_statistic(facts, "LDS size");
        if (lds)
            assert_in_range((unsigned long)rf_statistic_number(lds), cases[i].bytes, cases[i].bytes + 1023);
    }
    rf_gpu_destroy(gpu);
}

/* Constant expressions and shared types of a damaged module may refer to each other, or to nothing. */
static void test_damaged(void **state)
{
    (void)state;
    struct rf_error err;
    const struct rf_shader_blob *blob = NULL;
    const uint32_t specs[] = {0, 128, 64};
    uint32_t seed = 5, refused = 0, unknown = 0;
    for (size_t i = 0; i < rf_shader_blob_count; ++i)
        if (strcmp(rf_shader_blobs[i].name, "matmul_int8_q8_0") == 0)
            blob = &rf_shader_blobs[i];
    assert_non_null(blob);
    uint32_t *words = malloc(blob->word_count * 4); /* of exact size, for the sanitizer */
    assert_non_null(words);
    for (int n = 0; n < 4000; ++n) {
        struct rf_spirv_info info;
        memcpy(words, blob->words, blob->word_count * 4);
        for (int k = 0; k < 20; ++k) {
            seed = seed * 1664525u + 1013904223u;
            const uint32_t at =
                5 + (seed >> 8) % (uint32_t)(blob->word_count / 4 - 5); /* types stand in front */
            seed = seed * 1664525u + 1013904223u;
            words[at] = n % 2 ? words[at] ^ 1u << (seed >> 27) : (seed >> 8) % words[3];
        }
        if (rf_spirv_read(&info, words, blob->word_count, specs, 3, "damaged", &err))
            ++refused;
        else
            unknown += info.shared_bytes == RF_SHARED_UNKNOWN;
    }
    printf("%u refused, %u with shared memory that is not understood\n", refused, unknown);
    assert_true(refused > 100);
    free(words);
}

static void test_what_the_driver_tells(void **state)
{
    (void)state;
    struct rf_gpu *gpu = capturing(NULL, RF_CAPTURE_ALL);
    const struct rf_kernel_facts *facts = facts_of(gpu, &(struct rf_kernel_id){.shader = "rows_gather"});
    uint32_t texts = 0;
    if (!rf_gpu_get_caps(gpu)->pipeline_properties) {
        assert_int_equal(facts->executable_count, 0);
        assert_null(rf_find_statistic(facts, "VGPRs"));
        rf_gpu_destroy(gpu);
        return;
    }
    assert_true(facts->executable_count > 0);
    for (uint32_t e = 0; e < facts->executable_count; ++e) {
        const struct rf_executable *executable = &facts->executables[e];
        assert_true(executable->name[0] && executable->statistic_count > 0);
        for (uint32_t s = 0; s < executable->statistic_count; ++s)
            assert_true(executable->statistics[s].name[0]);
        for (uint32_t r = 0; r < executable->representation_count; ++r) {
            const struct rf_representation *representation = &executable->representations[r];
            assert_true(representation->name[0] && representation->size > 0);
            if (!representation->is_text)
                continue;
            assert_int_equal(strlen((const char *)representation->data), representation->size);
            texts += strstr((const char *)representation->data, "s_endpgm") != NULL;
        }
    }
    const struct rf_statistic *vgprs = rf_find_statistic(facts, "VGPRs");
    assert_true(vgprs && rf_statistic_number(vgprs) >= 1.0 && rf_statistic_number(vgprs) <= 256.0);
    assert_true(texts > 0);
    rf_gpu_destroy(gpu);

    gpu = capturing(NULL, RF_CAPTURE_STATISTICS);
    facts = facts_of(gpu, &(struct rf_kernel_id){.shader = "rows_gather"});
    assert_non_null(rf_find_statistic(facts, "VGPRs"));
    assert_int_equal(facts->executables[0].representation_count, 0);
    rf_gpu_destroy(gpu);
}

/* Masked, the extension is not used. */
static void test_masked(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu;
    const struct rf_gpu_desc desc = {.disable = "pipelineProperties", .capture = RF_CAPTURE_ALL};
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    assert_false(rf_gpu_get_caps(gpu)->pipeline_properties);
    const struct rf_kernel_facts *facts = facts_of(gpu, &(struct rf_kernel_id){.shader = "rows_gather"});
    assert_int_equal(facts->executable_count, 0);
    assert_int_equal(facts->info.shared_bytes, 260);
    rf_gpu_destroy(gpu);
}

static void test_no_memory_no_work(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = capturing(NULL, RF_CAPTURE_STATISTICS);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_UPLOAD, "test");
    struct rf_span one, two;
    uint64_t ticket = 0;
    const uint32_t word = 0;
    assert_rf_ok(rf_arena_alloc(arena, &one, 1000, "one", &err));
    assert_rf_ok(rf_arena_alloc(arena, &two, 1 << 20, "two", &err));
    assert_int_equal(one.size, 1000);
    assert_true(one.address != 0 && two.address >= one.address + one.size);
    assert_true(one.host == NULL && one.block == NULL);
    assert_int_equal(rf_gpu_memory_used(gpu), 0);
    assert_rf_status(rf_gpu_write(gpu, one, &word, sizeof word, &err), RF_ERROR_ARGUMENT);
    assert_rf_status(rf_submit_buffers(gpu, &(VkCommandBuffer){0}, 1, &ticket, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "only compiles");
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

/* ---- The cache file ---- */

static struct rf_gpu *usual(const char *cache, struct rf_error *error)
{
    struct rf_gpu *gpu = NULL;
    const struct rf_gpu_desc desc = {.cache_dir = cache, .shader_dir = RF_TEST_SHADER_DIR};
    if (rf_gpu_create(&gpu, &desc, error))
        return NULL;
    return gpu;
}

/* Device, inode, size and time of the pipeline cache's file; false: there is none. */
static bool look(const char *path, struct stat *info)
{
    return stat(path, info) == 0;
}

static void test_cache_untouched(void **state)
{
    (void)state;
    struct rf_error err;
    char folder[] = "/tmp/refusion-test-XXXXXX", path[RF_CACHE_PATH];
    struct stat before, after;
    assert_non_null(mkdtemp(folder));
    struct rf_gpu *gpu = capturing(folder, RF_CAPTURE_STATISTICS);
    assert_true(rf_cache_path(gpu, "pipelines", "bin", path));
    facts_of(gpu, &(struct rf_kernel_id){.shader = "test_push", .spec_count = 2, .specs = {1, 16}});
    assert_true(gpu->pipeline_cache == VK_NULL_HANDLE && gpu->pipeline_cache_loaded == 0);
    rf_gpu_destroy(gpu);
    assert_false(look(path, &before)); /* nothing was written */

    gpu = usual(folder, &err);
    if (!gpu) { /* a device without hardware: only compiling is possible there */
        assert_message(&err, "vkCreateSemaphore");
        rmdir(folder);
        return;
    }
    test_kernel(gpu, 1, 16);
    rf_gpu_destroy(gpu);
    assert_true(look(path, &before));
    unsigned char *bytes = malloc((size_t)before.st_size), *again = malloc((size_t)before.st_size);
    FILE *file = fopen(path, "rb");
    assert_true(bytes && again && file);
    assert_int_equal(fread(bytes, 1, (size_t)before.st_size, file), before.st_size);
    fclose(file);

    gpu = capturing(folder, RF_CAPTURE_ALL);
    facts_of(gpu, &(struct rf_kernel_id){.shader = "test_push", .spec_count = 2, .specs = {2, 32}});
    facts_of(gpu, &(struct rf_kernel_id){.shader = "rows_gather"});
    rf_gpu_destroy(gpu);
    assert_true(look(path, &after));
    assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size &&
                before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
                before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(again, 1, (size_t)before.st_size, file), before.st_size);
    fclose(file);
    assert_memory_equal(bytes, again, (size_t)before.st_size);
    free(bytes);
    free(again);

    gpu = usual(folder, &err); /* and it still serves */
    assert_non_null(gpu);
    assert_true(gpu->pipeline_cache_loaded > 0);
    rf_gpu_destroy(gpu);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),           cmocka_unit_test(test_shared_bytes),
        cmocka_unit_test(test_damaged),         cmocka_unit_test(test_what_the_driver_tells),
        cmocka_unit_test(test_masked),          cmocka_unit_test(test_no_memory_no_work),
        cmocka_unit_test(test_cache_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
