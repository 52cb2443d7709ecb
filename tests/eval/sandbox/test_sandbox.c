/* What a program can do in the sandbox and what not, what the caller is told, and that nothing is left behind. With the
 * argument "refused": what is said where the system does not allow a sandbox, which this makes by seccomp filters of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "apps/refusion/eval/sandbox.h"
#include "engine/allocate.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sandbox *sandbox;

static struct sandbox_desc describe(const char *code, const char *tests)
{
    /* Generous: other tests run beside this one. */
    return (struct sandbox_desc){.code = code,
                                 .code_length = strlen(code),
                                 .tests = tests,
                                 .tests_length = strlen(tests),
                                 .wall_seconds = 480};
}

static struct sandbox_result run_desc(const struct sandbox_desc *desc)
{
    struct sandbox_result result;
    struct rf_error err = {0};
    if (sandbox_run(sandbox, desc, &result, &err) != RF_OK)
        fail_msg("sandbox_run: %s", err.message);
    return result;
}

static void expect_of(const struct sandbox_desc *desc, enum sandbox_end end, const char *detail)
{
    struct sandbox_result result = run_desc(desc);
    if (result.end != end || !strstr(result.detail, detail))
        fail_msg("ended \"%s\" (%s), wanted \"%s\" (%s):\n%.*s\n%s", sandbox_end_name(result.end),
                 result.detail, sandbox_end_name(end), detail, (int)desc->code_length, desc->code,
                 result.output);
    sandbox_result_clear(&result);
}

static void expect(const char *code, const char *tests, enum sandbox_end end, const char *detail)
{
    const struct sandbox_desc desc = describe(code, tests);
    expect_of(&desc, end, detail);
}

struct program {
    const char *code, *tests;
    enum sandbox_end end;
    const char *detail; /* a part of it */
};

#define EXPECT_ALL(programs)                                                                                 \
    for (size_t i = 0; i < sizeof(programs) / sizeof *(programs); i++)                                       \
    expect((programs)[i].code, (programs)[i].tests, (programs)[i].end, (programs)[i].detail)

/* ---- Verdicts ------------------------------------------------------------------------------------------------ */

static void test_good_programs(void **state)
{
    (void)state;
    static const struct program programs[] = {
        {"def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\nassert add(-1, 1) == 0\n",
         SANDBOX_PASSED, ""},
        {"# no newline at the end\nx = 'caf\xc3\xa9'", "assert len(x) == 4", SANDBOX_PASSED, ""},
        {"import collections, heapq, itertools, math, re, statistics, string, typing, functools, json, "
         "random\n",
         "assert math.gcd(4, 6) == 2 and re.match('a+', 'aa')", SANDBOX_PASSED, ""},
        {"import asyncio\nasync def f():\n    await asyncio.sleep(0.001)\n    return 3\n",
         "assert asyncio.run(f()) == 3", SANDBOX_PASSED, ""},
        {"from concurrent.futures import ThreadPoolExecutor\n",
         "with ThreadPoolExecutor(4) as pool:\n    assert list(pool.map(abs, [-1, 2])) == [1, 2]\n",
         SANDBOX_PASSED, ""},
        {"import os, shutil, tempfile\n",
         "d = tempfile.mkdtemp()\nopen(d + '/a', 'w').write('x')\nshutil.copy2(d + '/a', d + '/b')\n"
         "assert open(d + '/b').read() == 'x'\nshutil.rmtree(d)\nassert os.listdir('/tmp') == []\n",
         SANDBOX_PASSED, ""},
        {"from dataclasses import dataclass\nimport pickle\n@dataclass\nclass A:\n    x: int\n",
         "assert pickle.loads(pickle.dumps(A(3))) == A(3)", SANDBOX_PASSED, ""},
        {"if __name__ == '__main__':\n    raise ValueError('the demonstration')\n",
         "ran = False\nif __name__ == '__main__':\n    ran = True\nassert ran\n", SANDBOX_PASSED, ""},
        /* A thread that never ends does not matter once the tests have. */
        {"import threading\ndef loop():\n    while True: pass\nthreading.Thread(target=loop).start()\n",
         "pass", SANDBOX_PASSED, ""},
        /* The order of a set is the same every time. */
        {"x = list({'one', 'two', 'three'})\n",
         "import os\nassert os.environ['PYTHONHASHSEED'] == '0' and hash('one') == hash('one')\n"
         "import sys\nassert sys.flags.hash_randomization == 0",
         SANDBOX_PASSED, ""},
    };
    EXPECT_ALL(programs);
}

