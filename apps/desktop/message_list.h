/* The open conversation's messages, one under the other, and a welcome where there are none. */
#ifndef DESKTOP_MESSAGE_LIST_H
#define DESKTOP_MESSAGE_LIST_H

#include "apps/desktop/chat.h"

#include <gtk/gtk.h>

struct message_list;

/* Suggestions of the welcome are the action win.suggest(s). */
struct message_list *message_list_new(void);
void message_list_free(struct message_list *list);
GtkWidget *message_list_widget(struct message_list *list);
/* Rows that still show what they should are kept. Of many, the last ones are made at once and the others with the
 * next frames: `chat` and `preferences` are borrowed until the list is freed, and each change of the path is
 * shown before the main loop goes on. */
void message_list_show(struct message_list *list, const struct chat *chat,
                       const struct preferences *preferences, gboolean animated);
/* Finished answers in the colours of their rounds; from the next showing on. */
void message_list_set_rounds(struct message_list *list, gboolean rounds);
/* New cells of the answer that is being written, when its conversation is the one that is shown. */
void message_list_update(struct message_list *list, const struct chat *chat);
void message_list_set_animated(struct message_list *list, gboolean animated);

#endif
