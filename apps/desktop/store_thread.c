#include "apps/desktop/store_thread.h"

struct job {
    struct store_thread *thread;
    store_work_fn work; /* NULL: the thread ends */
    gpointer data, result, user;
    GDestroyNotify free_data;
    store_done_fn done;
    GError *error;
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

static gpointer serve(gpointer data)
{
    struct store_thread *thread = data;
    GError *broken = NULL;
    struct store *store = store_open(thread->path, &broken);
    if (broken) {
        struct job *report = g_new0(struct job, 1);
        report->thread = thread;
        report->error = g_error_copy(broken);
        post_handover(report);
    }
    for (;;) {
        struct job *job = g_async_queue_pop(thread->jobs);
        if (!job->work) {
            g_free(job);
            break;
        }
        if (store)
            job->result = job->work(store, job->data, &job->error);
        else if (job->done) /* the others need not repeat what was said at the start */
            job->error = g_error_copy(broken);
        if (job->free_data)
            job->free_data(job->data);
        if (job->done || job->error)
            post_handover(job);
        else
            job_free(job);
    }
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

void store_thread_post(struct store_thread *thread, store_work_fn work, gpointer data,
                       GDestroyNotify free_data, store_done_fn done, gpointer user)
{
    struct job *job = g_new0(struct job, 1);
    *job = (struct job){
        .thread = thread, .work = work, .data = data, .free_data = free_data, .done = done, .user = user};
    g_async_queue_push(thread->jobs, job);
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
    store_thread_post(thread, put_conversation, conversation_copy(conversation),
                      (GDestroyNotify)conversation_free, NULL, NULL);
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
    store_thread_post(thread, as_leaf ? put_leaf : put_message, message_copy(message),
                      (GDestroyNotify)message_free, NULL, NULL);
}
