#!/usr/bin/env python3
"""The program end to end on a device: generate and its streams, chat, interrupts, what a device can lack."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

from support import (ANSWER, DRIVER, GOLDEN, QUESTION, TINY, ProgramTest, clean_environment, command_line, main, run)

EOS = {668, 666}
# Small slots and a high bar for tokens: many rounds, and COMPLETE in some of them.
MANY_ROUNDS = ["--slot-size", "4", "--block", "16", "--slot-threshold", "0.3", "--token-threshold", "0.98"]
# Noise that hardly ever ends: for what must take long.
ENDLESS = ["--decode", "ar", "--temperature", "90", "-n", "4000", "--raw"]


def generate_json(test, *arguments, **keywords):
    result = run("generate", "--json", *arguments, **keywords)
    test.check_works(result)
    return json.loads(result.stdout)


def tokenize_chat(messages):
    """The prompt that a conversation makes, as --tokens takes it."""
    result = run("tokenize", "--jsonl", stdin=json.dumps({"messages": messages}))
    return ",".join(map(str, json.loads(result.stdout)["ids"]))


class Generate(ProgramTest):
    def test_stdout_is_the_answer_and_nothing_else(self):
        result = run("generate", "-p", QUESTION)
        self.assertEqual(self.check_works(result), ANSWER + "\n")
        self.assertEqual(result.stderr, "")

    def test_prompt_from_stdin(self):
        self.assertEqual(self.check_works(run("generate", stdin=QUESTION + "\n")), ANSWER + "\n")

    def test_sample_question(self):
        result = run("generate", env={"RF_MODEL": ""})  # of the embedded model, whose question it is
        self.assertRegex(result.stderr, r"^refusion: no --prompt; asking: Write a Python function .*\n$")
        self.assertRegex(self.check_works(result), r"^```python\ndef \w+\(\w+\):\n(    .*\n)+```\n$")
        self.assertEqual(run("generate", "--quiet").stderr, "")

    def test_json(self):
        found = generate_json(self, "-p", QUESTION)
        self.assertEqual(found["text"], ANSWER)
        for key, kind in [("text", str), ("tokens", list), ("prompt_tokens", int), ("finish_reason", str),
                          ("rounds", int), ("forwards", int), ("rows", int), ("tokens_per_forward", (int, float)),
                          ("seconds", dict), ("tokens_per_second", (int, float)), ("device", str), ("commits", list)]:
            self.assertIsInstance(found[key], kind, key)
        self.assertEqual(set(found["seconds"]), {"load", "prefill", "decode"})
        self.assertTrue(all(value >= 0 for value in found["seconds"].values()))
        self.assertEqual(found["finish_reason"], "stop")
        self.assertNotIn("reference_tokens_per_forward", found)
        self.assertNotIn("dispatches", found)
        # One round: all slots in front of the end are right at once. The end token counts as a token of a forward.
        self.assertEqual((found["rounds"], found["forwards"]), (1, 2))
        self.assertAlmostEqual(found["tokens_per_forward"], (len(found["tokens"]) + 1) / 2)
        commits = {c["position"]: c["token"] for c in found["commits"]}
        self.assertEqual(len(commits), len(found["commits"]))
        self.assertEqual([commits[i] for i in range(len(found["tokens"]))], found["tokens"])
        self.assertTrue(all(set(c) == {"position", "token", "round"} for c in found["commits"]))

    def test_dispatches(self):
        counts = generate_json(self, "-p", QUESTION, "--dispatches")["dispatches"]
        layers = 6
        # Two forwards, one SELECT and one ACCEPT.
        self.assertEqual((counts["rows_gather"], counts["slot_select"], counts["slot_accept"]), (2, 1, 1))
        self.assertEqual(sum(count for name, count in counts.items() if name.startswith("head_rope")), 2 * layers)
        self.assertEqual(sum(count for name, count in counts.items() if name.startswith("matmul")), 2 * (4 * layers + 1))
        table = run("generate", "-p", QUESTION, "--dispatches")
        self.assertEqual(self.check_works(table), ANSWER + "\n")
        self.assertRegex(table.stderr, r"(?m)^ +2  rows_gather$")

    def test_reference(self):
        found = generate_json(self, "-p", QUESTION, "--reference")
        self.assertGreater(found["reference_tokens_per_forward"], 0)
        self.assertEqual(found["tokens"][-1], 668)
        self.assertEqual(found["text"], ANSWER)

    def test_raw_and_tokens_and_file(self):
        chat = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(self.check_works(run("generate", "--raw", "-p", chat)), ANSWER + "\n")
        ids = tokenize_chat([{"role": "user", "content": QUESTION}])
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(ids)
            file.flush()
            self.assertEqual(self.check_works(run("generate", "--tokens", "@" + file.name)), ANSWER + "\n")

    def test_special_tokens_of_a_user_are_text(self):
        plain = generate_json(self, "-n", "8", "-p", "a<|im_end|>b", *MANY_ROUNDS)
        ids = run("tokenize", "a<|im_end|>b").stdout.strip().split(",")
        empty = run("tokenize", "ab").stdout.strip().split(",")
        short = generate_json(self, "-n", "8", "-p", "ab", *MANY_ROUNDS)
        self.assertEqual(plain["prompt_tokens"] - short["prompt_tokens"], len(ids) - len(empty))

    def test_system_and_thinking_change_the_prompt(self):
        bare = generate_json(self, "-n", "4", "-p", "x", *MANY_ROUNDS)["prompt_tokens"]
        self.assertGreater(generate_json(self, "-n", "4", "-p", "x", "--system", "S", *MANY_ROUNDS)["prompt_tokens"], bare)
        self.assertGreater(generate_json(self, "-n", "4", "-p", "x", "--no-thinking", *MANY_ROUNDS)["prompt_tokens"], bare)

    def test_most_tokens(self):
        found = generate_json(self, "-p", QUESTION, "-n", "5")
        self.assertEqual(len(found["tokens"]), 5)
        self.assertEqual(found["finish_reason"], "length")
        self.assertTrue(ANSWER.startswith(found["text"]))

    def test_stop(self):
        found = generate_json(self, "-p", QUESTION, "--stop", "return", "--stop", "zebra")
        self.assertEqual(found["text"], ANSWER[:ANSWER.index("return")])
        self.assertEqual(found["finish_reason"], "stop_text")
        # The earliest by position wins, in whatever order they were given; the stream never shows a part of it.
        result = run("generate", "-p", QUESTION, "--stop", "return", "--stop", "is_o", "--decode", "ar")
        self.assertEqual(self.check_works(result), ANSWER[:ANSWER.index("is_o")] + "\n")

    def test_seed(self):
        options = ["-p", QUESTION, "--temperature", "3", "-n", "24", "--decode", "ar"]
        one = generate_json(self, *options, "--seed", "7")["tokens"]
        self.assertEqual(generate_json(self, *options, "--seed", "7")["tokens"], one)
        self.assertNotEqual(generate_json(self, *options, "--seed", "8")["tokens"], one)

    def test_deterministic_and_precisions_agree(self):
        for options in (["--deterministic"], ["--precision", "f32"]):
            self.assertEqual(self.check_works(run("generate", "-p", QUESTION, *options)), ANSWER + "\n")

    def test_validate(self):
        if DRIVER != "lavapipe":
            self.skipTest("the layer of the system's loader is tried once")
        if "ASAN_OPTIONS" in os.environ:
            self.skipTest("Debian 12's validation layer leaks: sanitizer builds run without it")
        result = run("generate", "-p", QUESTION, "--validate")
        if "VK_LAYER_KHRONOS_validation" in result.stderr:
            self.skipTest("no validation layer")
        self.assertEqual(self.check_works(result), ANSWER + "\n")
        self.assertEqual(result.stderr, "")


class Streams(ProgramTest):
    def test_append_only_grows(self):
        """What was read at any time is a beginning of the answer, and it does not come all at once."""
        pieces = []
        with subprocess.Popen(command_line(["generate", "-p", QUESTION, "--decode", "ar"]), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()) as process:
            while piece := os.read(process.stdout.fileno(), 4096):
                pieces.append(piece)
            self.assertEqual(process.wait(), 0)
        self.assertEqual(b"".join(pieces).decode(), ANSWER + "\n")
        self.assertGreater(len(pieces), 3)
        for piece in pieces:
            piece.decode()  # whole characters

    def check_events(self, arguments):
        lines = self.check_works(run("generate", "--stream", "denoise", *arguments)).splitlines()
        events = [json.loads(line) for line in lines]
        committed, dropped, last_round = {}, set(), 0
        for event in events[:-1]:
            self.assertIn(event["event"], ("planned", "committed", "dropped"))
            self.assertGreaterEqual(event["round"], last_round)
            last_round = event["round"]
            position = event["position"]
            if event["event"] == "dropped":
                run_of = set(range(position, position + event["count"]))
                self.assertFalse(run_of & set(committed))
                dropped |= run_of
                continue
            self.assertNotIn(position, committed)
            self.assertNotIn(position, dropped)
            self.assertIsInstance(event["text"], str)
            if event["event"] == "committed":
                committed[position] = event["token"]
        end = events[-1]
        self.assertEqual(end["event"], "finished")
        shown = []
        while len(shown) in committed and committed[len(shown)] not in EOS:
            shown.append(committed[len(shown)])
        return events, committed, shown, end

    def test_denoise(self):
        events, _, shown, end = self.check_events(["-p", QUESTION])
        self.assertEqual(end["tokens"], shown)
        self.assertEqual(end["text"], ANSWER)
        self.assertEqual(end["finish_reason"], "stop")
        self.assertTrue(any(event["event"] == "dropped" for event in events))

    def test_denoise_through_complete(self):
        """A golden case with many turns: the events end in exactly the original's tokens."""
        with open(os.path.join(GOLDEN, "decode_wild.jsonl"), encoding="utf-8") as file:
            case = max(map(json.loads, file), key=lambda line: line["forwards"] if line["gen_length"] <= 64 else 0)
        options = ["--tokens", ",".join(map(str, case["prompt_ids"])), "-n", str(case["gen_length"]), "--slot-size",
                   str(case["slot_size"]), "--block", str(case["block"]), "--slot-threshold",
                   str(case["slot_threshold"]), "--token-threshold", str(case["token_threshold"])]
        _, committed, _, end = self.check_events(options + ["--reference"])
        self.assertEqual([committed[p] for p in sorted(committed)], case["output_ids"])
        self.assertEqual(end["tokens"], case["output_ids"])
        found = generate_json(self, *options, "--reference")
        self.assertEqual(found["tokens"], case["output_ids"])
        self.assertEqual(found["forwards"], case["forwards"])

    def test_sequential_events(self):
        _, committed, shown, end = self.check_events(["-p", QUESTION, "--decode", "ar"])
        self.assertEqual(end["tokens"], shown)
        self.assertEqual(sorted(committed), list(range(len(committed))))


