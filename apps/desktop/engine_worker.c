#include "apps/desktop/engine_worker.h"

#include "apps/desktop/engine_events.h"
#include "apps/desktop/records.h"

#include <refusion_profile.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum request_kind { REQUEST_DEVICES, REQUEST_ESTIMATE, REQUEST_UNLOAD, REQUEST_GENERATE, REQUEST_QUIT };

struct request {
    enum request_kind kind;
    guint64 number;
    struct engine_target target;
    struct rf_message *messages; /* texts are ours */
    gsize message_count;
    struct rf_decode_settings settings;
    gboolean although; /* it does not fit */
};

struct engine_worker {
    GThread *thread;
    struct engine_outbox *outbox;

    GMutex mutex; /* guards these */
    GCond wake;
    GQueue requests;
    guint64 last_number;
    guint64 running;    /* request that is being worked on; 0: none */
    gboolean cancelled; /* it */
    guint idle_seconds;

    /* The thread's own. */
    rf_context *context;
    rf_model *model;
    rf_session *session; /* kept for the next answer: it need not prefill what it has seen */
    struct rf_decode_settings session_settings;
    struct engine_target target; /* what is loaded */
};

static void request_free(gpointer data)
{
    struct request *request = data;
    engine_target_clear(&request->target);
    for (gsize i = 0; i < request->message_count; i++)
        g_free((char *)request->messages[i].content);
    g_free(request->messages);
    g_free(request);
}

static void post(struct engine_worker *worker, struct engine_event event)
{
    engine_outbox_post(worker->outbox, &event);
}

static gboolean is_cancelled(struct engine_worker *worker)
{
    g_mutex_lock(&worker->mutex);
    gboolean cancelled = worker->cancelled;
    g_mutex_unlock(&worker->mutex);
    return cancelled;
}

/* ---- Loading ------------------------------------------------------------------------------------------- */

static void on_log(void *user, enum rf_log_level level, const char *line)
{
    if (level >= RF_LOG_WARNING)
        post(user, (struct engine_event){.kind = ENGINE_NOTICE, .message = g_strdup(line)});
}

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct engine_worker *worker = user;
    post(worker, (struct engine_event){
                     .kind = ENGINE_LOADING, .request = worker->running, .done = done, .total = total});
    return !is_cancelled(worker);
}

static void unload(struct engine_worker *worker)
{
    rf_session_destroy(worker->session);
    rf_model_destroy(worker->model);
    rf_context_destroy(worker->context);
    worker->session = NULL;
    worker->model = NULL;
    worker->context = NULL;
    engine_target_clear(&worker->target);
}

/* Bytes that unloading would give back on the device of `context`. */
static guint64 held_on(const struct engine_worker *worker, const rf_context *context)
{
    struct rf_device_info ours, other;
    if (!worker->context)
        return 0;
    rf_context_device(worker->context, &ours);
    rf_context_device(context, &other);
    return ours.index == other.index ? rf_context_memory(worker->context) : 0;
}

/* Opens the target's device and asks there whether it fits, beside what is loaded: fills the event's device and fit. */
static enum rf_status open_and_estimate(struct engine_worker *worker, rf_context **context,
                                        const struct engine_target *target, struct engine_event *event,
                                        struct rf_error *err)
{
    struct rf_context_desc desc = engine_target_context(target);
    desc.log = on_log;
    desc.log_user = worker;
    enum rf_status status = rf_context_create(context, &desc, err);
    if (status)
        return status;
    rf_context_device(*context, &event->device);
    status = engine_fit(&event->fit, *context, target, held_on(worker, *context), err);
    if (status)
        rf_context_destroy(*context);
    return status;
}

/* Into a context that has been opened for it, and now is the worker's. */
static enum rf_status load_model(struct engine_worker *worker, rf_context *context,
                                 const struct engine_target *target, struct rf_error *err)
{
    unload(worker);
    worker->context = context;
    struct rf_model_desc model = engine_target_model(target);
    model.progress = on_progress;
    model.progress_user = worker;
    enum rf_status status = rf_model_load(&worker->model, context, target->model, &model, err);
    if (status) {
        unload(worker);
        return status;
    }
    worker->target = engine_target_copy(target);
    struct engine_event loaded = {.kind = ENGINE_LOADED, .request = worker->running};
    rf_model_get_info(worker->model, &loaded.model);
    rf_context_device(context, &loaded.device);
    loaded.device_memory = rf_context_memory(context);
    post(worker, loaded);
    return RF_OK;
}

