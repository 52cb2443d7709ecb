/* refusion: runs ReFusion language models (Qwen3 architecture, slot-level plan-and-infill decoding) as Vulkan
 * compute.
 *
 * Four objects, each owned by the caller and destroyed by it, children before parents:
 *   rf_context    one Vulkan device; may be used from several threads (calls are serialised inside)
 *   rf_model      weights on that device; immutable after loading, shared by any number of sessions
 *   rf_session    one conversation: committed tokens, their KV rows, the response being decoded; one thread
 *                 at a time
 *   rf_tokenizer  text to ids and back; needs no device
 *
 * Conventions.
 *   - Every fallible call returns enum rf_status, 0 = RF_OK, and takes a caller-owned `struct rf_error *`
 *     last (NULL is allowed): one line that names what was wrong, what was found and what was wanted. No
 *     state is global.
 *   - Desc structs: zero means default, so `(struct rf_session_desc){0}` is valid. Later versions append members:
 *     `size` tells which a caller was compiled with, sizeof(struct rf_..._desc), or 0 for those of version 0.1.
 *     A set member that the library is too old to know is refused. Pointers inside are only read during the
 *     call, except where a comment says otherwise.
 *   - Structs that the library fills end in `reserved` room, which it sets to 0, and grow into it.
 *   - Memory that a call hands over to its caller is given back by rf_free. All memory of the host comes from malloc, or
 *     from the struct rf_allocator that a context or a tokenizer was made with.
 *   - The library never prints, never exits, never aborts on bad input and installs no signal handlers.
 *   - Text is UTF-8. Token ids are uint32_t. Positions are 0-based; in events they count from the response's
 *     start.
 *   - Examples are the inside of a function that returns enum rf_status. Its parameters are what they name and do
 *     not declare: context, model, session, tokenizer, generation, err, and callbacks. Tests compile them.
 *
 * In short:
 *
 *     struct rf_message question = {"user", "Write a Python function limit_value(n) that keeps n between 5 and 89."};
 *     rf_context_create(&context, NULL, &err);
 *     rf_model_load(&model, context, "models/tiny", NULL, &err);
 *     rf_session_create(&session, model, NULL, &err);
 *     rf_session_begin_chat(session, &question, 1, true, &err);
 *     while (!rf_session_finished(session))
 *         if (rf_session_step(session, NULL, NULL, &err) != RF_OK)
 *             break;
 *     puts(rf_session_text(session, NULL));
 */
#ifndef REFUSION_H
#define REFUSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef RF_API
#if defined(_WIN32)
#define RF_API
#else
#define RF_API __attribute__((visibility("default")))
#endif
#endif

/* ---- Status ----------------------------------------------------------------------------------------- */

enum rf_status {
    RF_OK = 0,
    RF_ERROR_ARGUMENT,      /* a value outside its range, a combination that makes no sense */
    RF_ERROR_IO,            /* a file or folder is missing or cannot be read */
    RF_ERROR_FORMAT,        /* a file's content is damaged or contradicts itself */
    RF_ERROR_UNSUPPORTED,   /* well formed, but this program does not run it */
    RF_ERROR_HOST_MEMORY,   /* the call can be made again; see rf_session_step */
    RF_ERROR_DEVICE_MEMORY, /* the device, or the memory limit that was set, has no room */
    RF_ERROR_NO_DEVICE,     /* no Vulkan loader, no device, or none with the required features */
    RF_ERROR_DEVICE_LOST,   /* stays so: destroy the context */
    RF_ERROR_CONTEXT_FULL,  /* prompt and response do not fit the context length */
    RF_ERROR_CANCELLED,     /* rf_session_cancel was called; the session can be stepped on or begun anew */
    RF_ERROR_INTERNAL       /* a Vulkan call failed in a way that no other code describes */
};

struct rf_error {
    enum rf_status status;
    char message[1024]; /* one line, no newline at its end */
};

/* In words, "out of device memory"; "unknown status" for a number that is none. Static. Thread-safe.
 *
 *     fprintf(stderr, "%s: %s\n", rf_status_name(err.status), err.message);
 */
RF_API const char *rf_status_name(enum rf_status status);
/* The library's, "0.1.0". Static. Thread-safe.
 *
 *     printf("refusion %s\n", rf_version());
 */
RF_API const char *rf_version(void);

/* ---- Memory of the host ----------------------------------------------------------------------------- */

/* realloc in one function: `block` NULL: a new block of `size` bytes; `size` 0: `block` is given back, and NULL is
 * returned; else `block` becomes `size` bytes long, its content kept up to the shorter size, and may move. Aligned as
 * malloc's. NULL: there is none, `block` stays as it was, and the call that needed it fails with
 * RF_ERROR_HOST_MEMORY (or does without, where it can). */
