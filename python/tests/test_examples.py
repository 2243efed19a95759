"""The examples do what they say."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import trapline

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
SCRIPTS = sorted((EXAMPLES / "parquet").glob("*.py"))


@pytest.fixture(scope="session")
def boot(tmp_path_factory: pytest.TempPathFactory) -> trapline.Trace:
    """SeaBIOS: many devices."""
    return trapline.record(
        firmware=Path(os.environ["TRAPLINE_GUESTS"]) / "bios.bin",
        until_console="No bootable",
        timeout=120,
        output=tmp_path_factory.mktemp("boot") / "boot.trap",
    )


def _answers(script: Path, table: Path) -> list[tuple[str, int, int]]:
    done = subprocess.run([sys.executable, script, table], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader(io.StringIO(done.stdout))
    return [(row["device"], int(row["exits"]), int(row["vmm_ns"])) for row in rows]


def test_polars_duckdb_and_pandas_answer_as_the_report_does(
    boot: trapline.Trace, command: Callable[..., str], tmp_path: Path
) -> None:
    table = tmp_path / "exits.parquet"
    command("export", boot.path, "--to", "parquet", "-o", table, "--quiet")
    report = json.loads(command("report", boot.path, "--by", "device", "--format", "json", "--quiet"))
    costs = [row for row in report["rows"] if not row["idle"]]
    expected = sorted((row["device"] or "", row["count"], row["vmm_ns"]) for row in costs)
    assert len(expected) > 5 and len(SCRIPTS) == 3
    first = _answers(SCRIPTS[0], table)
    for script in SCRIPTS:
        answers = _answers(script, table)
        assert answers == first, script.name
        assert [answer[:2] for answer in sorted(answers)] == [row[:2] for row in expected]
        # The report rounds sums of ticks, the table each exit: a nanosecond an exit at most.
        for (_, exits, told), (_, _, reported) in zip(sorted(answers), expected, strict=True):
            assert abs(told - reported) <= exits


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells), "commit it without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data.get("text/html", "") for cell in cells for output in cell.outputs if "data" in output]
    assert sum("vegaEmbed" in html for html in shown) >= 2, "charts"
    assert sum("<table" in html for html in shown) >= 2, "tables"


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["boot_time", "did_it_help"]
