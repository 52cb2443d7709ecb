#include "apps/desktop/blocks.h"

#include <string.h>

static void block_clear(gpointer data)
{
    struct block *block = data;
    g_free(block->language);
}

/* Backticks at the beginning of a line, after at most three spaces; 0: not a fence. */
static gsize fence_length(const char *line, gsize length)
{
    gsize i = 0, ticks = 0;
    while (i < length && i < 3 && line[i] == ' ')
        i++;
    while (i + ticks < length && line[i + ticks] == '`')
        ticks++;
    return ticks >= 3 ? ticks : 0;
}

static gboolean only_blank(const char *text, gsize begin, gsize end)
{
    for (gsize i = begin; i < end; i++)
        if (!g_ascii_isspace(text[i]))
            return FALSE;
    return TRUE;
}

static void add_block(GArray *blocks, const char *text, struct block block)
{
    if (block.end > block.begin && text[block.end - 1] == '\n')
        block.end--;
    if (!block.code && only_blank(text, block.begin, block.end))
        return;
    g_array_append_val(blocks, block);
}

/* The word after the backticks of an opening fence. */
static char *fence_language(const char *line, gsize length)
{
    char *copy = g_strndup(line, length);
    char *word = copy;
    while (*word == ' ' || *word == '`')
        word++;
    word[strcspn(word, " \t\r{")] = '\0';
    char *language = *word ? g_ascii_strdown(word, -1) : NULL;
    g_free(copy);
    return language;
}

GArray *blocks_split(const char *text)
{
    GArray *blocks = g_array_new(FALSE, FALSE, sizeof(struct block));
    g_array_set_clear_func(blocks, block_clear);
    struct block open = {0};
    gsize opening = 0; /* backticks of the fence that is open */
    gsize at = 0, length = strlen(text);
    while (at < length) {
        const char *newline = memchr(text + at, '\n', length - at);
        gsize line_end = newline ? (gsize)(newline - text) : length;
        gsize next = newline ? line_end + 1 : length;
        gsize ticks = fence_length(text + at, line_end - at);
        /* An opening fence may be followed by a word, a closing one by nothing. */
        gboolean closes = open.code && ticks >= opening && !memchr(text + at, ' ', line_end - at);
        if (ticks && (closes || !open.code)) {
            open.end = at;
            add_block(blocks, text, open);
            open = (struct block){.code = !closes, .begin = next};
            if (!closes) {
                opening = ticks;
                open.language = fence_language(text + at, line_end - at);
            }
        }
        at = next;
    }
    open.end = length;
    add_block(blocks, text, open);
    return blocks;
}
