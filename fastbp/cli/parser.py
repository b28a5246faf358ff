"""The syntax of the command line: commands, options, their defaults and help texts."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from ..lessons import LESSONS
from ..tables import TASKS
from ..version import __version__

MODEL = "fastbp-model.npz"
RECIPES = ("network", "tabular")
LOSSES_OF_NUMBERS = ("mean_squared_error", "mean_absolute_error", "huber")
TAB = "\t"


class Settings(NamedTuple):
    """The settings of `fastbp train`."""

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    l2: float
    optimizer: str = "sgd"


# Lowest test accuracy over 20 seeds: digits 97.8 %, quadrants 99.4 %; over 3 seeds: Fashion-MNIST 89.0 %. With other
# rows held out, the digits reach 97.2 % to 98.9 %.
DEFAULTS = {
    "digits": Settings((100,), epochs=60, batch_size=16, learning_rate=0.2, l2=1e-3),
    "quadrants": Settings((50,), epochs=100, batch_size=32, learning_rate=0.1, l2=1e-4),
    "IDX pictures": Settings((512, 256), epochs=10, batch_size=32, learning_rate=0.1, l2=1e-4),
    "other data": Settings((100,), epochs=50, batch_size=32, learning_rate=0.1, l2=1e-4),
    # SGD diverges on targets with long tails, such as prices of diamonds, or overfits: R^2 of -0.35 on scikit-learn's
    # diabetes, where Adam has 0.41.
    "numbers": Settings((100,), epochs=50, batch_size=32, learning_rate=0.001, l2=1e-4, optimizer="adam"),
}


# The arguments of `readers.load` for CSV files that are options of the command line, too.
OF_CSV = ("target", "header", "delimiter", "decimal", "missing", "drop")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without argparse's usage, and suggest what may have been meant."""

    def error(self, message: str) -> NoReturn:
        if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            message += _meant(choice[1], re.findall(r"[\w.-]+", choice[2]))
        self.exit(2, error_line(self.prog, f"{message} (see {self.prog} --help)"))

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End the process because of words that are not arguments of this command."""
        misspelt = next((word.partition("=")[0] for word in unknown if word.startswith("-")), "")
        meant = _meant(misspelt, self._option_string_actions)
        if not misspelt and "--data" in self._option_string_actions:
            meant = f"; did you mean --data {unknown[0]}?"
        self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")


def _meant(word: str, known: Iterable[str]) -> str:
    import difflib  # 2 ms, and words are seldom misspelt

    close = difflib.get_close_matches(word, known, 1, cutoff=0.8)  # at 0.6, --sep is close to --seed
    return f"; did you mean {close[0]}?" if close else ""


def as_option(argument: str, value: Any) -> str:
    r"""Return the option that gives an argument of `readers.load` this value, as typed in a shell.

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
    """Return the arguments of a command; like argparse, end the process if there is none, or for --help."""
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
    """Join options and values that begin with a minus, such as --missing -999,-1, which argparse takes for options."""
    joined: list[str] = []
    for word in words:
        takes_value = bool(joined) and joined[-1] in ("--missing", "--drop", "--delimiter")
        if takes_value and word.startswith("-") and word[:2] != "--":
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


EXAMPLES = f"""examples:
  fastbp train                                 learn to read handwritten digits
  fastbp predict {MODEL} digits       predict with the network that was just trained
  fastbp train --help                          all options of training"""
TRAIN = """examples:
  fastbp train
  fastbp train --data quadrants
  fastbp train --data flowers.csv --target species --out flowers.npz
  fastbp train --data people.csv               text and gaps, too
  fastbp train --data /usr/share/datasets/fashion-mnist --hidden 512,256 --epochs 10
  fastbp train --checkpoint run.npz            if killed, the same command goes on from there
  mpirun -n 4 fastbp train --mpi --data fashion-mnist

A fifth of the rows is held out to test on, the same in every run, unless the data come with test rows."""
PREDICT = f"""examples:
  fastbp predict {MODEL} digits
  fastbp predict flowers.npz new.csv --proba --out predictions.csv"""
