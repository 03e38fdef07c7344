"""The scene as a vector: what the training of the small CLIP aims at.

An attribute is one thing that can be true of a scene: "it is night", "a lake is
there", "there is a house", "there is a red house", "a small house", "a house on the
left", "two houses", "something red". A scene's vector holds a weight for each one that
is true, and a description's for each that it states, so that their inner product counts
what a scene has of what the words say. A last component, fullness, brings all scenes to
the same length: then ranking by cosine is ranking by that count.
"""

import numpy as np

from .scene import (
    COLORS,
    FEATURES,
    KINDS,
    LANDS,
    PLACES,
    SIZES,
    TIMES,
    WEATHERS,
    Description,
    Scene,
)

Attribute = tuple[str, ...]  # its name, and the values that it is of

# The weight of an attribute in a scene's vector. A feature's absence is visible too.
SCENE_WEIGHTS = {
    "time": 1.0,
    "weather": 1.0,
    "land": 1.0,
    "feature": 0.5,
    "kind": 0.8,
    "color": 0.4,
    "kind+color": 1.0,
    "kind+size": 0.7,
    "kind+place": 0.7,
    "pair": 0.8,
}
# Of two houses, one large and one red, neither need be a large red house: what binds
# a trait to its thing counts less where a scene has two things of the kind.
SHARED_KIND = 0.7
# In words the kind weighs less beside its colour, which implies the kind.
WORD_WEIGHTS = {name: 1.0 for name in SCENE_WEIGHTS} | {"kind+color": 1.2}
KIND_BESIDE_COLOR = 0.5

ATTRIBUTES = tuple(
    [("time", value) for value in TIMES]
    + [("weather", value) for value in WEATHERS]
    + [("land", value) for value in LANDS]
    + [("feature", value) for value in FEATURES]
    + [("kind", value) for value in KINDS]
    + [("pair", value) for value in KINDS]
    + [("color", value) for value in COLORS]
    + [("kind+color", kind, value) for kind in KINDS for value in COLORS]
    + [("kind+size", kind, value) for kind in KINDS for value in SIZES]
    + [("kind+place", kind, value) for kind in KINDS for value in PLACES]
)
INDEX: dict[Attribute, int] = {attribute: i for i, attribute in enumerate(ATTRIBUTES)}
COUNT = len(ATTRIBUTES)
DIMENSION = COUNT + 1  # and fullness
# Longer than the vector of any scene: three things of three kinds, nothing shared.
SCENE_LENGTH = 3.7


def of_scene(scene: Scene) -> np.ndarray:
    """Unit-length float32 vector of DIMENSION components."""
    vector = np.zeros(DIMENSION, np.float32)
    true = true_of(scene)
    for attribute in true:
        shared = "+" in attribute[0] and ("pair", attribute[1]) in true
        weight = SCENE_WEIGHTS[attribute[0]] * (SHARED_KIND if shared else 1)
        vector[INDEX[attribute]] = weight
    for name in set(FEATURES) - set(scene.features):
        vector[INDEX["feature", name]] = -SCENE_WEIGHTS["feature"]
    vector[COUNT] = np.sqrt(SCENE_LENGTH**2 - np.square(vector).sum())
    return vector / SCENE_LENGTH


def of_description(said: Description) -> np.ndarray:
    """Unit-length float32 vector of DIMENSION components; fullness is never said."""
    vector = np.zeros(DIMENSION, np.float32)
    for attribute in stated_by(said):
        vector[INDEX[attribute]] = WORD_WEIGHTS[attribute[0]]
    for thing in said.things:
        if {"kind", "color"} <= set(thing):
            vector[INDEX["kind", thing["kind"]]] = KIND_BESIDE_COLOR
    return vector / np.linalg.norm(vector)


def true_of(scene: Scene) -> set[Attribute]:
    """All attributes of a scene."""
    found: set[Attribute] = {
        ("time", scene.time),
        ("weather", scene.weather),
        ("land", scene.land),
    }
    found |= {("feature", name) for name in scene.features}
    kinds = [thing.kind for thing in scene.things]
    for thing in scene.things:
        found |= _of_thing(vars(thing))
        found.add(("color", thing.color))
        if kinds.count(thing.kind) > 1:
            found.add(("pair", thing.kind))
    return found


def stated_by(said: Description) -> set[Attribute]:
    """The attributes that a description states."""
    facts = (("time", said.time), ("weather", said.weather), ("land", said.land))
    found: set[Attribute] = {(name, value) for name, value in facts if value}
    found |= {("feature", name) for name in said.features}
    kinds = [thing.get("kind") for thing in said.things]
    for thing in said.things:
        found |= _of_thing(thing) if "kind" in thing else {("color", thing["color"])}
        if "kind" in thing and kinds.count(thing["kind"]) > 1:
            found.add(("pair", thing["kind"]))
    return found


def _of_thing(thing: dict[str, str]) -> set[Attribute]:
    kind = thing["kind"]
    traits = ("color", "size", "place")
    bound: set[Attribute] = {
        (f"kind+{trait}", kind, thing[trait]) for trait in traits if trait in thing
    }
    return bound | {("kind", kind)}
