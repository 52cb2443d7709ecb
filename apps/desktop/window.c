#include "apps/desktop/window.h"

#include "apps/desktop/appearance.h"
#include "apps/desktop/chat.h"
#include "apps/desktop/composer.h"
#include "apps/desktop/conversation_actions.h"
#include "apps/desktop/conversation_list.h"
#include "apps/desktop/fit_dialog.h"
#include "apps/desktop/gap_probe.h"
#include "apps/desktop/message_bar.h"
#include "apps/desktop/message_list.h"
#include "apps/desktop/message_row.h"
#include "apps/desktop/settings_window.h"
#include "apps/desktop/tip.h"

#include <stdlib.h>
#include <string.h>

struct window {
    GtkWidget *window, *title, *sidebar, *error, *error_words;
    struct preferences preferences;
    struct store_thread *store;
    struct engine_worker *engine;
    struct chat *chat;
    struct conversation_list *list;
    struct conversation_actions *conversations;
    struct message_list *messages;
    struct composer *composer;
    struct settings_window *settings; /* NULL: closed */
    struct rf_device_info *devices;
    gsize device_count;
    gint64 editing; /* message; 0: a new question is being written */
    guint settle_timer;
    guint64 device_memory;
    char *device_name; /* of what is loaded; NULL: nothing is */
    gboolean loading;
    gboolean unsaved; /* preferences: the user was told that they cannot be saved */
};

static void show_error(void *user, const char *message)
{
    struct window *w = user;
    message_bar_show(w->error, w->error_words, message);
}

static void on_store_error(gpointer user, const GError *error)
{
    show_error(user, error->message);
}

/* Tells of a failure once, not at each step of a control. */
static void save_preferences(struct window *w)
{
    GError *error = NULL;
    gboolean saved = preferences_save(&w->preferences, &error);
    if (!saved && !w->unsaved) {
        g_prefix_error(&error, "Settings are not kept: ");
        show_error(w, error->message);
    }
    w->unsaved = !saved;
    g_clear_error(&error);
}

static gboolean is_animated(const struct window *w)
{
    gboolean enabled = TRUE;
    g_object_get(gtk_settings_get_default(), "gtk-enable-animations", &enabled, NULL);
    return enabled && w->preferences.animate;
}

static void set_enabled(struct window *w, const char *name, gboolean enabled)
{
    g_simple_action_set_enabled(G_SIMPLE_ACTION(g_action_map_lookup_action(G_ACTION_MAP(w->window), name)),
                                enabled);
}

/* ---- What is shown ------------------------------------------------------------------------------------- */

static void show_meter(struct window *w)
{
    GString *words = g_string_new(NULL);
    char *model = g_path_get_basename(w->preferences.target.model);
    g_string_append(words, model);
    g_free(model);
    if (w->device_name) {
        char *memory = g_format_size(w->device_memory);
        g_string_append_printf(words, " on %s · %s", w->device_name, memory);
        g_free(memory);
    } else {
        g_string_append(words, w->loading ? " · loading" : " · not loaded");
    }
    const struct rf_session_stats *stats = chat_stats(w->chat);
    double seconds = stats->prefill_seconds + stats->decode_seconds;
    if (stats->shown_tokens && seconds > 0)
        g_string_append_printf(words, " · %.1f tokens/s", stats->shown_tokens / seconds);
    composer_set_meter(w->composer, words->str);
    g_string_free(words, TRUE);
}

static void show_state(struct window *w)
{
    const struct conversation *conversation = chat_conversation(w->chat);
    gboolean running = chat_running(w->chat) != NULL;
    const char *title = conversation ? conversation->title : "New conversation";
    gtk_label_set_text(GTK_LABEL(w->title), title);
    gtk_window_set_title(GTK_WINDOW(w->window), title);
    composer_set_running(w->composer, running);
    composer_set_editing(w->composer, w->editing != 0);
    set_enabled(w, "stop", running);
    set_enabled(w, "regenerate", !running);
    set_enabled(w, "edit", !running);
    set_enabled(w, "suggest", !running);
    set_enabled(w, "cancel-edit", w->editing != 0);
    set_enabled(w, "unload", w->device_name && !running);
    conversation_actions_update(w->conversations);
    show_meter(w);
}

static void show_state_of(void *user)
{
    show_state(user);
}

