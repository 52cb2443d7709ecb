/* Which system calls the program may make.
 *
 * Four answers. Allowed: what CPython and its standard library need, and what can only touch the program's own process
 * and its own root folder. Handed to the caller (SECCOMP_RET_USER_NOTIF), which kills the program and records the call's
 * name: what reaches for the network, for other processes or for the kernel's own administration. No test needs those, so a
 * program that tries and carries on is stopped all the same. SECCOMP_RET_KILL_PROCESS would do as well, but nobody could
 * say which call it was. clone is handed over too, and counted: threads are let through up to a limit. A filter has no
 * memory, and RLIMIT_NPROC is not enforced for root. Refused with a certain error where Python has a way to go on.
 *
 * Everything else is ENOSYS: what is not named here is newer than this file or of no use to Python, and an older kernel is
 * what every C library and Python know how to live with: they fall back, where EPERM makes them fail and a kill would
 * punish the program for its C library's version. clone3 is one of these, because its flags lie in memory, where a
 * filter cannot see them and another thread could change them; glibc then calls clone.
 *
 * The two calls that the way to Python itself needs (execveat, and sendmsg for the filter's own descriptor) are allowed for
 * descriptors that nobody can have afterwards: see SANDBOX_OPEN_FILES. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* x86_64 has them and aarch64 not, its generic table being younger. */
#ifdef __x86_64__
#define OLD_FILES                                                                                            \
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_rename, SYS_mkdir, SYS_rmdir, SYS_link,        \
        SYS_unlink, SYS_symlink, SYS_readlink, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes,      \
        SYS_futimesat, SYS_getdents,
#define OLD_OTHERS                                                                                           \
    SYS_pipe, SYS_dup2, SYS_select, SYS_poll, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_time,       \
        SYS_alarm, SYS_pause, SYS_getpgrp, SYS_arch_prctl,
#else
#define OLD_FILES
#define OLD_OTHERS
#endif

static const int allowed[] = {
    /* files */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_preadv2, SYS_pwritev2, SYS_close, SYS_close_range, SYS_openat, SYS_fstat, SYS_newfstatat, SYS_statx,
    SYS_statfs, SYS_fstatfs, SYS_lseek, SYS_faccessat, SYS_faccessat2, SYS_dup, SYS_dup3, SYS_pipe2,
    SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync, SYS_truncate, SYS_ftruncate, SYS_getdents64, SYS_getcwd,
    SYS_chdir, SYS_fchdir, SYS_renameat, SYS_renameat2, SYS_mkdirat, SYS_unlinkat, SYS_linkat, SYS_symlinkat,
    SYS_readlinkat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_umask, SYS_utimensat,
    SYS_sendfile, SYS_copy_file_range, SYS_fadvise64, SYS_fallocate,
    OLD_FILES
        /* memory */
        SYS_mmap,
    SYS_mprotect, SYS_munmap, SYS_mremap, SYS_madvise, SYS_msync, SYS_brk,
    /* waiting, and the local socket pairs by which asyncio wakes itself */
    SYS_pselect6, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_sendto,
    SYS_recvfrom, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_getsockopt,
    /* time */
    SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_times,
    SYS_getitimer, SYS_setitimer,
    OLD_OTHERS
        /* threads and signals */
        SYS_futex,
    SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_sched_yield, SYS_sched_getaffinity,
    SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_get_priority_max, SYS_sched_get_priority_min,
    SYS_membarrier, SYS_rseq, SYS_getcpu, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigsuspend, SYS_sigaltstack, SYS_restart_syscall, SYS_exit,
    SYS_exit_group,
    /* what it is; limits can only be lowered, for want of CAP_SYS_RESOURCE; it has no children to wait for */
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups,
    SYS_getresuid, SYS_getresgid, SYS_getpgid, SYS_getsid, SYS_getpriority, SYS_uname, SYS_sysinfo,
    SYS_getrusage, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrandom, SYS_wait4, SYS_waitid};

#define CALL(name)                                                                                           \
    {                                                                                                        \
        SYS_##name, #name                                                                                    \
    }
