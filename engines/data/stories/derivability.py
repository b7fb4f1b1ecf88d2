"""The number of sentences of a generated text that can be derived from the grammar of the stories.

A sentence counts as derivable if a story exists that begins with the text up to its end: it must be grammatical, and
agree with all earlier sentences of its story (who has what, what stands where, what people know). The first sentence
of a story for which no such story exists is not derivable; the sentences after it are not tested, because the facts of
the story are no longer defined.
"""

from typing import NamedTuple

from engines.data.stories.grammar import StoryGrammar
from engines.data.stories.prefixes import EndOfText, PrefixParser

_SENTENCE_END = "."  # ends every sentence, and is nowhere else in a story


class SentenceCounts(NamedTuple):
    """The number of sentences that were tested, and of those that are derivable."""

    tested: int
    derivable: int


def count_derivable_sentences(text: str, is_complete: bool) -> SentenceCounts:
    """Test the sentences of one story. `is_complete`: it ended by itself, so an unfinished sentence is an error."""
    parser = PrefixParser(text)
    try:
        StoryGrammar(parser).run()
    except EndOfText:
        has_error = is_complete and not text.endswith(_SENTENCE_END)
    except ValueError:
        has_error = True
    else:
        has_error = True  # the text continues after the end of a story
    derivable = text.count(_SENTENCE_END, 0, parser.position)
    return SentenceCounts(derivable + has_error, derivable)
