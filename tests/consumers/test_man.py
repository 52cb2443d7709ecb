#!/usr/bin/env python3
"""The installed manual page: groff and man-db have no complaint, and it tells every command and option of --help."""
import os
import re
import shutil

from support import PROGRAM, ConsumerTest, installed, main


def unfold(text):
    return re.sub(r"\s+", " ", text)


class Man(ConsumerTest):
    def setUp(self):
        if not shutil.which("man"):
            self.skipTest("there is no man to read the page with")

    def render(self, page):
        result = self.run_command(["man", "--warnings", "-l", page],
                                  {"MANWIDTH": "2000", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": "", "PAGER": "cat",
                                   "MANROFFOPT": "-rHY=0"}, status=None)
        return result.stdout, result.stderr

    def test_no_warnings(self):
        text, said = self.render(installed("refusion.1"))
        self.assertEqual(said, "")
        for section in ("NAME", "SYNOPSIS", "COMMANDS", "OPTIONS", "ENVIRONMENT", "EXIT STATUS"):
            self.assertRegex(text, rf"(?m)^{section}$")

    def test_warnings_are_seen(self):
        page = os.path.join(self.folder(), "wrong.1")
        shutil.copy(installed("refusion.1"), page)
        with open(page, "a", encoding="utf-8") as file:
            file.write(".NOSUCHREQUEST\n\\f[nosuchfont]text\n")
        self.assertRegex(self.render(page)[1], "NOSUCHREQUEST")

    def test_everything_of_help(self):
        """Each option with its value, help and default, and each command's text, as --help prints them."""
        page = unfold(self.render(installed("refusion.1"))[0])
        overview = self.run_command([PROGRAM, "--help"]).stdout
        commands = re.findall(r"^  ([a-z]+)  ", overview, re.M)
        self.assertGreaterEqual(len(commands), 9)
        for name, text in re.findall(r"^  (RF_\w+) +(.*)$", overview, re.M):
            self.assertIn(f"{name} {text}", page)
        counted = 0
        for command in commands:
            usage, details, *groups = self.run_command([PROGRAM, command, "--help"]).stdout.split("\n\n")
            self.assertIn(unfold(usage).removeprefix("Usage: refusion ").strip(), page)
            self.assertIn(unfold(details).strip(), page)
            options = [option for group in groups for option in re.split(r"\n(?=  (?:-\w,|   ) --)", group)
                       if re.match(r"  (-\w,|   ) --", option) and "--help" not in option.split("\n")[0]]
            self.assertEqual(bool(options), len(groups) > 2, command)
            counted += len(options)
            for option in options:
                self.assertIn(unfold(option).strip() + ". For ", page)
        self.assertGreater(counted, 100)


if __name__ == "__main__":
    main()
