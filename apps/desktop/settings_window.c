#include "apps/desktop/settings_window.h"

#include "apps/desktop/tip.h"

#include <string.h>

enum { REST_MS = 200 };

struct settings_window {
    GtkWidget *window;
    struct preferences *preferences;
    const struct rf_device_info *devices;
    gsize device_count;
    struct settings_listener listener;
    void *user;
    GPtrArray *device_words; /* of the rows of `device`, for engine_target; NULL: the best */
    GtkWidget *model, *fit, *folder, *device, *explanation, *slot, *token, *slot_row, *token_row;
    guint estimate_timer;
    gboolean filling; /* controls are being set: nobody changed anything */
};

static void changed(struct settings_window *s)
{
    if (!s->filling)
        s->listener.changed(s->user);
}

/* ---- Parts --------------------------------------------------------------------------------------------- */

static GtkWidget *new_group(GtkWidget *page, const char *title)
{
    GtkWidget *label = gtk_label_new(title);
    gtk_widget_add_css_class(label, "heading");
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_box_append(GTK_BOX(page), label);
    GtkWidget *group = gtk_box_new(GTK_ORIENTATION_VERTICAL, 10);
    gtk_widget_add_css_class(group, "group");
    gtk_box_append(GTK_BOX(page), group);
    return group;
}

/* A control with its name before it; returns the row. */
static GtkWidget *add_row(GtkWidget *group, const char *name, GtkWidget *control)
{
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    GtkWidget *label = gtk_label_new_with_mnemonic(name);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_label_set_natural_wrap_mode(GTK_LABEL(label), GTK_NATURAL_WRAP_NONE);
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), control);
    gtk_widget_set_hexpand(label, TRUE);
    gtk_widget_set_valign(control, GTK_ALIGN_CENTER);
    gtk_accessible_update_relation(GTK_ACCESSIBLE(control), GTK_ACCESSIBLE_RELATION_LABELLED_BY, label, NULL,
                                   -1);
    if (GTK_IS_DROP_DOWN(control))
        drop_down_name_set(control, gtk_label_get_text(GTK_LABEL(label)));
    gtk_box_append(GTK_BOX(row), label);
    gtk_box_append(GTK_BOX(row), control);
    gtk_box_append(GTK_BOX(group), row);
    return row;
}

static GtkWidget *add_note(GtkWidget *group)
{
    GtkWidget *note = gtk_label_new("");
    gtk_widget_add_css_class(note, "note");
    gtk_label_set_wrap(GTK_LABEL(note), TRUE);
    gtk_label_set_xalign(GTK_LABEL(note), 0);
    gtk_label_set_max_width_chars(GTK_LABEL(note), 56);
    gtk_box_append(GTK_BOX(group), note);
    return note;
}

static GtkWidget *new_spin(double low, double high, double step, guint digits, double value)
{
    GtkWidget *spin = gtk_spin_button_new_with_range(low, high, step);
    gtk_spin_button_set_digits(GTK_SPIN_BUTTON(spin), digits);
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(spin), value);
    return spin;
}

static void show_preset(struct settings_window *s)
{
    const struct answer_settings *answers = &s->preferences->answers;
    const struct preset *preset = answers->preset;
    gtk_label_set_text(GTK_LABEL(s->explanation), preset->explanation);
    s->filling = TRUE;
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(s->slot),
                              answers->own_thresholds ? answers->slot_threshold : preset->slot_threshold);
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(s->token),
                              answers->own_thresholds ? answers->token_threshold : preset->token_threshold);
    s->filling = FALSE;
    gtk_widget_set_sensitive(s->slot_row, answers->own_thresholds);
    gtk_widget_set_sensitive(s->token_row, answers->own_thresholds);
}

void settings_window_estimated(struct settings_window *s, const struct engine_event *event)
{
    if (!engine_target_equal(&event->target, &s->preferences->target))
        return; /* another answer comes */
    char *words =
        event->message ? g_strdup(event->message) : engine_fit_words(&event->fit, event->device.name);
    gtk_label_set_text(GTK_LABEL(s->fit), words);
    g_free(words);
}

/* ---- Model and device ---------------------------------------------------------------------------------- */

