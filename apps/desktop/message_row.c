#include "apps/desktop/message_row.h"

#include "apps/desktop/blocks.h"
#include "apps/desktop/response.h"
#include "apps/desktop/tip.h"

#include <gtksourceview/gtksource.h>
#include <math.h>
#include <string.h>

struct row_data {
    gint64 id;
    guint branch, branches;
    gboolean running, rounds;
    char *finish;
    ResponseView *response; /* borrowed */
};

static const char row_key[] = "refusion-message";

static void row_data_free(gpointer data)
{
    struct row_data *row = data;
    g_free(row->finish);
    g_free(row);
}

static struct row_data *row_data(GtkWidget *row)
{
    return g_object_get_data(G_OBJECT(row), row_key);
}

/* ---- Code ---------------------------------------------------------------------------------------------- */

/* The name that people write after a fence to the name of GtkSourceView. */
static const char *const language_names[][2] = {
    {"bash", "sh"},        {"shell", "sh"},  {"c++", "cpp"},        {"javascript", "js"}, {"py", "python"},
    {"python", "python3"}, {"golang", "go"}, {"csharp", "c-sharp"}, {"md", "markdown"}};

static GtkSourceLanguage *find_language(const char *name)
{
    GtkSourceLanguageManager *manager = gtk_source_language_manager_get_default();
    if (!name)
        return NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(language_names); i++)
        if (g_str_equal(language_names[i][0], name))
            name = language_names[i][1];
    return gtk_source_language_manager_get_language(manager, name);
}

static void set_scheme(GtkSourceBuffer *buffer, gboolean dark)
{
    GtkSourceStyleSchemeManager *manager = gtk_source_style_scheme_manager_get_default();
    GtkSourceStyleScheme *scheme =
        gtk_source_style_scheme_manager_get_scheme(manager, dark ? "Adwaita-dark" : "Adwaita");
    gtk_source_buffer_set_style_scheme(buffer, scheme);
}

static void on_dark_changed(GtkSettings *settings, GParamSpec *property, GtkSourceBuffer *buffer)
{
    (void)property;
    gboolean dark;
    g_object_get(settings, "gtk-application-prefer-dark-theme", &dark, NULL);
    set_scheme(buffer, dark);
}

static void copy_text(GtkWidget *widget, const char *text)
{
    gdk_clipboard_set_text(gtk_widget_get_clipboard(widget), text);
}

static void on_copy_code(GtkButton *button, GtkTextBuffer *buffer)
{
    char *text;
    g_object_get(buffer, "text", &text, NULL);
    copy_text(GTK_WIDGET(button), text);
    g_free(text);
}

static GtkWidget *new_icon_button(const char *icon, const char *words)
{
    GtkWidget *button = gtk_button_new_from_icon_name(icon);
    gtk_widget_add_css_class(button, "flat");
    tip_and_name_set(button, words);
    return button;
}

/* Code scrolls sideways alone, but GTK 4.8's scrolled window then keeps what the wheel says of up and down to itself, and
 * whoever reads is stuck where the pointer meets code. */
static gboolean on_code_scrolled(GtkEventControllerScroll *controller, double dx, double dy, gpointer data)
{
    (void)dx, (void)data;
    GtkEventController *event = GTK_EVENT_CONTROLLER(controller);
    GtkWidget *outer = gtk_widget_get_parent(gtk_event_controller_get_widget(event));
    outer = outer ? gtk_widget_get_ancestor(outer, GTK_TYPE_SCROLLED_WINDOW) : NULL;
    if (!outer || dy == 0 || gtk_event_controller_get_current_event_state(event) & GDK_SHIFT_MASK)
        return FALSE;
    GtkAdjustment *adjustment = gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(outer));
    gboolean wheel = gtk_event_controller_scroll_get_unit(controller) == GDK_SCROLL_UNIT_WHEEL;
    double step = wheel ? pow(gtk_adjustment_get_page_size(adjustment), 2.0 / 3) : 1; /* GTK's own */
    gtk_adjustment_set_value(adjustment, gtk_adjustment_get_value(adjustment) + dy * step);
    return TRUE;
}

