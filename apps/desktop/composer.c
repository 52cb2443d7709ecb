#include "apps/desktop/composer.h"

#include "apps/desktop/tip.h"

#include <string.h>

enum { LOWEST = 48, TALLEST = 180 /* pixels of the text; what is taller scrolls */ };

struct composer {
    struct composer_listener listener;
    void *user;
    GtkWidget *box, *text, *button, *preset, *status, *meter, *loading, *bar, *editing, *explanation;
    gboolean running, filling;
};

static char *typed(struct composer *c)
{
    char *text;
    g_object_get(gtk_text_view_get_buffer(GTK_TEXT_VIEW(c->text)), "text", &text, NULL);
    return g_strstrip(text);
}

static void send(struct composer *c)
{
    char *text = typed(c);
    if (*text && !c->running) {
        composer_set_text(c, "");
        c->listener.send(c->user, text);
    }
    g_free(text);
}

static gboolean on_key(GtkEventControllerKey *keys, guint key, guint code, GdkModifierType state,
                       struct composer *c)
{
    (void)keys, (void)code;
    gboolean enter = key == GDK_KEY_Return || key == GDK_KEY_KP_Enter || key == GDK_KEY_ISO_Enter;
    if (!enter || (state & (GDK_SHIFT_MASK | GDK_ALT_MASK)))
        return GDK_EVENT_PROPAGATE;
    send(c);
    return GDK_EVENT_STOP;
}

static void update_button(struct composer *c)
{
    char *text = typed(c);
    gtk_widget_set_sensitive(c->button, c->running || *text);
    g_free(text);
}

static void on_button(GtkButton *button, struct composer *c)
{
    (void)button;
    if (c->running)
        gtk_widget_activate_action(c->box, "win.stop", NULL);
    else
        send(c);
}

static void on_typed(GtkTextBuffer *buffer, struct composer *c)
{
    (void)buffer;
    update_button(c);
}

static gboolean resize_again(GtkWidget *text, GdkFrameClock *clock, gpointer data)
{
    (void)clock, (void)data;
    gtk_widget_queue_resize(text);
    return G_SOURCE_REMOVE;
}

/* GTK gives the text room for a new line, and goes on scrolling as if it had not. */
static void on_resized(GtkAdjustment *adjustment, GtkWidget *text)
{
    if (gtk_adjustment_get_upper(adjustment) > gtk_adjustment_get_page_size(adjustment))
        gtk_widget_add_tick_callback(text, resize_again, NULL, NULL);
}

static void on_preset(GtkDropDown *drop, GParamSpec *property, struct composer *c)
{
    (void)property;
    const struct preset *preset = &presets[MIN(gtk_drop_down_get_selected(drop), PRESET_COUNT - 1)];
    tip_set(GTK_WIDGET(drop), preset->explanation);
    if (!c->filling)
        c->listener.preset(c->user, preset);
}

/* ---- Parts --------------------------------------------------------------------------------------------- */

static GtkWidget *new_loading(struct composer *c)
{
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 10);
    c->bar = gtk_progress_bar_new();
    gtk_progress_bar_set_show_text(GTK_PROGRESS_BAR(c->bar), TRUE);
    gtk_widget_set_hexpand(c->bar, TRUE);
    gtk_widget_set_valign(c->bar, GTK_ALIGN_CENTER);
    gtk_accessible_update_property(GTK_ACCESSIBLE(c->bar), GTK_ACCESSIBLE_PROPERTY_LABEL, "Loading the model",
                                   -1);
    GtkWidget *cancel = gtk_button_new_with_label("Cancel");
    gtk_actionable_set_action_name(GTK_ACTIONABLE(cancel), "win.stop");
    gtk_box_append(GTK_BOX(row), c->bar);
    gtk_box_append(GTK_BOX(row), cancel);
    gtk_widget_set_visible(row, FALSE);
    return row;
}

static GtkWidget *new_editing(void)
{
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 10);
    GtkWidget *label =
        gtk_label_new("Editing an earlier question: what you send becomes a branch of its own.");
    gtk_widget_add_css_class(label, "note");
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_widget_set_hexpand(label, TRUE);
    GtkWidget *cancel = gtk_button_new_with_label("Leave as it is");
    gtk_actionable_set_action_name(GTK_ACTIONABLE(cancel), "win.cancel-edit");
    gtk_box_append(GTK_BOX(row), label);
    gtk_box_append(GTK_BOX(row), cancel);
    gtk_widget_set_visible(row, FALSE);
    return row;
}

