/* A response while it forms: one cell for each position, and which round decided it. */
#ifndef DESKTOP_RESPONSE_H
#define DESKTOP_RESPONSE_H

#include <glib.h>

enum cell_state {
    CELL_MASKED,
    CELL_PLANNED,   /* has a draft */
    CELL_COMMITTED, /* final */
    CELL_DROPPED    /* will not be decoded */
};

struct cell {
    enum cell_state state;
    guint32 token, round;
    char *text;     /* "" for the later tokens of one character; NULL: masked, dropped */
    gboolean dirty; /* changed since whoever shows it cleared this */
};

/* Several tokens to text, malloc'ed by g_malloc; what is no whole character becomes U+FFFD. NULL on
 * failure. */
typedef char *(*decode_fn)(void *user, const guint32 *tokens, gsize count);

struct response {
    struct cell *cells;
    guint32 count; /* positions that were heard of */
    guint32 capacity;
};

void response_clear(struct response *response); /* also for one that is all zero */
/* A planned or committed token; a committed position stays as it is. */
void response_set(struct response *response, guint32 position, enum cell_state state, guint32 token,
                  guint32 round);
void response_drop(struct response *response, guint32 position, guint32 count);
/* Gives the dirty cells their text. Afterwards those that changed are still marked; the caller clears the
 * marks. */
void response_decode(struct response *response, decode_fn decode, void *user);
/* The cells from another thread's response: a copy of one cell of it. */
void response_put(struct response *response, guint32 position, const struct cell *cell);

/* Rounds of a settled text: for each token how many bytes of the text are its, and the round that committed
 * it, in variable-length numbers. NULL when the committed cells do not spell `text`. */
GBytes *response_rounds(const struct response *response, const char *text);

struct rounds_reader {
    const guint8 *at, *end;
};
void rounds_begin(struct rounds_reader *reader, GBytes *rounds); /* NULL: empty */
/* FALSE at the end, and where the bytes are damaged. */
gboolean rounds_next(struct rounds_reader *reader, guint32 *bytes, guint32 *round);

#endif