static void test_bad_programs(void **state)
{
    (void)state;
    static const struct program programs[] = {
        {"def add(a, b):\n    return a - b\n", "x = 1\nassert add(1, 2) == 3\n", SANDBOX_RAISED,
         "AssertionError (tests.py:2: assert add(1, 2) == 3)"},
        {"def f(x):\n    return x[9]\n", "assert f([]) == 3\n", SANDBOX_RAISED,
         "IndexError: list index out of range (answer.py:2: return x[9])"},
        {"def f(:\n", "pass", SANDBOX_RAISED, "SyntaxError: "},
        /* What the code leaves open does not swallow the tests. */
        {"x = '''", "pass", SANDBOX_RAISED, "SyntaxError: "},
        {"x = 1\nif False:", "    pass", SANDBOX_RAISED, "Error: "},
        {"raise ValueError('\\udcff\\x1b[31mred\\nsecond\\x9b')\n", "pass", SANDBOX_RAISED,
         "ValueError: ?\xef\xbf\xbd[31mred second\xef\xbf\xbd (answer.py:1: "},
        {"class E(Exception):\n    def __str__(self): raise E()\nraise E()\n", "pass", SANDBOX_RAISED, "E"},
        {"x = input()\n", "pass", SANDBOX_RAISED, "EOFError"},
        {"x = '\xff'\n", "pass", SANDBOX_RAISED, "SyntaxError: "},
        {"import os\nos.abort()\n", "pass", SANDBOX_CRASHED, "SIG"},
        {"import ctypes\nctypes.string_at(0)\n", "pass", SANDBOX_CRASHED, "SIGSEGV"},
    };
    EXPECT_ALL(programs);
}

/* None of these has run its tests, or they have failed, whatever it says. */
static void test_false_passes(void **state)
{
    (void)state;
    static const struct program programs[] = {
        {"import sys\nsys.exit(0)\n", "assert 0", SANDBOX_LEFT, "SystemExit: 0 (answer.py:2: sys.exit(0))"},
        {"import os\nos._exit(0)\n", "assert 0", SANDBOX_LEFT, "exit status 0 before the tests had ended"},
        {"def f():\n    raise SystemExit\n", "f()\nassert 0", SANDBOX_LEFT, "SystemExit"},
        {"import os\ndef f():\n    os._exit(0)\n", "f()\nassert 0", SANDBOX_LEFT, "exit status 0"},
        {"import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 2)\n",
         "unittest.main()", SANDBOX_LEFT, "SystemExit"},
        {"import builtins, os, sys\n"
         "builtins.exec = builtins.compile = lambda *a: None\nbuiltins.all = lambda x: True\n"
         "builtins.BaseException = builtins.AssertionError = int\nos._exit = lambda n: None\n"
         "sys.excepthook = lambda *a: None\nsys.settrace(lambda *a: None)\n",
         "assert all([False])", SANDBOX_RAISED, "AssertionError"},
        {"import os\nfor fd in range(64):\n    try: os.write(fd, b'P' + b'0' * 32)\n    except OSError: "
         "pass\n"
         "os._exit(0)\n",
         "assert 0", SANDBOX_LEFT, "exit status 0"},
        {"import os\nos.closerange(0, 64)\n", "assert 0", SANDBOX_LEFT, ""},
        {"import os\nos.closerange(0, 64)\n", "pass", SANDBOX_LEFT, ""},
        {"import atexit, os\natexit.register(os._exit, 0)\n", "assert 0", SANDBOX_RAISED, "AssertionError"},
        {"import sys, types\nsys.modules['__main__'] = types.ModuleType('__main__')\n", "assert 0",
         SANDBOX_RAISED, "AssertionError"},
        {"import traceback, linecache\ntraceback.print_exception = linecache.getline = None\n", "assert 0",
         SANDBOX_RAISED, "AssertionError"},
    };
    EXPECT_ALL(programs);
}

