from __future__ import annotations

from medpipe_tests.pretrain.conftest import _same_signals_and_threads, corpus, own_corpus, plan

__all__ = ["_same_signals_and_threads", "corpus", "own_corpus", "plan"]
