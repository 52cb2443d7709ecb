"""The desktop application in Xvfb, by keyboard, with models/tiny: python3 test_window.py PROGRAM DRIVER FOLDER

What it looks at: the screen (Xvfb's frame buffer), the conversations' file, and the file of settings. Screenshots and
the figures of the main loop's probe stay in FOLDER.
"""

import os
import re
import subprocess
import time

import screenshot
from desktop import (CODE, FOLDER, LONGEST_BLOCK_MS, PATIENCE, PROGRAM, WORDS, Desktop, DesktopTest, colourful, hues, main,
                     region, wait_for)

MANY = 1000  # conversations
LONG = 100  # questions, each with its answer


class Window(DesktopTest):
    def watch_for_loading(self, desktop):
        """Sends the question and saves the last picture in which progress stands above it: the tiny model loads fast."""
        background = region(self.screen.pixels(), 300, 562, 980, 563)
        sending = subprocess.Popen(["xdotool", "key", "Return"], env=desktop.environment)
        end = time.monotonic() + PATIENCE
        last = None
        while time.monotonic() < end:
            picture = screenshot.read_screen(self.screen.file)
            if any(row[900:2940] != background[0] for row in picture[2][562:592]):
                last = picture
            elif last:
                break
            self.assertFalse(desktop.answers() and desktop.answers()[0][0], "no progress was seen")
        screenshot.write_png(os.path.join(FOLDER, "loading.png"), *last)
        sending.wait()

    def test_1_asks_watches_stops_and_restarts(self):
        desktop = self.open("first")
        self.screen.save("welcome")
        # The first question; the model is loaded for it.
        desktop.key("ctrl+l")
        desktop.xdotool("type", "--delay", "8", CODE)
        self.watch_for_loading(desktop)
        how, text = desktop.wait_for_answer(1)
        with open(f"/proc/{desktop.process.pid}/maps", encoding="utf-8") as maps:
            library = re.search(r"\S+/librefusion\.so\S*", maps.read())[0]
        self.assertEqual(os.path.dirname(os.path.dirname(library)), os.path.dirname(os.path.dirname(PROGRAM)))
        self.assertEqual(how, "stop")
        self.assertIn("def count_numbers(items):", text)
        time.sleep(2)  # it settles, and becomes a block of code
        self.screen.save("light")

        # Another preset, and an answer of several rounds, each with its colour, that settle.
        self.choose_preset(desktop, 4, "demo")
        desktop.key("ctrl+n")
        desktop.ask(WORDS)
        seen = self.screens_until_answer(desktop, 2)
        self.assertGreaterEqual(len(seen), 4)
        self.assertGreater(max(colourful(picture[100:]) for picture in seen), 20)
        colours = lambda: colourful(region(self.screen.pixels(), 270, 160, 1030, 590))
        wait_for(lambda: colours() == 0, "settled answer")
        time.sleep(1)
        self.assertEqual(colours(), 0)
        desktop.key("ctrl+d")  # and can be seen again
        wait_for(lambda: colours() > 100, "rounds of the answer")
        self.screen.save("rounds")
        desktop.key("ctrl+d")

        # One is stopped.
        desktop.ask(WORDS)
        desktop.key("Escape")
        self.assertEqual(desktop.wait_for_answer(3)[0], "stopped")
        # A question is edited: a second branch beside it.
        desktop.key("ctrl+Up", "End")
        desktop.xdotool("type", " Why?")
        desktop.key("Return")
        desktop.wait_for_answer(4)
        branches = desktop.rows("SELECT count(*) FROM messages WHERE from_user GROUP BY parent, conversation "
                                "HAVING count(*) > 1 AND parent > 0")
        self.assertEqual(branches, [(2,)])
        desktop.key("ctrl+r")  # the same question is answered anew
        desktop.wait_for_answer(5)
        time.sleep(2)
        self.screen.save("branches")
        gaps = self.quit(desktop)
        self.assertGreater(gaps["generating"]["iterations"], 10)

        # Killed in the middle of an answer: all that was stored is there, and the conversation is open again.
        before = desktop.rows("SELECT id, text FROM messages WHERE from_user OR finish <> '' ORDER BY id")
        desktop.start("Zoe had 18 nuts")
        desktop.ask(WORDS)
        wait_for(lambda: desktop.answers() and desktop.answers()[-1][0] == "", "answer being written")
        desktop.kill()
        self.assertEqual(desktop.answers()[-1][0], "")
        desktop.start("Zoe had 18 nuts")
        self.assertEqual(desktop.answers()[-1][0], "interrupted")
        after = desktop.rows("SELECT id, text FROM messages ORDER BY id")
        self.assertEqual(after[:len(before)], before)
        self.assertEqual(len(after), len(before) + 2)
        self.screen.save("restored")
        next_answer = len(desktop.answers()) + 1
        desktop.ask(WORDS)  # and it goes on from there
        self.assertIn(desktop.wait_for_answer(next_answer)[0], ("stop", "length"))
        self.quit(desktop)

    def test_2_dark_and_searching(self):
        desktop = self.open("dark", colours=2, preset="demo")
        pixel = self.screen.pixels()[300][3 * 40:3 * 40 + 3]
        self.assertLess(max(pixel), 100)
        for number, question in enumerate((CODE, WORDS), 1):
            desktop.key("ctrl+n")
            desktop.ask(question)
            pictures = self.screens_until_answer(desktop, number)
        self.assertGreaterEqual(len(pictures), 3)
        desktop.ask(WORDS)
        best = (0, 0)
        while not (len(desktop.answers()) >= 3 and desktop.answers()[2][0]):
            answer = region(self.screen.pixels(), 270, 380, 700, 500)
            colours = (hues(answer), colourful(answer))
            if colours > best:
                best = colours
                self.screen.save("dark")  # rounds side by side
        self.assertGreater(best[0], 1)
        time.sleep(2)
        list_of_two = region(self.screen.pixels(), 20, 100, 240, 190)
        desktop.key("ctrl+f")
        desktop.xdotool("type", "GAVE A THIRD")
        wait_for(lambda: region(self.screen.pixels(), 20, 100, 240, 190) != list_of_two, "shorter list")
        desktop.key("F9")
        wait_for(lambda: desktop.setting("sidebar") == "false", "hidden list")
        desktop.key("ctrl+plus", "ctrl+plus")
        wait_for(lambda: desktop.setting("text-percent") == "150", "larger text")
        time.sleep(0.5)
        self.screen.save("large-text")
        self.quit(desktop)

    def test_3_errors_stand_in_the_window(self):
        desktop = self.open("errors", model="/nowhere/model")
        empty = region(self.screen.pixels(), 270, 60, 1030, 100)
        desktop.ask(WORDS)
        self.assertEqual(desktop.wait_for_answer(1)[0], "failed")
        time.sleep(1)
        self.assertNotEqual(region(self.screen.pixels(), 270, 60, 1030, 100), empty)
        self.screen.save("error")
        desktop.key("ctrl+comma")
        wait_for(lambda: desktop.titled("Settings"), "window of settings")
        time.sleep(1)
        self.screen.save("settings")
        desktop.key("Escape")
        wait_for(lambda: not desktop.titled("Settings"), "end of the settings")
        self.quit(desktop)

    def test_4_the_main_loop_is_not_blocked(self):
        """An answer in several rounds and one with a block of code, beside many conversations."""
        def live(attempt):
            desktop = Desktop(self.screen, os.path.join(FOLDER, f"gaps-{attempt}"), preset="demo")
            ids = range(10, 10 + 10 * MANY, 10)
            desktop.put([(id_, f"Conversation {id_}", id_ + 1) for id_ in ids],
                        [(id_ + 1, id_, 0, 1, "a question") for id_ in ids])
            desktop.start("Conversation")
            self.addCleanup(desktop.end)
            for number, question in enumerate((WORDS, CODE), 1):
                desktop.key("ctrl+n")
                desktop.ask(question)
                desktop.wait_for_answer(number)
            time.sleep(2)
            return self.quit(desktop, tries=True)
        self.assert_not_blocked(live, ("blocked_ms", "computing_ms"))

    def scroll_up(self, desktop):
        """By the wheel, over text and code, as far as there are rows; what is seen then, below the glow of the edge."""
        desktop.xdotool("mousemove", "640", "300", "click", "--repeat", "400", "--delay", "2", "4")
        time.sleep(1.5)
        return self.messages()

    def messages(self):
        return region(self.screen.pixels(), 270, 400, 1020, 560)

    def test_5_a_long_conversation_beside_an_answer(self):
        """It is opened while an answer forms elsewhere: its end at once, all of it soon, and the answer goes on."""
        self.assert_not_blocked(self.open_long, ("computing_ms",))

    def open_long(self, attempt):
        desktop = Desktop(self.screen, os.path.join(FOLDER, f"long-{attempt}"), preset="demo")
        answer = "Some words before.\n\n```python\ndef f(x):\n    return x + 1\n```\n\nAnd some behind."
        messages = []
        for i in range(LONG):
            messages += [(10 * i + 11, 10, 10 * i + 2 if i else 0, 1, f"Question {i}?"),
                         (10 * i + 12, 10, 10 * i + 11, 0, answer)]
        desktop.put([(10, "Long", messages[-1][0])], messages)
        desktop.start("Long")
        self.addCleanup(desktop.end)
        time.sleep(2)
        end = self.messages()
        top, before = self.scroll_up(desktop), end
        while top != before:
            top, before = self.scroll_up(desktop), top
        self.screen.save("long-top")
        desktop.key("ctrl+n")
        desktop.ask(WORDS)
        wait_for(lambda: len(desktop.answers()) > LONG, "an answer that is being written")
        desktop.xdotool("mousemove", "100", "168", "click", "1")
        wait_for(lambda: desktop.titled("Long"), "the long conversation")
        self.assertEqual(desktop.answers()[LONG][0], "", "it ended too early to tell anything")
        wait_for(lambda: self.messages() == end, "its end")
        self.assertIn(desktop.wait_for_answer(LONG + 1)[0], ("stop", "length"))
        wait_for(lambda: self.scroll_up(desktop) == top, "its beginning")
        return self.quit(desktop, tries=True)


if __name__ == "__main__":
    main()
