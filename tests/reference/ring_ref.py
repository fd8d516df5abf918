"""What SampleRing means, said plainly: a list of everything ever pushed, and where what is held begins."""


class ListRing:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.samples: list[float] = []
        self.start_pos = 0

    @property
    def end_pos(self) -> int:
        return len(self.samples)

    def __len__(self) -> int:
        return self.end_pos - self.start_pos

    def push(self, samples: list[float]) -> None:
        if len(self) + len(samples) > self.capacity:
            raise BufferError
        self.samples += samples

    def read(self, start_pos: int, end_pos: int) -> list[float]:
        if not self.start_pos <= start_pos <= end_pos <= self.end_pos:
            raise IndexError
        return self.samples[start_pos:end_pos]

    def discard_before(self, pos: int) -> None:
        if pos > self.end_pos:
            raise IndexError
        self.start_pos = max(self.start_pos, pos)
