#!/usr/bin/env python3
"""profile --static, --amd, --disassemble: every pipeline of a model and what Mesa's RADV makes of it for AMD chips that
are not there. RF_GLSLANG: the shader compiler. On drivers that tell nothing of what they compile (RF_DRIVER): what is
left then."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

from support import DRIVER, QUESTION, ROOT, ProgramTest, main, run as run_on_driver

GLSLANG = os.environ.get("RF_GLSLANG") or shutil.which("glslang") or os.path.join(ROOT, ".deps/prefix/bin/glslang")
SYSTEM_RADV = glob.glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
NEW_RADV = os.path.join(ROOT, ".deps", "radv", "icd.json")
BUCKETS = [1 << b for b in range(10)]
# The network, written down once more.
LAYER = ["input norm", "qkv", "head norm, RoPE, KV write", "attention", "attention reduce", "o", "post-attention norm",
         "gate/up", "down"]
FORWARD = ["rows gather", "embed", *LAYER, "final norm", "lm_head", "logits reduce"]
BESIDE = ["slot_select", "slot_fill", "slot_accept", "kv_commit"]


def environment(chip):
    """What finds the driver that knows a chip; None: it is not here. A user's own choice of drivers is put aside."""
    plain = {"VK_DRIVER_FILES": "", "VK_ICD_FILENAMES": ""}
    if chip != "navi31":
        return plain if SYSTEM_RADV else None
    if not os.path.exists(NEW_RADV):
        return None
    libraries = glob.glob(os.path.join(ROOT, ".deps", "radv", "usr", "lib", "*-linux-gnu*"))
    return {**plain, "RF_RADV_ICD": NEW_RADV, "LD_LIBRARY_PATH": libraries[0]}


def run(*arguments, driver=None, **keywords):
    return run_on_driver("profile", *arguments, driver=driver, **keywords)


def statistics(pipeline):
    return {s["name"]: s["value"] for s in pipeline["statistics"]}


def specs(pipeline):
    return {s["name"]: s["value"] for s in pipeline["specs"]}


class OnChip(ProgramTest):
    def run(self, result=None):
        if environment("navi21") is None:
            self.skipTest("RADV is not installed")
        super().run(result)

    def listing(self, chip, *arguments, env=None):
        result = run("--static", "--json", "--amd", chip, *arguments, env={**environment(chip), **(env or {})})
        return json.loads(self.check_works(result))


