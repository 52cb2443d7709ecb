#include "apps/desktop/store.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

struct store {
    sqlite3 *db;
    char *path;
};

/* migrations[v] leads from schema version v to v + 1 (PRAGMA user_version). Never changed once released. */
static const char *const migrations[] = {
    "CREATE TABLE conversations (id INTEGER PRIMARY KEY, title TEXT NOT NULL, pinned INTEGER NOT NULL,"
    "  created INTEGER NOT NULL, updated INTEGER NOT NULL, leaf INTEGER NOT NULL, deleted INTEGER NOT NULL "
    "DEFAULT 0);"
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL"
    "  REFERENCES conversations (id) ON DELETE CASCADE, parent INTEGER NOT NULL, created INTEGER NOT NULL,"
    "  from_user INTEGER NOT NULL, text TEXT NOT NULL, rounds BLOB, finish TEXT NOT NULL,"
    "  tokens INTEGER NOT NULL, forwards INTEGER NOT NULL, seconds REAL NOT NULL);"
    "CREATE INDEX messages_conversation ON messages (conversation);",
    /* NULL in all: it keeps none. */
    "ALTER TABLE conversations ADD COLUMN preset TEXT; ALTER TABLE conversations ADD COLUMN max_tokens "
    "INTEGER;"
    "ALTER TABLE conversations ADD COLUMN temperature REAL; ALTER TABLE conversations ADD COLUMN seed "
    "INTEGER;"
    "ALTER TABLE conversations ADD COLUMN own_thresholds INTEGER;"
    "ALTER TABLE conversations ADD COLUMN slot_threshold REAL;"
    "ALTER TABLE conversations ADD COLUMN token_threshold REAL;",
};
enum { SCHEMA_VERSION = G_N_ELEMENTS(migrations) };

GQuark store_error_quark(void)
{
    return g_quark_from_static_string("refusion-store");
}

static gboolean fail(struct store *store, GError **error)
{
    g_set_error(error, STORE_ERROR, sqlite3_extended_errcode(store->db), "%s: %s", store->path,
                sqlite3_errmsg(store->db));
    return FALSE;
}

static gboolean run(struct store *store, const char *sql, GError **error)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK || fail(store, error);
}

/* Leaves a failed transaction behind as if it had not begun; `ok` FALSE keeps the error that is set. */
static gboolean end_transaction(struct store *store, gboolean ok, GError **error)
{
    if (ok && run(store, "COMMIT", error))
        return TRUE;
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return FALSE;
}

static sqlite3_stmt *prepare(struct store *store, const char *sql, GError **error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail(store, error);
    return statement;
}

/* Runs a statement without results and finalizes it. */
static gboolean finish(struct store *store, sqlite3_stmt *statement, GError **error)
{
    int rc = sqlite3_step(statement);
    gboolean ok = rc == SQLITE_DONE || fail(store, error);
    sqlite3_finalize(statement);
    return ok;
}

/* holds(TEXT, NEEDLE): NEEDLE, which is case-folded, is a part of TEXT. LIKE knows the case of ASCII letters
 * alone. */
static void sql_holds(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    const char *needle = (const char *)sqlite3_value_text(values[1]);
    char *folded = text ? g_utf8_casefold(text, -1) : NULL;
    sqlite3_result_int(context, folded && needle && strstr(folded, needle));
    g_free(folded);
}

static int read_version(struct store *store, GError **error)
{
    sqlite3_stmt *statement = prepare(store, "PRAGMA user_version", error);
    if (!statement)
        return -1;
    int version = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int(statement, 0) : -1;
    if (version < 0)
        fail(store, error);
    sqlite3_finalize(statement);
    return version;
}

static gboolean migrate(struct store *store, GError **error)
{
    /* Immediate: two processes that open a new file at once take turns, and the second finds the work
     * done. */
    if (!run(store, "BEGIN IMMEDIATE", error))
        return FALSE;
    int version = read_version(store, error);
    gboolean ok = version >= 0;
    if (version > SCHEMA_VERSION) {
        g_set_error(error, STORE_ERROR, SQLITE_MISMATCH, "%s: schema version %d, this program knows up to %d",
                    store->path, version, SCHEMA_VERSION);
        ok = FALSE;
    }
    for (int v = version; ok && v < SCHEMA_VERSION; v++) {
        char *set = g_strdup_printf("PRAGMA user_version = %d", v + 1);
        ok = run(store, migrations[v], error) && run(store, set, error);
        g_free(set);
    }
    return end_transaction(store, ok, error);
}

