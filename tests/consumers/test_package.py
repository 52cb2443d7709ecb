#!/usr/bin/env python3
"""The Debian packages that cpack made: what they say, and that they install and run in a root that holds Debian's base
system and nothing else, by that system's own apt."""
import glob
import os
import re
import shutil
import subprocess
import time
import unittest

from support import QUESTION, ROOT, WORK, ConsumerTest, main

PACKAGES = os.environ["RF_PACKAGES"]
BARE = os.path.join(ROOT, ".deps", "bare")


def package(name):
    found = glob.glob(os.path.join(PACKAGES, f"{name}_*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{name}: found {found} in {PACKAGES}, wanted one package")
    return found[0]


DESKTOP = bool(glob.glob(os.path.join(PACKAGES, "refusion-desktop_*.deb")))


class Contents(ConsumerTest):
    def field(self, name, field):
        return self.run_command(["dpkg-deb", "-f", package(name), field]).stdout.strip()

    def files(self, name):
        lines = self.run_command(["dpkg-deb", "-c", package(name)]).stdout.splitlines()
        return {line.split(None, 5)[5].split(" -> ")[0].lstrip(".") for line in lines if not line.startswith("d")}

    def test_dependencies(self):
        library = {"libc6", "libcjson1", "libpcre2-8-0", "libvulkan1"}
        for name, wanted in (("librefusion0", library), ("refusion", library | {"libedit2"})):
            self.assertLessEqual(wanted, set(re.findall(r"(?:^|, )([a-z0-9.+-]+)", self.field(name, "Depends"))))
            self.assertIn("mesa-vulkan-drivers", self.field(name, "Recommends"))
        version = self.field("librefusion0", "Version")
        ours, *headers = self.field("librefusion-dev", "Depends").split(", ")
        self.assertEqual(ours, f"librefusion0 (= {version})")
        for header in headers:  # this was built with them, so they are here
            self.run_command(["dpkg-query", "-W", header])

    def test_files(self):
        library, program = self.files("librefusion0"), self.files("refusion")
        development = self.files("librefusion-dev")
        self.assertEqual({os.path.basename(path) for path in library if "/doc/" not in path},
                         {"librefusion.so.0", os.path.basename(next(path for path in library if ".so.0." in path))})
        for path in ("/usr/bin/refusion", "/usr/share/man/man1/refusion.1",
                     "/usr/share/refusion/models/tiny/config.json", "/usr/share/refusion/models/tiny/heldout.jsonl",
                     "/usr/share/refusion/shaders/refs.glsl",
                     "/usr/share/doc/refusion/copyright"):
            self.assertIn(path, program)
        for name in ("refusion.h", "refusion_profile.h", "refusion_vulkan.h", "share_device.c",
                     "librefusion.a", "librefusion.so", "refusion.pc", "refusionConfig.cmake", "embed.c"):
            self.assertIn(name, {os.path.basename(path) for path in development})
        for one, other in ((library, program), (library, development), (program, development)):
            self.assertEqual(one & other, set())

    @unittest.skipUnless(DESKTOP, "the desktop application was not built")
    def test_desktop(self):
        depends = set(self.field("refusion-desktop", "Depends").split(", "))
        version = self.field("librefusion0", "Version")
        self.assertLessEqual({f"librefusion0 (= {version})", f"refusion (= {version})", "adwaita-icon-theme"}, depends)
        self.assertLessEqual({"libgtk-4-1", "libgtksourceview-5-0", "libsqlite3-0"}, {d.split()[0] for d in depends})
        data = {"applications/org.refusion.Desktop.desktop", "metainfo/org.refusion.Desktop.metainfo.xml",
                "icons/hicolor/scalable/apps/org.refusion.Desktop.svg", "doc/refusion-desktop/copyright"}
        self.assertEqual(self.files("refusion-desktop"),
                         {"/usr/bin/refusion-desktop"} | {"/usr/share/" + path for path in data})
        folder = self.folder()
        self.run_command(["dpkg-deb", "-x", package("refusion-desktop"), folder])
        if shutil.which("desktop-file-validate"):
            entry = os.path.join(folder, "usr/share/applications/org.refusion.Desktop.desktop")
            self.assertEqual(self.run_command(["desktop-file-validate", entry]).stdout, "")
        if shutil.which("appstreamcli"):  # finds the entry, its icon and the program in the same tree
            self.run_command(["appstreamcli", "validate-tree", "--no-net", folder])

    def test_nothing_names_a_folder_of_the_build(self):
        folder = self.folder()
        for name in ("librefusion0", "librefusion-dev", "refusion") + ("refusion-desktop",) * DESKTOP:
            self.run_command(["dpkg-deb", "-x", package(name), folder])
        found = self.run_command(["grep", "-rlF", "-e", ROOT, "-e", os.environ["RF_BUILD"], folder], status=None)
        self.assertEqual((found.returncode, found.stdout), (1, ""))


class BareRoot(ConsumerTest):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root may install packages and change the root folder")
        if not os.path.exists(os.path.join(BARE, "debs")):
            self.skipTest("there is no .deps/bare: scripts/setup.sh --tests, as root, brings it")
        self.root = os.path.join(WORK, "root")
        self.remove()
        self.addCleanup(self.remove)
        os.makedirs(WORK, exist_ok=True)
        self.run_command(["cp", "-a", os.path.join(BARE, "root"), self.root])

    def remove(self):
        subprocess.run(["rm", "-rf", "--one-file-system", self.root], check=True)

    def inside(self, *command, status=0):
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
                 "DEBIAN_FRONTEND=noninteractive"]
        return self.run_command(["chroot", self.root, *clean, *command], status=status)

    def local_archive(self):
        """All packages that there are to choose from; apt takes what ours depend on."""
        debs = os.path.join(self.root, "debs")
        shutil.copytree(os.path.join(BARE, "debs"), debs)
        for deb in glob.glob(os.path.join(PACKAGES, "*.deb")):
            shutil.copy(deb, debs)
        with open(os.path.join(debs, "Packages"), "w", encoding="utf-8") as file:
            file.write(self.run_command(["dpkg-scanpackages", "-m", "."], cwd=debs).stdout)
        with open(os.path.join(self.root, "etc", "apt", "sources.list"), "w", encoding="utf-8") as file:
            file.write("deb [trusted=yes] file:/debs ./\n")

    def test_installs_and_runs(self):
        self.assertNotEqual(self.inside("sh", "-c", "command -v refusion", status=None).returncode, 0)
        self.local_archive()
        self.inside("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "update")
        self.inside("apt-get", "-qq", "-y", "-o", "APT::Sandbox::User=root", "install", "refusion", "librefusion0")
        answer = self.inside("refusion", "generate", "--no-tune", "-p", QUESTION)
        self.assertEqual(answer.stdout, "```python\ndef check_values(scores):\n    return all(x % 2 == 1 for x in scores)\n```\n")
        self.assertEqual(answer.stderr, "")
        self.assertIn("librefusion.so.0", self.inside("ldconfig", "-p").stdout)
        self.inside("apt-get", "-qq", "-y", "purge", "refusion", "librefusion0")
        left = self.inside("find", "/usr", "-name", "*refusion*").stdout
        self.assertEqual(left, "")

    @unittest.skipUnless(DESKTOP, "the desktop application was not built")
    def test_desktop_installs_and_runs(self):
        """Its window comes up in an X server outside, which is reached without a file."""
        if not glob.glob(os.path.join(BARE, "debs", "libgtk-4-1_*.deb")):
            self.skipTest("there is no GTK in .deps/bare: scripts/setup.sh --tests, as root, brings it")
        for tool in ("Xvfb", "xdotool"):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not there: scripts/setup.sh --tests brings it")
        self.local_archive()
        self.inside("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "update")
        self.inside("apt-get", "-qq", "-y", "-o", "APT::Sandbox::User=root", "--no-install-recommends",
                    "-o", "Dpkg::Options::=--force-unsafe-io", "install", "refusion-desktop")  # a hundred packages
        read, write = os.pipe()
        server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-nolisten", "tcp", "-noreset"], pass_fds=[write],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        self.addCleanup(lambda: (server.terminate(), server.wait()))
        with os.fdopen(read) as pipe:
            display = ":" + pipe.readline().strip()
        program = subprocess.Popen(["chroot", self.root, "env", "-i", f"DISPLAY={display}", "HOME=/root",
                                    "GDK_BACKEND=x11", "GSK_RENDERER=cairo", "GTK_A11Y=none", "LC_ALL=C.UTF-8",
                                    "/usr/bin/refusion-desktop"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True)
        self.addCleanup(lambda: (program.kill(), program.wait()))
        end = time.monotonic() + 60
        search = ["xdotool", "search", "--onlyvisible", "--name", "^New conversation$"]
        while subprocess.run(search, env={**os.environ, "DISPLAY": display}, capture_output=True,
                             check=False).returncode:
            if program.poll() is not None or time.monotonic() > end:
                program.kill()  # so that what it said ends
                self.fail(f"no window; it said: {program.communicate()[0]}")
            time.sleep(0.1)
        program.kill()
        self.assertEqual(program.communicate()[0], "")
        self.inside("apt-get", "-qq", "-y", "purge", "refusion-desktop", "refusion", "librefusion0")
        self.assertEqual(self.inside("find", "/usr", "-name", "*refusion*").stdout, "")


if __name__ == "__main__":
    main()