/* ---- Limits --------------------------------------------------------------------------------------------------- */

static void test_time(void **state)
{
    (void)state;
    struct sandbox_desc desc = describe("while True: pass\n", "pass");
    desc.cpu_seconds = 1;
    expect_of(&desc, SANDBOX_TIME, "1 s of CPU time");
    desc = describe("import time\ntime.sleep(1000)\n", "pass");
    desc.wall_seconds = 0.5;
    expect_of(&desc, SANDBOX_TIME, "0.5 s of wall clock");
    /* Neither exceptions nor signals keep it. */
    desc = describe("import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
                    "    except (OSError, ValueError): pass\n"
                    "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n",
                    "pass");
    desc.wall_seconds = 1;
    struct sandbox_result result = run_desc(&desc);
    assert_int_equal(result.end, SANDBOX_TIME);
    assert_true(result.wall_seconds >= 1 && result.wall_seconds < 60);
    sandbox_result_clear(&result);
}

static void test_memory(void **state)
{
    (void)state;
    struct sandbox_desc desc = describe("x = bytearray(10 << 30)\n", "pass");
    expect_of(&desc, SANDBOX_MEMORY, "MemoryError");
    desc = describe("x = []\nwhile True: x.append(bytearray(1 << 20))\n", "pass");
    desc.memory_bytes = 256 << 20;
    struct sandbox_result result = run_desc(&desc);
    /* Python 3.8 crashes where others raise. */
    assert_true(result.end == SANDBOX_MEMORY || result.end == SANDBOX_CRASHED);
    sandbox_result_clear(&result);
    /* Not by a shared mapping, a memory file or System V either. */
    expect("import mmap\nx = mmap.mmap(-1, 10 << 30)\n", "pass", SANDBOX_RAISED, "OSError");
    expect("import os\nif not hasattr(os, 'memfd_create'): raise OSError('none')\nos.memfd_create('x')\n",
           "pass", SANDBOX_RAISED, "OSError");
}

static void test_disk(void **state)
{
    (void)state;
    expect("f = open('/tmp/x', 'wb')\nwhile True: f.write(bytes(1 << 16))\n", "pass", SANDBOX_RAISED,
           "OSError");
    expect("for i in range(100): open('/tmp/%d' % i, 'wb').write(bytes(1 << 20))\n", "pass", SANDBOX_RAISED,
           "No space left on device");
    expect("for i in range(10 ** 6): open('/tmp/%d' % i, 'wb').close()\n", "pass", SANDBOX_RAISED,
           "No space left on device");
    expect("open('/x', 'wb')\n", "pass", SANDBOX_RAISED, "Read-only file system");
    expect("import os\nassert os.listdir('/tmp') == []\n", "pass", SANDBOX_PASSED, "");
}

static void test_output(void **state)
{
    (void)state;
    expect("import os\nfor i in range(1 << 14): os.write(1, bytes(1 << 16))\n", "pass", SANDBOX_OUTPUT,
           "more than 16777216 bytes of output");
    struct sandbox_desc desc = describe("import sys\nsys.stderr.write('\xc3\xa9' * 50001 + 'end')\n", "pass");
    desc.kept_bytes = 100;
    struct sandbox_result result = run_desc(&desc);
    assert_int_equal(result.end, SANDBOX_PASSED);
    assert_true(result.output_cut);
    assert_int_equal(result.output_length, 99); /* a character that was cut is left out */
    assert_memory_equal(result.output, "\xc3\xa9", 2);
    assert_string_equal(result.output + 96, "end");
    sandbox_result_clear(&result);
    desc = describe("import os\nos.write(2, b'a\\xff\\xfeb\\x1b\\t\\n\\xc2\\x9b')\n", "pass");
    result = run_desc(&desc);
    assert_string_equal(result.output, "a\xef\xbf\xbd\xef\xbf\xbd"
                                       "b\xef\xbf\xbd\t\n\xef\xbf\xbd");
    assert_false(result.output_cut);
    sandbox_result_clear(&result);
}

