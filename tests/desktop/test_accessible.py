"""What screen readers find in the desktop application, by AT-SPI: python3 test_accessible.py PROGRAM DRIVER FOLDER

Names that begin with Gtk are GTK's own for widgets that were given none. Exit status 77: AT-SPI, its bindings, D-Bus,
Xvfb or xdotool is not there.
"""

import glob
import os
import shutil
import subprocess
import sys
import time

try:
    import gi
    gi.require_version("Atspi", "2.0")
except (ImportError, ValueError) as error:
    print(f"{error}: scripts/setup.sh --tests brings gir1.2-atspi-2.0 and python3-gi", file=sys.stderr)
    sys.exit(77)

from desktop import CODE, FOLDER, WORDS, Desktop, DesktopTest, main, wait_for  # noqa: E402

LAUNCHERS = glob.glob("/usr/libexec/at-spi-bus-launcher") + glob.glob("/usr/lib*/at-spi2-core/at-spi-bus-launcher")
CONTROLS = {"push button", "toggle button", "check box", "radio button", "combo box", "entry", "spin button", "text",
            "slider", "list", "list item", "menu item", "check menu item", "switch", "link"}


class Accessible(DesktopTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        runtime = os.path.join(FOLDER, "bus")
        os.makedirs(runtime, mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = runtime  # the launcher's sockets
        bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
        cls.addClassCleanup(lambda: (bus.terminate(), bus.wait(), bus.stdout.close()))
        cls.environment = {"DBUS_SESSION_BUS_ADDRESS": bus.stdout.readline().strip(), "GTK_A11Y": "atspi"}
        os.environ.update(cls.environment, DISPLAY=cls.screen.display)
        launcher = subprocess.Popen([LAUNCHERS[0], "--launch-immediately", "--a11y=1"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        cls.addClassCleanup(lambda: (launcher.terminate(), launcher.wait()))
        time.sleep(1)
        from gi.repository import Atspi, GLib  # connects to the buses
        cls.atspi, cls.glib = Atspi, GLib
        Desktop.extra = cls.environment

    def settle(self, seconds=0.3):
        """Lets AT-SPI take what the application has told."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while self.glib.MainContext.default().iteration(False):
                pass
            time.sleep(0.01)

    def application(self):
        self.settle(0.05)
        desktop = self.atspi.get_desktop(0)
        for i in range(desktop.get_child_count()):
            child = desktop.get_child_at_index(i)
            if child and child.get_name() == "refusion-desktop":
                return child
        return None

    def nodes(self, root=None):
        """Every object below, as (object, role, name, states); asked anew each time."""
        if root is None:
            root = self.application()
            root.set_cache_mask(self.atspi.Cache.NONE)
        found = []
        for i in range(root.get_child_count()):
            child = root.get_child_at_index(i)
            if child:
                found.append((child, child.get_role_name(), child.get_name() or "", child.get_state_set()))
                found += self.nodes(child)
        return found

    def find(self, role, name):
        for node in self.nodes():
            if node[1] == role and node[2] == name:
                return node
        return None

    def texts(self):
        """What labels and texts say."""
        said = []
        for node, _, name, _ in self.nodes():
            text = node.get_text_iface()
            said.append(name)
            if text:
                said.append(self.atspi.Text.get_text(text, 0, self.atspi.Text.get_character_count(text)))
        return said

    def check_names(self, where):
        nodes = self.nodes()
        self.assertGreater(len(nodes), 20)
        seen = 0
        for _, role, name, states in nodes:
            if not states.contains(self.atspi.StateType.FOCUSABLE) or role not in CONTROLS:
                continue
            seen += 1
            self.assertTrue(name.strip() and not name.startswith("Gtk"), f"{where}: a {role} is called {name!r}")
        return seen

    def open(self, home, title="New conversation", **settings):
        desktop = super().open(home, title, **settings)
        wait_for(lambda: self.application() is not None, "application on the bus")
        self.settle(0.5)
        return desktop

    def test_names_states_and_the_answer(self):
        desktop = self.open("accessible", preset="demo", idle_minutes=0.05)
        self.assertGreaterEqual(self.check_names("a new conversation"), 10)
        announced = []
        listener = self.atspi.EventListener.new(lambda event: announced.append(
            (event.source.get_role_name(), event.source.get_name())))
        self.atspi.EventListener.register(listener, "object:property-change:accessible-name")
        self.settle()
        desktop.ask(WORDS)

        def told(words):
            self.settle(0.05)
            return any(name == words for _, name in announced)
        wait_for(lambda: told("The answer is being written"), "announcement of the beginning")
        wait_for(lambda: told("The answer is complete"), "announcement of the end")
        self.assertEqual({role for role, name in announced if name == "The answer is complete"}, {"status bar"})
        self.atspi.EventListener.deregister(listener, "object:property-change:accessible-name")
        text = desktop.wait_for_answer(1)[1]
        def reads(condition):
            self.settle(0.05)
            return any(condition(words) for words in self.texts())
        wait_for(lambda: reads(lambda words: words.strip() == text.strip()), "answer in its final form")
        self.assertGreaterEqual(self.check_names("a conversation"), 14)
        for name in ("Copy this message", "Edit this question, in a new branch", "Answer anew, in a new branch",
                     "Send the question"):
            self.assertIsNotNone(self.find("push button", name), name)
        wait_for(lambda: any("not loaded" in words for words in self.texts()), "unloading of the idle model")
        desktop.key("ctrl+n")
        desktop.ask(CODE)  # and it is loaded again
        desktop.wait_for_answer(2)
        wait_for(lambda: reads(lambda words: words.startswith("def ")), "code that can be read")
        self.check_names("a conversation with code")
        desktop.quit()

    def test_settings(self):
        desktop = self.open("settings")
        desktop.key("ctrl+comma")
        wait_for(lambda: desktop.titled("Settings"), "window of settings")
        self.settle(0.5)
        self.assertGreaterEqual(self.check_names("the settings"), 20)
        checked = self.atspi.StateType.CHECKED
        switches = {name: states.contains(checked) for _, role, name, states in self.nodes()
                    if name in ("Animate answers while they form", "Own thresholds")
                    and role in ("toggle button", "switch", "check box")}
        self.assertEqual(switches, {"Animate answers while they form": True, "Own thresholds": False})
        wait_for(lambda: any("for the model" in words and "it fits" in words for words in self.texts()),
                 "words about memory")
        desktop.key("Escape")
        desktop.quit()


if __name__ == "__main__":
    if not LAUNCHERS or not shutil.which("dbus-daemon"):
        print("at-spi2-core or dbus is not there: scripts/setup.sh --tests brings them", file=sys.stderr)
        sys.exit(77)
    main()
