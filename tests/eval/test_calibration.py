"""The fit finds what was put into the rows, its figures are of unseen packages, and the command writes a file that loads."""

import json
import math
import random
from dataclasses import replace

import pytest
from click.testing import CliRunner

from palimpsest_engine.checkpoint.calibration_file import read_calibration
from palimpsest_engine.errors import DataError
from palimpsest_eval import calibration
from palimpsest_eval.cli import command
from palimpsest_eval.results import Results, write


def made_up(count=4000, languages=("python", "go"), seed=0):
    """Return places whose fills are right with the probability 1 / (1 + exp(-(total + 2 - strange)))."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        total, strange, language = -4 * draw.random(), float(draw.random() < 0.2), draw.choice(languages)
        right = draw.random() < 1 / (1 + math.exp(-(total + 2 - strange)))
        numbers = {"total": total, "strange": strange, "same": 1.0}
        found.append(calibration.Place(f"p{number % 40}", language, "line", right, numbers))
    return found


def test_the_fit_finds_the_weights_behind_the_rows():
    made = calibration.fit(made_up())
    assert made.weights["total"] == pytest.approx(1, abs=0.15)
    assert made.weights["strange"] == pytest.approx(-1, abs=0.35)
    assert "same" not in made.weights  # it says nothing
    assert abs(made.languages["python"] - made.languages["go"]) < 0.2


def test_probabilities_of_unseen_packages_hold():
    found = made_up()
    made, judged = calibration.calibrated(found)
    assert len(judged) == len(found)
    assert all(abs(said - seen) < 0.09 for said, seen, _ in calibration.reliability(judged))
    for wanted in (0.6, 0.7):
        kept = [place.right for place, said in judged if said.precision >= wanted]
        assert len(kept) > 200
        assert sum(kept) / len(kept) > wanted - 0.05
    assert [precision for precision, _ in made.precisions] == sorted(dict(made.precisions))


def test_places_without_an_offer_count_as_places_only():
    found = [*made_up(400), *(calibration.Place("p1", "python", "nothing", True, None) for _ in range(400))]
    _, judged = calibration.calibrated(found)
    assert len(judged) == 400
    shown = next(line for line in calibration.shown_table(found, judged) if line.startswith("| all"))
    assert shown.split("|")[2].strip() == "50.0"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([replace(place, right=True) for place in made_up(50)], "nothing to tell apart"),
        ([replace(place, package="one") for place in made_up(50)], "one package"),
    ],
)
def test_rows_without_anything_to_fit_are_refused(found, said):
    with pytest.raises(DataError, match=said):
        calibration.calibrated(found)


def row(place, number):
    return {
        "system": "chosen length", "task": f"{place.package}/a.py:{number}", "kind": "line", "seed": 0, "text": "x",
        "passed": None, "outcome": None, "exact": place.right, "any_exact": None, "similarity": 1.0, "parses": True,
        "raw": 1, "raw_parse": 1, "first_parses": True, "treatment": "none", "nfe": 1, "ms": 1.0, "repair_ms": 0.0,
        "line": place.right, "language": place.language, "evidence": place.features,
    }  # fmt: skip


def results(path, sha256="0" * 64, evidence=True):
    rows = [row(place, number) for number, place in enumerate(made_up(600))]
    rows = [each if evidence else each | {"evidence": None} for each in rows]
    settings = {"checkpoint": {"name": "m", "sha256": sha256}}
    from palimpsest_eval.measures import ResultRow

    write(path, Results(settings, {"date": "2026-11-27"}, tuple(ResultRow(**each) for each in rows)))
    return str(path)


def test_the_command_writes_a_calibration_that_loads_and_a_plot(tmp_path):
    out, plot = tmp_path / "c.json", tmp_path / "p.svg"
    given = ["calibrate", results(tmp_path / "r.json"), "--out", str(out), "--plot", str(plot)]
    done = CliRunner().invoke(command, given)
    assert done.exit_code == 0, done.output
    assert "| wanted precision |" in done.output
    assert [line.split(" | ")[1] for line in done.output.splitlines() if line.startswith(("| go |", "| line |"))][
        1
    ] == "600"
    assert "Brier score" in done.output
    assert read_calibration(out).weights.keys() == {"total", "strange"}
    assert json.loads(out.read_text("utf-8"))["measured"] == "2026-11-27, 600 places, go, python"
    assert plot.read_text("utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("changes", "said"), [({"sha256": "1" * 64}, "several models"), ({"evidence": False}, "no evidence")]
)
def test_the_command_refuses_results_that_do_not_fit(tmp_path, changes, said):
    files = [results(tmp_path / "b.json", **changes)]
    files += [results(tmp_path / "a.json")] if "sha256" in changes else []
    done = CliRunner().invoke(command, ["calibrate", *files, "--out", str(tmp_path / "c.json")])
    assert said in str(done.exception)
    assert not (tmp_path / "c.json").exists()
