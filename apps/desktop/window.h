/* The main window, and what it works with. One per program. */
#ifndef DESKTOP_WINDOW_H
#define DESKTOP_WINDOW_H

#include <gtk/gtk.h>

struct window;

struct window *window_new(GtkApplication *application, const char *default_model);
void window_present(struct window *window);
/* Saves, and ends the threads. The widgets may be gone already. */
void window_free(struct window *window);

#endif
