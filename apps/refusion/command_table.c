/* Every subcommand, as --help and the manual page describe it. */
#include "apps/refusion/options.h"

const struct command_info command_table[] = {
    {COMMAND_GENERATE, "generate", NULL, NULL, "answer one prompt",
     "Answers one prompt by plan-and-infill. Standard output is the answer and nothing else, written as far "
     "as it is "
     "certain to stay; everything else goes to stderr. Ctrl-C ends early with exit status 130."},
    {COMMAND_CHAT, "chat", NULL, NULL, "talk with the model, turn by turn",
     "A conversation. On a terminal with line editing and history; otherwise each line of standard input is "
     "a message. "
     "Ctrl-C ends an answer, Ctrl-D the conversation. A line that begins with / is a command: /help lists "
     "them."},
    {COMMAND_TOKENIZE, "tokenize", "TEXT", NULL, "text to token ids and back",
     "Prints the token ids of TEXT (or of standard input, byte for byte), separated by commas. Needs no "
     "GPU."},
    {COMMAND_INSPECT, "inspect", NULL, NULL, "what a model folder or GGUF file holds",
     "Prints a model's configuration, tensors, sizes and tokenizer, after checking them. Needs no "
     "GPU."},
    {COMMAND_QUANTIZE, "quantize", "IN", "OUT", "a model to one GGUF file, in another type",
     "Writes the model IN (a folder in the Hugging Face layout, or a GGUF file) to the GGUF file OUT, which "
     "llama.cpp "
     "and this program read, its matrices in --type; prints what each tensor became and the error that this "
     "made "
     "(root mean square, relative to the tensor's own, and the largest). Vectors stay F32. q4_k keeps "
     "embedding and "
     "head in Q6_K and q4_0 in Q8_0, because a token's whole row comes from there; --pure does not. A matrix "
     "whose "
     "rows are no multiple of the type's block (32, or 256 of q4_k and q6_k) becomes Q8_0 or F16. OUT "
     "appears when "
     "all of it is on disk. Needs no GPU."},
    {COMMAND_DEVICES, "devices", NULL, NULL, "Vulkan devices, their tiers, what they lack",
     "Lists every Vulkan device with the paths that it can run, best first, or the required features that it "
     "lacks. "
     "A path marked unverified has never run on such hardware: try `refusion selftest --device N` and tell "
     "us."},
    {COMMAND_SELFTEST, "selftest", NULL, NULL, "check every kernel on a device",
     "Runs each kernel on the device against a plain double precision C reference and prints its error "
     "beside what is "
     "tolerated. The thing to run on a GPU that nobody has tried. Exit status 1 when a kernel fails."},
    {COMMAND_BENCH, "bench", NULL, NULL, "measure speed beside what the device can do",
     "Measures what the device does at best (reading, multiplying), then forwards of several row counts and "
     "cache "
     "lengths, a prompt, sequential decoding and plan-and-infill, and prints each beside its floor: the "
     "larger of "
     "bytes / read ceiling and operations / multiply ceiling. Results are compared with the portable path "
     "before "
     "anything is timed. Exit status 1 when results are wrong, or when something was faster than its floor."},
    {COMMAND_PROFILE, "profile", "FILE", NULL, "what every shader of every round costs",
     "Answers a prompt several times and tells, for each dispatch: what it is in the model, how long it "
     "took, "
     "what it moved and computed, how far from the floor that is. Free-running: the commands as they always "
     "are, with timestamps between their own barriers. Serialised: a barrier before each dispatch, so that "
     "each has a time of its own. With --compare OLD, FILE is a profile to set beside OLD. With --static or "
     "--disassemble nothing runs: what the driver's compiler made of each shader."},
    {COMMAND_EVAL, "eval", "FILE...", NULL, "how often answers are right, and how fast they come",
     "Answers every task of the files (JSON lines, or a benchmark's own format with --format; without a FILE "
     "the held-out tasks of the tiny model) by plan-and-infill and left to right, checks each answer, and "
     "prints accuracy, tokens per forward, tokens/s, length and latency of both. With --out a run that was "
     "stopped goes on where it was. Under mpirun, torchrun and srun, or with --shard, each process answers "
     "its part, and the last one puts all together. docs/evaluation.md tells more."},
};
const size_t command_count = sizeof command_table / sizeof command_table[0];

const struct environment_variable environment_table[] = {
    {"RF_MODEL", "model folder or GGUF file where --model is not given"},
    {"RF_DEVICE", "number or part of the name of the Vulkan device to use"},
    {"RF_DISABLE", "tiers or features of the device not to use, comma separated"},
};
const size_t environment_count = sizeof environment_table / sizeof environment_table[0];

const char exit_statuses[] = "0 ok, 1 failure, 2 usage";
