from ktstr.tasks.graph import *  # noqa: F403
from tests.project_checks import task_check  # noqa: F401
