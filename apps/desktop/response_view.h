/* A response that forms: masked positions as small marks, drafts faint where they are planned, tokens in the
 * colour of the round that committed them, which settles to that of text. */
#ifndef DESKTOP_RESPONSE_VIEW_H
#define DESKTOP_RESPONSE_VIEW_H

#include "apps/desktop/response.h"

#include <gtk/gtk.h>

/* From the colour of the round to that of text. */
enum { RESPONSE_SETTLE_MS = 1400 };

#define DESKTOP_TYPE_RESPONSE_VIEW (response_view_get_type())
G_DECLARE_FINAL_TYPE(ResponseView, response_view, DESKTOP, RESPONSE_VIEW, GtkWidget)

/* `block` positions are marked as masked at a time: the model decodes block by block. */
GtkWidget *response_view_new(guint32 block, guint32 max_tokens);
/* Copies what is dirty in `response`; `text` is the part of it that is certain, for screen readers. */
void response_view_update(ResponseView *view, const struct response *response, const char *text);
/* Without animation nothing changes by itself: committed tokens have the colour of text at once. */
void response_view_set_animated(ResponseView *view, gboolean animated);

/* The colour of a round, on light or dark ground. */
GdkRGBA round_colour(guint32 round, gboolean dark);
/* Whether text of this widget is lighter than what it stands on. */
gboolean widget_is_dark(GtkWidget *widget);

#endif
