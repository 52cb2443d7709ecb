/* Starts a program, watches it, and says how it ended. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
#include "loader/growable.h"
#include "loader/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REPORT_SIZE = 1024, READ_SIZE = 16384 };
enum { STDOUT, STDERR, REPORT, CONTROL, LISTENER, PROCESS, WATCHED };

struct run {
    struct sandbox_desc desc; /* with defaults in their places */
    double started, deadline; /* of the monotonic clock */
    int watched[WATCHED];     /* our ends, and the process; -1: closed */
    int program;
    char token[SANDBOX_TOKEN_LENGTH];

    bool running; /* Python was reached: the listener came, and then the end of the control socket */
    struct sandbox_failure failure;
    bool failed; /* on the way to Python, as `failure` says */

    bool killed; /* by us, because of `end` */
    enum sandbox_end end;
    char detail[REPORT_SIZE];
    size_t written; /* to stdout and stderr */
    unsigned threads;
    char report[REPORT_SIZE];
    size_t report_length;
    struct rf_bytes tail; /* the end of stderr, up to twice what is kept */
    size_t dropped;       /* bytes before it */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void close_one(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

/* ---- What is asked for ------------------------------------------------------------------------------------- */

static enum rf_status check_desc(struct sandbox_desc *desc, struct rf_error *err)
{
    if (!desc->code || !desc->tests || !desc->tests_length)
        return rf_fail(err, RF_ERROR_ARGUMENT, "sandbox: no %s to run", desc->code ? "tests" : "code");
    if (desc->code_length > INT32_MAX || desc->tests_length > INT32_MAX)
        return rf_fail(err, RF_ERROR_ARGUMENT, "sandbox: code of %zu and tests of %zu bytes, at most %d each",
                       desc->code_length, desc->tests_length, INT32_MAX);
    desc->wall_seconds = desc->wall_seconds != 0 ? desc->wall_seconds : 10;
    desc->cpu_seconds = desc->cpu_seconds != 0 ? desc->cpu_seconds : desc->wall_seconds;
    desc->memory_bytes = desc->memory_bytes ? desc->memory_bytes : (size_t)1 << 30;
    desc->output_bytes = desc->output_bytes ? desc->output_bytes : 16 << 20;
    desc->kept_bytes = desc->kept_bytes ? desc->kept_bytes : 4096;
    desc->max_threads = desc->max_threads ? desc->max_threads : 64;
    if (!(desc->wall_seconds > 0 && desc->wall_seconds <= 3600))
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "sandbox: %g s of wall clock, more than 0 and at most 3600 wanted",
                       desc->wall_seconds);
    if (!(desc->cpu_seconds > 0 && desc->cpu_seconds <= 3600))
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "sandbox: %g s of CPU time, more than 0 and at most 3600 wanted", desc->cpu_seconds);
    if (desc->memory_bytes < 64 << 20)
        return rf_fail(err, RF_ERROR_ARGUMENT, "sandbox: %zu bytes of memory, at least 64 MiB wanted",
                       desc->memory_bytes);
    if (desc->kept_bytes > 1 << 20)
        return rf_fail(err, RF_ERROR_ARGUMENT, "sandbox: %zu bytes of output to keep, at most 1 MiB wanted",
                       desc->kept_bytes);
    return RF_OK;
}

/* ---- Starting ------------------------------------------------------------------------------------------------ */

