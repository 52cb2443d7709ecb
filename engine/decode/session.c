#include "engine/decode/session.h"

#include <string.h>

#include "engine/allocate.h"
#include "engine/arithmetic.h"
#include "engine/desc.h"
#include "loader/json.h"
#include "loader/tokenizer.h"

enum { DEFAULT_RESPONSE = 512 };

/* Pages of committed rows, and as many of scratch, and one for where it begins. */
static uint32_t page_slots(uint32_t context_length)
{
    return 2 * rf_divide_up(context_length, RF_PAGE_ROWS) + 1;
}

/* ---- Device memory ---------------------------------------------------------------------------------- */

static void free_memory(struct rf_session *s)
{
    struct rf_session_memory *m = &s->memory;
    if (s->has_seq)
        rf_forward_drop_commit(s->model->forward, s->seq);
    rf_arena_destroy(m->device);
    rf_arena_destroy(m->upload);
    rf_arena_destroy(m->readback);
    memset(m, 0, sizeof *m);
}

static enum rf_status alloc_spans(struct rf_session *s, uint32_t rows, struct rf_error *err)
{
    struct rf_session_memory *m = &s->memory;
    const struct {
        struct rf_span *span;
        struct rf_arena *arena;
        uint64_t bytes;
        const char *label;
    } wanted[] = {
        {&m->pages, m->upload, (uint64_t)s->page_slots * 8, "page table"},
        {&m->rows, m->upload, rows * sizeof(struct rf_row), "pending rows"},
        {&m->slots, m->upload, rows * 4ull, "remaining slots"},
        {&m->results, m->device, rows * sizeof(struct rf_result), "row results"},
        {&m->state, m->device, sizeof(struct rf_round_state), "round state"},
        {&m->chosen, m->device, rows * 4ull, "chosen slots"},
        {&m->tokens, m->device, rows * 4ull, "drafts"},
        {&m->tagged, m->device, rows * 4ull, "agreed tokens"},
        {&m->status, m->readback, sizeof(struct rf_status_head) + rows * 8ull, "status"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        enum rf_status status =
            rf_arena_alloc(wanted[i].arena, wanted[i].span, wanted[i].bytes, wanted[i].label, err);
        if (status)
            return status;
    }
    return RF_OK;
}

uint64_t rf_session_bytes(rf_model *model)
{
    struct rf_session s = {.model = model, .page_slots = page_slots(model->context_length)};
    struct rf_session_memory *m = &s.memory;
    uint64_t bytes = 0;
    m->device = rf_arena_create_counted(model->gpu, RF_MEMORY_DEVICE, "session");
    m->upload = rf_arena_create_counted(model->gpu, RF_MEMORY_UPLOAD, "session rows");
    m->readback = rf_arena_create_counted(model->gpu, RF_MEMORY_READBACK, "session status");
    if (m->device && m->upload && m->readback && alloc_spans(&s, RF_MAX_ROWS, NULL) == RF_OK)
        bytes = rf_arena_bytes(m->device) + rf_arena_bytes(m->upload) + rf_arena_bytes(m->readback);
    free_memory(&s);
    return bytes;
}

static void write_seq(struct rf_session *s)
{
    const struct rf_session_memory *m = &s->memory;
    struct rf_seq *seq = &rf_forward_seqs(s->model->forward)[s->seq];
    memset(seq, 0, sizeof *seq);
    seq->pages = m->pages.address;
    seq->rows = m->rows.address;
    seq->results = m->results.address;
    seq->slots = m->slots.address;
    seq->state = m->state.address;
    seq->chosen = m->chosen.address;
    seq->tokens = m->tokens.address;
    seq->tagged = m->tagged.address;
    seq->status = m->status.address;
    seq->status_tokens = m->row_capacity;
    seq->scratch_first = s->scratch_first;
    seq->slot_size = s->settings.slot_size;
    seq->slot_threshold = s->settings.slot_threshold;
    seq->token_threshold = s->settings.token_threshold;
    seq->mask_token = s->mask_token;
    seq->eos_count = s->eos_count;
    memcpy(seq->eos, s->eos, sizeof seq->eos);
    seq->inverse_temperature = s->settings.temperature > 0.0f ? 1.0f / s->settings.temperature : 0.0f;
    seq->seed_low = (uint32_t)s->settings.seed;
    seq->seed_high = (uint32_t)(s->settings.seed >> 32);
}

static void write_page_table(struct rf_session *s)
{
    uint64_t *table = s->memory.pages.host;
    for (uint32_t p = 0; p < s->page_slots; p++)
        table[p] = s->pages[p] ? rf_kv_span(s->pages[p]).address : 0;
}

enum rf_status rf_session_commit(struct rf_session *s, struct rf_cmd **cmd, struct rf_error *err)
{
    return rf_forward_commit(s->model->forward, s->seq, s->memory.state, cmd, err);
}

/* Room for `rows` pending rows, results and slots. Keeps what the session has when it is enough. */
static enum rf_status reserve_memory(struct rf_session *s, uint32_t rows, struct rf_error *err)
{
    struct rf_session_memory *m = &s->memory;
    if (rows < RF_MAX_ROWS)
        rows = RF_MAX_ROWS;
    if (rows <= m->row_capacity)
        return RF_OK;
    free_memory(s);
    struct rf_gpu *gpu = s->model->gpu;
    m->device = rf_arena_create(gpu, RF_MEMORY_DEVICE, "session");
    m->upload = rf_arena_create(gpu, RF_MEMORY_UPLOAD, "session rows");
    m->readback = rf_arena_create(gpu, RF_MEMORY_READBACK, "session status");
    enum rf_status status = RF_OK;
    if (!m->device || !m->upload || !m->readback)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a session's arenas");
    if (!status)
        status = alloc_spans(s, rows, err);
    const struct rf_round_state state = {.commit_y = s->model->config.layers, .commit_z = 1};
    if (!status)
        status = rf_gpu_write(gpu, m->state, &state, sizeof state, err);
    struct rf_cmd *commit;
    if (!status)
        status = rf_session_commit(s, &commit, err);
    if (status) {
        free_memory(s);
        return status;
    }
    m->row_capacity = rows;
    memset(m->status.host, 0, m->status.size);
    write_page_table(s);
    return RF_OK;
}

/* ---- Pages ------------------------------------------------------------------------------------------ */

enum rf_status rf_session_cover(struct rf_session *s, uint32_t first, uint32_t end, struct rf_error *err)
{
    uint64_t *table = s->memory.pages.host;
    for (uint32_t p = first / RF_PAGE_ROWS; p < rf_divide_up(end, RF_PAGE_ROWS); p++) {
        enum rf_status status = s->pages[p] ? rf_kv_own(s->model->pool, &s->pages[p], err)
                                            : rf_kv_take(s->model->pool, &s->pages[p], err);
        if (status)
            return status;
        table[p] = rf_kv_span(s->pages[p]).address;
    }
    return RF_OK;
}

static void release_pages(struct rf_session *s, uint32_t first_page)
{
    for (uint32_t p = first_page; p < s->page_slots; p++) {
        rf_kv_release(s->model->pool, s->pages[p]);
        s->pages[p] = NULL;
    }
}

/* ---- Creation --------------------------------------------------------------------------------------- */

static void pick_tokens(struct rf_session *s)
{
    const rf_model *model = s->model;
    s->mask_token = model->mask_token;
    bool original = s->settings.reference && model->eos_count > 0;
    s->eos_count = original ? 1 : model->eos_count;
    memcpy(s->eos, model->eos_tokens, sizeof s->eos);
}

static enum rf_status check_model(const struct rf_session *s, struct rf_error *err)
{
    if (s->settings.decode == RF_DECODE_REFUSION && s->mask_token == RF_NONE)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "this model has no mask token, so it is no ReFusion model: only sequential decoding "
                       "runs it (RF_DECODE_AR, --decode ar)");
    return RF_OK;
}

