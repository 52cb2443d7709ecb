/* Ctrl-C: the first ends what is running in good order, the second ends the program at once. */
#ifndef RF_APPS_INTERRUPT_H
#define RF_APPS_INTERRUPT_H

#include "engine/status.h"

void interrupt_install(void);
/* The session that Ctrl-C cancels; NULL: none. */
void interrupt_watch(rf_session *session);
bool interrupted(void);
/* Forgets an interrupt, so that the next one is a first one again. */
void interrupt_reset(void);

#endif
