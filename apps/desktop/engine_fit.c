#include "apps/desktop/engine_fit.h"

struct engine_target engine_target_copy(const struct engine_target *target)
{
    struct engine_target copy = *target;
    copy.model = g_strdup(target->model);
    copy.device = g_strdup(target->device);
    copy.weight_type = g_strdup(target->weight_type);
    return copy;
}

void engine_target_clear(struct engine_target *target)
{
    g_free(target->model);
    g_free(target->device);
    g_free(target->weight_type);
    *target = (struct engine_target){0};
}

gboolean engine_target_equal(const struct engine_target *a, const struct engine_target *b)
{
    return g_strcmp0(a->model, b->model) == 0 && g_strcmp0(a->device, b->device) == 0 &&
           g_strcmp0(a->weight_type, b->weight_type) == 0 && a->context_length == b->context_length &&
           a->memory_limit == b->memory_limit;
}

struct rf_context_desc engine_target_context(const struct engine_target *target)
{
    return (struct rf_context_desc){
        .device = target->device, .memory_limit = target->memory_limit, .priority = RF_PRIORITY_LOW};
}

struct rf_model_desc engine_target_model(const struct engine_target *target)
{
    return (struct rf_model_desc){.context_length = target->context_length,
                                  .weight_type = target->weight_type};
}

/* ---- The estimate -------------------------------------------------------------------------------------- */

static enum rf_status estimate(struct rf_memory_estimate *memory, rf_context *context,
                               const struct engine_target *target, guint64 held, struct rf_error *err)
{
    struct rf_model_desc desc = engine_target_model(target);
    enum rf_status status = rf_model_estimate(memory, context, target->model, &desc, err);
    if (status)
        return status;
    memory->available += held;
    if (target->memory_limit)
        memory->available = MIN(memory->available, target->memory_limit);
    memory->fits = memory->total <= memory->available;
    return RF_OK;
}

static gboolean fits_with(rf_context *context, const struct engine_target *target, guint32 context_length,
                          guint64 held)
{
    struct engine_target shorter = *target;
    struct rf_memory_estimate memory;
    shorter.context_length = context_length;
    return !estimate(&memory, context, &shorter, held, NULL) && memory.fits;
}

/* By trial, because memory comes in steps larger than a page. `rows`: more than the target's length. */
static guint32 longest_that_fits(rf_context *context, const struct engine_target *target, guint32 rows,
                                 guint64 held)
{
    enum { STEP = 256 /* tokens */ };
    guint32 fits = MIN_CONTEXT, fits_not = MAX(rows, MIN_CONTEXT);
    if (!fits_with(context, target, MIN_CONTEXT, held))
        return 0;
    while (fits_not - fits > STEP) {
        guint32 middle = (fits + (fits_not - fits) / 2) / STEP * STEP;
        if (middle <= fits)
            break;
        if (fits_with(context, target, middle, held))
            fits = middle;
        else
            fits_not = middle;
    }
    return fits;
}

static const char *largest_type_that_fits(rf_context *context, const struct engine_target *target,
                                          guint64 weights, guint64 held)
{
    static const char *const types[] = {"bf16", "q8_0", "q6_k", "q4_k"}; /* by size */
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        struct engine_target smaller = *target;
        struct rf_memory_estimate memory;
        smaller.weight_type = (char *)types[i];
        if (!estimate(&memory, context, &smaller, held, NULL) && memory.fits && memory.weights < weights)
            return types[i];
    }
    return NULL;
}

enum rf_status engine_fit(struct engine_fit *fit, rf_context *context, const struct engine_target *target,
                          guint64 held, struct rf_error *err)
{
    *fit = (struct engine_fit){0};
    enum rf_status status = estimate(&fit->memory, context, target, held, err);
    if (status)
        return status;
    fit->context_length = target->context_length;
    if (!fit->memory.fits) {
        guint64 rows = fit->memory.kv / MAX(fit->memory.kv_page, 1) * RF_KV_PAGE_ROWS;
        fit->shorter = longest_that_fits(context, target, (guint32)MIN(rows, G_MAXUINT32), held);
        fit->smaller_type = largest_type_that_fits(context, target, fit->memory.weights, held);
    }
    return RF_OK;
}

char *engine_fit_words(const struct engine_fit *fit, const char *device)
{
    const struct rf_memory_estimate *memory = &fit->memory;
    char *weights = g_format_size(memory->weights), *kv = g_format_size(memory->kv);
    char *rest = g_format_size(memory->work + memory->session), *total = g_format_size(memory->total);
    char *available = g_format_size(memory->available);
    char *length = fit->context_length ? g_strdup_printf("of %u tokens", fit->context_length)
                                       : g_strdup("as long as the model can");
    char *words = g_strdup_printf(
        "%s of memory: %s for the model, %s to remember a conversation %s, %s to work with. "
        "%s has %s free for it: it %s.",
        total, weights, kv, length, rest, device, available, memory->fits ? "fits" : "does not fit");
    g_free(length);
    g_free(weights);
    g_free(kv);
    g_free(rest);
    g_free(total);
    g_free(available);
    return words;
}
