/* How much device memory a model would take: everything is made as for use, in arenas that only count. */
#include <string.h>

#include "engine/allocate.h"
#include "engine/arithmetic.h"
#include "engine/decode/session.h"

_Static_assert((int)RF_KV_PAGE_ROWS == (int)RF_PAGE_ROWS, "the public header tells the size of a page");

/* Pages of a full context, and of the scratch rows of as many drafts as one forward holds. */
static enum rf_status count_pages(struct rf_model *model, uint64_t *bytes, struct rf_error *err)
{
    struct rf_arena *arena = rf_arena_create_counted(model->gpu, RF_MEMORY_DEVICE, "KV pages");
    struct rf_span span;
    if (!arena)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for an estimate");
    uint32_t rows = model->context_length;
    uint32_t scratch = rows < RF_MAX_ROWS ? rows : RF_MAX_ROWS;
    uint32_t pages = rf_divide_up(rows, RF_PAGE_ROWS) + rf_divide_up(scratch, RF_PAGE_ROWS);
    enum rf_status status = RF_OK;
    for (uint32_t p = 0; !status && p < pages; p++)
        status = rf_arena_alloc(arena, &span, rf_model_page_bytes(model), "KV page", err);
    *bytes = rf_arena_bytes(arena);
    rf_arena_destroy(arena);
    return status;
}

enum rf_status rf_model_estimate(struct rf_memory_estimate *out, rf_context *context, const char *folder,
                                 const struct rf_model_desc *desc, struct rf_error *err)
{
    if (!out || !context || !folder)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_model_estimate: out, context and folder are needed");
    memset(out, 0, sizeof *out);
    RF_ALLOCATE_FROM(rf_gpu_allocator(rf_context_gpu(context)));
    rf_model *model;
    enum rf_status status = rf_model_count(&model, context, folder, desc, err);
    if (status)
        return status;
    out->weights = rf_arena_bytes(model->weights.arena);
    out->work = rf_forward_bytes(model->forward);
    out->session = rf_session_bytes(model);
    out->kv_page = rf_model_page_bytes(model);
    status = out->session ? count_pages(model, &out->kv, err)
                          : rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for an estimate");
    out->total = out->weights + out->work + out->session + out->kv;
    out->available = rf_gpu_memory_left(model->gpu);
    out->fits = out->total <= out->available;
    rf_model_destroy(model);
    return status;
}
