"""What the command line understands: commands, options, their defaults and help texts."""

from __future__ import annotations

import argparse
import contextlib
import csv
import difflib
import io
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from ..lessons import LESSONS
from ..version import __version__

MODEL = "fastbp-model.npz"
TAB = "\t"


class Settings(NamedTuple):
    """What `fastbp train` does unless told otherwise."""

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    l2: float


# Lowest test accuracy over 20 seeds: digits 97.8 %, quadrants 99.4 %; over 3 seeds: Fashion-MNIST 89.0 %. With other
# rows held out, the digits reach 97.2 % to 98.9 %.
DEFAULTS = {
    "digits": Settings((100,), epochs=60, batch_size=16, learning_rate=0.2, l2=1e-3),
    "quadrants": Settings((50,), epochs=100, batch_size=32, learning_rate=0.1, l2=1e-4),
    "IDX pictures": Settings((512, 256), epochs=10, batch_size=32, learning_rate=0.1, l2=1e-4),
    "other data": Settings((100,), epochs=50, batch_size=32, learning_rate=0.1, l2=1e-4),
}


# The options of `readers.load` for CSV files that the command line has too, by their names there.
OF_CSV = ("target", "header", "delimiter", "decimal", "missing", "drop")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage that argparse puts before it, and what may have been meant."""

    def error(self, message: str) -> NoReturn:
        if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            message += _meant(choice[1], re.findall(r"[\w.-]+", choice[2]))
        self.exit(2, error_line(self.prog, f"{message} (see {self.prog} --help)"))

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End for words that are no arguments of this command."""
        misspelt = next((word.partition("=")[0] for word in unknown if word.startswith("-")), "")
        meant = _meant(misspelt, self._option_string_actions)
        if not misspelt and "--data" in self._option_string_actions:
            meant = f"; did you mean --data {unknown[0]}?"
        self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, 1, cutoff=0.8)  # at 0.6, --sep is close to --seed
    return f"; did you mean {close[0]}?" if close else ""


def as_option(argument: str, value: Any) -> str:
    r"""Return the option that gives an argument of `readers.load` this value, as it is typed in a shell.

    Examples
    --------
    >>> as_option("header", False), as_option("delimiter", ";"), as_option("drop", ("size, cm", "id"))
    ('--no-header', "--delimiter ';'", '--drop \'"size, cm",id\'')
    """
    if argument == "labelled":
        return "fastbp predict"
    if isinstance(value, bool):
        return f"--{argument}" if value else f"--no-{argument}"
    if isinstance(value, tuple):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(value)
        value = line.getvalue()
    return f"--{argument} {shlex.quote('tab' if value == TAB else str(value))}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of a command; like argparse, end the process where there is none, or help is asked for."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(_joined(sys.argv[1:] if argv is None else argv))
    if args.command is None:
        if unknown:
            parser.refuse(unknown)
        parser.print_help(sys.stderr)
        parser.exit(2)
    if unknown:
        args.parser.refuse(unknown)
    return args


def error_line(program: str, message: str) -> str:
    return f"{program}: error: " + message.replace("\r", " ").replace("\n", " ") + "\n"


