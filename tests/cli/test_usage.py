#!/usr/bin/env python3
"""Everything of the program that needs no device: help, wrong options, tokenize, inspect, quantize."""
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unicodedata

from support import GOLDEN, PROGRAM, ROOT, TINY, ProgramTest, clean_environment, main, run as run_on_driver

COMMANDS = ["generate", "chat", "tokenize", "inspect", "quantize", "devices", "selftest", "bench", "profile", "eval"]


def run(*arguments, **keywords):
    return run_on_driver(*arguments, driver=None, **keywords)


class Help(ProgramTest):
    def test_program(self):
        text = self.check_works(run("--help"))
        listed = re.findall(r"^  (\w+)  ", text.split("Commands:\n")[1].split("\n\n")[0], re.M)
        self.assertEqual(listed, COMMANDS)
        self.assertEqual(run("-h").stdout, text)

    def test_version(self):
        self.assertRegex(self.check_works(run("--version")), r"^refusion \d+\.\d+\.\d+\n$")

    def test_no_command(self):
        result = run()
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stdout, "")
        self.assertIn("Usage: refusion COMMAND", result.stderr)

    def test_unknown_command(self):
        self.check_fails(run("genrate"), 2, 'unknown command "genrate"', "refusion --help")

    def test_each_command(self):
        for command in COMMANDS:
            with self.subTest(command):
                text = self.check_works(run(command, "--help"))
                self.assertTrue(text.startswith(f"Usage: refusion {command} [options]"), text)
                self.assertIn("Exit status", text)
                # Help wins wherever it stands, and touches nothing.
                self.assertEqual(run(command, "--json", "-h").stdout, text)
                for line in text.splitlines():
                    self.assertLessEqual(len(line), 100)

    def test_options_of_the_architecture(self):
        text = run("generate", "--help").stdout
        for option in ["-p, --prompt", "--raw", "--tokens", "-n, --max-tokens", "--slot-size", "--block",
                       "--slot-threshold", "--token-threshold", "--preset", "--temperature", "--seed", "--decode",
                       "--reference", "--device", "--show", "--json", "--stop", "--stream", "--system",
                       "--no-thinking", "--context", "--precision", "--disable", "--deterministic",
                       "--memory-limit", "--submission-ms", "--validate", "--quiet", "--top-k", "--top-p", "-m, --model"]:
            self.assertRegex(text, re.escape(option) + r"[ \[\n]")

    def test_later_commands_are_not_listed(self):
        for command in ["serve"]:
            self.assertNotRegex(run("--help").stdout, rf"\b{command}\b")


