"""The refusion library in Python, by ctypes: nothing to build, nothing to install beside the library itself.

    import refusion
    with refusion.Context() as context, context.load("models/tiny") as model:
        for piece in model.session().ask("Write a Python function limit_value(n) that keeps n between 5 and 89."):
            print(piece, end="", flush=True)

Failures are exceptions: refusion.Error, whose `status` is a Status. Calls let other threads run. A session
belongs to one thread at a time; only cancel() may be called from another. Closing a model closes its sessions, closing a
context its models. RF_LIBRARY in the environment may name the library's file.
"""
import ctypes
import ctypes.util
import enum
import os
import weakref
from ctypes import POINTER, byref, c_bool, c_char, c_char_p, c_double, c_float, c_int, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p

# ---- What refusion.h declares ----------------------------------------------------------------------------------------

LogFn = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)
AllocateFn = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_size_t)
ProgressFn = ctypes.CFUNCTYPE(c_bool, c_void_p, c_uint64, c_uint64)
WakeFn = ctypes.CFUNCTYPE(None, c_void_p)


class Status(enum.IntEnum):
    RF_OK = 0
    RF_ERROR_ARGUMENT = 1
    RF_ERROR_IO = 2
    RF_ERROR_FORMAT = 3
    RF_ERROR_UNSUPPORTED = 4
    RF_ERROR_HOST_MEMORY = 5
    RF_ERROR_DEVICE_MEMORY = 6
    RF_ERROR_NO_DEVICE = 7
    RF_ERROR_DEVICE_LOST = 8
    RF_ERROR_CONTEXT_FULL = 9
    RF_ERROR_CANCELLED = 10
    RF_ERROR_INTERNAL = 11


class ErrorStruct(ctypes.Structure):
    c_name = "rf_error"
    _fields_ = [("status", c_int), ("message", c_char * 1024)]


class DeviceInfo(ctypes.Structure):
    c_name = "rf_device_info"
    _fields_ = [("index", c_uint32), ("name", c_char * 256), ("driver", c_char * 256), ("type", c_char * 32),
                ("tiers", c_char * 128), ("missing", c_char * 512), ("api_version", c_uint32),
                ("subgroup_size", c_uint32), ("subgroup_size_min", c_uint32), ("subgroup_size_max", c_uint32),
                ("shared_memory_bytes", c_uint32), ("max_invocations", c_uint32), ("cores", c_uint32),
                ("memory_bytes", c_uint64), ("has_fp16", c_bool), ("has_int8_dot", c_bool), ("has_coopmat", c_bool),
                ("has_coopmat2", c_bool), ("has_coopmat2_matmul", c_bool), ("unified_memory", c_bool),
                ("has_low_priority", c_bool),
                ("reserved", c_uint64 * 8)]


class Allocator(ctypes.Structure):
    c_name = "rf_allocator"
    _fields_ = [("allocate", AllocateFn), ("user", c_void_p)]


class ContextDesc(ctypes.Structure):
    c_name = "rf_context_desc"
    _fields_ = [("size", c_uint32), ("device", c_char_p), ("disable", c_char_p), ("cache_dir", c_char_p),
                ("shader_dir", c_char_p), ("memory_limit", c_uint64), ("submission_ms", c_uint32), ("debug_checks", c_bool),
                ("validation", c_bool), ("debug_labels", c_bool), ("capture_step", c_uint32), ("counters", c_char_p),
                ("log", LogFn), ("log_user", c_void_p), ("duty", c_uint32), ("priority", c_int),
                ("allocator", Allocator)]


class Message(ctypes.Structure):
    c_name = "rf_message"
    _fields_ = [("role", c_char_p), ("content", c_char_p)]


class ModelDesc(ctypes.Structure):
    c_name = "rf_model_desc"
    _fields_ = [("size", c_uint32), ("context_length", c_uint32), ("precision", c_int), ("progress", ProgressFn),
                ("progress_user", c_void_p), ("weight_type", c_char_p), ("no_tune", c_bool)]


