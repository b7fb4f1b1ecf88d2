"""Autograd: the gradient of every operation agrees with finite differences, and a tape leaves no garbage."""

import gc
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rust_program import floored_cross_entropy

from engines.scalar import autograd
from engines.scalar.autograd import Node, Tape
from engines.scalar.kernels import Matrix, matmul_transposed, transpose
from engines.scalar.trace import local_derivatives

Computation = Callable[[Tape, list[Node]], Node]
STEP = 1e-5


def matrices(*shapes: tuple[int, int]) -> st.SearchStrategy[list[Matrix]]:
    number = st.floats(-2, 2).filter(lambda x: abs(x) > 0.01)  # away from 0, where relu has no derivative
    return st.tuples(*(
        st.lists(st.lists(number, min_size=columns, max_size=columns), min_size=rows, max_size=rows)
        for rows, columns in shapes
    )).map(list)  # fmt: skip


def weighted_sum(matrix: Matrix) -> float:
    """Reduce a matrix to one number, with a different weight for each element."""
    return math.fsum(math.cos(3 * i + j) * x for i, row in enumerate(matrix) for j, x in enumerate(row))


def gradients(compute: Computation, values: list[Matrix]) -> list[Matrix]:
    nodes = [Node([row[:] for row in value], "input") for value in values]
    tape = Tape()
    result = compute(tape, nodes)
    tape.backward(result, [[math.cos(3 * i + j) for j in range(len(row))] for i, row in enumerate(result.data)])
    return [node.grad or [[0.0] * len(row) for row in node.data] for node in nodes]


def value(compute: Computation, values: list[Matrix]) -> float:
    return weighted_sum(compute(Tape(), [Node(matrix, "input") for matrix in values]).data)


def assert_gradients_agree(compute: Computation, values: list[Matrix]) -> None:
    found = gradients(compute, values)
    for which, matrix in enumerate(values):
        for i, row in enumerate(matrix):
            for j, own in enumerate(row):
                row[j] = own + STEP
                above = value(compute, values)
                row[j] = own - STEP
                below = value(compute, values)
                row[j] = own
                assert found[which][i][j] == pytest.approx((above - below) / (2 * STEP), rel=1e-4, abs=1e-6)


OPERATIONS: dict[str, tuple[tuple[tuple[int, int], ...], Computation]] = {
    "embedding": (((4, 3),), lambda tape, n: autograd.embedding(tape, n[0], [2, 0, 2, 1])),
    "add": (((2, 3), (2, 3)), lambda tape, n: autograd.add(tape, n[0], n[1])),
    "add to itself": (((2, 3),), lambda tape, n: autograd.add(tape, n[0], n[0])),
    "linear": (((2, 3), (4, 3)), lambda tape, n: autograd.linear(tape, n[0], n[1])),
    "linear with itself": (((3, 3),), lambda tape, n: autograd.linear(tape, n[0], n[0])),
    "rmsnorm": (((2, 3),), lambda tape, n: autograd.rmsnorm(tape, n[0], 1e-5)),
    "relu squared": (((2, 3),), lambda tape, n: autograd.relu_squared(tape, n[0])),
    "attention": (((4, 4),) * 3, lambda tape, n: autograd.attention(tape, n[0], n[1], n[2], 2, [4])),
    "attention within two sequences": (
        ((4, 2),) * 3,
        lambda tape, n: autograd.attention(tape, n[0], n[1], n[2], 1, [1, 3]),
    ),
    "cross entropy": (
        ((2, 4),),
        lambda tape, n: autograd.cross_entropy(tape, n[0], [[(1, 0.5)], [(0, 0.2), (3, 0.3)]]),
    ),
    "floored cross entropy": (
        ((2, 4),),
        lambda tape, n: floored_cross_entropy(tape, n[0], [[(1, 0.5)], [(0, 0.5)]], 0.1),
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_gradients_agree_with_finite_differences(operation: str, data: st.DataObject) -> None:
    shapes, compute = OPERATIONS[operation]
    assert_gradients_agree(compute, data.draw(matrices(*shapes)))


@settings(deadline=None, max_examples=10)
@given(matrices((3, 4), (4, 4), (4, 4)))
def test_the_gradient_of_a_whole_block_agrees_with_finite_differences(values: list[Matrix]) -> None:
    def block(tape: Tape, nodes: list[Node]) -> Node:
        x, w, v = nodes
        h = autograd.rmsnorm(tape, x, 1e-5)
        mixed = autograd.attention(tape, autograd.linear(tape, h, w), h, autograd.linear(tape, h, v), 2, [3])
        return autograd.cross_entropy(tape, autograd.add(tape, x, mixed), [[(0, 1.0)], [(1, 1.0)], [(2, 1.0)]])

    assert_gradients_agree(block, values)


@given(matrices((2, 3), (4, 3)))
def test_local_derivatives_of_a_product_are_the_other_factors_largest_first(values: list[Matrix]) -> None:
    tape = Tape()
    x, w = (Node(matrix, name) for matrix, name in zip(values, "xw", strict=True))
    y = autograd.linear(tape, x, w)
    derivatives = local_derivatives(y, 1, 2)
    from_x = {(i, j): d for node, i, j, d in derivatives if node is x}
    from_w = {(i, j): d for node, i, j, d in derivatives if node is w}
    assert from_x == {(1, j): value for j, value in enumerate(w.data[2])}
    assert from_w == {(2, j): value for j, value in enumerate(x.data[1])}
    assert [abs(d) for *_, d in derivatives] == sorted((abs(d) for *_, d in derivatives), reverse=True)
    assert x.grad is None and y.grad is None  # gradients are restored


def test_training_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    tape = Tape()
    x = autograd.linear(tape, Node([[1.0, 2.0]], "x"), Node([[1.0, 2.0], [3.0, 4.0]], "w"))
    loss = autograd.cross_entropy(tape, autograd.rmsnorm(tape, x, 1e-5), [[(0, 1.0)]])
    tape.backward(loss)
    del tape, x, loss
    assert gc.collect() == 0
    gc.enable()


@given(rows=st.integers(1, 4), others=st.integers(1, 4), length=st.integers(1, 200), seed=st.integers(0, 9))
def test_matrix_products_of_any_length_are_sums_of_products(rows: int, others: int, length: int, seed: int) -> None:
    left = [[math.sin(seed + i * 7 + k) for k in range(length)] for i in range(rows)]
    right = [[math.cos(seed + i * 5 + k) for k in range(length)] for i in range(others)]
    for i, row in enumerate(matmul_transposed(left, right)):
        for j, found in enumerate(row):
            assert found == pytest.approx(math.fsum(a * b for a, b in zip(left[i], right[j], strict=True)), abs=1e-12)
    assert transpose(transpose(left)) == left
