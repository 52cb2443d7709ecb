/* The library's presets and formats of weights, in words, and what is set for answers. */
#ifndef DESKTOP_PRESETS_H
#define DESKTOP_PRESETS_H

#include <glib.h>

struct preset {
    const char *name; /* as the library takes it */
    const char *title, *explanation;
    guint32 slot_size, block; /* tokens; tests compare these four with the library's */
    double slot_threshold, token_threshold;
};

enum { PRESET_COUNT = 5 };
extern const struct preset presets[PRESET_COUNT]; /* the first is the default */

/* The default for a name that is none. */
const struct preset *preset_find(const char *name);

/* How answers are decoded; a conversation keeps its own. */
struct answer_settings {
    const struct preset *preset; /* NULL: none are kept, by a file of an earlier version */
    guint32 max_tokens;
    double temperature;
    guint64 seed;
    gboolean own_thresholds; /* instead of the preset's: */
    double slot_threshold, token_threshold;
};

/* Ranges, for files and for controls. */
enum { MIN_TOKENS = 16, MAX_TOKENS = 32768 };
#define MAX_TEMPERATURE 2.0

/* What is out of range becomes the nearest that is not; a preset that is there stays as it is. */
void answer_settings_clamp(struct answer_settings *settings);
gboolean answer_settings_equal(const struct answer_settings *a, const struct answer_settings *b);

struct weight_format {
    const char *type; /* as the library takes it; NULL: as the model's files have them */
    const char *title;
};

enum { WEIGHT_FORMAT_COUNT = 5 };
extern const struct weight_format weight_formats[WEIGHT_FORMAT_COUNT]; /* the first is the default */

/* The default for a type that is none of them. */
const struct weight_format *weight_format_find(const char *type);

#endif
