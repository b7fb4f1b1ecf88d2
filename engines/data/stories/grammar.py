"""A built-in corpus: short stories from a seeded grammar, whose exact information content is known.

People carry, hide, hand over, look for and ask about coloured things in places. Every later
sentence agrees with the earlier ones, and people answer from what they themselves last saw, so
a model has facts, and beliefs about facts, to carry over many sentences.

The grammar is one walk, `Tale`, over a chooser: `_Writer` draws each choice from a stream, `Reader`
finds the option that the text shows. At each choice no option's text is a prefix of another's, so
a text decides its choices one by one from the left, and no story has two derivations.

Hence the floor under any model's loss is exact. Every prefix of the text fixes the choices made
so far, thus by the chain rule -log P(characters, then end of document) is the sum of -log p over
all choices. The last choice, "the end", is spelled by no character but by the end-of-document
token; leaving it out leaves the nats of the text's characters. Going on after a sentence is
spelled: a space (same scene) or a newline (next scene). So that one rule covers all choices, the
end is spelled `_END` while telling and parsing; it is never part of a story's text.

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
    Choice,
    Options,
    equal,
    guess,
    unused,
    weighted,
)
from engines.random_stream import RandomStream

MOST_THINGS = 6  # more in one story and readers lose count
SENTENCE_WEIGHT = 45  # against an end of weight 1, 2, 3...: nine sentences on average after the opening
_END = "\0"


class Story(NamedTuple):
    """`text` has no newline at its end; `nats` is the exact information of its characters."""

    text: str
    nats: float


class _Writer:
    """Draws every choice from a stream and keeps the text."""

    def __init__(self, stream: RandomStream) -> None:
        self._below = stream.below
        self.parts: list[str] = []
        self.choices: list[Choice] = []

    def say(self, text: str) -> None:
        self.parts.append(text)

    def choose(self, options: Options) -> int:
        option = bisect_right(options.bounds, self._below(options.bounds[-1]))
        self.parts.append(options.texts[option])
        self.choices.append(options.choice(option))
        return option


class Reader:
    """Follows a text: each choice is the one option that the text shows."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.choices: list[Choice] = []

    def say(self, text: str) -> None:
        if not self.text.startswith(text, self.position):
            raise ValueError(f"at position {self.position}: no choice fits, the story goes on {text!r}")
        self.position += len(text)

    def choose(self, options: Options) -> int:
        fitting = [i for i, text in enumerate(options.texts) if self.text.startswith(text, self.position)]
        if not fitting:
            raise ValueError(f"at position {self.position}: no choice of {options.name!r} fits")
        if len(fitting) > 1:
            raise AssertionError(f"ambiguous grammar at {options}: {fitting} fit")
        self.say(options.texts[fitting[0]])
        self.choices.append(options.choice(fitting[0]))
        return fitting[0]


class Where(NamedTuple):
    """Of a thing: held by somebody, or lying at a spot in a place."""

    holder: str
    spot: str = ""
    place: str = ""


@cache
def _verbs(*at_hand: str) -> tuple[Options, list[str]]:
    """The verbs for the deeds that need no more than this, and each verb's deed."""
    rows = {name: row for name, row in DEEDS.items() if set(row[0].split()) <= set(at_hand)}
    weight_of = {verb: weight for _, weight, verbs in rows.values() for verb in verbs}
    return weighted("verb", weight_of), [name for name, (_, _, verbs) in rows.items() for _ in verbs]


