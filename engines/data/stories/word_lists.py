"""The options of the story grammar, and its word lists. Any change here changes the corpus."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple


class ChosenOption(NamedTuple):
    """The index of an option that was chosen from the set `name`, with probability `weight` / `total`."""

    name: str
    option: int
    weight: int
    total: int


class OptionSet(NamedTuple):
    """Texts to choose from; option i has weight bounds[i] - bounds[i - 1]."""

    name: str
    texts: Sequence[str]
    bounds: Sequence[int]

    def choice(self, option: int) -> ChosenOption:
        """Return the record of choosing the option with this index."""
        bounds = self.bounds
        return ChosenOption(self.name, option, bounds[option] - (bounds[option - 1] if option else 0), bounds[-1])


def equally_likely(name: str, texts: Sequence[str]) -> OptionSet:
    """Return options of equal weight."""
    return OptionSet(name, texts, range(1, len(texts) + 1))


def words(name: str, texts: str) -> OptionSet:
    """Return equally likely options from a comma-separated list."""
    return equally_likely(name, tuple(texts.split(", ")))


def weighted(name: str, weight_of: dict[str, int]) -> OptionSet:
    """Return options with these weights by text."""
    return OptionSet(name, tuple(weight_of), tuple(accumulate(weight_of.values())))


def without_used(options: OptionSet, used: Sequence[str]) -> OptionSet:
    """Return the options that are not in `used`, equally likely."""
    return equally_likely(options.name, [text for text in options.texts if text not in used])


def guess_options(options: OptionSet, truth: str) -> OptionSet:
    """Return options among which the truth has half of the probability."""
    return weighted(options.name, dict.fromkeys(options.texts, 1) | {truth: len(options.texts) - 1})


# fmt: off
NAMES = words("name", "Mia, Lily, Anna, Zoe, Ruby, Nora, Ella, Ivy, Clara, Hana, Mei, Priya, Tom, Ben, Leo, "
              "Max, Sam, Jack, Omar, Finn, Hugo, Kofi, Raj, Otto")
NOUNS = words("noun", "ball, kite, doll, drum, boat, book, hat, cup, bell, car, train, robot, lamp, box, "
              "bag, key, spoon, shell, stone, feather, ribbon, scarf, button, whistle, puppet, flute, coat, "
              "mitten, clock, crown")
COLOURS = words("colour", "red, blue, green, yellow, pink, purple, white, black, brown, grey, golden, silver")
FOODS = words("food", "pears, plums, nuts, figs, cakes, cherries, buns, grapes, carrots, pies, melons, "
              "cookies, peaches, beans, noodles, dates")
PETS = words("pet", "dog, cat, duck, goat, mouse, pig, hen, parrot")
PET_NAMES = words("pet name", "Pip, Dot, Rex, Biscuit, Coco, Fluff, Socks, Star, Bubbles, Pepper, Gus, "
                  "Waffle")
PET_DEEDS = words("pet deed", "sat by, ran to, looked at, jumped on, licked, hid behind, followed, heard")
SPOTS = {place: words("spot", spots) for place, spots in {
    "garden": "under the bench, behind the wall, inside the pot, under the roses",
    "park": "under the slide, behind the fountain, inside the bin, under the swing",
    "forest": "under the leaves, behind the oak, inside the log, under the fern",
    "barn": "under the hay, behind the cart, inside the barrel, behind the door",
    "kitchen": "under the table, behind the stove, inside the jug, inside the pan",
    "shed": "under the bench, behind the ladder, inside the crate, under the sacks",
    "attic": "under the rug, behind the trunk, inside the chest, behind the mirror",
    "library": "under the desk, behind the shelf, inside the drawer, behind the globe",
    "market": "under the stall, behind the scales, inside the basket, under the flag",
    "meadow": "under the hedge, behind the gate, inside the nest, under the clover",
    "cave": "under the rock, behind the pillar, inside the crack, under the moss",
    "castle": "under the throne, behind the curtain, inside the helmet, under the stairs",
    "bakery": "under the counter, behind the oven, inside the flour, under the tray",
    "orchard": "under the apple tree, behind the beehive, inside the cart, under the pear tree",
    "cellar": "under the steps, behind the jars, inside the cask, behind the coal",
    "harbour": "under the net, behind the mast, inside the rope, under the pier",
}.items()}
PLACES = equally_likely("place", tuple(SPOTS))
WHEN = words("when", "One day, One morning, One evening, Last summer, Last week, Long ago, On Sunday, "
             "At sunrise, In spring, Yesterday, Today")
LATER = words("later", "The next day, Later, After a while, At noon, That night, After lunch, "
              "An hour later, At sunset, In the morning, Before dinner, At last, Soon after")
WENT = words("went", "went, ran, walked, hurried, skipped, crept, marched, rode, raced, flew")
KINDS = words("kind", "old, little, big, young, fat, thin, tall, funny, wise, noisy, lazy, tiny, clever, "
              "shy, wild")
STRANGERS = words("stranger", "owl, frog, rabbit, baker, farmer, wizard, queen, bear, fox, bee, cow, horse, "
                  "snail, crow, king, witch")
MOODS = words("mood", "happy, sad, proud, tired, brave, shy, cross, calm, lonely, glad, hungry, curious, "
              "sleepy, excited, worried, lucky, grumpy, silly, bored, merry")
ACTS = words("act", "sang, danced, jumped, laughed, yawned, hummed, clapped, hopped, sighed, whistled, "
             "giggled, waved, waited, dreamed, cried, stretched, nodded, rested, smiled, counted, knelt, "
             "sneezed, bowed")
MANNERS = weighted("manner", {".": 4} | {f" {manner}.": 1 for manner in (
    "slowly", "quickly", "softly", "loudly", "gladly", "again", "with a smile", "for a while", "at once",
    "kindly", "with care", "too", "in a hurry", "twice", "bravely", "sadly")})
DEEDS = {  # actions of people: needs, weight of each verb, verbs; `StoryGrammar.action` completes them
    "act": ("", 4, ACTS.texts),
    "feel": ("", 20, ("was ", "felt ", "seemed ")),
    "eat": ("", 5, ("ate some ", "wanted some ")),
    "find": ("noun", 18, ("found a ", "picked up a ")),
    "use": ("held", 5, ("played with the ", "looked at the ", "cleaned the ", "shook the ", "ran round the ",
                        "painted a picture of the ", "talked to the ", "held the ")),
    "put": ("held", 30, ("put the ", "hid the ", "left the ", "laid the ")),
    "give": ("held other", 8, ("gave the ", "handed the ", "lent the ", "passed the ")),
    "pat": ("pet", 6, ("patted ", "stroked ", "fed ", "chased ")),
    "take": ("lying", 9, ("took the ", "pulled the ", "fetched the ", "got the ")),
    "look": ("missing", 50, ("looked for the ", "searched for the ")),
    "ask": ("other", 280, ("asked ",)),
}
QUESTIONS = {"Where is the ": 24, "What colour is the ": 2, "Whose is the ": 4, "Is the ": 8,
             "Do you love ": 6, "What do you love": 2, "What pet do you have": 1}
# fmt: on
