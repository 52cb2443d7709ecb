#include "apps/desktop/message_list.h"

#include "apps/desktop/message_row.h"

enum { NEAR_THE_END = 40, /* pixels: who is so near follows the answer */ COLUMN_WIDTH = 820 };

struct message_list {
    GtkWidget *stack, *scroll, *rows;
    gboolean follow; /* the end, as it grows */
    gint64 conversation;
    gboolean rounds;
};

static const char *const suggestions[] = {
    "Write a Python function count_even(nums) that counts the even numbers in a list.",
    "Tom has 12 apples. Tom buys 3 bags with 4 apples each. How many apples does Tom have?",
};

static GtkWidget *new_welcome(void)
{
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 14);
    gtk_widget_add_css_class(box, "welcome");
    gtk_widget_set_valign(box, GTK_ALIGN_CENTER);
    gtk_widget_set_halign(box, GTK_ALIGN_CENTER);
    GtkWidget *icon = gtk_image_new_from_icon_name("org.refusion.Desktop");
    gtk_image_set_pixel_size(GTK_IMAGE(icon), 96);
    GtkWidget *title = gtk_label_new("What would you like to know?");
    gtk_widget_add_css_class(title, "title");
    gtk_label_set_wrap(GTK_LABEL(title), TRUE);
    gtk_label_set_justify(GTK_LABEL(title), GTK_JUSTIFY_CENTER);
    GtkWidget *note = gtk_label_new(
        "Answers are planned in slots and filled in out of order. Marks are places that are not "
        "decided yet, faint words are drafts, and each round has its colour.");
    gtk_widget_add_css_class(note, "note");
    gtk_label_set_wrap(GTK_LABEL(note), TRUE);
    gtk_label_set_justify(GTK_LABEL(note), GTK_JUSTIFY_CENTER);
    gtk_label_set_max_width_chars(GTK_LABEL(note), 60);
    gtk_box_append(GTK_BOX(box), icon);
    gtk_box_append(GTK_BOX(box), title);
    gtk_box_append(GTK_BOX(box), note);
    for (gsize i = 0; i < G_N_ELEMENTS(suggestions); i++) {
        GtkWidget *button = gtk_button_new_with_label(suggestions[i]);
        gtk_label_set_wrap(GTK_LABEL(gtk_button_get_child(GTK_BUTTON(button))), TRUE);
        gtk_label_set_justify(GTK_LABEL(gtk_button_get_child(GTK_BUTTON(button))), GTK_JUSTIFY_CENTER);
        gtk_actionable_set_action_name(GTK_ACTIONABLE(button), "win.suggest");
        gtk_actionable_set_action_target_value(GTK_ACTIONABLE(button), g_variant_new_string(suggestions[i]));
        gtk_box_append(GTK_BOX(box), button);
    }
    GtkWidget *scroll = gtk_scrolled_window_new(); /* large text in a small window */
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroll), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), box);
    return scroll;
}

static void on_scrolled(GtkAdjustment *adjustment, struct message_list *list)
{
    double end = gtk_adjustment_get_upper(adjustment) - gtk_adjustment_get_page_size(adjustment);
    list->follow = gtk_adjustment_get_value(adjustment) >= end - NEAR_THE_END;
}

static gboolean allocate_again(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)clock, (void)data;
    gtk_widget_queue_allocate(widget);
    return G_SOURCE_REMOVE;
}

/* Its size changed: who was at the end stays there. GTK is allocating just now, and may have placed the rows by the
 * value before. */
static void on_resized(GtkAdjustment *adjustment, struct message_list *list)
{
    double before = gtk_adjustment_get_value(adjustment);
    if (!list->follow)
        return;
    gtk_adjustment_set_value(adjustment, gtk_adjustment_get_upper(adjustment));
    if (gtk_adjustment_get_value(adjustment) > before)
        gtk_widget_add_tick_callback(gtk_widget_get_parent(list->rows), allocate_again, NULL, NULL);
}

