"""What the end-to-end tests share: starting the program, on one driver, and looking at what it said.

Environment, set by CMakeLists.txt: RF_PROGRAM, the program; RF_SHADER_DIR, where the
built shaders are; RF_DRIVER, a driver of scripts/with-driver.sh (unset: whatever the Vulkan loader finds).
"""
import os
import subprocess
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
TINY = os.path.join(ROOT, "tests", "golden", "tiny")
GOLDEN = os.path.join(ROOT, "tests", "golden")
PROGRAM = os.environ.get("RF_PROGRAM", os.path.join(ROOT, "build", "release", "refusion"))
DRIVER = os.environ.get("RF_DRIVER")
# A question with a short answer, whose slots are all right at the first try.
QUESTION = "Write a Python function is_odd(x) that tells if a number is odd."
ANSWER = "```python\ndef is_odd(x):\n    return x % 2 == 1\n```"


def command_line(arguments, driver=DRIVER):
    launcher = [os.path.join(ROOT, "scripts", "with-driver.sh"), driver] if driver else []
    return launcher + [PROGRAM] + list(arguments)


def clean_environment(extra=None):
    environment = {k: v for k, v in os.environ.items() if k not in ("RF_DEVICE", "RF_DISABLE")}
    environment["RF_MODEL"] = TINY
    environment.update(extra or {})
    return environment


def run(*arguments, stdin=None, env=None, driver=DRIVER, timeout=300):
    """The finished process, with text or bytes as `stdin` is (None: /dev/null, so that nothing counts as input)."""
    as_text = not isinstance(stdin, bytes)
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    result = subprocess.run(command_line(arguments, driver), capture_output=True, check=False, timeout=timeout,
                            env=clean_environment(env), text=as_text, encoding="utf-8" if as_text else None, **source)
    return result


class ProgramTest(unittest.TestCase):
    maxDiff = None

    def check_fails(self, result, status, *parts):
        """One line on stderr, `refusion: ...`, that holds all parts; nothing on stdout."""
        stderr = result.stderr if isinstance(result.stderr, str) else result.stderr.decode()
        lines = stderr.splitlines()
        self.assertEqual(result.returncode, status, stderr)
        self.assertEqual(len(lines), 1, stderr)
        self.assertTrue(lines[0].startswith("refusion: "), lines[0])
        for part in parts:
            self.assertIn(part, lines[0])
        self.assertFalse(result.stdout)

    def check_works(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout


def main():
    """A missing driver skips the whole file: exit status 77."""
    if DRIVER:
        probe = subprocess.run([os.path.join(ROOT, "scripts", "with-driver.sh"), DRIVER, PROGRAM, "--version"],
                               stdout=subprocess.DEVNULL, check=False)
        if probe.returncode == 77:
            raise SystemExit(77)
    unittest.main(module="__main__")