class Show(ProgramTest):
    def test_not_a_terminal(self):
        result = run("generate", "-p", QUESTION, "--show")
        self.assertEqual(self.check_works(result), ANSWER + "\n")
        self.assertRegex(result.stderr, r"^refusion: --show: stderr is not a terminal, .*\n$")

    def test_forced(self):
        result = run("generate", "-p", QUESTION, "--show=force", *MANY_ROUNDS)
        text = self.check_works(result)
        drawings = result.stderr.strip().split("\n\n")
        self.assertGreater(len(drawings), 1)
        self.assertIn("·", drawings[0])
        self.assertIn("\x1b[0;33m", drawings[0])  # drafts of the first round
        self.assertIn("round 1 planned", drawings[0])
        plain = re.sub(r"\x1b\[[0-9;]*m", "", drawings[-1])
        cells, _, status = plain.rpartition("\n")
        self.assertRegex(status, r"^round \d+ done, \d+ forwards, \d+\.\d\d tokens/forward$")
        shown = cells.replace("\n", "").replace("│", "").replace("⏎", "\n")
        self.assertTrue(shown.startswith(text.rstrip("\n")), shown)

    def test_terminal(self):
        """Each drawing replaces the one before, no line is wider than the terminal, the answer follows."""
        output = talk_on_terminal(self, ["generate", "-p", QUESTION, "--show", "--quiet"] + MANY_ROUNDS, [], rows=8,
                                  columns=30)
        self.assertRegex(output, r"\x1b\[[1-7]A\r\x1b\[J")
        for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output).replace("\r", "").split("\n"):
            if "forward" not in line:
                self.assertLessEqual(len(line), 30, line)
        self.assertIn(ANSWER, output.replace("\r\n", "\n"))


