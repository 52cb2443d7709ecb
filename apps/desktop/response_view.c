#include "apps/desktop/response_view.h"

#include <string.h>

enum {
    SETTLE_US = 1000 * RESPONSE_SETTLE_MS,
    FADE_IN_US = 180000,
    REDRAW_US = 33000, /* a long answer is laid out anew for each; text that settles needs no more */
    MINIMUM_WIDTH = 120
};

/* A dot, a thin space, and a place where a line may end. */
#define MASK_MARK "\xc2\xb7\xe2\x80\x89\xe2\x80\x8b"

struct shown_cell {
    enum cell_state state;
    guint32 round;
    char *text;
    gint64 since; /* frame time when it became what it is */
};

struct _ResponseView {
    GtkWidget parent;
    GArray *cells; /* of struct shown_cell */
    PangoLayout *layout;
    guint32 block, max_tokens;
    gboolean animated, stale;
    guint tick;
    gint64 drawn;     /* frame time of the last layout */
    gint64 described; /* when screen readers were told */
};

G_DEFINE_FINAL_TYPE(ResponseView, response_view, GTK_TYPE_WIDGET)

/* Hues that differ in lightness too, so that neighbours are told apart without colour vision. */
static const float palette[][3] = {{0.13f, 0.45f, 0.85f}, {0.85f, 0.42f, 0.05f}, {0.10f, 0.56f, 0.35f},
                                   {0.72f, 0.20f, 0.50f}, {0.45f, 0.33f, 0.80f}, {0.60f, 0.48f, 0.05f},
                                   {0.05f, 0.52f, 0.60f}, {0.78f, 0.20f, 0.18f}};

GdkRGBA round_colour(guint32 round, gboolean dark)
{
    const float *hue = palette[round % G_N_ELEMENTS(palette)];
    float lift = dark ? 0.45f : 0.0f;
    return (GdkRGBA){hue[0] + (1 - hue[0]) * lift, hue[1] + (1 - hue[1]) * lift, hue[2] + (1 - hue[2]) * lift,
                     1};
}

static GdkRGBA text_colour(GtkWidget *widget)
{
    GdkRGBA colour;
    gtk_style_context_get_color(gtk_widget_get_style_context(widget), &colour);
    return colour;
}

gboolean widget_is_dark(GtkWidget *widget)
{
    GdkRGBA colour = text_colour(widget);
    return colour.red + colour.green + colour.blue > 1.5f;
}

static GdkRGBA mix(const GdkRGBA *a, const GdkRGBA *b, float t)
{
    return (GdkRGBA){a->red + (b->red - a->red) * t, a->green + (b->green - a->green) * t,
                     a->blue + (b->blue - a->blue) * t, a->alpha + (b->alpha - a->alpha) * t};
}

/* [0, 1]; 1 without animation. */
static float progress(const ResponseView *view, gint64 since, gint64 now, gint64 length)
{
    if (!view->animated || now - since >= length)
        return 1;
    return now <= since ? 0 : (float)(now - since) / (float)length;
}

static GdkRGBA cell_colour(const ResponseView *view, const struct shown_cell *cell, const GdkRGBA *text,
                           gboolean dark, gint64 now)
{
    GdkRGBA colour = *text;
    if (cell->state == CELL_MASKED) {
        colour.alpha = 0.28f;
    } else if (cell->state == CELL_PLANNED) {
        colour = round_colour(cell->round, dark);
        colour.alpha = 0.2f + 0.35f * progress(view, cell->since, now, FADE_IN_US);
    } else {
        GdkRGBA fresh = round_colour(cell->round, dark);
        colour = mix(&fresh, text, progress(view, cell->since, now, SETTLE_US));
    }
    return colour;
}

static void add_colour(PangoAttrList *list, const GdkRGBA *colour, gsize begin, gsize end)
{
    PangoAttribute *paint = pango_attr_foreground_new(
        (guint16)(colour->red * 65535), (guint16)(colour->green * 65535), (guint16)(colour->blue * 65535));
    PangoAttribute *alpha = pango_attr_foreground_alpha_new((guint16)MAX(1, colour->alpha * 65535));
    paint->start_index = alpha->start_index = (guint)begin;
    paint->end_index = alpha->end_index = (guint)end;
    pango_attr_list_insert(list, paint);
    pango_attr_list_insert(list, alpha);
}

static gboolean same_colour(const GdkRGBA *a, const GdkRGBA *b)
{
    return gdk_rgba_equal(a, b);
}

