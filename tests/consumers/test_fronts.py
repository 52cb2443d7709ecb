#!/usr/bin/env python3
"""Applications built against the installed library, one for each way to link it, and what they answer: the same tokens
as the program, with and without randomness."""
import os
import re
import shutil
import subprocess
import sys

from support import (CC, CXX, HEADERS, HERE, PREFIX, QUESTION, TINY, ConsumerTest, installed, libdir, main,
                     on_driver)

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
RUNS = [(0, 0), (10, 7)]  # temperature, seed; hot, because the model is sure of this answer


def config(*options, pc=None):
    """What pkg-config says, as words."""
    environment = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(pc or installed("refusion.pc"))}
    return subprocess.run(["pkg-config", *options, "refusion"], check=True, capture_output=True, text=True,
                          env=environment).stdout.split()


class FrontTest(ConsumerTest):
    def check_answers(self, command, env=None):
        """The command, given MODEL QUESTION TEMPERATURE SEED, prints what the program does."""
        answers = []
        for temperature, seed in RUNS:
            result = self.run_command(on_driver([*command, TINY, QUESTION, str(temperature), str(seed)]), env)
            self.assertEqual(result.stderr, "")
            answers.append([int(word) for word in result.stdout.split(",")])
            self.assertEqual(answers[-1], self.program_tokens(temperature, seed))
            self.assertGreater(len(answers[-1]), 10)
        self.assertNotEqual(answers[0], answers[1])  # the settings arrive

    def needs_shared(self, program, wanted):
        listed = self.run_command(["readelf", "-d", program]).stdout
        self.assertEqual("librefusion.so.0" in listed, wanted, listed)


class C(FrontTest):
    def test_shared_by_pkg_config(self):
        program = os.path.join(self.folder(), "ask")
        self.run_command([CC, "-std=c11", *STRICT, os.path.join(HERE, "ask.c"), *config("--cflags", "--libs"),
                          f"-Wl,-rpath,{libdir()}", "-o", program])
        self.needs_shared(program, True)
        self.check_answers([program])

    def test_static_by_pkg_config(self):
        """A prefix that has the archive alone, so that the flags are used as they come."""
        folder = self.folder()
        os.makedirs(os.path.join(folder, "lib", "pkgconfig"))
        shutil.copytree(os.path.join(PREFIX, "include"), os.path.join(folder, "include"))
        shutil.copy(installed("librefusion.a"), os.path.join(folder, "lib"))
        pc = shutil.copy(installed("refusion.pc"), os.path.join(folder, "lib", "pkgconfig"))
        program = os.path.join(folder, "ask")
        self.run_command([CC, "-std=c11", os.path.join(HERE, "ask.c"), os.path.join(HERE, "clash.c"),
                          *config("--cflags", "--libs", "--static", pc=pc), "-o", program])
        self.needs_shared(program, False)
        self.check_answers([program])

    def test_names_of_ours_in_the_application(self):
        program = os.path.join(self.folder(), "ask")
        self.run_command([CC, "-std=c11", "-rdynamic", os.path.join(HERE, "ask.c"), os.path.join(HERE, "clash.c"),
                          *config("--cflags", "--libs"), f"-Wl,-rpath,{libdir()}", "-o", program])
        self.check_answers([program])

    def test_dlopen(self):
        program = os.path.join(self.folder(), "ask_dlopen")
        self.run_command([CC, "-std=c11", "-Wall", "-Wextra", "-Werror",
                          os.path.join(HERE, "ask_dlopen.c"), *config("--cflags"), "-ldl", "-o", program])
        self.needs_shared(program, False)
        library = os.path.join(libdir(), "librefusion.so.0")
        self.check_answers([program], {"RF_LIBRARY": library})

    def test_header_alone(self):
        """A header needs nothing in front of it, in any C from C99 on, and by any compiler that is here."""
        for compiler in [CC] + [name for name in ("gcc", "clang") if shutil.which(name)]:
            for standard in ("c99", "c11", "c17", "gnu17"):
                self.run_command([compiler, f"-std={standard}", *STRICT, "-Wstrict-prototypes", "-fsyntax-only", "-x",
                                  "c", *HEADERS])


