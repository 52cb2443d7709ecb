/* The KV cache's memory: pages of RF_PAGE_ROWS rows of all layers, counted by users.
 *
 * A page belongs to one session, or to several that share a prompt; a session that wants to write a shared
 * page takes a copy first (rf_kv_own). Pages come from a free list in no particular order, and are found by
 * address only. */
#ifndef RF_MODEL_KV_PAGES_H
#define RF_MODEL_KV_PAGES_H

#include "engine/gpu/memory.h"

struct rf_kv_pool; /* thread-safe */

struct rf_kv_page;

/* page_bytes: layers * kv_heads * 2 * RF_PAGE_ROWS * head_dim * element bytes. */
enum rf_status rf_kv_pool_create(struct rf_kv_pool **out, struct rf_gpu *gpu, uint64_t page_bytes,
                                 struct rf_error *err);
void rf_kv_pool_destroy(struct rf_kv_pool *pool);
/* A page with one user; its content is undefined. */
enum rf_status rf_kv_take(struct rf_kv_pool *pool, struct rf_kv_page **out, struct rf_error *err);
void rf_kv_share(struct rf_kv_pool *pool, struct rf_kv_page *page);   /* one more user */
void rf_kv_release(struct rf_kv_pool *pool, struct rf_kv_page *page); /* NULL is fine */
/* Makes *page writable for its caller: if others use it too, replaces it with a copy. Blocks on the copy. */
enum rf_status rf_kv_own(struct rf_kv_pool *pool, struct rf_kv_page **page, struct rf_error *err);
struct rf_span rf_kv_span(const struct rf_kv_page *page);
uint32_t rf_kv_pages_used(struct rf_kv_pool *pool);
/* Allocates `count` pages ahead and puts the free list in a random order (tests: pages are pages). */
enum rf_status rf_kv_shuffle(struct rf_kv_pool *pool, uint32_t count, uint64_t seed, struct rf_error *err);

#endif