static void on_path_changed(void *user)
{
    struct window *w = user;
    gap_probe_generating(chat_running(w->chat) != NULL);
    composer_announce(w->composer, chat_running(w->chat) ? "The answer is being written" : "");
    message_list_show(w->messages, w->chat, &w->preferences, is_animated(w));
    show_state(w);
}

static void on_answer_changed(void *user, const struct message *answer)
{
    struct window *w = user;
    (void)answer;
    message_list_update(w->messages, w->chat);
    show_meter(w);
}

static gboolean on_settled(gpointer data)
{
    struct window *w = data;
    w->settle_timer = 0;
    message_list_show(w->messages, w->chat, &w->preferences, is_animated(w));
    return G_SOURCE_REMOVE;
}

/* The last tokens have just been committed: they settle before the answer takes its final form. */
static void on_answer_ended(void *user, const struct message *answer)
{
    struct window *w = user;
    gboolean settles = is_animated(w) && !g_str_equal(answer->finish, FINISH_STOPPED) && *answer->text;
    if (w->settle_timer)
        g_source_remove(w->settle_timer);
    w->settle_timer = settles ? g_timeout_add(RESPONSE_SETTLE_MS, on_settled, w) : 0;
    gap_probe_generating(FALSE);
    composer_announce(w->composer, g_str_equal(answer->finish, FINISH_STOPPED)  ? "The answer was stopped"
                                   : g_str_equal(answer->finish, FINISH_FAILED) ? "There is no answer"
                                                                                : "The answer is complete");
    if (!settles)
        message_list_show(w->messages, w->chat, &w->preferences, FALSE);
    show_state(w);
}

static void on_list_changed(void *user)
{
    struct window *w = user;
    const struct conversation *conversation = chat_conversation(w->chat);
    conversation_list_refresh(w->list, conversation ? conversation->id : 0);
}

static void leave_editing(struct window *w)
{
    w->editing = 0;
    composer_set_editing(w->composer, FALSE);
}

static void apply_preferences(void *user);
static void on_settings_changed(void *user);

static void on_open(gpointer user, const struct conversation *conversation)
{
    struct window *w = user;
    leave_editing(w);
    if (conversation->settings.preset)
        w->preferences.answers = conversation->settings;
    chat_open(w->chat, conversation);
    apply_preferences(w);
    show_state(w);
}

/* ---- The engine ---------------------------------------------------------------------------------------- */

static void on_loading(struct window *w, const struct engine_event *event)
{
    char *name = g_path_get_basename(w->preferences.target.model);
    char *words = event->total ? g_strdup_printf("Loading %s: %.0f %%", name,
                                                 100.0 * (double)event->done / (double)event->total)
                               : g_strdup_printf("Loading %s: opening the device", name);
    composer_set_loading(w->composer, words, event->total ? (double)event->done / (double)event->total : -1);
    w->loading = TRUE;
    g_free(words);
    g_free(name);
}

static void take_devices(struct window *w, const struct engine_event *event)
{
    w->devices = malloc(MAX(event->device_count, 1) * sizeof *event->devices);
    w->device_count = w->devices ? event->device_count : 0;
    if (w->device_count)
        memcpy(w->devices, event->devices, w->device_count * sizeof *event->devices);
    if (event->message)
        show_error(w, event->message);
    if (w->settings)
        settings_window_set_devices(w->settings, w->devices, w->device_count);
}

static void on_engine_event(void *user, const struct engine_event *event)
{
    struct window *w = user;
    gboolean was_loading = w->loading;
    if (event->kind == ENGINE_LOADING) {
        on_loading(w, event);
    } else if (event->kind == ENGINE_LOADED) {
        g_free(w->device_name);
        w->device_name = g_strdup(event->device.name);
    } else if (event->kind == ENGINE_UNLOADED) {
        g_clear_pointer(&w->device_name, g_free);
    } else if (event->kind == ENGINE_DEVICES) {
        take_devices(w, event);
    } else if (event->kind == ENGINE_ESTIMATED) {
        if (w->settings)
            settings_window_estimated(w->settings, event);
    } else if (event->kind == ENGINE_NOTICE) {
        show_error(w, event->message);
    }
    if (event->device_memory)
        w->device_memory = event->device_memory;
    if (event->kind != ENGINE_LOADING && event->kind != ENGINE_DEVICES && event->kind != ENGINE_ESTIMATED &&
        event->kind != ENGINE_NOTICE) {
        w->loading = FALSE;
        composer_set_loading(w->composer, NULL, 0);
    }
    chat_engine_event(w->chat, event);
    if (w->loading != was_loading || event->kind == ENGINE_UNLOADED)
        show_state(w);
}

