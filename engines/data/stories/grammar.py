"""Short stories from a seeded grammar, whose exact information content is known.

People carry, hide, hand over, look for and ask about coloured things in places. Every sentence agrees with the earlier
ones, and people answer from what they last saw, so a model has to remember facts, and beliefs about facts, over many
sentences.

`StoryGrammar` runs over a chooser: `StoryGenerator` draws each choice from a stream, `StoryParser` finds the option
that the text contains. At each choice no option's text is a prefix of another's, so a text determines its choices one
by one from the left, and every story has exactly one derivation.

Hence the entropy bound on any model's loss is exact. Every prefix of the text determines the choices made so far, thus
by the chain rule -log P(characters, then end of document) is the sum of -log p over all choices. The last choice, the
end, is encoded by the end-of-document token instead of a character; leaving it out gives the nats of the characters.
Continuing after a sentence is encoded by a space (same scene) or a newline (next scene). To treat all choices alike,
the end is `_END` while a story is generated or parsed; it is never part of a story's text.

Weights are integers and all draws come from `RandomStream`: the same bytes on every machine.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from math import log, prod
from typing import NamedTuple

from engines.data.stories.word_lists import (
    ACTS,
    COLOURS,
    DEEDS,
    FOODS,
    KINDS,
    LATER,
    MANNERS,
    MOODS,
    NAMES,
    NOUNS,
    PET_DEEDS,
    PET_NAMES,
    PETS,
    PLACES,
    QUESTIONS,
    SPOTS,
    STRANGERS,
    WENT,
    WHEN,
    ChosenOption,
    OptionSet,
    equally_likely,
    guess_options,
    weighted,
    without_used,
)
from engines.random_stream import RandomStream

MAX_THINGS = 6  # per story; a guess at what a reader can keep track of
SENTENCE_WEIGHT = 45  # the end has weight 1, 2, 3...: nine sentences on average after the opening
_END = "\0"


class Story(NamedTuple):
    """A story without a newline at its end, and the exact information of its characters in nats."""

    text: str
    nats: float


class StoryGenerator:
    """Chooser that draws every choice from a stream and collects the text."""

    def __init__(self, stream: RandomStream) -> None:
        self._below = stream.below
        self.parts: list[str] = []
        self.choices: list[ChosenOption] = []

    def literal(self, text: str) -> None:
        """Append text that is not a choice."""
        self.parts.append(text)

    def choose(self, options: OptionSet) -> int:
        """Draw an option and return its index."""
        option = bisect_right(options.bounds, self._below(options.bounds[-1]))
        self.parts.append(options.texts[option])
        self.choices.append(options.choice(option))
        return option


class StoryParser:
    """Chooser that parses a text: each choice is the one option that the text contains."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.choices: list[ChosenOption] = []

    def literal(self, text: str) -> None:
        """Skip text that is not a choice. Raises ValueError if the text differs."""
        if not self.text.startswith(text, self.position):
            raise ValueError(f"at position {self.position}: no choice matches, expected {text!r}")
        self.position += len(text)

    def choose(self, options: OptionSet) -> int:
        """Return the index of the option that the text contains. Raises ValueError if there is none."""
        matching = [i for i, text in enumerate(options.texts) if self.text.startswith(text, self.position)]
        if not matching:
            raise ValueError(f"at position {self.position}: no choice of {options.name!r} matches")
        if len(matching) > 1:
            raise AssertionError(f"ambiguous grammar at {options}: {matching} match")
        self.literal(options.texts[matching[0]])
        self.choices.append(options.choice(matching[0]))
        return matching[0]


class Location(NamedTuple):
    """The location of a thing: held by a person, or at a spot in a place."""

    holder: str
    spot: str = ""
    place: str = ""


@cache
def _verbs(*at_hand: str) -> tuple[OptionSet, list[str]]:
    """Return the verbs of the actions that need no more than this, and the action of each verb."""
    rows = {name: row for name, row in DEEDS.items() if set(row[0].split()) <= set(at_hand)}
    weight_of = {verb: weight for _, weight, verbs in rows.values() for verb in verbs}
    return weighted("verb", weight_of), [name for name, (_, _, verbs) in rows.items() for _ in verbs]


