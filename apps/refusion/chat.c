/* refusion chat: a conversation. Every turn sends all of it; the session reuses the rows that it still
 * holds. */
#include "apps/refusion/engine_open.h"
#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/program.h"
#include "apps/refusion/respond.h"

#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chat {
    struct settings settings; /* /settings and /system change it */
    const struct engine *engine;
    rf_session *session;
    struct rf_message *messages; /* the conversation without the system message; contents are malloc'ed */
    size_t count;
    char *system;      /* malloc'ed text of /system, NULL: settings.system as given */
    char **kept_words; /* texts that settings point at, from /settings lines */
    size_t kept_count;
    bool terminal;
};

/* ---- The conversation ---------------------------------------------------------------------------------- */

static enum rf_status add_message(struct chat *chat, const char *role, const char *content,
                                  struct rf_error *err)
{
    struct rf_message *larger = realloc(chat->messages, (chat->count + 1) * sizeof *larger);
    if (larger)
        chat->messages = larger;
    char *copy = larger ? strdup(content) : NULL;
    if (!copy)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for message %zu", chat->count);
    chat->messages[chat->count++] = (struct rf_message){role, copy};
    return RF_OK;
}

static void drop_messages(struct chat *chat, size_t keep)
{
    while (chat->count > keep)
        free((char *)chat->messages[--chat->count].content);
}

static enum rf_status begin(struct chat *chat, struct rf_error *err)
{
    const char *system = chat->settings.system;
    size_t total = chat->count + (system != NULL);
    struct rf_message *messages = calloc(total, sizeof *messages);
    if (!messages)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %zu messages", total);
    if (system)
        messages[0] = (struct rf_message){"system", system};
    memcpy(messages + (system != NULL), chat->messages, chat->count * sizeof *messages);
    enum rf_status status =
        rf_session_begin_chat(chat->session, messages, total, !chat->settings.no_thinking, err);
    free(messages);
    return status;
}

static enum rf_status print_answer_end(struct chat *chat, const struct response *response,
                                       struct rf_error *err)
{
    if (chat->settings.json) {
        cJSON *object = response_json(response, chat->session, false, -1, chat->engine->device);
        enum rf_status status = json_print(object, false, err);
        if (status)
            return status;
    } else {
        putchar('\n');
    }
    fflush(stdout);
    if (!chat->settings.quiet && isatty(STDERR_FILENO)) {
        fputs("\033[2m", stderr);
        response_print_times(chat->session, chat->engine->device, -1);
        fputs("\033[0m", stderr);
    }
    return RF_OK;
}

/* One turn. A message that cannot be answered leaves the conversation as it was. */
static enum rf_status answer(struct chat *chat, const char *line, struct rf_error *err)
{
    size_t before = chat->count;
    struct response response = {
        .tokenizer = chat->engine->tokenizer,
        .print_text = !chat->settings.json,
        .keep_commits = chat->settings.json,
    };
    interrupt_reset();
    enum rf_status status = add_message(chat, "user", line, err);
    if (!status)
        status = begin(chat, err);
    if (!status) {
        status = respond(&response, chat->session, err);
        /* An answer that Ctrl-C cut short stays in the conversation as far as it was read. */
        if (!status || status == RF_ERROR_CANCELLED) {
            struct rf_error late = {0};
            enum rf_status end = add_message(chat, "assistant", rf_session_text(chat->session, NULL), &late);
            if (!end)
                end = print_answer_end(chat, &response, &late);
            if (end) {
                *err = late;
                status = end;
            }
        }
    }
    if (status && status != RF_ERROR_CANCELLED)
        drop_messages(chat, before);
    response_free(&response);
    return status;
}

/* ---- Commands ------------------------------------------------------------------------------------------ */

static void print_help(void)
{
    fputs("/help              this list\n"
          "/clear             forget the conversation\n"
          "/system [TEXT]     set the system message (nothing: none) and forget the conversation\n"
          "/settings          print the settings that differ from the defaults\n"
          "/settings OPTIONS  change them for the turns to come, e.g. /settings --slot-size 8 --block 64\n"
          "/exit              end; so does Ctrl-D\n"
          "Ctrl-C ends an answer.\n",
          stderr);
}

