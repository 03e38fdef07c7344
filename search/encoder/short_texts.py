"""Texts encoded at as many positions as they have tokens, with equal results.

A query has some ten tokens, and CLIP's text tower computes 77 positions. In a causal
tower no position sees those after it; so where the vector is that of the token that
ends the text, what follows it need not be computed.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def encode_text(model: Any, tokens: "Tensor") -> "Tensor":
    """As model.encode_text(tokens), not normalised.

    Towers that see the whole text, or pool it in another way, compute all of it.
    """
    tower = _causal_tower(model)
    if tower is None:
        return model.encode_text(tokens)
    ends = text_ends(model, tokens)
    length = int(ends.max()) + 1
    kind = tower.transformer.get_cast_dtype()
    vectors = tower.token_embedding(tokens[:, :length]).to(kind)
    vectors = vectors + tower.positional_embedding[:length].to(kind)
    mask = tower.attn_mask[:length, :length]
    vectors = tower.ln_final(tower.transformer(vectors, attn_mask=mask))
    vectors = vectors[range(len(vectors)), ends]
    projection = tower.text_projection
    if projection is None:
        return vectors
    return projection(vectors) if callable(projection) else vectors @ projection


def text_ends(model: Any, tokens: "Tensor") -> "Tensor":
    """Where the last token that counts stands in each row of tokens (count, length)."""
    tower = _causal_tower(model)
    if tower is None:
        return tokens.new_full((len(tokens),), tokens.shape[1] - 1)
    if _pooling(tower) == "argmax":
        return tokens.argmax(dim=-1)  # the token of the end has the highest number
    return (tokens == _end_token(tower)).int().argmax(dim=-1)


def _causal_tower(model: Any) -> Any:
    """The text tower that may be shortened; None when the model has another one."""
    import open_clip
    from open_clip.transformer import TextTransformer

    tower = model.text if type(model) is open_clip.CustomTextCLIP else model
    # Exactly these: what is derived from them has other ways.
    if type(tower) not in (open_clip.CLIP, TextTransformer):
        return None
    if tower.attn_mask is None or getattr(tower, "cls_emb", None) is not None:
        return None
    return tower if _pooling(tower) in ("argmax", "eos") else None


def _pooling(tower: Any) -> str:
    return getattr(tower, "text_pool_type", None) or tower.pool_type


def _end_token(tower: Any) -> int:
    return tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