typedef void *(*rf_allocate_fn)(void *user, void *block, size_t size);

/* Where a context, or a tokenizer without one, gets its memory of the host from; `allocate` NULL: malloc. It serves all
 * that is made of the context: models, their tokenizers, sessions, generations, and what calls of theirs hand over. It
 * is called from any thread that is inside such a call, and from the library's own threads (generations; compiling
 * pipelines), several at once, and sometimes with a lock of the library held: it must not call the library. It has to
 * work until the last of these objects and blocks is gone. What the driver, the Vulkan loader, the C library and the
 * JSON parser (while a model is loaded) allocate for themselves does not pass through it, and a model's file is mapped,
 * not read into memory. */
struct rf_allocator {
    rf_allocate_fn allocate;
    void *user;
};

/* Gives back what a call handed over, to where it came from. NULL is fine. Thread-safe.
 *
 *     uint32_t *tokens;
 *     size_t count;
 *     if (rf_tokenizer_encode(tokenizer, "Hello", 5, false, &tokens, &count, &err) == RF_OK)
 *         rf_free(tokens);
 */
RF_API void rf_free(void *block);

/* ---- Devices and contexts --------------------------------------------------------------------------- */

enum { RF_NAME_LENGTH = 256 };

/* What one Vulkan device offers. Filled by rf_devices_list; strings live inside the struct. */
struct rf_device_info {
    uint32_t index; /* what rf_context_desc.device takes as a number */
    char name[RF_NAME_LENGTH];
    char driver[RF_NAME_LENGTH]; /* driver name and version text */
    char type[32];               /* "discrete", "integrated", "virtual", "cpu", "other" */
    char tiers[128];             /* usable paths, best first, e.g. "fp16, portable"; empty when not usable */
    char missing[512];           /* required features that it lacks, comma separated; empty when usable */
    uint32_t api_version;        /* as Vulkan packs it */
    uint32_t subgroup_size;
    uint32_t subgroup_size_min, subgroup_size_max;
    uint32_t shared_memory_bytes; /* per workgroup */
    uint32_t max_invocations;     /* per workgroup */
    uint32_t cores;               /* multiprocessors, compute units, shader cores; 0: it does not tell */
    uint64_t memory_bytes;        /* largest device-local heap */
    bool has_fp16, has_int8_dot, has_coopmat, has_coopmat2, has_coopmat2_matmul, unified_memory;
    bool has_low_priority; /* of queues, for rf_context_desc.priority */
    uint64_t reserved[8];
};

/* Lists every Vulkan device, usable or not. *infos comes from malloc and goes by rf_free. RF_ERROR_NO_DEVICE
 * when there is no Vulkan loader or no device at all. Thread-safe.
 *
 *     struct rf_device_info *devices;
 *     size_t count;
 *     if (rf_devices_list(&devices, &count, &err) == RF_OK) {
 *         for (size_t i = 0; i < count; i++)
 *             printf("%s %s\n", devices[i].name, devices[i].missing[0] ? devices[i].missing : "usable");
 *         rf_free(devices);
 *     }
 */
RF_API enum rf_status rf_devices_list(struct rf_device_info **infos, size_t *count, struct rf_error *err);

enum rf_log_level { RF_LOG_DEBUG, RF_LOG_INFO, RF_LOG_WARNING, RF_LOG_ERROR };
typedef void (*rf_log_fn)(void *user, enum rf_log_level level, const char *line);

typedef struct rf_context rf_context;

/* Of the queue against those of other processes, and of the application's other devices. */
enum rf_priority {
    RF_PRIORITY_DEFAULT = 0,
    RF_PRIORITY_LOW /* desktops and games first (VK_KHR_global_priority) */
};

