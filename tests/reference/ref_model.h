/* The Qwen3 network on the CPU, in double precision but for the weights, which are f32 (bf16, f16 and f32
 * files convert exactly): what the engine's logits and the golden runs are compared with. Rows see what
 * struct ref_row says. */
#ifndef RF_TESTS_REF_MODEL_H
#define RF_TESTS_REF_MODEL_H

#include "loader/config.h"
#include "tests/reference/ref_decode.h"

struct ref_model; /* immutable: several sessions on several threads may use one */
struct ref_session;

enum rf_status ref_model_load(struct ref_model **out, const char *folder, struct rf_error *err);
void ref_model_free(struct ref_model *model);
const struct rf_model_config *ref_model_config(const struct ref_model *model);

/* Holds at most max_tokens committed rows; segment 0 has max_tokens scratch rows, segments 1.. have slot_size
 * each, max_tokens / slot_size of them. The model must outlive it. */
struct ref_session *ref_session_create(const struct ref_model *model, uint32_t max_tokens,
                                       uint32_t slot_size);
void ref_session_free(struct ref_session *session);

/* For struct ref_network, with the session as user. */
void ref_session_forward(void *session, const struct ref_row *rows, size_t row_count,
                         struct ref_result *results);
void ref_session_commit(void *session, uint32_t segment, uint32_t first, uint32_t count);

/* One forward; logits [rows that want a result, vocab], in row order. */
void ref_session_logits(struct ref_session *session, const struct ref_row *rows, size_t row_count,
                        double *logits);

#endif
