"""Generate varied English captions and queries for a scene.

Both come with the Description that they state, which the training needs, and by which a
test decides whether a hit satisfies them.
"""

from collections.abc import Callable, Sequence

from .scene import Description, Dice, Scene, Thing
from .words import (
    FEATURE_CLAUSES,
    FEATURE_LINKS,
    FEATURE_NOUNS,
    LAND_NOUNS,
    LAND_WORDS,
    LOOSE_LINKS,
    OPENINGS,
    THING_LINKS,
    TIME_NOUNS,
    TIME_WORDS,
    VERBS,
    WEATHER_ADJECTIVES,
    WEATHER_NOUNS,
    WEATHER_WORDS,
    article,
    plural,
    thing_words,
)


def caption(scene: Scene, *seed: object) -> tuple[str, Description]:
    """Return a sentence and what it states; a seed always gives the same one.

    Example: A red house by a lake at night.
    """
    dice = Dice("caption", *seed)
    said = _choose(scene, dice)
    text = _sentence(said, dice)
    if dice.chance(0.5):
        text = text[0].upper() + text[1:] + dice.weighted(("", ".", "!"), (5, 4, 1))
    return text, said


def query(scene: Scene, *seed: object) -> tuple[str, Description]:
    """Return words as people type them into a search box, and what they state.

    Example: night, lake, red house
    """
    dice = Dice("query", *seed)
    said = _choose(scene, dice)
    return dice.weighted((_loose, _terse), (3, 2))(said, dice), said


def _choose(scene: Scene, dice: Dice) -> Description:
    """Choose one to six facts about a scene, but never all."""
    things = dice.shuffled(scene.things)
    count = dice.weighted((0, 1, 2, 3), (0.17, 0.5, 0.28, 0.05))
    said_things = tuple(_choose_thing(thing, dice) for thing in things[:count])
    features = dice.shuffled(scene.features)
    most = dice.weighted((0, 1, 2), (0.45, 0.4, 0.15))
    facts: dict[str, str] = {}
    if len({thing.kind for thing in things[:2]}) < len(things[:2]) and dice.chance(0.5):
        said_things = ({"kind": things[0].kind},) * 2
    for name in dice.shuffled(("time", "weather", "land")):
        if len(facts) < min(4 - count, 2) and dice.chance(0.4):
            facts[name] = getattr(scene, name)
    if not (said_things or facts or (most and features)):
        facts["time"] = scene.time
    return Description(features=tuple(features[:most]), things=said_things, **facts)


def _choose_thing(thing: Thing, dice: Dice) -> dict[str, str]:
    said = {"kind": thing.kind}
    if dice.chance(0.72):
        said["color"] = thing.color
    if dice.chance(0.22):
        said["size"] = thing.size
    if dice.chance(0.2):
        said["place"] = thing.place
    if "color" in said and dice.chance(0.04):
        del said["kind"]
    return said


def _sentence(said: Description, dice: Dice) -> str:
    opening = dice.pick(OPENINGS) if dice.chance(0.25) else ""
    parts = _subject(said, dice, verb=not opening)
    if not parts and said.weather and not said.features:
        return _weather_scene(said.weather, said.time, dice)
    tail = [_feature(name, dice) for name in said.features]
    if tail and not parts:
        tail = [" and ".join(dice.pick(FEATURE_NOUNS[name]) for name in said.features)]
    if said.weather:
        tail.append(dice.pick(WEATHER_WORDS[said.weather]))
    time = dice.pick(TIME_WORDS[said.time]) if said.time else ""
    if said.time and not parts and not tail:
        return dice.pick(TIME_NOUNS[said.time])
    leads = bool(time) and not opening and dice.chance(0.3)
    if time and not leads:
        tail.append(time)
    if parts and dice.chance(0.3):
        tail = dice.shuffled(tail)
    text = " ".join(parts + tail)
    if leads:
        return f"{time}{dice.pick((',', ':'))} {text}"
    return f"{opening} {text}" if opening and parts else text


def _subject(said: Description, dice: Dice, verb: bool) -> list[str]:
    """Return the things and the land, as far as they are stated."""
    if said.things:
        parts = [_things(said.things, dice, verb)]
        if said.land:
            parts.append(dice.pick(LAND_WORDS[said.land]))
        return parts
    return [article(dice.pick(LAND_NOUNS[said.land]), dice)] if said.land else []


def _weather_scene(weather: str, time: str | None, dice: Dice) -> str:
    """Return, for example: a rainy night."""
    adjective = dice.pick(WEATHER_ADJECTIVES[weather])
    noun = dice.pick(TIME_NOUNS[time] if time else ("sky", "scene"))
    return article(f"{adjective} {noun}", dice)


