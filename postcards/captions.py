"""Words for a scene: varied English, never everything at once.

`caption` returns the text together with the Description that it states, so that the
training knows what was said and a test can tell whether a hit satisfies a caption.
"""

from collections.abc import Callable, Sequence

from .scene import Description, Dice, Scene, Thing

KIND_WORDS = {
    "house": ("house", "house", "house", "cottage", "home", "cabin"),
    "tree": ("tree",),
    "boat": ("boat", "boat", "sailboat", "sailing boat", "sailing ship"),
    "car": ("car", "car", "automobile"),
    "balloon": ("balloon", "hot air balloon", "hot-air balloon"),
    "tower": ("tower", "tower", "round tower"),
    "tent": ("tent", "tent", "camping tent"),
    "cat": ("cat", "cat", "kitten", "kitty"),
    "dog": ("dog", "dog", "puppy", "hound"),
    "horse": ("horse", "horse", "pony"),
    "bird": ("bird",),
    "person": ("person", "person", "someone", "figure", "traveller", "human"),
    "windmill": ("windmill", "windmill", "mill"),
    "bridge": ("bridge", "bridge", "stone bridge"),
}
PLURALS = {"person": "people"}
COLOR_WORDS = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "bright orange"),
    "yellow": ("yellow", "yellow", "lemon yellow"),
    "green": ("green", "green", "emerald"),
    "blue": ("blue", "blue", "azure"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rosy"),
    "white": ("white", "white", "snow-white"),
    "black": ("black", "black", "jet-black"),
    "brown": ("brown", "brown", "chestnut brown"),
}
SIZE_WORDS = {
    "small": ("small", "little", "tiny", "wee"),
    "large": ("large", "big", "huge", "great", "giant"),
}
PLACE_WORDS = {
    "left": ("on the left", "to the left", "at the left", "on the left side"),
    "middle": (
        "in the middle",
        "in the centre",
        "in the center",
        "in the middle of the picture",
    ),
    "right": ("on the right", "to the right", "at the right", "on the right side"),
}
TIME_WORDS = {
    "day": (
        "by day",
        "in the daytime",
        "at noon",
        "in broad daylight",
        "during the day",
    ),
    "dawn": (
        "at dawn",
        "at daybreak",
        "in the early morning",
        "at first light",
        "as the day breaks",
        "at sunrise",
    ),
    "sunset": (
        "at sunset",
        "in the evening",
        "at dusk",
        "when the sun goes down",
        "at sundown",
    ),
    "night": (
        "at night",
        "by night",
        "at midnight",
        "after dark",
        "in the dark of night",
    ),
}
TIME_NOUNS = {
    "day": ("day", "daytime", "daylight", "noon"),
    "dawn": ("dawn", "daybreak", "early morning", "sunrise", "first light"),
    "sunset": ("sunset", "evening", "dusk", "sundown"),
    "night": ("night", "midnight", "night time", "nighttime"),
}
WEATHER_WORDS = {
    "clear": ("under a clear sky", "under a cloudless sky", "in fine weather"),
    "cloudy": ("under a cloudy sky", "under an overcast sky", "under grey clouds"),
    "rain": ("in the rain", "while it rains", "when it is raining", "in rainy weather"),
    "snow": (
        "while snow is falling",
        "as it snows",
        "in falling snow",
        "when it is snowing",
    ),
    "storm": ("in a storm", "during a thunderstorm", "as lightning strikes"),
}
WEATHER_NOUNS = {
    "clear": ("clear sky", "cloudless sky", "no clouds", "fine weather"),
    "cloudy": ("cloudy", "clouds", "overcast", "grey sky", "overcast sky"),
    "rain": (
        "rain",
        "rainy",
        "raining",
        "rainy weather",
        "wet weather",
        "it is raining",
    ),
    "snow": ("snowfall", "snowing", "falling snow", "snow is falling", "snowflakes"),
    "storm": ("storm", "stormy", "thunderstorm", "lightning", "stormy weather"),
}
WEATHER_ADJECTIVES = {
    "clear": ("clear", "cloudless"),
    "cloudy": ("cloudy", "overcast"),
    "rain": ("rainy", "wet"),
    "snow": ("snowy",),
    "storm": ("stormy",),
}
LAND_WORDS = {
    "meadow": ("in a meadow", "in a field", "on the grass", "in a green meadow"),
    "desert": (
        "in the desert",
        "among sand dunes",
        "between dunes",
        "in a sandy desert",
    ),
    "forest": ("in the forest", "in the woods", "among dark firs", "in a woodland"),
    "city": ("in the city", "in town", "downtown", "in front of a skyline"),
    "beach": ("on the beach", "at the beach", "on a sandy beach", "on the shore"),
    "snow": (
        "on snow-covered ground",
        "in a snow-covered country",
        "on a snowfield",
        "in the snow",
        "in deep snow",
        "in a white winter country",
    ),
}
LAND_NOUNS = {
    "meadow": ("meadow", "field", "grassland", "green meadow", "grass"),
    "desert": ("desert", "sand dunes", "dunes", "sandy desert"),
    "forest": ("forest", "woods", "woodland", "the woods", "firs"),
    "city": ("city", "town", "skyline", "downtown", "big city"),
    "beach": ("beach", "sandy beach", "shore", "beach sand"),
    "snow": (
        "snow-covered ground",
        "snowfield",
        "snowy ground",
        "snow-covered country",
        "deep snow",
        "winter country",
    ),
}
FEATURE_NOUNS = {
    "mountains": ("mountains", "the mountains", "mountain peaks", "high peaks"),
    "lake": ("a lake", "a lake", "the lake", "a pond"),
    "sea": ("the sea", "the sea", "the ocean"),
    "river": ("a river", "a river", "the river", "a winding stream"),
    "sun": ("the sun", "the sun", "a bright sun"),
    "moon": ("the moon", "the moon", "a crescent moon"),
    "rainbow": ("a rainbow", "the rainbow"),
}
FEATURE_LINKS = {
    "mountains": ("with", "beneath", "below", "near", "in front of", "by"),
    "lake": ("by", "near", "with", "at", "beside", "next to", "on"),
    "sea": ("by", "near", "with", "at", "beside", "over", "above", "on"),
    "river": ("by", "near", "with", "at", "beside", "over", "on"),
    "sun": ("under", "with", "beneath", "and", "in"),
    "moon": ("under", "with", "beneath", "and", "by"),
    "rainbow": ("under", "with", "beneath", "and", "below"),
}
FEATURE_CLAUSES = {
    "mountains": ("mountains behind it", "mountains rise behind", "high peaks behind"),
    "lake": ("a lake lies in front", "a lake lies there"),
    "sea": ("the sea lies behind", "waves of the sea behind"),
    "river": ("a river runs through", "a river winds down"),
    "sun": ("the sun is out", "the sun shines", "the sun in the sky"),
    "moon": ("the moon is out", "the moon shines", "the moon in the sky"),
    "rainbow": ("a rainbow spans the sky", "a rainbow in the sky", "a rainbow above"),
}
WITHOUT_ARTICLE = {
    "grassland",
    "grass",
    "sand dunes",
    "dunes",
    "woods",
    "firs",
    "downtown",
    "beach sand",
    "snow-covered ground",
    "snowy ground",
    "deep snow",
}
OPENINGS = (
    "a postcard of",
    "a picture of",
    "a view of",
    "there is",
    "look:",
    "an illustration of",
    "here we see",
    "a painting of",
    "a drawing of",
    "a scene with",
)
THING_LINKS = ("and", "with", "next to", "beside", "near", "and also", "together with")
LOOSE_LINKS = (*THING_LINKS, "under", "over", "above", "crossing", "by", "in front of")
VERBS = ("stands", "is standing", "can be seen", "waits", "rests", "is seen")


