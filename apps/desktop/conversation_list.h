/* The conversations, with a search. A row's menu holds actions of the window: win.pin(x), win.rename(x),
 * win.duplicate(x), win.export(x), win.delete(x). */
#ifndef DESKTOP_CONVERSATION_LIST_H
#define DESKTOP_CONVERSATION_LIST_H

#include "apps/desktop/store_thread.h"

#include <gtk/gtk.h>

struct conversation_list;

struct conversation_list *
conversation_list_new(struct store_thread *store,
                      void (*on_open)(gpointer user, const struct conversation *conversation),
                      void (*on_error)(gpointer user, const GError *error), gpointer user);
/* After the store has ended. */
void conversation_list_free(struct conversation_list *list);
GtkWidget *conversation_list_widget(struct conversation_list *list);
/* Reads it anew; `selected` is marked as the one that is open (0: none). */
void conversation_list_refresh(struct conversation_list *list, gint64 selected);
const struct conversation *conversation_list_find(struct conversation_list *list, gint64 id);
void conversation_list_search(struct conversation_list *list); /* the focus goes to the search */
/* Opens the conversation that was changed last, when there is one; the list opens it once it has been
 * read. */
void conversation_list_open_last(struct conversation_list *list);

#endif
