/* The program's own conventions: exit statuses, how it complains, and its subcommands. */
#ifndef RF_APPS_PROGRAM_H
#define RF_APPS_PROGRAM_H

#include "apps/refusion/options.h"
#include "engine/status.h"

enum {
    STATUS_OK = 0,
    STATUS_FAILURE = 1,
    STATUS_USAGE = 2,        /* a wrong option, or a value that the library refused as an argument */
    STATUS_INTERRUPTED = 130 /* 128 + SIGINT, as shells count */
};

/* "refusion: MESSAGE" on stderr, always one line. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);
/* The same for a failed call; returns the exit status that stands for it. */
int complain_error(const struct rf_error *err);
/* The exit status for a library status, without a message. */
int exit_status(enum rf_status status);

/* Two options of which one would have no effect beside the other. */
struct option_pair {
    bool both;
    const char *one, *other;
};
/* RF_ERROR_ARGUMENT for the first pair that was given. */
enum rf_status refuse_pairs(const struct option_pair *pairs, size_t count, struct rf_error *err);

int command_generate(const struct settings *settings);
int command_chat(const struct settings *settings);
int command_tokenize(const struct settings *settings);
int command_inspect(const struct settings *settings);
int command_quantize(const struct settings *settings);
int command_devices(const struct settings *settings);
int command_selftest(const struct settings *settings);
int command_bench(const struct settings *settings);
int command_profile(const struct settings *settings);
int command_eval(const struct settings *settings);
int profile_compare(const struct settings *settings);       /* of command_profile, with --compare */
int profile_static(const struct settings *settings);        /* with --static, --disassemble or --amd */
int profile_list_counters(const struct settings *settings); /* with --counters that names none */

const struct command_info *command_find(const char *name); /* NULL: no such subcommand */

#endif
