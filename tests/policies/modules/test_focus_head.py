import torch

from helmsight.policies.modules.focus_head import FocusHead, focus_label


def test_the_label_is_seen_from_the_hand_in_parts_of_a_reach():
    focus = torch.tensor([[0.3, 0.0, 1.0, 0.1, -0.2, 0.9]])
    hand = torch.tensor([[0.1, 0.0, 1.2]])
    expected = torch.tensor([[1.0, 0.0, -1.0, 0.0, -1.0, -1.5]])
    torch.testing.assert_close(focus_label(focus, hand), expected)


def test_it_learns_where_among_its_tokens_a_thing_is():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = FocusHead(width=8, tokens=9, context=2)
    places = torch.randint(0, 9, (256,), generator=generator)
    tokens = 0.1 * torch.randn(256, 9, 8, generator=generator)
    tokens[torch.arange(256), places, 0] += 3.0
    label = torch.zeros(256, 6)
    label[:, 0], label[:, 1] = places % 3 - 1.0, places // 3 - 1.0
    context = torch.zeros(256, 2, 8)
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    for _ in range(80):
        loss = (head(tokens[:200], context[:200]) - label[:200]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        unseen = (head(tokens[200:], context[200:]) - label[200:]).abs().max()
    assert unseen < 0.5
