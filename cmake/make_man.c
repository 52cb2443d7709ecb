/* Build tool: writes the manual page refusion(1) from the program's own tables.
 *   make_man OUTPUT.1 VERSION */
#include "apps/refusion/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text as roff takes it: nothing in it is a request or an escape. */
static void put_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        switch (*text) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '`':
            fputs("\\(ga", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        case '^':
            fputs("\\(ha", out);
            break;
        case '~':
            fputs("\\(ti", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

static void put_font(FILE *out, char font, const char *text)
{
    fprintf(out, "\\f%c", font);
    put_text(out, text);
    fputs("\\fR", out);
}

static void put_command(FILE *out, const struct command_info *command)
{
    fputs(".TP\n", out);
    put_font(out, 'B', command->name);
    fputs(" [options]", out);
    if (command->second) {
        fputc(' ', out);
        put_font(out, 'I', command->argument);
        fputc(' ', out);
        put_font(out, 'I', command->second);
    } else if (command->argument) {
        fputs(" [", out);
        put_font(out, 'I', command->argument);
        fputc(']', out);
    }
    fputc('\n', out);
    put_text(out, command->details);
    fputc('\n', out);
}

static void put_option_head(FILE *out, const struct option *option)
{
    fputs(".TP\n", out);
    if (option->letter) {
        const char letter[] = {'-', option->letter, '\0'};
        put_font(out, 'B', letter);
        fputs(", ", out);
    }
    fputs("\\fB\\-\\-", out);
    put_text(out, option->name);
    fputs("\\fR", out);
    if (option->value) {
        const bool optional =
            option->type == OPTION_MODE || option->type == OPTION_NAMES || option->type == OPTION_PAIRS;
        fputs(option->type == OPTION_MODE ? "[=" : optional ? " [" : " ", out);
        put_font(out, 'I', option->value);
        fputs(optional ? "]" : "", out);
    }
    fputc('\n', out);
}

static void put_option(FILE *out, const struct option *option)
{
    put_option_head(out, option);
    put_text(out, option->help);
    if (option->fallback) {
        fputs(" (default: ", out);
        put_text(out, option->fallback);
        fputc(')', out);
    }
    const char *separator = ". For ";
    for (size_t i = 0; i < command_count; i++) {
        if (!(option->commands & command_table[i].command))
            continue;
        fputs(separator, out);
        put_font(out, 'B', command_table[i].name);
        separator = ", ";
    }
    fputs(".\n", out);
}

static void put_options(FILE *out)
{
    fputs(".SH OPTIONS\n"
          "Values stand in the next argument or behind an equals sign. The last one wins when an option is "
          "given "
          "twice. "
          "\\fBrefusion\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR lists the options of one command.\n",
          out);
    for (int group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, ".SS %s\n", option_group_titles[group]);
        for (size_t i = 0; i < option_count; i++)
            if ((int)option_table[i].group == group)
                put_option(out, &option_table[i]);
    }
}

static void put_page(FILE *out, const char *version)
{
    fprintf(out, ".\\\" Made by make_man.c from the program's tables of commands and options.\n"
                 ".TH REFUSION 1 \"\" \"refusion ");
    put_text(out, version);
    fputs(
        "\" \"User Commands\"\n"
        ".SH NAME\n"
        "refusion \\- run ReFusion language models on any Vulkan device\n"
        ".SH SYNOPSIS\n"
        "\\fBrefusion\\fR \\fICOMMAND\\fR [options]\n"
        ".br\n"
        "\\fBrefusion\\fR \\fB\\-\\-help\\fR | \\fB\\-\\-version\\fR\n"
        ".SH DESCRIPTION\n"
        "Runs ReFusion language models, which plan and infill slots of a response instead of writing it from "
        "left to right, and plain Qwen3 models. All computation is done by Vulkan compute shaders, on a GPU "
        "or "
        "on a CPU driver. Standard output is the result and nothing else.\n"
        ".SH COMMANDS\n",
        out);
    for (size_t i = 0; i < command_count; i++)
        put_command(out, &command_table[i]);
    put_options(out);
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < environment_count; i++) {
        fputs(".TP\n", out);
        put_font(out, 'B', environment_table[i].name);
        fputc('\n', out);
        put_text(out, environment_table[i].help);
        fputc('\n', out);
    }
    fputs(".SH EXIT STATUS\n", out);
    put_text(out, exit_statuses);
    fputs(".\n"
          ".SH FILES\n"
          ".TP\n\\fI$XDG_CACHE_HOME/refusion\\fR, else \\fI~/.cache/refusion\\fR\n"
          "compiled pipelines and tuned kernel shapes; may be deleted\n"
          ".SH EXAMPLES\n"
          ".nf\n"
          "refusion generate \\-p \\(dqWrite a Python function limit_value(n) that keeps n between 5 and "
          "89.\\(dq\n"
          "refusion generate \\-m ReFusion \\-\\-preset math \\-\\-show \\-p \\(dqHow many primes are below "
          "30?\\(dq\n"
          "refusion quantize ReFusion ReFusion\\-q4_k.gguf \\-\\-type q4_k\n"
          ".fi\n",
          out);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: make_man OUTPUT.1 VERSION\n");
        return 2;
    }
    FILE *out = fopen(argv[1], "w");
    if (out)
        put_page(out, argv[2]);
    int failed = !out || ferror(out);
    if (out && fclose(out) != 0)
        failed = 1;
    if (failed) {
        fprintf(stderr, "make_man: %s: cannot be written\n", argv[1]);
        remove(argv[1]);
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
