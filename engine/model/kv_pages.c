#include "engine/model/kv_pages.h"
#include "engine/allocate.h"

#include <pthread.h>

struct rf_kv_page {
    struct rf_span span;
    uint32_t users;
    struct rf_kv_page *next_free, *next; /* next: every page of the pool */
};

struct rf_kv_pool {
    struct rf_gpu *gpu;
    struct rf_arena *arena;
    uint64_t page_bytes;
    pthread_mutex_t mutex;
    struct rf_kv_page *all, *free;
    uint32_t count, used;
};

enum rf_status rf_kv_pool_create(struct rf_kv_pool **out, struct rf_gpu *gpu, uint64_t page_bytes,
                                 struct rf_error *err)
{
    struct rf_kv_pool *pool = rf_calloc(1, sizeof *pool);
    struct rf_arena *arena = pool ? rf_arena_create(gpu, RF_MEMORY_DEVICE, "KV pages") : NULL;
    if (!arena) {
        rf_free(pool);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the KV page pool");
    }
    pool->gpu = gpu;
    pool->arena = arena;
    pool->page_bytes = page_bytes;
    pthread_mutex_init(&pool->mutex, NULL);
    *out = pool;
    return RF_OK;
}

void rf_kv_pool_destroy(struct rf_kv_pool *pool)
{
    if (!pool)
        return;
    while (pool->all) {
        struct rf_kv_page *page = pool->all;
        pool->all = page->next;
        rf_free(page);
    }
    rf_arena_destroy(pool->arena);
    pthread_mutex_destroy(&pool->mutex);
    rf_free(pool);
}

/* Adds one page to the free list. */
static enum rf_status grow(struct rf_kv_pool *pool, struct rf_error *err)
{
    struct rf_kv_page *page = rf_calloc(1, sizeof *page);
    if (!page)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a KV page");
    enum rf_status status = rf_arena_alloc(pool->arena, &page->span, pool->page_bytes, "KV page", err);
    if (status) {
        rf_free(page);
        return status;
    }
    page->next = pool->all;
    pool->all = page;
    page->next_free = pool->free;
    pool->free = page;
    pool->count++;
    return RF_OK;
}

enum rf_status rf_kv_take(struct rf_kv_pool *pool, struct rf_kv_page **out, struct rf_error *err)
{
    pthread_mutex_lock(&pool->mutex);
    enum rf_status status = pool->free ? RF_OK : grow(pool, err);
    if (!status) {
        *out = pool->free;
        pool->free = (*out)->next_free;
        (*out)->users = 1;
        pool->used++;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

void rf_kv_share(struct rf_kv_pool *pool, struct rf_kv_page *page)
{
    pthread_mutex_lock(&pool->mutex);
    page->users++;
    pthread_mutex_unlock(&pool->mutex);
}

void rf_kv_release(struct rf_kv_pool *pool, struct rf_kv_page *page)
{
    if (!page)
        return;
    pthread_mutex_lock(&pool->mutex);
    if (--page->users == 0) {
        page->next_free = pool->free;
        pool->free = page;
        pool->used--;
    }
    pthread_mutex_unlock(&pool->mutex);
}

enum rf_status rf_kv_own(struct rf_kv_pool *pool, struct rf_kv_page **page, struct rf_error *err)
{
    pthread_mutex_lock(&pool->mutex);
    bool shared = (*page)->users > 1;
    pthread_mutex_unlock(&pool->mutex);
    if (!shared)
        return RF_OK;
    struct rf_kv_page *copy;
    enum rf_status status = rf_kv_take(pool, &copy, err);
    if (status)
        return status;
    status = rf_gpu_copy(pool->gpu, copy->span, (*page)->span, pool->page_bytes, err);
    rf_kv_release(pool, status ? copy : *page);
    if (!status)
        *page = copy;
    return status;
}

struct rf_span rf_kv_span(const struct rf_kv_page *page)
{
    return page->span;
}

uint32_t rf_kv_pages_used(struct rf_kv_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    uint32_t used = pool->used;
    pthread_mutex_unlock(&pool->mutex);
    return used;
}

static struct rf_kv_page *insert_at(struct rf_kv_page *list, struct rf_kv_page *page, uint32_t place)
{
    struct rf_kv_page **link = &list;
    while (place-- > 0 && *link)
        link = &(*link)->next_free;
    page->next_free = *link;
    *link = page;
    return list;
}

enum rf_status rf_kv_shuffle(struct rf_kv_pool *pool, uint32_t count, uint64_t seed, struct rf_error *err)
{
    pthread_mutex_lock(&pool->mutex);
    enum rf_status status = RF_OK;
    for (uint32_t i = 0; !status && i < count; i++)
        status = grow(pool, err);
    struct rf_kv_page *list = NULL;
    for (uint32_t held = 0; pool->free; held++) {
        struct rf_kv_page *page = pool->free;
        pool->free = page->next_free;
        seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
        list = insert_at(list, page, (uint32_t)(seed >> 33) % (held + 1));
    }
    pool->free = list;
    pthread_mutex_unlock(&pool->mutex);
    return status;
}