static void on_fit_choice(void *user, enum fit_choice choice, const struct engine_event *event)
{
    struct window *w = user;
    struct engine_target *target = &w->preferences.target;
    if (choice == FIT_CANCEL || choice == FIT_SETTINGS) {
        chat_stop(w->chat);
        if (choice == FIT_SETTINGS)
            gtk_widget_activate_action(w->window, "win.settings", NULL);
        return;
    }
    if (choice == FIT_SHORTER) {
        target->context_length = event->fit.shorter;
    } else if (choice == FIT_SMALLER) {
        g_free(target->weight_type);
        target->weight_type = g_strdup(event->fit.smaller_type);
    }
    save_preferences(w);
    chat_resume(w->chat, choice == FIT_ALTHOUGH);
}

/* What does not fit has not been loaded: the user says what is to be done instead. */
static void on_refused(void *user, const struct engine_event *event)
{
    struct window *w = user;
    fit_dialog_ask(GTK_WINDOW(w->window), event, on_fit_choice, w);
}

/* ---- Asking -------------------------------------------------------------------------------------------- */

static void on_send(void *user, const char *text)
{
    struct window *w = user;
    gint64 editing = w->editing;
    gtk_info_bar_set_revealed(GTK_INFO_BAR(w->error), FALSE);
    leave_editing(w);
    if (editing)
        chat_edit(w->chat, editing, text);
    else
        chat_ask(w->chat, text);
}

static void on_preset(void *user, const struct preset *preset)
{
    struct window *w = user;
    w->preferences.answers.preset = preset;
    on_settings_changed(w);
}

static const struct message *find_message(struct window *w, gint64 id)
{
    GPtrArray *path = chat_path(w->chat);
    const struct message *message = messages_find(path, id);
    g_ptr_array_unref(path);
    return message;
}

/* The last message of the path that is a question, or an answer; 0: there is none. */
static gint64 last_message(struct window *w, gboolean from_user)
{
    GPtrArray *path = chat_path(w->chat);
    gint64 id = 0;
    for (guint i = 0; i < path->len; i++) {
        const struct message *message = path->pdata[i];
        if (message->from_user == from_user)
            id = message->id;
    }
    g_ptr_array_unref(path);
    return id;
}

static void copy_message(struct window *w, gint64 id)
{
    const struct message *message = find_message(w, id);
    const struct message *running = chat_running(w->chat);
    if (running && running->id == id)
        message = running;
    if (message)
        gdk_clipboard_set_text(gtk_widget_get_clipboard(w->window), message->text);
}

static void edit_message(struct window *w, gint64 id)
{
    const struct message *message = find_message(w, id);
    if (!message)
        return;
    w->editing = id;
    composer_set_text(w->composer, message->text);
    composer_focus(w->composer);
    show_state(w);
}

/* ---- Actions ------------------------------------------------------------------------------------------- */

#define ACTION(name) static void name(GSimpleAction *action, GVariant *parameter, gpointer data)
#define UNUSED()     (void)action, (void)parameter

ACTION(on_new)
{
    UNUSED();
    struct window *w = data;
    leave_editing(w);
    chat_new_conversation(w->chat);
    conversation_list_refresh(w->list, 0);
    composer_focus(w->composer);
}

ACTION(on_search)
{
    UNUSED();
    struct window *w = data;
    gtk_widget_set_visible(w->sidebar, TRUE);
    conversation_list_search(w->list);
}

ACTION(on_focus_question)
{
    UNUSED();
    composer_focus(((struct window *)data)->composer);
}

ACTION(on_stop)
{
    UNUSED();
    struct window *w = data;
    if (chat_running(w->chat))
        chat_stop(w->chat);
}

ACTION(on_cancel_edit)
{
    UNUSED();
    struct window *w = data;
    leave_editing(w);
    composer_set_text(w->composer, "");
    show_state(w);
}

ACTION(on_suggest)
{
    (void)action;
    on_send(data, g_variant_get_string(parameter, NULL));
}

/* These three take a message; 0: the last one that they are for. */
ACTION(on_copy)
{
    (void)action;
    gint64 id = g_variant_get_int64(parameter);
    copy_message(data, id ? id : last_message(data, FALSE));
}

