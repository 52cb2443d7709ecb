#!/usr/bin/env python3
"""The pages that Doxygen makes of refusion.h: without a warning, with every public name."""
import os
import re
import shutil
import xml.etree.ElementTree as ET

from support import HEADER, ConsumerTest, main

DOXYFILE = os.path.join(os.environ["RF_BUILD"], "Doxyfile")


class Docs(ConsumerTest):
    def setUp(self):
        if not shutil.which("doxygen") or not os.path.exists(DOXYFILE):
            self.skipTest("there is no doxygen")

    def make(self, text, *settings):
        """Pages of a header with this text: the finished run, its folder."""
        folder = self.folder()
        header = os.path.join(folder, "refusion.h")
        with open(header, "w", encoding="utf-8") as file:
            file.write(text)
        with open(DOXYFILE, encoding="utf-8") as file:
            lines = [file.read(), f'INPUT = "{header}"', f'OUTPUT_DIRECTORY = "{folder}"', *settings]
        config = os.path.join(folder, "Doxyfile")
        with open(config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return self.run_command(["doxygen", config], status=None), folder

    @staticmethod
    def header():
        with open(HEADER, encoding="utf-8") as file:
            return file.read()

    def test_no_warnings(self):
        result, folder = self.make(self.header())
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertTrue(os.path.exists(os.path.join(folder, "html", "index.html")))

    def test_warnings_are_errors(self):
        """A name that a comment promises and nobody declares."""
        wrong = "/** \\param nothing of nobody */\nvoid f(int x);\n"
        result, _ = self.make(self.header() + wrong, "FILTER_PATTERNS =")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("nothing", result.stderr)

    def test_everything_is_there(self):
        """Each function, structure, enumeration and callback of the header has a place; functions stand in a group."""
        _, folder = self.make(self.header(), "GENERATE_XML = YES", "GENERATE_HTML = NO")
        text = re.sub(r"/\*.*?\*/", "", self.header(), flags=re.S)
        wanted = set(re.findall(r"RF_API [^;]*?\b(rf_\w+)\(", text))
        wanted |= set(re.findall(r"^(?:struct|enum) (rf_\w+) \{", text, re.M))
        wanted |= set(re.findall(r"^typedef [^;]*?\(\*(rf_\w+)\)", text, re.M))
        self.assertGreater(len(wanted), 60)
        index = ET.parse(os.path.join(folder, "xml", "index.xml")).getroot()
        self.assertEqual(wanted - {name.text for name in index.iter("name")}, set())
        grouped = {name.text for compound in index if compound.get("kind") == "group" for name in compound.iter("name")}
        functions = set(re.findall(r"RF_API [^;]*?\b(rf_\w+)\(", text))
        self.assertEqual(functions - grouped, set())


if __name__ == "__main__":
    main()
