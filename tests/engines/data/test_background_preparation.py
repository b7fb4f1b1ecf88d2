"""Background preparation: its results are in the cache, and its errors are left to the second preparation."""

import os
import signal

from engines.data.background_preparation import BackgroundPreparation
from engines.data.prepare import prepare
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings


def settings(**given: object) -> TrainSettings:
    text = {"data": "stories", "corpus_size": "2M", "tokenizer": "bpe", "vocab_size": 300}
    return resolve({"model_kind": "gpt", "depth": 1, "steps": 1, "batch_size": 1, **text, **given})


def test_text_prepared_in_the_background_is_not_prepared_again() -> None:
    reports: list[tuple[str, int, int | None]] = []
    with BackgroundPreparation(settings()) as text:
        assert not text.is_done()
        text.wait(lambda *progress: reports.append(progress))
    assert reports and all(done >= 0 for _, done, _ in reports)
    again: list[str] = []
    found = prepare(settings(), lambda activity, done, total: again.append(activity))
    assert found.tokenizer.vocab_size == 300 and again == []


def test_text_that_was_prepared_before_is_done_at_once() -> None:
    prepare(settings(), lambda *progress: None)
    with BackgroundPreparation(settings()) as text:
        assert text._worker.has_reply(30.0) and text.is_done()


def test_errors_are_left_to_the_second_preparation() -> None:
    with BackgroundPreparation(settings(data="there-is-no-such.txt")) as text:
        text.wait(lambda *progress: None)
    with BackgroundPreparation(settings()) as text:
        os.kill(text._worker._process.pid, signal.SIGKILL)
        text.wait(lambda *progress: None)
        assert text.is_done()
