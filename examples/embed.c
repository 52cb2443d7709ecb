/* Asks a model one question and prints the answer as it forms.
 *   cc embed.c $(pkg-config --cflags --libs refusion) -o embed
 *   ./embed /usr/share/refusion/models/tiny "Write a Python function limit_value(n) that keeps n between 5 and 89." */
#include <refusion.h>

#include <stdio.h>

/* A round decides tokens anywhere in the answer; the text that is certain to stay only grows. */
static enum rf_status print_answer(rf_session *session, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    size_t shown = 0;
    while (status == RF_OK && !rf_session_finished(session)) {
        status = rf_session_step(session, NULL, NULL, err);
        size_t length = 0;
        const char *text = rf_session_text(session, &length);
        fwrite(text + shown, 1, length - shown, stdout);
        fflush(stdout);
        shown = length;
    }
    putchar('\n');
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: embed MODEL QUESTION\n");
        return 2;
    }
    rf_context *context = NULL; /* the device */
    rf_model *model = NULL;     /* the weights on it */
    rf_session *session = NULL; /* one conversation */
    struct rf_error err = {0};
    const struct rf_message question = {"user", argv[2]};

    enum rf_status status = rf_context_create(&context, NULL, &err);
    if (status == RF_OK)
        status = rf_model_load(&model, context, argv[1], NULL, &err);
    if (status == RF_OK)
        status = rf_session_create(&session, model, NULL, &err);
    if (status == RF_OK)
        status = rf_session_begin_chat(session, &question, 1, true, &err);
    if (status == RF_OK)
        status = print_answer(session, &err);
    if (status != RF_OK)
        fprintf(stderr, "embed: %s\n", err.message);

    rf_session_destroy(session); /* NULL is fine for each */
    rf_model_destroy(model);
    rf_context_destroy(context);
    return status == RF_OK ? 0 : 1;
}