class MemoryEstimate(ctypes.Structure):
    """Bytes of device memory, before anything is loaded; `fits`: total <= available."""
    c_name = "rf_memory_estimate"
    _fields_ = [("weights", c_uint64), ("work", c_uint64), ("session", c_uint64), ("kv_page", c_uint64),
                ("kv", c_uint64), ("total", c_uint64), ("available", c_uint64), ("fits", c_bool),
                ("reserved", c_uint64 * 8)]


class DecodeSettings(ctypes.Structure):
    c_name = "rf_decode_settings"
    _fields_ = [("preset", c_char_p), ("decode", c_int), ("max_tokens", c_uint32), ("slot_size", c_uint32),
                ("block", c_uint32), ("slot_threshold", c_float), ("token_threshold", c_float),
                ("has_slot_threshold", c_bool), ("has_token_threshold", c_bool), ("temperature", c_float),
                ("seed", c_uint64), ("top_k", c_uint32), ("top_p", c_float), ("reference", c_bool),
                ("reserved", c_uint32 * 8)]


class SessionDesc(ctypes.Structure):
    c_name = "rf_session_desc"
    _fields_ = [("size", c_uint32), ("settings", DecodeSettings), ("stops", POINTER(c_char_p)),
                ("stop_count", c_uint32), ("deterministic", c_bool)]


class Event(ctypes.Structure):
    """`position` counts from the answer's start; `kind` is one of EVENTS."""
    c_name = "rf_event"
    _fields_ = [("kind", c_int), ("position", c_uint32), ("count", c_uint32), ("token", c_uint32),
                ("round", c_uint32), ("reserved", c_uint32 * 3)]


class SessionStats(ctypes.Structure):
    c_name = "rf_session_stats"
    _fields_ = [("prompt_tokens", c_uint32), ("cached_tokens", c_uint32), ("rounds", c_uint32), ("turns", c_uint32),
                ("forwards", c_uint64), ("rows", c_uint64), ("shown_tokens", c_uint32),
                ("tokens_per_forward", c_double), ("reference_tokens_per_forward", c_double),
                ("prefill_seconds", c_double), ("decode_seconds", c_double), ("reserved", c_uint64 * 8)]


class Update(ctypes.Structure):
    c_name = "rf_update"
    _fields_ = [("events", POINTER(Event)), ("event_count", c_size_t), ("text", c_void_p), ("text_length", c_size_t),
                ("text_first", c_size_t), ("finished", c_bool), ("stats", SessionStats)]


class GenerationDesc(ctypes.Structure):
    c_name = "rf_generation_desc"
    _fields_ = [("size", c_uint32), ("wake", WakeFn), ("user", c_void_p)]


EVENTS = ("planned", "committed", "dropped", "finished")
DECODES = ("refusion", "ar")
PRECISIONS = ("auto", "f32", "f16", "int8")

