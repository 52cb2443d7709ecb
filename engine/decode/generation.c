/* A response that forms on a thread of its own. The thread steps the session and leaves what came of each round in
 * `fresh`, under a mutex that is held for copies only; a poll exchanges that for what the last poll took. */
#include <string.h>
#include <time.h>

#include "engine/allocate.h"
#include "engine/decode/session.h"
#include "engine/desc.h"
#include "engine/thread.h"

/* What rounds have left for the next poll. Kept when it is emptied, so that a long response settles on two. */
struct harvest {
    struct rf_event *events;
    size_t event_count, event_capacity;
    char *text; /* without its end */
    size_t text_length, text_capacity;
};

struct rf_generation {
    rf_session *session;
    rf_wake_fn wake;
    void *user;
    pthread_t thread;
    pthread_mutex_t mutex; /* of the following four */
    pthread_cond_t ended;
    struct harvest fresh;
    bool waiting,
        finished; /* waiting: the last poll took everything, so that what comes next is worth a call */
    struct rf_session_stats stats;
    struct rf_error failure; /* written before `finished` */

    size_t seen; /* bytes of the session's text that were harvested; the thread's own */

    /* The polling thread's own. */
    struct harvest taken;
    char *text; /* all of it so far, NUL-terminated */
    size_t text_length, text_capacity;
};

/* Room for `more` elements beside `count`. */
static bool reserve(void *array, size_t *capacity, size_t count, size_t more, size_t element)
{
    void **data = array;
    if (count + more <= *capacity)
        return true;
    size_t wanted = 2 * (count + more);
    void *grown = rf_realloc(*data, wanted * element);
    if (!grown)
        return false;
    *data = grown;
    *capacity = wanted;
    return true;
}

/* Appends the last step's events and new text. */
static bool harvest_step(struct rf_generation *g)
{
    struct harvest *h = &g->fresh;
    const rf_session *s = g->session;
    size_t length, events;
    const char *text = rf_session_text(s, &length);
    const struct rf_event *list = rf_session_events(s, &events);
    if (!reserve(&h->events, &h->event_capacity, h->event_count, events, sizeof *h->events) ||
        !reserve(&h->text, &h->text_capacity, h->text_length, length - g->seen, 1))
        return false;
    if (events)
        memcpy(h->events + h->event_count, list, events * sizeof *list);
    h->event_count += events;
    if (length > g->seen)
        memcpy(h->text + h->text_length, text + g->seen, length - g->seen);
    h->text_length += length - g->seen;
    g->seen = length;
    rf_session_get_stats(s, &g->stats);
    return true;
}

static enum rf_status generate(struct rf_generation *g)
{
    while (!rf_session_finished(g->session)) {
        enum rf_status status = rf_session_step(g->session, NULL, NULL, &g->failure);
        pthread_mutex_lock(&g->mutex);
        if (!status && !harvest_step(g))
            status = rf_fail(&g->failure, RF_ERROR_HOST_MEMORY, "no host memory for a round's events");
        bool call = !status && g->waiting && !rf_session_finished(g->session);
        g->waiting = g->waiting && !call;
        pthread_mutex_unlock(&g->mutex);
        if (status)
            return status;
        if (call && g->wake)
            g->wake(g->user);
    }
    return RF_OK;
}

static void *run(void *user)
{
    struct rf_generation *g = user;
    RF_ALLOCATE_FROM(rf_gpu_allocator(g->session->model->gpu));
    enum rf_status status = generate(g);
    pthread_mutex_lock(&g->mutex);
    g->failure.status = status;
    if (!status)
        g->failure.message[0] = '\0';
    g->finished = true;
    pthread_cond_broadcast(&g->ended);
    pthread_mutex_unlock(&g->mutex);
    if (g->wake)
        g->wake(g->user);
    return NULL;
}

static void free_generation(struct rf_generation *g)
{
    pthread_cond_destroy(&g->ended);
    pthread_mutex_destroy(&g->mutex);
    rf_free(g->fresh.events);
    rf_free(g->fresh.text);
    rf_free(g->taken.events);
    rf_free(g->taken.text);
    rf_free(g->text);
    rf_free(g);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum rf_status rf_generation_start(rf_generation **out, rf_session *session,
                                   const struct rf_generation_desc *desc, struct rf_error *err)
{
    struct rf_generation_desc known;
    if (!out || !session)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_generation_start: out and session are needed");
    *out = NULL;
    RF_ALLOCATE_FROM(rf_gpu_allocator(session->model->gpu));
    enum rf_status status = RF_DESC_READ(&known, rf_generation_desc, desc, err);
    if (status)
        return status;
    struct rf_generation *g = rf_calloc(1, sizeof *g);
    if (!g || !reserve(&g->text, &g->text_capacity, 0, 1, 1)) {
        rf_free(g);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a generation");
    }
    g->session = session;
    g->wake = known.wake;
    g->user = known.user;
    g->waiting = true;
    g->text[0] = '\0';
    pthread_mutex_init(&g->mutex, NULL);
    init_condition(&g->ended);
    if (rf_thread_start(&g->thread, run, g) != 0) {
        free_generation(g);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no thread for a generation: the system refused one");
    }
    *out = g;
    return RF_OK;
}

enum rf_status rf_generation_poll(rf_generation *g, struct rf_update *update, struct rf_error *err)
{
    memset(update, 0, sizeof *update);
    RF_ALLOCATE_FROM(rf_gpu_allocator(g->session->model->gpu));
    struct harvest empty = g->taken;
    empty.event_count = empty.text_length = 0;
    pthread_mutex_lock(&g->mutex);
    /* Before anything is taken: a poll that fails loses nothing. */
    if (!reserve(&g->text, &g->text_capacity, g->text_length, g->fresh.text_length + 1, 1)) {
        pthread_mutex_unlock(&g->mutex);
        update->text = g->text;
        update->text_length = update->text_first = g->text_length;
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a response's text");
    }
    g->taken = g->fresh;
    g->fresh = empty;
    g->waiting = true;
    update->finished = g->finished;
    update->stats = g->stats;
    if (g->finished && err)
        *err = g->failure;
    enum rf_status status = g->finished ? g->failure.status : RF_OK;
    pthread_mutex_unlock(&g->mutex);
    update->events = g->taken.events;
    update->event_count = g->taken.event_count;
    update->text_first = g->text_length;
    if (g->taken.text_length)
        memcpy(g->text + g->text_length, g->taken.text, g->taken.text_length);
    g->text_length += g->taken.text_length;
    g->text[g->text_length] = '\0';
    update->text = g->text;
    update->text_length = g->text_length;
    return status;
}

bool rf_generation_wait(rf_generation *g, uint32_t milliseconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&g->mutex);
    int failed = 0;
    while (!g->finished && !failed)
        failed = milliseconds == UINT32_MAX ? pthread_cond_wait(&g->ended, &g->mutex)
                                            : pthread_cond_timedwait(&g->ended, &g->mutex, &until);
    bool finished = g->finished;
    pthread_mutex_unlock(&g->mutex);
    return finished;
}

void rf_generation_destroy(rf_generation *g)
{
    if (!g)
        return;
    rf_session_cancel(g->session);
    pthread_join(g->thread, NULL);
    atomic_store(&g->session->cancelled, false); /* it may have come too late to stop anything */
    free_generation(g);
}
