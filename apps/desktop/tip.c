#include "apps/desktop/tip.h"

static const char tip_key[] = "refusion-tip";

static gboolean on_query(GtkWidget *widget, int x, int y, gboolean keyboard, GtkTooltip *tooltip,
                         gpointer data)
{
    (void)x, (void)y, (void)keyboard, (void)data;
    gtk_tooltip_set_text(tooltip, g_object_get_data(G_OBJECT(widget), tip_key));
    return TRUE;
}

void tip_set(GtkWidget *widget, const char *words)
{
    gboolean first = !g_object_get_data(G_OBJECT(widget), tip_key);
    g_object_set_data_full(G_OBJECT(widget), tip_key, g_strdup(words), g_free);
    if (!first)
        return;
    gtk_widget_set_has_tooltip(widget, TRUE);
    g_signal_connect(widget, "query-tooltip", G_CALLBACK(on_query), NULL);
}

void tip_and_name_set(GtkWidget *widget, const char *words)
{
    tip_set(widget, words);
    gtk_accessible_update_property(GTK_ACCESSIBLE(widget), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
}

void drop_down_name_set(GtkWidget *drop, const char *words)
{
    GtkWidget *button = gtk_widget_get_first_child(drop);
    gtk_accessible_update_property(GTK_ACCESSIBLE(drop), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
    if (button)
        gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
}
