/* The program's process from its making to Python.
 *
 * It is a copy of a process that has threads, made by clone: some other thread may have held a lock of malloc or stdio at
 * that moment, so here are system calls and nothing else. They go through syscall(), which no sanitizer wraps. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of <sys/mount.h> and newer <fcntl.h>, which do not go together with the kernel's own headers everywhere. */
enum { DETACH = 2 /* MNT_DETACH */, RECURSIVE = 0x8000 /* AT_RECURSIVE */ };

static const char hostname[] = "sandbox";

_Noreturn static void leave(void)
{
    for (;;)
        syscall(SYS_exit_group, 127);
}

_Noreturn static void give_up(int control, enum sandbox_step step)
{
    const struct sandbox_failure failure = {(int)step, errno};
    syscall(SYS_write, control, &failure, sizeof failure);
    leave();
}

static size_t text_length(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static bool write_file(const char *path, const char *text)
{
    const long file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (file < 0)
        return false;
    const bool written = syscall(SYS_write, file, text, text_length(text)) >= 0;
    const int error = errno;
    syscall(SYS_close, file);
    errno = error;
    return written;
}

/* The one identity of the user namespace is nobody's, and stands for the caller's. Anybody may map just himself. */
static bool become_nobody(const struct sandbox_launch *launch)
{
    syscall(SYS_setsid);
    write_file("/proc/self/oom_score_adj", "1000"); /* a comfort: before the caller goes, this goes */
    return write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", launch->uid_map) &&
           write_file("/proc/self/gid_map", launch->gid_map) &&
           syscall(SYS_sethostname, hostname, sizeof hostname - 1) == 0;
}

static bool set_mount(long at, const char *path, unsigned flags, unsigned long long attributes)
{
    const struct mount_attr attr = {.attr_set = attributes};
    return syscall(SYS_mount_setattr, at, path, flags, &attr, sizeof attr) == 0;
}

/* Copies of the host's mounts, read-only, which hang nowhere yet: from here on it does not matter what covers what. */
static bool take_sources(const struct sandbox *sandbox, long trees[SANDBOX_MAX_MOUNTS])
{
    if (syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    for (size_t i = 0; i < sandbox->mount_count; i++) {
        const struct sandbox_mount *mount = &sandbox->mounts[i];
        trees[i] = -1;
        if (mount->link)
            continue;
        trees[i] =
            syscall(SYS_open_tree, AT_FDCWD, mount->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | RECURSIVE);
        const unsigned long long device = mount->device ? 0 : MOUNT_ATTR_NODEV;
        if (trees[i] < 0 || !set_mount(trees[i], "", AT_EMPTY_PATH | RECURSIVE,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | device))
            return false;
    }
    return true;
}

/* In the current folder: every folder above `path`, which is absolute. */
static bool make_parents(const char *path)
{
    char part[PATH_MAX];
    for (size_t i = 1; path[i]; i++) {
        if (i >= sizeof part) {
            errno = ENAMETOOLONG;
            return false;
        }
        part[i - 1] = path[i];
        if (path[i + 1] != '/')
            continue;
        part[i] = '\0';
        if (syscall(SYS_mkdirat, AT_FDCWD, part, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static bool hang(const struct sandbox_mount *mount, long tree)
{
    const char *path = mount->path + 1;
    if (!make_parents(mount->path))
        return false;
    if (mount->link)
        return syscall(SYS_symlinkat, mount->link, AT_FDCWD, path) == 0;
    if (mount->folder) {
        if (syscall(SYS_mkdirat, AT_FDCWD, path, 0755) != 0 && errno != EEXIST)
            return false;
    } else {
        const long file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (file < 0)
            return false;
        syscall(SYS_close, file);
    }
    return syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

/* A root folder of its own, over /usr because that is everywhere; then the host's root is gone. No /proc: Python does
 * without, and it tells much of the host. */
static bool change_root(const struct sandbox *sandbox, const long trees[SANDBOX_MAX_MOUNTS])
{
    const unsigned long flags = MS_NOSUID | MS_NODEV;
    if (syscall(SYS_mount, "tmpfs", "/usr", "tmpfs", flags, "size=256k,nr_inodes=512,mode=755") != 0 ||
        syscall(SYS_chdir, "/usr") != 0)
        return false;
    for (size_t i = 0; i < sandbox->mount_count; i++)
        if (!hang(&sandbox->mounts[i], trees[i]))
            return false;
    _Static_assert(SANDBOX_FILE_BYTES == 16 << 20, "as in the mount's options");
    return syscall(SYS_mkdirat, AT_FDCWD, "tmp", 0700) == 0 &&
           syscall(SYS_mount, "tmpfs", "tmp", "tmpfs", flags | MS_NOEXEC,
                   "size=16m,nr_inodes=4096,mode=700") == 0 &&
           /* With both the same the old root lies on the new one, and is what "." still means. */
           syscall(SYS_pivot_root, ".", ".") == 0 && syscall(SYS_umount2, ".", DETACH) == 0 &&
           syscall(SYS_chdir, "/") == 0 &&
           set_mount(AT_FDCWD, "/", 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) &&
           syscall(SYS_chdir, "/tmp") == 0;
}

/* Moves what is kept out of the way of the numbers that it is to have, then there; everything else is closed. Returns the
 * control socket's new number in *control. */
static bool place_descriptors(const struct sandbox_launch *launch, int *control)
{
    const long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
    const long python = syscall(SYS_openat, AT_FDCWD, launch->sandbox->python, O_RDONLY | O_CLOEXEC, 0);
    const struct {
        long from;
        int to, flags;
    } all[] = {
        {launch->control, SANDBOX_FD_CONTROL, O_CLOEXEC},
        {null, 0, 0},
        {launch->out, 1, 0},
        {launch->errors, 2, 0},
        {launch->program, SANDBOX_FD_PROGRAM, 0},
        {launch->report, SANDBOX_FD_REPORT, 0},
        {python, SANDBOX_FD_PYTHON, O_CLOEXEC},
        {launch->caller, SANDBOX_FD_CALLER, O_CLOEXEC},
    };
    enum { ALL = sizeof all / sizeof *all };
    long aside[ALL];
    for (int i = 0; i < ALL; i++) {
        aside[i] = syscall(SYS_fcntl, all[i].from, F_DUPFD_CLOEXEC, SANDBOX_FD_FREE);
        if (aside[i] < 0)
            return false;
    }
    for (int i = 0; i < ALL; i++) {
        if (syscall(SYS_dup3, aside[i], all[i].to, all[i].flags) < 0)
            return false;
        if (all[i].to == SANDBOX_FD_CONTROL)
            *control = SANDBOX_FD_CONTROL;
    }
    return syscall(SYS_close_range, SANDBOX_FD_COUNT, SANDBOX_FD_PYTHON - 1, 0) == 0 &&
           syscall(SYS_close_range, SANDBOX_FD_FREE, ~0U, 0) == 0;
}

static bool set_limits(const struct sandbox_launch *launch)
{
    const struct {
        int what;
        unsigned long long value;
    } limits[] = {
        {RLIMIT_AS, launch->memory_bytes},
        {RLIMIT_CPU, launch->cpu_seconds},
        {RLIMIT_STACK, 8 << 20},
        {RLIMIT_FSIZE, SANDBOX_FILE_BYTES},
        {RLIMIT_NOFILE, SANDBOX_OPEN_FILES},
        {RLIMIT_CORE, 0},
        {RLIMIT_MEMLOCK, 0},
        {RLIMIT_MSGQUEUE, 0},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        unsigned long long now[2]; /* soft and hard, as the kernel has them */
        if (syscall(SYS_prlimit64, 0, limits[i].what, NULL, now) != 0)
            return false;
        const unsigned long long value = limits[i].value < now[1] ? limits[i].value : now[1];
        const unsigned long long wanted[2] = {value, value};
        if (syscall(SYS_prlimit64, 0, limits[i].what, wanted, NULL) != 0)
            return false;
    }
    return true;
}

/* No capability is left, and none comes back. */
static bool drop_rights(void)
{
    const unsigned long secure = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                 SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (syscall(SYS_prctl, PR_SET_SECUREBITS, secure, 0, 0, 0) != 0)
        return false;
    for (int capability = 0; capability < 64; capability++)
        if (syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL)
            return false;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capset, &header, none) == 0 &&
           syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* What changes rights forgets the signal that is sent at the parent's death, so this comes after them. A parent that died
 * before it was set is asked for, by a descriptor: the end of the socket can have copies in other new processes. */
static bool die_with_caller(void)
{
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return false;
    const struct timespec at_once = {0, 0};
    struct pollfd caller = {SANDBOX_FD_CALLER, POLLIN, 0};
    if (syscall(SYS_ppoll, &caller, 1, &at_once, NULL, 0) > 0)
        leave();
    return true;
}

/* Signals that the caller ignores or blocks would stay so for Python; handlers end with exec. */
static void reset_signals(void)
{
    const struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
    const unsigned long none[NSIG / 8 / sizeof(unsigned long)] = {0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, 8);
}

/* From here on the filter decides. Its listener goes to the caller. */
static bool install_filter(const struct sandbox *sandbox)
{
    struct sock_fprog program = {(unsigned short)sandbox->filter_length,
                                 (struct sock_filter *)sandbox->filter};
    const long listener =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0)
        return false;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } room = {.bytes = {0}};
    room.header.cmsg_len = CMSG_LEN(sizeof(int));
    room.header.cmsg_level = SOL_SOCKET;
    room.header.cmsg_type = SCM_RIGHTS;
    *(int *)(void *)CMSG_DATA(&room.header) = (int)listener;
    struct sandbox_failure nothing = {-1, 0};
    struct iovec part = {&nothing, sizeof nothing};
    const struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room.bytes};
    return syscall(SYS_sendmsg, SANDBOX_FD_CONTROL, &message, 0) == (long)sizeof nothing;
}

_Noreturn void sandbox_child(const struct sandbox_launch *launch)
{
    long trees[SANDBOX_MAX_MOUNTS];
    int control = launch->control;
    if (!become_nobody(launch))
        give_up(control, SANDBOX_STEP_USER);
    if (!take_sources(launch->sandbox, trees))
        give_up(control, SANDBOX_STEP_SOURCES);
    if (!change_root(launch->sandbox, trees))
        give_up(control, SANDBOX_STEP_ROOT);
    if (!place_descriptors(launch, &control))
        give_up(control, SANDBOX_STEP_DESCRIPTORS);
    if (!set_limits(launch))
        give_up(control, SANDBOX_STEP_LIMITS);
    if (!drop_rights() || !die_with_caller())
        give_up(control, SANDBOX_STEP_RIGHTS);
    reset_signals();
    if (!install_filter(launch->sandbox))
        give_up(control, SANDBOX_STEP_FILTER);
    syscall(SYS_execveat, SANDBOX_FD_PYTHON, "", launch->argv, launch->environment, AT_EMPTY_PATH);
    give_up(control, SANDBOX_STEP_EXEC);
}
#endif
