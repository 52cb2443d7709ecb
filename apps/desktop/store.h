/* Conversations in one SQLite file. Every call is one transaction in a write-ahead log, so a process that is
 * killed at any moment leaves the state after its last finished call. Not thread-safe: store_thread.h owns
 * one. */
#ifndef DESKTOP_STORE_H
#define DESKTOP_STORE_H

#include "apps/desktop/records.h"

struct store;

#define STORE_ERROR (store_error_quark())
GQuark store_error_quark(void);

/* Creates the file and its folder when they are missing, and brings an older schema up to date; a newer
 * schema is refused. Answers that a crash left unfinished become FINISH_INTERRUPTED, and what was deleted is
 * purged. */
struct store *store_open(const char *path, GError **error);
void store_close(struct store *store); /* NULL is fine */

/* Pinned first, then by the time of the last change. `search`: only those whose title or messages hold it,
 * any case; NULL or "": all. GPtrArray of struct conversation, which it owns. */
GPtrArray *store_conversations(struct store *store, const char *search, GError **error);
/* GPtrArray of struct message in the order of ids, which it owns. */
GPtrArray *store_messages(struct store *store, gint64 conversation, GError **error);

/* New, or changed in all fields but `created`. */
gboolean store_put_conversation(struct store *store, const struct conversation *conversation, GError **error);
/* Hidden from then on, for good when the file is opened next; `deleted` FALSE brings it back. */
gboolean store_set_deleted(struct store *store, gint64 conversation, gboolean deleted, GError **error);
/* New, or changed; the conversation counts as changed now, and its leaf becomes the message if `as_leaf`. */
gboolean store_put_message(struct store *store, const struct message *message, gboolean as_leaf,
                           GError **error);
/* A copy with all branches, its title as given; 0 on failure. */
gint64 store_duplicate(struct store *store, gint64 conversation, const char *title, GError **error);

#endif
