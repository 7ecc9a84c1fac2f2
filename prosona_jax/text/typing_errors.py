"""Adds typing errors to sentences, so that a reader of sentences learns to see through them."""

import numpy as np

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    letter: row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    for row in _ROWS
    for place, letter in enumerate(row)
}
_LETTERS_PER_ERROR = 18
_CARELESS = 0.5  # share of sentences that lose their capitals and punctuation too


def add(text: str, rng: np.random.Generator) -> str:
    """Returns the sentence with a few errors: letters swapped, lost, doubled, or from beside.

    Digits and the first letters of words stay, since people seldom miss them.

        >>> add("Keep the outline tight.", np.random.default_rng(0))
        'Keep thw outline tight.'
    """
    letters = list(text)
    for _ in range(max(1, int(rng.poisson(len(text) / _LETTERS_PER_ERROR)))):
        letter = [character.isalpha() for character in letters]
        inner = [n for n in range(1, len(letters) - 1) if letter[n - 1] and letter[n]]
        if not inner:
            break
        place = int(rng.choice(inner))
        kind = rng.integers(4)
        if kind == 0 and letters[place + 1].isalpha():
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        elif kind == 1:
            del letters[place]
        elif kind == 2:
            letters.insert(place, letters[place])
        elif beside := _BESIDE.get(letters[place].lower()):
            letters[place] = beside[rng.integers(len(beside))]
    found = "".join(letters)
    return found.lower().rstrip(".!").replace(",", "") if rng.random() < _CARELESS else found
