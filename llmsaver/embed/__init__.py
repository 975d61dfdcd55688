"""Embedders: texts become vectors whose nearness is nearness of meaning."""

from __future__ import annotations

from llmsaver.embed.cross_encoder import CrossEncoder, default_cross_encoder
from llmsaver.embed.embedder import Embedder
from llmsaver.embed.minilm import MiniLM, default_embedder
from llmsaver.embed.sentences import SentenceTransformers
from llmsaver.embed.served import LlamaCpp, OpenAIEmbeddings

__all__ = [
    "CrossEncoder",
    "Embedder",
    "LlamaCpp",
    "MiniLM",
    "OpenAIEmbeddings",
    "SentenceTransformers",
    "default_cross_encoder",
    "default_embedder",
]
