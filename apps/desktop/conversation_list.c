#include "apps/desktop/conversation_list.h"

#include "apps/desktop/tip.h"

struct conversation_list {
    struct store_thread *store;
    void (*on_open)(gpointer user, const struct conversation *conversation);
    void (*on_error)(gpointer user, const GError *error);
    gpointer user;
    GtkWidget *box, *search, *rows, *empty;
    GPtrArray *conversations; /* as the rows show them; NULL before the first reading */
    gint64 selected;
    guint64 reading; /* counts requests: an older answer of the store is stale */
    gboolean open_last;
};

static void show_rows(struct conversation_list *list);

static gpointer read_list(struct store *store, gpointer data, GError **error)
{
    return store_conversations(store, data, error);
}

struct reading {
    struct conversation_list *list;
    guint64 number;
};

static void on_list(gpointer user, gpointer result, const GError *error)
{
    struct reading *reading = user;
    struct conversation_list *list = reading->list;
    gboolean stale = reading->number != list->reading;
    g_free(reading);
    if (error) {
        list->on_error(list->user, error);
    } else if (stale) {
        g_ptr_array_unref(result);
    } else {
        g_clear_pointer(&list->conversations, g_ptr_array_unref);
        list->conversations = result;
        show_rows(list);
    }
}

static void read_anew(struct conversation_list *list)
{
    struct reading *reading = g_new(struct reading, 1);
    *reading = (struct reading){.list = list, .number = ++list->reading};
    char *words = g_strdup(gtk_editable_get_text(GTK_EDITABLE(list->search)));
    store_thread_post(list->store, read_list, words, g_free, on_list, reading);
}

/* ---- Rows ---------------------------------------------------------------------------------------------- */

static GMenuModel *new_menu(const struct conversation *conversation)
{
    const char *const items[][2] = {{conversation->pinned ? "Unpin" : "Pin", "win.pin"},
                                    {"Rename…", "win.rename"},
                                    {"Duplicate", "win.duplicate"},
                                    {"Export to Markdown…", "win.export"},
                                    {"Delete", "win.delete"}};
    GMenu *menu = g_menu_new();
    for (gsize i = 0; i < G_N_ELEMENTS(items); i++) {
        GMenuItem *item = g_menu_item_new(items[i][0], NULL);
        g_menu_item_set_action_and_target_value(item, items[i][1], g_variant_new_int64(conversation->id));
        g_menu_append_item(menu, item);
        g_object_unref(item);
    }
    return G_MENU_MODEL(menu);
}

static void on_secondary_click(GtkGestureClick *gesture, int presses, double x, double y,
                               GtkMenuButton *button)
{
    (void)presses, (void)x, (void)y;
    gtk_gesture_set_state(GTK_GESTURE(gesture), GTK_EVENT_SEQUENCE_CLAIMED);
    gtk_menu_button_popup(button);
}

static gboolean on_menu_key(GtkWidget *row, GVariant *arguments, gpointer data)
{
    (void)row, (void)arguments;
    gtk_menu_button_popup(GTK_MENU_BUTTON(data));
    return TRUE;
}

static void add_menu_keys(GtkWidget *row, GtkWidget *button)
{
    GtkEventController *keys = gtk_shortcut_controller_new();
    gtk_shortcut_controller_add_shortcut(
        GTK_SHORTCUT_CONTROLLER(keys),
        gtk_shortcut_new(gtk_alternative_trigger_new(gtk_keyval_trigger_new(GDK_KEY_Menu, 0),
                                                     gtk_keyval_trigger_new(GDK_KEY_F10, GDK_SHIFT_MASK)),
                         gtk_callback_action_new(on_menu_key, button, NULL)));
    gtk_widget_add_controller(row, keys);
}

static GtkWidget *new_row(const struct conversation *conversation)
{
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 4);
    GtkWidget *title = gtk_label_new(conversation->title);
    gtk_label_set_ellipsize(GTK_LABEL(title), PANGO_ELLIPSIZE_END);
    gtk_label_set_xalign(GTK_LABEL(title), 0);
    gtk_widget_set_hexpand(title, TRUE);
    if (conversation->pinned) {
        GtkWidget *pin = gtk_image_new_from_icon_name("view-pin-symbolic");
        gtk_widget_add_css_class(pin, "pin");
        gtk_accessible_update_property(GTK_ACCESSIBLE(pin), GTK_ACCESSIBLE_PROPERTY_LABEL, "Pinned", -1);
        gtk_box_append(GTK_BOX(box), pin);
    }
    gtk_box_append(GTK_BOX(box), title);
    GtkWidget *button = gtk_menu_button_new();
    GMenuModel *menu = new_menu(conversation);
    gtk_menu_button_set_icon_name(GTK_MENU_BUTTON(button), "view-more-symbolic");
    gtk_menu_button_set_menu_model(GTK_MENU_BUTTON(button), menu);
    gtk_widget_add_css_class(button, "flat");
    tip_set(button, "What can be done with this conversation");
    char *words = g_strdup_printf("Actions for %s", conversation->title);
    gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
    g_free(words);
    g_object_unref(menu);
    gtk_box_append(GTK_BOX(box), button);

    GtkWidget *row = gtk_list_box_row_new();
    gtk_list_box_row_set_child(GTK_LIST_BOX_ROW(row), box);
    gtk_accessible_update_property(GTK_ACCESSIBLE(row), GTK_ACCESSIBLE_PROPERTY_LABEL, conversation->title,
                                   -1);
    tip_set(title, conversation->title);
    GtkGesture *click = gtk_gesture_click_new();
    gtk_gesture_single_set_button(GTK_GESTURE_SINGLE(click), GDK_BUTTON_SECONDARY);
    g_signal_connect(click, "pressed", G_CALLBACK(on_secondary_click), button);
    gtk_widget_add_controller(row, GTK_EVENT_CONTROLLER(click));
    add_menu_keys(row, button);
    return row;
}