/* Positions that are drawn: whole blocks of those that were heard of, without what was dropped at the end. */
static guint32 visible_count(const ResponseView *view)
{
    guint32 count = view->cells->len;
    while (count && g_array_index(view->cells, struct shown_cell, count - 1).state == CELL_DROPPED)
        count--;
    if (count < view->cells->len)
        return count; /* the end is known */
    guint32 blocks = MAX(1, (count + view->block - 1) / view->block);
    return MIN(blocks * view->block, MAX(view->max_tokens, count));
}

static void lay_out(ResponseView *view, gint64 now)
{
    GString *all = g_string_new(NULL);
    PangoAttrList *list = pango_attr_list_new();
    pango_attr_list_insert(list, pango_attr_insert_hyphens_new(FALSE)); /* as in its final form */
    GdkRGBA text = text_colour(GTK_WIDGET(view));
    gboolean dark = widget_is_dark(GTK_WIDGET(view));
    const struct shown_cell masked = {.state = CELL_MASKED};
    GdkRGBA run_colour = {0};
    gsize run_begin = 0;
    guint32 count = visible_count(view);
    for (guint32 i = 0; i < count; i++) {
        const struct shown_cell *cell =
            i < view->cells->len ? &g_array_index(view->cells, struct shown_cell, i) : &masked;
        if (cell->state == CELL_DROPPED)
            continue;
        GdkRGBA colour = cell_colour(view, cell, &text, dark, now);
        if (all->len == run_begin || !same_colour(&colour, &run_colour)) {
            if (all->len > run_begin)
                add_colour(list, &run_colour, run_begin, all->len);
            run_begin = all->len;
            run_colour = colour;
        }
        g_string_append(all, cell->state == CELL_MASKED ? MASK_MARK : cell->text ? cell->text : "");
    }
    if (all->len > run_begin)
        add_colour(list, &run_colour, run_begin, all->len);
    if (!view->layout)
        view->layout = gtk_widget_create_pango_layout(GTK_WIDGET(view), NULL);
    pango_layout_set_wrap(view->layout, PANGO_WRAP_WORD_CHAR);
    pango_layout_set_text(view->layout, all->str, (int)all->len);
    pango_layout_set_attributes(view->layout, list);
    pango_attr_list_unref(list);
    g_string_free(all, TRUE);
    view->drawn = now;
    view->stale = FALSE;
}

static gboolean is_moving(const ResponseView *view, gint64 now)
{
    for (guint i = 0; view->animated && i < view->cells->len; i++) {
        const struct shown_cell *cell = &g_array_index(view->cells, struct shown_cell, i);
        gint64 length = cell->state == CELL_COMMITTED ? SETTLE_US
                        : cell->state == CELL_PLANNED ? FADE_IN_US
                                                      : 0;
        if (now - cell->since < length)
            return TRUE;
    }
    return FALSE;
}

static gboolean on_tick(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)data;
    ResponseView *view = DESKTOP_RESPONSE_VIEW(widget);
    gint64 now = gdk_frame_clock_get_frame_time(clock);
    gboolean moving = is_moving(view, now);
    if (now - view->drawn < REDRAW_US)
        return G_SOURCE_CONTINUE;
    int height = 0, before = 0;
    if (view->layout)
        pango_layout_get_pixel_size(view->layout, NULL, &before);
    lay_out(view, now);
    pango_layout_get_pixel_size(view->layout, NULL, &height);
    if (height != before)
        gtk_widget_queue_resize(widget);
    else
        gtk_widget_queue_draw(widget);
    if (moving)
        return G_SOURCE_CONTINUE;
    view->tick = 0;
    return G_SOURCE_REMOVE;
}

static void wake(ResponseView *view)
{
    view->stale = TRUE;
    if (!view->tick)
        view->tick = gtk_widget_add_tick_callback(GTK_WIDGET(view), on_tick, NULL, NULL);
}

static void tell_screen_readers(ResponseView *view, const char *text)
{
    gint64 now = g_get_monotonic_time();
    if (now - view->described < G_TIME_SPAN_SECOND)
        return;
    view->described = now;
    gtk_accessible_update_property(GTK_ACCESSIBLE(view), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION, text, -1);
}

