#include "apps/refusion/shader_dir.h"

#include "engine/gpu/shader_blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

/* Of this process: the folder with compiled and copied shaders, and which of them are replaced. */
static char temporary[PATH_MAX];
static bool replaced[4096]; /* by index of rf_shader_blobs */

static void remove_temporary(void)
{
    DIR *dir = opendir(temporary);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_MAX];
        if (entry->d_name[0] != '.' &&
            snprintf(path, sizeof path, "%s/%s", temporary, entry->d_name) < (int)sizeof path)
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(temporary);
}

static enum rf_status make_temporary(struct rf_error *err)
{
    const char *parent = getenv("TMPDIR");
    if (temporary[0])
        return RF_OK;
    snprintf(temporary, sizeof temporary, "%s/refusion-shaders-XXXXXX",
             parent && parent[0] ? parent : "/tmp");
    if (!mkdtemp(temporary)) {
        temporary[0] = 0;
        return rf_fail(err, RF_ERROR_IO, "--shader-dir: no temporary folder for compiled shaders: %s",
                       strerror(errno));
    }
    atexit(remove_temporary);
    return RF_OK;
}

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

static enum rf_status copy_file(const char *from, const char *to, struct rf_error *err)
{
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
    char bytes[65536];
    size_t count;
    bool good = in && out;
    while (good && (count = fread(bytes, 1, sizeof bytes, in)) > 0)
        good = fwrite(bytes, 1, count, out) == count;
    good = good && !ferror(in);
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        good = false;
    return good ? RF_OK
                : rf_fail(err, RF_ERROR_IO, "--shader-dir: %s: cannot be copied to %s: %s", from, to,
                          strerror(errno));
}

static enum rf_status take_spirv(const char *dir, const char *file, size_t stem, bool copied,
                                 struct rf_error *err)
{
    for (size_t i = 0; i < rf_shader_blob_count; i++) {
        const char *name = rf_shader_blobs[i].name;
        if (strlen(name) != stem || strncmp(name, file, stem) != 0)
            continue;
        char from[PATH_MAX], to[PATH_MAX];
        replaced[i] = true;
        if (!copied)
            return RF_OK;
        if (snprintf(from, sizeof from, "%s/%s", dir, file) >= (int)sizeof from ||
            snprintf(to, sizeof to, "%s/%s", temporary, file) >= (int)sizeof to)
            return rf_fail(err, RF_ERROR_ARGUMENT, "--shader-dir: the path is too long");
        return copy_file(from, to, err);
    }
    return unknown(dir, file, false, err);
}

/* ---- Compiling -------------------------------------------------------------------------------------- */

/* The first line of what a compiler said that tells an error, else its first line. */
static void read_message(const char *path, char message[MOST_MESSAGE])
{
    FILE *file = fopen(path, "r");
    char line[MOST_MESSAGE];
    message[0] = 0;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        bool tells = strncmp(line, "ERROR", 5) == 0;
        if (line[0] && (tells || !message[0]))
            memcpy(message, line, sizeof line);
        if (tells)
            break;
    }
    if (file)
        fclose(file);
}

/* Runs a program found on the PATH, with what it says in a file. */
static int run(char *const arguments[], const char *output)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    int failed = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return -failed;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Where the files are that shaders include: beside the source that this was built from, else installed. */
static const char *include_folder(void)
{
    struct stat info;
    return stat(RF_SOURCE_DIR "/shaders/refs.glsl", &info) == 0 ? RF_SOURCE_DIR : RF_INSTALLED_SHADERS;
}

static enum rf_status compile(const char *dir, const char *file, const struct rf_shader_blob *blob,
                              struct rf_error *err)
{
    const char *compiler = getenv("RF_GLSLANG"), *base = include_folder();
    char source[PATH_MAX], output[PATH_MAX], said[PATH_MAX], here[PATH_MAX + 2], root[PATH_MAX],
        beside[PATH_MAX], defines[512];
    if (snprintf(source, sizeof source, "%s/%s", dir, file) >= (int)sizeof source ||
        snprintf(output, sizeof output, "%s/%s.spv", temporary, blob->name) >= (int)sizeof output ||
        snprintf(said, sizeof said, "%s/said", temporary) >= (int)sizeof said)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--shader-dir: the path is too long");
    snprintf(here, sizeof here, "-I%s", dir);
    snprintf(root, sizeof root, "-I%s", base);
    snprintf(beside, sizeof beside, "-I%s/shaders", base);
    snprintf(defines, sizeof defines, "%s", blob->defines);
    char program[PATH_MAX];
    snprintf(program, sizeof program, "%s", compiler && compiler[0] ? compiler : "glslang");
    char *arguments[MOST_ARGUMENTS] = {program, "--quiet", "-V",   "-O", "--target-env", "vulkan1.3",
                                       here,    root,      beside, "-o", output,         source};
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
    unlink(said);
    return status ? rf_fail(err, RF_ERROR_FORMAT, "--shader-dir: %s, as %s: %s", source, blob->name, message)
                  : RF_OK;
}

static enum rf_status take_source(const char *dir, const char *file, struct rf_error *err)
{
    bool found = false;
    for (size_t i = 0; i < rf_shader_blob_count; i++) {
        if (strcmp(rf_shader_blobs[i].source, file) != 0)
            continue;
        enum rf_status status = compile(dir, file, &rf_shader_blobs[i], err);
        if (status)
            return status;
        found = replaced[i] = true;
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
static enum rf_status take(const char *dir, const char *file, bool copied, struct rf_error *err)
{
    size_t stem;
    if (file[0] == '.' || is_folder(dir, file) || ends_with(file, ".glsl", &stem) ||
        ends_with(file, ".h", &stem))
        return RF_OK;
    if (ends_with(file, ".spv", &stem))
        return take_spirv(dir, file, stem, copied, err);
    if (ends_with(file, ".comp", &stem))
        return take_source(dir, file, err);
    return rf_fail(err, RF_ERROR_ARGUMENT,
                   "--shader-dir: found %s/%s, wanted NAME.spv, SOURCE.comp and what it includes (.glsl, .h)",
                   dir, file);
}

static bool has_sources(struct dirent **entries, int count)
{
    size_t stem;
    for (int i = 0; i < count; i++)
        if (ends_with(entries[i]->d_name, ".comp", &stem))
            return true;
    return false;
}

enum rf_status shader_dir_prepare(const char **folder, const char *dir, struct rf_error *err)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, NULL, alphasort);
    if (count < 0)
        return rf_fail(err, RF_ERROR_IO,
                       "--shader-dir: found no folder \"%s\", wanted one that holds NAME.spv or SOURCE.comp",
                       dir);
    bool compiled = has_sources(entries, count), any = false;
    enum rf_status status = compiled ? make_temporary(err) : RF_OK;
    memset(replaced, 0, sizeof replaced);
    for (int i = 0; !status && i < count; i++)
        status = take(dir, entries[i]->d_name, compiled, err);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    for (size_t i = 0; i < rf_shader_blob_count; i++)
        any = any || replaced[i];
    if (!status && !any)
        status = rf_fail(err, RF_ERROR_ARGUMENT,
                         "--shader-dir: found no shader in \"%s\", wanted NAME.spv or SOURCE.comp", dir);
    *folder = compiled ? temporary : dir;
    return status;
}

void shader_dir_visit(shader_name_fn visit, void *user)
{
    for (size_t i = 0; i < rf_shader_blob_count; i++)
        if (replaced[i])
            visit(user, rf_shader_blobs[i].name);
}
