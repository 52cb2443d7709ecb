/* refusion profile --static, --disassemble: what the driver's compiler made of every pipeline that a model takes.
 * Nothing is executed and no weight is read, so a device without hardware does. */
#include "apps/refusion/engine_open.h"
#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/json_out.h"
#include "apps/refusion/profile/amd.h"
#include "apps/refusion/profile/profile_json.h"
#include "apps/refusion/program.h"

#include "engine/context.h"
#include "engine/gpu/capture.h"
#include "engine/model/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 256, NEAR_NAMES = 5, DUMP_BYTES = 16 };

struct listing {
    const struct settings *settings;
    struct engine engine;
    struct rf_device_info device;
    struct rf_kernel_list list;
    struct rf_kernel **kernels; /* [list.count] */
    bool told;                  /* the driver tells what it compiled */
};

/* ---- Statistics ------------------------------------------------------------------------------------- */

/* The table's columns: drivers call one thing by different names. RADV's are tested; those of NVIDIA's, Intel's
 * and other drivers are from what people have published of them. A column that no pipeline has is left out;
 * --json has all that the driver tells. */
enum { COLUMN_NAMES = 4 };
static const struct column {
    const char *title;
    bool sum; /* of all names; else the first that there is */
    const char *names[COLUMN_NAMES];
} columns[] = {
    {"VGPRs", false, {"VGPRs"}},
    {"SGPRs", false, {"SGPRs"}},
    {"registers", false, {"Register Count", "Registers", "GPRs"}},
    {"spilled", true, {"Spilled VGPRs", "Spilled SGPRs", "Spill Count", "Spills to memory"}},
    {"scratch", false, {"Scratch size", "Scratch Memory Size", "Local Memory Size"}},
    {"LDS", false, {"LDS size", "Shared Memory Size", "Workgroup Memory Size"}},
    {"occupancy", false, {"Subgroups per SIMD", "Occupancy"}},
    {"instructions", false, {"Instructions", "Instruction Count"}},
    {"code", false, {"Code size", "Binary Size"}},
};
enum { COLUMNS = sizeof columns / sizeof *columns };
enum { COLUMN_SPILLED = 3, COLUMN_SCRATCH = 4 };

static bool column_value(const struct column *column, const struct rf_kernel_facts *facts, double *value)
{
    bool found = false;
    *value = 0.0;
    for (int i = 0; i < COLUMN_NAMES && column->names[i]; i++) {
        const struct rf_statistic *statistic = rf_find_statistic(facts, column->names[i]);
        if (statistic && (column->sum || !found))
            *value += rf_statistic_number(statistic);
        found = found || statistic;
    }
    return found;
}

static bool needs_memory(const struct rf_kernel_facts *facts)
{
    double spilled, scratch;
    column_value(&columns[COLUMN_SPILLED], facts, &spilled);
    column_value(&columns[COLUMN_SCRATCH], facts, &scratch);
    return spilled > 0.0 || scratch > 0.0;
}

/* ---- Texts ------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void append(char cell[CELL], const char *format, ...)
{
    size_t used = strlen(cell);
    va_list args;
    va_start(args, format);
    vsnprintf(cell + used, CELL - used, format, args);
    va_end(args);
}

/* A bucket is forwards of more rows than the one before it holds: "1-8,33-512". */
static void write_rows(char cell[CELL], uint32_t buckets)
{
    for (uint32_t b = 0; buckets >> b; b++) {
        if (!(buckets >> b & 1))
            continue;
        uint32_t first = b ? (1u << (b - 1)) + 1 : 1;
        while (buckets >> (b + 1) & 1)
            b++;
        append(cell, "%s%" PRIu32, cell[0] ? "," : "", first);
        if (1u << b > first)
            append(cell, "-%" PRIu32, 1u << b);
    }
}

static uint32_t all_buckets(const struct rf_kernel_use *use)
{
    uint32_t buckets = 0;
    for (uint32_t i = 0; i < use->op_count; i++)
        buckets |= use->ops[i].buckets;
    return buckets;
}

/* With rows where they are not those of all: "o (33-64), down". */
static void write_ops(char cell[CELL], const struct rf_kernel_use *use)
{
    for (uint32_t i = 0; i < use->op_count; i++) {
        char rows[CELL] = "";
        write_rows(rows, use->ops[i].buckets);
        bool some = use->ops[i].buckets != all_buckets(use);
        append(cell, "%s%s%s%s%s", i ? ", " : "", use->ops[i].op, some ? " (" : "", some ? rows : "",
               some ? ")" : "");
    }
}