class Tale:
    """One story in the telling: what is true so far, and the sentences that it allows.

    A person is called by name, a thing by colour and noun ("red ball").
    """

    def __init__(self, chooser: _Writer | Reader) -> None:
        self.say = chooser.say
        self.choose = chooser.choose
        self.food: dict[str, str] = {}  # what each person loves
        self.at: dict[str, str] = {}  # the place of each person
        self.owner: dict[str, str] = {}  # of each thing: who had or found it first
        self.where: dict[str, Where] = {}  # each thing
        self.seen: dict[str, dict[str, Where]] = {}  # what each person believes of `where`, true or outdated
        self.visited: list[str] = []
        self.place = ""
        self.present: list[str] = []

    def tell(self) -> None:
        self.opening()
        sentences = in_scene = 1
        while on := self.choose(self.end_or_on(sentences, in_scene)):
            if on == 1:
                self.sentence()
            else:
                self.next_scene()
            sentences += 1
            in_scene = in_scene + 1 if on == 1 else 1

    def end_or_on(self, sentences: int, in_scene: int) -> Options:
        return weighted("end or on", {_END: sentences, " ": SENTENCE_WEIGHT, "\n": 5 * in_scene})

    def line(self, *parts: str | Options) -> list[str]:
        """Say the texts, choose from the options; the chosen texts."""
        chosen = []
        for part in parts:
            if isinstance(part, str):
                self.say(part)
            else:
                chosen.append(part.texts[self.choose(part)])
        return chosen

    # ---- what is true

    def unused_nouns(self) -> Options:
        """No two things of one noun, so that the noun alone names its thing."""
        return unused(NOUNS, [thing.split()[1] for thing in self.where])

    def move(self, thing: str, where: Where) -> None:
        """The thing is there now, and everyone present knows."""
        self.where[thing] = where
        for person in self.present:
            self.seen[person][thing] = where

    def arrive(self, people: Sequence[str], place: str) -> None:
        """They are there now, and everyone there sees what everyone there holds, or holds no longer."""
        self.place = place
        self.at.update(dict.fromkeys(people, place))
        self.present = [person for person in self.at if self.at[person] == place]
        for thing, where in self.where.items():
            if where.holder in self.present:
                self.move(thing, where)
                continue
            for person in self.present:
                if thing in self.seen[person] and self.seen[person][thing].holder in self.present:
                    del self.seen[person][thing]

    # ---- paragraphs

    def opening(self) -> None:
        """Who is there, what each has and loves, and somebody's pet."""
        cast = self.line(WHEN, ", ", NAMES)[1:]
        if self.line(equal("cast", (" and ", ", "))) == [", "]:
            cast += self.line(unused(NAMES, cast), " and ")
        cast += self.line(unused(NAMES, cast))
        [place] = self.line(" were in the ", PLACES, ".")
        self.visited.append(place)
        for person in cast:
            self.seen[person] = {}
            colour, noun, self.food[person] = self.line(
                f" {person} had a ", COLOURS, " ", self.unused_nouns(), " and loved ", FOODS, "."
            )
            self.owner[f"{colour} {noun}"] = person
            self.where[f"{colour} {noun}"] = Where(person)
        self.pet_owner, self.pet_kind, self.pet = self.line(
            " ", equal("person", cast), " had a ", PETS, " called ", PET_NAMES, "."
        )
        self.arrive(cast, place)

    def next_scene(self) -> None:
        """Somebody goes to a new place or back to an old one, alone or not."""
        _, actor, _ = self.line(LATER, ", ", equal("person", tuple(self.at)), " ", WENT)
        old = [place for place in self.visited if place != self.at[actor]]
        ways = {" back to the ": equal("place", old), " to the ": unused(PLACES, self.visited)}
        [way] = self.line(equal("way", [way for way in ways if ways[way].texts]))
        [place] = self.line(ways[way])
        if place not in self.visited:
            self.visited.append(place)
        near = [person for person in self.at if self.at[person] == self.at[actor] and person != actor]
        parties: dict[str, Sequence[str]] = {".": ()}
        for party in [*zip(near), near] if near else []:
            parties[f" with {' and '.join(party)}."] = party
        [company] = self.line(equal("party", tuple(parties)))
        self.line(*(f" {person} was there." for person in self.at if self.at[person] == place))
        self.arrive([actor, *parties[company]], place)

    # ---- sentences

    def sentence(self) -> None:
        """Somebody present does something, a stranger or the pet acts, or somebody comes."""
        absent = [person for person in self.at if person not in self.present]
        weight_of = dict.fromkeys(self.present, 12) | {"The": 12}
        if absent:
            weight_of["Soon"] = 5
        if self.pet_owner in self.present:
            weight_of[self.pet] = 5
        [subject] = self.line(weighted("subject", weight_of), " ")
        if subject == "The":
            self.line(KINDS, " ", STRANGERS, " ", ACTS, MANNERS)
        elif subject == "Soon":
            [comer] = self.line(equal("person", absent))
            self.line(f" came from the {self.at[comer]}", MANNERS)
            self.arrive([comer], self.place)
        elif subject == self.pet:
            self.line(PET_DEEDS, " ", equal("person", self.present), MANNERS)
        else:
            self.deed(subject)

    def deed(self, actor: str) -> None:
        """What the actor can do depends on who and what is at hand."""
        things = self.where.items()
        at_hand = {
            "other": [person for person in self.present if person != actor],
            "held": [thing for thing, where in things if where.holder == actor],
            "lying": [thing for thing, where in things if where.place == self.place],
            "missing": [thing for thing, where in things if where.holder not in self.present],
            "noun": self.unused_nouns().texts if len(things) < MOST_THINGS else [],
            "pet": [self.pet] if self.pet_owner in self.present else [],
        }
        verbs, deeds = _verbs(*(need for need in at_hand if at_hand[need]))
        other, held, lying, missing = (equal(need, at_hand[need]) for need in list(at_hand)[:4])
        match deeds[self.choose(verbs)]:
            case "act":
                self.line(MANNERS)
            case "feel":
                self.line(MOODS, ".")
            case "eat":
                self.line(self.food[actor], ".")
            case "find":
                colour, noun, _ = self.line(COLOURS, " ", self.unused_nouns(), " ", SPOTS[self.place], ".")
                self.owner[f"{colour} {noun}"] = actor
                self.move(f"{colour} {noun}", Where(actor))
            case "use":
                self.line(held, MANNERS)
            case "put":
                thing, spot = self.line(held, " ", SPOTS[self.place], ".")
                self.move(thing, Where("", spot, self.place))
            case "give":
                thing, taker = self.line(held, " to ", other, ".")
                self.move(thing, Where(taker))
            case "pat":
                self.line(self.pet, MANNERS)
            case "take":
                [thing] = self.line(lying)
                self.line(f" from {self.where[thing].spot}.")
                self.move(thing, Where(actor))
            case "look":
                self.look(actor, *self.line(missing, " "))
            case "ask":
                [asked] = self.line(other, ', "')
                answer = self.question(actor, asked, missing)
                self.line(f'?" "{answer}," said {asked}', MANNERS)

    def look(self, actor: str, thing: str) -> None:
        """Whether the thing is there is no choice: that was told before."""
        weight_of = dict.fromkeys(SPOTS[self.place].texts, 1)
        if self.where[thing].place == self.place:
            weight_of[self.where[thing].spot] = 3
        [spot] = self.line(weighted("spot", weight_of))
        here = Where("", spot, self.place)
        if here == self.where[thing]:
            self.say(" and found it.")
            self.move(thing, Where(actor))
            return
        self.say(", but it was not there.")
        for person in self.present:
            if self.seen[person].get(thing) == here:
                del self.seen[person][thing]

    # ---- questions

    def question(self, asker: str, asked: str, missing: Options) -> str:
        """Ask; the answer that memory gives."""
        weight_of = {text: QUESTIONS[text] for text in QUESTIONS if missing.texts or text != "Where is the "}
        [question] = self.line(weighted("question", weight_of))
        match question:
            case "Where is the ":
                return self.whereabouts(asker, asked, *self.line(missing))
            case "Do you love ":
                [food] = self.line(guess(FOODS, self.food[asked]))
                return "Yes, I do" if food == self.food[asked] else f"No, I love {self.food[asked]}"
            case "What do you love":
                return f"I love {self.food[asked]}"
            case "What pet do you have":
                owns = asked == self.pet_owner
                return f"I have a {self.pet_kind} called {self.pet}" if owns else "I have no pet"
        thing_of = {thing.split()[1]: thing for thing in self.where}
        [noun] = self.line(equal("noun", tuple(thing_of)))
        colour, owner = thing_of[noun].split()[0], self.owner[thing_of[noun]]
        if question == "What colour is the ":
            return f"It is {colour}"
        if question == "Is the ":
            return "Yes, it is" if self.line(" ", guess(COLOURS, colour)) == [colour] else f"No, it is {colour}"
        return {asked: "It is mine", asker: "It is yours"}.get(owner, f"It belongs to {owner}")

    def whereabouts(self, asker: str, asked: str, thing: str) -> str:
        """People say what they last saw or heard, which may have changed since."""
        where = self.seen[asked].get(thing)
        if where is None:
            return "I do not know"
        self.seen[asker].setdefault(thing, where)
        return f"{where.holder} has it" if where.holder else f"It is {where.spot} in the {where.place}"