/* A preset that the model names, which may be of a later version, is told as the model's. */
static enum rf_status resolve_settings(struct rf_session *s, const struct rf_decode_settings *wanted,
                                       struct rf_error *err)
{
    struct rf_decode_settings settings = *wanted;
    const char *own = s->model->config.preset;
    if (settings.preset || !own[0])
        return rf_settings_resolve(&s->settings, &settings, err);
    if (!rf_settings_know(own))
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "the model's refusion_preset is \"%s\", which refusion " RF_VERSION
                       " does not know: wanted a preset in the settings",
                       rf_json_printable(own).text);
    settings.preset = own;
    return rf_settings_resolve(&s->settings, &settings, err);
}

static enum rf_status build(struct rf_session *s, const struct rf_session_desc *desc, struct rf_error *err)
{
    uint32_t context = s->model->context_length, pages = rf_divide_up(context, RF_PAGE_ROWS);
    enum rf_status status = resolve_settings(s, &desc->settings, err);
    if (status)
        return status;
    pick_tokens(s);
    status = check_model(s, err);
    if (!status && desc->stop_count && !desc->stops)
        status = rf_fail(err, RF_ERROR_ARGUMENT, "stops is NULL: wanted %u texts", desc->stop_count);
    if (!status)
        status = rf_text_stream_create(&s->text, desc->stops, desc->stop_count, err);
    if (status)
        return status;
    s->deterministic = desc->deterministic;
    s->scratch_first = pages * RF_PAGE_ROWS;
    s->page_slots = page_slots(context);
    s->pages = rf_calloc(s->page_slots, sizeof(struct rf_kv_page *));
    s->cached = rf_malloc(context * sizeof *s->cached);
    s->prompt = rf_malloc(context * sizeof *s->prompt);
    if (!s->pages || !s->cached || !s->prompt)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a session of %u rows", context);
    status = rf_model_take_seq(s->model, &s->seq, err);
    if (status)
        return status;
    s->has_seq = true;
    pthread_mutex_lock(&s->model->mutex);
    status = reserve_memory(s, RF_MAX_ROWS, err);
    pthread_mutex_unlock(&s->model->mutex);
    return status;
}

