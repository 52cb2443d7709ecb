/* From the marks of a submission's command buffers to the record that the profile callback gets. */
#ifndef RF_DECODE_PROFILE_H
#define RF_DECODE_PROFILE_H

#include "engine/decode/submission.h"

struct rf_profiling;

/* Before the submission runs: what sessions are about to do. *out is NULL when the model is not profiled; the
 * others take that. */
enum rf_status rf_profiling_begin(struct rf_profiling **out, const struct submission *sub,
                                  struct rf_error *err);
/* After it was read: calls back. */
enum rf_status rf_profiling_report(struct rf_profiling *profiling, const struct submission *sub,
                                   struct rf_error *err);
void rf_profiling_free(struct rf_profiling *profiling);

#endif
