"""The exact information of the beginning of a story, cut anywhere, even within a word."""

from math import log, prod

from engines.data.stories.grammar import Reader, Tale
from engines.data.stories.word_lists import Options


def nats_of_beginning(text: str) -> float:
    """Return -log P(a story begins with this text), a whole story included. Raises ValueError if none does."""
    reader = _BeginningReader(text)
    try:
        Tale(reader).tell()
    except _Cut:
        weights, totals = zip(*((choice.weight, choice.total) for choice in reader.choices), strict=True)
        return log(prod(totals)) - log(prod(weights))
    raise ValueError("the text continues after the end of a story")


class _Cut(Exception):
    """The text ended within a choice, or before one."""


class _BeginningReader(Reader):
    """Reader of a text that may end anywhere: the last choice is any that the end of the text allows."""

    def say(self, text: str) -> None:
        if self.text.startswith(text, self.position):
            self.position += len(text)
        elif text.startswith(self.text[self.position :]):
            raise _Cut
        else:
            super().say(text)

    def choose(self, options: Options) -> int:
        rest = self.text[self.position :]
        possible = [i for i, text in enumerate(options.texts) if len(text) > len(rest) and text.startswith(rest)]
        if not possible:
            return super().choose(options)
        weight = sum(options.choice(i).weight for i in possible)
        self.choices.append(options.choice(possible[0])._replace(weight=weight))
        raise _Cut
