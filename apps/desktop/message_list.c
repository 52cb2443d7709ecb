#include "apps/desktop/message_list.h"

#include "apps/desktop/message_row.h"

enum {
    NEAR_THE_END = 40, /* pixels: who is so near follows the answer */
    /* Rows are made a few at a time, since a row costs some 0.7 ms with its layout and another answer may be forming. */
    FIRST_ROWS = 6,
    ROW_SPACING = 10,
    PIECE_US = 3000
};

struct message_list {
    GtkWidget *stack, *scroll;
    /* A place for each message of the path, with its row once that is made. The places come all at once: a row put
     * before others would have GTK find the style of each of those again, 35 ms for 200. */
    GtkWidget *places;
    gboolean follow; /* the end, as it grows */
    gint64 conversation;
    gboolean rounds;
    /* What was shown last, and which of its messages have rows: [begin, end) of the path. The others get theirs a piece
     * a frame, those after before those above. */
    const struct chat *chat;
    const struct preferences *preferences;
    gboolean animated;
    guint begin, end;
    gboolean filling;
    /* The place of the first row that is seen, which stays where it is when what is above it grows: rows come, and GTK measures the
     * lines of code blocks late. NULL: none. */
    GtkWidget *anchor;
    double anchor_offset; /* from the top of what is seen, with a constant that drops out */
    gboolean placing;
};

static const char *const suggestions[] = {
    "Write a Python function count_numbers(items) that counts the numbers in a list that are even.",
    "Zoe had 18 nuts, gave a third of them to Tara and then found 37 nuts. How many nuts does Zoe have in "
    "the end?",
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

/* By measuring: it may not have its place yet. */
static double top_of(const struct message_list *list, const GtkWidget *place)
{
    double top = 0;
    int width = gtk_widget_get_width(list->places), height;
    for (GtkWidget *above = gtk_widget_get_first_child(list->places); above && above != place;
         above = gtk_widget_get_next_sibling(above)) {
        gtk_widget_measure(above, GTK_ORIENTATION_VERTICAL, width, NULL, &height, NULL, NULL);
        top += height;
    }
    return top;
}

static void choose_anchor(struct message_list *list, double value)
{
    graphene_rect_t bounds;
    list->anchor = gtk_widget_get_first_child(list->places);
    while (list->anchor && (!gtk_widget_compute_bounds(list->anchor, list->places, &bounds) ||
                            bounds.origin.y + bounds.size.height <= value))
        list->anchor = gtk_widget_get_next_sibling(list->anchor);
    if (list->anchor)
        list->anchor_offset = top_of(list, list->anchor) - value;
}

static void on_scrolled(GtkAdjustment *adjustment, struct message_list *list)
{
    double value = gtk_adjustment_get_value(adjustment);
    double end = gtk_adjustment_get_upper(adjustment) - gtk_adjustment_get_page_size(adjustment);
    list->follow = value >= end - NEAR_THE_END;
    if (!list->placing)
        choose_anchor(list, value);
}

static gboolean allocate_again(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)clock, (void)data;
    gtk_widget_queue_allocate(widget);
    return G_SOURCE_REMOVE;
}

/* Its size changed: who was at the end stays there, and who reads keeps his lines. GTK is allocating just now, and may
 * have placed the rows by the value before. */
static void on_resized(GtkAdjustment *adjustment, struct message_list *list)
{
    double before = gtk_adjustment_get_value(adjustment);
    list->placing = TRUE;
    if (list->follow)
        gtk_adjustment_set_value(adjustment, gtk_adjustment_get_upper(adjustment));
    else if (list->anchor)
        gtk_adjustment_set_value(adjustment, top_of(list, list->anchor) - list->anchor_offset);
    list->placing = FALSE;
    if (gtk_adjustment_get_value(adjustment) != before)
        gtk_widget_add_tick_callback(gtk_widget_get_parent(list->places), allocate_again, NULL, NULL);
}

struct message_list *message_list_new(void)
{
    struct message_list *list = g_new0(struct message_list, 1);
    list->follow = TRUE;
    list->places = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    gtk_widget_add_css_class(list->places, "messages");
    gtk_widget_set_size_request(list->places, 280, -1);
    list->scroll = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(list->scroll), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(list->scroll), list->places);
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

static void remove_from(struct message_list *list, GtkWidget *place)
{
    while (place) {
        GtkWidget *next = gtk_widget_get_next_sibling(place);
        if (place == list->anchor)
            list->anchor = NULL;
        gtk_box_remove(GTK_BOX(list->places), place);
        place = next;
    }
}

