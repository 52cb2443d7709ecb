/* What is remembered of conversations: a conversation's messages are a tree, and its leaf says which path is
 * shown. */
#ifndef DESKTOP_RECORDS_H
#define DESKTOP_RECORDS_H

#include "apps/desktop/presets.h"

struct conversation {
    gint64 id;
    gint64 leaf;             /* last message of the path that is shown; 0: none yet */
    gint64 created, updated; /* microseconds since 1970 */
    char *title;
    gboolean pinned;
    struct answer_settings settings; /* that it was last asked with */
};

/* How an answer ended, beside the library's own reasons ("stop", "stop_text", "length"). */
#define FINISH_RUNNING     ""            /* being written; after a crash it becomes the next */
#define FINISH_INTERRUPTED "interrupted" /* the program ended before the answer did */
#define FINISH_STOPPED     "stopped"     /* by the user */
#define FINISH_FAILED      "failed"

struct message {
    gint64 id;
    gint64 conversation;
    gint64 parent;  /* 0: the first of the conversation */
    gint64 created; /* microseconds since 1970 */
    gboolean from_user;
    char *text;
    GBytes *rounds; /* which round decided which bytes of text, see rounds.h; NULL: not known */
    char *finish;
    guint32 tokens, forwards;
    double seconds; /* that the answer took; 0: none yet */
};

/* Increasing, and unique within this process: the time, in microseconds since 1970. Thread-safe. */
gint64 record_new_id(void);

struct conversation *conversation_copy(const struct conversation *conversation);
void conversation_free(struct conversation *conversation); /* NULL is fine */
struct message *message_copy(const struct message *message);
void message_free(struct message *message); /* NULL is fine */

/* Arrays are GPtrArray of struct message, in the order of their ids. What is returned is borrowed, but for
 * arrays. */
struct message *messages_find(const GPtrArray *messages, gint64 id);
/* From the first message to `leaf`; free with g_ptr_array_unref. A leaf that is not there gives an empty
 * path. */
GPtrArray *messages_path(const GPtrArray *messages, gint64 leaf);
/* Those with the same parent, `id` included; free with g_ptr_array_unref. */
GPtrArray *messages_siblings(const GPtrArray *messages, gint64 id);
/* The leaf below `id` that was written last: where a switch of branches leads. */
gint64 messages_last_leaf(const GPtrArray *messages, gint64 id);
/* A path as Markdown, with the title as its heading; free with g_free. */
char *messages_to_markdown(const char *title, const GPtrArray *path);
/* A conversation's name until the user gives one: the first line of the question, at most 60 characters. */
char *title_from_question(const char *question);

#endif
