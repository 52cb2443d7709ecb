/* The layer sequence: rows of several sequences in, one rf_result for each row that wants one, as command
 * buffers that are recorded once and replayed. Knows rows and sequences; knows nothing of slots beyond
 * running their shaders.
 *
 * A step writes sequences (rf_forward_seqs) and work (rf_forward_work), takes the recorded gather and forward
 * for its row count, submits, and says how long it took. Forwards are recorded per bucket (1, 2, 4, ..
 * RF_MAX_ROWS rows) when first wanted, in as many parts as the device's limit on the time of a submission
 * asks for (parts.h), and again only when those are far from right. Not thread-safe: the model's mutex covers
 * everything from writing the work to the end of the wait. */
#ifndef RF_MODEL_FORWARD_H
#define RF_MODEL_FORWARD_H

#include "engine/allocate.h"
#include "engine/gpu/command.h"
#include "engine/gpu/marks.h"
#include "engine/model/weights.h"
#include "shaders/shared.h"

enum { RF_LOGIT_ROWS = 16, RF_FORWARD_PARTS = 256 };

enum rf_forward_flags {
    /* One matmul pipeline for every row count: a row's result does not know its company. */
    RF_FORWARD_DETERMINISTIC = 1,
    RF_FORWARD_LOGITS = 2, /* logits of at most RF_LOGIT_ROWS rows to rf_forward_logits instead of results */
    RF_FORWARD_SECOND = 4, /* marked: the second pass of a submission has recordings of its own; internal */
    RF_FORWARD_VARIANTS = 8
};

enum {
    /* Two forwards of a gather and cut parts, a cut and a script each, and beside them slot shaders and a
     * commit for each session. */
    RF_FORWARD_CMDS = 2 * (1 + 2 * RF_FORWARD_PARTS + 2) + 3 + RF_MAX_PIECES
};

struct rf_forward;
struct forward_variant;

struct rf_forward_desc {
    struct rf_gpu *gpu;
    const struct rf_weights *weights;     /* outlives the forward */
    const struct rf_model_config *config; /* copied */
    uint32_t context_length;
    bool fp16;
    bool int8;       /* see int8.h; with fp16 */
    bool tune;       /* try matmul shapes when a bucket is first recorded, see tune.h */
    bool sizes_only; /* arenas are counted ones: for rf_forward_bytes alone */
};

enum rf_status rf_forward_create(struct rf_forward **out, const struct rf_forward_desc *desc,
                                 struct rf_error *err);
void rf_forward_destroy(struct rf_forward *forward);
uint64_t
rf_forward_bytes(const struct rf_forward *forward); /* of device memory, before anything is recorded */

struct rf_seq *rf_forward_seqs(struct rf_forward *forward); /* host memory [RF_MAX_SEQS] */
/* Host memory: the work of pass 0 or 1 of a submission, and the sequences of the slot shaders. */
struct rf_work *rf_forward_work(struct rf_forward *forward, uint32_t pass);
struct rf_active *rf_forward_active(struct rf_forward *forward);
/* Most rows of one forward whose rows attend to at most max_keys keys; further rows go into another forward.
 */
uint32_t rf_forward_max_rows(const struct rf_forward *forward, uint32_t max_keys);

/* What is to be submitted: up to two forwards and what goes with them, cut where it would take too long. */
struct rf_forward_cmds {
    struct rf_cmd *items[RF_FORWARD_CMDS]; /* for rf_gpu_submit: NULL is a cut */
    size_t count;
    uint32_t forward_count;
    struct {
        struct forward_variant *variant;
        double seconds; /* expected */
    } forwards[2];
    double tail; /* seconds expected since the last cut */
};

void rf_forward_cmds_init(struct rf_forward_cmds *cmds);
void rf_forward_cmds_add(struct rf_forward_cmds *cmds, struct rf_cmd *cmd);
/* Adds the gather of pass `pass`'s work and the forward for up to `rows` rows. At most twice. */
enum rf_status rf_forward_get(struct rf_forward *forward, uint32_t rows, uint32_t flags, uint32_t pass,
                              struct rf_forward_cmds *cmds, struct rf_error *err);
/* These forwards took `seconds` (above 0) together, from submit to the end of the wait. */
void rf_forward_ran(const struct rf_forward_cmds *cmds, double seconds);

/* From now on everything is recorded with these marks (engine/gpu/marks.h). Recordings of each marking are kept
 * beside each other, so that markings can take turns. After a failure nothing is marked. */
enum rf_status rf_forward_set_marking(struct rf_forward *forward, enum rf_marking marking,
                                      struct rf_error *err);
/* What is recorded with these marks goes, with its queries. Nothing may be in flight. */
void rf_forward_drop_marked(struct rf_forward *forward, enum rf_marking marking);
/* Everything is recorded anew when it is next wanted, with the kernels that rf_kernels_get then gives. Nothing may
 * be in flight. */
void rf_forward_drop_recordings(struct rf_forward *forward);
enum rf_marking rf_forward_marking(const struct rf_forward *forward);
/* Marked: the rows that the last submission gathered for pass 0 or 1; as many as it had are valid. */
const struct rf_row *rf_forward_gathered(const struct rf_forward *forward, uint32_t pass);

enum rf_slot_shader { RF_SLOT_SELECT, RF_SLOT_FILL, RF_SLOT_ACCEPT, RF_SLOT_SHADERS };
enum rf_status rf_forward_slots(struct rf_forward *forward, enum rf_slot_shader which, struct rf_cmd **cmd,
                                struct rf_error *err);
/* A command buffer of its own for each sequence, whose grid lies in its round state: recorded when first
 * wanted, and dropped before that state goes. */
enum rf_status rf_forward_commit(struct rf_forward *forward, uint32_t seq, struct rf_span state,
                                 struct rf_cmd **cmd, struct rf_error *err);
void rf_forward_drop_commit(struct rf_forward *forward, uint32_t seq);
/* f32 [RF_LOGIT_ROWS][vocab]; by output. */
struct rf_span rf_forward_logits(const struct rf_forward *forward);
/* Kernels of a model: which of its dispatches each of them makes. */
enum { RF_KERNEL_OPS = 20, RF_ALL_BUCKETS = 0x3ff };
struct rf_kernel_use {
    struct rf_kernel_id id;
    uint32_t op_count;
    struct {
        const char *op;   /* static; as in struct rf_op_note */
        uint32_t buckets; /* bit b: of forwards of up to 1 << b rows; 0: of none */
    } ops[RF_KERNEL_OPS];
};
struct rf_kernel_list {
    struct rf_kernel_use *uses; /* owned: rf_free(), after a failure too */
    uint32_t count;
};
/* Adds the kernels of forwards with these flags, of every row count, and of the slot shaders and the commit, in the
 * order of a forward. On a device that only compiles nothing is tried: shapes are those that were found earlier,
 * or untuned. */
enum rf_status rf_forward_list(struct rf_forward *forward, uint32_t flags, struct rf_kernel_list *list,
                               struct rf_error *err);
/* Likewise of forwards that have been recorded, by their row counts and flags, and of the rest what has run: nothing
 * is tried. The model's lock is held. */
enum rf_status rf_forward_list_recorded(struct rf_forward *forward, struct rf_kernel_list *list,
                                        struct rf_error *err);
/* Visits every command buffer recorded so far with the marks that are set (tests: hazards, dispatch counts). */
typedef void (*rf_cmd_visit_fn)(void *user, const struct rf_cmd *cmd, const char *label);
void rf_forward_visit(const struct rf_forward *forward, rf_cmd_visit_fn visit, void *user);

#endif
