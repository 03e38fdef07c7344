"""The vocabulary of captions; a word that is listed twice is twice as likely."""

from .scene import Dice

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


def thing_words(said: dict[str, str], dice: Dice) -> tuple[str, str, str, str]:
    """Return words for a thing's kind, color, size and place; '' if not stated."""
    tables = (
        ("kind", KIND_WORDS, "something"),
        ("color", COLOR_WORDS, ""),
        ("size", SIZE_WORDS, ""),
        ("place", PLACE_WORDS, ""),
    )
    kind, color, size, place = (
        dice.pick(words[said[name]]) if name in said else unsaid
        for name, words, unsaid in tables
    )
    return kind, color, size, place


def article(noun: str, dice: Dice) -> str:
    bare = noun.rpartition(" ")[2] in ("someone", "something")
    if bare or noun in WITHOUT_ARTICLE or noun.startswith(("the ", "first ")):
        return noun
    indefinite = "an" if noun[0] in "aeiou" else "a"
    return f"{dice.weighted((indefinite, 'the', 'one'), (8, 2, 1))} {noun}"


def plural(kind: str, dice: Dice) -> str:
    return PLURALS.get(kind) or dice.pick(KIND_WORDS[kind]) + "s"
