#include "apps/desktop/dialogs.h"

#include <string.h>

/* ---- One line ------------------------------------------------------------------------------------------ */

struct line_dialog {
    GtkWidget *window, *entry, *agree;
    gint64 id;
    dialog_text_fn done;
    gpointer user;
};

static void on_agree(GtkWidget *widget, struct line_dialog *d)
{
    (void)widget;
    char *text = g_strstrip(g_strdup(gtk_editable_get_text(GTK_EDITABLE(d->entry))));
    if (*text) {
        d->done(d->user, d->id, text);
        gtk_window_destroy(GTK_WINDOW(d->window));
    }
    g_free(text);
}

static void on_cancel(GtkWidget *widget, struct line_dialog *d)
{
    (void)widget;
    gtk_window_destroy(GTK_WINDOW(d->window));
}

static void on_line_changed(GtkEditable *entry, struct line_dialog *d)
{
    char *text = g_strstrip(g_strdup(gtk_editable_get_text(entry)));
    gtk_widget_set_sensitive(d->agree, *text != '\0');
    g_free(text);
}

static gboolean on_escape(GtkWidget *widget, GVariant *arguments, gpointer data)
{
    (void)arguments, (void)data;
    gtk_window_destroy(GTK_WINDOW(widget));
    return TRUE;
}

void dialog_ask_line(GtkWindow *parent, const char *title, const char *button, const char *text, gint64 id,
                     dialog_text_fn done, gpointer user)
{
    struct line_dialog *d = g_new0(struct line_dialog, 1);
    *d = (struct line_dialog){.window = gtk_window_new(),
                              .entry = gtk_entry_new(),
                              .agree = gtk_button_new_with_mnemonic(button),
                              .id = id,
                              .done = done,
                              .user = user};
    gtk_window_set_title(GTK_WINDOW(d->window), title);
    gtk_window_set_transient_for(GTK_WINDOW(d->window), parent);
    gtk_window_set_modal(GTK_WINDOW(d->window), TRUE);
    gtk_window_set_default_size(GTK_WINDOW(d->window), 420, -1);
    gtk_editable_set_text(GTK_EDITABLE(d->entry), text);
    gtk_accessible_update_property(GTK_ACCESSIBLE(d->entry), GTK_ACCESSIBLE_PROPERTY_LABEL, title, -1);
    GtkWidget *cancel = gtk_button_new_with_mnemonic("_Cancel");
    GtkWidget *header = gtk_header_bar_new();
    gtk_header_bar_set_show_title_buttons(GTK_HEADER_BAR(header), FALSE);
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), cancel);
    gtk_header_bar_pack_end(GTK_HEADER_BAR(header), d->agree);
    gtk_widget_add_css_class(d->agree, "suggested-action");
    gtk_window_set_titlebar(GTK_WINDOW(d->window), header);
    gtk_widget_set_margin_top(d->entry, 18);
    gtk_widget_set_margin_bottom(d->entry, 18);
    gtk_widget_set_margin_start(d->entry, 18);
    gtk_widget_set_margin_end(d->entry, 18);
    gtk_window_set_child(GTK_WINDOW(d->window), d->entry);
    g_signal_connect(d->entry, "activate", G_CALLBACK(on_agree), d);
    g_signal_connect(d->entry, "changed", G_CALLBACK(on_line_changed), d);
    g_signal_connect(d->agree, "clicked", G_CALLBACK(on_agree), d);
    g_signal_connect(cancel, "clicked", G_CALLBACK(on_cancel), d);
    GtkEventController *keys = gtk_shortcut_controller_new();
    gtk_shortcut_controller_add_shortcut(GTK_SHORTCUT_CONTROLLER(keys),
                                         gtk_shortcut_new(gtk_keyval_trigger_new(GDK_KEY_Escape, 0),
                                                          gtk_callback_action_new(on_escape, NULL, NULL)));
    gtk_widget_add_controller(d->window, keys);
    g_object_set_data_full(G_OBJECT(d->window), "refusion-dialog", d, g_free);
    gtk_window_present(GTK_WINDOW(d->window));
}

/* ---- Saving -------------------------------------------------------------------------------------------- */

struct save_dialog {
    GBytes *text;
    void (*failed)(gpointer user, const char *message);
    gpointer user;
};

static void save_dialog_free(struct save_dialog *d)
{
    g_bytes_unref(d->text);
    g_free(d);
}

static void on_written(GObject *object, GAsyncResult *result, gpointer data)
{
    struct save_dialog *d = data;
    GError *error = NULL;
    if (!g_file_replace_contents_finish(G_FILE(object), result, NULL, &error)) {
        d->failed(d->user, error->message);
        g_error_free(error);
    }
    save_dialog_free(d);
}

static void on_save(GtkNativeDialog *dialog, int response, struct save_dialog *d)
{
    GFile *file =
        response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog)) : NULL;
    if (file) {
        g_file_replace_contents_bytes_async(file, d->text, NULL, FALSE, G_FILE_CREATE_NONE, NULL, on_written,
                                            d);
        g_object_unref(file);
    } else {
        save_dialog_free(d);
    }
    gtk_native_dialog_destroy(dialog);
    g_object_unref(dialog);
}

void dialog_save_text(GtkWindow *parent, const char *suggested_name, char *text,
                      void (*failed)(gpointer user, const char *message), gpointer user)
{
    struct save_dialog *d = g_new0(struct save_dialog, 1);
    *d = (struct save_dialog){.text = g_bytes_new_take(text, strlen(text)), .failed = failed, .user = user};
    GtkFileChooserNative *dialog = gtk_file_chooser_native_new(
        "Export to Markdown", parent, GTK_FILE_CHOOSER_ACTION_SAVE, "_Save", "_Cancel");
    char *name = g_strdelimit(g_strdup(suggested_name), "/\\:*?\"<>|", '-');
    char *file = g_strconcat(name, ".md", NULL);
    gtk_file_chooser_set_current_name(GTK_FILE_CHOOSER(dialog), file);
    g_signal_connect(dialog, "response", G_CALLBACK(on_save), d);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
    g_free(file);
    g_free(name);
}
