#include "apps/refusion/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

enum cell_state { CELL_MASKED, CELL_PLANNED, CELL_COMMITTED, CELL_DROPPED };

struct cell {
    enum cell_state state;
    uint32_t round; /* of the last event */
    char piece[24]; /* the token's text, UTF-8, cut to fit */
};

enum style { STYLE_PLAIN, STYLE_DIM, STYLE_PLANNED, STYLE_FRESH };
static const char *const style_codes[] = {"\033[0m", "\033[0;2m", "\033[0;33m", "\033[0;1;32m"};

/* A drawing that grows line by line. Every line ends in plain style, so that any run of lines can be shown
 * alone. */
struct canvas {
    char *bytes;
    size_t length, room;
    size_t *lines; /* where each line starts; lines[0] = 0 */
    uint32_t line_count, line_room;
    uint32_t width, column;
    enum style style;
    bool failed; /* no memory: this drawing is left out */
};

struct show {
    const rf_tokenizer *tokenizer;
    struct cell *cells; /* [length] */
    uint32_t slot_size, length;
    uint32_t round; /* of the newest event */
    struct canvas canvas;
    bool terminal;
    uint32_t drawn; /* lines on the terminal that the next drawing replaces */
};

/* ---- Canvas -------------------------------------------------------------------------------------------- */

static void put_bytes(struct canvas *canvas, const char *bytes, size_t length)
{
    if (canvas->length + length > canvas->room) {
        size_t room = 2 * (canvas->length + length);
        char *larger = realloc(canvas->bytes, room);
        if (!larger) {
            canvas->failed = true;
            return;
        }
        canvas->bytes = larger;
        canvas->room = room;
    }
    memcpy(canvas->bytes + canvas->length, bytes, length);
    canvas->length += length;
}

static void set_style(struct canvas *canvas, enum style style)
{
    if (canvas->style == style)
        return;
    canvas->style = style;
    put_bytes(canvas, style_codes[style], strlen(style_codes[style]));
}

static void start_line(struct canvas *canvas)
{
    if (canvas->line_count == canvas->line_room) {
        uint32_t room = canvas->line_room ? 2 * canvas->line_room : 32;
        size_t *larger = realloc(canvas->lines, room * sizeof *larger);
        if (!larger) {
            canvas->failed = true;
            return;
        }
        canvas->lines = larger;
        canvas->line_room = room;
    }
    canvas->lines[canvas->line_count++] = canvas->length;
    canvas->column = 0;
}

static void end_line(struct canvas *canvas)
{
    set_style(canvas, STYLE_PLAIN);
    put_bytes(canvas, "\n", 1);
    start_line(canvas);
}

/* One character of `width` columns (0 for combining marks). */
static void put_character(struct canvas *canvas, enum style style, const char *bytes, size_t length,
                          uint32_t width)
{
    if (canvas->column + width > canvas->width)
        end_line(canvas);
    set_style(canvas, style);
    put_bytes(canvas, bytes, length);
    canvas->column += width;
}

/* Control characters have a visible mark, so that a cell never moves the cursor. */
static void put_text(struct canvas *canvas, enum style style, const char *text)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    while (left > 0) {
        utf8proc_int32_t character;
        utf8proc_ssize_t length = utf8proc_iterate(bytes, left, &character);
        if (length <= 0)
            return; /* the cut end of a long piece */
        int width = utf8proc_charwidth(character);
        utf8proc_category_t category = utf8proc_category(character);
        const char *mark = NULL;
        if (character == '\n')
            mark = "\u23ce";
        else if (character == '\t')
            mark = "\u21e5";
        else if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF)
            mark = "\ufffd";
        if (mark)
            put_character(canvas, style, mark, strlen(mark), 1);
        else
            put_character(canvas, style, (const char *)bytes, (size_t)length,
                          width > 0 ? (uint32_t)width : 0);
        bytes += length;
        left -= length;
    }
}

static void clear_canvas(struct canvas *canvas, uint32_t width)
{
    canvas->length = 0;
    canvas->line_count = 0;
    canvas->width = width;
    canvas->style = STYLE_PLAIN;
    canvas->failed = false;
    start_line(canvas);
}

/* ---- The show ------------------------------------------------------------------------------------------ */

enum rf_status show_begin(struct show **out, const rf_tokenizer *tokenizer, uint32_t slot_size,
                          uint32_t length, struct rf_error *err)
{
    struct show *show = calloc(1, sizeof *show);
    struct cell *cells = calloc(length, sizeof *cells);
    if (!show || !cells) {
        free(show);
        free(cells);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "--show: no memory for %u cells", length);
    }
    show->tokenizer = tokenizer;
    show->cells = cells;
    show->slot_size = slot_size;
    show->length = length;
    show->terminal = isatty(STDERR_FILENO);
    *out = show;
    return RF_OK;
}

