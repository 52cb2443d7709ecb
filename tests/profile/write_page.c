/* write_page PROFILE.json PAGE.html: the page that the program would write, for the tests in a browser. */
#include "apps/refusion/profile/html.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: write_page PROFILE.json PAGE.html\n");
        return 2;
    }
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    long length = -1;
    char *json = NULL;
    struct rf_error err = {.message = "cannot be read or written"};
    bool written = false;
    if (in && out && fseek(in, 0, SEEK_END) == 0 && (length = ftell(in)) > 0 && fseek(in, 0, SEEK_SET) == 0)
        json = malloc((size_t)length);
    if (json && fread(json, 1, (size_t)length, in) == (size_t)length)
        written = profile_html_write(out, json, (size_t)length, &err) == RF_OK;
    if (!written)
        fprintf(stderr, "write_page: %s, %s: %s\n", argv[1], argv[2], err.message);
    free(json);
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        written = false;
    return written ? EXIT_SUCCESS : EXIT_FAILURE;
}
