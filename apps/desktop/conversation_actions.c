#include "apps/desktop/conversation_actions.h"

#include "apps/desktop/dialogs.h"
#include "apps/desktop/message_bar.h"

enum { UNDO_SECONDS = 8 };

struct conversation_actions {
    GtkWidget *window, *undo, *undo_words;
    struct store_thread *store;
    struct chat *chat;
    struct conversation_list *list;
    struct conversation_actions_listener listener;
    void *user;
    gint64 deleted; /* conversation that can be brought back */
    guint undo_timer;
};

#define ACTION(name) static void name(GSimpleAction *action, GVariant *parameter, gpointer data)
#define UNUSED()     (void)action, (void)parameter

static gboolean is_open(struct conversation_actions *a, gint64 id)
{
    const struct conversation *open = chat_conversation(a->chat);
    return open && open->id == id;
}

ACTION(on_pin)
{
    (void)action;
    struct conversation_actions *a = data;
    const struct conversation *listed = conversation_list_find(a->list, g_variant_get_int64(parameter));
    if (!listed)
        return;
    chat_set_pinned(a->chat, listed, !listed->pinned);
}

static void rename_to(gpointer user, gint64 id, const char *text)
{
    struct conversation_actions *a = user;
    const struct conversation *open = chat_conversation(a->chat);
    const struct conversation *listed = is_open(a, id) ? open : conversation_list_find(a->list, id);
    if (listed)
        chat_rename(a->chat, listed, text);
    a->listener.open_changed(a->user);
}

static void ask_name(struct conversation_actions *a, const struct conversation *conversation)
{
    if (conversation)
        dialog_ask_line(GTK_WINDOW(a->window), "Rename the conversation", "_Rename", conversation->title,
                        conversation->id, rename_to, a);
}

ACTION(on_rename)
{
    (void)action;
    struct conversation_actions *a = data;
    ask_name(a, conversation_list_find(a->list, g_variant_get_int64(parameter)));
}

ACTION(on_rename_open)
{
    UNUSED();
    struct conversation_actions *a = data;
    ask_name(a, chat_conversation(a->chat));
}

struct conversation_job {
    struct conversation_actions *actions;
    struct conversation *conversation;
};

static void job_free(struct conversation_job *job)
{
    conversation_free(job->conversation);
    g_free(job);
}

static gpointer duplicate(struct store *store, gpointer data, GError **error)
{
    struct conversation *from = data;
    char *title = g_strconcat(from->title, " (copy)", NULL);
    store_duplicate(store, from->id, title, error);
    g_free(title);
    return NULL;
}

static void on_stored(gpointer user, gpointer result, const GError *error)
{
    (void)result;
    struct conversation_actions *a = user;
    if (error)
        a->listener.failed(a->user, error->message);
    a->listener.list_changed(a->user);
}

ACTION(on_duplicate)
{
    (void)action;
    struct conversation_actions *a = data;
    const struct conversation *listed = conversation_list_find(a->list, g_variant_get_int64(parameter));
    if (listed)
        store_thread_post(a->store, duplicate, conversation_copy(listed), (GDestroyNotify)conversation_free,
                          on_stored, a);
}

static gpointer read_messages(struct store *store, gpointer data, GError **error)
{
    return store_messages(store, *(gint64 *)data, error);
}

static void on_export_read(gpointer user, gpointer result, const GError *error)
{
    struct conversation_job *job = user;
    if (error) {
        job->actions->listener.failed(job->actions->user, error->message);
    } else {
        GPtrArray *path = messages_path(result, job->conversation->leaf);
        dialog_save_text(GTK_WINDOW(job->actions->window), job->conversation->title,
                         messages_to_markdown(job->conversation->title, path), job->actions->listener.failed,
                         job->actions->user);
        g_ptr_array_unref(path);
        g_ptr_array_unref(result);
    }
    job_free(job);
}

static void export_conversation(struct conversation_actions *a, const struct conversation *conversation)
{
    if (!conversation)
        return;
    struct conversation_job *job = g_new0(struct conversation_job, 1);
    *job = (struct conversation_job){.actions = a, .conversation = conversation_copy(conversation)};
    store_thread_post(a->store, read_messages, g_memdup2(&conversation->id, sizeof conversation->id), g_free,
                      on_export_read, job);
}

ACTION(on_export)
{
    (void)action;
    struct conversation_actions *a = data;
    export_conversation(a, conversation_list_find(a->list, g_variant_get_int64(parameter)));
}

ACTION(on_export_open)
{
    UNUSED();
    struct conversation_actions *a = data;
    export_conversation(a, chat_conversation(a->chat));
}

