/* Between the files of the sandbox: sandbox.c finds Python and proves the sandbox, sandbox_run.c starts a program,
 * sandbox_watch.c stays with it, sandbox_tell.c says how it ended, sandbox_child.c is the program's process before Python,
 * sandbox_filter.c the system calls, sandbox_boot.c the Python that runs answer and tests. */
#ifndef RF_APPS_EVAL_SANDBOX_INTERNAL_H
#define RF_APPS_EVAL_SANDBOX_INTERNAL_H

#include "apps/refusion/eval/sandbox.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define SANDBOX_HERE 1

#include "loader/growable.h"

#include <linux/filter.h>
#include <sys/types.h>
#include <time.h>

/* Part of the program's root folder: a bind mount of the host's, or a symbolic link. */
struct sandbox_mount {
    char *path;  /* absolute, in both roots */
    char *link;  /* what the symbolic link says; NULL: a bind mount */
    bool folder; /* else a file */
    bool device; /* a file that is one */
};

enum {
    SANDBOX_MAX_MOUNTS = 32,
    SANDBOX_MAX_FILTER = 1024,     /* instructions; half of them are used */
    SANDBOX_FILE_BYTES = 16 << 20, /* of /tmp, and so of one file */
};

struct sandbox {
    char *python;       /* absolute and real: no link, no wrapper, no virtual environment */
    char *library_path; /* "LD_LIBRARY_PATH=..." for a Python outside /usr; NULL: none */
    char version[32];
    struct sandbox_mount mounts[SANDBOX_MAX_MOUNTS];
    size_t mount_count;
    struct sock_filter filter[SANDBOX_MAX_FILTER];
    size_t filter_length;
};

/* Descriptors of the program. Those from SANDBOX_OPEN_FILES on are closed by exec, and as that is also the limit on open
 * files, nothing can ever be opened there again: so the filter can allow by number what only the way to exec needs. */
enum {
    SANDBOX_FD_PROGRAM = 3, /* a sealed memory file: answer, tests, token */
    SANDBOX_FD_REPORT = 4,  /* a pipe: how it ended, as the boot code tells it */
    SANDBOX_FD_COUNT = 5,
    SANDBOX_OPEN_FILES = 64,
    SANDBOX_FD_PYTHON = 200,  /* the executable */
    SANDBOX_FD_CONTROL = 201, /* a socket to the caller: the filter's listener, or what failed */
    SANDBOX_FD_CALLER = 202,  /* a pidfd */
    SANDBOX_FD_FREE = 203,
};

/* Everything the child needs, laid out before it is made: in the child of a process with threads nothing may be
 * allocated. Descriptors are the caller's. */
struct sandbox_launch {
    const struct sandbox *sandbox;
    char *const *argv, *const *environment;
    char uid_map[48], gid_map[48];
    int program, report, out, errors, control, caller;
    unsigned long long memory_bytes, cpu_seconds;
};

/* Where the child failed, written to the control socket. */
enum sandbox_step {
    SANDBOX_STEP_USER, /* the identity in the new user namespace */
    SANDBOX_STEP_SOURCES,
    SANDBOX_STEP_ROOT,
    SANDBOX_STEP_DESCRIPTORS,
    SANDBOX_STEP_LIMITS,
    SANDBOX_STEP_RIGHTS,
    SANDBOX_STEP_FILTER,
    SANDBOX_STEP_EXEC,
};
struct sandbox_failure {
    int step, error;
};

/* Python that takes the lengths of answer and tests as arguments. What it writes to SANDBOX_FD_REPORT begins with one
 * of these; a text or, for SANDBOX_SAYS_PASSED, the token follows. */
extern const char sandbox_boot[];
enum {
    SANDBOX_SAYS_PASSED = 'P',
    SANDBOX_SAYS_RAISED = 'E',
    SANDBOX_SAYS_MEMORY = 'M',
    SANDBOX_SAYS_LEFT = 'X',
    SANDBOX_TOKEN_LENGTH = 32,
};

enum { SANDBOX_REPORT_SIZE = 1024 };

/* The caller's ends of a program's channels, and the process itself. */
enum {
    SANDBOX_STDOUT,
    SANDBOX_STDERR,
    SANDBOX_REPORT,
    SANDBOX_CONTROL,
    SANDBOX_LISTENER, /* of the filter; comes through the control socket */
    SANDBOX_PROCESS,  /* a pidfd */
    SANDBOX_WATCHED,
};

/* One program, from the caller's side. */
struct sandbox_run {
    struct sandbox_desc desc;     /* with defaults in their places */
    double started, deadline;     /* of the monotonic clock */
    clockid_t cpu;                /* of the process: its CPU time */
    int watched[SANDBOX_WATCHED]; /* -1: closed */
    int program, caller;          /* a memory file; a pidfd of this process */
    char token[SANDBOX_TOKEN_LENGTH];

    bool filtered; /* the listener came, and if nothing failed, Python was next */
    bool failed;   /* on the way to Python, as `failure` says */
    struct sandbox_failure failure;

    bool killed;
    bool decided; /* `end` and `detail` are; the first cause is the one that is told */
    enum sandbox_end end;
    char detail[SANDBOX_REPORT_SIZE];
    size_t written; /* to stdout and stderr */
    unsigned threads;
    char report[SANDBOX_REPORT_SIZE];
    size_t report_length;
    struct rf_bytes tail; /* the end of stderr, up to twice what is kept */
    size_t dropped;       /* bytes before it */
};

double sandbox_now(void); /* of the monotonic clock, in seconds */

void sandbox_close_end(int *descriptor); /* and makes it -1 */

/* The run's end, unless there already is one. */
__attribute__((format(printf, 3, 4))) void sandbox_decide(struct sandbox_run *run, enum sandbox_end end,
                                                          const char *format, ...);
/* Until the process has ended and everything that it wrote is read. Kills it when its end is decided before. */
enum rf_status sandbox_watch(struct sandbox_run *run, struct rf_error *err);

/* Reaps the ended process and fills the result; or says why Python was not reached. */
enum rf_status sandbox_tell(struct sandbox_run *run, const struct sandbox *sandbox,
                            struct sandbox_result *result, struct rf_error *err);

/* Writes the filter; returns how many instructions it has. */
size_t sandbox_filter_make(struct sock_filter filter[SANDBOX_MAX_FILTER]);
/* Of those that the filter hands to the caller; "N" for one without a name. */
void sandbox_call_name(char *out, size_t size, int number);
/* Whether a clone with these flags makes a thread, and nothing else. */
bool sandbox_clone_is_thread(unsigned long long flags);

/* Becomes the program. Never returns: what fails is written to the control socket. */
_Noreturn void sandbox_child(const struct sandbox_launch *launch);

/* RF_ERROR_UNSUPPORTED in words: why namespaces cannot be made here, and what an administrator can do. `what` is what
 * failed, with `error`. */
enum rf_status sandbox_refuse(const char *what, int error, struct rf_error *err);
#endif
#endif
