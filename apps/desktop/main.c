/* refusion-desktop: asks ReFusion models on this computer, and shows how they answer. */
#include "apps/desktop/gap_probe.h"
#include "apps/desktop/message_row.h"
#include "apps/desktop/window.h"
#include "apps/refusion/data_dir.h"

#include <gtksourceview/gtksource.h>
#include <limits.h>

struct program {
    GtkApplication *application;
    struct window *window;
};

/* The tiny model: beside an installed program, else in the tree that it was built in. */
static char *default_model(void)
{
    char root[PATH_MAX];
    if (!data_dir(root, sizeof root, "models/tiny/config.json"))
        return g_strdup("models/tiny"); /* whoever asks is told that it is not there */
    char *path = g_build_filename(root, "models", "tiny", NULL);
    char *plain = g_canonicalize_filename(path, NULL); /* it is shown */
    g_free(path);
    return plain;
}

static void on_activate(GApplication *application, struct program *program)
{
    if (!program->window) {
        char *model = default_model();
        gtk_source_init();
        program->window = window_new(GTK_APPLICATION(application), model);
        gap_probe_start();
        g_free(model);
    }
    window_present(program->window);
}

static void on_quit(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action, (void)parameter;
    g_application_quit(G_APPLICATION(((struct program *)data)->application));
}

int main(int argc, char **argv)
{
    struct program program = {0};
    static const GActionEntry actions[] = {{.name = "quit", .activate = on_quit}};
    g_set_application_name("refusion");
    program.application = gtk_application_new("org.refusion.Desktop", G_APPLICATION_DEFAULT_FLAGS);
    g_action_map_add_action_entries(G_ACTION_MAP(program.application), actions, G_N_ELEMENTS(actions),
                                    &program);
    gtk_application_set_accels_for_action(program.application, "app.quit",
                                          (const char *[]){"<Control>q", NULL});
    g_signal_connect(program.application, "activate", G_CALLBACK(on_activate), &program);
    int status = g_application_run(G_APPLICATION(program.application), argc, argv);
    gap_probe_stop();
    if (program.window)
        window_free(program.window);
    g_object_unref(program.application);
    return status;
}
