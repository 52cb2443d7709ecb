/* Conversations in SQLite: what is put is found again, also after a kill at any moment. */
#include "apps/desktop/store_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char *file_in(const char *name)
{
    char *folder = g_build_filename(RF_BINARY_DIR, "store", name, NULL);
    char *path = g_build_filename(folder, "conversations.sqlite", NULL);
    for (const char *const *end = (const char *const[]){"", "-wal", "-shm", NULL}; *end; end++) {
        char *file = g_strconcat(path, *end, NULL);
        g_remove(file);
        g_free(file);
    }
    g_free(folder);
    return path;
}

static struct store *open_store(const char *path)
{
    GError *error = NULL;
    struct store *store = store_open(path, &error);
    if (error)
        fail_msg("%s", error->message);
    return store;
}

static gint64 add_conversation(struct store *store, const char *title, gboolean pinned)
{
    gint64 id = record_new_id();
    struct conversation conversation = {
        .id = id, .created = id, .updated = id, .title = (char *)title, .pinned = pinned};
    assert_true(store_put_conversation(store, &conversation, NULL));
    return id;
}

static gint64 add_message(struct store *store, gint64 conversation, gint64 parent, gboolean from_user,
                          const char *text)
{
    struct message message = {.id = record_new_id(),
                              .conversation = conversation,
                              .parent = parent,
                              .from_user = from_user,
                              .text = (char *)text,
                              .finish = from_user ? "" : "stop"};
    message.created = message.id;
    assert_true(store_put_message(store, &message, TRUE, NULL));
    return message.id;
}

static char *titles(struct store *store, const char *search)
{
    GString *all = g_string_new(NULL);
    GPtrArray *list = store_conversations(store, search, NULL);
    assert_non_null(list);
    for (guint i = 0; i < list->len; i++)
        g_string_append_printf(all, "%s%s", i ? "|" : "", ((struct conversation *)list->pdata[i])->title);
    g_ptr_array_unref(list);
    return g_string_free(all, FALSE);
}

static gint64 first_leaf(struct store *store)
{
    GPtrArray *list = store_conversations(store, NULL, NULL);
    gint64 leaf = ((struct conversation *)list->pdata[0])->leaf;
    g_ptr_array_unref(list);
    return leaf;
}

static void expect_titles(struct store *store, const char *search, const char *wanted)
{
    char *found = titles(store, search);
    assert_string_equal(found, wanted);
    g_free(found);
}

static void test_round_trip(void **state)
{
    (void)state;
    char *path = file_in("round-trip");
    struct store *store = open_store(path);
    gint64 conversation = add_conversation(store, "Ünïcode", FALSE);
    struct message message = {.id = record_new_id(),
                              .conversation = conversation,
                              .created = 12,
                              .text = "An\nanswer \xf0\x9f\x8e\xb2",
                              .rounds = g_bytes_new_static("\1\3\0", 3),
                              .finish = "length",
                              .tokens = 7,
                              .forwards = 4,
                              .seconds = 1.5};
    assert_true(store_put_message(store, &message, TRUE, NULL));
    store_close(store);
    store = open_store(path);
    GPtrArray *messages = store_messages(store, conversation, NULL);
    assert_int_equal(messages->len, 1);
    const struct message *found = messages->pdata[0];
    assert_string_equal(found->text, message.text);
    assert_string_equal(found->finish, "length");
    assert_true(g_bytes_equal(found->rounds, message.rounds));
    assert_int_equal(found->tokens, 7);
    assert_int_equal(found->forwards, 4);
    assert_true(found->seconds == 1.5);
    assert_int_equal(found->created, 12);
    g_ptr_array_unref(messages);
    assert_int_equal(first_leaf(store), message.id);
    g_bytes_unref(message.rounds);
    store_close(store);
    g_free(path);
}

