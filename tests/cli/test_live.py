"""--shader-dir: shaders that are replaced while one works on them, as GLSL and as SPIR-V."""
import json
import os
import shutil
import subprocess
import tempfile

from support import ANSWER, QUESTION, ROOT, ProgramTest, clean_environment, command_line, main, run

SHADERS = os.path.join(ROOT, "shaders")
PROFILE = ("profile", "--quiet", "--no-tune", "--no-ceilings", "--runs", "1", "-p", QUESTION)


def source(name):
    with open(os.path.join(SHADERS, name), encoding="utf-8") as file:
        return file.read()


class Live(ProgramTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def put(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb" if isinstance(content, bytes) else "w") as file:
            file.write(content)
        return path

    def profile(self, *arguments, **options):
        return run(*PROFILE, "--shader-dir", self.folder, *arguments, **options)

    def test_glsl_is_compiled_checked_and_set_beside_the_built_in_one(self):
        """The replaced norm sums its squares in halves; nothing else changes."""
        text = source("rmsnorm.comp")
        line = "            squares += dot(h, h);\n"
        self.assertIn(line, text)
        self.put("rmsnorm.comp", text.replace(line, 2 * line.replace("dot(h, h)", "0.5 * dot(h, h)")))
        found = json.loads(self.check_works(self.profile("--json")))
        rows = [row for row in found["replaced"] if row["op"] != "everything else"]
        self.assertEqual({row["shader"] for row in rows}, {"rmsnorm"})
        self.assertIn("input norm", {row["op"] for row in rows})
        for row in rows:
            self.assertGreater(row["builtin"], 0.0)
            self.assertGreater(row["replaced"], 0.0)
            self.assertLessEqual(row["replaced_range"][0], row["replaced"])
        self.assertEqual(found["replaced"][-1]["op"], "everything else")

    def test_what_was_checked_is_said(self):
        self.put("rmsnorm.comp", source("rmsnorm.comp"))
        arguments = [a for a in PROFILE if a != "--quiet"]
        result = run(*arguments, "--shader-dir", self.folder)
        self.check_works(result)
        self.assertRegex(result.stderr, r"(?m)^replaced rmsnorm: \d+ shapes checked, ")
        self.assertRegex(result.stdout, r"(?m)^input norm +rmsnorm +prefill .*%")
        self.assertRegex(result.stdout, r"(?m)^everything else, a run ")

    def test_two_replacements_of_one_shader(self):
        self.put("rmsnorm.comp", source("rmsnorm.comp"))
        path = self.put("rmsnorm.spv", b"x")
        self.check_fails(self.profile(), 2, path, "another file replaces rmsnorm already")

    def test_a_killed_program_leaves_nothing_behind(self):
        self.put("rmsnorm.comp", source("rmsnorm.comp"))
        with tempfile.TemporaryDirectory() as folder:
            before = set(os.listdir(tempfile.gettempdir()))
            arguments = [a for a in PROFILE if a != "--quiet"]
            with subprocess.Popen(command_line([*arguments, "--shader-dir", self.folder]), stderr=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, env=clean_environment({"TMPDIR": folder})) as process:
                said = process.stderr.readline() # it is checked, so it was compiled
                process.kill()
            self.assertIn(b"replaced rmsnorm", said)
            self.assertEqual(os.listdir(folder), [])
            left = set(os.listdir(tempfile.gettempdir())) - before
            self.assertFalse([name for name in left if "refusion" in name])

    def test_every_command_takes_glsl(self):
        self.put("rmsnorm.comp", source("rmsnorm.comp"))
        result = run("generate", "--quiet", "--no-tune", "-p", QUESTION, "--shader-dir", self.folder)
        self.assertEqual(self.check_works(result).strip(), ANSWER)

    def test_a_wrong_shader_is_not_profiled(self):
        text = source("rmsnorm.comp")
        self.assertIn("squares / float(push.hidden)", text)
        self.put("rmsnorm.comp", text.replace("squares / float(push.hidden)", "squares + float(push.hidden)"))
        self.check_fails(self.profile(), 1, "--shader-dir: rmsnorm is not what the built-in shader is: ", "tolerated")

    def test_a_syntax_error_names_file_and_line(self):
        self.put("rmsnorm.comp", source("rmsnorm.comp") + "nonsense here\n")
        self.check_fails(self.profile(), 1, "rmsnorm.comp", ", as rmsnorm: ERROR: ", "syntax error")

    def test_no_compiler(self):
        self.put("rmsnorm.comp", source("rmsnorm.comp"))
        self.check_fails(self.profile(env={"RF_GLSLANG": "/nowhere/glslang"}), 1, "/nowhere/glslang", "RF_GLSLANG")

    def test_names_that_replace_nothing(self):
        for name, said in (("rmsnrom.spv", "wanted one such as rms"), ("rmsnrom.comp", "wanted one such as rms"),
                           ("notes.txt", "wanted NAME.spv, SOURCE.comp")):
            with self.subTest(name=name):
                path = self.put(name, "x")
                self.check_fails(self.profile(), 2, path, said)
                os.remove(path)
        self.check_fails(self.profile(), 2, "found no shader in")

    def test_damaged_spirv(self):
        built = os.environ["RF_SHADER_DIR"]
        with open(os.path.join(built, "rmsnorm.spv"), "rb") as file:
            good = file.read()
        path = self.put("rmsnorm.spv", b"abc")
        self.check_fails(self.profile(), 1, path, "wanted SPIR-V words")
        self.put("rmsnorm.spv", b"\0" * 64)
        self.check_fails(self.profile(), 1, path)
        self.put("rmsnorm.spv", good[:4])
        self.check_fails(self.profile(), 1, path, "1 words", "wanted at least 5")
        self.put("rmsnorm.spv", good[: len(good) // 8 * 4])
        self.check_fails(self.profile(), 1, path)
        shutil.copy(os.path.join(built, "embed_bf16.spv"), path)
        self.check_fails(self.profile(), 1, path, "bytes of push constants, the built-in shader has ")


if __name__ == "__main__":
    main()
