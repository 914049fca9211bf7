"""Projects of `compose.yaml`, each removed when the last test of its module's is done."""

import os

import pytest

from peers.compose import Compose


@pytest.fixture(scope="module")
def start_compose():
    """Starts projects; waits until they are healthy."""
    projects = []

    def start(name, **options):
        project = Compose(f"mortise-test-{name}-{os.getpid()}", **options)
        projects.append(project)
        return project.up()

    yield start
    for project in projects:
        project.down()
