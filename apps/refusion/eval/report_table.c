#include "apps/refusion/eval/report.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum column { ACCURACY, PER_FORWARD, PER_SECOND, LENGTH, P50, P95, CUT, AGAINST, COLUMNS };

static const char *const titles[COLUMNS] = {"accuracy, %", "tokens/forward",    "tokens/s",
                                            "mean length", "latency p50, s",    "p95, s",
                                            "cut",         "against ar, points"};

struct cells {
    char text[COLUMNS][80];
};

/* Three digits that count, and all before the point. */
static void put_number(char *out, size_t size, double value)
{
    double amount = fabs(value);
    snprintf(out, size, "%.*f",
             amount >= 100 || amount == 0 ? 0
             : amount >= 10               ? 1
             : amount >= 1                ? 2
                                          : 3,
             value);
}

/* One sample tells nothing of others. */
static void put_ratio(char *out, size_t size, const struct ratio *ratio)
{
    char middle[20], low[20], high[20];
    struct interval interval = ratio_interval(ratio);
    put_number(middle, sizeof middle, ratio_value(ratio));
    if (ratio->n < 2) {
        snprintf(out, size, "%s", middle);
        return;
    }
    put_number(low, sizeof low, interval.low);
    put_number(high, sizeof high, interval.high);
    snprintf(out, size, "%s (%s to %s)", middle, low, high);
}

static void fill(struct cells *cells, const struct measure *m)
{
    memset(cells, 0, sizeof *cells);
    if (!m->n)
        return;
    struct interval share = m->accuracy_interval;
    size_t size = sizeof cells->text[0];
    snprintf(cells->text[ACCURACY], size, "%.1f (%.1f to %.1f)", 100 * m->accuracy, 100 * share.low,
             100 * share.high);
    put_ratio(cells->text[PER_FORWARD], size, &m->per_forward);
    put_ratio(cells->text[PER_SECOND], size, &m->per_second);
    snprintf(cells->text[LENGTH], size, "%.1f", m->mean_length);
    put_number(cells->text[P50], size, m->p50);
    put_number(cells->text[P95], size, m->p95);
    snprintf(cells->text[CUT], size, "%llu", (unsigned long long)m->cut);
    if (m->paired)
        snprintf(cells->text[AGAINST], size, "%+.1f (%+.1f to %+.1f), p %.2g",
                 100 * ((double)m->more - (double)m->fewer) / (double)m->n, 100 * m->difference.low,
                 100 * m->difference.high, m->p);
}

/* ---- Text ----------------------------------------------------------------------------------------------- */

struct widths {
    int task, n, variant, columns[COLUMNS];
};

static void widen(int *width, const char *text)
{
    int length = (int)strlen(text);
    *width = length > *width ? length : *width;
}

static const struct task_summary *task_at(const struct summary *s, size_t i)
{
    return i < s->task_count ? &s->tasks[i] : &s->overall;
}

static struct widths measure_widths(const struct summary *s)
{
    struct widths w = {.task = 4, .n = 5, .variant = 6};
    for (int c = 0; c < COLUMNS; c++)
        widen(&w.columns[c], titles[c]);
    for (size_t i = 0; i <= s->task_count; i++) {
        widen(&w.task, task_at(s, i)->name);
        for (uint32_t v = 0; v < s->variants; v++) {
            struct cells cells;
            fill(&cells, &task_at(s, i)->variants[v]);
            widen(&w.variant, summary_variant(s, v));
            for (int c = 0; c < COLUMNS; c++)
                widen(&w.columns[c], cells.text[c]);
        }
    }
    return w;
}

/* Nothing to compare with leaves the last column out. */
static int column_count(const struct summary *s)
{
    for (uint32_t v = 0; v < s->variants; v++)
        if (s->overall.variants[v].paired)
            return COLUMNS;
    return AGAINST;
}

static void print_line(FILE *file, const struct widths *w, int columns, const char *task, const char *n,
                       const char *variant, const char *const texts[COLUMNS])
{
    char line[1024];
    int used = snprintf(line, sizeof line, "%-*.60s %*s  %-*s", w->task, task, w->n, n, w->variant, variant);
    for (int c = 0; c < columns && used < (int)sizeof line - 80; c++)
        used += snprintf(line + used, sizeof line - (size_t)used, "  %-*s", w->columns[c], texts[c]);
    while (used > 0 && line[used - 1] == ' ')
        used--;
    fprintf(file, "%.*s\n", used, line);
}