/* `*refused`: it does not fit; the status is RF_OK then, and what was loaded still is. */
static enum rf_status load(struct engine_worker *worker, const struct request *request, gboolean *refused,
                           struct rf_error *err)
{
    const struct engine_target *target = &request->target;
    *refused = FALSE;
    if (worker->model && engine_target_equal(&worker->target, target))
        return RF_OK;
    post(worker, (struct engine_event){.kind = ENGINE_LOADING, .request = worker->running});
    struct engine_event refusal = {.kind = ENGINE_REFUSED, .request = worker->running};
    rf_context *context;
    enum rf_status status = open_and_estimate(worker, &context, target, &refusal, err);
    if (status)
        return status;
    *refused = !refusal.fit.memory.fits && !request->although;
    if (!*refused)
        return load_model(worker, context, target, err);
    rf_context_destroy(context);
    refusal.target = engine_target_copy(target);
    post(worker, refusal);
    return RF_OK;
}

/* ---- Generating ---------------------------------------------------------------------------------------- */

static char *decode_tokens(void *user, const guint32 *tokens, gsize count)
{
    const struct engine_worker *worker = user;
    char *text = NULL;
    size_t length;
    if (rf_tokenizer_decode(rf_model_tokenizer(worker->model), tokens, count, true, &text, &length, NULL))
        return NULL;
    char *copy = g_strdup(text);
    rf_free(text);
    return copy;
}

static void apply(struct response *response, const struct rf_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct rf_event *event = &events[i];
        if (event->kind == RF_EVENT_PLANNED)
            response_set(response, event->position, CELL_PLANNED, event->token, event->round);
        else if (event->kind == RF_EVENT_COMMITTED)
            response_set(response, event->position, CELL_COMMITTED, event->token, event->round);
        else if (event->kind == RF_EVENT_DROPPED)
            response_drop(response, event->position, event->count);
    }
}

static void post_cells(struct engine_worker *worker, guint64 number, struct response *response,
                       const struct rf_update *update)
{
    struct engine_event event = {.kind = ENGINE_CELLS,
                                 .request = number,
                                 .cells = g_array_new(FALSE, FALSE, sizeof(struct engine_cell)),
                                 .text = g_strndup(update->text, update->text_length),
                                 .stats = update->stats,
                                 .device_memory = rf_context_memory(worker->context)};
    response_decode(response, decode_tokens, worker);
    for (guint32 i = 0; i < response->count; i++) {
        struct cell *cell = &response->cells[i];
        if (!cell->dirty)
            continue;
        cell->dirty = FALSE;
        struct engine_cell change = {.position = i, .cell = *cell};
        change.cell.text = g_strdup(cell->text);
        g_array_append_val(event.cells, change);
    }
    post(worker, event);
}

static gboolean same_settings(const struct rf_decode_settings *a, const struct rf_decode_settings *b)
{
    return g_strcmp0(a->preset, b->preset) == 0 && a->decode == b->decode && a->max_tokens == b->max_tokens &&
           a->slot_size == b->slot_size && a->block == b->block &&
           a->has_slot_threshold == b->has_slot_threshold && a->slot_threshold == b->slot_threshold &&
           a->has_token_threshold == b->has_token_threshold && a->token_threshold == b->token_threshold &&
           a->temperature == b->temperature && a->seed == b->seed;
}

static enum rf_status open_session(struct engine_worker *worker, const struct rf_decode_settings *settings,
                                   struct rf_error *err)
{
    if (worker->session && same_settings(settings, &worker->session_settings))
        return RF_OK;
    rf_session_destroy(worker->session);
    worker->session = NULL;
    struct rf_session_desc desc = {.settings = *settings};
    struct rf_model_info info;
    rf_model_get_info(worker->model, &info);
    if (info.mask_token == UINT32_MAX) /* a plain Qwen3 */
        desc.settings.decode = RF_DECODE_AR;
    worker->session_settings = *settings;
    return rf_session_create(&worker->session, worker->model, &desc, err);
}

static void serve_what_need_not_wait(struct engine_worker *worker);

/* The library's thread steps the session; this one takes what has come, once a frame. */
static enum rf_status follow(struct engine_worker *worker, const struct request *request,
                             struct response *response, struct rf_error *err)
{
    enum { FRAME_MS = 16 };
    rf_generation *generation;
    enum rf_status status = rf_generation_start(&generation, worker->session, NULL, err);
    struct rf_update update = {0};
    while (!status && !update.finished) {
        rf_generation_wait(generation, FRAME_MS);
        status = is_cancelled(worker) ? RF_ERROR_CANCELLED : rf_generation_poll(generation, &update, err);
        if (!status && update.event_count) {
            apply(response, update.events, update.event_count);
            post_cells(worker, request->number, response, &update);
        }
        serve_what_need_not_wait(worker);
    }
    rf_generation_destroy(generation);
    return status;
}