static const struct {
    int number;
    const char *name;
} handed_over[] = {
    CALL(clone), /* the caller tells threads from processes */
#ifdef __x86_64__
    CALL(fork),
    CALL(vfork),
#endif
    CALL(execve),
    CALL(execveat), /* this and the next with other descriptors than the launch's */
    CALL(sendmsg),
    CALL(socket), /* but AF_UNIX, below */
    CALL(bind),
    CALL(listen),
    CALL(accept),
    CALL(accept4),
    CALL(connect),
    CALL(sendmmsg),
    CALL(recvmsg),
    CALL(recvmmsg),
    CALL(kill),
    CALL(tkill),
    CALL(tgkill), /* others than itself, which nobody can see */
    CALL(rt_sigqueueinfo),
    CALL(rt_tgsigqueueinfo),
    CALL(pidfd_open),
    CALL(pidfd_send_signal),
    CALL(pidfd_getfd),
    CALL(ptrace),
    CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(process_madvise),
    CALL(kcmp),
    CALL(unshare),
    CALL(setns),
    CALL(mount),
    CALL(umount2),
    CALL(pivot_root),
    CALL(chroot),
    CALL(fsopen),
    CALL(fsconfig),
    CALL(fsmount),
    CALL(fspick),
    CALL(open_tree),
    CALL(move_mount),
    CALL(mount_setattr),
    CALL(mknodat),
    CALL(name_to_handle_at),
    CALL(open_by_handle_at),
    CALL(bpf),
    CALL(seccomp),
    CALL(perf_event_open),
    CALL(userfaultfd),
    CALL(io_uring_setup),
    CALL(io_uring_enter),
    CALL(io_uring_register),
    CALL(keyctl),
    CALL(add_key),
    CALL(request_key),
    CALL(init_module),
    CALL(finit_module),
    CALL(delete_module),
    CALL(kexec_load),
    CALL(reboot),
    CALL(swapon),
    CALL(swapoff),
    CALL(settimeofday),
    CALL(clock_settime),
    CALL(clock_adjtime),
    CALL(adjtimex),
    CALL(sethostname),
    CALL(setdomainname),
    CALL(syslog),
    CALL(acct),
    CALL(quotactl),
    CALL(fanotify_init),
    CALL(shmget),
    CALL(semget),
    CALL(msgget),
#ifdef __x86_64__
    CALL(iopl),
    CALL(ioperm),
    CALL(modify_ldt),
    CALL(mknod),
#endif
};

/* With the low half of an argument. All of these arguments are ints, of which the kernel itself sees no more. */
static const struct {
    int number, argument;
    uint32_t value, answer;
} by_argument[] = {
    {SYS_execveat, 0, SANDBOX_FD_PYTHON, SECCOMP_RET_ALLOW},
    {SYS_sendmsg, 0, SANDBOX_FD_CONTROL, SECCOMP_RET_ALLOW},
    /* It is process 1 of its namespace: raise() and abort(). */
    {SYS_kill, 0, 1, SECCOMP_RET_ALLOW},
    {SYS_tgkill, 0, 1, SECCOMP_RET_ALLOW},
    /* glibc asks a local name service first, whenever a user's name is looked up. It may be told that there is none. */
    {SYS_socket, 0, AF_UNIX, SECCOMP_RET_ERRNO | EACCES},
    {SYS_socketpair, 0, AF_UNIX, SECCOMP_RET_ALLOW},
    {SYS_prctl, 0, PR_SET_NAME, SECCOMP_RET_ALLOW},
    {SYS_prctl, 0, PR_GET_NAME, SECCOMP_RET_ALLOW},
    {SYS_prctl, 0, 0x53564d41 /* PR_SET_VMA: glibc names its memory */, SECCOMP_RET_ALLOW},
    {SYS_ioctl, 1, TCGETS, SECCOMP_RET_ALLOW},
    {SYS_ioctl, 1, TIOCGWINSZ, SECCOMP_RET_ALLOW},
    {SYS_ioctl, 1, FIONREAD, SECCOMP_RET_ALLOW},
    {SYS_ioctl, 1, FIONBIO, SECCOMP_RET_ALLOW},
    {SYS_ioctl, 1, FIOCLEX, SECCOMP_RET_ALLOW},
    {SYS_ioctl, 1, FIONCLEX, SECCOMP_RET_ALLOW},
};

