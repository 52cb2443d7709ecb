#include "apps/desktop/gap_probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { BEAT_MS = 4 };

/* Seconds of the main loop's thread. */
struct times {
    double wall;
    double ready; /* could have run, and other programs had the cores */
};

static struct {
    char *path; /* NULL: off */
    guint timer;
    gboolean generating;
    int schedstat; /* -1: the kernel keeps none */
    struct times last;
    /* Of those while generating, and of all. */
    double wall[2], blocked[2];
    guint64 beats[2];
} probe;

static struct times now(void)
{
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    struct times times = {.wall = (double)clock.tv_sec + (double)clock.tv_nsec * 1e-9};
    char text[128] = "";
    unsigned long long ran, ready; /* nanoseconds, as proc(5) has them */
    if (probe.schedstat >= 0 && pread(probe.schedstat, text, sizeof text - 1, 0) > 0 &&
        sscanf(text, "%llu %llu", &ran, &ready) == 2)
        times.ready = (double)ready * 1e-9;
    return times;
}

static gboolean on_beat(gpointer data)
{
    (void)data;
    struct times times = now();
    double wall = times.wall - probe.last.wall, blocked = wall - (times.ready - probe.last.ready);
    for (int all = probe.generating ? 0 : 1; all < 2; all++) {
        probe.wall[all] = MAX(probe.wall[all], wall);
        probe.blocked[all] = MAX(probe.blocked[all], blocked);
        probe.beats[all]++;
    }
    probe.last = times;
    return G_SOURCE_CONTINUE;
}

static void write_file(void)
{
    GString *text = g_string_new("{");
    for (int all = 0; all < 2; all++)
        g_string_append_printf(
            text, "\"%s\": {\"longest_ms\": %.2f, \"blocked_ms\": %.2f, \"beats\": %" G_GUINT64_FORMAT "}%s",
            all ? "all" : "generating", probe.wall[all] * 1e3, probe.blocked[all] * 1e3, probe.beats[all],
            all ? "}\n" : ", ");
    FILE *file = fopen(probe.path, "w");
    if (file) {
        fputs(text->str, file);
        fclose(file);
    }
    g_string_free(text, TRUE);
}

void gap_probe_start(void)
{
    probe.path = g_strdup(g_getenv("RF_DESKTOP_GAPS"));
    if (!probe.path)
        return;
    probe.schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    probe.last = now();
    probe.timer = g_timeout_add_full(G_PRIORITY_HIGH, BEAT_MS, on_beat, NULL, NULL);
}

void gap_probe_generating(gboolean generating)
{
    if (!probe.path)
        return;
    on_beat(NULL);
    probe.generating = generating;
    write_file();
}

void gap_probe_stop(void)
{
    if (!probe.path)
        return;
    write_file();
    g_source_remove(probe.timer);
    if (probe.schedstat >= 0)
        close(probe.schedstat);
    g_clear_pointer(&probe.path, g_free);
}
