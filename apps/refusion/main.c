/* refusion: one program, one file per subcommand. */
#include "apps/refusion/program.h"

#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

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
        "\nEnvironment:\n");
    for (size_t i = 0; i < environment_count; i++) {
        fprintf(file, "  %-10s  %s\n", environment_table[i].name, environment_table[i].help);
    }
    fprintf(file, "\nExit status: %s.\n", exit_statuses);
}

/* What was printed must have arrived: a full disk is a failure, not a short answer. */
static int close_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    complain("standard output: not all could be written (is the disk full?)");
    return status == STATUS_OK ? STATUS_FAILURE : status;
}

static int run_command(enum command command, const struct settings *settings)
{
    switch (command) {
    case COMMAND_GENERATE:
        return command_generate(settings);
    case COMMAND_CHAT:
        return command_chat(settings);
    case COMMAND_TOKENIZE:
        return command_tokenize(settings);
    case COMMAND_INSPECT:
        return command_inspect(settings);
    case COMMAND_QUANTIZE:
        return command_quantize(settings);
    case COMMAND_DEVICES:
        return command_devices(settings);
    case COMMAND_SELFTEST:
        return command_selftest(settings);
    case COMMAND_BENCH:
        return command_bench(settings);
    case COMMAND_PROFILE:
        return command_profile(settings);
    case COMMAND_EVAL:
        return command_eval(settings);
    }
    return STATUS_USAGE;
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
    return run_command(command->command, &settings);
}

int main(int argc, char **argv)
{
    /* Only the character set: numbers are written with a point everywhere. */
    setlocale(LC_CTYPE, "");
    /* A reader that went away ends the program quietly, also where our parent ignores the signal. */
    signal(SIGPIPE, SIG_DFL);
    return close_output(run(argc, argv));
}
