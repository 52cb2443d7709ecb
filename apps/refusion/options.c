#include "apps/refusion/options.h"

#include "apps/refusion/program.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *field(struct settings *settings, const struct option *option)
{
    return (char *)settings + option->offset;
}

static bool parse_digits(const char *text, const char **end, uint64_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *stop;
    unsigned long long value = strtoull(text, &stop, 10);
    if (errno)
        return false;
    *end = stop;
    *out = value;
    return true;
}

/* Digits, then nothing, or K, M, G or T, also written KB or KiB. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    const char *end;
    if (!parse_digits(text, &end, out))
        return false;
    if (*end == '\0')
        return true;
    const char *unit = strchr(units, toupper((unsigned char)*end));
    if (!unit)
        return false;
    end++;
    if (*end == 'i')
        end++;
    if (*end == 'B')
        end++;
    if (*end != '\0')
        return false;
    unsigned shift = 10 * (unsigned)(unit - units + 1);
    if (*out > UINT64_MAX >> shift)
        return false;
    *out <<= shift;
    return true;
}

static bool wrong_value(const struct option *option, const char *found)
{
    switch (option->type) {
    case OPTION_UINT:
        complain("--%s: found \"%s\", wanted a whole number from %" PRIu64 " to %" PRIu64, option->name,
                 found, option->min, option->max);
        break;
    case OPTION_SIZE:
        complain("--%s: found \"%s\", wanted a number of bytes such as 1073741824, 512M or 2G", option->name,
                 found);
        break;
    case OPTION_REAL:
        complain("--%s: found \"%s\", wanted a number from %g to %g", option->name, found, option->low,
                 option->high);
        break;
    case OPTION_MODE:
        complain("--%s: found \"%s\", wanted --%s or --%s=%s", option->name, found, option->name,
                 option->name, option->value);
        break;
    case OPTION_CHOICE: {
        char list[128] = "";
        for (size_t i = 0; i < 4 && option->choices[i]; i++) {
            size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", option->choices[i]);
        }
        complain("--%s: found \"%s\", wanted one of %s", option->name, found, list);
        break;
    }
    default:
        complain("--%s: found \"%s\", wanted no value", option->name, found);
        break;
    }
    return false;
}

static bool set_choice(const struct option *option, unsigned first, const char *text, unsigned *out)
{
    for (unsigned i = first; i < 4 && option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return wrong_value(option, text);
}

static bool set_number(const struct option *option, void *target, const char *text)
{
    const char *end = "";
    if (option->type == OPTION_REAL) {
        struct opt_real *real = target;
        char *stop = NULL;
        double value = isspace((unsigned char)text[0]) || !text[0] ? -1 : strtod(text, &stop);
        /* Written so that NaN fails. */
        if (!stop || stop == text || *stop || !(value >= option->low && value <= option->high)) {
            return wrong_value(option, text);
        }
        *real = (struct opt_real){true, value};
        return true;
    }
    struct opt_uint *uint = target;
    uint64_t value;
    bool read = option->type == OPTION_SIZE ? parse_size(text, &value)
                                            : parse_digits(text, &end, &value) && *end == '\0';
    if (!read || value < option->min || value > option->max)
        return wrong_value(option, text);
    *uint = (struct opt_uint){true, value};
    return true;
}

static bool set_text(const struct option *option, void *target, const char *text)
{
    if (option->type == OPTION_TEXT || option->type == OPTION_NAMES) {
        memcpy(target, &text, sizeof text);
        return true;
    }
    struct opt_texts *texts = target;
    if (option->type == OPTION_PAIRS && text[0] == '\0' && texts->count < MAX_STOPS) {
        texts->items[texts->count++] = text;
        return true;
    }
    if (texts->count == MAX_STOPS) {
        complain("--%s: found it more than %d times, wanted at most %d", option->name, MAX_STOPS, MAX_STOPS);
        return false;
    }
    if (text[0] == '\0') {
        complain("--%s: found an empty text, wanted at least one character", option->name);
        return false;
    }
    texts->items[texts->count++] = text;
    return true;
}

static bool needs_value(const struct option *option)
{
    return option->type != OPTION_FLAG && option->type != OPTION_MODE && option->type != OPTION_NAMES &&
           option->type != OPTION_PAIRS;
}

