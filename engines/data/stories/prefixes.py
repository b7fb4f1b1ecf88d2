"""The exact information of a story that is cut anywhere, even within a word."""

from math import log, prod

from engines.data.stories.grammar import StoryGrammar, StoryParser
from engines.data.stories.word_lists import OptionSet


def prefix_nats(text: str) -> float:
    """Return -log P(a story begins with this text), in nats. Raises ValueError if no story does."""
    parser = PrefixParser(text)
    try:
        StoryGrammar(parser).run()
    except EndOfText:
        weights, totals = zip(*((choice.weight, choice.total) for choice in parser.choices), strict=True)
        return log(prod(totals)) - log(prod(weights))
    raise ValueError("the text continues after the end of a story")


class EndOfText(Exception):
    """The text ended within a choice, or before one."""


class PrefixParser(StoryParser):
    """Parser of a text that may end anywhere: the last choice is every option that its end allows."""

    def literal(self, text: str) -> None:
        if self.text.startswith(text, self.position):
            self.position += len(text)
        elif text.startswith(self.text[self.position :]):
            raise EndOfText
        else:
            super().literal(text)

    def choose(self, options: OptionSet) -> int:
        rest = self.text[self.position :]
        possible = [i for i, text in enumerate(options.texts) if len(text) > len(rest) and text.startswith(rest)]
        if not possible:
            return super().choose(options)
        weight = sum(options.choice(i).weight for i in possible)
        self.choices.append(options.choice(possible[0])._replace(weight=weight))
        raise EndOfText