/* Errors by which Python knows that it has to do without. */
static const struct {
    int number, error;
} refused[] = {
    {SYS_ioctl, ENOTTY},
    {SYS_prctl, EPERM},
    {SYS_socketpair, EAFNOSUPPORT},
    /* shutil.copy2 minds any other error. */
    {SYS_listxattr, EOPNOTSUPP},
    {SYS_llistxattr, EOPNOTSUPP},
    {SYS_flistxattr, EOPNOTSUPP},
    {SYS_getxattr, EOPNOTSUPP},
    {SYS_lgetxattr, EOPNOTSUPP},
    {SYS_fgetxattr, EOPNOTSUPP},
    {SYS_setxattr, EOPNOTSUPP},
    {SYS_lsetxattr, EOPNOTSUPP},
    {SYS_fsetxattr, EOPNOTSUPP},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct writer {
    struct sock_filter *filter;
    size_t length;
};

static void put(struct writer *writer, unsigned code, unsigned if_true, unsigned if_false, uint32_t k)
{
    writer->filter[writer->length++] =
        (struct sock_filter){(uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, k};
}

static void put_load(struct writer *writer, size_t offset)
{
    put(writer, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void put_answer(struct writer *writer, uint32_t answer)
{
    put(writer, BPF_RET | BPF_K, 0, 0, answer);
}

/* With the call's number in the accumulator. */
static void put_if(struct writer *writer, int number, uint32_t answer)
{
    put(writer, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)number);
    put_answer(writer, answer);
}

static void put_if_argument(struct writer *writer, int number, int argument, uint32_t value, uint32_t answer)
{
    const size_t offset = offsetof(struct seccomp_data, args) + 8 * (size_t)argument; /* little-endian */
    put_load(writer, offsetof(struct seccomp_data, nr));
    put(writer, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, (uint32_t)number);
    put_load(writer, offset);
    put(writer, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    put_answer(writer, answer);
}

size_t sandbox_filter_make(struct sock_filter filter[SANDBOX_MAX_FILTER])
{
    _Static_assert(12 + 2 * (COUNT(allowed) + COUNT(handed_over) + COUNT(refused)) + 5 * COUNT(by_argument) <=
                       SANDBOX_MAX_FILTER,
                   "the filter has room");
    struct writer writer = {filter, 0};
    /* Numbers mean other calls in a process that runs 32-bit code, which a program can do from 64-bit code. */
    put_load(&writer, offsetof(struct seccomp_data, arch));
    put(&writer, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE);
    put_answer(&writer, SECCOMP_RET_KILL_PROCESS);
    put_load(&writer, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    put(&writer, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000); /* x32 */
    put_answer(&writer, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t i = 0; i < COUNT(allowed); i++)
        put_if(&writer, allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(by_argument); i++)
        put_if_argument(&writer, by_argument[i].number, by_argument[i].argument, by_argument[i].value,
                        by_argument[i].answer);
    put_load(&writer, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT(handed_over); i++)
        put_if(&writer, handed_over[i].number, SECCOMP_RET_USER_NOTIF);
    for (size_t i = 0; i < COUNT(refused); i++)
        put_if(&writer, refused[i].number, SECCOMP_RET_ERRNO | (uint32_t)refused[i].error);
    put_answer(&writer, SECCOMP_RET_ERRNO | ENOSYS);
    return writer.length;
}

void sandbox_call_name(char *out, size_t size, int number)
{
    snprintf(out, size, "%d", number);
    for (size_t i = 0; i < COUNT(handed_over); i++)
        if (handed_over[i].number == number)
            snprintf(out, size, "%s", handed_over[i].name);
}

bool sandbox_clone_is_thread(unsigned long long flags)
{
    const unsigned long long namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                          CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    return (flags & CLONE_THREAD) && !(flags & (namespaces | CLONE_VFORK | CLONE_PIDFD | CLONE_PTRACE));
}
#endif
