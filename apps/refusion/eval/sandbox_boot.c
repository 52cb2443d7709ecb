/* The Python that runs answer and tests. It shares its interpreter with the answer, which can therefore find out
 * everything it knows; so passing is not what the answer's code says but what comes behind the tests' last statement,
 * by functions that were taken before the answer ran, and with a token that stands in no variable: it goes from one
 * descriptor to the other. This stops answers that leave early, catch everything or replace builtins. It does not stop one
 * that knows this file: docs/evaluation.md says what that could do. */
#include "apps/refusion/eval/sandbox_internal.h"

#ifdef SANDBOX_HERE
const char sandbox_boot[] =
    "def run():\n"
    "    import builtins, posix, sys\n"
    "    build, execute, within, exception = compile, exec, issubclass, sys.exc_info\n"
    "    pread, write, leave, trace, profile = posix.pread, posix.write, posix._exit, sys.settrace, "
    "sys.setprofile\n"
    "    out_of_memory, left, errors = MemoryError, SystemExit, sys.stderr\n"
    "    code_length, tests_length = int(sys.argv[1]), int(sys.argv[2])\n"
    "    main = sys.modules['__main__']\n" /* lives on, as the home of these functions */
    "    sys.argv[:] = ['answer.py']\n"
    "    sys.path.remove('')\n" /* a file that the answer writes to /tmp is no module */
    /* Under both names, because dataclasses, pickle and unittest look their module up. */
    "    answer = type(sys)('answer')\n"
    "    sys.modules['answer'] = sys.modules['__main__'] = answer\n"
    "    names, given = answer.__dict__, dict(builtins.__dict__)\n"
    "    try:\n"
    "        execute(build(pread(3, code_length, 0), 'answer.py', 'exec', 0, True, 0), names)\n"
    "        builtins.__dict__.update(given)\n"
    "        trace(None), profile(None)\n"
    "        names['__name__'] = '__main__'\n"
    "        execute(build(pread(3, tests_length, code_length), 'tests.py', 'exec', 0, True, 0), names)\n"
    "        try: errors.flush()\n"
    "        except: pass\n"
    "        write(4, b'P' + pread(3, 32, code_length + tests_length))\n"
    "        leave(0)\n" /* whatever threads and atexit would still do */
    "    except:\n"
    "        kind, error, where = exception()\n"
    "        builtins.__dict__.update(given)\n"
    "        says = b'M' if within(kind, out_of_memory) else b'X' if within(kind, left) else b'E'\n"
    "        try:\n"
    "            says += explain(kind, error, where.tb_next, errors, code_length, tests_length)[:1000]\n"
    "        except:\n"
    "            says += type.__getattribute__(kind, '__name__').encode()\n"
    "        write(4, says)\n"
    "        leave(1)\n"
    "\n"
    /* The traceback on stderr as Python writes it, with the lines of texts that lie in no file. Returns its last line and
     * the innermost place in them. */
    "def explain(kind, error, where, errors, code_length, tests_length):\n"
    "    import linecache, posix, traceback\n"
    "    texts = {'answer.py': posix.pread(3, code_length, 0),\n"
    "             'tests.py': posix.pread(3, tests_length, code_length)}\n"
    "    for name, text in texts.items():\n"
    "        text = text.decode('utf-8', 'replace') + '\\n'\n"
    "        linecache.cache[name] = len(text), None, text.splitlines(True), name\n"
    "    traceback.print_exception(kind, error, where, file=errors)\n"
    "    errors.flush()\n"
    "    line = ''.join(traceback.format_exception_only(kind, error)[-1:]).strip()\n"
    "    places = [(p.filename, p.lineno) for p in traceback.extract_tb(where) if p.filename in texts]\n"
    "    if issubclass(kind, SyntaxError) and error.filename in texts:\n"
    "        places.append((error.filename, error.lineno))\n"
    "    if places:\n"
    "        source = linecache.getline(*places[-1]).strip()\n"
    "        line = line[:200] + ' (%s:%d: %s)' % (places[-1] + (source,))\n"
    "    return line.encode('utf-8', 'replace')\n"
    "\n"
    "run()\n";
#endif
