/* Where the files are that come along with the program: models/tiny, and shaders/ for work on them. */
#ifndef RF_APPS_DATA_DIR_H
#define RF_APPS_DATA_DIR_H

#include <stdbool.h>
#include <stddef.h>

/* Sets `root` to the first folder that has `file` in it. It is looked for from where the program lies, so that an
 * installation, a package and a build tree may be anywhere, and then where the build was to be installed. False: nowhere,
 * and `root` is that last folder. */
bool data_dir(char *root, size_t size, const char *file);

#endif
