#include "apps/desktop/engine_worker.h"

#include "apps/desktop/engine_events.h"
#include "apps/desktop/records.h"

#include <refusion_profile.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum request_kind { REQUEST_DEVICES, REQUEST_INSPECT, REQUEST_UNLOAD, REQUEST_GENERATE, REQUEST_QUIT };

struct request {
    enum request_kind kind;
    guint64 number;
    struct engine_target target; /* REQUEST_INSPECT: model alone */
    struct rf_message *messages; /* texts are ours */
    gsize message_count;
    struct rf_decode_settings settings;
};

struct engine_worker {
    GThread *thread;
    struct engine_outbox *outbox;

    GMutex mutex; /* guards these */
    GCond wake;
    GQueue requests;
    guint64 last_number;
    guint64 running;     /* request that is being worked on; 0: none */
    gboolean cancelled;  /* it */
    rf_session *stepped; /* its session, which may be cancelled; NULL: none */
    guint idle_seconds;

    /* The thread's own. */
    rf_context *context;
    rf_model *model;
    rf_session *session; /* kept for the next answer: it need not prefill what it has seen */
    struct rf_decode_settings session_settings;
    struct engine_target target; /* what is loaded */
    guint64 device_memory;
};

static void target_clear(struct engine_target *target)
{
    g_free(target->model);
    g_free(target->device);
    *target = (struct engine_target){0};
}

