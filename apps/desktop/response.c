#include "apps/desktop/response.h"

#include <string.h>

enum { ROUNDS_VERSION = 1, LONGEST_RUN = 4 /* tokens of one character: UTF-8 has at most four bytes */ };

static const char replacement[] = "\xef\xbf\xbd";

void response_clear(struct response *response)
{
    for (guint32 i = 0; i < response->count; i++)
        g_free(response->cells[i].text);
    g_free(response->cells);
    *response = (struct response){0};
}

/* Makes room for positions below `count`; new ones are masked. */
static void grow(struct response *response, guint32 count)
{
    if (count <= response->count)
        return;
    if (count > response->capacity) {
        response->capacity = MAX(count, 2 * response->capacity);
        response->cells = g_renew(struct cell, response->cells, response->capacity);
    }
    memset(response->cells + response->count, 0, (count - response->count) * sizeof *response->cells);
    response->count = count;
}

void response_set(struct response *response, guint32 position, enum cell_state state, guint32 token,
                  guint32 round)
{
    grow(response, position + 1);
    struct cell *cell = &response->cells[position];
    if (cell->state == CELL_COMMITTED && state != CELL_COMMITTED)
        return;
    cell->dirty = TRUE;
    cell->state = state;
    cell->token = token;
    cell->round = round;
}

void response_drop(struct response *response, guint32 position, guint32 count)
{
    /* What lies behind everything that was heard of needs no cell to be gone. */
    for (guint32 i = position; i < response->count && i - position < count; i++) {
        struct cell *cell = &response->cells[i];
        cell->state = CELL_DROPPED;
        cell->dirty = TRUE;
        g_clear_pointer(&cell->text, g_free);
    }
}

static gboolean has_token(const struct cell *cell)
{
    return cell->state == CELL_PLANNED || cell->state == CELL_COMMITTED;
}

static void set_text(struct cell *cell, char *text)
{
    if (g_strcmp0(cell->text, text) != 0)
        cell->dirty = TRUE;
    g_free(cell->text);
    cell->text = text;
}

/* A token that is a part of a character: tries it with what follows. Returns how many cells got their
 * text. */
static guint32 decode_run(struct response *response, guint32 first, decode_fn decode, void *user)
{
    guint32 tokens[LONGEST_RUN];
    for (guint32 n = 0; n < LONGEST_RUN && first + n < response->count; n++) {
        if (!has_token(&response->cells[first + n]))
            break;
        tokens[n] = response->cells[first + n].token;
        char *text = decode(user, tokens, n + 1);
        if (text && (!strstr(text, replacement))) {
            set_text(&response->cells[first], text);
            for (guint32 i = 1; i <= n; i++)
                set_text(&response->cells[first + i], g_strdup(""));
            return n + 1;
        }
        g_free(text);
    }
    char *alone = decode(user, tokens, 1);
    set_text(&response->cells[first], alone ? alone : g_strdup(replacement));
    return 1;
}

/* Cells from `first` on that share its characters: those behind it whose text is empty. */
static guint32 group_length(const struct response *response, guint32 first)
{
    guint32 n = 1;
    while (first + n < response->count && response->cells[first + n].text &&
           !*response->cells[first + n].text)
        n++;
    return n;
}

static gboolean group_changed(const struct response *response, guint32 first, guint32 length)
{
    const struct cell *head = &response->cells[first];
    for (guint32 i = 0; i < length; i++)
        if (response->cells[first + i].dirty)
            return TRUE;
    /* What was a part of a character may be a whole one now. */
    return !head->text || strstr(head->text, replacement);
}

void response_decode(struct response *response, decode_fn decode, void *user)
{
    guint32 i = 0;
    while (i < response->count) {
        guint32 length = group_length(response, i);
        guint32 end = i + length;
        if (!group_changed(response, i, length))
            i = end;
        while (i < end)
            i += has_token(&response->cells[i]) ? decode_run(response, i, decode, user) : 1;
    }
}

void response_put(struct response *response, guint32 position, const struct cell *cell)
{
    grow(response, position + 1);
    struct cell *mine = &response->cells[position];
    g_free(mine->text);
    *mine = *cell;
    mine->text = g_strdup(cell->text);
    mine->dirty = TRUE;
}

static void append_number(GByteArray *out, guint32 number)
{
    while (number >= 0x80) {
        guint8 byte = (guint8)(number | 0x80);
        g_byte_array_append(out, &byte, 1);
        number >>= 7;
    }
    guint8 last = (guint8)number;
    g_byte_array_append(out, &last, 1);
}

GBytes *response_rounds(const struct response *response, const char *text)
{
    GByteArray *out = g_byte_array_new();
    gsize length = strlen(text), at = 0;
    append_number(out, ROUNDS_VERSION);
    for (guint32 i = 0; i < response->count && at < length; i++) {
        const struct cell *cell = &response->cells[i];
        if (cell->state != CELL_COMMITTED || !cell->text)
            break;
        /* A stop text may end the response within a token. */
        gsize bytes = MIN(strlen(cell->text), length - at);
        if (memcmp(cell->text, text + at, bytes) != 0)
            break;
        append_number(out, (guint32)bytes);
        append_number(out, cell->round);
        at += bytes;
    }
    GBytes *rounds = g_byte_array_free_to_bytes(out);
    if (at == length)
        return rounds;
    g_bytes_unref(rounds);
    return NULL;
}

static gboolean read_number(struct rounds_reader *reader, guint32 *number)
{
    *number = 0;
    for (guint shift = 0; reader->at < reader->end && shift < 32; shift += 7) {
        guint8 byte = *reader->at++;
        *number |= (guint32)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return TRUE;
    }
    return FALSE;
}

void rounds_begin(struct rounds_reader *reader, GBytes *rounds)
{
    gsize size = 0;
    const guint8 *data = rounds ? g_bytes_get_data(rounds, &size) : NULL;
    guint32 version;
    *reader = (struct rounds_reader){.at = data, .end = data ? data + size : NULL};
    if (!data || !read_number(reader, &version) || version != ROUNDS_VERSION)
        reader->at = reader->end;
}

gboolean rounds_next(struct rounds_reader *reader, guint32 *bytes, guint32 *round)
{
    return reader->at < reader->end && read_number(reader, bytes) && read_number(reader, round);
}