def read_until(fd, buffer, pattern, seconds):
    """Reads on until `pattern` (None: the end) is found in what came; returns the buffer and the match."""
    end = time.monotonic() + seconds
    while True:
        match = re.search(pattern, buffer) if pattern else None
        if match or time.monotonic() > end:
            return buffer, match
        if select.select([fd], [], [], 0.1)[0]:
            try:
                piece = os.read(fd, 65536)
            except OSError:  # Linux says so when the other side is closed
                piece = b""
            if not piece:
                return buffer, None
            buffer += piece


def wait_for_editing(fd):
    """The prompt is printed just before line editing takes the terminal."""
    end = time.monotonic() + 60
    while termios.tcgetattr(fd)[3] & termios.ICANON and time.monotonic() < end:
        time.sleep(0.01)


def talk_on_terminal(test, arguments, script, rows=24, columns=80):
    """Runs the program on a terminal; script: (pattern to wait for behind the one before, then type). Returns all output."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with subprocess.Popen(command_line(arguments), stdin=terminal, stdout=terminal, stderr=terminal,
                          preexec_fn=take_terminal,
                          env=clean_environment({"TERM": "xterm", "LC_ALL": "C.UTF-8"})) as process:
        os.close(terminal)
        output, buffer = b"", b""
        try:
            for pattern, typed in script:
                buffer, match = read_until(main, buffer, pattern, 120)
                test.assertTrue(match, f"waited for {pattern}, found {output + buffer}")
                output, buffer = output + buffer[:match.end()], buffer[match.end():]
                if pattern.endswith(b"> "):
                    wait_for_editing(main)
                os.write(main, typed)
            buffer, _ = read_until(main, buffer, None, 120)
            output += buffer
            status = process.wait(timeout=60)
        finally:
            process.kill()
            os.close(main)
    test.assertEqual(status, 0, output)
    return output.decode()


class Interrupt(ProgramTest):
    def start(self, *arguments):
        return subprocess.Popen(command_line(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=clean_environment())

    def test_text(self):
        with self.start("generate", "-p", "x", *ENDLESS) as process:
            first = os.read(process.stdout.fileno(), 65536)
            process.send_signal(signal.SIGINT)
            rest, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, stderr)
        self.assertTrue((first + rest).endswith(b"\n"))
        self.assertRegex(stderr, rb"^refusion: .*(cancelled|interrupted)\n$")

    def test_json(self):
        """Nothing is printed before the end, so the moment between loading and the last token is searched for."""
        early, late, ends = 0.0, 2.0, []
        for _ in range(16):
            delay = (early + late) / 2
            with self.start("generate", "-p", "x", "--json", "--stop", "never in this", *ENDLESS) as process:
                time.sleep(delay)
                process.send_signal(signal.SIGINT)
                stdout, stderr = process.communicate(timeout=60)
            if not stdout:
                self.assertIn(process.returncode, (130, -signal.SIGINT), stderr)
                early = delay
                if all(end == "loading" for _, end in ends):
                    late = max(late, 4 * delay)
                ends.append((delay, "loading"))
                continue
            end = json.loads(stdout)["finish_reason"]
            if end == "cancelled":
                self.assertEqual(process.returncode, 130, stderr)
                return
            self.assertIn(end, ("length", "stop"))
            late = delay
            ends.append((delay, end))
        self.fail(f"no signal came while it decoded: {ends}")


class Chat(ProgramTest):
    SECOND = "Write a Python function is_even(x) that tells if a number is even."

    def test_turns_reuse_the_prefix_and_answer_the_same(self):
        """Two turns over one session give what two fresh processes give for the same conversations."""
        lines = self.check_works(run("chat", "--json", stdin=f"{QUESTION}\n{self.SECOND}\n")).splitlines()
        first, second = map(json.loads, lines)
        self.assertEqual(first["text"], ANSWER)
        self.assertEqual(first["cached_tokens"], 0)
        self.assertGreaterEqual(second["cached_tokens"], first["prompt_tokens"] - 1)
        self.assertLess(second["cached_tokens"], second["prompt_tokens"])
        ids = tokenize_chat([{"role": "user", "content": QUESTION}, {"role": "assistant", "content": first["text"]},
                             {"role": "user", "content": self.SECOND}])
        fresh = generate_json(self, "--tokens", ids)
        self.assertEqual(second["tokens"], fresh["tokens"])
        self.assertEqual(second["prompt_tokens"], fresh["prompt_tokens"])

    def test_plain_lines(self):
        result = run("chat", "--quiet", stdin=f"{QUESTION}\n\n/exit\n{QUESTION}\n")
        self.assertEqual(self.check_works(result), ANSWER + "\n")
        self.assertEqual(result.stderr, "")

    def test_commands(self):
        script = f"/help\n{QUESTION}\n/clear\n{QUESTION}\n/settings --slot-size 8 --block 64\n/settings\n/system be brief\n{QUESTION}\n"
        result = run("chat", "--json", "--quiet", stdin=script)
        first, cleared, system = map(json.loads, self.check_works(result).splitlines())
        self.assertIn("/settings OPTIONS", result.stderr)
        self.assertIn("  --slot-size 8\n  --block 64\n", result.stderr)
        self.assertEqual(first["tokens"], cleared["tokens"])
        self.assertEqual(first["prompt_tokens"], cleared["prompt_tokens"])
        self.assertGreater(cleared["cached_tokens"], 0)
        self.assertGreater(system["prompt_tokens"], first["prompt_tokens"])

    def test_wrong_lines(self):
        """Each is told, none ends the conversation, and the exit status remembers."""
        result = run("chat", "--quiet", stdin=f"/nothing\n/settings --slot-size 0\n/clear now\n{QUESTION}\n")
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stdout, ANSWER + "\n")
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 3, result.stderr)
        self.assertIn('unknown command "/nothing"', lines[0])
        self.assertIn('--slot-size: found "0"', lines[1])
        self.assertIn('/clear: found "now"', lines[2])

    def test_terminal(self):
        """Line editing (a corrected typo), an answer, Ctrl-D."""
        typo = QUESTION.replace("number", "numberr").encode()
        back = len(" is odd.")
        output = talk_on_terminal(self, ["chat"], [
            (rb"> ", typo + b"\x1b[D" * back + b"\x7f\n"),
            (rb"tokens/forward[^>]*> ", b"\x04"),
        ])
        self.assertIn(ANSWER, output.replace("\r\n", "\n"))

    def test_interrupt_ends_the_answer_alone(self):
        """Ctrl-C while an answer is written, then the conversation goes on."""
        output = talk_on_terminal(self, ["chat"] + [word for word in ENDLESS if word != "--raw"], [
            (rb"> ", b"x\n"),
            (rb"x\r\n[^>]", b"\x03"),
            (rb"tokens/forward[^>]*> ", b"/settings --temperature 0\n"),
            (rb"> ", QUESTION.encode() + b"\n"),
            (rb"tokens/forward[^>]*> ", b"/exit\n"),
        ])
        shown = re.search(r", (\d+) tokens \d", output)
        self.assertLess(int(shown[1]), 2000)


class Devices(ProgramTest):
    def test_json(self):
        devices = json.loads(self.check_works(run("devices", "--json")))
        self.assertGreater(len(devices), 0)
        for index, device in enumerate(devices):
            self.assertEqual(device["index"], index)
            self.assertEqual(device["usable"], not device["missing"])
            self.assertEqual(device["usable"], bool(device["tiers"]))
            if device["usable"]:
                self.assertEqual(device["tiers"][-1]["name"], "portable")

    def test_text(self):
        text = self.check_works(run("devices"))
        self.assertRegex(text, r"(?m)^0: .+\n   driver     .+, Vulkan 1\.\d+\.\d+$")
        self.assertIn("portable", text)
        if DRIVER in ("lavapipe", "lavapipe-new", "swiftshader"):
            self.assertNotIn("portable (unverified)", text)

    def test_masked_tier(self):
        text = self.check_works(run("devices", env={"RF_DISABLE": "fp16"}))
        self.assertNotRegex(text, r"paths .*fp16")

    def test_what_a_device_lacks(self):
        text = self.check_works(run("devices", env={"RF_DISABLE": "timelineSemaphore"}))
        self.assertRegex(text, r"lacks      timelineSemaphore")
        for keywords in ({"env": {"RF_DISABLE": "timelineSemaphore"}}, {}):
            options = [] if keywords else ["--disable", "timelineSemaphore"]
            self.check_fails(run("generate", "-p", "x", *options, **keywords), 1, "timelineSemaphore", "device 0")

    def test_unknown(self):
        self.check_fails(run("generate", "-p", "x", "--device", "nosuch"), 1, 'device "nosuch"', "0: ")
        self.check_fails(run("generate", "-p", "x", "--device", "99"), 1, 'device "99"')
        self.check_fails(run("generate", "-p", "x", "--disable", "warp"), 2, 'disable: "warp"', "fp16")

    def test_precision_that_is_not_there(self):
        self.check_fails(run("generate", "-p", "x", "--precision", "f16", "--disable", "fp16"), 1, "precision f16")

    def test_int8(self):
        ask = ["generate", "-p", "x", "--precision", "int8"]
        quantized = ask + ["--type", "q8_0"]
        self.check_fails(run(*quantized, "--disable", "fp16"), 1, "precision int8", "fp16 tier is disabled")
        self.check_fails(run(*quantized, "--disable", "int8dot"), 1, "precision int8", "shaderIntegerDotProduct")
        self.check_fails(run(*ask), 1, "precision int8", "no matrix of the layers is quantized")
        found = generate_json(self, "-p", QUESTION, "--precision", "int8", "--type", "q8_0", "-n", "8")
        self.assertEqual(len(found["tokens"]), 8)


class SelfTest(ProgramTest):
    def test_table(self):
        result = run("selftest", "--kernel", "rmsnorm", "--seed", "3")
        text = self.check_works(result)
        self.assertRegex(text, r"(?m)^rmsnorm +\d+  \d\.\d\de-\d\d +\d\.\d\de-\d\d +ok ")
        self.assertIn("seed=3", text)
        self.assertNotIn("attention", text)
        self.assertEqual(result.stderr, "")

    def test_json(self):
        found = json.loads(self.check_works(run("selftest", "--kernel", "rmsnorm", "--json")))
        self.assertTrue(found["passed"])
        self.assertEqual(found["failures"], [])
        for kernel in found["kernels"]:
            self.assertIn("rmsnorm", kernel["kernel"])
            self.assertGreater(kernel["cases"], 0)
            self.assertLessEqual(kernel["error"], kernel["tolerance"])

    def test_unknown_kernel(self):
        self.check_fails(run("selftest", "--kernel", "nosuch"), 2, 'kernel "nosuch"')

    def test_planted_wrong_shader(self):
        """One multiplication of rmsnorm made an addition: the table says so, and the exit status too."""
        with open(os.path.join(os.environ["RF_SHADER_DIR"], "rmsnorm.spv"), "rb") as file:
            words = list(struct.unpack(f"<{os.fstat(file.fileno()).st_size // 4}I", file.read()))
        at, multiply, add = 5, 133, 129  # the header's length; OpFMul and OpFAdd take the same operands
        while words[at] & 0xffff != multiply:
            at += words[at] >> 16
        words[at] += add - multiply
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "rmsnorm.spv"), "wb") as file:
                file.write(struct.pack(f"<{len(words)}I", *words))
            result = run("selftest", "--kernel", "rmsnorm", "--shader-dir", folder)
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertRegex(result.stdout, r"(?m)^FAILED  rmsnorm  rows=.* error .*, tolerance ")
            self.assertRegex(result.stdout, r"(?m)^rmsnorm .* FAILED ")
            self.assertRegex(result.stderr, r"^refusion: .*rmsnorm.*\n$")
            found = json.loads(run("selftest", "--kernel", "rmsnorm", "--shader-dir", folder, "--json").stdout)
            self.assertFalse(found["passed"])
            self.assertTrue(found["failures"])


class BadInput(ProgramTest):
    def test_model_folder(self):
        self.check_fails(run("generate", "-p", "x", "-m", "/nowhere"), 1, "/nowhere")
        self.check_fails(run("chat", "-m", "/nowhere", stdin="x\n"), 1, "/nowhere")

    def test_prompt(self):
        result = subprocess.run(command_line(["generate", "-p", b"ab\xff"]), capture_output=True, check=False,
                                stdin=subprocess.DEVNULL, env=clean_environment())
        self.check_fails(result, 2, "invalid UTF-8 at byte 2")
        self.check_fails(run("generate", "--raw", stdin=b"ab\xff"), 2, "invalid UTF-8 at byte 2")
        self.check_fails(run("generate", "--tokens", "1,2,5000"), 2, "token 2 is 5000", "671")

    def test_context(self):
        self.check_fails(run("generate", "-p", QUESTION, "--context", "16"), 1, "wanted fewer than the context length, 16")
        self.check_fails(run("generate", "-p", QUESTION, "--context", "5000"), 2, "5000", "4096")
        self.check_fails(run("generate", "-p", QUESTION, "--context", "64", "-n", "60"), 1, "max-tokens 60", "64")

    def test_reference_lengths(self):
        self.check_fails(run("generate", "-p", "x", "--reference", "-n", "96", "--slot-size", "32", "--block", "64"), 2,
                         "reference", "96", "64")

    def test_submission_limit(self):
        # Cut into many submissions or none, the answer is the same.
        for limit in ["1", "0"]:
            self.assertEqual(self.check_works(run("generate", "-p", QUESTION, "--submission-ms", limit)), ANSWER + "\n")

    def test_no_tune_is_heard(self):
        with tempfile.TemporaryDirectory() as cache:
            # Mesa's own cache stays where it is, so that it need not compile anew.
            env = {"XDG_CACHE_HOME": cache, "MESA_SHADER_CACHE_DIR": os.environ.get("XDG_CACHE_HOME", cache)}
            for options, files in (["--no-tune"], 0), ([], 1):
                self.check_works(run("generate", "-p", QUESTION, "-n", "4", *options, env=env))
                found = [name for name in os.listdir(os.path.join(cache, "refusion")) if name.startswith("tuned")]
                self.assertEqual(len(found), files, options)

    def test_memory_limit(self):
        self.check_fails(run("generate", "-p", "x", "--memory-limit", "1M"), 1, "limit is 1048576 bytes")

    def test_no_tokenizer_template(self):
        """A template that the program does not know is refused, unless --raw."""
        with tempfile.TemporaryDirectory() as folder:
            for name in os.listdir(TINY):
                os.symlink(os.path.join(TINY, name), os.path.join(folder, name))
            path = os.path.join(folder, "tokenizer_config.json")
            with open(path, encoding="utf-8") as file:
                config = json.load(file)
            os.unlink(path)
            config["chat_template"] = "{{ messages[0].content }}"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file)
            self.check_fails(run("generate", "-p", "x", "-m", folder), 1, "template")
            self.check_works(run("generate", "-p", "x", "-m", folder, "--raw", "-n", "4", *MANY_ROUNDS))


class Preset(ProgramTest):
    """The model's own is taken where none is named."""

    def model(self, preset):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name in os.listdir(TINY):
            os.symlink(os.path.join(TINY, name), os.path.join(folder.name, name))
        path = os.path.join(folder.name, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        os.unlink(path)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, "refusion_preset": preset}, file)
        return folder.name

    def commits(self, *arguments):
        """Their order tells which slots and blocks there were."""
        return json.loads(self.check_works(run("generate", "-p", QUESTION, "-n", "32", "--no-tune", "--json",
                                               *arguments)))["commits"]

    def test_models_own(self):
        model = self.model("demo")
        own = self.commits("-m", model)
        self.assertEqual(own, self.commits("-m", TINY, "--preset", "demo"))
        self.assertNotEqual(own, self.commits("-m", TINY))
        self.assertEqual(self.commits("-m", model, "--preset", "chat"), self.commits("-m", TINY))

    def test_unknown(self):
        model = self.model("later")
        self.check_fails(run("generate", "-p", "x", "-m", model), 1, 'the model\'s refusion_preset is "later"')
        self.check_works(run("generate", "-p", "x", "-m", model, "--preset", "demo", "-n", "4"))


