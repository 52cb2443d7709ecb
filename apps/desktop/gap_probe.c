#include "apps/desktop/gap_probe.h"

#include <time.h>

enum { BEAT_MS = 4 };

static struct {
    char *path; /* NULL: off */
    guint timer;
    gboolean generating;
    double last_wall, last_cpu; /* seconds */
    /* Of those while generating, and of all: seconds between two beats, and of those what this thread computed. */
    double wall[2], cpu[2];
    guint64 beats[2];
} probe;

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static gboolean on_beat(gpointer data)
{
    (void)data;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    for (int all = probe.generating ? 0 : 1; all < 2; all++) {
        probe.wall[all] = MAX(probe.wall[all], wall - probe.last_wall);
        probe.cpu[all] = MAX(probe.cpu[all], cpu - probe.last_cpu);
        probe.beats[all]++;
    }
    probe.last_wall = wall;
    probe.last_cpu = cpu;
    return G_SOURCE_CONTINUE;
}

static void write_file(void)
{
    char *text = g_strdup_printf(
        "{\"generating\": {\"longest_ms\": %.2f, \"computing_ms\": %.2f, \"beats\": %" G_GUINT64_FORMAT
        "}, \"all\": {\"longest_ms\": %.2f, \"computing_ms\": %.2f, \"beats\": %" G_GUINT64_FORMAT "}}\n",
        probe.wall[0] * 1e3, probe.cpu[0] * 1e3, probe.beats[0], probe.wall[1] * 1e3, probe.cpu[1] * 1e3,
        probe.beats[1]);
    g_file_set_contents_full(probe.path, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, NULL);
    g_free(text);
}

void gap_probe_start(void)
{
    probe.path = g_strdup(g_getenv("RF_DESKTOP_GAPS"));
    if (!probe.path)
        return;
    probe.last_wall = seconds(CLOCK_MONOTONIC);
    probe.last_cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
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
    g_clear_pointer(&probe.path, g_free);
}