/* A constant that the shader does not use has no name. */
static void write_specs(char cell[CELL], const struct rf_kernel_facts *facts)
{
    for (uint32_t i = 0; i < facts->spec_count; i++) {
        const char *name = facts->info.spec_names[i];
        if (name[0])
            append(cell, "%s%s=%" PRIu32, cell[0] ? " " : "", name, facts->specs[i]);
        else
            append(cell, "%s#%" PRIu32 "=%" PRIu32, cell[0] ? " " : "", i, facts->specs[i]);
    }
}

/* ---- The table -------------------------------------------------------------------------------------- */

enum { TEXT_COLUMNS = 4, FIXED_COLUMNS = 8, MOST_COLUMNS = FIXED_COLUMNS + COLUMNS };

typedef char table_row[MOST_COLUMNS][CELL];

static void fill_row(table_row row, const struct listing *l, uint32_t index, const bool shown[COLUMNS])
{
    const struct rf_kernel_use *use = &l->list.uses[index];
    const struct rf_kernel_facts *facts = rf_kernel_get_facts(l->kernels[index]);
    const uint32_t *local = facts->info.local_size;
    memset(row, 0, sizeof(table_row));
    append(row[0], "%s%s", facts->shader, facts->replaced ? " (replaced)" : "");
    write_ops(row[1], use);
    write_rows(row[2], all_buckets(use));
    write_specs(row[3], facts);
    append(row[4], "%" PRIu32, facts->subgroup_size);
    append(row[5], "%" PRIu32, local[0]);
    if (local[1] > 1 || local[2] > 1)
        append(row[5], "x%" PRIu32 "x%" PRIu32, local[1], local[2]);
    append(row[6], "%zu", facts->spirv_words);
    if (facts->info.shared_bytes != RF_SHARED_UNKNOWN)
        append(row[7], "%" PRIu32, facts->info.shared_bytes);
    for (int c = 0, at = FIXED_COLUMNS; c < COLUMNS; c++) {
        double value;
        if (shown[c] && column_value(&columns[c], facts, &value))
            append(row[at], "%.0f", value);
        at += shown[c];
    }
}

static void print_row(const table_row row, const size_t widths[MOST_COLUMNS], int count)
{
    for (int c = 0; c < count; c++) {
        int width = (int)widths[c];
        if (c < TEXT_COLUMNS)
            printf("%s%-*s", c ? "  " : "", width, row[c]);
        else
            printf("  %*s", width, row[c]);
    }
    printf("\n");
}

static int find_shown(const struct listing *l, bool shown[COLUMNS])
{
    int count = 0;
    for (int c = 0; c < COLUMNS; c++) {
        double value;
        shown[c] = false;
        for (uint32_t i = 0; i < l->list.count; i++)
            shown[c] = shown[c] || column_value(&columns[c], rf_kernel_get_facts(l->kernels[i]), &value);
        count += shown[c];
    }
    return count;
}

static enum rf_status print_rows(const struct listing *l, struct rf_error *err)
{
    static const char *const titles[FIXED_COLUMNS] = {"shader",   "op",    "rows",  "specialization",
                                                      "subgroup", "local", "words", "shared"};
    bool shown[COLUMNS];
    size_t widths[MOST_COLUMNS] = {0};
    int count = FIXED_COLUMNS + find_shown(l, shown);
    table_row *rows = calloc(l->list.count + 1, sizeof *rows);
    if (!rows)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "--static: no host memory for a table");
    for (int c = 0; c < FIXED_COLUMNS; c++)
        append(rows[0][c], "%s", titles[c]);
    for (int c = 0, at = FIXED_COLUMNS; c < COLUMNS; c++)
        if (shown[c])
            append(rows[0][at++], "%s", columns[c].title);
    for (uint32_t i = 0; i < l->list.count; i++)
        fill_row(rows[i + 1], l, i, shown);
    for (uint32_t i = 0; i <= l->list.count; i++)
        for (int c = 0; c < count; c++)
            widths[c] = strlen(rows[i][c]) > widths[c] ? strlen(rows[i][c]) : widths[c];
    for (uint32_t i = 0; i <= l->list.count; i++)
        print_row((const char(*)[CELL])rows[i], widths, count);
    free(rows);
    return RF_OK;
}

