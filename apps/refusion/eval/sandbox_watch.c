/* Stays with a program while it runs: reads what it writes, answers the calls that its filter hands over, ends it. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
#include <errno.h>
#include <linux/seccomp.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 16384 };

double sandbox_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void sandbox_close_end(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

void sandbox_decide(struct sandbox_run *run, enum sandbox_end end, const char *format, ...)
{
    if (run->decided)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(run->detail, sizeof run->detail, format, args);
    va_end(args);
    run->decided = true;
    run->end = end;
}

static void keep(struct sandbox_run *run, const char *data, size_t length)
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

static void keep_report(struct sandbox_run *run, const char *data, size_t length)
{
    const size_t room = sizeof run->report - run->report_length;
    length = length < room ? length : room;
    memcpy(run->report + run->report_length, data, length);
    run->report_length += length;
    if (run->report_length == 1 + SANDBOX_TOKEN_LENGTH && run->report[0] == SANDBOX_SAYS_PASSED &&
        memcmp(run->report + 1, run->token, SANDBOX_TOKEN_LENGTH) == 0)
        sandbox_decide(run, SANDBOX_PASSED, "%s", "");
}

/* One read of stdout, stderr or the report; false when there is no more at present. */
static bool read_pipe(struct sandbox_run *run, int which)
{
    char data[READ_SIZE];
    const ssize_t length = read(run->watched[which], data, sizeof data);
    if (length < 0 && errno == EINTR)
        return true;
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            sandbox_close_end(&run->watched[which]);
        return false;
    }
    if (which == SANDBOX_REPORT) {
        keep_report(run, data, (size_t)length);
    } else {
        run->written += (size_t)length;
        if (which == SANDBOX_STDERR)
            keep(run, data, (size_t)length);
        if (run->written > run->desc.output_bytes)
            sandbox_decide(run, SANDBOX_OUTPUT, "more than %zu bytes of output", run->desc.output_bytes);
    }
    return true;
}

/* The filter's listener, what failed, or the end. The end can be late: other new processes may have a copy of the socket,
 * until they execute something. */
static bool read_control(struct sandbox_run *run)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } room;
    struct sandbox_failure failure;
    struct iovec part = {&failure, sizeof failure};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    const ssize_t length = recvmsg(run->watched[SANDBOX_CONTROL], &message, MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EINTR || errno == EAGAIN))
        return errno == EINTR;
    if (length != (ssize_t)sizeof failure) {
        sandbox_close_end(&run->watched[SANDBOX_CONTROL]);
        return false;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS && !run->filtered) {
        run->filtered = true;
        memcpy(&run->watched[SANDBOX_LISTENER], CMSG_DATA(header), sizeof(int));
    } else {
        /* A message that should have a descriptor has none when there is no room for one more. */
        run->failure = failure.step >= 0 ? failure : (struct sandbox_failure){SANDBOX_STEP_FILTER, EMFILE};
        run->failed = run->decided = true;
    }
    return true;
}

/* A call that the filter hands over. The program waits for the answer, or for its end. */
static void judge_call(struct sandbox_run *run)
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
    if (ioctl(run->watched[SANDBOX_LISTENER], SECCOMP_IOCTL_NOTIF_RECV, &in) != 0) {
        if (errno != EINTR && errno != ENOENT) /* ENOENT: it died meanwhile */
            sandbox_close_end(&run->watched[SANDBOX_LISTENER]);
        return;
    }
    const struct seccomp_data *data = &in.call.data;
    if (data->nr == SYS_clone && sandbox_clone_is_thread(data->args[0])) {
        if (++run->threads > run->desc.max_threads) {
            sandbox_decide(run, SANDBOX_THREADS, "more than %u threads", run->desc.max_threads);
            return;
        }
        /* "Continue" is safe here: what was judged lies in a register, which no other thread can change. */
        out.answer.id = in.call.id;
        out.answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(run->watched[SANDBOX_LISTENER], SECCOMP_IOCTL_NOTIF_SEND, &out);
        return;
    }
    char name[32];
    sandbox_call_name(name, sizeof name, data->nr);
    sandbox_decide(run, SANDBOX_FORBIDDEN, "system call %s%s", name,
                   data->nr == SYS_clone ? " (a new process)" : "");
}

static void look(struct sandbox_run *run, int which)
{
    if (which == SANDBOX_LISTENER)
        judge_call(run);
    else if (which == SANDBOX_CONTROL)
        read_control(run);
    else
        read_pipe(run, which);
}

static double cpu_left(const struct sandbox_run *run)
{
    struct timespec used;
    if (clock_gettime(run->cpu, &used) != 0)
        return run->desc.cpu_seconds; /* it has just ended */
    return run->desc.cpu_seconds - (double)used.tv_sec - 1e-9 * (double)used.tv_nsec;
}

/* Polls once, no longer than until a limit can be reached; true when the process has ended. */
static bool wait_and_look(struct sandbox_run *run, enum rf_status *status, struct rf_error *err)
{
    struct pollfd polled[SANDBOX_WATCHED];
    for (int i = 0; i < SANDBOX_WATCHED; i++)
        polled[i] = (struct pollfd){run->watched[i], POLLIN, 0};
    const double left = fmax(fmin(run->deadline - sandbox_now(), cpu_left(run)), 0);
    const int changes = poll(polled, SANDBOX_WATCHED, run->killed ? -1 : (int)ceil(left * 1000));
    if (changes < 0 && errno != EINTR && !run->killed) {
        *status = rf_fail(err, RF_ERROR_HOST_MEMORY, "sandbox: poll: %s", strerror(errno));
        run->decided = true;
    }
    bool ended = false;
    for (int i = 0; changes > 0 && i < SANDBOX_WATCHED; i++) {
        if (!polled[i].revents)
            continue;
        if (i == SANDBOX_PROCESS)
            ended = true;
        else if (i == SANDBOX_LISTENER && !(polled[i].revents & POLLIN))
            sandbox_close_end(&run->watched[i]); /* nobody is left behind the filter */
        else
            look(run, i);
    }
    return ended;
}

enum rf_status sandbox_watch(struct sandbox_run *run, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    while (!wait_and_look(run, &status, err)) {
        if (sandbox_now() >= run->deadline)
            sandbox_decide(run, SANDBOX_TIME, "%g s of wall clock", run->desc.wall_seconds);
        if (cpu_left(run) <= 0)
            sandbox_decide(run, SANDBOX_TIME, "%g s of CPU time", run->desc.cpu_seconds);
        if (run->decided && !run->killed) {
            /* Process 1: with it goes all of its namespace. */
            syscall(SYS_pidfd_send_signal, run->watched[SANDBOX_PROCESS], SIGKILL, NULL, 0);
            run->killed = true;
        }
    }
    for (int i = SANDBOX_STDOUT; i <= SANDBOX_REPORT; i++)
        while (run->watched[i] >= 0 && read_pipe(run, i))
            continue;
    while (run->watched[SANDBOX_CONTROL] >= 0 && read_control(run))
        continue;
    return status;
}
#endif
