"""`palimpsest eval`: measure the quality of a checkpoint's fills; a run can be stopped and resumed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palimpsest_engine import EngineSettings
from palimpsest_engine.errors import DataError
from palimpsest_eval.instruct.cli import command as instruct
from palimpsest_eval.measuring import chosen, measure, named
from palimpsest_eval.next_edit.cli import command as next_edit
from palimpsest_eval.options import Options, common_options, systems_option

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.load import Checkpoint
    from palimpsest_eval.systems import System

_KINDS = ("span", "rest of line", "line", "block", "nothing")
_SHORT = 8  # tokens
_PATH = click.Path(path_type=Path)


@click.group("eval", short_help="Measure the quality of a checkpoint's fills.")
def command() -> None:
    """Measure the quality of a checkpoint's fills.

    The floors and the ceiling are always measured, too. The same command resumes a run that was stopped.
    """


command.add_command(next_edit)
command.add_command(instruct)


@command.command("humaneval", short_help="Fill programs and run their tests.")
@click.argument("file", type=_PATH)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N problems, spread over the file.")
@systems_option
@common_options
def humaneval(options: Options, file: Path, limit: int | None, choices: tuple[str, ...]) -> None:
    """Fill the problems of FILE and run their tests: HumanEval-Infilling, or any JSON Lines of its shape.

    A row has task_id, prompt, suffix, canonical_solution, test and entry_point. The programs run in a sandbox
    that stops accidents. It is no security boundary against hostile code, so use only files that you trust.
    """
    from palimpsest_eval.problems import read, spread

    problems = list(read(file))
    for problem in problems:
        if problem.test is None or problem.truth is None:
            raise DataError(f"{file}: the problem {problem.task_id} has no test or no canonical_solution")
    measure(options, spread(problems, limit), named(file), chosen(choices), execute=True)


@command.command("problems", short_help="Fill any data file of prompts and suffixes.")
@click.argument("file", type=_PATH)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N problems, spread over the file.")
@click.option("--language", default="python", show_default=True, metavar="ID", help='Language of the rows, or "none".')
@systems_option
@common_options
def problems(
    options: Options,
    file: Path,
    limit: int | None,
    language: str,
    choices: tuple[str, ...],
) -> None:
    """Fill the problems of FILE and compare them with the true text where the file has it.

    A row has task_id, prompt and suffix; truth or canonical_solution is optional.

    Nothing is executed.
    """
    from palimpsest_eval.problems import read, spread

    found = spread(list(read(file, None if language == "none" else language)), limit)
    if "oracle" in choices and any(problem.truth is None for problem in found):
        raise DataError(f"{file} lacks the true text of some problems, so the oracle cannot know their length")
    measure(options, found, named(file), chosen(choices), execute=False)


@command.command("touch-up", short_help="Touch up lines with one wrong word.")
@click.argument("file", type=_PATH)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N problems, spread over the file.")
@click.option("--words-seed", type=int, default=1, show_default=True, help="Seed that chooses the wrong words.")
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=click.FloatRange(0.0, 0.99, min_open=True),
    metavar="S",
    help="Share of the line's tokens to write anew; may be repeated. [default: 0.3, as the editor's action]",
)
@common_options
def touch_up(options: Options, file: Path, limit: int | None, words_seed: int, strengths: tuple[float, ...]) -> None:
    """Put a wrong word into the lines of FILE, touch them up, and see which are as they were.

    FILE is as for humaneval. Of each middle that is one line, a name, a number or a sign is replaced by another one of its
    kind from the text around it. Tests, where FILE has them, are run.
    """
    from palimpsest_engine.fill.filler import Filler
    from palimpsest_eval.corrupted import wrong_words
    from palimpsest_eval.problems import read, spread
    from palimpsest_eval.systems import AS_IT_STANDS, CEILING, TouchedUp

    found = list(wrong_words(spread(list(read(file)), limit), words_seed))
    data = named(file) | {"name": f"One wrong word in lines of {file.name}", "seed": words_seed}

    def tested(checkpoint: Checkpoint) -> list[System]:
        filler = Filler(checkpoint)
        return [TouchedUp(f"strength {strength:g}", filler, strength) for strength in strengths or (0.3,)]

    execute = all(problem.test is not None for problem in found)
    measure(options, found, data, tested, execute=execute, floors=[AS_IT_STANDS, CEILING])


@command.command("held-out", short_help="Fill holes cut from held-out packages.")
@click.option("--corpus", type=_PATH, default=Path("corpus"), show_default=True, help="Folder with held_out.jsonl.")
@click.option("--count", type=click.IntRange(1), default=600, show_default=True, help="Number of holes.")
@click.option("--holes-seed", type=int, default=7, show_default=True, help="Seed that chooses the holes.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_KINDS), help="Only this kind; may be repeated.")
@click.option(
    "--short",
    is_flag=True,
    help=f"Holes of at most {_SHORT} tokens of the checkpoint, filled without tidying and without a limit of one line.",
)
@systems_option
@common_options
def held_out(
    options: Options,
    corpus: Path,
    count: int,
    holes_seed: int,
    kinds: tuple[str, ...],
    short: bool,
    choices: tuple[str, ...],
) -> None:
    """Fill holes in held-out files of the corpus: spans, rests of lines, whole lines, blocks."""
    from palimpsest_engine.checkpoint.describe import describe
    from palimpsest_eval import held_out
    from palimpsest_eval.results import digest

    if short and kinds:
        raise click.UsageError("--short has kinds of its own; leave --kind out")
    documents = held_out.documents(corpus)
    if short:
        tokenizer = describe(EngineSettings(options.checkpoint)).tokenizer
        tokenizer.encode_special_tokens = True
        texts = [document.text for document in documents]
        found = list(held_out.short_holes(texts, tokenizer, count, _SHORT, holes_seed))
    else:
        found = list(held_out.problems(documents, count, holes_seed, kinds or held_out.KINDS))
    data = {
        "name": f"Held-out packages, holes of at most {_SHORT} tokens" if short else "Held-out packages",
        "sha256": digest(corpus / "held_out.jsonl"),
        "seed": holes_seed,
        "kinds": list(kinds),
    }
    measure(options, found, data, chosen(choices, as_users=not short), execute=False)


@command.command("sweep", short_help="Compare sampling settings on the same problems.")
@click.argument("file", type=_PATH, required=False)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N problems of FILE, spread over it.")
@click.option("--corpus", type=_PATH, help="Take holes from this folder's held_out.jsonl instead of FILE.")
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Number of holes, with --corpus.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds, from --seed on.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE[,VALUE...]",
    help="An axis of the grid; may be given several times.",
)
@common_options
def sweep(
    options: Options,
    file: Path | None,
    limit: int | None,
    corpus: Path | None,
    count: int,
    seeds: int,
    changes: tuple[str, ...],
) -> None:
    """Measure every combination of the given settings, beside the checkpoint's own: quality, passes, time.

    Keys: max_steps, t_min, t_max, entropy_bound, stability, confidence; pins, suffix, tries, length_power,
    causal_candidates, candidates; hole_sizes and line_sizes (4+8+16); prune (none, or 3:2 for two rows after step 3;
    more with +); steps_by_size (none, or 8:4 for four steps up to 8 tokens). max_steps alone switches steps_by_size
    off. With FILE, its tests are run.
    """
    from palimpsest_eval import held_out
    from palimpsest_eval.problems import read, spread
    from palimpsest_eval.results import digest
    from palimpsest_eval.sweep import grid, varied

    points = grid(changes)
    if (file is None) == (corpus is None):
        raise click.UsageError("name either a FILE of problems or a --corpus")
    if file is not None:
        found, data = spread(list(read(file)), limit), named(file)
    else:
        assert corpus is not None
        found = list(held_out.problems(held_out.documents(corpus), count, 7))
        data = {"name": "Held-out packages", "sha256": digest(corpus / "held_out.jsonl"), "seed": 7, "kinds": []}
    execute = file is not None and all(problem.test is not None for problem in found)

    def tested(checkpoint: Checkpoint) -> list[System]:
        return [varied(checkpoint, point) for point in [{}, *(point for point in points if point)]]

    measure(options, found, data, tested, execute=execute, experiment="sweep", seeds=seeds)


@command.command("calibrate", short_help="Fit how sure fills are to be right, on results.")
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="RESULTS.json...")
@click.option("--out", required=True, type=_PATH, metavar="FILE.json", help="File for the calibration.")
@click.option("--plot", type=_PATH, metavar="FILE.svg", help="Draw how well the probabilities hold.")
def calibrate(files: tuple[Path, ...], out: Path, plot: Path | None) -> None:
    """Fit the probability that a fill is right, on RESULTS of one model, and show how far it holds.

    Put the file beside the model's own as NAME.calibration.json, or into its folder as calibration.json: from then on
    palimpsest.eagerness decides what is shown unasked. Measure at least some hundred places, for example with
    `palimpsest eval held-out --kind "rest of line" --kind line --kind block --kind nothing`.
    """
    from palimpsest_eval import calibration, results
    from palimpsest_eval import plots as drawing

    found = [results.read(file) for file in files]
    made, judged, measured = calibration.of_results(found)
    calibration.write(out, made, found)
    if plot is not None:
        drawing.draw_reliability(calibration.reliability(judged), plot)
    tables = (calibration.shown_table(measured, judged), calibration.parts_table(measured, judged))
    click.echo("\n\n".join("\n".join(table) for table in (*tables, calibration.reliability_table(judged))))


@command.command("report", short_help="Make tables and plots from results.")
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="RESULTS.json...")
@click.option("--out", type=_PATH, default=Path("docs/evaluation"), show_default=True, help="Folder for the plots.")
@click.option("--page", type=_PATH, help="Markdown page with marks, between which the tables go. [default: OUT.md]")
@click.option("--baseline", metavar="SYSTEM", help="System that others are compared with. [default: the first]")
@click.option("--plots/--no-plots", default=True, show_default=True)
def report(files: tuple[Path, ...], out: Path, page: Path | None, baseline: str | None, plots: bool) -> None:
    """Write the tables of RESULTS into a page, and draw them."""
    from palimpsest_eval import plots as drawing
    from palimpsest_eval.report import put_between_marks, section, tables
    from palimpsest_eval.results import read

    page = page or out.with_name(out.name + ".md")
    made = tables([read(file) for file in files], baseline)
    pictures: list[list[Path]] = [[] for _ in made]
    if plots:
        out.mkdir(parents=True, exist_ok=True)
        pictures = [drawing.draw(table, out) for table in made]
    sections = [
        section(table, [os.path.relpath(picture, page.parent).replace(os.sep, "/") for picture in drawn])
        for table, drawn in zip(made, pictures, strict=True)
    ]
    put_between_marks(page, "\n\n".join(sections))
    click.echo(f"{page}: {len(made)} tables, {sum(map(len, pictures))} plots")
