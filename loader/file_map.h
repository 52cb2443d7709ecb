/* A file mapped read-only into memory: nothing is read until it is looked at, so a 16 GB shard costs
 * address space only.
 *
 * The mapping shows the file as it is on disk. Cutting or rewriting a file while it is mapped is not
 * supported: reading a page that no longer exists raises SIGBUS, which a library must not catch. Replace
 * model files by renaming. */
#ifndef RF_LOADER_FILE_MAP_H
#define RF_LOADER_FILE_MAP_H

#include "engine/status.h"

struct rf_file_map {
    const unsigned char *data; /* size bytes; page aligned */
    uint64_t size;             /* > 0 */
};

/* Maps the regular file `path`. A missing, unreadable or empty file, a folder, a FIFO or a device is
 * RF_ERROR_IO. */
enum rf_status rf_file_map_open(struct rf_file_map *out, const char *path, struct rf_error *err);
void rf_file_map_close(struct rf_file_map *map); /* a zeroed or closed map is fine */

/* Tells the system that these bytes of a mapping will not be read again soon (they were copied to the
 * device), so that their pages stop counting as resident. Reading them again is still correct. */
void rf_file_map_forget(const void *data, uint64_t bytes);

/* folder + "/" + name, for rf_free; NULL when memory is out. */
char *rf_path_join(const char *folder, const char *name);

/* False only when nothing has that name; a file that exists but cannot be opened is true, so that opening
 * it says why. */
bool rf_path_exists(const char *path);

#endif
