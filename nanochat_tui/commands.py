"""Table of the commands and their options, from which the parser, the help and the dispatch are built."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from engines.ablation.settings import StudySettings
from engines.bench.cpu.settings import CpuBenchSettings
from engines.bench.nanochat.settings import NanochatBenchSettings
from engines.settings.presets import PRESETS
from engines.settings.sample import CountSettings, SampleSettings
from engines.settings.train import TrainSettings

if TYPE_CHECKING:
    from engines.settings.user_config import UserConfig

PROGRAM = "nanochat-tui"


class Options(NamedTuple):
    """The parsed command line of one command: its own arguments, and settings that are parsed but not resolved."""

    json: bool
    arguments: dict[str, Any]
    settings: dict[str, Any]
    user_config: "UserConfig | None" = None  # with --user-config


class Argument(NamedTuple):
    """A positional argument or an option of one command; `keywords` are passed to `add_argument` unchanged."""

    name: str
    keywords: dict[str, Any]


class Command(NamedTuple):
    """A command: its help, its options, and the settings classes whose fields are options of it.

    The function `<name>(options)` in `headless/<module>.py` runs it; `module` is the command's name unless given.
    """

    help: str
    arguments: tuple[Argument, ...] = ()
    settings: tuple[type, ...] = ()
    is_read_only: bool = False  # starts, changes and writes nothing, so --readonly allows it
    output_option: str = ""  # the option that makes a read-only command write a file
    module: str = ""


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class _BenchSettings(TrainSettings, NanochatBenchSettings, CpuBenchSettings):
    """Options of `bench nanochat`, `bench cpu` and `bench step`; `--device` takes the values of `train`."""


def _flag(name: str, help: str) -> Argument:
    return Argument(name, {"action": "store_true", "help": help})


def _value(name: str, metavar: str, help: str, **keywords: Any) -> Argument:
    return Argument(name, {"metavar": metavar, "help": help, **keywords})


RESULTS_DIR = _value("--results-dir", "DIR", "results directory (default: $NANOCHAT_TUI_RESULTS, else ./results)")

_RUN = _value("run", "RUN", "run id, unique prefix of one, path of a run directory, or: last")
_RUNS = _value("run", "RUN", "runs to delete, with their checkpoints", nargs="+")
_MODEL = _value("run", "RUN", "run or checkpoint directory (default: the latest run that has a checkpoint)", nargs="?")
_CONFIG = _value("--config", "FILE", "TOML file of settings, or config.json of a run; options override it")
_PRESET = Argument(
    "--preset",
    {
        "choices": tuple(PRESETS),
        "help": "start from a named set of settings, which `plan --presets` lists; options and --config override it",
    },
)
_CHECKPOINT = _value("--checkpoint", "STEP", "step of the checkpoint, best, or last (default: last)")
_PROMPT_FILE = _value(
    "--prompt-file", "FILE", "read the prompt from a file, or from stdin if FILE is -; a trailing newline is removed"
)
_DEVICES = ("cpu", "cuda", "mps")

COMMANDS = {
    "train": Command(
        "train a model and follow the run",
        (_PRESET, _CONFIG, _flag("--detach", "print the run id and exit; the run continues in the background")),
        (TrainSettings,),
    ),
    "plan": Command(
        "show parameters, FLOPs, memory and time of a training run before it starts",
        (
            _PRESET,
            _CONFIG,
            _flag("--presets", "list all presets, with their cost on this machine"),
            _value("--device-name", "NAME", 'plan for the GPU of another machine, such as "NVIDIA H200"'),
        ),
        (TrainSettings,),
        is_read_only=True,
    ),
    "sample": Command(
        "generate text from a trained model",
        (
            _MODEL,
            _CHECKPOINT,
            _value("--mode", "scalar|tensor", "use the latest run of this engine"),
            _value("--model-kind", "bigram|mini-gpt|gpt", "use the latest run of this kind of model"),
            _PROMPT_FILE,
        ),
        (SampleSettings, CountSettings),
        is_read_only=True,
    ),
    "ablate": Command(
        "train variants with several seeds, and report which differences are significant",
        (
            _value(
                "--axis",
                "NAME=A,B",
                "a setting and the values to compare; repeatable (default: tie_lm_head and input_rmsnorm)",
                action="append",
            ),
            _PRESET,
            _value(
                "--config",
                "FILE",
                "TOML file of settings with tables [axes] and [study], or plan.json of a study; options override it",
            ),
            _value("--resume", "STUDY", "resume a study, or follow a running one; id, path, or: last"),
            _value("--pause", "STUDY", "pause a running study and its runs"),
            _value("--stop", "STUDY", "stop a running study; its runs keep a checkpoint to resume from"),
            _flag("--detach", "print the study id and exit; the study continues in the background"),
        ),
        (TrainSettings, StudySettings),
    ),
    "studies": Command("list all studies", is_read_only=True, module="ablate"),
    "runs": Command("list all runs", is_read_only=True),
    "show": Command("show details of a run", (_RUN,), is_read_only=True),
    "attach": Command("follow a run that is running, or replay one that has ended", (_RUN,), is_read_only=True),
    "stop": Command("stop a running run after it has written a checkpoint", (_RUN,)),
    "pause": Command("pause a running run", (_RUN,)),
    "resume": Command(
        "resume a run that was paused, stopped or killed; with settings, continue it as a new run",
        (_RUN, _flag("--detach", "exit at once; the run continues in the background")),
        (TrainSettings,),
    ),
    "rm": Command("delete runs", (_RUNS, _flag("--yes", "do not ask for confirmation; needs full run ids"))),
    "reproduce": Command(
        "train a run again from its manifest, and compare the results",
        (
            _RUN,
            _value("--tolerance", "X", "largest loss difference that counts as rounding (default: 0.001)"),
            _value("--data", "FILE", "where the training text is now, if it was moved"),
            _value("--val-data", "FILE", "where the validation text is now, if it was moved"),
            Argument("--device", {"choices": _DEVICES, "help": "device to train on (default: that of the run)"}),
        ),
    ),
    "report": Command(
        "write an HTML report about runs or studies, with curves, results and how to reproduce them",
        (
            _value("what", "RUN|STUDY", "runs and studies, all in one file", nargs="+"),
            _value("--out", "FILE", "output file (default: reports/<first name>.html in the results directory)"),
        ),
    ),
    "compare": Command(
        "compare runs side by side: their results, and the settings in which they differ",
        (
            _value("run", "RUN", "two or more runs", nargs="+"),
            _value("--html", "FILE", "also write an HTML page with overlaid curves"),
        ),
        is_read_only=True,
        output_option="html",
    ),
    "export": Command(
        "export the steps and evaluations of a run to other tools",
        (
            _RUN,
            Argument(
                "--format",
                {
                    "choices": ("csv", "jsonl", "tensorboard", "wandb-offline"),
                    "default": "csv",
                    "help": "output format; tensorboard and wandb-offline need the extra of that name (default: csv)",
                },
            ),
            _value("--out", "DIR", "output directory (default: exports/<run>/<format> in the results directory)"),
        ),
    ),
    "inspect": Command(
        "inspect the values inside a scalar run: parameters, attention, and the graph of any value",
        (
            _RUN,
            _CHECKPOINT,
            _value("--text", "TEXT", "text to compute the loss of (default: the first characters of the vocabulary)"),
            _value("--node", "NAME[I,J]", "a value: show what it is computed from, and its gradient"),
            Argument("--depth", {"metavar": "N", "default": "2", "help": "levels of the graph to show (default: 2)"}),
            Argument("--top", {"metavar": "N", "default": "5", "help": "values to show per level (default: 5)"}),
        ),
        is_read_only=True,
    ),
    "doctor": Command(
        "check this machine: Python, packages, disk, devices, and a short training run on each",
        (
            Argument(
                "--device",
                {"choices": ("auto", *_DEVICES), "default": "auto", "help": "device to train on (default: all)"},
            ),
        ),
    ),
    "bench": Command(
        "measure this program, alone or against karpathy/nanochat and nanoGPT",
        (
            Argument(
                "benchmark",
                {
                    "choices": ("log", "scalar", "step", "ui", "cpu", "laptop", "nanochat"),
                    "help": "log: the event log and start-up; scalar: the scalar engine; step: the time of a training "
                    "step, at several depths or with given settings; ui: the dashboard; cpu: training and generation "
                    "on this CPU, also with karpathy/nanoGPT and karpathy/nanochat if their trees are given; "
                    "laptop: what the preset laptop promises; nanochat: a comparison with karpathy/nanochat",
                },
            ),
        ),
        (_BenchSettings,),
    ),
}