static gboolean prepare_file(struct store *store, GError **error)
{
    sqlite3_busy_timeout(store->db, 5000);
    sqlite3_create_function(store->db, "holds", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, sql_holds, NULL,
                            NULL);
    return run(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON",
               error) &&
           migrate(store, error) &&
           run(store,
               "UPDATE messages SET finish = '" FINISH_INTERRUPTED
               "' WHERE from_user = 0 AND finish = '" FINISH_RUNNING
               "'; DELETE FROM conversations WHERE deleted",
               error);
}

struct store *store_open(const char *path, GError **error)
{
    struct store *store = g_new0(struct store, 1);
    char *folder = g_path_get_dirname(path);
    store->path = g_strdup(path);
    gboolean ok = g_mkdir_with_parents(folder, 0700) == 0;
    if (!ok)
        g_set_error(error, STORE_ERROR, SQLITE_CANTOPEN, "%s: %s", folder, g_strerror(errno));
    g_free(folder);
    if (ok && sqlite3_open(path, &store->db) != SQLITE_OK)
        ok = fail(store, error);
    if (!ok || !prepare_file(store, error)) {
        store_close(store);
        return NULL;
    }
    g_chmod(path, 0600); /* what one asks a model is nobody else's business */
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    sqlite3_close(store->db);
    g_free(store->path);
    g_free(store);
}

static char *column_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return g_utf8_make_valid(text ? text : "", -1);
}

/* Of conversations, in the order of read_conversation and store_put_conversation. */
#define COLUMNS                                                                                              \
    "id, title, pinned, created, updated, leaf, preset, max_tokens, temperature, seed, own_thresholds,"      \
    " slot_threshold, token_threshold"

static struct conversation *read_conversation(sqlite3_stmt *row)
{
    struct conversation *conversation = g_new0(struct conversation, 1);
    conversation->id = sqlite3_column_int64(row, 0);
    conversation->title = column_text(row, 1);
    conversation->pinned = sqlite3_column_int(row, 2) != 0;
    conversation->created = sqlite3_column_int64(row, 3);
    conversation->updated = sqlite3_column_int64(row, 4);
    conversation->leaf = sqlite3_column_int64(row, 5);
    struct answer_settings *settings = &conversation->settings;
    const char *preset = (const char *)sqlite3_column_text(row, 6);
    if (!preset)
        return conversation;
    *settings =
        (struct answer_settings){.preset = preset_find(preset),
                                 .max_tokens = (guint32)CLAMP(sqlite3_column_int64(row, 7), 0, MAX_TOKENS),
                                 .temperature = sqlite3_column_double(row, 8),
                                 .seed = (guint64)sqlite3_column_int64(row, 9),
                                 .own_thresholds = sqlite3_column_int(row, 10) != 0,
                                 .slot_threshold = sqlite3_column_double(row, 11),
                                 .token_threshold = sqlite3_column_double(row, 12)};
    answer_settings_clamp(settings); /* another program may have written it */
    return conversation;
}

static struct message *read_message(sqlite3_stmt *row)
{
    struct message *message = g_new0(struct message, 1);
    message->id = sqlite3_column_int64(row, 0);
    message->conversation = sqlite3_column_int64(row, 1);
    message->parent = sqlite3_column_int64(row, 2);
    message->created = sqlite3_column_int64(row, 3);
    message->from_user = sqlite3_column_int(row, 4) != 0;
    message->text = column_text(row, 5);
    const void *blob = sqlite3_column_blob(row, 6);
    if (blob)
        message->rounds = g_bytes_new(blob, (gsize)sqlite3_column_bytes(row, 6));
    message->finish = column_text(row, 7);
    message->tokens = (guint32)sqlite3_column_int64(row, 8);
    message->forwards = (guint32)sqlite3_column_int64(row, 9);
    message->seconds = sqlite3_column_double(row, 10);
    return message;
}

typedef gpointer (*read_row_fn)(sqlite3_stmt *row);