EVALUATE = f"""examples:
  fastbp evaluate {MODEL} digits
  fastbp evaluate flowers.npz new.csv          the target is the column of the name that the model keeps"""
EXPORT = f"""examples:
  fastbp export {MODEL} digits.onnx    for ONNX Runtime and what else reads ONNX (needs fastbp[onnx])
  fastbp export {MODEL} digits.c       a C function, without dependencies
  fastbp export {MODEL} digits.safetensors

Ensembles, and the models of tables with text and gaps, can become .onnx alone."""
LEARN = """examples:
  fastbp learn                                 list the lessons
  fastbp learn chain-rule                      the first one; its picture is saved as chain-rule.svg
  fastbp learn chain-rule --language zh        the same in Chinese"""
WARMUP = """examples:
  fastbp warmup                                all networks, both dtypes
  fastbp warmup --dtype float32 --activation relu --loss softmax_cross_entropy --optimizer sgd
                                               what fastbp train uses

Compiled code is kept in the cache folder that fastbp info names, and later processes load it."""
VERIFY = "The exit status is 1 if anything is wrong."
FORMATTER = argparse.RawDescriptionHelpFormatter


def build_parser() -> Parser:
    description = "Train neural networks (multilayer perceptrons) on the CPU, and predict with them."
    texts: dict[str, Any] = {"description": description, "epilog": EXAMPLES}
    parser = Parser(prog="fastbp", allow_abbrev=False, formatter_class=FORMATTER, **texts)
    parser.add_argument("--version", action="version", version=f"fastbp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    trained = "train a network to tell classes apart or predict a number, test it, and save it"
    verified = "check the kernels, as compiled here, against plain NumPy and numeric gradients"
    _add_train(_command(commands, "train", trained, TRAIN))
    _add_predict(_command(commands, "predict", "predict each row and write the results as CSV", PREDICT))
    _add_evaluate(_command(commands, "evaluate", "score a network's predictions on rows with known targets", EVALUATE))
    _add_export(_command(commands, "export", "save a model as a file that other programs run", EXPORT))
    _add_learn(
        _command(commands, "learn", "learn how back-propagation works, in lessons that explain their steps", LEARN)
    )
    _add_warmup(_command(commands, "warmup", "compile everything that training and prediction use", WARMUP))
    _add_verify(_command(commands, "verify", verified, VERIFY))
    _command(commands, "info", "show what this machine compiles to, and what is slow or unsafe on it")
    return parser


def _command(commands: Any, name: str, text: str, epilog: str = "") -> Parser:
    texts = {"help": text, "description": text[0].upper() + text[1:] + ".", "epilog": epilog}
    parser: Parser = commands.add_parser(name, allow_abbrev=False, formatter_class=FORMATTER, **texts)
    parser.set_defaults(parser=parser)
    return parser


def _add_train(parser: Parser) -> None:
    count, add = _number(int, "a whole number of at least 1", lambda n: n >= 1), parser.add_argument
    add(
        "--data",
        default="digits",
        metavar="DATA",
        help="what to learn from: digits (8x8 pixels, shipped with fastbp), quadrants (random points of a plane), an "
        ".npz file with the arrays X and y, a .csv or .tsv file (- for standard input), or a folder of IDX files such "
        "as MNIST's (default: digits)",
    )
    hidden = f"sizes of the hidden layers, such as 512,256; none for no hidden layer {_by_kind('hidden')}"
    add("--hidden", type=_hidden, metavar="SIZES", help=hidden)
    add("--epochs", type=count, metavar="N", help=f"passes over all training rows {_by_kind('epochs')}")
    add("--batch-size", type=count, metavar="N", help=f"rows per training step {_by_kind('batch_size')}")
    add(
        "--learning-rate",
        metavar="RATE",
        type=_number(float, "a number above 0", lambda x: 0 < x < math.inf),
        help=f"step size; smaller is slower and steadier {_by_kind('learning_rate')}",
    )
    add(
        "--l2",
        metavar="WEIGHT",
        type=_number(float, "a number of at least 0", lambda x: 0 <= x < math.inf),
        help=f"L2 regularisation strength {_by_kind('l2')}",
    )
    add(
        "--seed",
        default=0,
        metavar="N",
        type=_number(int, "a whole number of at least 0", lambda n: n >= 0),
        help="seed of the random initial weights and row orders; the same seed gives the same network (default: 0)",
    )
    dtype = "calculate in 32 bits (fast) or in 64 (precise) (default: float32)"
    add("--dtype", choices=("float32", "float64"), help=dtype)
    out = f"file to save the network to, replaced if it exists (default: {MODEL})"
    add("--out", default=MODEL, metavar="FILE", help=out)
    add(
        "--checkpoint",
        metavar="FILE",
        help="save the state of training to this file every minute; if the file exists, training goes on from it, to "
        "the same network as without interruption",
    )
    plot = "save the curves of loss and score as a picture, .svg, .png or .pdf (needs matplotlib)"
    add("--plot", metavar="FILE", help=plot)
    mpi = "train with all processes that mpirun has started, each on its part of the rows (needs fastbp[mpi])"
    add("--mpi", action="store_true", help=mpi)
    kinds = "of the hidden layers, a name that MLP takes (default: relu)"
    add("--activation", type=_known("activation"), metavar="NAME", help=f"activation {kinds}")
    optimizer = "rule of the updates, a name that MLP.fit takes; others than the default have their own learning rates "
    add("--optimizer", type=_known("optimizer"), metavar="NAME", help=optimizer + _by_kind("optimizer"))
    loss = "what training makes small for targets that are numbers (default: mean_squared_error)"
    add("--loss", choices=LOSSES_OF_NUMBERS, help=loss)
    balanced = "balanced: each class counts as much as any other, however many rows it has"
    add("--class-weight", choices=("balanced",), help=balanced)
    task = "what the target is: classes to tell apart, or numbers to predict (default: numbers if the column of a CSV "
    task += "file has fractions, or whole numbers that are many or rare; else classes; the output says why)"
    add("--task", choices=TASKS, help=task)
    recipe = "network: one network, on finite numbers alone, as the other options describe it; tabular: several, which "
    recipe += "take text and gaps too (default: tabular for a CSV file with text, gaps or infinities, else network)"
    add("--recipe", choices=RECIPES, help=recipe)
    _add_common(parser, count, "a column named target, label, class or y, else the last one; the output says which")


def _add_model_and_data(parser: Parser, data: str) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file that fastbp train has saved")
    parser.add_argument("data", metavar="DATA", help=data)


def _add_predict(parser: Parser) -> None:
    count, add = _number(int, "a whole number of at least 1", lambda n: n >= 1), parser.add_argument
    _add_model_and_data(
        parser,
        "rows to predict: an .npz file with the array X, a .csv or .tsv file (- for standard input) with or without "
        "the target, a folder of IDX files, one IDX file of pictures, digits or quadrants; if the data have test rows, "
        "these",
    )
    add("--proba", "--probabilities", action="store_true", help="add a column with the probability of each class")
    add("--out", metavar="FILE", help="file to write to, replaced if it exists (default: standard output)")
    _add_common(parser, count, "none: columns are found by the names that the model keeps, and others are left out")


def _add_evaluate(parser: Parser) -> None:
    count = _number(int, "a whole number of at least 1", lambda n: n >= 1)
    _add_model_and_data(
        parser,
        "rows with their targets: an .npz file with the arrays X and y, a .csv or .tsv file (- for standard "
        "input), a folder of IDX files, digits or quadrants; if the data have test rows, these",
    )
    _add_common(parser, count, "the column of the name that the model keeps, else as fastbp train finds it")


def _add_export(parser: Parser) -> None:
    saved = "a file that fastbp train has saved, or MLP.save, Ensemble.save or TableModel.save"
    parser.add_argument("model", metavar="MODEL", help=saved)
    out = "file to write to, replaced if it exists; its name ends in .onnx, .c or .safetensors, which decides the form"
    parser.add_argument("file", metavar="FILE", help=out)


def _add_learn(parser: Parser) -> None:
    add = parser.add_argument
    add("lesson", nargs="?", choices=LESSONS, metavar="LESSON", help=f"one of: {', '.join(LESSONS)}")
    language = (
        "language of the text, English or Chinese (default: Chinese if LC_ALL, LC_MESSAGES or LANG begins with zh)"
    )
    add("--language", choices=("en", "zh"), help=language)
    out = "file to save the picture to, .svg, .png or .pdf (default: LESSON.svg, unless that exists)"
    add("--out", metavar="FILE", help=out)
    add("--force", action="store_true", help="replace the file of the picture if it exists")


def _add_verify(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def _add_warmup(parser: Parser) -> None:
    dtype = "compile only what computes in 32 bits, or in 64 (default: both)"
    parser.add_argument("--dtype", choices=("float32", "float64"), help=dtype)
    for option, argument in (("activation", "MLP"), ("loss", "MLP"), ("optimizer", "MLP.fit")):
        text = f"compile only what this {option} needs, a name that {argument} takes; may be given several times "
        parser.add_argument(
            f"--{option}", action="append", type=_known(option), metavar="NAME", help=text + "(default: all)"
        )


def _known(option: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        from .. import optimizers  # NumPy is imported with these, and --help needs none
        from ..kernels import activations, losses

        tables: dict[str, Iterable[str]] = {
            "activation": activations.ACTIVATIONS, "loss": losses.LOSSES, "optimizer": optimizers.OPTIMIZERS
        }  # fmt: skip
        names = list(tables[option])
        if text not in names:
            known = ", ".join(map(repr, names))
            raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {known})")
        return text

    return read


def _add_common(parser: Parser, count: Callable[[str], int], target: str) -> None:
    add = parser.add_argument
    add(
        "--target",
        metavar="COLUMN",
        help="the CSV column of the target, by name or by position, the first being 0 and the last -1 "
        f"(default: {target})",
    )
    header = "whether the first line of the CSV file holds column names (default: detected)"
    add("--header", action=argparse.BooleanOptionalAction, default=None, help=header)
    add(
        "--delimiter",
        type=_delimiter,
        metavar="CHARACTER",
        help="the character between two columns of the CSV file, or the word tab (default: comma, semicolon, tab or |, "
        "whichever divides the first lines evenly)",
    )
    add("--decimal", choices=(".", ","), help="the decimal mark of the CSV file (default: .)")
    add(
        "--missing",
        type=_list,
        metavar="TEXTS",
        help="texts, separated by commas, that mean a missing value in the CSV file; '' for none except an empty field "
        "(default: NA, NaN, None, null, ?, - and the like)",
    )
    add(
        "--drop",
        type=_list,
        metavar="COLUMNS",
        help="columns of the CSV file to leave out, by name or position, separated by commas (default: a first column "
        "without a name that numbers the rows; '' keeps that, too)",
    )
    add(
        "--threads",
        type=count,
        metavar="N",
        help="largest number of threads; results do not depend on it (default: all processors)",
    )


def _by_kind(field: str) -> str:
    """Return the defaults of an option in words."""
    values = [getattr(settings, field) for settings in DEFAULTS.values()]
    words = [",".join(map(str, value)) if isinstance(value, tuple) else _word(value) for value in values]
    return "(default: " + ", ".join(f"{word} for {kind}" for kind, word in zip(DEFAULTS, words, strict=True)) + ")"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


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
    """Split texts at commas, except within quotes."""
    with contextlib.suppress(csv.Error, StopIteration):
        return tuple(item.strip() for item in next(csv.reader([text], skipinitialspace=True, strict=True)))
    if not text:
        return ()
    raise argparse.ArgumentTypeError(f"expected texts between commas, got {text!r}")
