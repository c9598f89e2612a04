"""The part that thinks: no socket, file, clock, thread or client library (a test enforces it)."""
