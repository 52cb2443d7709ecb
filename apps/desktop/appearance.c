#include "apps/desktop/appearance.h"

#include <gtk/gtk.h>

static struct {
    GCancellable *cancellable;
    GDBusConnection *bus;
    guint subscription;
    gboolean system_dark; /* as the desktop's settings portal says, or the theme where there is no portal */
    enum colour_scheme colours;
    int base_dpi; /* as GTK has it: 1024 times the dots per inch */
} looks;

static const char portal_name[] = "org.freedesktop.portal.Desktop",
                  portal_path[] = "/org/freedesktop/portal/desktop",
                  portal_interface[] = "org.freedesktop.portal.Settings",
                  appearance_namespace[] = "org.freedesktop.appearance";

static void show(void)
{
    gboolean dark = looks.colours == COLOURS_DARK || (looks.colours == COLOURS_SYSTEM && looks.system_dark);
    g_object_set(gtk_settings_get_default(), "gtk-application-prefer-dark-theme", dark, NULL);
}

/* The portal's number: 1 dark, 2 light, 0 no wish; in one or two layers of variants. */
static void take_scheme(GVariant *value)
{
    GVariant *inner = g_variant_ref(value);
    while (g_variant_is_of_type(inner, G_VARIANT_TYPE_VARIANT)) {
        GVariant *next = g_variant_get_variant(inner);
        g_variant_unref(inner);
        inner = next;
    }
    if (g_variant_is_of_type(inner, G_VARIANT_TYPE_UINT32))
        looks.system_dark = g_variant_get_uint32(inner) == 1;
    g_variant_unref(inner);
    show();
}

static void on_setting(GDBusConnection *bus, const char *sender, const char *path, const char *interface,
                       const char *signal, GVariant *arguments, gpointer data)
{
    (void)bus, (void)sender, (void)path, (void)interface, (void)signal, (void)data;
    const char *space, *key;
    GVariant *value;
    g_variant_get(arguments, "(&s&s@v)", &space, &key, &value);
    if (g_str_equal(space, appearance_namespace) && g_str_equal(key, "color-scheme"))
        take_scheme(value);
    g_variant_unref(value);
}

static void on_read(GObject *object, GAsyncResult *result, gpointer data)
{
    (void)data;
    GVariant *answer = g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, NULL);
    if (!answer) /* no portal: what the theme says stays */
        return;
    GVariant *value = g_variant_get_child_value(answer, 0);
    take_scheme(value);
    g_variant_unref(value);
    g_variant_unref(answer);
}

static void on_bus(GObject *object, GAsyncResult *result, gpointer data)
{
    (void)object, (void)data;
    GDBusConnection *bus = g_bus_get_finish(result, NULL);
    if (!bus)
        return;
    looks.bus = bus;
    looks.subscription =
        g_dbus_connection_signal_subscribe(bus, portal_name, portal_interface, "SettingChanged", portal_path,
                                           NULL, G_DBUS_SIGNAL_FLAGS_NONE, on_setting, NULL, NULL);
    g_dbus_connection_call(bus, portal_name, portal_path, portal_interface, "Read",
                           g_variant_new("(ss)", appearance_namespace, "color-scheme"), G_VARIANT_TYPE("(v)"),
                           G_DBUS_CALL_FLAGS_NONE, 2000, looks.cancellable, on_read, NULL);
}

void appearance_start(void)
{
    g_object_get(gtk_settings_get_default(), "gtk-application-prefer-dark-theme", &looks.system_dark,
                 "gtk-xft-dpi", &looks.base_dpi, NULL);
    if (looks.base_dpi <= 0)
        looks.base_dpi = 96 * PANGO_SCALE;
    looks.cancellable = g_cancellable_new();
    g_bus_get(G_BUS_TYPE_SESSION, looks.cancellable, on_bus, NULL);
    GtkCssProvider *style = gtk_css_provider_new();
    gtk_css_provider_load_from_resource(style, "/org/refusion/Desktop/style.css");
    gtk_style_context_add_provider_for_display(gdk_display_get_default(), GTK_STYLE_PROVIDER(style),
                                               GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
    g_object_unref(style);
}

void appearance_apply(const struct preferences *preferences)
{
    looks.colours = preferences->colours;
    g_object_set(gtk_settings_get_default(), "gtk-xft-dpi",
                 looks.base_dpi * (int)preferences->text_percent / 100, NULL);
    show();
}

void appearance_stop(void)
{
    if (looks.bus)
        g_dbus_connection_signal_unsubscribe(looks.bus, looks.subscription);
    if (looks.cancellable)
        g_cancellable_cancel(looks.cancellable);
    g_clear_object(&looks.bus);
    g_clear_object(&looks.cancellable);
}
