#include "loader/model_path.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/allocate.h"
#include "loader/file_map.h"

static enum rf_status no_memory(const char *path, struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory", path);
}

static bool ends_in_gguf(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".gguf") == 0;
}

/* The first and, when there is one, the second *.gguf of a folder, by name. */
static enum rf_status find_two(char *found[2], const char *folder, struct rf_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open the model folder: %s", folder, strerror(errno));
    enum rf_status status = RF_OK;
    for (const struct dirent *entry; !status && (entry = readdir(dir)) != NULL;) {
        if (!ends_in_gguf(entry->d_name))
            continue;
        char *name = rf_strdup(entry->d_name);
        if (!name) {
            status = no_memory(folder, err);
            break;
        }
        for (int i = 0; i < 2 && name; i++)
            if (!found[i] || strcmp(name, found[i]) < 0) {
                char *moved = found[i];
                found[i] = name;
                name = moved;
            }
        rf_free(name);
    }
    closedir(dir);
    return status;
}

static enum rf_status search_folder(char **gguf, const char *folder, struct rf_error *err)
{
    char *config = rf_path_join(folder, "config.json");
    if (!config)
        return no_memory(folder, err);
    bool plain = rf_path_exists(config);
    rf_free(config);
    if (plain)
        return RF_OK;
    char *found[2] = {NULL, NULL};
    enum rf_status status = find_two(found, folder, err);
    if (!status && found[1])
        status = rf_fail(err, RF_ERROR_ARGUMENT,
                         "%s: holds several models such as %s and %s, wanted the path of one of them", folder,
                         found[0], found[1]);
    if (!status && found[0] && !(*gguf = rf_path_join(folder, found[0])))
        status = no_memory(folder, err);
    rf_free(found[0]);
    rf_free(found[1]);
    return status;
}

enum rf_status rf_model_path_resolve(char **gguf, const char *path, struct rf_error *err)
{
    *gguf = NULL;
    struct stat info;
    if (stat(path, &info) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open the model folder: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return search_folder(gguf, path, err);
    *gguf = rf_strdup(path);
    return *gguf ? RF_OK : no_memory(path, err);
}
