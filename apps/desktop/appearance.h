/* Light or dark, and the size of text, for the whole program. */
#ifndef DESKTOP_APPEARANCE_H
#define DESKTOP_APPEARANCE_H

#include "apps/desktop/preferences.h"

/* Once, when the display is open. */
void appearance_start(void);
void appearance_apply(const struct preferences *preferences);
void appearance_stop(void);

#endif
