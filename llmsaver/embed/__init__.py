"""Embedders: texts become vectors whose nearness is nearness of meaning."""

from __future__ import annotations

from llmsaver.embed.embedder import Embedder
from llmsaver.embed.minilm import MiniLM, default_embedder
from llmsaver.embed.sentences import SentenceTransformers
from llmsaver.embed.served import LlamaCpp, OpenAIEmbeddings

__all__ = ["Embedder", "LlamaCpp", "MiniLM", "OpenAIEmbeddings", "SentenceTransformers", "default_embedder"]
