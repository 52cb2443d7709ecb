#!/usr/bin/env python3
"""The examples in the headers' comments: each public function has one that calls it, and all compile and link."""
import os
import re

from support import CC, HEADERS, VULKAN_INCLUDE, ConsumerTest, libdir, main

# What an example names and does not declare.
GIVEN = {"context": "rf_context *context", "model": "rf_model *model", "session": "rf_session *session",
         "tokenizer": "rf_tokenizer *tokenizer", "generation": "rf_generation *generation",
         "err": "struct rf_error err", "on_event": "rf_event_fn on_event", "visit": "rf_dispatch_fn visit",
         "on_record": "rf_profile_fn on_record", "instance": "VkInstance instance", "device": "VkDevice device",
         "physical_device": "VkPhysicalDevice physical_device", "device_info": "const VkDeviceCreateInfo *device_info",
         "get_instance_proc_addr": "PFN_vkGetInstanceProcAddr get_instance_proc_addr",
         "lock_queue": "rf_queue_fn lock_queue", "unlock_queue": "rf_queue_fn unlock_queue"}
# A member that is named is not meant.
MEMBER = re.compile(r"(?:\.|->)\w+")
COMMENT = re.compile(r"/\*.*?\*/", re.S)
FUNCTION = re.compile(r"^RF_API [^;]*?\b(rf_\w+)\(", re.M)


def example(comment):
    """What is indented by four behind an empty line, without the indentation."""
    return "\n".join(line[7:] for block in re.split(r"\n \*\n", comment) if block.startswith(" *     ")
                     for line in block.split("\n") if line.startswith(" *     "))


def documented(text):
    """[(names of functions, example)] of a header: functions stand directly below their comment."""
    found = []
    for comment in COMMENT.finditer(text):
        if not re.match(r"(^|\n)$", text[max(0, comment.start() - 1):comment.start()]):
            continue
        rest = text[comment.end():]
        paragraph = rest[:re.search(r"\n\n|\n/\*|\Z", rest).start()]
        found.append((FUNCTION.findall(paragraph), example(comment.group())))
    return found


class Examples(ConsumerTest):
    def setUp(self):
        self.texts = [open(header, encoding="utf-8").read() for header in HEADERS]
        self.pairs = [pair for text in self.texts for pair in documented(text)]

    def test_every_function_has_one(self):
        functions = [name for text in self.texts for name in FUNCTION.findall(COMMENT.sub("", text))]
        self.assertGreater(len(functions), 40)
        self.assertEqual(sorted(functions), sorted(name for names, _ in self.pairs for name in names))
        missing = [name for names, code in self.pairs for name in names if not re.search(rf"\b{name}\(", code)]
        self.assertEqual(missing, [])

    def build(self, codes):
        folder = self.folder()
        source, program = os.path.join(folder, "examples.c"), os.path.join(folder, "examples")
        with open(source, "w", encoding="utf-8") as file:
            for header in ["stdio.h", "stdlib.h", "string.h", *map(os.path.basename, HEADERS)]:
                file.write(f"#include <{header}>\n")
            for number, code in enumerate(codes):
                given = [declaration for name, declaration in GIVEN.items() if re.search(rf"\b{name}\b", MEMBER.sub("", code))]
                file.write(f"enum rf_status example_{number}({', '.join(given) or 'void'});\n"
                           f"enum rf_status example_{number}({', '.join(given) or 'void'})\n{{\n{{\n{code}\n}}\n"
                           "return RF_OK;\n}\n")
            file.write("int main(void)\n{\n    return 0;\n}\n")
        return self.run_command([CC, "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-I",
                                 os.path.dirname(HEADERS[0]), "-isystem", VULKAN_INCLUDE, "-L", libdir(), "-lrefusion", "-o", program], status=None)

    def test_they_compile(self):
        codes = [code for _, code in self.pairs if code]
        self.assertGreater(len(codes), 35)
        result = self.build(codes)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_wrong_one_does_not(self):
        self.assertNotEqual(self.build(["return rf_session_begin(session, NULL, &err);"]).returncode, 0)
        self.assertNotEqual(self.build(["return rf_session_wait(session);"]).returncode, 0)


if __name__ == "__main__":
    main()
