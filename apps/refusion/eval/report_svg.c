/* Two charts side by side, of text and shapes alone: readable on light and dark pages, and by search. */
#include "apps/refusion/eval/report.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 960, HEIGHT = 420, PANEL = 400, TOP = 56, BOTTOM = 340, LEFT = 64, LABELS = 14 };

struct point {
    const char *name;
    double x, y;
    struct interval across, up;
    bool ar;
};

/* A chart's place, and what its edges stand for. */
struct panel {
    double left, x_low, x_high, y_low, y_high;
};

static double place_x(const struct panel *p, double x)
{
    return p->left + (x - p->x_low) / (p->x_high - p->x_low) * (PANEL - LEFT);
}

static double place_y(const struct panel *p, double y)
{
    return BOTTOM - (y - p->y_low) / (p->y_high - p->y_low) * (BOTTOM - TOP);
}

/* 1, 2 or 5 times a power of ten, some five of which span the length. */
static double tick_step(double length)
{
    double power = pow(10, floor(log10(length / 5)));
    double parts = length / 5 / power;
    return power * (parts < 1.5 ? 1 : parts < 3.5 ? 2 : parts < 7.5 ? 5 : 10);
}

static void put_text(FILE *file, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '<')
            fputs("&lt;", file);
        else if (*c == '&')
            fputs("&amp;", file);
        else
            fputc(*c, file);
    }
}

static void draw_axes(FILE *file, const struct panel *p, const char *title)
{
    double right = p->left + PANEL - LEFT, step = tick_step(p->x_high - p->x_low);
    fprintf(file, "<text class=\"t\" x=\"%.1f\" y=\"%d\">", p->left, TOP - 24);
    put_text(file, title);
    fputs("</text>\n", file);
    for (double x = ceil(p->x_low / step) * step; x <= p->x_high + step * 1e-9; x += step)
        fprintf(file,
                "<line class=\"g\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                place_x(p, x), TOP, place_x(p, x), BOTTOM, place_x(p, x), BOTTOM + 18, x + 0.0);
    step = tick_step(p->y_high - p->y_low);
    for (double y = ceil(p->y_low / step) * step; y <= p->y_high + step * 1e-9; y += step)
        fprintf(file,
                "<line class=\"g\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g %%</text>\n",
                p->left, place_y(p, y), right, place_y(p, y), p->left - 8, place_y(p, y) + 4, 100 * y);
}

static void draw_point(FILE *file, const struct panel *p, const struct point *point, size_t number,
                       bool numbered)
{
    double x = place_x(p, point->x), y = place_y(p, point->y);
    fprintf(file, "<g class=\"%s\"><title>", point->ar ? "a" : "r");
    put_text(file, point->name);
    fprintf(file, ": %.1f %% (%.1f to %.1f), %.4g</title>\n", 100 * point->y, 100 * point->up.low,
            100 * point->up.high, point->x);
    fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", x, place_y(p, point->up.low), x,
            place_y(p, point->up.high));
    fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", place_x(p, point->across.low), y,
            place_x(p, point->across.high), y);
    if (point->ar)
        fprintf(file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"9\" height=\"9\"/>", x - 4.5, y - 4.5);
    else
        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>", x, y);
    fputs("</g>\n", file);
    fprintf(file, "<text class=\"n\" x=\"%.1f\" y=\"%.1f\">", x + 8, y - 7);
    if (numbered)
        fprintf(file, "%zu", number);
    else
        put_text(file, point->name);
    fputs("</text>\n", file);
}

static struct panel span(double left, const struct point *points, size_t count)
{
    struct panel p = {left, 0, 0, 1, 0};
    for (size_t i = 0; i < count; i++) {
        p.x_high = fmax(p.x_high, points[i].across.high);
        p.y_low = fmin(p.y_low, points[i].up.low);
        p.y_high = fmax(p.y_high, points[i].up.high);
    }
    p.x_high = p.x_high > 0 ? 1.1 * p.x_high : 1;
    p.y_low = fmax(0, floor(p.y_low * 10) / 10);
    p.y_high = fmin(1, ceil(p.y_high * 10 + 1e-9) / 10);
    if (p.y_high <= p.y_low)
        p.y_high = p.y_low + 0.1;
    return p;
}

