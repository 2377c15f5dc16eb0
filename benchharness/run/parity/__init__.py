"""Whether a network gives here what its owner got elsewhere, and why not.

`expected` reads what the owner got. `by_logits` and `by_metric` compare it with what a `subject`
gives; where they differ, they try what `causes` lists on volumes and what `answers` knows of
logits. `checking` does it all for `bench check`.
"""