struct message_list *message_list_new(void)
{
    struct message_list *list = g_new0(struct message_list, 1);
    list->follow = TRUE;
    list->rows = gtk_box_new(GTK_ORIENTATION_VERTICAL, 10);
    gtk_widget_add_css_class(list->rows, "messages");
    gtk_widget_set_size_request(list->rows, 280, -1);
    list->scroll = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(list->scroll), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(list->scroll), list->rows);
    GtkAdjustment *adjustment = gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(list->scroll));
    g_signal_connect(adjustment, "value-changed", G_CALLBACK(on_scrolled), list);
    g_signal_connect(adjustment, "changed", G_CALLBACK(on_resized), list);
    list->stack = gtk_stack_new();
    gtk_stack_set_hhomogeneous(GTK_STACK(list->stack), FALSE);
    gtk_stack_add_named(GTK_STACK(list->stack), new_welcome(), "welcome");
    gtk_stack_add_named(GTK_STACK(list->stack), list->scroll, "messages");
    gtk_widget_set_vexpand(list->stack, TRUE);
    return list;
}

void message_list_free(struct message_list *list)
{
    g_free(list);
}

GtkWidget *message_list_widget(struct message_list *list)
{
    return list->stack;
}

static void remove_from(struct message_list *list, GtkWidget *row)
{
    while (row) {
        GtkWidget *next = gtk_widget_get_next_sibling(row);
        gtk_box_remove(GTK_BOX(list->rows), row);
        row = next;
    }
}

void message_list_show(struct message_list *list, const struct chat *chat,
                       const struct preferences *preferences, gboolean animated)
{
    GPtrArray *path = chat_path(chat);
    const struct conversation *conversation = chat_conversation(chat);
    const struct message *running = chat_running(chat);
    gint64 id = conversation ? conversation->id : 0;
    GtkWidget *row = gtk_widget_get_first_child(list->rows);
    if (id != list->conversation)
        list->follow = TRUE;
    list->conversation = id;
    for (guint i = 0; i < path->len; i++) {
        struct message_row_desc desc = {.message = path->pdata[i],
                                        .block = preferences->answers.preset->block,
                                        .max_tokens = preferences->answers.max_tokens,
                                        .animated = animated,
                                        .rounds = list->rounds};
        desc.running = running && running->id == desc.message->id;
        chat_branch(chat, desc.message->id, &desc.branch, &desc.branches);
        if (row && message_row_shows(row, &desc)) {
            row = gtk_widget_get_next_sibling(row);
            continue;
        }
        remove_from(list, row);
        row = NULL;
        GtkWidget *fresh = message_row_new(&desc);
        gtk_box_append(GTK_BOX(list->rows), fresh);
        if (desc.running) {
            list->follow = TRUE;
            response_view_update(message_row_response(fresh), chat_response(chat), running->text);
        }
    }
    remove_from(list, row);
    gtk_stack_set_visible_child_name(GTK_STACK(list->stack), path->len || id ? "messages" : "welcome");
    g_ptr_array_unref(path);
}

void message_list_set_rounds(struct message_list *list, gboolean rounds)
{
    list->rounds = rounds;
}

static ResponseView *running_view(struct message_list *list)
{
    GtkWidget *last = gtk_widget_get_last_child(list->rows);
    return last ? message_row_response(last) : NULL;
}

void message_list_update(struct message_list *list, const struct chat *chat)
{
    ResponseView *view = running_view(list);
    const struct message *running = chat_running(chat);
    if (view && running && message_row_id(gtk_widget_get_last_child(list->rows)) == running->id)
        response_view_update(view, chat_response(chat), running->text);
}

void message_list_set_animated(struct message_list *list, gboolean animated)
{
    ResponseView *view = running_view(list);
    if (view)
        response_view_set_animated(view, animated);
}
