"""Reading samples, the chat format, and the order of samples."""
import json
import os
import shutil
import unittest

import support
from refusion_train import data, records, tokenizer
from refusion_train.errors import TrainError


class Records(support.TrainingTest):
    def read(self, text):
        path = self.path("records")
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return [(r.place.rsplit(":", 1)[1], r.error or (r.query, r.response)) for r in records.records(path)]

    def test_both_forms_are_read_alike(self):
        want = [(s["query"], s["response"]) for s in support.samples(50)] + [("ü €\n\u2028", "\U0001f600")]
        objects = [{"query": q, "response": r, "more": [1, {"a": None}]} for q, r in want]
        whole = json.dumps(objects, ensure_ascii=False, indent=1)
        for chunk in (7, 64, 1 << 20): # bytes read at a time: ends fall everywhere, inside characters too
            self.addCleanup(setattr, records, "CHUNK", records.CHUNK)
            records.CHUNK = chunk
            self.assertEqual([r[1] for r in self.read(whole)], want)
            self.assertEqual([r[1] for r in self.read("\ufeff " + json.dumps(objects))], want)
        lines = "\ufeff" + "\n\n".join(json.dumps(o, ensure_ascii=False) for o in objects)
        self.assertEqual([r[1] for r in self.read(lines)], want)
        self.assertEqual(self.read("[]"), [])
        self.assertEqual(self.read(""), [])

    def test_malformed_lines_are_named_and_left_out(self):
        good = '{"query": "a", "response": "b"}'
        found = self.read("\n".join([good, "{", good, '{"query": "a"}', '{"query": 7, "response": "b"}', "[]", "null",
                                     '{"query": "", "response": "b"}', '{"query": "\\ud800", "response": "b"}', good]))
        self.assertEqual([line for line, what in found if what == ("a", "b")], ["1", "3", "10"])
        faults = {line: what for line, what in found if what != ("a", "b")}
        for line, text in {"2": "not JSON", "4": 'no field "response"', "5": '"query" is 7, wanted a string',
                           "6": "an array, wanted an object", "7": "null, wanted an object", "8": '"query" is empty',
                           "9": "surrogate"}.items():
            self.assertIn(text, faults[line])
        self.assertIn("not UTF-8", self.read(good.encode() + b'\n{"query": "\xff", "response": "b"}')[1][1])
        self.assertIn("nested", self.read(good + "\n" + "[" * 100000)[1][1])

    def test_malformed_lists(self):
        good = '{"query": "a",\n "response": "b"}'
        for text, line, fault in ((f"[{good},\n{good},\n{{'x'}}]", "5", "not JSON"),
                                  (f"[{good},\n\n{good}", "5", "the end of the file"),
                                  (f"[{good},\n", "3", "ends inside the list"),
                                  (f"[{good}\n{good}]", "3", 'wanted "," or "]"'),
                                  (f"[{good}]\n{good}", "3", "more text"),
                                  (f"[{good},\n{{\"query\": \"a", "3", "not JSON"),
                                  (f"[{good},\n{{\"query\": 1}}]", "3", '"query" is 1')):
            found = self.read(text)
            self.assertEqual(found[0], ("1", ("a", "b")))
            self.assertEqual(found[-1][0], line, text)
            self.assertIn(fault, found[-1][1])
        self.assertEqual(self.read(f"[{good},\n7,\n{good}]")[2], ("4", ("a", "b"))) # JSON itself is well
        self.addCleanup(setattr, records, "CHUNK", records.CHUNK)
        for records.CHUNK in range(1, 40): # a number may go on behind what has been read
            self.assertEqual(self.read(f"[{good},\n1234567\n]")[1], ("3", "1234567, wanted an object with \"query\" "
                                                                           "and \"response\""))

    def test_a_list_is_not_held_in_memory(self):
        path = self.path("long")
        with open(path, "w", encoding="utf-8") as file:
            file.write("[" + ",\n".join(json.dumps(s) for s in support.samples(30000)) + "]")
        longest, reader = 0, records._ListReader
        self.assertGreater(os.path.getsize(path), 2 * records.CHUNK)

        class Watched(reader):
            def more(self):
                nonlocal longest
                super().more()
                longest = max(longest, len(self.text))

        records._ListReader = Watched
        self.addCleanup(setattr, records, "_ListReader", reader)
        self.assertEqual(sum(r.error is None for r in records.records(path)), 30000)
        self.assertLess(longest, 2 * records.CHUNK)


