/* Where the question is written: a text of several lines, a button that sends it or stops the answer, the
 * preset, the progress of loading, a meter. Its buttons are actions of the window: win.stop,
 * win.cancel-edit. */
#ifndef DESKTOP_COMPOSER_H
#define DESKTOP_COMPOSER_H

#include "apps/desktop/preferences.h"

#include <gtk/gtk.h>

struct composer;

struct composer_listener {
    void (*send)(void *user, const char *text); /* not empty */
    void (*preset)(void *user, const struct preset *preset);
};

struct composer *composer_new(const struct composer_listener *listener, void *user);
void composer_free(struct composer *composer);
GtkWidget *composer_widget(struct composer *composer);
void composer_focus(struct composer *composer);
void composer_set_text(struct composer *composer, const char *text);
void composer_set_running(struct composer *composer, gboolean running);
void composer_set_editing(struct composer *composer, gboolean editing);
void composer_set_preset(struct composer *composer, const struct preset *preset);
/* `words` NULL: nothing loads. `fraction` below 0: not known. */
void composer_set_loading(struct composer *composer, const char *words, double fraction);
/* Shown, and read out by screen readers: how the answer stands. */
void composer_announce(struct composer *composer, const char *words);
void composer_set_meter(struct composer *composer, const char *words);

#endif