/* `value` is NULL where none was given. */
static bool apply(struct settings *settings, const struct option *option, const char *value)
{
    void *target = field(settings, option);
    switch (option->type) {
    case OPTION_FLAG:
        if (value)
            return wrong_value(option, value);
        *(bool *)target = true;
        return true;
    case OPTION_MODE:
        if (!value) {
            *(unsigned *)target = 1;
            return true;
        }
        return set_choice(option, 2, value, target);
    case OPTION_CHOICE:
        return set_choice(option, 0, value, target);
    case OPTION_NAMES:
    case OPTION_PAIRS:
        return set_text(option, target, value ? value : "");
    case OPTION_TEXT:
    case OPTION_TEXTS:
        return set_text(option, target, value);
    default:
        return set_number(option, target, value);
    }
}

static const struct option *find(enum command command, unsigned groups, const char *name, size_t length,
                                 char letter)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!(option->commands & command) || !(groups & 1u << option->group))
            continue;
        if (letter ? option->letter == letter
                   : strlen(option->name) == length && strncmp(option->name, name, length) == 0) {
            return option;
        }
    }
    return NULL;
}

/* One option at argv[*index], which is moved past a value that stands in the next argument. */
static bool parse_option(struct settings *settings, const struct command_info *command, unsigned groups,
                         int argc, char **argv, int *index)
{
    const char *word = argv[*index];
    bool is_long = word[1] == '-';
    const char *name = is_long ? word + 2 : word + 1;
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = NULL;
    if (is_long || length == 1) {
        option = find(command->command, groups, name, length, is_long ? 0 : name[0]);
    }
    if (!option) {
        complain("%s: found the unknown option \"%.*s\", wanted one that `refusion %s --help` lists",
                 command->name, equals ? (int)(equals - word) : (int)strlen(word), word, command->name);
        return false;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (!value && needs_value(option)) {
        /* Text that begins with two dashes is more likely a forgotten value than a value. */
        if (*index + 1 >= argc || strncmp(argv[*index + 1], "--", 2) == 0) {
            complain("--%s: found no value, wanted %s%s%s", option->name, option->value,
                     *index + 1 < argc ? "; write a value that begins with -- as --" : "",
                     *index + 1 < argc ? option->name : "");
            return false;
        }
        value = argv[++*index];
    }
    /* Whatever is no option is its value. */
    if (!value && option->type == OPTION_NAMES && *index + 1 < argc && argv[*index + 1][0] != '-')
        value = argv[++*index];
    /* An argument is its value when it looks like one. */
    if (!value && option->type == OPTION_PAIRS && *index + 1 < argc && argv[*index + 1][0] != '-' &&
        strchr(argv[*index + 1], '='))
        value = argv[++*index];
    return apply(settings, option, value);
}

static bool takes_files(const struct command_info *command)
{
    return command->argument && strstr(command->argument, "...");
}

static bool take_file(struct settings *settings, const struct command_info *command, const char *text)
{
    if (settings->files.count == MAX_FILES) {
        complain("%s: found more than %d arguments, wanted at most that", command->name, MAX_FILES);
        return false;
    }
    settings->files.items[settings->files.count++] = text;
    return true;
}

/* An argument without a dash. */
static bool take_argument(struct settings *settings, const struct command_info *command, const char *text)
{
    if (takes_files(command))
        return take_file(settings, command, text);
    const char *found = settings->text ? settings->second_text ? "third" : "second" : "first";
    if (!command->argument) {
        complain("%s: found the argument \"%s\", wanted only options", command->name, text);
    } else if (!settings->text) {
        settings->text = text;
        return true;
    } else if (command->second && !settings->second_text) {
        settings->second_text = text;
        return true;
    } else if (command->second) {
        complain("%s: found a %s argument \"%s\", wanted only %s and %s", command->name, found, text,
                 command->argument, command->second);
    } else {
        complain("%s: found a %s argument \"%s\", wanted one %s (in quotes)", command->name, found, text,
                 command->argument);
    }
    return false;
}

enum parse_result options_parse(struct settings *settings, const struct command_info *command,
                                unsigned groups, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return PARSE_HELP;
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (strcmp(argv[i], "--") == 0 && command->argument) {
                /* Only texts follow. */
                int most = takes_files(command) ? MAX_FILES : command->second ? 2 : 1;
                if (i + 1 < argc && argc - i - 1 <= most && !settings->text) {
                    while (++i < argc)
                        take_argument(settings, command, argv[i]);
                    return PARSE_OK;
                }
                complain("%s: found %d arguments after \"--\", wanted one %s", command->name, argc - i - 1,
                         command->argument);
                return PARSE_WRONG;
            }
            if (!parse_option(settings, command, groups, argc, argv, &i))
                return PARSE_WRONG;
        } else if (!take_argument(settings, command, argv[i])) {
            return PARSE_WRONG;
        }
    }
    return PARSE_OK;
}

