/* The shapes of published models, as checked "files" whose tensors have no data: what has none is made on the
 * device (engine/model/synthetic.h). */
#ifndef RF_LOADER_SYNTHETIC_H
#define RF_LOADER_SYNTHETIC_H

#include "loader/model_files.h"

/* `shape` as rf_model_synthesize takes it. *out is to be closed with rf_model_files_close. */
enum rf_status rf_model_files_synthesize(struct rf_model_files *out, const char *shape, struct rf_error *err);

#endif
