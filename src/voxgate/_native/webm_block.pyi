from typing import Self, final

@final
class WebmBlock:
    def __new__(cls) -> Self: ...
