"""Blocks of MedViT-3D: shapes, key reduction, refusals."""

import pytest
import torch

from medvit3d.blocks import (
    ConvAttention,
    ConvBlock,
    PatchEmbedding,
    SelfAttention,
    TransformerBlock,
    reduce_tokens,
)


@pytest.mark.parametrize(
    ("grid", "ratio", "keys"),
    [
        ((4, 4, 4), 4, (4, 4, 4)),
        ((2, 2, 2), 2, (2, 2, 2)),
        ((8, 8, 8), 4, (4, 4, 4)),
        ((16, 16, 16), 4, (4, 4, 4)),
        ((18, 17, 16), 4, (5, 5, 4)),
        ((1, 8, 9), 2, (1, 4, 5)),
    ],
)
def test_spatial_reduction_keeps_the_stated_number_of_keys(grid, ratio, keys):
    assert reduce_tokens(torch.rand(1, 2, *grid), ratio, "spatial").shape[2:] == keys


def test_spatial_reduction_averages_neighbourhoods():
    features = torch.arange(512.0).reshape(1, 1, 8, 8, 8)
    reduced = reduce_tokens(features, 2, "spatial")
    assert reduced[0, 0, 0, 0, 0] == features[0, 0, :2, :2, :2].mean()
    assert reduced[0, 0, 3, 1, 2] == features[0, 0, 6:, 2:4, 4:6].mean()


def test_sequence_reduction_averages_runs_of_raster_order():
    features = torch.arange(64.0).reshape(1, 1, 4, 4, 4)
    reduced = reduce_tokens(features, 2, "sequence").flatten()
    assert reduced.tolist() == [3.5 + 8 * run for run in range(8)]


def test_slice_sequence_reduction_never_crosses_slices():
    features = torch.arange(27.0).reshape(1, 1, 3, 3, 3)
    reduced = reduce_tokens(features, 2, "slice_sequence").flatten()
    assert reduced.tolist() == [1.5, 5.5, 10.5, 14.5, 19.5, 23.5]


@pytest.mark.parametrize(
    ("reduction", "message"),
    [
        ("sequence", r"'sequence' averages runs of 64 tokens, got 27 .* grid \(3, 3, 3\)"),
        ("slice_sequence", r"'slice_sequence' averages runs of 16 tokens, got 9 "),
    ],
)
def test_runs_longer_than_the_tokens_are_refused(reduction, message):
    with pytest.raises(ValueError, match=message):
        reduce_tokens(torch.rand(1, 2, 3, 3, 3), 4, reduction)


def test_self_attention_attends_to_more_than_one_key():
    torch.manual_seed(0)
    attention = SelfAttention(32, ratio=4, reduction="spatial").eval()
    attention.query.weight.data.mul_(20)
    features = torch.randn(1, 32, 4, 4, 4)
    output = attention(features).flatten(2)
    # With a single key every position would receive the same value.
    assert output.std(dim=2).max() > 1e-3


def test_self_attention_without_reduction_equals_the_formula():
    torch.manual_seed(0)
    attention = SelfAttention(64, ratio=1, reduction="spatial")
    features = torch.randn(2, 64, 2, 3, 1)
    tokens = features.flatten(2).transpose(1, 2)
    heads = []
    for part in torch.arange(64).split(32):
        query, key, value = (
            getattr(attention, name)(tokens)[..., part] for name in ("query", "key", "value")
        )
        heads.append((query @ key.transpose(1, 2) / 32**0.5).softmax(dim=-1) @ value)
    expected = attention.projection(torch.cat(heads, dim=2)).transpose(1, 2).reshape(2, 64, 2, 3, 1)
    torch.testing.assert_close(attention(features), expected)


def test_patch_embedding_averages_only_real_voxels_at_odd_edges():
    embedding = PatchEmbedding(1, 1, stride=2).eval()
    embedding.conv.weight.data.fill_(1)
    constant = torch.full((1, 1, 5, 3, 1), 2.0)
    embedded = embedding(constant)
    assert embedded.shape == (1, 1, 3, 2, 1)
    torch.testing.assert_close(embedded, torch.full_like(embedded, 2.0), rtol=1e-4, atol=0)


def test_patch_embedding_without_change_is_the_identity():
    features = torch.rand(1, 4, 2, 2, 2)
    embedding = PatchEmbedding(4, 4)
    assert torch.equal(embedding(features), features)
    assert not list(embedding.parameters())


@pytest.mark.parametrize("block", [ConvBlock, TransformerBlock])
@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_map_channels_and_grid(block, stride):
    output = block(32, 128, stride=stride)(torch.rand(2, 32, 3, 4, 1))
    assert output.shape == ((2, 128, 3, 4, 1) if stride == 1 else (2, 128, 2, 2, 1))


def test_channels_that_make_no_whole_heads_are_refused():
    with pytest.raises(ValueError, match="channels must be a multiple of 32, got 48"):
        ConvAttention(48)
    with pytest.raises(ValueError, match="out_channels must be a multiple of 128, got 192"):
        TransformerBlock(32, 192)
