"""Count the matrix-product FLOPs of a recipe's steps, so that two objectives can be given the same compute.

Counted is what the passes execute: every product of the forward and the backward (twice the forward), attention as
full rectangles although half of each is masked, the output head only at positions that have a loss, and the additional
forward of self-conditioning in its expected share of the steps. Not counted: element-wise work, norms, and the optimiser
(the same for both objectives). A test holds the formula to `torch.utils.flop_counter`.
"""

from __future__ import annotations

from palimpsest_train.data import RowShape
from palimpsest_train.recipe import Recipe
from palimpsest_train.shape import Shape


def linear_flops(shape: Shape) -> int:
    """Return the forward FLOPs a token of all layers' linear maps: projections (values are keys where attention is full),
    feed-forward, expert."""
    heads = sum(2 * shape.heads + (1 if full else 2) * shape.kv_heads for full in shape.full)
    return 2 * shape.hidden * (heads * shape.head_dim + shape.layers * 3 * (shape.mlp + shape.expert))


def attention_flops(shape: Shape, queries: int, keys: int) -> int:
    """Return the forward FLOPs of all layers' scores and mixed values for so many queries, each over so many keys."""
    return 4 * shape.layers * shape.heads * shape.head_dim * queries * keys


def head_flops(shape: Shape, positions: int) -> int:
    """Return the forward FLOPs of the output head at so many positions."""
    return 2 * shape.hidden * shape.vocabulary * positions


def causal_pass(shape: Shape, row: RowShape) -> int:
    """Return the forward FLOPs of one row's context through the layers."""
    return row.context * linear_flops(shape) + attention_flops(shape, row.context, row.context)


def packed_pass(shape: Shape, row: RowShape) -> int:
    """Return the forward FLOPs of one row, context and canvases, through the layers and the self-conditioning block."""
    positions = row.canvases * row.canvas
    canvases = positions * linear_flops(shape) + attention_flops(shape, positions, row.context + row.canvas)
    return causal_pass(shape, row) + canvases + positions * 6 * shape.hidden * shape.mlp


def step_flops(recipe: Recipe) -> float:
    """Return the expected FLOPs of one step; the recipe's vocabulary has to be its tokenizer's."""
    shape, row = recipe.shape, recipe.row
    if recipe.objective == "left-to-right":
        return recipe.rows * 3 * (causal_pass(shape, row) + head_flops(shape, row.context))
    trained = packed_pass(shape, row) + head_flops(shape, row.context + row.canvases * row.losses)
    # Self-conditioning reads the head at all canvas positions, and multiplies its softmax with the embedding.
    said = packed_pass(shape, row) + 2 * head_flops(shape, row.canvases * row.canvas)
    return recipe.rows * (3 * trained + recipe.self_conditioning * said)


def equal_steps(recipe: Recipe, flops: float) -> int:
    """Return the number of steps of this recipe that come nearest to so many FLOPs."""
    return round(flops / step_flops(recipe))
