#!/usr/bin/env python3
"""The examples, as they are installed, and the one in the README: built and run against the installed library."""
import json
import os
import re
import subprocess
import sys

from support import CC, PROGRAM, QUESTION, ROOT, TINY, VULKAN_INCLUDE, ConsumerTest, installed, libdir, main, on_driver
from test_fronts import config

# Its answer takes two rounds, the first of which leaves a gap near the end.
LONGER = "Tom has 3 apples and buys 4 more. How many apples does Tom have?"


class Examples(ConsumerTest):
    def build(self, source, *more):
        program = os.path.join(self.folder(), "example")
        self.run_command([CC, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", source,
                          *config("--cflags", "--libs"), f"-Wl,-rpath,{libdir()}", *more, "-o", program])
        return program

    def answer(self, question):
        result = self.run_command(on_driver([PROGRAM, "generate", "--json", "-p", question]))
        return json.loads(result.stdout)["text"]

    def check_forms(self, command, env=None):
        """The command prints the answer, and not all at once."""
        process = subprocess.Popen(on_driver(command), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **(env or {})})
        pieces = []
        while piece := os.read(process.stdout.fileno(), 65536):
            pieces.append(piece)
        process.stdout.close()
        self.assertEqual(process.wait(), 0)
        self.assertEqual(b"".join(pieces).decode(), self.answer(LONGER) + "\n")
        self.assertLess(len(pieces[0]), len(self.answer(LONGER)))

    def check_refuses(self, command, env=None):
        result = self.run_command(on_driver(command + ["/no/such/folder", QUESTION]), env, 1)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn("/no/such/folder", result.stderr)
        self.assertEqual(self.run_command(on_driver(command), env, 2).stderr.split(":")[0], "usage")

    def test_embed(self):
        source = installed("embed.c")
        with open(source, encoding="utf-8") as file:
            self.assertLess(len(file.readlines()), 60)
        program = self.build(source)
        self.check_forms([program, TINY, LONGER])
        self.check_refuses([program])

    def test_share_device(self):
        """The application's own submissions stay right beside the answer, and the validation layer says nothing."""
        program = self.build(installed("share_device.c"), "-isystem", VULKAN_INCLUDE, "-pthread", "-ldl")
        log = os.path.join(os.path.dirname(program), "validation.log")
        result = self.run_command(on_driver([program, TINY, LONGER]), {"RF_VALIDATION_LOG": log})
        self.assertEqual(result.stdout, self.answer(LONGER) + "\n")
        own = re.fullmatch(r"(\d+) submissions of its own meanwhile, 0 with a wrong result\n", result.stderr)
        self.assertTrue(own, result.stderr)
        self.assertGreater(int(own.group(1)), 20)
        self.check_refuses([program])

    def test_python(self):
        environment = {"RF_LIBRARY": os.path.join(libdir(), "librefusion.so.0")}
        command = [sys.executable, installed("ask.py")]
        self.check_forms([*command, TINY, LONGER], environment)
        self.check_refuses(command, environment)

    def test_readme(self):
        """The smallest embedding: under 25 lines besides includes, and it runs as it stands."""
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            blocks = re.findall(r"```c\n(.*?)```", file.read(), re.S)
        self.assertEqual(len(blocks), 1)
        lines = [line for line in blocks[0].splitlines() if line.strip() and not line.startswith("#include")]
        self.assertLess(len(lines), 25)
        source = os.path.join(self.folder(), "minimal.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(blocks[0])
        program = os.path.join(os.path.dirname(source), "minimal")
        self.run_command([CC, "-std=c11", "-Wall", "-Wextra", "-Werror", source, *config("--cflags", "--libs"),
                          f"-Wl,-rpath,{libdir()}", "-o", program])
        result = self.run_command(on_driver([program]), cwd=ROOT)
        self.assertEqual(result.stdout, self.answer(QUESTION) + "\n")
        failed = self.run_command(on_driver([program]), cwd=os.path.dirname(source))
        self.assertEqual(failed.stdout, "")
        self.assertIn("models/tiny", failed.stderr)


if __name__ == "__main__":
    main()
