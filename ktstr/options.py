"""What the user asked for, as frozen values: read once by the front end, handed down, never looked up again."""

from __future__ import annotations
