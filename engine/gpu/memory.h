/* Device memory: arenas of buffers that are addressed by pointer (buffer device address), never by
 * descriptor.
 *
 * An arena owns a few VkBuffers (blocks) and hands out spans of them; all spans die with the arena. Spans
 * are aligned to 256 bytes, a span never crosses a block, and one span is at most rf_gpu_max_span() bytes (1
 * GiB on SwiftShader): larger tensors are split by the caller. With debug checks every span lies between red
 * zones. One arena is used by one thread at a time; different arenas of one device by any number. */
#ifndef RF_GPU_MEMORY_H
#define RF_GPU_MEMORY_H

#include "engine/gpu/device.h"

enum rf_memory_kind {
    RF_MEMORY_DEVICE, /* device-local; host pointer only by chance (unified memory) */
    /* host writes, device reads a little: device-local and host-visible where there is such a heap */
    RF_MEMORY_UPLOAD,
    RF_MEMORY_READBACK /* device writes, host reads: host-cached */
};

struct rf_arena;

/* A piece of device memory. A copy of the struct is a reference, not an owner. Sub-spans: rf_span_part. */
struct rf_span {
    uint64_t address;       /* device address; 0: no span */
    uint64_t size;          /* bytes */
    void *host;             /* mapped pointer, or NULL; memory is always coherent */
    struct rf_block *block; /* for transfers, accesses and red zones */
    uint64_t offset;        /* in the block */
};

struct rf_arena *rf_arena_create(struct rf_gpu *gpu, enum rf_memory_kind kind, const char *label);
/* An arena that only counts: its spans have sizes and an address that must not be used. rf_arena_bytes then tells what a
 * real one would have taken. */
struct rf_arena *rf_arena_create_counted(struct rf_gpu *gpu, enum rf_memory_kind kind, const char *label);
uint64_t rf_arena_bytes(const struct rf_arena *arena); /* of its blocks; NULL is 0 */
/* Leaves `bytes` (256 by default) unused at the end of every block made from now on. Mesa 26's lavapipe runs
 * a loop's body once more with all lanes off and reads what is uniform all the same: one step of the loop
 * behind the tensor, which faults where a block ends. Spans of such an arena are at most
 * rf_gpu_max_span() + 256 - bytes long. */
void rf_arena_keep_tail(struct rf_arena *arena, uint64_t bytes);
void rf_arena_destroy(struct rf_arena *arena); /* NULL is fine; the device must be done with it */
/* RF_ERROR_DEVICE_MEMORY names label, bytes wanted, bytes in use and the limit. Content is undefined
 * (poisoned with 0xCD bytes under debug checks where the host can). */
enum rf_status rf_arena_alloc(struct rf_arena *arena, struct rf_span *out, uint64_t size, const char *label,
                              struct rf_error *err);
struct rf_span rf_span_part(struct rf_span span, uint64_t offset, uint64_t size);
uint64_t rf_gpu_max_span(const struct rf_gpu *gpu);
uint64_t rf_gpu_memory_used(const struct rf_gpu *gpu);
/* Bytes that could still be allocated: by the limit that was set, and by what the driver grants this process of the
 * largest device-local heap, or, where it does not tell, by the heap's size. */
uint64_t rf_gpu_memory_left(const struct rf_gpu *gpu);
/* Debug checks: looks at every red zone of every live arena; a damaged one is logged with its label and
 * counted as a complaint. Called by rf_gpu_wait after each submission. RF_OK or RF_ERROR_INTERNAL. */
enum rf_status rf_gpu_check_red_zones(struct rf_gpu *gpu, struct rf_error *err);

/* Blocking copies outside the hot path, through a staging buffer where the host cannot reach the span. The
 * caller has waited for the submissions that use the span. rf_gpu_fill wants offset and size to be multiples
 * of 4. */
enum rf_status rf_gpu_write(struct rf_gpu *gpu, struct rf_span dst, const void *data, uint64_t size,
                            struct rf_error *err);
enum rf_status rf_gpu_read(struct rf_gpu *gpu, struct rf_span src, void *data, uint64_t size,
                           struct rf_error *err);
enum rf_status rf_gpu_fill(struct rf_gpu *gpu, struct rf_span dst, uint32_t word, struct rf_error *err);
enum rf_status rf_gpu_copy(struct rf_gpu *gpu, struct rf_span dst, struct rf_span src, uint64_t size,
                           struct rf_error *err);

/* Streaming upload for weights: the producer writes straight into mapped memory, piece by piece, while
 * earlier pieces travel; never two copies of a tensor on the host. */
struct rf_upload; /* not thread-safe */
enum rf_status rf_upload_begin(struct rf_upload **out, struct rf_gpu *gpu, struct rf_error *err);
/* A place of exactly `size` bytes (<= rf_upload_piece_bytes()) that will land at dst + offset. */
enum rf_status rf_upload_place(struct rf_upload *up, struct rf_span dst, uint64_t offset, uint64_t size,
                               void **place, struct rf_error *err);
uint64_t rf_upload_piece_bytes(const struct rf_upload *up);
/* Waits and frees; also after a failure. */
enum rf_status rf_upload_end(struct rf_upload *up, struct rf_error *err);

#endif