static gboolean on_estimate(gpointer data)
{
    struct settings_window *s = data;
    s->estimate_timer = 0;
    gtk_label_set_text(GTK_LABEL(s->fit), "Looking whether it fits…");
    s->listener.estimate(s->user);
    return G_SOURCE_REMOVE;
}

/* Whoever turns a number has it estimated when it rests. */
static void target_changed(struct settings_window *s)
{
    if (s->estimate_timer)
        g_source_remove(s->estimate_timer);
    s->estimate_timer = g_timeout_add(REST_MS, on_estimate, s);
    changed(s);
}

static void set_model(struct settings_window *s, char *path)
{
    g_free(s->preferences->target.model);
    s->preferences->target.model = path;
    gtk_label_set_text(GTK_LABEL(s->model), path);
    target_changed(s);
}

static void on_chosen(GtkNativeDialog *dialog, int response, struct settings_window *s)
{
    GFile *file =
        response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog)) : NULL;
    char *path = file ? g_file_get_path(file) : NULL;
    if (path)
        set_model(s, path);
    else if (file)
        gtk_label_set_text(GTK_LABEL(s->fit),
                           "A model is read where it lies: it has to be on this computer.");
    g_clear_object(&file);
    gtk_native_dialog_destroy(dialog);
    g_object_unref(dialog);
}

