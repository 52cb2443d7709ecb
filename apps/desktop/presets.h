/* The library's presets, and formats of weights, in words. */
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

struct weight_format {
    const char *type; /* as the library takes it; NULL: as the model's files have them */
    const char *title;
};

enum { WEIGHT_FORMAT_COUNT = 5 };
extern const struct weight_format weight_formats[WEIGHT_FORMAT_COUNT]; /* the first is the default */

/* The default for a type that is none of them. */
const struct weight_format *weight_format_find(const char *type);

#endif
