"""What the tests of the window share: an X server, and the application in it. PROGRAM, DRIVER and FOLDER are the first
arguments of the test that imports this; further ones choose tests. Exit status 77: what they need is not there."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

import screenshot

PROGRAM, DRIVER, FOLDER = sys.argv[1:4]
WITH_DRIVER = os.path.join(os.path.dirname(__file__), "../../scripts/with-driver.sh")
PATIENCE = 60  # seconds, for what takes one
LONGEST_BLOCK_MS = 50
TRIES = 5
SCREEN = (1040, 720)  # the window's own size: without a window manager it stands in the corner

CODE = "Write a Python function count_numbers(items) that counts the numbers in a list that are even."
WORDS = "Zoe had 18 nuts, gave a third of them to Tara and then found 37 nuts. How many nuts does Zoe have in the end?"

# Of the first version's file.
SCHEMA_1 = """
CREATE TABLE conversations (id INTEGER PRIMARY KEY, title TEXT NOT NULL, pinned INTEGER NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, leaf INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0);
CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL
  REFERENCES conversations (id) ON DELETE CASCADE, parent INTEGER NOT NULL, created INTEGER NOT NULL,
  from_user INTEGER NOT NULL, text TEXT NOT NULL, rounds BLOB, finish TEXT NOT NULL,
  tokens INTEGER NOT NULL, forwards INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE INDEX messages_conversation ON messages (conversation);
PRAGMA user_version = 1;
"""

class Screen:
    """An X server of its own."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.file = os.path.join(folder, "Xvfb_screen0")
        read, write = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24", "-fbdir", folder,
             "-nolisten", "tcp", "-noreset"], pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            self.display = ":" + pipe.readline().strip()

    def pixels(self):
        return screenshot.read_screen(self.file)[2]

    def save(self, name):
        screenshot.write_png(os.path.join(FOLDER, name + ".png"), *screenshot.read_screen(self.file))

    def close(self):
        self.process.terminate()
        self.process.wait()


def region(rows, left, top, right, bottom):
    return [row[3 * left:3 * right] for row in rows[top:bottom]]


def colourful(rows):
    """Pixels of a strong hue: tokens in the colour of their round, not text and not antialiasing."""
    count = 0
    for row in rows:
        for x in range(0, len(row), 3):
            pixel = row[x:x + 3]
            count += max(pixel) - min(pixel) > 90
    return count


def hues(rows):
    """Different strong hues, sixths of the circle, that have more than a few pixels."""
    counts = {}
    for row in rows:
        for x in range(0, len(row), 3):
            pixel = row[x:x + 3]
            if max(pixel) - min(pixel) > 70:
                hue = (pixel.index(max(pixel)), pixel.index(min(pixel)))
                counts[hue] = counts.get(hue, 0) + 1
    return sum(count > 30 for count in counts.values())