enum rf_status rf_session_create(rf_session **out, rf_model *model, const struct rf_session_desc *desc,
                                 struct rf_error *err)
{
    struct rf_session_desc known;
    if (!out || !model)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_create: out and model are needed");
    *out = NULL;
    if (rf_gpu_captures(model->gpu))
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_create: the model's device only compiles");
    RF_ALLOCATE_FROM(rf_gpu_allocator(model->gpu));
    enum rf_status status = RF_DESC_READ(&known, rf_session_desc, desc, err);
    if (status)
        return status;
    struct rf_session *s = rf_calloc(1, sizeof *s);
    if (!s)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a session");
    s->model = model;
    s->finished = true; /* nothing begun */
    s->finish_reason = "";
    atomic_init(&s->cancelled, false);
    status = build(s, &known, err);
    if (status) {
        rf_session_destroy(s);
        return status;
    }
    *out = s;
    return RF_OK;
}

void rf_session_destroy(rf_session *s)
{
    if (!s)
        return;
    RF_ALLOCATE_FROM(rf_gpu_allocator(s->model->gpu));
    if (s->pages)
        release_pages(s, 0);
    pthread_mutex_lock(&s->model->mutex); /* the forward holds a command buffer over the memory */
    free_memory(s);
    pthread_mutex_unlock(&s->model->mutex);
    if (s->has_seq)
        rf_model_return_seq(s->model, s->seq);
    rf_text_stream_free(&s->text);
    rf_free(s->pages);
    rf_free(s->cached);
    rf_free(s->prompt);
    rf_free(s->remaining);
    rf_free(s->response);
    rf_free(s->events);
    rf_free(s->shown);
    rf_free(s);
}