static uint32_t count_spilling(const struct listing *l)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->list.count; i++)
        count += needs_memory(rf_kernel_get_facts(l->kernels[i]));
    return count;
}

static const char *model_name(const struct settings *s)
{
    return s->synthetic ? s->synthetic : named_model(s) ? named_model(s) : "tiny";
}

static enum rf_status print_table(const struct listing *l, struct rf_error *err)
{
    struct rf_model_info info;
    rf_model_get_info(l->engine.model, &info);
    printf("%s (%s), %s, %s path\n\n", l->device.name, l->device.driver, model_name(l->settings),
           info.precision);
    enum rf_status status = print_rows(l, err);
    if (status)
        return status;
    printf("\n%" PRIu32 " pipelines", l->list.count);
    if (l->told)
        printf(", %" PRIu32 " with spilled registers or scratch memory", count_spilling(l));
    printf("\n");
    return RF_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static cJSON *specs_json(const struct rf_kernel_facts *facts)
{
    cJSON *array = cJSON_CreateArray();
    for (uint32_t i = 0; i < facts->spec_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(array, item);
        cJSON_AddNumberToObject(item, "id", i);
        if (facts->info.spec_names[i][0])
            cJSON_AddStringToObject(item, "name", facts->info.spec_names[i]);
        else
            cJSON_AddNullToObject(item, "name");
        cJSON_AddNumberToObject(item, "value", facts->specs[i]);
    }
    return array;
}

/* Hashes have all 64 bits, which a double has not. */
static void add_value(cJSON *item, const struct rf_statistic *statistic)
{
    char digits[32];
    switch (statistic->format) {
    case RF_STATISTIC_BOOL:
        cJSON_AddBoolToObject(item, "value", statistic->value.truth);
        return;
    case RF_STATISTIC_INT:
        snprintf(digits, sizeof digits, "%" PRId64, statistic->value.i64);
        break;
    case RF_STATISTIC_UINT:
        snprintf(digits, sizeof digits, "%" PRIu64, statistic->value.u64);
        break;
    default:
        cJSON_AddNumberToObject(item, "value", statistic->value.f64);
        return;
    }
    cJSON_AddRawToObject(item, "value", digits);
}

static cJSON *statistics_json(const struct rf_kernel_facts *facts)
{
    cJSON *array = cJSON_CreateArray();
    for (uint32_t e = 0; e < facts->executable_count; e++) {
        const struct rf_executable *executable = &facts->executables[e];
        for (uint32_t s = 0; s < executable->statistic_count; s++) {
            const struct rf_statistic *statistic = &executable->statistics[s];
            cJSON *item = cJSON_CreateObject();
            cJSON_AddItemToArray(array, item);
            cJSON_AddStringToObject(item, "name", statistic->name);
            cJSON_AddStringToObject(item, "description", statistic->description);
            add_value(item, statistic);
        }
    }
    return array;
}

static cJSON *buckets_json(uint32_t buckets)
{
    cJSON *array = cJSON_CreateArray();
    for (uint32_t b = 0; buckets >> b; b++)
        if (buckets >> b & 1)
            cJSON_AddItemToArray(array, cJSON_CreateNumber(1u << b));
    return array;
}

static cJSON *pipeline_json(const struct rf_kernel_use *use, const struct rf_kernel_facts *facts)
{
    cJSON *json = cJSON_CreateObject();
    const uint32_t *local = facts->info.local_size;
    cJSON_AddStringToObject(json, "shader", facts->shader);
    cJSON_AddBoolToObject(json, "replaced", facts->replaced);
    cJSON *ops = cJSON_AddArrayToObject(json, "ops"), *uses = cJSON_AddArrayToObject(json, "uses");
    for (uint32_t i = 0; i < use->op_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(ops, cJSON_CreateString(use->ops[i].op));
        cJSON_AddItemToArray(uses, item);
        cJSON_AddStringToObject(item, "op", use->ops[i].op);
        cJSON_AddItemToObject(item, "row_buckets", buckets_json(use->ops[i].buckets));
    }
    cJSON_AddItemToObject(json, "row_buckets", buckets_json(all_buckets(use)));
    cJSON_AddItemToObject(json, "specs", specs_json(facts));
    cJSON_AddNumberToObject(json, "subgroup_size", facts->subgroup_size);
    cJSON_AddItemToObject(
        json, "local_size",
        cJSON_CreateIntArray((const int[]){(int)local[0], (int)local[1], (int)local[2]}, 3));
    cJSON_AddNumberToObject(json, "spirv_words", (double)facts->spirv_words);
    if (facts->info.shared_bytes != RF_SHARED_UNKNOWN)
        cJSON_AddNumberToObject(json, "shared_bytes", facts->info.shared_bytes);
    else
        cJSON_AddNullToObject(json, "shared_bytes");
    cJSON_AddItemToObject(json, "statistics", statistics_json(facts));
    return json;
}

static cJSON *pipelines_json(const struct listing *l)
{
    cJSON *array = cJSON_CreateArray();
    for (uint32_t i = 0; i < l->list.count; i++)
        cJSON_AddItemToArray(array, pipeline_json(&l->list.uses[i], rf_kernel_get_facts(l->kernels[i])));
    return array;
}

static enum rf_status print_json(const struct listing *l, struct rf_error *err)
{
    const struct profile nothing = {0};
    struct profile_report report = {.profile = &nothing,
                                    .settings = l->settings,
                                    .device = l->device,
                                    .model_name = model_name(l->settings)};
    cJSON *object = cJSON_CreateObject();
    rf_model_get_info(l->engine.model, &report.model);
    profile_add_identity(object, &report);
    cJSON_AddItemToObject(object, "pipelines", pipelines_json(l));
    if (l->told)
        cJSON_AddNumberToObject(object, "spilling", count_spilling(l));
    else
        cJSON_AddNullToObject(object, "spilling");
    return json_print(object, true, err);
}

/* ---- Disassembly ------------------------------------------------------------------------------------ */

static void dump(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i += DUMP_BYTES) {
        printf("%08zx ", i);
        for (size_t b = i; b < i + DUMP_BYTES && b < size; b++)
            printf(" %02x", data[b]);
        printf("\n");
    }
}

