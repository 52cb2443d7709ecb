#include "apps/refusion/data_dir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static bool holds(char *root, size_t size, const char *folder, const char *below, const char *file)
{
    char path[PATH_MAX];
    int length = snprintf(root, size, "%s%s%s", folder, below[0] ? "/" : "", below);
    if (length < 0 || (size_t)length >= size)
        return false;
    length = snprintf(path, sizeof path, "%s/%s", root, file);
    return length > 0 && (size_t)length < sizeof path && access(path, F_OK) == 0;
}

/* From a program's path: as it is installed, and as it is built. */
static bool near(char *root, size_t size, const char *program, const char *file)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(program, '/');
    if (!slash || (size_t)(slash - program) >= sizeof folder)
        return false;
    memcpy(folder, program, (size_t)(slash - program));
    folder[slash - program] = '\0';
    return holds(root, size, folder, RF_DATA_FROM_PROGRAM, file) ||
           holds(root, size, folder, "share/refusion", file);
}

bool data_dir(char *root, size_t size, const char *file)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    /* Without /proc, as in a bare root, the kernel still tells what was started. Where a dynamic linker was started by
     * name, the process is that linker's, and only the name is the program's. */
    const char *started = (const char *)getauxval(AT_EXECFN);
    return near(root, size, program, file) || (started && near(root, size, started, file)) ||
           near(root, size, program_invocation_name, file) || holds(root, size, RF_INSTALLED_DATA, "", file);
}
