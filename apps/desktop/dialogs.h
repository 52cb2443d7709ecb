/* Small dialogs over the main window. Callbacks come when the user agreed, and only then. */
#ifndef DESKTOP_DIALOGS_H
#define DESKTOP_DIALOGS_H

#include <gtk/gtk.h>

typedef void (*dialog_text_fn)(gpointer user, gint64 id, const char *text);

/* Asks for one line; empty is not accepted. */
void dialog_ask_line(GtkWindow *parent, const char *title, const char *button, const char *text, gint64 id,
                     dialog_text_fn done, gpointer user);
/* Asks for a file and writes `text` there without waiting; `failed` gets one line when it cannot be
 * written. */
void dialog_save_text(GtkWindow *parent, const char *suggested_name, char *text,
                      void (*failed)(gpointer user, const char *message), gpointer user);

#endif
