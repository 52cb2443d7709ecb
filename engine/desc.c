#include "engine/desc.h"

#include <string.h>

enum { LARGEST = 4096 }; /* no desc will ever be: a larger size was never set */

enum rf_status rf_desc_read(void *out, size_t known, size_t first, const void *given, const char *name,
                            struct rf_error *err)
{
    uint32_t size = 0;
    memset(out, 0, known);
    if (!given)
        return RF_OK;
    memcpy(&size, given, sizeof size);
    size_t theirs = size ? size : first;
    if (theirs <= sizeof size || theirs > LARGEST)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s.size: found %u, wanted sizeof(struct %s), or 0", name,
                       size, name);
    memcpy(out, given, theirs < known ? theirs : known);
    for (size_t i = known; i < theirs; i++)
        if (((const unsigned char *)given)[i])
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "%s: byte %zu is set, which refusion " RF_VERSION " (%zu bytes) does not know",
                           name, i, known);
    return RF_OK;
}
