/* How a program ended, in words. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
#include "loader/utf8.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static enum rf_status reap(const struct sandbox_run *run, siginfo_t *info, struct rusage *usage,
                           struct rf_error *err)
{
    enum { BY_PIDFD = 3 /* P_PIDFD, of glibc 2.36 */ };
    long status;
    do
        status = syscall(SYS_waitid, BY_PIDFD, run->watched[SANDBOX_PROCESS], info, WEXITED, usage);
    while (status != 0 && errno == EINTR);
    if (status != 0)
        return rf_fail(err, RF_ERROR_INTERNAL,
                       "sandbox: %s: SIGCHLD is ignored, or somebody else waits for all children",
                       strerror(errno));
    return RF_OK;
}

/* Valid UTF-8, and nothing that a terminal would act on. */
static bool append_clean(struct rf_bytes *out, const char *text, size_t length, bool one_line)
{
    static const char replacement[] = "\xef\xbf\xbd";
    for (size_t size; length; text += size, length -= size) {
        enum rf_utf8_kind kind;
        size = rf_utf8_next(text, length, &kind);
        const uint32_t code = kind == RF_UTF8_WHOLE ? rf_utf8_decode(text, size) : 0;
        const bool space = code == '\n' || code == '\t';
        bool room;
        if (space && one_line)
            room = rf_bytes_append(out, " ", 1);
        else if (!space && (code < 0x20 || (code >= 0x7f && code < 0xa0)))
            room = rf_bytes_append(out, replacement, 3);
        else
            room = rf_bytes_append(out, text, size);
        if (!room)
            return false;
    }
    return true;
}

static bool tell_detail(struct sandbox_result *result, const char *text, size_t length)
{
    struct rf_bytes clean = {0};
    const size_t most = sizeof result->detail - 1;
    const bool room = append_clean(&clean, text, length, true) && rf_bytes_terminate(&clean);
    if (room) {
        size_t end = clean.length;
        if (end > most)
            end = rf_utf8_valid(clean.data, most);
        memcpy(result->detail, clean.data, end);
        result->detail[end] = '\0';
    }
    rf_free(clean.data);
    return room;
}

static bool tell_output(struct sandbox_result *result, const struct sandbox_run *run)
{
    const struct rf_bytes *tail = &run->tail;
    size_t begin = tail->length > run->desc.kept_bytes ? tail->length - run->desc.kept_bytes : 0;
    result->output_cut = begin || run->dropped;
    for (int i = 0; result->output_cut && i < 3 && begin < tail->length && (tail->data[begin] & 0xc0) == 0x80;
         i++)
        begin++; /* the rest of a character that was cut */
    struct rf_bytes clean = {0};
    if (!append_clean(&clean, tail->data + begin, tail->length - begin, false) ||
        !rf_bytes_terminate(&clean)) {
        rf_free(clean.data);
        return false;
    }
    result->output = clean.data;
    result->output_length = clean.length;
    return true;
}

static const char *signal_name(int number, char *room, size_t size)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGSEGV, "SIGSEGV"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
                 {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}, {SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(room, size, "signal %d", number);
    return room;
}

/* Writes the end into the run, where the kernel's word or the boot code's is not yet there. */
static void conclude(struct sandbox_run *run, const siginfo_t *info, double cpu_seconds)
{
    const bool by_signal = info->si_code != CLD_EXITED;
    const char kind = run->report_length ? run->report[0] : '\0';
    char room[32];
    if (by_signal && info->si_status == SIGKILL && cpu_seconds > run->desc.cpu_seconds)
        sandbox_decide(run, SANDBOX_TIME, "%g s of CPU time", run->desc.cpu_seconds);
    else if (by_signal && info->si_status == SIGKILL)
        sandbox_decide(run, SANDBOX_MEMORY, "killed by the system, which does so for want of memory");
    else if (by_signal && info->si_status == SIGSYS)
        sandbox_decide(run, SANDBOX_FORBIDDEN, "a system call of another architecture");
    else if (by_signal)
        sandbox_decide(run, SANDBOX_CRASHED, "%s", signal_name(info->si_status, room, sizeof room));
    else if (kind == SANDBOX_SAYS_RAISED || kind == SANDBOX_SAYS_MEMORY)
        sandbox_decide(run, kind == SANDBOX_SAYS_RAISED ? SANDBOX_RAISED : SANDBOX_MEMORY, "%.*s",
                       (int)run->report_length - 1, run->report + 1);
    else if (kind == SANDBOX_SAYS_LEFT)
        sandbox_decide(run, SANDBOX_LEFT, "%.*s", (int)run->report_length - 1, run->report + 1);
    else
        sandbox_decide(run, SANDBOX_LEFT, "exit status %d before the tests had ended", info->si_status);
}

static enum rf_status tell_failure(const struct sandbox *sandbox, const struct sandbox_run *run,
                                   struct rf_error *err)
{
    static const char *const steps[] = {
        [SANDBOX_STEP_USER] = "an identity in a user namespace",
        [SANDBOX_STEP_SOURCES] = "bind mounts",
        [SANDBOX_STEP_ROOT] = "a root folder",
        [SANDBOX_STEP_DESCRIPTORS] = "open files",
        [SANDBOX_STEP_LIMITS] = "limits",
        [SANDBOX_STEP_RIGHTS] = "giving up rights",
        [SANDBOX_STEP_FILTER] = "a seccomp filter with a listener",
    };
    const int error = run->failure.error;
    if (!run->failed)
        return rf_fail(err, RF_ERROR_INTERNAL, "sandbox: the process ended before Python began");
    if (run->failure.step == SANDBOX_STEP_USER && error == EPERM && geteuid() == 0)
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "sandbox for Python: root needs CAP_SETFCAP to be itself in a user namespace, which this "
            "container has taken away; any other user needs nothing");
    if (run->failure.step == SANDBOX_STEP_EXEC)
        return rf_fail(err, RF_ERROR_IO, "sandbox: %s: cannot be started: %s", sandbox->python,
                       strerror(error));
    if (error == ENOMEM || error == ENFILE || error == EMFILE)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: %s: %s", steps[run->failure.step],
                       strerror(error));
    return sandbox_refuse(steps[run->failure.step], error, err);
}

enum rf_status sandbox_tell(struct sandbox_run *run, const struct sandbox *sandbox,
                            struct sandbox_result *result, struct rf_error *err)
{
    siginfo_t info = {0};
    struct rusage usage;
    const enum rf_status status = reap(run, &info, &usage, err);
    if (status)
        return status;
    if (run->failed || (!run->filtered && !run->decided))
        return tell_failure(sandbox, run, err);
    result->wall_seconds = sandbox_now() - run->started;
    result->cpu_seconds = (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec +
                          (double)usage.ru_stime.tv_sec + 1e-6 * (double)usage.ru_stime.tv_usec;
    conclude(run, &info, result->cpu_seconds);
    result->end = run->end;
    if (!tell_output(result, run) || !tell_detail(result, run->detail, strlen(run->detail))) {
        sandbox_result_clear(result);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: no memory for what the program wrote");
    }
    return RF_OK;
}
#endif
