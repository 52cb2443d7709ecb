/* One parser and one table for every subcommand: `--name value`, `--name=value`, `-n value`. What a
 * subcommand does not take is an unknown option there. Each mistake is one line on stderr that names the
 * option, what was found and what was wanted. The last one wins when an option is given twice, except where
 * the table says that it may be repeated. */
#ifndef RF_APPS_OPTIONS_H
#define RF_APPS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum command {
    COMMAND_GENERATE = 1 << 0,
    COMMAND_CHAT = 1 << 1,
    COMMAND_TOKENIZE = 1 << 2,
    COMMAND_INSPECT = 1 << 3,
    COMMAND_DEVICES = 1 << 4,
    COMMAND_SELFTEST = 1 << 5,
    COMMAND_QUANTIZE = 1 << 6,
    COMMAND_BENCH = 1 << 7,
    COMMAND_PROFILE = 1 << 8,
    COMMAND_EVAL = 1 << 9,
};

enum option_group {
    GROUP_PROMPT, /* titles stand in option_table.c */
    GROUP_DECODING,
    GROUP_OUTPUT,
    GROUP_MODEL,
    GROUP_TEST,
    GROUP_COUNT
};

struct opt_uint {
    bool given;
    uint64_t value;
};

struct opt_real {
    bool given;
    double value;
};

enum { MAX_STOPS = 16, MAX_FILES = 1024 };

struct opt_texts {
    const char *items[MAX_STOPS];
    uint32_t count;
};

struct opt_files {
    const char *items[MAX_FILES];
    uint32_t count;
};

/* Choices, numbered as their names stand in option_table.c; 0 is the default. */
enum { DECODE_REFUSION, DECODE_AR };
enum { EVAL_BOTH, EVAL_REFUSION, EVAL_AR };
enum { STREAM_APPEND, STREAM_DENOISE };
enum { SHOW_OFF, SHOW_TERMINAL, SHOW_FORCE };

/* What was asked for. Texts point into argv; NULL: not given. Zero is the default of everything. */
struct settings {
    const char *text, *second_text; /* arguments without a dash, of subcommands that take them */
    const char *prompt, *system, *tokens;
    bool raw, no_thinking;

    const char *preset;
    unsigned decode; /* DECODE_... */
    struct opt_uint max_tokens, slot_size, block, seed, top_k;
    struct opt_real slot_threshold, token_threshold, temperature, top_p;
    bool reference, deterministic;
    struct opt_texts stops;

    unsigned stream, show; /* STREAM_..., SHOW_... */
    bool json, quiet, dispatches;

    const char *model, *device, *disable, *shader_dir;
    struct opt_uint context, memory_limit, submission_ms, duty;
    unsigned precision; /* enum rf_precision */
    unsigned priority;  /* enum rf_priority */
    bool validate;

    bool special, jsonl; /* tokenize */
    const char *decode_ids;
    const char *type; /* quantize; of the weights on the device */
    bool no_tune;
    bool pure;
    struct opt_uint threads;
    const char *kernel; /* selftest */
    bool thorough;
    const char *rows, *cache, *synthetic; /* bench */
    struct opt_uint prefill, ar, generate, prompt_tokens;
    struct opt_real accept_rate, cell_seconds;
    bool csv, tune, sweep;
    struct opt_uint runs; /* profile */
    bool no_ceilings, absolute;
    bool labels;
    struct opt_uint capture_round;
    const char *timeline, *html, *compare;
    struct opt_real limit;
    bool static_only; /* --static */
    const char *disassemble, *amd;
    const char *counters;   /* "": those that there are are listed */
    struct opt_files files; /* eval */
    const char *format, *out, *shard, *markdown, *svg;
    struct opt_texts tasks, sweeps; /* a sweep of "": the default grid */
    unsigned eval_decode;           /* EVAL_... */
    struct opt_uint first, batch, test_memory;
    struct opt_real test_seconds;
    bool strict, merge, no_python;
};

enum option_type {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char * */
    OPTION_TEXTS,  /* struct opt_texts */
    OPTION_NAMES,  /* const char *; without a value "" */
    OPTION_PAIRS,  /* struct opt_texts; NAME=VALUE, without a value "" */
    OPTION_UINT,   /* struct opt_uint */
    OPTION_SIZE,   /* struct opt_uint, bytes: 512M, 2G */
    OPTION_REAL,   /* struct opt_real */
    OPTION_CHOICE, /* unsigned */
    OPTION_MODE    /* unsigned: `--name` is choice 1, `--name=WORD` a later one */
};

struct option {
    const char *name;
    char letter; /* 0: none */
    enum option_type type;
    unsigned commands; /* of enum command */
    enum option_group group;
    size_t offset;          /* in struct settings */
    const char *value;      /* what --help calls the value */
    const char *choices[4]; /* OPTION_CHOICE, OPTION_MODE */
    uint64_t min, max;      /* OPTION_UINT, OPTION_SIZE */
    double low, high;       /* OPTION_REAL, both allowed */
    const char *fallback;   /* what --help says is used without it; NULL: nothing to say */
    const char *help;
};

extern const char *const option_group_titles[GROUP_COUNT];
extern const struct option option_table[];
extern const size_t option_count;

struct command_info {
    enum command command;
    const char *name;
    const char *
        argument; /* the argument without a dash, NULL: none; "FILE..." any number, which are settings.files */
    const char *second;  /* one more behind it, NULL: none */
    const char *summary; /* one line */
    const char *details; /* for the subcommand's --help */
};

extern const struct command_info command_table[];
extern const size_t command_count;

struct environment_variable {
    const char *name, *help;
};
extern const struct environment_variable environment_table[];
extern const size_t environment_count;
extern const char exit_statuses[]; /* what they are, without a point */

enum parse_result { PARSE_OK, PARSE_HELP, PARSE_WRONG };

/* Reads argv[0 .. argc-1] (without program and subcommand) into *settings, which may hold earlier values. Of
 * `groups` (bits 1 << GROUP_...) only. A mistake was already said on stderr. */
enum parse_result options_parse(struct settings *settings, const struct command_info *command,
                                unsigned groups, int argc, char **argv);
void options_print_help(FILE *file, const struct command_info *command);

/* Writes one line for each option of `group` that differs from its default. */
void options_print_given(FILE *file, const struct settings *settings, enum command command,
                         enum option_group group);

#endif
