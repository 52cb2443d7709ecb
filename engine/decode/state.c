/* What a session holds between responses, in a file: the tokens whose rows lie in position order, and those rows. The
 * file is a header, the tokens, padded to whole words of 64 bits, the KV pages as they stand on the device, and a
 * checksum of all that. Rows of a page behind the last token are zeroed: they may be another conversation's. */
#include <inttypes.h>
#include <string.h>

#include "engine/allocate.h"
#include "engine/arithmetic.h"
#include "engine/decode/session.h"
#include "loader/file_map.h"
#include "loader/file_out.h"

static const char magic[8] = "rfstate";
enum { VERSION = 1 };

/* Numbers in the order of the host, which is little-endian wherever Vulkan runs. */
struct header {
    char magic[8];
    uint32_t version, bytes; /* of the header */
    uint64_t model;          /* rf_model.fingerprint */
    uint64_t page_bytes;
    uint32_t tokens, reserved;
};

/* Words of 64 bits; finds damage, does not withstand intent. */
static uint64_t checksum(uint64_t sum, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t word;
    for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 29;
    }
    return sum;
}

static uint64_t token_bytes(uint32_t tokens)
{
    return ((uint64_t)tokens * 4 + 7) / 8 * 8;
}

/* The rows of a page from `rows` on. */
static void clear_rows(const struct rf_model *model, unsigned char *page, uint32_t rows)
{
    const struct rf_model_config *c = &model->config;
    const size_t element = model->fp16 ? 2 : 4, quad = 4 * element, row = c->head_dim * element;
    for (uint32_t head = 0; head < c->layers * c->kv_heads; head++) {
        for (uint32_t q = 0; q < c->head_dim / 4; q++, page += RF_PAGE_ROWS * quad)
            memset(page + rows * quad, 0, (RF_PAGE_ROWS - rows) * quad); /* of K */
        memset(page + rows * row, 0, (RF_PAGE_ROWS - rows) * row);       /* of V */
        page += RF_PAGE_ROWS * row;
    }
}

static enum rf_status read_page(struct rf_session *s, uint32_t index, unsigned char *page,
                                struct rf_error *err)
{
    struct rf_model *model = s->model;
    uint32_t rows = s->cached_count - index * RF_PAGE_ROWS;
    pthread_mutex_lock(&model->mutex);
    enum rf_status status =
        rf_gpu_read(model->gpu, rf_kv_span(s->pages[index]), page, rf_model_page_bytes(model), err);
    pthread_mutex_unlock(&model->mutex);
    if (!status && rows < RF_PAGE_ROWS)
        clear_rows(model, page, rows);
    return status;
}

/* Writes, and adds to the checksum. */
static enum rf_status put(struct rf_file_out *file, uint64_t *sum, const void *data, uint64_t size,
                          struct rf_error *err)
{
    *sum = checksum(*sum, data, size);
    return rf_file_out_write(file, data, size, err);
}

static enum rf_status write_state(struct rf_session *s, struct rf_file_out *file, unsigned char *page,
                                  uint32_t *tokens, struct rf_error *err)
{
    struct header header = {.version = VERSION,
                            .bytes = sizeof header,
                            .model = s->model->fingerprint,
                            .page_bytes = rf_model_page_bytes(s->model),
                            .tokens = s->cached_count};
    uint32_t pages = rf_divide_up(s->cached_count, RF_PAGE_ROWS);
    uint64_t sum = 0;
    memcpy(header.magic, magic, sizeof magic);
    memcpy(tokens, s->cached, s->cached_count * sizeof *tokens);
    enum rf_status status = put(file, &sum, &header, sizeof header, err);
    if (!status)
        status = put(file, &sum, tokens, token_bytes(header.tokens), err);
    for (uint32_t p = 0; !status && p < pages; p++) {
        status = read_page(s, p, page, err);
        if (!status)
            status = put(file, &sum, page, header.page_bytes, err);
    }
    if (!status)
        status = rf_file_out_write(file, &sum, sizeof sum, err);
    return status ? status : rf_file_out_commit(file, err);
}

