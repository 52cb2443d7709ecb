/* Compiles every embedded shader for an AMD chip on RADV's null device and writes what the compiler says of it.
 *   radv_stats TABLE.md
 * Fails when a pipeline cannot be made, spills a register or needs scratch memory. Nothing is executed, so this runs
 * without AMD hardware. Specialization: the values that the engine asks for, listed below or made by the engine, else the shader's defaults. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/capture.h"
#include "engine/gpu/shader_blobs.h"
#include "engine/model/coopmat.h"
#include "shaders/shared.h"

enum { MAX_SPECS = RF_KERNEL_SPECS, SKIPPED = 77 };

/* A family is every shader whose name is the family's or goes on with an underscore; the longest family wins. */
struct spec_set {
    const char *family;
    uint32_t count, values[MAX_SPECS];
};

/* Every specialization that engine/model/layers.c chooses; of the bench's ceilings one each. */
// clang-format off
static const struct spec_set spec_sets[] = {
    { "rmsnorm", 4, { 0, 1, 256, 0 } },
    { "rmsnorm", 4, { 1, 1, 256, 0 } },
    { "rmsnorm", 4, { 0, 2, 256, 0 } },
    { "rmsnorm", 4, { 0, 4, 256, 0 } },
    { "rmsnorm", 4, { 0, 8, 256, 0 } },
    { "rmsnorm", 4, { 1, 8, 256, 0 } },
    { "rmsnorm", 4, { 0, 16, 256, 0 } },
    { "head_rope", 1, { 1 } },
    { "head_rope", 1, { 2 } },
    { "head_rope", 1, { 4 } },
    { "head_rope", 1, { 8 } },
    { "head_rope", 1, { 16 } },
    { "matmul", 3, { RF_EPILOGUE_STORE, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_STORE, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_RESIDUAL, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_RESIDUAL, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_SWIGLU, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_SWIGLU, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_REDUCE, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_REDUCE, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_LOGITS, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_LOGITS, 64, 2 } },
    { "matmul", 3, { RF_EPILOGUE_PARTIAL, 64, 1 } },
    { "matmul", 3, { RF_EPILOGUE_PARTIAL, 64, 2 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_STORE, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_RESIDUAL, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_SWIGLU, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_REDUCE, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_LOGITS, 64, 8, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 1, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 2, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 4, 4 } },
    { "matmul_few", 4, { RF_EPILOGUE_PARTIAL, 64, 8, 4 } },
    { "matmul_wide", 3, { RF_EPILOGUE_STORE, 64, 1 } }, /* for CPUs; compiled, never chosen on a GPU */
    { "rmsnorm_int8", 4, { 0, 1, 64, 0 } },
    { "rmsnorm_int8", 4, { 0, 4, 64, 0 } },
    { "rmsnorm_int8", 4, { 1, 8, 64, 1 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 64, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 64, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 128, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 64, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_STORE, 256, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_RESIDUAL, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_RESIDUAL, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 128, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_REDUCE, 256, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_LOGITS, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_LOGITS, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_PARTIAL, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_PARTIAL, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 128, 16 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 128, 32 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 128, 64 } },
    { "matmul_int8", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 64 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_STORE, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_RESIDUAL, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_REDUCE, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_PARTIAL, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_PARTIAL, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_LOGITS, 64, 8 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 1 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 2 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 4 } },
    { "matmul_int8_few", 3, { RF_EPILOGUE_SWIGLU_INT8, 256, 8 } },
    { "attention", 2, { 1, 64 } },
    { "attention", 2, { 1, 128 } },
    { "attention", 2, { 2, 64 } },
    { "attention", 2, { 2, 128 } },
    { "attention", 2, { 4, 64 } },
    { "attention", 2, { 4, 128 } },
    { "attention", 2, { 8, 64 } },
    { "attention", 2, { 8, 128 } },
    { "attention_reduce", 0, { 0 } },
    { "bench_read", 2, { 0, 256 } },
    { "bench_math", 2, { 0, 256 } },
    { "bench_coopmat", 4, { 16, 128, 16, 16 } },
};
// clang-format on
enum { SET_COUNT = sizeof spec_sets / sizeof spec_sets[0] };

struct chip {
    struct rf_gpu *gpu;
    const struct rf_gpu_caps *caps;
    struct rf_device_info info;
};

/* What RADV reports for one pipeline; -1 where it says nothing. */
struct statistics {
    double sgprs, vgprs, spilled_sgprs, spilled_vgprs, scratch, lds, code, waves;
};

