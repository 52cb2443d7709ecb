/* An answer's text as runs of prose and of fenced code. */
#ifndef DESKTOP_BLOCKS_H
#define DESKTOP_BLOCKS_H

#include <glib.h>

struct block {
    gboolean code;
    gsize begin, end; /* bytes of the text; a code block's are without its fences */
    char *language;   /* word after the opening fence, lower case; NULL: prose, or none given */
};

/* GArray of struct block; free with g_array_unref. A fence is a line that begins with three backticks or
 * more; one that is never closed reaches to the end. Empty prose is left out. */
GArray *blocks_split(const char *text);

#endif
