"""One line of progress at a time, as a terminal shows it; nothing is left of a phase that ended."""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stderr

import pytest

from sigah.progress import bar, phase, track


class Terminal(io.StringIO):
    """A terminal that draws what is written to it."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif part == "\x1b[2K":
                lines[row] = ""
            elif part == "\x1b[1A":
                row -= 1
            elif part[0] == "\x1b":
                assert part[-1] in "mhl", repr(part)  # colours, and the cursor itself
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + part + line[column + len(part) :]
                column += len(part)
        return [line.strip() for line in lines if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in {"TERM": "xterm", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_a_phase_is_one_line_with_its_time_and_leaves_nothing(terminal: Terminal) -> None:
    with redirect_stderr(terminal), phase("building tables", show=True):
        (line,) = terminal.screen()
        assert re.fullmatch(r"building tables \S 0:00:00", line)
    assert terminal.screen() == []


def test_a_bar_takes_the_place_of_a_phase_which_then_returns(terminal: Terminal) -> None:
    with redirect_stderr(terminal), phase("learning", show=True):
        with track(range(3), "rounds", show=True) as rounds:
            for _ in rounds:
                assert [line.split()[0] for line in terminal.screen()] == ["rounds"]
        assert [line.split()[0] for line in terminal.screen()] == ["rounds", "learning"]
    (line,) = terminal.screen()
    assert line.startswith("rounds") and "3/3" in line


def test_text_on_standard_error_stays_above_the_line(terminal: Terminal) -> None:
    with redirect_stderr(terminal), phase("evaluating", show=True):
        print("itq 32 bits", file=sys.stderr)
    assert terminal.screen() == ["itq 32 bits"]


def test_nothing_stays_behind_an_error(terminal: Terminal) -> None:
    with (
        redirect_stderr(terminal),
        pytest.raises(KeyboardInterrupt),
        phase("learning", show=True),
        bar(show=True) as progress,
    ):
        progress.add_task("rounds", total=3, detail="")
        raise KeyboardInterrupt
    assert terminal.screen() == []


def test_an_error_of_a_bar_that_is_caught_leaves_the_phase(terminal: Terminal) -> None:
    with redirect_stderr(terminal), phase("learning", show=True):
        with pytest.raises(ValueError), track(range(3), "rounds", show=True):
            raise ValueError
        assert [line.split()[0] for line in terminal.screen()] == ["learning"]
    assert terminal.screen() == []


def test_a_pipe_gets_no_line_of_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with phase("learning", show=True):
        print("printed")
    assert capsys.readouterr() == ("printed\n", "")
