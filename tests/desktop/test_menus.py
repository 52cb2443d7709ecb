"""The menus of the desktop application, each by keyboard alone, with conversations that an earlier version has written:
python3 test_menus.py PROGRAM DRIVER FOLDER"""

import os
import shutil
import time

from desktop import CODE, WORDS, Desktop, DesktopTest, FOLDER, colourful, main, region, wait_for

OLD, NEW = 1000, 2000  # conversations; NEW was changed last, so it is open and stands first
OTHER_ANSWER, ANSWER = 2002, 2003  # of NEW's question
PIN, RENAME, DUPLICATE, EXPORT, DELETE = range(5)  # in a conversation's menu


class Menus(DesktopTest):
    def open_with_conversations(self, home, **settings):
        desktop = Desktop(self.screen, os.path.join(FOLDER, home), **settings)
        desktop.put(((OLD, "Old one", OLD + 2), (NEW, "New one", ANSWER)),
                    ((OLD + 1, OLD, 0, 1, "old question"), (OLD + 2, OLD, OLD + 1, 0, "old answer"),
                     (NEW + 1, NEW, 0, 1, "new question"), (OTHER_ANSWER, NEW, NEW + 1, 0, "first answer"),
                     (ANSWER, NEW, NEW + 1, 0, "second answer\n\n```python\nx = 1\n```")))
        desktop.start("New one")
        self.addCleanup(desktop.end)
        return desktop

    def choose(self, desktop, item, row=0):
        """An entry of the menu of a row of the list, which Tab reaches from the search."""
        desktop.key("ctrl+f", "Tab", "Home", *["Down"] * row, "shift+F10")
        time.sleep(0.5)
        desktop.key(*["Down"] * item, "Return")

    def conversation(self, desktop, id_, *columns):
        return desktop.rows(f"SELECT {', '.join(columns)} FROM conversations WHERE id = {id_}")[0]

    def test_conversations_of_the_list(self):
        desktop = self.open_with_conversations("conversations")
        self.choose(desktop, PIN, row=1)
        wait_for(lambda: self.conversation(desktop, OLD, "pinned") == (1,), "pinned conversation")
        self.choose(desktop, PIN, row=0)  # it stands first now
        wait_for(lambda: self.conversation(desktop, OLD, "pinned") == (0,), "unpinned conversation")

        self.choose(desktop, RENAME)
        wait_for(lambda: desktop.titled("Rename"), "question for a name")
        time.sleep(0.3)
        desktop.key("ctrl+a")
        desktop.xdotool("type", "--delay", "8", "Another name")
        desktop.key("Return")
        wait_for(lambda: self.conversation(desktop, NEW, "title") == ("Another name",), "other name")
        wait_for(lambda: desktop.titled("Another name"), "other title")
        desktop.key("F2")
        wait_for(lambda: desktop.titled("Rename"), "question for a name")
        time.sleep(0.3)
        desktop.key("Escape")
        wait_for(lambda: not desktop.titled("Rename"), "end of the question")
        self.assertEqual(self.conversation(desktop, NEW, "title"), ("Another name",))

        self.choose(desktop, DUPLICATE)
        wait_for(lambda: len(desktop.rows("SELECT 1 FROM conversations")) == 3, "copy")
        self.assertEqual(desktop.rows("SELECT text FROM messages m JOIN conversations c ON c.id = m.conversation "
                                      "WHERE c.title = 'Another name (copy)' ORDER BY m.id"),
                         desktop.rows(f"SELECT text FROM messages WHERE conversation = {NEW} ORDER BY id"))
        self.quit(desktop)

    def test_by_mouse(self):
        desktop = self.open_with_conversations("mouse")
        desktop.xdotool("mousemove", "100", "168", "click", "1")
        wait_for(lambda: desktop.titled("Old one"), "conversation that was clicked on")
        desktop.xdotool("mousemove", "100", "124", "click", "3")  # the menu of the other, which does not open it
        time.sleep(0.5)
        desktop.key("Return")
        wait_for(lambda: self.conversation(desktop, NEW, "pinned") == (1,), "pinned conversation")
        self.assertTrue(desktop.titled("Old one"))
        self.quit(desktop)

    def test_export(self):
        desktop = self.open_with_conversations("export")
        file = os.path.join(desktop.home, "exported.md")
        self.choose(desktop, EXPORT)
        self.save_as(desktop, file)
        with open(file, encoding="utf-8") as text:
            self.assertEqual(text.read(), "# New one\n\n## Question\n\nnew question\n\n## Answer\n\nsecond answer\n\n"
                                          "```python\nx = 1\n```\n")
        file = os.path.join(desktop.home, "again.md")
        desktop.key("ctrl+e")  # the open one
        self.save_as(desktop, file)
        # Where nothing can be written, the window says so.
        before = region(self.screen.pixels(), 270, 50, 1030, 100)
        desktop.key("ctrl+e")
        wait_for(lambda: desktop.titled("Export"), "chooser of files")
        time.sleep(1)
        desktop.key("Escape")
        wait_for(lambda: not desktop.titled("Export"), "end of the chooser")
        wait_for(lambda: region(self.screen.pixels(), 270, 50, 1030, 100) == before, "window without a message")
        self.quit(desktop)

    def save_as(self, desktop, file):
        wait_for(lambda: desktop.titled("Export"), "chooser of files")
        time.sleep(1)
        desktop.key("ctrl+a")
        desktop.xdotool("type", "--delay", "8", file)
        desktop.key("Return")
        wait_for(lambda: os.path.exists(file) and os.path.getsize(file), f"file {file}")
        wait_for(lambda: not desktop.titled("Export"), "end of the chooser")
        time.sleep(0.3)

    def test_delete_and_undo(self):
        desktop = self.open_with_conversations("delete")
        self.choose(desktop, DELETE)
        wait_for(lambda: self.conversation(desktop, NEW, "deleted") == (1,), "deleted conversation")
        wait_for(lambda: desktop.titled("New conversation"), "empty window")
        desktop.key("alt+u")
        wait_for(lambda: self.conversation(desktop, NEW, "deleted") == (0,), "conversation that is back")
        self.choose(desktop, DELETE)
        wait_for(lambda: self.conversation(desktop, NEW, "deleted") == (1,), "deleted conversation")
        self.quit(desktop)
        desktop.start("Old one")  # for good
        wait_for(lambda: desktop.rows("SELECT id FROM conversations") == [(OLD,)], "purged conversation")
        self.quit(desktop)

    def test_branches_and_copy(self):
        desktop = self.open_with_conversations("branches")
        # Before the question's text stand the buttons of the last answer: anew, copy, next branch, and the one before.
        desktop.key("ctrl+l", *["shift+Tab"] * 4, "Return")
        wait_for(lambda: self.conversation(desktop, NEW, "leaf") == (OTHER_ANSWER,), "other branch")
        # An earlier question is edited, and left as it is.
        desktop.key("ctrl+Up", "End")
        desktop.xdotool("type", " changed")
        desktop.key("Escape")
        time.sleep(0.5)
        self.assertEqual(desktop.rows("SELECT count(*) FROM messages"), [(5,)])
        # What is copied is what is shown: pasted as a question, edited, and stored as it was sent.
        desktop.key("ctrl+shift+c", "ctrl+l", "ctrl+v", "Return")
        wait_for(lambda: desktop.rows(f"SELECT text FROM messages WHERE parent = {OTHER_ANSWER}") == [("first answer",)],
                 "pasted answer")
        desktop.wait_for_answer(4)
        self.quit(desktop)

    def test_settings_stay_with_the_conversation(self):
        desktop = self.open_with_conversations("settings")
        self.choose_preset(desktop, 4, "demo")
        wait_for(lambda: self.conversation(desktop, NEW, "preset") == ("demo",), "preset of the open one")
        self.assertEqual(self.conversation(desktop, OLD, "preset"), (None,))
        desktop.key("ctrl+f", "Tab", "Down", "Return")
        wait_for(lambda: desktop.titled("Old one"), "other conversation")
        desktop.key("ctrl+l", "Tab", "space")  # it keeps none, so it begins with the last
        time.sleep(0.4)
        desktop.key("Up", "Up", "Return")
        wait_for(lambda: self.conversation(desktop, OLD, "preset") == ("math",), "preset of the other")
        self.assertEqual(self.conversation(desktop, NEW, "preset"), ("demo",))
        desktop.key("ctrl+f", "Tab", "Up", "Return")
        wait_for(lambda: desktop.titled("New one"), "first conversation")
        time.sleep(0.3)
        self.quit(desktop)
        self.assertEqual(desktop.setting("preset"), "demo")
        desktop.start("New one")
        self.quit(desktop)
        self.assertEqual(self.conversation(desktop, NEW, "preset", "max_tokens"), ("demo", 512))

    def test_what_does_not_fit_is_asked_about(self):
        desktop = self.open_with_conversations("fit", memory_limit_mb=45)
        desktop.ask(CODE)
        wait_for(lambda: desktop.titled("Does not fit"), "choice")
        time.sleep(0.5)
        self.screen.save("does-not-fit")
        desktop.key("Escape")  # nothing is loaded
        self.assertEqual(desktop.wait_for_answer(4), ("stopped", ""))
        desktop.key("ctrl+r")
        wait_for(lambda: desktop.titled("Does not fit"), "choice")
        time.sleep(0.5)
        desktop.key("alt+s")  # shorter conversations
        how, text = desktop.wait_for_answer(5)
        self.assertEqual(how, "stop")
        self.assertIn("def ", text)
        self.assertGreaterEqual(int(desktop.setting("context-length")), 512)
        # The same settings fit from now on; by hand the model leaves.
        desktop.key("F10")
        time.sleep(0.5)
        desktop.key(*["Down"] * 3, "Return")
        time.sleep(0.5)
        self.quit(desktop)

    def test_device_that_is_gone(self):
        desktop = self.open_with_conversations("device", device="A card that was sold")
        desktop.ask(CODE)
        self.assertEqual(desktop.wait_for_answer(4)[0], "failed")
        time.sleep(0.5)
        before = region(self.screen.pixels(), 20, 100, 240, 500)
        desktop.key("ctrl+question")  # GTK's own windows say nothing on the console either
        wait_for(lambda: region(self.screen.pixels(), 20, 100, 240, 500) != before, "list of keys")
        time.sleep(0.5)
        desktop.key("Escape")
        wait_for(lambda: region(self.screen.pixels(), 20, 100, 240, 500) == before, "end of the list")
        desktop.key("ctrl+comma")
        wait_for(lambda: desktop.titled("Settings"), "window of settings")
        time.sleep(1)
        desktop.key("Tab", "Tab", "space")  # it is shown as chosen, so that the best can be chosen instead
        time.sleep(0.5)
        self.screen.save("device")
        desktop.key("Down", "Home", "Return")
        wait_for(lambda: desktop.setting("preset") and not desktop.setting("device"), "choice of the best device")
        desktop.key("Escape")
        wait_for(lambda: not desktop.titled("Settings"), "end of the settings")
        desktop.key("ctrl+r")
        self.assertEqual(desktop.wait_for_answer(5)[0], "stop")
        self.assertIsNone(desktop.setting("model"))  # the default is found anew at each start
        self.quit(desktop)

    def test_settings_that_cannot_be_kept(self):
        desktop = self.open_with_conversations("unkept")
        shutil.rmtree(desktop.home + "/config/refusion")
        with open(desktop.home + "/config/refusion", "w", encoding="utf-8"):
            pass  # a file where the folder is to be
        empty = region(self.screen.pixels(), 270, 60, 1030, 90)
        desktop.key("ctrl+0")
        wait_for(lambda: region(self.screen.pixels(), 270, 60, 1030, 90) != empty, "error in the window")
        time.sleep(0.5)
        self.screen.save("settings-not-kept")
        self.quit(desktop)

    def test_without_animation(self):
        """Right after the last round nothing is coloured; with it, tokens settle for a while. On a busy machine the end may
        be heard of when they have settled, or before the last picture is drawn: several tries, of which one must show it."""
        coloured = {}
        for animate in ("false", "true"):
            desktop = self.open("animation-" + animate, preset="demo", animate=animate)
            for attempt in range(4):
                if attempt == 0:
                    desktop.ask(WORDS)
                else:
                    desktop.key("ctrl+r")
                self.screens_until_answer(desktop, attempt + 1)
                time.sleep(0.3)
                pictures = [region(self.screen.pixels(), 270, 160, 1030, 590) for _ in range(3)]
                coloured[animate] = max(colourful(picture) for picture in pictures)
                if (coloured[animate] > 0) == (animate == "true"):
                    break
            self.quit(desktop)
        self.assertEqual(coloured["false"], 0)
        self.assertGreater(coloured["true"], 0)


if __name__ == "__main__":
    main()
