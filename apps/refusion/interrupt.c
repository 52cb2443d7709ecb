#include "apps/refusion/interrupt.h"

#include "apps/refusion/program.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Lock-free atomics are what a signal handler may touch. */
static atomic_bool was_interrupted;
static _Atomic(rf_session *) watched;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    if (atomic_exchange(&was_interrupted, true))
        _exit(STATUS_INTERRUPTED);
    rf_session *session = atomic_load(&watched);
    if (session)
        rf_session_cancel(session);
}

void interrupt_install(void)
{
    /* Without SA_RESTART a read of the terminal ends too. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

void interrupt_watch(rf_session *session)
{
    atomic_store(&watched, session);
}

bool interrupted(void)
{
    return atomic_load(&was_interrupted);
}

void interrupt_reset(void)
{
    atomic_store(&was_interrupted, false);
}