/* Splits `words` at spaces in place; returns how many there are, or -1 when more than `most`. */
static int split_words(char *words, char **out, int most)
{
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(words, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (count == most)
            return -1;
        out[count++] = word;
    }
    return count;
}

/* The new session shares the rows of the old one, so that the conversation's prefix stays cached; between
 * responses that is, so not after an answer that Ctrl-C cut short. */
static enum rf_status change_settings(struct chat *chat, const char *line, struct rf_error *err)
{
    enum { MOST_WORDS = 64 };
    char *words[MOST_WORDS];
    char **larger = realloc(chat->kept_words, (chat->kept_count + 1) * sizeof *larger);
    if (larger)
        chat->kept_words = larger;
    char *copy = larger ? strdup(line) : NULL;
    if (!copy)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "/settings: no memory for the line");
    chat->kept_words[chat->kept_count++] = copy;
    struct settings changed = chat->settings;
    int count = split_words(copy, words, MOST_WORDS);
    if (count < 0)
        return rf_fail(err, RF_ERROR_ARGUMENT, "/settings: found more than %d words, wanted fewer",
                       MOST_WORDS);
    enum parse_result parsed =
        options_parse(&changed, command_find("chat"), 1u << GROUP_DECODING, count, words);
    if (parsed == PARSE_HELP)
        options_print_help(stderr, command_find("chat"));
    if (parsed != PARSE_OK)
        return RF_OK; /* said already; nothing was changed */
    rf_session *session;
    struct rf_session_desc desc = session_desc(&changed);
    enum rf_status status = rf_session_finished(chat->session)
                                ? rf_session_fork(&session, chat->session, &desc, err)
                                : rf_session_create(&session, chat->engine->model, &desc, err);
    if (status)
        return status;
    rf_session_destroy(chat->session);
    chat->session = session;
    chat->settings = changed;
    return RF_OK;
}

static enum rf_status set_system(struct chat *chat, const char *text, struct rf_error *err)
{
    char *copy = text[0] ? strdup(text) : NULL;
    if (text[0] && !copy)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "/system: no memory for the text");
    free(chat->system);
    chat->system = copy;
    chat->settings.system = copy;
    drop_messages(chat, 0);
    return RF_OK;
}

/* A line that begins with '/'. False: end the conversation. */
static bool run_command(struct chat *chat, const char *line, struct rf_error *err, enum rf_status *status)
{
    size_t length = strcspn(line, " \t");
    const char *rest = line + length + strspn(line + length, " \t");
    struct {
        const char *name;
        bool takes_text;
    } const known[] = {
        {"/help", false}, {"/clear", false}, {"/exit", false}, {"/system", true}, {"/settings", true}};
    size_t which = 0, total = sizeof known / sizeof known[0];
    while (which < total &&
           (strlen(known[which].name) != length || strncmp(known[which].name, line, length) != 0))
        which++;
    if (which == total) {
        *status =
            rf_fail(err, RF_ERROR_ARGUMENT, "found the unknown command \"%.*s\", wanted one that /help lists",
                    (int)length, line);
    } else if (!known[which].takes_text && *rest) {
        *status = rf_fail(err, RF_ERROR_ARGUMENT, "%s: found \"%s\" behind it, wanted nothing",
                          known[which].name, rest);
    } else if (strcmp(known[which].name, "/help") == 0) {
        print_help();
    } else if (strcmp(known[which].name, "/clear") == 0) {
        drop_messages(chat, 0);
    } else if (strcmp(known[which].name, "/system") == 0) {
        *status = set_system(chat, rest, err);
    } else if (strcmp(known[which].name, "/settings") == 0 && *rest) {
        *status = change_settings(chat, rest, err);
    } else if (strcmp(known[which].name, "/settings") == 0) {
        fprintf(stderr, "settings that differ from the defaults:\n");
        options_print_given(stderr, &chat->settings, COMMAND_CHAT, GROUP_DECODING);
    } else {
        return false;
    }
    return true;
}