class WeightTypes(ProgramTest):
    """A file that `quantize` wrote and the same types made while loading are the same weights: the same tokens, and for
    the finer types the answer of the original ones."""

    # Stock lavapipe compiles for two minutes when every shape of every type is tried; the new one tries them.
    TUNING = ["--no-tune"] if DRIVER == "lavapipe" else []

    def check_type(self, kind):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"tiny-{kind}.gguf")
            self.check_works(run("quantize", TINY, path, "--type", kind, "--quiet"))
            of_file = generate_json(self, "-m", path, "-p", QUESTION, *self.TUNING)
            loaded = generate_json(self, "--type", kind, "-p", QUESTION, *self.TUNING)
        for key in ("text", "tokens", "commits", "forwards", "finish_reason"):
            self.assertEqual(of_file[key], loaded[key], key)
        return loaded["text"]

    def test_types(self):
        for kind in ("f16", "q8_0", "q6_k"):
            self.assertEqual(self.check_type(kind), ANSWER, kind)
        for kind in ("q4_0", "q4_k"):
            self.assertTrue(self.check_type(kind), kind)

    def test_untuned(self):
        self.assertEqual(self.check_works(run("generate", "-p", QUESTION, "--no-tune")), ANSWER + "\n")

    def test_unknown_type(self):
        self.check_fails(run("generate", "-p", QUESTION, "--type", "q5_1"), 2, "q5_1", "q4_k")


if __name__ == "__main__":
    main()
