"""Segments as items."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.openai.items import Item, Items


def test_deltas_are_appended_and_never_taken_back():
    item = Item()
    assert [item.delta(text) for text in ("a", "a b", "a b", "a", "a x", "a b c")] == ["a", " b", "", "", "", " c"]


@given(st.lists(st.text(alphabet="ab ", max_size=6)))
def test_the_deltas_together_are_a_text_that_was_said(texts):
    item = Item()
    together = "".join(item.delta(text) for text in texts)
    assert together == item.sent
    assert together == "" or together in texts


def test_items_live_from_their_first_event_to_their_final():
    items = Items()
    first = items.of(0)
    assert items.of(0) is first
    assert not items.is_over(0)
    assert items.commit(first) is None
    second = items.of(1)
    items.drop(0)
    assert items.is_over(0)
    assert not items.is_over(1)
    assert items.commit(second) == first.id
    items.clear()
    assert not items.is_over(0)
    assert items.of(0).id not in (first.id, second.id)