ACTION(on_edit)
{
    (void)action;
    gint64 id = g_variant_get_int64(parameter);
    edit_message(data, id ? id : last_message(data, TRUE));
}

ACTION(on_regenerate)
{
    (void)action;
    gint64 id = g_variant_get_int64(parameter);
    chat_regenerate(((struct window *)data)->chat, id ? id : last_message(data, FALSE));
}

struct branch_switch {
    struct window *window;
    gint64 message;
    int step;
};

static gboolean switch_branch(gpointer data)
{
    const struct branch_switch *asked = data;
    chat_switch(asked->window->chat, asked->message, asked->step);
    composer_focus(asked->window->composer); /* the button that had it is gone */
    return G_SOURCE_REMOVE;
}

/* Not at once: the row goes whose button is just being activated, and GTK looks at the button once more. */
ACTION(on_branch)
{
    (void)action;
    struct branch_switch *asked = g_new(struct branch_switch, 1);
    asked->window = data;
    g_variant_get(parameter, "(xi)", &asked->message, &asked->step);
    g_idle_add_full(G_PRIORITY_DEFAULT, switch_branch, asked, g_free);
}

/* ---- Settings ------------------------------------------------------------------------------------------ */

static void apply_preferences(void *user)
{
    struct window *w = user;
    appearance_apply(&w->preferences);
    composer_set_preset(w->composer, w->preferences.answers.preset);
    double idle = w->preferences.idle_minutes * 60;
    engine_worker_set_idle(w->engine, idle > 0 ? (guint)MAX(idle, 1) : 0);
    message_list_set_animated(w->messages, is_animated(w));
    gtk_widget_set_visible(w->sidebar, w->preferences.sidebar);
    show_meter(w);
}

static void on_settings_changed(void *user)
{
    struct window *w = user;
    apply_preferences(w);
    chat_keep_settings(w->chat);
    save_preferences(w);
}

static void on_settings_estimate(void *user)
{
    struct window *w = user;
    engine_worker_estimate(w->engine, &w->preferences.target);
}

static void on_settings_closed(void *user)
{
    ((struct window *)user)->settings = NULL;
}

ACTION(on_settings)
{
    UNUSED();
    struct window *w = data;
    static const struct settings_listener listener = {on_settings_changed, on_settings_estimate,
                                                      on_settings_closed};
    if (!w->settings)
        w->settings = settings_window_open(GTK_WINDOW(w->window), &w->preferences, w->devices,
                                           w->device_count, &listener, w);
}

static void on_rounds(GSimpleAction *action, GVariant *state, gpointer data)
{
    struct window *w = data;
    g_simple_action_set_state(action, state);
    message_list_set_rounds(w->messages, g_variant_get_boolean(state));
    message_list_show(w->messages, w->chat, &w->preferences, is_animated(w));
}

ACTION(on_unload)
{
    UNUSED();
    engine_worker_unload(((struct window *)data)->engine);
}

ACTION(on_sidebar)
{
    UNUSED();
    struct window *w = data;
    w->preferences.sidebar = !w->preferences.sidebar;
    on_settings_changed(w);
}

static void set_text_size(struct window *w, guint percent)
{
    w->preferences.text_percent = CLAMP(percent, (guint)MIN_TEXT, (guint)MAX_TEXT);
    on_settings_changed(w);
}

ACTION(on_larger)
{
    UNUSED();
    set_text_size(data, ((struct window *)data)->preferences.text_percent + TEXT_STEP);
}

ACTION(on_smaller)
{
    UNUSED();
    set_text_size(data, ((struct window *)data)->preferences.text_percent - TEXT_STEP);
}

ACTION(on_normal_size)
{
    UNUSED();
    set_text_size(data, 100);
}

ACTION(on_close)
{
    UNUSED();
    gtk_window_close(GTK_WINDOW(((struct window *)data)->window));
}