struct rf_context_desc {
    uint32_t size; /* sizeof(struct rf_context_desc), or 0; see above */
    /* Index ("0") or a part of the name, any case (a number that is no index counts as one: "4090"); NULL:
     * RF_DEVICE from the environment, else the best: discrete, integrated, virtual, CPU, in that order. */
    const char *device;
    /* Tiers or capabilities not to use, comma separated: coopmat2Matmul, coopmat2, coopmat, int8dot, fp16 and,
     * to simulate a lesser device, any name that `devices` lists as required; NULL: RF_DISABLE from the
     * environment. */
    const char *disable;
    /* For the pipeline cache; NULL: $XDG_CACHE_HOME/refusion or ~/.cache/refusion; "": none. */
    const char *cache_dir;
    /* NAME.spv in it replaces the built-in shader NAME (for tests and shader work); NULL: none. */
    const char *shader_dir;
    uint64_t memory_limit; /* bytes of device memory that may be allocated; 0: what the device has */
    /* Longest time that one submission may take on the device, in milliseconds, by estimate from what was
     * measured: a forward that takes longer is cut into several, so that drivers do not take it for hung and
     * desktops are drawn in between. Attention of one layer is never cut. 0: 100 on GPUs, no limit on CPUs;
     * UINT32_MAX: no limit. Results are the same to the bit whatever it is. */
    uint32_t submission_ms;
    /* Red zones round every suballocation, hazard check of every recorded command buffer. */
    bool debug_checks;
    /* Enable VK_LAYER_KHRONOS_validation with synchronization validation, messages to log. */
    bool validation;
    /* For tools that look on from outside (RenderDoc, RGP, Nsight): objects have names, dispatches and steps have
     * labels (VK_EXT_debug_utils), and each step is a frame (VK_EXT_frame_boundary, AMD's frame labels). Without
     * the extension a warning. */
    bool debug_labels;
    /* Has RenderDoc capture this step of rf_session_step or rf_sessions_step, counted from 1 over the context;
     * implies debug_labels. 0: none. */
    uint32_t capture_step;
    /* Hardware counters (VK_KHR_performance_query) for RF_PROFILE_COUNTERS, by their names or numbers as
     * `refusion profile --counters` lists them, with commas between: at most 64 of the scope command that the
     * device can count in one pass. NULL: none. RF_ERROR_UNSUPPORTED on a device that has no counters. */
    const char *counters;
    rf_log_fn log; /* may be called from any thread that is inside a call; NULL: silence */
    void *log_user;
    /* The share of time, in percent, that the device may be at work for this context: 1 to 100; 0: 100. After each
     * submission of a step of t milliseconds, its parts (submission_ms) together, the next one waits t * (100 / duty - 1):
     * so the share is kept over every stretch of steps. While it rests the device is free, no lock is held, and a cancel
     * ends the rest within some milliseconds. All sessions and models of the context share it and take turns in what
     * it leaves. Loading is not slowed. Responses are the same to the bit. */
    uint32_t duty;
    /* A driver that does not offer it, or does not permit it to this process, gives the default, with a line of log. */
    enum rf_priority priority;
    struct rf_allocator allocator; /* all zeros: malloc and its family */
};

/* Opens a device: an instance, a logical device, and memory as it is needed. `desc` may be NULL. RF_ERROR_NO_DEVICE
 * when none fits, with what it lacks. A context must be gone before the process forks or exits. Thread-safe.
 *
 *     struct rf_context_desc desc = {.size = sizeof desc, .device = "nvidia", .memory_limit = 8ull << 30};
 *     return rf_context_create(&context, &desc, &err);
 */
RF_API enum rf_status rf_context_create(rf_context **out, const struct rf_context_desc *desc,
                                        struct rf_error *err);
/* NULL is fine; models must be gone. Also what to do with a lost device.
 *
 *     rf_session_destroy(session);
 *     rf_model_destroy(model);
 *     rf_context_destroy(context);
 */
RF_API void rf_context_destroy(rf_context *context);
/* The device that it opened. Thread-safe.
 *
 *     struct rf_device_info info;
 *     rf_context_device(context, &info);
 *     printf("%s, %s\n", info.name, info.driver);
 */
RF_API void rf_context_device(const rf_context *context, struct rf_device_info *info);
/* Validation messages of warning level or above seen so far (0 unless desc.validation), plus failed debug
 * checks. Thread-safe.
 *
 *     if (rf_context_complaints(context) > 0)
 *         abort();
 */
RF_API uint64_t rf_context_complaints(const rf_context *context);
/* `shader`: as in rf_selftest_result.kernel; lives as long as the context. */
typedef void (*rf_dispatch_fn)(void *user, const char *shader, uint64_t dispatches);
/* How often each shader was dispatched on this context so far, trials of kernel shapes left out; a shader
 * comes once for each of its specializations. Thread-safe; `visit` must not call into the context.
 *
 *     rf_context_visit_dispatches(context, visit, NULL);
 */
RF_API void rf_context_visit_dispatches(const rf_context *context, rf_dispatch_fn visit, void *user);

/* ---- Tokenizer (no device) -------------------------------------------------------------------------- */

typedef struct rf_tokenizer rf_tokenizer;

struct rf_tokenizer_desc {
    uint32_t size; /* sizeof(struct rf_tokenizer_desc), or 0; see above */
    struct rf_allocator allocator; /* all zeros: malloc and its family */
};

struct rf_message {
    const char *role;    /* "system", "user" or "assistant" */
    const char *content; /* UTF-8; never yields control tokens, whatever it holds */
};

