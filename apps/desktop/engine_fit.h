/* Does a model fit? Asked before it is loaded, told in words for people who know nothing of KV caches. */
#ifndef DESKTOP_ENGINE_FIT_H
#define DESKTOP_ENGINE_FIT_H

#include <glib.h>
#include <refusion.h>

/* A model on a device, and how it is loaded. */
struct engine_target {
    char *model;            /* folder or GGUF file */
    char *device;           /* as rf_context_desc.device takes it; NULL: the best */
    char *weight_type;      /* as rf_model_desc.weight_type takes it; NULL: as the files have them */
    guint32 context_length; /* tokens of a conversation, at most; 0: the model's own limit */
    guint64 memory_limit;   /* bytes of device memory to take, at most; 0: what the device has */
};

struct engine_target engine_target_copy(const struct engine_target *target);
void engine_target_clear(struct engine_target *target);
gboolean engine_target_equal(const struct engine_target *a, const struct engine_target *b);
struct rf_context_desc
engine_target_context(const struct engine_target *target); /* borrows the target's strings */
struct rf_model_desc engine_target_model(const struct engine_target *target);

enum { MIN_CONTEXT = 512 }; /* tokens: a shorter conversation is not worth to be proposed */

struct engine_fit {
    struct rf_memory_estimate memory; /* `available` counts what would be unloaded before */
    guint32 context_length;           /* the target's */
    /* What would fit instead, when this does not. */
    guint32 shorter;          /* the longest conversation, with these weights; 0: none of MIN_CONTEXT */
    const char *smaller_type; /* of the weights, with this length; NULL: none */
};

/* `held`: bytes that the program has on that device and gives back before it loads. Errors as of rf_model_estimate. */
enum rf_status engine_fit(struct engine_fit *fit, rf_context *context, const struct engine_target *target,
                          guint64 held, struct rf_error *err);

/* "3.1 GB: 2.1 GB for the model ..."; free with g_free. */
char *engine_fit_words(const struct engine_fit *fit, const char *device);

#endif