static enum rf_status answer(struct engine_worker *worker, const struct request *request,
                             struct response *response, struct rf_error *err)
{
    enum rf_status status = open_session(worker, &request->settings, err);
    if (!status)
        status = rf_session_begin_chat(worker->session, request->messages, request->message_count, true, err);
    return status ? status : follow(worker, request, response, err);
}

static void serve_generate(struct engine_worker *worker, const struct request *request)
{
    struct rf_error err = {0};
    struct response response = {0};
    gboolean refused;
    enum rf_status status = load(worker, request, &refused, &err);
    gboolean loaded = status == RF_OK;
    if (refused)
        return;
    if (loaded)
        status = answer(worker, request, &response, &err);
    struct engine_event end = {.kind = ENGINE_FINISHED, .request = request->number};
    if (loaded && worker->session) {
        end.text = g_strdup(rf_session_text(worker->session, NULL));
        end.rounds = response_rounds(&response, end.text);
        rf_session_get_stats(worker->session, &end.stats);
        end.device_memory = rf_context_memory(worker->context);
    }
    if (status == RF_ERROR_CANCELLED) {
        end.finish = g_strdup(FINISH_STOPPED);
    } else if (status) {
        end.kind = ENGINE_FAILED;
        end.message = g_strdup(err.message);
    } else {
        end.finish = g_strdup(rf_session_finish_reason(worker->session));
    }
    response_clear(&response);
    post(worker, end);
    if (status == RF_ERROR_DEVICE_LOST) { /* the context stays lost: the next request makes another */
        unload(worker);
        post(worker, (struct engine_event){.kind = ENGINE_UNLOADED});
    }
}

/* ---- Devices and files --------------------------------------------------------------------------------- */

static void serve_devices(struct engine_worker *worker)
{
    struct rf_error err = {0};
    struct engine_event event = {.kind = ENGINE_DEVICES};
    size_t count = 0;
    if (rf_devices_list(&event.devices, &count, &err))
        event.message = g_strdup(err.message);
    event.device_count = count;
    post(worker, event);
}

static void serve_estimate(struct engine_worker *worker, const struct request *request)
{
    struct rf_error err = {0};
    struct engine_event event = {.kind = ENGINE_ESTIMATED, .target = engine_target_copy(&request->target)};
    rf_context *context;
    if (open_and_estimate(worker, &context, &request->target, &event, &err))
        event.message = g_strdup(err.message);
    else
        rf_context_destroy(context);
    post(worker, event);
}

/* ---- The thread ---------------------------------------------------------------------------------------- */

/* The next request; NULL: the idle time is over. */
static struct request *next_request(struct engine_worker *worker)
{
    g_mutex_lock(&worker->mutex);
    gint64 since = g_get_monotonic_time();
    gboolean timeout = FALSE;
    while (g_queue_is_empty(&worker->requests) && !timeout) {
        if (worker->model && worker->idle_seconds)
            timeout = !g_cond_wait_until(&worker->wake, &worker->mutex,
                                         since + worker->idle_seconds * G_TIME_SPAN_SECOND);
        else
            g_cond_wait(&worker->wake, &worker->mutex);
    }
    struct request *request = g_queue_pop_head(&worker->requests);
    worker->running = request ? request->number : 0;
    g_mutex_unlock(&worker->mutex);
    return request;
}

static void request_done(struct engine_worker *worker)
{
    g_mutex_lock(&worker->mutex);
    worker->running = 0;
    worker->cancelled = FALSE;
    g_mutex_unlock(&worker->mutex);
}

static void serve_unload(struct engine_worker *worker, gboolean idle)
{
    unload(worker);
    post(worker, (struct engine_event){.kind = ENGINE_UNLOADED, .idle = idle});
}

static gboolean serve(struct engine_worker *worker, const struct request *request)
{
    switch (request->kind) {
    case REQUEST_DEVICES:
        serve_devices(worker);
        break;
    case REQUEST_ESTIMATE:
        serve_estimate(worker, request);
        break;
    case REQUEST_UNLOAD:
        serve_unload(worker, FALSE);
        break;
    case REQUEST_GENERATE:
        serve_generate(worker, request);
        break;
    case REQUEST_QUIT:
        return FALSE;
    }
    return TRUE;
}

/* While an answer forms: estimates and lists, whatever stands before them in the queue. */
static void serve_what_need_not_wait(struct engine_worker *worker)
{
    struct request *found = NULL;
    g_mutex_lock(&worker->mutex);
    for (GList *link = worker->requests.head; link && !found; link = link->next) {
        struct request *request = link->data;
        if (request->kind == REQUEST_ESTIMATE || request->kind == REQUEST_DEVICES) {
            found = request;
            g_queue_delete_link(&worker->requests, link);
            break;
        }
    }
    g_mutex_unlock(&worker->mutex);
    if (!found)
        return;
    serve(worker, found);
    request_free(found);
}

