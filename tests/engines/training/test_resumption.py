"""A run continues exactly or is refused with a reason: checkpoints, settings, tokenizer and machine decisions."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from builders import events_of, finished_run, flip_a_bit, make_run, weights_sha256

from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.errors import SettingsError, UserError
from engines.runs.checked_json import PATH_SETTINGS, PATHS_EDITED, write_json
from engines.runs.decisions import describe_differences, parse_recorded_decisions, repeat_decisions
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from engines.settings.resolve import resolve
from engines.tensor import devices, micro_batch
from engines.training.fork import fork_run

MANIFEST = ("v", "run", "created_at", "checkpoints", "seed", "code")
TESTS_FOLDER = str(Path(__file__).parents[2])


def edit(run: Run, keep_checksum: bool = False, **settings: Any) -> None:
    """Change resolved settings in config.json, as with an editor."""
    config = json.loads(run.config_path.read_text())
    config["resolved"] |= settings
    if not keep_checksum:
        del config["checksum"]
    write_json(run.config_path, config)


def refusal(run: Run) -> str:
    """Return the message with which a worker refuses to continue the run."""
    before = read_history(run)
    assert launch(run).wait() == 1
    after = read_history(run)
    assert after.losses == before.losses, "the curve was dropped"
    assert after.ended and after.ended["traceback"] is None
    return str(after.ended["detail"])


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the run", "--checkpoint-dir"])
def test_a_run_whose_checkpoints_were_deleted_is_not_started_again_from_step_0(elsewhere: bool, tmp_path: Path) -> None:
    given = {"checkpoint_dir": str(tmp_path / "drive")} if elsewhere else {}
    run = finished_run(tmp_path, **given)
    folder = run.checkpoints_dir
    shutil.rmtree(tmp_path / "drive" if elsewhere else folder)
    detail = refusal(run)
    assert str(folder) in detail and "step 20 was recorded" in detail
    assert not folder.exists()  # an unmounted drive's folder is not filled


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    assert launch(run, "killed_worker", {"KILL_AT": "rename:1"}).wait() == -signal.SIGKILL
    assert launch(run).wait() == 0
    assert [event["from_step"] for event in events_of(run, "resumed")] == [0] and read_history(run).step == 20


def test_a_newest_checkpoint_that_is_missing_is_reported(tmp_path: Path) -> None:
    run = finished_run(tmp_path, checkpoint_every=5, keep_last=2)
    *_, older, newest = list_steps(run.checkpoints_dir)
    shutil.rmtree(get_checkpoint_path(run.checkpoints_dir, newest))
    assert launch(run).wait() == 0
    assert f"step {newest} was not found" in read_history(run).notes[0]["message"]
    assert events_of(run, "resumed")[0]["from_step"] == older


def test_settings_that_differ_from_those_of_the_checkpoint_are_refused_and_named(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    edit(run, lr=0.5, steps=40)
    detail = refusal(run)
    assert "lr is 0.5 and was" in detail and "steps is 40 and was 20" in detail


@pytest.mark.parametrize("name", ["lr", "seed", "steps", "temperature"])
def test_an_edited_manifest_is_detected_by_its_checksum(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    edit(run, keep_checksum=True, **{name: 7})
    with pytest.raises(UserError, match="damaged"):
        _ = run.config
    assert launch(run).wait() == 1
    assert "Traceback" not in run.log_path.read_text()


def without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The manifest without what leads to texts and checkpoints, which have hashes of their own."""
    kept = {
        group: {k: v for k, v in config[group].items() if k not in PATH_SETTINGS} for group in ("given", "resolved")
    }
    return {**{name: config.get(name) for name in MANIFEST if name != "checkpoints"}, **kept}


def test_a_flipped_bit_in_a_manifest_never_changes_what_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    whole, written = run.config_path.read_bytes(), run.config
    detected = 0
    for place in range(0, len(whole), 7):
        run.config_path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = run.config
            edited = found.pop(PATHS_EDITED, False)
            assert without_paths(found) == without_paths(written), whole[place - 10 : place + 10]
            assert edited or all(found[name] == written[name] for name in ("given", "resolved", "checkpoints"))
        except UserError:
            detected += 1
    assert detected > len(whole) // 14


