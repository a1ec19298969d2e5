import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.policies.modules.attention_mask import additive_mask, sequence_mask
from helmsight.policies.modules.routed_trunk import (
    RoutedTrunk,
    Router,
    TrunkConfig,
    TrunkLayer,
    keep_counts,
    keep_shares,
)

VISION, CONTEXT, SLOTS, WIDTH = 10, 2, 4, 16


def trunk(seed=0, **changes):
    torch.manual_seed(seed)
    config = TrunkConfig(**{"width": WIDTH, "heads": 2, "layers": 5, "router_rank": 4, **changes})
    return RoutedTrunk(config, VISION, CONTEXT, SLOTS).eval()


def inputs(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, count, WIDTH, generator=generator) for count in (VISION, CONTEXT, SLOTS)
    ]


def test_the_schedule_keeps_the_published_share_over_32_layers():
    counts = keep_counts(TrunkConfig(layers=32), 1000)
    assert sum(counts) / 32_000 == pytest.approx(0.54, abs=0.005)
    assert (keep_shares(32, 0.15)[0], keep_shares(32, 0.15)[-1]) == (1.0, 0.15)


@given(st.integers(1, 12), st.integers(1, 40), st.floats(0.05, 1.0))
def test_what_a_layer_keeps_depends_on_the_schedule_alone(layers, vision, least):
    config = TrunkConfig(layers=layers, least_keep=least)
    counts = keep_counts(config, vision)
    assert len(counts) == layers
    assert counts == sorted(counts, reverse=True)
    assert all(1 <= count <= vision for count in counts)


@given(st.integers(0, 50), st.integers(1, VISION))
@settings(max_examples=20, deadline=None)
def test_a_router_keeps_that_many_tokens_in_their_order_whatever_they_hold(seed, keep):
    torch.manual_seed(0)
    vision, context, _ = inputs(4, seed)
    route = Router(WIDTH, 4)(vision, context, keep)
    assert route.places.shape == route.weights.shape == (4, keep)
    assert (route.places.diff(dim=1) > 0).all()
    assert ((route.weights > 0.0) & (route.weights < 1.0)).all()


def test_a_router_keeps_the_tokens_with_the_largest_weights():
    torch.manual_seed(0)
    vision, context, _ = inputs(4)
    router = Router(WIDTH, 4)
    every, few = router(vision, context, VISION), router(vision, context, 3)
    largest = every.weights.topk(3, dim=1).indices.sort(dim=1).values
    assert torch.equal(few.places, largest)


def test_routed_and_plain_are_equal_when_every_layer_keeps_everything():
    plain, routed = trunk(routed=False), trunk(routed=True, least_keep=1.0)
    routed.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(plain(*inputs()), routed(*inputs()))


def test_a_routed_layer_with_all_tokens_and_full_weight_is_an_ordinary_one():
    torch.manual_seed(0)
    layer = TrunkLayer(WIDTH, 2)
    tokens = torch.cat(inputs(), dim=1)
    mask = additive_mask(sequence_mask("coupled", VISION + CONTEXT, SLOTS))
    with torch.no_grad():
        routed = layer(tokens, mask, weights=torch.ones(3, VISION))
        assert torch.allclose(routed, layer(tokens, mask), atol=1e-6)


def test_the_weight_scales_the_feed_forward_of_vision_tokens_alone():
    torch.manual_seed(0)
    layer = TrunkLayer(WIDTH, 2)
    tokens = torch.cat(inputs(), dim=1)
    mask = additive_mask(sequence_mask("coupled", VISION + CONTEXT, SLOTS))
    with torch.no_grad():
        half = layer(tokens, mask, weights=torch.full((3, VISION), 0.5))
        whole = layer(tokens, mask)
    assert torch.equal(half[:, VISION:], whole[:, VISION:])
    assert (half[:, :VISION] - whole[:, :VISION]).abs().amax(dim=2).min() > 1e-4


def test_a_token_that_is_never_kept_has_no_part_in_routed_layers():
    # One ordinary layer, whose attention is shut off, then routed ones: what they leave out
    # cannot reach the slots.
    model = trunk(ordinary_above=0.99, layers=3)
    vision, context, slots = inputs(1)
    with torch.no_grad():
        model.layers[0].attention.output.weight.zero_()
        route = model.routers["1"](
            model.layers[0](vision, torch.zeros(VISION, VISION)),
            model.layers[0](context, torch.zeros(2, 2)),
            model.keep[1],
        )
        left_out = sorted(set(range(VISION)) - set(route.places[0].tolist()))[0]
        moved = vision.clone()
        # Along itself a normalisation undoes it, and so the router scores it as before.
        centred = moved[0, left_out] - moved[0, left_out].mean()
        moved[0, left_out] += 1e-4 * centred
        assert torch.equal(model(vision, context, slots), model(moved, context, slots))


def test_what_is_left_out_keeps_its_place_and_may_return():
    model = trunk()
    kept_places = []
    for router in model.routers.values():
        router.register_forward_hook(lambda _, __, route: kept_places.append(route.places))
    with torch.no_grad():
        model(*inputs())
    routed = [count for count in model.keep[:-1] if count < VISION]
    assert [places.shape[1] for places in kept_places] == routed
    assert all(places.max() < VISION for places in kept_places)


def test_every_router_learns():
    model = trunk().train()
    model(*inputs()).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    for router in model.routers.values():
        assert router.score.weight.grad.abs().max() > 0.0


def test_with_a_coupled_mask_later_vision_tokens_do_not_change_earlier_ones():
    layer = trunk(routed=False).layers[0]
    mask = additive_mask(sequence_mask("coupled", VISION + CONTEXT, SLOTS))
    tokens = torch.cat(inputs(), dim=1)
    changed = tokens.clone()
    changed[:, 6:] += 1.0
    with torch.no_grad():
        assert torch.equal(layer(tokens, mask)[:, :6], layer(changed, mask)[:, :6])


def test_one_sample_does_not_depend_on_the_others_of_its_batch():
    model = trunk()
    with torch.no_grad():
        together = model(*inputs(3))
        alone = model(*[tokens[1:2] for tokens in inputs(3)])
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_a_trunk_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least 1 layer"):
        TrunkConfig(layers=0)