/* ---- Help ---------------------------------------------------------------------------------------------- */

enum { HELP_INDENT = 28, HELP_WIDTH = 100 };

/* Prints words from column `column` on, going on at HELP_INDENT where a line is full. */
static void print_wrapped(FILE *file, size_t column, size_t indent, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > indent && column + 1 + length > HELP_WIDTH) {
            fprintf(file, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', file);
            column++;
        }
        fprintf(file, "%.*s", (int)length, text);
        column += length;
        text += length;
        while (*text == ' ')
            text++;
    }
    fputc('\n', file);
}

static void print_option(FILE *file, const struct option *option)
{
    char left[64], text[640];
    char letter[5] = "    ";
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    if (option->type == OPTION_MODE) {
        snprintf(left, sizeof left, "  %s--%s[=%s]", letter, option->name, option->value);
    } else if (option->type == OPTION_NAMES || option->type == OPTION_PAIRS) {
        snprintf(left, sizeof left, "  %s--%s [%s]", letter, option->name, option->value);
    } else {
        snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name, option->value ? " " : "",
                 option->value ? option->value : "");
    }
    snprintf(text, sizeof text, "%s%s%s%s", option->help, option->fallback ? " (default: " : "",
             option->fallback ? option->fallback : "", option->fallback ? ")" : "");
    if (strlen(left) + 2 > HELP_INDENT) {
        fprintf(file, "%s\n%*s", left, HELP_INDENT, "");
    } else {
        fprintf(file, "%-*s", HELP_INDENT, left);
    }
    print_wrapped(file, HELP_INDENT, HELP_INDENT, text);
}

void options_print_help(FILE *file, const struct command_info *command)
{
    if (command->second)
        fprintf(file, "Usage: refusion %s [options] %s %s\n\n", command->name, command->argument,
                command->second);
    else
        fprintf(file, "Usage: refusion %s [options]%s%s%s\n\n", command->name, command->argument ? " [" : "",
                command->argument ? command->argument : "", command->argument ? "]" : "");
    print_wrapped(file, 0, 0, command->details);
    for (int group = 0; group < GROUP_COUNT; group++) {
        bool titled = false;
        for (size_t i = 0; i < option_count; i++) {
            const struct option *option = &option_table[i];
            if (!(option->commands & command->command) || (int)option->group != group)
                continue;
            if (!titled)
                fprintf(file, "\n%s:\n", option_group_titles[group]);
            titled = true;
            print_option(file, option);
        }
    }
    fprintf(file, "\n%-*sthis text\n", HELP_INDENT, "  -h, --help");
    fprintf(file, "\nValues stand in the next argument or behind `=`. Exit status: %s.\n", exit_statuses);
}

static void print_given(FILE *file, const struct settings *settings, const struct option *option)
{
    const void *target = (const char *)settings + option->offset;
    switch (option->type) {
    case OPTION_FLAG:
        if (*(const bool *)target)
            fprintf(file, "  --%s\n", option->name);
        break;
    case OPTION_MODE:
    case OPTION_CHOICE: {
        unsigned choice = *(const unsigned *)target;
        if (choice)
            fprintf(file, "  --%s %s\n", option->name, option->choices[choice]);
        break;
    }
    case OPTION_NAMES:
    case OPTION_TEXT: {
        const char *text;
        memcpy(&text, target, sizeof text);
        if (text)
            fprintf(file, "  --%s %s\n", option->name, text);
        break;
    }
    case OPTION_PAIRS:
    case OPTION_TEXTS: {
        const struct opt_texts *texts = target;
        for (uint32_t i = 0; i < texts->count; i++)
            fprintf(file, "  --%s %s\n", option->name, texts->items[i]);
        break;
    }
    case OPTION_REAL: {
        const struct opt_real *real = target;
        if (real->given)
            fprintf(file, "  --%s %g\n", option->name, real->value);
        break;
    }
    default: {
        const struct opt_uint *uint = target;
        if (uint->given)
            fprintf(file, "  --%s %" PRIu64 "\n", option->name, uint->value);
        break;
    }
    }
}

void options_print_given(FILE *file, const struct settings *settings, enum command command,
                         enum option_group group)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if ((option->commands & command) && option->group == group)
            print_given(file, settings, option);
    }
}