/* Reads the tokenizer of a model folder (tokenizer.json, or vocab.json + merges.txt + added_tokens.json) or
 * of a GGUF file. `desc` may be NULL. Thread-safe. A model has one of its own: rf_model_tokenizer.
 *
 *     if (rf_tokenizer_load(&tokenizer, "models/tiny", NULL, &err) != RF_OK)
 *         return err.status;
 *     rf_tokenizer_destroy(tokenizer);
 */
RF_API enum rf_status rf_tokenizer_load(rf_tokenizer **out, const char *folder,
                                        const struct rf_tokenizer_desc *desc, struct rf_error *err);
RF_API void rf_tokenizer_destroy(rf_tokenizer *tokenizer);

/* Text to ids. With `special`, added tokens written in the text (such as <|im_end|>) become their ids;
 * without it they are plain text. *tokens is the caller's, for rf_free. Invalid UTF-8 is refused
 * (RF_ERROR_ARGUMENT, with the byte offset). Thread-safe.
 *
 *     uint32_t *tokens;
 *     size_t count;
 *     const char *text = "How many tokens is this?";
 *     if (rf_tokenizer_encode(tokenizer, text, strlen(text), false, &tokens, &count, &err) == RF_OK) {
 *         printf("%zu\n", count);
 *         rf_free(tokens);
 *     }
 */
RF_API enum rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const char *text, size_t length,
                                          bool special, uint32_t **tokens, size_t *count,
                                          struct rf_error *err);
/* Ids to text, NUL-terminated, the caller's, for rf_free. With `skip_special`, added special tokens are left
 * out. Bytes that form no whole UTF-8 character become U+FFFD. `length` (bytes) may be NULL. An id outside the
 * vocabulary is refused (RF_ERROR_ARGUMENT). Thread-safe.
 *
 *     size_t count;
 *     const uint32_t *tokens = rf_session_tokens(session, &count);
 *     char *text;
 *     if (rf_tokenizer_decode(tokenizer, tokens, count, true, &text, NULL, &err) == RF_OK) {
 *         puts(text);
 *         rf_free(text);
 *     }
 */
RF_API enum rf_status rf_tokenizer_decode(const rf_tokenizer *tokenizer, const uint32_t *tokens, size_t count,
                                          bool skip_special, char **text, size_t *length,
                                          struct rf_error *err);
/* Messages to prompt ids by the folder's chat template (ChatML as Qwen3 writes it; another template is
 * RF_ERROR_UNSUPPORTED). `thinking` false appends the empty think block to the generation prompt.
 * *tokens is the caller's, for rf_free. Thread-safe.
 *
 *     struct rf_message messages[] = {{"system", "Be brief."}, {"user", "What is a slot?"}};
 *     uint32_t *tokens;
 *     size_t count;
 *     if (rf_tokenizer_chat(tokenizer, messages, 2, false, true, &tokens, &count, &err) == RF_OK) {
 *         rf_session_begin(session, tokens, count, &err);
 *         rf_free(tokens);
 *     }
 */
RF_API enum rf_status rf_tokenizer_chat(const rf_tokenizer *tokenizer, const struct rf_message *messages,
                                        size_t count, bool thinking, bool generation_prompt,
                                        uint32_t **tokens, size_t *token_count, struct rf_error *err);

/* ---- Models ----------------------------------------------------------------------------------------- */

typedef struct rf_model rf_model;

enum rf_precision {
    RF_PRECISION_AUTO =
        0, /* the fastest that the device has and that is not disabled: f32 on CPUs; int8 for quantized weights where
            * int8 dot products are accelerated and there are no matrix units; else f16 */
    RF_PRECISION_F32, /* portable path: f32 activations and KV */
    RF_PRECISION_F16, /* fp16 path: f16 matmul inputs and KV, f32 accumulation and residual */
    /* int8 path: the fp16 path, but inputs of products with quantized weights (Q8_0, Q4_0, Q4_K, Q6_K) are
     * int8 with a scale per 32 of them, for any number of rows. Refused where nothing is quantized, on
     * devices without integer dot products, and for heads that are no multiple of 32. */
    RF_PRECISION_INT8
};

/* done/total in bytes. Returning false stops the load (RF_ERROR_CANCELLED). */
typedef bool (*rf_progress_fn)(void *user, uint64_t done, uint64_t total);