static void test_processes(void **state)
{
    (void)state;
    static const struct program programs[] = {
        {"import os\nwhile True:\n    try: os.fork()\n    except Exception: pass\n", "pass",
         SANDBOX_FORBIDDEN, "system call clone (a new process)"},
        {"import subprocess\nsubprocess.run(['true'])\n", "pass", SANDBOX_FORBIDDEN, "system call "},
        {"import os\nos.posix_spawn('/bin/true', ['true'], {})\n", "pass", SANDBOX_FORBIDDEN, "system call "},
        {"import os\nos.system('true')\n", "pass", SANDBOX_FORBIDDEN, "system call "},
        {"import os\nos.execv('/bin/true', ['true'])\n", "pass", SANDBOX_FORBIDDEN, "system call execve"},
        {"import os, sys\nos.execve(os.open(sys.executable, os.O_RDONLY), ['x'], {})\n", "pass",
         SANDBOX_FORBIDDEN, "system call execve"},
        /* The descriptor by which Python was started cannot be had again. */
        {"import os\nos.dup2(0, 200)\n", "pass", SANDBOX_RAISED, "Bad file descriptor"},
        {"import fcntl\nfcntl.fcntl(0, fcntl.F_DUPFD, 64)\n", "pass", SANDBOX_RAISED, "Invalid argument"},
        {"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n", "pass", SANDBOX_RAISED,
         "Error"},
        /* Small stacks, or the limit on memory would come first. */
        {"import threading, time\nthreading.stack_size(32768)\n"
         "while True: threading.Thread(target=time.sleep, args=(1000,)).start()\n",
         "pass", SANDBOX_THREADS, "more than 64 threads"},
    };
    EXPECT_ALL(programs);
}

/* ---- The host ---------------------------------------------------------------------------------------------------- */

static void test_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/rf-sandbox-XXXXXX", path[64], code[4096];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/kept", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("kept", file);
    fclose(file);
    snprintf(code, sizeof code, "import os\nos.remove('%s')\n", path);
    expect(code, "pass", SANDBOX_RAISED, "FileNotFoundError");
    /* Everything but /tmp is read-only, and almost nothing is there. Only a program that has seen this goes on to remove
     * everything: were the sandbox broken, the test should not be what breaks the machine. */
    expect("import os, shutil\n"
           "assert not {'home', 'root', 'var', 'proc', 'sys', 'run', 'boot', 'work'} & set(os.listdir('/')) "
           "or \\\n"
           "    not any(os.listdir('/' + d) for d in ('home', 'var', 'proc', 'sys', 'run', 'boot') if "
           "os.path.isdir('/' + d))\n"
           "assert os.listdir('/etc') == ['ld.so.cache'] and sorted(os.listdir('/dev')) == ['null', "
           "'urandom', 'zero']\n"
           "for place in '/', '/usr', '/usr/lib', '/etc', '/etc/ld.so.cache', '/dev', "
           "os.path.dirname(os.__file__):\n"
           "    assert os.statvfs(place).f_flag & os.ST_RDONLY, place\n"
           "    assert os.statvfs(place).f_flag & os.ST_NOSUID, place\n"
           "for folder, folders, files in os.walk('/'):\n"
           "    if folder.count('/') > 3: folders.clear()\n"
           "    if folder == '/': folders.remove('tmp')\n"
           "    try: open(folder + '/rf-sandbox-test', 'x')\n"
           "    except OSError as e: assert e.errno in (1, 13, 30), (folder, e)\n"
           "    else: raise RuntimeError(folder)\n"
           "for change in (os.chmod, '/usr/lib', 0o777), (os.rename, '/usr/lib', '/usr/lib2'), \\\n"
           "        (os.truncate, os.__file__, 0), (os.remove, '/etc/ld.so.cache'), (os.utime, '/etc'):\n"
           "    try: change[0](*change[1:])\n"
           "    except OSError as e: assert e.errno in (1, 13, 16, 30), (change, e)\n"
           "    else: raise RuntimeError(change)\n"
           "shutil.rmtree('/', ignore_errors=True)\n",
           "assert os.path.exists(os.__file__) and os.path.exists('/etc/ld.so.cache')", SANDBOX_PASSED, "");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(access("/usr/lib/rf-sandbox-test", F_OK), -1);
}

