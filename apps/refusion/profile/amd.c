#include "apps/refusion/profile/amd.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES_ROOM = 4096, DRIVER_ROOM = 128 };

/* Names that RADV_FORCE_FAMILY has had; which of them a Mesa knows is found by trying. */
static const char *const chips[] = {"tahiti",     "pitcairn",
                                    "verde",      "oland",
                                    "hainan",     "bonaire",
                                    "kaveri",     "kabini",
                                    "hawaii",     "tonga",
                                    "iceland",    "carrizo",
                                    "fiji",       "stoney",
                                    "polaris10",  "polaris11",
                                    "polaris12",  "vegam",
                                    "vega10",     "vega12",
                                    "vega20",     "raven",
                                    "raven2",     "renoir",
                                    "navi10",     "navi12",
                                    "navi14",     "navi21",
                                    "navi22",     "navi23",
                                    "navi24",     "vangogh",
                                    "rembrandt",  "raphael_mendocino",
                                    "gfx1036",    "navi31",
                                    "navi32",     "navi33",
                                    "gfx1100",    "gfx1101",
                                    "gfx1102",    "gfx1103",
                                    "phoenix",    "phoenix2",
                                    "gfx1103_r1", "gfx1103_r2",
                                    "gfx1150",    "gfx1151",
                                    "gfx1152",    "gfx1153",
                                    "navi44",     "navi48",
                                    "gfx1200",    "gfx1201"};

/* ---- The driver's file ------------------------------------------------------------------------------ */

static void add_files(char files[FILES_ROOM], const char *folder, size_t length)
{
    char pattern[FILES_ROOM];
    glob_t found;
    if (!length || snprintf(pattern, sizeof pattern, "%.*s/vulkan/icd.d/radeon_icd*.json", (int)length,
                            folder) >= (int)sizeof pattern)
        return;
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        size_t used = strlen(files);
        if (used + strlen(found.gl_pathv[i]) + 2 > FILES_ROOM || strstr(files, found.gl_pathv[i]))
            continue;
        snprintf(files + used, FILES_ROOM - used, "%s%s", used ? ":" : "", found.gl_pathv[i]);
    }
    globfree(&found);
}

/* Where the loader looks too. All that are found, for several architectures; the loader takes the one that it
 * can open. */
