#include "apps/desktop/chat.h"

#include "apps/desktop/presets.h"

#include <string.h>

enum { SAVE_EVERY_MS = 1000 };

struct chat {
    struct store_thread *store;
    struct engine_worker *engine;
    const struct preferences *preferences;
    struct chat_listener listener;
    void *user;
    struct conversation *conversation; /* NULL: new */
    GPtrArray *messages;               /* of it, owned */
    guint64 opening; /* counts what was opened: an answer of the store for another one is stale */

    guint64 request;         /* of the engine; 0: none */
    struct message *running; /* its answer, owned; without a request: it was refused, and waits */
    GPtrArray *asked;        /* the messages that it answers, owned: another conversation may be open */
    struct response response;
    struct rf_session_stats stats;
    gint64 begun; /* monotonic microseconds */
    guint save_timer;
    gboolean unsaved;
};

struct chat *chat_new(struct store_thread *store, struct engine_worker *engine,
                      const struct preferences *preferences, const struct chat_listener *listener, void *user)
{
    struct chat *chat = g_new0(struct chat, 1);
    chat->store = store;
    chat->engine = engine;
    chat->preferences = preferences;
    chat->listener = *listener;
    chat->user = user;
    chat->messages = g_ptr_array_new_with_free_func((GDestroyNotify)message_free);
    return chat;
}

const struct conversation *chat_conversation(const struct chat *chat)
{
    return chat->conversation;
}

GPtrArray *chat_path(const struct chat *chat)
{
    return messages_path(chat->messages, chat->conversation ? chat->conversation->leaf : 0);
}

void chat_branch(const struct chat *chat, gint64 message, guint *number, guint *count)
{
    GPtrArray *siblings = messages_siblings(chat->messages, message);
    *count = siblings->len;
    *number = 0;
    for (guint i = 0; i < siblings->len; i++)
        if (((const struct message *)siblings->pdata[i])->id == message)
            *number = i + 1;
    g_ptr_array_unref(siblings);
}

const struct message *chat_running(const struct chat *chat)
{
    return chat->running;
}

const struct response *chat_response(const struct chat *chat)
{
    return &chat->response;
}

const struct rf_session_stats *chat_stats(const struct chat *chat)
{
    return &chat->stats;
}

/* ---- Conversations ------------------------------------------------------------------------------------- */

static void forget_conversation(struct chat *chat)
{
    chat->opening++;
    g_clear_pointer(&chat->conversation, conversation_free);
    g_ptr_array_set_size(chat->messages, 0);
}

void chat_new_conversation(struct chat *chat)
{
    forget_conversation(chat);
    chat->listener.path_changed(chat->user);
}

struct opening {
    struct chat *chat;
    guint64 number;
};

static gpointer load_messages(struct store *store, gpointer data, GError **error)
{
    return store_messages(store, *(gint64 *)data, error);
}

/* The store's copy of the answer that is being written is a second old. */
static void take_running(struct chat *chat)
{
    struct message *stored = chat->running ? messages_find(chat->messages, chat->running->id) : NULL;
    if (!stored)
        return;
    g_free(stored->text);
    stored->text = g_strdup(chat->running->text);
}

static void on_messages(gpointer user, gpointer result, const GError *error)
{
    struct opening *opening = user;
    struct chat *chat = opening->chat;
    gboolean stale = opening->number != chat->opening;
    g_free(opening);
    if (error) {
        chat->listener.failed(chat->user, error->message);
        return;
    }
    if (stale) {
        g_ptr_array_unref(result);
        return;
    }
    g_ptr_array_unref(chat->messages);
    chat->messages = result;
    take_running(chat);
    chat->listener.path_changed(chat->user);
}

void chat_open(struct chat *chat, const struct conversation *conversation)
{
    struct conversation *copy = conversation_copy(conversation);
    forget_conversation(chat);
    chat->conversation = copy;
    struct opening *opening = g_new0(struct opening, 1);
    *opening = (struct opening){.chat = chat, .number = chat->opening};
    store_thread_post(chat->store, load_messages, g_memdup2(&copy->id, sizeof copy->id), g_free, on_messages,
                      opening);
}

/* The list's copy of the open conversation may be older than ours. */
static void change_conversation(struct chat *chat, const struct conversation *listed, const char *title,
                                gboolean pinned)
{
    gboolean open = chat->conversation && chat->conversation->id == listed->id;
    struct conversation *changed = conversation_copy(open ? chat->conversation : listed);
    g_free(changed->title);
    changed->title = g_strdup(title);
    changed->pinned = pinned;
    store_thread_put_conversation(chat->store, changed);
    if (open) {
        conversation_free(chat->conversation);
        chat->conversation = changed;
    } else {
        conversation_free(changed);
    }
    chat->listener.list_changed(chat->user);
}

