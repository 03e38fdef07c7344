"""Scenes: what a postcard shows, determined by its id.

`draw` draws a scene, `captions` describes it, and its JSON is the column `scene` of the
item, by which a test or a benchmark decides whether a hit satisfies a query.
"""

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

T = TypeVar("T")

TIMES = ("day", "dawn", "sunset", "night")
WEATHERS = ("clear", "cloudy", "rain", "snow", "storm")
LANDS = ("meadow", "desert", "forest", "city", "beach", "snow")
FEATURES = ("mountains", "lake", "sea", "river", "sun", "moon", "rainbow")
KINDS = (
    "house",
    "tree",
    "boat",
    "car",
    "balloon",
    "tower",
    "tent",
    "cat",
    "dog",
    "horse",
    "bird",
    "person",
    "windmill",
    "bridge",
)
COLORS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "white",
    "black",
    "brown",
)
SIZES = ("small", "large")
PLACES = ("left", "middle", "right")

FEATURE_SHARE = 0.3  # probability of each feature, independent of the others
THING_COUNT_SHARES = (0.25, 0.35, 0.40)  # probabilities of one, two and three things


@dataclass(frozen=True)
class Thing:
    kind: str
    color: str
    size: str
    place: str


@dataclass(frozen=True)
class Scene:
    time: str
    weather: str
    land: str
    features: tuple[str, ...]
    things: tuple[Thing, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Scene":
        """Parse a scene; raises ValueError, KeyError or TypeError for other text."""
        data = json.loads(text)
        things = tuple(Thing(**thing) for thing in data["things"])
        features = tuple(data["features"])
        return cls(data["time"], data["weather"], data["land"], features, things)


class Dice:
    """Random choices that a seed determines for every version of Python.

    Only `Random.random()` is guaranteed not to change, so all choices use it.
    """

    def __init__(self, *seed: object):
        self._random = random.Random(":".join(map(str, seed)))

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random.random()

    def below(self, count: int) -> int:
        return int(self._random.random() * count)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def weighted(self, options: Sequence[T], shares: Sequence[float]) -> T:
        point = self._random.random() * sum(shares)
        for option, share in zip(options, shares, strict=True):
            point -= share
            if point < 0:
                return option
        return options[-1]

    def shuffled(self, options: Iterable[T]) -> list[T]:
        return sorted(options, key=lambda _: self._random.random())


def scene_of(postcard_id: int) -> Scene:
    """Return the scene of a postcard; all attributes are independent."""
    dice = Dice("scene", postcard_id)
    places = dice.shuffled(PLACES)
    count = dice.weighted((1, 2, 3), THING_COUNT_SHARES)
    return Scene(
        time=dice.pick(TIMES),
        weather=dice.pick(WEATHERS),
        land=dice.pick(LANDS),
        features=tuple(name for name in FEATURES if dice.chance(FEATURE_SHARE)),
        things=tuple(
            Thing(dice.pick(KINDS), dice.pick(COLORS), dice.pick(SIZES), place)
            for place in places[:count]
        ),
    )


@dataclass(frozen=True)
class Description:
    """The facts that words state about a scene; None or empty for what is left open."""

    time: str | None = None
    weather: str | None = None
    land: str | None = None
    features: tuple[str, ...] = ()
    things: tuple[dict[str, str], ...] = ()  # each with some attributes of a Thing

    @classmethod
    def from_dict(cls, data: dict) -> "Description":
        things = tuple(data.get("things", ()))
        features = tuple(data.get("features", ()))
        return cls(**{**data, "features": features, "things": things})

    def fits(self, scene: Scene) -> bool:
        """Return whether everything stated is true, of a different thing each time."""
        for attribute in ("time", "weather", "land"):
            said = getattr(self, attribute)
            if said is not None and said != getattr(scene, attribute):
                return False
        if not set(self.features) <= set(scene.features):
            return False
        return any(
            all(map(_thing_fits, self.things, chosen))
            for chosen in itertools.permutations(scene.things, len(self.things))
        )


def _thing_fits(said: dict[str, str], thing: Thing) -> bool:
    return all(getattr(thing, name) == value for name, value in said.items())