static void find_files(char files[FILES_ROOM])
{
    static const char *const folders[] = {"/usr/local/etc", "/etc", "/usr/local/share", "/usr/share"};
    const char *home = getenv("HOME"), *shared = getenv("XDG_DATA_DIRS");
    char own[FILES_ROOM];
    files[0] = '\0';
    if (home && snprintf(own, sizeof own, "%s/.local/share", home) < (int)sizeof own)
        add_files(files, own, strlen(own));
    while (shared && *shared) {
        size_t length = strcspn(shared, ":");
        add_files(files, shared, length);
        shared += length + (shared[length] == ':');
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        add_files(files, folders[i], strlen(folders[i]));
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && value[0];
}

static enum rf_status choose_files(struct rf_error *err)
{
    char files[FILES_ROOM];
    if (is_set("RF_RADV_ICD")) {
        const char *file = getenv("RF_RADV_ICD");
        if (access(file, R_OK) != 0)
            return rf_fail(err, RF_ERROR_IO, "RF_RADV_ICD: found no file \"%s\", wanted RADV's .json file",
                           file);
        setenv("VK_DRIVER_FILES", file, 1);
    } else if (!is_set("VK_DRIVER_FILES") && !is_set("VK_ICD_FILENAMES")) {
        find_files(files);
        if (!files[0])
            return rf_fail(
                err, RF_ERROR_NO_DEVICE,
                "--amd: found no file radeon_icd*.json, wanted Mesa's driver RADV: install it (Debian, "
                "Ubuntu: mesa-vulkan-drivers) or let RF_RADV_ICD name it");
        setenv("VK_DRIVER_FILES", files, 1);
    } else if (!is_set("VK_DRIVER_FILES")) {
        setenv("VK_DRIVER_FILES", getenv("VK_ICD_FILENAMES"), 1);
    }
    setenv("VK_ICD_FILENAMES", getenv("VK_DRIVER_FILES"), 1); /* what loaders before 1.3.207 read */
    return RF_OK;
}

/* ---- The chip --------------------------------------------------------------------------------------- */

/* What RADV does with a chip's name. */
enum answer {
    ANSWER_YES,
    ANSWER_UNKNOWN, /* it aborts */
    ANSWER_NO_RADV  /* there is a driver, or none, but not this */
};

/* In a child: writes the driver's name to `pipe` and ends. */
static _Noreturn void ask_here(const char *chip, int pipe)
{
    const struct rlimit no_core = {0, 0};
    struct rf_device_info *infos;
    struct rf_error err;
    size_t count;
    setrlimit(RLIMIT_CORE, &no_core);
    if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
        _exit(ANSWER_NO_RADV);
    setenv("RADV_FORCE_FAMILY", chip, 1);
    if (rf_devices_list(&infos, &count, &err))
        _exit(ANSWER_NO_RADV);
    for (size_t i = 0; i < count; i++) {
        if (!strstr(infos[i].name, "RADV"))
            continue;
        ssize_t written = write(pipe, infos[i].driver, strlen(infos[i].driver));
        _exit(written < 0 ? ANSWER_NO_RADV : ANSWER_YES);
    }
    _exit(ANSWER_NO_RADV);
}

/* In a process of its own, because RADV ends the one that asks for a chip that it does not know. */
static enum rf_status ask(const char *chip, enum answer *answer, char driver[DRIVER_ROOM],
                          struct rf_error *err)
{
    int ends[2], state = 0;
    if (pipe(ends) != 0)
        return rf_fail(err, RF_ERROR_INTERNAL, "--amd: no pipe to ask the driver through");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        ask_here(chip, ends[1]);
    close(ends[1]);
    ssize_t length = child > 0 ? read(ends[0], driver, DRIVER_ROOM - 1) : -1;
    close(ends[0]);
    driver[length > 0 ? length : 0] = '\0';
    if (child < 0 || waitpid(child, &state, 0) != child)
        return rf_fail(err, RF_ERROR_INTERNAL, "--amd: no process to ask the driver in");
    *answer = WIFSIGNALED(state)                                                  ? ANSWER_UNKNOWN
              : WIFEXITED(state) && WEXITSTATUS(state) == ANSWER_YES && driver[0] ? ANSWER_YES
                                                                                  : ANSWER_NO_RADV;
    return RF_OK;
}

static enum rf_status fail_unknown(const char *chip, struct rf_error *err)
{
    char known[700] = "", driver[DRIVER_ROOM], name[DRIVER_ROOM] = "RADV";
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
        enum answer answer;
        size_t used = strlen(known);
        enum rf_status status = ask(chips[i], &answer, driver, err);
        if (status)
            return status;
        if (answer != ANSWER_YES)
            continue;
        memcpy(name, driver, sizeof name);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", chips[i]);
    }
    return rf_fail(
        err, RF_ERROR_ARGUMENT,
        "--amd: found \"%s\", wanted a chip that this driver (%s; a newer Mesa knows more) knows: %s", chip,
        name, known[0] ? known : "none that we have a name of");
}

enum rf_status amd_prepare(const char *chip, struct rf_error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    enum answer answer;
    char driver[DRIVER_ROOM];
    size_t length = strlen(chip);
    if (!length || length > 32 || strspn(chip, letters) != length)
        return rf_fail(err, RF_ERROR_ARGUMENT, "--amd: found \"%.40s\", wanted a chip such as navi21", chip);
    enum rf_status status = choose_files(err);
    if (status)
        return status;
    /* Layers that desktops switch on by themselves may look for hardware. */
    setenv("VK_LOADER_LAYERS_DISABLE", "~implicit~", 0);
    setenv("NODEVICE_SELECT", "1", 0);
    status = ask(chip, &answer, driver, err);
    if (status)
        return status;
    if (answer == ANSWER_UNKNOWN)
        return fail_unknown(chip, err);
    if (answer == ANSWER_NO_RADV)
        return rf_fail(
            err, RF_ERROR_NO_DEVICE,
            "--amd: the driver file %.200s offers no RADV device for %s, wanted Mesa's driver RADV for "
            "Vulkan 1.3 (Mesa 22 or newer)",
            getenv("VK_DRIVER_FILES"), chip);
    setenv("RADV_FORCE_FAMILY", chip, 1);
    return RF_OK;
}
