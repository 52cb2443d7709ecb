#!/usr/bin/env python3
"""What the installed libraries show to an application: the functions of the public headers, and nothing else."""
import os
import re
import shutil
import subprocess

from support import CC, HEADERS, HERE, VULKAN_INCLUDE, ConsumerTest, installed, main

BUILD = os.environ["RF_BUILD"]
ALLOCATING = "malloc|calloc|realloc|free|strn?dup|v?asprintf|aligned_alloc|posix_memalign|getline|open_memstream"
LIST = os.path.join(HERE, "symbols.txt")


def listed():
    with open(LIST, encoding="utf-8") as file:
        return [line.strip() for line in file if not line.startswith("#")]


def declared():
    """The functions that headers declare as RF_API, by what the preprocessor leaves of them."""
    marked = subprocess.run([CC, "-E", "-P", "-DRF_API=RF_API", "-isystem", VULKAN_INCLUDE, "-x", "c", "-"], check=True, capture_output=True,
                            text=True, input="".join(f'#include "{header}"\n' for header in HEADERS)).stdout
    return sorted(re.findall(r"\bRF_API\b[^;]*?\b(rf_\w+)\s*\(", marked))


def exported(library, *options):
    """{name: type} of the symbols that a linker sees, versions cut off."""
    lines = subprocess.run(["nm", "--defined-only", *options, library], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    return {words[2].split("@")[0]: words[1] for words in map(str.split, lines) if len(words) == 3}


def taking_from_malloc(folder):
    """The object files below it that allocate by C's own functions."""
    objects = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names
               if name.endswith(".o")]
    lines = subprocess.run(["nm", "--undefined-only", "--print-file-name", *objects], check=True,
                           capture_output=True, text=True).stdout
    return len(objects), sorted(set(re.findall(rf"^{re.escape(folder)}/(.*): +U (?:{ALLOCATING})(?:@.*)?$",
                                               lines, re.M)))


class Symbols(ConsumerTest):
    def test_list_is_sorted_and_what_headers_declare(self):
        self.assertEqual(listed(), sorted(set(listed())))
        self.assertEqual(listed(), declared())

    def test_shared_library(self):
        found = exported(installed("librefusion.so"), "-D")
        soname = re.search(r"SONAME.*\[librefusion\.so\.(\d+)\]",
                           self.run_command(["readelf", "-d", installed("librefusion.so")]).stdout)
        self.assertEqual(found.pop(f"REFUSION_{soname.group(1)}"), "A")
        self.assertEqual(sorted(found), listed())
        self.assertEqual(set(found.values()), {"T"})

    def test_archive(self):
        found = exported(installed("librefusion.a"), "-g")
        self.assertEqual(sorted(found), listed())
        self.assertEqual(set(found.values()), {"T"})

    def test_one_file_takes_from_malloc(self):
        """All else goes through it, and so to an application's allocator."""
        count, found = taking_from_malloc(os.path.join(BUILD, "CMakeFiles/refusion_objects.dir"))
        self.assertGreater(count, 80)
        self.assertEqual(found, ["engine/allocate.c.o"])
        folder = self.folder()
        with open(os.path.join(folder, "extra.c"), "w", encoding="utf-8") as file:
            file.write("#include <stdlib.h>\nvoid extra(void *block) { free(block); }\n")
        self.run_command([CC, "-c", os.path.join(folder, "extra.c"), "-o", os.path.join(folder, "extra.o")])
        self.assertEqual(taking_from_malloc(folder), (1, ["extra.o"]))

    def test_nothing_is_left_to_the_application(self):
        """Every undefined symbol of the shared library comes from the libraries that it names."""
        self.run_command([CC, "-shared", "-Wl,--no-undefined", "-Wl,--no-as-needed", installed("librefusion.so"),
                          "-o", os.path.join(self.folder(), "checked.so")])

    def test_hidden_names_are_found_when_they_are_shown(self):
        """The counts above see a symbol more, as they would one that lost its visibility."""
        folder = self.folder()
        extra = os.path.join(folder, "extra.c")
        with open(extra, "w", encoding="utf-8") as file:
            file.write("int rf_extra(void) { return 1; }\nint helper_extra(void) { return 2; }\n")
        library = os.path.join(folder, "extra.so")
        self.run_command([CC, "-shared", "-fPIC", extra, "-o", library])
        self.assertLessEqual({"rf_extra", "helper_extra"}, set(exported(library, "-D")))
        archive = os.path.join(folder, "extra.a")
        shutil.copy(installed("librefusion.a"), archive)
        self.run_command([CC, "-c", extra, "-o", os.path.join(folder, "extra.o")])
        self.run_command(["ar", "q", archive, os.path.join(folder, "extra.o")])
        self.assertEqual(sorted(set(exported(archive, "-g")) - set(listed())), ["helper_extra", "rf_extra"])


if __name__ == "__main__":
    main()