static bool skip(const char *why)
{
    fprintf(stderr, "radv_stats: %s\n", why);
    return false;
}

static bool open_chip(struct chip *chip)
{
    struct rf_error err;
    const struct rf_gpu_desc desc = { .capture = RF_CAPTURE_STATISTICS };
    if (rf_gpu_create(&chip->gpu, &desc, &err))
        return skip(err.message);
    chip->caps = rf_gpu_get_caps(chip->gpu);
    rf_gpu_get_info(chip->gpu, &chip->info);
    if (!strstr(chip->info.name, "RADV"))
        return skip("the device is not RADV");
    return chip->caps->pipeline_properties || skip("the device has no VK_KHR_pipeline_executable_properties");
}

static double find_statistic(const struct rf_kernel_facts *facts, const char *name)
{
    const struct rf_statistic *statistic = rf_find_statistic(facts, name);
    return statistic ? rf_statistic_number(statistic) : -1.0;
}

static struct statistics read_statistics(const struct rf_kernel_facts *facts)
{
    return (struct statistics){
        .sgprs = find_statistic(facts, "SGPRs"),
        .vgprs = find_statistic(facts, "VGPRs"),
        .spilled_sgprs = find_statistic(facts, "Spilled SGPRs"),
        .spilled_vgprs = find_statistic(facts, "Spilled VGPRs"),
        .scratch = find_statistic(facts, "Scratch size"),
        .lds = find_statistic(facts, "LDS size"),
        .code = find_statistic(facts, "Code size"),
        .waves = find_statistic(facts, "Subgroups per SIMD"),
    };
}

/* Writes one row of the table; false when the pipeline is not what it should be. */
static bool check_pipeline(const struct chip *chip, const struct rf_shader_blob *blob, const struct spec_set *set,
                           FILE *table)
{
    char values[128] = "";
    struct rf_kernel_id id = { .shader = blob->name, .spec_count = set->count };
    struct rf_kernel *kernel;
    struct rf_error err;
    for (uint32_t i = 0; i < set->count; i++) {
        snprintf(values + strlen(values), sizeof values - strlen(values), "%s%" PRIu32, i ? " " : "", set->values[i]);
        id.specs[i] = set->values[i];
    }
    if (rf_kernels_get(chip->gpu, &id, 1, &kernel, &err)) {
        fprintf(stderr, "radv_stats: %s (%s) on %s: %s\n", blob->name, values, chip->info.name, err.message);
        return false;
    }
    const struct statistics s = read_statistics(rf_kernel_get_facts(kernel));
    fprintf(table, "| %s | %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", blob->name, values, s.sgprs, s.vgprs,
            s.spilled_sgprs + s.spilled_vgprs, s.scratch, s.lds, s.code, s.waves);
    if (s.spilled_sgprs == 0.0 && s.spilled_vgprs == 0.0 && s.scratch == 0.0)
        return true;
    fprintf(stderr,
            "radv_stats: %s (%s): %.0f spilled SGPRs, %.0f spilled VGPRs, %.0f bytes of scratch on %s, wanted 0\n",
            blob->name, values, s.spilled_sgprs, s.spilled_vgprs, s.scratch, chip->info.name);
    return false;
}

static size_t family_length(const char *name, const char *family)
{
    const size_t length = strlen(family);
    return strncmp(name, family, length) == 0 && (name[length] == 0 || name[length] == '_') ? length : 0;
}

/* Every workgroup that engine/model/matmul.c chooses where fragments are 16 x 16 x 16, with each epilogue. */
static int check_coopmat(const struct chip *chip, const struct rf_shader_blob *blob, FILE *table)
{
    static const struct {
        uint32_t rows, columns;
    } workgroups[] = { { 16, 64 }, { 32, 64 }, { 64, 32 }, { 64, 64 }, { 64, 128 }, { 128, 128 } };
    int failures = 0;
    for (size_t i = 0; i < sizeof workgroups / sizeof workgroups[0]; i++)
        for (uint32_t epilogue = RF_EPILOGUE_STORE; epilogue <= RF_EPILOGUE_PARTIAL; epilogue++) {
            struct rf_coopmat_tiling tiling;
            uint32_t local = workgroups[i].columns / 16 * chip->caps->subgroup_size, rows = workgroups[i].rows;
            struct spec_set set = { .count = 3 + RF_COOPMAT_SPECS, .values = { epilogue, local, rows } };
            if (!rf_coopmat_divide(chip->caps, local, rows, epilogue == RF_EPILOGUE_REDUCE, &tiling)) {
                fprintf(stderr, "radv_stats: %u rows, %u columns: no such workgroup\n", rows, workgroups[i].columns);
                failures++;
                continue;
            }
            rf_coopmat_specs(&tiling, set.values + 3);
            failures += !check_pipeline(chip, blob, &set, table);
        }
    return failures;
}

