"""The `reelmesh` command line, put together from the commands of each part."""

from __future__ import annotations

import typer

from reelmesh_tools import keys, reindex
from reelmesh_tools.bench import commands as bench_commands
from reelmesh_tools.client import analytics, billing, catalog, discovery, experiments, models, people, recommendations
from reelmesh_tools.client import commands as client_commands
from reelmesh_tools.doctor import commands as doctor_commands
from reelmesh_tools.simulate import commands as simulate_commands
from reelmesh_tools.stack import commands as stack_commands


def build() -> typer.Typer:
    """Return the whole command line; each part registers its own commands."""
    app = typer.Typer(help="An open video platform on your own machine.", no_args_is_help=True, add_completion=False)
    stack_commands.register(app)
    client_commands.register(app)
    people.register(app)
    catalog.register(app)
    billing.register(app)
    analytics.register(app)
    experiments.register(app)
    recommendations.register(app)
    models.register(app)
    discovery.register(app)
    bench_commands.register(app)
    simulate_commands.register(app)
    doctor_commands.register(app)
    keys.register(app)
    reindex.register(app)
    return app


def main() -> None:
    """Run as a program."""
    build()()


if __name__ == "__main__":
    main()