static void draw_panel(FILE *file, const struct summary *s, double left, const char *title, bool by_forward)
{
    struct point points[256];
    size_t count = 0;
    for (uint32_t v = 0; v < s->variants && count < 256; v++) {
        const struct measure *m = &s->overall.variants[v];
        const struct ratio *speed = by_forward ? &m->per_forward : &m->per_second;
        if (m->n)
            points[count++] =
                (struct point){summary_variant(s, v), ratio_value(speed),   m->accuracy,
                               ratio_interval(speed), m->accuracy_interval, summary_is_ar(s, v)};
    }
    struct panel p = span(left, points, count);
    draw_axes(file, &p, title);
    for (size_t i = 0; i < count; i++)
        draw_point(file, &p, &points[i], i + 1, s->sweep && !points[i].ar);
}

/* What the numbers in the charts stand for, in columns. */
static void draw_legend(FILE *file, const struct summary *s, int rows)
{
    for (uint32_t v = 0; v < s->variants && rows; v++) {
        fprintf(file, "<text x=\"%d\" y=\"%d\">", LEFT + (int)v / rows * (WIDTH / 2),
                HEIGHT + (int)v % rows * LABELS + 8);
        if (!summary_is_ar(s, v))
            fprintf(file, "%u  ", v + 1);
        put_text(file, summary_variant(s, v));
        fprintf(file, ": %.1f %%, %.2f tokens/forward</text>\n", 100 * s->overall.variants[v].accuracy,
                ratio_value(&s->overall.variants[v].per_forward));
    }
}

void report_chart(FILE *file, const struct summary *s)
{
    int rows = s->sweep ? ((int)s->variants + 1) / 2 : 0;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "font-family=\"system-ui, sans-serif\" font-size=\"12\">\n"
            "<title>Accuracy against speed</title>\n"
            "<style>\n"
            "svg { background: #ffffff } text { fill: #1f2328 } .t { font-size: 14px; font-weight: 600 }\n"
            ".n { font-size: 11px } .g { stroke: #d1d9e0 } g line { stroke-opacity: 0.35 }\n"
            ".r { fill: #0969da; stroke: #0969da } .a { fill: #bc4c00; stroke: #bc4c00 }\n"
            "@media (prefers-color-scheme: dark) {\n"
            "  svg { background: #0d1117 } text { fill: #e6edf3 } .g { stroke: #3d444d }\n"
            "  .r { fill: #58a6ff; stroke: #58a6ff } .a { fill: #f0883e; stroke: #f0883e }\n"
            "}\n</style>\n",
            WIDTH, HEIGHT + rows * LABELS);
    draw_panel(file, s, LEFT, "Accuracy against tokens per forward", true);
    draw_panel(file, s, LEFT + WIDTH / 2, "Accuracy against tokens per second", false);
    fprintf(file,
            "<g class=\"r\"><circle cx=\"%d\" cy=\"%d\" r=\"5\"/></g><text x=\"%d\" "
            "y=\"%d\">plan-and-infill</text>\n"
            "<g class=\"a\"><rect x=\"%d\" y=\"%d\" width=\"9\" height=\"9\"/></g><text x=\"%d\" "
            "y=\"%d\">left to right "
            "(ar); bars: 95 %% intervals, %llu samples</text>\n",
            LEFT + 5, BOTTOM + 44, LEFT + 16, BOTTOM + 48, LEFT + 120, BOTTOM + 40, LEFT + 134, BOTTOM + 48,
            (unsigned long long)s->overall.n);
    draw_legend(file, s, rows);
    fputs("</svg>\n", file);
}