void chat_rename(struct chat *chat, const struct conversation *conversation, const char *title)
{
    change_conversation(chat, conversation, title, conversation->pinned);
}

void chat_set_pinned(struct chat *chat, const struct conversation *conversation, gboolean pinned)
{
    change_conversation(chat, conversation, conversation->title, pinned);
}

void chat_keep_settings(struct chat *chat)
{
    const struct answer_settings *settings = &chat->preferences->answers;
    if (!chat->conversation || answer_settings_equal(settings, &chat->conversation->settings))
        return;
    chat->conversation->settings = *settings;
    store_thread_put_conversation(chat->store, chat->conversation);
    chat->listener.list_changed(chat->user);
}

void chat_switch(struct chat *chat, gint64 message, int step)
{
    guint number, count;
    chat_branch(chat, message, &number, &count);
    gint64 wanted = (gint64)number - 1 + step;
    if (!count || wanted < 0 || wanted >= (gint64)count)
        return;
    GPtrArray *siblings = messages_siblings(chat->messages, message);
    const struct message *sibling = siblings->pdata[wanted];
    chat->conversation->leaf = messages_last_leaf(chat->messages, sibling->id);
    g_ptr_array_unref(siblings);
    store_thread_put_conversation(chat->store, chat->conversation);
    chat->listener.path_changed(chat->user);
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

static struct message *add_message(struct chat *chat, gint64 parent, gboolean from_user, const char *text)
{
    struct message *message = g_new0(struct message, 1);
    message->id = message->created = record_new_id();
    message->conversation = chat->conversation->id;
    message->parent = parent;
    message->from_user = from_user;
    message->text = g_strdup(text);
    message->finish = g_strdup(FINISH_RUNNING);
    g_ptr_array_add(chat->messages, message);
    chat->conversation->leaf = message->id;
    chat->conversation->updated = message->created;
    store_thread_put_message(chat->store, message, TRUE);
    return message;
}

static void save_running(struct chat *chat)
{
    chat->unsaved = FALSE;
    store_thread_put_message(chat->store, chat->running, FALSE);
}

static gboolean on_save_timer(gpointer data)
{
    struct chat *chat = data;
    if (chat->unsaved)
        save_running(chat);
    return G_SOURCE_CONTINUE;
}

static void request_answer(struct chat *chat, gboolean although_it_does_not_fit)
{
    struct engine_message *messages = g_new0(struct engine_message, chat->asked->len);
    for (guint i = 0; i < chat->asked->len; i++) {
        const struct message *message = chat->asked->pdata[i];
        messages[i] = (struct engine_message){.from_user = message->from_user, .text = message->text};
    }
    struct rf_decode_settings settings = preferences_decode(chat->preferences);
    chat->request = engine_worker_generate(chat->engine, &chat->preferences->target, messages,
                                           chat->asked->len, &settings, although_it_does_not_fit);
    g_free(messages);
}

static void keep_what_is_asked(struct chat *chat, gint64 leaf)
{
    GPtrArray *path = messages_path(chat->messages, leaf);
    chat->asked = g_ptr_array_new_with_free_func((GDestroyNotify)message_free);
    for (guint i = 0; i < path->len; i++)
        g_ptr_array_add(chat->asked, message_copy(path->pdata[i]));
    g_ptr_array_unref(path);
}

/* Answers the question `parent`. */
static void begin_answer(struct chat *chat, gint64 parent)
{
    struct message *answer = add_message(chat, parent, FALSE, "");
    keep_what_is_asked(chat, parent);
    request_answer(chat, FALSE);
    chat->running = message_copy(answer);
    response_clear(&chat->response);
    chat->stats = (struct rf_session_stats){0};
    chat->begun = g_get_monotonic_time();
    chat->unsaved = FALSE;
    chat->save_timer = g_timeout_add(SAVE_EVERY_MS, on_save_timer, chat);
    chat->listener.path_changed(chat->user);
    chat->listener.list_changed(chat->user);
}

void chat_ask(struct chat *chat, const char *question)
{
    if (chat->running)
        return;
    if (!chat->conversation) {
        struct conversation *conversation = g_new0(struct conversation, 1);
        conversation->id = conversation->created = conversation->updated = record_new_id();
        conversation->title = title_from_question(question);
        conversation->settings = chat->preferences->answers;
        chat->conversation = conversation;
        chat->opening++;
        store_thread_put_conversation(chat->store, conversation);
    }
    const struct message *message = add_message(chat, chat->conversation->leaf, TRUE, question);
    begin_answer(chat, message->id);
}

void chat_edit(struct chat *chat, gint64 id, const char *question)
{
    const struct message *edited = messages_find(chat->messages, id);
    if (chat->running || !edited)
        return;
    begin_answer(chat, add_message(chat, edited->parent, TRUE, question)->id);
}

void chat_regenerate(struct chat *chat, gint64 id)
{
    const struct message *answer = messages_find(chat->messages, id);
    if (!chat->running && answer && !answer->from_user)
        begin_answer(chat, answer->parent);
}

static void set_string(char **string, const char *value)
{
    g_free(*string);
    *string = g_strdup(value);
}

static void take_stats(struct chat *chat, const struct engine_event *event)
{
    chat->stats = event->stats;
    chat->running->tokens = event->stats.shown_tokens;
    chat->running->forwards = (guint32)event->stats.forwards;
    chat->running->seconds = event->stats.prefill_seconds + event->stats.decode_seconds;
}

static void take_cells(struct chat *chat, const struct engine_event *event)
{
    for (guint i = 0; i < event->cells->len; i++) {
        const struct engine_cell *cell = &g_array_index(event->cells, struct engine_cell, i);
        response_put(&chat->response, cell->position, &cell->cell);
    }
    take_stats(chat, event);
    if (g_strcmp0(chat->running->text, event->text) != 0) {
        set_string(&chat->running->text, event->text);
        chat->unsaved = TRUE;
    }
    chat->listener.answer_changed(chat->user, chat->running);
    for (guint32 i = 0; i < chat->response.count; i++)
        chat->response.cells[i].dirty = FALSE;
}

static void end_answer(struct chat *chat, const struct engine_event *event)
{
    struct message *answer = chat->running;
    g_source_remove(chat->save_timer);
    chat->save_timer = 0;
    if (event->stats.rounds)
        take_stats(chat, event);
    if (event->text)
        set_string(&answer->text, event->text);
    if (event->rounds)
        answer->rounds = g_bytes_ref(event->rounds);
    set_string(&answer->finish, event->kind == ENGINE_FAILED ? FINISH_FAILED : event->finish);
    save_running(chat);
    chat->running = NULL;
    chat->request = 0;
    g_clear_pointer(&chat->asked, g_ptr_array_unref);
    for (guint i = 0; i < chat->messages->len; i++) {
        struct message *shown = chat->messages->pdata[i];
        if (shown->id == answer->id) {
            message_free(shown);
            chat->messages->pdata[i] = message_copy(answer);
        }
    }
    chat->listener.answer_ended(chat->user, answer);
    chat->listener.list_changed(chat->user);
    if (event->kind == ENGINE_FAILED)
        chat->listener.failed(chat->user, event->message);
    message_free(answer);
}

void chat_stop(struct chat *chat)
{
    if (chat->request)
        engine_worker_cancel(chat->engine, chat->request);
    else if (chat->running) /* it was refused */
        end_answer(chat, &(struct engine_event){.kind = ENGINE_FINISHED, .finish = (char *)FINISH_STOPPED});
}

void chat_resume(struct chat *chat, gboolean although_it_does_not_fit)
{
    if (chat->running && !chat->request)
        request_answer(chat, although_it_does_not_fit);
}

void chat_engine_event(struct chat *chat, const struct engine_event *event)
{
    if (!chat->request || event->request != chat->request)
        return;
    if (event->kind == ENGINE_CELLS) {
        take_cells(chat, event);
    } else if (event->kind == ENGINE_FINISHED || event->kind == ENGINE_FAILED) {
        end_answer(chat, event);
    } else if (event->kind == ENGINE_REFUSED) {
        chat->request = 0;
        chat->listener.refused(chat->user, event);
    }
}

void chat_free(struct chat *chat)
{
    if (chat->running) {
        g_source_remove(chat->save_timer);
        set_string(&chat->running->finish, FINISH_INTERRUPTED);
        save_running(chat);
        message_free(chat->running);
        g_ptr_array_unref(chat->asked);
    }
    response_clear(&chat->response);
    forget_conversation(chat);
    g_ptr_array_unref(chat->messages);
    g_free(chat);
}
