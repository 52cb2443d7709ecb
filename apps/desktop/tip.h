/* Tooltips. gtk_widget_set_tooltip_text asks the X server at once where the pointer is and waits for its
 * answer, which on a busy machine takes long; these are asked for when the pointer rests. */
#ifndef DESKTOP_TIP_H
#define DESKTOP_TIP_H

#include <gtk/gtk.h>

void tip_set(GtkWidget *widget, const char *words);
/* The same words for screen readers, as the control's name. */
void tip_and_name_set(GtkWidget *widget, const char *words);

/* A drop-down's name, also for the button within, which is what gets the focus. */
void drop_down_name_set(GtkWidget *drop, const char *words);

#endif