static void print_representation(const struct rf_representation *r)
{
    printf("---- %s: %s\n", r->name, r->description);
    if (!r->is_text) {
        dump(r->data, r->size);
        return;
    }
    fwrite(r->data, 1, r->size, stdout);
    if (!r->size || r->data[r->size - 1] != '\n')
        printf("\n");
}

static void print_statistic(const struct rf_statistic *statistic)
{
    printf("%s: ", statistic->name);
    if (statistic->format == RF_STATISTIC_UINT)
        printf("%" PRIu64 "\n", statistic->value.u64);
    else if (statistic->format == RF_STATISTIC_REAL)
        printf("%g\n", statistic->value.f64);
    else
        printf("%.0f\n", rf_statistic_number(statistic));
}

static uint32_t print_kernel(const struct rf_kernel_use *use, const struct rf_kernel_facts *facts)
{
    char ops[CELL] = "", rows[CELL] = "", specs[CELL] = "";
    uint32_t count = 0;
    write_ops(ops, use);
    write_rows(rows, all_buckets(use));
    write_specs(specs, facts);
    printf("==== %s%s%s (%s%s%s)\n", facts->shader, specs[0] ? " " : "", specs, ops, rows[0] ? "; rows " : "",
           rows);
    for (uint32_t e = 0; e < facts->executable_count; e++) {
        const struct rf_executable *executable = &facts->executables[e];
        for (uint32_t s = 0; s < executable->statistic_count; s++)
            print_statistic(&executable->statistics[s]);
        for (uint32_t r = 0; r < executable->representation_count; r++)
            print_representation(&executable->representations[r]);
        count += executable->representation_count;
    }
    printf("\n");
    return count;
}

static enum rf_status print_disassembly(const struct listing *l, struct rf_error *err)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->list.count; i++)
        count += print_kernel(&l->list.uses[i], rf_kernel_get_facts(l->kernels[i]));
    return count ? RF_OK
                 : rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "--disassemble: device %u (%s) keeps statistics, but no code that it would show",
                           l->device.index, l->device.name);
}

/* ---- Choice by name --------------------------------------------------------------------------------- */

/* Edits that make some part of `name` of `wanted`. */
static uint32_t distance(const char *wanted, const char *name)
{
    uint32_t row[CELL] = {0}, least = UINT32_MAX;
    size_t length = strlen(name);
    length = length < CELL - 1 ? length : CELL - 1;
    for (uint32_t i = 0; wanted[i]; i++) {
        uint32_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            uint32_t best = corner + (wanted[i] != name[j]);
            corner = row[j + 1];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j + 1] = corner + 1 < best ? corner + 1 : best;
        }
    }
    for (size_t j = 0; j <= length; j++)
        least = row[j] < least ? row[j] : least;
    return least;
}

