/* A model of 2 GB is quantized with little memory: what is resident at any time, the mapped file included,
 * grows by less than 700 MB. The file is sparse, its weights zero. */
#include "loader/file_map.h"
#include "loader/quantize.h"
#include "model_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LIMIT_MB = 700, SOURCE_MB = 2000 };

/* A line of /proc/self/status in MB; 0 where there is no such thing. */
static double resident_mb(const char *field)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double kilobytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            kilobytes = strtod(line + strlen(field) + 1, NULL);
    if (file)
        fclose(file);
    return kilobytes / 1024;
}

static void copy_tokenizer(const struct folder *folder)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    for (int i = 0; i < 2; i++) {
        char path[256];
        struct rf_file_map map;
        snprintf(path, sizeof path, RF_SOURCE_DIR "/tests/golden/tiny/%s", names[i]);
        assert_int_equal(rf_file_map_open(&map, path, NULL), RF_OK);
        write_bytes(folder, names[i], map.data, map.size);
        rf_file_map_close(&map);
    }
}

static void large_model_needs_little_memory(void **state)
{
    (void)state;
    struct folder folder = make_folder();
    static struct written_model model;
    /* The 8B shape with five layers and tiny's tokenizer. */
    struct model_sizes sizes = refusion_sizes;
    sizes.layers = 5;
    sizes.vocab = 8192;
    fill_model(&model, &sizes, 2);
    model.config_key = "mask_token_id";
    model.config_value = "670";
    write_model(&folder, &model);
    copy_tokenizer(&folder);
    double before = resident_mb("VmRSS");
    if (before <= 0) {
        remove_folder(&folder);
        skip();
    }
    /* The peak since now, where the system can forget the one before. */
    FILE *clear = fopen("/proc/self/clear_refs", "w");
    bool cleared = clear && fputs("5", clear) >= 0;
    if (clear)
        cleared &= fclose(clear) == 0;
    char out[128];
    snprintf(out, sizeof out, "%s/out.gguf", folder.path);
    struct rf_quantize_desc desc = {.type = RF_DTYPE_Q4_0};
    struct rf_quantize_total total;
    struct rf_error err = {0};
    enum rf_status status = rf_quantize(folder.path, out, &desc, &total, &err);
    double peak = resident_mb("VmHWM");
    struct stat info;
    bool exists = stat(out, &info) == 0;
    remove_folder(&folder);
    if (status)
        fail_msg("%s", err.message);
    assert_true(exists && (uint64_t)info.st_size >= total.bytes_after);
    print_message("%.0f MB to %.0f MB: resident %.0f MB before, %.0f MB at most%s\n",
                  (double)total.bytes_before / 1e6, (double)total.bytes_after / 1e6, before, peak,
                  cleared ? "" : " (since the start)");
    assert_true(total.bytes_before >= (uint64_t)SOURCE_MB * 1000000);
    assert_true(peak - before < LIMIT_MB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(large_model_needs_little_memory)};
    return cmocka_run_group_tests_name("loader/quantize_memory", tests, NULL, NULL);
}