static void select_row(struct conversation_list *list)
{
    gtk_list_box_unselect_all(GTK_LIST_BOX(list->rows));
    for (guint i = 0; list->conversations && i < list->conversations->len; i++) {
        const struct conversation *conversation = list->conversations->pdata[i];
        if (conversation->id == list->selected)
            gtk_list_box_select_row(GTK_LIST_BOX(list->rows),
                                    gtk_list_box_get_row_at_index(GTK_LIST_BOX(list->rows), (int)i));
    }
}

static void show_rows(struct conversation_list *list)
{
    GtkWidget *row, *focus = gtk_widget_get_focus_child(list->rows);
    int focused = focus ? gtk_list_box_row_get_index(GTK_LIST_BOX_ROW(focus)) : -1;
    while ((row = gtk_widget_get_first_child(list->rows)))
        gtk_list_box_remove(GTK_LIST_BOX(list->rows), row);
    for (guint i = 0; i < list->conversations->len; i++)
        gtk_list_box_append(GTK_LIST_BOX(list->rows), new_row(list->conversations->pdata[i]));
    gtk_widget_set_visible(list->empty, list->conversations->len == 0);
    if (focused >= 0 && list->conversations->len)
        gtk_widget_grab_focus(GTK_WIDGET(gtk_list_box_get_row_at_index(
            GTK_LIST_BOX(list->rows), MIN(focused, (int)list->conversations->len - 1))));
    if (list->open_last && list->conversations->len) {
        const struct conversation *last = list->conversations->pdata[0];
        for (guint i = 1; i < list->conversations->len; i++) {
            const struct conversation *other = list->conversations->pdata[i];
            if (other->updated > last->updated)
                last = other;
        }
        list->selected = last->id;
        list->on_open(list->user, last);
    }
    list->open_last = FALSE;
    select_row(list);
}

static void on_row_activated(GtkListBox *rows, GtkListBoxRow *row, struct conversation_list *list)
{
    (void)rows;
    const struct conversation *conversation = list->conversations->pdata[gtk_list_box_row_get_index(row)];
    list->selected = conversation->id;
    list->on_open(list->user, conversation);
}

static void on_search_changed(GtkSearchEntry *entry, struct conversation_list *list)
{
    (void)entry;
    read_anew(list);
}

static void on_stop_search(GtkSearchEntry *entry, struct conversation_list *list)
{
    (void)list;
    gtk_editable_set_text(GTK_EDITABLE(entry), "");
}

/* ---- The list ------------------------------------------------------------------------------------------ */

struct conversation_list *
conversation_list_new(struct store_thread *store,
                      void (*on_open)(gpointer user, const struct conversation *conversation),
                      void (*on_error)(gpointer user, const GError *error), gpointer user)
{
    struct conversation_list *list = g_new0(struct conversation_list, 1);
    list->store = store;
    list->on_open = on_open;
    list->on_error = on_error;
    list->user = user;
    list->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    gtk_widget_add_css_class(list->box, "conversations");
    list->search = gtk_search_entry_new();
    gtk_search_entry_set_search_delay(GTK_SEARCH_ENTRY(list->search), 120);
    g_object_set(list->search, "placeholder-text", "Search conversations", NULL);
    gtk_accessible_update_property(GTK_ACCESSIBLE(list->search), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   "Search conversations", -1);
    g_signal_connect(list->search, "search-changed", G_CALLBACK(on_search_changed), list);
    g_signal_connect(list->search, "stop-search", G_CALLBACK(on_stop_search), list);
    list->rows = gtk_list_box_new();
    gtk_widget_add_css_class(list->rows, "navigation-sidebar");
    gtk_accessible_update_property(GTK_ACCESSIBLE(list->rows), GTK_ACCESSIBLE_PROPERTY_LABEL, "Conversations",
                                   -1);
    g_signal_connect(list->rows, "row-activated", G_CALLBACK(on_row_activated), list);
    list->empty = gtk_label_new("No conversations");
    gtk_widget_add_css_class(list->empty, "dim-label");
    gtk_widget_set_visible(list->empty, FALSE);
    GtkWidget *content = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    gtk_box_append(GTK_BOX(content), list->empty);
    gtk_box_append(GTK_BOX(content), list->rows);
    GtkWidget *scroll = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroll), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), content);
    gtk_widget_set_vexpand(scroll, TRUE);
    gtk_box_append(GTK_BOX(list->box), list->search);
    gtk_box_append(GTK_BOX(list->box), scroll);
    return list;
}

void conversation_list_free(struct conversation_list *list)
{
    g_clear_pointer(&list->conversations, g_ptr_array_unref);
    g_free(list);
}

GtkWidget *conversation_list_widget(struct conversation_list *list)
{
    return list->box;
}

void conversation_list_refresh(struct conversation_list *list, gint64 selected)
{
    list->selected = selected;
    select_row(list);
    read_anew(list);
}

const struct conversation *conversation_list_find(struct conversation_list *list, gint64 id)
{
    for (guint i = 0; list->conversations && i < list->conversations->len; i++) {
        const struct conversation *conversation = list->conversations->pdata[i];
        if (conversation->id == id)
            return conversation;
    }
    return NULL;
}

void conversation_list_search(struct conversation_list *list)
{
    gtk_widget_grab_focus(list->search);
}

void conversation_list_open_last(struct conversation_list *list)
{
    list->open_last = TRUE;
}
