"""Token streams: a device gathers the rows of the batch, for tokens of every width."""

from array import array

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.interfaces import Batch
from engines.tensor.token_streams import TokenStreams

LARGEST = {"B": 0xFF, "H": 0xFFFF, "I": 0x7FFFFFFF}


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    typecode = draw(st.sampled_from("BHI"))
    high = LARGEST[typecode]
    tokens = draw(st.lists(st.one_of(st.integers(0, high), st.integers(high - 2, high)), min_size=1, max_size=30))
    starts = draw(st.lists(st.integers(0, len(tokens) - 1), min_size=1, max_size=5))
    return Batch(memoryview(array(typecode, tokens)), starts, draw(st.integers(1, 40)))


@given(batch=batches())
def test_gathered_rows_equal_the_rows_of_the_batch_also_beyond_the_end_of_the_stream(batch: Batch) -> None:
    rows = TokenStreams(torch.device("cpu")).gather_rows(batch)
    assert rows.dtype == torch.int64 and rows.tolist() == batch.rows()


@pytest.mark.parametrize("typecode", "BHI")
def test_the_largest_token_of_each_width_is_gathered(typecode: str) -> None:
    tokens = memoryview(array(typecode, [LARGEST[typecode], 0, LARGEST[typecode] // 2 + 1]))
    assert TokenStreams(torch.device("cpu")).gather_rows(Batch(tokens, [0], 3)).tolist() == [tokens.tolist()]


def test_a_new_stream_replaces_the_previous_one() -> None:
    streams = TokenStreams(torch.device("cpu"))
    first, second = Batch.from_rows([[1, 2, 3], [4, 5, 6]]), Batch.from_rows([[7, 8, 9], [0, 0, 1]])
    for batch in (first, second, first):
        assert streams.gather_rows(batch).tolist() == batch.rows()
    bytes_ = Batch(memoryview(array("B", [200, 201, 202])), [1], 3)
    assert streams.gather_rows(bytes_).tolist() == [[201, 202, 200]]


def test_a_read_only_stream_is_gathered() -> None:
    tokens = memoryview(bytes([1, 2, 250])).cast("B")
    assert TokenStreams(torch.device("cpu")).gather_rows(Batch(tokens, [0], 3)).tolist() == [[1, 2, 250]]