static void test_order_and_search(void **state)
{
    (void)state;
    char *path = file_in("search");
    struct store *store = open_store(path);
    gint64 old = add_conversation(store, "Old", FALSE);
    add_conversation(store, "Pinned", TRUE);
    gint64 newer = add_conversation(store, "100% new_er", FALSE);
    expect_titles(store, NULL, "Pinned|100% new_er|Old");
    add_message(store, old, 0, TRUE, "Where is the STRASSE, Ägidius?");
    expect_titles(store, NULL, "Pinned|Old|100% new_er");
    expect_titles(store, "ägidius", "Old");
    expect_titles(store, "PINN", "Pinned");
    expect_titles(store, "0% new_E", "100% new_er"); /* nothing is a wildcard */
    expect_titles(store, "%", "100% new_er");
    expect_titles(store, "nothing has this", "");
    assert_true(store_set_deleted(store, newer, TRUE, NULL));
    expect_titles(store, NULL, "Pinned|Old");
    assert_true(store_set_deleted(store, newer, FALSE, NULL));
    expect_titles(store, NULL, "Pinned|Old|100% new_er");
    assert_true(store_set_deleted(store, old, TRUE, NULL));
    store_close(store);
    store = open_store(path); /* for good */
    assert_true(store_set_deleted(store, old, FALSE, NULL));
    expect_titles(store, NULL, "Pinned|100% new_er");
    GPtrArray *messages = store_messages(store, old, NULL);
    assert_int_equal(messages->len, 0);
    g_ptr_array_unref(messages);
    store_close(store);
    g_free(path);
}

static void test_duplicate_keeps_the_tree(void **state)
{
    (void)state;
    char *path = file_in("duplicate");
    struct store *store = open_store(path);
    gint64 from = add_conversation(store, "Tree", TRUE);
    gint64 question = add_message(store, from, 0, TRUE, "q");
    gint64 first = add_message(store, from, question, FALSE, "a1");
    add_message(store, from, question, FALSE, "a2");
    add_message(store, from, first, TRUE, "q2");
    gint64 copy = store_duplicate(store, from, "Tree, again", NULL);
    assert_true(copy && copy != from);
    expect_titles(store, NULL, "Tree|Tree, again");
    GPtrArray *messages = store_messages(store, copy, NULL);
    GPtrArray *list = store_conversations(store, "again", NULL);
    assert_int_equal(messages->len, 4);
    gint64 leaf = ((struct conversation *)list->pdata[0])->leaf;
    GPtrArray *shown = messages_path(messages, leaf);
    char *markdown = messages_to_markdown("Tree", shown);
    assert_string_equal(markdown, "# Tree\n\n## Question\n\nq\n\n## Answer\n\na1\n\n## Question\n\nq2\n");
    g_free(markdown);
    struct message *answer = shown->pdata[1];
    assert_int_not_equal(answer->id, first);
    GPtrArray *siblings = messages_siblings(messages, answer->id);
    assert_int_equal(siblings->len, 2);
    assert_string_equal(((struct message *)siblings->pdata[1])->text, "a2");
    assert_int_equal(messages_last_leaf(messages, answer->id), leaf);
    assert_int_equal(messages_last_leaf(messages, ((struct message *)shown->pdata[0])->id),
                     ((struct message *)siblings->pdata[1])->id);
    g_ptr_array_unref(siblings);
    g_ptr_array_unref(shown);
    g_ptr_array_unref(messages);
    g_ptr_array_unref(list);
    GError *error = NULL;
    assert_int_equal(store_duplicate(store, 1, "x", &error), 0);
    assert_non_null(strstr(error->message, "no conversation 1"));
    g_error_free(error);
    expect_titles(store, NULL, "Tree|Tree, again");
    store_close(store);
    g_free(path);
}

static void expect_refused(const char *path, const char *words)
{
    GError *error = NULL;
    assert_null(store_open(path, &error));
    assert_non_null(error);
    if (!strstr(error->message, words) || !strstr(error->message, path))
        fail_msg("\"%s\" does not name the file and \"%s\"", error->message, words);
    g_error_free(error);
}

