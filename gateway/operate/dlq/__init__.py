"""Dead letters seen again: listed by cause, explained, and replayed through today's contract."""
