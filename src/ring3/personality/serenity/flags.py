"""SerenityOS's flags that the kernel has under other numbers: neutral flag class to its translation.

Applied while arguments are decoded (`Abi.flags`); every part of the kernel behind that speaks the neutral flags of `abi/flags.py`.
Source: reference, section 4.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

FLAGS: Final[Mapping[type, Any]] = MappingProxyType({})
