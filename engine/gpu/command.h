/* Recorded-once command buffers, barriers derived from declared accesses, submission on one timeline.
 *
 * A dispatch declares every span that it reads or writes; rf_cmd inserts a barrier exactly when a declared
 * access conflicts with one since the last barrier (read after write, write after write, write after read).
 * Independent dispatches have none between them. The log of dispatches and barriers stays with the command
 * buffer, and an independent checker (hazard.h) can go over it. */
#ifndef RF_GPU_COMMAND_H
#define RF_GPU_COMMAND_H

#include "engine/gpu/kernel.h"
#include "engine/gpu/memory.h"

enum { RF_DISPATCH_ACCESSES = 24 };

enum rf_access_mode { RF_READ = 1, RF_WRITE = 2, RF_READ_WRITE = 3 };

struct rf_access {
    struct rf_span span;
    enum rf_access_mode mode;
};

struct rf_dispatch {
    struct rf_kernel *kernel;
    const char *label; /* layer and op, such as "L3 attention"; copied */
    uint32_t note;    /* for whoever reads marks (marks.h): its index among the notes of the command buffer */
    const void *push; /* struct of shaders/shared.h */
    uint32_t push_size;
    double seconds;     /* that it is expected to take, for marks (marks.h) alone; 0: next to nothing */
    uint32_t groups[3]; /* workgroups, used when indirect.address is 0; a zero means nothing is recorded */
    struct rf_span indirect; /* a VkDispatchIndirectCommand, written by an earlier dispatch or the host */
    uint32_t access_count;
    struct rf_access accesses[RF_DISPATCH_ACCESSES]; /* the indirect span is declared automatically */
};

/* One recorded command buffer, reusable; record from one thread; may be in flight several times. */
struct rf_cmd;

enum rf_status rf_cmd_begin(struct rf_cmd **out, struct rf_gpu *gpu, const char *label, struct rf_error *err);
enum rf_status rf_cmd_dispatch(struct rf_cmd *cmd, const struct rf_dispatch *dispatch, struct rf_error *err);
enum rf_status rf_cmd_copy(struct rf_cmd *cmd, struct rf_span dst, struct rf_span src, uint64_t size,
                           const char *label, struct rf_error *err);
/* With debug checks also runs the hazard checker. */
enum rf_status rf_cmd_end(struct rf_cmd *cmd, struct rf_error *err);
/* Ends `cmd` and begins *out, which goes on with the same work: it is submitted behind `cmd`, in the same
 * submission or a later one, and the host sees what both wrote once *out is through. Between the two is the
 * barrier that is between dispatches, so that a cut before a dispatch that waits anyway costs nothing on the
 * device. When it fails, *out is NULL and `cmd` is of no use. */
enum rf_status rf_cmd_continue(struct rf_cmd **out, struct rf_cmd *cmd, struct rf_error *err);
/* Whether a barrier would be put before this dispatch, if it came next. */
bool rf_cmd_waits(const struct rf_cmd *cmd, const struct rf_dispatch *dispatch);
void rf_cmd_destroy(struct rf_cmd *cmd);
/* What its dispatches are, to whoever recorded them; outlives it. NULL: nothing is known. */
void rf_cmd_set_notes(struct rf_cmd *cmd, const void *notes);
const void *rf_cmd_notes(const struct rf_cmd *cmd);
/* What it dispatches is not counted (rf_kernels_visit). */
void rf_cmd_mark_trial(struct rf_cmd *cmd);
uint32_t rf_cmd_dispatch_count(const struct rf_cmd *cmd);
uint32_t rf_cmd_barrier_count(const struct rf_cmd *cmd);

enum { RF_SUBMIT_BUFFERS = 80 };

/* Submits 1 to RF_SUBMIT_BUFFERS command buffers in order as one submission. A NULL between two command
 * buffers is a cut: what stands before it is a submission of its own, which signals on its own (so that no
 * driver puts them together again), and nobody waits between them. Each command buffer begins with a barrier
 * against everything before it in the queue (host writes included) and its writes are visible to the host
 * once waited for. *ticket is that of the last submission and may be waited for by any thread. After a
 * failure nothing of it is in flight, and *ticket is that of the last submission before a cut which did run, 0 when
 * none did. Calls are serialised inside. */
enum rf_status rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count, uint64_t *ticket,
                             struct rf_error *err);
/* Spins briefly on the timeline semaphore, then waits. RF_ERROR_DEVICE_LOST stays. With debug checks
 * RF_ERROR_INTERNAL when a red zone was overrun. */
enum rf_status rf_gpu_wait(struct rf_gpu *gpu, uint64_t ticket, struct rf_error *err);
uint64_t rf_gpu_submission_count(const struct rf_gpu *gpu);
/* Seconds that one submission should take at most, by estimate; INFINITY: no limit. Whoever submits cuts. */
double rf_gpu_submission_limit(const struct rf_gpu *gpu);
uint64_t rf_gpu_recorded_count(const struct rf_gpu *gpu); /* command buffers recorded so far */

#endif
