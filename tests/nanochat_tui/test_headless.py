"""Headless commands as real processes: exit codes, stdout, stderr, and runs that continue."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from lab import Lab
from patience import PATIENCE

from engines.runs import liveness
from engines.runs.history import read_history
from engines.runs.lookup import list_runs
from engines.training.create_run import create_run

QUICK = ("--steps", "20", "--batch-size", "2", "--eval-every", "5")
ENDLESS = ("--steps", "10000000", "--batch-size", "2", "--eval-every", "1000000")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def lab_with_run(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A folder in which `train` has run to its end."""
    lab = Lab(tmp_path_factory.mktemp("finished"))
    assert lab.on_text("train", *QUICK).returncode == 0
    return lab


@pytest.fixture
def trained(lab: Lab, lab_with_run: Lab) -> Lab:
    """A folder with a copy of the finished run."""
    shutil.copytree(lab_with_run.results, lab.results)
    return lab


def pairs(line: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in line.split())


def test_train_prints_its_result_on_stdout_and_the_rest_on_stderr(lab: Lab) -> None:
    result = lab.on_text("train", *QUICK, "--corpus-size", "5000")
    assert result.returncode == 0, result.stderr
    assert "warning: --corpus-size 5000 has no effect: it needs --data or --val-data stories." in result.stderr
    found = pairs(result.stdout)
    assert found["mode"] == "scalar" and found["model_kind"] == "bigram" and found["steps"] == "20"
    assert float(found["val_loss"]) > 0 and found["mean_loss_last_20"] and found["run"] == lab.run().id
    assert "step 20/20" in result.stderr and "sample:" in result.stderr


def test_json_prints_the_runs_own_events(lab: Lab) -> None:
    result = lab.on_text("train", "--json", *QUICK)
    assert result.stdout == lab.run().events_path.read_text()
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    assert kinds[0] == "run" and kinds[-1] == "ended" and "eval" in kinds


def test_the_files_used_and_skipped_and_shared_documents_are_reported(lab: Lab) -> None:
    folder = lab.folder / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("the same line\n" * 40)
    for number in range(3):
        (folder / f"{number}.rst").write_text("not read")
    result = lab("train", "--data", "docs", "--documents", "line", *QUICK)
    assert result.returncode == 0, result.stderr
    assert "docs: 1 file used, 3 skipped (3 .rst)" in result.stderr and "/**/*.rst'" in result.stderr
    assert "4 of 4 validation documents also occur in the training text" in result.stderr
    facts = lab.run().config["facts"]
    assert (facts["files_used"], facts["files_skipped"], facts["shared_documents"]) == (1, 3, 4)
    notes = [
        event["message"]
        for event in map(json.loads, lab.run().events_path.read_text().splitlines())
        if event["kind"] == "note"
    ]
    assert len(notes) == 2
    shown = lab("show", "last").stdout
    assert "files: 1 used, 3 skipped; 4 of 4 validation documents also in the training text" in shown


def test_all_wrong_values_are_reported_at_once(lab: Lab) -> None:
    result = lab.on_text("train", "--steps=-1", "--lr", "fast", "--stile", "classic")
    assert result.returncode == 2 and result.stdout == ""
    assert [word in result.stderr for word in ("--steps", "--lr", "--style?")] == [True] * 3
    assert not lab.results.exists()


def test_a_missing_corpus_is_one_sentence(lab: Lab) -> None:
    result = lab("train", "--data", "missing.txt")
    assert result.returncode == 1 and "missing.txt does not exist" in result.stderr


def test_a_binary_corpus_is_one_sentence_from_the_worker(lab: Lab) -> None:
    lab.text.write_bytes(b"good text\xff")
    result = lab.on_text("train", *QUICK)
    assert result.returncode == 1 and "byte 9" in result.stderr


def test_a_loss_that_is_not_finite_exits_4(lab: Lab) -> None:
    result = lab.on_text("train", *QUICK, "--optimizer", "sgd", "--lr", "1e300")
    assert result.returncode == 4 and "halted: nonfinite at step 2" in result.stderr


def test_another_guard_exits_3(lab: Lab) -> None:
    words = ("--steps", "600", "--batch-size", "2", "--guard-spike", "halt", "--guard-spike-sigmas", "0.1")
    result = lab.on_text("train", *words)
    assert result.returncode == 3 and "guard:   spike" in result.stderr
    assert read_history(lab.run()).checkpoints[-1]["step"] == read_history(lab.run()).step


