/* Finds the Python that the sandbox runs and what it needs, and proves that the sandbox works here. */
#include "apps/refusion/eval/sandbox.h"
#include "apps/refusion/eval/sandbox_internal.h"
#include "engine/allocate.h"

#include <string.h>

const char *sandbox_end_name(enum sandbox_end end)
{
    static const char *const names[] = {"passed", "raised", "left",    "crashed",  "time",
                                        "memory", "output", "threads", "forbidden"};
    return names[end];
}

void sandbox_result_clear(struct sandbox_result *result)
{
    rf_free(result->output);
    *result = (struct sandbox_result){0};
}

#ifdef SANDBOX_HERE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* ---- Why not ------------------------------------------------------------------------------------------------ */

/* Of a file with one number; `absent` where there is none. */
static int read_setting(const char *path, int absent)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return absent;
    int value = absent;
    if (fscanf(file, "%d", &value) != 1)
        value = absent;
    fclose(file);
    return value;
}

enum rf_status sandbox_refuse(const char *what, int error, struct rf_error *err)
{
    const char *why =
        "a container's seccomp profile or another security module may forbid it; Linux 5.12 or newer "
        "is wanted";
    if (read_setting("/proc/sys/user/max_user_namespaces", 1) == 0)
        why = "user namespaces are switched off; to allow them: sysctl -w user.max_user_namespaces=10000";
    else if (geteuid() != 0 && read_setting("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0)
        why =
            "user namespaces are for root alone; to allow them: sysctl -w kernel.unprivileged_userns_clone=1";
    else if (geteuid() != 0 && read_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) == 1)
        why =
            "AppArmor restricts user namespaces; to allow them: a profile with \"userns,\" for this program "
            "(docs/evaluation.md), or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
    else if (error == EBUSY)
        why = "this process already runs behind a seccomp filter with a listener, and the kernel allows one";
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "sandbox for Python: %s: %s: %s", what, strerror(error), why);
}

/* ---- Which Python -------------------------------------------------------------------------------------------- */

enum { ANSWER_SIZE = 16384, PYTHON_SECONDS = 30 };

/* What `python -I -S -c script` prints; "" when it prints nothing. Its stderr is nobody's, a wrapper may be chatty. */
static enum rf_status ask(const char *python, const char *script, char answer[ANSWER_SIZE],
                          struct rf_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return rf_fail(err, RF_ERROR_IO, "sandbox for Python: a pipe: %s", strerror(errno));
    char *argv[] = {(char *)python, "-I", "-S", "-c", (char *)script, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t child;
    const int failed = posix_spawnp(&child, python, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    size_t length = 0;
    bool late = false;
    while (!failed && length < ANSWER_SIZE - 1) {
        struct pollfd polled = {ends[0], POLLIN, 0};
        late = poll(&polled, 1, PYTHON_SECONDS * 1000) == 0;
        const ssize_t got = late ? 0 : read(ends[0], answer + length, ANSWER_SIZE - 1 - length);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    answer[length] = '\0';
    close(ends[0]);
    if (failed)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "sandbox for Python: %s: %s; on PATH a python3 is wanted",
                       python, strerror(failed));
    if (late)
        kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (late)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "sandbox for Python: %s does not answer within %d s",
                       python, PYTHON_SECONDS);
    return RF_OK;
}

/* The executable behind wrappers, links and virtual environments. */
static const char where_script[] = "import os, sys\nprint(os.path.realpath(sys.executable))\n";

/* The version, then the folders of the standard library and of libraries that come with this Python. */
static const char facts_script[] = "import os, sys\n"
                                   "print('%d.%d.%d' % sys.version_info[:3])\n"
                                   "print(sys.prefix)\n"
                                   "for folder in [os.path.join(p, l) for p in (sys.prefix, sys.exec_prefix) "
                                   "for l in ('lib', 'lib64')] + sys.path:\n"
                                   "    if folder and os.path.isdir(folder):\n"
                                   "        print(folder)\n";

/* ---- The root folder ------------------------------------------------------------------------------------------ */

static bool within(const char *path, const char *folder)
{
    const size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Nothing for a path that is not there, or lies in a folder that was added before. */
static enum rf_status add_mount(struct sandbox *sandbox, const char *path, struct rf_error *err)
{
    struct stat about;
    if (lstat(path, &about) != 0)
        return RF_OK;
    for (size_t i = 0; i < sandbox->mount_count; i++)
        if (!sandbox->mounts[i].link && within(path, sandbox->mounts[i].path))
            return RF_OK;
    if (sandbox->mount_count == SANDBOX_MAX_MOUNTS)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "sandbox for Python: %s lies in more than %d folders",
                       sandbox->python, SANDBOX_MAX_MOUNTS);
    struct sandbox_mount *mount = &sandbox->mounts[sandbox->mount_count];
    char link[PATH_MAX];
    *mount = (struct sandbox_mount){.path = rf_strdup(path)};
    if (S_ISLNK(about.st_mode)) {
        /* /lib is /usr/lib; a link somewhere else is followed by the mount. */
        const ssize_t length = strchr(path + 1, '/') ? -1 : readlink(path, link, sizeof link);
        if (length > 0)
            mount->link = rf_strndup(link, (size_t)length);
        if (stat(path, &about) != 0)
            about.st_mode = 0;
    }
    mount->folder = S_ISDIR(about.st_mode);
    mount->device = S_ISCHR(about.st_mode);
    sandbox->mount_count++;
    return mount->path ? RF_OK : rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox for Python: no memory");
}

static enum rf_status add_system(struct sandbox *sandbox, struct rf_error *err)
{
    static const char *const paths[] = {"/usr/lib",
                                        "/usr/lib64",
                                        "/lib",
                                        "/lib64",
                                        "/nix/store",
                                        "/gnu/store",
                                        "/usr/share/zoneinfo",
                                        "/etc/ld.so.cache",
                                        "/dev/null",
                                        "/dev/zero",
                                        "/dev/urandom"};
    enum rf_status status = RF_OK;
    for (size_t i = 0; !status && i < sizeof paths / sizeof *paths; i++)
        status = add_mount(sandbox, paths[i], err);
    return status;
}

/* The next line of *rest, or NULL. */
static char *next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = '\0';
    *rest = end + 1;
    return line;
}