static void execute(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

static void test_bad_files(void **state)
{
    (void)state;
    char *path = file_in("bad");
    store_close(open_store(path));
    execute(path, "PRAGMA user_version = 99");
    expect_refused(path, "schema version 99");
    g_free(path);
    path = file_in("bad");
    assert_true(g_file_set_contents(path, "this is no database, whatever its name says", -1, NULL));
    expect_refused(path, "not a database");
    g_free(path);
}

/* ---- Settings of a conversation ------------------------------------------------------------------------ */

static struct answer_settings only_settings(struct store *store)
{
    GPtrArray *list = store_conversations(store, NULL, NULL);
    assert_int_equal(list->len, 1);
    struct answer_settings settings = ((struct conversation *)list->pdata[0])->settings;
    g_ptr_array_unref(list);
    return settings;
}

static void test_settings(void **state)
{
    (void)state;
    char *path = file_in("settings");
    struct store *store = open_store(path);
    struct conversation conversation = {.id = record_new_id(),
                                        .title = "Set",
                                        .settings = {.preset = &presets[2],
                                                     .max_tokens = 333,
                                                     .temperature = 0.7,
                                                     .seed = 1234567890123,
                                                     .own_thresholds = TRUE,
                                                     .slot_threshold = 0.25,
                                                     .token_threshold = 0.75}};
    assert_true(store_put_conversation(store, &conversation, NULL));
    store_close(store);
    store = open_store(path);
    struct answer_settings found = only_settings(store);
    assert_true(answer_settings_equal(&found, &conversation.settings));
    assert_true(store_duplicate(store, conversation.id, "Copy", NULL) != 0);
    GPtrArray *copies = store_conversations(store, "Copy", NULL);
    assert_true(answer_settings_equal(&((struct conversation *)copies->pdata[0])->settings, &found));
    g_ptr_array_unref(copies);
    store_close(store);
    /* Whatever another program wrote, the numbers are in their ranges. */
    execute(path, "DELETE FROM conversations WHERE title = 'Copy'; UPDATE conversations SET preset = 'none', "
                  "max_tokens = -5, temperature = 1e9, slot_threshold = -1, token_threshold = 'x'");
    store = open_store(path);
    found = only_settings(store);
    assert_ptr_equal(found.preset, &presets[0]);
    assert_int_equal(found.max_tokens, MIN_TOKENS);
    assert_true(found.temperature == MAX_TEMPERATURE);
    assert_true(found.slot_threshold == 0 && found.token_threshold == 0);
    store_close(store);
    g_free(path);
}

/* A file as version 1 wrote it is brought up to date, and nothing in it is lost. */
static void test_older_file(void **state)
{
    (void)state;
    char *path = file_in("older"), *folder = g_path_get_dirname(path);
    g_mkdir_with_parents(folder, 0700);
    g_free(folder);
    execute(
        path,
        "CREATE TABLE conversations (id INTEGER PRIMARY KEY, title TEXT NOT NULL, pinned INTEGER NOT NULL,"
        " created INTEGER NOT NULL, updated INTEGER NOT NULL, leaf INTEGER NOT NULL, deleted INTEGER NOT NULL"
        " DEFAULT 0); CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL"
        " REFERENCES conversations (id) ON DELETE CASCADE, parent INTEGER NOT NULL, created INTEGER NOT NULL,"
        " from_user INTEGER NOT NULL, text TEXT NOT NULL, rounds BLOB, finish TEXT NOT NULL,"
        " tokens INTEGER NOT NULL, forwards INTEGER NOT NULL, seconds REAL NOT NULL);"
        "CREATE INDEX messages_conversation ON messages (conversation); PRAGMA user_version = 1;"
        "INSERT INTO conversations VALUES (5, 'Old', 1, 5, 6, 7, 0);"
        "INSERT INTO messages VALUES (7, 5, 0, 7, 1, 'kept', NULL, '', 0, 0, 0)");
    struct store *store = open_store(path);
    expect_titles(store, "kept", "Old");
    assert_null(only_settings(store).preset);
    GPtrArray *list = store_conversations(store, NULL, NULL);
    struct conversation *old = list->pdata[0];
    assert_true(old->pinned);
    old->settings = (struct answer_settings){.preset = &presets[1], .max_tokens = 64};
    assert_true(store_put_conversation(store, old, NULL));
    g_ptr_array_unref(list);
    store_close(store);
    store = open_store(path); /* once is enough */
    assert_int_equal(only_settings(store).max_tokens, 64);
    GPtrArray *messages = store_messages(store, 5, NULL);
    assert_int_equal(messages->len, 1);
    g_ptr_array_unref(messages);
    store_close(store);
    g_free(path);
}

/* ---- Killed while it writes ---------------------------------------------------------------------------- */

enum { KILLS = 12 };

/* Writes an answer that grows, and tells each length through the pipe after it was stored. Never returns. */
static void write_until_killed(const char *path, gint64 conversation, int told)
{
    struct store *store = store_open(path, NULL);
    GString *text = g_string_new(NULL);
    struct message message = {.id = record_new_id(), .conversation = conversation, .finish = FINISH_RUNNING};
    for (;;) {
        g_string_append_printf(text, "%u ", (guint)text->len);
        message.text = text->str;
        if (!store || !store_put_message(store, &message, TRUE, NULL))
            _exit(1);
        guint32 length = (guint32)text->len;
        if (write(told, &length, sizeof length) != sizeof length)
            _exit(2);
    }
}

static void kill_while_writing(const char *path, gint64 conversation, guint kill_after_us)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        write_until_killed(path, conversation, ends[1]);
    }
    close(ends[1]);
    guint32 told = 0, next;
    assert_int_equal(read(ends[0], &told, sizeof told), sizeof told);
    g_usleep(kill_after_us);
    kill(child, SIGKILL);
    while (read(ends[0], &next, sizeof next) == sizeof next)
        told = next;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));

    struct store *store = open_store(path);
    GPtrArray *messages = store_messages(store, conversation, NULL);
    const struct message *last = messages->pdata[messages->len - 1];
    assert_string_equal(last->finish, FINISH_INTERRUPTED);
    assert_true(strlen(last->text) >=
                told); /* what was told is there, and perhaps one more that could not be told */
    GString *wanted = g_string_new(NULL);
    while (wanted->len < strlen(last->text))
        g_string_append_printf(wanted, "%u ", (guint)wanted->len);
    assert_string_equal(last->text, wanted->str);
    g_string_free(wanted, TRUE);
    assert_int_equal(first_leaf(store), last->id);
    g_ptr_array_unref(messages);
    store_close(store);
}