static GtkWidget *new_code_block(const char *text, gsize length, const char *language)
{
    GtkSourceBuffer *buffer = gtk_source_buffer_new(NULL);
    gtk_text_buffer_set_text(GTK_TEXT_BUFFER(buffer), text, (int)length);
    gtk_source_buffer_set_language(buffer, find_language(language));
    GtkSettings *settings = gtk_settings_get_default();
    on_dark_changed(settings, NULL, buffer);
    g_signal_connect_object(settings, "notify::gtk-application-prefer-dark-theme",
                            G_CALLBACK(on_dark_changed), buffer, 0);

    GtkWidget *view = gtk_source_view_new_with_buffer(buffer);
    gtk_text_view_set_editable(GTK_TEXT_VIEW(view), FALSE);
    gtk_text_view_set_monospace(GTK_TEXT_VIEW(view), TRUE);
    gtk_text_view_set_accepts_tab(GTK_TEXT_VIEW(view), FALSE); /* Tab leads on to the next control */
    gtk_accessible_update_property(GTK_ACCESSIBLE(view), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   language ? language : "Code", -1);
    GtkWidget *scroll = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroll), GTK_POLICY_AUTOMATIC, GTK_POLICY_NEVER);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), view);
    GtkEventController *wheel = gtk_event_controller_scroll_new(GTK_EVENT_CONTROLLER_SCROLL_VERTICAL);
    gtk_event_controller_set_propagation_phase(wheel, GTK_PHASE_CAPTURE);
    g_signal_connect(wheel, "scroll", G_CALLBACK(on_code_scrolled), NULL);
    gtk_widget_add_controller(scroll, wheel);

    GtkWidget *head = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    gtk_widget_add_css_class(head, "code-head");
    GtkWidget *name = gtk_label_new(language ? language : "code");
    gtk_widget_set_hexpand(name, TRUE);
    gtk_label_set_xalign(GTK_LABEL(name), 0);
    GtkWidget *copy = new_icon_button("edit-copy-symbolic", "Copy this code");
    g_signal_connect_object(copy, "clicked", G_CALLBACK(on_copy_code), buffer, 0);
    gtk_box_append(GTK_BOX(head), name);
    gtk_box_append(GTK_BOX(head), copy);

    GtkWidget *block = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    gtk_widget_add_css_class(block, "code");
    gtk_widget_set_overflow(block, GTK_OVERFLOW_HIDDEN);
    gtk_box_append(GTK_BOX(block), head);
    gtk_box_append(GTK_BOX(block), scroll);
    g_object_unref(buffer);
    return block;
}

void message_row_prepare(void)
{
    GtkWidget *block = g_object_ref_sink(new_code_block("def f():\n    return 1", 21, "python"));
    GtkTextIter begin, end;
    GtkWidget *view = gtk_scrolled_window_get_child(GTK_SCROLLED_WINDOW(gtk_widget_get_last_child(block)));
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(GTK_TEXT_VIEW(view));
    gtk_text_buffer_get_bounds(buffer, &begin, &end);
    gtk_source_buffer_ensure_highlight(GTK_SOURCE_BUFFER(buffer), &begin, &end);
    g_object_unref(block);
}

/* ---- Parts of a row ------------------------------------------------------------------------------------ */

/* A word that is broken gets no hyphen: it may be an address or a number. */
static void forbid_hyphens(PangoAttrList *list)
{
    pango_attr_list_insert(list, pango_attr_insert_hyphens_new(FALSE));
}