/* Where the system insists, a memory file says that it will not be executed; older kernels do not know the flag. */
static int memory_file(void)
{
    const unsigned no_exec = 8; /* MFD_NOEXEC_SEAL */
    const int file = memfd_create("program", MFD_CLOEXEC | MFD_ALLOW_SEALING | no_exec);
    return file >= 0 || errno != EINVAL ? file : memfd_create("program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

static bool write_all(int file, const char *data, size_t length)
{
    while (length) {
        const ssize_t written = write(file, data, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

static bool make_token(char token[SANDBOX_TOKEN_LENGTH])
{
    unsigned char random[SANDBOX_TOKEN_LENGTH / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    for (size_t i = 0; i < SANDBOX_TOKEN_LENGTH; i++)
        token[i] = "0123456789abcdef"[random[i / 2] >> (i % 2 * 4) & 15];
    return true;
}

static enum rf_status make_program(struct run *run, struct rf_error *err)
{
    const struct sandbox_desc *desc = &run->desc;
    run->program = memory_file();
    if (run->program < 0 || !make_token(run->token) ||
        !write_all(run->program, desc->code, desc->code_length) ||
        !write_all(run->program, desc->tests, desc->tests_length) ||
        !write_all(run->program, run->token, sizeof run->token) ||
        fcntl(run->program, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        return rf_fail(err, RF_ERROR_IO, "sandbox: the program's memory file: %s", strerror(errno));
    return RF_OK;
}

/* Ours in run->watched, the child's in `theirs`, by the same indices. */
static enum rf_status make_channels(struct run *run, int theirs[CONTROL + 1], struct rf_error *err)
{
    for (int i = STDOUT; i <= CONTROL; i++) {
        int pair[2];
        const int failed = i == CONTROL ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
                                        : pipe2(pair, O_CLOEXEC);
        if (failed)
            return rf_fail(err, RF_ERROR_IO, "sandbox: pipes: %s", strerror(errno));
        run->watched[i] = pair[0];
        theirs[i] = pair[1];
        fcntl(pair[0], F_SETFL, O_NONBLOCK);
    }
    return RF_OK;
}

/* As fork, in new namespaces, and with a descriptor of the child in *process. All signals are blocked meanwhile, so that no
 * handler of the caller's runs in the child. clone3 could do no more here, and containers often refuse it. */
static long clone_child(int *process)
{
    const unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PIDFD | SIGCHLD;
    sigset_t all, former;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    const long child = syscall(SYS_clone, flags, NULL, process, NULL, NULL);
    if (child != 0) {
        const int error = errno;
        pthread_sigmask(SIG_SETMASK, &former, NULL);
        errno = error;
    }
    return child;
}

static enum rf_status start(struct run *run, const struct sandbox *sandbox, const int theirs[CONTROL + 1],
                            struct rf_error *err)
{
    char lengths[2][24];
    snprintf(lengths[0], sizeof lengths[0], "%zu", run->desc.code_length);
    snprintf(lengths[1], sizeof lengths[1], "%zu", run->desc.tests_length);
    /* No user folder, no site-packages, no files of bytecode. Not -I, which would ignore PYTHONHASHSEED; what else it does
     * for safety's sake the environment and the boot code do. */
    const char *argv[] = {sandbox->python, "-sSB", "-c", sandbox_boot, lengths[0], lengths[1], NULL};
    const char *environment[] = {"PATH=/usr/bin:/bin", "HOME=/tmp",           "LANG=C.UTF-8",
                                 "PYTHONHASHSEED=0",   sandbox->library_path, NULL};
    struct sandbox_launch launch = {
        .sandbox = sandbox,
        .argv = (char *const *)argv,
        .environment = (char *const *)environment,
        .program = run->program,
        .report = theirs[REPORT],
        .out = theirs[STDOUT],
        .errors = theirs[STDERR],
        .control = theirs[CONTROL],
        .memory_bytes = run->desc.memory_bytes,
        .cpu_seconds = (unsigned long long)ceil(run->desc.cpu_seconds),
    };
    snprintf(launch.uid_map, sizeof launch.uid_map, "65534 %u 1", (unsigned)geteuid());
    snprintf(launch.gid_map, sizeof launch.gid_map, "65534 %u 1", (unsigned)getegid());
    run->started = now();
    run->deadline = run->started + run->desc.wall_seconds;
    const long child = clone_child(&run->watched[PROCESS]);
    if (child == 0)
        sandbox_child(&launch);
    if (child < 0 && (errno == ENOMEM || errno == EAGAIN))
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: no new process: %s", strerror(errno));
    return child < 0 ? sandbox_refuse("new namespaces", errno, err) : RF_OK;
}

/* ---- Watching ------------------------------------------------------------------------------------------------ */

/* The first cause is the one that is told. */
__attribute__((format(printf, 3, 4))) static void stop(struct run *run, enum sandbox_end end,
                                                       const char *format, ...)
{
    if (run->killed)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(run->detail, sizeof run->detail, format, args);
    va_end(args);
    run->killed = true;
    run->end = end;
    syscall(SYS_pidfd_send_signal, run->watched[PROCESS], SIGKILL, NULL, 0);
}

static void keep(struct run *run, const char *data, size_t length)
{
    const size_t kept = run->desc.kept_bytes;
    struct rf_bytes *tail = &run->tail;
    if (length > kept) {
        run->dropped += length - kept;
        data += length - kept;
        length = kept;
    }
    if (tail->length + length > 2 * kept) {
        const size_t drop = tail->length + length - kept;
        memmove(tail->data, tail->data + drop, tail->length - drop);
        tail->length -= drop;
        run->dropped += drop;
    }
    rf_bytes_append(tail, data, length); /* there is room: sandbox_run made it */
}

static void keep_report(struct run *run, const char *data, size_t length)
{
    const size_t room = sizeof run->report - run->report_length;
    length = length < room ? length : room;
    memcpy(run->report + run->report_length, data, length);
    run->report_length += length;
    if (run->report_length == 1 + SANDBOX_TOKEN_LENGTH && run->report[0] == SANDBOX_SAYS_PASSED &&
        memcmp(run->report + 1, run->token, SANDBOX_TOKEN_LENGTH) == 0)
        stop(run, SANDBOX_PASSED, "%s", "");
}

/* One read of stdout, stderr or the report; false when there is no more at present. */
static bool read_pipe(struct run *run, int which)
{
    char data[READ_SIZE];
    const ssize_t length = read(run->watched[which], data, sizeof data);
    if (length < 0 && errno == EINTR)
        return true;
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            close_one(&run->watched[which]);
        return false;
    }
    if (which == REPORT) {
        keep_report(run, data, (size_t)length);
    } else {
        run->written += (size_t)length;
        if (which == STDERR)
            keep(run, data, (size_t)length);
        if (run->written > run->desc.output_bytes)
            stop(run, SANDBOX_OUTPUT, "more than %zu bytes of output", run->desc.output_bytes);
    }
    return true;
}

/* The filter's listener comes, then nothing more if Python was reached; or what failed. */
static bool read_control(struct run *run)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } room;
    struct sandbox_failure failure;
    struct iovec part = {&failure, sizeof failure};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    const ssize_t length = recvmsg(run->watched[CONTROL], &message, MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EINTR || errno == EAGAIN))
        return errno == EINTR;
    if (length != (ssize_t)sizeof failure) {
        run->running = run->watched[LISTENER] >= 0 && !run->failed;
        close_one(&run->watched[CONTROL]);
        return false;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS && run->watched[LISTENER] < 0) {
        memcpy(&run->watched[LISTENER], CMSG_DATA(header), sizeof(int));
    } else if (failure.step >= 0) {
        run->failed = true;
        run->failure = failure;
    }
    return true;
}

/* A call that the filter hands over. The program waits for the answer, or for its end. */
static void judge_call(struct run *run)
{
    union {
        struct seccomp_notif call;
        char room
            [512]; /* newer kernels may write more; they say how much, and it is 80 bytes since the first */
    } in = {.room = {0}};
    union {
        struct seccomp_notif_resp answer;
        char room[512];
    } out = {.room = {0}};
    if (ioctl(run->watched[LISTENER], SECCOMP_IOCTL_NOTIF_RECV, &in) != 0) {
        if (errno != EINTR && errno != ENOENT) /* ENOENT: it died meanwhile */
            close_one(&run->watched[LISTENER]);
        return;
    }
    const struct seccomp_data *data = &in.call.data;
    if (data->nr == SYS_clone && sandbox_clone_is_thread(data->args[0])) {
        if (++run->threads > run->desc.max_threads) {
            stop(run, SANDBOX_THREADS, "more than %u threads", run->desc.max_threads);
            return;
        }
        /* "Continue" is safe here: what was judged lies in a register, which no other thread can change. */
        out.answer.id = in.call.id;
        out.answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(run->watched[LISTENER], SECCOMP_IOCTL_NOTIF_SEND, &out);
        return;
    }
    char name[32];
    sandbox_call_name(name, sizeof name, data->nr);
    stop(run, SANDBOX_FORBIDDEN, "system call %s%s", name, data->nr == SYS_clone ? " (a new process)" : "");
}

static void look(struct run *run, int which)
{
    if (which == LISTENER)
        judge_call(run);
    else if (which == CONTROL)
        read_control(run);
    else
        read_pipe(run, which);
}

/* Until the process has ended, and everything that it wrote is read. */
static enum rf_status watch(struct run *run, struct rf_error *err)
{
    bool ended = false;
    while (!ended) {
        struct pollfd polled[WATCHED];
        for (int i = 0; i < WATCHED; i++)
            polled[i] = (struct pollfd){run->watched[i], POLLIN, 0};
        const double left = run->deadline - now();
        if (left <= 0)
            stop(run, SANDBOX_TIME, "%g s of wall clock", run->desc.wall_seconds);
        const int changes = poll(polled, WATCHED, run->killed ? -1 : (int)ceil(left * 1000));
        if (changes < 0 && errno != EINTR) {
            stop(run, SANDBOX_TIME, "%s", ""); /* nobody will be told */
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: poll: %s", strerror(errno));
        }
        for (int i = 0; changes > 0 && i < WATCHED; i++) {
            if (!polled[i].revents)
                continue;
            if (i == PROCESS)
                ended = true;
            else if (i == LISTENER && !(polled[i].revents & POLLIN))
                close_one(&run->watched[i]); /* nobody is left behind the filter */
            else
                look(run, i);
        }
    }
    for (int i = STDOUT; i <= REPORT; i++)
        while (run->watched[i] >= 0 && read_pipe(run, i))
            continue;
    while (run->watched[CONTROL] >= 0 && read_control(run))
        continue;
    return RF_OK;
}

static enum rf_status reap(const struct run *run, siginfo_t *info, struct rusage *usage, struct rf_error *err)
{
    enum { BY_PIDFD = 3 /* P_PIDFD, of glibc 2.36 */ };
    long status;
    do
        status = syscall(SYS_waitid, BY_PIDFD, run->watched[PROCESS], info, WEXITED, usage);
    while (status != 0 && errno == EINTR);
    if (status != 0)
        return rf_fail(err, RF_ERROR_INTERNAL,
                       "sandbox: %s: SIGCHLD is ignored, or somebody else waits for all children",
                       strerror(errno));
    return RF_OK;
}

/* ---- Telling ------------------------------------------------------------------------------------------------- */

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

static bool tell_output(struct sandbox_result *result, const struct run *run)
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
static void conclude(struct run *run, const siginfo_t *info, double cpu_seconds)
{
    const double limit = ceil(run->desc.cpu_seconds);
    const bool by_signal = info->si_code != CLD_EXITED;
    const char kind = run->report_length ? run->report[0] : '\0';
    char room[32];
    if (run->killed)
        return;
    if (by_signal && info->si_status == SIGKILL && cpu_seconds > 0.99 * limit)
        stop(run, SANDBOX_TIME, "%g s of CPU time", limit);
    else if (by_signal && info->si_status == SIGKILL)
        stop(run, SANDBOX_MEMORY, "killed by the system, which does so for want of memory");
    else if (by_signal && info->si_status == SIGSYS)
        stop(run, SANDBOX_FORBIDDEN, "a system call of another architecture");
    else if (by_signal)
        stop(run, SANDBOX_CRASHED, "%s", signal_name(info->si_status, room, sizeof room));
    else if (kind == SANDBOX_SAYS_RAISED || kind == SANDBOX_SAYS_MEMORY)
        stop(run, kind == SANDBOX_SAYS_RAISED ? SANDBOX_RAISED : SANDBOX_MEMORY, "%.*s",
             (int)run->report_length - 1, run->report + 1);
    else if (kind == SANDBOX_SAYS_LEFT)
        stop(run, SANDBOX_LEFT, "%.*s", (int)run->report_length - 1, run->report + 1);
    else
        stop(run, SANDBOX_LEFT, "exit status %d before the tests had ended", info->si_status);
}

static enum rf_status tell_failure(const struct sandbox *sandbox, const struct run *run, struct rf_error *err)
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
    if (run->failure.step == SANDBOX_STEP_EXEC)
        return rf_fail(err, RF_ERROR_IO, "sandbox: %s: cannot be started: %s", sandbox->python,
                       strerror(error));
    if (error == ENOMEM || error == ENFILE || error == EMFILE)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: %s: %s", steps[run->failure.step],
                       strerror(error));
    return sandbox_refuse(steps[run->failure.step], error, err);
}

static enum rf_status run_to_end(struct run *run, const struct sandbox *sandbox,
                                 struct sandbox_result *result, struct rf_error *err)
{
    siginfo_t info = {0};
    struct rusage usage;
    enum rf_status status = watch(run, err);
    const enum rf_status reaped = reap(run, &info, &usage, status ? NULL : err);
    if (status || reaped)
        return status ? status : reaped;
    if (run->failed || (!run->running && !run->killed))
        return tell_failure(sandbox, run, err);
    result->wall_seconds = now() - run->started;
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

enum rf_status sandbox_run(const struct sandbox *sandbox, const struct sandbox_desc *desc,
                           struct sandbox_result *result, struct rf_error *err)
{
    struct run run = {.desc = *desc, .program = -1, .watched = {-1, -1, -1, -1, -1, -1}};
    int theirs[CONTROL + 1] = {-1, -1, -1, -1};
    _Static_assert(WATCHED == 6, "all are closed at first");
    *result = (struct sandbox_result){0};
    enum rf_status status = check_desc(&run.desc, err);
    if (!status && !rf_bytes_reserve(&run.tail, 2 * run.desc.kept_bytes))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: no memory to keep output in");
    if (!status)
        status = make_program(&run, err);
    if (!status)
        status = make_channels(&run, theirs, err);
    if (!status)
        status = start(&run, sandbox, theirs, err);
    for (int i = STDOUT; i <= CONTROL; i++)
        close_one(&theirs[i]);
    if (!status)
        status = run_to_end(&run, sandbox, result, err);
    for (int i = 0; i < WATCHED; i++)
        close_one(&run.watched[i]);
    close_one(&run.program);
    rf_free(run.tail.data);
    return status;
}
#endif
