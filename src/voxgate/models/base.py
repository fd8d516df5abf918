"""The model contract: what you write, and what Voxgate promises you for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Batch", "Lengths", "Model", "Samples"]

Samples: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Lengths: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Batch:
    """Several pieces of audio, usually of different streams, for one model call.

    ``audio``
        float32, shape (items, samples), C-contiguous, -1..1: one row per item, each starting at column 0, filled up
        with zeros to the length of the longest.
    ``lengths``
        int64, shape (items,): how many samples of each row are audio, 0..samples.

    ``len(batch)`` is the number of items; ``batch[i]`` and iteration give the rows without their padding, as views
    (float32, C-contiguous). Both arrays are yours during the call, also to change; copy what you keep longer.
    """

    __slots__ = ("audio", "lengths")

    audio: Samples
    lengths: Lengths

    def __init__(self, audio: Samples, lengths: Lengths) -> None:
        """Wraps arrays that already have the form described above; raises ValueError, saying what came, for any
        other.
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
        self.audio = audio
        self.lengths = lengths

    @classmethod
    def gather(cls, items: Sequence[Samples]) -> Batch:
        """Copies one-dimensional float32 arrays of any lengths (also 0) into one padded batch. Any thread may call
        it.
        """
        lengths = np.fromiter((len(item) for item in items), np.int64, len(items))
        width = int(lengths.max()) if len(items) else 0
        audio: Samples = np.empty((len(items), width), np.float32)
        for row, item in zip(audio, items, strict=True):
            row[: len(item)] = item
            row[len(item) :] = 0.0
        return cls(audio, lengths)

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

    **One instance serves all streams.** It is made once, before the server says ready, and its ``infer`` is called
    from several native threads at the same time: keep what belongs to one call in local variables, and weights
    read-only, or take a lock. (Set ``threads = 1`` when the code cannot run twice at once.) No call is ever made on
    the event loop's thread.

    **Failing.** Raise :class:`voxgate.InferenceError` with a text for the client: that text is sent in place of the
    result. Any other exception is logged with its stack (the same one again only after a minute), counted, and sent as
    "Internal server error". In both cases the stream and the server go on.

    **What you return** is a mapping with string keys, flattened into the client's event next to ``start_time`` and
    its like: strings, numbers, booleans, None, lists and mappings of these, NumPy scalars and arrays. The keys
    ``type``, ``channel``, ``start_time``, ``end_time`` and ``is_final`` belong to the protocol. The mapping is copied
    (one level deep) when you return it.
    """

    name: str = "Model"
    """What logs and notices call the model; the name of the class unless it says otherwise."""

    sample_rate: int = 16_000
    """Hz at which the model wants its audio; 4000..192000. Voxgate resamples to it. Read once, when the model has
    been loaded."""

    threads: int | None = None
    """How many calls may usefully run at once; None: one per CPU. More for a model that waits (for a GPU, for another
    server), 1 for one that must not run twice at once. ``inference.threads`` in the configuration overrides it."""

    holds_gil: bool = False
    """True when ``infer`` keeps Python's global interpreter lock while it computes (pure Python, or a C extension
    that does not release it). Such a model would freeze the server from a thread and belongs in worker processes;
    Voxgate says so when it starts."""

    needs_process: str | None = None
    """None, or why the model must not run inside the server's process, as words that follow "because": engines which
    share the server's process refuse to start such a model."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def warm_up(self) -> None:
        """Runs once, before the server says ready and before the first :meth:`infer`, on a thread that is not the
        event loop's.

        For what the first call would otherwise pay: compiling, moving weights, filling caches. After it Voxgate makes
        one trial call of its own with a second of faint noise (and one with a batch of two, for a model that defines
        :meth:`infer_batch`), whose answers nobody sees. An exception in here ends the start of the server.
        """

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        """Answers one piece of audio.

        audio: float32, shape (samples,), C-contiguous, -1..1, finite, at :attr:`~voxgate.Model.sample_rate`; one
        channel. On the segmented route it is an utterance (with padding around it), on the simple route whatever has
        arrived. It may be short, in the extreme empty. It is yours during the call, also to change; copy what you keep
        longer, for the memory may be used again.

        Returns and raises: see the class. Called from several threads at once.
        """
        raise NotImplementedError(f"{type(self).__qualname__} defines no infer(audio)")

    def infer_batch(self, batch: Batch) -> Sequence[Mapping[str, Any]]:
        """Answers several pieces of audio in one call. Define it when that is cheaper than one by one.

        Returns a sequence with one mapping per item, in the order of the items. The call is made with whatever waits,
        2 up to ``inference.max_batch_size`` items; a lone item goes to :meth:`infer`. When the call raises, or
        returns another number of mappings, every item is tried once more on its own with :meth:`infer`, so that only
        the culprit fails.
        """
        return [self.infer(audio) for audio in batch]

    @property
    def batches(self) -> bool:
        """True when the class defines :meth:`infer_batch`."""
        return type(self).infer_batch is not Model.infer_batch

    # --- the stateful pattern: audio in order, with something kept between the calls ---

    def open(self) -> Any:
        """Makes the state of one channel of one session: whatever :meth:`step` wants to find again. Called on a worker
        thread right before the channel's first step; when it raises, that step failed, and the next one tries again.

        The state is never copied, and no two calls use it at once; but each may come from another thread, so nothing
        that is bound to one thread belongs in it. It is dropped after :meth:`finish`, or when the client has gone (a
        call which is running then keeps it to its end): free in its ``__del__``, if need be, what Python does not.
        Only engines that run the model in the server's process can keep states.
        """
        return None

    def step(self, audio: Samples, state: Any) -> Mapping[str, Any] | None:
        """Takes the next audio of a channel, with the state its last call left (change it in place).

        All audio of the session comes, in order and without gap: at least ``simple.min_chunk_ms`` of it (less before a
        flush and at the end), at most ``simple.max_chunk_s``. One call per channel at a time, different channels at
        once. How the audio is cut depends on how busy the server is, so let no answer depend on it.

        None: nothing to say yet; the next answer is about this audio too. Audio, results and errors as for
        :meth:`infer`; after an error the session goes on with the state as it was left.
        """
        raise NotImplementedError(f"{type(self).__qualname__} defines no step(audio, state)")

    def finish(self, state: Any) -> Mapping[str, Any] | None:
        """The channel has ended: the closing result, or None. The last call for this state.

        Not called for a channel without audio, and not when the client has gone.
        """
        return None

    @property
    def stateful(self) -> bool:
        """True when the class defines :meth:`step`: the stateful route is served."""
        return type(self).step is not Model.step

    @property
    def stateless(self) -> bool:
        """True when the class defines :meth:`infer`: the simple and segmented routes are served."""
        return type(self).infer is not Model.infer

    def close(self) -> None:
        """The server stops; no call is running and none will follow. Give back what the garbage collector does not."""
