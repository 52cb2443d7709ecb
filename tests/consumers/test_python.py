#!/usr/bin/env python3
"""examples/refusion.py against the installed library: what it declares is what the header does, failures are exceptions,
and objects may be dropped in any order. Runs in the process that CTest starts, on whatever driver that has."""
import ctypes
import gc
import os
import re
import subprocess
import sys
import threading

from support import CC, HEADER, QUESTION, TINY, ConsumerTest, installed, main

os.environ["RF_LIBRARY"] = os.path.realpath(installed("librefusion.so"))
sys.path.insert(0, os.path.dirname(installed("refusion.py")))
import refusion  # noqa: E402  what is tested is the installed file

Status = refusion.Status
LONGER = "Write a Python function count_numbers(items) that counts the numbers in a list that are even."
STRUCTURES = [value for value in vars(refusion).values()
              if isinstance(value, type) and issubclass(value, ctypes.Structure) and hasattr(value, "c_name")]


class Declarations(ConsumerTest):
    def c_program(self, body):
        folder = self.folder()
        source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
        with open(source, "w", encoding="utf-8") as file:
            file.write(f'#include <refusion.h>\n#include <stdio.h>\nint main(void)\n{{\n{body}}}\n')
        self.run_command([CC, "-std=c11", "-I", os.path.dirname(HEADER), source, "-o", program])
        return self.run_command([program]).stdout.splitlines()

    def test_layouts(self):
        """Size of every structure; place and size of every field, in the header's order, none left out."""
        self.assertGreaterEqual(len(STRUCTURES), 9)
        lines, found = [], []
        for structure in STRUCTURES:
            name = structure.c_name
            lines.append(f'    printf("{name} %zu\\n", sizeof(struct {name}));\n')
            found.append(f"{name} {ctypes.sizeof(structure)}")
            for field, _ in structure._fields_:
                at = getattr(structure, field)
                lines.append(f'    printf("{name}.{field} %zu %zu\\n", offsetof(struct {name}, {field}), '
                             f'sizeof(((struct {name} *)0)->{field}));\n')
                found.append(f"{name}.{field} {at.offset} {at.size}")
        self.assertEqual(found, self.c_program("".join(lines)))

    def test_no_field_is_missing(self):
        """Fields counted in the header: padding could hide one that layouts do not show."""
        text = subprocess.run([CC, "-E", "-P", "-DRF_API=", HEADER], check=True, capture_output=True, text=True).stdout
        for structure in STRUCTURES:
            body = re.search(rf"struct {structure.c_name} \{{(.*?)\n?\}};", text, re.S).group(1)
            body = re.sub(r"\[[^]]*\]", "", body)
            fields = [name.strip(" *\n").split()[-1].strip("*") for line in body.split(";") if line.strip()
                      for name in line.split(",")]
            self.assertEqual([name for name, _ in structure._fields_], fields, structure.c_name)

    def test_enumerations(self):
        lists = {"rf_status": [status.name for status in Status],
                 "rf_decode": [f"RF_DECODE_{name.upper()}" for name in refusion.DECODES],
                 "rf_precision": [f"RF_PRECISION_{name.upper()}" for name in refusion.PRECISIONS],
                 "rf_event_kind": [f"RF_EVENT_{name.upper()}" for name in refusion.EVENTS]}
        text = subprocess.run([CC, "-E", "-P", HEADER], check=True, capture_output=True, text=True).stdout
        for name, members in lists.items():
            body = re.search(rf"enum {name} \{{(.*?)\}};", text, re.S).group(1)
            self.assertEqual(re.findall(r"RF_\w+", body), members)
            lines = "".join(f'    printf("%d\\n", (int){member});\n' for member in members)
            self.assertEqual([int(line) for line in self.c_program(lines)], list(range(len(members))))