enum rf_status rf_session_fork(rf_session **out, rf_session *parent, const struct rf_session_desc *desc,
                               struct rf_error *err)
{
    if (!out || !parent)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_fork: out and session are needed");
    *out = NULL;
    if (!parent->finished)
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_fork: the session is in the middle of a response");
    enum rf_status status = rf_session_create(out, parent->model, desc, err);
    if (status)
        return status;
    rf_session *s = *out;
    memcpy(s->cached, parent->cached, parent->cached_count * sizeof *s->cached);
    s->cached_count = s->committed = parent->cached_count;
    for (uint32_t p = 0; p < rf_divide_up(s->cached_count, RF_PAGE_ROWS); p++) {
        rf_kv_share(parent->model->pool, parent->pages[p]);
        s->pages[p] = parent->pages[p];
    }
    write_page_table(s);
    return RF_OK;
}

/* ---- A response begins ------------------------------------------------------------------------------ */

static enum rf_status check_prompt(const struct rf_session *s, const uint32_t *tokens, size_t count,
                                   struct rf_error *err)
{
    if (count == 0)
        return rf_fail(err, RF_ERROR_ARGUMENT, "the prompt is empty: wanted at least one token");
    if (count >= s->model->context_length)
        return rf_fail(err, RF_ERROR_CONTEXT_FULL,
                       "the prompt has %zu tokens: wanted fewer than the context length, %u", count,
                       s->model->context_length);
    for (size_t i = 0; i < count; i++)
        if (tokens[i] >= s->model->config.vocab)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "prompt token %zu is %u: wanted an id below the vocabulary, %u", i, tokens[i],
                           s->model->config.vocab);
    return RF_OK;
}

/* How long a response is: see rf_session.limit and .length. */
struct response_plan {
    uint32_t length, limit;
};

/* Length rules: -n is a cap, whole slots are decoded, the last block may be shorter; the original refuses
 * what does not divide. */
static enum rf_status plan_length(const struct rf_session *s, size_t prompt, struct response_plan *plan,
                                  struct rf_error *err)
{
    const struct rf_settings *set = &s->settings;
    uint32_t room = s->model->context_length - (uint32_t)prompt;
    uint32_t unit = set->decode == RF_DECODE_AR ? 1 : set->slot_size;
    plan->limit = set->max_tokens;
    if (plan->limit == 0) {
        plan->limit = room / unit * unit < DEFAULT_RESPONSE ? room / unit * unit : DEFAULT_RESPONSE;
        if (set->reference)
            plan->limit = plan->limit / set->block * set->block;
        if (plan->limit == 0)
            return rf_fail(err, RF_ERROR_CONTEXT_FULL,
                           "a prompt of %zu tokens leaves %u of the context length %u: no room for "
                           "one %s",
                           prompt, room, s->model->context_length, set->reference ? "block" : "slot");
    }
    plan->length = rf_divide_up(plan->limit, unit) * unit;
    if (plan->length > room)
        return rf_fail(err, RF_ERROR_CONTEXT_FULL,
                       "a prompt of %zu tokens and %u of response (max-tokens %u in whole slots) "
                       "exceed the context length, %u",
                       prompt, plan->length, plan->limit, s->model->context_length);
    if (set->reference && set->decode == RF_DECODE_REFUSION && plan->length % set->block)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "reference: %u response tokens are no multiple of the block, %u", plan->length,
                       set->block);
    if (set->reference)
        plan->limit = plan->length;
    return RF_OK;
}

static enum rf_status grow(void **array, size_t count, size_t size, struct rf_error *err)
{
    void *bigger = rf_realloc(*array, count * size);
    if (!bigger)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a response of %zu tokens", count);
    *array = bigger;
    return RF_OK;
}

/* Events of one round: every token of a block planned, committed and dropped once, later blocks dropped, the
 * end. */
static enum rf_status reserve_response(struct rf_session *s, uint32_t length, struct rf_error *err)
{
    uint32_t block = s->settings.block < length ? s->settings.block : length;
    s->event_capacity = 3 * (size_t)block + 4;
    void *remaining = s->remaining, *response = s->response, *shown = s->shown, *events = s->events;
    enum rf_status status = grow(&remaining, block, sizeof *s->remaining, err);
    s->remaining = remaining;
    if (!status)
        status = grow(&response, length, sizeof *s->response, err);
    s->response = response;
    if (!status)
        status = grow(&shown, length, sizeof *s->shown, err);
    s->shown = shown;
    if (!status)
        status = grow(&events, s->event_capacity, sizeof *s->events, err);
    s->events = events;
    if (!status)
        status = reserve_memory(s, block, err);
    if (!status)
        status = rf_session_cover(s, s->scratch_first, s->scratch_first + block, err);
    return status;
}