static void test_killed(void **state)
{
    (void)state;
    char *path = file_in("killed");
    struct store *store = open_store(path);
    gint64 conversation = add_conversation(store, "Killed", FALSE);
    store_close(store);
    guint32 seed = (guint32)getpid();
    print_message("seed %u\n", seed);
    GRand *random = g_rand_new_with_seed(seed);
    for (int i = 0; i < KILLS; i++)
        kill_while_writing(path, conversation, (guint)g_rand_int_range(random, 0, 60000));
    g_rand_free(random);
    store = open_store(path);
    GPtrArray *messages = store_messages(store, conversation, NULL);
    assert_int_equal(messages->len, KILLS);
    g_ptr_array_unref(messages);
    store_close(store);
    g_free(path);
}

/* ---- On its thread ------------------------------------------------------------------------------------- */

struct outcome {
    GMainLoop *loop;
    GPtrArray *list;
    char *error;
    guint errors;
};

static gpointer list_all(struct store *store, gpointer data, GError **error)
{
    return store_conversations(store, data, error);
}

static void on_listed(gpointer user, gpointer result, const GError *error)
{
    struct outcome *outcome = user;
    outcome->list = result;
    if (error) {
        g_free(outcome->error);
        outcome->error = g_strdup(error->message);
    }
    g_main_loop_quit(outcome->loop);
}

static void on_error(gpointer user, const GError *error)
{
    struct outcome *outcome = user;
    g_free(outcome->error);
    outcome->error = g_strdup(error->message);
    outcome->errors++;
}

