"""The environment as a software bill of materials in CycloneDX's format."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, time
from importlib import metadata
from typing import TYPE_CHECKING, Any

from benchharness.evidence.extra import needed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.evidence.claims import Product


def installed() -> dict[str, str]:
    """Version of every distribution of this environment, by its name as the index spells it."""
    found = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return {name: found[name] for name in sorted(filter(None, found), key=str.lower)}


def document(product: Product, code: Mapping[str, str], packages: Mapping[str, str]) -> bytes:
    """CycloneDX 1.6 as JSON; the same arguments give the same bytes.

    Args:
        product: The component that the list is of.
        code: SHA-256 of packages of code, by name.
        packages: Versions by name.

    Raises:
        BenchError: When cyclonedx-python-lib is not installed.
    """
    needed("cyclonedx", "software bills of materials")
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    root = Component(
        name=product.name,
        version=product.release,
        type=ComponentType.APPLICATION,
        bom_ref="product",
    )
    components = [_component(name, version) for name, version in packages.items()]
    for name, digest in code.items():
        components.append(_hashed(name, digest))
    bom = Bom(components=components)
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.combine(product.date, time(), UTC)
    bom.register_dependency(root, components)
    named = "\n".join([product.name, product.release, *map(str, packages.items()), *code.values()])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, named)
    written = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return (written + "\n").encode()


def _component(name: str, version: str) -> Any:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    url = PackageURL(type="pypi", name=name.lower().replace("_", "-"), version=version)
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=url.to_string()
    )


def _hashed(name: str, digest: str) -> Any:
    """A package of code as it is installed, by the digest of its files."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=f"{name} (files)",
        type=ComponentType.FILE,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        bom_ref=f"code:{name}",
    )
