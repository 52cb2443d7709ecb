/* One message of a conversation, with what can be done to it. Its buttons are actions of the window:
 * win.copy(x), win.edit(x), win.regenerate(x), win.branch((xi)); code blocks copy themselves. */
#ifndef DESKTOP_MESSAGE_ROW_H
#define DESKTOP_MESSAGE_ROW_H

#include "apps/desktop/records.h"
#include "apps/desktop/response_view.h"

struct message_row_desc {
    const struct message *message;
    guint branch, branches;    /* from 1; branches 1: no switch is shown */
    gboolean running;          /* an answer that forms: gets a ResponseView */
    guint32 block, max_tokens; /* of it */
    gboolean animated;
    /* A finished answer in the colours of its rounds, where they are known, instead of as blocks. */
    gboolean rounds;
};

/* A floating widget. */
GtkWidget *message_row_new(const struct message_row_desc *desc);
gint64 message_row_id(GtkWidget *row);
/* NULL: the row is not one of an answer that forms. */
ResponseView *message_row_response(GtkWidget *row);
/* Rows are equal to the eye when these are: the row need not be made anew. */
gboolean message_row_shows(GtkWidget *row, const struct message_row_desc *desc);

/* Reads the languages and styles that code is shown with, which would be noticed in the middle of an
 * answer. */
void message_row_prepare(void);

#endif