/* As the list shows them. */
static void expect_listed(struct store_thread *thread, struct outcome *outcome, const char *titles)
{
    store_thread_post(thread, list_all, NULL, NULL, on_listed, outcome);
    g_main_loop_run(outcome->loop);
    GString *found = g_string_new(NULL);
    for (guint i = 0; i < outcome->list->len; i++)
        g_string_append_printf(found, "%s%s", i ? "|" : "",
                               ((const struct conversation *)outcome->list->pdata[i])->title);
    assert_string_equal(found->str, titles);
    g_string_free(found, TRUE);
    g_ptr_array_unref(outcome->list);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* No room: what is put is not lost, and is in the file when there is room again. */
static void test_full_disk(void **state)
{
    (void)state;
    char *path = file_in("full");
    struct outcome outcome = {.loop = g_main_loop_new(NULL, FALSE)};
    signal(SIGXFSZ, SIG_IGN); /* a write is to fail, as on a full disk */
    struct store_thread *thread = store_thread_start(path, on_error, &outcome);
    struct conversation first = {.id = 1, .updated = 1, .title = "First"},
                        second = {.id = 2, .updated = 2, .title = "Second"};
    store_thread_put_conversation(thread, &first);
    expect_listed(thread, &outcome, "First");
    limit_files(1);
    struct message question = {.id = 3, .conversation = 2, .from_user = TRUE, .text = "Q", .finish = ""};
    struct message answer = {.id = 4, .conversation = 2, .parent = 3, .text = "", .finish = ""};
    store_thread_put_conversation(thread, &second);
    store_thread_put_message(thread, &question, TRUE);
    store_thread_put_message(thread, &answer, TRUE);
    static char *const texts[] = {"a", "ab", "abc"}; /* as it is written */
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        answer.text = texts[i];
        store_thread_put_message(thread, &answer, FALSE);
    }
    second.leaf = 3; /* the user goes back */
    second.title = "Renamed";
    store_thread_put_conversation(thread, &second);
    expect_listed(thread, &outcome, "First");
    assert_int_equal(outcome.errors, 1);
    assert_non_null(strstr(outcome.error, "Not saved"));
    limit_files(RLIM_INFINITY);
    expect_listed(thread, &outcome, "Renamed|First");
    struct message lost = {.id = 5, .conversation = 77, .from_user = TRUE, .text = "Q", .finish = ""};
    store_thread_put_message(thread, &lost, TRUE); /* never can be saved: nothing may wait for it */
    first.title = "The first";
    store_thread_put_conversation(thread, &first);
    expect_listed(thread, &outcome, "Renamed|The first");
    assert_int_equal(outcome.errors, 2);
    store_thread_stop(thread);

    struct store *store = open_store(path);
    GPtrArray *messages = store_messages(store, 2, NULL), *list = store_conversations(store, NULL, NULL);
    assert_int_equal(messages->len, 2);
    assert_string_equal(((const struct message *)messages->pdata[1])->text, "abc");
    assert_int_equal(((const struct conversation *)list->pdata[0])->leaf, 3);
    g_ptr_array_unref(messages);
    g_ptr_array_unref(list);
    store_close(store);
    g_free(outcome.error);
    g_main_loop_unref(outcome.loop);
    g_free(path);
}

static void test_thread(void **state)
{
    (void)state;
    char *path = file_in("thread");
    struct outcome outcome = {.loop = g_main_loop_new(NULL, FALSE)};
    struct store_thread *thread = store_thread_start(path, on_error, &outcome);
    struct conversation conversation = {.id = record_new_id(), .title = "Posted"};
    store_thread_put_conversation(thread, &conversation);
    store_thread_post(thread, list_all, NULL, NULL, on_listed, &outcome);
    g_main_loop_run(outcome.loop);
    assert_null(outcome.error);
    assert_int_equal(outcome.list->len, 1);
    g_ptr_array_unref(outcome.list);
    conversation.id = record_new_id();
    store_thread_put_conversation(thread, &conversation);
    store_thread_stop(thread); /* does what was posted */
    struct store *store = open_store(path);
    expect_titles(store, NULL, "Posted|Posted");
    store_close(store);

    g_free(path);
    path = file_in("thread");
    assert_true(g_file_set_contents(path, "this is no database, whatever its name says", -1, NULL));
    thread = store_thread_start(path, on_error, &outcome);
    store_thread_post(thread, list_all, NULL, NULL, on_listed, &outcome);
    g_main_loop_run(outcome.loop);
    assert_null(outcome.list);
    assert_non_null(strstr(outcome.error, "not a database"));
    store_thread_stop(thread);
    g_free(outcome.error);
    g_main_loop_unref(outcome.loop);
    g_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order_and_search),
        cmocka_unit_test(test_duplicate_keeps_the_tree),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_older_file),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_thread),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
