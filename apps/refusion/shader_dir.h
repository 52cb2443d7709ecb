/* --shader-dir: replacements of single shaders, as SPIR-V or as GLSL that is compiled here. */
#ifndef RF_APPS_SHADER_DIR_H
#define RF_APPS_SHADER_DIR_H

#include "engine/gpu/device.h"

/* Checks what lies in `dir`: NAME.spv replaces the shader variant NAME; SOURCE.comp, with whatever it includes,
 * every variant that is compiled from the source of that name (glslang has to be on the PATH, or RF_GLSLANG
 * names it). Other files are what these include (.glsl, .h), or are refused. One folder a process, which stands for
 * what it was the first time: the library reads the NAME.spv from it when it makes pipelines. */
enum rf_status shader_dir_prepare(const char *dir, struct rf_error *err);
/* What was compiled; lives as long as the process. */
const struct rf_shader_words *shader_dir_compiled(size_t *count);
/* Visits the shader variants that the prepared folder replaces. */
typedef void (*shader_name_fn)(void *user, const char *name);
void shader_dir_visit(shader_name_fn visit, void *user);

#endif