struct rf_model_desc {
    uint32_t size;           /* sizeof(struct rf_model_desc), or 0; see above */
    uint32_t context_length; /* most rows (prompt + response) of a session; 0: the model's
                                max_position_embeddings */
    enum rf_precision precision;
    rf_progress_fn progress;
    void *progress_user;
    /* Matrices are encoded anew while they are loaded: "f32", "bf16", "f16", "q8_0", "q4_0", "q4_k", "q6_k",
     * with the exceptions that `refusion quantize` makes. NULL: as the files have them. */
    const char *weight_type;
    /* Kernel shapes are tried on the device when they are first needed, and kept in the cache folder; true:
     * take what suits most devices. */
    bool no_tune;
};

struct rf_model_info {
    uint32_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab; /* as in config.json */
    uint32_t context_length;
    uint32_t mask_token;               /* UINT32_MAX when the model has none (then only RF_DECODE_AR) */
    uint32_t eos_tokens[8], eos_count; /* [0] is the tokenizer's, the others are generation_config's */
    uint64_t parameters;
    uint64_t weight_bytes; /* on the device */
    char precision[16];    /* "portable", "fp16" or "int8" */
    char preset[16];       /* of sessions that name none: config.json's refusion_preset, else "chat" */
    uint64_t reserved[6];
};

/* `folder`: a model folder in the Hugging Face layout, or a GGUF file (also a folder that holds one and no
 * config.json). `desc` may be NULL. Thread-safe.
 *
 *     struct rf_model_desc desc = {.size = sizeof desc, .context_length = 8192, .weight_type = "q8_0"};
 *     return rf_model_load(&model, context, "ReFusion-8B", &desc, &err);
 */
RF_API enum rf_status rf_model_load(rf_model **out, rf_context *context, const char *folder,
                                    const struct rf_model_desc *desc, struct rf_error *err);
/* A model of a real one's shape with random weights made on the device, for measurements. `shape` is
 * qwen3-0.6b, -1.7b, -4b or -8b, then any of ",KEY=VALUE" with the keys layers, hidden, heads, kv_heads,
 * head_dim, ffn, vocab, tied (0, 1), context and type (see weight_type). It has a mask token and no
 * tokenizer: prompts are ids, texts stay empty. Thread-safe.
 *
 *     return rf_model_synthesize(&model, context, "qwen3-0.6b,layers=4,type=q4_0", NULL, &err);
 */
RF_API enum rf_status rf_model_synthesize(rf_model **out, rf_context *context, const char *shape,
                                          const struct rf_model_desc *desc, struct rf_error *err);
/* NULL is fine; sessions must be gone.
 *
 *     rf_session_destroy(session);
 *     rf_model_destroy(model);
 */
RF_API void rf_model_destroy(rf_model *model);

/* Does it fit? Device memory in bytes, counted by the steps that loading would take, without reading a weight. */
struct rf_memory_estimate {
    uint64_t weights; /* as they would stand on the device */
    uint64_t work;    /* activations and the like, whatever the number of sessions */
    uint64_t session; /* a session, beside its KV rows */
    uint64_t kv_page; /* RF_KV_PAGE_ROWS rows of a session */
    uint64_t kv;      /* a session that fills the context length, with 512 rows of drafts: more than most */
    uint64_t total;   /* the model and one such session; what is recorded later adds well under 1% */
    uint64_t
        available; /* that can still be allocated: by the context's limit, and by what the driver grants */
    bool fits;     /* total <= available */
    uint64_t reserved[8];
};
enum { RF_KV_PAGE_ROWS = 64 };

/* For what rf_model_load would load. Errors as there, but of damaged weights, which it does not look at. Thread-safe.
 *
 *     struct rf_memory_estimate need;
 *     if (rf_model_estimate(&need, context, "ReFusion-8B", NULL, &err) == RF_OK && !need.fits)
 *         printf("wants %.1f GB of %.1f\n", (double)need.total / 1e9, (double)need.available / 1e9);
 */
RF_API enum rf_status rf_model_estimate(struct rf_memory_estimate *out, rf_context *context,
                                        const char *folder, const struct rf_model_desc *desc,
                                        struct rf_error *err);
/* Device memory that the context holds now, in bytes, all of its models and sessions. Thread-safe.
 *
 *     printf("%.1f MB\n", (double)rf_context_memory(context) / 1e6);
 */
RF_API uint64_t rf_context_memory(const rf_context *context);
/* Thread-safe.
 *
 *     struct rf_model_info info;
 *     rf_model_get_info(model, &info);
 *     printf("%.1f billion parameters\n", (double)info.parameters / 1e9);
 */
RF_API void rf_model_get_info(const rf_model *model, struct rf_model_info *info);
/* Owned by the model; NULL: a synthetic model has none. Thread-safe.
 *
 *     const rf_tokenizer *own = rf_model_tokenizer(model);
 *     if (!own)
 *         puts("a synthetic model");
 */
