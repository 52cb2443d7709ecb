#include "apps/desktop/message_bar.h"

#include "apps/desktop/tip.h"

static void on_response(GtkInfoBar *bar, int response, gpointer data)
{
    (void)response, (void)data;
    gtk_info_bar_set_revealed(bar, FALSE);
}

GtkWidget *message_bar_new(GtkMessageType type, GtkWidget **words)
{
    GtkWidget *bar = gtk_info_bar_new();
    gtk_info_bar_set_message_type(GTK_INFO_BAR(bar), type);
    gtk_info_bar_set_revealed(GTK_INFO_BAR(bar), FALSE);
    *words = gtk_label_new("");
    gtk_label_set_wrap(GTK_LABEL(*words), TRUE);
    gtk_label_set_wrap_mode(GTK_LABEL(*words), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_xalign(GTK_LABEL(*words), 0);
    gtk_label_set_selectable(GTK_LABEL(*words), TRUE);
    gtk_widget_set_hexpand(*words, TRUE);
    gtk_info_bar_add_child(GTK_INFO_BAR(bar), *words);
    GtkWidget *close =
        gtk_button_new_from_icon_name("window-close-symbolic"); /* GTK's own has no name to read */
    gtk_widget_add_css_class(close, "flat");
    gtk_widget_set_valign(close, GTK_ALIGN_CENTER);
    tip_and_name_set(close, "Close this message");
    gtk_info_bar_add_action_widget(GTK_INFO_BAR(bar), close, GTK_RESPONSE_CLOSE);
    g_signal_connect(bar, "response", G_CALLBACK(on_response), NULL);
    return bar;
}

void message_bar_show(GtkWidget *bar, GtkWidget *words, const char *text)
{
    gtk_label_set_text(GTK_LABEL(words), text);
    gtk_accessible_update_property(GTK_ACCESSIBLE(bar), GTK_ACCESSIBLE_PROPERTY_LABEL, text, -1);
    gtk_info_bar_set_revealed(GTK_INFO_BAR(bar), TRUE);
}
