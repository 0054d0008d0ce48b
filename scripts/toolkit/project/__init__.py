"""What is this project? Facts only: no room in here decides what to do about them."""

from toolkit.project.errors import ProjectError
from toolkit.project.facts import Project
from toolkit.project.read import read_project

__all__ = ["Project", "ProjectError", "read_project"]
