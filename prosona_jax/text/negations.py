"""Sentences of the grammar whose meaning depends on a negation."""

import numpy as np

from prosona_jax.text.chooser import Chooser
from prosona_jax.text.degrees import Sentence


def write(choose: Chooser) -> Sentence:
    """Returns a sentence whose meaning depends on a negation."""
    return choose.one(_part, _part, _failing, _adjective, _comparison)(choose)


def _part(choose: Chooser) -> Sentence:
    """An outer part that is to be taken or left, said by way of a negation."""
    part, degree = choose.pick("outer")
    include, exclude = choose.pick("include"), choose.pick("exclude")
    taken = [
        f"do not {exclude} {part}",
        f"don't {exclude} {part}",
        f"never {exclude} {part}",
        f"please do not {exclude} {part}",
        f"make sure you don't {exclude} {part}",
        f"there is no reason to {exclude} {part}",
        f"{part} must not be left out",
        f"{part} should not be missing",
        f"I don't want you to {exclude} {part}",
        f"not without {part}",
        f"under no circumstances {exclude} {part}",
        f"refrain from cutting off {part}",
        f"you must not {exclude} {part}",
        f"do not draw it without {part}",
        f"none of {part} may be lost",
        f"avoid losing {part}",
        f"don't forget {part}",
        f"don't fail to {include} {part}",
    ]
    left = [
        f"do not {include} {part}",
        f"don't {include} {part}",
        f"never {include} {part}",
        f"please do not {include} {part}",
        f"make sure you don't {include} {part}",
        f"there is no need to {include} {part}",
        f"{part} must not be included",
        f"{part} does not belong to it",
        f"I don't want {part} in the {choose.pick('thing')}",
        f"without {part}",
        f"{choose.pick('noun_act')} a {choose.pick('thing')} without {part}",
        f"under no circumstances {include} {part}",
        f"refrain from taking in {part}",
        f"you must not {include} {part}",
        f"everything but {part}",
        f"no {part.removeprefix('the ').removeprefix('some ').removeprefix('a ')}",
        f"none of {part} should be in it",
        f"don't fail to {exclude} {part}",
        f"it need not {include} {part}",
    ]
    if choose.rng.random() < 0.5:
        return choose.sentence("negation", choose.one(*taken), degree)
    return choose.sentence("negation", choose.one(*left), -degree)


def _failing(choose: Chooser) -> Sentence:
    """A failing to avoid, or one that is no failing."""
    sign, name = choose.one((1.0, "failing_small"), (-1.0, "failing_large"))
    failing = choose.pick(name)
    text, degree = choose.one(
        (f"do not {failing}", 1),
        (f"don't {failing}", 1),
        (f"please don't {failing}", 1),
        (f"never {failing}", 1.25),
        (f"try not to {failing}", 1),
        (f"don't {failing} too much", 0.5),
        (f"whatever you do, don't {failing}", 1.5),
        (f"no need to {failing}", 0.75),
        (f"I would not {failing} here", 1),
        (f"you should not {failing}", 1),
        (f"not the moment to {failing}", 1),
        (f"by no means {failing}", 1.5),
        (f"there is no harm if you {failing}", -1),
        (f"don't hesitate to {failing}", -1.25),
        (f"don't be afraid to {failing}", -1.25),
        (f"I would not mind if you {failing}", -1),
        (f"it is not wrong to {failing}", -1),
        (f"it does not matter if you {failing}", -0.75),
        (f"nobody will complain if you {failing}", -1),
    )
    return choose.sentence("negation", text, sign * degree)


def _adjective(choose: Chooser) -> Sentence:
    adjective, degree = choose.pick("adjective")
    while abs(degree) < 1:
        adjective, degree = choose.pick("adjective")
    thing, sign = choose.pick("thing"), np.sign(degree)
    text, asked = choose.one(
        (f"anything but {adjective}", -1.5 * sign),
        (f"anything but a {adjective} {thing}", -1.5 * sign),
        (f"not a {adjective} {thing}", -0.75 * sign),
        (f"not {adjective}", -0.75 * sign),
        (f"the {thing} must not be {adjective}", -0.75 * sign),
        (f"far from {adjective}", -1.25 * sign),
        (f"by no means {adjective}", -1 * sign),
        (f"I do not want a {adjective} {thing}", -0.75 * sign),
        (f"don't make it {adjective}", -0.75 * sign),
        (f"never {adjective}", -1 * sign),
        (f"nothing {adjective}, please", -0.75 * sign),
        (f"not in the least {adjective}", -1 * sign),
        (f"it cannot be {adjective} enough", 2 * sign),
        (f"there is no such thing as too {adjective}", 2 * sign),
        (f"it is not {adjective} enough", 1.25 * sign),
        (f"the last {thing} was not {adjective} enough", 1.25 * sign),
        (f"nothing but a {adjective} {thing} will do", degree),
        (f"nothing less than {adjective}", degree),
        (f"no {thing} other than a {adjective} one", degree),
        (f"don't give me anything but a {adjective} {thing}", degree),
        (f"don't be shy, make it {adjective}", degree),
        ("neither loose nor tight", 0.0),
        ("not small, not large", 0.0),
        ("neither generous nor strict", 0.0),
        (f"the {thing} must be neither too small nor too large", 0.0),
        ("no bias to either side", 0.0),
    )
    return choose.sentence("negation", text, float(asked))


def _comparison(choose: Chooser) -> Sentence:
    (more, sign), than = choose.pick("more"), choose.pick("than") or "than usual"
    thing = choose.pick("thing")
    text, degree = choose.one(
        (f"no {more} {than}", 0.0),
        (f"not {more} {than}", 0.0),
        (f"the {thing} should not be any {more} {than}", 0.0),
        (f"never {more} {than}", -0.25 * sign),
        (f"not much {more} {than}", 0.25 * sign),
        (f"not too much {more} {than}", 0.5 * sign),
        (f"not quite so much {more} {than}", 0.25 * sign),
        (f"don't make it {more}", -0.25 * sign),
        (f"nothing would please me more than a {thing} that is {more} {than}", sign),
        (f"why not {more} {than}", sign),
        (f"it wouldn't hurt to be {more} {than}", 0.75 * sign),
    )
    return choose.sentence("negation", text, degree)