void response_view_update(ResponseView *view, const struct response *response, const char *text)
{
    GdkFrameClock *clock = gtk_widget_get_frame_clock(GTK_WIDGET(view));
    gint64 now = clock ? gdk_frame_clock_get_frame_time(clock) : g_get_monotonic_time();
    guint known = view->cells->len;
    if (response->count > known)
        g_array_set_size(view->cells, response->count);
    for (guint32 i = 0; i < response->count; i++) {
        const struct cell *cell = &response->cells[i];
        struct shown_cell *shown = &g_array_index(view->cells, struct shown_cell, i);
        if (!cell->dirty && i < known)
            continue;
        if (shown->state != cell->state || shown->round != cell->round)
            shown->since = now;
        shown->state = cell->state;
        shown->round = cell->round;
        g_free(shown->text);
        shown->text = g_strdup(cell->text);
    }
    tell_screen_readers(view, text);
    wake(view);
}

void response_view_set_animated(ResponseView *view, gboolean animated)
{
    view->animated = animated;
    wake(view);
}

/* ---- The widget ---------------------------------------------------------------------------------------- */

static void ensure_layout(ResponseView *view)
{
    if (!view->layout)
        lay_out(view, g_get_monotonic_time());
}

static void response_view_measure(GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum,
                                  int *natural, int *minimum_baseline, int *natural_baseline)
{
    ResponseView *view = DESKTOP_RESPONSE_VIEW(widget);
    ensure_layout(view);
    *minimum_baseline = *natural_baseline = -1;
    if (orientation == GTK_ORIENTATION_HORIZONTAL) {
        *minimum = *natural = MINIMUM_WIDTH;
        return;
    }
    pango_layout_set_width(view->layout, MAX(for_size, MINIMUM_WIDTH) * PANGO_SCALE);
    pango_layout_get_pixel_size(view->layout, NULL, natural);
    *minimum = *natural;
}

static void response_view_size_allocate(GtkWidget *widget, int width, int height, int baseline)
{
    (void)height, (void)baseline;
    ensure_layout(DESKTOP_RESPONSE_VIEW(widget));
    pango_layout_set_width(DESKTOP_RESPONSE_VIEW(widget)->layout, width * PANGO_SCALE);
}

static void response_view_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    ResponseView *view = DESKTOP_RESPONSE_VIEW(widget);
    GdkRGBA colour = text_colour(widget);
    ensure_layout(view);
    gtk_snapshot_append_layout(snapshot, view->layout, &colour);
}

static GtkSizeRequestMode response_view_get_request_mode(GtkWidget *widget)
{
    (void)widget;
    return GTK_SIZE_REQUEST_HEIGHT_FOR_WIDTH;
}

/* Fonts or colours changed. */
static void response_view_css_changed(GtkWidget *widget, GtkCssStyleChange *change)
{
    GTK_WIDGET_CLASS(response_view_parent_class)->css_changed(widget, change);
    g_clear_object(&DESKTOP_RESPONSE_VIEW(widget)->layout);
    gtk_widget_queue_resize(widget);
}

static void shown_cell_clear(gpointer data)
{
    g_free(((struct shown_cell *)data)->text);
}

static void response_view_finalize(GObject *object)
{
    ResponseView *view = DESKTOP_RESPONSE_VIEW(object);
    g_clear_object(&view->layout);
    g_array_unref(view->cells);
    G_OBJECT_CLASS(response_view_parent_class)->finalize(object);
}

static void response_view_class_init(ResponseViewClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->finalize = response_view_finalize;
    widget->measure = response_view_measure;
    widget->size_allocate = response_view_size_allocate;
    widget->snapshot = response_view_snapshot;
    widget->get_request_mode = response_view_get_request_mode;
    widget->css_changed = response_view_css_changed;
    gtk_widget_class_set_css_name(widget, "response");
    gtk_widget_class_set_accessible_role(widget, GTK_ACCESSIBLE_ROLE_LOG);
}

static void response_view_init(ResponseView *view)
{
    view->cells = g_array_new(FALSE, TRUE, sizeof(struct shown_cell));
    g_array_set_clear_func(view->cells, shown_cell_clear);
    view->animated = TRUE;
    gtk_accessible_update_property(GTK_ACCESSIBLE(view), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   "Answer, being written", -1);
    gtk_accessible_update_state(GTK_ACCESSIBLE(view), GTK_ACCESSIBLE_STATE_BUSY, TRUE, -1);
}

GtkWidget *response_view_new(guint32 block, guint32 max_tokens)
{
    ResponseView *view = g_object_new(DESKTOP_TYPE_RESPONSE_VIEW, NULL);
    view->block = MAX(block, 1);
    view->max_tokens = max_tokens;
    return GTK_WIDGET(view);
}
