"""How much is taken at once; the contract says so too."""

MOST_EVENTS = 1000
"""Events of a batch, and lines of CMCD."""
MOST_BYTES = 1 << 20
"""Of a batch."""
MOST_DELIVERIES = 5000
"""Lines of a request log."""
