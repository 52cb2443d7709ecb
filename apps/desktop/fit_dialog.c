#include "apps/desktop/fit_dialog.h"

struct fit_dialog {
    struct engine_event refusal; /* fit and device */
    fit_choice_fn done;
    void *user;
};

static void on_response(GtkDialog *dialog, int response, struct fit_dialog *d)
{
    struct fit_dialog copy = *d; /* it goes with the dialog */
    gtk_window_destroy(GTK_WINDOW(dialog));
    copy.done(copy.user, response >= 0 ? (enum fit_choice)response : FIT_CANCEL, &copy.refusal);
}

void fit_dialog_ask(GtkWindow *parent, const struct engine_event *refusal, fit_choice_fn done, void *user)
{
    const struct engine_fit *fit = &refusal->fit;
    struct fit_dialog *d = g_new0(struct fit_dialog, 1);
    d->refusal.fit = *fit;
    d->refusal.device = refusal->device;
    d->done = done;
    d->user = user;
    char *name = g_path_get_basename(refusal->target.model),
         *words = engine_fit_words(fit, refusal->device.name);
    GtkWidget *dialog =
        gtk_message_dialog_new(parent, GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_QUESTION, GTK_BUTTONS_NONE, "%s does not fit", name);
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "It would take %s", words);
    gtk_window_set_title(GTK_WINDOW(dialog), "Does not fit");
    g_free(words);
    g_free(name);
    if (fit->smaller_type) {
        char *label = g_strdup_printf("Use _smaller weights (%s)", fit->smaller_type);
        gtk_dialog_add_button(GTK_DIALOG(dialog), label, FIT_SMALLER);
        g_free(label);
    }
    if (fit->shorter) {
        char *label = g_strdup_printf("_Shorter conversations (%u tokens)", fit->shorter);
        gtk_dialog_add_button(GTK_DIALOG(dialog), label, FIT_SHORTER);
        g_free(label);
    }
    gtk_dialog_add_button(GTK_DIALOG(dialog), "Se_ttings…", FIT_SETTINGS);
    gtk_dialog_add_button(GTK_DIALOG(dialog), "Load it _all the same", FIT_ALTHOUGH);
    gtk_dialog_add_button(GTK_DIALOG(dialog), "_Cancel", FIT_CANCEL);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), fit->shorter        ? FIT_SHORTER
                                                        : fit->smaller_type ? FIT_SMALLER
                                                                            : FIT_SETTINGS);
    GtkWidget *box = gtk_message_dialog_get_message_area(GTK_MESSAGE_DIALOG(dialog));
    gtk_widget_set_size_request(box, 320, -1);
    g_object_set_data_full(G_OBJECT(dialog), "refusion-dialog", d, g_free);
    g_signal_connect(dialog, "response", G_CALLBACK(on_response), d);
    gtk_window_present(GTK_WINDOW(dialog));
}
