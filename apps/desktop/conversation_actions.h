/* What can be done with a conversation as a whole: the window's actions pin, rename, duplicate, export and delete,
 * with the conversation's number, rename-open and export-open without one, and undo with its bar. */
#ifndef DESKTOP_CONVERSATION_ACTIONS_H
#define DESKTOP_CONVERSATION_ACTIONS_H

#include "apps/desktop/chat.h"
#include "apps/desktop/conversation_list.h"

#include <gtk/gtk.h>

struct conversation_actions;

struct conversation_actions_listener {
    void (*open_changed)(void *user); /* the open conversation has another name */
    void (*list_changed)(void *user);
    void (*failed)(void *user, const char *message);
};

/* Everything that is given must live longer; the window keeps the actions. */
struct conversation_actions *conversation_actions_new(GtkApplicationWindow *window,
                                                      struct store_thread *store, struct chat *chat,
                                                      struct conversation_list *list,
                                                      const struct conversation_actions_listener *listener,
                                                      void *user);
void conversation_actions_free(struct conversation_actions *actions);
GtkWidget *conversation_actions_undo_bar(struct conversation_actions *actions);
/* Those that need an open conversation can be used when there is one. */
void conversation_actions_update(struct conversation_actions *actions);

#endif