def _feature(name: str, dice: Dice) -> str:
    if dice.chance(0.2):
        return f"{dice.pick(('while', 'and'))} {dice.pick(FEATURE_CLAUSES[name])}"
    return f"{dice.pick(FEATURE_LINKS[name])} {dice.pick(FEATURE_NOUNS[name])}"


def _things(things: Sequence[dict[str, str]], dice: Dice, verb: bool) -> str:
    first, *others = _pair_or_each(things, _thing, dice)
    if verb and not others and dice.chance(0.15) and len(things) == 1:
        return f"{first} {dice.pick(VERBS)}"
    return first + "".join(f" {dice.pick(THING_LINKS)} {other}" for other in others)


def _pair(kind: str, dice: Dice) -> str:
    return f"{dice.pick(('two', 'a pair of', 'a couple of'))} {plural(kind, dice)}"


def _thing(said: dict[str, str], dice: Dice) -> str:
    """Return, for example: a small red house on the left."""
    kind, color, size, place = thing_words(said, dice)
    after = ""
    if color and said.get("kind") == "person" and kind != "human":
        wearing = ("in {}", "dressed in {}", "wearing {}", "in a {} coat")
        after, color = dice.pick(wearing).format(color), ""
    elif color and dice.chance(0.08):
        after, color = f"{dice.pick(('that is', 'which is', 'painted'))} {color}", ""
    core = article(" ".join(filter(None, (size, color, kind))), dice)
    return " ".join(filter(None, (core, after, place)))


def _loose(said: Description, dice: Dice) -> str:
    """Return phrases in random order, joined loosely."""
    things = _pair_or_each(said.things, _loose_thing, dice)
    if len(things) > 1 and dice.chance(0.5):
        things = [f" {dice.pick(LOOSE_LINKS)} ".join(things)]
    phrases = things + [dice.pick(FEATURE_CLAUSES[name]) for name in said.features]
    for value, words, nouns in (
        (said.land, LAND_WORDS, LAND_NOUNS),
        (said.weather, WEATHER_WORDS, WEATHER_NOUNS),
        (said.time, TIME_WORDS, TIME_NOUNS),
    ):
        if value:
            phrases.append(dice.pick(dice.pick((words, nouns))[value]))
    first, *others = dice.shuffled(phrases)
    joints = (
        ", ",
        ", ",
        " and ",
        " with ",
        ", and ",
        ": ",
        ". ",
        " ",
        " when ",
        " by ",
    )
    return first + "".join(dice.pick(joints) + phrase for phrase in others)


def _pair_or_each(things: Sequence[dict[str, str]], word: Callable, dice: Dice) -> list:
    if len(things) == 2 and things[0] == things[1] == {"kind": things[0].get("kind")}:
        return [_pair(things[0]["kind"], dice)]
    return [word(thing, dice) for thing in things]


def _loose_thing(said: dict[str, str], dice: Dice) -> str:
    """Return, for example: left: a small house that is red."""
    if set(said) == {"kind"} and dice.chance(0.15):
        return plural(said["kind"], dice)
    kind, color, size, place = thing_words(said, dice)
    core = " ".join(filter(None, (size, kind)))
    if color and dice.chance(0.5):
        forms = (
            *("{core} that is {color}", "{core} is {color}", "{core}, {color}"),
            *("{core} in {color}", "{core} dressed in {color}", "{color}: {core}"),
        )
        core = dice.pick(forms).format(core=core, color=color)
    elif color:
        core = " ".join(filter(None, (size, color, kind)))
    if dice.chance(0.7) and not core.startswith(color or "-"):
        core = article(core, dice)
    if not place:
        return core
    short = dice.pick((place, said["place"]))
    shapes = ("{core} {place}", "{place} {core}", "{place}: {core}", "{core}, {place}")
    return dice.pick(shapes).format(core=core, place=short)


def _terse(said: Description, dice: Dice) -> str:
    words = _pair_or_each(said.things, _terse_thing, dice)
    for name in said.features:
        noun = dice.pick(FEATURE_NOUNS[name])
        words.append(
            noun if dice.chance(0.3) else noun.removeprefix("a ").removeprefix("the ")
        )
    for value, nouns in (
        (said.land, LAND_NOUNS),
        (said.weather, WEATHER_NOUNS),
        (said.time, TIME_NOUNS),
    ):
        if value:
            words.append(dice.pick(nouns[value]))
    separator = dice.pick((", ", " ", " and ", " + ", "; ", ". "))
    return separator.join(dice.shuffled(words))


def _terse_thing(said: dict[str, str], dice: Dice) -> str:
    kind, color, size, _ = thing_words(said, dice)
    return " ".join(filter(None, (size, color, kind, said.get("place", ""))))
