"""Deepgram's API: live over a websocket, in results (`live`) or turns (`flux`), and recordings. See docs/wires.md."""