static uint32_t common_prefix(const struct rf_session *s, const uint32_t *tokens, size_t count)
{
    uint32_t i = 0;
    while (i < s->cached_count && i < count && s->cached[i] == tokens[i])
        i++;
    return i;
}

static enum rf_status begin(struct rf_session *s, const uint32_t *tokens, size_t count, struct rf_error *err)
{
    struct response_plan plan = {0};
    enum rf_status status = check_prompt(s, tokens, count, err);
    if (!status)
        status = plan_length(s, count, &plan, err);
    if (!status)
        status = reserve_response(s, plan.length, err);
    if (status)
        return status;
    s->length = plan.length;
    s->limit = plan.limit;
    for (uint32_t i = 0; i < s->length; i++)
        s->response[i] = RF_NONE;
    memmove(s->prompt, tokens, count * sizeof *tokens);
    s->prompt_count = (uint32_t)count;
    s->committed = s->cached_count = common_prefix(s, tokens, count);
    memset(&s->stats, 0, sizeof s->stats);
    memset(&s->failure, 0, sizeof s->failure);
    s->stats.prompt_tokens = s->prompt_count;
    s->stats.cached_tokens = s->cached_count;
    s->block_first = s->produced = 0;
    s->reference_sum = 0.0;
    s->draw = 1;
    s->ended = s->finished = s->prefilled = s->round_over = false;
    write_seq(s);
    if (s->settings.decode == RF_DECODE_AR)
        rf_sequential_start(s);
    else
        rf_round_start_block(s);
    return RF_OK;
}

/* Whatever the session shows is of the response before, whose arrays the next one takes over: a failed begin
 * leaves none. */
static void give_up_response(struct rf_session *s)
{
    s->finished = true;
    s->finish_reason = "";
    s->broken = false;
    s->pass = RF_PASS_NONE;
    s->length = s->limit = s->streamed = 0;
    s->event_count = s->shown_count = 0;
    s->eos_reached = false;
    rf_text_stream_reset(&s->text);
}

enum rf_status rf_session_begin(rf_session *s, const uint32_t *tokens, size_t count, struct rf_error *err)
{
    if (!s || (!tokens && count))
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_begin: session and tokens are needed");
    RF_ALLOCATE_FROM(rf_gpu_allocator(s->model->gpu));
    give_up_response(s);
    atomic_store(&s->cancelled, false);
    pthread_mutex_lock(&s->model->mutex);
    /* Rows behind the prompt lie in commit order, where slots have not seen each other: of no use to the next
     * turn. */
    release_pages(s, rf_divide_up(s->cached_count, RF_PAGE_ROWS));
    enum rf_status status = begin(s, tokens, count, err);
    pthread_mutex_unlock(&s->model->mutex);
    return status;
}

enum rf_status rf_session_begin_chat(rf_session *s, const struct rf_message *messages, size_t count,
                                     bool thinking, struct rf_error *err)
{
    uint32_t *tokens;
    size_t token_count;
    if (!s || (!messages && count))
        return rf_fail(err, RF_ERROR_ARGUMENT, "rf_session_begin_chat: session and messages are needed");
    if (!s->model->tokenizer)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "rf_session_begin_chat: a synthetic model has no tokenizer");
    enum rf_status status =
        rf_tokenizer_chat(s->model->tokenizer, messages, count, thinking, true, &tokens, &token_count, err);
    if (status)
        return status;
    status = rf_session_begin(s, tokens, token_count, err);
    rf_free(tokens);
    return status;
}

void rf_session_cancel(rf_session *s)
{
    atomic_store(&s->cancelled, true);
}
