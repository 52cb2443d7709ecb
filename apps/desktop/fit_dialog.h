/* Asks what is to be done when a model does not fit. */
#ifndef DESKTOP_FIT_DIALOG_H
#define DESKTOP_FIT_DIALOG_H

#include "apps/desktop/engine_worker.h"

#include <gtk/gtk.h>

enum fit_choice {
    FIT_CANCEL,   /* closing the window, too */
    FIT_SHORTER,  /* the conversation: event->fit.shorter */
    FIT_SMALLER,  /* the weights: event->fit.smaller_type */
    FIT_ALTHOUGH, /* loads it all the same */
    FIT_SETTINGS  /* another model, or another device */
};

typedef void (*fit_choice_fn)(void *user, enum fit_choice choice, const struct engine_event *event);

/* `refusal` is copied as far as it is needed: target, fit, device. `done` is called once. */
void fit_dialog_ask(GtkWindow *parent, const struct engine_event *refusal, fit_choice_fn done, void *user);

#endif
