/* A model's configuration and tokenizer as GGUF metadata, under the names that llama.cpp reads for qwen3. */
#ifndef RF_LOADER_GGUF_METADATA_H
#define RF_LOADER_GGUF_METADATA_H

#include "loader/gguf_config.h"
#include "loader/gguf_writer.h"
#include "loader/tokenizer.h"

/* `name`: of the model, for general.name. The tokenizer's ids must be below config->vocab. Refuses a
 * tokenizer whose split pattern GGUF has no name for. */
enum rf_status rf_gguf_put_model(struct rf_gguf_metadata *to, const char *name,
                                 const struct rf_model_config *config, const rf_tokenizer *tokenizer,
                                 struct rf_error *err);

/* Everything that `from` states, but for what tells of its own types and layout. */
void rf_gguf_put_copies(struct rf_gguf_metadata *to, const struct rf_gguf *from);

/* general.file_type, which names the type of most tensors, and, for quantized ones,
 * general.quantization_version. */
void rf_gguf_put_type(struct rf_gguf_metadata *to, enum rf_dtype dtype);

#endif
