"""Text that repeats nothing and breaks no rule, of any length."""

from __future__ import annotations

_SPOKEN_FOR = set("的了是在有和不为与及或等可以也而之其者则锛銆鈥鐨锟斤")
_PLAIN = [chr(code) for code in range(0x4E10, 0x9000) if chr(code) not in _SPOKEN_FOR]


def zh(characters: int, *, start: int = 0) -> str:
    """So many visible characters: no character twice save `的` and `。`; a sentence ends it."""
    text = []
    for place in range(characters):
        if place == characters - 1 or place % 40 == 39:
            text.append("。")
        elif place % 9 == 4:
            text.append("的")
        else:
            text.append(_PLAIN[(start + place * 3) % len(_PLAIN)])
    return "".join(text)


def word(number: int, length: int = 5) -> str:
    """A word of its own for each number."""
    letters = ""
    for _ in range(length):
        number, place = divmod(number * 7 + 3 if length > 9 else number, 25)
        letters += "abcdefghijklmnopqrstuvwxy"[place]
    return letters


def en(words: int, *, start: int = 0, length: int = 5) -> str:
    """So many words, all different save `the` and `of`; five sentences at least from 50 words on."""
    text = []
    for place in range(words):
        each = ("the", "of")[place % 2] if place % 8 == 3 or place % 8 == 6 else word(start + place, length)
        text.append(each + ("." if place % 10 == 9 or place == words - 1 else ""))
    return " ".join(text)
