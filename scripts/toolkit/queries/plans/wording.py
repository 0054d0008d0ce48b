"""Numbers with their nouns."""


def counted(number: float, noun: str) -> str:
    """`1 call`, `2,000 calls`, `0 indexes`."""
    text = f"{number:,.0f}"
    if text == "1":
        return f"1 {noun}"
    return f"{text} {noun}es" if noun.endswith("x") else f"{text} {noun}s"
