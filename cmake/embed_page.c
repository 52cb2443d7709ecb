/* Build tool: writes the C file that carries the page of `profile --html` inside the program.
 *   embed_page OUTPUT.c PAGE.html      PAGE holds the mark <!--profile--> once, where the profile goes
 * What stands before the mark becomes rf_profile_page_head, what follows it rf_profile_page_tail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mark[] = "<!--profile-->";

/* The whole file with a NUL behind it, or NULL. */
static char *read_file(const char *path, size_t *size)
{
    FILE *in = fopen(path, "rb");
    char *text = NULL;
    long length = -1;
    if (in && fseek(in, 0, SEEK_END) == 0 && (length = ftell(in)) > 0 && fseek(in, 0, SEEK_SET) == 0)
        text = malloc((size_t)length + 1);
    if (text && fread(text, 1, (size_t)length, in) != (size_t)length) {
        free(text);
        text = NULL;
    }
    if (in)
        fclose(in);
    if (text) {
        text[length] = '\0';
        *size = (size_t)length;
    }
    return text;
}

static void write_array(FILE *out, const char *name, const char *bytes, size_t count)
{
    fprintf(out, "const unsigned char %s[] = {", name);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%u,", i % 24 == 0 ? "\n" : "", (unsigned)(unsigned char)bytes[i]);
    fprintf(out, "\n};\nconst size_t %s_size = %zu;\n", name, count);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: embed_page OUTPUT.c PAGE.html\n");
        return 2;
    }
    size_t size = 0;
    char *page = read_file(argv[2], &size);
    char *at = page ? strstr(page, mark) : NULL;
    if (!at || strlen(page) != size || strstr(at + 1, mark)) {
        fprintf(stderr, "embed_page: %s: cannot be read, or does not hold %s once\n", argv[2], mark);
        free(page);
        return EXIT_FAILURE;
    }
    FILE *out = fopen(argv[1], "w");
    int rc = EXIT_FAILURE;
    if (out) {
        const char *tail = at + strlen(mark);
        fprintf(out, "#include \"apps/refusion/profile/html.h\"\n\n");
        write_array(out, "rf_profile_page_head", page, (size_t)(at - page));
        write_array(out, "rf_profile_page_tail", tail, size - (size_t)(tail - page));
        rc = ferror(out) ? EXIT_FAILURE : EXIT_SUCCESS;
        if (fclose(out) != 0)
            rc = EXIT_FAILURE;
    }
    free(page);
    if (rc != EXIT_SUCCESS) {
        fprintf(stderr, "embed_page: %s: cannot be written\n", argv[1]);
        remove(argv[1]);
    }
    return rc;
}
