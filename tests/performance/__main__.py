"""`make bench`: run every benchmark and print what it measured."""

from tests.performance import artefact_speed, attack_speed, recipe_cost, store_speed

if __name__ == "__main__":
    attack_speed.main()
    artefact_speed.main([])
    artefact_speed.main(["--suite"])
    recipe_cost.main()
    store_speed.main([])
