import pytest
import torch

from helmsight.policies.modules.instruction_table import REMEMBERED, InstructionTable

KNOWN = {"pick up the milk": [1.0, 0.0], "pick up the butter": [0.0, 1.0]}


def asked_for(asked):
    def embed(instructions):
        asked.extend(instructions)
        return torch.full((len(instructions), 2), 0.5)

    return embed


def test_a_known_instruction_needs_no_language_model():
    asked = []
    table = InstructionTable(KNOWN, 2, asked_for(asked))
    rows = table(["pick up the butter", "pick up the milk"])
    assert rows.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert not asked


def test_task_indices_count_the_instructions_in_their_order():
    table = InstructionTable(KNOWN, 2, asked_for([]))
    assert table.rows(torch.tensor([1, 0, 1])).tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]


def test_an_unknown_instruction_is_read_once():
    asked = []
    table = InstructionTable(KNOWN, 2, asked_for(asked))
    for _ in range(3):
        assert table(["fetch the milk"]).tolist() == [[0.5, 0.5]]
    assert asked == ["fetch the milk"]


def test_an_instruction_first_read_for_a_decision_serves_gradients_too():
    table = InstructionTable(KNOWN, 2, asked_for([]))
    with torch.inference_mode():
        table(["fetch the milk"])
    scale = torch.ones(2, requires_grad=True)
    (table(["fetch the milk"]) * scale).sum().backward()
    assert scale.grad.tolist() == [0.5, 0.5]


def test_no_more_than_a_number_of_foreign_instructions_is_remembered():
    table = InstructionTable(KNOWN, 2, asked_for([]))
    table([f"fetch {number}" for number in range(2 * REMEMBERED)])
    assert len(table._asked) == REMEMBERED


def test_an_embedding_of_another_width_is_refused():
    with pytest.raises(ValueError, match="'sing' has 3 entries, the policy takes 2"):
        InstructionTable({"sing": [1.0, 2.0, 3.0]}, 2, asked_for([]))
