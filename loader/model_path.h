/* Where a model is: a folder in the Hugging Face layout, or one GGUF file. */
#ifndef RF_LOADER_MODEL_PATH_H
#define RF_LOADER_MODEL_PATH_H

#include "engine/status.h"

/* *gguf is the path of the GGUF file that `path` means (for rf_free): `path` itself when it is a file, or the
 * only *.gguf in a folder without config.json. NULL when `path` is a folder to be read as such. A missing
 * `path` is refused. */
enum rf_status rf_model_path_resolve(char **gguf, const char *path, struct rf_error *err);

#endif