static int check_coopmat_attention(const struct chip *chip, const struct rf_shader_blob *blob, FILE *table)
{
    static const struct {
        uint32_t group, head_dim, rows;
    } models[] = { { 2, 128, 16 }, { 2, 128, 64 }, { 4, 128, 64 }, { 8, 128, 64 }, { 4, 64, 64 }, { 3, 128, 64 } };
    int failures = 0;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct rf_coopmat_attention division;
        struct spec_set set = { .count = RF_COOPMAT_ATTENTION_SPECS };
        if (!rf_coopmat_attend(chip->caps, models[i].group, models[i].head_dim, models[i].rows, &division)) {
            fprintf(stderr, "radv_stats: attention of %u heads: no such workgroup\n", models[i].group);
            failures++;
            continue;
        }
        rf_coopmat_attention_specs(&division, models[i].group, models[i].head_dim, set.values);
        failures += !check_pipeline(chip, blob, &set, table);
    }
    return failures;
}

static int check_shader(const struct chip *chip, const struct rf_shader_blob *blob, bool used[SET_COUNT], FILE *table)
{
    size_t longest = 0;
    int failures = 0;
    struct rf_spirv_info info;
    struct rf_error err;
    if (rf_spirv_read(&info, blob->words, blob->word_count, NULL, 0, blob->name, &err)) {
        fprintf(stderr, "radv_stats: %s\n", err.message);
        return 1;
    }
    if (info.int64 && !chip->caps->wide_attention && !chip->caps->spread) {
        fprintf(table, "| %s | for CPUs alone | | | | | | | |\n", blob->name);
        return 0;
    }
    const bool runs = (!info.cooperative_matrix || chip->caps->coopmat) && !info.cooperative_matrix2;
    if (!runs)
        fprintf(table, "| %s | needs cooperative matrices | | | | | | | |\n", blob->name);
    if (family_length(blob->name, "attention_coopmat"))
        return runs ? check_coopmat_attention(chip, blob, table) : 0;
    if (info.tensor_addressing)
        return 0;
    if (family_length(blob->name, "matmul_coopmat"))
        return runs ? check_coopmat(chip, blob, table) : 0;
    for (int i = 0; i < SET_COUNT; i++)
        if (family_length(blob->name, spec_sets[i].family) > longest)
            longest = family_length(blob->name, spec_sets[i].family);
    for (int i = 0; longest && i < SET_COUNT; i++) {
        if (family_length(blob->name, spec_sets[i].family) != longest)
            continue;
        used[i] = true;
        failures += runs && !check_pipeline(chip, blob, &spec_sets[i], table);
    }
    if (longest == 0 && runs)
        failures += !check_pipeline(chip, blob, &(struct spec_set){ 0 }, table);
    return failures;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: radv_stats TABLE.md\n");
        return 2;
    }
    struct chip chip = { 0 };
    if (!open_chip(&chip)) {
        rf_gpu_destroy(chip.gpu);
        return SKIPPED;
    }
    FILE *table = fopen(argv[1], "w");
    if (!table) {
        fprintf(stderr, "radv_stats: %s: cannot be written\n", argv[1]);
        rf_gpu_destroy(chip.gpu);
        return 1;
    }
    fprintf(table, "# Shaders on %s\n\n| shader | specialization | SGPRs | VGPRs | spills | scratch | LDS | code bytes "
            "| subgroups per SIMD |\n|---|---|---|---|---|---|---|---|---|\n", chip.info.name);
    bool used[SET_COUNT] = { false };
    int failures = 0;
    for (size_t i = 0; i < rf_shader_blob_count; i++)
        failures += check_shader(&chip, &rf_shader_blobs[i], used, table);
    for (int i = 0; i < SET_COUNT; i++)
        if (!used[i]) {
            fprintf(stderr, "radv_stats: no shader belongs to the family %s\n", spec_sets[i].family);
            failures++;
        }
    if (fclose(table) != 0)
        failures++;
    rf_gpu_destroy(chip.gpu);
    printf("%zu shaders on %s, %d failures\n", rf_shader_blob_count, chip.info.name, failures);
    return failures ? 1 : 0;
}