class WrongOptions(ProgramTest):
    def test_unknown(self):
        self.check_fails(run("generate", "--slotsize", "8"), 2, 'unknown option "--slotsize"', "refusion generate --help")
        self.check_fails(run("generate", "--slotsize=8"), 2, 'unknown option "--slotsize"')
        self.check_fails(run("generate", "-x"), 2, 'unknown option "-x"')
        self.check_fails(run("generate", "-nn", "4"), 2, 'unknown option "-nn"')
        # What another subcommand takes is unknown here.
        self.check_fails(run("devices", "--prompt", "x"), 2, 'unknown option "--prompt"')
        self.check_fails(run("chat", "--reference"), 2, 'unknown option "--reference"')

    def test_missing_value(self):
        self.check_fails(run("generate", "--prompt"), 2, "--prompt: found no value, wanted TEXT")
        self.check_fails(run("generate", "-n"), 2, "--max-tokens: found no value, wanted N")
        self.check_fails(run("generate", "--prompt", "--json"), 2, "--prompt: found no value", "--prompt")

    def test_unwanted(self):
        self.check_fails(run("generate", "hello"), 2, 'found the argument "hello", wanted only options')
        self.check_fails(run("generate", "--json=yes"), 2, '--json: found "yes", wanted no value')
        self.check_fails(run("tokenize", "a", "b"), 2, 'second argument "b"')

    def test_numbers(self):
        whole = [("--max-tokens", "0"), ("--max-tokens", "-1"), ("--max-tokens", "many"), ("--max-tokens", "1.5"),
                 ("--max-tokens", ""), ("--max-tokens", " 7"), ("--max-tokens", "99999999999999999999999"),
                 ("--slot-size", "0"), ("--block", "0"), ("--seed", "-1"), ("--top-k", "0"), ("--context", "0"),
                 ("--submission-ms", "-1"), ("--submission-ms", "1.5"), ("--submission-ms", "1000001")]
        for option, value in whole:
            with self.subTest(option=option, value=value):
                self.check_fails(run("generate", option, value), 2, f'{option}: found "{value}", wanted a whole number')
        real = [("--slot-threshold", "1.5"), ("--slot-threshold", "-0.1"), ("--slot-threshold", "nan"),
                ("--slot-threshold", "inf"), ("--token-threshold", "nan"), ("--token-threshold", "2"),
                ("--token-threshold", "0.5x"), ("--temperature", "-1"), ("--temperature", "nan"), ("--top-p", "0"),
                ("--top-p", "1.1")]
        for option, value in real:
            with self.subTest(option=option, value=value):
                self.check_fails(run("generate", option, value), 2, f'{option}: found "{value}", wanted a number from')
        for value in ["x", "-1", "1Q", "1.5G", "99999999999G", "0"]:
            with self.subTest(value):
                self.check_fails(run("generate", "--memory-limit", value), 2, f'--memory-limit: found "{value}"',
                                 "number of bytes")

    def test_choices(self):
        self.check_fails(run("generate", "--decode", "beam"), 2, '--decode: found "beam", wanted one of refusion, ar')
        self.check_fails(run("generate", "--stream", "x"), 2, '--stream: found "x", wanted one of append, denoise')
        self.check_fails(run("generate", "--precision", "f64"), 2, '--precision: found "f64", wanted one of auto')
        self.check_fails(run("generate", "--show=always"), 2, '--show: found "always"')

    def test_settings_that_disagree(self):
        self.check_fails(run("generate", "--slot-size", "64", "--block", "32"), 2, "slot-size 64", "block, 32")
        self.check_fails(run("generate", "--slot-size", "8", "--block", "20"), 2, "block 20", "multiple of slot-size, 8")
        self.check_fails(run("generate", "--preset", "fast"), 2, 'preset "fast"', "chat, code, math, strict")
        self.check_fails(run("generate", "--top-k", "5", "-p", "x"), 2, "top-k", "--decode ar")
        self.check_fails(run("generate", "--reference", "--temperature", "1"), 2, "temperature 1", "greedy")

    def test_pairs(self):
        for one, other in [(["--tokens", "1"], ["--prompt", "x"]), (["--tokens", "1"], ["--raw"]),
                           (["--raw"], ["--system", "x"]), (["--json"], ["--stream", "denoise"])]:
            with self.subTest(one=one, other=other):
                self.check_fails(run("generate", *one, *other), 2, f"{one[0]}: found it beside {other[0]}")

    def test_stops(self):
        self.check_fails(run("generate", "--stop", ""), 2, "--stop: found an empty text")
        many = [word for i in range(17) for word in ("--stop", str(i))]
        self.check_fails(run("generate", *many), 2, "--stop: found it more than 16 times")

    def test_one_line_whatever_is_in_it(self):
        self.check_fails(run("generate", "--decode", "a\nb\x1b[31m"), 2, '--decode: found "a?b?[31m"')


class WrongPrompts(ProgramTest):
    def test_empty(self):
        self.check_fails(run("generate", "-p", ""), 2, "--prompt: found an empty prompt")
        self.check_fails(run("generate", stdin=""), 2, "standard input: found an empty prompt")
        self.check_fails(run("generate", stdin="\n"), 2, "standard input: found an empty prompt")

    def test_nul(self):
        self.check_fails(run("generate", stdin=b"a\0b"), 2, "standard input: found a NUL byte")

    def test_tokens(self):
        self.check_fails(run("generate", "--tokens", "1,x,3"), 2, '--tokens: found "x", wanted token ids')
        self.check_fails(run("generate", "--tokens", "1,-2"), 2, '--tokens: found "-2"')
        self.check_fails(run("generate", "--tokens", "99999999999"), 2, '--tokens: found "99999999999"')
        self.check_fails(run("generate", "--tokens", ","), 2, "--tokens: found no token id")
        self.check_fails(run("generate", "--shader-dir", "/nowhere", "-p", "x"), 1, '--shader-dir: found no folder')
        self.check_fails(run("generate", "--tokens", "@/nowhere/ids"), 1, '--tokens: cannot open "/nowhere/ids"')


