"""The contract between a model and Voxgate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from voxgate.models.kinds import is_async
from voxgate.models.request import Request

__all__ = ["Batch", "Lengths", "Model", "Samples"]

Samples: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Lengths: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Batch:
    """Several pieces of audio, usually of different streams, for one model call.

    ``audio``
        float32, shape (items, samples), C-contiguous, -1..1: one row per item, each starting at column 0 and padded
        with zeros to the length of the longest.
    ``lengths``
        int64, shape (items,): the samples of audio in each row, 0..samples.

    ``requests``
        one :class:`voxgate.Request` per item: what the client asked for.

    ``len(batch)`` is the number of items; ``batch[i]`` and iteration give the rows without their padding, as views
    (float32, C-contiguous). The call may change both arrays; copy what you keep longer.
    """

    __slots__ = ("audio", "lengths", "requests")

    audio: Samples
    lengths: Lengths
    requests: Sequence[Request]

    def __init__(self, audio: Samples, lengths: Lengths, requests: Sequence[Request] | None = None) -> None:
        """Wraps arrays of the form described above; raises ValueError, naming the actual form, for any other.
        `requests`: None for requests with the default of every field.
        """
        if audio.ndim != 2 or audio.dtype != np.float32 or not audio.flags.c_contiguous:
            raise ValueError(
                "audio must be a C-contiguous float32 array of shape (items, samples), "
                f"not {audio.dtype} of shape {audio.shape}"
            )
        if lengths.shape != audio.shape[:1] or lengths.dtype != np.int64:
            raise ValueError(
                f"lengths must be an int64 array of shape {audio.shape[:1]},"
                f" not {lengths.dtype} of shape {lengths.shape}"
            )
        if len(lengths) and not 0 <= lengths.min() <= lengths.max() <= audio.shape[1]:
            raise ValueError(
                f"lengths must be 0..{audio.shape[1]}, the width of audio, not {lengths.min()}..{lengths.max()}"
            )
        if requests is None:
            requests = [Request()] * len(lengths)
        elif len(requests) != len(lengths):
            raise ValueError(f"expected {len(lengths)} requests, one per item, not {len(requests)}")
        self.audio = audio
        self.lengths = lengths
        self.requests = requests

    @classmethod
    def gather(cls, items: Sequence[Samples], requests: Sequence[Request] | None = None) -> Batch:
        """Copies one-dimensional float32 arrays of any lengths (also 0) into one padded batch. Any thread."""
        lengths = np.fromiter((len(item) for item in items), np.int64, len(items))
        width = int(lengths.max()) if len(items) else 0
        audio: Samples = np.empty((len(items), width), np.float32)
        for row, item in zip(audio, items, strict=True):
            row[: len(item)] = item
            row[len(item) :] = 0.0
        return cls(audio, lengths, requests)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Samples:
        row: Samples = self.audio[index, : self.lengths[index]]
        return row

    def __iter__(self) -> Iterator[Samples]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"Batch({len(self)} items, {self.audio.shape[1]} samples wide)"


class Model:
    """Derive from this class and define :meth:`infer`, or :meth:`step`, or both; everything else is optional::

        class Loudness(voxgate.Model):
            sample_rate = 16_000

            def infer(self, audio):
                return {"rms": float(np.sqrt(np.mean(audio**2)))}

    ``voxgate serve --model mypkg.loudness:Loudness`` serves it. Arguments of its constructor are set under
    ``[model]`` in the configuration.

    **One instance serves all streams.** It is made once, before the server is ready, and its ``infer`` is called from
    several native threads at the same time: keep what belongs to one call in local variables, and weights
    read-only, or take a lock. (Set ``threads = 1`` when calls must not overlap.) The event loop's thread
    never calls the model.

    **Waiting.** A model that waits (for another server, for a GPU) may define ``async def infer`` (and ``infer_batch``,
    ``step``, ``open``, ``finish``, ``warm_up``, ``close``): its calls then run on one event loop, which has a thread of
    its own, up to ``inference.concurrency`` of them at once. A call whose client is gone, or whose time is over, is
    cancelled.

    **Interim results.** ``infer`` may be a generator or an async generator: each value that it yields is an interim
    result of the call, for the clients that asked for interim results, and the last one is its result (so is the
    return value of a plain generator, unless it is None). When nobody needs the call any more, the generator is closed
    at its next ``yield``.

    **Errors.** Raise :class:`voxgate.InferenceError` with a text for the client, which replaces the result. Any other
    exception is logged with its stack (the same one at most once a minute), counted, and sent as "Internal server
    error". In both cases the stream and the server continue.

    **Results** are mappings with string keys, msgspec Structs, dataclasses, or a str, which stands for ``{"text":
    ...}``. Their fields appear in the client's event next to ``start_time`` and the others: strings, numbers, booleans,
    None, lists and mappings of these, NumPy scalars and arrays. The keys ``type``, ``channel``, ``start_time``,
    ``end_time`` and ``is_final`` belong to the protocol. None means that there is nothing to say: the segment then
    has no result, and an interim is not sent. Voxgate encodes the result on the thread that called the model, before
    its next call there, so a model with ``threads = 1`` may return the same buffer each time.

    **Requests.** A method may take a second argument, a :class:`voxgate.Request`, with what the client asked for:
    ``infer(self, audio, request)`` and ``open(self, request)``; ``Batch.requests`` has those of a batch.
    Voxgate reads the signatures once, when it loads the model; a parameter with a default counts only if it is named
    ``request``.
    """

    name: str = "Model"
    """The name of the model in logs and notices; by default that of its class."""

    sample_rate: int = 16_000
    """The sample rate of the model's audio, in Hz, 4000..192000. Voxgate resamples to it. Read once, after the model is
    made."""

    threads: int | None = None
    """The number of concurrent calls that is useful; None: one per CPU. More for a model that waits (for a GPU, for
    another server), 1 when calls must not overlap. The setting ``inference.threads`` overrides it."""

    holds_gil: bool = False
    """True when ``infer`` keeps Python's global interpreter lock while it computes (pure Python, or a C extension
    that does not release it). On a thread, such a model would block the server; it runs in worker processes."""

    needs_process: str | None = None
    """None, or the reason why the model must not run in the server's process, as a clause after "because". Engines in
    the server's process refuse to start such a model."""

    Options: Any = None
    """None, or a class derived from ``msgspec.Struct``: what a client may choose for its session (a language, a prompt,
    words to look for). Its fields, with their types, ranges and defaults, are the ``options`` of `start`; the model
    reads them in :attr:`voxgate.Request.options`. Read once, after the model is made."""

    mixes_options: bool = False
    """True when :meth:`infer_batch` handles items with different options (``Batch.requests``); otherwise all items of
    a batch have equal ones."""

    gives_text: bool | None = None
    """Whether results carry text: protocols of other services need it. None: Voxgate finds out, from ``-> str`` in
    the signature of :meth:`infer` or from the result of the trial call."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def warm_up(self) -> Any:
        """Called once, before the server is ready and before the first :meth:`infer`, on a worker thread.

        Do here what would slow down the first call: compile, move weights, fill caches. Afterwards Voxgate makes a
        trial call with a second of faint noise (and one with a batch of two, for a model that defines
        :meth:`infer_batch`), and drops the answers. An exception here ends the start of the server, and so does an
        answer of the trial call that cannot be sent (unless ``inference.start_anyway`` is set). An exception of the
        trial call is only logged, because a model need not have an answer to noise.
        """

    if TYPE_CHECKING:  # Each may take one argument more.
        infer: Callable[..., Any]
        open: Callable[..., Any]

    def infer(self, audio: Samples) -> Any:  # type: ignore[no-redef]
        """The result for one piece of audio; or ``infer(self, audio, request)``.

        audio: float32, shape (samples,), C-contiguous, -1..1, finite, at :attr:`~voxgate.Model.sample_rate`; one
        channel. On the segmented route it is an utterance (with padding), on the simple route the audio that has
        arrived. It may be short or empty. The call may change it; copy what you keep longer, because the memory is
        reused.

        Returns and raises: see the class. Called from several threads at once.
        """
        raise NotImplementedError(f"{type(self).__qualname__} defines no infer(audio)")

    def infer_batch(self, batch: Batch) -> Sequence[Any]:
        """The results for several pieces of audio. Define it when one call is cheaper than several.

        Returns a sequence with one result per item, in the order of the items. A batch has 2 up to
        ``inference.max_batch_size`` items; a single item goes to :meth:`infer`. When the call raises, or returns
        another number of results, every item is retried alone with :meth:`infer`, so that only the faulty item fails.
        """
        from voxgate.models.adapter import ModelAdapter  # It imports this module.

        return list(map(ModelAdapter(self).infer, batch, batch.requests))

    @property
    def batches(self) -> bool:
        """Whether the class defines :meth:`infer_batch`."""
        return type(self).infer_batch is not Model.infer_batch

    # --- the stateful route: audio in order, with a state between the calls ---

    def open(self) -> Any:  # type: ignore[no-redef]
        """The state of one channel of one session, for :meth:`step`. Called on a worker thread before the channel's
        first step; when it raises, that step fails, and the next one tries again. It may be ``open(self, request)``.

        The state is never copied, and one call uses it at a time; the calls may come from different threads, so it must
        not contain anything bound to one thread. It is dropped after :meth:`finish`, or after the client disconnected
        (a running call keeps it until it returns). Release in its ``__del__`` what Python does not release. In worker
        processes, a state stays in the process that opened it; when that process dies, the next step opens a new one.
        """
        return None

    def step(self, audio: Samples, state: Any) -> Any:
        """Processes the next audio of a channel with its state, which it changes in place.

        All audio of the session arrives, in order and without gaps: at least ``simple.min_chunk_ms`` of it (less before
        a flush and at the end), at most ``simple.max_chunk_s``. One call per channel at a time, different channels at
        once. The pieces depend on the load of the server; the answers should not depend on the pieces.

        None: no result yet; the next one also covers this audio. Audio, results and errors as for :meth:`infer`; after
        an error the session continues with the state as it is.
        """
        raise NotImplementedError(f"{type(self).__qualname__} defines no step(audio, state)")

    def finish(self, state: Any) -> Any:
        """The closing result of a channel, or None. The last call with this state.

        Not called for a channel without audio, nor after the client disconnected.
        """
        return None

    @property
    def stateful(self) -> bool:
        """Whether the class defines :meth:`step`: the stateful route is served."""
        return type(self).step is not Model.step

    @property
    def stateless(self) -> bool:
        """Whether the class defines :meth:`infer`: the simple and segmented routes are served."""
        return type(self).infer is not Model.infer

    @property
    def asynchronous(self) -> bool:
        """Whether ``infer`` and ``step``, as far as the class defines them, are ``async def``: the model runs on an
        event loop of its own (``inference.engine = "async"``).
        """
        return is_async(self.infer) or is_async(self.step)

    def close(self) -> Any:
        """Called when the server stops, after the last call. Release what the garbage collector does not."""
