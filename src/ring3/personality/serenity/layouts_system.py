"""SerenityOS's structs of clocks, ids, limits and the system: neutral record (or marker) to layout.

Source: Kernel/API/POSIX of the tree of 2022-12-30 (reference, section 4.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

LAYOUTS: Final[Mapping[type, Any]] = MappingProxyType({})
