/* The way of events from the engine's thread to the main loop: gathered, and handed over at most once a
 * frame. */
#ifndef DESKTOP_ENGINE_EVENTS_H
#define DESKTOP_ENGINE_EVENTS_H

#include "apps/desktop/engine_worker.h"

struct engine_outbox;

struct engine_outbox *engine_outbox_new(engine_event_fn on_event, void *user);
/* On the main loop's thread, when nobody posts any more. */
void engine_outbox_free(struct engine_outbox *outbox);
/* From any thread; owns what the event points to. A load's progress replaces the one before. */
void engine_outbox_post(struct engine_outbox *outbox, const struct engine_event *event);

#endif