static void test_network(void **state)
{
    (void)state;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    char code[512];
    snprintf(code, sizeof code,
             "import socket\ntry: socket.create_connection(('127.0.0.1', %d))\nexcept OSError: pass\n",
             ntohs(address.sin_port));
    expect(code, "pass", SANDBOX_FORBIDDEN, "system call socket");
    expect("import socket\nsocket.getaddrinfo('example.org', 80)\n", "pass", SANDBOX_FORBIDDEN,
           "system call socket");
    expect("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n", "pass", SANDBOX_FORBIDDEN,
           "system call socket");
    expect("import socket\nsocket.socket(socket.AF_UNIX)\n", "pass", SANDBOX_RAISED, "PermissionError");
    assert_int_equal(accept(listener, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    close(listener);
}

static void test_caller_is_hidden(void **state)
{
    (void)state;
    setenv("RF_SANDBOX_SECRET", "3f2b", 1);
    expect("import os\nx = dict(os.environ)\nx.pop('LD_LIBRARY_PATH', None)\n",
           "assert sorted(x) == ['HOME', 'LANG', 'PATH', 'PYTHONHASHSEED'], x", SANDBOX_PASSED, "");
    unsetenv("RF_SANDBOX_SECRET");
    expect("import os\n",
           "assert os.getpid() == 1 and os.getppid() == 0 and os.getuid() == 65534 and os.getgid() == 65534\n"
           "assert os.uname().nodename == 'sandbox' and os.getcwd() == '/tmp' and os.getsid(0) == 1",
           SANDBOX_PASSED, "");
    expect("open('/proc/1/environ')\n", "pass", SANDBOX_RAISED, "FileNotFoundError");

    /* Open files, inherited by whoever executes something: at low numbers, high ones, and those that the sandbox uses. */
    static const int places[] = {5, 42, 63, 64, 199, 200, 201, 202, 210, 500};
    const int file = open("/dev/zero", O_RDONLY);
    int moved[sizeof places / sizeof *places];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        moved[i] = fcntl(places[i], F_GETFD) == -1 ? dup2(file, places[i]) : -1;
    expect(
        "import os\nfound = []\nfor fd in range(1024):\n    try: os.fstat(fd)\n    except OSError: continue\n"
        "    found.append(fd)\n",
        "assert found == [0, 1, 2, 3, 4], found", SANDBOX_PASSED, "");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (moved[i] >= 0)
            close(moved[i]);
    close(file);
    expect("import os\nos.kill(-1, 9)\n", "pass", SANDBOX_FORBIDDEN, "system call kill");
    expect("import os\nos.kill(os.getppid(), 9)\n", "pass", SANDBOX_FORBIDDEN, "system call kill");
    expect("import os\nfor pid in range(2, 1000): os.kill(pid, 9)\n", "pass", SANDBOX_FORBIDDEN,
           "system call kill");
}

static void test_system_calls(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *name;
    } calls[] = {
        {SYS_ptrace, "ptrace"},
        {SYS_mount, "mount"},
        {SYS_umount2, "umount2"},
        {SYS_bpf, "bpf"},
        {SYS_keyctl, "keyctl"},
        {SYS_io_uring_setup, "io_uring_setup"},
        {SYS_userfaultfd, "userfaultfd"},
        {SYS_perf_event_open, "perf_event_open"},
        {SYS_unshare, "unshare"},
        {SYS_setns, "setns"},
        {SYS_clone, "clone"},
        {SYS_execveat, "execveat"},
        {SYS_sendmsg, "sendmsg"},
        {SYS_process_vm_readv, "process_vm_readv"},
        {SYS_seccomp, "seccomp"},
        {SYS_shmget, "shmget"},
    };
    char code[256], detail[64];
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        snprintf(code, sizeof code, "import ctypes\nctypes.CDLL(None).syscall(%d, 0, 0, 0, 0, 0, 0)\n",
                 calls[i].number);
        snprintf(detail, sizeof detail, "system call %s", calls[i].name);
        expect(code, "pass", SANDBOX_FORBIDDEN, detail);
    }
    /* A thread that would have a namespace of its own. */
    snprintf(code, sizeof code, "import ctypes\nctypes.CDLL(None).syscall(%d, %d, 0, 0, 0, 0)\n", SYS_clone,
             CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWNET);
    expect(code, "pass", SANDBOX_FORBIDDEN, "system call clone");
    /* Others are not there at all. */
    snprintf(code, sizeof code,
             "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
             "for n in (%d, %d, 999):\n    assert c.syscall(n, 0, 0, 0) == -1 and ctypes.get_errno() == 38\n",
             SYS_clone3, SYS_mlockall);
    expect(code, "pass", SANDBOX_PASSED, "");
#ifdef __x86_64__
    expect("import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 39)\n", "pass", SANDBOX_FORBIDDEN,
           "another architecture");
    /* mov eax, 20; int 0x80; ret. Where the kernel has no 32-bit calls, the instruction itself fails. */
    struct sandbox_desc desc =
        describe("import ctypes, mmap\nm = mmap.mmap(-1, 4096, "
                 "prot=7)\nm.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n"
                 "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\n",
                 "pass");
    struct sandbox_result result = run_desc(&desc);
    assert_true(result.end == SANDBOX_FORBIDDEN || result.end == SANDBOX_CRASHED);
    sandbox_result_clear(&result);
#endif
}