RF_API const rf_tokenizer *rf_model_tokenizer(const rf_model *model);

/* ---- Sessions --------------------------------------------------------------------------------------- */

typedef struct rf_session rf_session;

enum rf_decode {
    RF_DECODE_REFUSION = 0, /* plan-and-infill */
    RF_DECODE_AR            /* left to right, one token a forward */
};

/* Numbers that shape decoding. A zero field takes the preset's value. */
struct rf_decode_settings {
    const char *preset; /* "chat", "code", "math", "strict", "demo", or the tasks that it is for: mmlu-pro,
                         * arc-c, gsm8k, humaneval, mbpp, math, gpqa, tiny (models/tiny's); NULL: that of
                         * rf_model_info */
    enum rf_decode decode;
    uint32_t max_tokens;   /* response tokens at most; 0: 512, or what the context leaves if less */
    uint32_t slot_size;    /* k, tokens a slot */
    uint32_t block;        /* b, tokens a block: a multiple of slot_size */
    float slot_threshold;  /* [0, 1]; has_slot_threshold tells a wanted 0 from "preset's" */
    float token_threshold; /* [0, 1] */
    bool has_slot_threshold, has_token_threshold;
    float temperature;    /* >= 0; 0: greedy */
    uint64_t seed;        /* of the Gumbel noise when temperature > 0 */
    uint32_t top_k;       /* RF_DECODE_AR only; 0: off */
    float top_p;          /* RF_DECODE_AR only, (0, 1]; 0: off */
    bool reference;       /* exactly the original program's behaviour, its oddities included; greedy only */
    uint32_t reserved[8]; /* 0: later versions' settings */
};

struct rf_session_desc {
    uint32_t size; /* sizeof(struct rf_session_desc), or 0; see above */
    struct rf_decode_settings settings;
    const char *const *stops; /* stop_count texts; the response ends at the first occurrence by position */
    uint32_t stop_count;      /* <= 16 */
    bool deterministic;       /* bit-identical results alone and beside other sessions' rows in one forward */
};

enum rf_event_kind {
    RF_EVENT_PLANNED, /* `token` is the draft for `position` in a slot chosen this round; it may yet change */
    RF_EVENT_COMMITTED, /* `token` is final at `position` (but may lie behind an eos and so never be shown) */
    RF_EVENT_DROPPED,   /* `count` positions from `position` on will not be decoded */
    RF_EVENT_FINISHED   /* the response is complete; see rf_session_finish_reason */
};

struct rf_event {
    enum rf_event_kind kind;
    uint32_t position; /* from the response's start */
    uint32_t count;    /* 1, or the length of a dropped run */
    uint32_t token;
    uint32_t round; /* from 0 */
    uint32_t reserved[3];
};

struct rf_session_stats {
    uint32_t prompt_tokens, cached_tokens; /* of the prompt, those whose KV rows were reused */
    uint32_t rounds, turns;                /* turns: of COMPLETE */
    uint64_t forwards, rows;               /* as the paper counts: a chunked prefill is part of its PLAN */
    uint32_t shown_tokens;                 /* before the earliest eos or stop */
    double tokens_per_forward;             /* (shown + the eos) / forwards */
    double reference_tokens_per_forward; /* the original program's own figure; 0 unless settings.reference */
    double prefill_seconds, decode_seconds;
    uint64_t reserved[8];
};

/* An empty conversation. Its KV pages come as it grows. `desc` may be NULL; the texts of desc->stops are copied.
 * RF_ERROR_ARGUMENT for settings outside their ranges. Thread-safe.
 *
 *     static const char *const stops[] = {"\n\n"};
 *     struct rf_session_desc desc = {
 *         .size = sizeof desc, .settings = {.preset = "code", .max_tokens = 256}, .stops = stops, .stop_count = 1};
 *     return rf_session_create(&session, model, &desc, &err);
 */
RF_API enum rf_status rf_session_create(rf_session **out, rf_model *model, const struct rf_session_desc *desc,
                                        struct rf_error *err);
/* NULL is fine. Not while a step of it runs or a generation has it.
 *
 *     rf_generation_destroy(generation);
 *     rf_session_destroy(session);
 */
RF_API void rf_session_destroy(rf_session *session);
/* A second session that starts with those rows of `session` that lie in position order: its prompt's, and
 * with RF_DECODE_AR its response's too. Rows of a plan-and-infill response lie in commit order and are not
 * taken. KV pages are shared and copied when written. Only between responses.
 *
 *     rf_session *branch;
 *     return rf_session_fork(&branch, session, NULL, &err);
 */
RF_API enum rf_status rf_session_fork(rf_session **out, rf_session *session,
                                      const struct rf_session_desc *desc, struct rf_error *err);

