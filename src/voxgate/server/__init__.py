"""The server process: its sockets, uvicorn on uvloop, several processes on one port, and their end."""
