"""Checkpoints, evaluations and samples between training steps, each at most once per step."""

import json
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

from engines.checkpoints.files import Checkpoint
from engines.checkpoints.saver import CheckpointSaver, SavedCheckpoint
from engines.data.entropy_bound import EntropyBound, stories_entropy_bound
from engines.data.packing import PackedTokens
from engines.data.tokenizers import Tokenizer
from engines.errors import UserError
from engines.generation.sampling import generate_documents
from engines.interfaces import LanguageModel, LearnerState
from engines.runs.best_eval import find_best_step
from engines.runs.history import History
from engines.runs.log import EventLog
from engines.runs.store import Run
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings
from engines.training.evaluation import Evaluation, Targets, evaluate
from engines.training.resumption import require_same_settings


class Callbacks:
    """Saves checkpoints, evaluates and samples, and records each as an event.

    The training loop decides when, and in which order: checkpoint, THEN evaluate, THEN sample.
    """

    def __init__(
        self, run: Run, settings: TrainSettings, packed: PackedTokens, tokenizer: Tokenizer, log: EventLog
    ) -> None:
        """Create the checkpoint folder. Raises UserError if that fails."""
        self._settings = settings
        self._packed = packed
        self._tokenizer = tokenizer
        self._log = log
        self._run = run
        self._config = run.config
        self.folder = run.checkpoints_dir
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--checkpoint-dir: {self.folder} cannot be created: {error.strerror}. Choose another folder."
            ) from None
        self._saver = CheckpointSaver(self.folder, settings.keep_last, self._record_saved)
        self.evals: dict[int, Evaluation] = {}  # by step
        self.best_step: int | None = None  # of the evaluation with the fewest bits per byte
        self.saved_step = -1  # of the newest checkpoint
        self.sampled_step = -1  # of the newest sample

    # --- checkpoint -------------------------------------------------------------------------------

    def save_checkpoint(self, step: int, learner: LearnerState, progress: dict[str, Any]) -> None:
        """Start to write a checkpoint. Every loss up to `step` must have been recorded and checked by the guards."""
        self._log.sync()
        best = self.best_step if self._settings.keep_best else None
        checkpoint = Checkpoint(learner, self._tokenizer.to_json(), self._config["resolved"], progress)
        self._saver.save(step, checkpoint, best)
        self.saved_step = step

    def wait_for_checkpoint(self) -> None:
        """Return when the last checkpoint is durable. Raises UserError if it could not be written."""
        self._saver.wait()

    def is_saving(self) -> bool:
        """Return whether a checkpoint is being written."""
        return self._saver.is_busy()

    def require_match(self, checkpoint: Checkpoint) -> None:
        """Raise UserError unless a checkpoint was written with the settings and the tokenizer of this run."""
        require_same_settings(self._run, self._config, checkpoint)
        if checkpoint.tokenizer != json.loads(json.dumps(self._tokenizer.to_json())):
            raise UserError(
                f"run {self._run.id} cannot be resumed: its text gives another tokenizer than that of the checkpoint. "
                "Restore the text, or start a new run with `train --config`."
            )

    def _record_saved(self, saved: SavedCheckpoint) -> None:
        self._log.emit(
            "checkpoint",
            step=saved.step,
            path=str(saved.path),
            bytes=saved.bytes,
            seconds=saved.seconds,
            removed=saved.removed,
        )
        if saved.warning:
            self._log.emit("note", message=saved.warning)

    # --- evaluation -------------------------------------------------------------------------------

    def evaluate(self, step: int, model: LanguageModel, elapsed: Callable[[], float]) -> None:
        """Score the validation tokens, once the previous checkpoint is durable. `elapsed`: seconds since the start."""
        self.wait_for_checkpoint()
        result = evaluate(model, self._targets, self._settings.context_length, self._log.flush_if_due)
        self.evals[step] = result
        self.best_step = self._find_best_step()
        floor = self._floor
        self._log.emit(
            "eval",
            step=step,
            loss=result.loss,
            bpb=result.bpb,
            tokens=result.tokens,
            bytes=result.bytes,
            seconds=round(elapsed(), 4),
            best=step == self.best_step,
            floor_bpb=floor.bpb if floor else None,
            floor_error=floor.error if floor else None,
        )

    @cached_property
    def _targets(self) -> Targets:
        return Targets.of(self._packed.val, self._tokenizer.token_bytes, self._settings.eval_tokens)

    @cached_property
    def _floor(self) -> EntropyBound | None:
        """The entropy bound of the text that is scored."""
        tokens, whole = self._targets.tokens, self._packed.val
        if self._packed.entropy_bound is None or len(tokens) == len(whole):
            return self._packed.entropy_bound
        return stories_entropy_bound(tokens, self._tokenizer)

    def _find_best_step(self) -> int | None:
        return find_best_step({step: result.bpb for step, result in self.evals.items()})

    # --- sample -----------------------------------------------------------------------------------

    def generate_sample(self, step: int, model: LanguageModel) -> None:
        """Generate text from the run's prompt and record it."""
        settings = self._settings
        sampling = SampleSettings(
            prompt=settings.prompt,
            temperature=settings.temperature,
            max_new_tokens=settings.sample_tokens,
            seed=settings.seed,
        )
        self._log.emit(
            "sample", step=step, prompt=settings.prompt, text=generate_documents(model, self._tokenizer, sampling)
        )
        self.sampled_step = step

    # --- resume and roll back ---------------------------------------------------------------------

    def restore(self, history: History, step: int) -> None:
        """Restore the evaluations and samples that an earlier worker of this run recorded up to `step`."""
        for event in history.evals:
            if event["step"] <= step:
                loss, bpb = (math.nan if event[name] is None else event[name] for name in ("loss", "bpb"))
                self.evals[event["step"]] = Evaluation(loss, bpb, event["tokens"], event["bytes"])
        self.sampled_step = max((event["step"] for event in history.samples if event["step"] <= step), default=-1)
        self.roll_back(step)

    def roll_back(self, step: int) -> None:
        """Drop results of steps later than `step`, the checkpoint to which training returns."""
        self.saved_step = min(self.saved_step, step)
        self.sampled_step = min(self.sampled_step, step)
        self.evals = {at: result for at, result in self.evals.items() if at <= step}
        self.best_step = self._find_best_step()
