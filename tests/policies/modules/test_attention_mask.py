import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helmsight.policies.modules.attention_mask import sequence_mask

sizes = st.tuples(st.integers(1, 12), st.integers(1, 6))


@given(sizes)
def test_action_slots_see_everything_before_them_and_one_another(sizes):
    context, slots = sizes
    assert sequence_mask("coupled", context, slots)[context:].all()


@given(sizes)
def test_nothing_before_the_slots_sees_an_action(sizes):
    context, slots = sizes
    for kind in ("coupled", "bidirectional", "causal"):
        assert not sequence_mask(kind, context, slots)[:context, context:].any()


@given(sizes)
def test_the_coupled_context_is_causal(sizes):
    context, slots = sizes
    block = sequence_mask("coupled", context, slots)[:context, :context]
    assert torch.equal(block, torch.ones(context, context).tril().bool())


@given(st.integers(2, 10), st.integers(1, 4), st.data())
def test_leaving_tokens_out_in_order_gives_the_mask_of_a_shorter_sequence(context, slots, data):
    kept = sorted(data.draw(st.sets(st.integers(0, context - 1), min_size=1)))
    places = torch.tensor([*kept, *range(context, context + slots)])
    for kind in ("coupled", "bidirectional", "causal"):
        whole = sequence_mask(kind, context, slots)
        assert torch.equal(whole[places][:, places], sequence_mask(kind, len(kept), slots))


def test_an_unknown_mask_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown mask 'open'; expected one of coupled"):
        sequence_mask("open", 2, 2)
