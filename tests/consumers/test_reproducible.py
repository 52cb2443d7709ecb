#!/usr/bin/env python3
"""The source, copied and built once more in other folders, gives the same bytes: library, archive, program, manual page,
and the packages made of them."""
import glob
import hashlib
import os
import re
import shutil
import subprocess

from support import CC, ROOT, WORK, ConsumerTest, main

BUILD = os.environ["RF_BUILD"]
PACKAGES = os.environ["RF_PACKAGES"]
FILES = ["librefusion.so", "librefusion.a", "refusion", "refusion.1", "refusion.pc"]
DESKTOP = os.path.exists(os.path.join(BUILD, "refusion-desktop"))
if DESKTOP:
    FILES.append("refusion-desktop")
# Settings that reach what is built; the others are where things lie.
SETTINGS = ["CMAKE_BUILD_TYPE", "CMAKE_C_FLAGS", "CMAKE_INSTALL_PREFIX", "CMAKE_INSTALL_LIBDIR", "RF_TESTS", "RF_WERROR"]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def setting(name):
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as file:
        found = re.search(rf"^{name}:\w+=(.*)$", file.read(), re.M)
    return found.group(1) if found else None


class Reproducible(ConsumerTest):
    def build_again(self, source, build):
        tops = [name for name in os.listdir(ROOT) if name not in (".git", ".deps", "build")]
        os.makedirs(source)
        for name in tops:
            path = os.path.join(ROOT, name)
            if os.path.isdir(path):
                shutil.copytree(path, os.path.join(source, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, source)
        options = [f"-D{name}={setting(name)}" for name in SETTINGS if setting(name) is not None]
        self.run_command(["cmake", "-S", source, "-B", build, "-G", setting("CMAKE_GENERATOR"),
                          f"-DCMAKE_C_COMPILER={CC}", f"-DRF_PREFIX={setting('RF_PREFIX')}", *options])
        self.run_command(["cmake", "--build", build, "-j2", "--target", "librefusion.so", "librefusion.a",
                          "refusion_program", "man_page", *(["refusion_desktop"] if DESKTOP else [])])

    def differing(self, build):
        return [name for name in FILES if digest(os.path.join(BUILD, name)) != digest(os.path.join(build, name))]

    def check_folders_are_seen(self, source, build):
        """One file that keeps its folder is enough to be found."""
        with open(os.path.join(source, "engine", "status.c"), "a", encoding="utf-8") as file:
            file.write('\nextern const char rf_folder[];\nconst char rf_folder[] = "%s";\n' % source)
        self.run_command(["cmake", "--build", build, "--target", "librefusion.so", "librefusion.a"])
        self.assertEqual(self.differing(build), ["librefusion.so", "librefusion.a"])

    def test_same_bytes(self):
        folder = os.path.join(WORK, "again")
        subprocess.run(["rm", "-rf", folder], check=True)
        source, build = os.path.join(folder, "a copy of the source"), os.path.join(folder, "elsewhere")
        self.build_again(source, build)
        self.assertEqual(self.differing(build), [])
        self.run_command(["cpack", "-G", "DEB", "-B", os.path.join(folder, "packages")], cwd=build)
        ours = sorted(glob.glob(os.path.join(PACKAGES, "*.deb")))
        self.assertEqual(len(ours), 4 if DESKTOP else 3)
        theirs = [os.path.join(folder, "packages", os.path.basename(path)) for path in ours]
        self.assertEqual([digest(path) for path in ours], [digest(path) for path in theirs])
        self.check_folders_are_seen(source, build)
        subprocess.run(["rm", "-rf", folder], check=True)


if __name__ == "__main__":
    main()
