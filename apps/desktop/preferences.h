/* What the user has set, in a key file below $XDG_CONFIG_HOME. */
#ifndef DESKTOP_PREFERENCES_H
#define DESKTOP_PREFERENCES_H

#include "apps/desktop/engine_fit.h"
#include "apps/desktop/presets.h"

enum colour_scheme { COLOURS_SYSTEM, COLOURS_LIGHT, COLOURS_DARK };

struct preferences {
    struct engine_target target;
    struct answer_settings answers; /* of the open conversation, and of the next new one */
    double idle_minutes;            /* until the model is unloaded; 0: never */
    gboolean animate;
    enum colour_scheme colours;
    guint text_percent; /* size of text */
    gboolean sidebar;
    char *default_model; /* target.model where none was chosen */
};

/* Ranges, for the file and for the controls. */
enum { MIN_TEXT = 75, MAX_TEXT = 250, TEXT_STEP = 25, MAX_IDLE = 600 };
enum { MAX_CONTEXT = 1 << 20 /* tokens */, MAX_LIMIT = 1 << 20 /* MB of device memory */ };
#define BYTES_PER_MB 1000000

/* Values that are missing or out of range are the defaults'; `default_model` is that of the first run. */
void preferences_load(struct preferences *preferences, const char *default_model);
/* Does not wait for the disk. What cannot be written is kept for this run alone. */
gboolean preferences_save(const struct preferences *preferences, GError **error);
void preferences_clear(struct preferences *preferences);
struct rf_decode_settings preferences_decode(const struct preferences *preferences);

#endif