static void print_text(FILE *file, const struct summary *s)
{
    struct widths w = measure_widths(s);
    int columns = column_count(s);
    print_line(file, &w, columns, "task", "n", "decode", titles);
    for (size_t i = s->task_count == 1 ? 1 : 0; i <= s->task_count; i++) {
        const struct task_summary *task = task_at(s, i);
        if (i == s->task_count && s->task_count > 1)
            fputc('\n', file);
        for (uint32_t v = 0; v < s->variants; v++) {
            struct cells cells;
            const char *texts[COLUMNS];
            char n[24];
            fill(&cells, &task->variants[v]);
            for (int c = 0; c < COLUMNS; c++)
                texts[c] = cells.text[c];
            snprintf(n, sizeof n, "%llu", (unsigned long long)task->n);
            /* Of one task, overall is that task. */
            const char *name = s->task_count == 1 ? s->tasks[0].name : task->name;
            print_line(file, &w, columns, v ? "" : name, v ? "" : n, summary_variant(s, v), texts);
        }
    }
}

/* ---- Markdown ------------------------------------------------------------------------------------------- */

static void put_escaped(FILE *file, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (strchr("|*_`<>\\[]#", *c))
            fputc('\\', file);
        fputc(*c, file);
    }
}

static void print_markdown(FILE *file, const struct summary *s, const struct task_summary *task)
{
    int columns = column_count(s);
    fputs("\n## ", file);
    put_escaped(file, task->name);
    fprintf(file, "\n\n%llu samples.\n\n| decode |", (unsigned long long)task->n);
    for (int c = 0; c < columns; c++)
        fprintf(file, " %s |", titles[c]);
    fputs("\n|---|", file);
    for (int c = 0; c < columns; c++)
        fputs("---|", file);
    fputc('\n', file);
    for (uint32_t v = 0; v < s->variants; v++) {
        struct cells cells;
        fill(&cells, &task->variants[v]);
        fprintf(file, "| %s |", summary_variant(s, v));
        for (int c = 0; c < columns; c++)
            fprintf(file, " %s |", cells.text[c]);
        fputc('\n', file);
    }
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(value) ? value->valuestring : "?";
}

void report_tables(FILE *file, const struct summary *s, bool markdown)
{
    if (!markdown) {
        print_text(file, s);
        return;
    }
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(s->header, "model");
    fputs("# Evaluation\n\n", file);
    put_escaped(file, text_of(model, "path"));
    fprintf(file, ", %s, weights %s, on ", text_of(model, "precision"), text_of(model, "weights"));
    put_escaped(file, text_of(s->header, "device"));
    fputs(".\nIn brackets are intervals of 95 %: accuracy by Wilson, ratios by the delta method over "
          "samples, the "
          "difference from sequential\ndecoding (ar) of the same samples by Agresti and Min, its p by "
          "McNemar's exact "
          "test. Latencies are of one answer, prompt included.\n",
          file);
    print_markdown(file, s, &s->overall);
    for (size_t i = 0; i < s->task_count && s->task_count > 1; i++)
        print_markdown(file, s, &s->tasks[i]);
}

void report_markdown(FILE *file, const struct summary *s)
{
    report_tables(file, s, true);
}

/* ---- Files ---------------------------------------------------------------------------------------------- */

enum rf_status report_write(const char *path, const struct summary *summary,
                            void (*write)(FILE *, const struct summary *), struct rf_error *err)
{
    char partial[PATH_MAX];
    if (snprintf(partial, sizeof partial, "%s.partial", path) >= (int)sizeof partial)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%.200s...: the path is too long", path);
    FILE *file = fopen(partial, "w");
    if (!file)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot write: %s", partial, strerror(errno));
    write(file, summary);
    bool good = fflush(file) == 0 && !ferror(file);
    good = fclose(file) == 0 && good;
    if (good && rename(partial, path) == 0)
        return RF_OK;
    enum rf_status status = rf_fail(err, RF_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    unlink(partial);
    return status;
}
