"""Text for a line on a terminal."""


def printable(text: str) -> str:
    """The text with everything escaped that could break the line, move the cursor or not be encoded."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
