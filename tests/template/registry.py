"""The checks by name, and the decorators that register them."""

from collections.abc import Callable, Iterator

from templates import Deployment, Json, Stack, Templates

Check = Callable[[Templates], Iterator[str]]
CHECKS: dict[str, Check] = {}


def check(of_all: Check) -> Check:
    """Registers a check under the name of its function."""
    CHECKS[of_all.__name__.replace("_", " ")] = of_all
    return of_all


def in_each_deployment(of_one: Callable[[Deployment], Iterator[str]]) -> Check:
    """Registers a check of one deployment for all scenarios."""

    def all_scenarios(templates: Templates) -> Iterator[str]:
        for deployment in templates.deployments:
            for problem in of_one(deployment):
                yield f"{deployment.scenario.name}: {problem}"

    all_scenarios.__name__ = of_one.__name__
    return check(all_scenarios)


def in_each_stack(of_one: Callable[[Stack], Iterator[str]]) -> Check:
    """Registers a check of what the main stack and that of the edge both have, for all scenarios."""

    def both(deployment: Deployment) -> Iterator[str]:
        yield from of_one(deployment.main)
        yield from (f"edge: {problem}" for problem in of_one(deployment.edge))

    both.__name__ = of_one.__name__
    return in_each_deployment(both)


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
