/* An application that embeds the installed library: tokenizes with the model folder that it is given, needs no device. */
#include <refusion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct rf_error err = { 0 };
    rf_tokenizer *tokenizer = NULL;
    if (argc != 2 || rf_tokenizer_load(&tokenizer, argv[1], &err) != RF_OK) {
        fprintf(stderr, "consumer: %s\n", argc == 2 ? err.message : "usage: consumer FOLDER");
        return 1;
    }
    const char *text = "def sum_even(nums):";
    uint32_t *tokens = NULL;
    size_t count = 0, length = 0;
    char *back = NULL;
    enum rf_status status = rf_tokenizer_encode(tokenizer, text, strlen(text), false, &tokens, &count, &err);
    if (status == RF_OK)
        status = rf_tokenizer_decode(tokenizer, tokens, count, false, &back, &length, &err);
    const int same = status == RF_OK && length == strlen(text) && memcmp(back, text, length) == 0;
    printf("refusion %s: %zu tokens, %s\n", rf_version(), count, same ? "same text" : err.message);
    free(tokens);
    free(back);
    rf_tokenizer_destroy(tokenizer);
    return same ? 0 : 1;
}