struct deletion {
    gint64 id;
    gboolean deleted;
};

static gpointer set_deleted(struct store *store, gpointer data, GError **error)
{
    const struct deletion *deletion = data;
    store_set_deleted(store, deletion->id, deletion->deleted, error);
    return NULL;
}

static void post_deletion(struct conversation_actions *a, gint64 id, gboolean deleted)
{
    struct deletion *deletion = g_new(struct deletion, 1);
    *deletion = (struct deletion){.id = id, .deleted = deleted};
    store_thread_post(a->store, set_deleted, deletion, g_free, on_stored, a);
}

static void hide_undo(struct conversation_actions *a)
{
    gtk_info_bar_set_revealed(GTK_INFO_BAR(a->undo), FALSE);
    if (a->undo_timer)
        g_source_remove(a->undo_timer);
    a->undo_timer = 0;
}

static gboolean on_undo_late(gpointer data)
{
    struct conversation_actions *a = data;
    a->undo_timer = 0;
    hide_undo(a);
    return G_SOURCE_REMOVE;
}

ACTION(on_delete)
{
    (void)action;
    struct conversation_actions *a = data;
    gint64 id = g_variant_get_int64(parameter);
    const struct conversation *listed = conversation_list_find(a->list, id);
    const struct message *running = chat_running(a->chat);
    if (!listed)
        return;
    if (running && running->conversation == id)
        chat_stop(a->chat);
    char *words = g_strdup_printf("“%s” was deleted.", listed->title);
    a->deleted = id;
    hide_undo(a);
    a->undo_timer = g_timeout_add_seconds(UNDO_SECONDS, on_undo_late, a);
    message_bar_show(a->undo, a->undo_words, words);
    g_free(words);
    if (is_open(a, id))
        chat_new_conversation(a->chat);
    post_deletion(a, id, TRUE);
}

ACTION(on_undo)
{
    UNUSED();
    struct conversation_actions *a = data;
    if (a->deleted)
        post_deletion(a, a->deleted, FALSE);
    a->deleted = 0;
    hide_undo(a);
}

static const GActionEntry entries[] = {
    {.name = "pin", .activate = on_pin, .parameter_type = "x"},
    {.name = "rename", .activate = on_rename, .parameter_type = "x"},
    {.name = "rename-open", .activate = on_rename_open},
    {.name = "duplicate", .activate = on_duplicate, .parameter_type = "x"},
    {.name = "export", .activate = on_export, .parameter_type = "x"},
    {.name = "export-open", .activate = on_export_open},
    {.name = "delete", .activate = on_delete, .parameter_type = "x"},
    {.name = "undo", .activate = on_undo},
};

static void on_undo_response(GtkInfoBar *bar, int response, struct conversation_actions *a)
{
    (void)bar;
    if (response == GTK_RESPONSE_ACCEPT)
        gtk_widget_activate_action(a->window, "win.undo", NULL);
}

struct conversation_actions *conversation_actions_new(GtkApplicationWindow *window,
                                                      struct store_thread *store, struct chat *chat,
                                                      struct conversation_list *list,
                                                      const struct conversation_actions_listener *listener,
                                                      void *user)
{
    struct conversation_actions *a = g_new0(struct conversation_actions, 1);
    *a = (struct conversation_actions){.window = GTK_WIDGET(window),
                                       .store = store,
                                       .chat = chat,
                                       .list = list,
                                       .listener = *listener,
                                       .user = user};
    a->undo = message_bar_new(GTK_MESSAGE_INFO, &a->undo_words);
    gtk_info_bar_add_button(GTK_INFO_BAR(a->undo), "_Undo", GTK_RESPONSE_ACCEPT);
    g_signal_connect(a->undo, "response", G_CALLBACK(on_undo_response), a);
    g_action_map_add_action_entries(G_ACTION_MAP(window), entries, G_N_ELEMENTS(entries), a);
    return a;
}

void conversation_actions_free(struct conversation_actions *a)
{
    if (a->undo_timer)
        g_source_remove(a->undo_timer);
    g_free(a);
}

GtkWidget *conversation_actions_undo_bar(struct conversation_actions *a)
{
    return a->undo;
}

void conversation_actions_update(struct conversation_actions *a)
{
    static const char *const of_open[] = {"rename-open", "export-open"};
    for (gsize i = 0; i < G_N_ELEMENTS(of_open); i++)
        g_simple_action_set_enabled(
            G_SIMPLE_ACTION(g_action_map_lookup_action(G_ACTION_MAP(a->window), of_open[i])),
            chat_conversation(a->chat) != NULL);
}