def _joined(words: Sequence[str]) -> list[str]:
    """Join options with values that begin with a minus, such as --missing -999,-1, which argparse takes for options."""
    joined: list[str] = []
    for word in words:
        if (
            joined
            and joined[-1] in ("--missing", "--drop", "--delimiter")
            and word.startswith("-")
            and word[:2] != "--"
        ):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def build_parser() -> Parser:
    parser = Parser(
        prog="fastbp", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train neural networks (multilayer perceptrons) on the CPU, and predict with them.",
        epilog=f"""examples:
  fastbp train                                 learn to read handwritten digits
  fastbp predict {MODEL} digits       what the network that was just trained makes of them
  fastbp train --help                          all that training can be told""",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"fastbp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_train(_command(commands, "train", "train a network to tell classes apart, test it, and save it", """
examples:
  fastbp train
  fastbp train --data quadrants
  fastbp train --data flowers.csv --target species --out flowers.npz
  fastbp train --data /usr/share/datasets/fashion-mnist --hidden 512,256 --epochs 10
  fastbp train --checkpoint run.npz            killed, the same command goes on where it was
  mpirun -n 4 fastbp train --mpi --data fashion-mnist

A fifth of the rows is held out to test on, the same in every run, unless the data bring test rows."""))  # fmt: skip
    _add_predict(_command(commands, "predict", "write what a trained network makes of each row, as CSV", f"""
examples:
  fastbp predict {MODEL} digits
  fastbp predict flowers.npz new.csv --proba --out predictions.csv"""))  # fmt: skip
    _add_learn(_command(commands, "learn", "learn how back-propagation works, in lessons that print their steps", """
examples:
  fastbp learn                                 which lessons there are
  fastbp learn chain-rule                      the first one; its picture is saved as chain-rule.svg"""))  # fmt: skip
    _add_warmup(
        _command(
            commands,
            "warmup",
            "compile ahead all that training and prediction run on",
            """
examples:
  fastbp warmup                                both dtypes, some 20 seconds the first time
  fastbp warmup --dtype float32                what fastbp train uses

What is compiled is kept in the cache folder that fastbp info names: the next process loads it.""",
        )
    )
    _add_verify(_command(
        commands, "verify", "check the kernels, as compiled here, against plain NumPy and numeric gradients",
        "\nThe exit status is 1 if anything is wrong.",
    ))  # fmt: skip
    _command(commands, "info", "show what this machine compiles to, and what is slow or unsafe on it")
    return parser


def _command(commands: Any, name: str, text: str, epilog: str = "") -> Parser:
    parser: Parser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=epilog.strip(), allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(parser=parser)
    return parser


# fmt: off
def _add_train(parser: Parser) -> None:
    count, options = _number(int, "a whole number of at least 1", lambda n: n >= 1), parser.add_argument
    options("--data", default="digits", metavar="DATA",
            help="what to learn from: digits (8x8 pixels, shipped with fastbp), quadrants (made-up points), an .npz "
                 "file with the arrays X and y, a .csv file, or a folder of IDX files, as MNIST has (default: digits)")
    options("--hidden", type=_hidden, metavar="SIZES",
            help=f"sizes of the hidden layers, such as 512,256; none for no hidden layer {_by_kind('hidden')}")
    options("--epochs", type=count, metavar="N", help=f"passes over all training rows {_by_kind('epochs')}")
    options("--batch-size", type=count, metavar="N", help=f"rows in one step of training {_by_kind('batch_size')}")
    options("--learning-rate", metavar="RATE", type=_number(float, "a number above 0", lambda x: 0 < x < math.inf),
            help=f"how far a step goes; smaller is slower and steadier {_by_kind('learning_rate')}")
    options("--l2", metavar="WEIGHT", type=_number(float, "a number of at least 0", lambda x: 0 <= x < math.inf),
            help=f"how strongly weights are kept small, against learning by heart {_by_kind('l2')}")
    options("--seed", default=0, metavar="N", type=_number(int, "a whole number of at least 0", lambda n: n >= 0),
            help="of the random initial weights and row orders; the same seed gives the same network (default: 0)")
    options("--dtype", choices=("float32", "float64"), default="float32",
            help="calculate in 32 bits (fast) or in 64 (precise) (default: float32)")
    options("--out", default=MODEL, metavar="FILE",
            help=f"where to save the network, replacing what is there (default: {MODEL})")
    options("--checkpoint", metavar="FILE",
            help="keep the state of training in this file, written every minute; where it exists, training goes on "
                 "from it, to the same network as if it had never stopped")
    options("--plot", metavar="FILE",
            help="save the curves of loss and score as a picture, svg, png or pdf by its ending (needs matplotlib)")
    options("--mpi", action="store_true",
            help="train by all processes that mpirun has started, each on its part of the rows (needs fastbp[mpi])")
    _add_common(parser, count, "a column called target, label, class or y, else the last one; the output says which")


def _add_predict(parser: Parser) -> None:
    count, options = _number(int, "a whole number of at least 1", lambda n: n >= 1), parser.add_argument
    options("model", metavar="MODEL", help="a file that fastbp train has saved")
    options("data", metavar="DATA",
            help="rows to predict: an .npz file with the array X, a .csv file with or without the classes, a folder "
                 "of IDX files, one IDX file of pictures, digits or quadrants; of data with test rows, those")
    options("--proba", "--probabilities", action="store_true", help="add a column for each class, with its probability")
    options("--out", metavar="FILE", help="where to write to, replacing what is there (default: standard output)")
    _add_common(parser, count, "none: columns are found by the names that the model keeps, the others left out")


def _add_learn(parser: Parser) -> None:
    parser.add_argument("lesson", nargs="?", choices=LESSONS, metavar="LESSON", help=f"one of: {', '.join(LESSONS)}")


def _add_verify(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def _add_warmup(parser: Parser) -> None:
    parser.add_argument("--dtype", choices=("float32", "float64"),
                        help="compile what computes in 32 bits or in 64 (default: both)")


def _add_common(parser: Parser, count: Callable[[str], int], target: str) -> None:
    parser.add_argument("--target", metavar="COLUMN",
                        help="the CSV column of the classes, by name or by position, the first being 0 and the last -1 "
                             f"(default: {target})")
    parser.add_argument("--header", action=argparse.BooleanOptionalAction, default=None,
                        help="whether the first line of the CSV file holds column names (default: by what it holds)")
    parser.add_argument("--delimiter", type=_delimiter, metavar="CHARACTER",
                        help="what stands between two columns of the CSV file, or the word tab (default: comma, "
                             "semicolon, tab or |, whichever cuts the first lines evenly)")
    parser.add_argument("--decimal", choices=(".", ","), help="the decimal mark of the CSV file (default: .)")
    parser.add_argument("--missing", type=_list, metavar="TEXTS",
                        help="texts, separated by commas, that mean a missing value in the CSV file, which is refused; "
                             "'' for none but an empty field (default: NA, NaN, None, null, ?, - and the like)")
    parser.add_argument("--drop", type=_list, metavar="COLUMNS",
                        help="columns of the CSV file to leave out, by name or position, separated by commas (default: "
                             "a first one without a name that numbers the rows; '' keeps that too)")
    parser.add_argument("--threads", type=count, metavar="N",
                        help="the most threads to use; the result is the same (default: all processors)")
# fmt: on


def _by_kind(field: str) -> str:
    """The defaults of an option in words."""
    values = [getattr(settings, field) for settings in DEFAULTS.values()]
    words = [",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" for value in values]
    return "(default: " + ", ".join(f"{word} for {kind}" for kind, word in zip(DEFAULTS, words, strict=True)) + ")"


def _number(convert: Callable[[str], Any], expected: str, accepts: Callable[[Any], bool]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if accepts(number := convert(text)):
                return number
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")

    return read


def _hidden(text: str) -> tuple[int, ...]:
    if text.strip().lower() in ("", "none"):
        return ()
    with contextlib.suppress(ValueError):
        sizes = tuple(map(int, text.split(",")))
        if min(sizes) >= 1:
            return sizes
    raise argparse.ArgumentTypeError(f"expected sizes such as 512,256, or none, got {text!r}")


def _delimiter(text: str) -> str:
    if text.lower() in ("tab", r"\t"):
        return TAB
    if len(text) == 1 and text not in '"\r\n':
        return text
    raise argparse.ArgumentTypeError(f"expected one character, or tab, got {text!r}")


def _list(text: str) -> tuple[str, ...]:
    """Texts between commas, in quotes where they hold one."""
    with contextlib.suppress(csv.Error, StopIteration):
        return tuple(item.strip() for item in next(csv.reader([text], skipinitialspace=True, strict=True)))
    if not text:
        return ()
    raise argparse.ArgumentTypeError(f"expected texts between commas, got {text!r}")
