/* How long the main loop was away, for tests: with RF_DESKTOP_GAPS=FILE in the environment it is asked to come by every
 * few milliseconds, and FILE says how long it stayed away at the worst: longest_ms by the clock, blocked_ms without the
 * time in which it was ready and other programs had the cores. Without the variable, nothing is done. */
#ifndef DESKTOP_GAP_PROBE_H
#define DESKTOP_GAP_PROBE_H

#include <glib.h>

void gap_probe_start(void);
/* What happens from now on: gaps are counted apart while an answer is generated. Writes the file. */
void gap_probe_generating(gboolean generating);
void gap_probe_stop(void);

#endif
