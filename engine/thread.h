/* Threads of a library: they take no signal, the application's handlers run on its own. */
#ifndef RF_ENGINE_THREAD_H
#define RF_ENGINE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
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

/* Threads that share out loops. */
enum { RF_TEAM_MOST = 16 };
typedef void (*rf_team_fn)(void *user, uint32_t worker, size_t index);
struct rf_team {
    uint32_t workers; /* the calling thread among them */
    pthread_t threads[RF_TEAM_MOST];
    pthread_mutex_t mutex;
    pthread_cond_t begun, ended;
    rf_team_fn run;
    void *user;
    atomic_size_t next;
    size_t count, grain;
    uint64_t loop;    /* counts them */
    uint32_t at_work; /* other threads */
    int over;
};
/* One worker for each processor; fewer where no more threads are to be had. */
void rf_team_begin(struct rf_team *team);
/* Calls run(user, worker, index) once for each index below count, in any order; worker, below team->workers, is the
 * thread's. Returns when all are done. */
void rf_team_run(struct rf_team *team, size_t count, rf_team_fn run, void *user);
void rf_team_end(struct rf_team *team);

#endif
