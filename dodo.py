from ktstr.tasks.graph import *  # noqa: F403
from tests.project_checks import CHECK  # noqa: F401
