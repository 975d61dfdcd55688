"""Embedders: texts become vectors whose nearness is nearness of meaning."""

from __future__ import annotations

from llmsaver.embed.embedder import Embedder
from llmsaver.embed.minilm import MiniLM, default_embedder

__all__ = ["Embedder", "MiniLM", "default_embedder"]