_error = POINTER(ErrorStruct)
# name: (result, arguments); c_int results are statuses.
_FUNCTIONS = {
    "rf_version": (c_char_p, []),
    "rf_free": (None, [c_void_p]),
    "rf_devices_list": (c_int, [POINTER(POINTER(DeviceInfo)), POINTER(c_size_t), _error]),
    "rf_context_create": (c_int, [POINTER(c_void_p), POINTER(ContextDesc), _error]),
    "rf_context_destroy": (None, [c_void_p]),
    "rf_context_device": (None, [c_void_p, POINTER(DeviceInfo)]),
    "rf_context_memory": (c_uint64, [c_void_p]),
    "rf_model_estimate": (c_int, [POINTER(MemoryEstimate), c_void_p, c_char_p, POINTER(ModelDesc), _error]),
    "rf_model_load": (c_int, [POINTER(c_void_p), c_void_p, c_char_p, POINTER(ModelDesc), _error]),
    "rf_model_destroy": (None, [c_void_p]),
    "rf_model_tokenizer": (c_void_p, [c_void_p]),
    "rf_tokenizer_encode": (c_int, [c_void_p, c_char_p, c_size_t, c_bool, POINTER(POINTER(c_uint32)),
                                    POINTER(c_size_t), _error]),
    "rf_tokenizer_decode": (c_int, [c_void_p, POINTER(c_uint32), c_size_t, c_bool, POINTER(c_void_p),
                                    POINTER(c_size_t), _error]),
    "rf_session_create": (c_int, [POINTER(c_void_p), c_void_p, POINTER(SessionDesc), _error]),
    "rf_session_destroy": (None, [c_void_p]),
    "rf_session_save": (c_int, [c_void_p, c_char_p, _error]),
    "rf_session_load": (c_int, [POINTER(c_void_p), c_void_p, c_char_p, POINTER(SessionDesc), _error]),
    "rf_session_begin_chat": (c_int, [c_void_p, POINTER(Message), c_size_t, c_bool, _error]),
    "rf_session_begin": (c_int, [c_void_p, POINTER(c_uint32), c_size_t, _error]),
    "rf_session_step": (c_int, [c_void_p, POINTER(POINTER(Event)), POINTER(c_size_t), _error]),
    "rf_session_cancel": (None, [c_void_p]),
    "rf_session_finished": (c_bool, [c_void_p]),
    "rf_session_finish_reason": (c_char_p, [c_void_p]),
    "rf_session_text": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "rf_session_tokens": (POINTER(c_uint32), [c_void_p, POINTER(c_size_t)]),
    "rf_session_get_stats": (None, [c_void_p, POINTER(SessionStats)]),
    "rf_generation_start": (c_int, [POINTER(c_void_p), c_void_p, POINTER(GenerationDesc), _error]),
    "rf_generation_poll": (c_int, [c_void_p, POINTER(Update), _error]),
    "rf_generation_wait": (c_bool, [c_void_p, c_uint32]),
    "rf_generation_destroy": (None, [c_void_p]),
}


def _open_library():
    path = os.environ.get("RF_LIBRARY") or ctypes.util.find_library("refusion") or "librefusion.so.0"
    library = ctypes.CDLL(path)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_library = _open_library()