/* Writes those rows to a file, with their tokens, and makes a session of such a file, which goes on as the saved one
 * would have: for conversations that are taken up days later without their prompt being computed anew. The file appears
 * whole or not at all, takes rf_memory_estimate.kv_page bytes for 64 tokens, and fits the model that it was saved with
 * alone, in the same precision and weight_type: another is RF_ERROR_ARGUMENT, damage RF_ERROR_FORMAT. It holds the
 * conversation: treat it as such. Saving: only between responses.
 *
 *     if (rf_session_save(session, "yesterday.kv", &err) != RF_OK)
 *         return err.status;
 *     rf_session_destroy(session);
 *     return rf_session_load(&session, model, "yesterday.kv", NULL, &err);
 */
RF_API enum rf_status rf_session_save(rf_session *session, const char *path, struct rf_error *err);
RF_API enum rf_status rf_session_load(rf_session **out, rf_model *model, const char *path,
                                      const struct rf_session_desc *desc, struct rf_error *err);

/* Starts a response to `tokens` (the whole conversation so far). Rows of the longest common prefix with what
 * the session holds in position order are reused. The response before is given up, even by a begin that
 * fails: then there is none. RF_ERROR_CONTEXT_FULL when they leave no room for a response.
 *
 *     const uint32_t tokens[] = {9707, 11, 1879};
 *     return rf_session_begin(session, tokens, 3, &err);
 */
RF_API enum rf_status rf_session_begin(rf_session *session, const uint32_t *tokens, size_t count,
                                       struct rf_error *err);
/* The same for messages, by rf_tokenizer_chat.
 *
 *     struct rf_message messages[] = {{"user", "Hello"}, {"assistant", "Hello!"}, {"user", "What is 12 + 30?"}};
 *     return rf_session_begin_chat(session, messages, 3, false, &err);
 */
RF_API enum rf_status rf_session_begin_chat(rf_session *session, const struct rf_message *messages,
                                            size_t count, bool thinking, struct rf_error *err);

/* Runs one round (or one token with RF_DECODE_AR). *events (NULL is allowed) stays valid until the next call. After
 * RF_ERROR_CANCELLED, and when host or device memory was short, it can be called again, and goes on. When the device
 * had already run what the host then could not take in, that call is RF_ERROR_ARGUMENT ("broke off"): begin anew.
 *
 *     const struct rf_event *events;
 *     size_t count;
 *     if (rf_session_step(session, &events, &count, &err) != RF_OK)
 *         return err.status;
 *     for (size_t i = 0; i < count; i++)
 *         if (events[i].kind == RF_EVENT_COMMITTED)
 *             printf("%u is %u\n", events[i].position, events[i].token);
 */
RF_API enum rf_status rf_session_step(rf_session *session, const struct rf_event **events, size_t *count,
                                      struct rf_error *err);
/* The same for several sessions of one model: their rows share forwards. Finished sessions are passed over.
 * Events are then read with rf_session_events. When one session fails, the others are unaffected and the
 * first failure is returned. A session that is listed twice is refused.
 *
 *     rf_session *pair[2];
 *     for (int i = 0; i < 2; i++)
 *         if (rf_session_fork(&pair[i], session, NULL, &err) != RF_OK)
 *             return err.status;
 *     return rf_sessions_step(pair, 2, &err);
 */
RF_API enum rf_status rf_sessions_step(rf_session *const *sessions, size_t count, struct rf_error *err);
/* Of the last step; `count` may be NULL. Valid until the next call on this session.
 *
 *     size_t count;
 *     const struct rf_event *events = rf_session_events(session, &count);
 *     printf("%zu, of round %u\n", count, count ? events[0].round : 0);
 */
RF_API const struct rf_event *rf_session_events(const rf_session *session, size_t *count);
/* Returning false cancels. May read the session (rf_session_text, ..), but not step it. */
typedef bool (*rf_event_fn)(void *user, rf_session *session, const struct rf_event *event);
/* Steps until finished; `on_event` (may be NULL) is called for each event.
 *
 *     return rf_session_generate(session, on_event, NULL, &err);
 */
RF_API enum rf_status rf_session_generate(rf_session *session, rf_event_fn on_event, void *user,
                                          struct rf_error *err);
/* From any thread: the running or next step returns RF_ERROR_CANCELLED before its next submission.
 *
 *     rf_session_cancel(session);
 */
RF_API void rf_session_cancel(rf_session *session);

/* Also true before a response was begun.
 *
 *     while (!rf_session_finished(session))
 *         if (rf_session_step(session, NULL, NULL, &err) != RF_OK)
 *             return err.status;
 */
