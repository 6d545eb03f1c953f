"""Feature definitions change by a matrix: what is allowed depends on what the live models read."""

import pytest

from feature_repo.evolution import Change, changes

OLD = {"user_features": {"orders": "int64", "tenure": "int64"}, "item_features": {"price": "float64"}}


def with_user_features(**features: str) -> dict[str, dict[str, str]]:
    return {**OLD, "user_features": features}


MATRIX = [
    # change, new definitions, read by live models, kind, allowed
    ("add", with_user_features(orders="int64", tenure="int64", basket="float64"), set(), "add", True),
    ("drop, not read", with_user_features(orders="int64"), {"orders"}, "drop", True),
    ("drop, read", with_user_features(orders="int64"), {"tenure"}, "drop", False),
    ("retype, not read", with_user_features(orders="float64", tenure="int64"), set(), "retype", False),
    ("retype, read", with_user_features(orders="float64", tenure="int64"), {"orders"}, "retype", False),
    ("rename, not read", with_user_features(purchases="int64", tenure="int64"), set(), "rename", True),
    ("rename, read", with_user_features(purchases="int64", tenure="int64"), {"orders"}, "rename", False),
]


@pytest.mark.parametrize(("name", "new", "read", "kind", "allowed"), MATRIX, ids=[row[0] for row in MATRIX])
def test_matrix(name: str, new: dict, read: set[str], kind: str, allowed: bool) -> None:
    """Adding is free, dropping and renaming need that no live model reads the feature, retyping is never done in place."""
    [change] = changes(OLD, new, read_by_live_models=read)
    assert (change.kind, change.allowed) == (kind, allowed)


def test_no_change_is_no_change() -> None:
    """The same definitions have nothing to say."""
    assert changes(OLD, OLD, read_by_live_models={"orders"}) == []


def test_a_new_view_is_additions() -> None:
    """A whole new view adds its features."""
    new = {**OLD, "user_history": {"items": "list<string>"}}
    expected = [Change("add", "user_history:items", True, "rows written before it read as null")]
    assert changes(OLD, new, read_by_live_models=set()) == expected


def test_two_candidates_are_no_rename() -> None:
    """When it is not clear what became of a feature, it counts as dropped, which is the stricter reading."""
    new = with_user_features(tenure="int64", a="int64", b="int64")
    assert [c.kind for c in changes(OLD, new, read_by_live_models=set())] == ["drop", "add", "add"]