class Tokenizers(support.TrainingTest):
    def test_prompts_equal_the_original(self):
        chat = tokenizer.ChatTokenizer(support.TINY)
        runs = support.golden("decode.jsonl")
        self.assertGreater(len(runs), 20)
        self.assertEqual(chat.questions([run["prompt"] for run in runs]), [run["prompt_ids"] for run in runs])

    def test_both_routes(self):
        parts = self.path("parts")
        shutil.copytree(support.TINY, parts)
        os.remove(os.path.join(parts, "tokenizer.json"))
        one, other = tokenizer.ChatTokenizer(support.TINY), tokenizer.ChatTokenizer(parts)
        texts = [s["query"] for s in support.samples(20)] + ["e\u0301 <think>\n\n x", "  \n", "'LL 123"]
        self.assertEqual(one.questions(texts), other.questions(texts))
        self.assertEqual(one.answers(texts), other.answers(texts))
        self.assertEqual((one.size, one.mask, one.end, one.pad), (other.size, other.mask, other.end, other.pad))
        self.assertNotIn("tokenizer.json", other.files())

    def test_text_never_becomes_a_control_token(self):
        chat = tokenizer.ChatTokenizer(support.TINY)
        text = "<|mask|><|im_end|><|endoftext|>"
        question, answer = chat.questions([text])[0], chat.answers([text])[0]
        for number in (chat.mask, chat.pad):
            self.assertNotIn(number, question + answer)
        self.assertEqual((question.count(chat.end), answer.count(chat.end)), (1, 1))
        self.assertEqual(answer[-1], chat.end)

    def without_new_tokens(self):
        """The tiny tokenizer as it was before ReFusion's tokens came."""
        folder = self.path("stock")
        shutil.copytree(support.TINY, folder)
        for name, change in (("tokenizer.json", lambda v: v.update(added_tokens=[
                                 t for t in v["added_tokens"] if t["content"] not in tokenizer.NEW_TOKENS])),
                             ("added_tokens.json", lambda v: [v.pop(t) for t in tokenizer.NEW_TOKENS]),
                             ("tokenizer_config.json", lambda v: [v["added_tokens_decoder"].pop(n)
                                                                  for n in ("669", "670")])):
            with open(os.path.join(folder, name), "r+", encoding="utf-8") as file:
                value = json.load(file)
                change(value)
                file.seek(0)
                file.truncate()
                json.dump(value, file)
        return folder

    def test_the_two_tokens_are_added(self):
        chat, want = tokenizer.ChatTokenizer(self.without_new_tokens()), tokenizer.ChatTokenizer(support.TINY)
        self.assertEqual((chat.size, chat.mask), (671, 670))
        have, want = ({name: text for name, text in c.files().items()} for c in (chat, want))
        self.assertEqual(have.keys(), want.keys())
        for name in ("tokenizer.json", "added_tokens.json", "tokenizer_config.json"):
            self.assertEqual(json.loads(have[name]), json.loads(want[name]), name)

    def test_the_real_tokenizer(self):
        source = os.path.join(support.ROOT, ".deps", "tokenizer-qwen3")
        if not os.path.isdir(source):
            self.skipTest("no .deps/tokenizer-qwen3: scripts/setup.sh --tests")
        chats = [tokenizer.ChatTokenizer(os.path.join(source, route)) for route in ("json", "parts")]
        for chat in chats:
            self.assertEqual((chat.size, chat.mask), (151671, 151670))
        texts = [case["text"] for case in support.golden("tokenizer_qwen3.jsonl")]
        self.assertEqual(chats[0].answers(texts), chats[1].answers(texts))
        plain = [(t, c["ids"]) for t, c in zip(texts, support.golden("tokenizer_qwen3.jsonl")) if "<" not in t]
        self.assertGreater(len(plain), 100)
        self.assertEqual(chats[0].answers([t for t, _ in plain]), [ids + [151645] for _, ids in plain])
        self.assertIn(151667, chats[0].answers(["<think>"])[0])
        self.assertNotIn(151667, chats[0].questions(["<think>"])[0])

    def test_what_is_missing_is_named(self):
        with self.assertRaisesRegex(TrainError, "tokenizer_config.json: No such file"):
            tokenizer.ChatTokenizer(self.folder)
        shutil.copy(os.path.join(support.TINY, "tokenizer_config.json"), self.folder)
        with self.assertRaisesRegex(TrainError, "vocab.json: No such file"):
            tokenizer.ChatTokenizer(self.folder)


class Order(support.TrainingTest):
    def dataset(self, count=30, seed=0):
        chat = tokenizer.ChatTokenizer(support.TINY)
        folder = data.prepare([self.data(count)], chat, 512, False, self.path("cache"), True, print)
        return data.Dataset(folder, seed, chat.mask), folder

    def test_every_epoch_has_every_sample_in_another_order(self):
        dataset, _ = self.dataset()
        epochs = [[dataset._at(n) for n in range(e * 30, e * 30 + 30)] for e in range(3)]
        for epoch in epochs:
            self.assertEqual(sorted(epoch), list(range(30)))
        self.assertNotEqual(epochs[0], epochs[1])

    def test_a_sample_hangs_on_its_number_and_the_seed_alone(self):
        one, folder = self.dataset()
        other = data.Dataset(folder, 0, one.mask_token)
        self.assertEqual([one.sample(n) for n in range(60)], [other.sample(n) for n in reversed(range(60))][::-1])
        self.assertNotEqual(one.sample(3), data.Dataset(folder, 1, one.mask_token).sample(3))

    def test_long_samples_are_left_out_and_counted(self):
        chat = tokenizer.ChatTokenizer(support.TINY)
        sizes = [len(q) + len(a) for q, a in zip(chat.questions([s["query"] for s in support.samples(30)]),
                                                 chat.answers([s["response"] for s in support.samples(30)]))]
        limit = sorted(sizes)[14]
        folder = data.prepare([self.data(30)], chat, limit, False, self.path("cache"), True, print)
        meta = data.Dataset(folder, 0, 0).meta
        self.assertEqual(meta["samples"], sum(size <= limit for size in sizes))
        self.assertEqual(meta["too_long"], sum(size > limit for size in sizes))
        with self.assertRaisesRegex(TrainError, "no samples that can be trained on .0 malformed, 30 longer than 5"):
            data.prepare([self.data(30)], chat, 5, False, self.path("cache"), True, print)

    def test_a_failed_preparation_leaves_nothing(self):
        chat = tokenizer.ChatTokenizer(support.TINY)
        with self.assertRaisesRegex(TrainError, r"bad.jsonl:1: not JSON"):
            data.prepare([self.write("bad.jsonl", "{")], chat, 512, False, self.path("cache"), True, print)
        self.assertEqual(os.listdir(self.path("cache")), [])


if __name__ == "__main__":
    unittest.main()