class Desktop:
    """The application with a home of its own."""
    extra = {}  # of its environment

    def __init__(self, screen, home, **settings):
        self.screen, self.home = screen, home
        self.environment = dict(
            os.environ, DISPLAY=screen.display, HOME=home, XDG_DATA_HOME=home + "/data",
            XDG_CONFIG_HOME=home + "/config", XDG_RUNTIME_DIR=home + "/run", GDK_BACKEND="x11", GSK_RENDERER="cairo",
            GTK_A11Y="none", GSETTINGS_BACKEND="memory", RF_DESKTOP_GAPS=home + "/gaps.json")
        self.environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.environment.update(self.extra)
        os.makedirs(home + "/run", mode=0o700, exist_ok=True)
        os.makedirs(home + "/config/refusion", exist_ok=True)
        self.settings_file = home + "/config/refusion/desktop.ini"
        self.database = home + "/data/refusion/conversations.sqlite"
        if settings:
            with open(self.settings_file, "w", encoding="utf-8") as file:
                file.write("[refusion]\n" + "".join(f"{k.replace('_', '-')}={v}\n" for k, v in settings.items()))
        self.process = None

    def put(self, conversations, messages):
        """(id, title, leaf) and (id, conversation, parent, from the user?, text), into a new file; ids are times."""
        os.makedirs(os.path.dirname(self.database))
        connection = sqlite3.connect(self.database)
        connection.executescript(SCHEMA_1)
        connection.executemany("INSERT INTO conversations VALUES (?1, ?2, 0, ?1, ?1, ?3, 0)", conversations)
        connection.executemany("INSERT INTO messages VALUES (?1, ?2, ?3, ?1, ?4, ?5, NULL, CASE ?4 WHEN 0 THEN 'stop' "
                               "ELSE '' END, 0, 0, 0)", messages)
        connection.commit()
        connection.close()

    def start(self, title):
        if self.process:
            self.log.close()
        self.log = open(os.path.join(self.home, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([WITH_DRIVER, DRIVER, PROGRAM], env=self.environment, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        wait_for(lambda: self.titled(title), f"a window \"{title}\"")
        time.sleep(0.5)  # its first frame

    def xdotool(self, *arguments):
        return subprocess.run(["xdotool", *arguments], env=self.environment, capture_output=True, text=True,
                              check=False).stdout

    def titled(self, title):
        return self.xdotool("search", "--onlyvisible", "--name", "^" + re.escape(title)).strip() != ""

    def key(self, *keys):
        self.xdotool("key", "--delay", "60", *keys)

    def ask(self, question):
        self.key("ctrl+l")
        self.xdotool("type", "--delay", "8", question)
        self.key("Return")

    def rows(self, query):
        if not os.path.exists(self.database):
            return []
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def answers(self):
        return self.rows("SELECT finish, text FROM messages WHERE NOT from_user ORDER BY id")

    def wait_for_answer(self, number):
        """The number-th answer has ended; returns (how, text)."""
        wait_for(lambda: len(self.answers()) >= number and self.answers()[number - 1][0], f"the end of answer {number}")
        return self.answers()[number - 1]

    def setting(self, name):
        if not os.path.exists(self.settings_file):  # nothing was changed yet
            return None
        with open(self.settings_file, encoding="utf-8") as file:
            found = re.search(rf"^{name}=(.*)$", file.read(), re.M)
        return found and found[1]

    def quit(self):
        self.key("ctrl+q")
        status = self.process.wait(PATIENCE)
        return status, self.said()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.kill()
        self.log.close()

    def said(self):
        self.log.seek(0)
        return self.log.read()


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"no {what} after {PATIENCE} seconds")
        time.sleep(0.05)


class DesktopTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs(FOLDER)
        cls.screen = Screen(FOLDER + "/screen")

    @classmethod
    def tearDownClass(cls):
        cls.screen.close()

    def open(self, home, title="New conversation", **settings):
        desktop = Desktop(self.screen, os.path.join(FOLDER, home), **settings)
        desktop.start(title)
        self.addCleanup(desktop.end)
        return desktop

    def quit(self, desktop, tries=False):
        """What the probe of the main loop says; with `tries` the caller looks at it."""
        status, said = desktop.quit()
        self.assertEqual(status, 0)
        self.assertEqual(said, "")  # what is wrong stands in the window
        with open(desktop.home + "/gaps.json", encoding="utf-8") as file:
            gaps = json.load(file)
        print(desktop.home, gaps, file=sys.stderr)
        self.assertGreater(gaps["all"]["iterations"], 0)
        if not tries:
            self.assertLess(gaps["generating"]["computing_ms"], LONGEST_BLOCK_MS)
        return gaps

    def assert_not_blocked(self, live, keys):
        """`live` lives an application and quits it. Waiting for a starved X server counts as blocked, and a processor that is
        shared computes longer: on a busy machine it takes several tries to see what the program itself does. What always
        takes long is seen in each."""
        seen = []
        for attempt in range(TRIES):
            generating = live(attempt)["generating"]
            self.assertGreater(generating["iterations"], 30)
            seen.append({key: generating[key] for key in keys})
            if max(seen[-1].values()) < LONGEST_BLOCK_MS:
                return
        self.fail(f"{seen}, wanted less than {LONGEST_BLOCK_MS}")

    def screens_until_answer(self, desktop, number):
        """Different pictures of the messages while the answer forms, as rows of pixels."""
        seen = []
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            picture = region(self.screen.pixels(), 270, 60, 1030, 590)
            if not seen or picture != seen[-1]:
                seen.append(picture)
            answers = desktop.answers()
            if len(answers) >= number and answers[number - 1][0]:
                return seen
            time.sleep(0.03)
        raise AssertionError(f"answer {number} did not end")

    def choose_preset(self, desktop, steps, name):
        """From the empty question's text Tab leads to the presets."""
        desktop.key("ctrl+l", "Tab", "space")
        time.sleep(0.4)
        desktop.key(*["Down"] * steps, "Return")
        wait_for(lambda: desktop.setting("preset") == name, f"preset {name}")


def main():
    for tool in ("Xvfb", "xdotool"):
        if not shutil.which(tool):
            print(f"{tool} is not there: scripts/setup.sh --tests brings it", file=sys.stderr)
            sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
