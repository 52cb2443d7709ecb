/* The window of settings: model and device, presets and their numbers, looks. */
#ifndef DESKTOP_SETTINGS_WINDOW_H
#define DESKTOP_SETTINGS_WINDOW_H

#include "apps/desktop/engine_worker.h"
#include "apps/desktop/preferences.h"

#include <gtk/gtk.h>

struct settings_window;

/* What it asks of its maker. */
struct settings_listener {
    void (*changed)(void *user);  /* the preferences, which the window writes itself */
    void (*estimate)(void *user); /* whether the preferences' target fits */
    void (*closed)(void *user);   /* the settings_window is gone after it */
};

/* `devices` may be NULL: not known yet. */
struct settings_window *settings_window_open(GtkWindow *parent, struct preferences *preferences,
                                             const struct rf_device_info *devices, gsize device_count,
                                             const struct settings_listener *listener, void *user);
/* Of which the user may choose; borrowed. */
void settings_window_set_devices(struct settings_window *settings, const struct rf_device_info *devices,
                                 gsize count);
void settings_window_estimated(struct settings_window *window, const struct engine_event *event);

#endif
