"""Weights in eight and four bits: no element further off than half a step, zero stays zero, what is packed comes back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine.model.quantize import (
    BLOCKS,
    FORMATS,
    GROUPS,
    dequantised,
    empty,
    half_steps,
    packed,
    quantise,
    stored_bytes,
    unpacked,
)

ROUNDING = 1 + 1e-4


@st.composite
def weights(draw):
    """Of any magnitude, some of their elements zero and some far from the others; widths that no group divides, too."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shape = (*draw(st.lists(st.integers(1, 3), max_size=1)), draw(st.integers(1, 5)), draw(st.integers(1, 150)))
    weight = torch.randn(shape, generator=generator) * 10.0 ** draw(st.integers(-12, 6))
    weight[torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.5, 1.0]))] = 0.0
    weight[torch.rand(shape, generator=generator) < 0.02] *= draw(st.sampled_from([1.0, 30.0]))
    return weight.to(draw(st.sampled_from([torch.float32, torch.bfloat16])))


@pytest.mark.parametrize("format", FORMATS)
@given(weight=weights())
def test_no_element_is_off_by_more_than_half_a_step(format, weight):
    assert half_steps(weight, quantise(weight, format)).max() <= ROUNDING


@pytest.mark.parametrize("format", FORMATS)
@given(weight=weights())
def test_zero_stays_zero_and_shapes_stay(format, weight):
    back = dequantised(quantise(weight, format))
    assert back.shape == weight.shape
    assert (back[weight == 0] == 0).all()


@pytest.mark.parametrize("format", FORMATS)
@given(weight=weights())
def test_stored_bytes_are_predicted_exactly(format, weight):
    quantised = quantise(weight, format)
    room = empty(tuple(weight.shape), format, "cpu")
    *most, outputs, width = weight.shape
    for each in (quantised, room):
        assert each.nbytes == stored_bytes(outputs, width, format) * (most[0] if most else 1)
    assert (room.codes.shape, room.codes.dtype) == (quantised.codes.shape, quantised.codes.dtype)
    assert (room.scales.shape, room.scales.dtype) == (quantised.scales.shape, quantised.scales.dtype)
    assert room.width == quantised.width


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 4), blocks=st.integers(1, 3), format=st.sampled_from([*GROUPS]))
def test_packed_codes_are_unpacked_to_themselves(seed, rows, blocks, format):
    shape = rows, blocks * BLOCKS[format] // GROUPS[format], GROUPS[format]
    codes = torch.randint(-8, 8, shape, generator=torch.Generator().manual_seed(seed)).to(torch.int8)
    assert torch.equal(unpacked(packed(codes, format), format), codes)


@pytest.mark.parametrize(("format", "block"), BLOCKS.items())
def test_a_byte_holds_an_input_and_the_one_half_a_block_later(format, block):
    weight = torch.zeros(1, 2 * block)
    weight[0, block + 3], weight[0, block + 3 + block // 2] = -1.0, 0.5
    codes = quantise(weight, format).codes
    low, high = codes[0, block // 2 + 3] & 15, codes[0, block // 2 + 3] >> 4
    assert {int(low), int(high)} != {8}
    assert (codes != 0x88).sum() == 1


def test_finer_groups_have_scales_of_their_own():
    weight = torch.ones(1, 64)
    weight[0, 16:32] = 1e-3
    back = dequantised(quantise(weight, "int4-fine"))
    torch.testing.assert_close(back, weight, rtol=0.01, atol=0)
    assert dequantised(quantise(weight, "int4"))[0, 16:32].abs().max() == 0


@pytest.mark.parametrize(("format", "most"), [("int8", 0.01), ("fp8", 0.03), ("int4-fine", 0.075), ("int4", 0.10)])
def test_normal_weights_lose_little(format, most):
    weight = torch.randn(64, 704, generator=torch.Generator().manual_seed(1)) * 0.02
    error = (dequantised(quantise(weight, format)) - weight).norm() / weight.norm()
    assert most / 3 < error < most


def test_int4_searches_for_a_better_scale():
    weight = torch.randn(64, 704, generator=torch.Generator().manual_seed(1))
    groups = weight.unflatten(-1, (-1, GROUPS["int4"]))
    scale = groups.abs().amax(-1, keepdim=True) / 7
    plain = ((groups / scale).round() * scale).flatten(-2)
    found = dequantised(quantise(weight, "int4"))
    assert (found - weight).norm() < 0.87 * (plain - weight).norm()


@pytest.mark.parametrize("format", FORMATS)
def test_half_steps_show_the_codes_of_another_weight(format):
    one, other = torch.randn(2, 16, 96, generator=torch.Generator().manual_seed(1))
    assert half_steps(one, quantise(other, format)).max() > 5
    assert half_steps(one, quantise(one.flip(0), format)).max() > 5


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bad", [torch.tensor([[1.0, float("nan")]]), torch.tensor([[float("inf")]]), torch.ones(3)])
def test_weights_that_cannot_be_quantised_are_an_error(format, bad):
    with pytest.raises(ValueError, match=r"not finite|the shape \(3,\)"):
        quantise(bad, format)


@pytest.mark.parametrize(("format", "wanted"), [("int4-fine", 0.086), ("int4", 0.123)])
def test_finer_groups_help_more_where_there_are_outliers(format, wanted):
    torch.manual_seed(0)
    weight = torch.distributions.StudentT(5.0).sample((512, 2816))
    error = (dequantised(quantise(weight, format)) - weight).norm() / weight.norm()
    assert float(error) == pytest.approx(wanted, abs=0.003)
