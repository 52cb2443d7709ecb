/* refusion: one program, one file per subcommand. */
#include "apps/refusion/program.h"

#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

const struct command_info command_table[] = {
    {COMMAND_GENERATE, "generate", NULL, NULL, "answer one prompt",
     "Answers one prompt by plan-and-infill. Standard output is the answer and nothing else, written as far "
     "as it is "
     "certain to stay; everything else goes to stderr. Ctrl-C ends early with exit status 130.",
     command_generate},
    {COMMAND_CHAT, "chat", NULL, NULL, "talk with the model, turn by turn",
     "A conversation. On a terminal with line editing and history; otherwise each line of standard input is "
     "a message. "
     "Ctrl-C ends an answer, Ctrl-D the conversation. A line that begins with / is a command: /help lists "
     "them.",
     command_chat},
    {COMMAND_TOKENIZE, "tokenize", "TEXT", NULL, "text to token ids and back",
     "Prints the token ids of TEXT (or of standard input, byte for byte), separated by commas. Needs no GPU.",
     command_tokenize},
    {COMMAND_INSPECT, "inspect", NULL, NULL, "what a model folder or GGUF file holds",
     "Prints a model's configuration, tensors, sizes and tokenizer, after checking them. Needs no "
     "GPU.",
     command_inspect},
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
     "all of it is on disk. Needs no GPU.",
     command_quantize},
    {COMMAND_DEVICES, "devices", NULL, NULL, "Vulkan devices, their tiers, what they lack",
     "Lists every Vulkan device with the paths that it can run, best first, or the required features that it "
     "lacks. "
     "A path marked unverified has never run on such hardware: try `refusion selftest --device N` and tell "
     "us.",
     command_devices},
    {COMMAND_SELFTEST, "selftest", NULL, NULL, "check every kernel on a device",
     "Runs each kernel on the device against a plain double precision C reference and prints its error "
     "beside what is "
     "tolerated. The thing to run on a GPU that nobody has tried. Exit status 1 when a kernel fails.",
     command_selftest},
    {COMMAND_BENCH, "bench", NULL, NULL, "measure speed beside what the device can do",
     "Measures what the device does at best (reading, multiplying), then forwards of several row counts and "
     "cache "
     "lengths, a prompt, sequential decoding and plan-and-infill, and prints each beside its floor: the "
     "larger of "
     "bytes / read ceiling and operations / multiply ceiling. Results are compared with the portable path "
     "before "
     "anything is timed. Exit status 1 when results are wrong, or when something was faster than its floor.",
     command_bench},
    {COMMAND_PROFILE, "profile", "FILE", NULL, "what every shader of every round costs",
     "Answers a prompt several times and tells, for each dispatch: what it is in the model, how long it "
     "took, "
     "what it moved and computed, how far from the floor that is. Free-running: the commands as they always "
     "are, with timestamps between their own barriers. Serialised: a barrier before each dispatch, so that "
     "each has a time of its own. With --compare OLD, FILE is a profile to set beside OLD. With --static or "
     "--disassemble nothing runs: what the driver's compiler made of each shader.",
     command_profile},
};
const size_t command_count = sizeof command_table / sizeof command_table[0];

const struct command_info *command_find(const char *name)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(command_table[i].name, name) == 0)
            return &command_table[i];
    }
    return NULL;
}

void complain(const char *format, ...)
{
    char line[1280];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    fprintf(stderr, "refusion: %s\n", line);
}

int exit_status(enum rf_status status)
{
    switch (status) {
    case RF_OK:
        return STATUS_OK;
    case RF_ERROR_ARGUMENT:
        return STATUS_USAGE;
    case RF_ERROR_CANCELLED:
        return STATUS_INTERRUPTED;
    default:
        return STATUS_FAILURE;
    }
}

int complain_error(const struct rf_error *err)
{
    complain("%s", err->message);
    return exit_status(err->status);
}

enum rf_status refuse_pairs(const struct option_pair *pairs, size_t count, struct rf_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (pairs[i].both)
            return rf_fail(err, RF_ERROR_ARGUMENT, "--%s: found it beside --%s, wanted one of them",
                           pairs[i].one, pairs[i].other);
    return RF_OK;
}

static void print_program_help(FILE *file)
{
    fprintf(file,
            "Usage: refusion COMMAND [options]\n\n"
            "Runs ReFusion language models (plan-and-infill decoding) on any Vulkan device.\n\nCommands:\n");
    for (size_t i = 0; i < command_count; i++) {
        fprintf(file, "  %-10s  %s\n", command_table[i].name, command_table[i].summary);
    }
    fprintf(
        file,
        "\n`refusion COMMAND --help` lists a command's options. `refusion --version` prints the version.\n"
        "\nEnvironment:\n"
        "  RF_DEVICE   number or part of the name of the Vulkan device to use\n"
        "  RF_DISABLE  tiers or features of the device not to use, comma separated\n"
        "\nExit status: 0 ok, 1 failure, 2 usage.\n");
}

/* What was printed must have arrived: a full disk is a failure, not a short answer. */
static int close_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    complain("standard output: not all could be written (is the disk full?)");
    return status == STATUS_OK ? STATUS_FAILURE : status;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_program_help(stderr);
        return STATUS_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_program_help(stdout);
        return STATUS_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("refusion %s\n", rf_version());
        return STATUS_OK;
    }
    const struct command_info *command = command_find(name);
    if (!command) {
        complain("found the unknown command \"%s\", wanted one that `refusion --help` lists", name);
        return STATUS_USAGE;
    }
    struct settings settings = {0};
    switch (options_parse(&settings, command, ~0u, argc - 2, argv + 2)) {
    case PARSE_HELP:
        options_print_help(stdout, command);
        return STATUS_OK;
    case PARSE_WRONG:
        return STATUS_USAGE;
    case PARSE_OK:
        break;
    }
    return command->run(&settings);
}

int main(int argc, char **argv)
{
    /* Only the character set: numbers are written with a point everywhere. */
    setlocale(LC_CTYPE, "");
    /* A reader that went away ends the program quietly, also where our parent ignores the signal. */
    signal(SIGPIPE, SIG_DFL);
    return close_output(run(argc, argv));
}
