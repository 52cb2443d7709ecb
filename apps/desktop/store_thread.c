#include "apps/desktop/store_thread.h"

#include <sqlite3.h>

enum { RETRY_SECONDS = 3 };

struct job {
    struct store_thread *thread;
    store_work_fn work; /* NULL: the thread ends */
    gpointer data, result, user;
    GDestroyNotify free_data;
    store_done_fn done;
    GError *error;
    gint64 puts; /* id of what is put, by a job that is repeated until it succeeds; 0: it is not */
};

struct store_thread {
    GThread *thread;
    GAsyncQueue *jobs;
    GMainContext *main;
    char *path;
    void (*on_error)(gpointer user, const GError *error);
    gpointer user;
    GQueue handovers; /* GSource of jobs that are done and not handed over; guarded by `mutex` */
    GMutex mutex;
    GQueue unsaved; /* jobs that put and failed, in their order; the thread's own */
};

static void job_free(gpointer data)
{
    struct job *job = data;
    g_clear_error(&job->error);
    g_free(job);
}

static gboolean hand_over(gpointer data)
{
    struct job *job = data;
    struct store_thread *thread = job->thread;
    g_mutex_lock(&thread->mutex);
    g_queue_remove(&thread->handovers, g_main_current_source());
    g_mutex_unlock(&thread->mutex);
    g_source_unref(g_main_current_source());
    if (job->done)
        job->done(job->user, job->result, job->error);
    else if (job->error)
        thread->on_error(thread->user, job->error);
    return G_SOURCE_REMOVE;
}

static void post_handover(struct job *job)
{
    struct store_thread *thread = job->thread;
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, hand_over, job, job_free);
    g_mutex_lock(&thread->mutex);
    g_queue_push_tail(&thread->handovers, source);
    g_mutex_unlock(&thread->mutex);
    g_source_attach(source, thread->main);
}

static void report(struct store_thread *thread, GError *error)
{
    struct job *job = g_new0(struct job, 1);
    job->thread = thread;
    job->error = error;
    post_handover(job);
}

static void discard(struct job *job)
{
    if (job->free_data)
        job->free_data(job->data);
    job_free(job);
}

/* The first of an id keeps its place, because what follows may need it; of later ones the last counts. */
static void keep_unsaved(struct store_thread *thread, struct job *job)
{
    GList *last = NULL;
    guint found = 0;
    for (GList *link = thread->unsaved.head; link; link = link->next) {
        const struct job *other = link->data;
        if (other->puts != job->puts || other->work != job->work)
            continue;
        last = link;
        found++;
    }
    if (found > 1) {
        discard(last->data);
        g_queue_delete_link(&thread->unsaved, last);
    }
    g_queue_push_tail(&thread->unsaved, job);
}

/* A disk that is full may have room again; what breaks the file's rules breaks them then too. */
static gboolean is_hopeless(const GError *error)
{
    return (error->code & 0xff) == SQLITE_CONSTRAINT;
}

/* In their order, because messages need their conversation. FALSE: there are still some. */
static gboolean save_unsaved(struct store_thread *thread, struct store *store)
{
    while (!g_queue_is_empty(&thread->unsaved)) {
        struct job *job = g_queue_peek_head(&thread->unsaved);
        GError *error = NULL;
        job->work(store, job->data, &error);
        if (error && !is_hopeless(error)) {
            g_error_free(error);
            return FALSE;
        }
        if (error)
            report(thread, error);
        discard(g_queue_pop_head(&thread->unsaved));
    }
    return TRUE;
}

/* The user is told once, not at each word of an answer that cannot be saved. */
static void put(struct store_thread *thread, struct store *store, struct job *job)
{
    gboolean others = !save_unsaved(thread, store);
    if (!others)
        job->work(store, job->data, &job->error);
    if (!others && !job->error) {
        discard(job);
    } else if (!others && is_hopeless(job->error)) {
        report(thread, g_steal_pointer(&job->error));
        discard(job);
    } else {
        if (!others) {
            g_prefix_error(&job->error, "Not saved, it will be tried again: ");
            report(thread, g_steal_pointer(&job->error));
        }
        keep_unsaved(thread, job);
    }
}

