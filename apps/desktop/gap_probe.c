#include "apps/desktop/gap_probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Seconds of the main loop's thread. */
struct times {
    double wall;
    double ran;
    double ready; /* could have run, and other programs had the cores */
};

static struct {
    char *path; /* NULL: off */
    GPollFunc poll;
    gboolean generating;
    int schedstat;       /* -1: the kernel keeps none */
    struct times polled; /* when the loop's last poll ended */
    /* Of those while generating, and of all. */
    struct {
        double wall, blocked, ran;
        guint64 iterations;
    } longest[2];
} probe;

static struct times now(void)
{
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    struct times times = {.wall = (double)clock.tv_sec + (double)clock.tv_nsec * 1e-9};
    char text[128] = "";
    unsigned long long ran, ready; /* nanoseconds, as proc(5) has them */
    if (probe.schedstat >= 0 && pread(probe.schedstat, text, sizeof text - 1, 0) > 0 &&
        sscanf(text, "%llu %llu", &ran, &ready) == 2) {
        times.ran = (double)ran * 1e-9;
        times.ready = (double)ready * 1e-9;
    }
    return times;
}

static void count(void)
{
    struct times times = now();
    double wall = times.wall - probe.polled.wall, ran = times.ran - probe.polled.ran;
    double blocked = wall - (times.ready - probe.polled.ready);
    for (int all = probe.generating ? 0 : 1; all < 2; all++) {
        probe.longest[all].wall = MAX(probe.longest[all].wall, wall);
        probe.longest[all].blocked = MAX(probe.longest[all].blocked, blocked);
        probe.longest[all].ran = MAX(probe.longest[all].ran, ran);
        probe.longest[all].iterations++;
    }
}

static int counted_poll(GPollFD *files, guint file_count, int timeout)
{
    count();
    int result = probe.poll(files, file_count, timeout);
    probe.polled = now();
    return result;
}

static void write_file(void)
{
    FILE *file = fopen(probe.path, "w");
    if (!file)
        return;
    for (int all = 0; all < 2; all++)
        fprintf(file,
                "%s\"%s\": {\"longest_ms\": %.2f, \"blocked_ms\": %.2f, \"computing_ms\": %.2f, "
                "\"iterations\": %" G_GUINT64_FORMAT "}%s",
                all ? ", " : "{", all ? "all" : "generating", probe.longest[all].wall * 1e3,
                probe.longest[all].blocked * 1e3, probe.longest[all].ran * 1e3, probe.longest[all].iterations,
                all ? "}\n" : "");
    fclose(file);
}

void gap_probe_start(void)
{
    probe.path = g_strdup(g_getenv("RF_DESKTOP_GAPS"));
    if (!probe.path)
        return;
    probe.schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    probe.polled = now();
    probe.poll = g_main_context_get_poll_func(NULL);
    g_main_context_set_poll_func(NULL, counted_poll);
}

void gap_probe_generating(gboolean generating)
{
    if (!probe.path)
        return;
    probe.generating = generating || probe.generating; /* the iteration in which it ends counts too */
    count();
    probe.generating = generating;
    write_file();
}

void gap_probe_stop(void)
{
    if (!probe.path)
        return;
    write_file();
    g_main_context_set_poll_func(NULL, probe.poll);
    if (probe.schedstat >= 0)
        close(probe.schedstat);
    g_clear_pointer(&probe.path, g_free);
}
