#include "apps/desktop/preferences.h"

#include <errno.h>
#include <glib/gstdio.h>

static const char group[] = "refusion";

static char *file_path(void)
{
    return g_build_filename(g_get_user_config_dir(), "refusion", "desktop.ini", NULL);
}

static double number(GKeyFile *file, const char *key, double low, double high, double otherwise)
{
    GError *error = NULL;
    double value = g_key_file_get_double(file, group, key, &error);
    gboolean good = !error && value >= low && value <= high;
    g_clear_error(&error);
    return good ? value : otherwise;
}

static gboolean flag(GKeyFile *file, const char *key, gboolean otherwise)
{
    GError *error = NULL;
    gboolean value = g_key_file_get_boolean(file, group, key, &error);
    gboolean good = !error;
    g_clear_error(&error);
    return good ? value : otherwise;
}

void preferences_load(struct preferences *p, const char *default_model)
{
    GKeyFile *file = g_key_file_new();
    char *path = file_path();
    g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL); /* none at the first run */
    char *preset = g_key_file_get_string(file, group, "preset", NULL);
    char *format = g_key_file_get_string(file, group, "weight-format", NULL);
    *p = (struct preferences){
        .target = {.model = g_key_file_get_string(file, group, "model", NULL),
                   .device = g_key_file_get_string(file, group, "device", NULL),
                   .weight_type = g_strdup(weight_format_find(format)->type),
                   .context_length = (guint32)number(file, "context-length", 0, MAX_CONTEXT, 0),
                   .memory_limit = BYTES_PER_MB * (guint64)number(file, "memory-limit-mb", 0, MAX_LIMIT, 0)},
        .answers = {.preset = preset_find(preset),
                    .max_tokens = (guint32)number(file, "max-tokens", MIN_TOKENS, MAX_TOKENS, 512),
                    .temperature = number(file, "temperature", 0, MAX_TEMPERATURE, 0),
                    .seed = g_key_file_get_uint64(file, group, "seed", NULL),
                    .own_thresholds = flag(file, "own-thresholds", FALSE)},
        .idle_minutes = number(file, "idle-minutes", 0, MAX_IDLE, 10),
        .animate = flag(file, "animate", TRUE),
        .colours = (enum colour_scheme)number(file, "colours", COLOURS_SYSTEM, COLOURS_DARK, COLOURS_SYSTEM),
        .text_percent = (guint)number(file, "text-percent", MIN_TEXT, MAX_TEXT, 100),
        .sidebar = flag(file, "sidebar", TRUE),
    };
    p->answers.slot_threshold = number(file, "slot-threshold", 0, 1, p->answers.preset->slot_threshold);
    p->answers.token_threshold = number(file, "token-threshold", 0, 1, p->answers.preset->token_threshold);
    p->default_model = g_strdup(default_model);
    if (!p->target.model || !*p->target.model) {
        g_free(p->target.model);
        p->target.model = g_strdup(default_model);
    }
    g_free(preset);
    g_free(format);
    g_free(path);
    g_key_file_unref(file);
}

/* A rename leaves the old file or the new one. Nobody waits for the disk: what a power cut may lose is a
 * setting. */
static gboolean replace_file(const char *path, const char *text, gsize length, GError **error)
{
    char *fresh = g_strconcat(path, ".new", NULL);
    g_remove(fresh); /* of a run that was killed: without it GLib would leave that file's end behind ours */
    gboolean ok =
        g_file_set_contents_full(fresh, text, (gssize)length, G_FILE_SET_CONTENTS_NONE, 0600, error);
    if (ok && g_rename(fresh, path) != 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s", path, g_strerror(errno));
        ok = FALSE;
    }
    g_free(fresh);
    return ok;
}

gboolean preferences_save(const struct preferences *p, GError **error)
{
    GKeyFile *file = g_key_file_new();
    /* The default lies where the program does, which may be elsewhere after an update. */
    if (g_strcmp0(p->target.model, p->default_model) != 0)
        g_key_file_set_string(file, group, "model", p->target.model);
    if (p->target.device)
        g_key_file_set_string(file, group, "device", p->target.device);
    if (p->target.weight_type)
        g_key_file_set_string(file, group, "weight-format", p->target.weight_type);
    g_key_file_set_uint64(file, group, "context-length", p->target.context_length);
    g_key_file_set_uint64(file, group, "memory-limit-mb", p->target.memory_limit / BYTES_PER_MB);
    g_key_file_set_string(file, group, "preset", p->answers.preset->name);
    g_key_file_set_uint64(file, group, "max-tokens", p->answers.max_tokens);
    g_key_file_set_double(file, group, "temperature", p->answers.temperature);
    g_key_file_set_uint64(file, group, "seed", p->answers.seed);
    g_key_file_set_boolean(file, group, "own-thresholds", p->answers.own_thresholds);
    g_key_file_set_double(file, group, "slot-threshold", p->answers.slot_threshold);
    g_key_file_set_double(file, group, "token-threshold", p->answers.token_threshold);
    g_key_file_set_double(file, group, "idle-minutes", p->idle_minutes);
    g_key_file_set_boolean(file, group, "animate", p->animate);
    g_key_file_set_integer(file, group, "colours", (int)p->colours);
    g_key_file_set_uint64(file, group, "text-percent", p->text_percent);
    g_key_file_set_boolean(file, group, "sidebar", p->sidebar);
    gsize length;
    char *text = g_key_file_to_data(file, &length, NULL);
    char *path = file_path(), *folder = g_path_get_dirname(path);
    gboolean ok = g_mkdir_with_parents(folder, 0700) == 0;
    if (ok)
        ok = replace_file(path, text, length, error);
    else
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s", folder, g_strerror(errno));
    g_free(text);
    g_free(folder);
    g_free(path);
    g_key_file_unref(file);
    return ok;
}

void preferences_clear(struct preferences *p)
{
    engine_target_clear(&p->target);
    g_free(p->default_model);
    *p = (struct preferences){0};
}

struct rf_decode_settings preferences_decode(const struct preferences *p)
{
    return (struct rf_decode_settings){
        .preset = p->answers.preset->name,
        .max_tokens = p->answers.max_tokens,
        .temperature = (float)p->answers.temperature,
        .seed = p->answers.seed,
        .has_slot_threshold = p->answers.own_thresholds,
        .slot_threshold = p->answers.own_thresholds ? (float)p->answers.slot_threshold : 0,
        .has_token_threshold = p->answers.own_thresholds,
        .token_threshold = p->answers.own_thresholds ? (float)p->answers.token_threshold : 0,
    };
}
