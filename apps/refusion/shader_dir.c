#include "apps/refusion/shader_dir.h"

#include "apps/refusion/data_dir.h"
#include "engine/gpu/shader_blobs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MOST_ARGUMENTS = 32, MOST_MESSAGE = 400 };

enum { MOST_SHADERS = 4096 };

/* Of this process, for the folder that was prepared. What is compiled is never in a file that has a name, so that
 * nothing stays behind whatever ends the program. */
static const char *prepared;
static bool replaced[MOST_SHADERS]; /* by index of rf_shader_blobs */
static struct rf_shader_words compiled[MOST_SHADERS];
static size_t compiled_count;

static bool ends_with(const char *name, const char *ending, size_t *stem)
{
    size_t length = strlen(name), tail = strlen(ending);
    *stem = length - tail;
    return length > tail && strcmp(name + length - tail, ending) == 0;
}

/* A name that differs least by its common beginning: what was probably meant. */
static const char *nearest(const char *wanted, bool sources)
{
    const char *best = NULL;
    size_t most = 2;
    for (size_t i = 0; i < rf_shader_blob_count; i++) {
        const char *name = sources ? rf_shader_blobs[i].source : rf_shader_blobs[i].name;
        size_t same = 0;
        while (name[same] && name[same] == wanted[same])
            same++;
        if (same > most) {
            most = same;
            best = name;
        }
    }
    return best;
}

static enum rf_status unknown(const char *dir, const char *file, bool sources, struct rf_error *err)
{
    const char *near = nearest(file, sources);
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "--shader-dir: %s/%s: no shader %s this name, wanted one such as %s%s", dir, file,
                   sources ? "comes from a source of" : "has", near ? near : rf_shader_blobs[0].name,
                   sources ? "" : ".spv");
}

/* ---- Files ------------------------------------------------------------------------------------------ */

static enum rf_status replace(size_t blob, const char *dir, const char *file, struct rf_error *err)
{
    if (replaced[blob])
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "--shader-dir: %s/%s: another file replaces %s already, wanted one of them", dir, file,
                       rf_shader_blobs[blob].name);
    replaced[blob] = true;
    return RF_OK;
}

static enum rf_status take_spirv(const char *dir, const char *file, size_t stem, struct rf_error *err)
{
    for (size_t i = 0; i < rf_shader_blob_count; i++) {
        const char *name = rf_shader_blobs[i].name;
        if (strlen(name) == stem && strncmp(name, file, stem) == 0)
            return replace(i, dir, file, err);
    }
    return unknown(dir, file, false, err);
}

/* ---- Compiling -------------------------------------------------------------------------------------- */

/* The first line of what a compiler said that tells an error, else its first line. */
static void read_message(FILE *file, char message[MOST_MESSAGE])
{
    char line[MOST_MESSAGE];
    message[0] = 0;
    rewind(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        bool tells = strncmp(line, "ERROR", 5) == 0;
        if (line[0] && (tells || !message[0]))
            memcpy(message, line, sizeof line);
        if (tells)
            break;
    }
}

/* Runs a program found on the PATH, with what it says in a file. */
static int run(char *const arguments[], FILE *said)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    if (ftruncate(fileno(said), 0) != 0 || lseek(fileno(said), 0, SEEK_SET) != 0)
        return -errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(said), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(said), STDERR_FILENO);
    int failed = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return -failed;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Keeps what the compiler wrote. */
static enum rf_status keep_words(FILE *file, const char *source, const struct rf_shader_blob *blob,
                                 struct rf_error *err)
{
    struct stat info;
    uint32_t *words = NULL;
    char *origin = NULL;
    size_t size = fstat(fileno(file), &info) == 0 ? (size_t)info.st_size : 0, length = strlen(source) + 128;
    rewind(file);
    if (!size || size % sizeof *words)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "--shader-dir: %s, as %s: the compiler wrote %zu bytes, wanted SPIR-V", source,
                       blob->name, size);
    words = malloc(size);
    origin = malloc(length);
    if (!words || !origin || fread(words, 1, size, file) != size) {
        free(words);
        free(origin);
        return rf_fail(err, RF_ERROR_IO, "--shader-dir: %s, as %s: the compiled shader cannot be read",
                       source, blob->name);
    }
    snprintf(origin, length, "%s, as %s", source, blob->name);
    compiled[compiled_count++] = (struct rf_shader_words){blob->name, origin, words, size / sizeof *words};
    return RF_OK;
}