def test_a_killed_worker_exits_5_and_the_resume_command_is_printed(lab: Lab) -> None:
    process = lab.start("train", "--data", str(lab.text), *ENDLESS)
    lab.wait_for_steps()
    run = lab.run()
    os.kill(read_history(run).runs[0]["pid"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5 and f"resume {run.id}" in stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_run_after_a_checkpoint(number: int, code: int, lab: Lab) -> None:
    process = lab.start("train", "--data", str(lab.text), *ENDLESS)
    lab.wait_for_steps()
    run = lab.run()
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    history = read_history(run)
    assert process.returncode == code and liveness.derive_state(run, history) == "stopped"
    assert history.checkpoints[-1]["step"] == history.step


@pytest.mark.parametrize("words", [["--help"], ["plan"], ["--json", "plan"]], ids=" ".join)
def test_a_closed_stdout_is_not_an_error(words: list[str], lab: Lab) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = lab.start(*words, stdout=writing)
    os.close(writing)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 141 and "Traceback" not in stderr and "Broken" not in stderr


def test_a_broken_pipe_leaves_the_run_running(lab: Lab) -> None:
    process = lab.start("--json", "train", "--data", str(lab.text), *ENDLESS, stderr=subprocess.DEVNULL)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=PATIENCE) == 141
    lab.wait_for_steps()
    run = lab.run()
    assert liveness.is_lock_held(run.lock_path)
    assert lab("stop", run.id).returncode == 0


def test_detach_prints_the_id_and_attach_shows_all_events(lab: Lab) -> None:
    run_id = lab.on_text("train", *ENDLESS, "--detach").stdout.strip()
    watcher = lab.start("attach", run_id, "--json")
    lab.wait_for_steps()
    run = lab.run()
    already = lab("resume", run_id, "--detach")
    assert already.returncode == 0
    assert f"run {run_id} is already running; follow it with: nanochat-tui --no-ui attach {run_id}" in already.stderr
    assert lab("pause", run_id[:6]).returncode == 0
    assert liveness.derive_state(run, read_history(run)) == "paused"
    resumed = lab("resume", "last", "--detach")
    assert resumed.returncode == 0 and f"resume requested for run {run_id}" in resumed.stderr
    assert lab("stop", run_id).returncode == 0
    stdout, _ = watcher.communicate(timeout=PATIENCE)
    assert stdout == run.events_path.read_text() and watcher.returncode == 0


def test_interrupting_attach_does_not_stop_the_run(lab: Lab) -> None:
    run_id = lab.on_text("train", *ENDLESS, "--detach").stdout.strip()
    lab.wait_for_steps()
    run = lab.run()
    watcher = lab.start("attach", run_id)
    assert watcher.stderr
    watcher.stderr.readline()
    watcher.send_signal(signal.SIGINT)
    _, stderr = watcher.communicate(timeout=PATIENCE)
    assert watcher.returncode == 130 and f"attach {run_id}" in stderr and liveness.is_lock_held(run.lock_path)
    lab("stop", run_id)


def test_resume_continues_to_the_end(lab: Lab) -> None:
    run = create_run({"data": str(lab.text), "steps": 20, "batch_size": 2}, lab.results)
    result = lab("resume", run.id)
    assert result.returncode == 0 and pairs(result.stdout)["steps"] == "20"


def test_runs_and_show_print_state_and_metrics(trained: Lab) -> None:
    run = trained.run()
    assert f"{run.id}  ✔ finished" in trained("runs").stdout
    assert json.loads(trained("runs", "--json").stdout)["best_bpb"] > 0
    shown = trained("show", "last").stdout
    assert "--steps 20" in shown and "parameters" in shown and "checkpoints steps" in shown
    assert json.loads(trained("show", "last", "--json").stdout)["state"] == "finished"


def test_rm_confirms_refuses_running_runs_and_deletes(lab: Lab) -> None:
    run_id = lab.on_text("train", *ENDLESS, "--detach").stdout.strip()
    assert "is running. Stop it first" in lab("rm", run_id, "--yes").stderr
    lab("stop", run_id)
    assert "Add --yes" in lab("rm", run_id).stderr
    assert lab("rm", run_id, "--yes").returncode == 0
    assert list_runs(lab.results) == []


def test_sample_uses_the_trained_model(trained: Lab) -> None:
    one, again = trained("sample", "--prompt", "the "), trained("sample", "--prompt", "the ")
    assert one.stdout.startswith("the ") and one.stdout == again.stdout and f"run {trained.run().id}" in one.stderr
    assert trained("sample", "--prompt", "the ", "--seed", "2").stdout != one.stdout
    assert trained("sample", "--count", "3", "--max-new-tokens", "5").stdout.count("\n") >= 3
    folder = trained.run().checkpoints_dir / "step-00000020"
    assert trained("sample", str(folder), "--prompt", "the ").stdout == one.stdout


def test_json_samples_have_the_probability_and_alternatives_of_each_token(trained: Lab) -> None:
    *tokens, done = map(json.loads, trained("sample", "--json", "--max-new-tokens", "4").stdout.splitlines())
    assert done["kind"] == "done" and done["text"] == "".join(token["text"] for token in tokens)
    for token in tokens:
        best = [alternative["probability"] for alternative in token["alternatives"]]
        assert 0 < token["probability"] <= best[0] <= 1 and best == sorted(best, reverse=True)


def test_sample_without_a_run_uses_counts_and_names_them(lab: Lab) -> None:
    result = lab("sample", "--max-new-tokens", "30")
    assert result.returncode == 0 and result.stdout.strip() and "a bigram of the counts in names" in result.stderr
    futuristic = lab("sample", "--data", str(lab.text), "--style", "futuristic", "--max-new-tokens", "300")
    assert len(futuristic.stdout) == 301


def test_sample_of_an_untrained_kind_is_one_sentence(lab: Lab) -> None:
    result = lab("sample", "--model-kind", "mini-gpt")
    assert result.returncode == 1 and "no mini-gpt run" in result.stderr


def test_an_unknown_character_in_a_prompt_is_named_with_its_position(trained: Lab) -> None:
    result = trained("sample", "--prompt", "the 日")
    assert result.returncode == 1 and "'日' at position 4" in result.stderr and result.stdout == ""


def test_options_override_a_toml_file_and_the_config_of_a_run(lab: Lab) -> None:
    (lab.folder / "run.toml").write_text('steps = 7\nbatch-size = 2\noptimizer = "sgd"\n')
    assert pairs(lab.on_text("train", "--config", "run.toml").stdout)["steps"] == "7"
    again = lab("train", "--config", str(lab.run().config_path), "--steps", "5")
    assert pairs(again.stdout)["steps"] == "5"
    assert lab.run().config["resolved"]["optimizer"] == "sgd"
    (lab.folder / "bad.toml").write_text('stepz = 7\nlr = "fast"\n')
    result = lab.on_text("train", "--config", "bad.toml")
    assert result.returncode == 2 and "stepz" in result.stderr and "lr must be" in result.stderr


def test_a_progress_bar_is_drawn_on_a_terminal(lab: Lab) -> None:
    import pty

    master, terminal = pty.openpty()
    process = lab.start("train", "--data", str(lab.text), *QUICK, stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(master, 65_536):
            shown += piece
    except OSError:  # on Linux: the terminal's other end is closed
        pass
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "20/20" in shown.decode() and "━" in shown.decode()


def test_resume_with_other_settings_creates_a_run_with_the_history_of_its_parent(trained: Lab) -> None:
    parent = trained.run()
    assert "is finished" in trained("resume", parent.id).stderr
    result = trained("resume", parent.id, "--steps", "30", "--lr", "0.01")
    assert result.returncode == 0 and pairs(result.stdout)["steps"] == "30"
    child = trained.run()
    assert child.config["parent"]["run"] == parent.id and child.config["parent"]["step"] == 20
    ours, theirs = read_history(child), read_history(parent)
    assert ours.losses[:20] == theirs.losses and ours.step == 30 and ours.lr[25] < 0.011
    assert f"run {parent.id}, step 20" in trained("show", child.id).stdout
    refused = trained("resume", parent.id, "--data", "names", "--optimizer", "sgd")
    assert refused.returncode == 2 and "--data cannot" in refused.stderr and "--optimizer cannot" in refused.stderr


def test_inspect_prints_parameters_attention_and_the_graph_of_a_value(lab: Lab) -> None:
    lab.on_text("train", "--model-kind", "mini-gpt", "--steps", "5", "--eval-every", "5", "--eval-tokens", "50")
    shown = lab("inspect", "last", "--text", "the dog")
    assert shown.returncode == 0 and "0.fc2" in shown.stdout
    assert "attention weights (%), layer 0, head 3" in shown.stdout
    found = json.loads(lab("inspect", "last", "--text", "the dog", "--json").stdout)
    assert found["text"] == "the dog" and len(found["attention"]) == 4 and found["loss"] > 0
    graph = lab("inspect", "last", "--node", "0.wq[3,2]").stdout
    assert "0.wq[3,2] = " in graph and "gradient" in graph
    assert "unknown node" in lab("inspect", "last", "--node", "wat[0,0]").stderr
