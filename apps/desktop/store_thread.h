/* A store on a thread of its own, so that nobody who draws waits for a disk. Jobs run in the order in which
 * they are posted; their results are handed over on the main loop. */
#ifndef DESKTOP_STORE_THREAD_H
#define DESKTOP_STORE_THREAD_H

#include "apps/desktop/store.h"

struct store_thread;

/* On the store's thread. What it returns is given to `done`. */
typedef gpointer (*store_work_fn)(struct store *store, gpointer data, GError **error);
/* On the main loop, not after store_thread_stop; owns `result`. Exactly when `error` (borrowed) is set, the
 * job failed. */
typedef void (*store_done_fn)(gpointer user, gpointer result, const GError *error);

/* `on_error` (on the main loop) gets the failures of jobs without `done`, and that of opening the file; after
 * the latter every job fails with the same words. */
struct store_thread *store_thread_start(const char *path,
                                        void (*on_error)(gpointer user, const GError *error), gpointer user);
/* `data` is freed by `free_data` (NULL: not) on the store's thread. `done` may be NULL. */
void store_thread_post(struct store_thread *thread, store_work_fn work, gpointer data,
                       GDestroyNotify free_data, store_done_fn done, gpointer user);
/* Does what was posted, then ends. */
void store_thread_stop(struct store_thread *thread);

/* The jobs that are used in more than one place; each keeps copies of its arguments. What cannot be saved, on
 * a full disk for example, is kept and tried again before whatever is posted next, every few seconds, and at
 * the end; `on_error` hears of it once. */
void store_thread_put_conversation(struct store_thread *thread, const struct conversation *conversation);
void store_thread_put_message(struct store_thread *thread, const struct message *message, gboolean as_leaf);

#endif
