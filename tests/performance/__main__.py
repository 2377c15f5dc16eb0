"""`make bench`: run every benchmark and print what it measured."""

from tests.performance import (
    artefact_speed,
    attack_speed,
    end_to_end,
    engine_speed,
    recipe_cost,
    report_speed,
    scale,
    shared_machine,
    store_speed,
    training_speed,
    two_processes,
)

if __name__ == "__main__":
    attack_speed.main()
    end_to_end.main([])
    training_speed.main()
    artefact_speed.main([])
    artefact_speed.main(["--suite"])
    recipe_cost.main()
    store_speed.main([])
    report_speed.main([])
    engine_speed.main([])
    two_processes.main()
    scale.main([])
    shared_machine.main([])