class Python(FrontTest):
    def test_ctypes(self):
        self.check_answers([sys.executable, os.path.join(HERE, "ask_ctypes.py")],
                           {"RF_LIBRARY": os.path.join(libdir(), "librefusion.so.0"),
                            "PYTHONPATH": os.path.dirname(installed("refusion.py"))})


class Cxx(FrontTest):
    def setUp(self):
        if not CXX:
            self.skipTest("no C++ compiler")

    def test_shared_by_pkg_config(self):
        program = os.path.join(self.folder(), "ask")
        self.run_command([CXX, "-std=c++17", *STRICT, os.path.join(HERE, "ask.cpp"), *config("--cflags", "--libs"),
                          f"-Wl,-rpath,{libdir()}", "-o", program])
        self.check_answers([program])

    def test_header_alone(self):
        for compiler in [CXX] + [name for name in ("g++", "clang++") if shutil.which(name)]:
            for standard in ("c++11", "c++17", "c++20"):
                self.run_command([compiler, f"-std={standard}", *STRICT, "-fsyntax-only", "-x", "c++", *HEADERS])


class CMake(FrontTest):
    def configure(self, version="", components="", status=0):
        build = self.folder()
        return build, self.run_command(
            ["cmake", "-S", os.path.join(HERE, "cmake_project"), "-B", build, f"-DCMAKE_PREFIX_PATH={PREFIX}",
             f"-DCMAKE_C_COMPILER={CC}", f"-DWANTED_VERSION={version}", f"-DWANTED_COMPONENTS={components}"],
            status=status)

    def version(self):
        found = re.search(r"refusion (\d+)\.(\d+)\.(\d+)", self.run_command([os.path.join(PREFIX, "bin", "refusion"),
                                                                             "--version"]).stdout)
        return [int(part) for part in found.groups()]

    def test_both_targets(self):
        major, minor, _ = self.version()
        build, _ = self.configure(f"{major}.{minor}")
        self.run_command(["cmake", "--build", build])
        self.needs_shared(os.path.join(build, "ask_refusion"), True)
        self.needs_shared(os.path.join(build, "ask_static"), False)
        self.check_answers([os.path.join(build, "ask_refusion")])
        self.check_answers([os.path.join(build, "ask_static")])

    def test_one_component(self):
        build, _ = self.configure(components="static")
        self.run_command(["cmake", "--build", build])
        self.assertFalse(os.path.exists(os.path.join(build, "ask_refusion")))
        self.needs_shared(os.path.join(build, "ask_static"), False)

    def test_other_versions_are_refused(self):
        major, minor, patch = self.version()
        wrong = [f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}", f"{major + 1}.0"]
        if minor:
            wrong.append(f"{major}.{minor - 1}")
        for version in wrong:
            _, result = self.configure(version, status=None)
            self.assertNotEqual(result.returncode, 0, version)
            self.assertIn("compatible with requested", " ".join(result.stderr.split()))

    def test_unknown_component(self):
        _, result = self.configure(components="quantum", status=None)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("found the component quantum, wanted shared or static", " ".join(result.stderr.split()))

    def test_archive_without_its_libraries(self):
        """Wanted: a message. Not wanted: no failure, the shared library is enough."""
        environment = {"PKG_CONFIG_LIBDIR": "/nonexistent", "PKG_CONFIG_PATH": "", "CMAKE_PREFIX_PATH": ""}
        command = ["cmake", "-S", os.path.join(HERE, "cmake_project"),
                   f"-Drefusion_DIR={os.path.dirname(installed('refusionConfig.cmake'))}", f"-DCMAKE_C_COMPILER={CC}",
                   "-DWANTED_VERSION="]
        build = self.folder()
        self.run_command([*command, "-B", build, "-DWANTED_COMPONENTS="], environment)
        self.run_command(["cmake", "--build", build])
        self.assertEqual(sorted(name for name in os.listdir(build) if name.startswith("ask")), ["ask_refusion"])
        result = self.run_command([*command, "-B", self.folder(), "-DWANTED_COMPONENTS=static"], environment, None)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("refusion::static needs threads, pkg-config, and for it libcjson", " ".join(result.stderr.split()))


if __name__ == "__main__":
    main()
