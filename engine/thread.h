/* Threads of a library: they take no signal, the application's handlers run on its own. */
#ifndef RF_ENGINE_THREAD_H
#define RF_ENGINE_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* As pthread_create, with every signal blocked in the new thread. 0 or an errno. */
int rf_thread_start(pthread_t *thread, void *(*run)(void *), void *user);

/* Who came first goes first. A mutex promises no order: a thread that takes it again at once may keep the others waiting
 * for as long as it likes. */
struct rf_turns {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    uint64_t next, serving; /* the ticket that is given out next, and the one whose turn it is */
};
void rf_turns_init(struct rf_turns *turns);
void rf_turns_destroy(struct rf_turns *turns);
void rf_turns_take(struct rf_turns *turns);
void rf_turns_end(struct rf_turns *turns);

#endif