class Error(Exception):
    """A call failed: str() is the library's one line, `status` such as Status.RF_ERROR_IO."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def _call(name, *arguments):
    error = ErrorStruct()
    status = getattr(_library, name)(*arguments, byref(error))
    if status:
        raise Error(Status(status), error.message.decode("utf-8", "replace"))


def _utf8(text):
    """The library takes texts up to a NUL: one inside would cut the text in silence."""
    if text is None:
        return None
    data = os.fsencode(text)
    if b"\0" in data:
        raise ValueError("found a NUL character in a text, wanted none")
    return data


def _ids(tokens):
    tokens = list(tokens)
    return (c_uint32 * len(tokens))(*tokens), len(tokens)


def version():
    return _library.rf_version().decode()


def devices():
    """Every Vulkan device, usable or not; texts in it are bytes."""
    infos, count = POINTER(DeviceInfo)(), c_size_t()
    _call("rf_devices_list", byref(infos), byref(count))
    try:
        return [DeviceInfo.from_buffer_copy(infos[i]) for i in range(count.value)]
    finally:
        _library.rf_free(infos)


# ---- Objects ---------------------------------------------------------------------------------------------------------


class _Handle:
    """What the library made; closed once, children before parents."""
    _destroy = None

    def __init__(self):
        self._pointer = c_void_p()
        self._children = weakref.WeakSet()

    def _made(self, parent=None):
        self._parent = parent  # keeps it open for as long as this is in use
        if parent is not None:
            parent._children.add(self)

    @property
    def handle(self):
        if not self._pointer:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._pointer

    def close(self):
        for child in list(self._children):
            child.close()
        pointer, self._pointer = self._pointer, c_void_p()
        if pointer:
            getattr(_library, self._destroy)(pointer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_pointer", None):
            self.close()


class Context(_Handle):
    """One device. `log(level, line)` is called from any thread that is inside a call."""
    _destroy = "rf_context_destroy"

    def __init__(self, device=None, disable=None, cache_dir=None, memory_limit=0, submission_ms=0, log=None, duty=0,
                 priority=0):
        super().__init__()
        self._log = LogFn(lambda _, level, line: log(level, line.decode("utf-8", "replace")) if log else None)
        desc = ContextDesc(size=ctypes.sizeof(ContextDesc), device=_utf8(device), disable=_utf8(disable),
                           cache_dir=_utf8(cache_dir), memory_limit=memory_limit, submission_ms=submission_ms,
                           duty=duty, priority=priority)
        if log:
            desc.log = self._log
        _call("rf_context_create", byref(self._pointer), byref(desc))
        self._made()

    @property
    def device(self):
        info = DeviceInfo()
        _library.rf_context_device(self.handle, byref(info))
        return info

    @property
    def memory(self):
        """Bytes of device memory that this holds."""
        return _library.rf_context_memory(self.handle)

    def estimate(self, folder, **options):
        """Does the model fit? Options as of load()."""
        estimate = MemoryEstimate()
        _call("rf_model_estimate", byref(estimate), self.handle, _utf8(folder), byref(_model_desc(**options)))
        return estimate

    def load(self, folder, progress=None, **options):
        return Model(self, folder, progress, **options)


def _model_desc(context_length=0, precision="auto", weight_type=None, no_tune=False):
    return ModelDesc(size=ctypes.sizeof(ModelDesc), context_length=context_length,
                     precision=PRECISIONS.index(precision), weight_type=_utf8(weight_type), no_tune=no_tune)


class Model(_Handle):
    """Weights on the context's device. `progress(done, total)` in bytes; returning False stops the load."""
    _destroy = "rf_model_destroy"

    def __init__(self, context, folder, progress=None, **options):
        super().__init__()
        desc = _model_desc(**options)
        if progress:
            desc.progress = ProgressFn(lambda _, done, total: progress(done, total) is not False)
        _call("rf_model_load", byref(self._pointer), context.handle, _utf8(folder), byref(desc))
        self._made(context)

    def session(self, **options):
        """A new conversation, or with `file` one that Session.save() wrote."""
        return Session(self, **options)

    def encode(self, text, special=False):
        """Token ids; with `special`, control tokens written in the text become theirs."""
        data, tokens, count = text.encode(), POINTER(c_uint32)(), c_size_t()
        _call("rf_tokenizer_encode", _library.rf_model_tokenizer(self.handle), data, len(data), special, byref(tokens),
              byref(count))
        try:
            return tokens[:count.value]
        finally:
            _library.rf_free(tokens)

    def decode(self, tokens, skip_special=False):
        ids, count = _ids(tokens)
        text, length = c_void_p(), c_size_t()
        _call("rf_tokenizer_decode", _library.rf_model_tokenizer(self.handle), ids, count, skip_special, byref(text),
              byref(length))
        try:
            return ctypes.string_at(text, length.value).decode()
        finally:
            _library.rf_free(text)


