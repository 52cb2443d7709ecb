/* The same as ask.c, by a program that was linked without the library: a plugin host's way.
 *   ask_dlopen MODEL QUESTION TEMPERATURE SEED      RF_LIBRARY in the environment is the library's path */
#include <refusion.h>

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FUNCTIONS(X)                                                                                         \
    X(rf_version)                                                                                            \
    X(rf_context_create)                                                                                     \
    X(rf_context_destroy)                                                                                    \
    X(rf_model_load)                                                                                         \
    X(rf_model_destroy)                                                                                      \
    X(rf_session_create)                                                                                     \
    X(rf_session_destroy)                                                                                    \
    X(rf_session_begin_chat)                                                                                 \
    X(rf_session_generate)                                                                                   \
    X(rf_session_tokens)

static struct {
#define POINTER(name) __typeof__(name) *name;
    FUNCTIONS(POINTER)
} api;

/* The name of a function that is not there, or NULL. */
static const char *resolve(void *library)
{
#define RESOLVE(name)                                                                                        \
    *(void **)&api.name = dlsym(library, #name);                                                             \
    if (!api.name)                                                                                           \
        return #name;
    FUNCTIONS(RESOLVE)
    return NULL;
}

static enum rf_status ask(rf_session *session, const char *question, struct rf_error *err)
{
    const struct rf_message message = {"user", question};
    enum rf_status status = api.rf_session_begin_chat(session, &message, 1, true, err);
    if (status == RF_OK)
        status = api.rf_session_generate(session, NULL, NULL, err);
    if (status != RF_OK)
        return status;
    size_t count = 0;
    const uint32_t *tokens = api.rf_session_tokens(session, &count);
    for (size_t i = 0; i < count; i++)
        printf("%s%" PRIu32, i ? "," : "", tokens[i]);
    printf("\n");
    return RF_OK;
}

/* Everything between dlopen and dlclose. */
static enum rf_status run(char **argv, struct rf_error *err)
{
    const struct rf_model_desc loading = {.no_tune = true};
    const struct rf_session_desc talking = {
        .settings = {.temperature = strtof(argv[3], NULL), .seed = strtoull(argv[4], NULL, 10)}};
    rf_context *context = NULL;
    rf_model *model = NULL;
    rf_session *session = NULL;
    enum rf_status status = api.rf_context_create(&context, NULL, err);
    if (status == RF_OK)
        status = api.rf_model_load(&model, context, argv[1], &loading, err);
    if (status == RF_OK)
        status = api.rf_session_create(&session, model, &talking, err);
    if (status == RF_OK)
        status = ask(session, argv[2], err);
    api.rf_session_destroy(session);
    api.rf_model_destroy(model);
    api.rf_context_destroy(context);
    return status;
}

int main(int argc, char **argv)
{
    const char *path = getenv("RF_LIBRARY");
    if (argc != 5 || !path) {
        fprintf(stderr, "usage: RF_LIBRARY=PATH ask_dlopen MODEL QUESTION TEMPERATURE SEED\n");
        return 2;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "ask_dlopen: %s\n", dlerror());
        return 1;
    }
    const char *missing = resolve(library);
    if (missing) {
        fprintf(stderr, "ask_dlopen: %s has no %s\n", path, missing);
        return 1;
    }
    struct rf_error err = {0};
    enum rf_status status = run(argv, &err);
    if (status != RF_OK)
        fprintf(stderr, "ask_dlopen: %s\n", err.message);
    if (dlclose(library) != 0) {
        fprintf(stderr, "ask_dlopen: %s\n", dlerror());
        return 1;
    }
    return status == RF_OK ? 0 : 1;
}
