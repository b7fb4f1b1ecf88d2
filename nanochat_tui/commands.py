"""Which commands there are and what each takes: the table behind the parser, the help and the dispatch."""

import dataclasses
from typing import Any, NamedTuple

from engines.ablation.settings import StudySettings
from engines.bench.nanochat.settings import RaceSettings
from engines.settings.sample import CountSettings, SampleSettings
from engines.settings.train import TrainSettings

PROGRAM = "nanochat-tui"


class Options(NamedTuple):
    """What was typed: `words` are the command's own arguments, `settings` are parsed but not resolved."""

    json: bool
    words: dict[str, Any]
    settings: dict[str, Any]


class Argument(NamedTuple):
    """A positional or a flag of one command; `how` goes to argparse as it is."""

    name: str
    how: dict[str, Any]


class Command(NamedTuple):
    """`module` names the file in `headless/` where a function of the command's name does the work."""

    module: str
    help: str
    arguments: tuple[Argument, ...] = ()
    settings: tuple[type, ...] = ()
    reads_only: bool = False  # starts, changes and writes nothing, so --readonly allows it
    writing: str = ""  # the option with which even such a command writes a file


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class _BenchSettings(TrainSettings, RaceSettings):
    """The flags of `bench`: of a race, and of the gpt whose step is measured. It only declares them; --device, which
    is of both, takes what a training takes."""


def _flag(name: str, help: str) -> Argument:
    return Argument(name, {"action": "store_true", "help": help})


def _value(name: str, metavar: str, help: str) -> Argument:
    return Argument(name, {"metavar": metavar, "help": help})


_RUN = _value("run", "RUN", "run id, any unambiguous beginning of it, a path, or: last")
_RUNS = Argument("run", {"metavar": "RUN", "nargs": "+", "help": "runs to delete, with their checkpoints"})
_SPEAKER = Argument(
    "run", {"metavar": "RUN", "nargs": "?", "help": "run, or a checkpoint's folder (default: the latest run with one)"}
)

_CONFIG = _value("--config", "FILE", "settings from TOML or from a run's config.json; flags win")

