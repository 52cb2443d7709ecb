/* Qwen3's chat template, written out in C: messages become ChatML.
 *
 * The rendered prompt is a row of pieces. Control pieces (<|im_start|>, <|im_end|>, <think>, </think>) come
 * from the template alone and become added tokens; text pieces hold roles and content and are encoded as
 * plain text, so that nothing a message holds can become a control token. Neighbouring text is one piece,
 * because BPE and the split pattern look across the border between "user\n" and what follows it. */
#ifndef RF_LOADER_CHAT_H
#define RF_LOADER_CHAT_H

#include "loader/growable.h"
#include "loader/tokenizer.h"

struct rf_chat_piece {
    size_t offset, length; /* into text.data */
    bool control;
};

struct rf_chat {
    struct rf_bytes text; /* the whole rendered prompt */
    struct rf_chat_piece *pieces;
    size_t count, capacity;
};

/* Roles other than system, user and assistant are refused, as is content that is not UTF-8; then *chat is
 * empty. */
enum rf_status rf_chat_render(struct rf_chat *chat, const struct rf_message *messages, size_t count,
                              bool thinking, bool generation_prompt, struct rf_error *err);
void rf_chat_free(struct rf_chat *chat);

#endif