enum rf_status rf_session_save(rf_session *s, const char *path, struct rf_error *err)
{
    if (!s || !path)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_save: session and path are needed");
    if (!s->finished)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_save: the session is in the middle of a response");
    RF_ALLOCATE_FROM(rf_gpu_allocator(s->model->gpu));
    uint64_t page_bytes = rf_model_page_bytes(s->model);
    uint64_t bytes = sizeof(struct header) + token_bytes(s->cached_count) +
                     rf_divide_up(s->cached_count, RF_PAGE_ROWS) * page_bytes + sizeof(uint64_t);
    struct rf_file_out file;
    unsigned char *page = rf_malloc(page_bytes);
    uint32_t *tokens = rf_calloc(token_bytes(s->cached_count) + 8, 1);
    enum rf_status status = page && tokens
                                ? rf_file_out_open(&file, path, bytes, err)
                                : rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory to save a session");
    if (!status) {
        status = write_state(s, &file, page, tokens, err);
        rf_file_out_close(&file);
    }
    rf_free(page);
    rf_free(tokens);
    return status;
}

/* ---- Loading ---------------------------------------------------------------------------------------- */

/* Everything that the file claims, before anything is made of it. */
static enum rf_status check(const struct rf_model *model, const struct rf_file_map *map, const char *path,
                            struct header *header, struct rf_error *err)
{
    if (map->size < sizeof *header || memcmp(map->data, magic, sizeof magic) != 0)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: is no saved session: it does not begin with \"%s\"", path,
                       magic);
    memcpy(header, map->data, sizeof *header);
    if (header->version != VERSION || header->bytes != sizeof *header)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: a saved session of version %" PRIu32 ", wanted %d",
                       path, header->version, VERSION);
    if (header->model != model->fingerprint || header->page_bytes != rf_model_page_bytes(model))
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "%s: was saved with another model, or with this one in another precision or type",
                       path);
    if (header->tokens >= model->context_length)
        return rf_fail(err, RF_ERROR_CONTEXT_FULL,
                       "%s: holds %" PRIu32 " tokens, wanted fewer than the context length, %u", path,
                       header->tokens, model->context_length);
    uint64_t tokens = token_bytes(header->tokens);
    uint64_t wanted = sizeof *header + tokens +
                      rf_divide_up(header->tokens, RF_PAGE_ROWS) * header->page_bytes + sizeof(uint64_t);
    if (map->size != wanted)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: has %" PRIu64 " bytes, wanted %" PRIu64 " for %" PRIu32 " tokens: it is damaged",
                       path, map->size, wanted, header->tokens);
    uint64_t sum = checksum(0, map->data, map->size - sizeof sum), written;
    memcpy(&written, map->data + map->size - sizeof written, sizeof written);
    if (sum != written)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: its checksum is %016" PRIx64 ", wanted %016" PRIx64 ": it is damaged", path, sum,
                       written);
    for (uint32_t i = 0; i < header->tokens; i++) {
        uint32_t token;
        memcpy(&token, map->data + sizeof *header + i * sizeof token, sizeof token);
        if (token >= model->config.vocab)
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: token %" PRIu32 " is %" PRIu32 ", wanted an id below %u", path, i, token,
                           model->config.vocab);
    }
    return RF_OK;
}

static enum rf_status take_state(struct rf_session *s, const struct rf_file_map *map,
                                 const struct header *header, struct rf_error *err)
{
    const unsigned char *at = map->data + sizeof *header;
    memcpy(s->cached, at, header->tokens * sizeof *s->cached);
    at += token_bytes(header->tokens);
    pthread_mutex_lock(&s->model->mutex);
    enum rf_status status = rf_session_cover(s, 0, header->tokens, err);
    for (uint32_t p = 0; !status && p < rf_divide_up(header->tokens, RF_PAGE_ROWS);
         p++, at += header->page_bytes)
        status = rf_gpu_write(s->model->gpu, rf_kv_span(s->pages[p]), at, header->page_bytes, err);
    pthread_mutex_unlock(&s->model->mutex);
    if (!status)
        s->cached_count = s->committed = header->tokens;
    return status;
}

enum rf_status rf_session_load(rf_session **out, rf_model *model, const char *path,
                               const struct rf_session_desc *desc, struct rf_error *err)
{
    struct rf_file_map map;
    struct header header;
    if (!out || !model || !path)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_load: out, model and path are needed");
    *out = NULL;
    RF_ALLOCATE_FROM(rf_gpu_allocator(model->gpu));
    enum rf_status status = rf_file_map_open(&map, path, err);
    if (status)
        return status;
    status = check(model, &map, path, &header, err);
    if (!status)
        status = rf_session_create(out, model, desc, err);
    if (!status)
        status = take_state(*out, &map, &header, err);
    rf_file_map_close(&map);
    if (status) {
        rf_session_destroy(*out);
        *out = NULL;
    }
    return status;
}
