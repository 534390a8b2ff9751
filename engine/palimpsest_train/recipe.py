"""Read what decides a training run from a TOML file, changed by `key=value`. Knows nothing of torch."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_train.data import RowShape
from palimpsest_train.errors import TrainingError
from palimpsest_train.shape import Shape

RECIPES = Path(__file__).parent / "recipes"
Objective = Literal["diffusion", "left-to-right"]


# What the profiles change; measured as the sampling below (docs/settings.md).
PROFILES: dict[str, dict[str, Any]] = {"fast": {"max_steps": 2, "steps_by_size": ()}, "thorough": {"steps_by_size": ()}}


@dataclass(frozen=True, slots=True)
class Described:
    """The part of a recipe that the exported checkpoint says of itself (see `palimpsest_engine.checkpoint.spec.Spec`)."""

    name: str = "palimpsest-py-6m"
    languages: tuple[str, ...] = ("python",)
    pins: int = 8
    line_sizes: tuple[int, ...] = ()
    tries: int = 1
    causal_candidates: int = 0
    blank_line_candidates: int | None = None
    steps_by_size: tuple[tuple[int, int], ...] = ((8, 4),)
    prune: tuple[tuple[int, int], ...] = ((3, 2),)
    length_power: float = 0.7
    # Chosen on held-out packages (docs/training.md, docs/fewer-steps.md): more steps, other temperatures and bounds gained
    # nothing measurable.
    sampling: Sampling = field(
        default_factory=lambda: Sampling(
            max_steps=8, t_min=0.2, t_max=0.6, entropy_bound=0.5, stability=1, confidence=0.1
        )
    )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run; the seed fixes initialisation, data order and noise.

    rows: a step. cooldown: share of the steps over which the learning rate falls to zero. ema: decay of the averaged
    weights that are exported; 0 for none. workers: processes that draw rows ahead; 0 draws them between steps.
    """

    steps: int
    objective: Objective = "diffusion"
    rows: int = 16
    learning_rate: float = 3e-3
    warmup: int = 100
    cooldown: float = 0.3
    weight_decay: float = 0.05
    ema: float = 0.0
    self_conditioning: float = 0.5
    diffusion_weight: float = 1.0
    seed: int = 20261121
    threads: int = 2
    workers: int = 0
    compile: bool = True
    log_every: int = 20
    save_every: int = 200
    held_out_every: int = 400
    held_out_rows: int = 64
    shape: Shape = field(default_factory=Shape)
    row: RowShape = field(default_factory=RowShape)
    checkpoint: Described = field(default_factory=Described)

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise TrainingError(f"The objective is {self.objective!r}; it can be {' or '.join(get_args(Objective))}.")
        ones = ("steps", "rows", "warmup", "threads", "log_every", "save_every", "held_out_every", "held_out_rows")
        least = {name: (getattr(self, name), 1) for name in ones} | {
            "workers": (self.workers, 0),
            "row.context": (self.row.context, 64),
            "row.canvases": (self.row.canvases, 1),
            "row.losses": (self.row.losses, 2),
        }
        for name, (value, wanted) in least.items():
            if value < wanted:
                raise TrainingError(f"{name} is {value}; it has to be at least {wanted}.")
        if not 0 < self.learning_rate < math.inf:
            raise TrainingError(f"learning_rate is {self.learning_rate}; it has to be above 0.")
        if not (0 <= self.cooldown <= 1 and 0 <= self.ema < 1 and 0 <= self.self_conditioning <= 1):
            raise TrainingError("cooldown and self_conditioning are shares from 0 to 1, ema is one below 1.")
        if self.row.context + self.row.canvas > min(self.shape.positions, self.shape.sliding_window):
            raise TrainingError(
                f"A context of {self.row.context} and a canvas of {self.row.canvas} do not fit the model's "
                f"{self.shape.positions} positions and its sliding window of {self.shape.sliding_window}."
            )
        if self.row.canvas != self.shape.canvas:
            raise TrainingError(
                f"row.canvas is {self.row.canvas}, shape.canvas {self.shape.canvas}; both are the canvas."
            )
        sizes = self.row.sizes
        if not sizes or sizes[-1] >= self.row.canvas or list(sizes) != sorted(sizes):
            raise TrainingError(f"row.sizes is {sizes}; it has to rise, and to stay below the canvas.")

    @property
    def tokens(self) -> int:
        """Tokens a step processes, padding included."""
        canvases = self.row.canvases * self.row.canvas if self.objective == "diffusion" else 0
        return self.rows * (self.row.context + canvases)

    def said(self) -> str:
        """Return the recipe as JSON, as a run's folder keeps it."""
        return json.dumps(asdict(self), indent=1) + "\n"


def fitted(kind: Any, value: Any, where: str) -> Any:
    """Convert `value`, as TOML or JSON gives it, to the type a field wants; `TrainingError` if it is of another."""
    if isinstance(kind, UnionType):
        if value is None:
            return None
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if is_dataclass(kind) and isinstance(value, Mapping):
        return made(kind, value, where)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        inner = get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(fitted(k, v, where) for k, v in zip(kinds, value, strict=True))
    if kind is float and type(value) in (int, float):
        return float(value)
    if get_origin(kind) is Literal or (isinstance(kind, type) and type(value) is kind):
        return value
    raise TrainingError(f"{where} is {value!r}, which is not {getattr(kind, '__name__', kind)}.")


def made(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass from a table; keys it does not have are errors, those left out keep their defaults."""
    types = get_type_hints(kind)
    if unknown := sorted(set(table) - {f.name for f in fields(kind)}):
        raise TrainingError(f"{where} has no key {unknown[0]}; it has {', '.join(f.name for f in fields(kind))}.")
    try:
        return kind(**{name: fitted(types[name], value, f"{where}: {name}") for name, value in table.items()})
    except TypeError as error:
        raise TrainingError(f"{where}: {error}.") from None


def from_json(text: str, where: str) -> Recipe:
    """Read the recipe of a run's folder, older ones included."""
    try:
        table = json.loads(text)
    except ValueError as error:
        raise TrainingError(f"{where} is not valid JSON: {error}.") from None
    recipe: Recipe = made(Recipe, table, where)
    return recipe


def read_recipe(name: str, changes: Iterable[str] = ()) -> Recipe:
    """Read the recipe of that name, or of that file, with changes such as `steps=100` or `row.canvases=4`."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise TrainingError(f"There is no recipe {name}; there are {known}, and any TOML file by its path.") from None
    except (OSError, ValueError) as error:
        raise TrainingError(f"The recipe {path} cannot be read: {error}.") from None
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise TrainingError(f"{change} changes nothing; write KEY=VALUE, such as steps=100 or row.canvases=4.")
        try:
            parsed = tomllib.loads(f"x = {value}")["x"]
        except ValueError:
            parsed = value  # a word without quotes
        *tables, last = key.strip().split(".")
        inside = table
        for part in tables:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise TrainingError(f"{change}: {part} is no table of a recipe.")
        inside[last] = parsed
    recipe: Recipe = made(Recipe, table, path.name)
    return recipe


def with_vocabulary(recipe: Recipe, vocabulary: int) -> Recipe:
    """Return the recipe for a tokenizer of so many entries."""
    return replace(recipe, shape=replace(recipe.shape, vocabulary=vocabulary))