def test_a_text_that_was_moved_is_found_at_the_path_in_the_manifest(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    moved = (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    edit(run, keep_checksum=True, data=str(moved))
    assert launch(run).wait() == 0


def test_a_fork_is_not_refused_for_what_it_changed(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    fork = fork_run(run, {"steps": 25, "lr": 0.001, "eval_every": 7})
    assert launch(fork).wait() == 0 and read_history(fork).step == 25
    edit(fork, lr=0.5)
    assert "lr is 0.5" in refusal(fork)


@pytest.mark.parametrize("change", [{"width": 8}, {"rotary": False}, {"optimizer": "sgd"}, {"tokenizer": "byte"}])
def test_settings_that_a_checkpoint_depends_on_cannot_change_in_a_fork(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be changed when a run is resumed"):
        fork_run(make_run(tmp_path), change)


def test_training_continues_with_the_tokenizer_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"tokenizer": "bpe", "vocab_size": 262, "checkpoint_every": 1, "steps": 3, "eval_tokens": 40}
    reference, run = finished_run(tmp_path, **how), make_run(tmp_path, **how)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    assert launch(run, "killed_worker", {"KILL_AT": "named:2"}).wait() == -signal.SIGKILL
    assert launch(run, "other_machine_worker", {"OTHER_MERGES": "1"}).wait() == 0
    assert weights_sha256(run, 3) == weights_sha256(reference, 3)
    folders = [get_checkpoint_path(one.checkpoints_dir, 3) / "tokenizer.json" for one in (run, reference)]
    assert folders[0].read_bytes() == folders[1].read_bytes()


def test_a_run_without_an_intact_checkpoint_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path, keep_last=1, keep_best=False)
    (step,) = list_steps(run.checkpoints_dir)
    flip_a_bit(get_checkpoint_path(run.checkpoints_dir, step) / "state.json")
    assert "no checkpoint is intact" in refusal(run) and "state.json" in refusal(run)


# --- decisions for the machine ----------------------------------------------------------------------


def engine(torch: str = "2.11", **choices: str) -> dict[str, Any]:
    listed = [{"setting": name.replace("_", "-"), "value": value, "why": ""} for name, value in choices.items()]
    return {"choices": listed, "gpu": None, "torch": torch, "flops_per_token": 1, "peak_flops": None}


def test_all_five_decisions_are_recorded_and_repeated_if_the_machine_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, mode="tensor", device="cpu", steps=3)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    for cores in ("4", "8", "2"):
        assert launch(run, "other_machine_worker", {"USABLE_CORES": cores}).wait() == 0
    starts = [parse_recorded_decisions(event) for event in events_of(run, "engine")]
    threads = starts[0]["threads"]
    assert starts[0] == {"device": "cpu", "dtype": "float32", "compile": "off", "threads": threads, "micro_batch": 2}
    assert threads in (1, 2, 4) and starts[1] == starts[0]
    assert starts[2] == {**starts[0], "threads": starts[2]["threads"]} and starts[2]["threads"] in (1, 2)
    assert not read_history(run).notes  # the number of threads changes no bit


def test_a_decision_is_repeated_unless_another_device_or_value_is_requested() -> None:
    before = engine(device="cuda", dtype="bfloat16", compile="regions", threads="15", micro_batch="8 of 64 rows")
    given = {"mode": "tensor", "model_kind": "gpt", "batch_size": 64}
    repeated = repeat_decisions(resolve(given), before)
    values = (repeated.device, repeated.dtype, repeated.compile, repeated.threads, repeated.micro_batch)
    assert values == ("cuda", "bfloat16", "regions", 15, 8)
    assert repeat_decisions(resolve({**given, "device": "cpu"}), before).dtype == "auto"
    assert repeat_decisions(resolve({**given, "dtype": "float32"}), before).dtype == "float32"
    assert repeat_decisions(resolve(given), engine(threads="²", device="toaster")) == resolve(given)


def test_a_decision_that_this_machine_cannot_repeat_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    requested = resolve({"mode": "tensor", "model_kind": "gpt"})
    on_gpu = repeat_decisions(requested, engine(device="cuda", dtype="bfloat16", threads="1"))
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    assert devices.keep_available(requested, on_gpu) == requested
    compiled = repeat_decisions(requested, engine(device="cpu", dtype="bfloat16", compile="on", threads="1"))
    assert devices.keep_available(requested, compiled).compile == "on"
    monkeypatch.setattr(devices, "_missing_for_compile", lambda device: "a C compiler")
    kept = devices.keep_available(requested, compiled)
    assert (kept.compile, kept.dtype, kept.threads) == ("auto", "bfloat16", 1)


def test_a_micro_batch_that_does_not_fit_is_distinguished_from_other_errors() -> None:
    settings = resolve({"mode": "tensor", "batch_size": 8, "micro_batch": 4})
    config = devices.resolve_device(resolve({"mode": "tensor", "device": "cpu"}))
    with pytest.raises(micro_batch.DoesNotFit, match="--micro-batch 4 does not fit"):
        micro_batch.MicroBatch(settings, 10, config).halve()


def test_another_gpu_or_torch_is_a_difference_and_fields_missing_in_old_logs_are_not() -> None:
    assert describe_differences(engine(device="cpu"), engine(device="cpu", threads="3")) == ""
    assert "torch is 2.12 and was 2.11" in describe_differences(engine(), engine(torch="2.12"))
    other = {**engine(), "gpu": "NVIDIA L4"}
    assert "gpu is NVIDIA L4 and was None" in describe_differences(engine(), other)
