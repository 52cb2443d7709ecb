/* The malloc family as the library's objects call it (--wrap), cJSON's by its hooks, and PCRE2's calls that
 * allocate. What the Vulkan loader and drivers allocate goes its own way. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tests/failure/faults.h"

#define SITE __builtin_return_address(0)

static atomic_long blocks;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t most);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
void __wrap_free(void *block);

static void *counted(void *block)
{
    atomic_fetch_add(&blocks, block != NULL);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fault_here(&host_faults, "malloc", SITE) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fault_here(&host_faults, "calloc", SITE) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (fault_here(&host_faults, "realloc", SITE))
        return NULL;
    void *grown = __real_realloc(block, size);
    atomic_fetch_add(&blocks, !block && grown);
    return grown;
}

char *__wrap_strdup(const char *text)
{
    return fault_here(&host_faults, "strdup", SITE) ? NULL : counted(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t most)
{
    return fault_here(&host_faults, "strndup", SITE) ? NULL : counted(__real_strndup(text, most));
}

void __wrap_free(void *block)
{
    atomic_fetch_sub(&blocks, block != NULL);
    __real_free(block);
}

long host_blocks(void)
{
    return atomic_load(&blocks);
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