RF_API bool rf_session_finished(const rf_session *session);
/* "stop" (eos), "stop_text", "length", or "" while running. Static.
 *
 *     if (strcmp(rf_session_finish_reason(session), "length") == 0)
 *         puts("[there was more to say]");
 */
RF_API const char *rf_session_finish_reason(const rf_session *session);
/* The text that is certain to stay: the contiguous committed prefix, whole UTF-8 characters, before the
 * earliest eos or stop text, a possible partial stop text held back until the end. Only grows during a
 * response. NUL-terminated; `length` (bytes) may be NULL. Valid until the next call on this session.
 *
 *     puts(rf_session_text(session, NULL));
 */
RF_API const char *rf_session_text(const rf_session *session, size_t *length);
/* Committed response tokens by position. Default: cut before the earliest eos or stop. settings.reference:
 * all of them, eos included, as the original program returns. Valid until the next call on this session.
 *
 *     size_t count;
 *     const uint32_t *tokens = rf_session_tokens(session, &count);
 *     for (size_t i = 0; i < count; i++)
 *         printf("%u\n", tokens[i]);
 */
RF_API const uint32_t *rf_session_tokens(const rf_session *session, size_t *count);
/* Of the response so far.
 *
 *     struct rf_session_stats stats;
 *     rf_session_get_stats(session, &stats);
 *     printf("%.1f tokens per forward\n", stats.tokens_per_forward);
 */
RF_API void rf_session_get_stats(const rf_session *session, struct rf_session_stats *stats);

/* ---- Generating in the background ------------------------------------------------------------------- */

/* A response that forms on a thread of its own: for applications whose main loop must not wait. */
typedef struct rf_generation rf_generation;

/* Called on the generation's thread, when something has come after a poll took everything, and once at the end: so
 * at most once a poll, and once more. It should do no more than wake the application's loop (g_idle_add, PostMessage,
 * a write to an eventfd), and must not call into the generation or its session. */
typedef void (*rf_wake_fn)(void *user);

struct rf_generation_desc {
    uint32_t size;   /* sizeof(struct rf_generation_desc), or 0; see above */
    rf_wake_fn wake; /* NULL: the application polls when it likes */
    void *user;
};

/* What a poll finds. Pointers are valid until the next poll of the generation or its end. */
struct rf_update {
    const struct rf_event *events; /* since the last poll, in order */
    size_t event_count;
    const char *text;               /* all that is certain so far (see rf_session_text), NUL-terminated */
    size_t text_length, text_first; /* in bytes; from text_first on it is new */
    bool finished;                  /* the response is complete, or failed, or was cancelled */
    struct rf_session_stats stats;  /* as of the last round */
};

/* Begins to step a session, which has been begun, until it is finished. Until rf_generation_destroy the session belongs
 * to the generation: of its functions only rf_session_cancel may be called. Generations of several sessions of a model
 * take turns, a submission each. The thread takes no signals. `desc` may be NULL.
 *
 *     struct rf_generation_desc desc = {.size = sizeof desc};
 *     if (rf_generation_start(&generation, session, &desc, &err) != RF_OK)
 *         return err.status;
 *     while (!rf_generation_wait(generation, 100))
 *         puts("..");
 *     rf_generation_destroy(generation);
 */
RF_API enum rf_status rf_generation_start(rf_generation **out, rf_session *session,
                                          const struct rf_generation_desc *desc, struct rf_error *err);
/* Takes what has come since the last poll; never waits for the device. While it runs and when it has finished well
 * RF_OK, else how it ended: RF_ERROR_CANCELLED, RF_ERROR_DEVICE_LOST, ... One thread at a time.
 *
 *     struct rf_update update;
 *     if (rf_generation_poll(generation, &update, &err) != RF_OK)
 *         fprintf(stderr, "%s\n", err.message);
 *     fputs(update.text + update.text_first, stdout);
 */
RF_API enum rf_status rf_generation_poll(rf_generation *generation, struct rf_update *update,
                                         struct rf_error *err);
/* Waits until it is finished, at most so long; UINT32_MAX: without limit. Whether it is. From any thread.
 *
 *     rf_generation_wait(generation, UINT32_MAX);
 */
RF_API bool rf_generation_wait(rf_generation *generation, uint32_t milliseconds);
/* Cancels what still runs, waits for it (at most one submission) and hands the session back, which keeps what
 * was committed and can be stepped on. NULL is fine.
 *
 *     rf_generation_destroy(generation);
 *     puts(rf_session_text(session, NULL));
 */
RF_API void rf_generation_destroy(rf_generation *generation);

#ifdef __cplusplus
}
#endif
#endif