static struct message_row_desc row_desc(const struct message_list *list, const struct message *message)
{
    const struct message *running = chat_running(list->chat);
    struct message_row_desc desc = {.message = message,
                                    .block = list->preferences->answers.preset->block,
                                    .max_tokens = list->preferences->answers.max_tokens,
                                    .animated = list->animated,
                                    .rounds = list->rounds,
                                    .running = running && running->id == message->id};
    chat_branch(list->chat, message->id, &desc.branch, &desc.branches);
    return desc;
}

static GtkWidget *row_in(GtkWidget *place)
{
    return gtk_widget_get_first_child(place);
}

/* Keeps the places up to the first whose row does not show what it should, and makes those behind anew. */
static void lay_places(struct message_list *list, const GPtrArray *path)
{
    GtkWidget *place = gtk_widget_get_first_child(list->places);
    guint kept = 0;
    for (; place && kept < path->len; kept++, place = gtk_widget_get_next_sibling(place)) {
        struct message_row_desc desc = row_desc(list, path->pdata[kept]);
        if (row_in(place) && !message_row_shows(row_in(place), &desc))
            break;
    }
    remove_from(list, place);
    for (guint i = kept; i < path->len; i++)
        gtk_box_append(GTK_BOX(list->places), gtk_box_new(GTK_ORIENTATION_VERTICAL, 0));
    list->begin = MIN(list->begin, kept);
    list->end = MIN(list->end, kept);
    if (list->begin == list->end) /* no row is left: the newest first */
        list->begin = list->end = path->len > FIRST_ROWS ? path->len - FIRST_ROWS : 0;
}

static void make_row(struct message_list *list, const GPtrArray *path, guint index)
{
    struct message_row_desc desc = row_desc(list, path->pdata[index]);
    GtkWidget *row = message_row_new(&desc), *place = gtk_widget_get_first_child(list->places);
    for (guint i = 0; i < index; i++)
        place = gtk_widget_get_next_sibling(place);
    gtk_widget_set_margin_bottom(row, ROW_SPACING);
    gtk_box_append(GTK_BOX(place), row);
    if (desc.running) {
        list->follow = TRUE;
        response_view_update(message_row_response(row), chat_response(list->chat), desc.message->text);
    }
}

static gboolean fill(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)widget, (void)clock;
    struct message_list *list = data;
    GPtrArray *path = chat_path(list->chat);
    gint64 late = g_get_monotonic_time() + PIECE_US;
    while (list->filling && g_get_monotonic_time() < late) {
        if (list->end < path->len)
            make_row(list, path, list->end++);
        else if (list->begin)
            make_row(list, path, --list->begin);
        else
            list->filling = FALSE;
    }
    g_ptr_array_unref(path);
    return list->filling ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

void message_list_show(struct message_list *list, const struct chat *chat,
                       const struct preferences *preferences, gboolean animated)
{
    GPtrArray *path = chat_path(chat);
    const struct conversation *conversation = chat_conversation(chat);
    gint64 id = conversation ? conversation->id : 0;
    if (id != list->conversation) {
        list->follow = TRUE;
        remove_from(list, gtk_widget_get_first_child(list->places));
    }
    list->conversation = id;
    list->chat = chat;
    list->preferences = preferences;
    list->animated = animated;
    lay_places(list, path);
    for (guint rows = 0; list->end < path->len && rows < FIRST_ROWS; rows++)
        make_row(list, path, list->end++);
    if (!list->filling)
        gtk_widget_add_tick_callback(list->places, fill, list, NULL);
    list->filling = TRUE;
    gtk_stack_set_visible_child_name(GTK_STACK(list->stack), path->len || id ? "messages" : "welcome");
    g_ptr_array_unref(path);
}

void message_list_set_rounds(struct message_list *list, gboolean rounds)
{
    list->rounds = rounds;
}

/* The last message's. */
static ResponseView *running_view(struct message_list *list, gint64 *id)
{
    GtkWidget *place = gtk_widget_get_last_child(list->places);
    GtkWidget *row = place ? row_in(place) : NULL;
    if (row)
        *id = message_row_id(row);
    return row ? message_row_response(row) : NULL;
}

void message_list_update(struct message_list *list, const struct chat *chat)
{
    gint64 id;
    ResponseView *view = running_view(list, &id);
    const struct message *running = chat_running(chat);
    if (view && running && id == running->id)
        response_view_update(view, chat_response(chat), running->text);
}

void message_list_set_animated(struct message_list *list, gboolean animated)
{
    gint64 id;
    ResponseView *view = running_view(list, &id);
    if (view)
        response_view_set_animated(view, animated);
}