static const GActionEntry actions[] = {
    {.name = "new", .activate = on_new},
    {.name = "search", .activate = on_search},
    {.name = "focus-question", .activate = on_focus_question},
    {.name = "stop", .activate = on_stop},
    {.name = "cancel-edit", .activate = on_cancel_edit},
    {.name = "suggest", .activate = on_suggest, .parameter_type = "s"},
    {.name = "copy", .activate = on_copy, .parameter_type = "x"},
    {.name = "edit", .activate = on_edit, .parameter_type = "x"},
    {.name = "regenerate", .activate = on_regenerate, .parameter_type = "x"},
    {.name = "branch", .activate = on_branch, .parameter_type = "(xi)"},
    {.name = "settings", .activate = on_settings},
    {.name = "unload", .activate = on_unload},
    {.name = "sidebar", .activate = on_sidebar},
    {.name = "rounds", .state = "false", .change_state = on_rounds},
    {.name = "larger", .activate = on_larger},
    {.name = "smaller", .activate = on_smaller},
    {.name = "normal-size", .activate = on_normal_size},
    {.name = "close", .activate = on_close},
};

static const char *const shortcuts[][3] = {
    {"win.new", "<Control>n", NULL},
    {"win.search", "<Control>f", NULL},
    {"win.focus-question", "<Control>l", NULL},
    {"win.stop", "Escape", NULL},
    {"win.cancel-edit", "Escape", NULL},
    {"win.copy(int64 0)", "<Control><Shift>c", NULL},
    {"win.edit(int64 0)", "<Control>Up", NULL},
    {"win.regenerate(int64 0)", "<Control>r", NULL},
    {"win.rename-open", "F2", NULL},
    {"win.export-open", "<Control>e", NULL},
    {"win.settings", "<Control>comma", NULL},
    {"win.sidebar", "F9", NULL},
    {"win.rounds", "<Control>d", NULL},
    {"win.larger", "<Control>plus", "<Control>equal"},
    {"win.smaller", "<Control>minus", NULL},
    {"win.normal-size", "<Control>0", NULL},
    {"win.close", "<Control>w", NULL},
    {"win.show-help-overlay", "<Control>question", "F1"},
};

/* ---- The window ---------------------------------------------------------------------------------------- */

static GtkWidget *new_header_button(const char *icon, const char *words, const char *action)
{
    GtkWidget *button = gtk_button_new_from_icon_name(icon);
    tip_and_name_set(button, words);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    return button;
}

static GtkWidget *new_header(struct window *w)
{
    GtkWidget *header = gtk_header_bar_new();
    w->title = gtk_label_new("");
    gtk_widget_add_css_class(w->title, "title");
    gtk_label_set_ellipsize(GTK_LABEL(w->title), PANGO_ELLIPSIZE_END);
    gtk_header_bar_set_title_widget(GTK_HEADER_BAR(header), w->title);
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), new_header_button("sidebar-show-symbolic",
                                                                        "Conversations (F9)", "win.sidebar"));
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header),
                              new_header_button("list-add-symbolic", "New conversation (Ctrl+N)", "win.new"));
    GMenu *menu = g_menu_new();
    g_menu_append(menu, "Rename…", "win.rename-open");
    g_menu_append(menu, "Export to Markdown…", "win.export-open");
    g_menu_append(menu, "Colour by round", "win.rounds");
    g_menu_append(menu, "Unload the model", "win.unload");
    g_menu_append(menu, "Settings", "win.settings");
    g_menu_append(menu, "Keyboard shortcuts", "win.show-help-overlay");
    GtkWidget *button = gtk_menu_button_new();
    gtk_menu_button_set_icon_name(GTK_MENU_BUTTON(button), "open-menu-symbolic");
    gtk_menu_button_set_primary(GTK_MENU_BUTTON(button), TRUE);
    gtk_menu_button_set_menu_model(GTK_MENU_BUTTON(button), G_MENU_MODEL(menu));
    tip_and_name_set(button, "Menu (F10)");
    gtk_header_bar_pack_end(GTK_HEADER_BAR(header), button);
    g_object_unref(menu);
    return header;
}

