#include "tests/failure/faults.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct faults host_faults, vulkan_faults;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void fault_arm(struct faults *faults, const char *only, unsigned one_in, unsigned seed)
{
    pthread_mutex_lock(&mutex);
    *faults = (struct faults){.armed = true, .only = only, .one_in = one_in, .seed = seed};
    pthread_mutex_unlock(&mutex);
}

void fault_disarm(struct faults *faults)
{
    pthread_mutex_lock(&mutex);
    faults->armed = false;
    pthread_mutex_unlock(&mutex);
}

static bool is_new(struct faults *faults, const void *site)
{
    for (size_t i = 0; i < faults->site_count; i++)
        if (faults->sites[i] == site)
            return false;
    if (faults->site_count == FAULT_SITES)
        return false;
    faults->sites[faults->site_count++] = site;
    return true;
}

static bool by_chance(struct faults *faults)
{
    if (!faults->one_in)
        return false;
    faults->seed = faults->seed * 1664525 + 1013904223;
    return (faults->seed >> 8) % faults->one_in == 0;
}

bool fault_here(struct faults *faults, const char *name, const void *site)
{
    pthread_mutex_lock(&mutex);
    bool fail = faults->armed && (!faults->only || strcmp(name, faults->only) == 0) &&
                (is_new(faults, site) || by_chance(faults));
    faults->failed += fail;
    pthread_mutex_unlock(&mutex);
    if (fail && getenv("RF_TEST_TELL"))
        fprintf(stderr, "%s at %p\n", name, site);
    return fail;
}