static gpointer run(gpointer data)
{
    struct engine_worker *worker = data;
    /* On a CPU driver the device's threads are children of this one and take every core; they inherit that
     * the window goes first. Where it is not allowed, nothing is lost. */
    enum {
        LESS_URGENT =
            4 /* nice; at 10 whoever else is busy would stop it while it holds what the window needs */
    };
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LESS_URGENT);
    gboolean going = TRUE;
    while (going) {
        struct request *request = next_request(worker);
        if (!request) {
            serve_unload(worker, TRUE);
            continue;
        }
        going = serve(worker, request);
        request_done(worker);
        request_free(request);
    }
    unload(worker);
    return NULL;
}

struct engine_worker *engine_worker_start(engine_event_fn on_event, void *user)
{
    struct engine_worker *worker = g_new0(struct engine_worker, 1);
    worker->outbox = engine_outbox_new(on_event, user);
    g_mutex_init(&worker->mutex);
    g_cond_init(&worker->wake);
    worker->thread = g_thread_new("engine", run, worker);
    return worker;
}

/* ---- From the main loop -------------------------------------------------------------------------------- */

static guint64 push(struct engine_worker *worker, const struct request *request)
{
    g_mutex_lock(&worker->mutex);
    struct request *copy = g_memdup2(request, sizeof *request);
    guint64 number = copy->number = ++worker->last_number;
    g_queue_push_tail(&worker->requests, copy);
    g_cond_signal(&worker->wake);
    g_mutex_unlock(&worker->mutex);
    return number;
}

void engine_worker_list_devices(struct engine_worker *worker)
{
    push(worker, &(struct request){.kind = REQUEST_DEVICES});
}

void engine_worker_estimate(struct engine_worker *worker, const struct engine_target *target)
{
    push(worker, &(struct request){.kind = REQUEST_ESTIMATE, .target = engine_target_copy(target)});
}

void engine_worker_unload(struct engine_worker *worker)
{
    push(worker, &(struct request){.kind = REQUEST_UNLOAD});
}

guint64 engine_worker_generate(struct engine_worker *worker, const struct engine_target *target,
                               const struct engine_message *messages, gsize count,
                               const struct rf_decode_settings *settings, gboolean although_it_does_not_fit)
{
    struct request request = {.kind = REQUEST_GENERATE,
                              .target = engine_target_copy(target),
                              .although = although_it_does_not_fit,
                              .messages = g_new(struct rf_message, count),
                              .message_count = count,
                              .settings = *settings};
    for (gsize i = 0; i < count; i++)
        request.messages[i] = (struct rf_message){.role = messages[i].from_user ? "user" : "assistant",
                                                  .content = g_strdup(messages[i].text)};
    return push(worker, &request);
}

/* With the mutex held: takes a request that waits out of the queue. */
static struct request *take_waiting(struct engine_worker *worker, guint64 number)
{
    for (GList *link = worker->requests.head; link; link = link->next) {
        struct request *request = link->data;
        if (request->number == number) {
            g_queue_delete_link(&worker->requests, link);
            return request;
        }
    }
    return NULL;
}

void engine_worker_cancel(struct engine_worker *worker, guint64 number)
{
    g_mutex_lock(&worker->mutex);
    struct request *waiting = NULL;
    if (worker->running == number && number) {
        worker->cancelled = TRUE;
    } else {
        waiting = take_waiting(worker, number);
    }
    g_mutex_unlock(&worker->mutex);
    if (!waiting)
        return;
    post(worker, (struct engine_event){.kind = ENGINE_FINISHED,
                                       .request = number,
                                       .text = g_strdup(""),
                                       .finish = g_strdup(FINISH_STOPPED)});
    request_free(waiting);
}

void engine_worker_set_idle(struct engine_worker *worker, guint seconds)
{
    g_mutex_lock(&worker->mutex);
    worker->idle_seconds = seconds;
    g_cond_signal(&worker->wake);
    g_mutex_unlock(&worker->mutex);
}

void engine_worker_stop(struct engine_worker *worker)
{
    g_mutex_lock(&worker->mutex);
    struct request *request;
    while ((request = g_queue_pop_head(&worker->requests)))
        request_free(request);
    worker->cancelled = worker->running != 0;
    g_mutex_unlock(&worker->mutex);
    push(worker, &(struct request){.kind = REQUEST_QUIT});
    g_thread_join(worker->thread);
    engine_outbox_free(worker->outbox);
    g_mutex_clear(&worker->mutex);
    g_cond_clear(&worker->wake);
    g_free(worker);
}
