#include "apps/desktop/conversation_list.h"

#include "apps/desktop/tip.h"

/* ---- Items --------------------------------------------------------------------------------------------- */

#define DESKTOP_TYPE_CONVERSATION_ITEM (conversation_item_get_type())
G_DECLARE_FINAL_TYPE(ConversationItem, conversation_item, DESKTOP, CONVERSATION_ITEM, GObject)

/* What a row shows. One object stays a conversation's for as long as it is listed, so that its row keeps the
 * keyboard's focus when others come, go, or change places. */
struct _ConversationItem {
    GObject parent;
    gint64 id;
    char *title;
    gboolean pinned;
};

G_DEFINE_FINAL_TYPE(ConversationItem, conversation_item, G_TYPE_OBJECT)

static guint item_changed; /* signal */

static void conversation_item_finalize(GObject *object)
{
    g_free(DESKTOP_CONVERSATION_ITEM(object)->title);
    G_OBJECT_CLASS(conversation_item_parent_class)->finalize(object);
}

static void conversation_item_class_init(ConversationItemClass *class)
{
    G_OBJECT_CLASS(class)->finalize = conversation_item_finalize;
    item_changed = g_signal_new("changed", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                G_TYPE_NONE, 0);
}

static void conversation_item_init(ConversationItem *item)
{
    (void)item;
}

static void item_update(ConversationItem *item, const struct conversation *conversation)
{
    if (item->title && g_str_equal(item->title, conversation->title) && item->pinned == conversation->pinned)
        return;
    g_free(item->title);
    item->title = g_strdup(conversation->title);
    item->pinned = conversation->pinned;
    g_signal_emit(item, item_changed, 0);
}

struct conversation_list {
    struct store_thread *store;
    void (*on_open)(gpointer user, const struct conversation *conversation);
    void (*on_error)(gpointer user, const GError *error);
    gpointer user;
    GtkWidget *box, *search, *rows, *empty;
    GListStore *items; /* ConversationItem, in the order of `conversations` */
    GtkSingleSelection *selection;
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

/* A row's widgets; the row is made once and shows one conversation after the other. */
struct row {
    struct conversation_list *list;
    GtkWidget *box, *pin, *title, *button;
    ConversationItem *item; /* borrowed; NULL: none */
    gulong changed;
};

static const char row_key[] = "refusion-conversation";

/* When it is asked for: a menu has more widgets than all the rest of its row. */
static void fill_menu(GtkMenuButton *button, gpointer data)
{
    const struct row *row = data;
    const char *const entries[][2] = {{row->item->pinned ? "Unpin" : "Pin", "win.pin"},
                                      {"Rename…", "win.rename"},
                                      {"Duplicate", "win.duplicate"},
                                      {"Export to Markdown…", "win.export"},
                                      {"Delete", "win.delete"}};
    GMenu *menu = g_menu_new();
    for (gsize i = 0; i < G_N_ELEMENTS(entries); i++) {
        GMenuItem *entry = g_menu_item_new(entries[i][0], NULL);
        g_menu_item_set_action_and_target_value(entry, entries[i][1], g_variant_new_int64(row->item->id));
        g_menu_append_item(menu, entry);
        g_object_unref(entry);
    }
    gtk_menu_button_set_menu_model(button, G_MENU_MODEL(menu));
    g_object_unref(menu);
}

static void on_secondary_click(GtkGestureClick *gesture, int presses, double x, double y, struct row *row)
{
    (void)presses, (void)x, (void)y;
    gtk_gesture_set_state(GTK_GESTURE(gesture), GTK_EVENT_SEQUENCE_CLAIMED);
    gtk_menu_button_popup(GTK_MENU_BUTTON(row->button));
}

static void open_conversation(struct conversation_list *list, gint64 id)
{
    const struct conversation *conversation = conversation_list_find(list, id);
    if (!conversation)
        return;
    list->selected = id;
    list->on_open(list->user, conversation);
}

/* A click opens; GTK's own single-click mode would have the selection follow the pointer. */
static void on_click(GtkGestureClick *gesture, int presses, double x, double y, struct row *row)
{
    (void)gesture;
    if (presses == 1 && gtk_widget_contains(row->box, x, y))
        open_conversation(row->list, row->item->id);
}

static void add_gestures(struct row *row)
{
    GtkGesture *secondary = gtk_gesture_click_new(), *primary = gtk_gesture_click_new();
    gtk_gesture_single_set_button(GTK_GESTURE_SINGLE(secondary), GDK_BUTTON_SECONDARY);
    g_signal_connect(secondary, "pressed", G_CALLBACK(on_secondary_click), row);
    gtk_widget_add_controller(row->box, GTK_EVENT_CONTROLLER(secondary));
    gtk_gesture_single_set_button(GTK_GESTURE_SINGLE(primary), GDK_BUTTON_PRIMARY);
    g_signal_connect(primary, "released", G_CALLBACK(on_click), row);
    gtk_widget_add_controller(row->box, GTK_EVENT_CONTROLLER(primary));
}

static void on_setup(GtkSignalListItemFactory *factory, GtkListItem *item, struct conversation_list *list)
{
    (void)factory;
    struct row *row = g_new0(struct row, 1);
    row->list = list;
    row->box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 4);
    row->pin = gtk_image_new_from_icon_name("view-pin-symbolic");
    gtk_widget_add_css_class(row->pin, "pin");
    gtk_accessible_update_property(GTK_ACCESSIBLE(row->pin), GTK_ACCESSIBLE_PROPERTY_LABEL, "Pinned", -1);
    row->title = gtk_label_new("");
    gtk_label_set_ellipsize(GTK_LABEL(row->title), PANGO_ELLIPSIZE_END);
    gtk_label_set_xalign(GTK_LABEL(row->title), 0);
    gtk_widget_set_hexpand(row->title, TRUE);
    row->button = gtk_menu_button_new();
    gtk_menu_button_set_icon_name(GTK_MENU_BUTTON(row->button), "view-more-symbolic");
    gtk_menu_button_set_create_popup_func(GTK_MENU_BUTTON(row->button), fill_menu, row, NULL);
    gtk_menu_button_set_has_frame(GTK_MENU_BUTTON(row->button), FALSE);
    tip_set(row->button, "What can be done with this conversation");
    gtk_box_append(GTK_BOX(row->box), row->pin);
    gtk_box_append(GTK_BOX(row->box), row->title);
    gtk_box_append(GTK_BOX(row->box), row->button);
    add_gestures(row);
    g_object_set_data_full(G_OBJECT(row->box), row_key, row, g_free);
    gtk_list_item_set_child(item, row->box);
}

