/* The published model's names and shapes bind within 64 MB of memory, without its 16 GB being read. The
 * files are sparse: real headers, and holes for weights. A program of its own, so that its peak memory is
 * that of the loader. */
#include "loader/model_files.h"
#include "model_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MEMORY_BAR = 64 << 20 };

static struct written_model model;

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    unsigned long total, resident;
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t peak_bytes(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (uint64_t)usage.ru_maxrss * 1024;
}

/* Bytes of a mapping that are in the page cache, so that somebody has read them. */
static uint64_t cached_bytes(const struct rf_file_map *map)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = ((size_t)map->size + page - 1) / page;
    unsigned char *present = malloc(pages);
    assert_non_null(present);
    assert_int_equal(mincore((void *)(uintptr_t)map->data, (size_t)map->size, present), 0);
    uint64_t cached = 0;
    for (size_t i = 0; i < pages; i++)
        cached += (present[i] & 1) * page;
    free(present);
    return cached;
}

static void check_shapes(const struct rf_model_files *files)
{
    assert_int_equal(files->shard_count, 5);
    assert_int_equal(files->config.layers, 36);
    assert_int_equal(files->embed.shape[0], 151671);
    assert_int_equal(files->lm_head.shape[0], 151671);
    assert_ptr_not_equal(files->lm_head.data, files->embed.data);
    for (uint32_t i = 0; i < 36; i++) {
        const struct rf_layer_tensors *layer = &files->layers[i];
        assert_int_equal(layer->q_proj.shape[0], 4096);
        assert_int_equal(layer->k_proj.shape[0], 1024);
        assert_int_equal(layer->down_proj.shape[1], 12288);
        assert_int_equal(layer->q_norm.shape[0], 128);
    }
    assert_int_equal(files->parameters, 8188564480);
    assert_int_equal(files->weight_bytes, 2 * 8188564480);
}

static void published_shapes_bind_within_the_memory_bar(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    fill_model(&model, &refusion_sizes, 5);
    write_model(&folder, &model);
    uint64_t resident = resident_bytes(), peak = peak_bytes();
    struct rf_model_files files;
    struct rf_error err = {0};
    if (rf_model_files_open(&files, folder.path, &err))
        fail_msg("%s", err.message);
    uint64_t resident_after = resident_bytes(), peak_after = peak_bytes(), cached = 0;
    check_shapes(&files);
    for (uint32_t i = 0; i < files.shard_count; i++)
        cached += cached_bytes(&files.shards[i].map);
    print_message("binding took %.2f MB resident, peak %.2f MB more; %.2f MB of %.2f GB in the page cache\n",
                  (double)(resident_after - resident) / 1e6, (double)(peak_after - peak) / 1e6,
                  (double)cached / 1e6, (double)files.weight_bytes / 1e9);
    assert_true(resident_after < MEMORY_BAR);
    assert_true(peak_after < MEMORY_BAR);
    assert_true(cached < MEMORY_BAR);
    rf_model_files_close(&files);
    remove_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_shapes_bind_within_the_memory_bar)};
    return cmocka_run_group_tests_name("loader/real_shape", tests, NULL, NULL);
}
