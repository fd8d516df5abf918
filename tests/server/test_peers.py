"""What server processes tell each other."""

from __future__ import annotations

import asyncio
import socket

from voxgate.server import peers


def test_each_hears_all_others_that_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "ANSWER_S", 1.0)

    async def main() -> None:
        texts = ["zero", "one " * 100_000, "two"]
        all_peers = [peers.Peers(tmp_path, number, 4, lambda text=text: text) for number, text in enumerate(texts)]
        for peer in all_peers:
            await peer.start()
        # Of the fourth there is a socket, and nobody behind it who says anything.
        mute = socket.socket(socket.AF_UNIX)
        mute.bind(str(tmp_path / "3"))
        mute.listen()
        assert await all_peers[0].fetch() == texts[1:]
        mute.close()  # from here on nobody is waited for
        monkeypatch.setattr(peers, "ANSWER_S", 30.0)
        assert await all_peers[1].fetch() == ["zero", "two"]
        all_peers[2].close()
        assert await all_peers[1].fetch() == ["zero"]
        again = peers.Peers(tmp_path, 2, 4, lambda: "two again")  # one that takes the place of another
        await again.start()
        assert await all_peers[1].fetch() == ["zero", "two again"]
        for peer in (*all_peers[:2], again):
            peer.close()

    asyncio.run(main())