static enum rf_status compile_to(FILE *output, FILE *said, const char *dir, const char *file,
                                 const struct rf_shader_blob *blob, struct rf_error *err)
{
    const char *compiler = getenv("RF_GLSLANG");
    char source[PATH_MAX], target[32], here[PATH_MAX + 2], defines[512];
    char base[PATH_MAX - 16], root[PATH_MAX], beside[PATH_MAX];
    (void)data_dir(base, sizeof base, "shaders/refs.glsl"); /* where it is not, the compiler says what it misses */
    if (snprintf(source, sizeof source, "%s/%s", dir, file) >= (int)sizeof source)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--shader-dir: the path is too long");
    snprintf(target, sizeof target, "/dev/fd/%d", fileno(output));
    snprintf(here, sizeof here, "-I%s", dir);
    snprintf(root, sizeof root, "-I%s", base);
    snprintf(beside, sizeof beside, "-I%s/shaders", base);
    snprintf(defines, sizeof defines, "%s", blob->defines);
    char program[PATH_MAX];
    snprintf(program, sizeof program, "%s", compiler && compiler[0] ? compiler : "glslang");
    char *arguments[MOST_ARGUMENTS] = {program, "--quiet", "-V",   "-O", "--target-env", "vulkan1.3",
                                       here,    root,      beside, "-o", target,         source};
    size_t count = 12;
    for (char *part = strtok(defines, " "); part && count + 1 < MOST_ARGUMENTS; part = strtok(NULL, " "))
        arguments[count++] = part;
    int status = run(arguments, said);
    if (status > 0) { /* a glslang without optimiser refuses -O; what else is wrong stays wrong */
        arguments[3] = "-V";
        status = run(arguments, said);
    }
    if (status < 0)
        return rf_fail(
            err, RF_ERROR_UNSUPPORTED,
            "--shader-dir: %s is GLSL, and there is no %s to compile it (%s): install glslang-tools, or "
            "name it by RF_GLSLANG",
            source, program, strerror(-status));
    char message[MOST_MESSAGE];
    read_message(said, message);
    if (status)
        return rf_fail(err, RF_ERROR_FORMAT, "--shader-dir: %s, as %s: %s", source, blob->name, message);
    return keep_words(output, source, blob, err);
}

static enum rf_status compile(const char *dir, const char *file, const struct rf_shader_blob *blob,
                              struct rf_error *err)
{
    FILE *output = tmpfile(), *said = tmpfile();
    enum rf_status status =
        output && said
            ? compile_to(output, said, dir, file, blob, err)
            : rf_fail(err, RF_ERROR_IO, "--shader-dir: no temporary file for a compiled shader: %s",
                      strerror(errno));
    if (output)
        fclose(output);
    if (said)
        fclose(said);
    return status;
}

static enum rf_status take_source(const char *dir, const char *file, struct rf_error *err)
{
    bool found = false;
    for (size_t i = 0; i < rf_shader_blob_count; i++) {
        if (strcmp(rf_shader_blobs[i].source, file) != 0)
            continue;
        enum rf_status status = replace(i, dir, file, err);
        if (!status)
            status = compile(dir, file, &rf_shader_blobs[i], err);
        if (status)
            return status;
        found = true;
    }
    return found ? RF_OK : unknown(dir, file, true, err);
}

/* ---- The folder ------------------------------------------------------------------------------------- */

static bool is_folder(const char *dir, const char *file)
{
    char path[PATH_MAX];
    struct stat info;
    return snprintf(path, sizeof path, "%s/%s", dir, file) < (int)sizeof path && stat(path, &info) == 0 &&
           S_ISDIR(info.st_mode);
}

/* Folders may hold what is included. */
static enum rf_status take(const char *dir, const char *file, struct rf_error *err)
{
    size_t stem;
    if (file[0] == '.' || is_folder(dir, file) || ends_with(file, ".glsl", &stem) ||
        ends_with(file, ".h", &stem))
        return RF_OK;
    if (ends_with(file, ".spv", &stem))
        return take_spirv(dir, file, stem, err);
    if (ends_with(file, ".comp", &stem))
        return take_source(dir, file, err);
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "--shader-dir: found %s/%s, wanted NAME.spv, SOURCE.comp and what it includes (.glsl, .h)",
                   dir, file);
}

enum rf_status shader_dir_prepare(const char *dir, struct rf_error *err)
{
    struct dirent **entries;
    bool any = false;
    if (prepared && strcmp(prepared, dir) == 0)
        return RF_OK;
    int count = scandir(dir, &entries, NULL, alphasort);
    if (count < 0)
        return rf_fail(err, RF_ERROR_IO,
                       "--shader-dir: found no folder \"%s\", wanted one that holds NAME.spv or SOURCE.comp",
                       dir);
    enum rf_status status = RF_OK;
    for (int i = 0; !status && i < count; i++)
        status = take(dir, entries[i]->d_name, err);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    for (size_t i = 0; i < rf_shader_blob_count; i++)
        any = any || replaced[i];
    if (!status && !any)
        status = rf_fail(err, RF_ERROR_ARGUMENT,
                         "--shader-dir: found no shader in \"%s\", wanted NAME.spv or SOURCE.comp", dir);
    if (!status)
        prepared = dir;
    return status;
}

const struct rf_shader_words *shader_dir_compiled(size_t *count)
{
    *count = compiled_count;
    return compiled;
}

void shader_dir_visit(shader_name_fn visit, void *user)
{
    for (size_t i = 0; i < rf_shader_blob_count; i++)
        if (replaced[i])
            visit(user, rf_shader_blobs[i].name);
}