class StoryGrammar:
    """The state of one story, and its grammar: the methods from `opening` on are the nonterminals.

    Keys are a person's name, and a thing's colour and noun ("red ball").
    """

    def __init__(self, chooser: StoryGenerator | StoryParser) -> None:
        self.literal = chooser.literal
        self.choose = chooser.choose
        self.food: dict[str, str] = {}  # by person: what they love
        self.place_of: dict[str, str] = {}  # by person
        self.owner: dict[str, str] = {}  # by thing: the person who had or found it first
        self.location_of: dict[str, Location] = {}  # by thing
        self.beliefs: dict[str, dict[str, Location]] = {}  # each person's own `location_of`, true or outdated
        self.visited: list[str] = []
        self.place = ""
        self.present: list[str] = []

    def run(self) -> None:
        """Generate or parse one story, up to and including its end."""
        self.opening()
        sentences = in_scene = 1
        while on := self.choose(self.continuation_options(sentences, in_scene)):
            if on == 1:
                self.sentence()
            else:
                self.next_scene()
            sentences += 1
            in_scene = in_scene + 1 if on == 1 else 1

    def continuation_options(self, sentences: int, in_scene: int) -> OptionSet:
        """Return the options after a sentence: the end, the same scene, or the next scene."""
        return weighted("end or on", {_END: sentences, " ": SENTENCE_WEIGHT, "\n": 5 * in_scene})

    def expand(self, *parts: str | OptionSet) -> list[str]:
        """Process literal texts and choices in order; return the chosen texts."""
        chosen = []
        for part in parts:
            if isinstance(part, str):
                self.literal(part)
            else:
                chosen.append(part.texts[self.choose(part)])
        return chosen

    # ---- state

    def unused_nouns(self) -> OptionSet:
        """Return the nouns that no thing has yet: a noun alone identifies its thing."""
        return without_used(NOUNS, [thing.split()[1] for thing in self.location_of])

    def move(self, thing: str, where: Location) -> None:
        """Move a thing, which everyone present sees."""
        self.location_of[thing] = where
        for person in self.present:
            self.beliefs[person][thing] = where

    def arrive(self, people: Sequence[str], place: str) -> None:
        """Move people to a place. Everyone there sees what everyone there holds, or no longer holds."""
        self.place = place
        self.place_of.update(dict.fromkeys(people, place))
        self.present = [person for person in self.place_of if self.place_of[person] == place]
        for thing, where in self.location_of.items():
            if where.holder in self.present:
                self.move(thing, where)
                continue
            for person in self.present:
                if thing in self.beliefs[person] and self.beliefs[person][thing].holder in self.present:
                    del self.beliefs[person][thing]

    # ---- paragraphs

    def opening(self) -> None:
        """Introduce the people, what each has and loves, and somebody's pet."""
        cast = self.expand(WHEN, ", ", NAMES)[1:]
        if self.expand(equally_likely("cast", (" and ", ", "))) == [", "]:
            cast += self.expand(without_used(NAMES, cast), " and ")
        cast += self.expand(without_used(NAMES, cast))
        [place] = self.expand(" were in the ", PLACES, ".")
        self.visited.append(place)
        for person in cast:
            self.beliefs[person] = {}
            colour, noun, self.food[person] = self.expand(
                f" {person} had a ", COLOURS, " ", self.unused_nouns(), " and loved ", FOODS, "."
            )
            self.owner[f"{colour} {noun}"] = person
            self.location_of[f"{colour} {noun}"] = Location(person)
        self.pet_owner, self.pet_kind, self.pet = self.expand(
            " ", equally_likely("person", cast), " had a ", PETS, " called ", PET_NAMES, "."
        )
        self.arrive(cast, place)

    def next_scene(self) -> None:
        """Expand a change of scene: somebody goes to a new place or back to an old one, alone or with others."""
        _, actor, _ = self.expand(LATER, ", ", equally_likely("person", tuple(self.place_of)), " ", WENT)
        old = [place for place in self.visited if place != self.place_of[actor]]
        ways = {" back to the ": equally_likely("place", old), " to the ": without_used(PLACES, self.visited)}
        [way] = self.expand(equally_likely("way", [way for way in ways if ways[way].texts]))
        [place] = self.expand(ways[way])
        if place not in self.visited:
            self.visited.append(place)
        near = [person for person in self.place_of if self.place_of[person] == self.place_of[actor] and person != actor]
        parties: dict[str, Sequence[str]] = {".": ()}
        for party in [*zip(near), near] if near else []:
            parties[f" with {' and '.join(party)}."] = party
        [company] = self.expand(equally_likely("party", tuple(parties)))
        self.expand(*(f" {person} was there." for person in self.place_of if self.place_of[person] == place))
        self.arrive([actor, *parties[company]], place)

    # ---- sentences

    def sentence(self) -> None:
        """Expand a sentence: a person, a stranger or the pet does something, or somebody arrives."""
        absent = [person for person in self.place_of if person not in self.present]
        weight_of = dict.fromkeys(self.present, 12) | {"The": 12}
        if absent:
            weight_of["Soon"] = 5
        if self.pet_owner in self.present:
            weight_of[self.pet] = 5
        [subject] = self.expand(weighted("subject", weight_of), " ")
        if subject == "The":
            self.expand(KINDS, " ", STRANGERS, " ", ACTS, MANNERS)
        elif subject == "Soon":
            [comer] = self.expand(equally_likely("person", absent))
            self.expand(f" came from the {self.place_of[comer]}", MANNERS)
            self.arrive([comer], self.place)
        elif subject == self.pet:
            self.expand(PET_DEEDS, " ", equally_likely("person", self.present), MANNERS)
        else:
            self.action(subject)

    def action(self, actor: str) -> None:
        """Expand an action that is possible with the people and things at hand."""
        things = self.location_of.items()
        at_hand = {
            "other": [person for person in self.present if person != actor],
            "held": [thing for thing, where in things if where.holder == actor],
            "lying": [thing for thing, where in things if where.place == self.place],
            "missing": [thing for thing, where in things if where.holder not in self.present],
            "noun": self.unused_nouns().texts if len(things) < MAX_THINGS else [],
            "pet": [self.pet] if self.pet_owner in self.present else [],
        }
        verbs, deeds = _verbs(*(need for need in at_hand if at_hand[need]))
        other, held, lying, missing = (equally_likely(need, at_hand[need]) for need in list(at_hand)[:4])
        match deeds[self.choose(verbs)]:
            case "act":
                self.expand(MANNERS)
            case "feel":
                self.expand(MOODS, ".")
            case "eat":
                self.expand(self.food[actor], ".")
            case "find":
                colour, noun, _ = self.expand(COLOURS, " ", self.unused_nouns(), " ", SPOTS[self.place], ".")
                self.owner[f"{colour} {noun}"] = actor
                self.move(f"{colour} {noun}", Location(actor))
            case "use":
                self.expand(held, MANNERS)
            case "put":
                thing, spot = self.expand(held, " ", SPOTS[self.place], ".")
                self.move(thing, Location("", spot, self.place))
            case "give":
                thing, taker = self.expand(held, " to ", other, ".")
                self.move(thing, Location(taker))
            case "pat":
                self.expand(self.pet, MANNERS)
            case "take":
                [thing] = self.expand(lying)
                self.expand(f" from {self.location_of[thing].spot}.")
                self.move(thing, Location(actor))
            case "look":
                self.search(actor, *self.expand(missing, " "))
            case "ask":
                [asked] = self.expand(other, ', "')
                answer = self.question(actor, asked, missing)
                self.expand(f'?" "{answer}," said {asked}', MANNERS)

    def search(self, actor: str, thing: str) -> None:
        """Expand a search. Whether the thing is at the spot is not a choice, because it follows from the story."""
        weight_of = dict.fromkeys(SPOTS[self.place].texts, 1)
        if self.location_of[thing].place == self.place:
            weight_of[self.location_of[thing].spot] = 3
        [spot] = self.expand(weighted("spot", weight_of))
        here = Location("", spot, self.place)
        if here == self.location_of[thing]:
            self.literal(" and found it.")
            self.move(thing, Location(actor))
            return
        self.literal(", but it was not there.")
        for person in self.present:
            if self.beliefs[person].get(thing) == here:
                del self.beliefs[person][thing]

    # ---- questions

    def question(self, asker: str, asked: str, missing: OptionSet) -> str:
        """Ask a question; return the answer that follows from the story and the asked person's beliefs."""
        weight_of = {text: QUESTIONS[text] for text in QUESTIONS if missing.texts or text != "Where is the "}
        [question] = self.expand(weighted("question", weight_of))
        match question:
            case "Where is the ":
                return self.whereabouts(asker, asked, *self.expand(missing))
            case "Do you love ":
                [food] = self.expand(guess_options(FOODS, self.food[asked]))
                return "Yes, I do" if food == self.food[asked] else f"No, I love {self.food[asked]}"
            case "What do you love":
                return f"I love {self.food[asked]}"
            case "What pet do you have":
                owns = asked == self.pet_owner
                return f"I have a {self.pet_kind} called {self.pet}" if owns else "I have no pet"
        thing_of = {thing.split()[1]: thing for thing in self.location_of}
        [noun] = self.expand(equally_likely("noun", tuple(thing_of)))
        colour, owner = thing_of[noun].split()[0], self.owner[thing_of[noun]]
        if question == "What colour is the ":
            return f"It is {colour}"
        if question == "Is the ":
            return (
                "Yes, it is" if self.expand(" ", guess_options(COLOURS, colour)) == [colour] else f"No, it is {colour}"
            )
        return {asked: "It is mine", asker: "It is yours"}.get(owner, f"It belongs to {owner}")

    def whereabouts(self, asker: str, asked: str, thing: str) -> str:
        """Return where the asked person believes the thing to be, which the asker then believes too."""
        where = self.beliefs[asked].get(thing)
        if where is None:
            return "I do not know"
        self.beliefs[asker].setdefault(thing, where)
        return f"{where.holder} has it" if where.holder else f"It is {where.spot} in the {where.place}"


