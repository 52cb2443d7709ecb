/* Memory of the host. The library's own functions for it tell the place that asks (--wrap), and the life's allocator,
 * where they end, has none when that place is to fail. Whatever the library takes from malloc itself is a stray: only
 * rf_devices_list may. cJSON allocates by hooks, PCRE2's calls fail as if they had wanted memory; what the Vulkan
 * loader and drivers allocate goes its own way. */
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tests/failure/faults.h"

#define SITE __builtin_return_address(0)

/* Before each block of an allocator. */
struct owner {
    alignas(max_align_t) const void *user;
};

static atomic_long blocks, strays;
static _Thread_local bool failing;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);

void *host_allocate(void *user, void *block, size_t size)
{
    struct owner *owner = block ? (struct owner *)block - 1 : NULL;
    if (owner && owner->user != user)
        abort(); /* another's, or none */
    if (!size) {
        atomic_fetch_sub(&blocks, 1);
        __real_free(owner);
        return NULL;
    }
    if (failing)
        return NULL;
    struct owner *grown = __real_realloc(owner, sizeof *grown + size);
    if (!grown)
        return NULL;
    atomic_fetch_add(&blocks, !owner);
    grown->user = user;
    return grown + 1;
}

long host_blocks(void)
{
    return atomic_load(&blocks);
}

long host_strays(void)
{
    return atomic_load(&strays);
}

static void *counted(void *block)
{
    atomic_fetch_add(&strays, 1);
    atomic_fetch_add(&blocks, block != NULL);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return counted(failing ? NULL : __real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return counted(failing ? NULL : __real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (!block)
        return __wrap_malloc(size);
    atomic_fetch_add(&strays, 1);
    return failing ? NULL : __real_realloc(block, size);
}

void __wrap_free(void *block)
{
    atomic_fetch_sub(&blocks, block != NULL);
    __real_free(block);
}

void *host_json_malloc(size_t size)
{
    void *block = fault_here(&host_faults, "cJSON", SITE) ? NULL : __real_malloc(size);
    atomic_fetch_add(&blocks, block != NULL);
    return block;
}

void host_json_free(void *block)
{
    __wrap_free(block);
}

void *__real_rf_malloc(size_t size);
void *__real_rf_calloc(size_t count, size_t size);
void *__real_rf_realloc(void *block, size_t size);
char *__real_rf_strdup(const char *text);
char *__real_rf_strndup(const char *text, size_t most);

void *__wrap_rf_malloc(size_t size);
void *__wrap_rf_calloc(size_t count, size_t size);
void *__wrap_rf_realloc(void *block, size_t size);
char *__wrap_rf_strdup(const char *text);
char *__wrap_rf_strndup(const char *text, size_t most);

void *__wrap_rf_malloc(size_t size)
{
    failing = fault_here(&host_faults, "malloc", SITE);
    void *block = __real_rf_malloc(size);
    failing = false;
    return block;
}

void *__wrap_rf_calloc(size_t count, size_t size)
{
    failing = fault_here(&host_faults, "calloc", SITE);
    void *block = __real_rf_calloc(count, size);
    failing = false;
    return block;
}

void *__wrap_rf_realloc(void *block, size_t size)
{
    failing = fault_here(&host_faults, "realloc", SITE);
    void *grown = __real_rf_realloc(block, size);
    failing = false;
    return grown;
}

char *__wrap_rf_strdup(const char *text)
{
    failing = fault_here(&host_faults, "strdup", SITE);
    char *copy = __real_rf_strdup(text);
    failing = false;
    return copy;
}

char *__wrap_rf_strndup(const char *text, size_t most)
{
    failing = fault_here(&host_faults, "strndup", SITE);
    char *copy = __real_rf_strndup(text, most);
    failing = false;
    return copy;
}

pcre2_code *__real_pcre2_compile_8(PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options, int *code,
                                   PCRE2_SIZE *at, pcre2_compile_context *context);
pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options, int *code,
                                   PCRE2_SIZE *at, pcre2_compile_context *context);
pcre2_match_data *__real_pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context);
pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context);
pcre2_match_context *__real_pcre2_match_context_create_8(pcre2_general_context *context);
pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *context);

pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options, int *code,
                                   PCRE2_SIZE *at, pcre2_compile_context *context)
{
    if (!fault_here(&host_faults, "pcre2_compile", SITE))
        return __real_pcre2_compile_8(pattern, length, options, code, at, context);
    *code = PCRE2_ERROR_HEAP_FAILED;
    *at = 0;
    return NULL;
}

pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context)
{
    if (fault_here(&host_faults, "pcre2_match_data_create", SITE))
        return NULL;
    return __real_pcre2_match_data_create_8(pairs, context);
}

pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *context)
{
    if (fault_here(&host_faults, "pcre2_match_context_create", SITE))
        return NULL;
    return __real_pcre2_match_context_create_8(context);
}

int __real_pcre2_match_8(const pcre2_code *code, PCRE2_SPTR text, PCRE2_SIZE length, PCRE2_SIZE start,
                         uint32_t options, pcre2_match_data *data, pcre2_match_context *context);
int __wrap_pcre2_match_8(const pcre2_code *code, PCRE2_SPTR text, PCRE2_SIZE length, PCRE2_SIZE start,
                         uint32_t options, pcre2_match_data *data, pcre2_match_context *context);

int __wrap_pcre2_match_8(const pcre2_code *code, PCRE2_SPTR text, PCRE2_SIZE length, PCRE2_SIZE start,
                         uint32_t options, pcre2_match_data *data, pcre2_match_context *context)
{
    if (fault_here(&host_faults, "pcre2_match", SITE))
        return PCRE2_ERROR_NOMEMORY;
    return __real_pcre2_match_8(code, text, length, start, options, data, context);
}
