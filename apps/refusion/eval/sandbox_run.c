/* Starts a program, and has it watched to its end. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static enum rf_status make_program(struct sandbox_run *run, struct rf_error *err)
{
    const struct sandbox_desc *desc = &run->desc;
    run->caller = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (run->caller < 0)
        return sandbox_refuse("a descriptor of a process", errno, err);
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
static enum rf_status make_channels(struct sandbox_run *run, int theirs[SANDBOX_CONTROL + 1],
                                    struct rf_error *err)
{
    for (int i = SANDBOX_STDOUT; i <= SANDBOX_CONTROL; i++) {
        int pair[2];
        const int failed = i == SANDBOX_CONTROL ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
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

static enum rf_status start(struct sandbox_run *run, const struct sandbox *sandbox,
                            const int theirs[SANDBOX_CONTROL + 1], struct rf_error *err)
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
        .report = theirs[SANDBOX_REPORT],
        .out = theirs[SANDBOX_STDOUT],
        .errors = theirs[SANDBOX_STDERR],
        .control = theirs[SANDBOX_CONTROL],
        .caller = run->caller,
        .memory_bytes = run->desc.memory_bytes,
        /* For the case that nobody watches; the kernel counts in ticks, and from outside one sees more exactly. */
        .cpu_seconds = (unsigned long long)ceil(run->desc.cpu_seconds) + 1,
    };
    snprintf(launch.uid_map, sizeof launch.uid_map, "65534 %u 1", (unsigned)geteuid());
    snprintf(launch.gid_map, sizeof launch.gid_map, "65534 %u 1", (unsigned)getegid());
    run->started = sandbox_now();
    run->deadline = run->started + run->desc.wall_seconds;
    const long child = clone_child(&run->watched[SANDBOX_PROCESS]);
    if (child == 0)
        sandbox_child(&launch);
    if (child > 0)
        clock_getcpuclockid((pid_t)child, &run->cpu);
    if (child < 0 && (errno == ENOMEM || errno == EAGAIN))
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: no new process: %s", strerror(errno));
    return child < 0 ? sandbox_refuse("new namespaces", errno, err) : RF_OK;
}

/* ---- From beginning to end ---------------------------------------------------------------------------- */

enum rf_status sandbox_run(const struct sandbox *sandbox, const struct sandbox_desc *desc,
                           struct sandbox_result *result, struct rf_error *err)
{
    struct sandbox_run run = {
        .desc = *desc, .cpu = -1, .program = -1, .caller = -1, .watched = {-1, -1, -1, -1, -1, -1}};
    int theirs[SANDBOX_CONTROL + 1] = {-1, -1, -1, -1};
    _Static_assert(SANDBOX_WATCHED == 6, "all are closed at first");
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
    for (int i = SANDBOX_STDOUT; i <= SANDBOX_CONTROL; i++)
        sandbox_close_end(&theirs[i]);
    if (!status)
        status = sandbox_watch(&run, err);
    if (run.watched[SANDBOX_PROCESS] >= 0) {
        const enum rf_status told = sandbox_tell(&run, sandbox, result, status ? NULL : err);
        if (status)
            sandbox_result_clear(result); /* nobody knows what it means */
        status = status ? status : told;
    }
    for (int i = 0; i < SANDBOX_WATCHED; i++)
        sandbox_close_end(&run.watched[i]);
    sandbox_close_end(&run.program);
    sandbox_close_end(&run.caller);
    rf_free(run.tail.data);
    return status;
}
#endif
