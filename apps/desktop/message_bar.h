/* A bar above the messages that says one thing, until it is closed. */
#ifndef DESKTOP_MESSAGE_BAR_H
#define DESKTOP_MESSAGE_BAR_H

#include <gtk/gtk.h>

/* Hidden at first; a GtkInfoBar. `*words` becomes the label in it. */
GtkWidget *message_bar_new(GtkMessageType type, GtkWidget **words);
void message_bar_show(GtkWidget *bar, GtkWidget *words, const char *text);

#endif