/* One line of input. False: end. `*worst` keeps the exit status of failed lines when nobody is there to try
 * again. */
static bool take_line(struct chat *chat, const char *line, int *worst)
{
    struct rf_error err = {0};
    enum rf_status status = RF_OK;
    bool going_on = true;
    if (line[0] == '/')
        going_on = run_command(chat, line, &err, &status);
    else
        status = answer(chat, line, &err);
    if (status == RF_ERROR_CANCELLED && chat->terminal)
        return true;
    if (status) {
        int exit = complain_error(&err);
        if (!chat->terminal && *worst == STATUS_OK)
            *worst = exit;
        if (status == RF_ERROR_DEVICE_LOST || status == RF_ERROR_CANCELLED) {
            *worst = exit;
            return false;
        }
    }
    return going_on;
}

/* ---- Input --------------------------------------------------------------------------------------------- */

static char *prompt_text(EditLine *editor)
{
    (void)editor;
    static char text[] = "> ";
    return text;
}

static int talk_on_terminal(struct chat *chat)
{
    EditLine *editor = el_init("refusion", stdin, stdout, stderr);
    History *past = history_init();
    if (!editor || !past) {
        complain("chat: cannot set up line editing on this terminal");
        if (editor)
            el_end(editor);
        if (past)
            history_end(past);
        return STATUS_FAILURE;
    }
    HistEvent event;
    history(past, &event, H_SETSIZE, 500);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_PROMPT, prompt_text);
    el_set(editor, EL_HIST, history, past);
    /* While a line is edited, Ctrl-C is a key that empties it. */
    el_set(editor, EL_SETTY, "-d", "-isig", NULL);
    el_set(editor, EL_BIND, "^C", "em-kill-line", NULL);
    if (!chat->settings.quiet)
        fprintf(stderr, "%s. /help lists commands.\n", chat->engine->device);
    int worst = STATUS_OK, length;
    const char *typed;
    while ((typed = el_gets(editor, &length)) != NULL && length > 0) {
        char *line = strdup(typed);
        if (!line)
            break;
        line[strcspn(line, "\r\n")] = '\0';
        bool going_on = true;
        if (line[0]) {
            history(past, &event, H_ENTER, typed);
            going_on = take_line(chat, line, &worst);
        }
        free(line);
        if (!going_on)
            break;
    }
    if (!typed)
        putchar('\n'); /* the shell's prompt stands on a line of its own */
    history_end(past);
    el_end(editor);
    return worst;
}

static int talk_in_pipe(struct chat *chat)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int worst = STATUS_OK;
    bool going_on = true;
    while (going_on && (length = getline(&line, &room, stdin)) >= 0) {
        size_t used = strcspn(line, "\r\n");
        if (used < (size_t)length && line[used] == '\0') {
            complain("standard input: found a NUL byte, wanted UTF-8 lines");
            worst = STATUS_USAGE;
            break;
        }
        line[used] = '\0';
        if (used)
            going_on = take_line(chat, line, &worst);
    }
    free(line);
    return worst;
}

int command_chat(const struct settings *settings)
{
    struct rf_error err = {0};
    struct engine engine;
    interrupt_install();
    if (check_settings(settings, &err) || engine_open(&engine, settings, &err))
        return complain_error(&err);
    struct chat chat = {.settings = *settings, .engine = &engine};
    chat.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    struct rf_session_desc desc = session_desc(settings);
    int exit;
    if (rf_session_create(&chat.session, engine.model, &desc, &err))
        exit = complain_error(&err);
    else
        exit = chat.terminal ? talk_on_terminal(&chat) : talk_in_pipe(&chat);
    if (settings->validate && engine_complaints(&engine) && exit == STATUS_OK)
        exit = STATUS_FAILURE;
    rf_session_destroy(chat.session);
    drop_messages(&chat, 0);
    free(chat.messages);
    free(chat.system);
    for (size_t i = 0; i < chat.kept_count; i++)
        free(chat.kept_words[i]);
    free(chat.kept_words);
    engine_close(&engine);
    return exit;
}
