/* refusion devices: what every Vulkan device offers and lacks. */
#include "apps/refusion/json_out.h"
#include "apps/refusion/program.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Where the whole test suite has run: a part of the device's or driver's name, any case, and the path.
 * Anything else is called unverified. */
static const struct {
    const char *name, *tier;
} verified_paths[] = {
    {"llvmpipe", "portable"},
    {"llvmpipe", "fp16"},
    {"llvmpipe", "coopmat"},
    {"swiftshader", "portable"},
};

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; *text; text++) {
        if (strncasecmp(text, part, length) == 0)
            return true;
    }
    return false;
}

static bool is_verified(const struct rf_device_info *info, const char *tier)
{
    for (size_t i = 0; i < sizeof verified_paths / sizeof verified_paths[0]; i++) {
        bool here =
            contains(info->name, verified_paths[i].name) || contains(info->driver, verified_paths[i].name);
        if (here && strcmp(verified_paths[i].tier, tier) == 0)
            return true;
    }
    return false;
}

/* Takes the next name of a comma-separated list; false at its end. */
static bool next_name(const char **list, char *name, size_t size)
{
    while (**list == ',' || **list == ' ')
        (*list)++;
    size_t length = strcspn(*list, ",");
    if (length == 0)
        return false;
    snprintf(name, size, "%.*s", (int)length, *list);
    *list += length;
    return true;
}

static void describe_tiers(const struct rf_device_info *info, char *out, size_t size)
{
    const char *list = info->tiers;
    char tier[64];
    out[0] = '\0';
    while (next_name(&list, tier, sizeof tier)) {
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s%s", used ? ", " : "", tier,
                 is_verified(info, tier) ? "" : " (unverified)");
    }
}

static void print_device(const struct rf_device_info *info)
{
    char tiers[384];
    describe_tiers(info, tiers, sizeof tiers);
    printf("%u: %s\n", info->index, info->name);
    printf("   driver     %s, Vulkan %u.%u.%u\n", info->driver, info->api_version >> 22 & 0x7f,
           info->api_version >> 12 & 0x3ff, info->api_version & 0xfff);
    printf("   type       %s, %.1f GB%s\n", info->type, (double)info->memory_bytes / 1e9,
           info->unified_memory ? ", memory shared with the CPU" : "");
    if (info->missing[0])
        printf("   lacks      %s: cannot be used\n", info->missing);
    else
        printf("   paths      %s\n", tiers);
    printf("   subgroups  %u (%u to %u), workgroups of up to %u, %u KiB shared", info->subgroup_size,
           info->subgroup_size_min, info->subgroup_size_max, info->max_invocations,
           info->shared_memory_bytes / 1024);
    if (info->cores)
        printf(", %u cores", info->cores);
    printf("\n");
    printf("   offers     fp16: %s, int8 dot: %s, coopmat: %s, coopmat2: %s, coopmat2Matmul: %s\n",
           info->has_fp16 ? "yes" : "no", info->has_int8_dot ? "yes" : "no", info->has_coopmat ? "yes" : "no",
           info->has_coopmat2 ? "yes" : "no", info->has_coopmat2_matmul ? "yes" : "no");
}

static cJSON *names_json(const char *list)
{
    cJSON *array = cJSON_CreateArray();
    char name[512];
    while (next_name(&list, name, sizeof name))
        cJSON_AddItemToArray(array, cJSON_CreateString(name));
    return array;
}

static cJSON *device_json(const struct rf_device_info *info)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "index", info->index);
    cJSON_AddStringToObject(object, "name", info->name);
    cJSON_AddStringToObject(object, "driver", info->driver);
    cJSON_AddStringToObject(object, "type", info->type);
    char version[32];
    snprintf(version, sizeof version, "%u.%u.%u", info->api_version >> 22 & 0x7f,
             info->api_version >> 12 & 0x3ff, info->api_version & 0xfff);
    cJSON_AddStringToObject(object, "vulkan", version);
    cJSON_AddBoolToObject(object, "usable", info->missing[0] == '\0');
    cJSON_AddItemToObject(object, "missing", names_json(info->missing));
    cJSON *tiers = cJSON_AddArrayToObject(object, "tiers");
    const char *list = info->tiers;
    char tier[64];
    while (next_name(&list, tier, sizeof tier)) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", tier);
        cJSON_AddBoolToObject(item, "verified", is_verified(info, tier));
        cJSON_AddItemToArray(tiers, item);
    }
    cJSON_AddNumberToObject(object, "memory_bytes", (double)info->memory_bytes);
    cJSON_AddBoolToObject(object, "unified_memory", info->unified_memory);
    cJSON_AddBoolToObject(object, "low_priority", info->has_low_priority);
    cJSON_AddNumberToObject(object, "subgroup_size", info->subgroup_size);
    cJSON_AddNumberToObject(object, "subgroup_size_min", info->subgroup_size_min);
    cJSON_AddNumberToObject(object, "subgroup_size_max", info->subgroup_size_max);
    cJSON_AddNumberToObject(object, "shared_memory_bytes", info->shared_memory_bytes);
    cJSON_AddNumberToObject(object, "max_invocations", info->max_invocations);
    cJSON_AddNumberToObject(object, "cores", info->cores);
    cJSON_AddBoolToObject(object, "fp16", info->has_fp16);
    cJSON_AddBoolToObject(object, "int8_dot", info->has_int8_dot);
    cJSON_AddBoolToObject(object, "coopmat", info->has_coopmat);
    cJSON_AddBoolToObject(object, "coopmat2", info->has_coopmat2);
    cJSON_AddBoolToObject(object, "coopmat2_matmul", info->has_coopmat2_matmul);
    return object;
}

int command_devices(const struct settings *settings)
{
    struct rf_error err = {0};
    struct rf_device_info *infos = NULL;
    size_t count = 0;
    enum rf_status status = rf_devices_list(&infos, &count, &err);
    if (status)
        return complain_error(&err);
    if (settings->json) {
        cJSON *array = cJSON_CreateArray();
        for (size_t i = 0; i < count; i++)
            cJSON_AddItemToArray(array, device_json(&infos[i]));
        status = json_print(array, true, &err);
    } else {
        for (size_t i = 0; i < count; i++)
            print_device(&infos[i]);
    }
    rf_free(infos);
    return status ? complain_error(&err) : STATUS_OK;
}
