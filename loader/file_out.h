/* A file that appears whole or not at all: written under a temporary name in the same folder, made durable,
 * then renamed. */
#ifndef RF_LOADER_FILE_OUT_H
#define RF_LOADER_FILE_OUT_H

#include "engine/status.h"

struct rf_file_out {
    char *path, *temporary;
    int fd;
    uint64_t written; /* bytes */
};

/* Creates the temporary file, and asks for `bytes` bytes of space at once where the file system can say
 * whether it has them, so that a full disk shows before hours of work. */
enum rf_status rf_file_out_open(struct rf_file_out *out, const char *path, uint64_t bytes,
                                struct rf_error *err);
enum rf_status rf_file_out_write(struct rf_file_out *out, const void *data, uint64_t bytes,
                                 struct rf_error *err);
/* To disk, and under the final name, where it takes the place of an older file. */
enum rf_status rf_file_out_commit(struct rf_file_out *out, struct rf_error *err);
/* Closes; removes the temporary file unless it was committed. A zeroed one is fine. */
void rf_file_out_close(struct rf_file_out *out);

#endif