static GtkWidget *new_text(const char *text)
{
    GtkWidget *label = gtk_label_new(text);
    PangoAttrList *list = pango_attr_list_new();
    forbid_hyphens(list);
    gtk_label_set_attributes(GTK_LABEL(label), list);
    pango_attr_list_unref(list);
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_label_set_wrap_mode(GTK_LABEL(label), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_selectable(GTK_LABEL(label), TRUE);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    return label;
}

static GtkWidget *new_answer(const char *text)
{
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 8);
    GArray *blocks = blocks_split(text);
    for (guint i = 0; i < blocks->len; i++) {
        const struct block *block = &g_array_index(blocks, struct block, i);
        gsize length = block->end - block->begin;
        if (block->code) {
            gtk_box_append(GTK_BOX(box), new_code_block(text + block->begin, length, block->language));
        } else {
            char *prose = g_strndup(text + block->begin, length);
            gtk_box_append(GTK_BOX(box), new_text(g_strstrip(prose)));
            g_free(prose);
        }
    }
    g_array_unref(blocks);
    return box;
}

/* Once the label has a style, which says whether its ground is dark. */
static void on_rounds_mapped(GtkWidget *label, GBytes *rounds)
{
    struct rounds_reader reader;
    guint32 bytes, round, at = 0;
    gboolean dark = widget_is_dark(label);
    PangoAttrList *list = pango_attr_list_new();
    forbid_hyphens(list);
    for (rounds_begin(&reader, rounds); rounds_next(&reader, &bytes, &round); at += bytes) {
        GdkRGBA colour = round_colour(round, dark);
        PangoAttribute *paint = pango_attr_foreground_new(
            (guint16)(colour.red * 65535), (guint16)(colour.green * 65535), (guint16)(colour.blue * 65535));
        paint->start_index = at;
        paint->end_index = at + bytes;
        pango_attr_list_insert(list, paint);
    }
    gtk_label_set_attributes(GTK_LABEL(label), list);
    pango_attr_list_unref(list);
}

/* The text as it is, each token in the colour of the round that committed it. */
static GtkWidget *new_rounds(const struct message *message)
{
    GtkWidget *label = new_text(message->text);
    g_object_set_data_full(G_OBJECT(label), "refusion-rounds", g_bytes_ref(message->rounds),
                           (GDestroyNotify)g_bytes_unref);
    g_signal_connect(label, "map", G_CALLBACK(on_rounds_mapped), message->rounds);
    return label;
}

static GtkWidget *new_action_button(const char *icon, const char *words, const char *action, GVariant *target)
{
    GtkWidget *button = new_icon_button(icon, words);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    gtk_actionable_set_action_target_value(GTK_ACTIONABLE(button), target);
    return button;
}

static GtkWidget *new_branch_switch(const struct message_row_desc *desc)
{
    gint64 id = desc->message->id;
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 0);
    GtkWidget *back = new_action_button("go-previous-symbolic", "The branch before", "win.branch",
                                        g_variant_new("(xi)", id, -1));
    GtkWidget *on =
        new_action_button("go-next-symbolic", "The next branch", "win.branch", g_variant_new("(xi)", id, 1));
    char *words = g_strdup_printf("%u/%u", desc->branch, desc->branches);
    char *spoken = g_strdup_printf("Branch %u of %u", desc->branch, desc->branches);
    GtkWidget *label = gtk_label_new(words);
    gtk_accessible_update_property(GTK_ACCESSIBLE(label), GTK_ACCESSIBLE_PROPERTY_LABEL, spoken, -1);
    gtk_box_append(GTK_BOX(box), back);
    gtk_box_append(GTK_BOX(box), label);
    gtk_box_append(GTK_BOX(box), on);
    g_free(words);
    g_free(spoken);
    return box;
}

