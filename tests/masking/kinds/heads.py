"""Heads that squash the logits."""

from __future__ import annotations

import torch

from tests.masking.member import Member, after

KIND = "squashed head"


def _deep(logits):
    """Which logit is largest, through 24 layers that saturate."""
    top = logits.topk(2, dim=1).values.mean(1, keepdim=True)
    squashed = logits - top
    for _ in range(24):
        squashed = torch.tanh(2 * squashed)
    return squashed


def _one_hot(logits):
    hard = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float()
    return hard + 0 * logits


MEMBERS = tuple(
    Member(name=name, kind=KIND, hides=hides, answer=after(change), rule=rule)
    for name, hides, change, rule in (
        ("softmax", "softmax(z)", lambda z: z.softmax(1), "masked"),
        ("softmax_twice", "softmax(softmax(z))", lambda z: z.softmax(1).softmax(1), "masked"),
        ("half_softmax", "softmax in float16", lambda z: z.half().softmax(1), "masked"),
        ("ten_softmax", "10·softmax(z)", lambda z: 10 * z.softmax(1), "masked"),
        ("shifted_softmax", "3 − 2·(1 − softmax(z))", lambda z: 1 + 2 * z.softmax(1), "masked"),
        ("sigmoid", "sigmoid(5·z)", lambda z: torch.sigmoid(5 * z), "masked"),
        ("tanh", "tanh(z)", torch.tanh, "masked"),
        ("saturating_clip", "logits beyond ±1", lambda z: z.clamp(-1, 1) + 1e-3 * z, "masked"),
        ("clipped_at_4", "logits beyond ±4", lambda z: z.clamp(-4, 4), "masked"),
        ("clipped_at_20", "logits beyond ±20: none is", lambda z: z.clamp(-20, 20), "either"),
        (
            "rounded_probabilities",
            "log of probabilities rounded to 0.01",
            lambda z: (z.softmax(1) * 100).round().clamp_min(1e-3).log() + 0 * z,
            "masked",
        ),
        ("one_hot", "the class alone", _one_hot, "masked"),
        (
            "rounded_logits",
            "logits rounded to 0.5",
            lambda z: (2 * z).round() / 2 + 0 * z,
            "masked",
        ),
        ("deep_tanh", "24 saturating layers", _deep, "masked"),
        (
            "times_10",
            "10·z: the cross-entropy of confident volumes is 0",
            lambda z: 10 * z,
            "either",
        ),
        ("times_100", "100·z: the cross-entropy is 0", lambda z: 100 * z, "either"),
        ("times_1e4", "1e4·z", lambda z: 1e4 * z, "masked"),
        ("times_1e6", "1e6·z", lambda z: 1e6 * z, "masked"),
        ("times_1e_30", "1e-30·z: the loss is flat in float32", lambda z: 1e-30 * z, "either"),
        ("plus_1e6", "z + 1e6: logits are rounded to 0.06", lambda z: z + 1e6, "either"),
        ("squared", "z·|z|", lambda z: z * z.abs(), "either"),
    )
)
