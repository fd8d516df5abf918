"""Deepgram's API: live over a websocket, in results (`live`) or in turns (`flux`), and recordings over HTTP. docs/wires.md says
what it serves.
"""