/* ---- What is left ------------------------------------------------------------------------------------------------- */

static size_t count_entries(const char *path)
{
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static size_t read_whole(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t length = fread(out, 1, size - 1, file);
    fclose(file);
    out[length] = '\0';
    return length;
}

/* Whether a process of the host has this as one of the words of its command line. */
static bool process_with(const char *word)
{
    bool found = false;
    DIR *folder = opendir("/proc");
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char path[300], line[16384];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        const size_t length = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        line[length] = '\0';
        for (size_t at = 0; at < length; at += strlen(line + at) + 1)
            found = found || strcmp(line + at, word) == 0;
    }
    closedir(folder);
    return found;
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    static const struct program programs[] = {
        {"x = 1\n", "assert x == 1", SANDBOX_PASSED, ""},
        {"x = 2\n", "assert x == 1", SANDBOX_RAISED, "AssertionError"},
        {"import os\nos.fork()\n", "pass", SANDBOX_FORBIDDEN, "clone"},
        {"open('/tmp/x', 'w').write('x')\nimport os\nos._exit(3)\n", "pass", SANDBOX_LEFT, "exit status 3"},
        {"import threading\nthreading.Thread(target=input).start()\nimport ctypes\nctypes.string_at(0)\n",
         "pass", SANDBOX_CRASHED, "SIGSEGV"},
    };
    static char mounts[2][1 << 18];
    struct sigaction actions[2][32];
    const size_t descriptors = count_entries("/proc/self/fd");
    read_whole("/proc/self/mountinfo", mounts[0], sizeof mounts[0]);
    for (int i = 1; i < 32; i++)
        sigaction(i, NULL, &actions[0][i]);
    for (int round = 0; round < 10; round++)
        EXPECT_ALL(programs);
    struct sandbox_desc desc = describe("", "pass");
    desc.memory_bytes = 1;
    struct sandbox_result result;
    assert_int_equal(sandbox_run(sandbox, &desc, &result, NULL), RF_ERROR_ARGUMENT);
    assert_int_equal(count_entries("/proc/self/fd"), descriptors);
    read_whole("/proc/self/mountinfo", mounts[1], sizeof mounts[1]);
    assert_string_equal(mounts[0], mounts[1]);
    for (int i = 1; i < 32; i++) {
        sigaction(i, NULL, &actions[1][i]);
        assert_true(actions[0][i].sa_handler == actions[1][i].sa_handler);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
    assert_int_equal(errno, ECHILD);
}

/* The program goes with a caller that is killed, which has no chance to end it. */
static void test_killed_caller(void **state)
{
    (void)state;
    /* Its process is known by the code's length, which stands in its command line. */
    const size_t length = 100000 + (size_t)getpid();
    char *code = malloc(length + 1), word[32];
    assert_non_null(code);
    memset(code, ' ', length);
    code[length] = '\0';
    const char sleeping[] = "import time\ntime.sleep(600)\n#";
    memcpy(code, sleeping, sizeof sleeping - 1);
    snprintf(word, sizeof word, "%zu", length);
    assert_false(process_with(word));
    const pid_t caller = fork();
    if (caller == 0) {
        struct sandbox_desc desc = describe(code, "pass");
        struct sandbox_result result;
        sandbox_run(sandbox, &desc, &result, NULL);
        _exit(1);
    }
    free(code);
    assert_true(caller > 0);
    const struct timespec pause = {0, 20000000};
    for (int i = 0; i < 3000 && !process_with(word); i++)
        nanosleep(&pause, NULL);
    assert_true(process_with(word));
    kill(caller, SIGKILL);
    int status;
    assert_int_equal(waitpid(caller, &status, 0), caller);
    assert_true(WIFSIGNALED(status));
    for (int i = 0; i < 3000 && process_with(word); i++)
        nanosleep(&pause, NULL);
    assert_false(process_with(word));
}

static void *run_some(void *failed)
{
    for (int i = 0; i < 8; i++) {
        char code[64];
        struct sandbox_result result;
        snprintf(code, sizeof code, "import sys\nx = %d\nsys.stderr.write(str(x))\n", i);
        struct sandbox_desc desc = describe(code, i % 2 ? "assert x % 2\n" : "assert not x\n");
        struct rf_error err;
        if (sandbox_run(sandbox, &desc, &result, &err) != RF_OK) {
            fprintf(stderr, "%s\n", err.message);
            *(bool *)failed = true;
            continue;
        }
        const bool wanted = i % 2 || i == 0;
        if (result.end != (wanted ? SANDBOX_PASSED : SANDBOX_RAISED) || result.output[0] != (char)('0' + i)) {
            fprintf(stderr, "%d: %s (%s): %s\n", i, sandbox_end_name(result.end), result.detail,
                    result.output);
            *(bool *)failed = true;
        }
        sandbox_result_clear(&result);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    bool failed[4] = {false, false, false, false};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_some, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_false(failed[i]);
    }
}

static void test_arguments(void **state)
{
    (void)state;
    struct sandbox_result result;
    struct rf_error err;
    struct sandbox_desc desc = describe("x = 1", "");
    assert_int_equal(sandbox_run(sandbox, &desc, &result, &err), RF_ERROR_ARGUMENT);
    assert_string_equal(err.message, "sandbox: no tests to run");
    desc = describe("x = 1", "pass");
    desc.wall_seconds = -1;
    assert_int_equal(sandbox_run(sandbox, &desc, &result, &err), RF_ERROR_ARGUMENT);
    desc = describe("x = 1", "pass");
    desc.kept_bytes = 2 << 20;
    assert_int_equal(sandbox_run(sandbox, &desc, &result, &err), RF_ERROR_ARGUMENT);
    /* An ended child that nobody may wait for. */
    desc = describe("x = 1", "pass");
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(sandbox_run(sandbox, &desc, &result, &err), RF_ERROR_INTERNAL);
    assert_non_null(strstr(err.message, "SIGCHLD is ignored"));
    signal(SIGCHLD, SIG_DFL);
    /* Signals that the caller ignores are not ignored by the program. */
    signal(SIGTERM, SIG_IGN);
    expect("import signal\n", "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL", SANDBOX_PASSED,
           "");
    signal(SIGTERM, SIG_DFL);
}

/* ---- Refused -------------------------------------------------------------------------------------------------------- */

/* From here on this process gets `error` from this system call, when the argument has one of the bits (0: always). */
static void deny(int number, unsigned argument, uint32_t bits, int error)
{
    const struct sock_filter filter[] = {
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)number},
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args) + 8 * argument},
        {BPF_JMP | BPF_JSET | BPF_K, 1, 0, bits},
        {BPF_JMP | BPF_JGE | BPF_K, 0, 1, bits ? UINT32_MAX : 0},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | (uint32_t)error},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, (struct sock_filter *)filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(2);
}

