/* Draws a response on stderr while it forms: each slot a run of cells, masked ones as dots, drafts in
 * yellow, tokens committed in the latest round in green, earlier ones plain. On a terminal each drawing
 * replaces the one before; on anything else they follow one another. */
#ifndef RF_APPS_SHOW_H
#define RF_APPS_SHOW_H

#include "engine/status.h"

struct show; /* one response */

/* `slot_size` and `length` in tokens; `tokenizer` (NULL: ids are drawn) must outlive the show. */
enum rf_status show_begin(struct show **out, const rf_tokenizer *tokenizer, uint32_t slot_size,
                          uint32_t length, struct rf_error *err);
enum rf_status show_event(struct show *show, const struct rf_event *event, struct rf_error *err);
/* `what` says how far the round is. */
void show_draw(struct show *show, const struct rf_session_stats *stats, const char *what);
/* Leaves the last drawing where it is and the cursor below it. */
void show_end(struct show *show);
void show_free(struct show *show); /* NULL is fine */

#endif