static GtkWidget *new_content(struct window *w)
{
    static const struct composer_listener composer_listener = {on_send, on_preset};
    static const struct conversation_actions_listener actions_listener = {show_state_of, on_list_changed,
                                                                          show_error};
    w->messages = message_list_new();
    w->composer = composer_new(&composer_listener, w);
    w->error = message_bar_new(GTK_MESSAGE_ERROR, &w->error_words);
    GtkWidget *main = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    gtk_box_append(GTK_BOX(main), w->error);
    gtk_box_append(GTK_BOX(main), message_list_widget(w->messages));
    gtk_box_append(GTK_BOX(main), composer_widget(w->composer));
    w->list = conversation_list_new(w->store, on_open, on_store_error, w);
    w->conversations = conversation_actions_new(GTK_APPLICATION_WINDOW(w->window), w->store, w->chat, w->list,
                                                &actions_listener, w);
    gtk_box_insert_child_after(GTK_BOX(main), conversation_actions_undo_bar(w->conversations), w->error);
    w->sidebar = conversation_list_widget(w->list);
    gtk_widget_set_size_request(w->sidebar, 200, -1);
    gtk_widget_set_size_request(main, 360, -1);
    GtkWidget *paned = gtk_paned_new(GTK_ORIENTATION_HORIZONTAL);
    gtk_paned_set_start_child(GTK_PANED(paned), w->sidebar);
    gtk_paned_set_end_child(GTK_PANED(paned), main);
    gtk_paned_set_resize_start_child(GTK_PANED(paned), FALSE);
    gtk_paned_set_shrink_start_child(GTK_PANED(paned), FALSE);
    gtk_paned_set_shrink_end_child(GTK_PANED(paned), FALSE);
    gtk_paned_set_position(GTK_PANED(paned), 250);
    return paned;
}

static void add_shortcuts_window(struct window *w)
{
    GtkBuilder *builder = gtk_builder_new_from_resource("/org/refusion/Desktop/gtk/help-overlay.ui");
    gtk_application_window_set_help_overlay(
        GTK_APPLICATION_WINDOW(w->window),
        GTK_SHORTCUTS_WINDOW(gtk_builder_get_object(builder, "help_overlay")));
    g_object_unref(builder);
}

struct window *window_new(GtkApplication *application, const char *default_model)
{
    static const struct chat_listener chat_listener = {on_path_changed, on_answer_changed, on_answer_ended,
                                                       on_list_changed, show_error,        on_refused};
    struct window *w = g_new0(struct window, 1);
    char *path = g_build_filename(g_get_user_data_dir(), "refusion", "conversations.sqlite", NULL);
    preferences_load(&w->preferences, default_model);
    appearance_start();
    w->store = store_thread_start(path, on_store_error, w);
    w->engine = engine_worker_start(on_engine_event, w);
    w->chat = chat_new(w->store, w->engine, &w->preferences, &chat_listener, w);
    w->window = gtk_application_window_new(application);
    g_object_add_weak_pointer(G_OBJECT(w->window), (gpointer *)&w->window);
    gtk_window_set_icon_name(GTK_WINDOW(w->window), "org.refusion.Desktop");
    gtk_window_set_default_size(GTK_WINDOW(w->window), 1040, 720);
    gtk_window_set_titlebar(GTK_WINDOW(w->window), new_header(w));
    gtk_window_set_child(GTK_WINDOW(w->window), new_content(w));
    g_action_map_add_action_entries(G_ACTION_MAP(w->window), actions, G_N_ELEMENTS(actions), w);
    for (gsize i = 0; i < G_N_ELEMENTS(shortcuts); i++)
        gtk_application_set_accels_for_action(application, shortcuts[i][0],
                                              (const char *[]){shortcuts[i][1], shortcuts[i][2], NULL});
    add_shortcuts_window(w);
    apply_preferences(w);
    engine_worker_list_devices(w->engine);
    conversation_list_open_last(w->list);
    conversation_list_refresh(w->list, 0);
    on_path_changed(w);
    message_row_prepare();
    g_free(path);
    return w;
}

void window_present(struct window *w)
{
    gtk_window_present(GTK_WINDOW(w->window));
    composer_focus(w->composer);
}

void window_free(struct window *w)
{
    if (w->window) { /* what is being computed may take a while to stop, and nobody is to look at a dead window */
        gtk_widget_set_visible(w->window, FALSE);
        gdk_display_flush(gtk_widget_get_display(w->window));
    }
    preferences_save(&w->preferences, NULL); /* what failed has been told */
    if (w->settle_timer)
        g_source_remove(w->settle_timer);
    chat_free(w->chat);
    engine_worker_stop(w->engine);
    store_thread_stop(w->store);
    conversation_actions_free(w->conversations);
    conversation_list_free(w->list);
    message_list_free(w->messages);
    composer_free(w->composer);
    preferences_clear(&w->preferences);
    appearance_stop();
    free(w->devices);
    g_free(w->device_name);
    g_free(w);
}