def _told(stream: RandomStream) -> tuple[Story, list[Choice]]:
    writer = _Writer(stream)
    Tale(writer).tell()
    text = "".join(writer.parts[:-1])  # the last part is _END
    return Story(text, nats(writer.choices)), writer.choices


def story(stream: RandomStream) -> Story:
    return _told(stream)[0]


def stories(size: int, seed: int) -> Iterator[Story]:
    """Whole stories until their texts hold at least `size` bytes; more bytes only add stories at the end."""
    stream = RandomStream(seed, "stories")
    while size > 0:
        told = story(stream)
        size -= len(told.text)  # ASCII: a character is a byte
        yield told


def derivation(text: str) -> list[Choice]:
    """The choices that tell this very text; ValueError with the position where none fits."""
    reader = Reader(text + _END)
    Tale(reader).tell()
    if reader.position != len(reader.text):
        raise ValueError(f"at position {reader.position}: no choice fits after the end")
    return reader.choices


def nats(choices: Sequence[Choice]) -> float:
    """Information of a whole story's characters: every choice but the last, "the end".

    The probability is multiplied out in integers; only its logarithm is rounded.
    """
    spelled = choices[:-1]
    return log(prod([choice.total for choice in spelled])) - log(prod([choice.weight for choice in spelled]))