def generate_with_choices(stream: RandomStream) -> tuple[Story, list[ChosenOption]]:
    """Draw a story, and return it with its choices."""
    generator = StoryGenerator(stream)
    StoryGrammar(generator).run()
    text = "".join(generator.parts[:-1])  # the last part is _END
    return Story(text, total_nats(generator.choices)), generator.choices


def generate_story(stream: RandomStream) -> Story:
    """Draw a story."""
    return generate_with_choices(stream)[0]


def generate_stories(size: int, seed: int) -> Iterator[Story]:
    """Yield complete stories of at least `size` bytes in total. A larger size only appends stories."""
    stream = RandomStream(seed, "stories")
    while size > 0:
        story = generate_story(stream)
        size -= len(story.text)  # ASCII: a character is a byte
        yield story


def parse_story(text: str) -> list[ChosenOption]:
    """Return the choices that generate this text. Raises ValueError with the position where none matches."""
    parser = StoryParser(text + _END)
    StoryGrammar(parser).run()
    if parser.position != len(parser.text):
        raise ValueError(f"at position {parser.position}: no choice matches after the end")
    return parser.choices


def total_nats(choices: Sequence[ChosenOption]) -> float:
    """Return the information of a whole story's characters: of every choice but the last, the end.

    The probability is computed in integers; only its logarithm is rounded.
    """
    spelled = choices[:-1]
    return log(prod([choice.total for choice in spelled])) - log(prod([choice.weight for choice in spelled]))