static void show_item(struct row *row)
{
    GtkWidget *whole = gtk_widget_get_parent(row->box); /* what has the focus and is read */
    char *words = g_strdup_printf("Actions for %s", row->item->title);
    gtk_label_set_text(GTK_LABEL(row->title), row->item->title);
    gtk_widget_set_visible(row->pin, row->item->pinned);
    tip_set(row->title, row->item->title);
    gtk_accessible_update_property(GTK_ACCESSIBLE(row->button), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
    if (whole)
        gtk_accessible_update_property(GTK_ACCESSIBLE(whole), GTK_ACCESSIBLE_PROPERTY_LABEL, row->item->title,
                                       -1);
    g_free(words);
}

static struct row *row_of(GtkListItem *item)
{
    return g_object_get_data(G_OBJECT(gtk_list_item_get_child(item)), row_key);
}

static void on_bind(GtkSignalListItemFactory *factory, GtkListItem *item, gpointer data)
{
    (void)factory, (void)data;
    struct row *row = row_of(item);
    row->item = gtk_list_item_get_item(item);
    row->changed = g_signal_connect_swapped(row->item, "changed", G_CALLBACK(show_item), row);
    show_item(row);
}

static void on_unbind(GtkSignalListItemFactory *factory, GtkListItem *item, gpointer data)
{
    (void)factory, (void)data;
    struct row *row = row_of(item);
    gtk_menu_button_popdown(GTK_MENU_BUTTON(row->button));
    g_signal_handler_disconnect(row->item, row->changed);
    row->item = NULL;
}

static gboolean on_menu_key(GtkWidget *rows, GVariant *arguments, gpointer data)
{
    (void)arguments, (void)data;
    GtkWidget *whole = gtk_widget_get_focus_child(rows);
    GtkWidget *box = whole ? gtk_widget_get_first_child(whole) : NULL;
    struct row *row = box ? g_object_get_data(G_OBJECT(box), row_key) : NULL;
    if (row)
        gtk_menu_button_popup(GTK_MENU_BUTTON(row->button));
    return row != NULL;
}

static void add_menu_keys(GtkWidget *rows)
{
    GtkEventController *keys = gtk_shortcut_controller_new();
    gtk_shortcut_controller_add_shortcut(
        GTK_SHORTCUT_CONTROLLER(keys),
        gtk_shortcut_new(gtk_alternative_trigger_new(gtk_keyval_trigger_new(GDK_KEY_Menu, 0),
                                                     gtk_keyval_trigger_new(GDK_KEY_F10, GDK_SHIFT_MASK)),
                         gtk_callback_action_new(on_menu_key, NULL, NULL)));
    gtk_widget_add_controller(rows, keys);
}

/* ---- What the rows show -------------------------------------------------------------------------------- */

static void select_row(struct conversation_list *list)
{
    guint found = GTK_INVALID_LIST_POSITION;
    for (guint i = 0; list->conversations && i < list->conversations->len; i++)
        if (((const struct conversation *)list->conversations->pdata[i])->id == list->selected)
            found = i;
    gtk_single_selection_set_selected(list->selection, found);
}

/* The items of `conversations`: those that there are, brought up to date, and new ones. */
static GPtrArray *new_items(struct conversation_list *list)
{
    GHashTable *known = g_hash_table_new(g_int64_hash, g_int64_equal);
    GPtrArray *items = g_ptr_array_new_with_free_func(g_object_unref);
    for (guint i = 0; i < g_list_model_get_n_items(G_LIST_MODEL(list->items)); i++) {
        ConversationItem *item = g_list_model_get_item(G_LIST_MODEL(list->items), i);
        g_hash_table_insert(known, &item->id, item);
        g_object_unref(item); /* the store has it */
    }
    for (guint i = 0; i < list->conversations->len; i++) {
        const struct conversation *conversation = list->conversations->pdata[i];
        ConversationItem *item = g_hash_table_lookup(known, &conversation->id);
        item = item ? g_object_ref(item) : g_object_new(DESKTOP_TYPE_CONVERSATION_ITEM, NULL);
        item->id = conversation->id;
        item_update(item, conversation);
        g_ptr_array_add(items, item);
    }
    g_hash_table_unref(known);
    return items;
}

static gboolean is_at(struct conversation_list *list, guint position, gpointer item)
{
    gpointer there = g_list_model_get_item(G_LIST_MODEL(list->items), position);
    g_object_unref(there);
    return there == item;
}

/* Only what lies between the first and the last difference is changed. */
static void show_items(struct conversation_list *list)
{
    GPtrArray *items = new_items(list);
    guint before = g_list_model_get_n_items(G_LIST_MODEL(list->items)), first = 0, last = 0;
    guint shorter = MIN(before, items->len);
    while (first < shorter && is_at(list, first, items->pdata[first]))
        first++;
    while (last < shorter - first && is_at(list, before - last - 1, items->pdata[items->len - last - 1]))
        last++;
    if (first + last < MAX(before, items->len))
        g_list_store_splice(list->items, first, before - first - last, items->pdata + first,
                            items->len - first - last);
    g_ptr_array_unref(items);
}

static void open_newest(struct conversation_list *list)
{
    const struct conversation *newest = list->conversations->pdata[0];
    for (guint i = 1; i < list->conversations->len; i++) {
        const struct conversation *other = list->conversations->pdata[i];
        if (other->updated > newest->updated)
            newest = other;
    }
    open_conversation(list, newest->id);
}

static void show_rows(struct conversation_list *list)
{
    gboolean focused = gtk_widget_get_focus_child(list->rows) != NULL;
    gboolean searching = *gtk_editable_get_text(GTK_EDITABLE(list->search)) != '\0';
    show_items(list);
    gtk_label_set_text(GTK_LABEL(list->empty), searching ? "Nothing found" : "No conversations");
    gtk_widget_set_visible(list->empty, list->conversations->len == 0);
    if (focused && list->conversations->len && !gtk_widget_get_focus_child(list->rows))
        gtk_widget_grab_focus(list->rows); /* the row that had it is gone */
    if (list->open_last && list->conversations->len)
        open_newest(list);
    list->open_last = FALSE;
    select_row(list);
}

static void on_row_activated(GtkListView *rows, guint position, struct conversation_list *list)
{
    (void)rows;
    open_conversation(list, ((const struct conversation *)list->conversations->pdata[position])->id);
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

/* Of GTK's lists the one that has widgets for the rows near the window's: with a thousand conversations the
 * other one stood still for seconds at each change. */
static GtkWidget *new_rows(struct conversation_list *list)
{
    GtkListItemFactory *factory = gtk_signal_list_item_factory_new();
    g_signal_connect(factory, "setup", G_CALLBACK(on_setup), list);
    g_signal_connect(factory, "bind", G_CALLBACK(on_bind), NULL);
    g_signal_connect(factory, "unbind", G_CALLBACK(on_unbind), NULL);
    list->items = g_list_store_new(DESKTOP_TYPE_CONVERSATION_ITEM);
    list->selection = gtk_single_selection_new(g_object_ref(G_LIST_MODEL(list->items)));
    gtk_single_selection_set_autoselect(list->selection, FALSE);
    gtk_single_selection_set_can_unselect(list->selection, TRUE);
    GtkWidget *rows = gtk_list_view_new(g_object_ref(GTK_SELECTION_MODEL(list->selection)), factory);
    gtk_widget_add_css_class(rows, "navigation-sidebar");
    gtk_accessible_update_property(GTK_ACCESSIBLE(rows), GTK_ACCESSIBLE_PROPERTY_LABEL, "Conversations", -1);
    g_signal_connect(rows, "activate", G_CALLBACK(on_row_activated), list);
    add_menu_keys(rows);
    return rows;
}

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
    list->rows = new_rows(list);
    list->empty = gtk_label_new("");
    gtk_widget_add_css_class(list->empty, "dim-label");
    gtk_widget_set_visible(list->empty, FALSE);
    GtkWidget *scroll = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroll), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), list->rows);
    gtk_widget_set_vexpand(scroll, TRUE);
    gtk_box_append(GTK_BOX(list->box), list->search);
    gtk_box_append(GTK_BOX(list->box), list->empty);
    gtk_box_append(GTK_BOX(list->box), scroll);
    return list;
}

void conversation_list_free(struct conversation_list *list)
{
    g_clear_pointer(&list->conversations, g_ptr_array_unref);
    g_object_unref(list->items);
    g_object_unref(list->selection);
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