static bool seen_before(const struct listing *l, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(l->list.uses[i].id.shader, l->list.uses[index].id.shader) == 0)
            return true;
    return false;
}

static enum rf_status fail_unknown(const struct listing *l, const char *wanted, struct rf_error *err)
{
    char near[CELL] = "";
    uint32_t taken = 0, least = UINT32_MAX;
    for (uint32_t i = 0; i < l->list.count; i++) {
        uint32_t edits = distance(wanted, l->list.uses[i].id.shader);
        least = edits < least ? edits : least;
    }
    for (uint32_t i = 0; taken < NEAR_NAMES && i < l->list.count; i++) {
        const char *shader = l->list.uses[i].id.shader;
        if (!seen_before(l, i) && distance(wanted, shader) == least)
            append(near, "%s%s", taken++ ? ", " : "", shader);
    }
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "--disassemble: found \"%.64s\", wanted a shader of this model on this device, such as %s",
                   wanted, near);
}

/* The one shader with this name, or with this in its name. */
static enum rf_status find_shader(const struct listing *l, const char *wanted, const char **shader,
                                  struct rf_error *err)
{
    char several[CELL] = "";
    uint32_t count = 0;
    *shader = NULL;
    for (uint32_t i = 0; i < l->list.count; i++) {
        const char *name = l->list.uses[i].id.shader;
        if (strcmp(name, wanted) == 0) {
            *shader = name;
            return RF_OK;
        }
        if (!strstr(name, wanted) || seen_before(l, i))
            continue;
        append(several, "%s%s", count++ ? ", " : "", name);
        *shader = name;
    }
    if (!count)
        return fail_unknown(l, wanted, err);
    if (count > 1)
        return rf_fail(
            err, RF_ERROR_ARGUMENT,
            "--disassemble: found \"%.64s\", which %u shaders have in their names (%s), wanted one of them",
            wanted, count, several);
    return RF_OK;
}

static enum rf_status keep_shader(struct listing *l, const char *wanted, struct rf_error *err)
{
    const char *shader;
    uint32_t kept = 0;
    enum rf_status status = find_shader(l, wanted, &shader, err);
    for (uint32_t i = 0; !status && i < l->list.count; i++)
        if (strcmp(l->list.uses[i].id.shader, shader) == 0)
            l->list.uses[kept++] = l->list.uses[i];
    if (!status)
        l->list.count = kept;
    return status;
}

/* ---- The command ------------------------------------------------------------------------------------ */

static enum rf_status check_options(const struct settings *s, struct rf_error *err)
{
    const char *mode = s->static_only ? "static" : s->disassemble ? "disassemble" : "amd";
    const struct option_pair pairs[] = {
        {s->compare, mode, "compare"},
        {s->timeline, mode, "timeline"},
        {s->html, mode, "html"},
        {s->labels, mode, "labels"},
        {s->counters, mode, "counters"},
        {s->capture_round.given, mode, "capture-round"},
        {s->csv, mode, "csv"},
        {s->runs.given, mode, "runs"},
        {s->limit.given, mode, "limit"},
        {s->absolute, mode, "absolute"},
        {s->no_ceilings, mode, "no-ceilings"},
        {s->prompt, mode, "prompt"},
        {s->tokens, mode, "tokens"},
        {s->system, mode, "system"},
        {s->raw, mode, "raw"},
        {s->prompt_tokens.given, mode, "prompt-tokens"},
        {s->static_only && s->disassemble, mode, "disassemble"},
        {s->disassemble && s->json, mode, "json"},
        {s->amd && s->device, "amd", "device"},
        {s->synthetic && s->model, "synthetic", "model"},
    };
    if (s->text)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--%s: found the argument \"%.100s\", wanted only options",
                       mode, s->text);
    if (!s->static_only && !s->disassemble)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--amd: found it without --static or --disassemble, wanted one of them");
    return refuse_pairs(pairs, sizeof pairs / sizeof *pairs, err);
}

