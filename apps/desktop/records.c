#include "apps/desktop/records.h"

#include <string.h>

gint64 record_new_id(void)
{
    static GMutex mutex;
    static gint64 last;
    g_mutex_lock(&mutex);
    gint64 now = g_get_real_time();
    last = now > last ? now : last + 1;
    gint64 id = last;
    g_mutex_unlock(&mutex);
    return id;
}

struct conversation *conversation_copy(const struct conversation *conversation)
{
    struct conversation *copy = g_memdup2(conversation, sizeof *conversation);
    copy->title = g_strdup(conversation->title);
    return copy;
}

void conversation_free(struct conversation *conversation)
{
    if (!conversation)
        return;
    g_free(conversation->title);
    g_free(conversation);
}

struct message *message_copy(const struct message *message)
{
    struct message *copy = g_memdup2(message, sizeof *message);
    copy->text = g_strdup(message->text);
    copy->finish = g_strdup(message->finish);
    if (message->rounds)
        g_bytes_ref(message->rounds);
    return copy;
}

void message_free(struct message *message)
{
    if (!message)
        return;
    g_free(message->text);
    g_free(message->finish);
    if (message->rounds)
        g_bytes_unref(message->rounds);
    g_free(message);
}

struct message *messages_find(const GPtrArray *messages, gint64 id)
{
    for (guint i = 0; i < messages->len; i++) {
        struct message *message = messages->pdata[i];
        if (message->id == id)
            return message;
    }
    return NULL;
}

GPtrArray *messages_path(const GPtrArray *messages, gint64 leaf)
{
    GPtrArray *path = g_ptr_array_new();
    struct message *message = messages_find(messages, leaf);
    /* A damaged file may hold a circle: no path is longer than there are messages. */
    while (message && path->len < messages->len) {
        g_ptr_array_insert(path, 0, message);
        message = messages_find(messages, message->parent);
    }
    return path;
}

GPtrArray *messages_siblings(const GPtrArray *messages, gint64 id)
{
    GPtrArray *siblings = g_ptr_array_new();
    const struct message *self = messages_find(messages, id);
    for (guint i = 0; self && i < messages->len; i++) {
        struct message *message = messages->pdata[i];
        if (message->parent == self->parent)
            g_ptr_array_add(siblings, message);
    }
    return siblings;
}

gint64 messages_last_leaf(const GPtrArray *messages, gint64 id)
{
    gint64 leaf = id;
    for (guint depth = 0; depth < messages->len; depth++) {
        gint64 child = 0;
        for (guint i = 0; i < messages->len; i++) {
            const struct message *message = messages->pdata[i];
            if (message->parent == leaf && message->id > child)
                child = message->id;
        }
        if (!child)
            break;
        leaf = child;
    }
    return leaf;
}

static const char *finish_remark(const char *finish)
{
    if (g_str_equal(finish, FINISH_STOPPED))
        return "*(stopped)*";
    if (g_str_equal(finish, FINISH_INTERRUPTED) || g_str_equal(finish, FINISH_FAILED))
        return "*(not finished)*";
    if (g_str_equal(finish, "length"))
        return "*(cut at the most tokens)*";
    return NULL;
}

char *messages_to_markdown(const char *title, const GPtrArray *path)
{
    GString *out = g_string_new(NULL);
    g_string_append_printf(out, "# %s\n", title);
    for (guint i = 0; i < path->len; i++) {
        const struct message *message = path->pdata[i];
        const char *remark = message->from_user ? NULL : finish_remark(message->finish);
        g_string_append_printf(out, "\n## %s\n\n%s\n", message->from_user ? "Question" : "Answer",
                               message->text);
        if (remark)
            g_string_append_printf(out, "\n%s\n", remark);
    }
    return g_string_free(out, FALSE);
}

char *title_from_question(const char *question)
{
    enum { LONGEST = 60 }; /* characters */
    char *line = g_strstrip(g_strdup(question));
    char *end = strpbrk(line, "\r\n");
    if (end)
        *end = '\0';
    if (g_utf8_strlen(line, -1) > LONGEST) {
        char *head = g_utf8_substring(line, 0, LONGEST - 1);
        g_free(line);
        line = g_strconcat(g_strchomp(head), "…", NULL);
        g_free(head);
    }
    return line;
}