COMMANDS = {
    "train": Command(
        "train",
        "train a model and watch it",
        (
            _CONFIG,
            _flag("--detach", "print the run id and leave; the run goes on"),
        ),
        (TrainSettings,),
    ),
    "plan": Command(
        "plan",
        "tell what a training run would take, before anything runs",
        (
            _CONFIG,
            _value("--device-name", "NAME", 'plan for another machine\'s GPU, such as "NVIDIA H200"'),
        ),
        (TrainSettings,),
        reads_only=True,
    ),
    "sample": Command(
        "sample",
        "let a trained model speak",
        (
            _SPEAKER,
            _value("--checkpoint", "STEP", "step number, best, or last (default: last)"),
            _value("--mode", "scalar|tensor", "take the latest run of this engine"),
            _value("--model-kind", "bigram|mini-gpt", "take the latest run of this kind"),
            _value(
                "--prompt-file",
                "FILE",
                "read the prompt from a file, or from stdin if it is -; a trailing newline is removed",
            ),
        ),
        (SampleSettings, CountSettings),
        reads_only=True,
    ),
    "ablate": Command(
        "ablate",
        "train variants with several seeds, and tell which differ by more than noise",
        (
            Argument(
                "--axis",
                {
                    "metavar": "NAME=A,B",
                    "action": "append",
                    "help": "a setting and values to try; may be repeated (default: tie_lm_head and input_rmsnorm)",
                },
            ),
            _value("--config", "FILE", "TOML of settings with tables [axes] and [study], or a plan.json; flags win"),
            _value("--resume", "STUDY", "go on with a study, or follow one that lives; a name, a path, or: last"),
            _value("--pause", "STUDY", "hold a live study and its runs"),
            _value("--stop", "STUDY", "end a live study; its runs keep a checkpoint to go on from"),
            _flag("--detach", "print the study's name and leave; it goes on"),
        ),
        (TrainSettings, StudySettings),
    ),
    "studies": Command("ablate", "list all studies", reads_only=True),
    "runs": Command("runs", "list all runs", reads_only=True),
    "show": Command("runs", "show details of one run", (_RUN,), reads_only=True),
    "attach": Command("train", "follow a run, running or ended", (_RUN,), reads_only=True),
    "stop": Command("control", "end a live run after a checkpoint", (_RUN,)),
    "pause": Command("control", "hold a live run", (_RUN,)),
    "resume": Command(
        "train",
        "go on with a paused, ended or dead run; with settings: a new run that goes on from there",
        (_RUN, _flag("--detach", "do not follow the run")),
        (TrainSettings,),
    ),
    "rm": Command("control", "delete runs", (_RUNS, _flag("--yes", "do not ask"))),
    "reproduce": Command(
        "reproduce",
        "train a run again from its manifest, and tell whether it came out the same",
        (
            _RUN,
            _value("--tolerance", "X", "largest difference of a loss that still counts as rounding (default: 0.001)"),
            _value("--data", "FILE", "where the run's text lies now, if it has moved"),
            _value("--val-data", "FILE", "where its validation text lies now"),
            Argument(
                "--device",
                {"choices": ("cpu", "cuda", "mps"), "help": "train there (default: where the run was trained)"},
            ),
        ),
    ),
    "report": Command(
        "report",
        "write an HTML file about runs or studies, with curves, figures and how to have them again",
        (
            Argument("what", {"metavar": "RUN|STUDY", "nargs": "+", "help": "runs and studies, in one file"}),
            _value("--out", "FILE", "where (default: reports/ in the results directory, under the first one's name)"),
        ),
    ),
    "compare": Command(
        "compare",
        "lay runs side by side: what they reached, and the settings in which they differ",
        (
            Argument("run", {"metavar": "RUN", "nargs": "+", "help": "two runs or more"}),
            _value("--html", "FILE", "write a page too, with their curves over each other"),
        ),
        reads_only=True,
        writing="html",
    ),
    "export": Command(
        "export",
        "write a run's steps and evaluations for other tools",
        (
            _RUN,
            Argument(
                "--format",
                {
                    "choices": ("csv", "jsonl", "tensorboard", "wandb-offline"),
                    "default": "csv",
                    "help": "the last two need the extra of that name (default: csv)",
                },
            ),
            _value("--out", "DIR", "where (default: exports/ in the results directory, under the run's name)"),
        ),
    ),
    "inspect": Command(
        "inspect",
        "look at the numbers inside a scalar run: parameters, attention, the graph around one number",
        (
            _RUN,
            _value("--checkpoint", "STEP", "step number, best, or last (default: last)"),
            _value("--text", "TEXT", "text to compute the loss of (default: the alphabet's beginning)"),
            _value("--node", "NAME[I,J]", "one number: where it comes from, what the loss' gradient by it is"),
            Argument("--depth", {"metavar": "N", "default": "2", "help": "levels of numbers behind it (default: 2)"}),
            Argument("--top", {"metavar": "N", "default": "5", "help": "numbers shown on each level (default: 5)"}),
        ),
        reads_only=True,
    ),
    "doctor": Command(
        "doctor",
        "tell what this machine has, and try whether training works on it",
        (
            Argument(
                "--device",
                {"choices": ("auto", "cpu", "cuda", "mps"), "default": "auto", "help": "train there (auto: on all)"},
            ),
        ),
    ),
    "bench": Command(
        "bench",
        "measure this program, alone or against karpathy/nanochat",
        (
            Argument(
                "what",
                {
                    "choices": ("log", "scalar", "step", "ui", "nanochat"),
                    "help": "the event log and start-up; the scalar engine; where a step's time goes, in usual sizes "
                    "or with the settings of a training; the dashboard; the race against nanochat",
                },
            ),
        ),
        (_BenchSettings,),
    ),
}

RESULTS_DIR = _value("--results-dir", "DIR", "where runs are kept (default: ./results)")