static void do_job(struct store_thread *thread, struct store *store, const GError *broken, struct job *job)
{
    if (store && job->puts) {
        put(thread, store, job);
        return;
    }
    if (store) {
        save_unsaved(thread, store);
        job->result = job->work(store, job->data, &job->error);
    } else if (job->done) { /* the others need not repeat what was said at the start */
        job->error = g_error_copy(broken);
    }
    if (job->free_data)
        job->free_data(job->data);
    if (job->done || job->error)
        post_handover(job);
    else
        job_free(job);
}

static gpointer serve(gpointer data)
{
    struct store_thread *thread = data;
    GError *broken = NULL;
    struct store *store = store_open(thread->path, &broken);
    if (broken) {
        g_prefix_error(&broken, "Conversations are not kept: ");
        report(thread, g_error_copy(broken));
    }
    for (;;) {
        struct job *job = g_queue_is_empty(&thread->unsaved)
                              ? g_async_queue_pop(thread->jobs)
                              : g_async_queue_timeout_pop(thread->jobs, RETRY_SECONDS * G_USEC_PER_SEC);
        if (job && !job->work) {
            g_free(job);
            break;
        }
        if (job)
            do_job(thread, store, broken, job);
        else
            save_unsaved(thread, store);
    }
    if (store)
        save_unsaved(thread, store);
    g_queue_clear_full(&thread->unsaved, (GDestroyNotify)discard);
    g_clear_error(&broken);
    store_close(store);
    return NULL;
}

struct store_thread *store_thread_start(const char *path,
                                        void (*on_error)(gpointer user, const GError *error), gpointer user)
{
    struct store_thread *thread = g_new0(struct store_thread, 1);
    thread->jobs = g_async_queue_new();
    thread->main = g_main_context_ref_thread_default();
    thread->path = g_strdup(path);
    thread->on_error = on_error;
    thread->user = user;
    g_mutex_init(&thread->mutex);
    thread->thread = g_thread_new("store", serve, thread);
    return thread;
}

static void post(const struct job *job)
{
    g_async_queue_push(job->thread->jobs, g_memdup2(job, sizeof *job));
}

void store_thread_post(struct store_thread *thread, store_work_fn work, gpointer data,
                       GDestroyNotify free_data, store_done_fn done, gpointer user)
{
    post(&(struct job){
        .thread = thread, .work = work, .data = data, .free_data = free_data, .done = done, .user = user});
}

void store_thread_stop(struct store_thread *thread)
{
    store_thread_post(thread, NULL, NULL, NULL, NULL, NULL);
    g_thread_join(thread->thread);
    GSource *source;
    while ((source = g_queue_pop_head(&thread->handovers))) {
        g_source_destroy(source);
        g_source_unref(source);
    }
    g_mutex_clear(&thread->mutex);
    g_async_queue_unref(thread->jobs);
    g_main_context_unref(thread->main);
    g_free(thread->path);
    g_free(thread);
}

static gpointer put_conversation(struct store *store, gpointer data, GError **error)
{
    store_put_conversation(store, data, error);
    return NULL;
}

void store_thread_put_conversation(struct store_thread *thread, const struct conversation *conversation)
{
    post(&(struct job){.thread = thread,
                       .work = put_conversation,
                       .data = conversation_copy(conversation),
                       .free_data = (GDestroyNotify)conversation_free,
                       .puts = conversation->id});
}

static gpointer put_message(struct store *store, gpointer data, GError **error)
{
    store_put_message(store, data, FALSE, error);
    return NULL;
}

static gpointer put_leaf(struct store *store, gpointer data, GError **error)
{
    store_put_message(store, data, TRUE, error);
    return NULL;
}

void store_thread_put_message(struct store_thread *thread, const struct message *message, gboolean as_leaf)
{
    post(&(struct job){.thread = thread,
                       .work = as_leaf ? put_leaf : put_message,
                       .data = message_copy(message),
                       .free_data = (GDestroyNotify)message_free,
                       .puts = message->id});
}
