/* An application that embeds the library: one question, the answer's token ids on stdout. It counts the library's
 * memory by an allocator, and fails when a block is left.
 *   ask MODEL QUESTION TEMPERATURE SEED */
#include <refusion.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long blocks, calls;

static void *allocate(void *user, void *block, size_t size)
{
    (void)user;
    atomic_fetch_add(&calls, 1);
    if (size == 0) {
        atomic_fetch_sub(&blocks, 1);
        free(block);
        return NULL;
    }
    void *grown = realloc(block, size);
    atomic_fetch_add(&blocks, !block && grown);
    return grown;
}

static enum rf_status ask(rf_session *session, const char *question, struct rf_error *err)
{
    const struct rf_message message = {"user", question};
    enum rf_status status = rf_session_begin_chat(session, &message, 1, true, err);
    if (status == RF_OK)
        status = rf_session_generate(session, NULL, NULL, err);
    if (status != RF_OK)
        return status;
    size_t count = 0;
    const uint32_t *tokens = rf_session_tokens(session, &count);
    for (size_t i = 0; i < count; i++)
        printf("%s%" PRIu32, i ? "," : "", tokens[i]);
    printf("\n");
    return RF_OK;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: ask MODEL QUESTION TEMPERATURE SEED\n");
        return 2;
    }
    struct rf_context_desc opening = {0};
    struct rf_model_desc loading = {0};
    struct rf_session_desc talking = {0};
    struct rf_error err = {0};
    rf_context *context = NULL;
    rf_model *model = NULL;
    rf_session *session = NULL;
    opening.allocator.allocate = allocate;
    loading.no_tune = true;
    talking.settings.temperature = strtof(argv[3], NULL);
    talking.settings.seed = strtoull(argv[4], NULL, 10);
    enum rf_status status = rf_context_create(&context, &opening, &err);
    if (status == RF_OK)
        status = rf_model_load(&model, context, argv[1], &loading, &err);
    if (status == RF_OK)
        status = rf_session_create(&session, model, &talking, &err);
    if (status == RF_OK)
        status = ask(session, argv[2], &err);
    if (status != RF_OK)
        fprintf(stderr, "ask: %s: %s\n", rf_status_name(status), err.message);
    rf_session_destroy(session);
    rf_model_destroy(model);
    rf_context_destroy(context);
    if (atomic_load(&blocks) != 0 || atomic_load(&calls) == 0) {
        fprintf(stderr, "ask: %ld blocks are left after %ld calls\n", atomic_load(&blocks), atomic_load(&calls));
        return 1;
    }
    return status == RF_OK ? 0 : 1;
}