enum rf_status show_event(struct show *show, const struct rf_event *event, struct rf_error *err)
{
    if (event->kind == RF_EVENT_FINISHED)
        return RF_OK;
    show->round = event->round;
    if (event->position >= show->length)
        return RF_OK;
    struct cell *cell = &show->cells[event->position];
    if (event->kind == RF_EVENT_DROPPED) {
        uint32_t room = show->length - event->position;
        uint32_t count = event->count < room ? event->count : room;
        for (uint32_t i = 0; i < count; i++)
            cell[i].state = CELL_DROPPED;
        return RF_OK;
    }
    cell->state = event->kind == RF_EVENT_PLANNED ? CELL_PLANNED : CELL_COMMITTED;
    cell->round = event->round;
    if (!show->tokenizer) {
        snprintf(cell->piece, sizeof cell->piece, " %u", event->token);
        return RF_OK;
    }
    char *piece;
    size_t length;
    enum rf_status status =
        rf_tokenizer_decode(show->tokenizer, &event->token, 1, false, &piece, &length, err);
    if (status)
        return status;
    snprintf(cell->piece, sizeof cell->piece, "%s", piece);
    rf_free(piece);
    return RF_OK;
}

static void put_cell(struct show *show, const struct cell *cell)
{
    struct canvas *canvas = &show->canvas;
    switch (cell->state) {
    case CELL_MASKED:
        put_character(canvas, STYLE_DIM, "\u00b7", strlen("\u00b7"), 1);
        break;
    case CELL_DROPPED:
        break;
    case CELL_PLANNED:
        /* A draft of an earlier round that was not kept is a mask again. */
        if (cell->round != show->round)
            put_character(canvas, STYLE_DIM, "\u00b7", strlen("\u00b7"), 1);
        else
            put_text(canvas, STYLE_PLANNED, cell->piece);
        break;
    case CELL_COMMITTED:
        put_text(canvas, cell->round == show->round ? STYLE_FRESH : STYLE_PLAIN, cell->piece);
        break;
    }
}

/* Draws all cells; returns the line of the last one that is planned or committed. */
static uint32_t draw_cells(struct show *show)
{
    struct canvas *canvas = &show->canvas;
    uint32_t newest = 0;
    for (uint32_t i = 0; i < show->length; i++) {
        const struct cell *cell = &show->cells[i];
        if (cell->state == CELL_DROPPED)
            continue;
        if (i && i % show->slot_size == 0)
            put_character(canvas, STYLE_DIM, "\u2502", strlen("\u2502"), 1);
        put_cell(show, cell);
        if (cell->state != CELL_MASKED && cell->round == show->round)
            newest = canvas->line_count - 1;
    }
    return newest;
}

static struct winsize terminal_size(void)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct winsize real;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &real) == 0 && real.ws_col >= 8 && real.ws_row >= 4)
        size = real;
    return size;
}

void show_draw(struct show *show, const struct rf_session_stats *stats, const char *what)
{
    struct canvas *canvas = &show->canvas;
    struct winsize size = terminal_size();
    clear_canvas(canvas, size.ws_col);
    uint32_t newest = draw_cells(show);
    end_line(canvas);
    if (canvas->failed)
        return;
    /* A drawing taller than the terminal could not be replaced: only the lines round the newest token are
     * shown. */
    uint32_t lines = canvas->line_count - 1, first = 0;
    uint32_t most = show->terminal ? size.ws_row - 2u : lines;
    if (lines > most) {
        first = newest + 1 > most ? newest + 1 - most : 0;
        lines = most;
    }
    if (show->terminal && show->drawn)
        fprintf(stderr, "\033[%uA\r\033[J", show->drawn);
    fwrite(canvas->bytes + canvas->lines[first], 1, canvas->lines[first + lines] - canvas->lines[first],
           stderr);
    fprintf(stderr, "\033[0;2mround %u %s, %llu forwards, %.2f tokens/forward\033[0m\n", show->round + 1,
            what, (unsigned long long)stats->forwards, stats->tokens_per_forward);
    if (!show->terminal)
        fputc('\n', stderr);
    show->drawn = lines + 1;
    fflush(stderr);
}

void show_end(struct show *show)
{
    show->drawn = 0;
}

void show_free(struct show *show)
{
    if (!show)
        return;
    free(show->canvas.bytes);
    free(show->canvas.lines);
    free(show->cells);
    free(show);
}