class Static(OnChip):
    def check_listing(self, chip, listing):
        """Each dispatch of a forward, at each number of rows, has a pipeline, and statistics that a compiler made."""
        self.assertEqual((listing["format"], listing["version"]), ("refusion-profile", 1))
        self.assertIn(chip.upper(), listing["device"]["name"])
        self.assertEqual(listing["spilling"], 0)
        pipelines = listing["pipelines"]
        for op in FORWARD:
            for bucket in BUCKETS:
                found = [p for p in pipelines for u in p["uses"] if u["op"] == op and bucket in u["row_buckets"]]
                self.assertTrue(found, (op, bucket))
                if "norm" not in op:
                    self.assertEqual(len(found), 1, (op, bucket))
        for op in BESIDE:
            self.assertEqual([p["uses"] for p in pipelines if op in p["ops"]], [[{"op": op, "row_buckets": []}]])
        self.assertEqual({op for p in pipelines for op in p["ops"]}, set(FORWARD + BESIDE))
        names = {(p["shader"], tuple(sorted(specs(p).items()))) for p in pipelines}
        self.assertEqual(len(names), len(pipelines))
        for pipeline in pipelines:
            self.assertEqual(pipeline["ops"], [u["op"] for u in pipeline["uses"]])
            self.assertEqual(set(pipeline["row_buckets"]), {b for u in pipeline["uses"] for b in u["row_buckets"]})
            told = statistics(pipeline)
            self.assertTrue(0 < told["VGPRs"] <= 256 and told["SGPRs"] > 0, told)
            self.assertTrue(0 < told["Subgroups per SIMD"] <= 40 and told["Instructions"] > 10, told)
            self.assertEqual((told["Spilled VGPRs"], told["Spilled SGPRs"], told["Scratch size"]), (0, 0, 0))
            self.assertGreaterEqual(told["LDS size"], pipeline["shared_bytes"])
            self.assertEqual(pipeline["subgroup_size"], 64)
            self.assertEqual(pipeline["local_size"][1:], [1, 1])
            self.assertFalse(pipeline["replaced"])
            if pipeline["shader"].startswith("matmul"):
                self.assertIn("EPILOGUE", specs(pipeline))
                self.assertEqual(pipeline["local_size"][0], specs(pipeline)["LOCAL"])

    def test_chips(self):
        for chip in ["navi21", "vega10", "navi31"]:
            with self.subTest(chip):
                if environment(chip) is None:
                    self.skipTest("no RADV that knows it")
                listing = self.listing(chip)
                self.check_listing(chip, listing)
                coopmat = {p["shader"] for p in listing["pipelines"] if "coopmat" in p["shader"]}
                self.assertEqual(bool(coopmat), chip == "navi31", coopmat)
                # The small model's products are split: partial sums, and norms that add them up.
                self.assertTrue([p for p in listing["pipelines"] if specs(p).get("EPILOGUE") == 5])
                self.assertTrue([p for p in listing["pipelines"] if specs(p).get("SPLITS", 1) > 1])

    def test_what_a_real_run_dispatches_is_listed(self):
        """The fp16 path of a GPU without matrix units, run on the CPU."""
        answer = run_on_driver("generate", "-p", QUESTION, "-n", "64", "--json", "--dispatches", "--no-tune", "--quiet",
                               "--precision", "f16", "--disable", "wide", driver="lavapipe")
        visited = set(json.loads(self.check_works(answer))["dispatches"])
        self.assertGreater(len(visited), 8)
        listed = {p["shader"] for p in self.listing("navi21")["pipelines"]}
        self.assertLessEqual(visited, listed)

    def test_table(self):
        lines = self.check_works(run("--static", "--amd", "navi21", env=environment("navi21"))).splitlines()
        count = len(self.listing("navi21")["pipelines"])
        self.assertIn("NAVI21", lines[0])
        for title in ["shader", "op", "rows", "specialization", "subgroup", "local", "words", "shared", "VGPRs", "SGPRs",
                      "spilled", "scratch", "LDS", "occupancy", "instructions"]:
            self.assertIn(title, lines[2].split())
        self.assertEqual(len(lines), 3 + count + 2)
        self.assertEqual(lines[-1], f"{count} pipelines, 0 with spilled registers or scratch memory")
        self.assertEqual(len({len(line) for line in lines[2:3 + count]}), 1)
        row = next(line for line in lines if "EPILOGUE=3" in line and "ROWS=8 " in line)
        self.assertRegex(row, r"^matmul_few_bf16_act16 +lm_head +5-8 +EPILOGUE=3 LOCAL=64 ROWS=8 BY_COLUMN=0 LANE_COLUMNS=4 +64 +64 ")

    def test_shapes_without_weights(self):
        """16 GB of a synthetic model's weights are neither made nor read."""
        listing = self.listing("navi21", "--synthetic", "qwen3-8b,type=q4_k")
        self.assertEqual(listing["model"]["layers"], 36)
        self.assertEqual(listing["model"]["precision"], "int8")
        shaders = {p["shader"] for p in listing["pipelines"]}
        self.assertLessEqual({"matmul_int8_q4_k", "matmul_int8_few_q4_k", "attention_int8", "embed_q4_k"}, shaders)
        listing = self.listing("navi21", "--synthetic", "qwen3-8b,type=q4_k", "--precision", "f16")
        self.check_listing("navi21", listing)
        self.assertFalse([p for p in listing["pipelines"] if "int8" in p["shader"]])
        listing = self.listing("navi21", "--type", "q8_0", "--precision", "f32")
        self.assertEqual(listing["model"]["precision"], "portable")
        self.assertIn("matmul_few_q8_0", {p["shader"] for p in listing["pipelines"]})

    def test_variants(self):
        usual = self.listing("navi21")["pipelines"]
        fixed = self.listing("navi21", "--deterministic")["pipelines"]
        self.assertLess(len(fixed), len(usual))
        self.assertFalse([p for p in fixed if p["shader"].startswith("matmul_few")])
        drawn = self.listing("navi21", "--decode", "ar", "--top-k", "5", "--temperature", "1")["pipelines"]
        logits = [p for p in drawn if specs(p).get("EPILOGUE") == 4]
        self.assertTrue(logits)
        self.assertEqual(len(drawn), len(usual) + len(logits))

    def test_planted_spill(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([GLSLANG, "--quiet", "-V", "--target-env", "vulkan1.3", "-o",
                            os.path.join(folder, "slot_fill.spv"), os.path.join(ROOT, "tests", "cli", "spill.comp")],
                           check=True)
            listing = self.listing("navi21", "--shader-dir", folder)
            table = self.check_works(run("--static", "--amd", "navi21", "--shader-dir", folder,
                                         env=environment("navi21")))
        self.assertEqual(listing["spilling"], 1)
        spilling = [p for p in listing["pipelines"] if statistics(p)["Scratch size"] > 0]
        self.assertEqual([p["shader"] for p in spilling], ["slot_fill"])
        self.assertGreaterEqual(statistics(spilling[0])["Scratch size"], 4096)
        self.assertEqual([p["shader"] for p in listing["pipelines"] if p["replaced"]], ["slot_fill"])
        self.assertTrue(table.endswith(" pipelines, 1 with spilled registers or scratch memory\n"))
        self.assertIn("slot_fill (replaced)", table)

    def test_disassembly(self):
        listed = [p for p in self.listing("navi21")["pipelines"] if p["shader"] == "matmul_bf16_act16"]
        text = self.check_works(run("--disassemble", "matmul_bf16_act16", "--amd", "navi21", env=environment("navi21")))
        self.assertEqual(len(re.findall(r"^==== matmul_bf16_act16 ", text, re.M)), len(listed))
        self.assertEqual(len(re.findall(r"^---- Assembly: ", text, re.M)), len(listed))
        self.assertEqual(len(re.findall(r"\bs_endpgm +; bf810000$", text, re.M)), len(listed))
        for pipeline in listed:
            words = " ".join(f"{name}={value}" for name, value in specs(pipeline).items())
            self.assertIn(f"==== matmul_bf16_act16 {words} (", text)
            self.assertIn(f"Instructions: {statistics(pipeline)['Instructions']}\n", text)
        part = self.check_works(run("--disassemble", "gather", "--amd", "vega10", env=environment("vega10")))
        self.assertTrue(part.startswith("==== rows_gather (rows gather; rows 1-512)\n"), part[:80])
        self.assertIn("v_", part)

    def test_wrong_kernels(self):
        for name, *parts in [("atention", "such as attention_act16, attention_reduce_act16"),
                             ("matmul", "which 2 shaders have in their names (matmul_few_bf16_act16, matmul_bf16_act16)"),
                             ("", "shaders have in their names")]:
            with self.subTest(name):
                self.check_fails(run("--disassemble", name, "--amd", "navi21", env=environment("navi21")), 2,
                                 f'--disassemble: found "{name}"', *parts)

    def test_wrong_chips(self):
        for chip in ["foo", "navi99"]:
            self.check_fails(run("--static", "--amd", chip, env=environment("navi21")), 2, f'--amd: found "{chip}"',
                             "wanted a chip that this driver (radv Mesa ", "vega10", "navi21")
        for chip in ["", "a b", "x" * 33, "navi21;"]:
            self.check_fails(run("--static", "--amd", chip, env=environment("navi21")), 2, "--amd: found",
                             "wanted a chip such as navi21")

    def test_wrong_drivers(self):
        plain = environment("navi21")
        self.check_fails(run("--static", "--amd", "navi21", env={**plain, "RF_RADV_ICD": "/nowhere/icd.json"}), 1,
                         'RF_RADV_ICD: found no file "/nowhere/icd.json"')
        lavapipe = glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json")
        if lavapipe:
            for name in ["RF_RADV_ICD", "VK_DRIVER_FILES", "VK_ICD_FILENAMES"]:
                self.check_fails(run("--static", "--amd", "navi21", env={**plain, name: lavapipe[0]}), 1,
                                 f"--amd: the driver file {lavapipe[0]} offers no RADV device", "Mesa 22 or newer")
        # A device named in the environment is not in the way.
        self.check_works(run("--static", "--amd", "navi21", env={**plain, "RF_DEVICE": "llvmpipe"}))

    def test_a_device_without_hardware_runs_nothing(self):
        result = run_on_driver("generate", "-p", "x", driver="radv-navi21")
        self.check_fails(result, 1, "vkCreateSemaphore")


class Options(ProgramTest):
    def test_alone(self):
        for other in [["--csv"], ["--timeline", "x"], ["--runs", "2"], ["--prompt", "x"], ["--tokens", "1"], ["--raw"],
                      ["--html", "x"], ["--labels"], ["--capture-round", "1"], ["--no-ceilings"], ["--disassemble", "x"], ["--prompt-tokens", "4"], ["--compare", "x"]]:
            with self.subTest(other[0]):
                self.check_fails(run("--static", *other), 2, f"--static: found it beside {other[0]}, wanted one of them")
        self.check_fails(run("--static", "profile.json"), 2, '--static: found the argument "profile.json"')
        self.check_fails(run("--disassemble", "x", "--json"), 2, "--disassemble: found it beside --json")
        self.check_fails(run("--amd", "navi21"), 2, "--amd: found it without --static or --disassemble")
        self.check_fails(run("--static", "--amd", "navi21", "--device", "0"), 2, "--amd: found it beside --device")
        self.check_fails(run("--static", "--synthetic", "qwen3-8b", "--model", "x"), 2, "--synthetic: found it beside")
        self.check_fails(run("--disassemble"), 2, "--disassemble: found no value, wanted KERNEL")


class WithoutTheExtension(ProgramTest):
    def run(self, result=None):
        if not DRIVER:
            self.skipTest("no driver")
        super().run(result)

    def test_what_the_shaders_say(self):
        result = run("--static", "--json", "--no-tune", driver=DRIVER)
        listing = json.loads(self.check_works(result))
        self.assertRegex(result.stderr, r"^refusion: warning: device \d+ \(.*\) does not tell what its compiler makes .*\n$")
        self.assertIsNone(listing["spilling"])
        for op in FORWARD:
            rows = sorted({b for p in listing["pipelines"] if op in p["ops"] for b in p["row_buckets"]})
            self.assertEqual(rows, BUCKETS, op)
        for pipeline in listing["pipelines"]:
            self.assertEqual(pipeline["statistics"], [])
            self.assertGreater(pipeline["spirv_words"], 50)
            self.assertGreater(pipeline["local_size"][0], 0)
        gather = next(p for p in listing["pipelines"] if p["shader"] == "rows_gather")
        self.assertEqual((gather["local_size"], gather["shared_bytes"]), ([64, 1, 1], 260))
        table = self.check_works(run("--static", "--no-tune", driver=DRIVER))
        self.assertTrue(table.endswith(f"\n{len(listing['pipelines'])} pipelines\n"), table[-100:])
        self.assertNotIn("VGPRs", table)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(result.stdout)
            file.flush()
            self.check_fails(run(file.name, "--compare", file.name), 1, "--compare: ", '"shaders"')

    def test_disassembly(self):
        self.check_fails(run("--disassemble", "rows_gather", driver=DRIVER), 1, "does not show what its compiler makes",
                         "VK_KHR_pipeline_executable_properties")


if __name__ == "__main__":
    main()
