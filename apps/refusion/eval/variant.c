#include "apps/refusion/eval/variant.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const axis_names[AXIS_COUNT] = {"slot-size", "block", "slot-threshold", "token-threshold"};

enum { MOST_VALUES = 64 };

struct values {
    double items[MOST_VALUES];
    size_t count;
};

/* The paper varies these three; its slot sizes are those of training. */
static const char *const default_grid[] = {"slot-size=4,8,16,32", "slot-threshold=0.7,0.9",
                                           "token-threshold=0.2,0.4,0.6"};

static bool whole_axis(enum axis axis)
{
    return axis == AXIS_SLOT_SIZE || axis == AXIS_BLOCK;
}

static enum rf_status read_value(double *out, enum axis axis, const char **text, struct rf_error *err)
{
    char *end;
    double value = isdigit((unsigned char)**text) || **text == '.' ? strtod(*text, &end) : -1;
    bool good = value >= 0 && (*end == ',' || *end == '\0');
    if (good && whole_axis(axis))
        good = value >= 1 && value <= 1 << 20 && value == (double)(long)value;
    else if (good)
        good = value <= 1;
    if (!good)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--sweep %s: found \"%s\", wanted %s separated by commas",
                       axis_names[axis], *text,
                       whole_axis(axis) ? "whole numbers from 1" : "numbers from 0 to 1");
    *out = value;
    *text = *end ? end + 1 : end;
    if (*end == ',' && !**text)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--sweep %s: found nothing behind the last comma, wanted a number", axis_names[axis]);
    return RF_OK;
}

static enum rf_status read_spec(struct values axes[AXIS_COUNT], const char *spec, struct rf_error *err)
{
    const char *equals = strchr(spec, '=');
    size_t length = equals ? (size_t)(equals - spec) : 0;
    for (int axis = 0; equals && axis < AXIS_COUNT; axis++) {
        if (strlen(axis_names[axis]) != length || strncmp(axis_names[axis], spec, length) != 0)
            continue;
        struct values *values = &axes[axis];
        values->count = 0;
        const char *text = equals + 1;
        do {
            if (values->count == MOST_VALUES)
                return rf_fail(err, RF_ERROR_ARGUMENT,
                               "--sweep %s: found more than %d values, wanted at most that", axis_names[axis],
                               MOST_VALUES);
            enum rf_status status = read_value(&values->items[values->count++], (enum axis)axis, &text, err);
            if (status)
                return status;
            for (size_t i = 0; i + 1 < values->count; i++)
                if (values->items[i] == values->items[values->count - 1])
                    return rf_fail(err, RF_ERROR_ARGUMENT, "--sweep %s: found %g twice, wanted it once",
                                   axis_names[axis], values->items[i]);
        } while (*text);
        return RF_OK;
    }
    return rf_fail(
        err, RF_ERROR_ARGUMENT,
        "--sweep: found \"%s\", wanted slot-size, block, slot-threshold or token-threshold, then = and "
        "numbers separated by commas, as in slot-size=4,8,16",
        spec);
}

static struct variant *add(struct variants *variants, const char *name, bool ar)
{
    struct variant *variant = &variants->items[variants->count++];
    *variant = (struct variant){.ar = ar};
    snprintf(variant->name, sizeof variant->name, "%s", name);
    return variant;
}

/* The `index`-th point: the last axis changes fastest. */
static void add_point(struct variants *variants, const struct values axes[AXIS_COUNT], size_t index)
{
    struct variant *variant = add(variants, "", false);
    for (int axis = AXIS_COUNT - 1; axis >= 0; axis--) {
        if (!axes[axis].count)
            continue;
        variant->set[axis] = true;
        variant->values[axis] = axes[axis].items[index % axes[axis].count];
        index /= axes[axis].count;
    }
    size_t used = 0;
    for (int axis = 0; axis < AXIS_COUNT; axis++)
        if (variant->set[axis])
            used += (size_t)snprintf(variant->name + used, sizeof variant->name - used, "%s%s=%g",
                                     used ? " " : "", axis_names[axis], variant->values[axis]);
}

enum rf_status variants_make(struct variants *out, const char *const *specs, size_t count, bool refusion,
                             bool ar, struct rf_error *err)
{
    struct values axes[AXIS_COUNT] = {{{0}, 0}};
    enum rf_status status = RF_OK;
    *out = (struct variants){.sweep = count > 0};
    for (size_t i = 0; i < count && !status; i++) {
        for (size_t k = 0; !specs[i][0] && k < sizeof default_grid / sizeof *default_grid; k++)
            read_spec(axes, default_grid[k], NULL);
        if (specs[i][0])
            status = read_spec(axes, specs[i], err);
    }
    if (status)
        return status;
    size_t points = 1;
    for (int axis = 0; axis < AXIS_COUNT; axis++)
        points *= axes[axis].count ? axes[axis].count : 1; /* at most 64^4 */
    if (points >= MOST_VARIANTS)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--sweep: found %zu points, wanted fewer than %d", points,
                       MOST_VARIANTS);
    if (out->sweep && !refusion)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--sweep: found it beside --decode ar, which has nothing to vary");
    for (size_t i = 0; i < points && out->sweep; i++)
        add_point(out, axes, i);
    if (refusion && !out->sweep)
        add(out, "refusion", false);
    if (ar)
        add(out, "ar", true);
    return RF_OK;
}

void variant_apply(const struct variant *variant, struct rf_decode_settings *settings)
{
    settings->decode = variant->ar ? RF_DECODE_AR : RF_DECODE_REFUSION;
    if (variant->set[AXIS_SLOT_SIZE])
        settings->slot_size = (uint32_t)variant->values[AXIS_SLOT_SIZE];
    if (variant->set[AXIS_BLOCK])
        settings->block = (uint32_t)variant->values[AXIS_BLOCK];
    if (variant->set[AXIS_SLOT_THRESHOLD]) {
        settings->slot_threshold = (float)variant->values[AXIS_SLOT_THRESHOLD];
        settings->has_slot_threshold = true;
    }
    if (variant->set[AXIS_TOKEN_THRESHOLD]) {
        settings->token_threshold = (float)variant->values[AXIS_TOKEN_THRESHOLD];
        settings->has_token_threshold = true;
    }
}