static GtkWidget *new_question(struct composer *c)
{
    GtkWidget *frame = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
    gtk_widget_add_css_class(frame, "question-frame");
    c->text = gtk_text_view_new();
    gtk_text_view_set_wrap_mode(GTK_TEXT_VIEW(c->text), GTK_WRAP_WORD_CHAR);
    gtk_text_view_set_accepts_tab(GTK_TEXT_VIEW(c->text), FALSE);
    gtk_accessible_update_property(GTK_ACCESSIBLE(c->text), GTK_ACCESSIBLE_PROPERTY_LABEL, "Your question",
                                   GTK_ACCESSIBLE_PROPERTY_MULTI_LINE, TRUE, -1);
    GtkEventController *keys = gtk_event_controller_key_new();
    gtk_event_controller_set_propagation_phase(keys, GTK_PHASE_CAPTURE);
    g_signal_connect(keys, "key-pressed", G_CALLBACK(on_key), c);
    gtk_widget_add_controller(c->text, keys);
    g_signal_connect(gtk_text_view_get_buffer(GTK_TEXT_VIEW(c->text)), "changed", G_CALLBACK(on_typed), c);
    GtkWidget *scroll = gtk_scrolled_window_new();
    /* It scrolls with the cursor, without a bar: GTK's, that comes and goes as the text grows, warns now and then that it
     * is drawn before it has a size. */
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroll), GTK_POLICY_NEVER, GTK_POLICY_EXTERNAL);
    gtk_scrolled_window_set_min_content_height(GTK_SCROLLED_WINDOW(scroll), LOWEST);
    gtk_scrolled_window_set_propagate_natural_height(GTK_SCROLLED_WINDOW(scroll), TRUE);
    gtk_scrolled_window_set_max_content_height(GTK_SCROLLED_WINDOW(scroll), TALLEST);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), c->text);
    gtk_widget_set_hexpand(scroll, TRUE);
    g_signal_connect(gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(scroll)), "changed",
                     G_CALLBACK(on_resized), c->text);
    c->button = gtk_button_new();
    gtk_widget_add_css_class(c->button, "circular");
    gtk_widget_add_css_class(c->button, "suggested-action");
    gtk_widget_set_valign(c->button, GTK_ALIGN_END);
    g_signal_connect(c->button, "clicked", G_CALLBACK(on_button), c);
    gtk_box_append(GTK_BOX(frame), scroll);
    gtk_box_append(GTK_BOX(frame), c->button);
    return frame;
}

static GtkWidget *new_status(struct composer *c)
{
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 10);
    GtkStringList *names = gtk_string_list_new(NULL);
    for (guint i = 0; i < PRESET_COUNT; i++)
        gtk_string_list_append(names, presets[i].title);
    c->preset = gtk_drop_down_new(G_LIST_MODEL(names), NULL);
    drop_down_name_set(c->preset, "Preset");
    g_signal_connect(c->preset, "notify::selected", G_CALLBACK(on_preset), c);
    /* A name that changes in this role is what GTK before 4.14 has for announcements. */
    c->status = g_object_new(GTK_TYPE_LABEL, "accessible-role", GTK_ACCESSIBLE_ROLE_STATUS, NULL);
    gtk_widget_add_css_class(c->status, "meter");
    gtk_label_set_ellipsize(GTK_LABEL(c->status), PANGO_ELLIPSIZE_END);
    c->meter = gtk_label_new("");
    gtk_widget_add_css_class(c->meter, "meter");
    gtk_label_set_ellipsize(GTK_LABEL(c->meter), PANGO_ELLIPSIZE_END);
    gtk_label_set_xalign(GTK_LABEL(c->meter), 1);
    gtk_widget_set_hexpand(c->meter, TRUE);
    gtk_box_append(GTK_BOX(row), c->preset);
    gtk_box_append(GTK_BOX(row), c->status);
    gtk_box_append(GTK_BOX(row), c->meter);
    return row;
}

/* ---- The composer -------------------------------------------------------------------------------------- */

struct composer *composer_new(const struct composer_listener *listener, void *user)
{
    struct composer *c = g_new0(struct composer, 1);
    c->listener = *listener;
    c->user = user;
    c->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 8);
    gtk_widget_add_css_class(c->box, "composer");
    c->loading = new_loading(c);
    c->editing = new_editing();
    gtk_box_append(GTK_BOX(c->box), c->loading);
    gtk_box_append(GTK_BOX(c->box), c->editing);
    gtk_box_append(GTK_BOX(c->box), new_question(c));
    gtk_box_append(GTK_BOX(c->box), new_status(c));
    composer_set_running(c, FALSE);
    return c;
}

void composer_free(struct composer *c)
{
    g_free(c);
}

GtkWidget *composer_widget(struct composer *c)
{
    return c->box;
}

void composer_focus(struct composer *c)
{
    gtk_widget_grab_focus(c->text);
}

void composer_set_text(struct composer *c, const char *text)
{
    gtk_text_buffer_set_text(gtk_text_view_get_buffer(GTK_TEXT_VIEW(c->text)), text, -1);
}

void composer_set_running(struct composer *c, gboolean running)
{
    c->running = running;
    gtk_button_set_icon_name(GTK_BUTTON(c->button),
                             running ? "media-playback-stop-symbolic" : "go-up-symbolic");
    tip_and_name_set(c->button, running ? "Stop the answer" : "Send the question");
    update_button(c);
}

void composer_set_editing(struct composer *c, gboolean editing)
{
    gtk_widget_set_visible(c->editing, editing);
}

void composer_set_preset(struct composer *c, const struct preset *preset)
{
    c->filling = TRUE;
    gtk_drop_down_set_selected(GTK_DROP_DOWN(c->preset), (guint)(preset - presets));
    tip_set(c->preset, preset->explanation);
    c->filling = FALSE;
}

void composer_set_loading(struct composer *c, const char *words, double fraction)
{
    gtk_widget_set_visible(c->loading, words != NULL);
    if (!words)
        return;
    gtk_progress_bar_set_text(GTK_PROGRESS_BAR(c->bar), words);
    if (fraction < 0)
        gtk_progress_bar_pulse(GTK_PROGRESS_BAR(c->bar));
    else
        gtk_progress_bar_set_fraction(GTK_PROGRESS_BAR(c->bar), fraction);
}

void composer_announce(struct composer *c, const char *words)
{
    gtk_label_set_text(GTK_LABEL(c->status), words);
    gtk_accessible_update_property(GTK_ACCESSIBLE(c->status), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
}

void composer_set_meter(struct composer *c, const char *words)
{
    gtk_label_set_text(GTK_LABEL(c->meter), words);
}
