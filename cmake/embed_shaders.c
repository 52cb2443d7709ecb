/* Build tool: writes the C file that carries every compiled shader inside the library.
 *   embed_shaders OUTPUT.c LIST       LIST has one line per shader: NAME SOURCE.comp PATH.spv|DEFINES
 * The hash over all words goes into the key of the pipeline cache, so a changed shader never meets an old cache. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPIRV_MAGIC 0x07230203u
#define MAX_SHADERS 4096

struct entry {
    char name[128], source[128], defines[512];
    size_t word_count;
};

static struct entry entries[MAX_SHADERS];
static uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, 64 bit */

static void hash_bytes(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
}

/* Returns the number of words written, 0 after a message. */
static size_t write_words(FILE *out, const char *name, const char *path, size_t index)
{
    FILE *in = fopen(path, "rb");
    if (!in) {
        fprintf(stderr, "embed_shaders: %s: cannot be read\n", path);
        return 0;
    }
    uint32_t word;
    size_t count = 0;
    fprintf(out, "static const uint32_t words_%zu[] = { /* %s */", index, name);
    while (fread(&word, sizeof word, 1, in) == 1) {
        if (count == 0 && word != SPIRV_MAGIC)
            break;
        hash_bytes(&word, sizeof word);
        fprintf(out, "%s0x%" PRIx32 "u,", count % 12 == 0 ? "\n" : "", word);
        count++;
    }
    fprintf(out, "\n};\n");
    fclose(in);
    if (count == 0)
        fprintf(stderr, "embed_shaders: %s: not SPIR-V\n", path);
    return count;
}

static int write_file(FILE *out, FILE *list)
{
    char path[4096], line[8192];
    size_t count = 0;
    fprintf(out, "#include \"engine/gpu/shader_blobs.h\"\n\n");
    while (count < MAX_SHADERS && fgets(line, sizeof line, list)) {
        struct entry *entry = &entries[count];
        if (sscanf(line, "%127s %127s %4095[^|]|%511[^\n]", entry->name, entry->source, path, entry->defines) < 3) {
            fprintf(stderr, "embed_shaders: found the line \"%s\", wanted NAME SOURCE PATH|DEFINES\n", line);
            return EXIT_FAILURE;
        }
        hash_bytes(entries[count].name, strlen(entries[count].name) + 1);
        entries[count].word_count = write_words(out, entries[count].name, path, count);
        if (entries[count].word_count == 0)
            return EXIT_FAILURE;
        count++;
    }
    fprintf(out, "\nconst struct rf_shader_blob rf_shader_blobs[] = {\n");
    for (size_t i = 0; i < count; i++)
        fprintf(out, "    { \"%s\", words_%zu, %zu, \"%s\", \"%s\" },\n", entries[i].name, i, entries[i].word_count,
            entries[i].source, entries[i].defines);
    /* C11 has no empty arrays: one entry that the count leaves out ends the table. */
    fprintf(out, "    { 0, 0, 0, 0, 0 }\n};\nconst size_t rf_shader_blob_count = %zu;\n", count);
    fprintf(out, "const char rf_shader_hash[] = \"%016" PRIx64 "\";\n", hash);
    return ferror(out) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: embed_shaders OUTPUT.c LIST\n");
        return 2;
    }
    FILE *out = fopen(argv[1], "w"), *list = fopen(argv[2], "r");
    if (!out || !list) {
        fprintf(stderr, "embed_shaders: cannot open %s\n", out ? argv[2] : argv[1]);
        return EXIT_FAILURE;
    }
    int rc = write_file(out, list);
    if (fclose(out) != 0)
        rc = EXIT_FAILURE;
    fclose(list);
    if (rc != EXIT_SUCCESS)
        remove(argv[1]);
    return rc;
}