class Tokenize(ProgramTest):
    def encode(self, text, *options):
        return self.check_works(run("tokenize", *options, "--", text)).strip()

    def test_round_trip(self):
        noise = random.Random(5)
        samples = ["hello world", " def f(x):\n\treturn x", "naïve café 中文 🙂 e\u0301", "--json", "1234567", "\n\n  \n"]
        samples += ["".join(chr(noise.choice([noise.randint(32, 126), noise.randint(0xa1, 0x24f),
                                              noise.randint(0x4e00, 0x9fff)])) for _ in range(40)) for _ in range(5)]
        for text in samples:
            with self.subTest(text):
                ids = self.encode(text)
                self.assertRegex(ids, r"^\d+(,\d+)*$")
                decoded = self.check_works(run("tokenize", "--decode", ids))
                # The tokenizer normalises to NFC.
                self.assertEqual(decoded, unicodedata.normalize("NFC", text) + "\n")

    def test_stdin_is_taken_byte_for_byte(self):
        self.assertEqual(run("tokenize", stdin="a b\n").stdout.strip(), self.encode("a b\n"))
        self.assertNotEqual(self.encode("a b\n"), self.encode("a b"))

    def test_special(self):
        text = "<|im_end|><|mask|>"
        plain = json.loads(run("tokenize", "--json", text).stdout)
        special = json.loads(run("tokenize", "--json", "--special", text).stdout)
        self.assertEqual(special["ids"], [668, 670])
        self.assertFalse({666, 667, 668, 669, 670} & set(plain["ids"]))
        self.assertEqual(plain["text"], text)
        self.assertEqual(special["text"], text)

    def test_ids_from_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".ids") as file:
            file.write(self.encode("from a file").replace(",", "\n"))
            file.flush()
            self.assertEqual(run("tokenize", "--decode", "@" + file.name).stdout, "from a file\n")

    def test_wrong(self):
        self.check_fails(run("tokenize", "--decode", "1,2,4000"), 2, "4000")
        self.check_fails(run("tokenize", stdin=b"ab\xffc"), 2, "invalid UTF-8 at byte 2")
        self.check_fails(run("tokenize", "--decode", "1", "x"), 2, '--decode: found it beside TEXT "x"')
        self.check_fails(run("tokenize", "-m", "/nowhere", "x"), 1, "/nowhere")

    def test_jsonl(self):
        chat = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "hi <|im_end|>"}],
                "enable_thinking": False, "add_generation_prompt": True}
        lines = [{"text": "a b"}, chat, {"text": ""}]
        output = self.check_works(run("tokenize", "--jsonl", stdin="\n".join(map(json.dumps, lines))))
        got = [json.loads(line) for line in output.splitlines()]
        self.assertEqual(len(got), 3)
        self.assertEqual(got[0], {"ids": [int(i) for i in self.encode("a b").split(",")], "text": "a b"})
        self.assertEqual(got[1]["text"], "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi <|im_end|><|im_end|>\n"
                                         "<|im_start|>assistant\n<think>\n\n</think>\n\n")
        # The end of message that the user wrote is text; the template's own two are not.
        self.assertEqual(got[1]["ids"].count(668), 2)
        self.assertEqual(got[2], {"ids": [], "text": ""})

    def test_jsonl_matches_the_golden_prompts(self):
        with open(os.path.join(GOLDEN, "decode.jsonl"), encoding="utf-8") as file:
            golden = [json.loads(line) for line in file]
        asked = "\n".join(json.dumps({"messages": [{"role": "user", "content": g["prompt"]}]}) for g in golden)
        output = self.check_works(run("tokenize", "--jsonl", stdin=asked))
        for got, wanted in zip(output.splitlines(), golden, strict=True):
            self.assertEqual(json.loads(got)["ids"], wanted["prompt_ids"])

    def test_the_tiny_models_own_template(self):
        """training/tiny writes a template of its own beside the tokenizer; it is known, and goes before the one inside
        tokenizer_config.json: a damaged copy is refused."""
        with open(os.path.join(ROOT, "training", "tiny", "chat_template.jinja"), encoding="utf-8") as file:
            template = file.read()
        chat = json.dumps({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}],
                           "add_generation_prompt": True})
        wanted = self.check_works(run("tokenize", "--jsonl", stdin=chat))
        with tempfile.TemporaryDirectory() as folder:
            for name in os.listdir(TINY):
                os.symlink(os.path.join(TINY, name), os.path.join(folder, name))
            path = os.path.join(folder, "chat_template.jinja")
            with open(path, "w", encoding="utf-8") as file:
                file.write(template)
            self.assertEqual(self.check_works(run("tokenize", "--jsonl", "-m", folder, stdin=chat)), wanted)
            with open(path, "w", encoding="utf-8") as file:
                file.write(template.replace("'<|im_start|>assistant\\n'", "'<|im_start|>robot\\n'"))
            self.check_fails(run("tokenize", "--jsonl", "-m", folder, stdin=chat), 1, "template")

    def test_jsonl_wrong_lines(self):
        good = '{"text": "a"}\n'
        for line, parts in [("{", ["standard input line 2"]), ("[1]", ["line 2", "wanted an object"]),
                            ('{"txt": "a"}', ["line 2", '"txt"']), ("{}", ["line 2", "neither text nor messages"]),
                            ('{"text": 5}', ["line 2", "text"]), ('{"messages": []}', ["line 2", "messages"]),
                            ('{"messages": [{"role": "user"}]}', ["line 2", "messages[0].content"]),
                            ('{"messages": [{"role": "judge", "content": "x"}]}', ["judge"])]:
            with self.subTest(line):
                result = run("tokenize", "--jsonl", stdin=good + line)
                self.assertEqual(len(result.stdout.splitlines()), 1)
                result.stdout = ""
                self.check_fails(result, result.returncode or 99, *parts)
                self.assertIn(result.returncode, (1, 2))

    def test_no_vulkan(self):
        """Not even the loader is opened."""
        for arguments in (["tokenize", "x"], ["inspect"], ["generate", "--help"]):
            result = subprocess.run([PROGRAM] + arguments, capture_output=True, text=True, check=False,
                                    stdin=subprocess.DEVNULL, env=clean_environment({"LD_DEBUG": "files"}))
            self.assertEqual(result.returncode, 0)
            self.assertIn("libc.so", result.stderr)
            self.assertNotIn("libvulkan", result.stderr)