static void request_free(gpointer data)
{
    struct request *request = data;
    target_clear(&request->target);
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

static void on_record(void *user, const struct rf_profile_record *record)
{
    struct engine_worker *worker = user;
    worker->device_memory = record->device_memory;
}

static void unload(struct engine_worker *worker)
{
    rf_session_destroy(worker->session);
    rf_model_destroy(worker->model);
    rf_context_destroy(worker->context);
    worker->session = NULL;
    worker->model = NULL;
    worker->context = NULL;
    worker->device_memory = 0;
    target_clear(&worker->target);
}

static enum rf_status load(struct engine_worker *worker, const struct engine_target *target,
                           struct rf_error *err)
{
    if (worker->model && g_strcmp0(worker->target.model, target->model) == 0 &&
        g_strcmp0(worker->target.device, target->device) == 0)
        return RF_OK;
    unload(worker);
    post(worker, (struct engine_event){.kind = ENGINE_LOADING, .request = worker->running});
    struct rf_context_desc context = {.device = target->device, .log = on_log, .log_user = worker};
    struct rf_model_desc model = {.progress = on_progress, .progress_user = worker};
    enum rf_status status = rf_context_create(&worker->context, &context, err);
    if (!status)
        status = rf_model_load(&worker->model, worker->context, target->model, &model, err);
    /* For the meter: the records say what the device holds, and times of the host alone cost nothing. */
    if (!status)
        status = rf_model_profile(worker->model, RF_PROFILE_HOST, on_record, worker, err);
    if (status) {
        unload(worker);
        return status;
    }
    worker->target =
        (struct engine_target){.model = g_strdup(target->model), .device = g_strdup(target->device)};
    struct engine_event loaded = {.kind = ENGINE_LOADED, .request = worker->running};
    rf_model_get_info(worker->model, &loaded.model);
    rf_context_device(worker->context, &loaded.device);
    loaded.device_memory = worker->device_memory = loaded.model.weight_bytes;
    post(worker, loaded);
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
    free(text);
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

static void post_cells(struct engine_worker *worker, guint64 number, struct response *response)
{
    struct engine_event event = {.kind = ENGINE_CELLS,
                                 .request = number,
                                 .cells = g_array_new(FALSE, FALSE, sizeof(struct engine_cell)),
                                 .text = g_strdup(rf_session_text(worker->session, NULL)),
                                 .device_memory = worker->device_memory};
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
    rf_session_get_stats(worker->session, &event.stats);
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

/* The session may be cancelled from the main loop's thread between these two. */
static void allow_cancel(struct engine_worker *worker, rf_session *session)
{
    g_mutex_lock(&worker->mutex);
    worker->stepped = session;
    if (session && worker->cancelled)
        rf_session_cancel(session);
    g_mutex_unlock(&worker->mutex);
}

static enum rf_status answer(struct engine_worker *worker, const struct request *request,
                             struct response *response, struct rf_error *err)
{
    enum rf_status status = open_session(worker, &request->settings, err);
    if (!status)
        status = rf_session_begin_chat(worker->session, request->messages, request->message_count, true, err);
    if (status)
        return status;
    allow_cancel(worker, worker->session);
    while (!status && !rf_session_finished(worker->session)) {
        const struct rf_event *events;
        size_t count;
        status = rf_session_step(worker->session, &events, &count, err);
        if (!status) {
            apply(response, events, count);
            post_cells(worker, request->number, response);
        }
    }
    allow_cancel(worker, NULL);
    return status;
}

static void serve_generate(struct engine_worker *worker, const struct request *request)
{
    struct rf_error err = {0};
    struct response response = {0};
    enum rf_status status = load(worker, &request->target, &err);
    gboolean loaded = status == RF_OK;
    if (loaded)
        status = answer(worker, request, &response, &err);
    struct engine_event end = {.kind = ENGINE_FINISHED, .request = request->number};
    if (loaded && worker->session) {
        end.text = g_strdup(rf_session_text(worker->session, NULL));
        end.rounds = response_rounds(&response, end.text);
        rf_session_get_stats(worker->session, &end.stats);
        end.device_memory = worker->device_memory;
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

static guint64 file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (guint64)info.st_size : 0;
}

static guint64 weight_bytes(const char *path)
{
    if (!g_file_test(path, G_FILE_TEST_IS_DIR))
        return g_str_has_suffix(path, ".gguf") ? file_bytes(path) : 0;
    GDir *dir = g_dir_open(path, 0, NULL);
    guint64 total = 0;
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        char *file = g_build_filename(path, name, NULL);
        if (g_str_has_suffix(name, ".safetensors") || g_str_has_suffix(name, ".gguf"))
            total += file_bytes(file);
        g_free(file);
    }
    g_clear_pointer(&dir, g_dir_close);
    return total;
}

static void serve_inspect(struct engine_worker *worker, const struct request *request)
{
    const char *path = request->target.model;
    struct engine_event event = {
        .kind = ENGINE_INSPECTED, .text = g_strdup(path), .done = weight_bytes(path)};
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        event.message = g_strdup_printf("%s is not there.", path);
    else if (!event.done)
        event.message = g_strdup_printf("%s holds no weights (.safetensors or .gguf).", path);
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
    case REQUEST_INSPECT:
        serve_inspect(worker, request);
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

void engine_worker_inspect(struct engine_worker *worker, const char *path)
{
    push(worker, &(struct request){.kind = REQUEST_INSPECT, .target.model = g_strdup(path)});
}

static struct engine_target target_copy(const struct engine_target *target)
{
    return (struct engine_target){.model = g_strdup(target->model), .device = g_strdup(target->device)};
}

void engine_worker_unload(struct engine_worker *worker)
{
    push(worker, &(struct request){.kind = REQUEST_UNLOAD});
}

guint64 engine_worker_generate(struct engine_worker *worker, const struct engine_target *target,
                               const struct engine_message *messages, gsize count,
                               const struct rf_decode_settings *settings)
{
    struct request request = {.kind = REQUEST_GENERATE,
                              .target = target_copy(target),
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
        if (worker->stepped)
            rf_session_cancel(worker->stepped);
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
    if (worker->stepped)
        rf_session_cancel(worker->stepped);
    g_mutex_unlock(&worker->mutex);
    push(worker, &(struct request){.kind = REQUEST_QUIT});
    g_thread_join(worker->thread);
    engine_outbox_free(worker->outbox);
    g_mutex_clear(&worker->mutex);
    g_cond_clear(&worker->wake);
    g_free(worker);
}
