"""How much is taken at once; the contract says so too."""

MOST_EVENTS = 1000
"""Of a batch."""
MOST_LINES = 500
"""Lines of CMCD in one post; one makes up to two events."""
MOST_BYTES = 1 << 20
"""Of a batch."""
MOST_DELIVERIES = 5000
"""Lines of a request log."""