static void choose(struct settings_window *s, const char *title, GtkFileChooserAction action)
{
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new(title, GTK_WINDOW(s->window), action, "_Choose", "_Cancel");
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_signal_connect(dialog, "response", G_CALLBACK(on_chosen), s);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void on_choose_folder(GtkButton *button, struct settings_window *s)
{
    (void)button;
    choose(s, "A model's folder", GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER);
}

static void on_choose_file(GtkButton *button, struct settings_window *s)
{
    (void)button;
    choose(s, "A GGUF file", GTK_FILE_CHOOSER_ACTION_OPEN);
}

/* Row 0 is "the best"; each other has the words by which the library finds its device. */
static void on_device(GtkDropDown *drop, GParamSpec *property, struct settings_window *s)
{
    (void)property;
    guint row = gtk_drop_down_get_selected(drop);
    if (s->filling || row >= s->device_words->len)
        return;
    g_free(s->preferences->target.device);
    s->preferences->target.device = g_strdup(s->device_words->pdata[row]);
    target_changed(s);
}

static void add_device(struct settings_window *s, GtkStringList *names, const char *name, char *words)
{
    gtk_string_list_append(names, name);
    g_ptr_array_add(s->device_words, words);
}

/* The library takes a part of a name too, so one that others hold does not say which is meant. */
static gboolean is_ambiguous(const struct settings_window *s, gsize device)
{
    for (gsize i = 0; i < s->device_count; i++)
        if (i != device && strstr(s->devices[i].name, s->devices[device].name))
            return TRUE;
    return FALSE;
}

static void fill_devices(struct settings_window *s)
{
    const char *chosen = s->preferences->target.device;
    GtkStringList *names = gtk_string_list_new(NULL);
    guint selected = 0;
    g_ptr_array_set_size(s->device_words, 0);
    add_device(s, names, "The best there is", NULL);
    for (gsize i = 0; i < s->device_count; i++) {
        const struct rf_device_info *device = &s->devices[i];
        gboolean by_index = is_ambiguous(s, i);
        char *words = by_index ? g_strdup_printf("%u", device->index) : g_strdup(device->name);
        char *name =
            by_index ? g_strdup_printf("%s, device %u", device->name, device->index) : g_strdup(device->name);
        if (device->missing[0] == '\0') {
            if (g_strcmp0(chosen, words) == 0)
                selected = s->device_words->len;
            add_device(s, names, name, g_strdup(words));
        }
        g_free(words);
        g_free(name);
    }
    if (chosen && !selected) { /* it can be seen what was chosen, and chosen anew */
        char *name = g_strconcat(chosen, s->device_count ? " (not there)" : "", NULL);
        selected = s->device_words->len;
        add_device(s, names, name, g_strdup(chosen));
        g_free(name);
    }
    s->filling = TRUE;
    gtk_drop_down_set_model(GTK_DROP_DOWN(s->device), G_LIST_MODEL(names));
    gtk_drop_down_set_selected(GTK_DROP_DOWN(s->device), selected);
    s->filling = FALSE;
    g_object_unref(names);
}

void settings_window_set_devices(struct settings_window *s, const struct rf_device_info *devices, gsize count)
{
    s->devices = devices;
    s->device_count = count;
    fill_devices(s);
}

static GtkWidget *new_device_drop(struct settings_window *s)
{
    s->device_words = g_ptr_array_new_with_free_func(g_free);
    s->device = gtk_drop_down_new(NULL, NULL);
    fill_devices(s);
    g_signal_connect(s->device, "notify::selected", G_CALLBACK(on_device), s);
    return s->device;
}

static void on_format(GtkDropDown *drop, GParamSpec *property, struct settings_window *s)
{
    (void)property;
    guint chosen = MIN(gtk_drop_down_get_selected(drop), WEIGHT_FORMAT_COUNT - 1);
    g_free(s->preferences->target.weight_type);
    s->preferences->target.weight_type = g_strdup(weight_formats[chosen].type);
    target_changed(s);
}

static GtkWidget *new_format_drop(struct settings_window *s)
{
    GtkStringList *names = gtk_string_list_new(NULL);
    for (guint i = 0; i < WEIGHT_FORMAT_COUNT; i++)
        gtk_string_list_append(names, weight_formats[i].title);
    GtkWidget *drop = gtk_drop_down_new(G_LIST_MODEL(names), NULL);
    const struct weight_format *format = weight_format_find(s->preferences->target.weight_type);
    gtk_drop_down_set_selected(GTK_DROP_DOWN(drop), (guint)(format - weight_formats));
    g_signal_connect(drop, "notify::selected", G_CALLBACK(on_format), s);
    return drop;
}

static void on_context(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->target.context_length = (guint32)gtk_spin_button_get_value_as_int(spin);
    target_changed(s);
}

static void on_limit(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->target.memory_limit = BYTES_PER_MB * (guint64)gtk_spin_button_get_value_as_int(spin);
    target_changed(s);
}

static void add_memory_rows(struct settings_window *s, GtkWidget *group)
{
    const struct engine_target *target = &s->preferences->target;
    add_row(group, "_Weights are held with", new_format_drop(s));
    GtkWidget *context = new_spin(0, MAX_CONTEXT, 1024, 0, target->context_length);
    g_signal_connect(context, "value-changed", G_CALLBACK(on_context), s);
    add_row(group, "_Remember so many tokens of a conversation (0: all that the model can)", context);
    GtkWidget *limit = new_spin(0, MAX_LIMIT, 256, 0, (double)(target->memory_limit / BYTES_PER_MB));
    g_signal_connect(limit, "value-changed", G_CALLBACK(on_limit), s);
    add_row(group, "Take so many M_B of the device's memory at most (0: all)", limit);
}

static void on_idle(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->idle_minutes = gtk_spin_button_get_value(spin);
    changed(s);
}

static void add_model_group(struct settings_window *s, GtkWidget *page)
{
    GtkWidget *group = new_group(page, "Model");
    s->model = gtk_label_new(s->preferences->target.model);
    gtk_label_set_ellipsize(GTK_LABEL(s->model), PANGO_ELLIPSIZE_START);
    gtk_label_set_xalign(GTK_LABEL(s->model), 0);
    gtk_label_set_selectable(GTK_LABEL(s->model), TRUE);
    gtk_box_append(GTK_BOX(group), s->model);
    s->fit = add_note(group);
    GtkWidget *buttons = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
    s->folder = gtk_button_new_with_mnemonic("Choose a _folder…");
    GtkWidget *file = gtk_button_new_with_mnemonic("Choose a _GGUF file…");
    g_signal_connect(s->folder, "clicked", G_CALLBACK(on_choose_folder), s);
    g_signal_connect(file, "clicked", G_CALLBACK(on_choose_file), s);
    gtk_box_append(GTK_BOX(buttons), s->folder);
    gtk_box_append(GTK_BOX(buttons), file);
    gtk_box_append(GTK_BOX(group), buttons);
    add_row(group, "_Device", new_device_drop(s));
    add_memory_rows(s, group);
    GtkWidget *idle = new_spin(0, MAX_IDLE, 1, 0, s->preferences->idle_minutes);
    g_signal_connect(idle, "value-changed", G_CALLBACK(on_idle), s);
    add_row(group, "_Unload when idle for so many minutes (0: never)", idle);
}

/* ---- Decoding ------------------------------------------------------------------------------------------ */

static void on_preset(GtkDropDown *drop, GParamSpec *property, struct settings_window *s)
{
    (void)property;
    s->preferences->answers.preset = &presets[MIN(gtk_drop_down_get_selected(drop), PRESET_COUNT - 1)];
    show_preset(s);
    changed(s);
}

static void on_own(GtkSwitch *widget, GParamSpec *property, struct settings_window *s)
{
    (void)property;
    struct preferences *p = s->preferences;
    p->answers.own_thresholds = gtk_switch_get_active(widget);
    p->answers.slot_threshold = gtk_spin_button_get_value(GTK_SPIN_BUTTON(s->slot));
    p->answers.token_threshold = gtk_spin_button_get_value(GTK_SPIN_BUTTON(s->token));
    show_preset(s);
    changed(s);
}

static void on_threshold(GtkSpinButton *spin, struct settings_window *s)
{
    if (s->filling)
        return;
    double value = gtk_spin_button_get_value(spin);
    if (GTK_WIDGET(spin) == s->slot)
        s->preferences->answers.slot_threshold = value;
    else
        s->preferences->answers.token_threshold = value;
    changed(s);
}

static void on_max_tokens(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->answers.max_tokens = (guint32)gtk_spin_button_get_value_as_int(spin);
    changed(s);
}

static void on_temperature(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->answers.temperature = gtk_spin_button_get_value(spin);
    changed(s);
}

static void on_seed(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->answers.seed = (guint64)gtk_spin_button_get_value(spin);
    changed(s);
}

static void add_decode_group(struct settings_window *s, GtkWidget *page)
{
    struct preferences *p = s->preferences;
    GtkWidget *group = new_group(page, "Answers");
    GtkStringList *names = gtk_string_list_new(NULL);
    for (guint i = 0; i < PRESET_COUNT; i++)
        gtk_string_list_append(names, presets[i].title);
    GtkWidget *preset = gtk_drop_down_new(G_LIST_MODEL(names), NULL);
    gtk_drop_down_set_selected(GTK_DROP_DOWN(preset), (guint)(p->answers.preset - presets));
    g_signal_connect(preset, "notify::selected", G_CALLBACK(on_preset), s);
    add_row(group, "_Preset", preset);
    s->explanation = add_note(group);
    GtkWidget *own = gtk_switch_new();
    gtk_switch_set_active(GTK_SWITCH(own), p->answers.own_thresholds);
    add_row(group, "_Own thresholds", own);
    s->slot = new_spin(0, 1, 0.05, 2, p->answers.slot_threshold);
    s->token = new_spin(0, 1, 0.05, 2, p->answers.token_threshold);
    s->slot_row =
        add_row(group, "S_lot threshold: a slot is filled in when its first token is this sure", s->slot);
    s->token_row = add_row(group, "_Token threshold: a drafted token stays when it is this likely", s->token);
    g_signal_connect(own, "notify::active", G_CALLBACK(on_own), s);
    g_signal_connect(s->slot, "value-changed", G_CALLBACK(on_threshold), s);
    g_signal_connect(s->token, "value-changed", G_CALLBACK(on_threshold), s);
    GtkWidget *tokens = new_spin(MIN_TOKENS, MAX_TOKENS, 16, 0, p->answers.max_tokens);
    g_signal_connect(tokens, "value-changed", G_CALLBACK(on_max_tokens), s);
    add_row(group, "_Most tokens of an answer", tokens);
    GtkWidget *temperature = new_spin(0, MAX_TEMPERATURE, 0.1, 1, p->answers.temperature);
    g_signal_connect(temperature, "value-changed", G_CALLBACK(on_temperature), s);
    add_row(group, "T_emperature (0: always the likeliest)", temperature);
    GtkWidget *seed = new_spin(0, G_MAXINT32, 1, 0, (double)p->answers.seed);
    g_signal_connect(seed, "value-changed", G_CALLBACK(on_seed), s);
    add_row(group, "_Seed, when the temperature is above 0", seed);
    show_preset(s);
}

/* ---- Looks --------------------------------------------------------------------------------------------- */

static void on_animate(GtkSwitch *widget, GParamSpec *property, struct settings_window *s)
{
    (void)property;
    s->preferences->animate = gtk_switch_get_active(widget);
    changed(s);
}

static void on_colours(GtkDropDown *drop, GParamSpec *property, struct settings_window *s)
{
    (void)property;
    s->preferences->colours = (enum colour_scheme)MIN(gtk_drop_down_get_selected(drop), (guint)COLOURS_DARK);
    changed(s);
}

static void on_text(GtkSpinButton *spin, struct settings_window *s)
{
    s->preferences->text_percent = (guint)gtk_spin_button_get_value_as_int(spin);
    changed(s);
}

static void add_looks_group(struct settings_window *s, GtkWidget *page)
{
    static const char *const schemes[] = {"As the system", "Light", "Dark", NULL};
    GtkWidget *group = new_group(page, "Looks");
    GtkWidget *animate = gtk_switch_new();
    gtk_switch_set_active(GTK_SWITCH(animate), s->preferences->animate);
    g_signal_connect(animate, "notify::active", G_CALLBACK(on_animate), s);
    add_row(group, "_Animate answers while they form", animate);
    GtkWidget *colours = gtk_drop_down_new_from_strings(schemes);
    gtk_drop_down_set_selected(GTK_DROP_DOWN(colours), (guint)s->preferences->colours);
    g_signal_connect(colours, "notify::selected", G_CALLBACK(on_colours), s);
    add_row(group, "_Colours", colours);
    GtkWidget *text = new_spin(MIN_TEXT, MAX_TEXT, TEXT_STEP, 0, s->preferences->text_percent);
    g_signal_connect(text, "value-changed", G_CALLBACK(on_text), s);
    add_row(group, "Size of te_xt, in percent", text);
}

/* ---- The window ---------------------------------------------------------------------------------------- */

static void on_destroy(GtkWidget *widget, struct settings_window *s)
{
    (void)widget;
    if (s->estimate_timer)
        g_source_remove(s->estimate_timer);
    s->listener.closed(s->user);
    g_ptr_array_unref(s->device_words);
    g_free(s);
}

static gboolean on_escape(GtkWidget *widget, GVariant *arguments, gpointer data)
{
    (void)arguments, (void)data;
    gtk_window_destroy(GTK_WINDOW(widget));
    return TRUE;
}

struct settings_window *settings_window_open(GtkWindow *parent, struct preferences *preferences,
                                             const struct rf_device_info *devices, gsize device_count,
                                             const struct settings_listener *listener, void *user)
{
    struct settings_window *s = g_new0(struct settings_window, 1);
    *s = (struct settings_window){.window = gtk_window_new(),
                                  .preferences = preferences,
                                  .devices = devices,
                                  .device_count = device_count,
                                  .listener = *listener,
                                  .user = user};
    gtk_window_set_title(GTK_WINDOW(s->window), "Settings");
    gtk_window_set_transient_for(GTK_WINDOW(s->window), parent);
    gtk_window_set_modal(GTK_WINDOW(s->window), TRUE);
    gtk_window_set_default_size(GTK_WINDOW(s->window), 680, 640);
    gtk_widget_add_css_class(s->window, "settings");
    GtkWidget *page = gtk_box_new(GTK_ORIENTATION_VERTICAL, 10);
    gtk_widget_add_css_class(page, "settings-page");
    add_model_group(s, page);
    add_decode_group(s, page);
    add_looks_group(s, page);
    GtkWidget *scroll = gtk_scrolled_window_new();
    /* Sidewards too, for large text: else the window would grow beyond the screen. */
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroll), GTK_POLICY_AUTOMATIC, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroll), page);
    gtk_window_set_child(GTK_WINDOW(s->window), scroll);
    GtkEventController *keys = gtk_shortcut_controller_new();
    gtk_shortcut_controller_add_shortcut(GTK_SHORTCUT_CONTROLLER(keys),
                                         gtk_shortcut_new(gtk_keyval_trigger_new(GDK_KEY_Escape, 0),
                                                          gtk_callback_action_new(on_escape, NULL, NULL)));
    gtk_widget_add_controller(s->window, keys);
    g_signal_connect(s->window, "destroy", G_CALLBACK(on_destroy), s);
    on_estimate(s);
    gtk_window_set_titlebar(GTK_WINDOW(s->window), gtk_header_bar_new());
    gtk_widget_grab_focus(s->folder);
    gtk_window_present(GTK_WINDOW(s->window));
    return s;
}
