/* The conversation that is open and the answer that is being written, without a widget. Everything happens on
 * the main loop and nothing waits: the store and the engine have threads of their own. */
#ifndef DESKTOP_CHAT_H
#define DESKTOP_CHAT_H

#include "apps/desktop/engine_worker.h"
#include "apps/desktop/preferences.h"
#include "apps/desktop/store_thread.h"

struct chat;

/* What a window wants to know. `user` comes back in each. */
struct chat_listener {
    void (*path_changed)(void *user); /* other messages, or another conversation */
    void (*answer_changed)(void *user,
                           const struct message *answer); /* cells or text of the one being written */
    void (*answer_ended)(void *user, const struct message *answer);
    void (*list_changed)(void *user); /* of conversations */
    void (*failed)(void *user, const char *message);
    /* The answer waits: chat_resume or chat_stop, once the user has chosen. */
    void (*refused)(void *user, const struct engine_event *event);
};

struct chat *chat_new(struct store_thread *store, struct engine_worker *engine,
                      const struct preferences *preferences, const struct chat_listener *listener,
                      void *user);
void chat_free(struct chat *chat); /* saves the answer that is being written as it is */

/* NULL: a new one that is not stored yet. */
const struct conversation *chat_conversation(const struct chat *chat);
/* Messages from the first to the leaf; free with g_ptr_array_unref, what it holds is borrowed until the next
 * change. */
GPtrArray *chat_path(const struct chat *chat);
/* Which of how many branches a message is, from 1. */
void chat_branch(const struct chat *chat, gint64 message, guint *number, guint *count);
/* The answer that is being written, also for a conversation that is not open; NULL: none. */
const struct message *chat_running(const struct chat *chat);
/* Its cells. Those that changed since the listener was told last are dirty. */
const struct response *chat_response(const struct chat *chat);
const struct rf_session_stats *chat_stats(const struct chat *chat);

void chat_new_conversation(struct chat *chat);
void chat_open(struct chat *chat, const struct conversation *conversation);
/* These two change any conversation of the list, the open one too. */
void chat_rename(struct chat *chat, const struct conversation *conversation, const char *title);
void chat_set_pinned(struct chat *chat, const struct conversation *conversation, gboolean pinned);
/* The open conversation has the preferences' settings for answers from now on. */
void chat_keep_settings(struct chat *chat);
/* These four begin an answer, and do nothing while another is being written. */
void chat_ask(struct chat *chat, const char *question);
void chat_edit(struct chat *chat, gint64 message,
               const char *question);                   /* a new branch beside that message */
void chat_regenerate(struct chat *chat, gint64 answer); /* likewise */
/* Shows another branch at this message: +1 the next, -1 the one before. */
void chat_switch(struct chat *chat, gint64 message, int step);
void chat_stop(struct chat *chat);
/* Asks the engine again for the answer that it refused, with the preferences as they are now. */
void chat_resume(struct chat *chat, gboolean although_it_does_not_fit);

/* Events of generations; others are passed over. */
void chat_engine_event(struct chat *chat, const struct engine_event *event);

#endif
