"""Work on dead letters: list them by cause, explain one, and replay them under the current contract."""