class Binding(ConsumerTest):
    @classmethod
    def setUpClass(cls):
        cls.context = refusion.Context()
        cls.model = cls.context.load(TINY, no_tune=True)

    @classmethod
    def tearDownClass(cls):
        cls.context.close()

    def check_raises(self, status, part, call, *arguments, **keywords):
        with self.assertRaises(refusion.Error) as caught:
            call(*arguments, **keywords)
        self.assertEqual(caught.exception.status, status)
        self.assertIn(part, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_answer_as_it_forms(self):
        session = self.model.session(slot_size=4, block=16, slot_threshold=0.3, token_threshold=0.98)
        pieces = list(session.ask(LONGER))
        self.assertGreater(len(pieces), 1)
        self.assertEqual("".join(pieces), session.text)
        self.assertEqual(self.model.decode(session.tokens), session.text)
        self.assertEqual(session.finish_reason, "stop")
        self.assertGreater(session.stats.tokens_per_forward, 0)

    def test_events(self):
        session = self.model.session()
        session.begin_chat([("system", "Be brief."), ("user", QUESTION)])
        events = []
        while not session.finished:
            events += session.step()
        kinds = [refusion.EVENTS[event.kind] for event in events]
        self.assertEqual(kinds[-1], "finished")
        committed = {event.position: event.token for event in events if refusion.EVENTS[event.kind] == "committed"}
        self.assertEqual([committed[i] for i in range(len(session.tokens))], session.tokens)

    def test_settings_and_stops(self):
        session = self.model.session(stops=["return"], max_tokens=64, slot_threshold=0.0, preset="code")
        answer = "".join(session.ask(QUESTION))
        self.assertEqual(session.finish_reason, "stop_text")
        self.assertNotIn("return", answer)
        with self.assertRaisesRegex(TypeError, "found the setting warmth, wanted one of .*temperature"):
            self.model.session(warmth=1)
        self.check_raises(Status.RF_ERROR_ARGUMENT, "preset", self.model.session, preset="nonsense")

    def test_texts(self):
        for text in ("def sum_even(nums):", "Grüße, 世界\n", "zero\0inside"):
            self.assertEqual(self.model.decode(self.model.encode(text)), text)
        self.assertEqual(len(self.model.encode("<|im_end|>", special=True)), 1)
        with self.assertRaisesRegex(ValueError, "NUL"):
            list(self.model.session().ask("zero\0inside"))

    def test_failures_are_exceptions(self):
        self.check_raises(Status.RF_ERROR_IO, "/no/such/folder", self.context.load, "/no/such/folder")
        self.check_raises(Status.RF_ERROR_NO_DEVICE, "no-such-device", refusion.Context, device="no-such-device")
        self.check_raises(Status.RF_ERROR_ARGUMENT, "", self.model.decode, [4000000000])
        seen = []
        self.check_raises(Status.RF_ERROR_CANCELLED, "", self.context.load, TINY,
                          progress=lambda done, total: seen.append((done, total)) or False)
        self.assertEqual(len(seen), 1)

    def test_estimate(self):
        estimate = self.context.estimate(TINY)
        self.assertTrue(estimate.fits)
        self.assertEqual(estimate.weights + estimate.work + estimate.session + estimate.kv, estimate.total)
        self.assertLess(estimate.weights, self.context.estimate(TINY, weight_type="f32").weights)
        self.assertGreaterEqual(self.context.memory, estimate.weights)

    def test_saved_session(self):
        path = os.path.join(self.folder(), "session")
        session = self.model.session()
        answer = "".join(session.ask(QUESTION))
        session.save(path)
        conversation = [("user", QUESTION), ("assistant", answer), ("user", "Write a Python function is_even(x).")]
        loaded = self.model.session(file=path)
        self.assertEqual("".join(loaded.ask(conversation)), "".join(session.ask(conversation)))
        self.assertGreater(loaded.stats.cached_tokens, 0)
        self.check_raises(Status.RF_ERROR_IO, "/no/such/file", self.model.session, file="/no/such/file")

    def test_in_the_background(self):
        settings = {"slot_size": 4, "block": 16, "slot_threshold": 0.3, "token_threshold": 0.98}
        wanted = "".join(self.model.session(**settings).ask(LONGER))
        session = self.model.session(**settings)
        session.begin_chat([("user", LONGER)])
        with session.generate() as generation:
            with self.assertRaisesRegex(ValueError, "generating"):
                session.text  # pylint: disable=pointless-statement
            self.assertEqual("".join(generation), wanted)
            self.assertTrue(generation.wait())
        self.assertEqual((session.text, session.finish_reason), (wanted, "stop"))

    def test_polls_when_woken(self):
        session, woken = self.model.session(preset="demo"), threading.Event()
        session.begin_chat([("user", QUESTION)])
        with session.generate(wake=woken.set) as generation:
            events, text, finished = [], "", False
            while not finished:
                self.assertTrue(woken.wait(120))
                woken.clear()
                fresh, more, finished = generation.poll()
                events, text = events + fresh, text + more
        self.assertEqual(refusion.EVENTS[events[-1].kind], "finished")
        self.assertEqual(text, session.text)

    def test_cancelled_in_the_background(self):
        session = self.model.session(preset="demo", max_tokens=256)
        session.begin_chat([("user", QUESTION)])
        with session.generate() as generation:
            session.cancel()
            generation.wait()
            self.check_raises(Status.RF_ERROR_CANCELLED, "", generation.poll)
        session.generate().close()  # closed while it runs; and a closed one gives the session back
        list(session.ask(QUESTION))
        self.assertEqual(session.finish_reason, "stop")
        forgotten = self.model.session()
        forgotten.begin_chat([("user", QUESTION)])
        forgotten.generate()
        del forgotten
        gc.collect()

    def test_cancel_from_another_thread(self):
        session = self.model.session(decode="ar", temperature=90, max_tokens=3000)
        session.begin(self.model.encode("def"))
        canceller = threading.Timer(0.2, session.cancel)
        canceller.start()
        with self.assertRaises(refusion.Error) as caught:
            while not session.finished:
                session.step()
        canceller.join()
        self.assertEqual(caught.exception.status, Status.RF_ERROR_CANCELLED)

    def test_closing(self):
        """Parents close their children; what is closed says so; what is dropped is gone in any order."""
        context = refusion.Context()
        model = context.load(TINY, no_tune=True)
        session = model.session()
        context.close()
        for use in (lambda: session.text, model.session, lambda: context.device):
            self.assertRaisesRegex(ValueError, "closed", use)
        context = refusion.Context()
        session = context.load(TINY, no_tune=True).session()
        del context
        gc.collect()
        self.assertIn("check_values", "".join(session.ask(QUESTION)))

    def test_log_and_devices(self):
        lines = []
        with refusion.Context(log=lambda level, line: lines.append((level, line))) as context:
            context.load(TINY, no_tune=True)
            name = context.device.name
        self.assertTrue(all(isinstance(line, str) and 0 <= level <= 3 for level, line in lines))
        self.assertIn(name, [info.name for info in refusion.devices()])
        self.assertRegex(refusion.version(), r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    main()
