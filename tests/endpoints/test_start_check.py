"""A start that a session would refuse."""

from __future__ import annotations

import asyncio

import pytest

from helpers.memory_endpoint import Stage, start
from voxgate.endpoints.start_check import check_opens
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions


def test_it_raises_what_the_session_would_say() -> None:
    async def main() -> None:
        async with Stage() as stage:
            check_opens(start(), "segmented", stage.context)
            for wrong, text in [
                (Start(AudioFormat(9, 16_000, 16, False)), r"format\.channels must be 1\.\.8, got 9"),
                (start(vad=VadOptions(threshold=2.0)), r"vad\.threshold"),
                (start(options={"x": 1}), "options: model .* takes none"),
            ]:
                with pytest.raises(InvalidStart, match=text):
                    check_opens(wrong, "segmented", stage.context)

    asyncio.run(main())
