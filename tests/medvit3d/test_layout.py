"""No circle of imports in the model libraries."""

import grimp
import pytest


@pytest.mark.parametrize("package", ["medvit3d", "baselines"])
def test_no_module_imports_itself_by_way_of_others(package):
    """Imports inside functions and for type checkers count too: the contracts skip the latter."""
    graph = grimp.build_graph(package, cache_dir=None)
    chains = [
        graph.find_shortest_chain(imported, importer)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    ]
    assert len(chains) >= 3
    assert not [chain for chain in chains if chain]