/* In a process of its own: sandbox_open is refused with these words. */
static void expect_refusal(void (*prepare)(void), const char *first, const char *second)
{
    const pid_t child = fork();
    if (child == 0) {
        struct rf_error err = {0};
        struct sandbox *refused;
        prepare();
        const enum rf_status status = sandbox_open(&refused, &err);
        fprintf(stderr, "%s\n", err.message);
        const bool right = status == RF_ERROR_UNSUPPORTED && !refused && strstr(err.message, first) &&
                           strstr(err.message, second) && !strchr(err.message, '\n');
        _exit(right ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void without_user_namespaces(void)
{
    deny(SYS_clone, 0, CLONE_NEWUSER, EPERM);
}

/* The setting of the namespace that this process is in, not the system's. */
static void with_none_left(void)
{
    const int file = unshare(CLONE_NEWUSER) == 0 ? open("/proc/sys/user/max_user_namespaces", O_WRONLY) : -1;
    if (file >= 0 && write(file, "0", 1) == 1)
        return;
    fprintf(stderr, "no user namespaces here: nothing to switch off\n");
    _exit(0);
}

/* As AppArmor has it: namespaces are made, but nothing can be done in them. */
static void without_mounts(void)
{
    deny(SYS_mount, 0, 0, EACCES);
}

static void without_filters(void)
{
    deny(SYS_seccomp, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER, EINVAL);
}

static void without_new_mounts(void)
{
    deny(SYS_mount_setattr, 0, 0, ENOSYS);
}

static void without_python(void)
{
    setenv("PATH", "/nowhere", 1);
}

static char silent_folder[] = "/tmp/rf-sandbox-XXXXXX";

static void with_a_silent_python(void)
{
    setenv("PATH", silent_folder, 1);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refusal(without_user_namespaces, "new namespaces", "Operation not permitted");
    expect_refusal(with_none_left, "new namespaces", "sysctl -w user.max_user_namespaces=");
    expect_refusal(without_python, "python3", "on PATH a python3 is wanted");
    char silent[64];
    assert_non_null(mkdtemp(silent_folder));
    snprintf(silent, sizeof silent, "%s/python3", silent_folder);
    assert_int_equal(symlink("/bin/true", silent), 0);
    expect_refusal(with_a_silent_python, "does not say where its executable is", "");
    assert_int_equal(unlink(silent), 0);
    assert_int_equal(rmdir(silent_folder), 0);
    expect_refusal(without_mounts, "sandbox for Python", "");
    expect_refusal(without_new_mounts, "sandbox for Python", "");
    expect_refusal(without_filters, "sandbox for Python", "");
}

/* ---- Main -------------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "refused") == 0) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals)};
        return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
    }
    struct rf_error err;
    const enum rf_status status = sandbox_open(&sandbox, &err);
    if (status) {
        fprintf(stderr, "%s: %s\n", status == RF_ERROR_UNSUPPORTED ? "skipped" : "failed", err.message);
        return status == RF_ERROR_UNSUPPORTED ? 77 : 1;
    }
    printf("Python %s, %s\n", sandbox_python_version(sandbox), sandbox_python_path(sandbox));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_programs),
        cmocka_unit_test(test_bad_programs),
        cmocka_unit_test(test_false_passes),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_disk),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_caller_is_hidden),
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_killed_caller),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_arguments),
    };
    const int failures = cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
    sandbox_close(sandbox);
    return failures;
}