def caption(scene: Scene, *seed: object) -> tuple[str, Description]:
    """A sentence about the scene, and what it says; the same for the same seed.

    A red house by a lake at night.
    """
    dice = Dice("caption", *seed)
    said = _choose(scene, dice)
    text = _sentence(said, dice)
    if dice.chance(0.5):
        text = text[0].upper() + text[1:] + dice.weighted(("", ".", "!"), (5, 4, 1))
    return text, said


def query(scene: Scene, *seed: object) -> tuple[str, Description]:
    """Words as people type them into a search box, in any order, and what they say.

    Night, lake, red house.
    """
    dice = Dice("query", *seed)
    said = _choose(scene, dice)
    return dice.weighted((_loose, _terse), (3, 2))(said, dice), said


def _choose(scene: Scene, dice: Dice) -> Description:
    """One to six facts about a scene; at least one attribute always stays unsaid."""
    things = dice.shuffled(scene.things)
    count = dice.weighted((0, 1, 2, 3), (0.17, 0.5, 0.28, 0.05))
    said_things = tuple(_choose_thing(thing, dice) for thing in things[:count])
    features = dice.shuffled(scene.features)
    most = dice.weighted((0, 1, 2), (0.45, 0.4, 0.15))
    facts = {}
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
    parts = []
    opening = dice.pick(OPENINGS) if dice.chance(0.25) else ""
    if said.things:
        parts.append(_things(said.things, dice, verb=not opening))
        if said.land:
            parts.append(dice.pick(LAND_WORDS[said.land]))
    elif said.land:
        parts.append(_article(dice.pick(LAND_NOUNS[said.land]), dice))
    elif said.weather and not said.features:
        return _weather_scene(said, dice)
    tail = [_feature(name, dice) for name in said.features]
    if tail and not parts:
        tail = [" and ".join(dice.pick(FEATURE_NOUNS[name]) for name in said.features)]
    if said.weather:
        tail.append(dice.pick(WEATHER_WORDS[said.weather]))
    time = dice.pick(TIME_WORDS[said.time]) if said.time else ""
    if not parts and not tail:
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


