"""The answers that refuse, as the schema tells them: one for each status."""

from typing import Any

Shape = dict[str, Any]

# Of all operations alike, in the part of the schema that is for schemas.
SHAPES: dict[str, Shape] = {
    "Refusal": {
        "type": "object",
        "description": "Why a request is refused: a sentence for people, a word for "
        "programs. Of a word in the search box that cannot be read, the position too.",
        "properties": {
            "detail": {"type": "string", "description": "One sentence."},
            "code": {"type": "string", "description": "One word, such as not_found."},
            "position": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 2,
                "maxItems": 2,
                "description": "Where the word begins in the query, and where it ends.",
            },
        },
        "required": ["code", "detail"],
    },
    "FieldErrors": {
        "type": "object",
        "description": "What is wrong, by the name of the field; what is in none of "
        "them, under non_field_errors. In a list, the places take the names' place.",
        "additionalProperties": {"$ref": "#/components/schemas/FieldError"},
        "examples": [{"limit": ["This is a number from 1 to 100."]}],
    },
    "FieldError": {
        "anyOf": [
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {
                "type": "array",
                "items": {"$ref": "#/components/schemas/FieldErrors"},
                "minItems": 1,
            },
            {"$ref": "#/components/schemas/FieldErrors"},
        ]
    },
}

REFUSAL: Shape = {"$ref": "#/components/schemas/Refusal"}
EITHER: Shape = {"anyOf": [REFUSAL, {"$ref": "#/components/schemas/FieldErrors"}]}
RETRY_AFTER: Shape = {
    "Retry-After": {
        "description": "In how many seconds to ask again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
HOW_TO_SIGN_IN: Shape = {
    "WWW-Authenticate": {
        "description": "The way to sign in.",
        "required": True,
        "schema": {"type": "string"},
    }
}


def _refusal(
    description: str, schema: Shape = REFUSAL, headers: Shape | None = None
) -> Shape:
    told: Shape = {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
    return {**told, "headers": headers} if headers else told


# The name of each in the schema, and what stands there.
REFUSALS: dict[int, tuple[str, Shape]] = {
    400: ("BadRequest", _refusal("This cannot be answered as it stands.", EITHER)),
    401: (
        "NotSignedIn",
        _refusal(
            "The token is not valid, or nobody is signed in.", headers=HOW_TO_SIGN_IN
        ),
    ),
    403: ("NotAllowed", _refusal("Whoever is signed in may not do this.")),
    404: ("NotFound", _refusal("It is not there, or not for whoever asks.")),
    406: ("NotAcceptable", _refusal("No form that is accepted can be given.")),
    413: ("TooLarge", _refusal("The request, or a picture in it, is too large.")),
    415: (
        "UnknownType",
        _refusal("The body is not JSON, or a picture is none that can be read."),
    ),
    422: ("CannotFetch", _refusal("A picture's address does not give a picture.")),
    429: (
        "TooManyRequests",
        _refusal("That was asked for too often.", headers=RETRY_AFTER),
    ),
    503: (
        "Unavailable",
        _refusal(
            "The engine, the encoder or the database is away for now.",
            headers=RETRY_AFTER,
        ),
    ),
}