class Session(_Handle):
    """One conversation. `settings` are those of struct rf_decode_settings: preset, max_tokens, temperature, seed, ..."""
    _destroy = "rf_session_destroy"

    def __init__(self, model, file=None, stops=(), deterministic=False, **settings):
        super().__init__()
        desc = SessionDesc(size=ctypes.sizeof(SessionDesc), deterministic=deterministic, stop_count=len(stops),
                           stops=(c_char_p * len(stops))(*map(_utf8, stops)))
        known = {name for name, _ in DecodeSettings._fields_} - {"reserved"}
        for name, value in settings.items():
            if name not in known:
                raise TypeError(f"found the setting {name}, wanted one of {', '.join(sorted(known))}")
            if name == "decode":
                value = DECODES.index(value)
            setattr(desc.settings, name, _utf8(value) if name == "preset" else value)
            if f"has_{name}" in known:
                setattr(desc.settings, f"has_{name}", True)
        if file is None:
            _call("rf_session_create", byref(self._pointer), model.handle, byref(desc))
        else:
            _call("rf_session_load", byref(self._pointer), model.handle, _utf8(file), byref(desc))
        self._made(model)

    @property
    def handle(self):
        if any(generation._pointer for generation in self._children):
            raise ValueError("this Session is generating: only cancel() until its Generation is closed")
        return super().handle

    def begin(self, tokens):
        ids, count = _ids(tokens)
        _call("rf_session_begin", self.handle, ids, count)

    def begin_chat(self, messages, thinking=True):
        """`messages`: (role, content) pairs, the whole conversation so far."""
        pairs = [Message(_utf8(role), _utf8(content)) for role, content in messages]
        _call("rf_session_begin_chat", self.handle, (Message * len(pairs))(*pairs), len(pairs), thinking)

    def step(self):
        """One round; what it decided, as a list of Event."""
        events, count = POINTER(Event)(), c_size_t()
        _call("rf_session_step", self.handle, byref(events), byref(count))
        return [Event.from_buffer_copy(events[i]) for i in range(count.value)]

    def ask(self, messages, thinking=True):
        """Yields the answer as it forms. `messages`: a question, or (role, content) pairs."""
        self.begin_chat([("user", messages)] if isinstance(messages, str) else messages, thinking)
        shown = 0
        while not self.finished:
            self.step()
            text = self.text
            if len(text) > shown:
                yield text[shown:]
                shown = len(text)

    def generate(self, wake=None):
        """Answers what begin() or begin_chat() has begun, on a thread of the library's own: a Generation."""
        return Generation(self, wake)

    def save(self, path):
        """What the session holds, so that model.session(file=path) need not compute it anew."""
        _call("rf_session_save", self.handle, _utf8(path))

    def cancel(self):
        """From any thread: the running or next step raises Error, Status.RF_ERROR_CANCELLED."""
        _library.rf_session_cancel(super().handle)

    @property
    def finished(self):
        return _library.rf_session_finished(self.handle)

    @property
    def finish_reason(self):
        return _library.rf_session_finish_reason(self.handle).decode()

    @property
    def text(self):
        """What is certain to stay; only grows during an answer."""
        length = c_size_t()
        text = _library.rf_session_text(self.handle, byref(length))
        return ctypes.string_at(text, length.value).decode()

    @property
    def tokens(self):
        count = c_size_t()
        tokens = _library.rf_session_tokens(self.handle, byref(count))
        return tokens[:count.value] if count.value else []

    @property
    def stats(self):
        stats = SessionStats()
        _library.rf_session_get_stats(self.handle, byref(stats))
        return stats


class Generation(_Handle):
    """An answer that forms in the background, for programs whose main loop must not wait. Until it is closed, its
    session is its own; closing cancels what still runs. Iterating waits, and yields the answer's text as it forms.
    `wake()` is called on the library's thread when something has come after a poll() took everything, and at the end."""
    _destroy = "rf_generation_destroy"

    def __init__(self, session, wake=None):
        super().__init__()
        self._wake = WakeFn(lambda _: wake()) if wake else WakeFn()
        desc = GenerationDesc(size=ctypes.sizeof(GenerationDesc), wake=self._wake)
        _call("rf_generation_start", byref(self._pointer), session.handle, byref(desc))
        self._made(session)

    def poll(self):
        """(events, text, finished) since the last poll, without waiting; Error when it failed or was cancelled."""
        update = Update()
        _call("rf_generation_poll", self.handle, byref(update))
        text = ctypes.string_at(update.text + update.text_first, update.text_length - update.text_first).decode()
        return [Event.from_buffer_copy(update.events[i]) for i in range(update.event_count)], text, update.finished

    def wait(self, seconds=None):
        """Until it is finished, or so long; whether it is."""
        milliseconds = 0xFFFFFFFF if seconds is None else min(int(seconds * 1000), 0xFFFFFFFE)
        return _library.rf_generation_wait(self.handle, milliseconds)

    def __iter__(self):
        finished = False
        while not finished:
            self.wait(1 / 60)
            _, text, finished = self.poll()
            if text:
                yield text
