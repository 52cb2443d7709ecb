#!/usr/bin/env python3
"""The pages that Doxygen makes of the public headers: without a warning, with every public name."""
import os
import re
import shutil
import xml.etree.ElementTree as ET

from support import HEADERS, ConsumerTest, main

DOXYFILE = os.path.join(os.environ["RF_BUILD"], "Doxyfile")


class Docs(ConsumerTest):
    def setUp(self):
        if not shutil.which("doxygen") or not os.path.exists(DOXYFILE):
            self.skipTest("there is no doxygen")

    def make(self, more="", *settings):
        """Pages of the headers, with this text at the end of the last: the finished run, its folder."""
        folder = self.folder()
        copies = [shutil.copy(header, folder) for header in HEADERS]
        with open(copies[-1], "a", encoding="utf-8") as file:
            file.write(more)
        with open(DOXYFILE, encoding="utf-8") as file:
            lines = [file.read(), "INPUT = " + " ".join(f'"{copy}"' for copy in copies),
                     f'OUTPUT_DIRECTORY = "{folder}"', *settings]
        config = os.path.join(folder, "Doxyfile")
        with open(config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return self.run_command(["doxygen", config], status=None), folder

    @staticmethod
    def declarations():
        """The headers' text without comments."""
        text = ""
        for header in HEADERS:
            with open(header, encoding="utf-8") as file:
                text += file.read()
        return re.sub(r"/\*.*?\*/", "", text, flags=re.S)

    def test_no_warnings(self):
        result, folder = self.make()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertTrue(os.path.exists(os.path.join(folder, "html", "index.html")))

    def test_warnings_are_errors(self):
        """A name that a comment promises and nobody declares."""
        wrong = "/** \\param nothing of nobody */\nvoid f(int x);\n"
        result, _ = self.make(wrong, "FILTER_PATTERNS =")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("nothing", result.stderr)

    def test_everything_is_there(self):
        """Each function, structure, enumeration and callback of the headers has a place; functions stand in a group."""
        _, folder = self.make("", "GENERATE_XML = YES", "GENERATE_HTML = NO")
        text = self.declarations()
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
