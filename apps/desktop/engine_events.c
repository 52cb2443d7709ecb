#include "apps/desktop/engine_events.h"

#include <stdlib.h>

enum { FRAME_US = 16000 };

struct engine_outbox {
    GMainContext *main;
    engine_event_fn on_event;
    void *user;
    GMutex mutex; /* guards the rest */
    GQueue events;
    GSource *wakeup; /* that is attached; NULL: none */
    gint64 last;     /* microseconds of the monotonic clock, when events were handed over */
};

static void cell_clear(gpointer data)
{
    struct engine_cell *cell = data;
    g_free(cell->cell.text);
}

static void event_free(gpointer data)
{
    struct engine_event *event = data;
    rf_free(event->devices);
    if (event->cells) {
        g_array_set_clear_func(event->cells, cell_clear);
        g_array_unref(event->cells);
    }
    engine_target_clear(&event->target);
    g_free(event->text);
    g_free(event->message);
    g_free(event->finish);
    if (event->rounds)
        g_bytes_unref(event->rounds);
    g_free(event);
}

struct engine_outbox *engine_outbox_new(engine_event_fn on_event, void *user)
{
    struct engine_outbox *outbox = g_new0(struct engine_outbox, 1);
    outbox->main = g_main_context_ref_thread_default();
    outbox->on_event = on_event;
    outbox->user = user;
    g_mutex_init(&outbox->mutex);
    return outbox;
}

static gboolean hand_over(gpointer data)
{
    struct engine_outbox *outbox = data;
    g_mutex_lock(&outbox->mutex);
    GQueue events = outbox->events;
    g_queue_init(&outbox->events);
    outbox->last = g_get_monotonic_time();
    g_clear_pointer(&outbox->wakeup, g_source_unref);
    g_mutex_unlock(&outbox->mutex);
    struct engine_event *event;
    while ((event = g_queue_pop_head(&events))) {
        outbox->on_event(outbox->user, event);
        event_free(event);
    }
    return G_SOURCE_REMOVE;
}

void engine_outbox_post(struct engine_outbox *outbox, const struct engine_event *event)
{
    g_mutex_lock(&outbox->mutex);
    struct engine_event *last = g_queue_peek_tail(&outbox->events);
    if (last && event->kind == ENGINE_LOADING && last->kind == ENGINE_LOADING &&
        last->request == event->request)
        *last = *event;
    else
        g_queue_push_tail(&outbox->events, g_memdup2(event, sizeof *event));
    if (!outbox->wakeup) {
        gint64 now = g_get_monotonic_time(), due = outbox->last + FRAME_US;
        guint wait_ms = due > now ? (guint)((due - now) / 1000) : 0;
        outbox->wakeup = g_timeout_source_new(wait_ms);
        g_source_set_priority(outbox->wakeup, G_PRIORITY_DEFAULT);
        g_source_set_callback(outbox->wakeup, hand_over, outbox, NULL);
        g_source_attach(outbox->wakeup, outbox->main);
    }
    g_mutex_unlock(&outbox->mutex);
}

void engine_outbox_free(struct engine_outbox *outbox)
{
    if (outbox->wakeup) {
        g_source_destroy(outbox->wakeup);
        g_source_unref(outbox->wakeup);
    }
    g_queue_clear_full(&outbox->events, event_free);
    g_mutex_clear(&outbox->mutex);
    g_main_context_unref(outbox->main);
    g_free(outbox);
}
