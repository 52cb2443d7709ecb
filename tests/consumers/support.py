"""What the consumers' tests share: the installed library, compilers, and what the program answers.

Environment, set by CMakeLists.txt: RF_INSTALLED, the prefix that install.sh filled; RF_WORK, a folder for what is built
here; CC and CXX (empty: no C++ compiler); RF_DRIVER, a driver of scripts/with-driver.sh.
"""
import glob
import json
import os
import subprocess
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "..", ".."))
PREFIX = os.environ["RF_INSTALLED"]
WORK = os.environ["RF_WORK"]
CC = os.environ["CC"]
CXX = os.environ.get("CXX", "")
DRIVER = os.environ.get("RF_DRIVER")
# An application that includes refusion_vulkan.h brings Vulkan's headers.
VULKAN_INCLUDE = os.environ["RF_VULKAN_INCLUDE"]
QUESTION = "Write a Python function check_values(scores) that tells if all numbers in a list are odd."


def installed(pattern):
    """The one installed file or folder of this name, wherever the system's folders for it are."""
    found = [path for path in glob.glob(os.path.join(PREFIX, "**", pattern), recursive=True)]
    if len(found) != 1:
        raise AssertionError(f"{pattern}: found {found} in {PREFIX}, wanted one")
    return found[0]


HEADER = os.path.join(PREFIX, "include", "refusion.h")
HEADERS = sorted(glob.glob(os.path.join(PREFIX, "include", "refusion*.h")))
TINY = os.path.join(PREFIX, "share", "refusion", "models", "tiny")
PROGRAM = os.path.join(PREFIX, "bin", "refusion")


def libdir():
    return os.path.dirname(installed("librefusion.so"))


def on_driver(command):
    return [os.path.join(ROOT, "scripts", "with-driver.sh"), DRIVER, *command] if DRIVER else list(command)


class ConsumerTest(unittest.TestCase):
    maxDiff = None

    def run_command(self, command, env=None, status=0, **keywords):
        result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=600,
                                env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, **keywords)
        if status is not None:
            self.assertEqual(result.returncode, status, f"{command}\n{result.stdout}{result.stderr}")
        return result

    def folder(self):
        path = os.path.join(WORK, self.id().split(".", 1)[1])
        subprocess.run(["rm", "-rf", path], check=True)
        os.makedirs(path)
        return path

    answers = {}

    def program_tokens(self, temperature, seed):
        """What the installed program says to the question; asked once."""
        if (temperature, seed) in self.answers:
            return self.answers[temperature, seed]
        result = self.run_command(on_driver([PROGRAM, "generate", "--json", "--no-tune", "-p", QUESTION,
                                             "--temperature", str(temperature), "--seed", str(seed)]))
        self.answers[temperature, seed] = json.loads(result.stdout)["tokens"]
        return self.answers[temperature, seed]


def main():
    """A missing driver, or nothing that could be tested, skips the whole file: exit status 77."""
    if DRIVER and subprocess.run(on_driver(["true"]), stdout=subprocess.DEVNULL, check=False).returncode == 77:
        raise SystemExit(77)
    result = unittest.main(module="__main__", exit=False).result
    if result.wasSuccessful() and result.skipped and len(result.skipped) == result.testsRun:
        for _, reason in result.skipped:
            print("skipped:", reason)
        raise SystemExit(77)
    raise SystemExit(0 if result.wasSuccessful() else 1)
