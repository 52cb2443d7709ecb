#include "loader/text_stream.h"

#include "engine/allocate.h"
#include "loader/utf8.h"

static enum rf_status no_memory(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "text stream: out of memory");
}

enum rf_status rf_text_stream_create(struct rf_text_stream *stream, const char *const *stops,
                                     uint32_t stop_count, struct rf_error *err)
{
    *stream = (struct rf_text_stream){0};
    if (stop_count > RF_MAX_STOPS)
        return rf_fail(err, RF_ERROR_ARGUMENT, "stop texts: %u, wanted at most %d", stop_count, RF_MAX_STOPS);
    enum rf_status status = rf_bytes_terminate(&stream->text) ? RF_OK : no_memory(err);
    for (uint32_t i = 0; i < stop_count && !status; i++) {
        size_t length = stops[i] ? strlen(stops[i]) : 0, valid = length ? rf_utf8_valid(stops[i], length) : 0;
        if (length == 0)
            status =
                rf_fail(err, RF_ERROR_ARGUMENT, "stop text %u: empty, wanted at least one character", i + 1);
        else if (valid < length)
            status = rf_fail(err, RF_ERROR_ARGUMENT, "stop text %u: invalid UTF-8 at byte %zu", i + 1, valid);
        else if (!rf_bytes_append(&stream->stops[i], stops[i], length))
            status = no_memory(err);
        stream->stop_count = i + 1;
    }
    if (status)
        rf_text_stream_free(stream);
    return status;
}

void rf_text_stream_free(struct rf_text_stream *stream)
{
    for (uint32_t i = 0; i < stream->stop_count; i++)
        rf_free(stream->stops[i].data);
    rf_free(stream->text.data);
    rf_free(stream->held.data);
    rf_free(stream->cut.data);
    rf_free(stream->token_ends.data);
    *stream = (struct rf_text_stream){0};
}

void rf_text_stream_reset(struct rf_text_stream *stream)
{
    stream->text.length = stream->held.length = stream->cut.length = stream->token_ends.length = 0;
    if (stream->text.data)
        stream->text.data[0] = '\0';
    stream->stopped = stream->finished = false;
}

/* Does a stop text stand at held[at]? *partial: one begins there, but the text ends before it does. */
static bool stop_at(const struct rf_text_stream *stream, size_t at, bool *partial)
{
    size_t left = stream->held.length - at;
    *partial = false;
    for (uint32_t i = 0; i < stream->stop_count; i++) {
        const struct rf_bytes *stop = &stream->stops[i];
        size_t compare = stop->length < left ? stop->length : left;
        if (memcmp(stop->data, stream->held.data + at, compare) != 0)
            continue;
        if (compare == stop->length)
            return true;
        *partial = true;
    }
    return false;
}

/* Gives out what is certain of `held`. A stop text that is complete still waits while one that began before
 * it may yet be completed: the first by position counts. */
static enum rf_status release(struct rf_text_stream *stream, struct rf_error *err)
{
    size_t at = 0;
    while (at < stream->held.length && !stream->stopped) {
        bool partial;
        stream->stopped = stop_at(stream, at, &partial);
        if (stream->stopped || (partial && !stream->finished))
            break;
        at++;
    }
    /* Stop texts begin where characters do, so `at` is never inside a character. */
    if (!rf_bytes_append(&stream->text, stream->held.data, at) || !rf_bytes_terminate(&stream->text))
        return no_memory(err);
    stream->held.length -= at;
    if (stream->held.length)
        memmove(stream->held.data, stream->held.data + at, stream->held.length);
    return RF_OK;
}

enum rf_status rf_text_stream_push(struct rf_text_stream *stream, const char *bytes, size_t length,
                                   struct rf_error *err)
{
    if (stream->stopped || stream->finished)
        return RF_OK;
    struct rf_bytes *cut = &stream->cut;
    size_t used = 0;
    if (!rf_bytes_append(cut, bytes, length) ||
        !rf_utf8_append_replaced(&stream->held, cut->data, cut->length, false, &used))
        return no_memory(err);
    cut->length -= used;
    if (cut->length && used)
        memmove(cut->data, cut->data + used, cut->length);
    /* A character that has begun but not ended reaches at least one byte further. */
    size_t end = stream->text.length + stream->held.length + (cut->length > 0);
    if (!rf_bytes_append(&stream->token_ends, (const char *)&end, sizeof end))
        return no_memory(err);
    return release(stream, err);
}

enum rf_status rf_text_stream_finish(struct rf_text_stream *stream, struct rf_error *err)
{
    if (stream->stopped || stream->finished)
        return RF_OK;
    size_t used = 0;
    if (!rf_utf8_append_replaced(&stream->held, stream->cut.data, stream->cut.length, true, &used))
        return no_memory(err);
    stream->cut.length = 0;
    stream->finished = true;
    return release(stream, err);
}

const char *rf_text_stream_text(const struct rf_text_stream *stream, size_t *length)
{
    if (length)
        *length = stream->text.length;
    return stream->text.data;
}

bool rf_text_stream_stopped(const struct rf_text_stream *stream)
{
    return stream->stopped;
}

size_t rf_text_stream_tokens(const struct rf_text_stream *stream)
{
    size_t count = stream->token_ends.length / sizeof(size_t);
    if (!stream->stopped)
        return count;
    for (size_t i = 0; i < count; i++) {
        size_t end;
        memcpy(&end, stream->token_ends.data + i * sizeof end, sizeof end);
        if (end > stream->text.length)
            return i;
    }
    return count;
}
