"""Vectors of attributes: the targets for training the small CLIP.

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

Attribute = tuple[str, ...]  # its name and values

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
# With a large house and a red house, there need not be a large red house: traits count
# less in scenes with two things of a kind.
SHARED_KIND = 0.7
# In words, a kind counts less if its color is stated, which implies the kind.
WORD_WEIGHTS = {name: 1.0 for name in SCENE_WEIGHTS} | {"kind+color": 1.2}
KIND_WITH_COLOR = 0.5

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
DIMENSION = COUNT + 1  # with fullness
# Above the length of any scene's vector, the longest having three kinds of things.
SCENE_LENGTH = 3.7


def scene_vector(scene: Scene) -> np.ndarray:
    """Return a unit float32 vector of DIMENSION components."""
    vector = np.zeros(DIMENSION, np.float32)
    true = scene_attributes(scene)
    for attribute in true:
        shared = "+" in attribute[0] and ("pair", attribute[1]) in true
        weight = SCENE_WEIGHTS[attribute[0]] * (SHARED_KIND if shared else 1)
        vector[INDEX[attribute]] = weight
    for name in set(FEATURES) - set(scene.features):
        vector[INDEX["feature", name]] = -SCENE_WEIGHTS["feature"]
    vector[COUNT] = np.sqrt(SCENE_LENGTH**2 - np.square(vector).sum())
    return vector / SCENE_LENGTH


def description_vector(said: Description) -> np.ndarray:
    """Return a unit float32 vector of DIMENSION components, with a fullness of 0."""
    vector = np.zeros(DIMENSION, np.float32)
    for attribute in stated_attributes(said):
        vector[INDEX[attribute]] = WORD_WEIGHTS[attribute[0]]
    for thing in said.things:
        if {"kind", "color"} <= set(thing):
            vector[INDEX["kind", thing["kind"]]] = KIND_WITH_COLOR
    return vector / np.linalg.norm(vector)


def scene_attributes(scene: Scene) -> set[Attribute]:
    """Return all attributes of a scene."""
    attributes: set[Attribute] = {
        ("time", scene.time),
        ("weather", scene.weather),
        ("land", scene.land),
    }
    attributes |= {("feature", name) for name in scene.features}
    kinds = [thing.kind for thing in scene.things]
    for thing in scene.things:
        attributes |= _thing_attributes(vars(thing))
        attributes.add(("color", thing.color))
        if kinds.count(thing.kind) > 1:
            attributes.add(("pair", thing.kind))
    return attributes


def stated_attributes(said: Description) -> set[Attribute]:
    """Return the attributes that a description states."""
    facts = (("time", said.time), ("weather", said.weather), ("land", said.land))
    attributes: set[Attribute] = {(name, value) for name, value in facts if value}
    attributes |= {("feature", name) for name in said.features}
    kinds = [thing.get("kind") for thing in said.things]
    for thing in said.things:
        attributes |= (
            _thing_attributes(thing) if "kind" in thing else {("color", thing["color"])}
        )
        if "kind" in thing and kinds.count(thing["kind"]) > 1:
            attributes.add(("pair", thing["kind"]))
    return attributes


def _thing_attributes(thing: dict[str, str]) -> set[Attribute]:
    kind = thing["kind"]
    traits = ("color", "size", "place")
    bound: set[Attribute] = {
        (f"kind+{trait}", kind, thing[trait]) for trait in traits if trait in thing
    }
    return bound | {("kind", kind)}
