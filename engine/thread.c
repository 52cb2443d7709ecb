#include "engine/thread.h"

#include <signal.h>

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
