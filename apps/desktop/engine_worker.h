/* The library, on a thread of its own. Nobody else in the program calls it: requests go in without waiting,
 * what comes of them is handed over on the main loop, all that gathered since the last frame at once. */
#ifndef DESKTOP_ENGINE_WORKER_H
#define DESKTOP_ENGINE_WORKER_H

#include "apps/desktop/engine_fit.h"
#include "apps/desktop/response.h"

struct engine_worker;

struct engine_message {
    gboolean from_user;
    char *text;
};

enum engine_event_kind {
    ENGINE_DEVICES,   /* devices, device_count; text: why there is none, else NULL */
    ENGINE_ESTIMATED, /* target, fit, device: nothing was loaded; message: why it cannot be told, else NULL */
    ENGINE_REFUSED,   /* target, fit, device: it does not fit, and was not loaded; the last of its request */
    ENGINE_LOADING,   /* done of total bytes; both 0 at first, while the device is opened */
    ENGINE_LOADED,    /* model, device */
    ENGINE_UNLOADED,  /* idle: after the time that was set, rather than by request */
    ENGINE_CELLS,     /* what a round changed, text so far, stats, device_memory */
    ENGINE_FINISHED,  /* text, rounds, finish, stats: the answer is complete, or was stopped */
    ENGINE_FAILED,    /* message; of a generation: text and rounds as far as it came */
    ENGINE_NOTICE     /* message: a warning of the library */
};

struct engine_cell {
    guint32 position;
    struct cell cell;
};

/* Valid during the call. Members that a kind does not name are zero. */
struct engine_event {
    enum engine_event_kind kind;
    guint64 request; /* of the generation; 0: of none */
    guint64 done, total;
    struct rf_device_info *devices;
    gsize device_count;
    struct engine_target target;
    struct engine_fit fit;
    struct rf_model_info model;
    struct rf_device_info device;
    gboolean idle;
    GArray *cells; /* of struct engine_cell */
    char *text, *message, *finish;
    GBytes *rounds;
    struct rf_session_stats stats;
    guint64 device_memory; /* bytes that the library holds */
};

typedef void (*engine_event_fn)(void *user, const struct engine_event *event);

/* Events come in the thread's default main context. */
struct engine_worker *engine_worker_start(engine_event_fn on_event, void *user);
/* Cancels what runs and waits for it; no event comes afterwards. */
void engine_worker_stop(struct engine_worker *worker);

void engine_worker_list_devices(struct engine_worker *worker);
/* Would it fit? Answered while an answer forms, too. */
void engine_worker_estimate(struct engine_worker *worker, const struct engine_target *target);
void engine_worker_unload(struct engine_worker *worker);
/* Loads the target before, when it is not loaded; what else is loaded goes first. What does not fit is refused
 * before anything is unloaded, unless `although_it_does_not_fit`. `settings.preset` must outlive the worker;
 * `messages` end with the user's. The same number comes back in every event; the last is ENGINE_FINISHED,
 * ENGINE_FAILED or ENGINE_REFUSED. */
guint64 engine_worker_generate(struct engine_worker *worker, const struct engine_target *target,
                               const struct engine_message *messages, gsize count,
                               const struct rf_decode_settings *settings, gboolean although_it_does_not_fit);
/* A generation ends with ENGINE_FINISHED and FINISH_STOPPED; one that is done already is left alone. */
void engine_worker_cancel(struct engine_worker *worker, guint64 request);
/* The model is unloaded when nothing was asked for so long; 0: never. */
void engine_worker_set_idle(struct engine_worker *worker, guint seconds);

#endif