static enum rf_status find_python(struct sandbox *sandbox, struct rf_error *err)
{
    char answer[ANSWER_SIZE], *rest = answer;
    enum rf_status status = ask("python3", where_script, answer, err);
    if (status)
        return status;
    const char *python = next_line(&rest);
    if (!python || python[0] != '/')
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "sandbox for Python: the python3 on PATH does not say where its executable is");
    sandbox->python = rf_strdup(python);
    if (!sandbox->python)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox for Python: no memory");
    status = ask(sandbox->python, facts_script, answer, err);
    if (!status)
        status = add_system(sandbox, err);
    rest = answer;
    const char *version = status ? NULL : next_line(&rest), *prefix = version ? next_line(&rest) : NULL;
    if (!status && !prefix)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "sandbox for Python: %s does not run by itself",
                       sandbox->python);
    if (status)
        return status;
    snprintf(sandbox->version, sizeof sandbox->version, "%.31s", version);
    if (strcmp(prefix, "/usr") != 0) {
        /* Without /proc the dynamic linker does not know where the executable is, nor what lies beside it. */
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "LD_LIBRARY_PATH=%.*s/lib", PATH_MAX, prefix);
        sandbox->library_path = rf_strdup(path);
    }
    for (const char *folder; !status && (folder = next_line(&rest));)
        status = add_mount(sandbox, folder, err);
    return status ? status : add_mount(sandbox, sandbox->python, err);
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

/* A program that passes and one that does not: the sandbox works, and it tells them apart. */
static enum rf_status prove(const struct sandbox *sandbox, struct rf_error *err)
{
    static const char code[] = "import math, random, re\ndef f(x):\n    return x + 1\n";
    static const char tests[2][24] = {"assert f(1) == 2\n", "assert f(1) == 3\n"};
    static const enum sandbox_end wanted[2] = {SANDBOX_PASSED, SANDBOX_RAISED};
    for (int i = 0; i < 2; i++) {
        struct sandbox_desc desc = {.code = code, .tests = tests[i], .wall_seconds = PYTHON_SECONDS};
        desc.code_length = strlen(code);
        desc.tests_length = strlen(tests[i]);
        struct sandbox_result result;
        enum rf_status status = sandbox_run(sandbox, &desc, &result, err);
        if (status)
            return status;
        if (result.end != wanted[i])
            status =
                rf_fail(err, RF_ERROR_UNSUPPORTED,
                        "sandbox for Python: %s in it: a test ended with \"%s\", wanted \"%s\": %s: %.400s",
                        sandbox->python, sandbox_end_name(result.end), sandbox_end_name(wanted[i]),
                        result.detail, result.output);
        sandbox_result_clear(&result);
        if (status)
            return status;
    }
    return RF_OK;
}

enum rf_status sandbox_open(struct sandbox **out, struct rf_error *err)
{
    *out = NULL;
    struct sandbox *sandbox = rf_calloc(1, sizeof *sandbox);
    if (!sandbox)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox for Python: no memory");
    sandbox->filter_length = sandbox_filter_make(sandbox->filter);
    enum rf_status status = find_python(sandbox, err);
    if (!status)
        status = prove(sandbox, err);
    if (status)
        sandbox_close(sandbox);
    else
        *out = sandbox;
    return status;
}

void sandbox_close(struct sandbox *sandbox)
{
    if (!sandbox)
        return;
    for (size_t i = 0; i < sandbox->mount_count; i++) {
        rf_free(sandbox->mounts[i].path);
        rf_free(sandbox->mounts[i].link);
    }
    rf_free(sandbox->python);
    rf_free(sandbox->library_path);
    rf_free(sandbox);
}

const char *sandbox_python_version(const struct sandbox *sandbox)
{
    return sandbox->version;
}

const char *sandbox_python_path(const struct sandbox *sandbox)
{
    return sandbox->python;
}

#else

enum rf_status sandbox_open(struct sandbox **out, struct rf_error *err)
{
    *out = NULL;
    return rf_fail(err, RF_ERROR_UNSUPPORTED,
                   "sandbox for Python: this system is not Linux on x86_64 or aarch64");
}

void sandbox_close(struct sandbox *sandbox)
{
    (void)sandbox;
}

const char *sandbox_python_version(const struct sandbox *sandbox)
{
    (void)sandbox;
    return "";
}

const char *sandbox_python_path(const struct sandbox *sandbox)
{
    (void)sandbox;
    return "";
}

enum rf_status sandbox_run(const struct sandbox *sandbox, const struct sandbox_desc *desc,
                           struct sandbox_result *result, struct rf_error *err)
{
    (void)sandbox, (void)desc;
    *result = (struct sandbox_result){0};
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "sandbox for Python: not on this system");
}
#endif
