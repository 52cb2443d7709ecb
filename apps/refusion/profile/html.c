#include "apps/refusion/profile/html.h"

#include "engine/status.h"

#include <errno.h>
#include <string.h>

static bool put(FILE *file, const void *bytes, size_t size)
{
    return fwrite(bytes, 1, size, file) == size;
}

/* In JSON a '<' stands only inside strings, where its escape says the same; as itself it could end the element
 * that holds the profile, or begin a comment in it. */
static bool put_json(FILE *file, const char *json, size_t length)
{
    const char *end = json + length;
    while (json < end) {
        const char *less = memchr(json, '<', (size_t)(end - json));
        if (!less)
            return put(file, json, (size_t)(end - json));
        if (!put(file, json, (size_t)(less - json)) || fputs("\\u003c", file) == EOF)
            return false;
        json = less + 1;
    }
    return true;
}

enum rf_status profile_html_write(FILE *file, const char *json, size_t length, struct rf_error *err)
{
    errno = 0;
    if (put(file, rf_profile_page_head, rf_profile_page_head_size) && put_json(file, json, length) &&
        put(file, rf_profile_page_tail, rf_profile_page_tail_size) && fflush(file) == 0)
        return RF_OK;
    return rf_fail(err, RF_ERROR_IO, "the profile's page cannot be written: %s",
                   errno ? strerror(errno) : "the file takes no more");
}
