/* Writes small model folders, right ones and wrong ones, for the loader's tests. */
#ifndef RF_TESTS_LOADER_MODEL_WRITER_H
#define RF_TESTS_LOADER_MODEL_WRITER_H

#include "engine/status.h"

/* cmocka wants these before itself. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The statement fails with `wanted`, and the message holds every text. */
void assert_failure(enum rf_status status, const struct rf_error *err, enum rf_status wanted,
                    const char *const *texts);
#define ASSERT_FAILURE(status, err, wanted, ...)                                                             \
    assert_failure(status, &(err), wanted, (const char *const[]){__VA_ARGS__, NULL})

/* ---- Files --------------------------------------------------------------------------------------------- */

struct folder {
    char path[64];
};

struct folder make_folder(void); /* new and empty, in $TMPDIR or /tmp */
void remove_folder(const struct folder *folder);
void write_bytes(const struct folder *folder, const char *name, const void *bytes, size_t size);
void write_text(const struct folder *folder, const char *name, const char *text);

/* ---- config.json --------------------------------------------------------------------------------------- */

struct model_sizes {
    uint32_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab;
    bool tied;
};

extern const struct model_sizes small_sizes;    /* 2 layers, some kilobytes */
extern const struct model_sizes refusion_sizes; /* ReFusion's 8B shape: 16.4 GB in BF16 */

/* config.json of that model, malloc'ed. Where `key` is one of its members, its value is replaced by
 * `value`, or the member left out when `value` is NULL; another key is added. */
char *make_config(const struct model_sizes *sizes, const char *key, const char *value);

/* ---- safetensors --------------------------------------------------------------------------------------- */

struct written_tensor {
    char name[96];
    const char *dtype;
    uint32_t element_bytes;
    uint32_t rank;
    uint64_t shape[8];
    uint32_t shard; /* where write_model puts it */
};

struct written_model {
    struct model_sizes sizes;
    struct written_tensor tensors[512];
    size_t count;
    uint32_t shards;        /* 1: model.safetensors; more: with an index */
    const char *config_key; /* as for make_config */
    const char *config_value;
};

void fill_model(struct written_model *model, const struct model_sizes *sizes, uint32_t shards);
struct written_tensor *find_written(struct written_model *model,
                                    const char *name); /* fails the test if absent */
struct written_tensor *add_written(struct written_model *model, const char *name, uint32_t rank,
                                   uint64_t rows, uint64_t columns); /* BF16, in shard 0 */
void drop_written(struct written_model *model, const char *name);

/* Shard names as Hugging Face gives them: model-00001-of-00003.safetensors, or model.safetensors. */
struct shard_name {
    char text[64];
};
struct shard_name name_shard(uint32_t shard, uint32_t shards);

/* Writes config.json, the shards (all weights zero, as holes of a sparse file) and the index. */
void write_model(const struct folder *folder, const struct written_model *model);

/* One safetensors file in memory: length, header, `data_bytes` bytes that count up. malloc'ed. */
unsigned char *make_safetensors(const char *header, uint64_t data_bytes, uint64_t *size);

#endif