def _weather_scene(said: Description, dice: Dice) -> str:
    """A rainy night."""
    adjective = dice.pick(WEATHER_ADJECTIVES[said.weather])
    noun = (
        dice.pick(TIME_NOUNS[said.time]) if said.time else dice.pick(("sky", "scene"))
    )
    return _article(f"{adjective} {noun}", dice)


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
    return f"{dice.pick(('two', 'a pair of', 'a couple of'))} {_plural(kind, dice)}"


def _thing(said: dict[str, str], dice: Dice) -> str:
    """A small red house on the left."""
    kind, color, size, place = _words(said, dice)
    after = ""
    if color and said.get("kind") == "person" and kind != "human":
        wearing = ("in {}", "dressed in {}", "wearing {}", "in a {} coat")
        after, color = dice.pick(wearing).format(color), ""
    elif color and dice.chance(0.08):
        after, color = f"{dice.pick(('that is', 'which is', 'painted'))} {color}", ""
    core = _article(" ".join(filter(None, (size, color, kind))), dice)
    return " ".join(filter(None, (core, after, place)))


def _words(said: dict[str, str], dice: Dice) -> tuple[str, str, str, str]:
    """Words for a thing's kind, colour, size and place; empty where nothing is said."""
    tables = (
        ("kind", KIND_WORDS, "something"),
        ("color", COLOR_WORDS, ""),
        ("size", SIZE_WORDS, ""),
        ("place", PLACE_WORDS, ""),
    )
    return tuple(
        dice.pick(words[said[name]]) if name in said else unsaid
        for name, words, unsaid in tables
    )


def _article(noun: str, dice: Dice) -> str:
    bare = noun.rpartition(" ")[2] in ("someone", "something")
    if bare or noun in WITHOUT_ARTICLE or noun.startswith(("the ", "first ")):
        return noun
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{dice.weighted((article, 'the', 'one'), (8, 2, 1))} {noun}"


def _plural(kind: str, dice: Dice) -> str:
    return PLURALS.get(kind) or dice.pick(KIND_WORDS[kind]) + "s"


def _loose(said: Description, dice: Dice) -> str:
    """Phrases in any order, joined as people join them."""
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
    """Left: a small house that is red."""
    if set(said) == {"kind"} and dice.chance(0.15):
        return _plural(said["kind"], dice)
    kind, color, size, place = _words(said, dice)
    core = " ".join(filter(None, (size, kind)))
    if color and dice.chance(0.5):
        forms = ("{core} that is {color}", "{core} is {color}", "{core}, {color}")
        forms += ("{core} in {color}", "{core} dressed in {color}", "{color}: {core}")
        core = dice.pick(forms).format(core=core, color=color)
    elif color:
        core = " ".join(filter(None, (size, color, kind)))
    if dice.chance(0.7) and not core.startswith(color or "-"):
        core = _article(core, dice)
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
    kind, color, size, _ = _words(said, dice)
    return " ".join(filter(None, (size, color, kind, said.get("place", ""))))
