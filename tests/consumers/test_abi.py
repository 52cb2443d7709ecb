#!/usr/bin/env python3
"""The installed library's binary interface is the one that refusion.abi keeps: compared by abidiff, harmless changes
included. What changed on purpose is written by renew_abi.sh."""
import os
import re

from support import HERE, PREFIX, ConsumerTest, main

KEPT = os.path.join(HERE, "refusion.abi")
CHANGED = 4  # a bit of abidiff's exit status


class Abi(ConsumerTest):
    def compare(self, kept):
        described = os.path.join(self.folder(), "installed.abi")
        with open(described, "w", encoding="utf-8") as file:
            file.write(self.run_command([os.path.join(HERE, "describe_abi.sh"), PREFIX]).stdout)
        return self.run_command(["abidiff", "--harmless", kept, described], status=None)

    def test_unchanged(self):
        result = self.compare(KEPT)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr +
                         "\nwhere this is wanted: tests/consumers/renew_abi.sh")
        self.assertEqual(result.stdout, "")

    def test_kept_description_names_no_folder(self):
        with open(KEPT, encoding="utf-8") as file:
            self.assertEqual(re.findall(r"path='/[^']*'", file.read()), [])

    def check_found(self, pattern, replacement, *said):
        """The comparison tells of one change in what is kept."""
        with open(KEPT, encoding="utf-8") as file:
            text, count = re.subn(pattern, replacement, file.read(), flags=re.S)
        self.assertGreaterEqual(count, 1)
        changed = os.path.join(os.path.dirname(self.folder()), "changed.abi")
        with open(changed, "w", encoding="utf-8") as file:
            file.write(text)
        result = self.compare(changed)
        self.assertTrue(result.returncode & CHANGED, result.stdout)
        for part in said:
            self.assertRegex(result.stdout, part)

    def test_finds_a_member_that_moved(self):
        self.check_found(r"layout-offset-in-bits='\d+'>(\s*<var-decl name='slot_size')", r"layout-offset-in-bits='8'>\1",
                         "slot_size.*offset changed from 8 to")

    def test_finds_a_member_that_went(self):
        member = r"<data-member [^>]*>\s*<var-decl name='top_p'[^>]*>\s*</data-member>\s*"
        self.check_found(member, "", "1 data member insertion", "top_p")

    def test_finds_a_structure_that_grew(self):
        self.check_found(r"(class-decl name='rf_session_desc' size-in-bits=)'\d+'", r"\1'64'", "size changed from 64 to")

    def test_finds_an_enumerator(self):
        self.check_found(r"(enumerator name='RF_ERROR_INTERNAL' value)='\d+'", r"\1='77'",
                         "RF_ERROR_INTERNAL.*from value '77'")

    def test_finds_a_function(self):
        self.check_found("rf_session_finished", "rf_session_completed", "rf_session_completed", "rf_session_finished")


if __name__ == "__main__":
    main()