/* All rows of a statement, which is finalized; NULL on failure. */
static GPtrArray *read_rows(struct store *store, sqlite3_stmt *statement, read_row_fn read,
                            GDestroyNotify destroy, GError **error)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func(destroy);
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        g_ptr_array_add(rows, read(statement));
    if (rc != SQLITE_DONE) {
        fail(store, error);
        g_ptr_array_unref(rows);
        rows = NULL;
    }
    sqlite3_finalize(statement);
    return rows;
}

GPtrArray *store_conversations(struct store *store, const char *search, GError **error)
{
    sqlite3_stmt *statement = prepare(store,
                                      "SELECT " COLUMNS " FROM conversations c "
                                      "WHERE NOT deleted AND (?1 = '' OR"
                                      " holds(title, ?1) OR EXISTS (SELECT 1 FROM messages m WHERE "
                                      "m.conversation = c.id AND holds(m.text, ?1)))"
                                      " ORDER BY pinned DESC, updated DESC, id DESC",
                                      error);
    if (!statement)
        return NULL;
    char *folded = g_utf8_casefold(search ? search : "", -1);
    sqlite3_bind_text(statement, 1, folded, -1, g_free);
    return read_rows(store, statement, (read_row_fn)read_conversation, (GDestroyNotify)conversation_free,
                     error);
}

GPtrArray *store_messages(struct store *store, gint64 conversation, GError **error)
{
    sqlite3_stmt *statement = prepare(
        store,
        "SELECT id, conversation, parent, created, from_user, text, rounds, finish, tokens, forwards, seconds"
        " FROM messages WHERE conversation = ? ORDER BY id",
        error);
    if (!statement)
        return NULL;
    sqlite3_bind_int64(statement, 1, conversation);
    return read_rows(store, statement, (read_row_fn)read_message, (GDestroyNotify)message_free, error);
}