/* The forwards that these settings would take. */
static enum rf_status list_kernels(struct listing *l, struct rf_error *err)
{
    const struct settings *s = l->settings;
    struct rf_forward *forward = l->engine.model->forward;
    uint32_t flags = s->deterministic ? RF_FORWARD_DETERMINISTIC : 0;
    enum rf_status status = rf_forward_list(forward, flags, &l->list, err);
    if (!status && (s->top_k.given || s->top_p.given))
        status = rf_forward_list(forward, flags | RF_FORWARD_LOGITS, &l->list, err);
    return status;
}

static enum rf_status compile(struct listing *l, struct rf_error *err)
{
    struct rf_kernel_id *ids = malloc((l->list.count + 1) * sizeof *ids);
    l->kernels = calloc(l->list.count + 1, sizeof(struct rf_kernel *));
    enum rf_status status = RF_OK;
    if (!ids || !l->kernels)
        status =
            rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for %" PRIu32 " pipelines", l->list.count);
    for (uint32_t i = 0; !status && i < l->list.count; i++)
        ids[i] = l->list.uses[i].id;
    if (!status)
        status = rf_kernels_get_until(rf_context_gpu(l->engine.context), ids, l->list.count, l->kernels,
                                      interrupted, err);
    free(ids);
    return status;
}

static enum rf_status print(struct listing *l, struct rf_error *err)
{
    const struct settings *s = l->settings;
    if (s->disassemble)
        return print_disassembly(l, err);
    if (!l->told)
        complain("warning: device %u (%s) does not tell what its compiler makes "
                 "(VK_KHR_pipeline_executable_properties): only what the shaders say is listed",
                 l->device.index, l->device.name);
    return s->json ? print_json(l, err) : print_table(l, err);
}

static enum rf_status run(struct listing *l, struct rf_error *err)
{
    struct settings settings = *l->settings;
    enum rf_status status = check_options(&settings, err);
    if (!status)
        status = check_settings(&settings, err);
    if (!status && settings.amd) {
        status = amd_prepare(settings.amd, err);
        settings.device = "RADV"; /* whatever RF_DEVICE says */
    }
    if (!status)
        status = engine_open(&l->engine, &settings, err);
    if (status)
        return status;
    rf_context_device(l->engine.context, &l->device);
    l->told = rf_gpu_get_caps(rf_context_gpu(l->engine.context))->pipeline_properties;
    status = list_kernels(l, err);
    if (!status && settings.disassemble)
        status = keep_shader(l, settings.disassemble, err);
    if (!status && settings.disassemble && !l->told)
        status = rf_fail(err, RF_ERROR_UNSUPPORTED,
                         "--disassemble: device %u (%s) does not show what its compiler makes "
                         "(VK_KHR_pipeline_executable_properties)",
                         l->device.index, l->device.name);
    if (!status)
        status = compile(l, err);
    return status ? status : print(l, err);
}

/* ---- Beside a profile ------------------------------------------------------------------------------- */

enum rf_status profile_pipelines(cJSON **out, const struct settings *settings, const struct engine *engine,
                                 struct rf_error *err)
{
    rf_model *model = engine->model;
    struct settings mine = *settings;
    struct listing l = {.settings = &mine};
    *out = NULL;
    if (!rf_gpu_get_caps(model->gpu)->pipeline_properties)
        return RF_OK;
    mine.static_only = true;
    mine.labels = mine.validate = mine.capture_round.given = false;
    mine.counters = NULL;
    pthread_mutex_lock(&model->mutex);
    enum rf_status status = rf_forward_list_recorded(model->forward, &l.list, err);
    pthread_mutex_unlock(&model->mutex);
    if (!status)
        status = context_open(&l.engine.context, &mine, err);
    if (!status)
        status = compile(&l, err);
    if (!status)
        *out = pipelines_json(&l);
    rf_free(l.list.uses);
    free(l.kernels);
    rf_context_destroy(l.engine.context);
    return status;
}

int profile_static(const struct settings *settings)
{
    struct rf_error err = {0};
    struct listing l = {.settings = settings};
    interrupt_install();
    enum rf_status status = run(&l, &err);
    int exit = status ? complain_error(&err) : STATUS_OK;
    if (l.engine.context && settings->validate && engine_complaints(&l.engine) && exit == STATUS_OK)
        exit = STATUS_FAILURE;
    rf_free(l.list.uses);
    free(l.kernels);
    if (l.engine.context)
        engine_close(&l.engine);
    return exit;
}
