import pytest

from helmsight.cli import main as entry
from helmsight.cli.main import COMMANDS, EXIT_BAD_INPUT, EXIT_INTERRUPTED, main


class Command:
    """A sub-command that does as it is told."""

    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.words = None

    def run(self, words):
        self.words = words
        if isinstance(self.behaviour, BaseException):
            raise self.behaviour
        return self.behaviour


@pytest.fixture
def eval_as(monkeypatch):
    """Replaces `helmsight eval` by a command that returns or raises what it is given."""
    monkeypatch.delenv("HELMSIGHT_TRACEBACK", raising=False)

    def replace(behaviour):
        command = Command(behaviour)
        monkeypatch.setattr(entry.importlib, "import_module", lambda _: command)
        return command

    return replace


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_without_a_command_the_usage_is_shown(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: helmsight COMMAND")


@pytest.mark.parametrize(("typed", "near"), [("colect", "collect"), ("evaluate", "eval")])
def test_an_unknown_command_is_answered_with_the_nearest_one(capsys, typed, near):
    assert main([typed]) == EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert f"no command {typed!r}; did you mean {near!r}?" in error


def test_a_command_gets_its_words_and_gives_its_exit_code(eval_as):
    command = eval_as(7)
    assert main(["eval", "a=1", "b=2"]) == 7
    assert command.words == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "error",
    [ValueError("no such lot"), OSError("no such lot"), RuntimeError("no such lot")],
)
def test_bad_input_ends_in_one_line(eval_as, capsys, error):
    eval_as(error)
    assert main(["eval"]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err == "helmsight eval: no such lot\n"


def test_a_programming_error_keeps_its_traceback(eval_as):
    eval_as(TypeError("a bug"))
    with pytest.raises(TypeError, match="a bug"):
        main(["eval"])


def test_bad_input_shows_its_traceback_on_demand(eval_as, monkeypatch):
    monkeypatch.setenv("HELMSIGHT_TRACEBACK", "1")
    eval_as(ValueError("no such lot"))
    with pytest.raises(ValueError, match="no such lot"):
        main(["eval"])


def test_an_interruption_says_how_to_go_on(eval_as, capsys):
    eval_as(KeyboardInterrupt("3 of 9 episodes are on disk"))
    assert main(["eval"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "helmsight eval: 3 of 9 episodes are on disk\n"