gboolean store_put_conversation(struct store *store, const struct conversation *conversation, GError **error)
{
    sqlite3_stmt *statement =
        prepare(store,
                "INSERT INTO conversations (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET title = excluded.title, pinned = excluded.pinned,"
                " updated = excluded.updated, leaf = excluded.leaf, preset = excluded.preset,"
                " max_tokens = excluded.max_tokens, temperature = excluded.temperature, seed = excluded.seed,"
                " own_thresholds = excluded.own_thresholds, slot_threshold = excluded.slot_threshold,"
                " token_threshold = excluded.token_threshold",
                error);
    if (!statement)
        return FALSE;
    sqlite3_bind_int64(statement, 1, conversation->id);
    sqlite3_bind_text(statement, 2, conversation->title, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int(statement, 3, conversation->pinned);
    sqlite3_bind_int64(statement, 4, conversation->created);
    sqlite3_bind_int64(statement, 5, conversation->updated);
    sqlite3_bind_int64(statement, 6, conversation->leaf);
    const struct answer_settings *settings = &conversation->settings;
    if (settings->preset) {
        sqlite3_bind_text(statement, 7, settings->preset->name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 8, settings->max_tokens);
        sqlite3_bind_double(statement, 9, settings->temperature);
        sqlite3_bind_int64(statement, 10, (gint64)settings->seed);
        sqlite3_bind_int(statement, 11, settings->own_thresholds);
        sqlite3_bind_double(statement, 12, settings->slot_threshold);
        sqlite3_bind_double(statement, 13, settings->token_threshold);
    }
    return finish(store, statement, error);
}

gboolean store_set_deleted(struct store *store, gint64 conversation, gboolean deleted, GError **error)
{
    sqlite3_stmt *statement = prepare(store, "UPDATE conversations SET deleted = ? WHERE id = ?", error);
    if (!statement)
        return FALSE;
    sqlite3_bind_int(statement, 1, deleted);
    sqlite3_bind_int64(statement, 2, conversation);
    return finish(store, statement, error);
}

static gboolean put_message(struct store *store, const struct message *message, GError **error)
{
    sqlite3_stmt *statement =
        prepare(store,
                "INSERT INTO messages (id, conversation, parent, created, from_user, text, rounds, finish, "
                "tokens, forwards,"
                " seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET text = excluded.text, rounds = excluded.rounds, finish = "
                "excluded.finish,"
                " tokens = excluded.tokens, forwards = excluded.forwards, seconds = excluded.seconds",
                error);
    if (!statement)
        return FALSE;
    sqlite3_bind_int64(statement, 1, message->id);
    sqlite3_bind_int64(statement, 2, message->conversation);
    sqlite3_bind_int64(statement, 3, message->parent);
    sqlite3_bind_int64(statement, 4, message->created);
    sqlite3_bind_int(statement, 5, message->from_user);
    sqlite3_bind_text(statement, 6, message->text, -1, SQLITE_TRANSIENT);
    if (message->rounds) {
        gsize size;
        const void *data = g_bytes_get_data(message->rounds, &size);
        sqlite3_bind_blob64(statement, 7, data ? data : "", size, SQLITE_TRANSIENT);
    }
    sqlite3_bind_text(statement, 8, message->finish, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 9, message->tokens);
    sqlite3_bind_int64(statement, 10, message->forwards);
    sqlite3_bind_double(statement, 11, message->seconds);
    return finish(store, statement, error);
}

static gboolean touch_conversation(struct store *store, const struct message *message, gboolean as_leaf,
                                   GError **error)
{
    sqlite3_stmt *statement = prepare(
        store,
        "UPDATE conversations SET updated = ?1, leaf = CASE WHEN ?2 THEN ?3 ELSE leaf END WHERE id = ?4",
        error);
    if (!statement)
        return FALSE;
    sqlite3_bind_int64(statement, 1, g_get_real_time());
    sqlite3_bind_int(statement, 2, as_leaf);
    sqlite3_bind_int64(statement, 3, message->id);
    sqlite3_bind_int64(statement, 4, message->conversation);
    return finish(store, statement, error);
}

gboolean store_put_message(struct store *store, const struct message *message, gboolean as_leaf,
                           GError **error)
{
    if (!run(store, "BEGIN IMMEDIATE", error))
        return FALSE;
    gboolean ok = put_message(store, message, error) && touch_conversation(store, message, as_leaf, error);
    return end_transaction(store, ok, error);
}

static struct conversation *find_conversation(struct store *store, gint64 id, GError **error)
{
    sqlite3_stmt *statement = prepare(store, "SELECT " COLUMNS " FROM conversations WHERE id = ?", error);
    if (!statement)
        return NULL;
    sqlite3_bind_int64(statement, 1, id);
    struct conversation *found = NULL;
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        found = read_conversation(statement);
    else if (rc == SQLITE_DONE)
        g_set_error(error, STORE_ERROR, SQLITE_NOTFOUND, "%s: no conversation %" G_GINT64_FORMAT, store->path,
                    id);
    else
        fail(store, error);
    sqlite3_finalize(statement);
    return found;
}

/* Messages come in the order of ids, and parents are older than their children. */
static gboolean copy_messages(struct store *store, const GPtrArray *messages, struct conversation *to,
                              GError **error)
{
    gint64 leaf = 0;
    GHashTable *ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    gboolean ok = TRUE;
    for (guint i = 0; ok && i < messages->len; i++) {
        const struct message *from = messages->pdata[i];
        struct message copy = *from;
        const gint64 *parent = g_hash_table_lookup(ids, &from->parent);
        copy.id = record_new_id();
        copy.conversation = to->id;
        copy.parent = parent ? *parent : 0;
        g_hash_table_insert(ids, g_memdup2(&from->id, sizeof from->id), g_memdup2(&copy.id, sizeof copy.id));
        if (from->id == to->leaf)
            leaf = copy.id;
        ok = put_message(store, &copy, error);
    }
    g_hash_table_unref(ids);
    to->leaf = leaf;
    return ok && store_put_conversation(store, to, error);
}

gint64 store_duplicate(struct store *store, gint64 conversation, const char *title, GError **error)
{
    gint64 id = 0;
    if (!run(store, "BEGIN IMMEDIATE", error))
        return 0;
    struct conversation *copy = find_conversation(store, conversation, error);
    GPtrArray *messages = copy ? store_messages(store, conversation, error) : NULL;
    gboolean ok = messages != NULL;
    if (ok) {
        id = copy->id = record_new_id();
        copy->created = copy->updated = id;
        copy->pinned = FALSE;
        g_free(copy->title);
        copy->title = g_strdup(title);
        ok = store_put_conversation(store, copy, error) && copy_messages(store, messages, copy, error);
        g_ptr_array_unref(messages);
    }
    conversation_free(copy);
    return end_transaction(store, ok, error) ? id : 0;
}