class Inspect(ProgramTest):
    def test_text(self):
        text = self.check_works(run("inspect", "-m", TINY))
        for part in ["layers           6", "vocabulary       671", "4 query, 2 key/value of 64", "mask token       670",
                     "model.layers.5.mlp.down_proj.weight", "[256, 768]", "BF16", "4894464 parameters",
                     "ChatML as Qwen3 writes it"]:
            self.assertIn(part, text)

    def test_which_model(self):
        """--model, RF_MODEL, the one that comes along."""
        other = os.path.join(ROOT, "models", "tiny")
        first = lambda *arguments, **env: self.check_works(run("inspect", *arguments, env=env)).splitlines()[0]  # noqa: E731
        self.assertEqual(first("-m", other, RF_MODEL="/nowhere"), other)
        self.assertEqual(first(RF_MODEL=other), other)
        self.assertRegex(first(RF_MODEL=""), "share/refusion/models/tiny$")
        self.check_fails(run("inspect", env={"RF_MODEL": "/nowhere"}), 1, "/nowhere")

    def test_json(self):
        found = json.loads(self.check_works(run("inspect", "--json")))
        self.assertEqual(found["config"]["layers"], 6)
        self.assertEqual(found["config"]["eos_token_id"], [668, 666])
        self.assertEqual(found["tokenizer"]["mask"], 670)
        self.assertEqual(found["tokenizer"]["chat_template"], "qwen3")
        self.assertEqual(found["parameters"], 4894464)
        self.assertEqual(sum(t["bytes"] for t in found["tensors"]), found["weight_bytes"])
        self.assertEqual(found["warnings"], [])

    def test_missing(self):
        self.check_fails(run("inspect", "-m", "/nowhere/model"), 1, "/nowhere/model")
        with tempfile.TemporaryDirectory() as folder:
            self.check_fails(run("inspect", "-m", folder), 1, folder, "config.json")

    def test_damaged(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in os.listdir(TINY):
                os.symlink(os.path.join(TINY, name), os.path.join(folder, name))
            config = os.path.join(folder, "config.json")
            with open(config, encoding="utf-8") as file:
                good = json.load(file)
            for change, parts in [({"attention_bias": True}, ["attention_bias"]), ({"hidden_size": -4}, ["hidden_size"]),
                                  ({"num_hidden_layers": 7}, ["layers.6"]),
                                  ({"intermediate_size": 776}, ["mlp", "[776, 256]", "[768, 256]"])]:
                os.unlink(config)
                with open(config, "w", encoding="utf-8") as file:
                    json.dump({**good, **change}, file)
                with self.subTest(change):
                    self.check_fails(run("inspect", "-m", folder), 1, *parts)


class Elsewhere(ProgramTest):
    def test_any_working_directory(self):
        result = subprocess.run([PROGRAM, "tokenize", "x"], cwd="/", capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([PROGRAM, "inspect"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "refusion: standard output: not all could be written (is the disk full?)\n")

    def test_broken_pipe_is_quiet(self):
        with subprocess.Popen([PROGRAM, "tokenize", "--jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.close()
            try:
                process.stdin.write(b'{"text": "a"}\n' * 20000)
                process.stdin.close()
            except BrokenPipeError:
                pass
            self.assertEqual(process.stderr.read(), b"")
            self.assertNotEqual(process.wait(), 0)

    def test_no_loader_no_device(self):
        self.check_fails(run("generate", "-p", "x", "--disable", "loader"), 1, "no Vulkan loader")
        nothing = {"VK_DRIVER_FILES": "/nowhere.json", "VK_ICD_FILENAMES": "/nowhere.json"}
        self.check_fails(run("generate", "-p", "x", env=nothing), 1, "found no driver", "VK_DRIVER_FILES")
        self.check_fails(run("devices", env=nothing), 1, "found no driver")


class Quantize(ProgramTest):
    TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"]

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.out = os.path.join(self.folder, "out.gguf")

    def test_preset(self):
        """What a model says about its decoding goes along."""
        model = os.path.join(ROOT, "models", "tiny")
        self.assertRegex(self.check_works(run("inspect", "-m", model)), "(?m)^  preset           tiny$")
        self.check_works(run("quantize", model, self.out, "--type", "q8_0", "--quiet"))
        found = json.loads(self.check_works(run("inspect", "--json", "-m", self.out)))
        self.assertEqual(found["config"]["refusion_preset"], "tiny")
        self.assertNotIn("refusion_preset", json.loads(self.check_works(run("inspect", "--json")))["config"])

    def test_types(self):
        before = json.loads(self.check_works(run("inspect", "--json")))
        text = "Tom's 12 apples\n\ndef f(x):  <|im_end|>"
        ids = run("tokenize", "--special", text).stdout
        for kind in self.TYPES:
            with self.subTest(kind):
                report = json.loads(self.check_works(run("quantize", TINY, self.out, "--type", kind, "--json", "--quiet")))
                after = json.loads(self.check_works(run("inspect", "--json", "-m", self.out)))
                for field in before["config"]:
                    if field not in ("rms_norm_eps", "eos_token_id"):  # f32 in GGUF; the tokenizer's is stated too
                        self.assertEqual(after["config"][field], before["config"][field])
                self.assertEqual(after["tokenizer"], before["tokenizer"])
                self.assertEqual(after["parameters"], report["parameters"])
                self.assertEqual(after["weight_bytes"], report["bytes_after"])
                self.assertEqual(len(after["tensors"]), len(report["tensors"]))
                kinds = {tensor["name"]: tensor["dtype"] for tensor in after["tensors"]}
                for tensor in report["tensors"]:
                    self.assertEqual(kinds[tensor["name"]], tensor["to"])
                    vector = len(tensor["shape"]) == 1
                    table = {"q4_k": "Q6_K", "q4_0": "Q8_0"}.get(kind) if tensor["name"] == "token_embd.weight" else None
                    self.assertEqual(tensor["to"], "F32" if vector else table or kind.upper())
                    self.assertEqual("why" in tensor, tensor["to"] != kind.upper())
                    self.assertLess(tensor["relative_error"], 0.1)
                self.assertEqual(run("tokenize", "--special", "-m", self.out, text).stdout, ids)

    def test_text(self):
        lines = self.check_works(run("quantize", TINY, self.out, "--type=q4_k", "--pure")).splitlines()
        self.assertEqual(len(lines), 69)
        self.assertRegex(lines[0], r"^token_embd\.weight +\[671, 256\] +BF16 -> Q4_K +error 0\.0\d+, at most \S+ +\d+ bytes$")
        self.assertRegex(lines[1], r"^blk\.0\.attn_norm\.weight .*BF16 -> F32 .*\(vectors stay F32\)$")
        self.assertRegex(lines[-1], r"out\.gguf: 68 tensors, 4894464 parameters, 2\.8 MB of weights from 9\.8 MB")
        # What is in blocks already can be taken further, with a warning.
        result = run("quantize", self.out, self.out + "2", "--type", "q8_0")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r"^refusion: warning: 43 tensors were quantized before")
        self.assertEqual(sorted(os.listdir(self.folder)), ["out.gguf", "out.gguf2"])

    def test_wrong(self):
        self.check_fails(run("quantize"), 2, "found no arguments, wanted IN")
        self.check_fails(run("quantize", TINY), 2, "found only one argument")
        self.check_fails(run("quantize", TINY, self.out), 2, "--type: found nothing, wanted f32, f16")
        self.check_fails(run("quantize", TINY, self.out, "--type", "q5_k"), 2, '--type: found "q5_k", wanted f32')
        self.check_fails(run("quantize", TINY, self.out, "x"), 2, 'found a third argument "x", wanted only IN and OUT')
        self.check_fails(run("quantize", "/nowhere", self.out, "--type", "f16"), 1, "/nowhere: cannot open")
        self.check_fails(run("quantize", TINY, "/nowhere/x", "--type", "f16"), 1, "/nowhere/x: cannot create")
        self.check_fails(run("quantize", TINY, self.out, "--type", "f16", "--threads", "0"), 2, "--threads: found")
        self.assertEqual(os.listdir(self.folder), [])

    def test_full_disk(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        result = subprocess.run([PROGRAM, "quantize", TINY, self.out, "--type", "f16"], capture_output=True, text=True,
                                check=False, preexec_fn=limit, env=clean_environment())
        self.check_fails(result, 1, "out.gguf: ", "File too large")
        self.assertEqual(os.listdir(self.folder), [])

    def large_model(self):
        """Tiny with feed-forward layers of 400,000: 1.8 billion zeros in a sparse file."""
        model = os.path.join(self.folder, "model")
        os.mkdir(model)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(os.path.join(TINY, name), model)
        with open(os.path.join(TINY, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        config["intermediate_size"] = 400000
        with open(os.path.join(model, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        with open(os.path.join(TINY, "model.safetensors"), "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        place = 0
        for name, tensor in header.items():
            if name != "__metadata__":
                tensor["shape"] = [400000 if size == 768 else size for size in tensor["shape"]]
                count = 2
                for size in tensor["shape"]:
                    count *= size
                tensor["data_offsets"] = [place, place + count]
                place += count
        text = json.dumps(header).encode()
        with open(os.path.join(model, "model.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + place)
        return model

    def test_interrupt(self):
        model = self.large_model()
        with open(self.out, "w", encoding="utf-8") as file:
            file.write("older")
        with subprocess.Popen([PROGRAM, "quantize", model, self.out, "--type", "q4_0"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, env=clean_environment()) as process:
            deadline = time.monotonic() + 60
            while len(os.listdir(self.folder)) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, stderr)
        self.assertRegex(stderr, r"^refusion: .*out\.gguf: interrupted, nothing was written\n$")
        self.assertEqual(sorted(os.listdir(self.folder)), ["model", "out.gguf"])
        with open(self.out, encoding="utf-8") as file:
            self.assertEqual(file.read(), "older")

    def test_progress_on_a_terminal(self):
        model = self.large_model()
        ours, theirs = pty.openpty()
        with subprocess.Popen([PROGRAM, "quantize", model, self.out, "--type", "q8_0"], stdout=subprocess.DEVNULL,
                              stderr=theirs, env=clean_environment()) as process:
            os.close(theirs)
            shown = b""
            deadline = time.monotonic() + 60
            while shown.count(b"quantizing: ") < 3 and time.monotonic() < deadline:
                shown += os.read(ours, 4096)
            process.send_signal(signal.SIGINT)
            try:
                while rest := os.read(ours, 4096):
                    shown += rest
            except OSError:  # the other end is closed
                pass
        os.close(ours)
        self.assertEqual(process.returncode, 130)
        shares = [int(share) for share in re.findall(rb"quantizing: +(\d+) % of 1844\.6 million numbers", shown)]
        self.assertGreaterEqual(len(shares), 3, shown)
        self.assertEqual(shares, sorted(shares))
        # The line is taken away before anything else is said.
        self.assertIn(b"\r\033[Krefusion: ", shown)
        self.assertEqual(os.listdir(self.folder), ["model"])


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
