"""The safetensors format: files of its own library are read, and incomplete ones are refused."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from engines.checkpoints.safetensors import dump, parse
from engines.errors import UserError
from engines.interfaces import Array

DTYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "U8": "u1", "BOOL": "?"}


def content(**arrays: Array) -> bytes:
    return b"".join(dump(arrays))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_every_type_and_shape_passes_to_the_library_and_back(dtype: str, shape: tuple[int, ...]) -> None:
    original = numpy.ones(shape, DTYPES[dtype])
    (ours,) = parse(save({"a": original}), "a file").values()
    assert (ours.dtype, ours.shape, bytes(ours.data)) == (dtype, shape, original.tobytes())
    theirs = load(content(a=ours))["a"]
    assert theirs.dtype == original.dtype and theirs.shape == shape and theirs.tobytes() == original.tobytes()


def test_the_numbers_begin_at_a_multiple_of_eight_bytes() -> None:
    for length in range(1, 12):
        header_bytes, header, *_ = dump({"n" * length: Array("U8", (1,), b"\0")})
        assert len(header) % 8 == 0 and int.from_bytes(header_bytes, "little") == len(header)


def test_metadata_of_the_library_is_not_an_array() -> None:
    assert list(parse(save({"a": numpy.ones(1)}, {"made by": "another"}), "a file")) == ["a"]


def test_a_file_cut_anywhere_is_refused_by_name() -> None:
    whole = content(a=Array("F64", (2,), bytes(16)), b=Array("U8", (3,), b"abc"))
    for length in range(len(whole)):
        with pytest.raises(UserError, match="a file is not a complete safetensors file"):
            parse(whole[:length], "a file")


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, 200), change=st.integers(1, 255), rest=st.binary(max_size=20))
def test_a_damaged_file_is_read_or_refused_without_another_exception(place: int, change: int, rest: bytes) -> None:
    harmed = bytearray(content(a=Array("F64", (2,), bytes(16)), b=Array("U8", (3,), b"abc")) + rest)
    harmed[place % len(harmed)] ^= change
    try:
        found = parse(bytes(harmed), "a file")
    except UserError:
        return
    assert all(isinstance(array, Array) for array in found.values())


@pytest.mark.parametrize("header", [b"[" * 100_000, b"[]", b"5", b'{"a": 1}', b'{"a": {"dtype": "F3"}}', b"\xff"])
def test_a_header_that_describes_no_arrays_is_refused(header: bytes) -> None:
    with pytest.raises(UserError, match="a file"):
        parse(len(header).to_bytes(8, "little") + header, "a file")


@pytest.mark.parametrize("dtype", ["F64", "F32", "F8"])
def test_numbers_that_do_not_fill_their_shape_are_refused(dtype: str) -> None:
    with pytest.raises(UserError, match="a file is not a complete"):
        parse(content(a=Array(dtype, (3,), bytes(16))), "a file")
