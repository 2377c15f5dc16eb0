"""Stratified subsets, and what a dataset refuses to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchharness.datasets import Dataset, Split
from benchharness.errors import BenchError


def split(labels, name="set/test") -> Split:
    labels = np.asarray(labels, dtype=np.int64)
    volumes = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1, 1)
    ids = tuple(f"{name}/{index}" for index in range(len(labels)))
    return Split(ids=ids, volumes=volumes, labels=labels, masks=volumes[:, 0] > 3)


LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60)


@settings(deadline=None)
@given(LABELS, st.integers(1, 70))
def test_a_subset_is_stratified_ordered_and_of_the_size_asked_for(labels, limit):
    whole = split(labels)
    part = whole.subset(limit)
    assert len(part) == min(limit, len(whole))
    places = [int(identifier.rpartition("/")[2]) for identifier in part.ids]
    assert places == sorted(set(places))
    np.testing.assert_array_equal(part.labels, whole.labels[places])
    np.testing.assert_array_equal(part.volumes[:, 0, 0, 0, 0], places)
    np.testing.assert_array_equal(part.masks, whole.masks[places])
    classes, counts = np.unique(labels, return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        taken = int((part.labels == label).sum())
        if limit >= len(classes):
            assert taken >= 1
        if limit >= len(labels):
            assert taken == count


@settings(deadline=None)
@given(LABELS, st.integers(1, 60), st.integers(1, 60))
def test_within_a_class_a_smaller_share_is_a_subset_of_a_larger(labels, one, other):
    whole = split(labels)
    small, large = (whole.subset(limit) for limit in sorted((one, other)))
    for label in set(labels):
        fewer = {i for i, y in zip(small.ids, small.labels, strict=True) if y == label}
        more = {i for i, y in zip(large.ids, large.labels, strict=True) if y == label}
        assert fewer <= more or more <= fewer


def test_shares_follow_the_classes():
    part = split([0] * 60 + [1] * 30 + [2] * 10).subset(20)
    np.testing.assert_array_equal(np.bincount(part.labels), [12, 6, 2])


def test_the_choice_hangs_on_ids_not_on_volumes():
    labels = [0, 1] * 20
    assert split(labels).subset(8).ids == split(labels).subset(8).ids
    chosen = {identifier.rpartition("/")[2] for identifier in split(labels).subset(8).ids}
    renamed = {i.rpartition("/")[2] for i in split(labels, "other/test").subset(8).ids}
    assert chosen != renamed


def test_no_limit_copies_nothing():
    whole = split([0, 1, 1])
    assert whole.subset(None) is whole
    assert whole.subset(3) is whole


def dataset(**replaced) -> Dataset:
    settings_ = {
        "name": "own",
        "classes": ("a", "b"),
        "modality": "unknown",
        "digest": "md5:0",
        "default_recipe": "quick",
        "train": split([0, 1]),
        "val": split([0, 1]),
        "test": split([0, 1]),
    }
    return Dataset(**{**settings_, **replaced})


def test_a_dataset_knows_its_sizes():
    assert dataset().num_classes == 2
    assert dataset().in_channels == 1
    assert dataset().grid == (1, 1, 1)


def test_an_empty_split_is_refused():
    with pytest.raises(BenchError, match=r"^dataset 'own' has no volumes in its val split\.$"):
        dataset(val=split([]))


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(BenchError, match=r"labels 0\.\.2 in its test split but 2 classes"):
        dataset(test=split([0, 2]))
