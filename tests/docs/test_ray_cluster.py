"""The cluster that `docs/scale.md` offers is one that Ray reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parents[2] / "docs" / "ci" / "ray-cluster.yaml"


@pytest.fixture
def cluster() -> Any:
    return yaml.safe_load(FILE.read_text())


def test_it_has_a_head_and_nodes_with_gpus(cluster: Any) -> None:
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert [name for name, one in types.items() if one["resources"].get("GPU")] == ["gpu"]
    assert any("benchharness[ray]" in line for line in cluster["setup_commands"])


def test_it_keeps_to_the_schema_of_ray(cluster: Any) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'benchharness[ray]'")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster | {"provider": None}, schema)
