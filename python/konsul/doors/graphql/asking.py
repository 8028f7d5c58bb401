"""The per-operation context object; its home is the kernel, since the features' resolvers know it too."""

from __future__ import annotations

from konsul.kernel.asking import PAGE_MAX, Asking

__all__ = ["PAGE_MAX", "Asking"]
