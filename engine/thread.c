#include "engine/thread.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

int rf_thread_start(pthread_t *thread, void *(*run)(void *), void *user)
{
    sigset_t all, before;
    sigfillset(&all);
    int failed = pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited */
    if (failed)
        return failed;
    failed = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

void rf_turns_init(struct rf_turns *turns)
{
    pthread_mutex_init(&turns->mutex, NULL);
    pthread_cond_init(&turns->moved, NULL);
    turns->next = turns->serving = 0;
}

void rf_turns_destroy(struct rf_turns *turns)
{
    pthread_cond_destroy(&turns->moved);
    pthread_mutex_destroy(&turns->mutex);
}

void rf_turns_take(struct rf_turns *turns)
{
    pthread_mutex_lock(&turns->mutex);
    uint64_t ticket = turns->next++;
    while (turns->serving != ticket)
        pthread_cond_wait(&turns->moved, &turns->mutex);
    pthread_mutex_unlock(&turns->mutex);
}

void rf_turns_end(struct rf_turns *turns)
{
    pthread_mutex_lock(&turns->mutex);
    turns->serving++;
    pthread_cond_broadcast(&turns->moved);
    pthread_mutex_unlock(&turns->mutex);
}

static void share(struct rf_team *team, uint32_t worker)
{
    for (;;) {
        size_t first = atomic_fetch_add(&team->next, team->grain);
        if (first >= team->count)
            return;
        size_t end = team->count - first < team->grain ? team->count : first + team->grain;
        for (size_t i = first; i < end; i++)
            team->run(team->user, worker, i);
    }
}

static void *serve(void *user)
{
    struct rf_team *team = user;
    uint64_t seen = 0;
    pthread_mutex_lock(&team->mutex);
    uint32_t worker = team->workers++;
    pthread_cond_signal(&team->ended); /* rf_team_begin waits for the number */
    for (;;) {
        while (!team->over && team->loop == seen)
            pthread_cond_wait(&team->begun, &team->mutex);
        if (team->over)
            break;
        seen = team->loop;
        pthread_mutex_unlock(&team->mutex);
        share(team, worker);
        pthread_mutex_lock(&team->mutex);
        if (--team->at_work == 0)
            pthread_cond_signal(&team->ended);
    }
    pthread_mutex_unlock(&team->mutex);
    return NULL;
}

void rf_team_begin(struct rf_team *team)
{
    memset(team, 0, sizeof *team);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->begun, NULL);
    pthread_cond_init(&team->ended, NULL);
    team->workers = 1;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t started = 1;
    while (started < RF_TEAM_MOST && started < processors &&
           rf_thread_start(&team->threads[started], serve, team) == 0)
        started++;
    pthread_mutex_lock(&team->mutex);
    while (team->workers < started)
        pthread_cond_wait(&team->ended, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

void rf_team_run(struct rf_team *team, size_t count, rf_team_fn run, void *user)
{
    pthread_mutex_lock(&team->mutex);
    team->run = run;
    team->user = user;
    team->count = count;
    team->grain = count / (8 * (size_t)team->workers) + 1;
    atomic_store(&team->next, 0);
    team->at_work = team->workers - 1;
    team->loop++;
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->mutex);
    share(team, 0);
    pthread_mutex_lock(&team->mutex);
    while (team->at_work)
        pthread_cond_wait(&team->ended, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

void rf_team_end(struct rf_team *team)
{
    pthread_mutex_lock(&team->mutex);
    team->over = 1;
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->mutex);
    for (uint32_t i = 1; i < team->workers; i++)
        pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->ended);
    pthread_cond_destroy(&team->begun);
    pthread_mutex_destroy(&team->mutex);
}
