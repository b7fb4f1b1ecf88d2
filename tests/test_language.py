"""tools/check_language.py finds the wording that the language standard rules out, and leaves standard English alone."""

import runpy
from pathlib import Path

import pytest

CHECK = runpy.run_path(str(Path(__file__).resolve().parent.parent / "tools" / "check_language.py"))


@pytest.mark.parametrize(
    "text",
    [
        "The log tells how a run ended.",
        "6,546 tokens a second",
        "keys are heard at once",
        "'--foo' is no flag of train",
        "the weights lie beside the manifest",
        "The run goes on.",
        "gradient by it",
    ],
)
def test_wording_that_must_not_return_is_found(text: str) -> None:
    assert list(CHECK["check_text"]("page.md", text))


@pytest.mark.parametrize(
    "text",
    [
        "The log shows how a run ended.",
        "6,546 tokens per second",
        "It is hard to tell apart.",
        "unknown option --foo",
        "The run continues from step 240.",
        "the gradient with respect to the weight",
    ],
)
def test_standard_english_is_accepted(text: str) -> None:
    assert not list(CHECK["check_text"]("page.md", text))


def test_docstrings_that_begin_with_a_question_word_and_private_metaphors_in_names_are_found() -> None:
    source = '''
def told_of(crew: int) -> int:
    """What the crew has done."""
    wanted = crew
    return wanted
'''
    found = {match.found for match in CHECK["check_python"]("module.py", source)}
    assert found == {"told_of", "crew", "wanted", "docstring: What …"}


def test_names_are_split_into_words() -> None:
    assert CHECK["split_name"]("_tellHTTPViewer_of2") == ["tell", "http", "viewer", "of", "2"]