static char *remark(const struct message *message)
{
    GString *words = g_string_new(NULL);
    if (g_str_equal(message->finish, FINISH_STOPPED))
        g_string_append(words, "Stopped");
    else if (g_str_equal(message->finish, FINISH_INTERRUPTED))
        g_string_append(words, "Interrupted when the program ended");
    else if (g_str_equal(message->finish, FINISH_FAILED))
        g_string_append(words, "Failed");
    else if (g_str_equal(message->finish, "length"))
        g_string_append(words, "Cut at the most tokens");
    if (message->tokens && message->seconds > 0) {
        g_string_append_printf(words, "%s%u tokens in %.1f s", words->len ? " · " : "", message->tokens,
                               message->seconds);
        if (message->forwards)
            g_string_append_printf(words, ", %.1f a forward", (double)message->tokens / message->forwards);
    }
    return g_string_free(words, FALSE);
}

static GtkWidget *new_footer(const struct message_row_desc *desc)
{
    const struct message *message = desc->message;
    GtkWidget *footer = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 2);
    gtk_widget_add_css_class(footer, "message-footer");
    if (desc->branches > 1)
        gtk_box_append(GTK_BOX(footer), new_branch_switch(desc));
    gtk_box_append(GTK_BOX(footer), new_action_button("edit-copy-symbolic", "Copy this message", "win.copy",
                                                      g_variant_new_int64(message->id)));
    if (message->from_user)
        gtk_box_append(GTK_BOX(footer),
                       new_action_button("document-edit-symbolic", "Edit this question, in a new branch",
                                         "win.edit", g_variant_new_int64(message->id)));
    else
        gtk_box_append(GTK_BOX(footer),
                       new_action_button("view-refresh-symbolic", "Answer anew, in a new branch",
                                         "win.regenerate", g_variant_new_int64(message->id)));
    char *words = message->from_user ? g_strdup("") : remark(message);
    GtkWidget *label = gtk_label_new(words);
    gtk_widget_add_css_class(label, "remark");
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_widget_set_hexpand(label, TRUE);
    gtk_box_append(GTK_BOX(footer), label);
    g_free(words);
    return footer;
}

/* ---- Rows ---------------------------------------------------------------------------------------------- */

GtkWidget *message_row_new(const struct message_row_desc *desc)
{
    const struct message *message = desc->message;
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_VERTICAL, 4);
    struct row_data *data = g_new0(struct row_data, 1);
    *data = (struct row_data){.id = message->id,
                              .branch = desc->branch,
                              .branches = desc->branches,
                              .running = desc->running,
                              .rounds = desc->rounds,
                              .finish = g_strdup(message->finish)};
    g_object_set_data_full(G_OBJECT(row), row_key, data, row_data_free);
    gtk_widget_add_css_class(row, "message");
    gtk_widget_add_css_class(row, message->from_user ? "question" : "answer");
    GtkWidget *who = gtk_label_new(message->from_user ? "You" : "Answer");
    gtk_widget_add_css_class(who, "who");
    gtk_label_set_xalign(GTK_LABEL(who), 0);
    gtk_box_append(GTK_BOX(row), who);
    if (desc->running) {
        GtkWidget *view = response_view_new(desc->block, desc->max_tokens);
        data->response = DESKTOP_RESPONSE_VIEW(view);
        response_view_set_animated(data->response, desc->animated);
        gtk_box_append(GTK_BOX(row), view);
        return row;
    }
    gtk_box_append(GTK_BOX(row), message->from_user                ? new_text(message->text)
                                 : desc->rounds && message->rounds ? new_rounds(message)
                                                                   : new_answer(message->text));
    gtk_box_append(GTK_BOX(row), new_footer(desc));
    return row;
}

gint64 message_row_id(GtkWidget *row)
{
    return row_data(row)->id;
}

ResponseView *message_row_response(GtkWidget *row)
{
    return row_data(row)->response;
}

gboolean message_row_shows(GtkWidget *row, const struct message_row_desc *desc)
{
    const struct row_data *data = row_data(row);
    return data->id == desc->message->id && data->branch == desc->branch &&
           data->branches == desc->branches && data->running == desc->running &&
           data->rounds == desc->rounds && g_str_equal(data->finish, desc->message->finish);
}
