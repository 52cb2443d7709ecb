/* How long the main loop was blocked, for tests: with RF_DESKTOP_GAPS=FILE in the environment, FILE tells the
 * longest time between two moments at which the loop was ready for whatever comes (that is, polled):
 * longest_ms by the clock, blocked_ms without the time in which it could have gone on and other programs had
 * the cores, computing_ms what it computed. Without the variable, nothing is done. */
#ifndef DESKTOP_GAP_PROBE_H
#define DESKTOP_GAP_PROBE_H

#include <glib.h>

void gap_probe_start(void);
/* What happens from now on: gaps are counted apart while an answer is generated. Writes the file. */
void gap_probe_generating(gboolean generating);
void gap_probe_stop(void);

#endif
