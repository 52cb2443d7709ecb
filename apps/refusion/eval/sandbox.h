/* Runs Python that a model wrote, with the tests of its task behind it, where it can do no harm: in namespaces and a
 * root folder of its own, behind a seccomp filter, with limits on time, memory, output and threads.
 *
 * What the program has: Python's standard library, read-only; 16 MiB of writable /tmp, which is gone afterwards; an
 * environment of PATH, HOME, LANG and PYTHONHASHSEED; one process that may have threads; stdout and stderr. It has no
 * network, no other process, no file of the host but system libraries and Python's own, and no open file of the caller.
 *
 * Linux 5.12 or newer on x86_64 or aarch64, where user namespaces may be made, as root or as an ordinary user; anything
 * else is refused by sandbox_open, and nothing is ever run with less. What is isolated and what is not:
 * docs/evaluation.md.
 *
 *     struct sandbox *sandbox;
 *     if (sandbox_open(&sandbox, &err) != RF_OK)
 *         return complain_error(&err); // says what is missing, and how it is allowed
 *     struct sandbox_desc desc = {.code = answer, .code_length = length, .tests = tests, .tests_length = tests_length};
 *     struct sandbox_result result;
 *     if (sandbox_run(sandbox, &desc, &result, &err) == RF_OK) {
 *         printf("%s %s\n", sandbox_end_name(result.end), result.detail);
 *         sandbox_result_clear(&result);
 *     }
 *     sandbox_close(sandbox);
 */
#ifndef RF_APPS_EVAL_SANDBOX_H
#define RF_APPS_EVAL_SANDBOX_H

#include "engine/status.h"

struct sandbox;

/* Finds python3 on PATH, and proves with a tiny program that one passes and one fails in the sandbox; this takes a
 * few tenths of a second. RF_ERROR_UNSUPPORTED: the system does not allow it, or there is no python3; the message says
 * what is missing and how it is allowed. The sandbox is immutable: any number of threads may run programs in it. */
enum rf_status sandbox_open(struct sandbox **out, struct rf_error *err);
void sandbox_close(struct sandbox *sandbox); /* NULL: nothing */

/* Of the Python that runs the programs, "3.11.2", and the path of its executable. They live as long as the sandbox. */
const char *sandbox_python_version(const struct sandbox *sandbox);
const char *sandbox_python_path(const struct sandbox *sandbox);

struct sandbox_desc {
    /* Both are UTF-8 and need no NUL. The code runs as a module named "answer", so what stands under
     * `if __name__ == "__main__":` does not run. Then the tests run in the same module, there by the name
     * "__main__". They are compiled by themselves: no unclosed quote or bracket of the code reaches them. The sample
     * passes when the last statement of the tests has run, however the process ends afterwards. Tests that leave by
     * SystemExit, as unittest.main() does, have not passed. */
    const char *code;
    size_t code_length;
    const char *tests;
    size_t tests_length;

    /* 0: the default. Whole program, start of Python (some 20 ms) included. */
    double wall_seconds;  /* 10; more than 0, at most 3600 */
    double cpu_seconds;   /* as wall_seconds; of all threads together, within a few hundredths */
    size_t memory_bytes;  /* 1 GiB of address space; at least 64 MiB */
    size_t output_bytes;  /* 16 MiB of stdout and stderr together may be written, more stops the program */
    size_t kept_bytes;    /* 4096, the last ones of stderr; at most 1 MiB */
    unsigned max_threads; /* 64 threads may be started in all, beside the first; more stops the program */
};

/* How a program ended. Every one but SANDBOX_PASSED is a failed sample. */
enum sandbox_end {
    SANDBOX_PASSED,  /* all tests ran, and nothing was raised */
    SANDBOX_RAISED,  /* an exception: an assertion, a syntax error, any other */
    SANDBOX_LEFT,    /* it ended before the tests did: sys.exit, os._exit */
    SANDBOX_CRASHED, /* a signal that it brought on itself, as by a stack overflow */
    SANDBOX_TIME,    /* the limit on wall clock or on CPU time */
    SANDBOX_MEMORY,  /* MemoryError, or the system killed it for its memory */
    SANDBOX_OUTPUT,  /* more than output_bytes */
    SANDBOX_THREADS, /* more than max_threads */
    SANDBOX_FORBIDDEN, /* killed at a system call that no test needs: a new process, a socket, ptrace, mount... */
};
/* "passed", "raised", "left", "crashed", "time", "memory", "output", "threads", "forbidden": for reports. Static. */
const char *sandbox_end_name(enum sandbox_end end);

struct sandbox_result {
    enum sandbox_end end;
    /* One line of valid UTF-8 without control characters, made for a report. The exception's last line and where it was
     * raised, "AssertionError (tests.py:2: assert add(1, 2) == 4)"; else what happened, "system call socket",
     * "10 s of wall clock", "SIGSEGV". "" when it passed. */
    char detail[320];
    double wall_seconds, cpu_seconds; /* used */
    /* The end of stderr: at most kept_bytes of it, in valid UTF-8 (other bytes became U+FFFD), no control characters but
     * newline and tab. NUL behind the end. For sandbox_result_clear. */
    char *output;
    size_t output_length;
    bool output_cut; /* there was more before it */
};

/* Runs one program to its end, which may be its limits' end. RF_OK: *result says how it ended, be it badly. Else the
 * sandbox itself failed (RF_ERROR_ARGUMENT for a bad desc, RF_ERROR_HOST_MEMORY, RF_ERROR_UNSUPPORTED when the system
 * does not allow it any more, RF_ERROR_IO, RF_ERROR_INTERNAL), nothing can be said of the program, and *result needs no
 * clearing.
 *
 * When it returns, the program's process, its files and its mounts are gone; they also go when the calling thread or its
 * process is killed meanwhile. Any thread may call, and several at once. The caller's signal handlers, children and
 * environment stay as they are; only the ended program sends a SIGCHLD. A caller that ignores SIGCHLD, or waits for any
 * child in another thread, takes away how a program ended: then this fails with RF_ERROR_INTERNAL. */
enum rf_status sandbox_run(const struct sandbox *sandbox, const struct sandbox_desc *desc,
                           struct sandbox_result *result, struct rf_error *err);
void sandbox_result_clear(struct sandbox_result *result);

#endif
