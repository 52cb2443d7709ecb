#include "engine/gpu/rest.h"

#include <time.h>

#include "engine/gpu/internal.h"

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of submissions that overlap, by two models of a context, each brings its own rest. */
void rf_gpu_worked(struct rf_gpu *gpu, double seconds)
{
    if (gpu->rest.per_second <= 0.0)
        return;
    const double now = seconds_now();
    pthread_mutex_lock(&gpu->rest.mutex);
    gpu->rest.until = (gpu->rest.until > now ? gpu->rest.until : now) + seconds * gpu->rest.per_second;
    pthread_mutex_unlock(&gpu->rest.mutex);
}

double rf_gpu_rest_left(struct rf_gpu *gpu)
{
    if (gpu->rest.per_second <= 0.0)
        return 0.0;
    pthread_mutex_lock(&gpu->rest.mutex);
    const double left = gpu->rest.until - seconds_now();
    pthread_mutex_unlock(&gpu->rest.mutex);
    return left > 0.0 ? left : 0.0;
}
